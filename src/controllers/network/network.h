/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/address.h"
#include "base/arena.h"
#include "cache/cache.h"
#include "control/control.h"
#include "generated/api_types.h"

/* Networks: their ranges, what a Port is told of them, and the policy that security groups give a machine. */

extern const struct controller network_controller;
extern const struct controller security_group_controller;

/* The addresses that machines can get: all but the first, the last and the gateway. */
struct network_range {
        struct address_prefix prefix;
        struct address gateway;
        uint64_t first, last; /* offsets from the base of the prefix, inclusive */
};

/** network_range() - of a Network's spec. 0, or -EINVAL with words in @reterr_words. */
int network_range(const struct api_network_spec *spec, struct network_range *ret_range, const char **reterr_words);
/** network_range_holds() - whether machines may get @address. */
bool network_range_holds(const struct network_range *range, const struct address *address);
/** network_range_size() - how many addresses machines can get. */
uint64_t network_range_size(const struct network_range *range);

/** network_default() - the oldest Network that is marked as the default, or NULL. */
const struct cache_object *network_default(const struct cache *cache);
/** network_named() - @name, or the default one for NULL. NULL: there is none. */
const struct cache_object *network_named(const struct cache *cache, const char *name);

/** network_port_view() - what a Port says of its network. */
struct api_port_network *network_port_view(const struct cache_object *network, struct arena *arena);

/**
 * policy_resolve() - the policy of a machine's interfaces
 * @ret_missing: name of a security group that does not exist, or NULL; the policy is closed then
 *
 * The rules of all groups that the machine names, else those of the group "default", else: out everything, in only answers.
 */
struct api_port_policy *policy_resolve(const struct cache *cache, const struct cache_object *machine, struct arena *arena,
                                       const char **ret_missing);
