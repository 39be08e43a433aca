/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "cli/cli.h"
#include "generated/api_types.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int keep(const char *file, const GString *picture)
{
        int r;

        if (g_str_equal(file, "-"))
                return fwrite(picture->str, 1, picture->len, stdout) == picture->len && fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
        r = file_write_atomic(file, picture->str, picture->len, 0600);
        if (r < 0) {
                cli_error("%s cannot be written: %s", file, g_strerror(-r));
                return CLI_FAILED;
        }
        return CLI_OK;
}

static int take(struct cli *cli, const char *machine, const char *file)
{
        g_autofree char *object = cli_path(cli, &api_virtual_machine_kind, machine),
                        *path = g_strconcat(object, "/screenshot", NULL);
        struct cli_reply reply = {};
        int code = cli_call(cli, &(struct cli_request){.path = path, .accept = "image/png, application/json"}, &reply);

        if (code == CLI_OK && reply.status / 100 != 2)
                code = cli_tell_status(&reply);
        else if (code == CLI_OK && (!reply.text || reply.text->len < 8 || memcmp(reply.text->str, "\x89PNG", 4) != 0)) {
                cli_error("%s answered with something that is no picture", cli->server);
                code = CLI_FAILED;
        } else if (code == CLI_OK)
                code = keep(file, reply.text);
        cli_reply_clear(&reply);
        return code;
}

int cli_screenshot(struct cli *cli, int argc, char **argv)
{
        char *file = NULL;
        const GOptionEntry entries[] = {
                {"output", 'o', 0, G_OPTION_ARG_FILENAME, &file, "Where the picture goes (MACHINE.png); - is standard output",
                 "FILE"},
                {},
        };
        int code = cli_parse(cli, "screenshot", entries,
                             "It shows what somebody at the machine's screen would see: a right of its own.\n\n"
                             "Examples:\n"
                             "  gabbro screenshot web -o web.png\n"
                             "  gabbro screenshot web -o - | feh -",
                             &argc, &argv);
        const char *machine;

        if (code == CLI_OK && argc != 2)
                code = cli_usage("which machine? gabbro screenshot NAME -o FILE");
        if (code == CLI_OK && file && g_str_equal(file, "-") && cli_is_terminal(STDOUT_FILENO))
                code = cli_usage("a picture is nothing for a terminal: -o FILE");
        machine = code == CLI_OK ? cli_machine_name(argv[1]) : NULL;
        if (code == CLI_OK && !machine)
                code = CLI_USAGE;
        if (code == CLI_OK) {
                g_autofree char *named = file ? g_strdup(file) : g_strconcat(machine, ".png", NULL);

                code = take(cli, machine, named);
                if (code == CLI_OK && !g_str_equal(named, "-"))
                        cli_say("%s shows the screen of virtualmachine/%s", named, machine);
        }
        g_free(file);
        return code;
}
