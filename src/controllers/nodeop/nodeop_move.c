/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/evacuation/evacuation.h"
#include "controllers/nodeop/nodeop_private.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

#define FAILURES_MOST 3 /* moves of one machine that fail before it is shut down instead */
#define ROOM_LEAST    8 /* objects of a turn that are left to its own status, finalizer and node */

struct move {
        struct node_op *op;
        bool late;
        const struct cache_object *machine, *instance, *pod; /* pod: of this host, or NULL */
        struct api_node_operation_machine *row;
};

/* --- looking --- */

static bool is(const char *text, const char *wanted)
{
        return g_strcmp0(text, wanted) == 0;
}

static bool is_here(const struct move *move)
{
        return is(((const struct api_instance *)move->instance->view)->spec->node_name, move->op->spec->node_name);
}

static const struct cache_object *pod_of(const struct move *move)
{
        const struct cache_object *pod = cache_get(move->op->cache, &api_pod_kind, move->machine->namespace, move->machine->name);
        const struct api_pod *view = pod ? pod->view : NULL;

        return pod && !object_deleting(pod) && object_owned_by(pod, move->machine->uid) && view->spec &&
                               is(view->spec->node_name, move->op->spec->node_name)
                       ? pod
                       : NULL;
}

/* Why its latest evacuation failed, or NULL. */
static const char *failure_words(const struct move *move)
{
        const char *key = arena_printf(move->op->arena, "%s/%s", move->machine->namespace, move->machine->name);
        g_autoptr(GPtrArray) all = cache_lookup(move->op->cache, INDEX_OPERATION_BY_VM, key);
        const char *words = NULL;
        uint64_t newest_us = 0;

        for (guint i = 0; all && i < all->len; i++) {
                const struct cache_object *operation = all->pdata[i];
                const struct api_virtual_machine_operation *view = operation->view;
                uint64_t made_us = time_us(object_meta(operation)->creation_timestamp);
                const struct api_condition *said =
                        view->status ? condition_get(view->status->conditions, view->status->n_conditions, "Completed") : NULL;

                if (g_str_has_prefix(operation->name, EVACUATION_PREFIX) && said && is(view->status->phase, "Failed") &&
                    made_us >= newest_us) {
                        newest_us = made_us;
                        words = said->message;
                }
        }
        return words;
}

/* --- what becomes of one --- */

static void stays(const struct move *move, const char *words)
{
        move->row->state = STATE_STAYING;
        move->row->message = words;
        turn_event(move->op->turn, move->op->object, true, REASON_MACHINES_MOVE,
                   arena_printf(move->op->arena, "machine %s/%s is shut down instead of moved: %s", move->row->namespace,
                                move->row->name, words));
}

/* For one more object; the others come in a later turn. */
static bool has_room(const struct move *move)
{
        if (turn_room(move->op->turn) > ROOM_LEAST)
                return true;
        turn_again_in(move->op->turn, 0);
        return false;
}

static void tell_to_leave(const struct move *move)
{
        char time[CLOCK_RFC3339_MAX];

        if (!has_room(move))
                return;
        turn_set_annotation(
                move->op->turn, move->pod, ANNOTATION_EVICTION, /* of a drain, too: an uncordon shall not end in a stop */
                arena_printf(move->op->arena, EVICTION_REBOOT "%s", clock_format_rfc3339(turn_now_us(move->op->turn), true, time)));
        turn_set_annotation(move->op->turn, move->pod, ANNOTATION_WITHDRAWN, NULL);
        move->row->state = STATE_MOVING;
}

/* Told to leave, and nothing of it is under way. */
static void look_at_told(const struct move *move, const struct evacuation_look *look)
{
        const char *withdrawn = move->pod ? object_annotation(move->pod, ANNOTATION_WITHDRAWN) : NULL;
        const char *mark = move->pod ? object_annotation(move->pod, ANNOTATION_EVICTION) : NULL;
        const char *words;

        if (!mark && withdrawn && strchr(withdrawn, ' '))
                stays(move, arena_printf(move->op->arena, "its move was called off: %s", strchr(withdrawn, ' ') + 1));
        else if (!mark && move->pod)
                move->row->state = STATE_WAITING; /* it began anew here, with another Pod */
        else if (mark && evacuation_failures(move->pod) >= FAILURES_MOST) {
                words = failure_words(move);
                stays(move, arena_printf(move->op->arena, "%u moves of it failed, the last one: %s", evacuation_failures(move->pod),
                                         words ?: "unknown"));
        } else if (look->way == EVACUATION_FULL || look->way == EVACUATION_STAYS)
                stays(move, look->words);
}

static void look_at_waiting(const struct move *move, const struct evacuation_look *look)
{
        if (look->way == EVACUATION_FULL || look->way == EVACUATION_STAYS)
                stays(move, look->words);
        else if (look->way == EVACUATION_MOVES && move->pod)
                tell_to_leave(move);
}

/* Time is up: a move on its way is called off; what has not begun is not waited for. */
static void look_when_late(const struct move *move, const struct cache_object *operation)
{
        if (operation && g_str_has_prefix(operation->name, EVACUATION_PREFIX)) {
                if (!object_deleting(operation) && has_room(move))
                        turn_delete(move->op->turn, operation);
        } else {
                stays(move, "it has not left in the time that the operation gave it");
        }
}

static void look_at(struct move *move)
{
        struct node_op *op = move->op;
        const struct cache_object *operation;
        struct evacuation_look look;

        move->machine = cache_by_uid(op->cache, move->row->uid);
        move->instance = index_one(op->cache, INDEX_INSTANCE_BY_MACHINE, move->row->uid);
        if (!move->machine || object_deleting(move->machine) || !move->instance ||
            (is_here(move) && !instance_active(move->instance))) {
                move->row->state = STATE_LEFT;
                return;
        }
        if (!is_here(move)) {
                move->row->state = STATE_MOVED;
                move->row->message = NULL;
                return;
        }
        if (is(move->row->state, STATE_STAYING))
                return;
        operation = evacuation_under_way(op->cache, move->machine);
        if (move->late) {
                look_when_late(move, operation);
                return;
        }
        if (operation)
                return; /* its end brings the next turn */
        move->pod = pod_of(move);
        look = evacuation_look(op->cache, move->machine, op->arena);
        if (is(move->row->state, STATE_MOVING))
                look_at_told(move, &look);
        else
                look_at_waiting(move, &look);
}

/* --- all of them --- */

/* Halves of moves to and from the host. */
static size_t count_standby(const struct node_op *op)
{
        g_autoptr(GPtrArray) instances = cache_lookup(op->cache, INDEX_INSTANCE_BY_NODE, op->spec->node_name);
        size_t n = 0;

        for (guint i = 0; instances && i < instances->len; i++)
                n += object_is_standby(instances->pdata[i]);
        return n;
}

size_t nodeop_move(struct node_op *op, bool late)
{
        size_t n = late ? 0 : count_standby(op);
        struct api_node_operation_machine *list;

        assert(op && op->node);
        list = arena_array(op->arena, op->status.n_machines, sizeof(*list));
        for (size_t i = 0; i < op->status.n_machines; i++) {
                struct move move = {.op = op, .late = late, .row = &list[i]};

                list[i] = op->status.machines[i];
                if (!is(list[i].state, STATE_LEFT) && !is(list[i].state, STATE_MOVED))
                        look_at(&move);
                n += is(list[i].state, STATE_WAITING) || is(list[i].state, STATE_MOVING);
        }
        op->status.machines = list;
        return n;
}
