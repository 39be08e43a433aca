/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "generated/api_types.h"

#include <assert.h>
#include <stdio.h>

#define BEGIN_US 3000000u /* without --wait: how long to look whether the operation is refused */

struct operation {
        const char *verb;  /* of the command line */
        const char *type;  /* of the object */
        const char *doing; /* "is being started" */
        const char *done;  /* "runs" */
        const char *help;
        bool takes_force;
};

static const struct operation operations[] = {
        {"start", "Start", "is being started", "was started",
         "The machine's conditions tell what it waits for: gabbro describe vm MACHINE", false},
        {"stop", "Stop", "is being stopped", "was stopped",
         "The guest has spec.terminationGracePeriodSeconds to shut down, then it is cut off.", true},
        {"restart", "Restart", "is being restarted", "was restarted",
         "Changes that wait for a restart (NEED RESTART in gabbro get vm -o wide) are applied by it.", true},
        {"force-off", "ForceOff", "is being cut off", "was cut off",
         "The guest is not asked: what it has not written to its disks is lost.", false},
        {"suspend", "Suspend", "is being suspended", "is suspended",
         "Its processors stand still and its memory is kept; resume lets it go on, stop and restart end it.", false},
        {"resume", "Resume", "is being resumed", "goes on",
         "Of a machine in phase Pause: suspended, paused on its host, asleep, or held up by an error of a disk.", false},
        {"reset", "Reset", "is being reset", "was reset",
         "As by the reset button: the guest is not asked and starts anew. Changes are not applied; restart does that.", false},
        {"redeploy", "Redeploy", "is being redeployed", "was redeployed",
         "What its disks hold that are made of images is lost: they are made anew, and the machine starts. Its other disks, its\n"
         "hardware and, without --new-identity, its addresses stay. Asks for the right to delete disks too.",
         false},
        {"clone", "Clone", "is being cloned", "was cloned", NULL, false},
        {"migrate", "Migrate", "is being moved", "was moved", NULL, true},
};

/* How they are asked for. */
struct asking {
        bool force, wait, new_identity;
        int timeout_s;
        struct json_value *clone;   /* with Clone */
        struct json_value *migrate; /* with Migrate */
};

static const struct operation *find_operation(const char *verb)
{
        for (size_t i = 0; i < G_N_ELEMENTS(operations); i++)
                if (g_str_equal(operations[i].verb, verb))
                        return &operations[i];
        g_assert_not_reached();
}

static struct json_doc *manifest(const struct operation *operation, const char *machine, const struct asking *asking)
{
        struct json_doc *doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);
        g_autofree char *prefix = g_strdup_printf("%s-%.40s-", operation->verb, machine);

        json_set_root(doc, root);
        json_set_string(doc, root, "apiVersion", "gabbro.dev/v1");
        json_set_string(doc, root, "kind", "VirtualMachineOperation");
        json_set_string(doc, json_ensure_object(doc, root, "metadata"), "generateName", prefix);
        struct json_value *spec = json_ensure_object(doc, root, "spec");
        json_set_string(doc, spec, "type", operation->type);
        json_set_string(doc, spec, "virtualMachineName", machine);
        if (asking->force)
                json_set_bool(doc, spec, "force", true);
        if (asking->new_identity)
                json_set_string(doc, spec, "identity", "New");
        if (asking->clone)
                json_set(doc, spec, "clone", json_copy(doc, asking->clone));
        if (asking->migrate && json_first(asking->migrate))
                json_set(doc, spec, "migrate", json_copy(doc, asking->migrate));
        return doc;
}

struct beginning {
        bool ended; /* it is under way, done or refused */
        char *refused;
};

static bool on_event(const char *type, struct json_value *object, void *userdata)
{
        struct beginning *beginning = userdata;
        const char *phase = json_find_string(object, "status", "phase", NULL);

        beginning->ended = g_str_equal(type, "DELETED") || (phase && !g_str_equal(phase, "Pending"));
        for (const struct json_value *c = json_first(json_find(object, "status", "conditions", NULL)); c; c = json_next(c))
                if (g_strcmp0(phase, "Failed") == 0 && g_strcmp0(json_find_string(c, "type", NULL), "Completed") == 0 &&
                    !beginning->refused)
                        beginning->refused = g_strdup(json_find_string(c, "message", NULL));
        if (g_strcmp0(phase, "Failed") == 0 && !beginning->refused)
                beginning->refused = g_strdup("it failed");
        return !beginning->ended;
}

/* Whether the operation @name is taken up. One that stays Pending for long is no failure: it says so itself. */
static int see_beginning(struct cli *cli, const struct operation *operation, const char *name, const char *machine)
{
        g_autofree char *collection = cli_path(cli, &api_virtual_machine_operation_kind, NULL);
        g_autofree char *path = g_strdup_printf("%s?fieldSelector=metadata.name%%3D%s", collection, name);
        struct beginning beginning = {};
        struct cli_watch watch = {.path = path, .timeout_us = BEGIN_US, .each = on_event, .userdata = &beginning};

        int code = cli_watch(cli, &watch); /* from no version: what is there comes first */
        g_free(watch.resource_version);
        if (code == CLI_TIMEOUT)
                code = CLI_OK;
        if (beginning.refused) {
                cli_error("%s of %s is refused: %s", operation->type, machine, beginning.refused);
                code = CLI_FAILED;
        }
        g_free(beginning.refused);
        return code;
}

/* An operation that takes long does not say why; its machine does. */
static void tell_machine(struct cli *cli, const char *machine)
{
        g_autofree char *path = cli_path(cli, &api_virtual_machine_kind, machine);
        struct cli_reply reply = {};

        if (cli_call(cli, &(struct cli_request){.path = path}, &reply) == CLI_OK && reply.status == 200 && reply.doc) {
                g_autofree char *state = cli_state(json_root(reply.doc));
                cli_note("virtualmachine/%s is %s", machine, state);
        }
        cli_reply_clear(&reply);
}

static int operate_one(struct cli *cli, const struct operation *operation, const char *word, const struct asking *asking)
{
        uint64_t wait_us = asking->wait ? (uint64_t)asking->timeout_s * 1000000 : 0;
        const char *machine = cli_machine_name(word);
        g_autofree char *path = machine ? cli_path(cli, &api_virtual_machine_kind, machine) : NULL;
        g_autofree char *name = NULL;
        struct cli_reply reply = {};

        if (!machine)
                return CLI_USAGE;
        int code = cli_expect(cli, &(struct cli_request){.path = path}, &reply);
        cli_reply_clear(&reply);
        if (code != CLI_OK)
                return code;
        g_autoptr(json_doc) doc = manifest(operation, machine, asking);
        code = cli_create_doc(cli, &api_virtual_machine_operation_kind, doc, &name);
        if (code == CLI_OK)
                code = see_beginning(cli, operation, name, machine);
        if (code == CLI_OK && wait_us > 0)
                code = cli_wait_for(cli, &api_virtual_machine_operation_kind, name, "phase=Completed", wait_us, false);
        if (code == CLI_TIMEOUT)
                tell_machine(cli, machine);
        if (code == CLI_OK)
                cli_say("virtualmachine/%s %s (virtualmachineoperation/%s)", machine,
                        wait_us > 0 ? operation->done : operation->doing, name);
        return code;
}

int cli_restart_machine(struct cli *cli, const char *name, int wait_s)
{
        return operate_one(cli, find_operation("restart"), name, &(struct asking){.wait = wait_s > 0, .timeout_s = wait_s});
}

static int operate(struct cli *cli, const char *verb, int argc, char **argv)
{
        const struct operation *operation = find_operation(verb);
        struct asking asking = {.timeout_s = 300};
        gboolean wait = FALSE, force = FALSE, new_identity = FALSE;
        bool redeploys = g_str_equal(verb, "redeploy");
        const GOptionEntry entries[] = {
                {"wait", 0, 0, G_OPTION_ARG_NONE, &wait, "Wait until it is done", NULL},
                {"timeout", 0, 0, G_OPTION_ARG_INT, &asking.timeout_s, "How long to wait for each (300)", "SECONDS"},
                {"force", 0, operation->takes_force ? 0 : G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_NONE, &force,
                 "Do not give the guest time to shut down", NULL},
                {"new-identity", 0, redeploys ? 0 : G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_NONE, &new_identity,
                 "Other addresses, and an instance id by which cloud-init begins anew", NULL},
                {},
        };
        g_autofree char *description = g_strdup_printf("%s%sExamples:\n  gabbro %s web\n  gabbro %s web db --wait",
                                                       operation->help ?: "", operation->help ? "\n\n" : "", verb, verb);
        int code = cli_parse(cli, verb, entries, description, &argc, &argv);

        if (code == CLI_OK && argc < 2)
                code = cli_usage("which machine? gabbro %s NAME", verb);
        if (code == CLI_OK && wait && asking.timeout_s <= 0)
                code = cli_usage("--timeout takes seconds");
        if (code == CLI_OK && force && !operation->takes_force)
                code = cli_usage("%s knows no --force", verb);
        if (code == CLI_OK && new_identity && !redeploys)
                code = cli_usage("%s knows no --new-identity", verb);
        asking.wait = wait;
        asking.force = force;
        asking.new_identity = new_identity;
        for (int i = 1, r; i < argc && code != CLI_USAGE && code != CLI_UNREACHABLE; i++) {
                r = operate_one(cli, operation, argv[i], &asking);
                code = code == CLI_OK || r == CLI_UNREACHABLE ? r : code;
        }
        return code;
}

int cli_start(struct cli *cli, int argc, char **argv)
{
        return operate(cli, "start", argc, argv);
}

int cli_stop(struct cli *cli, int argc, char **argv)
{
        return operate(cli, "stop", argc, argv);
}

int cli_restart(struct cli *cli, int argc, char **argv)
{
        return operate(cli, "restart", argc, argv);
}

int cli_force_off(struct cli *cli, int argc, char **argv)
{
        return operate(cli, "force-off", argc, argv);
}

int cli_suspend(struct cli *cli, int argc, char **argv)
{
        return operate(cli, "suspend", argc, argv);
}

int cli_resume(struct cli *cli, int argc, char **argv)
{
        return operate(cli, "resume", argc, argv);
}

int cli_reset(struct cli *cli, int argc, char **argv)
{
        return operate(cli, "reset", argc, argv);
}

int cli_redeploy(struct cli *cli, int argc, char **argv)
{
        return operate(cli, "redeploy", argc, argv);
}

/* --- clone --- */

/* "OLD=NEW" of --disk. */
static int add_replacement(struct json_doc *doc, struct json_value *clone, const char *text)
{
        g_auto(GStrv) names = g_strsplit(text, "=", 2);

        if (!names[0] || !names[1] || !*names[0] || !*names[1])
                return cli_usage("--disk takes OLD=NEW, the name of a disk and that of its clone");
        struct json_value *replacement = json_new(doc, JSON_OBJECT);
        struct json_value *from = json_ensure_object(doc, replacement, "from");
        json_set_string(doc, from, "kind", "VirtualDisk");
        json_set_string(doc, from, "name", names[0]);
        json_set_string(doc, replacement, "to", names[1]);
        json_append(json_ensure_array(doc, clone, "nameReplacement"), replacement);
        return CLI_OK;
}

static const char clone_help[] =
        "The new machine has disks, addresses and hardware addresses of its own, and cloud-init in its guest begins anew. A disk "
        "is\n"
        "named after it: web-root of web becomes db-root of db. A machine that runs goes on while its disks are copied; "
        "--consistency\n"
        "Agent has its guest agent hold the file systems still for the moment. Either the whole clone is made or nothing of it.\n\n"
        "Examples:\n"
        "  gabbro clone vm web db\n"
        "  gabbro clone vm web db --disk data=db-archive --run-policy Manual --wait";

int cli_clone(struct cli *cli, int argc, char **argv)
{
        const struct operation *operation = find_operation("clone");
        g_autofree char *mode = NULL, *consistency = NULL, *run_policy = NULL;
        g_auto(GStrv) disks = NULL;
        gboolean wait = FALSE, dry_run = FALSE;
        struct asking asking = {.timeout_s = 3600};
        const GOptionEntry entries[] = {
                {"disk", 0, 0, G_OPTION_ARG_STRING_ARRAY, &disks, "Another name for the clone of a disk; repeat for more",
                 "OLD=NEW"},
                {"disk-mode", 0, 0, G_OPTION_ARG_STRING, &mode, "Auto, Full, Reflink or Linked (Auto)", "MODE"},
                {"consistency", 0, 0, G_OPTION_ARG_STRING, &consistency, "Of a machine that runs: Auto, Crash or Agent (Auto)",
                 "WHAT"},
                {"run-policy", 0, 0, G_OPTION_ARG_STRING, &run_policy, "That of the new machine, instead of its source's",
                 "POLICY"},
                {"dry-run", 0, 0, G_OPTION_ARG_NONE, &dry_run, "Only look whether it could be done", NULL},
                {"wait", 0, 0, G_OPTION_ARG_NONE, &wait, "Wait until it is done", NULL},
                {"timeout", 0, 0, G_OPTION_ARG_INT, &asking.timeout_s, "How long to wait (3600)", "SECONDS"},
                {},
        };
        int code = cli_parse(cli, "clone", entries, clone_help, &argc, &argv);
        const struct schema_kind *kind = code == CLI_OK && argc == 4 ? cli_kind(argv[1]) : NULL;

        if (code == CLI_OK && (argc != 4 || kind != &api_virtual_machine_kind))
                code = cli_usage("what shall be cloned, and under which name? gabbro clone vm MACHINE NAME");
        if (code == CLI_OK && wait && asking.timeout_s <= 0)
                code = cli_usage("--timeout takes seconds");
        if (code != CLI_OK)
                return code;
        g_autoptr(json_doc) doc = json_doc_new();
        asking.wait = wait;
        asking.clone = json_new(doc, JSON_OBJECT);
        json_set_root(doc, asking.clone);
        json_set_string(doc, asking.clone, "name", argv[3]);
        if (mode)
                json_set_string(doc, asking.clone, "diskMode", mode);
        if (consistency)
                json_set_string(doc, asking.clone, "consistency", consistency);
        if (run_policy)
                json_set_string(doc, asking.clone, "runPolicy", run_policy);
        if (dry_run)
                json_set_string(doc, asking.clone, "mode", "DryRun");
        for (char **disk = disks; disk && *disk && code == CLI_OK; disk++)
                code = add_replacement(doc, asking.clone, *disk);
        return code == CLI_OK ? operate_one(cli, operation, argv[2], &asking) : code;
}

/* --- migrate --- */

static const char migrate_help[] =
        "The machine runs on while its memory and disks go to the other host; its addresses stay. Without --to a host is chosen. "
        "It stays\n"
        "where it is when it cannot be done: --dry-run tells every reason. To give it up while it is under way, delete the "
        "operation.\n"
        "A machine that is off moves with its disks, compared by checksums; so does one that runs with --cold.\n\n"
        "Examples:\n"
        "  gabbro migrate vm web --to host-2 --wait\n"
        "  gabbro migrate vm web --cold\n"
        "  gabbro migrate vm web --change --bandwidth 200 --downtime 1000\n"
        "  gabbro migrate vm web --to host-2 --dry-run";

int cli_migrate(struct cli *cli, int argc, char **argv)
{
        static const struct operation cleans = {"migrate", "Migrate", "is looked for on all hosts", "was cleaned up after",
                                                NULL,      true};
        static const struct operation looks = {"migrate", "Migrate", "is looked at", "could be moved", NULL, true};
        gboolean wait = FALSE, dry_run = FALSE, force = FALSE, cold = FALSE, change = FALSE, cleanup = FALSE;
        struct asking asking = {.timeout_s = 3600};
        g_autofree char *to = NULL;
        int bandwidth = 0, downtime = 0;
        const GOptionEntry entries[] = {
                {"to", 0, 0, G_OPTION_ARG_STRING, &to, "The host that it shall go to", "NODE"},
                {"dry-run", 0, 0, G_OPTION_ARG_NONE, &dry_run, "Only look whether it could be done", NULL},
                {"force", 0, 0, G_OPTION_ARG_NONE, &force, "Slow the guest down if need be, so that it comes to an end", NULL},
                {"cleanup", 0, 0, G_OPTION_ARG_NONE, &cleanup,
                 "Only remove what an interrupted migration of it has left on any host", NULL},
                {"cold", 0, 0, G_OPTION_ARG_NONE, &cold, "Stop it, move it and start it there", NULL},
                {"bandwidth", 0, 0, G_OPTION_ARG_INT, &bandwidth, "At most so many MiB go over the network in a second", "MIB"},
                {"change", 0, 0, G_OPTION_ARG_NONE, &change, "Change --bandwidth and --downtime of the one under way", NULL},
                {"downtime", 0, 0, G_OPTION_ARG_INT, &downtime, "The guest may stand still so long at the switch (300)", "MS"},
                {"wait", 0, 0, G_OPTION_ARG_NONE, &wait, "Wait until it is done", NULL},
                {"timeout", 0, 0, G_OPTION_ARG_INT, &asking.timeout_s, "How long to wait (3600)", "SECONDS"},
                {},
        };
        int code = cli_parse(cli, "migrate", entries, migrate_help, &argc, &argv);
        const struct schema_kind *kind = code == CLI_OK && argc == 3 ? cli_kind(argv[1]) : NULL;

        if (code == CLI_OK && (argc != 3 || kind != &api_virtual_machine_kind))
                code = cli_usage("what shall be moved? gabbro migrate vm MACHINE [--to NODE]");
        if (code == CLI_OK && ((wait && asking.timeout_s <= 0) || bandwidth < 0 || downtime < 0))
                code = cli_usage("--timeout takes seconds, --bandwidth MiB in a second, --downtime milliseconds");
        if (code == CLI_OK && cleanup && (to || dry_run || force || cold || change || bandwidth > 0 || downtime > 0))
                code = cli_usage("--cleanup stands alone");
        if (code == CLI_OK && change && (to || dry_run || force || cold || wait || !(bandwidth > 0 || downtime > 0)))
                code = cli_usage("--change takes --bandwidth and --downtime alone");
        if (code != CLI_OK)
                return code;
        g_autoptr(json_doc) doc = json_doc_new();
        asking.wait = wait || dry_run;
        asking.force = force;
        asking.migrate = json_new(doc, JSON_OBJECT);
        json_set_root(doc, asking.migrate);
        if (to)
                json_set_string(doc, asking.migrate, "nodeName", to);
        if (dry_run)
                json_set_string(doc, asking.migrate, "mode", "DryRun");
        if (cleanup)
                json_set_string(doc, asking.migrate, "mode", "Cleanup");
        if (cold)
                json_set_bool(doc, asking.migrate, "cold", true);
        if (bandwidth > 0)
                json_set_int(doc, asking.migrate, "bandwidthMibPerSecond", bandwidth);
        if (downtime > 0)
                json_set_int(doc, asking.migrate, "downtimeMs", downtime);
        if (change)
                return cli_machine_name(argv[2]) ? cli_change_migration(cli, cli_machine_name(argv[2]), asking.migrate) : CLI_USAGE;
        return operate_one(cli, cleanup ? &cleans : dry_run ? &looks : find_operation("migrate"), argv[2], &asking);
}
