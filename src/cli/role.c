/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/permissions.h"
#include "auth/policy.h"
#include "cli/cli.h"
#include "generated/api_types.h"

#include <string.h>

/* Who may what: bindings in people's words, and the policy's own answer on who can. */

#define RBAC_GROUP   "rbac.authorization.k8s.io"
#define BUILT_IN     "gabbro:"
#define BUILDING     "gabbro:base:" /* parts of built-in roles: nobody is given them */
#define HELP_COLUMNS 24

struct role_options {
        char *user, *group, *account;
        gboolean cluster, local;
};

/* --- words
 * --------------------------------------------------------------------------------------------------------------------------- */

/* Built-in roles may be named without their prefix. */
static char *role_name(const struct role_options *options, const char *word)
{
        static const char *const built_in[] = {"viewer", "operator", "project-admin", "admin", "catalog", NULL};

        return !options->local && g_strv_contains(built_in, word) ? g_strconcat(BUILT_IN, word, NULL) : g_strdup(word);
}

static const struct schema_kind *binding_kind(const struct role_options *options)
{
        return options->cluster ? &api_cluster_role_binding_kind : &api_role_binding_kind;
}

static const char *role_kind(const struct role_options *options)
{
        return options->local ? "Role" : "ClusterRole";
}

/* The subject as a binding says it. */
static struct json_value *subject_of(const struct role_options *options, struct json_doc *doc)
{
        struct json_value *subject = json_new(doc, JSON_OBJECT);
        const char *colon = options->account ? strchr(options->account, ':') : NULL;

        if (options->account) {
                g_autofree char *namespace = g_strndup(options->account, (gsize)(colon - options->account));

                json_set_string(doc, subject, "kind", "ServiceAccount");
                json_set_string(doc, subject, "name", colon + 1);
                json_set_string(doc, subject, "namespace", namespace);
                return subject;
        }
        json_set_string(doc, subject, "kind", options->user ? "User" : "Group");
        json_set_string(doc, subject, "apiGroup", RBAC_GROUP);
        json_set_string(doc, subject, "name", options->user ?: options->group);
        return subject;
}

static bool is_subject(const struct json_value *subject, const struct json_value *wanted)
{
        static const char *const members[] = {"kind", "name", "namespace", NULL};

        for (const char *const *member = members; *member; member++)
                if (g_strcmp0(json_find_string(subject, *member, NULL), json_find_string(wanted, *member, NULL)) != 0)
                        return false;
        return true;
}

static char *subject_words(const struct role_options *options)
{
        if (options->user)
                return g_strdup_printf("user %s", options->user);
        return options->group ? g_strdup_printf("group %s", options->group)
                              : g_strdup_printf("service account %s", options->account);
}

static char *subject_option(const struct role_options *options)
{
        const char *name = options->user ?: options->group ?: options->account;
        g_autofree char *quoted = g_shell_quote(name);

        return g_strdup_printf("--%s %s", options->user ? "user" : options->group ? "group" : "service-account", quoted);
}

static char *place_words(const struct cli *cli, const struct role_options *options)
{
        return options->cluster ? g_strdup("the whole cloud") : g_strdup_printf("project %s", cli->namespace);
}

static int check_subject(const struct role_options *options)
{
        const char *colon = options->account ? strchr(options->account, ':') : NULL;

        if (!!options->user + !!options->group + !!options->account != 1)
                return cli_usage("to whom? one of --user NAME, --group NAME, --service-account PROJECT:NAME");
        if (options->account && (!colon || colon == options->account || !colon[1]))
                return cli_usage("--service-account takes PROJECT:NAME");
        if (options->cluster && options->local)
                return cli_usage("a role of a project cannot be given for the whole cloud");
        return CLI_OK;
}

/* --- asking
 * -------------------------------------------------------------------------------------------------------------------------- */

/* The list of a kind; @namespace NULL: everywhere. */
static int list_of(struct cli *cli, const struct schema_kind *kind, const char *namespace, struct cli_reply *ret_reply)
{
        g_autofree char *path = cli_path_in(kind, namespace, NULL);

        return cli_expect(cli, &(struct cli_request){.path = path}, ret_reply);
}

static const struct json_value *items_of(const struct cli_reply *reply)
{
        return json_get(json_root(reply->doc), "items");
}

/* --- grant
 * --------------------------------------------------------------------------------------------------------------------------- */

/* One binding for one role and one subject, so that what was granted can be taken away by itself. */
static char *binding_name(const struct role_options *options, const char *role)
{
        const char *word = options->user ? "user" : options->group ? "group" : "service-account";
        char *name = g_strdup_printf("%s.%s.%s", role, word, options->user ?: options->group ?: options->account);

        return g_strdelimit(name, "/%", '-');
}

static int send_binding(struct cli *cli, const struct role_options *options, const char *role, const char *name,
                        struct cli_reply *ret_reply)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT), *reference;
        g_autofree char *path = cli_path_in(binding_kind(options), cli->namespace, NULL), *text = NULL;

        json_set_string(doc, root, "apiVersion", RBAC_GROUP "/v1");
        json_set_string(doc, root, "kind", binding_kind(options)->kind);
        json_set_string(doc, json_ensure_object(doc, root, "metadata"), "name", name);
        json_append(json_ensure_array(doc, root, "subjects"), subject_of(options, doc));
        reference = json_ensure_object(doc, root, "roleRef");
        json_set_string(doc, reference, "apiGroup", RBAC_GROUP);
        json_set_string(doc, reference, "kind", role_kind(options));
        json_set_string(doc, reference, "name", role);
        text = json_to_text(root);
        return cli_call(cli, &(struct cli_request){.method = "POST", .path = path, .body = text, .len = strlen(text)}, ret_reply);
}

/* A binding of a role that is not there gives nothing, which nobody wants. */
static int check_role(struct cli *cli, const struct role_options *options, const char *role)
{
        const struct schema_kind *kind = options->local ? &api_role_kind : &api_cluster_role_kind;
        g_autofree char *path = cli_path_in(kind, cli->namespace, role);
        struct cli_reply reply = {};
        int code = cli_call(cli, &(struct cli_request){.path = path}, &reply);

        if (code == CLI_OK && reply.status == 404) {
                cli_error("there is no role %s; gabbro role list shows them%s", role,
                          options->local ? "" : ", --local means a Role of the project");
                code = CLI_NOT_FOUND;
        }
        cli_reply_clear(&reply); /* who may not read roles may still be allowed to bind them */
        return code;
}

static int grant(struct cli *cli, const struct role_options *options, const char *role)
{
        g_autofree char *name = binding_name(options, role), *who = subject_words(options), *where = place_words(cli, options);
        g_autofree char *option = subject_option(options), *quoted = g_shell_quote(role), *in = g_shell_quote(cli->namespace);
        struct cli_reply reply = {};
        int code = check_role(cli, options, role);

        if (code == CLI_OK)
                code = send_binding(cli, options, role, name, &reply);
        if (code == CLI_OK && reply.status == 409) {
                cli_say("%s has %s in %s already (%s/%s)", who, role, where, binding_kind(options)->singular, name);
        } else if (code == CLI_OK && reply.status >= 300) {
                code = cli_tell_status(&reply);
        } else if (code == CLI_OK) {
                cli_say("%s has %s in %s (%s/%s)", who, role, where, binding_kind(options)->singular, name);
                cli_say("to undo: gabbro role revoke %s %s %s%s%s", quoted, option, options->cluster ? "--cluster" : "-n ",
                        options->cluster ? "" : in, options->local ? " --local" : "");
        }
        cli_reply_clear(&reply);
        return code;
}

/* --- revoke
 * -------------------------------------------------------------------------------------------------------------------------- */

static bool is_of_role(const struct json_value *binding, const struct role_options *options, const char *role)
{
        const struct json_value *reference = json_get(binding, "roleRef");

        return g_strcmp0(json_find_string(reference, "kind", NULL), role_kind(options)) == 0 &&
               g_strcmp0(json_find_string(reference, "name", NULL), role) == 0;
}

/* Take the subject out; whether it was in. */
static bool take_out(struct json_value *subjects, const struct json_value *wanted)
{
        size_t before = json_length(subjects);

        for (size_t i = json_length(subjects); i > 0; i--)
                if (is_subject(json_at(subjects, i - 1), wanted))
                        json_remove_at(subjects, i - 1);
        return json_length(subjects) < before;
}

static int send_without(struct cli *cli, const struct role_options *options, struct json_value *binding)
{
        const char *name = json_find_string(binding, "metadata", "name", NULL);
        g_autofree char *path = cli_path_in(binding_kind(options), cli->namespace, name), *text = json_to_text(binding);
        bool empty = json_length(json_get(binding, "subjects")) == 0;
        struct cli_request request = {.method = empty ? "DELETE" : "PUT", .path = path};
        struct cli_reply reply = {};
        int code;

        if (!empty) {
                request.body = text;
                request.len = strlen(text);
        }
        code = cli_expect(cli, &request, &reply);
        if (code == CLI_OK)
                cli_note("%s/%s %s", binding_kind(options)->singular, name, empty ? "is deleted" : "names it no more");
        cli_reply_clear(&reply);
        return code;
}

static int take_away(struct cli *cli, const struct role_options *options, const char *role)
{
        g_autofree char *who = subject_words(options), *where = place_words(cli, options);
        g_autoptr(json_doc) doc = json_doc_new();
        const struct json_value *wanted = subject_of(options, doc);
        struct cli_reply reply = {};
        unsigned found = 0;
        int code = list_of(cli, binding_kind(options), cli->namespace, &reply);

        for (struct json_value *binding = code == CLI_OK ? json_first(items_of(&reply)) : NULL; binding && code == CLI_OK;
             binding = json_next(binding)) {
                if (!is_of_role(binding, options, role) || !take_out(json_get(binding, "subjects"), wanted))
                        continue;
                found++;
                code = send_without(cli, options, binding);
        }
        if (code == CLI_OK && found) {
                cli_say("%s no longer has %s in %s", who, role, where);
        } else if (code == CLI_OK) {
                cli_error("%s does not have %s in %s; gabbro role list -A shows who has what", who, role, where);
                code = CLI_NOT_FOUND;
        }
        cli_reply_clear(&reply);
        return code;
}

/* --- list
 * ---------------------------------------------------------------------------------------------------------------------------- */

static char *subject_text(const struct json_value *subject)
{
        const char *kind = json_find_string(subject, "kind", NULL) ?: "", *name = json_find_string(subject, "name", NULL) ?: "";
        const char *namespace = json_find_string(subject, "namespace", NULL);
        g_autofree char *lower = g_ascii_strdown(kind, -1);

        return g_strdup_printf("%s %s%s%s", lower, namespace ?: "", namespace ? ":" : "", name);
}

static void add_binding(struct cli_table *table, GHashTable *given, const struct json_value *binding)
{
        const char *role = json_find_string(binding, "roleRef", "name", NULL) ?: "";
        const char *namespace = json_find_string(binding, "metadata", "namespace", NULL);
        bool local = g_strcmp0(json_find_string(binding, "roleRef", "kind", NULL), "Role") == 0;
        const struct json_value *subjects = json_get(binding, "subjects");

        for (const struct json_value *subject = json_first(subjects); subject; subject = json_next(subject)) {
                g_autofree char *who = subject_text(subject);
                const char *const cells[] = {role, who, namespace ?: "(the whole cloud)",
                                             json_find_string(binding, "metadata", "name", NULL), NULL};

                cli_table_add(table, cells);
                if (!local)
                        g_hash_table_add(given, g_strdup(role));
        }
}

/* Roles that nobody has yet can be granted as well. */
static void add_ungranted(struct cli_table *table, GHashTable *given, const struct json_value *roles)
{
        for (const struct json_value *role = json_first(roles); role; role = json_next(role)) {
                const char *name = json_find_string(role, "metadata", "name", NULL) ?: "";
                const char *const cells[] = {name, "-", json_find_string(role, "metadata", "namespace", NULL) ?: "-", "-", NULL};

                if (!g_str_has_prefix(name, BUILDING) && !g_hash_table_contains(given, name))
                        cli_table_add(table, cells);
        }
}

/* What cannot be read is left out with a word: a project's administrator sees the project's. */
static bool readable(struct cli *cli, const struct schema_kind *kind, const char *namespace, struct cli_reply *ret_reply, int *code)
{
        g_autofree char *path = cli_path_in(kind, namespace, NULL);

        *code = cli_call(cli, &(struct cli_request){.path = path}, ret_reply);
        if (*code != CLI_OK)
                return false;
        if (ret_reply->status == 403) {
                cli_note("%s: you may not list them here", kind->plural);
                return false;
        }
        if (ret_reply->status != 200 || !ret_reply->doc)
                *code = cli_tell_status(ret_reply);
        return *code == CLI_OK;
}

static int list(struct cli *cli, bool everywhere)
{
        const struct schema_kind *const bindings[] = {&api_role_binding_kind, &api_cluster_role_binding_kind};
        const struct schema_kind *const roles[] = {&api_cluster_role_kind, &api_role_kind};
        static const char *const head[] = {"ROLE", "WHO", "WHERE", "BINDING", NULL};
        g_autoptr(GHashTable) given = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        const char *namespace = everywhere ? NULL : cli->namespace;
        struct cli_table *table = cli_table_new();
        int code = CLI_OK;

        cli_table_add(table, head);
        for (size_t i = 0; i < G_N_ELEMENTS(bindings) && code == CLI_OK; i++) {
                struct cli_reply reply = {};

                if (readable(cli, bindings[i], namespace, &reply, &code))
                        for (const struct json_value *item = json_first(items_of(&reply)); item; item = json_next(item))
                                add_binding(table, given, item);
                cli_reply_clear(&reply);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(roles) && code == CLI_OK; i++) {
                struct cli_reply reply = {};

                if (readable(cli, roles[i], namespace, &reply, &code))
                        add_ungranted(table, given, items_of(&reply));
                cli_reply_clear(&reply);
        }
        if (code == CLI_OK)
                cli_table_print(table);
        cli_table_free(table);
        return code;
}

/* --- who can
 * ------------------------------------------------------------------------------------------------------------------------- */

static int fill_policy(struct cli *cli, struct auth_policy *policy, const char *namespace)
{
        const struct schema_kind *const kinds[] = {&api_cluster_role_kind, &api_cluster_role_binding_kind, &api_role_kind,
                                                   &api_role_binding_kind};
        int code = CLI_OK;

        for (size_t i = 0; i < (namespace ? 4 : 2) && code == CLI_OK; i++) {
                struct cli_reply reply = {};

                code = list_of(cli, kinds[i], namespace, &reply);
                for (const struct json_value *item = code == CLI_OK ? json_first(items_of(&reply)) : NULL; item;
                     item = json_next(item))
                        (i % 2 ? auth_policy_set_binding
                               : auth_policy_set_role)(policy, json_find_string(item, "metadata", "namespace", NULL),
                                                       json_find_string(item, "metadata", "name", NULL) ?: "", item);
                cli_reply_clear(&reply);
        }
        return code;
}

static void add_grant(const struct auth_grant *grant, void *userdata)
{
        static const char prefix[] = "system:serviceaccount:";
        bool account = g_str_equal(grant->subject_kind, "User") && g_str_has_prefix(grant->subject, prefix);
        g_autofree char *lower = g_ascii_strdown(grant->subject_kind, -1);
        g_autofree char *who = account ? g_strdup_printf("serviceaccount %s", grant->subject + strlen(prefix))
                                       : g_strdup_printf("%s %s", lower, grant->subject);
        const char *const cells[] = {who, grant->role, grant->binding_namespace ?: "(the whole cloud)", grant->binding, NULL};

        cli_table_add(userdata, cells);
}

/* "start" "vm/console" "Start Child Host": what is asked for. The texts live in @ret_parts or in tables. */
static int take_question(const struct cli *cli, int argc, char **argv, char ***ret_parts, struct auth_attributes *ret_attributes)
{
        const struct auth_permission *permission = argc == 3 ? auth_permission_find(argv[2]) : NULL;
        g_auto(GStrv) parts = NULL;
        const struct schema_kind *kind;

        if (permission) {
                kind = auth_kind_of(permission->group, permission->resource);
                *ret_attributes = auth_permission_attributes(permission, kind && kind->namespaced ? cli->namespace : NULL, NULL);
                return CLI_OK;
        }
        if (argc < 4 || argc > 5)
                return cli_usage("who can do what? gabbro role who-can VERB KIND [NAME], or gabbro role who-can \"PERMISSION\"");
        parts = g_strsplit(argv[3], "/", 2);
        kind = cli_kind(parts[0]);
        if (!kind)
                return CLI_USAGE;
        *ret_attributes = (struct auth_attributes){.verb = argv[2],
                                                   .group = kind->group,
                                                   .resource = kind->plural,
                                                   .subresource = parts[1],
                                                   .namespace = kind->namespaced ? cli->namespace : NULL,
                                                   .name = argc == 5 ? argv[4] : NULL,
                                                   .hidden = kind->hidden};
        *ret_parts = g_steal_pointer(&parts);
        return CLI_OK;
}

static int who_can(struct cli *cli, int argc, char **argv)
{
        static const char *const head[] = {"WHO", "ROLE", "WHERE", "BINDING", NULL};
        g_autoptr(auth_policy) policy = auth_policy_new();
        struct cli_table *table = cli_table_new();
        struct auth_attributes attributes = {};
        g_auto(GStrv) parts = NULL;
        int code = take_question(cli, argc, argv, &parts, &attributes);

        if (code == CLI_OK)
                code = fill_policy(cli, policy, attributes.namespace);
        if (code == CLI_OK) {
                cli_table_add(table, head);
                auth_policy_who_can(policy, &attributes, add_grant, table);
                cli_table_print(table);
                cli_note("members of the group gabbro:administrators can always");
        }
        cli_table_free(table);
        return code;
}

/* --- the verb
 * ------------------------------------------------------------------------------------------------------------------------ */

static int permissions(void)
{
        static const char *const head[] = {"PERMISSION", "RIGHT", "WHAT FOR", NULL};
        struct cli_table *table = cli_table_new();

        cli_table_add(table, head);
        for (const struct auth_permission *permission = auth_permissions; permission->name; permission++) {
                g_autofree char *right = auth_permission_right(permission);
                const char *const cells[] = {permission->name, right, permission->words, NULL};

                cli_table_add(table, cells);
        }
        cli_table_print(table);
        cli_table_free(table);
        return CLI_OK;
}

static char *help_text(void)
{
        GString *text = g_string_new(
                "list shows who has what, and the roles that can be granted. grant gives a role in the project, or with --cluster\n"
                "in the whole cloud, and prints how to undo it; revoke takes it away, at once. who-can answers from the roles and\n"
                "bindings as they are. viewer, operator, project-admin and admin mean gabbro:viewer and so on.\n\n"
                "Permissions by name, for who-can, and the right that a role gives for each:\n");

        for (const struct auth_permission *permission = auth_permissions; permission->name; permission++) {
                g_autofree char *right = auth_permission_right(permission);

                g_string_append_printf(text, "  %-*s%s\n", HELP_COLUMNS, permission->name, right);
        }
        g_string_append(text, "\nExamples:\n"
                              "  gabbro role grant project-admin --group team-blue -n blue\n"
                              "  gabbro role revoke viewer --user bob -n blue\n"
                              "  gabbro role who-can delete vm -n blue\n"
                              "  gabbro role who-can \"Reboot Host\"");
        return g_string_free(text, FALSE);
}

static int run(struct cli *cli, const struct role_options *options, bool everywhere, int argc, char **argv)
{
        const char *word = argc > 1 ? argv[1] : "";
        bool grants = g_str_equal(word, "grant"), revokes = g_str_equal(word, "revoke");
        g_autofree char *role = NULL;
        int code;

        if (g_str_equal(word, "list") && argc == 2)
                return list(cli, everywhere);
        if (g_str_equal(word, "who-can"))
                return who_can(cli, argc, argv);
        if (g_str_equal(word, "permissions") && argc == 2)
                return permissions();
        if (!grants && !revokes)
                return cli_usage("what? gabbro role list|grant|revoke|who-can|permissions");
        if (argc != 3)
                return cli_usage("which role? gabbro role %s ROLE --user NAME", word);
        code = check_subject(options);
        role = role_name(options, argv[2]);
        if (code == CLI_OK)
                code = (grants ? grant : take_away)(cli, options, role);
        return code;
}

int cli_role(struct cli *cli, int argc, char **argv)
{
        struct role_options options = {};
        gboolean everywhere = FALSE;
        const GOptionEntry entries[] = {
                {"user", 0, 0, G_OPTION_ARG_STRING, &options.user, "A person or program by its name", "NAME"},
                {"group", 0, 0, G_OPTION_ARG_STRING, &options.group, "All members of a group", "NAME"},
                {"service-account", 0, 0, G_OPTION_ARG_STRING, &options.account, "A service account of a project", "PROJECT:NAME"},
                {"cluster", 0, 0, G_OPTION_ARG_NONE, &options.cluster, "In the whole cloud instead of the project", NULL},
                {"local", 0, 0, G_OPTION_ARG_NONE, &options.local, "The role is one of the project's own", NULL},
                {"all-namespaces", 'A', 0, G_OPTION_ARG_NONE, &everywhere, "list: in all projects", NULL},
                {},
        };
        g_autofree char *help = help_text();
        int code = cli_parse(cli, "role", entries, help, &argc, &argv);

        if (code == CLI_OK)
                code = run(cli, &options, everywhere, argc, argv);
        g_free(options.user);
        g_free(options.group);
        g_free(options.account);
        return code;
}
