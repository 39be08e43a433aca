/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/inspect.h"

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

#include <stdarg.h>
#include <string.h>

#define PROCESSES_MAX 65536
#define SETTLED_US    5000000ull /* what changed later than this before a look is work in progress */
#define BETWEEN_US    3000000ull /* between the two looks */
#define WORDS_MAX     400
#define BLIND         "\n" /* pending after a look that could not look at everything; no finding's key */

/* In the order in which findings are told and repaired: what holds a thing open comes before the thing. */
static const struct {
        const char *name;
        void (*check)(struct inspect *inspect);
        const char *codes[5]; /* that it can find */
} checks[] = {
        {"domains of libvirt",
         inspect_domains,
         {REASON_STRAY_DOMAIN, REASON_FOREIGN_DOMAIN, REASON_DOMAIN_MISSING, REASON_DOMAIN_DISAGREES, REASON_DISK_SHARED_WRITABLE}},
        {"QEMU processes", inspect_qemu, {REASON_STRAY_PROCESS, REASON_PROCESS_MISSING}},
        {"files of pools", inspect_pools, {REASON_STRAY_VOLUME, REASON_VOLUME_MISSING, REASON_VOLUME_REPLACED, REASON_POOL_LOST}},
        {"interfaces", inspect_links, {REASON_STRAY_TAP, REASON_TAP_MISSING, REASON_TAP_OPEN, REASON_STRAY_BRIDGE}},
        {"rules", inspect_rules, {REASON_STRAY_RULES, REASON_RULES_MISSING}},
        {"DHCP services", inspect_dhcp, {REASON_STRAY_DHCP, REASON_DHCP_MISSING}},
        {"first-boot images", inspect_seeds, {REASON_STRAY_SEED}},
        {"journal", inspect_journal, {REASON_STRAY_JOURNAL}},
        {"image cache", inspect_images, {REASON_STRAY_IMAGE_FILE}},
        {"control groups", inspect_cgroups, {REASON_STRAY_CGROUP}},
};

/* --- what is known, on the loop thread -------------------------------------------------------------------------------------------
 */

static void free_intent(void *data)
{
        struct inspect_intent *intent = data;

        intent_doc_unref(intent->doc);
        json_doc_free(intent->status);
        g_free(intent->name);
        g_free(intent->uid);
        g_free(intent->path);
        g_free(intent);
}

static bool is_busy(const struct intent *intent)
{
        uint64_t now = clock_monotonic_us(clock_system());

        return intent->running || intent->again || intent->doc->deleted || intent->gone || !intent->status ||
               (intent->image && !intent->image_ready) || now - intent->changed_us < SETTLED_US;
}

struct inspection *inspection_gather(struct agent *agent, const struct intent *task)
{
        struct inspection *inspection = g_new0(struct inspection, 1);
        g_autoptr(GPtrArray) all = intents_list(agent->intents, NULL);

        inspection->intents = g_ptr_array_new_with_free_func(free_intent);
        inspection->pending = g_strdup(task->pending);
        for (unsigned i = 0; i < all->len; i++) {
                const struct intent *intent = all->pdata[i];
                struct inspect_intent *copy = g_new0(struct inspect_intent, 1);

                copy->kind = intent->kind;
                copy->doc = intent_doc_ref(intent->doc);
                copy->name = g_strdup(intent->name);
                copy->uid = g_strdup(intent->uid);
                copy->path = g_strdup(intent->path);
                copy->busy = is_busy(intent);
                if (intent->status) {
                        copy->status = json_doc_new();
                        json_set_root(copy->status, json_copy(copy->status, json_root(intent->status)));
                }
                g_ptr_array_add(inspection->intents, copy);
        }
        return inspection;
}

struct inspection *inspection_free(struct inspection *inspection)
{
        if (inspection) {
                g_ptr_array_unref(inspection->intents);
                g_free(inspection->pending);
                g_free(inspection);
        }
        return NULL;
}

/* --- words of a look -------------------------------------------------------------------------------------------------------------
 */

/* Names of files and domains are others' words: one line of valid UTF-8, not endless. */
static const char *clean(struct arena *arena, const char *format, va_list args) G_GNUC_PRINTF(2, 0);
static const char *clean(struct arena *arena, const char *format, va_list args)
{
        g_autofree char *words = g_strdup_vprintf(format, args);
        g_autofree char *valid = g_utf8_make_valid(words, -1);

        for (char *at = valid; *at; at++) {
                if (g_ascii_iscntrl(*at)) {
                        *at = '?';
                }
        }
        if (strlen(valid) > WORDS_MAX) {
                char *cut = g_utf8_find_prev_char(valid, valid + WORDS_MAX);

                *cut = '\0';
        }
        return arena_strdup(arena, valid);
}

struct api_host_finding *inspect_found(struct inspect *inspect, const char *code, const char *severity, const char *format, ...)
{
        struct api_host_finding *finding = arena_new0(inspect->arena, struct api_host_finding);
        g_autofree char *exact = NULL;
        va_list args;

        va_start(args, format);
        exact = g_strdup_vprintf(format, args);
        va_end(args);
        va_start(args, format);
        finding->subject = clean(inspect->arena, format, args);
        va_end(args);
        finding->code = code;
        finding->severity = severity;
        finding->evidence = arena_array(inspect->arena, INSPECT_EVIDENCE_MAX, sizeof(*finding->evidence));
        g_ptr_array_add(inspect->findings, finding);
        if (!g_str_equal(exact, finding->subject)) {
                g_ptr_array_add(inspect->unnamed, finding);
                inspect_evidence(inspect, finding, "its name cannot be told exactly, so nothing will be done to it");
        }
        return finding;
}

void inspect_evidence(struct inspect *inspect, struct api_host_finding *finding, const char *format, ...)
{
        va_list args;

        if (finding->n_evidence == INSPECT_EVIDENCE_MAX) {
                return;
        }
        va_start(args, format);
        finding->evidence[finding->n_evidence++] = clean(inspect->arena, format, args);
        va_end(args);
}

void inspect_fix(struct inspect *inspect, struct api_host_finding *finding, const char *format, ...)
{
        va_list args;

        if (g_ptr_array_find(inspect->unnamed, finding, NULL)) {
                return;
        }
        va_start(args, format);
        finding->fix = clean(inspect->arena, format, args);
        va_end(args);
        finding->safe = repair_safe(finding->code);
        assert(finding->safe);
}

void inspect_unlooked(struct inspect *inspect, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        g_ptr_array_add(inspect->unlooked, (void *)clean(inspect->arena, format, args));
        va_end(args);
}

void inspect_later(struct inspect *inspect)
{
        inspect->in_progress++;
}

const struct inspect_intent *inspect_intent_uid(const struct inspect *inspect, const struct schema_kind *kind, const char *uid)
{
        for (unsigned i = 0; uid && i < inspect->known->intents->len; i++) {
                const struct inspect_intent *intent = inspect->known->intents->pdata[i];

                if ((!kind || intent->kind == kind) && g_str_equal(intent->uid, uid)) {
                        return intent;
                }
        }
        return NULL;
}

const struct inspect_intent *inspect_tap(const struct inspect *inspect, const char *tap)
{
        for (unsigned i = 0; i < inspect->known->intents->len; i++) {
                const struct inspect_intent *intent = inspect->known->intents->pdata[i];

                if (intent->kind == &api_port_kind &&
                    g_strcmp0(((const struct api_port *)intent->doc->view)->spec->tap_name, tap) == 0) {
                        return intent;
                }
        }
        return NULL;
}

const void *inspect_told(struct inspect *inspect, const struct inspect_intent *intent)
{
        static const struct {
                const struct schema_kind *kind;
                const struct schema_type *type;
        } types[] = {{&api_instance_kind, &api_instance_status_type},
                     {&api_volume_kind, &api_volume_status_type},
                     {&api_port_kind, &api_port_status_type}};

        void *told = g_hash_table_lookup(inspect->told, intent);

        for (size_t i = 0; !told && intent->status && i < G_N_ELEMENTS(types); i++) {
                if (types[i].kind == intent->kind) {
                        told = schema_decode(types[i].type, json_root(intent->status), inspect->arena);
                        g_hash_table_insert(inspect->told, (void *)intent, told);
                }
        }
        return told;
}

/* --- processes -------------------------------------------------------------------------------------------------------------------
 */

static void free_process(void *data)
{
        struct inspect_process *process = data;

        g_strfreev(process->arguments);
        g_free(process);
}

static char **read_arguments(int pid)
{
        g_autofree char *path = g_strdup_printf("/proc/%d/cmdline", pid), *text = NULL;
        GStrvBuilder *builder;
        char **arguments;
        size_t len;

        if (file_read(path, 1u << 20, &text, &len) < 0 || !len) {
                return NULL;
        }
        builder = g_strv_builder_new();
        for (const char *at = text; at < text + len; at += strlen(at) + 1) {
                g_strv_builder_add(builder, at);
        }
        arguments = g_strv_builder_end(builder);
        g_strv_builder_unref(builder);
        return arguments;
}

GPtrArray *inspect_processes(const char *program)
{
        GPtrArray *processes = g_ptr_array_new_with_free_func(free_process);
        g_autoptr(GDir) folder = g_dir_open("/proc", 0, NULL);
        const char *name;

        while (folder && (name = g_dir_read_name(folder)) && processes->len < PROCESSES_MAX) {
                g_auto(GStrv) arguments = g_ascii_isdigit(*name) ? read_arguments((int)g_ascii_strtoll(name, NULL, 10)) : NULL;
                g_autofree char *base = arguments && arguments[0] ? g_path_get_basename(arguments[0]) : NULL;

                if (base && g_str_has_prefix(base, program)) {
                        struct inspect_process *process = g_new0(struct inspect_process, 1);

                        process->pid = (int)g_ascii_strtoll(name, NULL, 10);
                        process->arguments = g_steal_pointer(&arguments);
                        g_ptr_array_add(processes, process);
                }
        }
        return processes;
}

const char *inspect_argument(const struct inspect_process *process, const char *option)
{
        for (char **argument = process->arguments; *argument && argument[1]; argument++) {
                if (g_str_equal(*argument, option)) {
                        return argument[1];
                }
        }
        return NULL;
}

/* --- one look --------------------------------------------------------------------------------------------------------------------
 */

static void take_census(struct inspect *inspect)
{
        struct virt_error error = {};

        if (!inspect->agent->virt) {
                inspect_unlooked(inspect, "libvirt: it was never reached");
        } else if (virt_census_take(inspect->agent->virt, &inspect->census, &error)) {
                inspect_unlooked(inspect, "libvirt: %s", error.words);
        }
}

void inspect_look(struct inspect *inspect, struct job *job, const char *code)
{
        assert(inspect && job && job->inspection);
        *inspect = (struct inspect){.job = job, .agent = job->agent, .arena = arena_new(0), .known = job->inspection};
        inspect->findings = g_ptr_array_new();
        inspect->unlooked = g_ptr_array_new();
        inspect->unnamed = g_ptr_array_new();
        inspect->told = g_hash_table_new(NULL, NULL);
        take_census(inspect);
        for (size_t i = 0; i < G_N_ELEMENTS(checks); i++) {
                bool wanted = !code;

                for (size_t j = 0; code && j < G_N_ELEMENTS(checks[i].codes) && checks[i].codes[j]; j++) {
                        wanted = wanted || g_str_equal(checks[i].codes[j], code);
                }
                if (wanted) {
                        checks[i].check(inspect);
                }
        }
}

void inspect_clear(struct inspect *inspect)
{
        virt_census_free(inspect->census);
        g_ptr_array_unref(inspect->findings);
        g_ptr_array_unref(inspect->unlooked);
        g_ptr_array_unref(inspect->unnamed);
        g_hash_table_unref(inspect->told);
        g_clear_pointer(&inspect->holders, g_hash_table_unref);
        arena_free(inspect->arena);
}

/* --- the task Inspect ------------------------------------------------------------------------------------------------------------
 */

static const char *key_of(struct inspect *inspect, const struct api_host_finding *finding)
{
        return arena_printf(inspect->arena, "%s %s", finding->code, finding->subject);
}

static char *keys_of(struct inspect *inspect)
{
        g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
        g_auto(GStrv) keys = NULL;

        for (unsigned i = 0; i < inspect->findings->len; i++) {
                g_strv_builder_add(builder, key_of(inspect, inspect->findings->pdata[i]));
        }
        keys = g_strv_builder_end(builder);
        return g_strjoinv("\n", keys);
}

static bool needs_second_look(const struct inspect *inspect)
{
        for (unsigned i = 0; i < inspect->findings->len; i++) {
                if (!g_str_equal(((const struct api_host_finding *)inspect->findings->pdata[i])->severity, "Note")) {
                        return true;
                }
        }
        return false;
}

/* What only one of two looks saw was on its way. */
static void keep_seen_twice(struct inspect *inspect)
{
        g_auto(GStrv) before = g_strsplit(inspect->known->pending, "\n", 0);

        for (unsigned i = 0; i < inspect->findings->len;) {
                if (g_strv_contains((const char *const *)before, key_of(inspect, inspect->findings->pdata[i]))) {
                        i++;
                } else {
                        g_ptr_array_remove_index(inspect->findings, i);
                        inspect->in_progress++;
                }
        }
}

static void tell_findings(struct inspect *inspect, struct api_host_task_status *status)
{
        status->n_findings = MIN(inspect->findings->len, INSPECT_FINDINGS_MAX);
        status->findings = arena_array(inspect->arena, status->n_findings + 1, sizeof(*status->findings));
        for (size_t i = 0; i < status->n_findings; i++) {
                status->findings[i] = *(const struct api_host_finding *)inspect->findings->pdata[i];
        }
        status->cut_off = (int64_t)(inspect->findings->len - status->n_findings);
        status->in_progress = inspect->in_progress;
        status->has_cut_off = status->has_in_progress = true;
        status->n_unlooked = MIN(inspect->unlooked->len, 32);
        status->unlooked = (const char **)inspect->unlooked->pdata;
        status->state = "Succeeded";
}

void converge_inspect(struct job *job, const struct api_host_task *task)
{
        struct api_host_task_status status = {.observed_generation = job->doc->generation, .has_observed_generation = true};
        const char *pending = job->inspection->pending;
        bool was_blind = g_strcmp0(pending, BLIND) == 0, second = pending && !was_blind, blind;
        struct inspect inspect;

        status.state = "Running";
        status.step = second ? "looking again" : "looking";
        status.progress_percent = second ? 60 : 10;
        status.has_progress_percent = true;
        job_progress(job, &api_host_task_status_type, &status);
        inspect_look(&inspect, job, NULL);
        /* A libvirt that has just been started again is reached by then. */
        blind = inspect.unlooked->len && !was_blind;
        if (!second && (blind || needs_second_look(&inspect))) {
                status.step = blind ? "waiting for what could not be looked at" : "waiting for a second look";
                status.progress_percent = blind ? 30 : 50;
                job->pending = blind ? g_strdup(BLIND) : keys_of(&inspect);
                job->result = JOB_WAIT;
                job->again_us = BETWEEN_US;
                job_status(job, &api_host_task_status_type, &status);
                inspect_clear(&inspect);
                return;
        }
        if (second) {
                keep_seen_twice(&inspect);
        }
        status.step = NULL;
        status.progress_percent = 100;
        tell_findings(&inspect, &status);
        job->ready = true;
        job_status(job, &api_host_task_status_type, &status);
        inspect_clear(&inspect);
}

/* --- the task Repair -------------------------------------------------------------------------------------------------------------
 */

static const struct api_host_finding *find_again(struct inspect *inspect, const struct api_host_finding_ref *ref)
{
        for (unsigned i = 0; i < inspect->findings->len; i++) {
                const struct api_host_finding *finding = inspect->findings->pdata[i];

                if (g_str_equal(finding->code, ref->code) && g_str_equal(finding->subject, ref->subject)) {
                        return finding;
                }
        }
        return NULL;
}

static void repair_one(struct job *job, const struct api_host_finding_ref *ref, struct api_host_repair *repair)
{
        static const char *const states[] = {"Done", [REPAIR_E_REFUSED] = "Refused", [REPAIR_E_FAILED] = "Failed"};
        const struct api_host_finding *finding;
        g_autofree char *words = NULL;
        struct inspect inspect;

        *repair = (struct api_host_repair){.code = ref->code, .subject = ref->subject, .state = "NotFound"};
        inspect_look(&inspect, job, ref->code);
        finding = find_again(&inspect, ref);
        if (finding && !finding->fix) {
                repair->state = "Refused";
                repair->message = "a person must decide";
        } else if (finding) {
                repair->state = states[repair_finding(&inspect, finding, &words)];
                repair->message = arena_strdup(job->arena, words);
                log_info("repaired what was found", "code", ref->code, "subject", ref->subject, "state", repair->state, "words",
                         words ? words : "");
        }
        inspect_clear(&inspect);
}

void converge_repair(struct job *job, const struct api_host_task *task)
{
        struct api_host_task_status status = {.observed_generation = job->doc->generation, .has_observed_generation = true};
        size_t n = MIN(task->spec->n_findings, 2 * INSPECT_FINDINGS_MAX);
        struct api_host_repair *repairs = arena_array(job->arena, n + 1, sizeof(*repairs));

        status.state = "Running";
        status.has_progress_percent = true;
        status.repairs = repairs;
        for (size_t i = 0; i < n; i++) {
                status.n_repairs = i;
                status.progress_percent = (int64_t)(100 * i / n);
                status.step = arena_printf(job->arena, "%s %s", task->spec->findings[i].code, task->spec->findings[i].subject);
                job_progress(job, &api_host_task_status_type, &status);
                repair_one(job, &task->spec->findings[i], &repairs[i]);
        }
        status.state = "Succeeded";
        status.step = NULL;
        status.n_repairs = n;
        status.progress_percent = 100;
        job->ready = true;
        job_status(job, &api_host_task_status_type, &status);
}
