/* SPDX-License-Identifier: Apache-2.0 */
#include "store/order.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#define ORDER_CHUNK 128u

struct order_chunk {
        size_t n;
        const void *items[ORDER_CHUNK];
};

struct order {
        GPtrArray *chunks; /* none is empty */
        size_t length;
        const char *(*key_of)(const void *item);
};

static inline struct order_chunk *order_chunk_at(const struct order *order, size_t index)
{
        return order->chunks->pdata[index];
}

struct order *order_new(const char *(*key_of)(const void *item))
{
        struct order *order = g_new0(struct order, 1);

        assert(key_of);
        order->chunks = g_ptr_array_new_with_free_func(g_free);
        order->key_of = key_of;
        return order;
}

struct order *order_free(struct order *order)
{
        if (!order)
                return NULL;
        g_ptr_array_unref(order->chunks);
        g_free(order);
        return NULL;
}

size_t order_length(const struct order *order)
{
        return order->length;
}

/* The chunk that holds the first key >= (behind: >) @key: the first whose last item is not before it. */
static size_t order_find_chunk(const struct order *order, const char *key, bool behind)
{
        size_t low = 0, high = order->chunks->len;

        while (low < high) {
                size_t middle = low + (high - low) / 2;
                const struct order_chunk *chunk = order_chunk_at(order, middle);
                int c = strcmp(order->key_of(chunk->items[chunk->n - 1]), key);

                if (c < 0 || (behind && c == 0))
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

struct order_place order_seek(const struct order *order, const char *key, bool behind)
{
        struct order_place place = {0};
        const struct order_chunk *chunk;
        size_t low = 0, high;

        if (!key)
                return place;
        place.chunk = order_find_chunk(order, key, behind);
        if (place.chunk == order->chunks->len)
                return place;
        chunk = order_chunk_at(order, place.chunk);
        for (high = chunk->n; low < high;) {
                size_t middle = low + (high - low) / 2;
                int c = strcmp(order->key_of(chunk->items[middle]), key);

                if (c < 0 || (behind && c == 0))
                        low = middle + 1;
                else
                        high = middle;
        }
        place.index = low;
        return place;
}

const void *order_next(const struct order *order, struct order_place *place)
{
        const struct order_chunk *chunk;
        const void *item;

        if (place->chunk >= order->chunks->len)
                return NULL;
        chunk = order_chunk_at(order, place->chunk);
        assert(place->index < chunk->n);
        item = chunk->items[place->index++];
        if (place->index == chunk->n)
                *place = (struct order_place){.chunk = place->chunk + 1};
        return item;
}

size_t order_distance(const struct order *order, struct order_place from, struct order_place to)
{
        size_t n = to.index;

        for (size_t i = from.chunk; i < to.chunk; i++)
                n += order_chunk_at(order, i)->n;
        return n >= from.index ? n - from.index : 0;
}

/* Makes room in a full chunk. At its end (keys that grow) a new chunk begins instead of two half ones. */
static void order_split(struct order *order, struct order_place *place)
{
        struct order_chunk *chunk = order_chunk_at(order, place->chunk), *next = g_new(struct order_chunk, 1);
        size_t keep = place->index == chunk->n ? chunk->n : chunk->n / 2;

        next->n = chunk->n - keep;
        memcpy(next->items, chunk->items + keep, next->n * sizeof(*next->items));
        chunk->n = keep;
        g_ptr_array_insert(order->chunks, (int)place->chunk + 1, next);
        if (place->index >= keep && keep < ORDER_CHUNK)
                *place = (struct order_place){.chunk = place->chunk + 1, .index = place->index - keep};
        else if (keep == ORDER_CHUNK)
                *place = (struct order_place){.chunk = place->chunk + 1};
}

static void order_insert(struct order *order, struct order_place place, const void *item)
{
        struct order_chunk *chunk;

        if (place.chunk == order->chunks->len && place.chunk > 0) {
                place.chunk--;
                place.index = order_chunk_at(order, place.chunk)->n;
        }
        if (order->chunks->len == 0)
                g_ptr_array_add(order->chunks, g_new0(struct order_chunk, 1));
        if (order_chunk_at(order, place.chunk)->n == ORDER_CHUNK)
                order_split(order, &place);
        chunk = order_chunk_at(order, place.chunk);
        memmove(chunk->items + place.index + 1, chunk->items + place.index, (chunk->n - place.index) * sizeof(*chunk->items));
        chunk->items[place.index] = item;
        chunk->n++;
        order->length++;
}

const void *order_put(struct order *order, const void *item)
{
        const char *key = order->key_of(item);
        struct order_place place = order_seek(order, key, false);

        if (place.chunk < order->chunks->len) {
                const void **slot = &order_chunk_at(order, place.chunk)->items[place.index];
                const void *old = *slot;

                if (strcmp(order->key_of(old), key) == 0) {
                        *slot = item;
                        return old;
                }
        }
        order_insert(order, place, item);
        return NULL;
}

const void *order_take(struct order *order, const char *key)
{
        struct order_place place = order_seek(order, key, false);
        struct order_chunk *chunk;
        const void *item;

        if (place.chunk == order->chunks->len)
                return NULL;
        chunk = order_chunk_at(order, place.chunk);
        item = chunk->items[place.index];
        if (strcmp(order->key_of(item), key) != 0)
                return NULL;
        memmove(chunk->items + place.index, chunk->items + place.index + 1, (chunk->n - place.index - 1) * sizeof(*chunk->items));
        if (--chunk->n == 0)
                g_ptr_array_remove_index(order->chunks, (unsigned)place.chunk);
        order->length--;
        return item;
}
