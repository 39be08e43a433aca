/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cache/cache.h"

/** cache_kinds() - those it holds, NULL-terminated, in the order of cache_new(). */
const struct schema_kind *const *cache_kinds(const struct cache *cache);
/** cache_set_follower() - @unfollow(@follower) runs when the cache is freed. Once. */
void cache_set_follower(struct cache *cache, void *follower, void (*unfollow)(void *follower));
