/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/volume_export.h"

#include "base/file.h"
#include "base/log.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>

#define SOURCE_AGAIN_US 1000000ull
#define READ_BYTES      (1u << 20)
#define PATH            "/agent/v1/exports/"
#define BODY_TYPE       "Content-Type: application/offset+octet-stream"
#define TUS             "Tus-Resumable: 1.0.0"

static const struct api_host_task_spec *task_spec(const struct intent *intent)
{
        return intent->kind == &api_host_task_kind ? ((const struct api_host_task *)intent->doc->view)->spec : NULL;
}

bool volume_export_is(const struct intent *intent)
{
        const struct api_host_task_spec *spec = task_spec(intent);

        return spec && (g_strcmp0(spec->type, "ExportVolume") == 0 || g_strcmp0(spec->type, "DigestVolume") == 0);
}

const char *volume_export_source(const struct intent *intent)
{
        return volume_export_is(intent) ? task_spec(intent)->volume : NULL;
}

const char *volume_export_sender(struct agent *agent, const char *volume)
{
        g_autoptr(GPtrArray) tasks = intents_list(agent->intents, &api_host_task_kind);

        for (unsigned i = 0; i < tasks->len; i++) {
                const struct intent *task = tasks->pdata[i];

                if (task->running && g_strcmp0(volume_export_source(task), volume) == 0) {
                        return task->name;
                }
        }
        return NULL;
}

void volume_export_hasten(struct agent *agent)
{
        g_autoptr(GPtrArray) tasks = intents_list(agent->intents, &api_host_task_kind);

        for (unsigned i = 0; i < tasks->len; i++) {
                struct intent *task = tasks->pdata[i];

                if (volume_export_is(task) && task->failures > 0 && !task->running) {
                        intents_queue(agent->intents, task, 0);
                }
        }
}

struct sender {
        struct job *job;
        char *path; /* at the gateway */
        int fd;
        uint64_t size, offset; /* offset: what the gateway has */
        const char *step;
        unsigned percent;
        uint64_t begun; /* offset at which this call began */
};

/* --- what is told ----------------------------------------------------------------------------------------------------------------
 */

static struct api_host_task_status new_status(const struct sender *sender, const char *state)
{
        return (struct api_host_task_status){.observed_generation = sender->job->doc->generation,
                                             .has_observed_generation = true,
                                             .state = state,
                                             .step = sender->step,
                                             .progress_percent = sender->percent,
                                             .has_progress_percent = true};
}

static void tell(struct sender *sender, const char *step, uint64_t done)
{
        unsigned percent = (unsigned)((__uint128_t)done * 100 / sender->size);
        struct api_host_task_status status;

        if (sender->step == step && sender->percent == percent) {
                return;
        }
        sender->step = step;
        sender->percent = percent;
        status = new_status(sender, "Running");
        job_progress(sender->job, &api_host_task_status_type, &status);
}

static void finish(struct sender *sender)
{
        struct api_host_task_status status = new_status(sender, "Succeeded");

        status.step = NULL;
        status.progress_percent = 100;
        sender->job->ready = true;
        job_status(sender->job, &api_host_task_status_type, &status);
        log_info("the copy of a disk was sent to the gateway", "task", job_key(sender->job).name);
}

/* @state Running: it goes on by itself; Failed: somebody has to do something. */
static void hold_up(struct sender *sender, const char *state, const char *reason, const char *words)
{
        struct api_host_task_status status = new_status(sender, state);

        status.error = job_error(sender->job, reason, "%s", words);
        sender->job->result = JOB_RETRY;
        job_status(sender->job, &api_host_task_status_type, &status);
        log_warning("the copy of a disk cannot be sent now", "task", job_key(sender->job).name, "reason", reason, "error", words);
}

static bool is_wanted(const struct sender *sender)
{
        return !job_is_cancelled(sender->job);
}

/* --- the file --------------------------------------------------------------------------------------------------------------------
 */

/* As hex, g_free(); NULL: it could not be read, or nobody wants it any more. */
static char *hash_file(struct sender *sender)
{
        EVP_MD_CTX *context = EVP_MD_CTX_new();
        g_autofree char *buffer = g_malloc(READ_BYTES);
        unsigned char raw[EVP_MAX_MD_SIZE];
        uint64_t done = 0;
        unsigned n_raw = 0;
        ssize_t n = 1;
        GString *text = NULL;
        bool ok = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL);

        while (ok && n > 0 && is_wanted(sender)) {
                n = pread(sender->fd, buffer, READ_BYTES, (off_t)done);
                ok = n >= 0 && EVP_DigestUpdate(context, buffer, (size_t)n);
                done += (uint64_t)MAX(n, 0);
                tell(sender, "reads its copy", done);
        }
        if (ok && done == sender->size && EVP_DigestFinal_ex(context, raw, &n_raw)) {
                text = g_string_new(NULL);
                for (unsigned i = 0; i < n_raw; i++) {
                        g_string_append_printf(text, "%02x", raw[i]);
                }
        }
        EVP_MD_CTX_free(context);
        return text ? g_string_free(text, FALSE) : NULL;
}

/* --- the gateway -----------------------------------------------------------------------------------------------------------------
 */

static bool go_on(void *userdata)
{
        return is_wanted(userdata);
}

static void on_sent(uint64_t sent, void *userdata)
{
        struct sender *sender = userdata;

        tell(sender, "sends its copy", MIN(sender->begun + sent, sender->size));
}

static int ask(struct sender *sender, const char *method, const char *query, const char *const *headers, uint64_t body_len,
               struct gateway_answer *ret_answer)
{
        g_autofree char *path = g_strconcat(sender->path, query, NULL);
        struct gateway_sending sending = {.method = method,
                                          .path = path,
                                          .headers = headers,
                                          .body_fd = sender->fd,
                                          .body_len = body_len,
                                          .go_on = go_on,
                                          .on_sent = body_len ? on_sent : NULL,
                                          .userdata = sender};

        return gateway_send(sender->job->agent->gateway, &sending, ret_answer);
}

static int begin(struct sender *sender, struct gateway_answer *ret_answer)
{
        g_autofree char *hash = hash_file(sender);
        g_autofree char *length = g_strdup_printf("Upload-Length: %" G_GUINT64_FORMAT, sender->size);
        g_autofree char *query = g_strconcat("?sha256=", hash, NULL);
        const char *const headers[] = {TUS, length, NULL};

        if (!hash) {
                ret_answer->words = g_strdup("the copy could not be read to its end");
                return is_wanted(sender) ? -EIO : -ECANCELED;
        }
        (void)job_pass(sender->job, "export", "read");
        return ask(sender, "POST", query, headers, 0, ret_answer);
}

static int send_rest(struct sender *sender, struct gateway_answer *ret_answer)
{
        g_autofree char *offset = g_strdup_printf("Upload-Offset: %" G_GUINT64_FORMAT, sender->offset);
        const char *const headers[] = {TUS, BODY_TYPE, offset, NULL};

        if (lseek(sender->fd, (off_t)sender->offset, SEEK_SET) < 0) {
                return -errno;
        }
        sender->begun = sender->offset;
        (void)job_pass(sender->job, "export", "send");
        return ask(sender, "PATCH", NULL, headers, sender->size - sender->offset, ret_answer);
}

/* The next word to the gateway, by what it said last. */
static int step(struct sender *sender, struct gateway_answer *answer, bool *ret_done)
{
        bool known = answer->status == 200 || answer->status == 201 || answer->status == 204;
        bool other = answer->status == 404 || (answer->status == 200 && answer->length != sender->size);
        int r;

        *ret_done = known && (answer->complete || (!other && answer->offset == sender->size));
        if (*ret_done || (!known && !other)) {
                return 0;
        }
        sender->offset = answer->offset;
        gateway_answer_clear(answer);
        r = other ? begin(sender, answer) : send_rest(sender, answer);
        if (!r && answer->status == 201) {
                (void)job_pass(sender->job, "export", "begun");
        }
        return r;
}

/* What answers other than those that go on mean. */
static const struct {
        int status;
        const char *state, *reason;
} refusals[] = {
        {403, "Failed", REASON_QUOTA_EXCEEDED},       {413, "Failed", REASON_IMAGE_TOO_LARGE},
        {422, "Failed", REASON_IMAGE_FORMAT_REFUSED}, {507, "Running", REASON_DISK_FULL},
        {0, "Running", REASON_EXPORT_INTERRUPTED},
};

static void tell_refusal(struct sender *sender, const struct gateway_answer *answer)
{
        g_autofree char *words =
                answer->words ? g_strdup(answer->words) : g_strdup_printf("the gateway answered %d", answer->status);
        size_t i = 0;

        while (refusals[i].status && refusals[i].status != answer->status) {
                i++;
        }
        hold_up(sender, refusals[i].state, refusals[i].reason, words);
}

#define STEPS_MAX 4 /* asked, begun, sent, and asked once more */

static void send_all(struct sender *sender)
{
        static const char *const headers[] = {TUS, NULL};
        struct gateway_answer answer = {};
        bool done = false;
        int r = ask(sender, "GET", NULL, headers, 0, &answer);

        (void)job_pass(sender->job, "export", "asked");
        for (unsigned i = 0; !r && !done && i < STEPS_MAX; i++) {
                int before = answer.status;

                r = step(sender, &answer, &done);
                if (!r && !done && answer.status == before && before != 204 && before != 200) {
                        break; /* it stays with its word */
                }
        }
        if (!r && done) {
                finish(sender);
        } else if (r == -ECANCELED) {
                sender->job->result = JOB_RETRY; /* what is to be done instead is known already */
        } else if (r) {
                hold_up(sender, "Running", REASON_EXPORT_INTERRUPTED, answer.words ? answer.words : g_strerror(-r));
        } else {
                tell_refusal(sender, &answer);
        }
        gateway_answer_clear(&answer);
}

/* --- one turn --------------------------------------------------------------------------------------------------------------------
 */

static void wait_for_source(struct sender *sender)
{
        struct job *job = sender->job;
        struct api_host_task_status status = new_status(sender, "Pending");

        status.error = job_error(job, REASON_EXPORT_INTERRUPTED, "the copy is not ready on this host%s%s",
                                 job->source && job->source->words ? ": " : "",
                                 job->source && job->source->words ? job->source->words : "");
        job->result = JOB_WAIT;
        job->again_us = SOURCE_AGAIN_US;
        job_status(job, &api_host_task_status_type, &status);
}

void converge_export(struct job *job, const struct api_host_task *task)
{
        g_autofree char *path = g_strconcat(PATH, task->metadata->name, NULL);
        struct sender sender = {.job = job, .path = path, .fd = -1};
        const struct job_source *source = job->source;
        autofd fd = -1;
        struct stat info;

        if (!source || !source->ready || !source->path) {
                wait_for_source(&sender);
                return;
        }
        fd = open(source->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 || fstat(fd, &info) < 0 || !S_ISREG(info.st_mode) || info.st_size == 0) {
                g_autofree char *words =
                        g_strdup_printf("%s cannot be read: %s", source->path, fd < 0 ? g_strerror(errno) : "no file");

                hold_up(&sender, "Running", REASON_EXPORT_INTERRUPTED, words);
                return;
        }
        sender.fd = fd;
        sender.size = (uint64_t)info.st_size;
        send_all(&sender);
}
