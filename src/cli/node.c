/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

#define TTL_S 3600

static int make_token(struct cli *cli, const char *name, int ttl_s)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);
        struct cli_reply reply = {};

        json_set_string(doc, root, "nodeName", name);
        json_set_int(doc, root, "ttlSeconds", ttl_s);
        g_autofree char *text = json_to_text(root);
        struct cli_request request = {.method = "POST", .path = "/admin/v1/join-tokens", .body = text, .len = strlen(text)};
        int code = cli_expect(cli, &request, &reply);
        if (code == CLI_OK) {
                cli_say("%s", json_find_string(json_root(reply.doc), "token", NULL) ?: "");
                cli_hint("Good once, for %d minutes. Put it into a file on the host (mode 0600), there, as root:\n"
                         "  gabbro-agent --data-dir /var/lib/gabbro --gateway %s --join-token-file FILE",
                         (ttl_s + 59) / 60, cli->server);
        }
        cli_reply_clear(&reply);
        return code;
}

int cli_node(struct cli *cli, int argc, char **argv)
{
        g_autofree char *name = NULL;
        int ttl_s = TTL_S;
        const GOptionEntry entries[] = {
                {"name", 0, 0, G_OPTION_ARG_STRING, &name, "Only for a host of this name; needed to join again under a known name",
                 "NAME"},
                {"ttl", 0, 0, G_OPTION_ARG_INT, &ttl_s, "How long the token is good (3600)", "SECONDS"},
                {},
        };
        int code = cli_parse(cli, "node", entries,
                             "The token is good once. Give it to the host in a file.\n\n"
                             "Examples:\n"
                             "  gabbro node join-token > token\n"
                             "  gabbro-agent --data-dir DIR --gateway URL --join-token-file token",
                             &argc, &argv);

        if (code == CLI_OK && (argc != 2 || !g_str_equal(argv[1], "join-token")))
                code = cli_usage("what? gabbro node join-token; gabbro get node lists the hosts");
        if (code == CLI_OK && ttl_s <= 0)
                code = cli_usage("--ttl takes seconds, at least 1");
        return code == CLI_OK ? make_token(cli, name, ttl_s) : code;
}
