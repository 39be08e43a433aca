/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TIMEOUT_S  60
#define BETWEEN_US 3000000ull
#define STEPS_MAX  200
#define LABEL_RUN  "gabbro.dev/doctor-run"

/* Exit codes of this verb, for scripts that call it every night. */
enum { DOCTOR_HEALTHY = 0, DOCTOR_FINDINGS = 1, DOCTOR_BLIND = 2 };

struct doctor {
        struct cli *cli;
        const char *node, *output;
        int timeout_s;
        gboolean fix, yes, verify;
        bool storage; /* only what concerns pools, volumes and images */
        char *run;
        struct json_doc *first; /* the report that began the run: the first look at the store */
        struct json_doc *repairs;
        struct json_value *repairs_list; /* what became of each step */
        struct json_doc *report;         /* the last one, with what only one look saw taken out */
};

/* --- asking
 * ------------------------------------------------------------------------------------------------------------------------------------
 */

static int ask(struct doctor *doctor, const char *method, const char *path, const char *body, struct json_doc **ret_doc)
{
        struct cli_request request = {.method = method, .path = path, .body = body, .len = body ? strlen(body) : 0};
        struct cli_reply reply = {};
        int code = cli_expect(doctor->cli, &request, &reply);

        if (code == CLI_OK) {
                json_doc_free(*ret_doc);
                *ret_doc = g_steal_pointer(&reply.doc);
        }
        cli_reply_clear(&reply);
        return code;
}

static int begin(struct doctor *doctor)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);
        int code;

        json_set_string(doc, root, "node", doctor->node);
        g_autofree char *body = json_to_text(root);
        code = ask(doctor, "POST", doctor->verify ? "/admin/v1/doctor?verify=true" : "/admin/v1/doctor", body, &doctor->first);
        if (code == CLI_OK)
                doctor->run = g_strdup(json_find_string(json_root(doctor->first), "run", NULL));
        return code;
}

static int fetch(struct doctor *doctor)
{
        g_autofree char *path = g_strdup_printf("/admin/v1/doctor/%s%s", doctor->run, doctor->verify ? "?verify=true" : "");

        return ask(doctor, "GET", path, NULL, &doctor->report);
}

/* --- awaiting the hosts
 * ------------------------------------------------------------------------------------------------------------------------
 */

struct awaiting {
        struct doctor *doctor;
        size_t expected;
        GHashTable *ended; /* names of tasks */
        GHashTable *told;  /* task -> the step that was printed last */
};

static bool has_ended(const struct json_value *task)
{
        const char *state = json_find_string(task, "status", "state", NULL);

        return g_strcmp0(state, "Succeeded") == 0 || g_strcmp0(state, "Failed") == 0;
}

static bool on_task(const char *type, struct json_value *task, void *userdata)
{
        struct awaiting *awaiting = userdata;
        const char *name = json_find_string(task, "metadata", "name", NULL) ?: "",
                   *node = json_find_string(task, "spec", "nodeName", NULL);
        const char *step = json_find_string(task, "status", "step", NULL);

        if (has_ended(task))
                g_hash_table_add(awaiting->ended, g_strdup(name));
        if (step && !awaiting->doctor->output && cli_is_terminal(STDERR_FILENO) &&
            g_strcmp0(step, g_hash_table_lookup(awaiting->told, name)) != 0) {
                cli_note("%s: %s …", node ?: "?", step);
                g_hash_table_insert(awaiting->told, g_strdup(name), g_strdup(step));
        }
        return g_hash_table_size(awaiting->ended) < awaiting->expected;
}

/* Until every task of the run has ended, or time is up; what did not answer is told by the report. */
static int await_tasks(struct doctor *doctor, const char *run, size_t expected)
{
        g_autoptr(GHashTable) ended = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_autoptr(GHashTable) told = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        struct awaiting awaiting = {.doctor = doctor, .expected = expected, .ended = ended, .told = told};
        g_autofree char *path = g_strdup_printf("/apis/host.gabbro.dev/v1/hosttasks?labelSelector=" LABEL_RUN "%%3D%s", run);
        struct cli_watch watch = {
                .path = path, .timeout_us = (uint64_t)doctor->timeout_s * 1000000, .each = on_task, .userdata = &awaiting};
        int code = expected > 0 ? cli_watch(doctor->cli, &watch) : CLI_OK;

        g_free(watch.resource_version);
        return code == CLI_TIMEOUT ? CLI_OK : code;
}

/* --- what was found
 * ----------------------------------------------------------------------------------------------------------------------------
 */

static struct json_value *findings_of(struct json_doc *report)
{
        return report ? json_get(json_root(report), "findings") : NULL;
}

static const char *text(const struct json_value *object, const char *key)
{
        return json_find_string(object, key, NULL) ?: "";
}

static bool is_store(const struct json_value *finding)
{
        return strcmp(text(finding, "source"), "store") == 0;
}

static bool same(const struct json_value *a, const struct json_value *b)
{
        return strcmp(text(a, "code"), text(b, "code")) == 0 && strcmp(text(a, "subject"), text(b, "subject")) == 0 &&
               strcmp(text(a, "resourceVersion"), text(b, "resourceVersion")) == 0;
}

/* The store was looked at twice: what only one look saw, or what was written in between, is work in progress. */
static void keep_seen_twice(struct doctor *doctor)
{
        struct json_value *list = findings_of(doctor->report), *root = json_root(doctor->report);
        int64_t in_progress = 0;

        (void)json_int64(json_get(root, "inProgress"), &in_progress);
        for (size_t i = json_length(list); i > 0; i--) {
                const struct json_value *finding = json_at(list, i - 1);
                bool twice = !is_store(finding);

                for (const struct json_value *f = json_first(findings_of(doctor->first)); f && !twice; f = json_next(f))
                        twice = same(f, finding);
                if (!twice) {
                        json_remove_at(list, i - 1);
                        in_progress++;
                }
        }
        json_set_int(doctor->report, root, "inProgress", in_progress);
}

/* Nodes that could not be asked were told of by the first answer; those that did not end by the last. */
static void note_unlooked(struct doctor *doctor)
{
        struct json_value *root = json_root(doctor->report), *list = json_ensure_array(doctor->report, root, "unlooked");

        for (const struct json_value *u = json_first(json_get(json_root(doctor->first), "unlooked")); u; u = json_next(u))
                if (g_str_has_prefix(json_string(u, ""), "node "))
                        json_append(list, json_new_string(doctor->report, json_string(u, "")));
        for (const struct json_value *n = json_first(json_get(root, "nodes")); n; n = json_next(n)) {
                if (strcmp(text(n, "state"), "Succeeded") == 0)
                        continue;
                g_autofree char *words = g_strdup_printf("node %s: its agent did not end the look within %d s (state %s)",
                                                         text(n, "name"), doctor->timeout_s, text(n, "state"));
                json_append(list, json_new_string(doctor->report, words));
        }
}

/* What `gabbro storage doctor` tells of. */
static void keep_storage(struct doctor *doctor)
{
        static const char *const codes[] = {
                "StrayVolume",        "VolumeMissing",     "VolumeReplaced", "LinkBroken",  "PoolLost",
                "StrayImageFile",     "StrayBlob",         "BlobMissing",    "BlobDamaged", "StrayUpload",
                "DiskSharedWritable", "DiskInTwoMachines", "StrayJournal",   "HalfUpload",  NULL};
        struct json_value *list = findings_of(doctor->report);

        for (size_t i = json_length(list); i > 0; i--)
                if (!g_strv_contains(codes, text(json_at(list, i - 1), "code")))
                        json_remove_at(list, i - 1);
}

static size_t count_severity(struct doctor *doctor, const char *severity)
{
        size_t n = 0;

        for (const struct json_value *f = json_first(findings_of(doctor->report)); f; f = json_next(f))
                n += strcmp(text(f, "severity"), severity) == 0;
        return n;
}

static int verdict(struct doctor *doctor)
{
        int64_t cut_off = 0;

        (void)json_int64(json_get(json_root(doctor->report), "cutOff"), &cut_off);
        if (json_length(json_get(json_root(doctor->report), "unlooked")) > 0)
                return DOCTOR_BLIND;
        return count_severity(doctor, "Critical") + count_severity(doctor, "Warning") > 0 || cut_off > 0 ? DOCTOR_FINDINGS
                                                                                                         : DOCTOR_HEALTHY;
}

static int look(struct doctor *doctor)
{
        uint64_t began = (uint64_t)g_get_monotonic_time(), past;
        int code = begin(doctor);

        if (code == CLI_OK)
                code = await_tasks(doctor, doctor->run, json_length(json_get(json_root(doctor->first), "nodes")));
        past = (uint64_t)g_get_monotonic_time() - began;
        /* Two looks at the store stand some seconds apart, also when no host had to look twice. */
        if (code == CLI_OK && json_length(findings_of(doctor->first)) > 0 && past < BETWEEN_US)
                g_usleep(BETWEEN_US - past);
        if (code == CLI_OK)
                code = fetch(doctor);
        if (code == CLI_OK) {
                keep_seen_twice(doctor);
                if (doctor->storage)
                        keep_storage(doctor);
                note_unlooked(doctor);
        }
        return code;
}

/* --- printing
 * ----------------------------------------------------------------------------------------------------------------------------------
 */

static void print_finding(const struct json_value *finding)
{
        cli_say("  %s  %s", text(finding, "code"), text(finding, "subject"));
        cli_say("      %s", text(finding, "means"));
        cli_say("      on %s%s%s", is_store(finding) ? "the gateway" : text(finding, "source"),
                *text(finding, "object") ? ", of " : "", text(finding, "object"));
        for (const struct json_value *e = json_first(json_get(finding, "evidence")); e; e = json_next(e))
                cli_say("      - %s", json_string(e, ""));
        if (*text(finding, "fix"))
                cli_say("      fix: %s", text(finding, "fix"));
        else if (strcmp(text(finding, "severity"), "Note") != 0)
                cli_say("      fix: none by itself; a person must decide");
        if (*text(finding, "undo"))
                cli_say("      undo: %s", text(finding, "undo"));
}

static void print_report(struct doctor *doctor)
{
        static const char *const severities[] = {"Critical", "Warning", "Note"};
        const struct json_value *root = json_root(doctor->report);
        int64_t in_progress = 0, cut_off = 0;

        for (size_t i = 0; i < G_N_ELEMENTS(severities); i++) {
                size_t n = count_severity(doctor, severities[i]);

                if (n > 0)
                        cli_say("%s: %zu", severities[i], n);
                for (const struct json_value *f = json_first(findings_of(doctor->report)); n > 0 && f; f = json_next(f))
                        if (strcmp(text(f, "severity"), severities[i]) == 0)
                                print_finding(f);
        }
        for (const struct json_value *u = json_first(json_get(root, "unlooked")); u; u = json_next(u))
                cli_say("Not looked at: %s", json_string(u, ""));
        (void)json_int64(json_get(root, "inProgress"), &in_progress);
        (void)json_int64(json_get(root, "cutOff"), &cut_off);
        if (cut_off > 0)
                cli_say("%" G_GINT64_FORMAT " more findings are not shown; repair these first and look again", cut_off);
        if (in_progress > 0)
                cli_say("%" G_GINT64_FORMAT " things are being worked on and were left out", in_progress);
        if (verdict(doctor) == DOCTOR_HEALTHY)
                cli_say("Nothing is lost and nothing is left over; looked at: the store, hosts: %zu",
                        json_length(json_get(root, "nodes")));
}

static int tell(struct doctor *doctor)
{
        if (doctor->output)
                cli_print_object(json_root(doctor->report), doctor->output);
        else
                print_report(doctor);
        return verdict(doctor);
}

/* --- repairing
 * ---------------------------------------------------------------------------------------------------------------------------------
 */

/* What can be put right, in the order in which it will be: the hosts' in their order, then the store's. */
static GPtrArray *plan(struct doctor *doctor)
{
        GPtrArray *steps = g_ptr_array_new();

        for (unsigned store = 0; store < 2; store++)
                for (struct json_value *f = json_first(findings_of(doctor->report)); f; f = json_next(f))
                        if (*text(f, "fix") && is_store(f) == (store == 1) && steps->len < STEPS_MAX)
                                g_ptr_array_add(steps, f);
        return steps;
}

static void print_plan(const GPtrArray *steps)
{
        cli_say("The plan:");
        for (guint i = 0; i < steps->len; i++) {
                const struct json_value *step = steps->pdata[i];

                cli_say("%3u. %s: %s %s", i + 1, is_store(step) ? "gateway" : text(step, "source"), text(step, "code"),
                        text(step, "subject"));
                cli_say("     does: %s", text(step, "fix"));
                cli_say("     safe: %s", text(step, "safe"));
                if (*text(step, "undo"))
                        cli_say("     undo: %s", text(step, "undo"));
        }
}

/* Nothing is changed without a yes. */
static bool agreed(const struct doctor *doctor, guint n)
{
        char answer[16];

        if (doctor->yes)
                return true;
        if (!isatty(STDIN_FILENO)) {
                cli_note("nothing was changed; add --yes to carry out the plan");
                return false;
        }
        fprintf(stderr, "Carry out %s? Each finding is looked for again right before. [y/N] ",
                n == 1 ? "this step" : "these steps");
        fflush(stderr);
        return fgets(answer, sizeof(answer), stdin) && g_ascii_tolower(answer[0]) == 'y';
}

static char *repair_body(const GPtrArray *steps)
{
        static const char *const keys[] = {"source", "code", "subject"};
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT), *list = json_ensure_array(doc, root, "findings");

        for (guint i = 0; i < steps->len; i++) {
                struct json_value *ref = json_append(list, json_new(doc, JSON_OBJECT));

                for (size_t k = 0; k < G_N_ELEMENTS(keys); k++)
                        json_set_string(doc, ref, keys[k], text(steps->pdata[i], keys[k]));
        }
        return json_to_text(root);
}

static void say_repairs(struct doctor *doctor, const struct json_doc *answer)
{
        const struct json_value *list = json_get(json_root_const(answer), "repairs");

        for (const struct json_value *r = json_first(list); r; r = json_next(r)) {
                json_append(doctor->repairs_list, json_copy(doctor->repairs, r));
                if (!doctor->output)
                        cli_say("%s  %s %s%s%s", text(r, "state"), text(r, "code"), text(r, "subject"),
                                *text(r, "message") ? ": " : "",
                                strcmp(text(r, "state"), "NotFound") == 0 && !*text(r, "message") ? ": it is no longer there"
                                                                                                  : text(r, "message"));
        }
}

static int carry_out(struct doctor *doctor, const GPtrArray *steps)
{
        g_autofree char *path = g_strdup_printf("/admin/v1/doctor/%s/repair", doctor->run), *body = repair_body(steps);
        g_autoptr(json_doc) begun = NULL, ended = NULL;
        int code = ask(doctor, "POST", path, body, &begun);

        if (code != CLI_OK)
                return code;
        say_repairs(doctor, begun);
        const char *run = text(json_root(begun), "run");
        code = await_tasks(doctor, run, json_length(json_get(json_root(begun), "nodes")));
        g_autofree char *result = g_strdup_printf("/admin/v1/doctor/%s", run);
        if (code == CLI_OK)
                code = ask(doctor, "GET", result, NULL, &ended);
        if (code == CLI_OK)
                say_repairs(doctor, ended);
        return code;
}

static void forget_look(struct doctor *doctor)
{
        g_clear_pointer(&doctor->run, g_free);
        doctor->first = json_doc_free(doctor->first);
        doctor->report = json_doc_free(doctor->report);
}

/* Plans, asks, repairs, and looks once more: the exit code tells what is left. */
static int repair(struct doctor *doctor)
{
        g_autoptr(GPtrArray) steps = plan(doctor);
        int code;

        if (steps->len == 0) {
                if (doctor->output)
                        return tell(doctor);
                cli_say("There is nothing that the doctor would put right by itself");
                return verdict(doctor);
        }
        if (!doctor->output)
                print_plan(steps);
        if (!agreed(doctor, steps->len))
                return doctor->output ? tell(doctor) : verdict(doctor);
        doctor->repairs = json_doc_new();
        doctor->repairs_list = json_new(doctor->repairs, JSON_ARRAY);
        code = carry_out(doctor, steps);
        if (code != CLI_OK)
                return DOCTOR_BLIND;
        forget_look(doctor);
        code = look(doctor);
        if (code != CLI_OK)
                return DOCTOR_BLIND;
        json_set(doctor->report, json_root(doctor->report), "repairs", json_copy(doctor->report, doctor->repairs_list));
        if (!doctor->output)
                cli_say("After the repair:");
        return tell(doctor);
}

/* --- the verb
 * ----------------------------------------------------------------------------------------------------------------------------------
 */

static int check_words(const struct doctor *doctor, int argc, char **argv)
{
        if (doctor->storage && (argc != 2 || !g_str_equal(argv[1], "doctor")))
                return cli_usage("what? gabbro storage doctor");
        if (!doctor->storage && argc > 1)
                return cli_usage("doctor takes no words; gabbro doctor --help");
        if (doctor->output && !g_str_equal(doctor->output, "json") && !g_str_equal(doctor->output, "yaml"))
                return cli_usage("-o is text, json or yaml");
        if (doctor->timeout_s < 1)
                return cli_usage("--timeout takes seconds, at least 1");
        if (doctor->yes && !doctor->fix)
                return cli_usage("--yes goes with --fix");
        return CLI_OK;
}

/* One document with -o: the last one. */
static int answer(struct doctor *doctor)
{
        int code = doctor->output && doctor->fix ? DOCTOR_HEALTHY : tell(doctor);

        return doctor->fix ? repair(doctor) : code;
}

static int run(struct doctor *doctor, const char *verb, const char *help, int argc, char **argv)
{
        g_autofree char *node = NULL, *output = NULL;
        const GOptionEntry entries[] = {
                {"node", 0, 0, G_OPTION_ARG_STRING, &node, "Only this host, and the store", "NAME"},
                {"output", 'o', 0, G_OPTION_ARG_STRING, &output, "text (default), json or yaml", "FORMAT"},
                {"fix", 0, 0, G_OPTION_ARG_NONE, &doctor->fix, "Print a plan of what can be put right, ask, and carry it out",
                 NULL},
                {"yes", 0, 0, G_OPTION_ARG_NONE, &doctor->yes, "With --fix: do not ask", NULL},
                {"verify", 0, 0, G_OPTION_ARG_NONE, &doctor->verify,
                 "Also read every file of the image library and compare its SHA-256", NULL},
                {"timeout", 0, 0, G_OPTION_ARG_INT, &doctor->timeout_s, "How long the hosts may take (60)", "SECONDS"},
                {},
        };
        int code = cli_parse(doctor->cli, verb, entries, help, &argc, &argv);

        doctor->node = node;
        doctor->output = output && !g_str_equal(output, "text") ? output : NULL;
        if (code == CLI_OK)
                code = check_words(doctor, argc, argv);
        if (code == CLI_OK)
                code = look(doctor) == CLI_OK ? answer(doctor) : DOCTOR_BLIND;
        forget_look(doctor);
        json_doc_free(doctor->repairs);
        return code;
}

int cli_doctor(struct cli *cli, int argc, char **argv)
{
        return run(&(struct doctor){.cli = cli, .timeout_s = TIMEOUT_S}, "doctor",
                   "Looks at the store and at every host: domains, files, interfaces, rules, processes. Without --fix\n"
                   "nothing is changed. Exit codes: 0 nothing found, 1 findings, 2 something could not be looked at.\n"
                   "\n"
                   "Examples:\n"
                   "  gabbro doctor\n"
                   "  gabbro doctor --node host-3 -o json\n"
                   "  gabbro doctor --fix",
                   argc, argv);
}

int cli_storage(struct cli *cli, int argc, char **argv)
{
        return run(&(struct doctor){.cli = cli, .timeout_s = TIMEOUT_S, .storage = true}, "storage",
                   "storage doctor: where files and records of pools, volumes and images disagree, what is left over of\n"
                   "uploads and images, and what is missing; with --fix a plan of what can be put right comes first, and\n"
                   "nothing is deleted that anything names. Exit codes: 0 nothing found, 1 findings, 2 something could not\n"
                   "be looked at. gabbro doctor looks at the rest too.\n"
                   "\n"
                   "Examples:\n"
                   "  gabbro storage doctor\n"
                   "  gabbro storage doctor --verify\n"
                   "  gabbro storage doctor --fix",
                   argc, argv);
}
