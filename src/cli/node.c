/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

int cli_node(struct cli *cli, int argc, char **argv)
{
        g_autofree char *name = NULL;
        int ttl_s = 3600;
        const GOptionEntry entries[] = {
                {"name", 0, 0, G_OPTION_ARG_STRING, &name, "Only for a host of this name; needed to join again under a known name",
                 "NAME"},
                {"ttl", 0, 0, G_OPTION_ARG_INT, &ttl_s, "How long the token is good (3600)", "SECONDS"},
                {},
        };
        struct cli_reply reply = {};
        int code = cli_parse(cli, "node", entries,
                             "The token is good once. Give it to the host in a file:\n  gabbro-agent --join-token-file FILE", &argc,
                             &argv);

        if (code == CLI_OK && (argc != 2 || !g_str_equal(argv[1], "join-token"))) {
                cli_error("gabbro node join-token");
                code = CLI_USAGE;
        }
        if (code != CLI_OK)
                return code;
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);
        json_set_string(doc, root, "nodeName", name);
        json_set_int(doc, root, "ttlSeconds", ttl_s);
        g_autofree char *text = json_to_text(root);
        struct cli_request request = {.method = "POST", .path = "/admin/v1/join-tokens", .body = text, .len = strlen(text)};
        code = cli_expect(cli, &request, &reply);
        if (code == CLI_OK && reply.doc)
                printf("%s\n", json_find_string(json_root(reply.doc), "token", NULL) ?: "");
        cli_reply_clear(&reply);
        return code;
}
