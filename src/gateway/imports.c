/* SPDX-License-Identifier: Apache-2.0 */
#include "base/address.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/log.h"
#include "gateway/ingest.h"
#include "generated/reasons.h"

#include <stdatomic.h>
#include <string.h>

/* Downloads of images: each is one blocking job of a pool of its own, so that slow mirrors never hold up anything else. */

#define IMPORT_THREADS       2
#define PROGRESS_INTERVAL_US 1000000ull
#define STALL_TIMEOUT_US     60000000ull
#define ATTEMPTS             4
#define SLICE_US             100000

struct import {
        struct gateway *gateway;
        struct ingest_target target;
        char *url, *sha256;
        struct blob_intake *intake;
        atomic_ullong received, expected, room; /* room: what quotas leave for it */
        struct loop_source *progress;
        struct blob_facts facts;
        struct blob_fault fault;
        int write_error;
        atomic_bool gone; /* nobody wants it any more */
};

struct imports {
        struct gateway *gateway;
        struct loop_pool *pool;
        struct store_watch *watch;
        GHashTable *by_uid;
        atomic_bool stopping;
};

static void import_free(struct import *import)
{
        g_hash_table_remove(import->gateway->imports->by_uid, import->target.uid);
        loop_source_free(import->progress);
        blob_intake_free(import->intake);
        ingest_target_clear(&import->target);
        g_free(import->url);
        g_free(import->sha256);
        g_free(import);
}

/* --- on the pool
 * -------------------------------------------------------------------------------------------------------------------------- */

static bool allow_address(const char *ip, void *userdata)
{
        const struct import *import = userdata;
        struct address address;

        return import->gateway->allow_private_downloads || (address_parse(ip, &address) == 0 && address_is_public(&address));
}

static bool on_piece(struct http_call *call, const char *piece, size_t len, void *userdata)
{
        struct import *import = userdata;
        const char *length = http_call_header(call, "Content-Length");

        if (length)
                atomic_store(&import->expected, g_ascii_strtoull(length, NULL, 10));
        if (MAX(atomic_load(&import->expected), atomic_load(&import->received) + len) > atomic_load(&import->room))
                import->write_error = -EDQUOT; /* not a byte more */
        else
                import->write_error = blob_intake_write(import->intake, piece, len);
        atomic_fetch_add(&import->received, len);
        return import->write_error == 0;
}

static bool is_still_wanted(struct import *import)
{
        return !atomic_load(&import->gone) && !atomic_load(&import->gateway->imports->stopping);
}

static bool go_on(struct http_call *call, void *userdata)
{
        return is_still_wanted(userdata);
}

static int fail(struct import *import, const char *reason, const char *words)
{
        import->fault.reason = reason;
        g_strlcpy(import->fault.message, words, sizeof(import->fault.message));
        return 1;
}

static int fetch_once(struct import *import, bool *ret_again)
{
        struct http_client_options client = {
                .user_agent = "gabbro-gateway/" GABBRO_VERSION, .allow_address = allow_address, .userdata = import};
        struct http_call_options call = {
                .url = import->url, .stall_timeout_us = STALL_TIMEOUT_US, .max_redirects = 5, .on_piece = on_piece, .go_on = go_on};
        g_autofree char *words = NULL;
        int status = 0;

        *ret_again = false;
        blob_intake_free(import->intake);
        import->intake = NULL;
        int r = blob_intake_new(import->gateway->blobs, import->sha256, &import->intake);
        if (r < 0)
                return r;
        import->write_error = 0;
        atomic_store(&import->received, 0);
        r = http_fetch(&client, &call, import, &status, NULL, &words);
        if (import->write_error == -ENOSPC)
                return fail(import, REASON_DISK_FULL, "the gateway's disk is full");
        if (import->write_error == -EFBIG)
                return fail(import, REASON_IMAGE_TOO_LARGE, "the file is larger than an image may be");
        if (import->write_error == -EDQUOT)
                return fail(import, REASON_QUOTA_EXCEEDED,
                            "exceeded quota: the file is larger than what the project has left of images.storage");
        if (import->write_error < 0)
                return import->write_error;
        if (r == -EACCES) {
                g_autofree char *why =
                        g_strdup_printf("%s; private ones only with gabbro-gateway --allow-private-downloads", words);
                return fail(import, REASON_IMAGE_URL_REFUSED, why);
        }
        if (r == 0 && status == 200)
                return blob_intake_finish(import->intake, &import->facts, &import->fault);
        *ret_again = r < 0 || status >= 500;
        g_autofree char *sentence = r < 0 ? g_strdup_printf("the download failed: %s", words ?: g_strerror(-r))
                                          : g_strdup_printf("the server answered with status %d", status);
        return fail(import, REASON_IMAGE_FETCH_FAILED, sentence);
}

static int work(void *userdata)
{
        struct import *import = userdata;
        bool again = true;
        int r = 0;

        for (unsigned i = 0; i < ATTEMPTS && again && is_still_wanted(import); i++) {
                /* A server that was just restarted is given a moment, in slices: nobody waits for this thread in vain. */
                for (unsigned slice = 0; i > 0 && slice < 10u << (i - 1) && is_still_wanted(import); slice++)
                        g_usleep(SLICE_US);
                r = fetch_once(import, &again);
        }
        return is_still_wanted(import) ? r : -ECANCELED;
}

/* --- on the loop
 * ---------------------------------------------------------------------------------------------------------------------------- */

static void done(int result, void *userdata)
{
        struct import *import = userdata;

        if (result == 0 && ingest_report_facts(import->gateway, &import->target, &import->facts, NULL, NULL))
                library_release(import->gateway, import->facts.digest);
        else if (result > 0)
                ingest_report_fault(import->gateway, &import->target, import->fault.reason, import->fault.message);
        else if (result < 0 && result != -ECANCELED)
                ingest_report_fault(import->gateway, &import->target, REASON_IMAGE_FETCH_FAILED, g_strerror(-result));
        import_free(import);
}

static void look_at_room(struct import *import)
{
        const char *quota;

        atomic_store(&import->room, ingest_room(import->gateway, &import->target, &quota));
}

static void on_progress(struct loop_source *source, void *userdata)
{
        struct import *import = userdata;
        unsigned long long expected = atomic_load(&import->expected), received = atomic_load(&import->received);

        look_at_room(import);
        if (expected > 0 && received < expected)
                ingest_report_progress(import->gateway, &import->target, (int)(received * 100 / expected));
        loop_timer_set(source, PROGRESS_INTERVAL_US);
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
        const char *url = json_find_string(object->root, "spec", "dataSource", "http", "url", NULL);

        if (!is_wanted(object) || !url || g_hash_table_contains(imports->by_uid, object->uid))
                return;
        struct import *import = g_new0(struct import, 1);
        import->gateway = imports->gateway;
        import->url = g_strdup(url);
        import->sha256 = g_strdup(json_find_string(object->root, "spec", "dataSource", "http", "checksum", "sha256", NULL));
        ingest_target_set(&import->target, object);
        look_at_room(import);
        g_hash_table_insert(imports->by_uid, import->target.uid, import);
        loop_timer(imports->gateway->loop, PROGRESS_INTERVAL_US, on_progress, import, &import->progress);
        loop_pool_submit(imports->pool, work, done, import);
}

static void on_event(const struct store_event *event, void *userdata)
{
        struct imports *imports = userdata;
        struct import *import = event ? g_hash_table_lookup(imports->by_uid, event->object->uid) : NULL;
        bool leaves =
                event && (event->verb == STORE_DELETE || json_find(event->object->root, "metadata", "deletionTimestamp", NULL));

        if (import && leaves)
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
        int r = loop_pool_new(gateway->loop, IMPORT_THREADS, &imports->pool);
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
        g_hash_table_unref(imports->by_uid);
        g_free(imports);
        return NULL;
}
