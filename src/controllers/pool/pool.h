/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "control/control.h"
#include "generated/api_types.h"

/*
 * StoragePool: a HostTask EnsurePool on every ready node that shall have it; its answers, and what nodes report of their pools, are
 * the pool's status. A pool is Ready when it can be used on one node at least.
 */
extern const struct controller pool_controller;

/** pool_allocated() - the sizes of all volumes of pool @name on @node together, as their guests see them, in bytes. */
uint64_t pool_allocated(const struct cache *cache, const char *name, const char *node);
/** pool_limit() - what they may become together; false: there is no limit, or the pool's size there is not known yet. */
bool pool_limit(const struct api_storage_pool *pool, const char *node, uint64_t *ret_bytes);
/** pool_why_no_room() - why the volumes of pool @name on @node may not become so many bytes larger together, in words of @arena;
 * NULL: they may. */
const char *pool_why_no_room(const struct cache *cache, const char *name, const char *node, uint64_t more, struct arena *arena);
