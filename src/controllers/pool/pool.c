/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/pool/pool.h"

#include "base/quantity.h"
#include "controllers/disk/disk.h"
#include "controllers/object.h"
#include "controllers/placement/placement.h"
#include "controllers/placement/selector.h"
#include "controllers/pool/capabilities.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

#define FINALIZER_POOL     "gabbro.dev/storagepool-cleanup"
#define SIZES_AFTER_US     10000000ull
#define CONTENT_AFTER_US   1000000ull
#define MANY_VOLUMES       1000 /* are counted less often */
#define ENSURE             "EnsurePool"
#define REFRESH            "RefreshPool"
#define SPACE_LOW_PERCENT  10
#define SPACE_NONE_PERCENT 1

struct pool_turn {
        struct turn *turn;
        const struct cache *cache;
        const struct cache_object *object;
        const struct api_storage_pool *view;
        struct api_storage_pool_status status;
        struct conditions conditions;
        GPtrArray *tasks;   /* of this pool */
        unsigned next_task; /* number in the name of the next one */
        GArray *nodes;      /* struct api_pool_node */
        uint64_t capacity, available, allocated;
        size_t n_ready, n_failed;
        bool low;            /* a node is nearly full */
        const char *refresh; /* the annotation; NULL: nobody wants its nodes to look again */
        bool refreshing;     /* a node has not done so yet */
        const char *why;
};

static const struct cache_object *task_on(const struct pool_turn *pool, const char *node, const char *type)
{
        for (guint i = 0; pool->tasks && i < pool->tasks->len; i++) {
                const struct cache_object *task = pool->tasks->pdata[i];
                const struct api_host_task_spec *spec = ((const struct api_host_task *)task->view)->spec;

                if (g_strcmp0(spec->node_name, node) == 0 && strcmp(spec->type, type) == 0 &&
                    (strcmp(type, ENSURE) == 0 || !object_deleting(task)))
                        return task;
        }
        return NULL;
}

/* No name twice: those of this turn are not in the cache yet. */
static const char *free_task_name(struct pool_turn *pool)
{
        const char *name;

        do
                name = intent_name(turn_arena(pool->turn), 't', pool->object->uid, pool->next_task++);
        while (cache_get(pool->cache, &api_host_task_kind, NULL, name));
        return name;
}

static void task_create(struct pool_turn *pool, const char *node, const char *type)
{
        struct arena *arena = turn_arena(pool->turn);
        struct intent_owner owner = intent_owner_of(pool->object);
        struct api_object_ref ref = {.kind = owner.kind, .name = owner.name, .uid = owner.uid};
        struct api_host_task_spec spec = {
                .node_name = node, .owner = &ref, .type = type, .pool = disk_pool_view(pool->object, arena)};
        struct api_host_task task = {.metadata = intent_meta(arena, &owner, free_task_name(pool), node), .spec = &spec};

        turn_create(pool->turn, &api_host_task_kind, &task);
}

static const struct api_node_pool *reported(const struct cache_object *node, const char *pool)
{
        const struct api_node *view = node->view;
        const struct api_node_virtualization *virt = view->status ? view->status->virtualization : NULL;

        for (size_t i = 0; virt && i < virt->n_pools; i++)
                if (g_strcmp0(virt->pools[i].name, pool) == 0)
                        return &virt->pools[i];
        return NULL;
}

static bool belongs(const struct pool_turn *pool, const struct cache_object *node)
{
        const struct api_storage_pool_spec *spec = pool->view->spec;

        if (spec->n_nodes > 0 && !strings_hold((const char *const *)spec->nodes, spec->n_nodes, node->name))
                return false;
        return selector_map(spec->node_selector, spec->n_node_selector, node);
}

static void pool_count(struct pool_turn *pool, struct api_pool_node *there, const struct cache_object *node,
                       const struct api_host_task_status *status)
{
        const struct api_node_pool *facts = reported(node, pool->object->name);

        there->capacity_bytes = facts ? facts->capacity_bytes : status ? status->capacity_bytes : 0;
        there->available_bytes = facts ? facts->available_bytes : status ? status->available_bytes : 0;
        there->has_capacity_bytes = there->has_available_bytes = there->capacity_bytes > 0;
        there->filesystem = facts ? facts->filesystem : NULL;
        there->has_reflink = facts && facts->has_reflink;
        there->reflink = facts && facts->reflink;
        pool->capacity += (uint64_t)there->capacity_bytes;
        pool->available += (uint64_t)there->available_bytes;
}

uint64_t pool_allocated(const struct cache *cache, const char *name, const char *node)
{
        assert(cache && name && node);

        g_autofree char *key = g_strdup_printf("%s/%s", name, node);
        g_autoptr(GPtrArray) volumes = cache_lookup(cache, INDEX_VOLUME_BY_PLACE, key);
        uint64_t bytes = 0;

        for (guint i = 0; volumes && i < volumes->len; i++) {
                const struct api_volume *volume = ((const struct cache_object *)volumes->pdata[i])->view;

                bytes += (uint64_t)volume->spec->capacity_bytes;
        }
        return bytes;
}

bool pool_limit(const struct api_storage_pool *pool, const char *node, uint64_t *ret_bytes)
{
        assert(pool && node && ret_bytes);

        for (size_t i = 0; pool->spec->has_overcommit_percent && pool->status && i < pool->status->n_nodes; i++) {
                const struct api_pool_node *there = &pool->status->nodes[i];

                if (g_strcmp0(there->name, node) != 0 || !there->has_capacity_bytes)
                        continue;
                uint64_t capacity = (uint64_t)there->capacity_bytes, percent = (uint64_t)pool->spec->overcommit_percent;

                /* Whole MiB: nobody counts bytes of a file system. */
                *ret_bytes = (capacity / 100 * percent + capacity % 100 * percent / 100) & ~0xfffffull;
                return true;
        }
        return false;
}

const char *pool_why_no_room(const struct cache *cache, const char *name, const char *node, uint64_t more, struct arena *arena)
{
        assert(cache && name && node && arena);

        const struct cache_object *pool = cache_get(cache, &api_storage_pool_kind, NULL, name);
        uint64_t limit, allocated;
        char text[2][32];

        if (!pool || !pool_limit(pool->view, node, &limit))
                return NULL;
        allocated = pool_allocated(cache, name, node);
        if (allocated <= limit && more <= limit - allocated)
                return NULL;
        return arena_printf(arena, "the disks in StoragePool %s on %s may have %s together and have %s", name, node,
                            quantity_format_bytes(limit, text[0]), quantity_format_bytes(allocated, text[1]));
}

/* Nodes are made to look at the pool again, each by a task that goes when all have done so. */
static void refresh_on(struct pool_turn *pool, const struct cache_object *node)
{
        const struct cache_object *task = task_on(pool, node->name, REFRESH);
        const struct api_host_task_status *status = task ? ((const struct api_host_task *)task->view)->status : NULL;
        const char *state = status ? status->state : NULL;

        if (!pool->refresh || g_strcmp0(pool->refresh, pool->status.refreshed) == 0 || !placement_node_ready(node))
                return;
        if (g_strcmp0(state, "Succeeded") == 0 || g_strcmp0(state, "Failed") == 0)
                return;
        pool->refreshing = true;
        if (!task && turn_room(pool->turn) > 2)
                task_create(pool, node->name, REFRESH);
}

static bool look_at_node(const struct cache_object *node, void *userdata)
{
        struct pool_turn *pool = userdata;
        const struct cache_object *task = task_on(pool, node->name, ENSURE);
        const struct api_host_task_status *status = task ? ((const struct api_host_task *)task->view)->status : NULL;
        struct api_pool_node there = {.name = node->name, .phase = "Pending"};
        const char *state = status ? status->state : NULL;

        if (!belongs(pool, node))
                return true;
        there.allocated_bytes = (int64_t)pool_allocated(pool->cache, pool->object->name, node->name);
        there.has_allocated_bytes = true;
        pool->allocated += (uint64_t)there.allocated_bytes;
        if (!task && placement_node_ready(node) && turn_room(pool->turn) > 2)
                task_create(pool, node->name, ENSURE);
        if (g_strcmp0(state, "Succeeded") == 0) {
                refresh_on(pool, node);
                there.phase = "Ready";
                pool->n_ready++;
                pool_count(pool, &there, node, status);
        } else if (g_strcmp0(state, "Failed") == 0) {
                refresh_on(pool, node); /* when it finds the pool well, the host makes it at once */
                there.phase = "Failed";
                there.error = status->error;
                pool->n_failed++;
                pool->why = arena_printf(turn_arena(pool->turn), "%s: %s", node->name,
                                         status->error ? status->error->message : "it failed");
        }
        g_array_append_val(pool->nodes, there);
        return true;
}

/* For people: whole GiB once there are ten; the exact numbers stand with each node. */
static const char *bytes_text(struct pool_turn *pool, uint64_t bytes)
{
        uint64_t gib = 1ull << 30;
        char text[32];

        if (bytes >= 10 * gib)
                bytes = bytes / gib * gib;

        return arena_strdup(turn_arena(pool->turn), quantity_format_bytes(bytes, text));
}

/* The fullest node counts: what is full on one host is full for its guests. */
static void pool_say_space(struct pool_turn *pool)
{
        const struct api_pool_node *worst = NULL;
        uint64_t part = 100;

        for (guint i = 0; i < pool->nodes->len; i++) {
                const struct api_pool_node *there = &g_array_index(pool->nodes, struct api_pool_node, i);

                if (!there->has_capacity_bytes || there->capacity_bytes < 100)
                        continue;
                if (!worst || (uint64_t)(there->available_bytes / (there->capacity_bytes / 100)) < part) {
                        worst = there;
                        part = (uint64_t)(there->available_bytes / (there->capacity_bytes / 100));
                }
        }
        pool->low = worst && part < SPACE_LOW_PERCENT;
        if (!worst)
                condition_remove(&pool->conditions, "SpaceAvailable");
        else if (part >= SPACE_LOW_PERCENT)
                conditions_say(&pool->conditions, "SpaceAvailable", "True", REASON_SPACE_AVAILABLE, "no node is nearly full");
        else
                conditions_say(&pool->conditions, "SpaceAvailable", "False",
                               part < SPACE_NONE_PERCENT ? REASON_POOL_FULL : REASON_POOL_NEARLY_FULL,
                               "on %s less than %d %% of it are free", worst->name,
                               part < SPACE_NONE_PERCENT ? SPACE_NONE_PERCENT : SPACE_LOW_PERCENT);
}

static int64_t count_under(const struct pool_turn *pool, const char *index)
{
        g_autoptr(GPtrArray) found = cache_lookup(pool->cache, index, pool->object->name);

        return found ? found->len : 0;
}

static void pool_say_numbers(struct pool_turn *pool)
{
        bool known = pool->n_ready > 0;

        pool->status.disks = count_under(pool, INDEX_DISK_BY_POOL);
        pool->status.volumes = count_under(pool, INDEX_VOLUME_BY_PLACE);
        pool->status.has_disks = pool->status.has_volumes = true;

        pool->status.capacity = known ? bytes_text(pool, pool->capacity) : NULL;
        pool->status.available = known ? bytes_text(pool, pool->available) : NULL;
        pool->status.used = known ? bytes_text(pool, pool->capacity - MIN(pool->available, pool->capacity)) : NULL;
        pool->status.allocated = bytes_text(pool, pool->allocated);
        pool->status.health = pool->n_ready == 0                ? (pool->n_failed > 0 ? "Failed" : "Unknown")
                              : pool->n_failed > 0 || pool->low ? "Degraded"
                                                                : "Healthy";
}

static void pool_say_capabilities(struct pool_turn *pool)
{
        struct capability_question question = capabilities_of_pool(pool->object, pool->status.nodes, pool->status.n_nodes);

        pool->status.storage_lock = question.pool ? question.pool->lock : NULL;
        pool->status.capabilities =
                capabilities_view(turn_arena(pool->turn), &question, question.pool ? 1 : 0, CAPABILITY_OF_POOL, true);
}

static void pool_say(struct pool_turn *pool)
{
        size_t n = pool->nodes->len;
        struct api_pool_node *list = arena_array(turn_arena(pool->turn), n, sizeof(*list));

        if (n > 0)
                memcpy(list, pool->nodes->data, n * sizeof(*list));
        pool->status.nodes = list;
        pool->status.n_nodes = n;
        pool_say_space(pool);
        pool_say_numbers(pool);
        pool_say_capabilities(pool);
        if (pool->n_ready > 0) {
                pool->status.phase = "Ready";
                conditions_say(&pool->conditions, "Ready", "True", REASON_READY, "it can be used on %zu of %zu nodes%s%s",
                               pool->n_ready, n, pool->n_failed > 0 ? "; not on " : "", pool->n_failed > 0 ? pool->why : "");
        } else if (n > 0 && pool->n_failed == n) {
                pool->status.phase = "Failed";
                conditions_say(&pool->conditions, "Ready", "False", REASON_POOL_FAILED, "it cannot be used on any node; %s",
                               pool->why);
        } else {
                pool->status.phase = "Pending";
                conditions_say(&pool->conditions, "Ready", "False", REASON_PENDING, "%s",
                               n == 0 ? "no node has it" : "waits until its nodes have made it");
        }
}

/* Disks and copies of images keep a pool; its folders and their content stay on the hosts. */
static enum turn_result pool_end(struct pool_turn *pool)
{
        const struct cache_object *disk = index_one(pool->cache, INDEX_DISK_BY_POOL, pool->object->name);
        const struct cache_object *volume = index_one(pool->cache, INDEX_VOLUME_BY_PLACE, pool->object->name);
        bool none = true;

        pool->status.phase = "Terminating";
        if (disk || volume) {
                const struct api_object_ref *owner = disk ? NULL : ((const struct api_volume *)volume->view)->spec->owner;

                conditions_say(&pool->conditions, "Ready", "False", REASON_IN_USE, "waits until its %s are gone, such as %s/%s",
                               disk ? "disks" : "volumes", disk ? disk->namespace : owner->kind, disk ? disk->name : owner->name);
                turn_update_status(pool->turn, pool->object, &pool->status);
                return TURN_WAIT;
        }
        for (guint i = 0; pool->tasks && i < pool->tasks->len; i++) {
                const struct cache_object *task = pool->tasks->pdata[i];
                const struct api_host_task_status *status = ((const struct api_host_task *)task->view)->status;

                none &= intent_retire(pool->turn, task, status ? status->state : NULL);
        }
        if (none) {
                turn_remove_finalizer(pool->turn, pool->object, FINALIZER_POOL);
                return TURN_DONE;
        }
        conditions_say(&pool->conditions, "Ready", "False", REASON_CLEANUP_PENDING, "waits until its nodes have let it go");
        turn_update_status(pool->turn, pool->object, &pool->status);
        return TURN_WAIT;
}

/* Tasks of nodes that are gone, or that shall not have the pool any more. */
static void retire_strays(struct pool_turn *pool)
{
        for (guint i = 0; pool->tasks && i < pool->tasks->len; i++) {
                const struct cache_object *object = pool->tasks->pdata[i];
                const struct api_host_task *task = object->view;
                const struct cache_object *node = cache_get(pool->cache, &api_node_kind, NULL, task->spec->node_name);

                if (object_deleting(object) || (node && !belongs(pool, node)) ||
                    (strcmp(task->spec->type, REFRESH) == 0 &&
                     (!pool->refresh || g_strcmp0(pool->refresh, pool->status.refreshed) == 0)))
                        (void)intent_retire(pool->turn, object, task->status ? task->status->state : NULL);
        }
}

static enum turn_result pool_take_turn(struct turn *turn, const struct cache_object *object)
{
        const struct api_storage_pool *view = object->view;
        g_autoptr(GPtrArray) tasks = cache_lookup(turn_cache(turn), INDEX_TASK_BY_OWNER, object->uid);
        g_autoptr(GArray) nodes = g_array_new(FALSE, FALSE, sizeof(struct api_pool_node));
        struct pool_turn pool = {
                .turn = turn,
                .cache = turn_cache(turn),
                .object = object,
                .view = view,
                .status = view->status ? *view->status : (struct api_storage_pool_status){0},
                .tasks = tasks,
                .next_task = tasks ? tasks->len : 0,
                .nodes = nodes,
                .refresh = object_annotation(object, ANNOTATION_REFRESH),
        };

        pool.conditions = (struct conditions){
                .arena = turn_arena(turn),
                .list = &pool.status.conditions,
                .n = &pool.status.n_conditions,
                .generation = object_meta(object)->generation,
                .now_us = turn_now_us(turn),
        };
        pool.status.observed_generation = pool.conditions.generation;
        pool.status.has_observed_generation = true;
        if (object_deleting(object))
                return pool_end(&pool);
        turn_add_finalizer(turn, object, FINALIZER_POOL);
        retire_strays(&pool);
        cache_each(pool.cache, &api_node_kind, NULL, look_at_node, &pool);
        if (!pool.refreshing)
                pool.status.refreshed = pool.refresh;
        pool_say(&pool);
        turn_update_status(turn, object, &pool.status);
        return TURN_DONE;
}

static bool sizes_moved(const struct cache_object *before, const struct cache_object *now)
{
        const struct api_node *old = before->view, *new = now->view;
        const struct api_node_virtualization *was = old->status ? old->status->virtualization : NULL;
        const struct api_node_virtualization *is = new->status ? new->status->virtualization : NULL;

        for (size_t i = 0; is && i < is->n_pools; i++)
                if (!was || i >= was->n_pools || was->pools[i].capacity_bytes != is->pools[i].capacity_bytes)
                        return true;
        return false;
}

/* Free space that nodes report moves all the time: it is told a little later, together. */
static bool pool_later(const struct cache_object *object, void *userdata)
{
        g_autofree char *key = g_strdup_printf("-/%s", object->name);

        workqueue_add_after(userdata, key, SIZES_AFTER_US);
        return true;
}

static const char *disk_pool_name(const struct cache_object *disk)
{
        const struct api_virtual_disk *view = disk ? disk->view : NULL;

        return view && view->status ? view->status->storage_class_name : NULL;
}

/* One that waits for its end looks at once; any other counts a little later, many changes together. */
static void relate_content(const struct cache *cache, const char *name, struct workqueue *queue)
{
        const struct cache_object *pool = name ? cache_get(cache, &api_storage_pool_kind, NULL, name) : NULL;

        if (pool && object_deleting(pool)) {
                controller_enqueue(queue, NULL, name);
        } else if (pool) {
                const struct api_storage_pool *view = pool->view;
                bool large = view->status && view->status->volumes > MANY_VOLUMES;
                g_autofree char *key = g_strdup_printf("-/%s", name);

                workqueue_add_after(queue, key, large ? SIZES_AFTER_US : CONTENT_AFTER_US);
        }
}

static void pool_related(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                         struct workqueue *queue)
{
        const struct cache_object *object = now ? now : before;

        if (object->kind == &api_node_kind) {
                if (node_moved(before, now) || sizes_moved(before, now))
                        kind_enqueue(cache, &api_storage_pool_kind, NULL, queue);
                else if (!json_equal(json_get(cache_root(before), "status"), json_get(cache_root(now), "status")))
                        cache_each(cache, &api_storage_pool_kind, NULL, pool_later, queue);
        } else if (object->kind == &api_host_task_kind) {
                const struct api_host_task *task = object->view;

                if (task->spec && task->spec->owner && g_strcmp0(task->spec->owner->kind, "StoragePool") == 0)
                        controller_enqueue(queue, NULL, task->spec->owner->name);
        } else if (object->kind == &api_volume_kind) {
                const struct api_volume *volume = object->view;

                if (volume->spec && volume->spec->pool && object_moved(before, now))
                        relate_content(cache, volume->spec->pool->name, queue);
        } else if (object->kind == &api_virtual_disk_kind) {
                const char *was = disk_pool_name(before), *is = disk_pool_name(now);

                if (g_strcmp0(was, is) != 0) {
                        relate_content(cache, was, queue);
                        relate_content(cache, is, queue);
                }
        }
}

const struct controller pool_controller = {
        .name = "pool",
        .kind = &api_storage_pool_kind,
        .turn = pool_take_turn,
        .related = pool_related,
};
