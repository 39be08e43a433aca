/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cache/cache.h"

/** cache_kinds() - those it holds, NULL-terminated, in the order of cache_new(). */
const struct schema_kind *const *cache_kinds(const struct cache *cache);
/** cache_take_back() - what was told ahead and not published since becomes again what @published says. */
void cache_take_back(struct cache *cache, struct store *store,
                     const struct store_object *(*published)(struct store *store, const struct schema_kind *kind,
                                                             const char *namespace, const char *name));
/** cache_set_follower() - @unfollow(@follower) runs when the cache is freed. Once. */
void cache_set_follower(struct cache *cache, void *follower, void (*unfollow)(void *follower));
