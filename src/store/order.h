/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/auto.h"

/*
 * An ordered set of items by key (byte order): a sorted array cut into chunks, so that walking is sequential and a change moves few
 * pointers. Items are borrowed; their keys must not change while they are in the set.
 */
struct order;

struct order_place { /* of an item; valid until the set changes */
        size_t chunk, index;
};

struct order *order_new(const char *(*key_of)(const void *item));
struct order *order_free(struct order *order);
AUTOPTR(order, order_free);

/** order_put() - insert @item; returns the item with the same key that it replaces, or NULL. */
const void *order_put(struct order *order, const void *item);
/** order_take() - remove and return the item with @key, or NULL. */
const void *order_take(struct order *order, const char *key);
size_t order_length(const struct order *order);

/** order_seek() - the first item whose key is >= @key (NULL: the first), or > @key when @behind. */
struct order_place order_seek(const struct order *order, const char *key, bool behind);
/** order_next() - the item at @place, which moves on; NULL at the end. */
const void *order_next(const struct order *order, struct order_place *place);
/** order_distance() - number of items from @from up to @to. */
size_t order_distance(const struct order *order, struct order_place from, struct order_place to);
