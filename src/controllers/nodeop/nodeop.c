/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/nodeop/nodeop_private.h"

#include "controllers/object.h"
#include "generated/reasons.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define REBOOT          "Reboot"
#define MACHINES_MOST   5000
#define NAMES_MOST      5
#define START_TIMEOUT_S 900               /* for machines that do not come up: the operation ends and names them */
#define LOOK_AGAIN_US   (10 * 1000000ull) /* at machines that move: what keeps one ends without an event of it */

static bool is(const char *text, const char *wanted)
{
        return g_strcmp0(text, wanted) == 0;
}

static bool is_over(const struct api_node_operation *operation)
{
        const char *phase = operation->status ? operation->status->phase : NULL;

        return is(phase, "Completed") || is(phase, "Failed");
}

/* --- what others ask --- */

const struct cache_object *node_operation_of(const struct cache *cache, const char *node)
{
        const struct cache_object *object = node ? cache_get(cache, &api_node_kind, NULL, node) : NULL, *operation;
        const char *name = object ? object_annotation(object, ANNOTATION_NODE_OPERATION) : NULL;

        operation = name ? cache_get(cache, &api_node_operation_kind, NULL, name) : NULL;
        return operation && !is_over(operation->view) ? operation : NULL;
}

enum power_hold node_operation_hold(const struct cache *cache, const char *node, const char *machine_uid)
{
        const struct cache_object *object = node_operation_of(cache, node);
        const struct api_node_operation *operation = object ? object->view : NULL;

        if (!operation || !operation->status || !operation->status->step || is(operation->status->step, STEP_MOVING))
                return HOLD_NONE;
        if (!is(operation->status->step, STEP_STARTING))
                return HOLD_OFF;
        for (size_t i = 0; i < operation->status->n_machines; i++)
                if (is(operation->status->machines[i].uid, machine_uid))
                        return is(operation->status->machines[i].state, STATE_STARTING) ? HOLD_ON : HOLD_NONE;
        return HOLD_NONE;
}

bool node_operation_bars(const struct cache *cache, const char *node, const char **ret_name)
{
        const struct cache_object *object = node_operation_of(cache, node);
        const struct api_node_operation *operation = object ? object->view : NULL;

        if (!operation || !operation->status || is(operation->status->step, STEP_STARTING))
                return false;
        *ret_name = object->name;
        return true;
}

bool node_operation_moves(const struct cache *cache, const char *node, const char *machine_uid)
{
        const struct cache_object *object = node_operation_of(cache, node);
        const struct api_node_operation *operation = object ? object->view : NULL;

        if (!operation || object_deleting(object) || !operation->status || !is(operation->status->step, STEP_MOVING))
                return false;
        for (size_t i = 0; i < operation->status->n_machines; i++)
                if (is(operation->status->machines[i].uid, machine_uid))
                        return is(operation->status->machines[i].state, STATE_MOVING);
        return false;
}

/* --- words --- */

static void say(struct node_op *op, const char *reason, const char *words)
{
        conditions_say(&op->conditions, "Completed", "False", reason, "%s", words);
}

static void begin_step(struct node_op *op, const char *step)
{
        char time[CLOCK_RFC3339_MAX];

        op->status.step = step;
        op->status.step_time = arena_strdup(op->arena, clock_format_rfc3339(turn_now_us(op->turn), false, time));
}

static enum turn_result finish(struct node_op *op, const char *phase, const char *status, const char *reason, const char *words)
{
        op->status.phase = phase;
        op->status.step = NULL;
        conditions_say(&op->conditions, "Completed", status, reason, "%s", words);
        turn_event(op->turn, op->object, strcmp(status, "True") != 0, reason, words);
        if (op->node && is(object_annotation(op->node, ANNOTATION_NODE_OPERATION), op->object->name)) {
                turn_set_annotation(op->turn, op->node, ANNOTATION_NODE_OPERATION, NULL);
                turn_event(op->turn, op->node, strcmp(status, "True") != 0, reason, words);
        }
        return TURN_DONE;
}

/* "3 machines, default/a, default/b and 1 more" */
static const char *names_in(struct node_op *op, const char *state)
{
        GString *text = g_string_new(NULL);
        const char *ret;
        size_t n = 0;

        for (size_t i = 0; i < op->status.n_machines; i++) {
                const struct api_node_operation_machine *machine = &op->status.machines[i];

                if (!is(machine->state, state))
                        continue;
                if (n++ < NAMES_MOST)
                        g_string_append_printf(text, "%s%s/%s", n > 1 ? ", " : "", machine->namespace, machine->name);
        }
        if (n > NAMES_MOST)
                g_string_append_printf(text, " and %zu more", n - NAMES_MOST);
        ret = n ? arena_strdup(op->arena, text->str) : NULL;
        g_string_free(text, TRUE);
        return ret;
}

static size_t count_in(const struct node_op *op, const char *state)
{
        size_t n = 0;

        for (size_t i = 0; i < op->status.n_machines; i++)
                n += is(op->status.machines[i].state, state);
        return n;
}

/* --- the node --- */

static const struct api_node_status *node_status(const struct node_op *op)
{
        return op->node ? ((const struct api_node *)op->node->view)->status : NULL;
}

static bool node_ready(const struct node_op *op)
{
        const struct api_node_status *status = node_status(op);

        for (size_t i = 0; status && i < status->n_conditions; i++)
                if (is(status->conditions[i].type, "Ready"))
                        return is(status->conditions[i].status, "True");
        return false;
}

static const char *boot_id(const struct node_op *op)
{
        const struct api_node_status *status = node_status(op);

        return status && status->node_info ? status->node_info->boot_id : NULL;
}

/* --- machines --- */

static const struct api_instance *instance_of(const struct node_op *op, const struct api_node_operation_machine *machine)
{
        const struct cache_object *instance = index_one(op->cache, INDEX_INSTANCE_BY_MACHINE, machine->uid);

        return instance ? instance->view : NULL;
}

static const char *state_now(const struct node_op *op, const struct api_node_operation_machine *machine)
{
        const struct cache_object *vm = cache_by_uid(op->cache, machine->uid);
        const struct cache_object *instance = index_one(op->cache, INDEX_INSTANCE_BY_MACHINE, machine->uid);
        const struct api_instance *view = instance_of(op, machine);
        const char *state = view && view->status ? view->status->state : NULL;

        if (!vm || object_deleting(vm) || !view)
                return STATE_LEFT;
        if (is(op->status.step, STEP_STARTING)) { /* here, or on another host that had room for it */
                bool up = is(view->spec->power, "On") && state && view->status->epoch >= view->spec->epoch && is(state, "running");

                return is(machine->state, STATE_STARTED) || up ? STATE_STARTED : STATE_STARTING;
        }
        if (!is(view->spec->node_name, op->spec->node_name))
                return STATE_LEFT;
        return instance_active(instance) ? STATE_STOPPING : STATE_STOPPED;
}

/* For good: the operation does nothing more to it. */
static bool is_gone(const struct api_node_operation_machine *machine)
{
        return is(machine->state, STATE_LEFT) || is(machine->state, STATE_MOVED);
}

static void look_at_machines(struct node_op *op)
{
        struct api_node_operation_machine *list = arena_array(op->arena, op->status.n_machines, sizeof(*list));

        for (size_t i = 0; i < op->status.n_machines; i++) {
                list[i] = op->status.machines[i];
                if (!is_gone(&list[i]))
                        list[i].state = state_now(op, &list[i]);
        }
        op->status.machines = list;
}

static bool is_written_down(const struct node_op *op, const char *uid)
{
        for (size_t i = 0; i < op->status.n_machines; i++)
                if (is(op->status.machines[i].uid, uid))
                        return true;
        return false;
}

/* What runs there now and is not in the list yet: at the beginning all, later what was being started meanwhile, or has arrived. */
static void write_down(struct node_op *op)
{
        g_autoptr(GPtrArray) instances = cache_lookup(op->cache, INDEX_INSTANCE_BY_NODE, op->spec->node_name);
        size_t n = op->status.n_machines, room = MIN(n + (instances ? instances->len : 0), MACHINES_MOST);
        struct api_node_operation_machine *list = arena_array(op->arena, room, sizeof(*list));
        const char *state = is(op->status.step, STEP_STOPPING) || !is(op->spec->machines, "Move") ? STATE_STOPPING : STATE_WAITING;

        for (size_t i = 0; i < n; i++)
                list[i] = op->status.machines[i];
        for (guint i = 0; instances && i < instances->len && n < room; i++) {
                const struct cache_object *instance = instances->pdata[i];
                const struct api_machine_ref *machine = ((const struct api_instance *)instance->view)->spec->machine;

                if (machine && is(((const struct api_instance *)instance->view)->spec->power, "On") && instance_active(instance) &&
                    !object_is_standby(instance) && !is_written_down(op, machine->uid))
                        list[n++] = (struct api_node_operation_machine){
                                .uid = machine->uid, .namespace = machine->namespace, .name = machine->name, .state = state};
        }
        op->status.machines = list;
        op->status.n_machines = n;
}

/* The suspended ones among them, or NULL. */
static const char *suspended_names(struct node_op *op)
{
        const char *names = NULL;

        for (size_t i = 0; i < op->status.n_machines; i++) {
                const struct api_node_operation_machine *machine = &op->status.machines[i];
                const struct api_instance *view = instance_of(op, machine);

                if (view && view->status && is(view->status->state, "paused") && is(view->spec->node_name, op->spec->node_name))
                        names = arena_printf(op->arena, "%s%s%s/%s", names ? names : "", names ? ", " : "", machine->namespace,
                                             machine->name);
        }
        return names;
}

/* --- steps --- */

static enum turn_result refuse_suspended(struct node_op *op, const char *names)
{
        return finish(op, "Failed", "False", REASON_MACHINES_SUSPENDED,
                      arena_printf(op->arena,
                                   "suspended machines would lose what is in their memory: %s; resume or stop them, or say force",
                                   names));
}

static enum turn_result begin_stops(struct node_op *op)
{
        struct api_node_operation_machine *list = arena_array(op->arena, op->status.n_machines, sizeof(*list));
        const char *words = op->spec->force ? NULL : suspended_names(op);

        if (words)
                return refuse_suspended(op, words);
        for (size_t i = 0; i < op->status.n_machines; i++) {
                list[i] = op->status.machines[i];
                if (!is_gone(&list[i]))
                        list[i].state = STATE_STOPPING;
        }
        op->status.machines = list;
        begin_step(op, STEP_STOPPING);
        words = arena_printf(op->arena, "%zu machines are shut down before the host is rebooted", count_in(op, STATE_STOPPING));
        say(op, REASON_MACHINES_STOP, words);
        turn_event(op->turn, op->node, false, REASON_MACHINES_STOP, words);
        return TURN_WAIT;
}

static enum turn_result begin_moves(struct node_op *op)
{
        const char *words = arena_printf(op->arena, "%zu machines are to leave before the host is rebooted", op->status.n_machines);

        begin_step(op, STEP_MOVING);
        say(op, REASON_MACHINES_MOVE, words);
        turn_event(op->turn, op->node, false, REASON_MACHINES_MOVE, words);
        return TURN_WAIT;
}

static const struct cache_object *earlier_one(const struct node_op *op)
{
        const struct cache_object *other = node_operation_of(op->cache, op->spec->node_name);

        return other && other != op->object && strcmp(other->uid, op->object->uid) != 0 ? other : NULL;
}

static enum turn_result take_up(struct node_op *op)
{
        const struct cache_object *other = earlier_one(op);
        const char *words;

        op->status.phase = "Pending";
        if (!op->node)
                return finish(op, "Failed", "False", REASON_NODE_NOT_FOUND,
                              arena_printf(op->arena, "there is no node %s", op->spec->node_name));
        if (other) {
                say(op, REASON_NODE_OPERATION_WAITS,
                    arena_printf(op->arena, "NodeOperation %s is under way on the node", other->name));
                return TURN_WAIT;
        }
        if (!node_ready(op) || !boot_id(op))
                return finish(op, "Failed", "False", REASON_NODE_NOT_READY,
                              arena_printf(op->arena, "node %s is not ready: nobody there could carry it out", op->node->name));
        write_down(op);
        words = op->spec->force ? NULL : suspended_names(op);
        if (words)
                return refuse_suspended(op, words);
        op->status.boot_id = boot_id(op);
        op->status.phase = "InProgress";
        turn_add_finalizer(op->turn, op->object, FINALIZER_OPERATION);
        turn_set_annotation(op->turn, op->node, ANNOTATION_NODE_OPERATION, op->object->name);
        return is(op->spec->machines, "Move") ? begin_moves(op) : begin_stops(op);
}

static void create_task(struct node_op *op)
{
        struct intent_owner owner = intent_owner_of(op->object);
        const char *name = intent_name(op->arena, 't', owner.uid, 0);
        struct api_object_ref ref = {.kind = owner.kind, .name = owner.name, .uid = owner.uid};
        struct api_host_task_spec spec = {.node_name = op->spec->node_name,
                                          .owner = &ref,
                                          .type = REBOOT,
                                          .boot_id = op->status.boot_id,
                                          .force = op->spec->force,
                                          .has_force = op->spec->force};
        struct api_host_task task = {.metadata = intent_meta(op->arena, &owner, name, spec.node_name), .spec = &spec};

        turn_create(op->turn, &api_host_task_kind, &task);
}

static enum turn_result wait_for_stops(struct node_op *op)
{
        const char *left;

        write_down(op);
        left = names_in(op, STATE_STOPPING);
        if (left) {
                say(op, REASON_MACHINES_STOP,
                    arena_printf(op->arena, "%zu of %zu machines are still being shut down: %s", count_in(op, STATE_STOPPING),
                                 op->status.n_machines, left));
                return TURN_WAIT;
        }
        create_task(op);
        begin_step(op, STEP_REBOOTING);
        say(op, REASON_HOST_REBOOTS, "the host is told to reboot");
        turn_event(op->turn, op->node, false, REASON_HOST_REBOOTS, "all its machines are off; the host reboots");
        return TURN_WAIT;
}

static enum turn_result begin_starts(struct node_op *op)
{
        struct api_node_operation_machine *list = arena_array(op->arena, op->status.n_machines, sizeof(*list));

        for (size_t i = 0; i < op->status.n_machines; i++) {
                list[i] = op->status.machines[i];
                if (!is_gone(&list[i]))
                        list[i].state = STATE_STARTING;
        }
        op->status.machines = list;
        begin_step(op, STEP_STARTING);
        say(op, REASON_MACHINES_START, "the host is back; its machines start");
        turn_event(op->turn, op->node, false, REASON_MACHINES_START, "the host is back; the machines that ran start");
        return TURN_WAIT;
}

/* Since the step began; it is looked at again when @limit_s are over. */
static bool takes_longer(struct node_op *op, uint64_t limit_s)
{
        uint64_t end_us = time_us(op->status.step_time) + limit_s * 1000000;

        if (turn_now_us(op->turn) >= end_us)
                return true;
        turn_again_in(op->turn, end_us - turn_now_us(op->turn));
        return false;
}

static enum turn_result wait_for_moves(struct node_op *op)
{
        uint64_t limit_s = op->spec->has_move_timeout_seconds ? (uint64_t)op->spec->move_timeout_seconds : 3600;
        bool late = takes_longer(op, limit_s);
        size_t left;

        write_down(op);
        left = nodeop_move(op, late);
        if (left == 0)
                return begin_stops(op);
        say(op, REASON_MACHINES_MOVE,
            arena_printf(op->arena, "%zu of %zu machines are still to leave: %s", left, op->status.n_machines,
                         names_in(op, STATE_MOVING) ?: names_in(op, STATE_WAITING) ?: "one that comes or has just left"));
        turn_again_in(op->turn, LOOK_AGAIN_US);
        return TURN_WAIT;
}

static enum turn_result wait_for_boot(struct node_op *op)
{
        const struct cache_object *object = index_one(op->cache, INDEX_TASK_BY_OWNER, op->object->uid);
        const struct api_host_task *task = object ? object->view : NULL;
        const struct api_intent_error *error =
                task && task->status && is(task->status->state, "Failed") ? task->status->error : NULL;
        const char *boot = boot_id(op);

        if (boot && !is(boot, op->status.boot_id) && node_ready(op))
                return begin_starts(op);
        if (error) {
                /* The machines are wanted: what held them off ends with the operation, and those that ran start again. */
                conditions_say(&op->conditions, "Rebooted", "False", REASON_REBOOT_FAILED, "%s", error->message);
                return begin_starts(op);
        }
        say(op, REASON_HOST_REBOOTS, node_ready(op) ? "the host goes down" : "the host boots");
        if (!takes_longer(op, (uint64_t)(op->spec->has_boot_timeout_seconds ? op->spec->boot_timeout_seconds : 900)))
                return TURN_WAIT;
        return finish(op, "Failed", "False", REASON_HOST_NOT_BACK,
                      "the host did not come back in time; its machines start by their run policies when it does");
}

static enum turn_result wait_for_starts(struct node_op *op)
{
        const struct api_condition *rebooted = condition_get(op->status.conditions, op->status.n_conditions, "Rebooted");
        const char *left = names_in(op, STATE_STARTING);

        if (left && !takes_longer(op, START_TIMEOUT_S)) {
                say(op, REASON_MACHINES_START,
                    arena_printf(op->arena, "%zu of %zu machines are still being started: %s", count_in(op, STATE_STARTING),
                                 op->status.n_machines, left));
                return TURN_WAIT;
        }
        if (rebooted && is(rebooted->status, "False"))
                return finish(op, "Failed", "False", REASON_REBOOT_FAILED, rebooted->message);
        if (left)
                return finish(op, "Failed", "False", REASON_MACHINES_NOT_STARTED,
                              arena_printf(op->arena, "the host was rebooted; not running again: %s", left));
        if (count_in(op, STATE_MOVED) > 0)
                return finish(op, "Completed", "True", REASON_HOST_REBOOTED,
                              arena_printf(op->arena,
                                           "the host was rebooted; %zu machines have moved to other hosts before, and the %zu that "
                                           "were shut down run again",
                                           count_in(op, STATE_MOVED), count_in(op, STATE_STARTED)));
        return finish(op, "Completed", "True", REASON_HOST_REBOOTED,
                      arena_printf(op->arena, "the host was rebooted, and the %zu machines that ran run again",
                                   count_in(op, STATE_STARTED)));
}

/* Deleted while it is under way: the machines are not held off any more. A host that reboots already cannot be called back. */
static enum turn_result cancel(struct node_op *op)
{
        if (is(op->status.step, STEP_MOVING))
                return finish(op, "Failed", "False", REASON_OPERATION_CANCELLED,
                              "it was deleted while machines moved: those that have moved or are on their way stay there, the "
                              "others here");
        if (is(op->status.step, STEP_STOPPING))
                return begin_starts(op);
        return is(op->status.step, STEP_STARTING) ? wait_for_starts(op) : wait_for_boot(op);
}

/* The operation stays, as what was done; its task goes. */
static enum turn_result clean_up(struct node_op *op)
{
        const struct cache_object *object = index_one(op->cache, INDEX_TASK_BY_OWNER, op->object->uid);
        const struct api_host_task *task = object ? object->view : NULL;

        if (object && !intent_retire(op->turn, object, task->status ? task->status->state : NULL))
                return TURN_WAIT;
        turn_remove_finalizer(op->turn, op->object, FINALIZER_OPERATION);
        return TURN_DONE;
}

static enum turn_result step(struct node_op *op)
{
        if (!op->status.step)
                return object_deleting(op->object)
                               ? finish(op, "Failed", "False", REASON_OPERATION_CANCELLED, "it was deleted before it began")
                               : take_up(op);
        if (!op->node)
                return finish(op, "Failed", "False", REASON_NODE_NOT_FOUND, "the node was removed meanwhile");
        if (!is(op->status.step, STEP_MOVING))
                look_at_machines(op);
        if (object_deleting(op->object))
                return cancel(op);
        if (is(op->status.step, STEP_MOVING))
                return wait_for_moves(op);
        if (is(op->status.step, STEP_STOPPING))
                return wait_for_stops(op);
        return is(op->status.step, STEP_REBOOTING) ? wait_for_boot(op) : wait_for_starts(op);
}

static enum turn_result node_operation_turn(struct turn *turn, const struct cache_object *object)
{
        const struct api_node_operation *view = object->view;
        struct node_op op = {
                .turn = turn,
                .arena = turn_arena(turn),
                .cache = turn_cache(turn),
                .object = object,
                .spec = view->spec,
                .status = view->status ? *view->status : (struct api_node_operation_status){0},
        };
        enum turn_result result;

        if (is_over(view))
                return clean_up(&op);
        op.node = cache_get(op.cache, &api_node_kind, NULL, op.spec->node_name);
        op.conditions = (struct conditions){
                .arena = op.arena,
                .list = &op.status.conditions,
                .n = &op.status.n_conditions,
                .generation = object_meta(object)->generation,
                .now_us = turn_now_us(turn),
        };
        op.status.observed_generation = op.conditions.generation;
        op.status.has_observed_generation = true;
        result = step(&op);
        turn_update_status(turn, object, &op.status);
        return result;
}

/* --- relations --- */

static void enqueue_of_node(const struct cache *cache, const char *node, struct workqueue *queue)
{
        index_enqueue(cache, INDEX_NODE_OPERATION_BY_NODE, node, queue);
}

static void enqueue_of_machine(const struct cache *cache, const char *namespace, const char *name, struct workqueue *queue)
{
        const struct cache_object *machine = cache_get(cache, &api_virtual_machine_kind, namespace, name);
        const struct cache_object *instance = machine ? index_one(cache, INDEX_INSTANCE_BY_MACHINE, machine->uid) : NULL;

        if (instance)
                enqueue_of_node(cache, ((const struct api_instance *)instance->view)->spec->node_name, queue);
}

static void node_operation_related(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                                   struct workqueue *queue)
{
        const struct cache_object *object = now ? now : before;

        if (object->kind == &api_node_kind) {
                enqueue_of_node(cache, object->name, queue);
        } else if (object->kind == &api_node_operation_kind) {
                enqueue_of_node(cache, ((const struct api_node_operation *)object->view)->spec->node_name, queue);
        } else if (object->kind == &api_instance_kind) {
                const struct api_instance *instance = object->view;

                if (instance->spec)
                        enqueue_of_node(cache, instance->spec->node_name, queue);
        } else if (object->kind == &api_pod_kind) { /* also the one that goes when its machine has left */
                const struct api_pod *pod = object->view;

                if (pod->spec && pod->spec->node_name)
                        enqueue_of_node(cache, pod->spec->node_name, queue);
        } else if (object->kind == &api_virtual_machine_operation_kind) {
                enqueue_of_machine(cache, object->namespace,
                                   ((const struct api_virtual_machine_operation *)object->view)->spec->virtual_machine_name, queue);
        } else if (object->kind == &api_host_task_kind) {
                const struct api_host_task *task = object->view;

                if (task->spec && is(task->spec->type, REBOOT) && task->spec->owner)
                        controller_enqueue(queue, NULL, task->spec->owner->name);
        }
}

const struct controller node_operation_controller = {
        .name = "nodeoperation",
        .kind = &api_node_operation_kind,
        .turn = node_operation_turn,
        .related = node_operation_related,
};
