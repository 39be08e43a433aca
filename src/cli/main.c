/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "cli/config.h"

#include <signal.h>
#include <stdio.h>

const struct cli_verb cli_verbs[] = {
        {"get", "KIND [NAME...]", "Show objects as a table, or with -o as json, yaml or names; -w follows changes", cli_get},
        {"describe", "KIND [NAME...]", "Show all of an object, its conditions and its events", cli_describe},
        {"apply", "-f FILE", "Create what the manifests describe, or change it to that", cli_apply},
        {"delete", "KIND NAME... | -f FILE", "Delete objects", cli_delete},
        {"create", "vm NAME", "Make a machine and its disk from an image in one go", cli_create},
        {"start", "MACHINE...", "Start a machine", cli_start},
        {"stop", "MACHINE...", "Ask the guest to shut down; after the grace period it is cut off", cli_stop},
        {"restart", "MACHINE...", "Stop and start again, with changes applied", cli_restart},
        {"force-off", "MACHINE...", "Cut a machine off at once, as by its power cord", cli_force_off},
        {"suspend", "MACHINE...", "Let a machine stand still; its memory is kept", cli_suspend},
        {"resume", "MACHINE...", "Let a suspended machine go on", cli_resume},
        {"reset", "MACHINE...", "Press the reset button of a machine", cli_reset},
        {"redeploy", "MACHINE...", "Make a machine anew of its images: what they do not hold is lost", cli_redeploy},
        {"clone", "vm MACHINE NAME", "Make another machine of a machine, with disks of its own", cli_clone},
        {"migrate", "vm MACHINE", "Move a running machine to another host", cli_migrate},
        {"drain", "NODE", "Empty a host: its machines move to others, with a plan first", cli_drain},
        {"cordon", "NODE...", "Let nothing new start on hosts; what runs there stays", cli_cordon},
        {"uncordon", "NODE...", "Let machines start on hosts again", cli_uncordon},
        {"undefine", "MACHINE...", "Delete a machine that is off; its disks stay", cli_undefine},
        {"attach", "MACHINE DISK...", "Attach disks or images to a machine, also while it runs", cli_attach},
        {"detach", "MACHINE DISK...", "Detach what was attached", cli_detach},
        {"wait", "KIND NAME... --for WHAT", "Wait for phase=X, condition=TYPE[=STATUS] or delete", cli_wait},
        {"console", "MACHINE", "Serial console; Ctrl+] leaves", cli_console},
        {"screenshot", "MACHINE -o FILE", "What a machine shows on its screen, as a picture (PNG)", cli_screenshot},
        {"graphics-password", "MACHINE", "The password of a machine's screen that listens for TCP; --rotate makes another",
         cli_graphics_password},
        {"top", "vm|node [NAME...]", "What machines or hosts use now: processor, memory, disks, network", cli_top},
        {"guest", "exec|info|... MACHINE", "Ask the agent in a guest: commands, facts, passwords, freezing of file systems",
         cli_guest},
        {"image", "upload FILE | import URL | from-disk DISK", "Bring an image into the library", cli_image},
        {"disk", "upload FILE", "Make a disk of a file from here", cli_disk},
        {"callbacks", "list|deliveries|retry|drop", "What is told of images to endpoints, and what could not be told",
         cli_callbacks},
        {"events", "", "What happened, oldest first; -w follows", cli_events},
        {"pool", "drain|resume|... NAME", "Storage pools: take no new disks, look again, delete by a plan", cli_pool},
        {"node", "join-token | reboot NAME", "Let a host join, or reboot one with its machines", cli_node},
        {"role", "list|grant|revoke|who-can", "Who may what: give and take roles, ask who can", cli_role},
        {"login", "USER", "Log in with a password; the session goes into the kubeconfig", cli_login},
        {"logout", "", "End the session", cli_logout},
        {"whoami", "", "Who the gateway takes you for", cli_whoami},
        {"user", "create|list|... [NAME]", "People who log in: passwords, groups, disabling, certificates", cli_user},
        {"token", "create|list|revoke [ID]", "Tokens, sessions and certificates", cli_token},
        {"audit", "list|verify", "Who did what, read on the gateway's host; whether the log is whole", cli_audit},
        {"storage", "doctor", "Look for what is lost or left over in pools, volumes and the image library", cli_storage},
        {"doctor", "", "Look for what is lost, left over or in disagreement, on every host and in the store", cli_doctor},
        {"set", "vm NAME...", "Give machines another size, and tell how it comes to them", cli_set},
        {"explain", "capability|change WHAT [OPERATION]",
         "What a pool, disk or machine can do, why not the rest; how changes apply", cli_explain},
        {"version", "", "Versions of this program and of the gateway", cli_version},
        {"completion", "bash|zsh|fish", "Print a completion script for the shell", cli_completion},
        {},
};

static void print_help(FILE *out)
{
        fprintf(out, "gabbro - virtual machines behind one API\n\nUsage: gabbro [OPTION...] VERB [WORD...]\n\nVerbs:\n");
        for (const struct cli_verb *verb = cli_verbs; verb->name; verb++)
                fprintf(out, "  %-12s %-26s %s\n", verb->name, verb->words, verb->summary);
        fprintf(out, "\nOptions of every verb:\n"
                     "  --kubeconfig FILE    where the server and the credentials are ($KUBECONFIG, ~/.kube/config)\n"
                     "  --context NAME       context of the kubeconfig\n"
                     "  -n, --namespace NS   project\n"
                     "  --server URL, --token TOKEN, --certificate-authority FILE, --insecure\n"
                     "                       instead of a kubeconfig\n"
                     "  --request-id ID      name of this run: run again under the same name, nothing is done twice\n"
                     "\ngabbro VERB --help tells more. Exit codes: 0 done, 1 refused or failed, 2 usage, 3 not found, 4 not "
                     "reachable, 5 "
                     "time is up.\n");
}

/* The verb is the first word that is neither an option nor the value of one. */
static int verb_index(int argc, char **argv)
{
        static const char *const with_value[] = {
                "--kubeconfig", "--context", "-n", "--namespace", "--server", "--token", "--certificate-authority",
                "--request-id", NULL};

        for (int i = 1; i < argc; i++) {
                if (argv[i][0] != '-')
                        return i;
                if (g_strv_contains(with_value, argv[i]))
                        i++;
        }
        return -1;
}

static int run_verb(struct cli *cli, const char *name, int argc, char **argv)
{
        const struct cli_verb *verb = cli_verb(name);

        if (!verb)
                return cli_usage("there is no verb %s; gabbro --help lists them", name);
        return verb->run(cli, argc, argv);
}

static int without_verb(int argc, char **argv)
{
        const char *word = argc > 1 ? argv[1] : "";

        if (g_str_equal(word, "--version")) {
                printf("gabbro %s\n", GABBRO_VERSION);
                return CLI_OK;
        }
        bool help = g_str_equal(word, "--help") || g_str_equal(word, "-h");
        print_help(help ? stdout : stderr);
        return help ? CLI_OK : CLI_USAGE;
}

int main(int argc, char **argv)
{
        struct cli cli = {};

        signal(SIGPIPE, SIG_DFL);
        int index = verb_index(argc, argv);
        if (index < 0)
                return without_verb(argc, argv);
        char *name = argv[index];
        if (g_str_equal(name, "help") && index + 1 < argc) {
                char *words[] = {argv[index + 1], "--help", NULL};
                return run_verb(&cli, words[0], 2, words);
        }
        if (g_str_equal(name, "help")) {
                print_help(stdout);
                return CLI_OK;
        }
        /* Options before the verb count as its own. */
        for (int i = index; i > 1; i--)
                argv[i] = argv[i - 1];
        argv[1] = name;
        int code = run_verb(&cli, name, argc - 1, argv + 1);
        config_clear(&cli);
        return code;
}
