/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/clock.h"
#include "control/control.h"

/* All controllers, and what the cache that they look at needs. */

/** Every controller, NULL-terminated: for struct control_options. */
extern const struct controller *const controllers_all[];
/** The kinds that they look at, NULL-terminated: for cache_new(). */
extern const struct schema_kind *const controllers_kinds[];
/** controllers_define_indexes() - between cache_new() and its filling. */
void controllers_define_indexes(struct cache *cache);

/* What a new installation begins with. */
struct controllers_defaults {
        const char *pool_name;    /* of the StoragePool; NULL: default */
        const char *pool_path;    /* its folder */
        const char *network_name; /* of the Network; NULL: default */
        const char *network_cidr; /* its range; NULL: 10.66.10.0/24 */
        const char *class_model;  /* processor model of the class "generic"; NULL: Nehalem */
};

/**
 * controllers_bootstrap() - create the namespaces default, kube-system and kube-node-lease, the Network, the StoragePool and the
 * class
 *
 * Only in a store that has no namespace "default" yet: what an administrator removes later stays away. Return: 0 (it runs when the
 * loop goes on), or an outcome of store_commit().
 */
int controllers_bootstrap(struct store *store, const struct clock *clock, const struct random_source *random,
                          const struct controllers_defaults *defaults);
