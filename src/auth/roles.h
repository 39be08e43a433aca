/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "schema/schema.h"
#include "json/json.h"

/* The roles that every installation has. Their rules follow from the kinds of api/, so that a new kind is in them at once. */

#define ROLE_VIEWER        "gabbro:viewer"
#define ROLE_OPERATOR      "gabbro:operator"
#define ROLE_PROJECT_ADMIN "gabbro:project-admin"
#define ROLE_ADMIN         "gabbro:admin"
#define ROLE_NODE          "gabbro:node"
#define ROLE_CATALOG       "gabbro:catalog"

#define LABEL_BUILT_IN_ROLE  "kubernetes.io/bootstrapping"                 /* of value rbac-defaults */
#define ANNOTATION_KEEP_ROLE "rbac.authorization.kubernetes.io/autoupdate" /* "false": the object is left as it is */
#define ANNOTATION_ROLE_DOC  "gabbro.dev/description"

/* A ClusterRole or ClusterRoleBinding as it shall be: apiVersion, kind, name, labels, annotations and content. */
struct auth_built_in {
        const struct schema_kind *kind;
        const char *name; /* in the document */
        struct json_doc *doc;
};
/** auth_built_in_roles() - all of them, as an array that owns struct auth_built_in; g_ptr_array_unref(). */
GPtrArray *auth_built_in_roles(void);
