/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/arena.h"
#include "cache/cache.h"

/** migration_node_words() - why a running machine cannot go from one node to another, as far as the nodes go ("is not set up ..."),
 * or NULL; in @arena. */
const char *migration_node_words(const struct cache *cache, const struct cache_object *machine, const char *source,
                                 const struct cache_object *target, struct arena *arena);

/** migration_host_fault() - why machines can neither come to a node nor leave it, or NULL; borrowed. */
const char *migration_host_fault(const struct cache_object *node);
/** migration_host_graphics_address() - where screens may listen for TCP on a node, or NULL; borrowed. */
const char *migration_host_graphics_address(const struct cache_object *node);
/** migration_host_address() - of a node, or NULL; borrowed. */
const char *migration_host_address(const struct cache_object *node);
