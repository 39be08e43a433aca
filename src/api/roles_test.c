/* SPDX-License-Identifier: Apache-2.0 */
#include "api/world_test.h"
#include "generated/api_types.h"

#include <string.h>

/* Roles over HTTP: rows E52 to E56, D11, D17, D70 to D72; attack groups 15 to 17. */

#define RBAC    "/apis/rbac.authorization.k8s.io/v1"
#define VMS(NS) "/apis/gabbro.dev/v1/namespaces/" NS "/virtualmachines"

static struct world *world;

/* --- users and what they are given
 * ----------------------------------------------------------------------------------------------------- */

static char *token_of(const char *user)
{
        return world_put_token(world, "gbt1", "User", user, NULL);
}

/* @namespace NULL: in the cluster. */
static int bind_as(const char *token, const char *namespace, const char *name, const char *role_kind, const char *role,
                   const char *user, struct answer **ret_answer)
{
        g_autofree char *path =
                namespace ? g_strdup_printf(RBAC "/namespaces/%s/rolebindings", namespace) : g_strdup(RBAC "/clusterrolebindings");
        g_autofree char *body = g_strdup_printf("{\"metadata\":{\"name\":\"%s\"},\"roleRef\":{\"kind\":\"%s\",\"name\":\"%s\"},"
                                                "\"subjects\":[{\"kind\":\"User\",\"name\":\"%s\"}]}",
                                                name, role_kind, role, user);
        g_autoptr(answer) answer = ask_with(world, token, "POST", path, NULL, body);
        int status = answer->status;

        if (ret_answer)
                *ret_answer = g_steal_pointer(&answer);
        return status;
}

static void give(const char *namespace, const char *name, const char *role, const char *user)
{
        g_assert_cmpint(bind_as(world->admin, namespace, name, "ClusterRole", role, user, NULL), ==, 201);
}

static void take_away(const char *namespace, const char *name)
{
        g_autofree char *path = namespace ? g_strdup_printf(RBAC "/namespaces/%s/rolebindings/%s", namespace, name)
                                          : g_strdup_printf(RBAC "/clusterrolebindings/%s", name);
        g_autoptr(answer) answer = ask(world, "DELETE", path, NULL);

        g_assert_cmpint(answer->status, ==, 200);
}

static void make_cluster_role(const char *name, const char *rules)
{
        g_autofree char *body = g_strdup_printf("{\"metadata\":{\"name\":\"%s\"},\"rules\":[%s]}", name, rules);
        g_autoptr(answer) answer = ask(world, "POST", RBAC "/clusterroles", body);

        g_assert_cmpint(answer->status, ==, 201);
}

static int status_as(const char *token, const char *method, const char *path, const char *body)
{
        g_autoptr(answer) answer =
                ask_with(world, token, method, path,
                         strcmp(method, "PATCH") == 0 ? "Content-Type: application/merge-patch+json\r\n" : NULL, body);

        return answer->status;
}

static void make_built_in(void)
{
        g_assert_cmpint(api_make_roles(world->api), ==, 0);
        world_run(world);
        world_run(world); /* the rules of the aggregated ones */
}

/* --- role x verb x kind x own or other project
 * ------------------------------------------------------------------------------------------ */

/* One letter for each verb below: allowed in the own project, by role. */
struct right {
        const char *path; /* of the collection; %s: the project, absent in paths of the cluster */
        const char *viewer, *operator, * project_admin;
};

static const struct right rights[] = {
        {"/apis/gabbro.dev/v1/namespaces/%s/virtualmachines", "gl", "gl", "glcupdx"},
        {"/apis/gabbro.dev/v1/namespaces/%s/virtualdisks", "gl", "gl", "glcupdx"},
        {"/apis/gabbro.dev/v1/namespaces/%s/virtualmachineoperations", "gl", "glcd", "glcupdx"},
        {"/apis/gabbro.dev/v1/namespaces/%s/virtualmachineipaddresses", "gl", "gl", "glcupdx"},
        {"/api/v1/namespaces/%s/configmaps", "gl", "gl", "glcupdx"},
        {"/api/v1/namespaces/%s/secrets", "", "", "glcupdx"},
        {"/api/v1/namespaces/%s/events", "gl", "gl", "gl"},
        {RBAC "/namespaces/%s/roles", "gl", "gl", "glcupdx"},
        {RBAC "/namespaces/%s/rolebindings", "gl", "gl", "glcupdx"},
        /* of the cluster: a RoleBinding gives nothing of it, but what is shared by all */
        {"/apis/gabbro.dev/v1/virtualmachines", "", "", ""},
        {"/api/v1/secrets", "", "", ""},
        {"/api/v1/nodes", "", "", ""},
        {"/apis/gabbro.dev/v1/storagepools", "", "", ""},
        {"/apis/gabbro.dev/v1/clustervirtualimages", "gl", "gl", "gl"},
        {"/apis/gabbro.dev/v1/imageblobs", "", "", ""},
        {"/apis/host.gabbro.dev/v1/instances", "", "", ""},
        {RBAC "/clusterroles", "", "", ""},
        {RBAC "/clusterrolebindings", "", "", ""},
};

static const struct {
        char letter;
        const char *method;
        bool named;
        const char *body;
} verbs[] = {
        {'g', "GET", true, NULL},   {'l', "GET", false, NULL},   {'c', "POST", false, "[]"},   {'u', "PUT", true, "[]"},
        {'p', "PATCH", true, "[]"}, {'d', "DELETE", true, NULL}, {'x', "DELETE", false, NULL},
};

/* A right is there when the answer is anything but 403: the objects do not exist, and no body is one. */
static void check_right(const char *token, const char *role, const struct right *right, const char *project, const char *allowed)
{
        for (size_t v = 0; v < G_N_ELEMENTS(verbs); v++) {
                bool of_project = strstr(right->path, "%s"), has = strchr(allowed, verbs[v].letter);
                g_auto(GStrv) halves = g_strsplit(right->path, "%s", 2);
                g_autofree char *path =
                        g_strconcat(halves[0], of_project ? project : "", halves[1] ?: "", verbs[v].named ? "/none" : "", NULL);
                /* across all projects objects are listed only */
                bool unserved = !of_project && verbs[v].letter != 'l' &&
                                (g_str_has_suffix(right->path, "/secrets") || g_str_has_suffix(right->path, "/virtualmachines"));
                int status = status_as(token, verbs[v].method, path, verbs[v].body);

                if (!unserved && (status != 403) != has)
                        g_error("%s: %s %s: %d, expected %s", role, verbs[v].method, path, status, has ? "allowed" : "403");
                g_assert_cmpint(status, !=, 401);
        }
}

static void every_built_in_role_gives_its_rights_in_its_project_alone_D11_E53_E54_E55(void)
{
        static const char *const roles[] = {"gabbro:viewer", "gabbro:operator", "gabbro:project-admin"};
        g_autofree char *token = token_of("matrix");

        for (size_t r = 0; r < G_N_ELEMENTS(roles); r++) {
                for (size_t i = 0; i < G_N_ELEMENTS(rights); i++) {
                        const char *const allowed[] = {rights[i].viewer, rights[i].operator, rights[i].project_admin };
                        bool of_project = strstr(rights[i].path, "%s");

                        /* An administrator of a project may delete all of its bindings, and does. */
                        (void)bind_as(world->admin, "default", "matrix", "ClusterRole", roles[r], "matrix", NULL);
                        check_right(token, roles[r], &rights[i], "default", allowed[r]);
                        if (of_project)
                                check_right(token, roles[r], &rights[i], "other", "");
                }
                (void)status_as(world->admin, "DELETE", RBAC "/namespaces/default/rolebindings/matrix", NULL);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(rights); i++)
                check_right(token, "none", &rights[i], "default",
                            strstr(rights[i].path, "cluster") && *rights[i].viewer ? "gl" : "");
}

/* The role admin is the cluster; intents are the controllers' all the same (design decision 1). */
static void the_admin_of_the_cluster_writes_no_intents(void)
{
        g_autofree char *token = token_of("root");

        give(NULL, "root", "gabbro:admin", "root");
        g_assert_cmpint(status_as(token, "GET", "/apis/gabbro.dev/v1/virtualmachines", NULL), ==, 200);
        g_assert_cmpint(status_as(token, "GET", "/api/v1/secrets", NULL), ==, 200);
        g_assert_cmpint(status_as(token, "GET", "/metrics", NULL), ==, 200);
        g_assert_cmpint(status_as(token, "GET", "/apis/host.gabbro.dev/v1/instances", NULL), ==, 200);
        g_assert_cmpint(status_as(token, "POST", "/apis/host.gabbro.dev/v1/instances", "{}"), ==, 403);
        g_assert_cmpint(status_as(token, "DELETE", "/apis/host.gabbro.dev/v1/instances", NULL), ==, 403);
        g_assert_cmpint(status_as(token, "PUT", "/apis/host.gabbro.dev/v1/instances/x/status", "{}"), ==, 403);
        g_assert_cmpint(status_as(token, "GET", "/apis/gabbro.dev/v1/tokens", NULL), ==, 404);
        take_away(NULL, "root");
        g_assert_cmpint(status_as(token, "GET", "/apis/gabbro.dev/v1/virtualmachines", NULL), ==, 403);
}

/* --- at once
 * ----------------------------------------------------------------------------------------------------------------------- */

static void a_role_is_in_force_at_the_next_request(void)
{
        g_autofree char *token = token_of("next");

        make_cluster_role("next", "{\"apiGroups\":[\"\"],\"resources\":[\"configmaps\"],\"verbs\":[\"list\"]}");
        for (unsigned i = 0; i < 50; i++) {
                give("default", "next", "next", "next");
                g_assert_cmpint(status_as(token, "GET", "/api/v1/namespaces/default/configmaps", NULL), ==, 200);
                g_assert_cmpint(status_as(world->admin, "PATCH", RBAC "/clusterroles/next", "{\"rules\":[]}"), ==, 200);
                g_assert_cmpint(status_as(token, "GET", "/api/v1/namespaces/default/configmaps", NULL), ==, 403);
                g_assert_cmpint(
                        status_as(world->admin, "PATCH", RBAC "/clusterroles/next",
                                  "{\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"configmaps\"],\"verbs\":[\"list\"]}]}"),
                        ==, 200);
                g_assert_cmpint(status_as(token, "GET", "/api/v1/namespaces/default/configmaps", NULL), ==, 200);
                take_away("default", "next");
                g_assert_cmpint(status_as(token, "GET", "/api/v1/namespaces/default/configmaps", NULL), ==, 403);
        }
}

/* Attack 16: a watch opened before a permission was removed must stop. */
static void a_watch_ends_when_its_right_goes(void)
{
        g_autofree char *token = token_of("watcher");
        g_autoptr(watcher) watcher = NULL, kept = NULL, table = NULL;
        const char *table_type = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io\r\n";
        gint64 begun;

        give("default", "watcher", "gabbro:viewer", "watcher");
        give("other", "watcher", "gabbro:viewer", "watcher");
        watcher = watcher_new_as(world, token, "/api/v1/namespaces/default/configmaps?watch=1", NULL);
        table = watcher_new_as(world, token, "/api/v1/namespaces/default/configmaps?watch=1", table_type);
        kept = watcher_new_as(world, token, "/api/v1/namespaces/other/configmaps?watch=1", NULL);
        g_assert_cmpint(watcher_status(watcher), ==, 200);
        g_assert_cmpint(watcher_status(table), ==, 200);
        g_assert_cmpint(watcher_status(kept), ==, 200);
        begun = g_get_monotonic_time();
        take_away("default", "watcher");
        g_assert_cmpint(
                status_as(world->admin, "POST", "/api/v1/namespaces/default/configmaps", "{\"metadata\":{\"name\":\"late\"}}"), ==,
                201);
        g_assert_cmpstr(watcher_next(watcher), ==, "ERROR Forbidden");
        g_assert_cmpint(g_get_monotonic_time() - begun, <, G_USEC_PER_SEC);
        g_assert_cmpstr(json_find_string(watcher_object(watcher), "kind", NULL), ==, "Status");
        g_assert_nonnull(strstr(json_find_string(watcher_object(watcher), "message", NULL),
                                "cannot watch resource \"configmaps\" in API group \"\" in the namespace \"default\""));
        g_assert_null(watcher_next(watcher));
        g_assert_cmpstr(watcher_next(table), ==, "ERROR Forbidden");
        g_assert_null(watcher_next(table));
        g_assert_true(watcher_is_quiet(kept));
        g_assert_cmpint(
                status_as(world->admin, "POST", "/api/v1/namespaces/other/configmaps", "{\"metadata\":{\"name\":\"seen\"}}"), ==,
                201);
        g_assert_cmpstr(watcher_next(kept), ==, "ADDED seen");
        take_away("other", "watcher");
        g_assert_cmpstr(watcher_next(kept), ==, "ERROR Forbidden");
}

/* --- words
 * --------------------------------------------------------------------------------------------------------------------------- */

static void a_list_of_all_projects_by_who_sees_one_is_refused_with_words(void)
{
        g_autofree char *token = token_of("one-project");
        g_autoptr(answer) answer = NULL;

        give("default", "one-project", "gabbro:viewer", "one-project");
        answer = ask_with(world, token, "GET", "/apis/gabbro.dev/v1/virtualmachines", NULL, NULL);
        g_assert_cmpint(answer->status, ==, 403);
        g_assert_cmpstr(answer_text(answer, "/reason"), ==, "Forbidden");
        g_assert_cmpstr(
                answer_text(answer, "/message"), ==,
                "virtualmachines.gabbro.dev is forbidden: User \"one-project\" cannot list resource \"virtualmachines\" in API "
                "group \"gabbro.dev\" at the cluster scope; it is allowed in the namespaces \"default\"");
        /* the same by a watch, by selectors, by the alias of the group, and by a namespace that is not there */
        g_assert_cmpint(status_as(token, "GET", "/apis/gabbro.dev/v1/virtualmachines?watch=1", NULL), ==, 403);
        g_assert_cmpint(
                status_as(token, "GET", "/apis/gabbro.dev/v1/virtualmachines?fieldSelector=metadata.namespace%3Ddefault", NULL), ==,
                403);
        g_assert_cmpint(status_as(token, "GET", "/apis/gabbro.dev/v1/virtualmachines?labelSelector=a%3Db", NULL), ==, 403);
        g_assert_cmpint(status_as(token, "GET", "/apis/virtualization.deckhouse.io/v1alpha2/virtualmachines", NULL), ==, 403);
        g_assert_cmpint(
                status_as(token, "GET", "/apis/virtualization.deckhouse.io/v1alpha2/namespaces/other/virtualmachines", NULL), ==,
                403);
        g_assert_cmpint(
                status_as(token, "GET", "/apis/virtualization.deckhouse.io/v1alpha2/namespaces/default/virtualmachines", NULL), ==,
                200);
        g_assert_cmpint(status_as(token, "GET", VMS("nowhere"), NULL), ==, 403);
        /* the project's own namespace can be seen, others cannot */
        g_assert_cmpint(status_as(token, "GET", "/api/v1/namespaces/default", NULL), ==, 200);
        g_assert_cmpint(status_as(token, "GET", "/api/v1/namespaces/other", NULL), ==, 403);
        g_assert_cmpint(status_as(token, "GET", "/api/v1/namespaces", NULL), ==, 403);
        g_assert_cmpint(status_as(token, "DELETE", "/api/v1/namespaces/default", NULL), ==, 403);
        take_away("default", "one-project");
}

/* What a rule names is reached as kubectl wait and kubectl get -w ask for it, and nothing beside it. */
static void a_rule_that_names_one_object_gives_that_one(void)
{
        g_autofree char *token = token_of("named");
        const char *maps = "/api/v1/namespaces/default/configmaps";
        static const struct {
                const char *query;
                int status;
        } rows[] = {
                {"", 403},
                {"?fieldSelector=metadata.name%3Dmine", 200},
                {"?fieldSelector=metadata.name%3D%3Dmine", 200},
                {"?fieldSelector=metadata.name%3Dother", 403},
                {"?fieldSelector=metadata.name%3Dmine,metadata.namespace%3Ddefault", 403},
                {"?fieldSelector=metadata.name!%3Dmine", 403},
                {"?fieldSelector=metadata.name%3Dmine&fieldSelector=metadata.name%3Dother", 200},
                {"/mine", 404},
                {"/other", 403},
        };

        make_cluster_role("named", "{\"apiGroups\":[\"\"],\"resources\":[\"configmaps\"],\"verbs\":[\"get\",\"list\"],"
                                   "\"resourceNames\":[\"mine\"]}");
        give("default", "named", "named", "named");
        g_assert_cmpint(status_as(world->admin, "POST", maps, "{\"metadata\":{\"name\":\"other\"}}"), ==, 201);
        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                g_autofree char *path = g_strconcat(maps, rows[i].query, NULL);
                g_autoptr(answer) answer = ask_with(world, token, "GET", path, NULL, NULL);

                if (answer->status != rows[i].status)
                        g_error("%s: %d", path, answer->status);
                g_assert_null(strstr(answer->body->str, "\"name\":\"other\",\"namespace\""));
        }
}

/* --- no escalation
 * ------------------------------------------------------------------------------------------------------------------- */

/* Attack 17: nobody gives what they lack, by a role, a binding, a label or an aggregation. */
static void nobody_grants_what_they_lack(void)
{
        g_autofree char *token = token_of("boss");
        static const struct row rows[] = {
                {"POST", RBAC "/namespaces/default/roles",
                 "{\"metadata\":{\"name\":\"ok\"},\"rules\":[{\"apiGroups\":[\"gabbro.dev\"],\"resources\":[\"virtualmachines\"],"
                 "\"verbs\":[\"create\",\"get\"]},{\"apiGroups\":[\"\"],\"resources\":[\"secrets\"],\"verbs\":[\"get\"]}]}",
                 201},
                {"POST", RBAC "/namespaces/default/roles",
                 "{\"metadata\":{\"name\":\"more\"},\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"nodes\",\"secrets\"],"
                 "\"verbs\":[\"get\",\"update\",\"delete\"]},{\"apiGroups\":[\"*\"],\"resources\":[\"*\"],\"verbs\":[\"*\"]}]}",
                 403, "/message",
                 "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"boss\" is attempting to grant RBAC permissions not "
                 "currently held: update, delete nodes; * *.*"},
                {"PATCH", RBAC "/namespaces/default/roles/ok",
                 "{\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"nodes\"],"
                 "\"verbs\":[\"update\"]}]}",
                 403, "/details/causes/0/message", "Forbidden: you may not update nodes yourself"},
                {"PATCH", RBAC "/namespaces/default/roles/ok", "{\"metadata\":{\"annotations\":{\"a\":\"b\"}}}", 200},
                {"POST", RBAC "/namespaces/other/roles", "{\"metadata\":{\"name\":\"ok\"},\"rules\":[]}", 403},
                {"POST", RBAC "/clusterroles", "{\"metadata\":{\"name\":\"x\"},\"rules\":[]}", 403},
                {"POST", RBAC "/namespaces/default/rolebindings?dryRun=All",
                 "{\"metadata\":{\"name\":\"x\"},\"roleRef\":{\"kind\":\"ClusterRole\",\"name\":\"gabbro:admin\"}}", 403,
                 "/details/causes/0/field", "roleRef"},
                {"POST", RBAC "/namespaces/default/rolebindings",
                 "{\"metadata\":{\"name\":\"x\"},\"roleRef\":{\"kind\":\"ClusterRole\",\"name\":\"gabbro:admin\"}}", 403},
                {"POST", RBAC "/namespaces/default/rolebindings",
                 "{\"metadata\":{\"name\":\"x\"},\"roleRef\":{\"kind\":\"Role\",\"name\":\"none\"}}", 404},
                {"POST", RBAC "/namespaces/default/rolebindings",
                 "{\"metadata\":{\"name\":\"v\"},\"roleRef\":{\"kind\":\"ClusterRole\",\"name\":\"gabbro:viewer\"}}", 201},
                {"PATCH", RBAC "/namespaces/default/rolebindings/v", "{\"subjects\":[{\"kind\":\"User\",\"name\":\"new\"}]}", 200},
                {"POST", RBAC "/clusterrolebindings",
                 "{\"metadata\":{\"name\":\"x\"},\"roleRef\":{\"kind\":\"ClusterRole\",\"name\":\"gabbro:viewer\"}}", 403},
                {"PUT", "/api/v1/namespaces/default/configmaps/x/status", "{}", 403},
        };

        give("default", "boss", "gabbro:project-admin", "boss");
        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                g_autoptr(answer) answer =
                        ask_with(world, token, rows[i].method, rows[i].path,
                                 strcmp(rows[i].method, "PATCH") == 0 ? "Content-Type: application/merge-patch+json\r\n" : NULL,
                                 rows[i].body);

                if (answer->status != rows[i].status)
                        g_error("row %zu: %d: %s", i, answer->status, answer->body->str);
                if (rows[i].pointer)
                        g_assert_cmpstr(answer_text(answer, rows[i].pointer), ==, rows[i].expect);
        }
        take_away("default", "boss");
}

static void the_verbs_escalate_and_bind_let_pass(void)
{
        g_autofree char *token = token_of("security");
        const char *role =
                "{\"metadata\":{\"name\":\"esc\"},\"rules\":[{\"apiGroups\":[\"*\"],\"resources\":[\"*\"],\"verbs\":[\"*\"]}]}";
        const char *aggregate = "{\"metadata\":{\"name\":\"agg\"},\"aggregationRule\":{\"clusterRoleSelectors\":[{}]}}";

        make_cluster_role("security", "{\"apiGroups\":[\"rbac.authorization.k8s.io\"],\"resources\":[\"clusterroles\","
                                      "\"clusterrolebindings\"],\"verbs\":[\"create\",\"patch\",\"get\"]}");
        give(NULL, "security", "security", "security");
        g_assert_cmpint(status_as(token, "POST", RBAC "/clusterroles", role), ==, 403);
        g_assert_cmpint(status_as(token, "POST", RBAC "/clusterroles", aggregate), ==, 403);
        /* a label that brings a role into the viewer's is a change of the viewer's */
        g_assert_cmpint(status_as(world->admin, "POST", RBAC "/clusterroles", role), ==, 201);
        g_assert_cmpint(status_as(token, "PATCH", RBAC "/clusterroles/esc",
                                  "{\"metadata\":{\"labels\":{\"rbac.gabbro.dev/aggregate-to-viewer\":\"true\"}}}"),
                        ==, 403);
        g_assert_cmpint(bind_as(token, NULL, "self", "ClusterRole", "gabbro:admin", "security", NULL), ==, 403);
        make_cluster_role("bind-viewer", "{\"apiGroups\":[\"rbac.authorization.k8s.io\"],\"resources\":[\"clusterroles\"],"
                                         "\"verbs\":[\"bind\"],\"resourceNames\":[\"gabbro:viewer\"]}");
        give(NULL, "bind-viewer", "bind-viewer", "security");
        g_assert_cmpint(bind_as(token, NULL, "self", "ClusterRole", "gabbro:admin", "security", NULL), ==, 403);
        g_assert_cmpint(bind_as(token, NULL, "self", "ClusterRole", "gabbro:viewer", "security", NULL), ==, 201);
        make_cluster_role("escalate", "{\"apiGroups\":[\"rbac.authorization.k8s.io\"],\"resources\":[\"clusterroles\"],"
                                      "\"verbs\":[\"escalate\"]}");
        give(NULL, "escalate", "escalate", "security");
        g_assert_cmpint(status_as(token, "POST", RBAC "/clusterroles", aggregate), ==, 201);
        take_away(NULL, "self");
        take_away(NULL, "escalate");
        take_away(NULL, "bind-viewer");
        take_away(NULL, "security");
}

/* --- operations
 * ---------------------------------------------------------------------------------------------------------------------- */

/* Attack 17: who may start a machine may not cut it off; and one machine is not another. */
static void an_operation_is_allowed_by_its_type_and_machine_D70_D71_D72_E46_E54(void)
{
        static const struct {
                const char *type, *machine;
                int status;
        } rows[] = {
                {"Start", "web", 201},  {"Stop", "web", 403}, {"ForceOff", "web", 403}, {"Restart", "web", 201},
                {"Restart", "db", 403}, {"Start", "db", 201}, {"Nonsense", "web", 422},
        };
        const char *path = "/apis/gabbro.dev/v1/namespaces/default/virtualmachineoperations";
        g_autofree char *token = token_of("starter"), *none = token_of("bystander");

        make_cluster_role(
                "starter",
                "{\"apiGroups\":[\"gabbro.dev\"],\"resources\":[\"virtualmachineoperations/start\"],\"verbs\":[\"create\"]},"
                "{\"apiGroups\":[\"gabbro.dev\"],\"resources\":[\"virtualmachineoperations/restart\"],\"verbs\":[\"create\"],"
                "\"resourceNames\":[\"web\"]}");
        give("default", "starter", "starter", "starter");
        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                g_autofree char *body = g_strdup_printf("{\"metadata\":{\"generateName\":\"op-\"},\"spec\":{\"type\":\"%s\","
                                                        "\"virtualMachineName\":\"%s\"}}",
                                                        rows[i].type, rows[i].machine);
                g_autoptr(answer) answer = ask_with(world, token, "POST", path, NULL, body);

                if (answer->status != rows[i].status)
                        g_error("row %zu: %d: %s", i, answer->status, answer->body->str);
                g_assert_cmpint(status_as(none, "POST", path, body), ==, 403);
        }
        g_assert_cmpint(status_as(token, "POST", "/apis/gabbro.dev/v1/namespaces/other/virtualmachineoperations", "{}"), ==, 403);
        g_assert_cmpint(status_as(token, "DELETE", path, NULL), ==, 403);
        take_away("default", "starter");
}

/* Who may give every order may still not take what disks hold. */
static void a_redeploy_takes_the_right_to_delete_disks_A14(void)
{
        static const char body[] = "{\"metadata\":{\"generateName\":\"op-\"},\"spec\":{\"type\":\"Redeploy\","
                                   "\"virtualMachineName\":\"web\"}}";
        const char *path = "/apis/gabbro.dev/v1/namespaces/default/virtualmachineoperations";
        g_autofree char *token = token_of("redeployer");

        make_cluster_role("orders",
                          "{\"apiGroups\":[\"gabbro.dev\"],\"resources\":[\"virtualmachineoperations\"],\"verbs\":[\"create\"]}");
        make_cluster_role("disks", "{\"apiGroups\":[\"gabbro.dev\"],\"resources\":[\"virtualdisks\"],\"verbs\":[\"delete\"]}");
        give("default", "disks", "disks", "redeployer");
        g_assert_cmpint(status_as(token, "POST", path, body), ==, 403);
        give("default", "orders", "orders", "redeployer");
        g_assert_cmpint(status_as(token, "POST", path, body), ==, 201);
        take_away("default", "disks");
        g_assert_cmpint(status_as(token, "POST", path, body), ==, 403);
        take_away("default", "orders");
}

/* A clone reads what machine and disks are, and makes others: each takes its right. */
static void a_clone_takes_the_rights_to_what_it_reads_and_makes(void)
{
        static const char body[] = "{\"metadata\":{\"generateName\":\"op-\"},\"spec\":{\"type\":\"Clone\","
                                   "\"virtualMachineName\":\"web\",\"clone\":{\"name\":\"db\"}}}";
        static const struct {
                const char *name, *resource, *verb;
        } wanted[] = {
                {"c-orders", "virtualmachineoperations/clone", "create"},
                {"c-machines", "virtualmachines", "create"},
                {"c-see-machines", "virtualmachines", "get"},
                {"c-disks", "virtualdisks", "create"},
                {"c-see-disks", "virtualdisks", "get"},
        };
        const char *path = "/apis/gabbro.dev/v1/namespaces/default/virtualmachineoperations";
        g_autofree char *token = token_of("cloner");

        for (size_t i = 0; i < G_N_ELEMENTS(wanted); i++) {
                g_autofree char *rule =
                        g_strdup_printf("{\"apiGroups\":[\"gabbro.dev\"],\"resources\":[\"%s\"],\"verbs\":[\"%s\"]}",
                                        wanted[i].resource, wanted[i].verb);

                g_assert_cmpint(status_as(token, "POST", path, body), ==, 403);
                make_cluster_role(wanted[i].name, rule);
                give("default", wanted[i].name, wanted[i].name, "cloner");
        }
        g_assert_cmpint(status_as(token, "POST", path, body), ==, 201);
        for (size_t i = 0; i < G_N_ELEMENTS(wanted); i++) {
                take_away("default", wanted[i].name);
                g_assert_cmpint(status_as(token, "POST", path, body), ==, 403);
                give("default", wanted[i].name, wanted[i].name, "cloner");
        }
}

/* --- reviews
 * ------------------------------------------------------------------------------------------------------------------------- */

#define REVIEWS "/apis/authorization.k8s.io/v1"

static void reviews_answer_from_the_same_policy(void)
{
        g_autofree char *token = token_of("asker");
        static const struct {
                const char *path, *body, *allowed;
                bool as_admin;
        } rows[] = {
                {REVIEWS "/selfsubjectaccessreviews",
                 "{\"spec\":{\"resourceAttributes\":{\"verb\":\"get\",\"group\":\"gabbro.dev\",\"resource\":\"virtualmachines\","
                 "\"namespace\":\"default\"}}}",
                 "true", false},
                {REVIEWS "/selfsubjectaccessreviews",
                 "{\"spec\":{\"resourceAttributes\":{\"verb\":\"get\",\"group\":\"gabbro.dev\",\"resource\":\"virtualmachines\","
                 "\"namespace\":\"other\"}}}",
                 "false", false},
                {REVIEWS "/subjectaccessreviews",
                 "{\"spec\":{\"user\":\"asker\",\"resourceAttributes\":{\"verb\":\"list\",\"resource\":\"configmaps\","
                 "\"namespace\":\"default\"}}}",
                 "true", true},
                {REVIEWS "/subjectaccessreviews",
                 "{\"spec\":{\"user\":\"asker\",\"groups\":[\"gabbro:administrators\"],\"resourceAttributes\":{\"verb\":\"delete\","
                 "\"resource\":\"nodes\"}}}",
                 "true", true},
                {REVIEWS "/subjectaccessreviews",
                 "{\"spec\":{\"user\":\"gabbro:node:x\",\"groups\":[\"gabbro:administrators\"],\"nonResourceAttributes\":{\"verb\":"
                 "\"get\","
                 "\"path\":\"/agent/v1/manifest\"}}}",
                 "true", true},
                {REVIEWS "/namespaces/default/localsubjectaccessreviews",
                 "{\"spec\":{\"user\":\"asker\",\"resourceAttributes\":{\"verb\":\"create\",\"resource\":\"configmaps\","
                 "\"namespace\":\"default\"}}}",
                 "false", true},
        };

        give("default", "asker", "gabbro:viewer", "asker");
        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                g_autoptr(answer) answer =
                        ask_with(world, rows[i].as_admin ? world->admin : token, "POST", rows[i].path, NULL, rows[i].body);

                g_assert_cmpint(answer->status, ==, 201);
                if (json_bool(json_find(answer->root, "status", "allowed", NULL), false) != (strcmp(rows[i].allowed, "true") == 0))
                        g_error("row %zu: %s", i, answer->body->str);
                g_assert_cmpstr(answer_text(answer, "/status/reason"), !=, "");
        }
        g_assert_cmpint(status_as(token, "POST", REVIEWS "/subjectaccessreviews", rows[2].body), ==, 403);
        g_assert_cmpint(status_as(token, "POST", rows[5].path, rows[5].body), ==, 403);
        g_assert_cmpint(status_as(world->admin, "POST", REVIEWS "/namespaces/other/localsubjectaccessreviews", rows[5].body), ==,
                        422);
        g_assert_cmpint(status_as(world->admin, "POST", REVIEWS "/subjectaccessreviews", "{\"spec\":{}}"), ==, 422);
        give("default", "asker-2", "gabbro:project-admin", "asker");
        g_assert_cmpint(status_as(token, "POST", rows[5].path, rows[5].body), ==, 201);
        take_away("default", "asker-2");
        take_away("default", "asker");
}

static void the_list_of_rules_is_what_the_roles_say(void)
{
        g_autofree char *token = token_of("lister");
        const char *ask_for = "{\"spec\":{\"namespace\":\"default\"}}";
        g_autoptr(answer) before = NULL, after = NULL, elsewhere = NULL;

        make_cluster_role("lister", "{\"apiGroups\":[\"gabbro.dev\"],\"resources\":[\"virtualdisks\"],\"verbs\":[\"get\"]}");
        before = ask_with(world, token, "POST", REVIEWS "/selfsubjectrulesreviews", NULL, ask_for);
        g_assert_null(strstr(before->body->str, "virtualdisks"));
        give("default", "lister", "lister", "lister");
        after = ask_with(world, token, "POST", REVIEWS "/selfsubjectrulesreviews", NULL, ask_for);
        g_assert_nonnull(strstr(after->body->str, "virtualdisks"));
        elsewhere =
                ask_with(world, token, "POST", REVIEWS "/selfsubjectrulesreviews", NULL, "{\"spec\":{\"namespace\":\"other\"}}");
        g_assert_null(strstr(elsewhere->body->str, "virtualdisks"));
}

/* --- built-in roles
 * ------------------------------------------------------------------------------------------------------------------ */

static void built_in_roles_are_mended_unless_they_shall_be_left(void)
{
        g_autoptr(answer) mended = NULL, left = NULL, viewer = NULL, again = NULL;
        size_t rules;

        viewer = ask(world, "GET", RBAC "/clusterroles/gabbro:viewer", NULL);
        rules = json_length(json_get(viewer->root, "rules"));
        g_assert_cmpuint(rules, >, 3); /* those of gabbro:base:viewer, written by the gateway */
        g_assert_cmpint(status_as(world->admin, "PATCH", RBAC "/clusterroles/gabbro:base:viewer", "{\"rules\":[]}"), ==, 200);
        g_assert_cmpint(status_as(world->admin, "DELETE", RBAC "/clusterroles/gabbro:operator", NULL), ==, 200);
        g_assert_cmpint(status_as(world->admin, "PATCH", RBAC "/clusterroles/gabbro:node",
                                  "{\"rules\":[],\"metadata\":{\"annotations\":{\"rbac.authorization.kubernetes.io/autoupdate\":"
                                  "\"false\"}}}"),
                        ==, 200);
        make_built_in();
        mended = ask(world, "GET", RBAC "/clusterroles/gabbro:operator", NULL);
        g_assert_cmpint(mended->status, ==, 200);
        again = ask(world, "GET", RBAC "/clusterroles/gabbro:viewer", NULL);
        g_assert_cmpuint(json_length(json_get(again->root, "rules")), ==, rules);
        left = ask(world, "GET", RBAC "/clusterroles/gabbro:node", NULL);
        g_assert_cmpuint(json_length(json_get(left->root, "rules")), ==, 0);
}

static void a_labelled_role_extends_the_viewer(void)
{
        g_autofree char *token = token_of("extended");
        g_autoptr(answer) viewer = NULL;

        give("default", "extended", "gabbro:viewer", "extended");
        g_assert_cmpint(status_as(token, "GET", "/api/v1/namespaces/default/secrets/x", NULL), ==, 403);
        g_assert_cmpint(
                status_as(world->admin, "POST", RBAC "/clusterroles",
                          "{\"metadata\":{\"name\":\"extra\",\"labels\":{\"rbac.gabbro.dev/aggregate-to-viewer\":\"true\"}},"
                          "\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"secrets\"],\"verbs\":[\"get\"]}]}"),
                ==, 201);
        g_assert_cmpint(status_as(token, "GET", "/api/v1/namespaces/default/secrets/x", NULL), ==, 404);
        world_run(world);
        viewer = ask(world, "GET", RBAC "/clusterroles/gabbro:viewer", NULL);
        g_assert_nonnull(strstr(viewer->body->str, "\"secrets\""));
        g_assert_cmpint(status_as(world->admin, "DELETE", RBAC "/clusterroles/extra", NULL), ==, 200);
        g_assert_cmpint(status_as(token, "GET", "/api/v1/namespaces/default/secrets/x", NULL), ==, 403);
        take_away("default", "extended");
}

/* --- validation
 * ---------------------------------------------------------------------------------------------------------------------- */

static void every_fault_of_a_role_is_told_at_once(void)
{
        static const struct row rows[] = {
                {"POST", RBAC "/namespaces/default/roles",
                 "{\"metadata\":{\"name\":\"a/"
                 "b\"},\"rules\":[{\"verbs\":[]},{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":"
                 "[\"a/*\"]},{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"x\"]}]}",
                 422, "/details/causes/5/field", "rules[2].nonResourceURLs"},
                {"POST", RBAC "/clusterroles",
                 "{\"metadata\":{\"name\":\"p\"},\"rules\":[{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/a*b\",\"/"
                 "ok*\"],\"resources\":"
                 "[\"x\"]}]}",
                 422, "/details/causes/1/field", "rules[0].nonResourceURLs[0]"},
                {"POST", RBAC "/clusterroles", "{\"metadata\":{\"name\":\"p\"},\"aggregationRule\":{}}", 422,
                 "/details/causes/0/field", "aggregationRule.clusterRoleSelectors"},
                {"POST", RBAC "/namespaces/default/rolebindings",
                 "{\"metadata\":{\"name\":\"p\"},\"roleRef\":{\"kind\":\"Role\",\"name\":\"x\",\"apiGroup\":\"y\"},\"subjects\":[{"
                 "\"kind\":"
                 "\"ServiceAccount\",\"name\":\"s\"},{\"kind\":\"User\",\"name\":\"u\",\"namespace\":\"n\"},{\"kind\":\"Robot\","
                 "\"name\":"
                 "\"r\"},{\"kind\":\"User\",\"name\":\"\"}]}",
                 422, "/details/causes/4/field", "subjects[1].namespace"},
                {"POST", RBAC "/clusterrolebindings",
                 "{\"metadata\":{\"name\":\"p\"},\"roleRef\":{\"kind\":\"Role\",\"name\":\"x\"}}", 422, "/details/causes/0/field",
                 "roleRef.kind"},
                {"POST", RBAC "/namespaces/default/rolebindings", "{\"metadata\":{\"name\":\"p\"}}", 422, "/details/causes/0/field",
                 "roleRef"},
                {"POST", RBAC "/namespaces/default/rolebindings",
                 "{\"metadata\":{\"name\":\"someone@example.com:x "
                 "y\"},\"roleRef\":{\"kind\":\"Role\",\"name\":\"x\"},\"subjects\":[{"
                 "\"kind\":\"Group\",\"name\":\"g\"}]}",
                 201, "/subjects/0/apiGroup", "rbac.authorization.k8s.io"},
                {"PATCH", RBAC "/namespaces/default/rolebindings/someone@example.com:x%20y", "{\"roleRef\":{\"name\":\"y\"}}", 422,
                 "/details/causes/0/field", "roleRef"},
                {"DELETE", RBAC "/namespaces/default/rolebindings/someone@example.com:x%20y", NULL, 200},
        };

        world_run_rows(world, rows, G_N_ELEMENTS(rows));
}

/* 64 verbs on 256 resources of 64 groups would be a million rights to compare. */
static void a_role_that_means_too_much_is_refused(void)
{
        g_autoptr(GString) body = g_string_new("{\"metadata\":{\"name\":\"big\"},\"rules\":[{\"apiGroups\":[\"a\"");
        g_autoptr(answer) answer = NULL;

        for (unsigned i = 0; i < 40; i++)
                g_string_append_printf(body, ",\"g%u\"", i);
        g_string_append(body, "],\"verbs\":[\"get\"],\"resources\":[\"a\"");
        for (unsigned i = 0; i < 250; i++)
                g_string_append_printf(body, ",\"r%u\"", i);
        g_string_append(body, "]}]}");
        answer = ask(world, "POST", RBAC "/clusterroles", body->str);
        g_assert_cmpint(answer->status, ==, 422);
        g_assert_cmpstr(answer_text(answer, "/details/causes/0/reason"), ==, "FieldValueTooMany");
}

int main(int argc, char **argv)
{
        int r;

        g_test_init(&argc, &argv, NULL);
        world = world_new(NULL);
        make_built_in();
#define ADD(FUNCTION) g_test_add_func("/roles/" #FUNCTION, FUNCTION)
        ADD(every_built_in_role_gives_its_rights_in_its_project_alone_D11_E53_E54_E55);
        ADD(the_admin_of_the_cluster_writes_no_intents);
        ADD(a_role_is_in_force_at_the_next_request);
        ADD(a_watch_ends_when_its_right_goes);
        ADD(a_list_of_all_projects_by_who_sees_one_is_refused_with_words);
        ADD(a_rule_that_names_one_object_gives_that_one);
        ADD(nobody_grants_what_they_lack);
        ADD(the_verbs_escalate_and_bind_let_pass);
        ADD(an_operation_is_allowed_by_its_type_and_machine_D70_D71_D72_E46_E54);
        ADD(a_redeploy_takes_the_right_to_delete_disks_A14);
        ADD(a_clone_takes_the_rights_to_what_it_reads_and_makes);
        ADD(reviews_answer_from_the_same_policy);
        ADD(the_list_of_rules_is_what_the_roles_say);
        ADD(built_in_roles_are_mended_unless_they_shall_be_left);
        ADD(a_labelled_role_extends_the_viewer);
        ADD(every_fault_of_a_role_is_told_at_once);
        ADD(a_role_that_means_too_much_is_refused);
        r = g_test_run();
        world_free(world);
        return r;
}
