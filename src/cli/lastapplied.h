/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "json/json.h"

#define LASTAPPLIED "kubectl.kubernetes.io/last-applied-configuration"

/** lastapplied_set() - take out of the manifest @doc what only the gateway writes (status, uid, resourceVersion ...), then put it
 * as it is into its own annotation; @namespace (NULL: none) into its metadata. */
void lastapplied_set(struct json_doc *doc, const char *namespace);
/** lastapplied_patch() - the merge patch (in @doc) that turns @live into what the manifest @doc says: fields of the manifest before
 *  this one that are gone from it go, those that other writers set stay. Empty: nothing is to be done. */
struct json_value *lastapplied_patch(struct json_doc *doc, const struct json_value *live);
