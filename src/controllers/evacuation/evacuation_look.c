/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/evacuation/evacuation.h"

#include "controllers/migration/migration.h"
#include "controllers/object.h"
#include "controllers/operation/operation.h"
#include "controllers/vm/phase.h"

#include <assert.h>
#include <string.h>

const char *evacuation_way_to_text(enum evacuation_way way)
{
        static const char *const texts[] = {"Move", "Wait", "Full", "Stay", "Go"};

        assert((size_t)way < G_N_ELEMENTS(texts));
        return texts[way];
}

/* --- operations of a machine --- */

static GPtrArray *operations_of(const struct cache *cache, const struct cache_object *machine)
{
        g_autofree char *key = g_strdup_printf("%s/%s", machine->namespace, machine->name);

        return cache_lookup(cache, INDEX_OPERATION_BY_VM, key);
}

static const char *phase_of(const struct cache_object *operation)
{
        const struct api_virtual_machine_operation *view = operation->view;

        return view->status ? view->status->phase : NULL;
}

const struct cache_object *evacuation_under_way(const struct cache *cache, const struct cache_object *machine)
{
        static const char *const over[] = {"Completed", "Failed", "Superseded"};
        g_autoptr(GPtrArray) all = operations_of(cache, machine);

        assert(cache && machine);
        for (guint i = 0; all && i < all->len; i++) {
                const char *phase = phase_of(all->pdata[i]);

                if (!phase || !strings_hold(over, G_N_ELEMENTS(over), phase))
                        return all->pdata[i];
        }
        return NULL;
}

uint64_t evacuation_came_us(const struct cache *cache, const struct cache_object *machine, const char *node)
{
        g_autoptr(GPtrArray) all = operations_of(cache, machine);
        uint64_t newest_us = 0;

        assert(cache && machine);
        for (guint i = 0; all && i < all->len; i++) {
                const struct cache_object *operation = all->pdata[i];
                const struct api_virtual_machine_operation *view = operation->view;
                const struct api_operation_migration *migration = view->status ? view->status->migration : NULL;

                if (g_str_has_prefix(operation->name, EVACUATION_PREFIX) && migration &&
                    g_strcmp0(phase_of(operation), "Completed") == 0 && g_strcmp0(migration->target_node, node) == 0)
                        newest_us = MAX(newest_us, time_us(migration->end_timestamp));
        }
        return newest_us;
}

bool evacuation_may_stop(const struct cache_object *machine)
{
        const struct api_virtual_machine *view = machine->view;

        assert(machine);
        return g_strcmp0(object_annotation(machine, ANNOTATION_EVICTION_POLICY), "Stop") == 0 &&
               g_strcmp0(view->spec->run_policy, "AlwaysOn") != 0;
}

bool evacuation_cordoned(const struct cache *cache, const char *node)
{
        const struct cache_object *object = node ? cache_get(cache, &api_node_kind, NULL, node) : NULL;
        const struct api_node *view = object ? object->view : NULL;

        assert(cache);
        return view && view->spec && view->spec->unschedulable;
}

/* --- the look --- */

static struct evacuation_look answer(enum evacuation_way way, const char *words)
{
        return (struct evacuation_look){.way = way, .words = words};
}

static bool count_other(const struct cache_object *node, void *userdata)
{
        ++*(size_t *)userdata;
        return true;
}

static struct evacuation_look look_at_running(const struct cache *cache, const struct cache_object *machine, struct arena *arena)
{
        const struct cache_object *operation = evacuation_under_way(cache, machine);
        const struct migration_plan plan = migration_plan_of(cache, machine, NULL, false, arena);
        struct evacuation_look look = {.way = EVACUATION_MOVES, .node = plan.node};
        size_t nodes = 0;

        if (operation)
                return answer(EVACUATION_WAITS, arena_printf(arena, "operation %s of it is under way", operation->name));
        if (plan.node) {
                look.words = arena_printf(arena, "it can be moved to %s", plan.node);
                return look;
        }
        cache_each(cache, &api_node_kind, NULL, count_other, &nodes);
        if (nodes < 2)
                return answer(EVACUATION_STAYS, "there is no other host that it could be moved to");
        if (plan.of_machine)
                return answer(EVACUATION_STAYS, arena_printf(arena, "it cannot be moved while it runs: %s", plan.words));
        return answer(EVACUATION_FULL, arena_printf(arena, "no other host can take it now: %s", plan.words));
}

struct evacuation_look evacuation_look(const struct cache *cache, const struct cache_object *machine, struct arena *arena)
{
        static const enum evacuation_way ways[VM_PHASES] = {
                [VM_PENDING] = EVACUATION_WAITS,   [VM_STARTING] = EVACUATION_WAITS, [VM_RUNNING] = EVACUATION_MOVES,
                [VM_STOPPING] = EVACUATION_GOES,   [VM_STOPPED] = EVACUATION_GOES,   [VM_TERMINATING] = EVACUATION_GOES,
                [VM_MIGRATING] = EVACUATION_WAITS, [VM_PAUSE] = EVACUATION_STAYS,
        };
        const struct api_virtual_machine *view = machine->view;
        enum vm_phase phase;

        assert(cache && machine && arena);
        if (object_deleting(machine))
                return answer(EVACUATION_GOES, "it is being deleted");
        if (!index_one(cache, INDEX_INSTANCE_BY_MACHINE, machine->uid) || !view->status || !view->status->phase ||
            vm_phase_from_text(view->status->phase, &phase) != 0)
                return answer(EVACUATION_WAITS, "it was not looked at yet");
        if (ways[phase] != EVACUATION_MOVES)
                return answer(ways[phase], operation_rule(ORDER_EVICT)->cells[phase].words ?: "it does not run");
        return look_at_running(cache, machine, arena);
}
