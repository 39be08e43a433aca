/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/auto.h"
#include "schema/schema.h"
#include "store/store.h"

#include <glib.h>
#include <stdbool.h>

/*
 * A list-and-watch replica of some kinds with typed views and indexes. Fed by a source (the local store, an HTTP watch, or a test)
 * through cache_apply() and its kin. What it hands out is const and borrowed until control returns to the loop (sources feed it
 * from there: until the object is applied or removed again); what lives longer is copied by key.
 */
struct cache;

struct cache_object {
        const struct schema_kind *kind;
        const char *namespace; /* NULL for cluster scope */
        const char *name;
        const char *uid;
        uint64_t revision;
        const void *view; /* struct api_<kind> of kind->type, decoded once */
};

/** cache_root() - the object as JSON; of the local store's objects the tree is made when it is asked for. Borrowed as they are. */
const struct json_value *cache_root(const struct cache_object *object);
/** cache_settle() - what was handed out is no longer used: trees that were made meanwhile go. Where control has returned to the
 * loop. */
void cache_settle(struct cache *cache);

struct cache *cache_new(const struct schema_kind *const *kinds); /* NULL-terminated */
struct cache *cache_free(struct cache *cache);
AUTOPTR(cache, cache_free);

const struct cache_object *cache_get(const struct cache *cache, const struct schema_kind *kind, const char *namespace,
                                     const char *name);
const struct cache_object *cache_by_uid(const struct cache *cache, const char *uid);
/** cache_each() - objects of a kind in key order; @namespace NULL: all. @each returns false to stop. */
void cache_each(const struct cache *cache, const struct schema_kind *kind, const char *namespace,
                bool (*each)(const struct cache_object *object, void *userdata), void *userdata);
/** cache_list() - the same as a pointer array of borrowed objects (container is the caller's: g_ptr_array_unref). */
GPtrArray *cache_list(const struct cache *cache, const struct schema_kind *kind, const char *namespace);
size_t cache_count(const struct cache *cache, const struct schema_kind *kind);
/** cache_holds() - whether it replicates the kind. */
bool cache_holds(const struct cache *cache, const struct schema_kind *kind);

/*
 * Indexes: @keys_of adds any number of strings for an object (cache_index_add), under which it is then found. Defined before
 * filling; @kind NULL: of every kind that the cache holds.
 */
struct cache_index_keys; /* collector */
void cache_index_add(struct cache_index_keys *keys, const char *key);
void cache_define_index(struct cache *cache, const char *index_name, const struct schema_kind *kind,
                        void (*keys_of)(const struct cache_object *object, struct cache_index_keys *keys));
GPtrArray *cache_lookup(const struct cache *cache, const char *index_name, const char *key);

/**
 * cache_apply() - one event: @object is the newest version of @namespace/@name, or NULL when it is gone
 *
 * Kinds that the cache does not hold are ignored, and so is the version that it holds already (no listener hears of it).
 */
void cache_apply(struct cache *cache, const struct schema_kind *kind, const char *namespace, const char *name,
                 const struct store_object *object);
/**
 * cache_apply_event() - a published event of the local store. What the cache holds already in a newer version, or was told ahead to
 * be gone, is left alone.
 */
void cache_apply_event(struct cache *cache, const struct store_event *event);
/**
 * cache_apply_ahead() - a version that the store has accepted and not published yet; @object NULL: its removal
 *
 * For a writer that goes on from its own writes: what the store accepted is durable before anything that is accepted later, so a
 * write based on it cannot outlive it. The event that the store publishes afterwards changes nothing more.
 */
void cache_apply_ahead(struct cache *cache, const struct schema_kind *kind, const char *namespace, const char *name,
                       const struct store_object *object);
/** cache_apply_doc() - as cache_apply(), from a document that the cache takes over (HTTP source). One without a name is dropped. */
void cache_apply_doc(struct cache *cache, const struct schema_kind *kind, struct json_doc *doc);
void cache_remove(struct cache *cache, const struct schema_kind *kind, const char *namespace, const char *name);
/** cache_mark()/cache_sweep() - a relist: mark, apply all that exist, sweep away what was not applied (reported as removed). */
void cache_mark(struct cache *cache);
void cache_sweep(struct cache *cache);
bool cache_synced(const struct cache *cache);
void cache_set_synced(struct cache *cache);

/** Listeners hear of every change after the cache has taken it: @now NULL on removal, @before NULL on addition. An object that was
 *  replaced by one with another uid is reported as removed, then as added. @before is valid for the call. */
typedef void (*cache_listener_fn)(const struct cache_object *before, const struct cache_object *now, void *userdata);
void cache_listen(struct cache *cache, cache_listener_fn fn, void *userdata);

/** cache_follow_store() - fill from the store now and follow it: synced on return. Ends with cache_free(), before the store is
 * closed. 0 or -errno. */
int cache_follow_store(struct cache *cache, struct store *store);
/** cache_follow_back() - the store has taken back what it had accepted: so does a cache that was told ahead (cache_apply_ahead()).
 */
void cache_follow_back(struct cache *cache, struct store *store);
