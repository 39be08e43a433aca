/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/evacuation/evacuation_private.h"

#include "controllers/nodeop/nodeop.h"
#include "controllers/object.h"
#include "generated/reasons.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SECOND_US     1000000ull
#define LOOK_AGAIN_US (10 * SECOND_US)  /* room elsewhere comes without an event of this machine */
#define BACK_OFF_US   (2 * SECOND_US)   /* after the first failure; twice as long after each further one */
#define BACK_OFF_MOST (300 * SECOND_US) /* but no longer */
#define NAME_MOST     254
#define NO_NAME       "-"

/* What the Pod remembers of the operation of its mark. */
struct memory {
        char name[NAME_MOST]; /* "-": none now */
        unsigned failures;
        uint64_t not_before_us;
};

struct evacuation {
        struct turn *turn;
        struct arena *arena;
        const struct cache *cache;
        const struct cache_object *machine, *pod;
        const char *node; /* that it leaves */
        struct memory memory;
};

/* --- memory --- */

static struct memory memory_of(const struct cache_object *pod)
{
        const char *text = object_annotation(pod, ANNOTATION_EVACUATION);
        struct memory memory = {.name = NO_NAME};

        if (!text || sscanf(text, "%253s %u %" SCNu64, memory.name, &memory.failures, &memory.not_before_us) != 3)
                return (struct memory){.name = NO_NAME};
        return memory;
}

unsigned evacuation_failures(const struct cache_object *pod)
{
        assert(pod);
        return memory_of(pod).failures;
}

static void remember(const struct evacuation *evacuation, const char *name, unsigned failures, uint64_t not_before_us)
{
        turn_set_annotation(evacuation->turn, evacuation->pod, ANNOTATION_EVACUATION,
                            arena_printf(evacuation->arena, "%s %u %" PRIu64, name, failures, not_before_us));
}

static const char *phase_of(const struct cache_object *operation)
{
        const struct api_virtual_machine_operation *view = operation->view;

        return view->status && view->status->phase ? view->status->phase : "Pending";
}

/* --- the end of a mark --- */

static enum turn_result withdraw(const struct evacuation *evacuation, const char *words)
{
        char time[CLOCK_RFC3339_MAX];

        clock_format_rfc3339(turn_now_us(evacuation->turn), true, time);
        turn_set_annotation(evacuation->turn, evacuation->pod, ANNOTATION_EVICTION, NULL);
        turn_set_annotation(evacuation->turn, evacuation->pod, ANNOTATION_EVACUATION, NULL);
        turn_set_annotation(evacuation->turn, evacuation->pod, ANNOTATION_WITHDRAWN,
                            arena_printf(evacuation->arena, "%s %s", time, words));
        turn_event(evacuation->turn, evacuation->machine, false, REASON_EVICTION_WITHDRAWN,
                   arena_printf(evacuation->arena, "it stays on %s: %s", evacuation->node, words));
        return TURN_DONE;
}

/* Nobody asks for it any more: what has not begun is let be, what moves goes on. */
static enum turn_result let_be(const struct evacuation *evacuation, const struct cache_object *operation, const char *words)
{
        if (operation && strcmp(phase_of(operation), "InProgress") == 0)
                return TURN_WAIT;
        if (operation && strcmp(phase_of(operation), "Pending") == 0)
                turn_delete(evacuation->turn, operation);
        return withdraw(evacuation, words);
}

/* --- operations --- */

const char *evacuation_make(struct turn *turn, const struct cache_object *machine, const char *prefix)
{
        struct arena *arena = turn_arena(turn);
        struct api_owner_reference *owner = arena_new0(arena, struct api_owner_reference);
        struct api_object_meta *meta = arena_new0(arena, struct api_object_meta);
        struct api_virtual_machine_operation_spec spec = {.type = "Evict", .virtual_machine_name = machine->name};
        const char *name;

        assert(turn && machine && prefix);
        name = turn_random_name(turn, arena_printf(arena, "%s%.35s-", prefix, machine->name));
        *owner = (struct api_owner_reference){
                .api_version = "gabbro.dev/v1", .kind = "VirtualMachine", .name = machine->name, .uid = machine->uid};
        *meta = (struct api_object_meta){
                .name = name, .namespace = machine->namespace, .owner_references = owner, .n_owner_references = 1};
        turn_create(turn, &api_virtual_machine_operation_kind,
                    &(struct api_virtual_machine_operation){.metadata = meta, .spec = &spec});
        return name;
}

static void make_operation(const struct evacuation *evacuation)
{
        const char *name = evacuation_make(evacuation->turn, evacuation->machine, EVACUATION_PREFIX);

        remember(evacuation, name, evacuation->memory.failures, 0);
        turn_event(evacuation->turn, evacuation->machine, false, REASON_EVACUATION_BEGUN,
                   arena_printf(evacuation->arena, "it is to leave %s: operation %s", evacuation->node, name));
}

static enum turn_result failed(const struct evacuation *evacuation)
{
        unsigned failures = evacuation->memory.failures + 1;
        uint64_t pause_us = BACK_OFF_US << MIN(failures - 1, 10);

        pause_us = MIN(pause_us, BACK_OFF_MOST);
        remember(evacuation, NO_NAME, failures, turn_now_us(evacuation->turn) + pause_us);
        turn_again_in(evacuation->turn, pause_us);
        return TURN_WAIT;
}

static enum turn_result make_when_possible(const struct evacuation *evacuation)
{
        uint64_t now_us = turn_now_us(evacuation->turn);

        if (evacuation_under_way(evacuation->cache, evacuation->machine))
                return TURN_WAIT; /* its end brings the next turn */
        if (now_us < evacuation->memory.not_before_us) {
                turn_again_in(evacuation->turn, evacuation->memory.not_before_us - now_us);
                return TURN_WAIT;
        }
        if (evacuation_look(evacuation->cache, evacuation->machine, evacuation->arena).way == EVACUATION_MOVES)
                make_operation(evacuation);
        else
                turn_again_in(evacuation->turn, LOOK_AGAIN_US);
        return TURN_WAIT;
}

static enum turn_result follow(const struct evacuation *evacuation)
{
        const char *mark = object_annotation(evacuation->pod, ANNOTATION_EVICTION);
        bool named = strcmp(evacuation->memory.name, NO_NAME) != 0;
        const struct cache_object *operation = named ? cache_get(evacuation->cache, &api_virtual_machine_operation_kind,
                                                                 evacuation->machine->namespace, evacuation->memory.name)
                                                     : NULL;

        if (object_deleting(evacuation->machine))
                return TURN_DONE;
        if (named && (!operation || object_deleting(operation)))
                return withdraw(evacuation, arena_printf(evacuation->arena, "operation %s was deleted", evacuation->memory.name));
        if (g_str_has_prefix(mark, "drain ") && !evacuation_cordoned(evacuation->cache, evacuation->node))
                return let_be(evacuation, operation,
                              arena_printf(evacuation->arena, "host %s takes machines again", evacuation->node));
        if (g_str_has_prefix(mark, EVICTION_REBOOT) &&
            !node_operation_moves(evacuation->cache, evacuation->node, evacuation->machine->uid))
                return let_be(
                        evacuation, operation,
                        arena_printf(evacuation->arena, "the reboot of host %s does not wait for it any more", evacuation->node));
        if (!named)
                return make_when_possible(evacuation);
        return strcmp(phase_of(operation), "Failed") == 0 ? failed(evacuation) : TURN_WAIT;
}

static enum turn_result evacuation_turn(struct turn *turn, const struct cache_object *machine)
{
        const struct cache *cache = turn_cache(turn);
        const struct cache_object *pod = cache_get(cache, &api_pod_kind, machine->namespace, machine->name);
        const struct api_pod *view = pod ? pod->view : NULL;
        struct evacuation evacuation = {.turn = turn,
                                        .arena = turn_arena(turn),
                                        .cache = cache,
                                        .machine = machine,
                                        .pod = pod,
                                        .node = view && view->spec ? view->spec->node_name : NULL};

        if (!pod || !evacuation.node || object_deleting(pod) || !object_owned_by(pod, machine->uid) ||
            !object_annotation(pod, ANNOTATION_EVICTION))
                return evacuation_update(turn, machine);
        evacuation.memory = memory_of(pod);
        turn_depends(turn, pod);
        return follow(&evacuation);
}

/* --- relations --- */

static void evacuation_related(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                               struct workqueue *queue)
{
        const struct cache_object *object = now ? now : before;

        if (object->kind == &api_pod_kind) {
                controller_enqueue(queue, object->namespace, object->name);
        } else if (object->kind == &api_virtual_machine_operation_kind) {
                const struct api_virtual_machine_operation *view = object->view;

                controller_enqueue(queue, object->namespace, view->spec->virtual_machine_name);
        } else if (object->kind == &api_node_kind && (!before || !now || node_moved(before, now))) {
                index_enqueue(cache, INDEX_VM_BY_NODE, object->name, queue);
        } else if (object->kind == &api_node_operation_kind) {
                index_enqueue(cache, INDEX_VM_BY_NODE, ((const struct api_node_operation *)object->view)->spec->node_name, queue);
        } else if (object->kind == &api_virtual_machine_class_kind && object_moved(before, now)) {
                index_enqueue(cache, INDEX_VM_BY_CLASS, object->name, queue);
        }
}

const struct controller evacuation_controller = {
        .name = "evacuation",
        .kind = &api_virtual_machine_kind,
        .turn = evacuation_turn,
        .related = evacuation_related,
};
