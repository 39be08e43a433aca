/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "cli/config.h"

static const struct cli_verb *verb_of(const char *name)
{
        for (const struct cli_verb *verb = cli_verbs; verb->name; verb++)
                if (g_str_equal(verb->name, name))
                        return verb;
        return NULL;
}

int cli_parse(struct cli *cli, const char *name, const GOptionEntry *entries, const char *description, int *argc, char ***argv)
{
        const GOptionEntry shared[] = {
                {"kubeconfig", 0, 0, G_OPTION_ARG_FILENAME, &cli->option_kubeconfig, "Server and credentials", "FILE"},
                {"context", 0, 0, G_OPTION_ARG_STRING, &cli->option_context, "Context of the kubeconfig", "NAME"},
                {"namespace", 'n', 0, G_OPTION_ARG_STRING, &cli->option_namespace, "Project", "NAMESPACE"},
                {"server", 0, 0, G_OPTION_ARG_STRING, &cli->option_server, "Address of the gateway", "URL"},
                {"token", 0, 0, G_OPTION_ARG_STRING, &cli->option_token,
                 "Bearer token (seen by others in the process list; prefer a kubeconfig)", "TOKEN"},
                {"insecure", 0, 0, G_OPTION_ARG_NONE, &cli->option_insecure, "Do not verify the gateway's certificate", NULL},
                {},
        };
        const struct cli_verb *verb = verb_of(name);
        g_autofree char *words = g_strdup_printf("%s - %s", verb->words, verb->summary);
        g_autoptr(GOptionContext) context = g_option_context_new(words);
        g_autoptr(GError) error = NULL;
        g_autofree char *program = g_strdup_printf("gabbro %s", name);

        g_set_prgname(program);
        if (entries)
                g_option_context_add_main_entries(context, entries, NULL);
        g_option_context_add_main_entries(context, shared, NULL);
        if (description)
                g_option_context_set_description(context, description);
        if (!g_option_context_parse(context, argc, argv, &error)) {
                cli_error("%s; gabbro %s --help tells more", error->message, name);
                return CLI_USAGE;
        }
        return config_load(cli);
}
