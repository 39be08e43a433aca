/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "generated/api_types.h"

#include <stdio.h>

/* Make a VirtualMachineOperation; with --wait follow it to its end. */
static int operate(struct cli *cli, const char *verb, const char *type, int argc, char **argv)
{
        gboolean wait = FALSE, force = FALSE;
        int timeout_s = 300;
        const GOptionEntry entries[] = {
                {"wait", 0, 0, G_OPTION_ARG_NONE, &wait, "Wait until it is done", NULL},
                {"timeout", 0, 0, G_OPTION_ARG_INT, &timeout_s, "How long to wait (300)", "SECONDS"},
                {"force", 0, 0, G_OPTION_ARG_NONE, &force, "Do not give the guest time to shut down", NULL},
                {},
        };
        int code = cli_parse(cli, verb, entries, NULL, &argc, &argv);

        if (code == CLI_OK && argc != 2) {
                cli_error("which machine? gabbro %s NAME", verb);
                code = CLI_USAGE;
        }
        if (code != CLI_OK)
                return code;
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);
        g_autofree char *prefix = g_strdup_printf("%s-%.40s-", verb, argv[1]);
        g_autofree char *name = NULL;
        json_set_root(doc, root);
        json_set_string(doc, root, "apiVersion", "gabbro.dev/v1");
        json_set_string(doc, root, "kind", "VirtualMachineOperation");
        json_set_string(doc, json_ensure_object(doc, root, "metadata"), "generateName", prefix);
        struct json_value *spec = json_ensure_object(doc, root, "spec");
        json_set_string(doc, spec, "type", type);
        json_set_string(doc, spec, "virtualMachineName", argv[1]);
        if (force)
                json_set_bool(doc, spec, "force", true);
        code = cli_create_doc(cli, &api_virtual_machine_operation_kind, doc, &name);
        if (code == CLI_OK && wait)
                code = cli_wait_for(cli, &api_virtual_machine_operation_kind, name, "phase=Completed",
                                    (uint64_t)timeout_s * 1000000, false);
        if (code == CLI_OK)
                printf("virtualmachineoperation/%s %s\n", name, wait ? "completed" : "created");
        return code;
}

int cli_start(struct cli *cli, int argc, char **argv)
{
        return operate(cli, "start", "Start", argc, argv);
}

int cli_stop(struct cli *cli, int argc, char **argv)
{
        return operate(cli, "stop", "Stop", argc, argv);
}

int cli_restart(struct cli *cli, int argc, char **argv)
{
        return operate(cli, "restart", "Restart", argc, argv);
}

int cli_force_off(struct cli *cli, int argc, char **argv)
{
        return operate(cli, "force-off", "ForceOff", argc, argv);
}
