/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/operation/operation_private.h"

#include "controllers/migration/migration.h"
#include "controllers/object.h"
#include "controllers/vm/redeploy.h"
#include "generated/reasons.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define SLACK_US                 60000000ull              /* besides the grace period of the machine */
#define KEEP_US                  (24 * 3600 * 1000000ull) /* finished operations are kept this long */
#define KEEP_MOST                10                       /* and so many of one machine */
#define ANNOTATION_POWER_REQUEST "gabbro.dev/power-request"

static bool phase_finished(const char *phase)
{
        static const char *const finished[] = {"Completed", "Failed", "Superseded"};

        return phase && strings_hold(finished, G_N_ELEMENTS(finished), phase);
}

static const char *phase_of(const struct cache_object *object)
{
        const struct api_virtual_machine_operation *view = object->view;

        return view->status ? view->status->phase : NULL;
}

/* How long a guest may take; it is not asked when its host suspends, resumes or resets it. */
static int64_t grace_seconds(const struct op *op)
{
        if (op->order == ORDER_SUSPEND || op->order == ORDER_RESUME || op->order == ORDER_RESET)
                return 0;
        return op->vm && op->vm->spec->has_termination_grace_period_seconds ? op->vm->spec->termination_grace_period_seconds : 60;
}

/* --- ends --- */

enum turn_result op_finish(struct op *op, const char *phase, const char *status, const char *reason, const char *words)
{
        bool failed = strcmp(phase, "Failed") == 0;

        assert(op && words);
        op->status.phase = phase;
        op->status.progress = failed ? op->status.progress : "100%";
        conditions_say(&op->conditions, "Completed", status, reason, "%s", words);
        turn_update_status(op->turn, op->object, &op->status);
        turn_remove_finalizer(op->turn, op->object, FINALIZER_OPERATION);
        turn_event(op->turn, op->object, failed,
                   failed ? REASON_VIRTUAL_MACHINE_OPERATION_FAILED : REASON_VIRTUAL_MACHINE_OPERATION_SUCCEEDED, words);
        return TURN_DONE;
}

enum turn_result op_fail(struct op *op, const char *reason, const char *words)
{
        assert(op && reason && words);
        return op_finish(op, "Failed", "False", reason, words);
}

enum turn_result op_wait(struct op *op, const char *phase, const char *reason, const char *words)
{
        assert(op && phase && reason && words);
        op->status.phase = phase;
        conditions_say(&op->conditions, "Completed", "False", reason, "%s", words);
        turn_update_status(op->turn, op->object, &op->status);
        return TURN_WAIT;
}

/* --- one at a time --- */

static bool is_older(const struct cache_object *a, const struct cache_object *b)
{
        uint64_t left = object_created_us(a), right = object_created_us(b);

        return left != right ? left < right : strcmp(a->name, b->name) < 0;
}

struct rivals {
        const struct cache_object *older;      /* unfinished, and not ended by this one */
        bool waits;                            /* an older one must still hear that it is superseded */
        const struct cache_object *superseder; /* newer, ends this one */
};

static bool supersedes(const struct cache_object *newer, const struct cache_object *older)
{
        const struct api_virtual_machine_operation *a = newer->view, *b = older->view;
        enum power_order strong, weak;

        if (power_order_from_text(a->spec->type, &strong) != 0 || power_order_from_text(b->spec->type, &weak) != 0)
                return false;
        return operation_supersedes(strong, a->spec->force, weak, b->spec->force);
}

static void find_rivals(const struct op *op, struct rivals *ret)
{
        g_autofree char *key = g_strdup_printf("%s/%s", op->object->namespace, op->view->spec->virtual_machine_name);
        g_autoptr(GPtrArray) all = cache_lookup(op->cache, INDEX_OPERATION_BY_VM, key);

        *ret = (struct rivals){0};
        for (guint i = 0; all && i < all->len; i++) {
                const struct cache_object *other = all->pdata[i];

                if (other == op->object || phase_finished(phase_of(other)) || object_deleting(other))
                        continue;
                if (!is_older(other, op->object)) {
                        if (supersedes(other, op->object))
                                ret->superseder = other;
                } else if (supersedes(op->object, other)) {
                        ret->waits = true;
                } else if (!ret->older) {
                        ret->older = other;
                }
        }
}

/* --- steps --- */

/* It ended again and again and waits for its next start. */
static bool is_in_back_off(const struct op *op, enum vm_phase phase)
{
        const struct api_virtual_machine_status *status = op->vm->status;
        const struct api_condition *running = condition_get(status->conditions, status->n_conditions, "Running");

        return phase == VM_PENDING && running && g_strcmp0(running->reason, REASON_BACK_OFF) == 0;
}

void op_take_up(struct op *op)
{
        assert(op && op->machine);
        turn_depends(op->turn, op->machine);
        turn_add_finalizer(op->turn, op->object, FINALIZER_OPERATION);
        turn_event(op->turn, op->object, false, REASON_VIRTUAL_MACHINE_OPERATION_STARTED,
                   arena_printf(turn_arena(op->turn), "%s of machine %s begins", op->view->spec->type, op->machine->name));
}

static bool is_migration(const struct op *op)
{
        return op->order == ORDER_MIGRATE || op->order == ORDER_EVICT;
}

static enum turn_result op_begin(struct op *op)
{
        struct arena *arena = turn_arena(op->turn);
        enum run_policy policy;
        enum vm_phase phase;
        const char *refusal, *words;

        if (!op->vm->status || !op->vm->status->phase || vm_phase_from_text(op->vm->status->phase, &phase) != 0)
                return op_wait(op, "Pending", REASON_PENDING, "waits until the machine was looked at");
        if (run_policy_from_text(op->vm->spec->run_policy ? op->vm->spec->run_policy : "", &policy) != 0)
                policy = RUN_UNLESS_STOPPED;
        if (op->order == ORDER_START && op->view->spec->force)
                return op_fail(op, REASON_FIELD_VALUE_FORBIDDEN, "a start cannot be forced");
        refusal = operation_refusal(op->order, op->view->spec->force, phase, policy);
        if (refusal && strcmp(refusal, REASON_NOT_APPLICABLE_FOR_VIRTUAL_MACHINE_PHASE) == 0 &&
            operation_rule(op->order)->hurries && is_in_back_off(op, phase))
                refusal = NULL;
        if (refusal && strcmp(refusal, REASON_NOT_APPLICABLE_FOR_VIRTUAL_MACHINE_RUN_POLICY) == 0)
                return op_fail(
                        op, refusal,
                        arena_printf(arena, "run policy %s does not allow %s", run_policy_to_text(policy), op->view->spec->type));
        if (refusal)
                return op_fail(op, refusal,
                               arena_printf(arena, "%s is not possible while the machine is %s: %s", op->view->spec->type,
                                            vm_phase_to_text(phase), operation_rule(op->order)->cells[phase].words));
        if (op->order == ORDER_REDEPLOY && (words = redeploy_refusal(op->cache, op->machine, arena)))
                return op_fail(op, REASON_NOT_READY_TO_BE_EXECUTED, words);
        if (op->order == ORDER_CLONE)
                return clone_begin(op);
        if (is_migration(op))
                return migration_begin(op);
        op_take_up(op);
        conditions_say(&op->conditions, "SignalSent", "False", REASON_PENDING, "the order is being given");
        return op_wait(op, "InProgress", operation_rule(op->order)->in_progress,
                       arena_printf(arena, "%s is under way", op->view->spec->type));
}

static bool is_sent(const struct op *op)
{
        const char *request = object_annotation(op->machine, ANNOTATION_POWER_REQUEST);
        const char *done = op->instance ? object_annotation(op->instance, ANNOTATION_OPERATION) : NULL;

        return g_strcmp0(done, op->object->uid) == 0 || (request && g_str_has_suffix(request, op->object->uid));
}

static bool runs(const struct op *op)
{
        const struct api_instance_status *status = op->domain ? op->domain->status : NULL;
        enum vm_state state = vm_state_of(status ? status->state : NULL);

        if (!op->domain || strcmp(op->domain->spec->power, "On") != 0 || !status || status->epoch < op->status.epoch)
                return false;
        return op->status.has_epoch && (state == VM_STATE_RUNNING || state == VM_STATE_PAUSED);
}

/* These end with a machine that runs with a new epoch. */
static bool is_start(const struct op *op)
{
        return op->order == ORDER_START || op->order == ORDER_RESTART || op->order == ORDER_REDEPLOY;
}

/* The host carries these out with the domain as it runs. */
static bool is_order(const struct op *op)
{
        return op->order == ORDER_SUSPEND || op->order == ORDER_RESUME || op->order == ORDER_RESET;
}

static bool order_done(const struct op *op)
{
        const struct api_instance_spec *spec = op->domain ? op->domain->spec : NULL;
        const struct api_instance_status *status = op->domain ? op->domain->status : NULL;
        enum vm_state goal = op->order == ORDER_SUSPEND ? VM_STATE_PAUSED : VM_STATE_RUNNING;

        return status && g_strcmp0(spec->order, op->view->spec->type) == 0 && status->order_number >= spec->order_number &&
               vm_state_of(status->state) == goal;
}

/* Sent, and then the machine was stopped, started anew or ended by itself: the order is nobody's any more. */
static bool order_lost(const struct op *op)
{
        const struct api_instance_status *status = op->domain ? op->domain->status : NULL;
        enum vm_state state = vm_state_of(status ? status->state : NULL);

        return !op->domain || g_strcmp0(op->domain->spec->order, op->view->spec->type) != 0 ||
               (state != VM_STATE_RUNNING && state != VM_STATE_PAUSED);
}

static bool is_done(const struct op *op)
{
        if (is_order(op))
                return order_done(op);
        if (is_start(op))
                return runs(op);
        return !op->instance || !instance_active(op->instance);
}

/* While the host makes volumes the clock of a start stands still: an image may take long. */
static bool host_works(const struct op *op)
{
        const struct api_instance_status *status = op->domain ? op->domain->status : NULL;

        return is_start(op) && status && !status->error && vm_state_of(status->state) == VM_STATE_CREATING;
}

static const char *late_words(const struct op *op)
{
        const struct api_virtual_machine_status *status = op->vm->status;
        const struct api_condition *running = status ? condition_get(status->conditions, status->n_conditions, "Running") : NULL;

        const struct api_intent_error *error = is_order(op) && op->domain && op->domain->status ? op->domain->status->error : NULL;

        return arena_printf(turn_arena(op->turn), "the machine was not %s within %" PRId64 " seconds: %s",
                            operation_rule(op->order)->goal, grace_seconds(op) + (int64_t)(SLACK_US / 1000000),
                            error     ? error->message
                            : running ? running->message
                                      : "nothing is known of it");
}

static enum turn_result op_watch(struct op *op)
{
        const struct api_condition *sent;
        uint64_t late_us;

        if (is_sent(op)) {
                conditions_say(&op->conditions, "SignalSent", "True", REASON_SIGNAL_SENT_SUCCESS, "the order was given");
                if (op->domain && !op->status.has_epoch &&
                    g_strcmp0(object_annotation(op->instance, ANNOTATION_OPERATION), op->object->uid) == 0) {
                        op->status.epoch = op->domain->spec->epoch;
                        op->status.has_epoch = true;
                }
                if (is_done(op))
                        return op_finish(op, "Completed", "True", REASON_OPERATION_COMPLETED, operation_rule(op->order)->done);
                if (is_order(op) && order_lost(op))
                        return op_fail(op, REASON_OPERATION_FAILED, "the machine went another way before it was done");
        }
        sent = condition_get(op->status.conditions, op->status.n_conditions, "SignalSent");
        late_us = (sent ? time_us(sent->last_transition_time) : turn_now_us(op->turn)) + (uint64_t)grace_seconds(op) * 1000000 +
                  SLACK_US;
        if (!host_works(op) && turn_now_us(op->turn) >= late_us)
                return op_fail(op, REASON_OPERATION_FAILED, late_words(op));
        turn_again_in(op->turn, turn_now_us(op->turn) < late_us ? late_us - turn_now_us(op->turn) : SLACK_US);
        turn_update_status(op->turn, op->object, &op->status);
        return TURN_WAIT;
}

/* Finished ones are kept for a day, and the ten newest of a machine. */
static enum turn_result op_keep(struct op *op)
{
        g_autofree char *key = g_strdup_printf("%s/%s", op->object->namespace, op->view->spec->virtual_machine_name);
        g_autoptr(GPtrArray) all = cache_lookup(op->cache, INDEX_OPERATION_BY_VM, key);
        uint64_t end_us = object_created_us(op->object) + KEEP_US;
        size_t newer = 0;

        for (guint i = 0; all && i < all->len; i++)
                newer += all->pdata[i] != op->object && is_older(op->object, all->pdata[i]) ? 1 : 0;
        if (newer >= KEEP_MOST || turn_now_us(op->turn) >= end_us)
                turn_delete(op->turn, op->object);
        else
                turn_again_in(op->turn, end_us - turn_now_us(op->turn));
        return TURN_DONE;
}

static enum turn_result op_judge(struct op *op)
{
        struct arena *arena = turn_arena(op->turn);
        bool begun = g_strcmp0(op->status.phase, "InProgress") == 0;
        struct rivals rivals;
        const char *lost = !op->machine ? arena_printf(arena, "machine %s does not exist", op->view->spec->virtual_machine_name)
                           : object_deleting(op->machine) ? "the machine is being deleted"
                                                          : NULL;

        if (lost && begun && op->order == ORDER_CLONE)
                return clone_give_up(op, REASON_VIRTUAL_MACHINE_NOT_FOUND, lost);
        if (lost && begun && op->machine && is_migration(op))
                return migration_watch(op); /* it ends before the machine does */
        if (lost)
                return op_fail(op, REASON_VIRTUAL_MACHINE_NOT_FOUND, lost);
        if (begun && op->order == ORDER_CLONE) /* nothing takes its place */
                return clone_watch(op);
        if (begun && is_migration(op))
                return migration_watch(op);
        find_rivals(op, &rivals);
        if (rivals.superseder)
                return op_finish(op, "Superseded", "True", REASON_SUPERSEDED,
                                 arena_printf(arena, "operation %s took its place", rivals.superseder->name));
        if (rivals.older)
                return op_fail(op, REASON_NOT_READY_TO_BE_EXECUTED,
                               arena_printf(arena, "operation %s of the machine is not finished", rivals.older->name));
        if (rivals.waits)
                return op_wait(op, "Pending", REASON_OTHER_OPERATION_IN_PROGRESS, "waits for the operation whose place it takes");
        return begun ? op_watch(op) : op_begin(op);
}

/* The machine's controller cancels it and lets it go; without a machine nothing is left to cancel. */
static enum turn_result op_leave(struct op *op)
{
        if (op->order == ORDER_CLONE)
                clone_remove(op);
        else if (op->machine && is_migration(op) && g_strcmp0(op->status.phase, "InProgress") == 0)
                return migration_watch(op);
        else if (op->machine && !object_deleting(op->machine) && !is_migration(op))
                return TURN_WAIT;
        turn_remove_finalizer(op->turn, op->object, FINALIZER_OPERATION);
        return TURN_DONE;
}

static enum turn_result operation_turn(struct turn *turn, const struct cache_object *object)
{
        const struct api_virtual_machine_operation *view = object->view;
        struct op op = {
                .turn = turn,
                .cache = turn_cache(turn),
                .object = object,
                .view = view,
                .status = view->status ? *view->status : (struct api_virtual_machine_operation_status){0},
        };

        op.conditions = (struct conditions){
                .arena = turn_arena(turn),
                .list = &op.status.conditions,
                .n = &op.status.n_conditions,
                .generation = object_meta(object)->generation,
                .now_us = turn_now_us(turn),
        };
        op.status.observed_generation = op.conditions.generation;
        op.status.has_observed_generation = true;
        if (!object_deleting(object) && phase_finished(op.status.phase))
                return op_keep(&op);
        if (power_order_from_text(view->spec->type, &op.order) != 0 && !object_deleting(object))
                return op_fail(&op, REASON_OPERATION_FAILED, "the type is not known");
        op.machine = cache_get(op.cache, &api_virtual_machine_kind, object->namespace, view->spec->virtual_machine_name);
        op.vm = op.machine ? op.machine->view : NULL;
        op.instance = op.machine ? index_one(op.cache, INDEX_INSTANCE_BY_MACHINE, op.machine->uid) : NULL;
        op.domain = op.instance ? op.instance->view : NULL;
        return object_deleting(object) ? op_leave(&op) : op_judge(&op);
}

static void enqueue_operations(const struct cache *cache, const char *namespace, const char *name, struct workqueue *queue)
{
        g_autofree char *key = g_strdup_printf("%s/%s", namespace, name);

        index_enqueue(cache, INDEX_OPERATION_BY_VM, key, queue);
}

/* Whether a machine was being moved by it, and is not any more. */
static bool has_left_queue(const struct cache_object *before, const struct cache_object *now)
{
        const struct api_virtual_machine_operation *view = before ? before->view : NULL;

        return view && view->status && view->status->migration && g_strcmp0(view->status->phase, "InProgress") == 0 &&
               (!now || g_strcmp0(phase_of(now), "InProgress") != 0);
}

static void operation_related(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                              struct workqueue *queue)
{
        const struct cache_object *object = now ? now : before;

        if (object->kind == &api_virtual_machine_kind) {
                enqueue_operations(cache, object->namespace, object->name, queue);
        } else if (object->kind == &api_instance_kind) {
                const struct api_instance *instance = object->view;

                enqueue_operations(cache, instance->spec->machine->namespace, instance->spec->machine->name, queue);
        } else if (object->kind == &api_virtual_machine_operation_kind) {
                const struct api_virtual_machine_operation *view = object->view;

                if (!before || !now || g_strcmp0(phase_of(before), phase_of(now)) != 0)
                        enqueue_operations(cache, object->namespace, view->spec->virtual_machine_name, queue);
                if (has_left_queue(before, now))
                        migration_enqueue_waiting(cache, queue);
        } else if (object->kind == &api_virtual_disk_kind) {
                clone_related(cache, object, queue);
        } else if (object->kind == &api_volume_kind || object->kind == &api_host_task_kind) {
                migration_enqueue_operation(cache, object, queue);
        }
}

const struct controller operation_controller = {
        .name = "operation",
        .kind = &api_virtual_machine_operation_kind,
        .turn = operation_turn,
        .related = operation_related,
};
