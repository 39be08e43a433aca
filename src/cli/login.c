/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "cli/config.h"
#include "cli/kubeconfig.h"
#include "cli/prompt.h"

#include <string.h>

/* --- login
 * ----------------------------------------------------------------------------------------------------------------------- */

struct login_options {
        char *user, *to;
        int ttl_s;
        gboolean password_stdin;
};

/* The words that a password goes in must be wiped, so this body is not left to a JSON document's arena. */
static int ask(struct cli *cli, const struct login_options *options, const char *password, struct cli_reply *ret_reply)
{
        GString *body = g_string_new("{\"user\":");
        int code;

        json_write_string(options->user, strlen(options->user), body);
        g_string_append(body, ",\"password\":");
        json_write_string(password, strlen(password), body);
        if (options->ttl_s)
                g_string_append_printf(body, ",\"ttlSeconds\":%d", options->ttl_s);
        g_string_append(body, ",\"note\":\"gabbro login\"}");
        struct cli_request request = {.method = "POST", .path = "/auth/v1/login", .body = body->str, .len = body->len};
        code = cli_call(cli, &request, ret_reply);
        explicit_bzero(body->str, body->len);
        g_string_free(body, TRUE);
        if (code != CLI_OK || ret_reply->status == 201)
                return code;
        if (ret_reply->status != 401)
                return cli_tell_status(ret_reply);
        cli_error("the user name or the password is wrong, or the user is disabled");
        return CLI_UNREACHABLE;
}

static int put_entry(struct json_doc *doc, void *userdata)
{
        kubeconfig_put(doc, userdata);
        return CLI_OK;
}

static int keep(struct cli *cli, const struct login_options *options, const struct cli_reply *reply)
{
        g_autofree char *path = options->to ? g_strdup(options->to) : kubeconfig_path(cli);
        g_autofree char *cluster = g_strconcat("gabbro-", cli->server + strlen("https://"), NULL);
        g_autofree char *name = g_strconcat(options->user, "@", cli->server + strlen("https://"), NULL);
        struct kubeconfig_entry entry = {
                .name = name,
                .cluster = cluster,
                .server = cli->server,
                .ca_pem = cli->ca_pem,
                .insecure = cli->insecure,
                .token = json_find_string(json_root(reply->doc), "token", NULL),
        };
        int code = kubeconfig_edit(path, put_entry, &entry);

        if (code == CLI_OK)
                cli_say("logged in as %s until %s; context %s in %s", options->user,
                        json_find_string(json_root(reply->doc), "expires", NULL) ?: "", name, path);
        return code;
}

static int login(struct cli *cli, const struct login_options *options)
{
        g_autofree char *prompt = g_strdup_printf("Password of %s at %s", options->user, cli->server);
        struct cli_reply reply = {};
        char *password = NULL;
        int code = prompt_secret(prompt, options->password_stdin, &password);

        g_clear_pointer(&cli->token, g_free); /* whoever was logged in before has no part in this */
        g_clear_pointer(&cli->certificate_pem, g_free);
        g_clear_pointer(&cli->key_pem, g_free);
        if (code == CLI_OK)
                code = ask(cli, options, password, &reply);
        if (code == CLI_OK)
                code = keep(cli, options, &reply);
        prompt_wipe(password);
        cli_reply_clear(&reply);
        return code;
}

/* With a server named there need be no kubeconfig yet: it is only written. */
static int find_server(struct cli *cli)
{
        char *path = cli->option_kubeconfig;
        int code;

        if (!cli->option_server)
                return config_load(cli);
        g_free(cli->option_token);
        cli->option_token = g_strdup("");
        cli->option_kubeconfig = NULL;
        code = config_load(cli);
        cli->option_kubeconfig = path;
        return code;
}

int cli_login(struct cli *cli, int argc, char **argv)
{
        struct login_options options = {};
        const GOptionEntry entries[] = {
                {"password-stdin", 0, 0, G_OPTION_ARG_NONE, &options.password_stdin, "Take the password from standard input", NULL},
                {"ttl", 0, 0, G_OPTION_ARG_INT, &options.ttl_s, "How long the session is good (43200, at most 604800)", "SECONDS"},
                {"to", 0, 0, G_OPTION_ARG_FILENAME, &options.to, "Kubeconfig that gets the session (the one that is read)", "FILE"},
                {},
        };
        int code = cli_options(
                cli, "login", entries,
                "The session goes into the kubeconfig, as a context of its own; kubectl uses it too. The gateway comes\n"
                "from --server and --certificate-authority, else from the context that is there.\n\n"
                "Examples:\n"
                "  gabbro login rose --server https://cloud.example.org:6443 --certificate-authority ca.crt\n"
                "  gabbro login rose",
                &argc, &argv);

        if (code == CLI_OK && argc != 2)
                code = cli_usage("who? gabbro login USER");
        if (code == CLI_OK && options.ttl_s < 0)
                code = cli_usage("--ttl takes seconds, at least 60");
        if (code == CLI_OK)
                code = find_server(cli);
        if (code == CLI_OK) {
                options.user = argv[1];
                code = login(cli, &options);
        }
        g_free(options.to);
        return code;
}

/* --- logout
 * ---------------------------------------------------------------------------------------------------------------------- */

struct forgetting {
        const char *context, *token;
};

static int forget(struct json_doc *doc, void *userdata)
{
        const struct forgetting *forgetting = userdata;
        struct json_value *user = kubeconfig_user(doc, forgetting->context);

        /* Only what was ended: another login may have come meanwhile. */
        if (g_strcmp0(json_find_string(user, "token", NULL), forgetting->token) == 0)
                json_remove(user, "token");
        return CLI_OK;
}

int cli_logout(struct cli *cli, int argc, char **argv)
{
        struct cli_request request = {.method = "POST", .path = "/auth/v1/logout", .body = "{}", .len = 2};
        struct cli_reply reply = {};
        int code = cli_parse(cli, "logout", NULL,
                             "Ends the session of the current context at the gateway, and takes it out of the kubeconfig.\n\n"
                             "Examples:\n"
                             "  gabbro logout",
                             &argc, &argv);

        if (code == CLI_OK && argc != 1)
                code = cli_usage("gabbro logout takes no words");
        if (code == CLI_OK)
                code = cli_expect(cli, &request, &reply);
        if (code == CLI_OK && !cli->option_token) {
                g_autofree char *path = kubeconfig_path(cli);
                struct forgetting forgetting = {.context = cli->option_context, .token = cli->token};

                code = kubeconfig_edit(path, forget, &forgetting);
        }
        if (code == CLI_OK)
                cli_say("logged out");
        cli_reply_clear(&reply);
        return code;
}

/* --- whoami
 * ---------------------------------------------------------------------------------------------------------------------- */

static void tell(const char *what, const char *value)
{
        if (value)
                cli_say("%-12s %s", what, value);
}

int cli_whoami(struct cli *cli, int argc, char **argv)
{
        g_autofree char *output = NULL;
        const GOptionEntry entries[] = {
                {"output", 'o', 0, G_OPTION_ARG_STRING, &output, "json or yaml", "FORMAT"},
                {},
        };
        struct cli_request request = {.path = "/auth/v1/whoami"};
        struct cli_reply reply = {};
        int code = cli_parse(cli, "whoami", entries,
                             "Asks the gateway who the credentials of the current context belong to.\n\n"
                             "Examples:\n"
                             "  gabbro whoami",
                             &argc, &argv);

        if (code == CLI_OK && (argc != 1 || (output && !g_str_equal(output, "json") && !g_str_equal(output, "yaml"))))
                code = cli_usage("gabbro whoami [-o json|yaml]");
        if (code == CLI_OK)
                code = cli_expect(cli, &request, &reply);
        if (code == CLI_OK && output) {
                cli_print_object(json_root(reply.doc), output);
        } else if (code == CLI_OK) {
                const struct json_value *root = json_root(reply.doc);

                tell("User", json_find_string(root, "user", NULL));
                for (const struct json_value *group = json_first(json_get(root, "groups")); group; group = json_next(group))
                        tell("Group", json_string(group, NULL));
                tell("Credential", json_find_string(root, "token", "type", NULL));
                tell("Id", json_find_string(root, "token", "id", NULL));
                tell("Expires", json_find_string(root, "token", "expires", NULL));
                tell("Server", cli->server);
        }
        cli_reply_clear(&reply);
        return code;
}
