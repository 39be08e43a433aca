/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "schema/schema.h"

#include <stdbool.h>

/* What a path of the resource API names: "/api/v1/..." and "/apis/GROUP/VERSION/...". */
struct target {
        const struct schema_kind *kind; /* NULL: no kind of ours */
        char *group;                    /* as the caller addressed it; "" for core */
        char *api_version;              /* as the caller addressed it: "v1", "gabbro.dev/v1" */
        bool alias;                     /* addressed under an alias of the kind's group */
        char *namespace;                /* NULL: cluster scope, or all namespaces */
        char *name;                     /* NULL: the collection */
        char *subresource;              /* NULL: the object itself */
};

/* target_parse() outcomes */
enum {
        TARGET_E_OTHER = 1, /* not below a group and version: discovery or another surface */
        TARGET_E_UNKNOWN,   /* no such group, version, resource or form of path */
};

/**
 * target_parse() - take @path (decoded, without query) apart
 * @compat: also look among the kinds' aliases
 */
int target_parse(const char *path, bool compat, struct target *ret_target);
/** target_clear() - free the texts. */
void target_clear(struct target *target);

/** target_canonical_version() - "v1" or "group/version" of a kind; g_free(). */
char *target_canonical_version(const struct schema_kind *kind);

/** target_resource_text() - "virtualmachines.gabbro.dev", as messages name it; g_free(). */
char *target_resource_text(const struct target *target);
