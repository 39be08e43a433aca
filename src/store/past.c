/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_private.h"

#include "base/error.h"

#include <string.h>

/* Lists of an earlier state: what is published now, with the events since then taken back. */

struct undone {
        const char *key;
        struct version *version; /* as of then; NULL: it did not exist */
};

struct past_walk {
        struct store *store;
        GArray *undone; /* struct undone, by key */
        bool (*each)(const struct store_object *object, void *userdata);
        void *userdata;
};

static int undone_compare(gconstpointer a, gconstpointer b)
{
        return strcmp(((const struct undone *)a)->key, ((const struct undone *)b)->key);
}

static bool event_concerns(const struct ring_event *event, const struct store_past *past)
{
        const struct store_object *object = &event->object->public;

        return object->kind == past->kind && (!past->namespace || g_strcmp0(object->namespace, past->namespace) == 0);
}

/* The versions that were current then, of all keys with an event since. */
static GArray *past_undo(struct store *store, const struct store_past *past)
{
        g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
        GArray *undone = g_array_new(FALSE, FALSE, sizeof(struct undone));

        for (size_t i = ring_seek(&store->ring, past->revision); i < store->ring.n; i++) {
                const struct ring_event *event = ring_at(&store->ring, i);
                struct undone entry = {.key = event->object->public.key, .version = event->previous};

                /* The first event behind the revision knows what was before it. */
                if (event_concerns(event, past) && g_hash_table_add(seen, (void *)entry.key))
                        g_array_append_val(undone, entry);
        }
        g_array_sort(undone, undone_compare);
        return undone;
}

static bool past_tell(struct past_walk *walk, struct version *version)
{
        bool had_tree = version->doc, more = walk->each(version_public(version), walk->userdata);

        warm_release(walk->store->warm, version, had_tree);
        return more;
}

/* Merge what is published with what is taken back. */
static void past_merge(struct past_walk *walk, const struct order *order, struct order_place place, const char *after,
                       const char *end)
{
        struct version *now = (struct version *)order_next(order, &place);
        bool more = true;
        guint i = 0;

        while (i < walk->undone->len && after && strcmp(g_array_index(walk->undone, struct undone, i).key, after) <= 0)
                i++;
        while (more) {
                const struct undone *then = i < walk->undone->len ? &g_array_index(walk->undone, struct undone, i) : NULL;
                int order_of_both;

                if (now && strcmp(now->public.key, end) >= 0)
                        now = NULL;
                if (!now && !then)
                        return;
                order_of_both = !then ? -1 : !now ? 1 : strcmp(now->public.key, then->key);
                if (order_of_both < 0)
                        more = past_tell(walk, now);
                else if (then->version)
                        more = past_tell(walk, then->version);
                if (order_of_both >= 0)
                        i++;
                if (order_of_both <= 0)
                        now = (struct version *)order_next(order, &place);
        }
}

static size_t past_count(struct store *store, const struct store_past *past, const GArray *undone)
{
        size_t count = store_count(store, past->kind, past->namespace);

        for (guint i = 0; i < undone->len; i++) {
                const struct undone *entry = &g_array_index(undone, struct undone, i);

                count += entry->version != NULL;
                count -= store_find_published(store, entry->key) != NULL;
        }
        return count;
}

int store_list_past(struct store *store, const struct store_past *past,
                    bool (*each)(const struct store_object *object, void *userdata), void *userdata, size_t *ret_count)
{
        char first[STORE_KEY_MAX], end[STORE_KEY_MAX];
        struct past_walk walk = {.store = store, .each = each, .userdata = userdata};
        struct order *order;
        const char *after;

        assert(store && past && past->kind && each && ret_count);
        if (past->revision < store->ring.floor || past->revision > store->revision)
                return STORE_E_GONE;
        *ret_count = 0;
        if (!store_key_range(past->kind, past->namespace, first, end))
                return 0;
        order = store_kind_state(store, past->kind)->order;
        walk.undone = past_undo(store, past);
        after = past->after_key && strcmp(past->after_key, first) > 0 ? past->after_key : NULL;
        *ret_count = past_count(store, past, walk.undone);
        past_merge(&walk, order, order_seek(order, after ?: first, after != NULL), after, end);
        g_array_unref(walk.undone);
        return 0;
}
