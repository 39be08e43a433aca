/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

struct token_options {
        char *user, *note, *output;
        char **groups;
        int ttl_s;
        gboolean all;
};

static int create_token(struct cli *cli, const struct token_options *options)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);
        struct cli_reply reply = {};

        json_set_string(doc, root, "user", options->user);
        json_set_string(doc, root, "note", options->note);
        if (options->ttl_s)
                json_set_int(doc, root, "ttlSeconds", options->ttl_s);
        for (char **group = options->groups; group && *group; group++)
                json_append(json_ensure_array(doc, root, "groups"), json_new_string(doc, *group));
        g_autofree char *text = json_to_text(root);
        struct cli_request request = {.method = "POST", .path = "/auth/v1/tokens", .body = text, .len = strlen(text)};
        int code = cli_expect(cli, &request, &reply);
        if (code == CLI_OK) {
                const struct json_value *made = json_root(reply.doc);
                cli_say("%s", json_find_string(made, "token", NULL) ?: "");
                cli_hint("Token %s of %s, until %s. It is shown this once; gabbro token revoke %s ends it.",
                         json_find_string(made, "id", NULL) ?: "", json_find_string(made, "user", NULL) ?: "",
                         json_find_string(made, "expires", NULL) ?: "", json_find_string(made, "id", NULL) ?: "");
        }
        cli_reply_clear(&reply);
        return code;
}

static void print_tokens(const struct json_value *items)
{
        struct cli_table *table = cli_table_new();

        cli_table_add(table,
                      (const char *const[]){"ID", "TYPE", "USER", "GROUPS", "CREATED", "EXPIRES", "LAST USED", "NOTE", NULL});
        for (const struct json_value *item = json_first(items); item; item = json_next(item)) {
                static const char *const keys[] = {"id", "type", "user", "groups", "created", "expires", "lastUsed", "note"};
                g_autofree char *groups = cli_joined(json_get(item, "groups"));
                const char *cells[G_N_ELEMENTS(keys) + 1] = {};

                for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
                        cells[i] = json_find_string(item, keys[i], NULL) ?: "-";
                cells[3] = *groups ? groups : "-";
                cli_table_add(table, cells);
        }
        cli_table_print(table);
        cli_table_free(table);
}

static int list_tokens(struct cli *cli, const struct token_options *options)
{
        g_autofree char *escaped = options->user ? g_uri_escape_string(options->user, NULL, false) : NULL;
        g_autofree char *path = g_strdup_printf("/auth/v1/tokens%s%s",
                                                options->user  ? "?user="
                                                : options->all ? "?all=true"
                                                               : "",
                                                escaped ?: "");
        return cli_print_list(cli, path, options->output, print_tokens);
}

static int revoke_tokens(struct cli *cli, int argc, char **argv)
{
        int worst = CLI_OK;

        for (int i = 2; i < argc; i++) {
                /* Who pastes the whole token means its id. */
                g_auto(GStrv) parts = g_strsplit(argv[i], ".", 0);
                const char *id = g_strv_length(parts) >= 3 ? parts[1] : argv[i];
                g_autofree char *escaped = g_uri_escape_string(id, NULL, false);
                g_autofree char *path = g_strconcat("/auth/v1/tokens/", escaped, NULL);
                struct cli_request request = {.method = "DELETE", .path = path};
                struct cli_reply reply = {};
                int code = cli_expect(cli, &request, &reply);

                if (code == CLI_OK)
                        cli_say("token %s revoked", id);
                else
                        worst = code;
                cli_reply_clear(&reply);
        }
        return worst;
}

static int check(const struct token_options *options, int argc, char **argv)
{
        const char *what = argc > 1 ? argv[1] : "";
        bool create_wanted = g_str_equal(what, "create"), list_wanted = g_str_equal(what, "list");

        if (!create_wanted && !list_wanted && !g_str_equal(what, "revoke"))
                return cli_usage("what? gabbro token create, gabbro token list or gabbro token revoke ID");
        if ((create_wanted || list_wanted) && argc > 2)
                return cli_usage("gabbro token %s takes no words", what);
        if (g_str_equal(what, "revoke") && argc < 3)
                return cli_usage("which one? gabbro token revoke ID; gabbro token list tells");
        if (options->ttl_s < 0)
                return cli_usage("--ttl takes seconds, at least 1");
        if (options->output && !g_str_equal(options->output, "json") && !g_str_equal(options->output, "yaml"))
                return cli_usage("-o knows json and yaml");
        return CLI_OK;
}

int cli_token(struct cli *cli, int argc, char **argv)
{
        struct token_options options = {};
        const GOptionEntry entries[] = {
                {"user", 0, 0, G_OPTION_ARG_STRING, &options.user, "Whose, when it is not your own (administrators)", "USER"},
                {"group", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.groups, "create: only this group of the user; repeat for more",
                 "GROUP"},
                {"ttl", 0, 0, G_OPTION_ARG_INT, &options.ttl_s, "create: how long it is good (2592000, at most 31622400)",
                 "SECONDS"},
                {"note", 0, 0, G_OPTION_ARG_STRING, &options.note, "create: what it is for", "TEXT"},
                {"all", 0, 0, G_OPTION_ARG_NONE, &options.all, "list: everybody's (administrators)", NULL},
                {"output", 'o', 0, G_OPTION_ARG_STRING, &options.output, "list: json or yaml", "FORMAT"},
                {},
        };
        int code = cli_parse(cli, "token", entries,
                             "A token acts for its user until it ends or is revoked. Its text is shown once; only a hash is kept.\n"
                             "Sessions and certificates are listed and revoked like tokens. Whoever acts with a token makes no\n"
                             "further ones: log in first.\n\n"
                             "Examples:\n"
                             "  gabbro token create --note 'backup script' --ttl 86400 > token\n"
                             "  gabbro token list --all\n"
                             "  gabbro token revoke q7x2mfp4ab",
                             &argc, &argv);

        if (code == CLI_OK)
                code = check(&options, argc, argv);
        if (code == CLI_OK && g_str_equal(argv[1], "create"))
                code = create_token(cli, &options);
        else if (code == CLI_OK)
                code = g_str_equal(argv[1], "list") ? list_tokens(cli, &options) : revoke_tokens(cli, argc, argv);
        g_free(options.user);
        g_free(options.note);
        g_free(options.output);
        g_strfreev(options.groups);
        return code;
}
