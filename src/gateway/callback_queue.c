/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/callback_queue.h"

#include <assert.h>
#include <glib.h>
#include <string.h>

struct endpoint {
        char *uid, *namespace;
        GSequence *items; /* by object, then sequence */
        unsigned under_way;
        bool held, slow;
        uint64_t idle_until_us; /* nothing of it is due before, as long as nothing of it changes */
};

struct item {
        struct callback_entry entry;
        struct endpoint *endpoint;
        GSequenceIter *place; /* NULL: dropped while it was under way */
        bool under_way, as_slow;
};

struct callback_queue {
        struct callback_bounds bounds;
        GHashTable *items;     /* uid -> struct item */
        GHashTable *endpoints; /* uid of the callback -> struct endpoint */
        GPtrArray *order;      /* of the endpoints, whose turn it is goes round */
        GHashTable *projects;  /* namespace -> how many are under way */
        guint turn;
        unsigned under_way, slow_under_way;
};

static void item_free(void *data)
{
        struct item *item = data;

        g_free((char *)item->entry.uid);
        g_free((char *)item->entry.namespace);
        g_free((char *)item->entry.name);
        g_free((char *)item->entry.callback_uid);
        g_free((char *)item->entry.object_uid);
        g_free(item);
}

static void endpoint_free(void *data)
{
        struct endpoint *endpoint = data;

        g_sequence_free(endpoint->items);
        g_free(endpoint->uid);
        g_free(endpoint->namespace);
        g_free(endpoint);
}

struct callback_queue *callback_queue_new(const struct callback_bounds *bounds)
{
        assert(bounds && bounds->all > 1 && bounds->per_callback > 0 && bounds->per_project > 0);

        struct callback_queue *queue = g_new0(struct callback_queue, 1);

        queue->bounds = *bounds;
        queue->items = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, item_free);
        queue->endpoints = g_hash_table_new(g_str_hash, g_str_equal);
        queue->order = g_ptr_array_new_with_free_func(endpoint_free);
        queue->projects = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        return queue;
}

struct callback_queue *callback_queue_free(struct callback_queue *queue)
{
        if (!queue)
                return NULL;
        g_hash_table_unref(queue->items);
        g_hash_table_unref(queue->endpoints);
        g_ptr_array_unref(queue->order);
        g_hash_table_unref(queue->projects);
        g_free(queue);
        return NULL;
}

/* --- endpoints --- */

static struct endpoint *endpoint_of(struct callback_queue *queue, const char *uid, const char *namespace)
{
        struct endpoint *endpoint = g_hash_table_lookup(queue->endpoints, uid);

        if (!endpoint) {
                endpoint = g_new0(struct endpoint, 1);
                *endpoint = (struct endpoint){.uid = g_strdup(uid), .items = g_sequence_new(NULL)};
                g_hash_table_insert(queue->endpoints, endpoint->uid, endpoint);
                g_ptr_array_add(queue->order, endpoint);
        }
        if (!endpoint->namespace)
                endpoint->namespace = g_strdup(namespace);
        return endpoint;
}

/* One that has nothing left, and about which nothing is to be remembered, goes. */
static void endpoint_settle(struct callback_queue *queue, struct endpoint *endpoint)
{
        if (endpoint->held || endpoint->under_way > 0 || !g_sequence_is_empty(endpoint->items))
                return;
        g_hash_table_remove(queue->endpoints, endpoint->uid);
        g_ptr_array_remove(queue->order, endpoint);
}

static unsigned project_under_way(const struct callback_queue *queue, const char *namespace)
{
        return GPOINTER_TO_UINT(g_hash_table_lookup(queue->projects, namespace));
}

static void project_add(struct callback_queue *queue, const char *namespace, int n)
{
        unsigned now = project_under_way(queue, namespace) + (unsigned)n;

        if (now == 0)
                g_hash_table_remove(queue->projects, namespace);
        else
                g_hash_table_replace(queue->projects, g_strdup(namespace), GUINT_TO_POINTER(now));
}

void callback_queue_hold(struct callback_queue *queue, const char *callback_uid, bool held)
{
        assert(queue && callback_uid);

        struct endpoint *endpoint =
                held ? endpoint_of(queue, callback_uid, NULL) : g_hash_table_lookup(queue->endpoints, callback_uid);

        if (!endpoint)
                return;
        endpoint->held = held;
        endpoint->idle_until_us = 0;
        endpoint_settle(queue, endpoint);
}

/* --- entries --- */

static int by_object_and_sequence(const void *a, const void *b, void *userdata)
{
        const struct item *x = a, *y = b;
        int order = strcmp(x->entry.object_uid, y->entry.object_uid);

        return order ?: (x->entry.sequence > y->entry.sequence) - (x->entry.sequence < y->entry.sequence);
}

void callback_queue_put(struct callback_queue *queue, const struct callback_entry *entry)
{
        assert(queue && entry && entry->uid && entry->namespace && entry->name && entry->callback_uid && entry->object_uid);

        struct item *item = g_hash_table_lookup(queue->items, entry->uid);

        if (!item) {
                item = g_new0(struct item, 1);
                item->entry = (struct callback_entry){
                        .uid = g_strdup(entry->uid),
                        .namespace = g_strdup(entry->namespace),
                        .name = g_strdup(entry->name),
                        .callback_uid = g_strdup(entry->callback_uid),
                        .object_uid = g_strdup(entry->object_uid),
                        .sequence = entry->sequence,
                };
                item->endpoint = endpoint_of(queue, entry->callback_uid, entry->namespace);
                g_hash_table_insert(queue->items, (char *)item->entry.uid, item);
        }
        if (!item->place)
                item->place = g_sequence_insert_sorted(item->endpoint->items, item, by_object_and_sequence, NULL);
        item->entry.next_us = entry->next_us;
        item->endpoint->idle_until_us = 0;
}

static void item_remove(struct callback_queue *queue, struct item *item)
{
        struct endpoint *endpoint = item->endpoint;

        endpoint->idle_until_us = 0;
        if (item->place)
                g_sequence_remove(item->place);
        item->place = NULL;
        if (item->under_way)
                return;
        g_hash_table_remove(queue->items, item->entry.uid);
        endpoint_settle(queue, endpoint);
}

void callback_queue_drop(struct callback_queue *queue, const char *uid)
{
        assert(queue && uid);

        struct item *item = g_hash_table_lookup(queue->items, uid);

        if (item)
                item_remove(queue, item);
}

void callback_queue_forget(struct callback_queue *queue, const char *callback_uid)
{
        assert(queue && callback_uid);

        struct endpoint *endpoint = g_hash_table_lookup(queue->endpoints, callback_uid);

        if (!endpoint)
                return;
        endpoint->held = true; /* it stays until the last entry went */
        while (!g_sequence_is_empty(endpoint->items))
                item_remove(queue, g_sequence_get(g_sequence_get_begin_iter(endpoint->items)));
        endpoint->held = false;
        endpoint_settle(queue, endpoint);
}

size_t callback_queue_length(const struct callback_queue *queue)
{
        assert(queue);
        return g_hash_table_size(queue->items);
}

/* --- whose turn it is --- */

static bool has_place(const struct callback_queue *queue, const struct endpoint *endpoint)
{
        const struct callback_bounds *bounds = &queue->bounds;

        return !endpoint->held && queue->under_way < bounds->all && endpoint->under_way < bounds->per_callback &&
               (!endpoint->slow || queue->slow_under_way < bounds->all / 2) && endpoint->namespace &&
               project_under_way(queue, endpoint->namespace) < bounds->per_project;
}

/* Of the first of each object the one that has waited longest. */
static struct item *first_due(struct endpoint *endpoint, uint64_t now_us)
{
        uint64_t due_us = UINT64_MAX;
        struct item *best = NULL;
        const char *object = "";

        for (GSequenceIter *i = g_sequence_get_begin_iter(endpoint->items); !g_sequence_iter_is_end(i);
             i = g_sequence_iter_next(i)) {
                struct item *item = g_sequence_get(i);
                bool first = strcmp(item->entry.object_uid, object) != 0;

                object = item->entry.object_uid;
                if (!first || item->under_way)
                        continue;
                if (item->entry.next_us > now_us)
                        due_us = MIN(due_us, item->entry.next_us);
                else if (!best || item->entry.next_us < best->entry.next_us)
                        best = item;
        }
        endpoint->idle_until_us = best ? 0 : due_us;
        return best;
}

const struct callback_entry *callback_queue_take(struct callback_queue *queue, uint64_t now_us, uint64_t *ret_due_us)
{
        assert(queue && ret_due_us);

        uint64_t due_us = UINT64_MAX;
        struct item *item = NULL;

        for (guint i = 0; i < queue->order->len && !item; i++) {
                struct endpoint *endpoint = queue->order->pdata[(queue->turn + i) % queue->order->len];

                if (!has_place(queue, endpoint))
                        continue;
                if (endpoint->idle_until_us <= now_us)
                        item = first_due(endpoint, now_us);
                if (!item)
                        due_us = MIN(due_us, endpoint->idle_until_us);
                else
                        queue->turn = (queue->turn + i + 1) % queue->order->len;
        }
        *ret_due_us = due_us;
        if (!item)
                return NULL;
        item->under_way = true;
        item->as_slow = item->endpoint->slow;
        item->endpoint->under_way++;
        queue->under_way++;
        queue->slow_under_way += item->as_slow;
        project_add(queue, item->endpoint->namespace, 1);
        return &item->entry;
}

void callback_queue_finish(struct callback_queue *queue, const char *uid, uint64_t next_us, bool slow)
{
        assert(queue && uid);

        struct item *item = g_hash_table_lookup(queue->items, uid);

        assert(item && item->under_way);
        item->under_way = false;
        item->endpoint->idle_until_us = 0;
        item->endpoint->under_way--;
        item->endpoint->slow = slow;
        queue->under_way--;
        queue->slow_under_way -= item->as_slow;
        project_add(queue, item->endpoint->namespace, -1);
        if (next_us)
                item->entry.next_us = next_us;
        if (!item->place)
                item_remove(queue, item);
}
