/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/arena.h"
#include "cache/cache.h"

#include <stdbool.h>

struct vm_context;

/** redeploy_refusal() - why a machine cannot be made anew from what its disks are made of, as words in @arena; NULL: it can. */
const char *redeploy_refusal(const struct cache *cache, const struct cache_object *machine, struct arena *arena);

/** redeploy_identity() - what a machine's hardware addresses and instance id follow from; lives as long as @machine. */
const char *redeploy_identity(const struct cache_object *machine);

/** redeploy_renewed() - whether the disks are empty of what they held before vm->operation, and are being made anew; and whether
 * the machine has another identity, if that is wanted. */
bool redeploy_renewed(const struct vm_context *vm);
/** redeploy_end_domain() - the first step: the Instance goes, without asking the guest. */
void redeploy_end_domain(struct vm_context *vm);
/** redeploy_renew() - the second: tell the disks, and part with the identity. */
void redeploy_renew(struct vm_context *vm);
