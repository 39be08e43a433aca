/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/resumable.h"
#include "base/error.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "generated/api_types.h"

#include <assert.h>
#include <string.h>

#define POOL_THREADS  2
#define SWEEP_US      30000000u
#define BOOT_ID_BYTES 64

const struct half_end half_done = {"done", "the upload is complete"};
const struct half_end half_terminated = {"terminated", "the upload was given up by its client"};
const struct half_end half_expired = {"expired", "nothing was added to the upload for too long: it was removed. Begin a new one"};
const struct half_end half_refused = {"refused", "the file was refused; the status of its object says why"};
const struct half_end half_replaced = {"replaced", "another upload for the same object was begun"};
const struct half_end half_orphaned = {"orphaned", "the object that the upload was for is gone, or has its content already"};

static const struct half_end *const ends[] = {&half_done,    &half_terminated, &half_expired,
                                              &half_refused, &half_replaced,   &half_orphaned};

static const struct half_end *end_of(const char *name)
{
        for (size_t i = 0; i < G_N_ELEMENTS(ends); i++)
                if (g_strcmp0(name, ends[i]->name) == 0)
                        return ends[i];
        return NULL;
}

static const bool moves[HALF_ENDED + 1][HALF_ENDED + 1] = {
        [HALF_MAKING] = {[HALF_OPEN] = true, [HALF_ENDED] = true},
        [HALF_OPEN] = {[HALF_FINISHING] = true, [HALF_ENDED] = true},
        [HALF_FINISHING] = {[HALF_OPEN] = true, [HALF_ENDED] = true},
};

void half_set_state(struct half *half, enum half_state state)
{
        assert(half && moves[half->state][state]);
        half->state = state;
}

struct ingest_target half_target(const struct half *half)
{
        return (struct ingest_target){
                .kind = half->grant.kind, .namespace = half->grant.namespace, .name = half->grant.name, .uid = half->grant.uid};
}

static void half_free(void *userdata)
{
        struct half *half = userdata;

        assert(!half->busy || half->resumable->stopping);
        staged_free(half->staged);
        buffers_clear(&half->buffers);
        upload_grant_clear(&half->grant);
        g_free(half->metadata);
        g_free(half);
}

char *half_record(const struct half *half)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);

        upload_grant_write(&half->grant, doc, root);
        json_set_string(doc, root, "metadata", half->metadata);
        if (half->end) {
                json_set_string(doc, root, "end", half->end->name);
                json_set_int(doc, root, "forget", (int64_t)half->forget_us);
        }
        return json_to_text(root);
}

/* --- how it ends
 * ------------------------------------------------------------------------------------------------------------------------ */

static uint64_t now_us(const struct half *half)
{
        return clock_real_us(half->resumable->gateway->clock);
}

const struct half_end *half_why_over(struct half *half)
{
        const struct upload_grant *grant = &half->grant;
        autostoreobject object = store_get_newest(half->resumable->gateway->store, grant->kind, grant->namespace, grant->name);

        if (!object || g_strcmp0(object->uid, grant->uid) != 0 || json_find(object->root, "metadata", "deletionTimestamp", NULL))
                return &half_orphaned;
        /* Its own content: a kill came between telling the object and noting that. */
        const char *digest = json_find_string(object->root, "status", "ingest", "digest", NULL);
        if (digest)
                return half->offset == grant->size_bytes ? &half_done : &half_orphaned;
        if (staged_touched_us(half->staged) + LIMIT_UPLOAD_LIFE_US <= now_us(half) && half->offset < grant->size_bytes)
                return &half_expired;
        return NULL;
}

static int end_work(void *userdata)
{
        struct half *half = userdata;
        g_autofree char *record = half_record(half);

        half->staged = staged_free(half->staged);
        return staging_record(half->resumable->staging, half->grant.id, record, true);
}

static void end_done(int result, void *userdata)
{
        struct half *half = userdata;

        half->busy = false;
        if (result < 0 && result != -ECANCELED)
                log_error("the end of an upload could not be noted", "id", half->grant.id, "error", g_strerror(-result));
        half_answer(half, half->request, half->success);
        half_serve_waiting(half);
}

void half_end_now(struct half *half, const struct half_end *end)
{
        struct resumable *resumable = half->resumable;

        assert(!half->busy && !half->receiving && half->state != HALF_ENDED);
        half_set_state(half, HALF_ENDED);
        half->end = end;
        half->forget_us = MAX(half->grant.expires_us, now_us(half) + LIMIT_UPLOAD_TOKEN_US);
        if (g_hash_table_lookup(resumable->by_object, half->grant.uid) == half)
                g_hash_table_remove(resumable->by_object, half->grant.uid);
        if (end == &half_terminated || end == &half_expired) {
                struct ingest_target target = half_target(half);

                ingest_report_none(resumable->gateway, &target);
        }
        half->busy = true;
        loop_pool_submit(resumable->pool, end_work, end_done, half);
}

/* --- the look that nobody asks for
 * ---------------------------------------------------------------------------------------------------------- */

static bool is_idle(const struct half *half)
{
        return !half->busy && !half->receiving && !half->request && !half->waiting;
}

static gboolean look_at(void *key, void *value, void *userdata)
{
        struct half *half = value;
        const struct half_end *end;

        if (!is_idle(half))
                return FALSE;
        if (half->state == HALF_ENDED) {
                if (half->forget_us > now_us(half))
                        return FALSE;
                staging_forget(half->resumable->staging, half->grant.id);
                return TRUE;
        }
        end = half_why_over(half);
        half->stuck = false;
        if (end)
                half_end_now(half, end);
        else
                half_rest(half);
        return FALSE;
}

static void on_sweep(struct loop_source *source, void *userdata)
{
        struct resumable *resumable = userdata;

        g_hash_table_foreach_remove(resumable->by_id, look_at, NULL);
        loop_timer_set(source, SWEEP_US);
}

/* An upload whose object is deleted is over at once, unless somebody works on it: then the next look ends it. */
static void on_event(const struct store_event *event, void *userdata)
{
        struct resumable *resumable = userdata;
        struct half *half = event ? g_hash_table_lookup(resumable->by_object, event->object->uid) : NULL;
        bool leaves =
                half && (event->verb == STORE_DELETE || json_find(event->object->root, "metadata", "deletionTimestamp", NULL));

        if (leaves && is_idle(half) && half->state == HALF_OPEN)
                half_end_now(half, &half_orphaned);
}

/* --- begin
 * -------------------------------------------------------------------------------------------------------------------------------
 */

static struct half *half_of_record(struct resumable *resumable, const struct json_value *root)
{
        struct half *half = g_new0(struct half, 1);
        int64_t forget = 0;

        half->resumable = resumable;
        half->state = HALF_OPEN;
        if (upload_grant_read(root, &half->grant) < 0) {
                g_free(half);
                return NULL;
        }
        half->metadata = g_strdup(json_find_string(root, "metadata", NULL));
        half->end = end_of(json_find_string(root, "end", NULL));
        if (half->end) {
                half->state = HALF_ENDED;
                json_int64(json_get(root, "forget"), &forget);
                half->forget_us = (uint64_t)MAX(forget, 0);
        }
        return half;
}

static void load(const char *id, const char *record, size_t len, void *userdata)
{
        struct resumable *resumable = userdata;
        g_autoptr(json_doc) doc = NULL;
        struct half *half = NULL;

        if (json_parse(record, len, &doc, NULL) == 0)
                half = half_of_record(resumable, json_root(doc));
        if (half && (g_strcmp0(half->grant.id, id) != 0 ||
                     (half->state == HALF_OPEN && staged_open(resumable->staging, id, &half->staged) < 0))) {
                half_free(half);
                half = NULL;
        }
        if (!half) {
                log_error("the record of an upload cannot be read; it is left alone", "id", id);
                return;
        }
        if (half->state == HALF_ENDED)
                staging_drop(resumable->staging, id); /* a kill came between saying so and doing it */
        half->offset = half->staged ? staged_offset(half->staged) : 0;
        half->last_percent = (int)((__uint128_t)half->offset * 100 / half->grant.size_bytes);
        g_hash_table_insert(resumable->by_id, half->grant.id, half);
        if (half->state == HALF_OPEN)
                g_hash_table_insert(resumable->by_object, half->grant.uid, half);
}

static int make_staging(struct resumable *resumable)
{
        g_autofree char *boot = NULL;
        size_t len;
        int r = file_read("/proc/sys/kernel/random/boot_id", BOOT_ID_BYTES, &boot, &len);

        return r < 0 ? r : staging_new(resumable->gateway->data_dir, g_strchomp(boot), &resumable->staging);
}

int resumable_init(struct gateway *gateway)
{
        struct resumable *resumable = g_new0(struct resumable, 1);

        gateway->resumable = resumable;
        resumable->gateway = gateway;
        resumable->by_id = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, half_free);
        resumable->by_object = g_hash_table_new(g_str_hash, g_str_equal);
        int r = loop_pool_new(gateway->loop, POOL_THREADS, &resumable->pool);
        if (r == 0)
                r = make_staging(resumable);
        if (r == 0)
                r = staging_each(resumable->staging, load, resumable);
        if (r == 0) {
                half_http_init(resumable);
                half_exports_init(resumable);
        }
        return r;
}

int resumable_start(struct gateway *gateway)
{
        struct resumable *resumable = gateway->resumable;
        int r = store_watch(gateway->store, ingest_kinds, store_revision(gateway->store), on_event, resumable, &resumable->watch);

        return error_fold(r ? r : loop_timer(gateway->loop, 0, on_sweep, resumable, &resumable->sweep));
}

void resumable_stop(struct resumable *resumable)
{
        if (!resumable)
                return;
        resumable->stopping = true;
        resumable->sweep = loop_source_free(resumable->sweep);
        if (resumable->watch)
                store_watch_free(resumable->watch);
        resumable->watch = NULL;
        resumable->pool = loop_pool_free(resumable->pool);
}

struct resumable *resumable_free(struct resumable *resumable)
{
        if (!resumable)
                return NULL;
        resumable_stop(resumable);
        g_hash_table_unref(resumable->by_object);
        g_hash_table_unref(resumable->by_id);
        staging_free(resumable->staging);
        g_free(resumable);
        return NULL;
}

bool resumable_is_busy(const struct gateway *gateway, const char *uid)
{
        const struct half *half = g_hash_table_lookup(gateway->resumable->by_object, uid);

        return half && (half->receiving || half->state == HALF_FINISHING);
}

bool resumable_has(const struct gateway *gateway, const char *uid)
{
        return g_hash_table_contains(gateway->resumable->by_object, uid);
}
