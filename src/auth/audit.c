/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/audit_checkpoint.h"
#include "auth/auth.h"
#include "base/file.h"
#include "json/json.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define AUDIT_BUFFER_BYTES (16u << 20)
#define LINE_BYTES_MAX     (64u << 10)
#define TEXT_SHOWN         512 /* bytes of a caller's text in a line */
#define SYNC_INTERVAL_US   1000000
#define STRANGER_BURST     200      /* refusals of unknown callers in a row ... */
#define STRANGER_COST_US   50000ull /* ... and then one in so long */

struct auth_audit {
        const struct clock *clock;
        int fd;
        /* The loop's side. */
        char digest[AUDIT_DIGEST_SIZE];
        uint64_t last_us;
        uint64_t omitted_before_next;
        uint64_t stranger_credit_us, stranger_seen_us;
        struct auth_audit_stats stats;
        char *fault; /* what the checkpoint told at opening, or NULL */
        /* The writer's side. */
        char *checkpoint_path;
        struct audit_checkpoint written;
        /* Shared with the writer. */
        GMutex mutex;
        GCond changed;
        GString *waiting;
        bool writing, failing, ending;
        uint64_t errors;
        GThread *writer;
};

/* --- the writer's thread
 * ----------------------------------------------------------------------------------------------------------- */

/* Write what @batch holds; what was written is taken off, so that a failure in the middle is continued, not repeated. */
static int write_batch(int fd, GString *batch)
{
        while (batch->len > 0) {
                ssize_t n = write(fd, batch->str, batch->len);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                g_string_erase(batch, 0, n);
        }
        return 0;
}

/* Whole lines came to @batch, so its end is that of a line. */
static void note_written(struct audit_checkpoint *written, const char *last_digest, size_t n_lines, size_t n_bytes, bool all)
{
        written->lines += n_lines;
        written->bytes += n_bytes;
        if (all)
                memcpy(written->digest, last_digest, AUDIT_DIGEST_SIZE);
}

static size_t count_lines(const GString *text)
{
        size_t n = 0;

        for (gsize i = 0; i < text->len; i++)
                n += text->str[i] == '\n';
        return n;
}

/* Make durable what was written, and then that it was. What is said to be there is there, also after a power cut. */
static int sync_log(struct auth_audit *audit)
{
        if (fdatasync(audit->fd) < 0)
                return -errno;
        return audit->written.lines ? audit_checkpoint_write(audit->checkpoint_path, &audit->written) : 0;
}

/* Called with the mutex held. Waits for lines, for the time to sync, or for the end. */
static void wait_for_work(struct auth_audit *audit, bool dirty, gint64 sync_at)
{
        while (!audit->waiting->len && !audit->ending) {
                if (!dirty)
                        g_cond_wait(&audit->changed, &audit->mutex);
                else if (!g_cond_wait_until(&audit->changed, &audit->mutex, sync_at))
                        return;
        }
}

/* Called with the mutex held. One round: take what waits, write it without the mutex, put back what could not be written. */
static int write_round(struct auth_audit *audit)
{
        GString *batch = audit->waiting;
        char last[AUDIT_DIGEST_SIZE] = "";
        size_t n_lines, n_bytes;
        int r;

        audit->waiting = g_string_new(NULL);
        audit->writing = true;
        g_mutex_unlock(&audit->mutex);
        n_lines = count_lines(batch);
        n_bytes = batch->len;
        /* ..."digest":"<last>"} and the newline */
        g_strlcpy(last, batch->str + batch->len - strlen("\"}\n") - (AUDIT_DIGEST_SIZE - 1), sizeof(last));
        r = write_batch(audit->fd, batch);
        note_written(&audit->written, last, n_lines - count_lines(batch), n_bytes - batch->len, r == 0);
        g_mutex_lock(&audit->mutex);
        audit->failing = r < 0;
        if (r < 0) {
                audit->errors++;
                g_string_prepend_len(audit->waiting, batch->str, (gssize)batch->len);
        }
        audit->writing = false;
        g_string_free(batch, TRUE);
        g_cond_broadcast(&audit->changed);
        return r;
}

static gpointer writer_thread(gpointer data)
{
        struct auth_audit *audit = data;
        gint64 sync_at = 0;
        bool dirty = false;

        g_mutex_lock(&audit->mutex);
        for (;;) {
                int r = 0;

                wait_for_work(audit, dirty, sync_at);
                if (audit->waiting->len) {
                        r = write_round(audit);
                        sync_at = dirty ? sync_at : g_get_monotonic_time() + SYNC_INTERVAL_US;
                        dirty = true;
                }
                if (audit->ending && (r < 0 || !audit->waiting->len))
                        break;
                if (r < 0) {
                        g_cond_wait_until(&audit->changed, &audit->mutex, g_get_monotonic_time() + SYNC_INTERVAL_US);
                } else if (dirty && g_get_monotonic_time() >= sync_at) {
                        g_mutex_unlock(&audit->mutex);
                        dirty = sync_log(audit) < 0;
                        g_mutex_lock(&audit->mutex);
                        audit->errors += dirty;
                        sync_at = g_get_monotonic_time() + SYNC_INTERVAL_US;
                }
        }
        g_mutex_unlock(&audit->mutex);
        (void)sync_log(audit); /* the end: nobody is left to be told of a failure */
        return NULL;
}

/* Signals belong to the loop: a thread that does not block them would take them with their default action. */
static void start_writer(struct auth_audit *audit)
{
        sigset_t all, before;

        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        audit->writer = g_thread_new("audit", writer_thread, audit);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void enqueue(struct auth_audit *audit, const GString *line)
{
        g_mutex_lock(&audit->mutex);
        g_string_append_len(audit->waiting, line->str, (gssize)line->len);
        g_cond_broadcast(&audit->changed);
        g_mutex_unlock(&audit->mutex);
}

static bool has_room(struct auth_audit *audit)
{
        bool room;

        g_mutex_lock(&audit->mutex);
        room = audit->waiting->len < AUDIT_BUFFER_BYTES;
        g_mutex_unlock(&audit->mutex);
        return room;
}

/* --- lines
 * -------------------------------------------------------------------------------------------------------------------------- */

static void set_text(struct json_doc *doc, const char *key, const char *text)
{
        g_autofree char *shown = NULL;

        if (!text)
                return;
        shown = g_utf8_make_valid(text, (gssize)strnlen(text, TEXT_SHOWN));
        json_set_string(doc, json_root(doc), key, shown);
}

static struct json_doc *line_begin(struct auth_audit *audit)
{
        struct json_doc *doc = json_doc_new();
        char time[CLOCK_RFC3339_MAX];

        /* The order of lines is the order of time, also when the clock is set back. */
        audit->last_us = MAX(audit->last_us + 1, clock_real_us(audit->clock));
        json_set_root(doc, json_new(doc, JSON_OBJECT));
        json_set_string(doc, json_root(doc), "previous", audit->digest);
        json_set_string(doc, json_root(doc), "time", clock_format_rfc3339(audit->last_us, true, time));
        if (audit->omitted_before_next)
                json_set_int(doc, json_root(doc), "omitted", (int64_t)audit->omitted_before_next);
        audit->omitted_before_next = 0;
        return doc;
}

static void line_end(struct auth_audit *audit, struct json_doc *doc)
{
        g_autoptr(GString) line = g_string_new(NULL);

        json_write(json_root(doc), line);
        audit_chain_close(line, audit->digest);
        g_string_append_c(line, '\n');
        enqueue(audit, line);
        audit->stats.lines++;
        json_doc_free(doc);
}

/* A flood of refusals must neither fill the disk nor push evidence away: strangers have a rate, everybody else has not. */
static bool stranger_may_be_recorded(struct auth_audit *audit)
{
        uint64_t now = clock_monotonic_us(audit->clock), full = STRANGER_BURST * STRANGER_COST_US;

        audit->stranger_credit_us = MIN(full, audit->stranger_credit_us + (now - MIN(now, audit->stranger_seen_us)));
        audit->stranger_seen_us = now;
        if (audit->stranger_credit_us < STRANGER_COST_US)
                return false;
        audit->stranger_credit_us -= STRANGER_COST_US;
        return true;
}

/* Reads, and what agents report every few seconds: leases and progress, whose changes history keeps. A subresource that is not the
 * status is a deed whatever its verb is called: a console is opened by "get". */
static bool is_routine(const struct auth_attributes *attributes)
{
        static const char *const reads[] = {"get", "list", "watch", "head", NULL};
        bool secret = attributes->resource && strcmp(attributes->resource, "secrets") == 0;
        bool deed = attributes->subresource && strcmp(attributes->subresource, "status") != 0;

        return (g_strv_contains(reads, attributes->verb) && !secret && !deed) ||
               (attributes->nodes_only && strcmp(attributes->verb, "put") == 0);
}

static void set_attributes(struct json_doc *doc, const struct auth_attributes *attributes)
{
        set_text(doc, "verb", attributes->verb);
        set_text(doc, "group", attributes->group);
        set_text(doc, "resource", attributes->resource);
        set_text(doc, "subresource", attributes->subresource);
        set_text(doc, "namespace", attributes->namespace);
        set_text(doc, "name", attributes->name);
        set_text(doc, "path", attributes->path);
}

void auth_audit_record(struct auth_audit *audit, const struct auth_audit_entry *entry)
{
        struct json_doc *doc;

        assert(audit && entry && entry->identity && entry->attributes);
        if (entry->allowed && is_routine(entry->attributes)) {
                audit->stats.counted++;
                return;
        }
        if ((entry->identity->kind == AUTH_ANONYMOUS && !stranger_may_be_recorded(audit)) || !has_room(audit)) {
                audit->stats.omitted++;
                audit->omitted_before_next++;
                return;
        }
        doc = line_begin(audit);
        set_text(doc, "user", entry->identity->user);
        set_text(doc, "token", entry->identity->token_id);
        set_text(doc, "peer", entry->peer);
        set_text(doc, "requestId", entry->request_id);
        set_attributes(doc, entry->attributes);
        if (entry->dry_run)
                json_set_bool(doc, json_root(doc), "dryRun", true);
        json_set_bool(doc, json_root(doc), "allowed", entry->allowed);
        json_set_int(doc, json_root(doc), "status", entry->status);
        line_end(audit, doc);
}

void auth_audit_flush(struct auth_audit *audit)
{
        assert(audit);
        g_mutex_lock(&audit->mutex);
        while ((audit->waiting->len || audit->writing) && !audit->failing)
                g_cond_wait(&audit->changed, &audit->mutex);
        g_mutex_unlock(&audit->mutex);
}

void auth_audit_stats(struct auth_audit *audit, struct auth_audit_stats *ret_stats)
{
        assert(audit && ret_stats);
        *ret_stats = audit->stats;
        g_mutex_lock(&audit->mutex);
        ret_stats->errors = audit->errors;
        g_mutex_unlock(&audit->mutex);
}

/* --- opening
 * ------------------------------------------------------------------------------------------------------------------------ */

/* The last @LINE_BYTES_MAX bytes of the file. */
static int read_tail(int fd, off_t size, GString *tail)
{
        off_t begin = MAX(size - (off_t)LINE_BYTES_MAX, 0);

        g_string_set_size(tail, (gsize)(size - begin));
        for (gsize done = 0; done < tail->len;) {
                ssize_t n = pread(fd, tail->str + done, tail->len - done, begin + (off_t)done);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -EIO;
                done += (gsize)n;
        }
        return 0;
}

/* Find the end of the chain in the file's tail and cut off what follows the last newline. */
static int resume(struct auth_audit *audit, off_t *ret_torn)
{
        g_autoptr(GString) tail = g_string_new(NULL);
        const char *newline, *start;
        struct stat st;
        int r;

        if (fstat(audit->fd, &st) < 0)
                return -errno;
        r = read_tail(audit->fd, st.st_size, tail);
        if (r < 0)
                return r;
        newline = tail->len ? memrchr(tail->str, '\n', tail->len) : NULL;
        *ret_torn = newline ? (off_t)(tail->str + tail->len - (newline + 1)) : (off_t)tail->len;
        if (!newline && st.st_size > (off_t)tail->len)
                return -EBADMSG;
        if (newline) {
                start = memrchr(tail->str, '\n', (size_t)(newline - tail->str));
                start = start ? start + 1 : tail->str;
                audit->digest[0] = 0; /* only the line itself can be judged here; auth_audit_verify() walks the whole chain */
                audit_chain_check(start, (size_t)(newline - start), audit->digest);
                if (!audit->digest[0])
                        return -EBADMSG;
        }
        return *ret_torn && ftruncate(audit->fd, st.st_size - *ret_torn) < 0 ? -errno : 0;
}

/* What the checkpoint says of the file, and where the writer goes on. */
static int judge(struct auth_audit *audit)
{
        struct audit_checkpoint checkpoint = {};
        struct stat st;
        uint64_t more = 0;
        int found, r = 0;

        if (fstat(audit->fd, &st) < 0)
                return -errno;
        found = audit_checkpoint_read(audit->checkpoint_path, &checkpoint);
        if (found < 0 && found != -ENOENT && found != -EBADMSG)
                return found;
        if (found == 0)
                r = audit_checkpoint_judge(audit->fd, (uint64_t)st.st_size, &checkpoint);
        if (r < 0)
                return r;
        if (found < 0 || r > 0)
                audit->written = (struct audit_checkpoint){};
        else
                audit->written = checkpoint;
        if (audit_checkpoint_count(audit->fd, audit->written.bytes, (uint64_t)st.st_size, &more) < 0)
                return -EIO;
        audit->written.lines += more;
        audit->written.bytes = (uint64_t)st.st_size;
        if (r == AUDIT_E_CUT)
                audit->fault = g_strdup_printf("lines were cut off the end: %" PRIu64 " were written, %" PRIu64 " are there",
                                               checkpoint.lines, audit->written.lines);
        else if (r == AUDIT_E_CHANGED)
                audit->fault = g_strdup_printf("line %" PRIu64 " is not the one that was written", checkpoint.lines);
        else if (found < 0 && st.st_size > 0)
                audit->fault = g_strdup(found == -ENOENT ? "there is no checkpoint: lines may have been cut off the end"
                                                         : "the checkpoint cannot be read: lines may have been cut off the end");
        return 0;
}

static void tell_event(struct auth_audit *audit, const char *words, off_t bytes)
{
        struct json_doc *doc = line_begin(audit);

        set_text(doc, "event", words);
        if (bytes)
                json_set_int(doc, json_root(doc), "bytes", bytes);
        line_end(audit, doc);
}

const char *auth_audit_fault(const struct auth_audit *audit)
{
        assert(audit);
        return audit->fault;
}

int auth_audit_open(const char *path, const struct clock *clock, struct auth_audit **ret_audit)
{
        struct auth_audit *audit;
        off_t torn = 0;
        int r;

        assert(path && clock && ret_audit);
        audit = g_new0(struct auth_audit, 1);
        audit->clock = clock;
        audit->stranger_credit_us = STRANGER_BURST * STRANGER_COST_US;
        audit->stranger_seen_us = clock_monotonic_us(clock);
        audit->waiting = g_string_new(NULL);
        g_mutex_init(&audit->mutex);
        g_cond_init(&audit->changed);
        audit_chain_start(audit->digest);
        audit->fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        audit->checkpoint_path = audit_checkpoint_path(path);
        file_drop_leftovers(audit->checkpoint_path);
        r = audit->fd < 0 ? -errno : resume(audit, &torn);
        if (r == 0)
                r = judge(audit);
        if (r < 0) {
                auth_audit_free(audit);
                return r;
        }
        start_writer(audit);
        if (torn)
                tell_event(audit, "a torn last line was cut off", torn);
        if (audit->fault)
                tell_event(audit, audit->fault, 0);
        *ret_audit = audit;
        return 0;
}

struct auth_audit *auth_audit_free(struct auth_audit *audit)
{
        if (!audit)
                return NULL;
        if (audit->writer) {
                g_mutex_lock(&audit->mutex);
                audit->ending = true;
                g_cond_broadcast(&audit->changed);
                g_mutex_unlock(&audit->mutex);
                g_thread_join(audit->writer);
        }
        fd_close(audit->fd);
        g_string_free(audit->waiting, TRUE);
        g_free(audit->checkpoint_path);
        g_free(audit->fault);
        g_mutex_clear(&audit->mutex);
        g_cond_clear(&audit->changed);
        g_free(audit);
        return NULL;
}
