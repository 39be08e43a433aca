/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/permissions.h"
#include "auth/policy.h"
#include "auth/roles.h"
#include "generated/api_types.h"

#include <string.h>
#include <time.h>

/* The policy alone: rows E52 to E56, D11, attack group 17. */

#define GABBRO                         "\"gabbro.dev\""
#define RULE(GROUPS, RESOURCES, VERBS) "{\"apiGroups\":[" GROUPS "],\"resources\":[" RESOURCES "],\"verbs\":[" VERBS "]}"
#define NAMED(GROUPS, RESOURCES, VERBS, NAMES)                                                                                     \
        "{\"apiGroups\":[" GROUPS "],\"resources\":[" RESOURCES "],\"verbs\":[" VERBS "],\"resourceNames\":[" NAMES "]}"

static void set(struct auth_policy *policy, bool role, const char *namespace, const char *name, const char *json)
{
        g_autoptr(json_doc) doc = NULL;

        if (json)
                g_assert_cmpint(json_parse(json, strlen(json), &doc, NULL), ==, 0);
        (role ? auth_policy_set_role : auth_policy_set_binding)(policy, namespace, name, json ? json_root_const(doc) : NULL);
}

static void set_rules(struct auth_policy *policy, const char *namespace, const char *name, const char *rules)
{
        g_autofree char *json = g_strdup_printf("{\"rules\":[%s]}", rules);

        set(policy, true, namespace, name, json);
}

static void bind(struct auth_policy *policy, const char *namespace, const char *name, const char *role_kind, const char *role,
                 const char *kind, const char *subject)
{
        g_autofree char *json = g_strdup_printf("{\"roleRef\":{\"kind\":\"%s\",\"name\":\"%s\"},\"subjects\":[{\"kind\":\"%s\","
                                                "\"name\":\"%s\",\"namespace\":\"robots\"}]}",
                                                role_kind, role, kind, subject);

        set(policy, false, namespace, name, json);
}

static struct auth_identity *user(const char *name, const char *group)
{
        const char *const groups[] = {group, NULL};

        return auth_identity_new(AUTH_USER, name, groups);
}

static bool may(struct auth_policy *policy, const struct auth_identity *identity, struct auth_attributes attributes)
{
        struct auth_decision decision;

        if (attributes.resource)
                auth_attributes_of_kind(&attributes);
        auth_authorise(policy, identity, &attributes, &decision);
        g_assert_cmpint(decision.allowed, ==, decision.reason[0] == 0);
        return decision.allowed;
}

#define VM(VERB, NAMESPACE)                                                                                                        \
        ((struct auth_attributes){.verb = VERB, .group = "gabbro.dev", .resource = "virtualmachines", .namespace = NAMESPACE})

/* --- rules
 * --------------------------------------------------------------------------------------------------------------------------- */

static void rules_are_read_as_kubernetes_reads_them(void)
{
        static const struct {
                const char *rule;
                struct auth_attributes what;
                bool allowed;
        } cases[] = {
#define WHAT(VERB, GROUP, RESOURCE, ...) {.verb = VERB, .group = GROUP, .resource = RESOURCE, .namespace = "a", __VA_ARGS__}
                {RULE(GABBRO, "\"virtualmachines\"", "\"get\""), WHAT("get", "gabbro.dev", "virtualmachines"), true},
                {RULE(GABBRO, "\"virtualmachines\"", "\"get\""), WHAT("list", "gabbro.dev", "virtualmachines"), false},
                {RULE(GABBRO, "\"virtualmachines\"", "\"get\""), WHAT("get", "gabbro.dev", "virtualdisks"), false},
                {RULE(GABBRO, "\"virtualmachines\"", "\"get\""), WHAT("get", "", "virtualmachines"), false},
                {RULE(GABBRO, "\"virtualmachines\"", "\"get\""),
                 WHAT("get", "gabbro.dev", "virtualmachines", .subresource = "status"), false},
                {RULE(GABBRO, "\"virtualmachines/status\"", "\"get\""), WHAT("get", "gabbro.dev", "virtualmachines"), false},
                {RULE(GABBRO, "\"virtualmachines/status\"", "\"get\""),
                 WHAT("get", "gabbro.dev", "virtualmachines", .subresource = "status"), true},
                {RULE(GABBRO, "\"*/status\"", "\"get\""), WHAT("get", "gabbro.dev", "virtualmachines", .subresource = "status"),
                 true},
                {RULE(GABBRO, "\"*/status\"", "\"get\""), WHAT("get", "gabbro.dev", "virtualmachines", .subresource = "console"),
                 false},
                {RULE(GABBRO, "\"*/status\"", "\"get\""), WHAT("get", "gabbro.dev", "virtualmachines"), false},
                {RULE(GABBRO, "\"*\"", "\"get\""), WHAT("get", "gabbro.dev", "virtualmachines", .subresource = "console"), true},
                {RULE("\"*\"", "\"secrets\"", "\"*\""), WHAT("deletecollection", "", "secrets"), true},
                {RULE("\"\"", "\"secrets\"", "\"get\",\"list\""), WHAT("*", "", "secrets"), false},
                {RULE("\"\"", "\"secrets\"", "\"*\""), WHAT("*", "", "secrets"), true},
                {RULE("\"\"", "\"secrets\"", "\"*\""), WHAT("*", "", "*"), false},
                {NAMED("\"\"", "\"secrets\"", "\"get\"", "\"mine\""), WHAT("get", "", "secrets", .name = "mine"), true},
                {NAMED("\"\"", "\"secrets\"", "\"get\"", "\"mine\""), WHAT("get", "", "secrets", .name = "other"), false},
                {NAMED("\"\"", "\"secrets\"", "\"list\"", "\"mine\""), WHAT("list", "", "secrets"), false},
                {NAMED("\"\"", "\"secrets\"", "\"list\"", "\"mine\""), WHAT("list", "", "secrets", .any_name = true), true},
                /* hidden kinds: by name, or with everything */
                {RULE("\"*\"", "\"*\"", "\"get\""), WHAT("get", "host.gabbro.dev", "instances"), false},
                {RULE("\"host.gabbro.dev\"", "\"*\"", "\"get\""), WHAT("get", "host.gabbro.dev", "instances"), false},
                {RULE("\"host.gabbro.dev\"", "\"instances\"", "\"get\""), WHAT("get", "host.gabbro.dev", "instances"), true},
                {RULE("\"*\"", "\"*\"", "\"*\""), WHAT("get", "host.gabbro.dev", "instances"), true},
                /* intents are never written, internal kinds never read (design decision 1) */
                {RULE("\"*\"", "\"*\"", "\"*\""), WHAT("create", "host.gabbro.dev", "instances"), false},
                {RULE("\"host.gabbro.dev\"", "\"instances\"", "\"update\""), WHAT("update", "host.gabbro.dev", "instances"), false},
                {RULE("\"*\"", "\"*\"", "\"*\""), WHAT("get", "gabbro.dev", "tokens"), false},
                {RULE(GABBRO, "\"tokens\"", "\"get\""), WHAT("get", "gabbro.dev", "tokens"), false},
                /* the alias group means the canonical one */
                {RULE(GABBRO, "\"virtualmachines\"", "\"get\""), WHAT("get", "virtualization.deckhouse.io", "virtualmachines"),
                 true},
        };
        g_autoptr(auth_identity) one = user("one", NULL);

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(auth_policy) policy = auth_policy_new();

                set_rules(policy, NULL, "r", cases[i].rule);
                bind(policy, NULL, "b", "ClusterRole", "r", "User", "one");
                if (may(policy, one, cases[i].what) != cases[i].allowed)
                        g_error("case %zu: %s", i, cases[i].rule);
        }
}

static void paths_are_given_by_cluster_bindings_alone(void)
{
        g_autoptr(auth_policy) policy = auth_policy_new();
        g_autoptr(auth_identity) one = user("one", NULL);

        set(policy, true, NULL, "r", "{\"rules\":[{\"nonResourceURLs\":[\"/metrics\",\"/admin/*\"],\"verbs\":[\"get\"]}]}");
        bind(policy, "a", "b", "ClusterRole", "r", "User", "one");
        g_assert_false(may(policy, one, (struct auth_attributes){.verb = "get", .path = "/metrics"}));
        bind(policy, NULL, "b", "ClusterRole", "r", "User", "one");
        g_assert_true(may(policy, one, (struct auth_attributes){.verb = "get", .path = "/metrics"}));
        g_assert_true(may(policy, one, (struct auth_attributes){.verb = "get", .path = "/admin/v1/x"}));
        g_assert_false(may(policy, one, (struct auth_attributes){.verb = "post", .path = "/admin/v1/x"}));
        g_assert_false(may(policy, one, (struct auth_attributes){.verb = "get", .path = "/metricsx"}));
        g_assert_false(may(policy, one, (struct auth_attributes){.verb = "get", .path = "/admin/x", .nodes_only = true}));
}

/* --- bindings
 * ------------------------------------------------------------------------------------------------------------------------ */

static void a_binding_gives_where_it_stands_and_no_longer_than_it_stands(void)
{
        g_autoptr(auth_policy) policy = auth_policy_new();
        g_autoptr(auth_identity) one = user("one", NULL), two = user("two", NULL);

        bind(policy, "a", "b", "ClusterRole", "r", "User", "one");
        g_assert_false(may(policy, one, VM("get", "a"))); /* the role does not exist yet */
        set_rules(policy, NULL, "r", RULE(GABBRO, "\"virtualmachines\"", "\"get\""));
        g_assert_true(may(policy, one, VM("get", "a")));
        g_assert_false(may(policy, one, VM("get", "b")));
        g_assert_false(may(policy, one, VM("get", NULL)));
        g_assert_false(may(policy, two, VM("get", "a")));
        set_rules(policy, NULL, "r", RULE(GABBRO, "\"virtualmachines\"", "\"list\""));
        g_assert_false(may(policy, one, VM("get", "a")));
        g_assert_true(may(policy, one, VM("list", "a")));
        bind(policy, "a", "b", "ClusterRole", "r", "User", "two");
        g_assert_false(may(policy, one, VM("list", "a")));
        g_assert_true(may(policy, two, VM("list", "a")));
        set(policy, false, "a", "b", NULL);
        g_assert_false(may(policy, two, VM("list", "a")));
        set(policy, false, "a", "b", NULL); /* once more harms nothing */
        g_assert_cmpuint(auth_policy_count_bindings(policy), ==, 0);
}

static void a_role_of_another_project_is_not_meant(void)
{
        g_autoptr(auth_policy) policy = auth_policy_new();
        g_autoptr(auth_identity) one = user("one", NULL);

        set_rules(policy, "b", "r", RULE("\"*\"", "\"*\"", "\"*\""));
        set_rules(policy, NULL, "r", RULE("\"*\"", "\"*\"", "\"*\""));
        bind(policy, "a", "b", "Role", "r", "User", "one");
        g_assert_false(may(policy, one, VM("get", "a")));
        g_assert_false(may(policy, one, VM("get", "b")));
        set_rules(policy, "a", "r", RULE("\"*\"", "\"*\"", "\"*\""));
        g_assert_true(may(policy, one, VM("get", "a")));
}

static void subjects_are_users_groups_and_service_accounts(void)
{
        g_autoptr(auth_policy) policy = auth_policy_new();
        g_autoptr(auth_identity) one = user("one", "team"),
                                 robot = user("system:serviceaccount:robots:ci", "system:serviceaccounts");
        g_autoptr(auth_identity) node = auth_identity_new(AUTH_NODE, "gabbro:node:one", (const char *const[]){"team", NULL});
        g_autoptr(auth_identity) stranger = auth_identity_new(AUTH_ANONYMOUS, "gabbro:anonymous", NULL);

        set_rules(policy, NULL, "r", RULE(GABBRO, "\"virtualmachines\"", "\"get\""));
        bind(policy, "a", "b1", "ClusterRole", "r", "Group", "team");
        bind(policy, "b", "b2", "ClusterRole", "r", "ServiceAccount", "ci");
        bind(policy, "c", "b3", "ClusterRole", "r", "Group", "system:authenticated");
        bind(policy, "d", "b4", "ClusterRole", "r", "User", "team");
        g_assert_true(may(policy, one, VM("get", "a")));
        g_assert_false(may(policy, one, VM("get", "b")));
        g_assert_true(may(policy, one, VM("get", "c")));
        g_assert_false(may(policy, one, VM("get", "d"))); /* a user of the group's name is not the group */
        g_assert_false(may(policy, robot, VM("get", "a")));
        g_assert_true(may(policy, robot, VM("get", "b")));
        g_assert_false(may(policy, node, VM("get", "a")));
        g_assert_false(may(policy, node, VM("get", "c")));
        g_assert_false(may(policy, stranger, VM("get", "c")));
}

/* --- aggregation
 * --------------------------------------------------------------------------------------------------------------------- */

static void labels_bring_rules_into_an_aggregated_role(void)
{
        g_autoptr(auth_policy) policy = auth_policy_new();
        g_autoptr(auth_identity) one = user("one", NULL);
        const char *part =
                "{\"metadata\":{\"labels\":{\"to\":\"viewer\"}},\"rules\":[" RULE(GABBRO, "\"virtualmachines\"", "\"get\"") "]}";

        /* What stands in the rules of an aggregated role means nothing. */
        set(policy, true, NULL, "viewer",
            "{\"aggregationRule\":{\"clusterRoleSelectors\":[{\"matchLabels\":{\"to\":\"viewer\"}}]},\"rules\":[" RULE(
                    "\"*\"", "\"*\"", "\"*\"") "]}");
        set(policy, true, NULL, "outer",
            "{\"aggregationRule\":{\"clusterRoleSelectors\":[{\"matchExpressions\":[{\"key\":\"outer\",\"operator\":\"Exists\"}]}]}"
            ","
            "\"metadata\":{\"labels\":{\"to\":\"viewer\"}}}");
        bind(policy, "a", "b", "ClusterRole", "viewer", "User", "one");
        g_assert_false(may(policy, one, VM("get", "a")));
        set(policy, true, NULL, "part", part);
        g_assert_true(may(policy, one, VM("get", "a")));
        g_assert_false(may(policy, one, VM("list", "a")));
        /* through a role that aggregates itself, which comes round to where it began */
        set(policy, true, NULL, "deep",
            "{\"metadata\":{\"labels\":{\"outer\":\"x\"}},\"rules\":[" RULE(GABBRO, "\"virtualmachines\"", "\"list\"") "]}");
        g_assert_true(may(policy, one, VM("list", "a")));
        set(policy, true, NULL, "part", "{\"metadata\":{\"labels\":{}}}");
        g_assert_false(may(policy, one, VM("get", "a")));
        set(policy, true, NULL, "deep", NULL);
        g_assert_false(may(policy, one, VM("list", "a")));
}

static void roles_that_aggregate_each_other_end(void)
{
        g_autoptr(auth_policy) policy = auth_policy_new();
        g_autoptr(auth_identity) one = user("one", NULL);

        for (size_t i = 0; i < 200; i++) {
                g_autofree char *name = g_strdup_printf("r%zu", i);

                set(policy, true, NULL, name,
                    "{\"metadata\":{\"labels\":{\"x\":\"y\"}},\"aggregationRule\":{\"clusterRoleSelectors\":[{}]}}");
        }
        set_rules(policy, NULL, "end", RULE(GABBRO, "\"virtualmachines\"", "\"get\""));
        bind(policy, "a", "b", "ClusterRole", "r7", "User", "one");
        g_assert_true(may(policy, one, VM("get", "a")));
}

/* --- escalation
 * ---------------------------------------------------------------------------------------------------------------------- */

static char *missing(struct auth_policy *policy, const struct auth_identity *identity, const char *namespace, const char *rules)
{
        g_autofree char *json = g_strdup_printf("[%s]", rules);
        g_autoptr(json_doc) doc = NULL;
        g_autoptr(GPtrArray) list = g_ptr_array_new(), found = NULL;
        GString *words = g_string_new(NULL);

        g_assert_cmpint(json_parse(json, strlen(json), &doc, NULL), ==, 0);
        for (struct json_value *rule = json_first(json_root(doc)); rule; rule = json_next(rule))
                g_ptr_array_add(list, rule);
        found = auth_policy_missing(policy, identity, namespace, list);
        for (guint i = 0; i < found->len; i++)
                g_string_append_printf(words, "%s%zu: %s", i ? "; " : "", ((struct auth_missing *)found->pdata[i])->rule,
                                       ((struct auth_missing *)found->pdata[i])->words);
        return g_string_free(words, FALSE);
}

/* Attack group 17: nobody gives what they do not have; all that is missing is told. */
static void what_is_missing_is_told_at_once(void)
{
        static const struct {
                const char *rules, *namespace, *missing;
        } cases[] = {
                {RULE(GABBRO, "\"virtualmachines\"", "\"get\""), "a", ""},
                {RULE(GABBRO, "\"virtualmachines\"", "\"get\""), "b", "0: get virtualmachines.gabbro.dev"},
                {RULE(GABBRO, "\"virtualmachines\"", "\"get\""), NULL, "0: get virtualmachines.gabbro.dev"},
                {RULE(GABBRO, "\"virtualmachines\"", "\"get\",\"delete\",\"*\"") "," RULE("\"\"", "\"secrets\",\"nodes/kvm\"",
                                                                                          "\"get\""),
                 "a", "0: delete, * virtualmachines.gabbro.dev; 1: get secrets; 1: get nodes/kvm"},
                {RULE(GABBRO, "\"*\"", "\"get\""), "a", "0: get *.gabbro.dev"},
                {RULE("\"*\"", "\"virtualmachines\"", "\"get\""), "a", "0: get virtualmachines.*"},
                {NAMED(GABBRO, "\"virtualmachines\"", "\"get\"", "\"x\""), "a", ""},
                {NAMED("\"\"", "\"configmaps\"", "\"get\"", "\"mine\""), "a", ""},
                {NAMED("\"\"", "\"configmaps\"", "\"get\"", "\"mine\",\"other\""), "a", "0: get configmaps \"other\""},
                {RULE("\"\"", "\"configmaps\"", "\"get\""), "a", "0: get configmaps"},
                {RULE("\"virtualization.deckhouse.io\"", "\"virtualmachines\"", "\"get\""), "a", ""},
                {RULE("\"host.gabbro.dev\"", "\"instances\"", "\"list\""), "a", "0: list instances.host.gabbro.dev"},
                {"{\"nonResourceURLs\":[\"/metrics\"],\"verbs\":[\"get\"]}", NULL, "0: get /metrics"},
        };
        g_autoptr(auth_policy) policy = auth_policy_new();
        g_autoptr(auth_identity) one = user("one", NULL), admin = user("x", "gabbro:administrators");

        set_rules(policy, NULL, "r", RULE(GABBRO, "\"virtualmachines\"", "\"get\"") "," RULE("\"*\"", "\"*\"", "\"list\""));
        set_rules(policy, "a", "named", NAMED("\"\"", "\"configmaps\"", "\"get\"", "\"mine\""));
        bind(policy, "a", "b1", "ClusterRole", "r", "User", "one");
        bind(policy, "a", "b2", "Role", "named", "User", "one");
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *words = missing(policy, one, cases[i].namespace, cases[i].rules);
                g_autofree char *nothing = missing(policy, admin, cases[i].namespace, cases[i].rules);

                g_assert_cmpstr(words, ==, cases[i].missing);
                g_assert_cmpstr(nothing, ==, "");
        }
}

/* --- words
 * --------------------------------------------------------------------------------------------------------------------------- */

static void a_refusal_in_the_cluster_says_where_it_is_allowed(void)
{
        g_autoptr(auth_policy) policy = auth_policy_new();
        g_autoptr(auth_identity) one = user("one", "team");
        struct auth_attributes what = VM("list", NULL), nodes = {.verb = "list", .group = "", .resource = "nodes"};
        struct auth_decision decision;

        set_rules(policy, NULL, "r", RULE("\"*\"", "\"*\"", "\"list\""));
        bind(policy, "red", "b", "ClusterRole", "r", "User", "one");
        bind(policy, "blue", "b", "ClusterRole", "r", "Group", "team");
        auth_authorise(policy, one, &what, &decision);
        g_assert_cmpstr(decision.reason, ==,
                        "User \"one\" cannot list resource \"virtualmachines\" in API group \"gabbro.dev\" at the cluster scope; "
                        "it is allowed in the namespaces \"blue\", \"red\"");
        auth_authorise(policy, one, &nodes, &decision);
        g_assert_false(decision.allowed);
        g_assert_null(strstr(decision.reason, "red"));
}

static void the_reason_of_what_is_allowed_names_the_binding(void)
{
        g_autoptr(auth_policy) policy = auth_policy_new();
        g_autoptr(auth_identity) one = user("one", "team"), admin = user("x", "gabbro:administrators");
        struct auth_attributes what = VM("list", "red"), elsewhere = VM("list", "blue");
        g_autofree char *by_role = NULL, *by_group = NULL, *refused = NULL;

        set_rules(policy, NULL, "r", RULE("\"*\"", "\"*\"", "\"list\""));
        bind(policy, "red", "b", "ClusterRole", "r", "Group", "team");
        by_role = auth_why(policy, one, &what);
        g_assert_cmpstr(by_role, ==, "RBAC: allowed by RoleBinding \"b/red\" of ClusterRole \"r\" to Group \"team\"");
        by_group = auth_why(policy, admin, &what);
        g_assert_cmpstr(by_group, ==, "a member of gabbro:administrators may everything");
        refused = auth_why(policy, one, &elsewhere);
        g_assert_true(g_str_has_prefix(refused, "User \"one\" cannot list"));
}

static void add_words(const struct auth_grant *grant, void *userdata)
{
        g_ptr_array_add(userdata, g_strdup_printf("%s %s by %s", grant->subject_kind, grant->subject, grant->binding));
}

static void who_can_lists_every_subject(void)
{
        g_autoptr(auth_policy) policy = auth_policy_new();
        g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func(g_free);
        struct auth_attributes what = VM("get", "a");

        set_rules(policy, NULL, "r", RULE(GABBRO, "\"virtualmachines\"", "\"get\""));
        bind(policy, "a", "b1", "ClusterRole", "r", "User", "one");
        bind(policy, "b", "b2", "ClusterRole", "r", "User", "two");
        bind(policy, NULL, "b3", "ClusterRole", "r", "Group", "team");
        auth_policy_who_can(policy, &what, add_words, found);
        g_assert_cmpuint(found->len, ==, 2);
        g_assert_cmpstr(found->pdata[0], ==, "User one by b1");
        g_assert_cmpstr(found->pdata[1], ==, "Group team by b3");
}

/* --- built-in roles
 * ------------------------------------------------------------------------------------------------------------------ */

static struct auth_policy *built_in_policy(void)
{
        g_autoptr(GPtrArray) all = auth_built_in_roles();
        struct auth_policy *policy = auth_policy_new();

        for (guint i = 0; i < all->len; i++) {
                const struct auth_built_in *one = all->pdata[i];

                (one->kind == &api_cluster_role_kind ? auth_policy_set_role : auth_policy_set_binding)(policy, NULL, one->name,
                                                                                                       json_root_const(one->doc));
        }
        return policy;
}

/* Every kind, verb and built-in role: what is expected follows from the kind's own marks, not from the roles' rules. */
static void built_in_roles_give_what_they_say(void)
{
        static const char *const verbs[] = {"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"};
        static const char *const roles[] = {ROLE_VIEWER, ROLE_OPERATOR, ROLE_PROJECT_ADMIN, ROLE_ADMIN, ROLE_NODE};
        static const char *const read_only[] = {"events", "leases", "resourcequotas", NULL};
        g_autoptr(auth_policy) policy = built_in_policy();
        g_autoptr(auth_identity) one = user("one", NULL);

        for (size_t r = 0; r < G_N_ELEMENTS(roles); r++)
                for (size_t k = 0; schema_kinds[k]; k++)
                        for (size_t v = 0; v < G_N_ELEMENTS(verbs); v++) {
                                const struct schema_kind *kind = schema_kinds[k];
                                bool reads = v < 3, own = r == 3, operation = kind == &api_virtual_machine_operation_kind;
                                bool plain = !kind->hidden && !kind->internal, expect;
                                const char *namespace = kind->namespaced ? "own" : NULL;
                                struct auth_attributes what = {
                                        .verb = verbs[v], .group = kind->group, .resource = kind->plural, .namespace = namespace};

                                bind(policy, kind->namespaced ? "own" : NULL, "b", "ClusterRole", roles[r], "User", "one");
                                expect = reads && plain && !kind->sealed && r < 3;
                                expect |=
                                        r == 1 && operation && (strcmp(verbs[v], "create") == 0 || strcmp(verbs[v], "delete") == 0);
                                expect |= r == 2 && kind->namespaced && plain && !kind->projected &&
                                          !g_strv_contains(read_only, kind->plural);
                                expect |= own && !kind->internal && (reads || strcmp(kind->group, "host.gabbro.dev") != 0);
                                /* Administrators alone write who may log in, whatever roles say. */
                                expect &= reads || kind != &api_user_kind;
                                expect |= reads && (kind == &api_network_kind || kind == &api_cluster_virtual_image_kind ||
                                                    kind == &api_virtual_machine_class_kind);
                                if (may(policy, one, what) != expect)
                                        g_error("%s: %s %s: expected %d", roles[r], verbs[v], kind->plural, expect);
                                what.namespace = "other";
                                if (kind->namespaced && may(policy, one, what))
                                        g_error("%s: %s %s in another project", roles[r], verbs[v], kind->plural);
                                set(policy, false, kind->namespaced ? "own" : NULL, "b", NULL);
                        }
}

/* Who may look at a screen may read and change its password, without any right to Secrets. */
static void the_password_of_a_screen_is_a_right_of_its_own(void)
{
        static const struct {
                const char *role;
                bool may;
        } cases[] = {
                {ROLE_VIEWER, false}, {ROLE_OPERATOR, true}, {ROLE_PROJECT_ADMIN, true}, {ROLE_ADMIN, true}, {ROLE_NODE, false}};
        static const char *const verbs[] = {"get", "create"};
        g_autoptr(auth_policy) policy = built_in_policy();
        g_autoptr(auth_identity) one = user("one", NULL);

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                bind(policy, "own", "b", "ClusterRole", cases[i].role, "User", "one");
                for (size_t v = 0; v < G_N_ELEMENTS(verbs); v++) {
                        struct auth_attributes what = {.verb = verbs[v],
                                                       .group = "gabbro.dev",
                                                       .resource = "virtualmachines",
                                                       .subresource = "graphicspassword",
                                                       .namespace = "own",
                                                       .name = "web"};

                        g_assert_true(may(policy, one, what) == cases[i].may);
                        what.namespace = "other";
                        g_assert_false(may(policy, one, what));
                }
                set(policy, false, "own", "b", NULL);
        }
}

/* A project's administrator can hand on each of the project's roles, and neither the cluster's nor more. */
static void a_project_admin_has_all_that_it_hands_on(void)
{
        static const struct {
                const char *role;
                bool all;
        } cases[] = {
                {ROLE_VIEWER, true}, {ROLE_OPERATOR, true}, {ROLE_PROJECT_ADMIN, true}, {ROLE_ADMIN, false}, {ROLE_NODE, false}};
        g_autoptr(auth_policy) policy = built_in_policy();
        g_autoptr(auth_identity) one = user("one", NULL);

        bind(policy, "own", "b", "ClusterRole", ROLE_PROJECT_ADMIN, "User", "one");
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(GPtrArray) rules = auth_policy_role_rules(policy, NULL, cases[i].role);
                g_autoptr(GPtrArray) here = auth_policy_missing(policy, one, "own", rules);
                g_autoptr(GPtrArray) there = auth_policy_missing(policy, one, "other", rules);

                g_assert_cmpuint(rules->len, >, 0);
                g_assert_cmpint(here->len == 0, ==, cases[i].all);
                g_assert_cmpuint(there->len, >, 0);
        }
}

/* --- permissions by name
 * ------------------------------------------------------------------------------------------------------------- */

/* Each is a right of its own: a role with it gives it and no other of the table. */
static void each_permission_is_a_right_of_its_own_E52_E53_E54_E55_E56(void)
{
        g_autoptr(auth_identity) one = user("one", NULL);

        for (const struct auth_permission *given = auth_permissions; given->name; given++) {
                g_autoptr(auth_policy) policy = auth_policy_new();
                g_autofree char *rules =
                        g_strdup_printf("{\"apiGroups\":[\"%s\"],\"resources\":[\"%s%s%s\"],\"verbs\":[\"%s\"]}", given->group,
                                        given->resource, given->subresource ? "/" : "", given->subresource ?: "", given->verb);

                set_rules(policy, NULL, "r", rules);
                bind(policy, NULL, "b", "ClusterRole", "r", "User", "one");
                for (const struct auth_permission *asked = auth_permissions; asked->name; asked++)
                        g_assert_cmpint(may(policy, one, auth_permission_attributes(asked, "a", "x")), ==, asked == given);
                g_assert_true(auth_permission_find(given->name) == given);
        }
        g_assert_null(auth_permission_find("Fly"));
}

/* --- speed
 * --------------------------------------------------------------------------------------------------------------------------- */

static double cpu_us(void)
{
        struct timespec now;

        g_assert_cmpint(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now), ==, 0);
        return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* 1,000 bindings of others, then 1,000 of one's own to as many roles: the first is what an installation looks like, the second the
 * worst that can be made. The bounds are many times what is measured (0.1 and 80 us), so that a slow or sanitised build passes and
 * a walk over all bindings does not. */
static void a_decision_takes_microseconds(void)
{
        g_autoptr(auth_policy) policy = built_in_policy();
        g_autoptr(auth_identity) one = user("user-500", "team");
        const unsigned rounds = 20000;
        double begun_us, each_us;

        for (unsigned i = 0; i < 1000; i++) {
                g_autofree char *name = g_strdup_printf("user-%u", i), *namespace = g_strdup_printf("project-%u", i);

                bind(policy, namespace, "b", "ClusterRole", ROLE_PROJECT_ADMIN, "User", name);
        }
        begun_us = cpu_us();
        for (unsigned i = 0; i < rounds; i++) {
                g_assert_true(auth_policy_allows(policy, one, &VM("patch", "project-500"), NULL));
                g_assert_false(auth_policy_allows(policy, one, &VM("patch", "project-501"), NULL));
        }
        each_us = (cpu_us() - begun_us) / (2.0 * rounds);
        g_test_message("1,000 bindings of 1,000 users: %.2f us for a decision", each_us);
        g_assert_cmpfloat(each_us, <, 10);
        for (unsigned i = 0; i < 1000; i++) {
                g_autofree char *name = g_strdup_printf("r%u", i);

                set_rules(policy, "project-500", name, RULE(GABBRO, "\"virtualdisks\"", "\"get\""));
                bind(policy, "project-500", name, "Role", name, "User", "user-500");
        }
        begun_us = cpu_us();
        for (unsigned i = 0; i < rounds / 40; i++)
                g_assert_false(auth_policy_allows(policy, one, &VM("exec", "project-500"), NULL));
        each_us = (cpu_us() - begun_us) / (rounds / 40.0);
        g_test_message("1,000 bindings of one user in one project: %.2f us for a refusal", each_us);
        g_assert_cmpfloat(each_us, <, 5000);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
#define ADD(FUNCTION) g_test_add_func("/policy/" #FUNCTION, FUNCTION)
        ADD(rules_are_read_as_kubernetes_reads_them);
        ADD(paths_are_given_by_cluster_bindings_alone);
        ADD(a_binding_gives_where_it_stands_and_no_longer_than_it_stands);
        ADD(a_role_of_another_project_is_not_meant);
        ADD(subjects_are_users_groups_and_service_accounts);
        ADD(labels_bring_rules_into_an_aggregated_role);
        ADD(roles_that_aggregate_each_other_end);
        ADD(what_is_missing_is_told_at_once);
        ADD(a_refusal_in_the_cluster_says_where_it_is_allowed);
        ADD(the_reason_of_what_is_allowed_names_the_binding);
        ADD(who_can_lists_every_subject);
        ADD(built_in_roles_give_what_they_say);
        ADD(the_password_of_a_screen_is_a_right_of_its_own);
        ADD(a_project_admin_has_all_that_it_hands_on);
        ADD(each_permission_is_a_right_of_its_own_E52_E53_E54_E55_E56);
        ADD(a_decision_takes_microseconds);
        return g_test_run();
}
