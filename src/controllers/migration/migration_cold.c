/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/migration/migration.h"

#include "generated/reasons.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

/*
 * A machine that is off: the target's agent takes the files of its disks from the source's libvirt and says the checksum of what
 * lies there; the source's agent says that of what lies here. When they are the same and the target's libvirt knows the machine,
 * the intents are exchanged, and only then is anything of the source removed. A machine that runs is held off meanwhile, by the
 * table of run policies as for a reboot of its host, and held on at the end until it runs.
 */

#define SECOND_US     1000000ull
#define AGAIN_US      (60 * SECOND_US)
#define START_MOST_US (180 * SECOND_US)
#define TIMEOUT_S     3600

#define STAGE_STOPPING "Stopping"
#define STAGE_COPYING  "Copying"
#define STAGE_STARTING "Starting"

static bool is(const char *a, const char *b)
{
        return g_strcmp0(a, b) == 0;
}

/* --- what it asks of the machine meanwhile --- */

enum power_hold migration_hold(const struct cache *cache, const struct cache_object *machine)
{
        g_autofree char *key = g_strdup_printf("%s/%s", machine->namespace, machine->name);
        g_autoptr(GPtrArray) all = cache_lookup(cache, INDEX_OPERATION_BY_VM, key);

        assert(cache && machine);
        for (guint i = 0; all && i < all->len; i++) {
                const struct api_virtual_machine_operation *view = ((const struct cache_object *)all->pdata[i])->view;
                const struct api_operation_migration *migration = view->status ? view->status->migration : NULL;

                if (!migration || !migration->ran || !is(view->status->phase, "InProgress"))
                        continue;
                return is(migration->stage, STAGE_STARTING) ? HOLD_ON : HOLD_OFF;
        }
        return HOLD_NONE;
}

/* --- the digests --- */

static struct api_object_ref *owner_ref(struct arena *arena, const struct intent_owner *owner)
{
        struct api_object_ref *ref = arena_new0(arena, struct api_object_ref);

        *ref = (struct api_object_ref){.kind = owner->kind, .namespace = owner->namespace, .name = owner->name, .uid = owner->uid};
        return ref;
}

void migration_digest_make(struct op *op, const struct cache_object *volume, const char *mark)
{
        struct arena *arena = turn_arena(op->turn);
        struct intent_owner owner = intent_owner_of(op->machine);
        const char *node = ((const struct api_volume *)volume->view)->spec->node_name;
        const char *name = arena_printf(arena, "t-%s-%s", op->object->uid, volume->name);
        struct api_host_task_spec spec = {
                .node_name = node, .owner = owner_ref(arena, &owner), .type = "DigestVolume", .volume = volume->name};
        struct api_host_task task = {.metadata = intent_meta(arena, &owner, name, node), .spec = &spec};
        struct api_pair *standby = arena_new0(arena, struct api_pair);

        assert(op && volume && mark);
        *standby = (struct api_pair){ANNOTATION_STANDBY, mark};
        task.metadata->annotations = standby;
        task.metadata->n_annotations = 1;
        turn_create(op->turn, &api_host_task_kind, &task);
}

static const struct api_host_task_status *digest_of(const struct op *op, const char *volume)
{
        const char *name = arena_printf(turn_arena(op->turn), "t-%s-%s", op->object->uid, volume);
        const struct cache_object *task = cache_get(op->cache, &api_host_task_kind, NULL, name);

        return task ? ((const struct api_host_task *)task->view)->status : NULL;
}

/* --- copying --- */

struct copying {
        struct op *op;
        struct arena *arena;
        struct api_operation_migration *migration;
        const struct cache_object *target;
        int64_t total, done;
        size_t n_disks, n_same;
        const char *differs; /* name of a disk that is not what it was, or NULL */
        const char *waits;   /* what holds it up, or NULL */
};

static void look_at_disk(struct copying *copying, const struct api_instance_disk *here, const struct api_instance_disk *there)
{
        const struct cache *cache = copying->op->cache;
        const struct cache_object *volume = cache_get(cache, &api_volume_kind, NULL, there->volume);
        const struct api_volume_status *came = volume ? ((const struct api_volume *)volume->view)->status : NULL;
        const struct api_host_task_status *read = digest_of(copying->op, here->volume);

        copying->n_disks++;
        copying->total += came ? came->total_bytes : 0;
        copying->done += came ? came->received_bytes : 0;
        if (came && came->error)
                copying->waits = came->error->message;
        else if (read && read->error)
                copying->waits = read->error->message;
        if (!came || !came->digest || !read || !read->digest)
                return;
        if (is(came->digest, read->digest))
                copying->n_same++;
        else
                copying->differs = here->name;
}

static void look_at_disks(struct copying *copying)
{
        const struct api_instance_spec *there = ((const struct api_instance *)copying->target->view)->spec;
        const struct api_instance_spec *here = copying->op->domain->spec;

        for (size_t i = 0; i < MIN(here->n_disks, there->n_disks); i++)
                if (here->disks[i].volume && there->disks[i].volume && is(here->disks[i].kind, "Disk"))
                        look_at_disk(copying, &here->disks[i], &there->disks[i]);
        /* What has come whole tells no more how far it was. */
        if (copying->total > copying->migration->total_bytes)
                copying->migration->total_bytes = copying->total;
        if (copying->done > copying->migration->processed_bytes)
                copying->migration->processed_bytes = copying->done;
        copying->migration->remaining_bytes = copying->migration->total_bytes - copying->migration->processed_bytes;
        copying->migration->has_total_bytes = copying->migration->has_processed_bytes = copying->migration->has_remaining_bytes =
                copying->migration->total_bytes > 0;
}

static void go_to(struct api_operation_migration *migration, const char *stage)
{
        migration->stage = stage;
        migration->look = 0;
        migration->has_look = false;
}

static enum turn_result say(struct op *op, const char *reason, const char *words)
{
        turn_again_in(op->turn, AGAIN_US);
        return op_wait(op, "InProgress", reason, words);
}

static enum turn_result begin_start(struct op *op, struct api_operation_migration *migration)
{
        go_to(migration, STAGE_STARTING);
        migration->end_timestamp = migration_now_text(op);
        return say(op, REASON_STARTING, "the machine is started");
}

/* It is where it was; what was made elsewhere goes. */
static enum turn_result stays(struct op *op, struct api_operation_migration *migration, const char *reason, const char *words)
{
        if (!migration->reason) {
                migration->reason = reason;
                migration->message = words;
        }
        if (!migration->ran || object_deleting(op->machine))
                return migration_has_stayed(op, migration->reason, migration->message);
        migration_intents_drop(op);
        migration->result = "Failed";
        return begin_start(op, migration);
}

static enum turn_result moved(struct copying *copying)
{
        struct op *op = copying->op;
        const char *node = ((const struct api_instance *)copying->target->view)->spec->node_name;
        const char *words =
                arena_printf(copying->arena, "the machine is on %s now, it came from %s", node, copying->migration->source_node);

        migration_intents_exchange(op, copying->target);
        copying->migration->processed_bytes = copying->migration->total_bytes;
        copying->migration->remaining_bytes = 0;
        turn_event(op->turn, op->machine, false, REASON_MIGRATED, words);
        if (copying->migration->ran) {
                copying->migration->result = "Succeeded";
                op->status.progress = "95%";
                return begin_start(op, copying->migration);
        }
        migration_note_end(op, "Succeeded");
        return op_finish(op, "Completed", "True", REASON_OPERATION_COMPLETED,
                         arena_printf(copying->arena, "It is on %s, and off.", node));
}

/* Whether somebody or a limit ends it; @ret_words: why. */
static const char *ended_by(struct op *op, const struct api_operation_migration *migration, const char **ret_words)
{
        const struct api_machine_migrate *how = op->view->spec->migrate;
        int64_t limit_s = how && how->has_timeout_seconds ? how->timeout_seconds : TIMEOUT_S;
        uint64_t end_us = time_us(migration->start_timestamp) + (uint64_t)limit_s * SECOND_US, now_us = turn_now_us(op->turn);

        if (object_deleting(op->object))
                *ret_words = "the operation was deleted";
        else if (object_deleting(op->machine))
                *ret_words = "the machine is being deleted";
        else if (now_us >= end_us)
                *ret_words = arena_printf(turn_arena(op->turn), "it had not moved within %" PRId64 " seconds", limit_s);
        else
                turn_again_in(op->turn, end_us - now_us);
        return *ret_words ? REASON_ABORTED : NULL;
}

static enum turn_result watch_copying(struct op *op, struct api_operation_migration *migration)
{
        struct copying copying = {.op = op, .arena = turn_arena(op->turn), .migration = migration};
        const struct api_instance_migration *there;
        const char *words = NULL, *reason = ended_by(op, migration, &words);

        copying.target = migration_target(op->cache, op->machine);
        if (reason)
                return stays(op, migration, reason, words);
        if (!copying.target)
                return stays(op, migration, REASON_OPERATION_FAILED, "what was made on the other host was removed");
        look_at_disks(&copying);
        if (copying.differs)
                return stays(
                        op, migration, REASON_CHECKSUM_MISMATCH,
                        arena_printf(copying.arena, "disk %s did not come as it was sent: the checksums differ", copying.differs));
        there = migration_said(copying.target, op->object->uid);
        if (there && is(there->state, "Arrived") && copying.n_same == copying.n_disks)
                return moved(&copying);
        if (there && there->error && !copying.waits)
                copying.waits = there->error->message;
        if (migration->total_bytes > 0)
                op->status.progress =
                        arena_printf(copying.arena, "%" PRId64 "%%", 5 + 80 * migration->processed_bytes / migration->total_bytes);
        return say(op, REASON_COPYING,
                   arena_printf(copying.arena, "its disks go to %s%s%s", migration->target_node, copying.waits ? ": " : "",
                                copying.waits ? copying.waits : ""));
}

/* --- before and after --- */

enum turn_result migration_cold_copy(struct op *op)
{
        struct api_operation_migration *migration = op->status.migration;
        const char *words = NULL;

        assert(op && op->machine && migration && migration->target_node);
        if (!migration_intents_make(op, migration->target_node, &words))
                return migration->start_timestamp ? stays(op, migration, REASON_OPERATION_FAILED, words)
                                                  : op_fail(op, REASON_VIRTUAL_MACHINE_NON_MIGRATABLE, words);
        go_to(migration, STAGE_COPYING);
        op->status.progress = "5%";
        return say(op, REASON_COPYING, arena_printf(turn_arena(op->turn), "its disks go to %s", migration->target_node));
}

static enum turn_result watch_stopping(struct op *op, struct api_operation_migration *migration)
{
        const char *words = NULL, *reason = ended_by(op, migration, &words);

        if (reason)
                return stays(op, migration, reason, words);
        if (!is(op->domain->spec->power, "Off") || instance_active(op->instance))
                return say(op, REASON_COLD_MIGRATION, "the machine is stopped before it moves");
        return migration_cold_copy(op);
}

static bool runs(const struct op *op)
{
        const struct api_instance_status *status = op->domain ? op->domain->status : NULL;

        return status && is(op->domain->spec->power, "On") && status->epoch >= op->domain->spec->epoch &&
               vm_state_of(status->state) == VM_STATE_RUNNING;
}

static enum turn_result watch_starting(struct op *op, struct api_operation_migration *migration)
{
        struct arena *arena = turn_arena(op->turn);
        uint64_t late_us = time_us(migration->end_timestamp) + START_MOST_US, now_us = turn_now_us(op->turn);
        const char *node = is(migration->result, "Succeeded") ? migration->target_node : migration->source_node;

        if (!runs(op) && now_us < late_us && !object_deleting(op->machine)) {
                turn_again_in(op->turn, late_us - now_us);
                return say(op, REASON_STARTING, arena_printf(arena, "the machine is started on %s", node));
        }
        migration_note_end(op, migration->result);
        if (is(migration->result, "Failed"))
                return op_fail(op, migration->reason, migration->message);
        return op_finish(op, "Completed", "True", REASON_OPERATION_COMPLETED,
                         runs(op) ? arena_printf(arena, "It runs on %s.", node)
                                  : arena_printf(arena, "It is on %s and does not run yet; its conditions say why.", node));
}

static const struct {
        const char *stage;
        enum turn_result (*watch)(struct op *op, struct api_operation_migration *migration);
} stages[] = {
        {STAGE_STOPPING, watch_stopping},
        {STAGE_COPYING, watch_copying},
        {STAGE_STARTING, watch_starting},
};

enum turn_result migration_cold_watch(struct op *op)
{
        struct api_operation_migration *migration = op->status.migration;

        assert(op && op->machine && migration && migration->cold);
        for (size_t i = 0; i < G_N_ELEMENTS(stages); i++)
                if (is(migration->stage, stages[i].stage) && op->domain)
                        return stages[i].watch(op, migration);
        migration_intents_drop(op);
        migration_note_end(op, "Failed");
        return op_fail(op, REASON_OPERATION_FAILED, "the machine has no domain any more");
}
