/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "store/store.h"

#include <stdbool.h>

/*
 * What a write owes to other objects: defaults that they give, and rules that they set. On the loop thread, in the turn that
 * commits the write. Sums over many objects are the matter of quota.h.
 */
struct admission {
        struct store *store;
        const struct schema_kind *kind;
        const char *namespace;
        const struct json_value *old; /* the stored object, or NULL on create */
};

/** admission_default() - fill in what @doc leaves out, before it is checked. */
void admission_default(const struct admission *admission, struct json_doc *doc);
/** admission_warn() - sentences for the writer of what was accepted, as faults. */
void admission_warn(const struct admission *admission, const struct json_value *object, struct schema_faults *warnings);
/** admission_keeps() - why an object may not be deleted now: words (g_free()), and the reason's code; NULL: it may. */
char *admission_keeps(struct store *store, const struct store_object *object, const char **ret_code);
/** admission_check() - after the schema's checks, whose faults @faults may hold already. */
void admission_check(const struct admission *admission, const struct json_value *object, struct schema_faults *faults);
