/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <stdio.h>

/* Words of the verbs and kinds, from the tables. */
static void print_verbs(void)
{
        for (const struct cli_verb *verb = cli_verbs; verb->name; verb++)
                printf("%s%s", verb == cli_verbs ? "" : " ", verb->name);
}

static void print_kinds(void)
{
        for (size_t i = 0; schema_kinds[i]; i++)
                if (!schema_kinds[i]->internal)
                        printf("%s%s", i == 0 ? "" : " ", schema_kinds[i]->singular);
}

static void print_bash(void)
{
        printf("_gabbro() {\n        local word=${COMP_WORDS[COMP_CWORD]} verbs=\"");
        print_verbs();
        printf("\" kinds=\"");
        print_kinds();
        printf("\"\n"
               "        case $COMP_CWORD in\n"
               "        1) COMPREPLY=($(compgen -W \"$verbs\" -- \"$word\")) ;;\n"
               "        2) case ${COMP_WORDS[1]} in\n"
               "           get | describe | delete | wait) COMPREPLY=($(compgen -W \"$kinds\" -- \"$word\")) ;;\n"
               "           start | stop | restart | force-off | suspend | resume | reset | redeploy | undefine | console | "
               "screenshot | graphics-password | attach "
               "| detach)\n"
               "                COMPREPLY=($(compgen -W \"$(gabbro get vm -o name 2>/dev/null | sed 's|.*/||')\" -- \"$word\")) "
               ";;\n"
               "           drain | cordon | uncordon)\n"
               "                COMPREPLY=($(compgen -W \"$(gabbro get node -o name 2>/dev/null | sed 's|.*/||')\" -- \"$word\")) "
               ";;\n"
               "           image) COMPREPLY=($(compgen -W \"upload import from-disk\" -- \"$word\")) ;;\n"
               "           disk) COMPREPLY=($(compgen -W upload -- \"$word\")) ;;\n"
               "           callbacks) COMPREPLY=($(compgen -W \"list deliveries retry drop\" -- \"$word\")) ;;\n"
               "           top) COMPREPLY=($(compgen -W \"vm node\" -- \"$word\")) ;;\n"
               "           guest) COMPREPLY=($(compgen -W \"exec freeze info password thaw\" -- \"$word\")) ;;\n"
               "           create | clone | migrate) COMPREPLY=($(compgen -W vm -- \"$word\")) ;;\n"
               "           role) COMPREPLY=($(compgen -W \"list grant revoke who-can permissions\" -- \"$word\")) ;;\n"
               "           node) COMPREPLY=($(compgen -W \"join-token reboot\" -- \"$word\")) ;;\n"
               "           user) COMPREPLY=($(compgen -W \"create list passwd disable enable delete groups certificate\" -- "
               "\"$word\")) ;;\n"
               "           token) COMPREPLY=($(compgen -W \"create list revoke\" -- \"$word\")) ;;\n"
               "           pool) COMPREPLY=($(compgen -W \"drain resume refresh delete\" -- \"$word\")) ;;\n"
               "           set) COMPREPLY=($(compgen -W vm -- \"$word\")) ;;\n"
               "           explain) COMPREPLY=($(compgen -W \"capability change\" -- \"$word\")) ;;\n"
               "           audit) COMPREPLY=($(compgen -W \"list verify\" -- \"$word\")) ;;\n"
               "           esac ;;\n"
               "        3) case ${COMP_WORDS[1]} in\n"
               "           get | describe | delete | wait | set)\n"
               "                COMPREPLY=($(compgen -W \"$(gabbro get \"${COMP_WORDS[2]}\" -o name 2>/dev/null | sed 's|.*/||')\" "
               "-- \"$word\")) ;;\n"
               "           guest)\n"
               "                COMPREPLY=($(compgen -W \"$(gabbro get vm -o name 2>/dev/null | sed 's|.*/||')\" -- \"$word\")) "
               ";;\n"
               "           attach | detach)\n"
               "                COMPREPLY=($(compgen -W \"$(gabbro get vd -o name 2>/dev/null | sed 's|.*/||')\" -- \"$word\")) "
               ";;\n"
               "           role) COMPREPLY=($(compgen -W \"viewer operator project-admin admin $(gabbro get clusterrole -o name "
               "2>/dev/null | sed 's|.*/||')\" -- \"$word\")) ;;\n"
               "           callbacks)\n"
               "                COMPREPLY=($(compgen -W \"$(gabbro get callbacks -o name 2>/dev/null | sed 's|.*/||')\" "
               "-- \"$word\")) ;;\n"
               "           node)\n"
               "                COMPREPLY=($(compgen -W \"$(gabbro get node -o name 2>/dev/null | sed 's|.*/||')\" -- \"$word\")) "
               ";;\n"
               "           user)\n"
               "                COMPREPLY=($(compgen -W \"$(gabbro get users -o name 2>/dev/null | sed 's|.*/||')\" "
               "-- \"$word\")) ;;\n"
               "           *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n"
               "           esac ;;\n"
               "        *) case \"${COMP_WORDS[1]} ${COMP_WORDS[2]} $word\" in\n"
               "           \"node reboot -\"*)\n"
               "                COMPREPLY=($(compgen -W \"--dry-run --force --move --timeout --wait\" -- \"$word\")) ;;\n"
               "           *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n"
               "           esac ;;\n"
               "        esac\n"
               "}\n"
               "complete -F _gabbro gabbro\n");
}

static void print_fish(void)
{
        for (const struct cli_verb *verb = cli_verbs; verb->name; verb++)
                printf("complete -c gabbro -n __fish_use_subcommand -f -a %s -d '%s'\n", verb->name, verb->summary);
        printf("complete -c gabbro -n '__fish_seen_subcommand_from get describe delete wait' -f -a '");
        print_kinds();
        printf("'\n");
        printf("complete -c gabbro -n '__fish_seen_subcommand_from role' -f -a 'list grant revoke who-can permissions'\n");
        printf("complete -c gabbro -n '__fish_seen_subcommand_from callbacks' -f -a 'list deliveries retry drop'\n");
}

int cli_completion(struct cli *cli, int argc, char **argv)
{
        int code = cli_options(cli, "completion", NULL,
                               "Examples:\n"
                               "  source <(gabbro completion bash)\n"
                               "  gabbro completion fish > ~/.config/fish/completions/gabbro.fish",
                               &argc, &argv);

        if (code != CLI_OK)
                return code;
        if (argc != 2)
                return cli_usage("which shell? gabbro completion bash|zsh|fish");
        if (g_str_equal(argv[1], "fish")) {
                print_fish();
        } else if (g_str_equal(argv[1], "zsh")) {
                printf("autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n");
                print_bash();
        } else if (g_str_equal(argv[1], "bash")) {
                print_bash();
        } else {
                return cli_usage("there is no completion for %s; for bash, zsh and fish there is", argv[1]);
        }
        return CLI_OK;
}
