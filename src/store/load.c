/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_private.h"

#include "base/error.h"
#include "base/limits.h"
#include "store/delta.h"

#include <string.h>

/* At the start: the published state from the current rows, and the ring from those of the window. */

struct load_event {
        enum store_verb verb;
        uint64_t revision, previous_revision, time_us;
        struct version *object; /* NULL for a delete until its previous version is known */
};

struct load {
        struct store *store;
        GArray *events;       /* struct load_event, newest first */
        GHashTable *versions; /* revision -> struct version: those of the window */
        size_t bytes;
        uint64_t cut; /* the newest revision of the window that no longer fits the ring, or 0 */
        struct version *fetched;
};

static void load_version_free(void *version)
{
        version_unref(version);
}

static int load_fault(struct store *store, const struct row_record *record, int error, const char *fault)
{
        g_free(store->load_words);
        store->load_words = g_strdup_printf("%s at revision %" G_GUINT64_FORMAT ": %s", record->key, record->revision, fault);
        return error;
}

/* A new version of what the record says; NULL kind: this program does not know it. 0 or < 0. */
static int load_version(struct store *store, const struct row_record *record, struct version **ret_version)
{
        const struct schema_kind *kind = store_key_kind(record->key);
        g_autofree char *plain = NULL;
        const char *bytes = record->bytes;
        size_t len = record->len;
        int r;

        *ret_version = NULL;
        if (!kind)
                return 0;
        if (!bytes)
                return load_fault(store, record, -EBADMSG, "its bytes are missing");
        if (record->sealed) {
                if (!store->options.unseal)
                        return load_fault(store, record, -ENOKEY, "it is sealed and there is no key");
                r = store->options.unseal(store->options.seal_userdata, bytes, len, &plain, &len);
                if (r)
                        return load_fault(store, record, error_fold(r), "it cannot be unsealed: the key is another one");
                bytes = plain;
        }
        *ret_version = version_new(&(struct version_init){
                .kind = kind,
                .key = record->key,
                .uid = record->uid,
                .revision = record->revision,
                .created_revision = record->created_revision,
                .bytes = bytes,
                .len = len,
        });
        return 0;
}

/* A current version that differs from an older one in volatile fields alone: that one is needed for the next delta. */
static void load_base(struct version *version, const char *delta)
{
        const struct store_object *object = version_public(version);
        struct json_doc *doc = delta_apply(object->root, delta);

        if (!doc)
                return; /* the next delta then leads back to this version */
        version->base = version_new(&(struct version_init){
                .kind = object->kind,
                .key = object->key,
                .uid = object->uid,
                .bytes = "",
                .doc = doc,
        });
        version_shrink(version);
}

static int load_object(const struct row_record *record, void *userdata)
{
        struct load *load = userdata;
        struct version *version;
        int r;

        r = load_version(load->store, record, &version);
        if (r || !version)
                return r;
        store_put_published(load->store, version->public.key, version);
        version_unref(version);
        if (record->keep == ROW_VOLATILE && record->delta)
                load_base(version, record->delta);
        return 0;
}

static int load_event(const struct row_record *record, void *userdata)
{
        struct load *load = userdata;
        struct load_event event = {
                .verb = record->verb,
                .revision = record->revision,
                .previous_revision = record->previous,
                .time_us = record->time_us,
        };
        int r = 0;

        if (load->events->len >= LIMIT_STORE_EVENT_RING || load->bytes > LIMIT_STORE_EVENT_RING_BYTES) {
                load->cut = record->revision;
                return 1;
        }
        if (record->verb != STORE_DELETE) {
                struct version *current = store_find_published(load->store, record->key);

                if (current && current->public.revision == record->revision)
                        event.object = version_ref(current);
                else
                        r = load_version(load->store, record, &event.object);
                if (!event.object)
                        return r;
                g_hash_table_insert(load->versions, &event.object->public.revision, event.object);
                load->bytes += 2 * version_cost(event.object);
        } else if (!store_key_kind(record->key)) {
                return 0;
        }
        g_array_append_val(load->events, event);
        return 0;
}

static int load_fetched(const struct row_record *record, void *userdata)
{
        struct load *load = userdata;

        return load_version(load->store, record, &load->fetched);
}

/* The version before an event, from the window or from the driver. */
static int load_previous(struct load *load, uint64_t revision, struct version **ret_version)
{
        struct version *version = g_hash_table_lookup(load->versions, &revision);
        int r;

        if (version) {
                *ret_version = version;
                return 0;
        }
        r = load->store->driver->ops->fetch(load->store->driver, revision, load_fetched, load);
        if (r < 0)
                return r;
        version = g_steal_pointer(&load->fetched);
        if (!version)
                return -EBADMSG;
        g_hash_table_insert(load->versions, &version->public.revision, version);
        *ret_version = version;
        return 0;
}

static int load_ring(struct load *load)
{
        for (size_t i = load->events->len; i > 0; i--) {
                const struct load_event *from = &g_array_index(load->events, struct load_event, i - 1);
                struct ring_event event = {
                        .verb = from->verb,
                        .object = from->object,
                        .revision = from->revision,
                        .time_us = from->time_us,
                };
                int r;

                if (from->previous_revision) {
                        r = load_previous(load, from->previous_revision, &event.previous);
                        if (r < 0)
                                return r;
                }
                if (event.verb == STORE_DELETE)
                        event.object = event.previous;
                if (!event.object)
                        return -EBADMSG;
                ring_push(&load->store->ring, &event);
        }
        return 0;
}

static int load_all(struct load *load)
{
        struct store *store = load->store;
        const struct driver_loader loader = {.object = load_object, .event = load_event, .userdata = load};
        struct driver_state state = {0};
        int r;

        r = store->driver->ops->load(store->driver, &loader, &state);
        if (r)
                return r;
        store->accepted_revision = store->revision = MAX(state.revision, store->revision);
        store->accepted_time_us = state.time_us;
        store->ring.floor = MAX(state.floor, store->ring.floor);
        if (load->cut > 0)
                store->ring.floor = load->cut;
        return load_ring(load);
}

int store_load(struct store *store)
{
        struct load load = {.store = store};
        int r;

        load.events = g_array_new(FALSE, FALSE, sizeof(struct load_event));
        load.versions = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, load_version_free);
        r = load_all(&load);
        g_array_unref(load.events);
        g_hash_table_unref(load.versions);
        return r == -EBADMSG ? STORE_E_CORRUPT : r;
}
