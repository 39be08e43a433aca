/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "cli/config.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

const struct cli_verb *cli_verb(const char *name)
{
        assert(name);

        for (const struct cli_verb *verb = cli_verbs; verb->name; verb++)
                if (g_str_equal(verb->name, name))
                        return verb;
        return NULL;
}

/* GLib's help has an ellipsis that a C locale cannot print. */
static void print_help(GOptionContext *context)
{
        g_autofree char *help = g_option_context_get_help(context, TRUE, NULL);
        g_auto(GStrv) parts = g_strsplit(help, "…", -1);
        g_autofree char *text = g_strjoinv("...", parts);

        fputs(g_strchomp(text), stdout);
        putchar('\n');
}

int cli_options(struct cli *cli, const char *name, const GOptionEntry *entries, const char *description, int *argc, char ***argv)
{
        assert(cli && name && argc && argv);

        gboolean help = FALSE;
        const GOptionEntry shared[] = {
                {"kubeconfig", 0, 0, G_OPTION_ARG_FILENAME, &cli->option_kubeconfig,
                 "Server and credentials ($KUBECONFIG, ~/.kube/config)", "FILE"},
                {"context", 0, 0, G_OPTION_ARG_STRING, &cli->option_context, "Context of the kubeconfig", "NAME"},
                {"namespace", 'n', 0, G_OPTION_ARG_STRING, &cli->option_namespace, "Project (that of the context, or default)",
                 "NAMESPACE"},
                {"server", 0, 0, G_OPTION_ARG_STRING, &cli->option_server, "Address of the gateway", "URL"},
                {"token", 0, 0, G_OPTION_ARG_STRING, &cli->option_token,
                 "Bearer token (seen by others in the process list; prefer a kubeconfig)", "TOKEN"},
                {"certificate-authority", 0, 0, G_OPTION_ARG_FILENAME, &cli->option_ca,
                 "Certificate that the gateway's must come from", "FILE"},
                {"request-id", 0, 0, G_OPTION_ARG_STRING, &cli->option_request_id,
                 "Name of this run of the command: run again under the same name, nothing is done twice", "ID"},
                {"insecure", 0, 0, G_OPTION_ARG_NONE, &cli->option_insecure, "Do not verify the gateway's certificate", NULL},
                {"help", 'h', 0, G_OPTION_ARG_NONE, &help, "Print this", NULL},
                {},
        };
        const struct cli_verb *verb = cli_verb(name);
        g_autofree char *words = g_strdup_printf("%s%s- %s", verb->words, *verb->words ? " " : "", verb->summary);
        g_autoptr(GOptionContext) context = g_option_context_new(words);
        g_autoptr(GError) error = NULL;
        g_autofree char *program = g_strdup_printf("gabbro %s", name);

        g_set_prgname(program);
        g_option_context_set_help_enabled(context, FALSE);
        if (entries)
                g_option_context_add_main_entries(context, entries, NULL);
        g_option_context_add_main_entries(context, shared, NULL);
        if (description)
                g_option_context_set_description(context, description);
        if (!g_option_context_parse(context, argc, argv, &error))
                return cli_usage("%s; gabbro %s --help tells more", error->message, name);
        if (help) {
                print_help(context);
                exit(CLI_OK);
        }
        return CLI_OK;
}

int cli_parse(struct cli *cli, const char *name, const GOptionEntry *entries, const char *description, int *argc, char ***argv)
{
        int code = cli_options(cli, name, entries, description, argc, argv);

        return code == CLI_OK ? config_load(cli) : code;
}
