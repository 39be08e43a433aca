/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/migration/migration.h"

#include "controllers/migration/migration_estimate.h"
#include "controllers/migration/migration_hosts.h"
#include "generated/reasons.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define SECOND_US        1000000ull
#define PREPARE_MOST_US  (300 * SECOND_US)
#define AGAIN_US         (60 * SECOND_US) /* without an event */
#define QUEUE_AGAIN_US   (2 * SECOND_US)
#define HALF_MOST_US     (30 * SECOND_US) /* a half guest on the target that nobody feeds any more */
#define TIMEOUT_S        3600
#define OUT_OF_NODE_MOST 1
#define INTO_NODE_MOST   2

static struct api_operation_migration *migration_of(struct op *op)
{
        struct api_operation_migration *migration = arena_new0(turn_arena(op->turn), struct api_operation_migration);

        if (op->status.migration)
                *migration = *op->status.migration;
        op->status.migration = migration;
        return migration;
}

const char *migration_now_text(struct op *op)
{
        char time[CLOCK_RFC3339_MAX];

        return arena_strdup(turn_arena(op->turn), clock_format_rfc3339(turn_now_us(op->turn), false, time));
}

/* --- policy (D119-D123) --- */

enum force { FORCE_UNSET, FORCE_YES, FORCE_NO };

static const struct {
        const char *policy;
        signed char converge[3]; /* by enum force; -1: they contradict each other */
} policies[] = {
        {"AlwaysSafe", {0, -1, 0}},
        {"PreferSafe", {0, 1, 0}},
        {"AlwaysForced", {1, 1, -1}},
        {"PreferForced", {1, 1, 0}},
};

static int converges(const struct op *op)
{
        const char *policy = op->vm->spec->live_migration_policy ? op->vm->spec->live_migration_policy : "PreferSafe";
        enum force force = !op->view->spec->has_force ? FORCE_UNSET : op->view->spec->force ? FORCE_YES : FORCE_NO;

        for (size_t i = 0; i < G_N_ELEMENTS(policies); i++)
                if (strcmp(policies[i].policy, policy) == 0)
                        return policies[i].converge[force];
        return 0;
}

/* --- the queue --- */

struct count {
        const struct op *op;
        const char *source, *target;
        size_t out, in, all;
};

static bool count_one(const struct cache_object *object, void *userdata)
{
        struct count *count = userdata;
        const struct api_virtual_machine_operation *view = object->view;
        const struct api_operation_migration *migration = view->status ? view->status->migration : NULL;

        if (object == count->op->object || !migration || g_strcmp0(view->status->phase, "InProgress") != 0)
                return true;
        count->all++;
        count->out += g_strcmp0(migration->source_node, count->source) == 0;
        count->in += g_strcmp0(migration->target_node, count->target) == 0;
        return true;
}

static bool count_node(const struct cache_object *node, void *userdata)
{
        ++*(size_t *)userdata;
        return true;
}

/* Why it waits, or NULL. */
static const char *queue_words(struct op *op, const char *target)
{
        struct count count = {.op = op, .source = op->domain->spec->node_name, .target = target};
        struct arena *arena = turn_arena(op->turn);
        size_t nodes = 0;

        cache_each(op->cache, &api_virtual_machine_operation_kind, NULL, count_one, &count);
        cache_each(op->cache, &api_node_kind, NULL, count_node, &nodes);
        if (count.out >= OUT_OF_NODE_MOST)
                return arena_printf(arena, "%zu machine leaves %s now, that many at once", count.out, count.source);
        if (count.in >= INTO_NODE_MOST)
                return arena_printf(arena, "%zu machines come to %s now, that many at once", count.in, target);
        if (count.all >= MAX(nodes, 1))
                return arena_printf(arena, "%zu machines move now, as many at once as there are hosts", count.all);
        return NULL;
}

static bool enqueue_one(const struct cache_object *object, void *userdata)
{
        const struct api_virtual_machine_operation *view = object->view;

        if (view->status && view->status->migration && g_strcmp0(view->status->phase, "Pending") == 0)
                controller_enqueue(userdata, object->namespace, object->name);
        return true;
}

void migration_enqueue_waiting(const struct cache *cache, struct workqueue *queue)
{
        assert(cache && queue);
        cache_each(cache, &api_virtual_machine_operation_kind, NULL, enqueue_one, queue);
}

/* Two turns at once must not take the same place. */
static void lock_nodes(struct op *op, const char *target)
{
        const char *names[] = {op->domain->spec->node_name, target};

        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
                const struct cache_object *node = cache_get(op->cache, &api_node_kind, NULL, names[i]);

                if (node)
                        turn_set_annotation(op->turn, node, "gabbro.dev/last-start",
                                            arena_printf(turn_arena(op->turn), "%s %s", op->machine->uid, op->object->uid));
        }
}

/* --- the beginning --- */

static const char *estimate_words(const struct api_migration_estimate *estimate, struct arena *arena)
{
        if (!estimate || !estimate->has_seconds)
                return estimate ? "; how long it takes is not known before a machine has gone that way, or a bandwidth is given"
                                : "";
        if (!estimate->converges)
                return arena_printf(arena,
                                    "; its guest writes memory faster than it can be sent: it comes to an end only when it is "
                                    "slowed down (force), with more bandwidth or with more downtime");
        return arena_printf(arena, "; it takes about %" PRId64 " s, and the guest stands still for about %" PRId64 " ms",
                            estimate->seconds, estimate->downtime_ms);
}

static enum turn_result end_dry(struct op *op, const struct migration_plan *plan)
{
        struct arena *arena = turn_arena(op->turn);

        if (!plan->node)
                return op_fail(op, plan->reason, plan->words);
        return op_finish(op, "Completed", "True", REASON_MIGRATION_POSSIBLE,
                         arena_printf(arena, "the machine could go to %s; a dry run moves nothing%s", plan->node,
                                      estimate_words(op->status.migration->estimate, arena)));
}

static bool is_measured(const struct op *op)
{
        return cache_get(op->cache, &api_host_task_kind, NULL,
                         arena_printf(turn_arena(op->turn), "t-%s-measure", op->object->uid)) != NULL;
}

/* One that could be done is measured first, when its host can be asked. */
static enum turn_result watch_dry(struct op *op, const struct migration_plan *plan)
{
        if (!plan->node || op->status.migration->cold || op->status.migration->estimate)
                return end_dry(op, plan);
        if (!is_measured(op)) {
                migration_estimate_ask(op);
                return op_wait(op, "Pending", REASON_PENDING, "its host measures how fast the guest writes memory");
        }
        if (!migration_estimate_take(op, plan->node))
                return op_wait(op, "Pending", REASON_PENDING, "its host measures how fast the guest writes memory");
        return end_dry(op, plan);
}

/* One that runs is stopped first; then its disks are copied. */
static enum turn_result take_up_cold(struct op *op, struct api_operation_migration *migration)
{
        if (!migration->ran)
                return migration_cold_copy(op);
        migration->stage = "Stopping";
        turn_again_in(op->turn, AGAIN_US);
        return op_wait(op, "InProgress", REASON_COLD_MIGRATION, "the machine is stopped before it moves");
}

static enum turn_result take_up(struct op *op, struct api_operation_migration *migration, const char *node)
{
        struct arena *arena = turn_arena(op->turn);
        const char *words = NULL;

        if (turn_refusal(op->turn))
                return op_fail(op, REASON_QUOTA_EXCEEDED, turn_refusal(op->turn));
        if (!migration->cold && !migration_intents_make(op, node, &words))
                return op_fail(op, REASON_VIRTUAL_MACHINE_NON_MIGRATABLE, words);
        op_take_up(op);
        lock_nodes(op, node);
        migration->source_node = op->domain->spec->node_name;
        migration->target_node = node;
        migration->start_timestamp = migration_now_text(op);
        turn_event(op->turn, op->machine, false, REASON_TARGET_PREPARING,
                   arena_printf(arena, "the machine moves from %s to %s", migration->source_node, node));
        op->status.progress = "2%";
        if (migration->cold)
                return take_up_cold(op, migration);
        migration->stage = "Preparing";
        migration_estimate_ask(op);
        conditions_say(&op->conditions, "SignalSent", "True", REASON_SIGNAL_SENT_SUCCESS, "host %s was told to get ready", node);
        turn_again_in(op->turn, AGAIN_US);
        return op_wait(op, "InProgress", REASON_TARGET_PREPARING, arena_printf(arena, "host %s gets ready", node));
}

static bool is_off(const struct op *op)
{
        return op->vm->status && g_strcmp0(op->vm->status->phase, vm_phase_to_text(VM_STOPPED)) == 0;
}

enum turn_result migration_begin(struct op *op)
{
        struct api_operation_migration *migration;
        const struct api_machine_migrate *how = op->view->spec->migrate;
        g_autoptr(GPtrArray) left = cache_lookup(op->cache, INDEX_STANDBY_BY_MACHINE, op->machine->uid);
        bool off = is_off(op);
        int converge = converges(op);
        struct migration_plan plan;
        const char *words;

        assert(op->machine);
        if (migration_is_cleanup(op))
                return migration_cleanup(op);
        migration = migration_of(op);
        if (!op->domain && off)
                return op_fail(op, REASON_VIRTUAL_MACHINE_NON_MIGRATABLE, "it has never run: it is placed when it starts");
        if (!op->domain)
                return op_wait(op, "Pending", REASON_PENDING, "waits until the machine was looked at");
        if (converge < 0)
                return op_fail(op, REASON_NOT_APPLICABLE_FOR_LIVE_MIGRATION_POLICY,
                               arena_printf(turn_arena(op->turn), "policy %s and force: %s contradict each other",
                                            op->vm->spec->live_migration_policy, op->view->spec->force ? "true" : "false"));
        migration->cold = off || (how && how->cold);
        migration->has_cold = true;
        migration->ran = migration->cold && !off;
        migration->has_ran = migration->cold;
        plan = migration_plan(op, migration->cold);
        migration->auto_converge = converge > 0;
        migration->has_auto_converge = !migration->cold;
        migration->findings = plan.findings;
        migration->n_findings = plan.n_findings;
        if (how && g_strcmp0(how->mode, "DryRun") == 0)
                return watch_dry(op, &plan);
        if (left && left->len > 0) {
                turn_again_in(op->turn, QUEUE_AGAIN_US);
                return op_wait(op, "Pending", REASON_CLEANUP_PENDING, "waits until what is left of a former migration is removed");
        }
        if (!plan.node)
                return op_fail(op, plan.reason, plan.words);
        words = queue_words(op, plan.node);
        if (words) {
                turn_again_in(op->turn, QUEUE_AGAIN_US);
                return op_wait(op, "Pending", REASON_MIGRATION_QUEUED, words);
        }
        return take_up(op, migration, plan.node);
}

/* --- ends --- */

void migration_note_end(struct op *op, const char *result)
{
        struct api_operation_migration *migration = op->status.migration;

        migration->stage = NULL;
        migration->result = result;
        migration->end_timestamp = migration_now_text(op);
}

static enum turn_result has_moved(struct op *op, const struct cache_object *target)
{
        const char *node = ((const struct api_instance *)target->view)->spec->node_name;
        struct arena *arena = turn_arena(op->turn);

        migration_intents_exchange(op, target);
        migration_note_end(op, "Succeeded");
        turn_event(op->turn, op->machine, false, REASON_MIGRATED,
                   arena_printf(arena, "the machine runs on %s now, it came from %s", node, op->status.migration->source_node));
        return op_finish(op, "Completed", "True", REASON_OPERATION_COMPLETED, arena_printf(arena, "It runs on %s.", node));
}

enum turn_result migration_has_stayed(struct op *op, const char *reason, const char *words)
{
        struct arena *arena = turn_arena(op->turn);

        migration_intents_drop(op);
        migration_note_end(op, "Failed");
        if (op->status.migration->reason) { /* somebody, or a limit, ended it */
                reason = op->status.migration->reason;
                words = op->status.migration->message;
        }
        turn_event(op->turn, op->machine, true, reason, arena_printf(arena, "the machine was not moved: %s", words));
        return op_fail(op, reason, words);
}

/* --- steps --- */

struct watch {
        struct op *op;
        struct arena *arena;
        struct api_operation_migration *migration;
        const struct cache_object *target;                 /* NULL: it is no more */
        const struct api_instance_migration *here, *there; /* what the hosts say of this operation, or NULL */
};

const struct api_instance_migration *migration_said(const struct cache_object *instance, const char *operation)
{
        const struct api_instance *view = instance ? instance->view : NULL;
        const struct api_instance_migration *migration = view && view->status ? view->status->migration : NULL;

        return migration && g_strcmp0(migration->operation, operation) == 0 ? migration : NULL;
}

static bool says(const struct api_instance_migration *migration, const char *state)
{
        return migration && strcmp(migration->state, state) == 0;
}

static enum turn_result wait_for(struct watch *watch, const char *reason, const char *words)
{
        turn_again_in(watch->op->turn, AGAIN_US);
        return op_wait(watch->op, "InProgress", reason, words);
}

static void give_up(struct watch *watch, const char *reason, const char *words)
{
        if (watch->migration->reason)
                return;
        watch->migration->reason = reason;
        watch->migration->message = words;
        watch->migration->stage = "Cancelling";
}

/* Whether somebody or a limit ends it. */
static void look_at_limits(struct watch *watch)
{
        const struct op *op = watch->op;
        const struct api_machine_migrate *how = op->view->spec->migrate;
        uint64_t begun_us = time_us(watch->migration->start_timestamp), now_us = turn_now_us(op->turn);
        int64_t limit_s = how && how->has_timeout_seconds ? how->timeout_seconds : TIMEOUT_S;
        uint64_t end_us = begun_us + (uint64_t)limit_s * SECOND_US;

        if (object_deleting(op->object))
                give_up(watch, REASON_ABORTED, "the operation was deleted");
        else if (object_deleting(op->machine))
                give_up(watch, REASON_ABORTED, "the machine is being deleted");
        else if (!watch->target)
                give_up(watch, REASON_OPERATION_FAILED, "what was made on the other host was removed");
        else if (now_us >= end_us)
                give_up(watch, REASON_ABORTED, arena_printf(watch->arena, "it had not moved within %" PRId64 " seconds", limit_s));
        else
                turn_again_in(op->turn, end_us - now_us);
}

static void set_outgoing(struct watch *watch, struct api_instance_outgoing *outgoing)
{
        struct api_instance_spec spec = *watch->op->domain->spec;

        spec.outgoing = outgoing;
        turn_update_spec(watch->op->turn, watch->op->instance, &spec);
}

static enum turn_result watch_preparation(struct watch *watch)
{
        struct op *op = watch->op;
        const char *node = watch->migration->target_node, *words;
        const struct cache_object *there = cache_get(op->cache, &api_node_kind, NULL, node);
        const struct api_instance_status *status = op->domain->status;
        uint64_t late_us = time_us(watch->migration->start_timestamp) + PREPARE_MOST_US, now_us = turn_now_us(op->turn);

        words = watch->there && watch->there->error ? watch->there->error->message : "it has not answered yet";
        if (!status || vm_state_of(status->state) != VM_STATE_RUNNING)
                give_up(watch, REASON_OPERATION_FAILED, "the guest does not run any more");
        else if (now_us >= late_us)
                give_up(watch, REASON_OPERATION_FAILED,
                        arena_printf(watch->arena, "host %s did not get ready in time: %s", node, words));
        if (watch->migration->reason)
                return migration_has_stayed(op, watch->migration->reason, watch->migration->message);
        if (!says(watch->there, "Ready") || !there || !migration_host_address(there)) {
                turn_again_in(op->turn, late_us - now_us);
                return wait_for(watch, REASON_TARGET_PREPARING, arena_printf(watch->arena, "host %s gets ready: %s", node, words));
        }
        set_outgoing(watch, migration_outgoing(op, watch->target));
        watch->migration->stage = "Syncing";
        op->status.progress = "4%";
        return wait_for(watch, REASON_SYNCING, arena_printf(watch->arena, "memory and disks go to %s", node));
}

/* The target's agent looks now, whatever it has said before. true: it has. */
static bool ask(struct watch *watch)
{
        const struct api_instance *there = watch->target ? watch->target->view : NULL;
        struct api_instance_incoming incoming;
        struct api_instance_spec spec;

        if (!there || !there->spec->incoming)
                return true;
        if (!watch->migration->has_look) {
                spec = *there->spec;
                incoming = *there->spec->incoming;
                incoming.look++;
                incoming.has_look = true;
                spec.incoming = &incoming;
                turn_update_spec(watch->op->turn, watch->target, &spec);
                watch->migration->look = incoming.look;
                watch->migration->has_look = true;
                return false;
        }
        return watch->there && watch->there->look >= watch->migration->look;
}

static enum turn_result wait_for_answer(struct watch *watch)
{
        return wait_for(watch, REASON_MIGRATION_UNCERTAIN,
                        arena_printf(watch->arena, "it is not known yet whether the machine is on %s: its agent is asked",
                                     watch->migration->target_node));
}

/* The source has it no more. */
static enum turn_result watch_left(struct watch *watch)
{
        if (says(watch->there, "Arrived"))
                return has_moved(watch->op, watch->target);
        if (!ask(watch))
                return wait_for_answer(watch);
        if (says(watch->there, "Arriving"))
                return wait_for_answer(watch);
        return migration_has_stayed(watch->op, REASON_OPERATION_FAILED, "its domain is on neither host any more");
}

/* The guest stands still on the source; it goes on there only when the target cannot have it. */
static enum turn_result watch_interrupted(struct watch *watch)
{
        struct api_instance_outgoing outgoing = *watch->op->domain->spec->outgoing;
        const struct api_condition *completed =
                condition_get(watch->op->status.conditions, watch->op->status.n_conditions, "Completed");
        uint64_t since_us = completed && g_strcmp0(completed->reason, REASON_MIGRATION_UNCERTAIN) == 0
                                    ? time_us(completed->last_transition_time)
                                    : turn_now_us(watch->op->turn);

        if (says(watch->there, "Arrived"))
                return has_moved(watch->op, watch->target);
        if (!ask(watch))
                return wait_for_answer(watch);
        if (says(watch->there, "Arriving") && turn_now_us(watch->op->turn) < since_us + HALF_MOST_US) {
                turn_again_in(watch->op->turn, HALF_MOST_US);
                return wait_for_answer(watch);
        }
        give_up(watch, REASON_OPERATION_FAILED, "it was interrupted; the guest goes on where it was");
        if (!migration_intents_retire(watch->op)) /* what is half there could begin to run yet */
                return wait_for(watch, REASON_MIGRATION_UNCERTAIN, "what came to the other host is ended before the guest goes on");
        outgoing.verdict = "Resume";
        set_outgoing(watch, &outgoing);
        return wait_for(watch, REASON_MIGRATION_UNCERTAIN, "the guest goes on where it was");
}

static enum turn_result watch_kept(struct watch *watch)
{
        const struct api_instance_status *status = watch->op->domain->status;
        enum vm_state state = vm_state_of(status ? status->state : NULL);
        const char *words = watch->here->error ? watch->here->error->message : "it ended without success";

        if (state == VM_STATE_RUNNING || state == VM_STATE_PAUSED)
                return migration_has_stayed(watch->op, REASON_OPERATION_FAILED, words);
        if (says(watch->there, "Arrived"))
                return has_moved(watch->op, watch->target);
        return ask(watch) ? migration_has_stayed(watch->op, REASON_OPERATION_FAILED, words) : wait_for_answer(watch);
}

static void mirror(struct watch *watch)
{
        const struct api_instance_migration *here = watch->here;
        struct api_operation_migration *migration = watch->migration;
        uint64_t total;

        if (!here || !here->has_total_bytes)
                return;
        migration->total_bytes = here->total_bytes;
        migration->processed_bytes = here->processed_bytes;
        migration->remaining_bytes = here->remaining_bytes;
        migration->bytes_per_second = here->bytes_per_second;
        migration->dirty_bytes_per_second = here->dirty_bytes_per_second;
        migration->iterations = here->iterations;
        migration->throttle_percent = here->throttle_percent;
        migration->elapsed_ms = here->elapsed_ms;
        migration->has_total_bytes = migration->has_processed_bytes = migration->has_remaining_bytes =
                migration->has_bytes_per_second = migration->has_dirty_bytes_per_second = migration->has_iterations =
                        migration->has_throttle_percent = migration->has_elapsed_ms = true;
        total = (uint64_t)(here->processed_bytes + here->remaining_bytes);
        if (total > 0)
                watch->op->status.progress =
                        arena_printf(watch->arena, "%" PRIu64 "%%", 10 + 80 * (uint64_t)here->processed_bytes / total);
}

/* What was changed while it runs; true: the source is told. */
static bool tune(struct watch *watch, struct api_instance_outgoing *outgoing)
{
        const struct api_machine_migrate *how = watch->op->view->spec->migrate;
        int64_t bandwidth = how && how->has_bandwidth_mib_per_second ? how->bandwidth_mib_per_second : 0;
        int64_t downtime = how && how->has_downtime_ms ? how->downtime_ms : 0;

        if (bandwidth == outgoing->bandwidth_mib_per_second && downtime == outgoing->downtime_ms)
                return false;
        outgoing->bandwidth_mib_per_second = bandwidth;
        outgoing->has_bandwidth_mib_per_second = bandwidth > 0;
        outgoing->downtime_ms = downtime;
        outgoing->has_downtime_ms = downtime > 0;
        return true;
}

static enum turn_result watch_running(struct watch *watch)
{
        const struct api_instance_outgoing *now = watch->op->domain->spec->outgoing;
        const struct cache_object *node = cache_get(watch->op->cache, &api_node_kind, NULL, watch->migration->source_node);
        struct api_instance_outgoing outgoing = *now;

        mirror(watch);
        if (watch->migration->reason && !now->verdict) {
                outgoing.verdict = "Cancel";
                set_outgoing(watch, &outgoing);
        } else if (tune(watch, &outgoing)) {
                set_outgoing(watch, &outgoing);
        }
        if (!node || !placement_node_ready(node))
                return wait_for(watch, REASON_MIGRATION_UNCERTAIN,
                                arena_printf(watch->arena, "host %s does not answer; what runs is left alone until it does",
                                             watch->migration->source_node));
        if (watch->migration->reason)
                return wait_for(watch, REASON_ABORTED,
                                arena_printf(watch->arena, "it is being given up: %s", watch->migration->message));
        return wait_for(watch, REASON_SYNCING,
                        arena_printf(watch->arena, "memory and disks go to %s", watch->migration->target_node));
}

static const struct {
        const char *state; /* of the source */
        enum turn_result (*watch)(struct watch *watch);
} steps[] = {
        {"Left", watch_left},
        {"Interrupted", watch_interrupted},
        {"Kept", watch_kept},
};

enum turn_result migration_watch(struct op *op)
{
        struct watch watch = {.op = op, .arena = turn_arena(op->turn)};

        assert(op && op->machine);
        if (migration_is_cleanup(op))
                return migration_cleanup(op);
        watch.migration = migration_of(op);
        if (watch.migration->cold)
                return migration_cold_watch(op);
        if (!op->domain) {
                migration_intents_drop(op);
                migration_note_end(op, "Failed");
                return op_fail(op, REASON_OPERATION_FAILED, "the machine has no domain any more");
        }
        watch.target = migration_target(op->cache, op->machine);
        watch.here = migration_said(op->instance, op->object->uid);
        watch.there = migration_said(watch.target, op->object->uid);
        look_at_limits(&watch);
        (void)migration_estimate_take(op, watch.migration->target_node);
        if (!op->domain->spec->outgoing)
                return watch_preparation(&watch);
        for (size_t i = 0; i < G_N_ELEMENTS(steps); i++)
                if (says(watch.here, steps[i].state))
                        return steps[i].watch(&watch);
        return watch_running(&watch);
}

/* --- what the machine tells --- */

struct api_migration_state *migration_state(const struct cache *cache, const struct cache_object *machine, struct arena *arena)
{
        g_autofree char *key = g_strdup_printf("%s/%s", machine->namespace, machine->name);
        g_autoptr(GPtrArray) all = cache_lookup(cache, INDEX_OPERATION_BY_VM, key);
        const struct api_operation_migration *newest = NULL;
        struct api_migration_state *state;
        struct api_migration_end *ends;

        assert(cache && machine && arena);
        for (guint i = 0; all && i < all->len; i++) {
                const struct api_virtual_machine_operation *view = ((const struct cache_object *)all->pdata[i])->view;
                const struct api_operation_migration *migration = view->status ? view->status->migration : NULL;

                if (migration && migration->start_timestamp &&
                    (!newest || time_us(migration->start_timestamp) >= time_us(newest->start_timestamp)))
                        newest = migration;
        }
        if (!newest)
                return NULL;
        state = arena_new0(arena, struct api_migration_state);
        ends = arena_array(arena, 2, sizeof(*ends));
        ends[0].node = newest->source_node;
        ends[1].node = newest->target_node;
        *state = (struct api_migration_state){.start_timestamp = newest->start_timestamp,
                                              .end_timestamp = newest->end_timestamp,
                                              .source = &ends[0],
                                              .target = &ends[1],
                                              .result = newest->result ? newest->result : ""};
        return state;
}
