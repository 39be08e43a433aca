/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/auth.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/kubeconfig.h"
#include "cli/prompt.h"
#include "generated/api_types.h"

#include <errno.h>
#include <string.h>

struct user_options {
        char *display_name, *output, *to, *note;
        char **groups, **add, **remove;
        int ttl_s;
        gboolean password_stdin, no_password;
};

/* One deed of `gabbro user`. */
struct deed {
        const char *name;
        int least, most; /* words behind it */
        int (*run)(struct cli *cli, const struct user_options *options, int argc, char **argv);
};

/* --- passwords
 * -------------------------------------------------------------------------------------------------------------------- */

/* Texts that must be wiped: no document, whose arena nobody wipes. */
static int send_passwords(struct cli *cli, const char *path, const char *first_key, const char *first, const char *second_key,
                          const char *second)
{
        GString *body = g_string_new("{\"");
        struct cli_reply reply = {};
        int code;

        g_string_append_printf(body, "%s\":", first_key);
        json_write_string(first, strlen(first), body);
        if (second_key) {
                g_string_append_printf(body, ",\"%s\":", second_key);
                json_write_string(second, strlen(second), body);
        }
        g_string_append_c(body, '}');
        struct cli_request request = {.method = "POST", .path = path, .body = body->str, .len = body->len};
        code = cli_expect(cli, &request, &reply);
        explicit_bzero(body->str, body->len);
        g_string_free(body, TRUE);
        cli_reply_clear(&reply);
        return code;
}

static int set_password(struct cli *cli, const struct user_options *options, const char *name)
{
        g_autofree char *user_path = cli_path_in(&api_user_kind, NULL, name), *path = g_strconcat(user_path, "/password", NULL);
        g_autofree char *prompt = g_strdup_printf("New password of %s", name);
        char *password = NULL;
        int code = prompt_new_password(prompt, options->password_stdin, &password);

        if (code == CLI_OK)
                code = send_passwords(cli, path, "password", password, NULL, NULL);
        prompt_wipe(password);
        return code;
}

static int change_own_password(struct cli *cli, const struct user_options *options)
{
        char *old = NULL, *fresh = NULL;
        int code = prompt_secret("Old password", options->password_stdin, &old);

        if (code == CLI_OK)
                code = prompt_new_password("New password", options->password_stdin, &fresh);
        if (code == CLI_OK)
                code = send_passwords(cli, "/auth/v1/password", "oldPassword", old, "newPassword", fresh);
        if (code == CLI_OK)
                cli_say("password changed; all sessions have ended: gabbro login");
        prompt_wipe(old);
        prompt_wipe(fresh);
        return code;
}

static int run_passwd(struct cli *cli, const struct user_options *options, int argc, char **argv)
{
        int code;

        if (argc == 0)
                return change_own_password(cli, options);
        code = set_password(cli, options, argv[0]);
        if (code == CLI_OK)
                cli_say("password of %s set; all sessions of %s have ended", argv[0], argv[0]);
        return code;
}

/* --- users
 * ------------------------------------------------------------------------------------------------------------------------ */

static void put_groups(struct json_doc *doc, struct json_value *spec, char **groups)
{
        for (; groups && *groups; groups++)
                json_append(json_ensure_array(doc, spec, "groups"), json_new_string(doc, *groups));
}

static int run_create(struct cli *cli, const struct user_options *options, int argc, char **argv)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT), *spec;
        g_autofree char *name = NULL;
        int code;

        json_set_root(doc, root);
        json_set_string(doc, root, "apiVersion", "gabbro.dev/v1");
        json_set_string(doc, root, "kind", "User");
        json_set_string(doc, json_ensure_object(doc, root, "metadata"), "name", argv[0]);
        spec = json_ensure_object(doc, root, "spec");
        json_set_string(doc, spec, "displayName", options->display_name);
        put_groups(doc, spec, options->groups);
        code = cli_create_doc(cli, &api_user_kind, doc, &name);
        if (code == CLI_OK && !options->no_password)
                code = set_password(cli, options, argv[0]);
        if (code == CLI_OK)
                cli_say("user %s created", argv[0]);
        else if (name)
                cli_note("The user %s was created, but has no password: gabbro user passwd %s", argv[0], argv[0]);
        return code;
}

static void print_users(const struct json_value *items)
{
        struct cli_table *table = cli_table_new();

        cli_table_add(table, (const char *const[]){"NAME", "DISPLAY NAME", "GROUPS", "DISABLED", "CREATED", NULL});
        for (const struct json_value *item = json_first(items); item; item = json_next(item)) {
                g_autofree char *groups = cli_joined(json_find(item, "spec", "groups", NULL));

                cli_table_add(table, (const char *const[]){
                                             json_find_string(item, "metadata", "name", NULL) ?: "",
                                             json_find_string(item, "spec", "displayName", NULL) ?: "-", *groups ? groups : "-",
                                             json_bool(json_find(item, "spec", "disabled", NULL), false) ? "yes" : "no",
                                             json_find_string(item, "metadata", "creationTimestamp", NULL) ?: "", NULL});
        }
        cli_table_print(table);
        cli_table_free(table);
}

static int run_list(struct cli *cli, const struct user_options *options, int argc, char **argv)
{
        g_autofree char *path = cli_path_in(&api_user_kind, NULL, NULL);
        return cli_print_list(cli, path, options->output, print_users);
}

static int send_user(struct cli *cli, const char *name, const char *method, const char *type, const struct json_value *body)
{
        g_autofree char *path = cli_path_in(&api_user_kind, NULL, name), *text = body ? json_to_text(body) : NULL;
        struct cli_request request = {
                .method = method, .path = path, .content_type = type, .body = text, .len = text ? strlen(text) : 0};
        struct cli_reply reply = {};
        int code = cli_expect(cli, &request, &reply);

        cli_reply_clear(&reply);
        return code;
}

static int set_disabled(struct cli *cli, const char *name, bool disabled)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);
        int code;

        json_set_root(doc, root);
        json_set_bool(doc, json_ensure_object(doc, root, "spec"), "disabled", disabled);
        code = send_user(cli, name, "PATCH", "application/merge-patch+json", root);
        if (code == CLI_OK)
                cli_say("user %s %s", name, disabled ? "disabled: every request is refused, open streams end" : "enabled");
        return code;
}

static int run_disable(struct cli *cli, const struct user_options *options, int argc, char **argv)
{
        return set_disabled(cli, argv[0], true);
}

static int run_enable(struct cli *cli, const struct user_options *options, int argc, char **argv)
{
        return set_disabled(cli, argv[0], false);
}

static int run_delete(struct cli *cli, const struct user_options *options, int argc, char **argv)
{
        int code = send_user(cli, argv[0], "DELETE", NULL, NULL);

        if (code == CLI_OK)
                cli_say("user %s deleted, with all tokens, sessions and certificates", argv[0]);
        return code;
}

static bool contains(char **list, const char *text)
{
        return list && g_strv_contains((const char *const *)list, text);
}

/* What the groups become: --group sets them, --add and --remove change them. */
static char **new_groups(const struct user_options *options, const struct json_value *before)
{
        g_autoptr(GStrvBuilder) groups = g_strv_builder_new();

        for (char **group = options->groups; group && *group; group++)
                if (!contains(options->remove, *group))
                        g_strv_builder_add(groups, *group);
        for (const struct json_value *value = json_first(before); !options->groups && value; value = json_next(value))
                if (!contains(options->remove, json_string(value, "")) && !contains(options->add, json_string(value, "")))
                        g_strv_builder_add(groups, json_string(value, ""));
        for (char **group = options->add; group && *group; group++)
                g_strv_builder_add(groups, *group);
        return g_strv_builder_end(groups);
}

static int run_groups(struct cli *cli, const struct user_options *options, int argc, char **argv)
{
        g_autofree char *path = cli_path_in(&api_user_kind, NULL, argv[0]);
        struct cli_request request = {.path = path};
        struct cli_reply reply = {};
        int code = cli_expect(cli, &request, &reply);

        if (code == CLI_OK && (options->groups || options->add || options->remove)) {
                struct json_value *root = json_root(reply.doc), *spec = json_ensure_object(reply.doc, root, "spec");
                g_auto(GStrv) groups = new_groups(options, json_get(spec, "groups"));

                json_set(reply.doc, spec, "groups", json_new(reply.doc, JSON_ARRAY));
                put_groups(reply.doc, spec, groups);
                code = send_user(cli, argv[0], "PUT", NULL, root); /* with the version that was read */
        }
        if (code == CLI_OK)
                for (const struct json_value *group = json_first(json_find(json_root(reply.doc), "spec", "groups", NULL)); group;
                     group = json_next(group))
                        cli_say("%s", json_string(group, ""));
        cli_reply_clear(&reply);
        return code;
}

/* --- certificates
 * ------------------------------------------------------------------------------------------------------------- */

static int keep_certificate(struct cli *cli, const char *path, const char *user, const char *key, const struct cli_reply *reply)
{
        g_autofree char *cluster = g_strconcat("gabbro-", cli->server + strlen("https://"), NULL);
        g_autofree char *name = g_strconcat(user, "@", cli->server + strlen("https://"), NULL);
        const struct kubeconfig_entry entry = {
                .name = name,
                .cluster = cluster,
                .server = cli->server,
                .ca_pem = cli->ca_pem,
                .certificate_pem = json_find_string(json_root(reply->doc), "certificate", NULL),
                .key_pem = key,
        };
        g_autoptr(json_doc) doc = json_doc_new();
        GString *text = g_string_new(NULL);
        int r;

        json_set_root(doc, json_new(doc, JSON_OBJECT));
        kubeconfig_put(doc, &entry);
        json_write_yaml(json_root(doc), text);
        r = file_write_exclusive(path, text->str, text->len, 0600);
        explicit_bzero(text->str, text->len);
        g_string_free(text, TRUE);
        if (r < 0)
                cli_error("cannot write %s: %s; the certificate %s was made and is lost: revoke it with gabbro token revoke", path,
                          g_strerror(-r), json_find_string(json_root(reply->doc), "serial", NULL) ?: "");
        return r < 0 ? CLI_FAILED : CLI_OK;
}

/* The key is made here and never leaves this machine but in the file. */
static int run_certificate(struct cli *cli, const struct user_options *options, int argc, char **argv)
{
        g_autofree char *path = options->to ? g_strdup(options->to) : g_strconcat(argv[0], ".kubeconfig", NULL);
        g_autofree char *user_path = cli_path_in(&api_user_kind, NULL, argv[0]);
        g_autofree char *url = g_strconcat(user_path, "/certificate", NULL), *csr = NULL, *text = NULL;
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);
        struct cli_reply reply = {};
        char *key = NULL;
        int code;

        if (g_file_test(path, G_FILE_TEST_EXISTS))
                return cli_usage("%s is there already; name another file with --to", path);
        if (auth_request_new("gabbro", &key, &csr) < 0) {
                cli_error("cannot make a key");
                return CLI_FAILED;
        }
        json_set_string(doc, root, "csr", csr);
        json_set_string(doc, root, "note", options->note);
        if (options->ttl_s)
                json_set_int(doc, root, "ttlSeconds", options->ttl_s);
        text = json_to_text(root);
        struct cli_request request = {.method = "POST", .path = url, .body = text, .len = strlen(text)};
        code = cli_expect(cli, &request, &reply);
        if (code == CLI_OK)
                code = keep_certificate(cli, path, argv[0], key, &reply);
        if (code == CLI_OK)
                cli_say("certificate %s of %s until %s in %s", json_find_string(json_root(reply.doc), "serial", NULL) ?: "",
                        argv[0], json_find_string(json_root(reply.doc), "expires", NULL) ?: "", path);
        prompt_wipe(key);
        cli_reply_clear(&reply);
        return code;
}

/* --- the verb
 * --------------------------------------------------------------------------------------------------------------------- */

static const struct deed deeds[] = {
        {"create", 1, 1, run_create}, {"list", 0, 0, run_list},
        {"passwd", 0, 1, run_passwd}, {"disable", 1, 1, run_disable},
        {"enable", 1, 1, run_enable}, {"delete", 1, 1, run_delete},
        {"groups", 1, 1, run_groups}, {"certificate", 1, 1, run_certificate},
};

static int run(struct cli *cli, const struct user_options *options, int argc, char **argv)
{
        const char *what = argc > 1 ? argv[1] : "";

        if (options->output && !g_str_equal(options->output, "json") && !g_str_equal(options->output, "yaml"))
                return cli_usage("-o knows json and yaml");
        if (options->ttl_s < 0)
                return cli_usage("--ttl takes seconds, at least 1");
        for (size_t i = 0; i < G_N_ELEMENTS(deeds); i++) {
                if (!g_str_equal(deeds[i].name, what))
                        continue;
                if (argc - 2 < deeds[i].least)
                        return cli_usage("who? gabbro user %s NAME", what);
                if (argc - 2 > deeds[i].most)
                        return cli_usage("gabbro user %s takes %s", what, deeds[i].most ? "one name" : "no words");
                return deeds[i].run(cli, options, argc - 2, argv + 2);
        }
        return cli_usage("what? gabbro user create|list|passwd|disable|enable|delete|groups|certificate");
}

int cli_user(struct cli *cli, int argc, char **argv)
{
        struct user_options options = {};
        const GOptionEntry entries[] = {
                {"display-name", 0, 0, G_OPTION_ARG_STRING, &options.display_name, "create: name for people", "TEXT"},
                {"group", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.groups,
                 "create: a group; groups: these and no others; repeat for more", "GROUP"},
                {"add", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.add, "groups: one more", "GROUP"},
                {"remove", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.remove, "groups: one less", "GROUP"},
                {"password-stdin", 0, 0, G_OPTION_ARG_NONE, &options.password_stdin,
                 "create, passwd: take the password from standard input (passwd of your own: the old one, then the new one)", NULL},
                {"no-password", 0, 0, G_OPTION_ARG_NONE, &options.no_password, "create: who acts with tokens or certificates alone",
                 NULL},
                {"ttl", 0, 0, G_OPTION_ARG_INT, &options.ttl_s, "certificate: how long it is good (7776000)", "SECONDS"},
                {"note", 0, 0, G_OPTION_ARG_STRING, &options.note, "certificate: what it is for", "TEXT"},
                {"to", 0, 0, G_OPTION_ARG_FILENAME, &options.to, "certificate: the new kubeconfig (NAME.kubeconfig)", "FILE"},
                {"output", 'o', 0, G_OPTION_ARG_STRING, &options.output, "list: json or yaml", "FORMAT"},
                {},
        };
        int code = cli_parse(cli, "user", entries,
                             "People who log in. passwd without a name changes your own password; everything else is done by\n"
                             "administrators, the members of the group gabbro:administrators.\n\n"
                             "Examples:\n"
                             "  gabbro user create rose --display-name 'Rose Miller' --group staff\n"
                             "  gabbro user groups rose --add night-shift --remove staff\n"
                             "  gabbro user disable rose\n"
                             "  gabbro user certificate robot --ttl 2592000 --to robot.kubeconfig",
                             &argc, &argv);

        if (code == CLI_OK)
                code = run(cli, &options, argc, argv);
        g_free(options.display_name);
        g_free(options.output);
        g_free(options.to);
        g_free(options.note);
        g_strfreev(options.groups);
        g_strfreev(options.add);
        g_strfreev(options.remove);
        return code;
}
