/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/auto.h"
#include "base/clock.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;

/*
 * ResourceQuotas, enforced as the store's guard: a transaction that raises the use of a resource above a quota is refused whole,
 * whoever it is from. The sums of a project are kept while it has a quota; they are of the newest accepted state, so two
 * transactions never pass on the same sum. What lowers a sum, or leaves it, is never refused.
 *
 * What is used counts from the write that declares it until the object is gone: see how-to/projects-and-quotas.md.
 */
struct quota;

struct quota_options {
        struct loop *loop; /* NULL: the owner calls quota_step() */
        struct store *store;
        const struct clock *clock;
};

/** quota_new() - becomes the guard of the store, which is loaded. 0 or -errno. */
int quota_new(const struct quota_options *options, struct quota **ret_quota);
/** quota_free() - before the store is closed; NULL is accepted. */
struct quota *quota_free(struct quota *quota);
AUTOPTR(quota, quota_free);

/** quota_step() - write the status of quotas whose project has changed. true: there was something to write. */
bool quota_step(struct quota *quota);

/**
 * quota_left() - how much more of a resource (one of QUOTA_...) a project may use
 * @ret_name: the tightest quota, borrowed until control returns to the loop; or NULL
 *
 * Return: UINT64_MAX when no quota speaks of it.
 */
uint64_t quota_left(const struct quota *quota, const char *namespace, const char *resource, const char **ret_name);
