/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "control/control.h"

/*
 * StoragePool: a HostTask EnsurePool on every ready node that shall have it; its answers, and what nodes report of their pools, are
 * the pool's status. A pool is Ready when it can be used on one node at least.
 */
extern const struct controller pool_controller;

/** pool_allocated() - the sizes of all volumes of pool @name on @node together, as their guests see them, in bytes. */
uint64_t pool_allocated(const struct cache *cache, const char *name, const char *node);
