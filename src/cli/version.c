/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <stdio.h>

int cli_version(struct cli *cli, int argc, char **argv)
{
        gboolean client = FALSE;
        const GOptionEntry entries[] = {
                {"client", 0, 0, G_OPTION_ARG_NONE, &client, "Only of this program", NULL},
                {},
        };
        struct cli_reply reply = {};
        int code = cli_parse(cli, "version", entries, NULL, &argc, &argv);

        printf("gabbro %s\n", GABBRO_VERSION);
        if (client)
                return CLI_OK;
        if (code == CLI_OK)
                code = cli_expect(cli, &(struct cli_request){.path = "/version"}, &reply);
        if (code == CLI_OK && reply.doc)
                printf("gateway %s at %s\n", json_find_string(json_root(reply.doc), "gabbroVersion", NULL)
                                                     ?: json_find_string(json_root(reply.doc), "gitVersion", NULL)
                                                     ?: "unknown",
                       cli->server);
        cli_reply_clear(&reply);
        return code;
}
