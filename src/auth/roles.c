/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/roles.h"
#include "generated/api_types.h"

#include <string.h>

#define GROUP          "rbac.authorization.k8s.io"
#define API_VERSION    GROUP "/v1"
#define LABEL_INTO     "rbac.gabbro.dev/aggregate-to-" /* viewer, operator, project-admin */
#define AUTHENTICATED  "system:authenticated"
#define ADMINISTRATORS "gabbro:administrators"

static const char *const read_verbs[] = {"get", "list", "watch", NULL};
static const char *const write_verbs[] = {"create", "delete", "deletecollection", "patch", "update", NULL};
static const char *const all_verbs[] = {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch", NULL};
static const char *const star[] = {"*", NULL};

/* Kinds of a project that its administrator reads but does not write: what bounds it, and what the system tells. */
static const char *const bounds_of_projects[] = {"resourcequotas", "events", "leases", NULL};

/* What is shared by all projects and what every machine names. */
static const char *const catalog[] = {"clustervirtualimages", "networks", "virtualmachineclasses", NULL};

static void set_texts(struct json_doc *doc, struct json_value *object, const char *key, const char *const *texts)
{
        struct json_value *list = json_ensure_array(doc, object, key);

        for (; *texts; texts++)
                json_append(list, json_new_string(doc, *texts));
}

static struct json_value *add_rule(struct json_doc *doc, const char *const *verbs)
{
        struct json_value *rule = json_append(json_ensure_array(doc, json_root(doc), "rules"), json_new(doc, JSON_OBJECT));

        set_texts(doc, rule, "verbs", verbs);
        return rule;
}

static void add_resource_rule(struct json_doc *doc, const char *group, const char *const *resources, const char *const *verbs)
{
        const char *const groups[] = {group, NULL};
        struct json_value *rule = add_rule(doc, verbs);

        set_texts(doc, rule, "apiGroups", groups);
        set_texts(doc, rule, "resources", resources);
}

/* --- rules that follow from the kinds
 * -------------------------------------------------------------------------------------------------- */

static bool is_plain(const struct schema_kind *kind)
{
        return !kind->hidden && !kind->internal && !kind->sealed;
}

static bool is_secret_of_project(const struct schema_kind *kind)
{
        return kind->sealed && kind->namespaced && !kind->internal;
}

static bool is_written_in_projects(const struct schema_kind *kind)
{
        return kind->namespaced && is_plain(kind) && !kind->projected && !g_strv_contains(bounds_of_projects, kind->plural);
}

/* One rule for each group: all its kinds that @chooses. */
static void add_kinds(struct json_doc *doc, bool (*chooses)(const struct schema_kind *kind), bool with_status,
                      const char *const *verbs)
{
        g_autoptr(GHashTable) told = g_hash_table_new(g_str_hash, g_str_equal);

        for (size_t i = 0; schema_kinds[i]; i++) {
                g_autoptr(GPtrArray) resources = g_ptr_array_new_with_free_func(g_free);

                if (!chooses(schema_kinds[i]) || !g_hash_table_add(told, (void *)schema_kinds[i]->group))
                        continue;
                for (size_t k = i; schema_kinds[k]; k++) {
                        if (!chooses(schema_kinds[k]) || strcmp(schema_kinds[k]->group, schema_kinds[i]->group) != 0)
                                continue;
                        g_ptr_array_add(resources, g_strdup(schema_kinds[k]->plural));
                        if (with_status && schema_kinds[k]->has_status)
                                g_ptr_array_add(resources, g_strconcat(schema_kinds[k]->plural, "/status", NULL));
                }
                g_ptr_array_add(resources, NULL);
                add_resource_rule(doc, schema_kinds[i]->group, (const char *const *)resources->pdata, verbs);
        }
}

static void fill_viewer(struct json_doc *doc)
{
        static const char *const told[] = {"virtualmachines/guestinfo", "virtualmachines/usage", NULL}, *const get[] = {"get",
                                                                                                                        NULL};
        static const char *const hosts[] = {"nodes/usage", NULL};
        static const char *const measured[] = {"nodes", "pods", NULL}, *const get_list[] = {"get", "list", NULL};

        add_kinds(doc, is_plain, true, read_verbs);
        add_resource_rule(doc, "gabbro.dev", told, get);
        add_resource_rule(doc, "", hosts, get);
        add_resource_rule(doc, "metrics.k8s.io", measured, get_list);
}

static void fill_operator(struct json_doc *doc)
{
        static const char *const operations[] = {"virtualmachineoperations", NULL}, *const evictions[] = {"pods/eviction", NULL};
        static const char *const consoles[] = {"virtualmachines/console", "virtualmachines/graphicspassword",
                                               "virtualmachines/screenshot", "virtualmachines/vnc", NULL};
        static const char *const create_delete[] = {"create", "delete", NULL}, *const create[] = {"create", NULL};
        static const char *const open[] = {"create", "get", NULL};

        add_resource_rule(doc, "gabbro.dev", operations, create_delete);
        add_resource_rule(doc, "gabbro.dev", consoles, open); /* to the password of a screen "create" makes another */
        add_resource_rule(doc, "", evictions, create);
}

static void fill_project_admin(struct json_doc *doc)
{
        static const char *const uploads[] = {"virtualdisks/upload", "virtualimages/upload", NULL};
        static const char *const guests[] = {"virtualmachines/exec", "virtualmachines/freeze", "virtualmachines/guestpassword",
                                             "virtualmachines/thaw", NULL};
        static const char *const deliveries[] = {"callbacks/drop", "callbacks/retry", NULL};
        static const char *const reviews[] = {"localsubjectaccessreviews", NULL}, *const tokens[] = {"serviceaccounts/token", NULL};
        static const char *const create[] = {"create", NULL};

        add_kinds(doc, is_written_in_projects, false, write_verbs);
        add_kinds(doc, is_secret_of_project, false, all_verbs);
        add_resource_rule(doc, "gabbro.dev", uploads, create);
        add_resource_rule(doc, "gabbro.dev", deliveries, create);
        add_resource_rule(doc, "gabbro.dev", guests, create);
        add_resource_rule(doc, "authorization.k8s.io", reviews, create);
        add_resource_rule(doc, "", tokens, create);
}

static void fill_admin(struct json_doc *doc)
{
        add_resource_rule(doc, "*", star, star);
        set_texts(doc, add_rule(doc, star), "nonResourceURLs", star);
}

static void fill_node(struct json_doc *doc)
{
        static const char *const surface[] = {"/agent/v1/*", NULL}, *const verbs[] = {"get", "post", "put", NULL};

        set_texts(doc, add_rule(doc, verbs), "nonResourceURLs", surface);
}

static void fill_catalog(struct json_doc *doc)
{
        add_resource_rule(doc, "gabbro.dev", catalog, read_verbs);
}

/* --- the table
 * ----------------------------------------------------------------------------------------------------------------------- */

static const struct {
        const char *name, *doc;
        void (*fill)(struct json_doc *doc);
        const char *into;            /* the role whose rules it extends, or NULL */
        const char *const *together; /* the roles' names that it aggregates, or NULL */
} roles[] = {
        {ROLE_VIEWER, "Reads everything but secrets.", NULL, NULL, (const char *const[]){"viewer", NULL}},
        {ROLE_OPERATOR, "A viewer who also operates machines: starts, stops, moves them, opens their consoles.", NULL, NULL,
         (const char *const[]){"operator", "viewer", NULL}},
        {ROLE_PROJECT_ADMIN, "Everything in a project, its roles and bindings included; its quota is set by others.", NULL, NULL,
         (const char *const[]){"operator", "project-admin", "viewer", NULL}},
        {ROLE_ADMIN, "Everything in the whole cloud.", fill_admin, NULL, NULL},
        {ROLE_NODE, "What hosts have by their certificates; binding it to somebody gives nothing.", fill_node, NULL, NULL},
        {ROLE_CATALOG, "What is shared by all projects: classes, networks, images of the cloud.", fill_catalog, NULL, NULL},
        {"gabbro:base:viewer", "What " ROLE_VIEWER " begins with.", fill_viewer, "viewer", NULL},
        {"gabbro:base:operator", "What " ROLE_OPERATOR " adds.", fill_operator, "operator", NULL},
        {"gabbro:base:project-admin", "What " ROLE_PROJECT_ADMIN " adds.", fill_project_admin, "project-admin", NULL},
};

static const struct {
        const char *name, *role, *group;
} bindings[] = {
        {ADMINISTRATORS, ROLE_ADMIN, ADMINISTRATORS},
        {ROLE_CATALOG, ROLE_CATALOG, AUTHENTICATED},
};

static void built_in_free(void *data)
{
        struct auth_built_in *built_in = data;

        json_doc_free(built_in->doc);
        g_free(built_in);
}

static struct json_doc *begin(GPtrArray *list, const struct schema_kind *kind, const char *name)
{
        struct auth_built_in *built_in = g_new0(struct auth_built_in, 1);
        struct json_doc *doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT), *metadata;

        json_set_root(doc, root);
        json_set_string(doc, root, "apiVersion", API_VERSION);
        json_set_string(doc, root, "kind", kind->kind);
        metadata = json_ensure_object(doc, root, "metadata");
        json_set_string(doc, metadata, "name", name);
        json_set_string(doc, json_ensure_object(doc, metadata, "labels"), LABEL_BUILT_IN_ROLE, "rbac-defaults");
        json_set_string(doc, json_ensure_object(doc, metadata, "annotations"), ANNOTATION_KEEP_ROLE, "true");
        *built_in = (struct auth_built_in){.kind = kind, .name = json_find_string(root, "metadata", "name", NULL), .doc = doc};
        g_ptr_array_add(list, built_in);
        return doc;
}

static void set_aggregation(struct json_doc *doc, const char *const *together)
{
        struct json_value *rule = json_ensure_object(doc, json_root(doc), "aggregationRule");
        struct json_value *selectors = json_ensure_array(doc, rule, "clusterRoleSelectors");

        for (; *together; together++) {
                g_autofree char *label = g_strconcat(LABEL_INTO, *together, NULL);
                struct json_value *selector = json_append(selectors, json_new(doc, JSON_OBJECT));

                json_set_string(doc, json_ensure_object(doc, selector, "matchLabels"), label, "true");
        }
}

static void add_role(GPtrArray *list, size_t i)
{
        struct json_doc *doc = begin(list, &api_cluster_role_kind, roles[i].name);
        struct json_value *metadata = json_get(json_root(doc), "metadata");

        json_set_string(doc, json_get(metadata, "annotations"), ANNOTATION_ROLE_DOC, roles[i].doc);
        if (roles[i].into) {
                g_autofree char *label = g_strconcat(LABEL_INTO, roles[i].into, NULL);

                json_set_string(doc, json_get(metadata, "labels"), label, "true");
        }
        if (roles[i].together)
                set_aggregation(doc, roles[i].together);
        if (roles[i].fill)
                roles[i].fill(doc);
}

static void add_binding(GPtrArray *list, size_t i)
{
        struct json_doc *doc = begin(list, &api_cluster_role_binding_kind, bindings[i].name);
        struct json_value *root = json_root(doc), *subject, *reference;

        subject = json_append(json_ensure_array(doc, root, "subjects"), json_new(doc, JSON_OBJECT));
        json_set_string(doc, subject, "kind", "Group");
        json_set_string(doc, subject, "apiGroup", GROUP);
        json_set_string(doc, subject, "name", bindings[i].group);
        reference = json_ensure_object(doc, root, "roleRef");
        json_set_string(doc, reference, "apiGroup", GROUP);
        json_set_string(doc, reference, "kind", "ClusterRole");
        json_set_string(doc, reference, "name", bindings[i].role);
}

GPtrArray *auth_built_in_roles(void)
{
        GPtrArray *list = g_ptr_array_new_with_free_func(built_in_free);

        for (size_t i = 0; i < G_N_ELEMENTS(roles); i++)
                add_role(list, i);
        for (size_t i = 0; i < G_N_ELEMENTS(bindings); i++)
                add_binding(list, i);
        return list;
}
