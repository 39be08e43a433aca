/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "json/json.h"

/*
 * Strategic merge patch, as far as kubectl sends it to core kinds: maps merge, null removes, lists are replaced except those that
 * Kubernetes merges by a key (owner references by uid, conditions and addresses by type) or as sets (finalizers); the directives
 * $patch: delete | replace | merge, $deleteFromPrimitiveList/x and $retainKeys; $setElementOrder/x is also taken as a sign that
 * list x is merged by its key (taints).
 */

/* strategic_merge() outcomes */
enum {
        STRATEGIC_E_INVALID = 1, /* the patch is malformed; words in @reterr_why */
};

/** strategic_merge() - the patched copy in @doc; inputs untouched. @reterr_why: a constant sentence. */
int strategic_merge(struct json_doc *doc, const struct json_value *target, const struct json_value *patch,
                    struct json_value **ret_value, const char **reterr_why);
