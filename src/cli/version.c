/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "cli/config.h"

#include <stdio.h>

int cli_version(struct cli *cli, int argc, char **argv)
{
        gboolean client = FALSE;
        const GOptionEntry entries[] = {
                {"client", 0, 0, G_OPTION_ARG_NONE, &client, "Only of this program", NULL},
                {},
        };
        struct cli_reply reply = {};
        int code = cli_options(cli, "version", entries,
                               "Examples:\n"
                               "  gabbro version\n"
                               "  gabbro version --client",
                               &argc, &argv);

        if (code != CLI_OK)
                return code;
        cli_say("gabbro %s", GABBRO_VERSION);
        if (client)
                return CLI_OK;
        code = config_load(cli);
        if (code == CLI_OK)
                code = cli_expect(cli, &(struct cli_request){.path = "/version"}, &reply);
        if (code == CLI_OK) {
                const struct json_value *root = json_root(reply.doc);
                const char *version = json_find_string(root, "gabbroVersion", NULL) ?: json_find_string(root, "gitVersion", NULL);
                cli_say("gateway %s at %s", version ?: "unknown", cli->server);
        }
        cli_reply_clear(&reply);
        return code;
}
