/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control.h"

#include <assert.h>

#define BACK_OFF_FIRST_US 50000ull
#define BACK_OFF_MOST_US  60000000ull
#define NEVER             UINT64_MAX

struct item {
        char *key;
        uint64_t due_us;   /* in the delayed list until then; NEVER: not in it */
        uint64_t sequence; /* keeps the order of equal times */
        unsigned retries;
        bool ready;        /* in the ready list */
        bool working;      /* taken, not finished */
        bool again;        /* wanted at once when it is finished */
        uint64_t again_us; /* wanted at this time when it is finished */
};

struct workqueue {
        const struct clock *clock;
        GHashTable *items; /* key -> struct item */
        GQueue ready;      /* struct item, first come first served */
        GTree *delayed;    /* struct item by (due_us, sequence) */
        uint64_t sequence;
        void (*on_ready)(void *userdata);
        void *userdata;
};

static gint item_compare(gconstpointer a, gconstpointer b, gpointer userdata)
{
        const struct item *left = a, *right = b;

        if (left->due_us != right->due_us)
                return left->due_us < right->due_us ? -1 : 1;
        if (left->sequence != right->sequence)
                return left->sequence < right->sequence ? -1 : 1;
        return 0;
}

static void item_free(gpointer data)
{
        struct item *item = data;

        g_free(item->key);
        g_free(item);
}

struct workqueue *workqueue_new(const struct clock *clock)
{
        assert(clock);

        struct workqueue *queue = g_new0(struct workqueue, 1);

        queue->clock = clock;
        queue->items = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, item_free);
        queue->delayed = g_tree_new_full(item_compare, NULL, NULL, NULL);
        g_queue_init(&queue->ready);
        return queue;
}

struct workqueue *workqueue_free(struct workqueue *queue)
{
        if (!queue)
                return NULL;
        g_queue_clear(&queue->ready);
        g_tree_unref(queue->delayed);
        g_hash_table_unref(queue->items);
        g_free(queue);
        return NULL;
}

static struct item *queue_item(struct workqueue *queue, const char *key)
{
        struct item *item = g_hash_table_lookup(queue->items, key);

        if (item)
                return item;
        item = g_new0(struct item, 1);
        item->key = g_strdup(key);
        item->due_us = item->again_us = NEVER;
        g_hash_table_insert(queue->items, item->key, item);
        return item;
}

static void queue_undelay(struct workqueue *queue, struct item *item)
{
        if (item->due_us == NEVER)
                return;
        g_tree_remove(queue->delayed, item);
        item->due_us = NEVER;
}

static void queue_make_ready(struct workqueue *queue, struct item *item)
{
        queue_undelay(queue, item);
        if (item->ready)
                return;
        item->ready = true;
        g_queue_push_tail(&queue->ready, item);
}

static void queue_delay(struct workqueue *queue, struct item *item, uint64_t due_us)
{
        if (item->ready || item->due_us <= due_us)
                return;
        queue_undelay(queue, item);
        item->due_us = due_us;
        item->sequence = ++queue->sequence;
        g_tree_insert(queue->delayed, item, item);
}

static void queue_tell(struct workqueue *queue)
{
        if (queue->on_ready)
                queue->on_ready(queue->userdata);
}

void workqueue_add(struct workqueue *queue, const char *key)
{
        assert(queue && key);

        struct item *item = queue_item(queue, key);

        if (item->working)
                item->again = true;
        else
                queue_make_ready(queue, item);
        queue_tell(queue);
}

void workqueue_add_after(struct workqueue *queue, const char *key, uint64_t delay_us)
{
        assert(queue && key);

        if (delay_us == 0) {
                workqueue_add(queue, key);
                return;
        }

        struct item *item = queue_item(queue, key);
        uint64_t due_us = clock_monotonic_us(queue->clock) + delay_us;

        if (item->working)
                item->again_us = MIN(item->again_us, due_us);
        else
                queue_delay(queue, item, due_us);
        queue_tell(queue);
}

void workqueue_retry(struct workqueue *queue, const char *key)
{
        assert(queue && key);

        struct item *item = queue_item(queue, key);
        uint64_t delay_us = item->retries >= 11 ? BACK_OFF_MOST_US : BACK_OFF_FIRST_US << item->retries;

        item->retries++;
        workqueue_add_after(queue, key, MIN(delay_us, BACK_OFF_MOST_US));
}

static void queue_drop_unused(struct workqueue *queue, struct item *item)
{
        if (!item->ready && !item->working && item->due_us == NEVER && item->retries == 0)
                g_hash_table_remove(queue->items, item->key);
}

void workqueue_forget(struct workqueue *queue, const char *key)
{
        assert(queue && key);

        struct item *item = g_hash_table_lookup(queue->items, key);

        if (!item)
                return;
        item->retries = 0;
        queue_drop_unused(queue, item);
}

static void queue_promote(struct workqueue *queue)
{
        uint64_t now_us = clock_monotonic_us(queue->clock);

        for (;;) {
                GTreeNode *node = g_tree_node_first(queue->delayed);
                struct item *item = node ? g_tree_node_key(node) : NULL;

                if (!item || item->due_us > now_us)
                        return;
                queue_make_ready(queue, item);
        }
}

const char *workqueue_take(struct workqueue *queue)
{
        assert(queue);

        queue_promote(queue);

        struct item *item = g_queue_pop_head(&queue->ready);

        if (!item)
                return NULL;
        item->ready = false;
        item->working = true;
        return item->key;
}

void workqueue_finish(struct workqueue *queue, const char *key)
{
        assert(queue && key);

        struct item *item = g_hash_table_lookup(queue->items, key);

        assert(item && item->working);

        bool again = item->again;
        uint64_t again_us = item->again_us;

        item->working = item->again = false;
        item->again_us = NEVER;
        if (again)
                queue_make_ready(queue, item);
        else if (again_us != NEVER)
                queue_delay(queue, item, again_us);
        if (again || again_us != NEVER)
                queue_tell(queue);
        else
                queue_drop_unused(queue, item);
}

uint64_t workqueue_due_us(const struct workqueue *queue)
{
        assert(queue);

        if (!g_queue_is_empty((GQueue *)&queue->ready))
                return 0;

        GTreeNode *node = g_tree_node_first(queue->delayed);

        if (!node)
                return NEVER;

        const struct item *item = g_tree_node_key(node);
        uint64_t now_us = clock_monotonic_us(queue->clock);

        return item->due_us > now_us ? item->due_us - now_us : 0;
}

size_t workqueue_length(const struct workqueue *queue)
{
        assert(queue);
        return g_queue_get_length((GQueue *)&queue->ready) + (size_t)g_tree_nnodes(queue->delayed);
}

void workqueue_on_ready(struct workqueue *queue, void (*ready)(void *userdata), void *userdata)
{
        assert(queue);
        queue->on_ready = ready;
        queue->userdata = userdata;
}

void controller_enqueue_after(struct workqueue *queue, const char *namespace, const char *name, uint64_t delay_us)
{
        assert(queue && name);

        g_autofree char *key = g_strdup_printf("%s/%s", namespace ? namespace : "-", name);

        workqueue_add_after(queue, key, delay_us);
}

void controller_enqueue_any(struct workqueue *queue, const struct cache_object *object)
{
        assert(queue && object);

        g_autofree char *key =
                g_strdup_printf("%s.%s/%s/%s", object->kind->plural, object->kind->group, object->namespace ?: "-", object->name);

        workqueue_add(queue, key);
}

void controller_enqueue(struct workqueue *queue, const char *namespace, const char *name)
{
        assert(queue && name);

        g_autofree char *key = g_strdup_printf("%s/%s", namespace ? namespace : "-", name);

        workqueue_add(queue, key);
}
