/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/cache.h"

#include "base/error.h"
#include "cache/cache_private.h"
#include "cache/index.h"
#include "cache/texts.h"
#include "store/order.h"
#include "store/version.h"

#include <string.h>

#define CACHE_VIEW_BYTES    1024u
#define CACHE_SCRATCH_BYTES 32768u

struct cache_entry {
        struct cache_index_item item; /* first */
        char *own_key;                /* of documents; objects bring theirs along */
        struct cache *cache;
        struct version *version; /* the store's, or NULL. Its tree comes and goes: the view borrows nothing from it */
        struct json_doc *doc;    /* the document that was taken over, or NULL: what the view borrows from */
        GPtrArray *anys;         /* struct cache_any: subtrees of any shape that the view has, or NULL */
        struct arena *arena;     /* of the view */
        uint64_t mark;
};

struct cache_kind {
        const struct schema_kind *kind;
        struct order *order; /* struct cache_entry by key; owned by cache->entries */
        GPtrArray *indexes;
};

struct cache_listener {
        cache_listener_fn fn;
        void *userdata;
};

struct cache {
        GHashTable *kinds;   /* struct schema_kind * -> struct cache_kind */
        GPtrArray *in_order; /* the same kinds as they were given */
        GHashTable *entries; /* key -> struct cache_entry, owned */
        GHashTable *by_uid;  /* uid -> struct cache_entry */
        GPtrArray *indexes;
        GArray *listeners;
        struct texts *texts;
        GHashTable *anys;       /* hash -> struct cache_any */
        GPtrArray *rooted;      /* struct version with a tree that was asked for, referenced */
        GHashTable *gone_ahead; /* uids whose removal was told ahead and not published yet */
        GHashTable *ahead;      /* key -> struct cache_ahead: told ahead and perhaps not published yet */
        uint64_t mark;
        bool synced;
        void *follower;
        void (*unfollow)(void *follower);
};

static struct cache_entry *cache_entry_free(struct cache_entry *entry)
{
        if (!entry)
                return NULL;
        arena_free(entry->arena);
        version_disown(entry->version);
        json_doc_free(entry->doc);
        if (entry->anys)
                g_ptr_array_unref(entry->anys);
        g_free(entry->own_key);
        g_free(entry);
        return NULL;
}

static void cache_entry_drop(void *entry)
{
        cache_entry_free(entry);
}

static const char *cache_order_key(const void *item)
{
        return ((const struct cache_index_item *)item)->key;
}

static void cache_kind_free(void *data)
{
        struct cache_kind *kind = data;

        order_free(kind->order);
        g_ptr_array_unref(kind->indexes);
        g_free(kind);
}

static void cache_drop_index(void *index)
{
        cache_index_free(index);
}

/* What the store publishes with this revision, or as a removal, is no longer ahead. */
struct cache_ahead {
        const struct schema_kind *kind;
        char *namespace, *name;
        uint64_t revision; /* 0: a removal */
};

static void cache_ahead_free(void *data)
{
        struct cache_ahead *ahead = data;

        g_free(ahead->namespace);
        g_free(ahead->name);
        g_free(ahead);
}

static void cache_note_ahead(struct cache *cache, const struct schema_kind *kind, const char *namespace, const char *name,
                             uint64_t revision)
{
        struct cache_ahead *ahead = g_new0(struct cache_ahead, 1);

        *ahead = (struct cache_ahead){.kind = kind, .namespace = g_strdup(namespace), .name = g_strdup(name), .revision = revision};
        g_hash_table_replace(cache->ahead, store_key(kind, namespace, name), ahead);
}

static void cache_note_published(struct cache *cache, const struct store_event *event)
{
        const struct cache_ahead *ahead = g_hash_table_lookup(cache->ahead, event->object->key);

        if (ahead && (ahead->revision ? ahead->revision <= event->revision : event->verb == STORE_DELETE))
                g_hash_table_remove(cache->ahead, event->object->key);
}

struct cache *cache_new(const struct schema_kind *const *kinds)
{
        struct cache *cache = g_new0(struct cache, 1);

        assert(kinds);
        cache->kinds = g_hash_table_new_full(NULL, NULL, NULL, cache_kind_free);
        cache->in_order = g_ptr_array_new();
        cache->entries = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, cache_entry_drop);
        cache->by_uid = g_hash_table_new(g_str_hash, g_str_equal);
        cache->indexes = g_ptr_array_new_with_free_func(cache_drop_index);
        cache->texts = texts_new();
        cache->anys = g_hash_table_new(g_int64_hash, g_int64_equal);
        cache->rooted = g_ptr_array_new();
        cache->gone_ahead = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        cache->ahead = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, cache_ahead_free);
        cache->listeners = g_array_new(FALSE, FALSE, sizeof(struct cache_listener));
        for (size_t i = 0; kinds[i]; i++) {
                struct cache_kind *kind = g_new0(struct cache_kind, 1);

                kind->kind = kinds[i];
                kind->order = order_new(cache_order_key);
                kind->indexes = g_ptr_array_new();
                g_hash_table_insert(cache->kinds, (void *)kinds[i], kind);
                g_ptr_array_add(cache->in_order, (void *)kinds[i]);
        }
        g_ptr_array_add(cache->in_order, NULL);
        return cache;
}

struct cache *cache_free(struct cache *cache)
{
        if (!cache)
                return NULL;
        if (cache->unfollow)
                cache->unfollow(cache->follower);
        cache_settle(cache);
        g_ptr_array_unref(cache->rooted);
        g_hash_table_unref(cache->by_uid);
        g_hash_table_unref(cache->kinds);
        g_ptr_array_unref(cache->indexes);
        g_hash_table_unref(cache->gone_ahead);
        g_hash_table_unref(cache->ahead);
        g_hash_table_unref(cache->entries);
        g_ptr_array_unref(cache->in_order);
        texts_free(cache->texts);
        g_hash_table_unref(cache->anys);
        g_array_unref(cache->listeners);
        g_free(cache);
        return NULL;
}

const struct schema_kind *const *cache_kinds(const struct cache *cache)
{
        return (const struct schema_kind *const *)cache->in_order->pdata;
}

void cache_set_follower(struct cache *cache, void *follower, void (*unfollow)(void *follower))
{
        assert(!cache->unfollow);
        cache->follower = follower;
        cache->unfollow = unfollow;
}

/* --- reading
 * ---------------------------------------------------------------------------------------------------------------------- */

static struct cache_entry *cache_find(const struct cache *cache, const struct schema_kind *kind, const char *namespace,
                                      const char *name)
{
        char key[STORE_KEY_MAX];

        if (!name || store_key_write(key, kind, namespace, name) < 0)
                return NULL;
        return g_hash_table_lookup(cache->entries, key);
}

const struct cache_object *cache_get(const struct cache *cache, const struct schema_kind *kind, const char *namespace,
                                     const char *name)
{
        struct cache_entry *entry;

        assert(cache && kind);
        entry = cache_find(cache, kind, namespace, name);
        return entry ? &entry->item.public : NULL;
}

const struct cache_object *cache_by_uid(const struct cache *cache, const char *uid)
{
        struct cache_entry *entry = uid ? g_hash_table_lookup(cache->by_uid, uid) : NULL;

        return entry ? &entry->item.public : NULL;
}

void cache_each(const struct cache *cache, const struct schema_kind *kind, const char *namespace,
                bool (*each)(const struct cache_object *object, void *userdata), void *userdata)
{
        const struct cache_kind *held = g_hash_table_lookup(cache->kinds, kind);
        struct order_place place = {0};
        const struct cache_entry *entry;
        char first[STORE_KEY_MAX];

        assert(each);
        if (!held)
                return;
        if (namespace) {
                if (store_key_write(first, kind, namespace, "") < 0)
                        return;
                place = order_seek(held->order, first, false);
        }
        while ((entry = order_next(held->order, &place))) {
                if (namespace && g_strcmp0(entry->item.public.namespace, namespace) != 0)
                        return;
                if (!each(&entry->item.public, userdata))
                        return;
        }
}

static bool cache_list_each(const struct cache_object *object, void *userdata)
{
        g_ptr_array_add(userdata, (void *)object);
        return true;
}

GPtrArray *cache_list(const struct cache *cache, const struct schema_kind *kind, const char *namespace)
{
        GPtrArray *list = g_ptr_array_new();

        cache_each(cache, kind, namespace, cache_list_each, list);
        return list;
}

size_t cache_count(const struct cache *cache, const struct schema_kind *kind)
{
        const struct cache_kind *held = g_hash_table_lookup(cache->kinds, kind);

        return held ? order_length(held->order) : 0;
}

bool cache_holds(const struct cache *cache, const struct schema_kind *kind)
{
        assert(cache && kind);
        return g_hash_table_contains(cache->kinds, kind);
}

/* --- indexes
 * ---------------------------------------------------------------------------------------------------------------------- */

void cache_define_index(struct cache *cache, const char *index_name, const struct schema_kind *kind,
                        void (*keys_of)(const struct cache_object *object, struct cache_index_keys *keys))
{
        struct cache_index *index = cache_index_new(index_name, kind, keys_of);

        assert(!kind || g_hash_table_contains(cache->kinds, kind));
        g_ptr_array_add(cache->indexes, index);
        for (guint i = 0; i + 1 < cache->in_order->len; i++) {
                struct cache_kind *held = g_hash_table_lookup(cache->kinds, cache->in_order->pdata[i]);

                assert(order_length(held->order) == 0);
                if (!kind || held->kind == kind)
                        g_ptr_array_add(held->indexes, index);
        }
}

GPtrArray *cache_lookup(const struct cache *cache, const char *index_name, const char *key)
{
        assert(key);
        for (size_t i = 0; i < cache->indexes->len; i++)
                if (cache_index_is(cache->indexes->pdata[i], index_name))
                        return cache_index_lookup(cache->indexes->pdata[i], key);
        assert(!"an index of that name is defined");
        return g_ptr_array_new();
}

/* --- changing
 * --------------------------------------------------------------------------------------------------------------------- */

void cache_listen(struct cache *cache, cache_listener_fn fn, void *userdata)
{
        struct cache_listener listener = {fn, userdata};

        assert(fn);
        g_array_append_val(cache->listeners, listener);
}

static void cache_tell(struct cache *cache, const struct cache_entry *before, const struct cache_entry *now)
{
        for (size_t i = 0; i < cache->listeners->len; i++) {
                const struct cache_listener *listener = &g_array_index(cache->listeners, struct cache_listener, i);

                listener->fn(before ? &before->item.public : NULL, now ? &now->item.public : NULL, listener->userdata);
        }
}

/* Takes @entry out of all that finds it; the caller frees it. */
static void cache_detach(struct cache *cache, struct cache_kind *held, struct cache_entry *entry)
{
        const char *uid = entry->item.public.uid;

        for (size_t i = 0; i < held->indexes->len; i++)
                cache_index_leave(held->indexes->pdata[i], &entry->item);
        if (uid && g_hash_table_lookup(cache->by_uid, uid) == entry)
                g_hash_table_remove(cache->by_uid, uid);
        order_take(held->order, entry->item.key);
        g_hash_table_steal(cache->entries, entry->item.key);
}

static void cache_attach(struct cache *cache, struct cache_kind *held, struct cache_entry *entry)
{
        const char *uid = entry->item.public.uid;

        g_hash_table_insert(cache->entries, (void *)entry->item.key, entry);
        order_put(held->order, entry);
        if (uid)
                g_hash_table_replace(cache->by_uid, (void *)uid, entry);
        for (size_t i = 0; i < held->indexes->len; i++)
                cache_index_enter(held->indexes->pdata[i], &entry->item);
}

static void cache_remove_entry(struct cache *cache, struct cache_kind *held, struct cache_entry *entry)
{
        cache_detach(cache, held, entry);
        cache_tell(cache, entry, NULL);
        cache_entry_free(entry);
}

static void cache_put_entry(struct cache *cache, struct cache_kind *held, struct cache_entry *entry)
{
        struct cache_entry *old = g_hash_table_lookup(cache->entries, entry->item.key);

        entry->mark = cache->mark;
        if (old && old->item.public.revision == entry->item.public.revision && old->item.public.revision > 0 &&
            g_strcmp0(old->item.public.uid, entry->item.public.uid) == 0) {
                old->mark = cache->mark;
                cache_entry_free(entry);
                return;
        }
        if (old && g_strcmp0(old->item.public.uid, entry->item.public.uid) != 0) {
                cache_remove_entry(cache, held, old);
                old = NULL;
        }
        if (old)
                cache_detach(cache, held, old);
        cache_attach(cache, held, entry);
        cache_tell(cache, old, entry);
        cache_entry_free(old);
}

/* --- views that live without their document
 * ------------------------------------------------------------------------------ */

struct cache_keeping {
        struct cache_entry *entry;
        struct arena *arena;
        bool measure; /* only how large the arena must be */
};

static const char *cache_keep_text(void *userdata, const char *text)
{
        struct cache_keeping *keeping = userdata;
        const char *shared = texts_share(keeping->entry->cache->texts, text);

        return shared ?: arena_strdup(keeping->arena, text);
}

/* A subtree that stands in several objects (a machine's hardware in its intent too) is kept once. */
struct cache_any {
        uint64_t hash; /* of its text */
        unsigned refs;
        struct json_doc *doc;
        GHashTable *home; /* where others find it; NULL: another one with its hash was there before */
};

static void cache_any_unref(void *data)
{
        struct cache_any *any = data;

        if (--any->refs > 0)
                return;
        if (any->home)
                g_hash_table_remove(any->home, &any->hash);
        json_doc_free(any->doc);
        g_free(any);
}

static uint64_t cache_hash(const char *text, size_t len)
{
        uint64_t hash = 0xcbf29ce484222325ull;

        for (size_t i = 0; i < len; i++)
                hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3ull;
        return hash;
}

/* Written and parsed: a parsed document is as small as it can be. NULL: it has too many members, which cannot be. */
static struct cache_any *cache_any_of(struct cache *cache, const struct json_value *value)
{
        g_autoptr(GString) text = g_string_new(NULL);
        struct cache_any *any, *same;
        struct json_doc *doc = NULL;
        uint64_t hash;

        json_write(value, text);
        hash = cache_hash(text->str, text->len);
        same = g_hash_table_lookup(cache->anys, &hash);
        if (same && json_equal(json_root(same->doc), value)) {
                same->refs++;
                return same;
        }
        if (json_parse(text->str, text->len, &doc, NULL) != 0)
                return NULL;
        any = g_new0(struct cache_any, 1);
        *any = (struct cache_any){.hash = hash, .refs = 1, .doc = doc, .home = same ? NULL : cache->anys};
        if (any->home)
                g_hash_table_insert(any->home, &any->hash, any);
        return any;
}

static const struct json_value *cache_keep_any(void *userdata, const struct json_value *value)
{
        struct cache_keeping *keeping = userdata;
        struct cache_any *any = keeping->measure ? NULL : cache_any_of(keeping->entry->cache, value);

        if (!any)
                return NULL;
        if (!keeping->entry->anys)
                keeping->entry->anys = g_ptr_array_new_full(1, cache_any_unref);
        g_ptr_array_add(keeping->entry->anys, any);
        return json_root_const(any->doc);
}

/* Twice, so that the arena is just as large as the view. */
static void cache_decode_apart(struct cache_entry *entry, const struct json_value *root)
{
        const struct schema_type *type = entry->item.public.kind->type;
        g_autoptr(arena) scratch = arena_new(CACHE_SCRATCH_BYTES);
        struct cache_keeping keeping = {.entry = entry, .arena = scratch, .measure = true};
        const struct schema_keep keep = {.text = cache_keep_text, .any = cache_keep_any, .userdata = &keeping};

        (void)schema_decode_apart(type, root, scratch, &keep);
        entry->arena = keeping.arena = arena_new((arena_used(scratch) + 15) & ~(size_t)15);
        keeping.measure = false;
        entry->item.public.view = schema_decode_apart(type, root, entry->arena, &keep);
}

static void cache_decode_doc(struct cache_entry *entry)
{
        entry->arena = arena_new(CACHE_VIEW_BYTES);
        entry->item.public.view = schema_decode(entry->item.public.kind->type, json_root(entry->doc), entry->arena);
}

const struct json_value *cache_root(const struct cache_object *object)
{
        const struct cache_entry *entry = (const struct cache_entry *)object;

        assert(object);
        if (!entry->version)
                return json_root_const(entry->doc);
        /* The reference keeps the store from dropping the tree. */
        g_ptr_array_add(entry->cache->rooted, version_ref(entry->version));
        return version_public(entry->version)->root;
}

void cache_settle(struct cache *cache)
{
        assert(cache);
        for (size_t i = 0; i < cache->rooted->len; i++) {
                struct version *version = version_own(cache->rooted->pdata[i]);

                version_unref(version);
                version_shrink(version);
                version_disown(version);
        }
        g_ptr_array_set_size(cache->rooted, 0);
}

void cache_apply(struct cache *cache, const struct schema_kind *kind, const char *namespace, const char *name,
                 const struct store_object *object)
{
        struct cache_kind *held = g_hash_table_lookup(cache->kinds, kind);
        struct cache_entry *entry;

        assert(cache && kind && name);
        if (!object) {
                cache_remove(cache, kind, namespace, name);
                return;
        }
        if (!held)
                return;
        assert(object->kind == kind);
        entry = g_new0(struct cache_entry, 1);
        entry->cache = cache;
        entry->version = version_own(version_of(object));
        entry->item.key = object->key;
        entry->item.public = (struct cache_object){
                .kind = kind,
                .namespace = object->namespace,
                .name = object->name,
                .uid = object->uid,
                .revision = object->revision,
        };
        cache_decode_apart(entry, object->root);
        cache_put_entry(cache, held, entry);
}

void cache_apply_event(struct cache *cache, const struct store_event *event)
{
        const struct store_object *object = event->object;
        const struct cache_object *held;

        assert(cache && object);
        if (!g_hash_table_contains(cache->kinds, object->kind))
                return;
        cache_note_published(cache, event);
        if (object->uid && g_hash_table_contains(cache->gone_ahead, object->uid)) {
                if (event->verb == STORE_DELETE)
                        g_hash_table_remove(cache->gone_ahead, object->uid);
                return;
        }
        held = cache_get(cache, object->kind, object->namespace, object->name);
        if (held && held->revision >= event->revision)
                return;
        cache_apply(cache, object->kind, object->namespace, object->name, event->verb == STORE_DELETE ? NULL : object);
}

void cache_apply_ahead(struct cache *cache, const struct schema_kind *kind, const char *namespace, const char *name,
                       const struct store_object *object)
{
        const struct cache_object *held;

        assert(cache && kind && name);
        if (g_hash_table_contains(cache->kinds, kind))
                cache_note_ahead(cache, kind, namespace, name, object ? object->revision : 0);
        held = cache_get(cache, kind, namespace, name);
        if (!object && held && held->uid)
                g_hash_table_add(cache->gone_ahead, g_strdup(held->uid));
        cache_apply(cache, kind, namespace, name, object);
}

void cache_take_back(struct cache *cache, struct store *store,
                     const struct store_object *(*published)(struct store *store, const struct schema_kind *kind,
                                                             const char *namespace, const char *name))
{
        g_autoptr(GHashTable) ahead = g_steal_pointer(&cache->ahead);
        GHashTableIter each;
        struct cache_ahead *one;

        cache->ahead = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, cache_ahead_free);
        g_hash_table_remove_all(cache->gone_ahead);
        g_hash_table_iter_init(&each, ahead);
        while (g_hash_table_iter_next(&each, NULL, (void **)&one)) {
                autostoreobject object = published(store, one->kind, one->namespace, one->name);

                cache_apply(cache, one->kind, one->namespace, one->name, object);
        }
}

static uint64_t cache_revision_of(const char *text)
{
        guint64 revision = 0;

        return text && g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT64, &revision, NULL) ? revision : 0;
}

void cache_apply_doc(struct cache *cache, const struct schema_kind *kind, struct json_doc *doc)
{
        struct cache_kind *held = g_hash_table_lookup(cache->kinds, kind);
        const struct json_value *metadata = json_get(json_root(doc), "metadata");
        const char *name = json_string(json_get(metadata, "name"), NULL);
        struct cache_entry *entry;

        assert(cache && kind && doc);
        if (!held || !name) {
                json_doc_free(doc);
                return;
        }
        entry = g_new0(struct cache_entry, 1);
        entry->cache = cache;
        entry->doc = doc;
        entry->item.public = (struct cache_object){
                .kind = kind,
                .namespace = json_string(json_get(metadata, "namespace"), NULL),
                .name = name,
                .uid = json_string(json_get(metadata, "uid"), NULL),
                .revision = cache_revision_of(json_string(json_get(metadata, "resourceVersion"), NULL)),
        };
        entry->item.key = entry->own_key = store_key(kind, entry->item.public.namespace, name);
        cache_decode_doc(entry);
        cache_put_entry(cache, held, entry);
}

void cache_remove(struct cache *cache, const struct schema_kind *kind, const char *namespace, const char *name)
{
        struct cache_kind *held = g_hash_table_lookup(cache->kinds, kind);
        struct cache_entry *entry = held ? cache_find(cache, kind, namespace, name) : NULL;

        if (entry)
                cache_remove_entry(cache, held, entry);
}

void cache_mark(struct cache *cache)
{
        cache->mark++;
}

void cache_sweep(struct cache *cache)
{
        for (size_t i = 0; cache->in_order->pdata[i]; i++) {
                struct cache_kind *held = g_hash_table_lookup(cache->kinds, cache->in_order->pdata[i]);
                g_autoptr(GPtrArray) unmarked = g_ptr_array_new();
                struct order_place place = {0};
                const struct cache_entry *entry;

                while ((entry = order_next(held->order, &place)))
                        if (entry->mark != cache->mark)
                                g_ptr_array_add(unmarked, (void *)entry);
                for (size_t k = 0; k < unmarked->len; k++)
                        cache_remove_entry(cache, held, unmarked->pdata[k]);
        }
}

bool cache_synced(const struct cache *cache)
{
        return cache->synced;
}

void cache_set_synced(struct cache *cache)
{
        cache->synced = true;
}
