/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cache/cache.h"

/* From strings to the objects that are found under them, each set in key order. */
struct cache_index;

struct cache_index_item { /* what the cache keeps per object; first member of its entries */
        struct cache_object public;
        const char *key;
};

struct cache_index *cache_index_new(const char *name, const struct schema_kind *kind,
                                    void (*keys_of)(const struct cache_object *object, struct cache_index_keys *keys));
struct cache_index *cache_index_free(struct cache_index *index);
bool cache_index_is(const struct cache_index *index, const char *name);
const struct schema_kind *cache_index_kind(const struct cache_index *index);
/** cache_index_enter()/cache_index_leave() - @item under all its strings; the same item gives the same strings both times. */
void cache_index_enter(struct cache_index *index, const struct cache_index_item *item);
void cache_index_leave(struct cache_index *index, const struct cache_index_item *item);
/** cache_index_lookup() - a new array of borrowed objects. */
GPtrArray *cache_index_lookup(const struct cache_index *index, const char *key);
