/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/arena.h"
#include "cache/cache.h"
#include "generated/api_types.h"
#include "schema/capability.h"

/* status.capabilities of pools, disks and machines: the matrix's answers about this one, grouped by reason. */

/* One disk, or the pool itself, that is asked about. */
struct capability_question {
        const struct capability_pool *pool;
        struct capability_facts facts;
};

/**
 * capabilities_view() - what @questions together answer to every operation of @subject (CAPABILITY_OF_...)
 * @texts: with message, since and remedy; else they are found in the registry by their code
 *
 * What one of them refuses is refused. NULL without questions.
 */
struct api_capabilities *capabilities_view(struct arena *arena, const struct capability_question *questions, size_t n,
                                           unsigned subject, bool texts);

/** capabilities_of_disk() - the question about a disk in pool @pool_name (or NULL); false when there is no such pool. @running: a
 * machine has it and runs. */
bool capabilities_of_disk(const struct cache *cache, const struct cache_object *disk, const char *pool_name, bool running,
                          struct capability_question *ret_question);
/** capabilities_of_pool() - the question about a pool: what its usable @nodes have in common is known. */
struct capability_question capabilities_of_pool(const struct cache_object *pool, const struct api_pool_node *nodes, size_t n_nodes);
