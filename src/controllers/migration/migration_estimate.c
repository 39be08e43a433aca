/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/migration/migration_estimate.h"

#include "controllers/migration/migration.h"

#include <assert.h>
#include <string.h>

#define ROUNDS_MOST 30
#define DOWNTIME_US 300000ull /* QEMU's own */
#define SWITCH_US   50000ull  /* beside what is sent: devices, and the disks' last words */
#define LATE_US     20000000ull
#define MIB         (1ull << 20)

/* --- the forecast --- */

static uint64_t time_of(uint64_t bytes, uint64_t bytes_per_second)
{
        return (uint64_t)((__uint128_t)bytes * 1000000 / bytes_per_second);
}

struct migration_forecast migration_forecast(const struct migration_facts *facts)
{
        uint64_t rest = facts->memory_bytes, link = facts->link_bytes_per_second;
        struct migration_forecast forecast = {};

        assert(facts && link > 0);
        forecast.time_us = time_of(facts->disk_bytes, link);
        for (unsigned i = 0; i < ROUNDS_MOST; i++) {
                uint64_t us = time_of(rest, link);

                if (i > 0 && us <= facts->downtime_most_us) {
                        forecast.converges = true;
                        break;
                }
                forecast.time_us += us;
                rest = MIN((uint64_t)((__uint128_t)facts->dirty_bytes_per_second * us / 1000000), facts->memory_bytes);
        }
        forecast.downtime_us = time_of(rest, link) + SWITCH_US;
        forecast.time_us += forecast.downtime_us;
        return forecast;
}

/* --- what it is made of --- */

struct seen {
        const char *source, *target;
        const struct api_operation_migration *newest;
};

static bool look_at_operation(const struct cache_object *object, void *userdata)
{
        const struct api_virtual_machine_operation *view = object->view;
        const struct api_operation_migration *migration = view->status ? view->status->migration : NULL;
        struct seen *seen = userdata;

        if (migration && g_strcmp0(migration->result, "Succeeded") == 0 && !migration->cold && migration->elapsed_ms > 0 &&
            migration->processed_bytes > 0 && g_strcmp0(migration->source_node, seen->source) == 0 &&
            g_strcmp0(migration->target_node, seen->target) == 0 &&
            (!seen->newest || time_us(migration->end_timestamp) >= time_us(seen->newest->end_timestamp)))
                seen->newest = migration;
        return true;
}

/* 0: not known. */
static uint64_t link_speed(const struct op *op, const char *node)
{
        const struct api_machine_migrate *how = op->view->spec->migrate;
        uint64_t most = how && how->has_bandwidth_mib_per_second ? (uint64_t)how->bandwidth_mib_per_second * MIB : 0, speed;
        struct seen seen = {.source = op->domain->spec->node_name, .target = node};

        cache_each(op->cache, &api_virtual_machine_operation_kind, NULL, look_at_operation, &seen);
        if (!seen.newest)
                return most;
        speed = (uint64_t)seen.newest->processed_bytes * 1000 / (uint64_t)seen.newest->elapsed_ms;
        return most && speed ? MIN(most, speed) : MAX(most, speed);
}

static uint64_t disk_bytes(const struct op *op)
{
        uint64_t bytes = 0;

        for (size_t i = 0; i < op->domain->spec->n_disks; i++) {
                const struct api_instance_disk *disk = &op->domain->spec->disks[i];
                const struct cache_object *volume =
                        disk->volume ? cache_get(op->cache, &api_volume_kind, NULL, disk->volume) : NULL;
                const struct api_volume *view = volume ? volume->view : NULL;

                if (view && view->status && g_strcmp0(disk->kind, "Disk") == 0)
                        bytes += (uint64_t)view->status->allocation_bytes;
        }
        return bytes;
}

static void estimate(struct op *op, const char *node, const struct api_host_task_status *measured)
{
        const struct api_machine_migrate *how = op->view->spec->migrate;
        struct api_migration_estimate *estimate = arena_new0(turn_arena(op->turn), struct api_migration_estimate);
        struct migration_facts facts = {
                .memory_bytes = (uint64_t)op->domain->spec->memory_mib * MIB,
                .disk_bytes = disk_bytes(op),
                .dirty_bytes_per_second = measured ? (uint64_t)measured->dirty_bytes_per_second : 0,
                .link_bytes_per_second = link_speed(op, node),
                .downtime_most_us = how && how->has_downtime_ms ? (uint64_t)how->downtime_ms * 1000 : DOWNTIME_US,
        };
        struct migration_forecast forecast;

        estimate->memory_bytes = (int64_t)facts.memory_bytes;
        estimate->disk_bytes = (int64_t)facts.disk_bytes;
        estimate->has_memory_bytes = estimate->has_disk_bytes = true;
        estimate->dirty_bytes_per_second = (int64_t)facts.dirty_bytes_per_second;
        estimate->has_dirty_bytes_per_second = measured && measured->has_dirty_bytes_per_second;
        op->status.migration->estimate = estimate;
        if (!facts.link_bytes_per_second)
                return;
        forecast = migration_forecast(&facts);
        estimate->link_bytes_per_second = (int64_t)facts.link_bytes_per_second;
        estimate->seconds = (int64_t)(forecast.time_us / 1000000 + 1);
        estimate->downtime_ms = (int64_t)(forecast.downtime_us / 1000);
        estimate->converges = forecast.converges;
        estimate->has_link_bytes_per_second = estimate->has_seconds = estimate->has_downtime_ms = estimate->has_converges = true;
}

/* --- asking --- */

static const char *task_name(const struct op *op)
{
        return arena_printf(turn_arena(op->turn), "t-%s-measure", op->object->uid);
}

void migration_estimate_ask(struct op *op)
{
        struct arena *arena = turn_arena(op->turn);
        struct intent_owner owner = intent_owner_of(op->machine);
        const char *node = op->domain->spec->node_name;
        struct api_object_ref ref = {.kind = owner.kind, .namespace = owner.namespace, .name = owner.name, .uid = owner.uid};
        struct api_host_task_spec spec = {
                .node_name = node, .owner = &ref, .type = "MeasureMachine", .instance = op->instance->name};
        struct api_host_task task = {.metadata = intent_meta(arena, &owner, task_name(op), node), .spec = &spec};
        struct api_pair standby = {ANNOTATION_STANDBY, arena_printf(arena, "%s %s", op->machine->uid, op->object->uid)};

        assert(op && op->machine && op->instance);
        task.metadata->annotations = &standby;
        task.metadata->n_annotations = 1;
        turn_create(op->turn, &api_host_task_kind, &task);
}

bool migration_estimate_take(struct op *op, const char *node)
{
        const struct cache_object *task = cache_get(op->cache, &api_host_task_kind, NULL, task_name(op));
        const struct api_host_task_status *status = task ? ((const struct api_host_task *)task->view)->status : NULL;
        bool done = status && status->state && (strcmp(status->state, "Succeeded") == 0 || strcmp(status->state, "Failed") == 0);
        uint64_t late_us = task ? object_created_us(task) + LATE_US : 0, now_us = turn_now_us(op->turn);

        assert(op && op->domain && op->status.migration);
        if (!task || op->status.migration->estimate)
                return true;
        if (!done && now_us < late_us) {
                turn_again_in(op->turn, late_us - now_us);
                return false;
        }
        estimate(op, node, done ? status : NULL);
        if (!object_deleting(task))
                turn_delete(op->turn, task);
        return true;
}
