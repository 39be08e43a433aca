/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "http/http.h"
#include "schema/schema.h"

#include <stdbool.h>
#include <stdint.h>

enum params_match { PARAMS_MATCH_DEFAULT, PARAMS_MATCH_NOT_OLDER, PARAMS_MATCH_EXACT };
enum params_initial { PARAMS_INITIAL_DEFAULT, PARAMS_INITIAL_NO, PARAMS_INITIAL_YES };
enum params_validation { PARAMS_VALIDATION_DEFAULT, PARAMS_VALIDATION_STRICT, PARAMS_VALIDATION_WARN, PARAMS_VALIDATION_IGNORE };

/* The query of a request of the resource API. Texts are borrowed from the request, but for what a write needs after it is gone. */
struct params {
        bool dry_run;
        bool watch;
        bool bookmarks;
        enum params_validation validation;
        char *field_manager; /* owned; as the client gave it, or NULL */
        char *manager;       /* owned; who changes fields: field_manager, else what User-Agent begins with */
        bool force;          /* an apply takes over what others own */
        const char *label_selector, *field_selector;
        const char *continue_token; /* or NULL */
        const char *include_object; /* of a table: "None", "Metadata", "Object" */
        uint64_t limit;             /* 0: none */
        bool has_revision;          /* resourceVersion was given */
        uint64_t revision;
        enum params_match match;     /* resourceVersionMatch */
        enum params_initial initial; /* sendInitialEvents of a watch */
        uint64_t timeout_s;          /* 0: none given */
};

/** params_parse() - every wrong parameter becomes a fault; params_clear() whatever came of it. */
void params_parse(const struct http_request *request, struct params *ret_params, struct schema_faults *faults);
void params_clear(struct params *params);
