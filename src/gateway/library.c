/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/log.h"
#include "gateway/ingest.h"
#include "generated/api_types.h"

#include <string.h>

/*
 * Files follow their ImageBlob objects: this gateway notes that it holds the file of a new one, and removes the file of one that is
 * gone. A file whose ImageBlob was never seen stays: its image may be about to get one.
 */

static const struct schema_kind *const library_kinds[] = {&api_image_blob_kind, NULL};

struct library {
        struct gateway *gateway;
        struct store_watch *watch;
};

static enum objects_edit add_location(struct json_doc *doc, struct json_value *root, void *userdata)
{
        const struct gateway *gateway = userdata;
        struct json_value *status = json_ensure_object(doc, root, "status");
        struct json_value *locations = json_ensure_array(doc, status, "locations");

        for (const struct json_value *l = json_first(locations); l; l = json_next(l))
                if (g_strcmp0(json_find_string(l, "gateway", NULL), g_get_host_name()) == 0)
                        return OBJECTS_SAME;
        struct json_value *location = json_append(locations, json_new(doc, JSON_OBJECT));
        json_set_string(doc, location, "gateway", g_get_host_name());
        json_set_string(doc, location, "url", gateway->url);
        return OBJECTS_CHANGED;
}

static void consider(struct library *library, const struct store_object *blob)
{
        struct objects_target target = {.kind = blob->kind, .name = blob->name, .actor = "gateway/images"};
        const char *digest = json_find_string(blob->root, "spec", "digest", NULL);

        if (digest && blobs_has(library->gateway->blobs, digest))
                objects_edit(library->gateway, &target, add_location, library->gateway, NULL, NULL);
}

static void on_event(const struct store_event *event, void *userdata)
{
        struct library *library = userdata;

        if (!event || event->verb == STORE_UPDATE)
                return;
        if (event->verb == STORE_CREATE) {
                consider(library, event->object);
                return;
        }
        const char *digest = json_find_string(event->object->root, "spec", "digest", NULL);
        int r = digest ? blobs_remove(library->gateway->blobs, digest) : 0;
        if (r < 0 && r != -ENOENT)
                log_error("the file of a deleted image could not be removed", "digest", digest, "error", g_strerror(-r));
}

/* --- files of objects that went while their bytes came --- */

struct search {
        const char *digest;
        bool found;
};

static bool has_digest(const struct store_object *object, void *userdata)
{
        struct search *search = userdata;

        search->found = g_strcmp0(json_find_string(object->root, "status", "ingest", "digest", NULL), search->digest) == 0 ||
                        g_strcmp0(json_find_string(object->root, "spec", "digest", NULL), search->digest) == 0;
        return !search->found;
}

void library_release(struct gateway *gateway, const char *digest)
{
        struct search search = {.digest = digest};
        int r;

        store_list(gateway->store, &api_image_blob_kind, NULL, NULL, has_digest, &search);
        for (size_t i = 0; ingest_kinds[i] && !search.found; i++)
                store_list(gateway->store, ingest_kinds[i], NULL, NULL, has_digest, &search);
        if (search.found)
                return;
        r = blobs_remove(gateway->blobs, digest);
        if (r < 0 && r != -ENOENT)
                log_error("the file of a deleted image could not be removed", "digest", digest, "error", g_strerror(-r));
}

static bool on_listed(const struct store_object *blob, void *userdata)
{
        consider(userdata, blob);
        return true;
}

int library_init(struct gateway *gateway)
{
        struct library *library = g_new0(struct library, 1);

        gateway->library = library;
        library->gateway = gateway;
        uint64_t revision = store_list(gateway->store, &api_image_blob_kind, NULL, NULL, on_listed, library);
        return error_fold(store_watch(gateway->store, library_kinds, revision, on_event, library, &library->watch));
}

struct library *library_free(struct library *library)
{
        if (!library)
                return NULL;
        if (library->watch)
                store_watch_free(library->watch);
        g_free(library);
        return NULL;
}
