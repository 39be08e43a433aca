/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/limits.h"
#include "base/log.h"
#include "gateway/download.h"
#include "gateway/ingest.h"
#include "generated/reasons.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/*
 * Downloads of images: each is one blocking job of a pool of its own, so that slow mirrors never hold up anything else. A project
 * has its share of them: those beyond it wait for one of its own to end.
 */

#define PROGRESS_INTERVAL_US 1000000ull

struct import {
        struct gateway *gateway;
        struct ingest_target target;
        char *url, *sha256, *ca_bundle;
        bool submitted;
        atomic_ullong room; /* what quotas leave for it */
        atomic_bool gone;   /* nobody wants it any more */
        struct loop_source *progress;
        uint64_t begun_us; /* when a thread took it up */
        struct transfer_rate rate;
        pthread_mutex_t lock; /* of the two that follow */
        const struct blob_intake *intake;
        uint64_t expected;
        struct blob_facts facts;
        struct blob_fault fault;
};

struct imports {
        struct gateway *gateway;
        struct loop_pool *pool;
        struct store_watch *watch;
        GHashTable *by_uid;
        GQueue waiting; /* borrowed struct import, in order */
        atomic_bool stopping;
};

static void import_free(struct import *import)
{
        struct imports *imports = import->gateway->imports;

        g_hash_table_remove(imports->by_uid, import->target.uid);
        g_queue_remove(&imports->waiting, import);
        loop_source_free(import->progress);
        pthread_mutex_destroy(&import->lock);
        ingest_target_clear(&import->target);
        g_free(import->url);
        g_free(import->sha256);
        g_free(import->ca_bundle);
        g_free(import);
}

/* --- on the pool
 * -------------------------------------------------------------------------------------------------------------------------- */

static uint64_t room(void *userdata)
{
        struct import *import = userdata;

        return atomic_load(&import->room);
}

static bool is_still_wanted(void *userdata)
{
        struct import *import = userdata;

        return !atomic_load(&import->gone) && !atomic_load(&import->gateway->imports->stopping);
}

static void on_intake(struct blob_intake *intake, uint64_t expected_bytes, void *userdata)
{
        struct import *import = userdata;

        pthread_mutex_lock(&import->lock);
        import->intake = intake;
        import->expected = expected_bytes;
        pthread_mutex_unlock(&import->lock);
}

static int work(void *userdata)
{
        struct import *import = userdata;
        const struct gateway *gateway = import->gateway;
        const struct blob_bounds bounds = {
                .room = room, .go_on = is_still_wanted, .unpack_us = gateway->times->unpack_us, .userdata = import};
        const struct download download = {
                .blobs = gateway->blobs,
                .url = import->url,
                .sha256 = import->sha256,
                .ca_bundle = import->ca_bundle,
                .reach = &gateway->reach,
                .bounds = &bounds,
                .time_us = gateway->times->download_us,
                .stall_us = gateway->times->download_stall_us,
                .pause_us = gateway->times->download_pause_us,
                .on_intake = on_intake,
                .userdata = import,
        };
        int r = is_still_wanted(import) ? download_run(&download, &import->facts, &import->fault) : -ECANCELED;

        return r == 0 || is_still_wanted(import) ? r : -ECANCELED;
}

/* --- on the loop
 * ---------------------------------------------------------------------------------------------------------------------------- */

static void submit_waiting(struct imports *imports);

static void done(int result, void *userdata)
{
        struct import *import = userdata;
        struct imports *imports = import->gateway->imports;

        if (result > 0 && g_strcmp0(import->fault.reason, REASON_QUOTA_EXCEEDED) == 0) {
                g_autofree char *words = ingest_no_room(import->gateway, &import->target);

                g_strlcpy(import->fault.message, words, sizeof(import->fault.message));
        }
        if (result == 0 && ingest_report_facts(import->gateway, &import->target, &import->facts, NULL, NULL))
                library_release(import->gateway, import->facts.digest);
        else if (result > 0)
                ingest_report_fault(import->gateway, &import->target, import->fault.reason, import->fault.message);
        else if (result < 0 && result != -ECANCELED)
                ingest_report_fault(import->gateway, &import->target, REASON_IMAGE_FETCH_FAILED, g_strerror(-result));
        import_free(import);
        submit_waiting(imports);
}

static void look_at_room(struct import *import)
{
        const char *quota;

        atomic_store(&import->room, ingest_room(import->gateway, &import->target, &quota));
}

static void on_progress(struct loop_source *source, void *userdata)
{
        struct import *import = userdata;
        uint64_t now = loop_now_us(import->gateway->loop), bytes = 0;
        int percent = -1;

        look_at_room(import);
        pthread_mutex_lock(&import->lock);
        if (import->intake) {
                percent = blob_intake_percent(import->intake, import->expected);
                bytes = blob_intake_bytes(import->intake);
        }
        pthread_mutex_unlock(&import->lock);
        if (bytes > 0 && !import->rate.begun_us)
                transfer_rate_begin(&import->rate, import->begun_us, 0);
        if (import->rate.begun_us)
                transfer_rate_look(&import->rate, now, bytes);
        if (percent >= 0 && percent < 100)
                ingest_report_progress(import->gateway, &import->target, percent, import->rate.begun_us ? &import->rate : NULL);
        loop_timer_set(source, PROGRESS_INTERVAL_US);
}

static size_t count_submitted(struct imports *imports, const char *namespace)
{
        struct import *import;
        GHashTableIter iter;
        size_t n = 0;

        g_hash_table_iter_init(&iter, imports->by_uid);
        while (g_hash_table_iter_next(&iter, NULL, (void **)&import))
                n += import->submitted && g_strcmp0(import->target.namespace, namespace) == 0;
        return n;
}

/* In the order in which they came, but for those of a project that has its share already. */
static void submit_waiting(struct imports *imports)
{
        for (GList *link = imports->waiting.head, *next; link && !atomic_load(&imports->stopping); link = next) {
                struct import *import = link->data;

                next = link->next;
                if (count_submitted(imports, import->target.namespace) >= LIMIT_DOWNLOADS_PER_PROJECT)
                        continue;
                g_queue_delete_link(&imports->waiting, link);
                import->submitted = true;
                import->begun_us = loop_now_us(imports->gateway->loop);
                loop_pool_submit(imports->pool, work, done, import);
        }
}

static bool is_wanted(const struct store_object *object)
{
        return g_strcmp0(json_find_string(object->root, "spec", "dataSource", "type", NULL), "HTTP") == 0 &&
               g_strcmp0(json_find_string(object->root, "status", "phase", NULL), "Provisioning") == 0 &&
               !json_find(object->root, "metadata", "deletionTimestamp", NULL) &&
               !json_find(object->root, "status", "ingest", "digest", NULL) &&
               !json_find(object->root, "status", "ingest", "error", NULL);
}

static void consider(struct imports *imports, const struct store_object *object)
{
        const struct json_value *http = json_find(object->root, "spec", "dataSource", "http", NULL);
        const char *url = json_find_string(http, "url", NULL);

        if (!is_wanted(object) || !url || g_hash_table_contains(imports->by_uid, object->uid))
                return;
        struct import *import = g_new0(struct import, 1);
        import->gateway = imports->gateway;
        import->url = g_strdup(url);
        import->sha256 = g_strdup(json_find_string(http, "checksum", "sha256", NULL));
        import->ca_bundle = g_strdup(json_find_string(http, "caBundle", NULL));
        pthread_mutex_init(&import->lock, NULL);
        ingest_target_set(&import->target, object);
        look_at_room(import);
        g_hash_table_insert(imports->by_uid, import->target.uid, import);
        loop_timer(imports->gateway->loop, PROGRESS_INTERVAL_US, on_progress, import, &import->progress);
        g_queue_push_tail(&imports->waiting, import);
        submit_waiting(imports);
}

static void on_event(const struct store_event *event, void *userdata)
{
        struct imports *imports = userdata;
        struct import *import = event ? g_hash_table_lookup(imports->by_uid, event->object->uid) : NULL;
        bool leaves =
                event && (event->verb == STORE_DELETE || json_find(event->object->root, "metadata", "deletionTimestamp", NULL));

        if (import && leaves && !import->submitted)
                import_free(import);
        else if (import && leaves)
                atomic_store(&import->gone, true);
        else if (event && !leaves)
                consider(imports, event->object);
}

static bool on_listed(const struct store_object *object, void *userdata)
{
        consider(userdata, object);
        return true;
}

int imports_init(struct gateway *gateway)
{
        struct imports *imports = g_new0(struct imports, 1);
        uint64_t revision = store_revision(gateway->store);

        gateway->imports = imports;
        imports->gateway = gateway;
        imports->by_uid = g_hash_table_new(g_str_hash, g_str_equal);
        int r = loop_pool_new(gateway->loop, LIMIT_DOWNLOADS, &imports->pool);
        if (r < 0)
                return r;
        for (size_t i = 0; ingest_kinds[i]; i++)
                store_list(gateway->store, ingest_kinds[i], NULL, NULL, on_listed, imports);
        return error_fold(store_watch(gateway->store, ingest_kinds, revision, on_event, imports, &imports->watch));
}

struct imports *imports_free(struct imports *imports)
{
        if (!imports)
                return NULL;
        if (imports->watch)
                store_watch_free(imports->watch);
        atomic_store(&imports->stopping, true);
        loop_pool_free(imports->pool);
        while (!g_queue_is_empty(&imports->waiting))
                import_free(g_queue_peek_head(&imports->waiting));
        g_hash_table_unref(imports->by_uid);
        g_free(imports);
        return NULL;
}
