/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/migration/migration.h"

#include "generated/reasons.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

/*
 * A22: what a migration has left that was interrupted beside Gabbro, or that no intent tells of any more. Every host looks as for
 * the doctor; what is the machine's, and no intent's, is put right as by the doctor: a domain goes, a file goes aside. A
 * domain that an Instance of its host has, and a file that a Volume of its host has, is never among it.
 */

#define LATE_US  300000000ull
#define AGAIN_US 10000000ull

struct cleanup {
        struct op *op;
        struct arena *arena;
        size_t waits;
        GString *removed, *kept; /* words */
};

static bool is(const char *a, const char *b)
{
        return g_strcmp0(a, b) == 0;
}

static const char *task_name(const struct cleanup *cleanup, const char *what, const char *node)
{
        return arena_printf(cleanup->arena, "t-%s-%s-%s", cleanup->op->object->uid, what, node);
}

static void make_task(struct cleanup *cleanup, const char *name, struct api_host_task_spec *spec)
{
        struct intent_owner owner = intent_owner_of(cleanup->op->machine);
        struct api_object_ref ref = {.kind = owner.kind, .namespace = owner.namespace, .name = owner.name, .uid = owner.uid};
        struct api_host_task task = {.metadata = intent_meta(cleanup->arena, &owner, name, spec->node_name), .spec = spec};
        struct api_pair standby = {ANNOTATION_STANDBY, arena_printf(cleanup->arena, "%s %s", owner.uid, cleanup->op->object->uid)};

        spec->owner = &ref;
        task.metadata->annotations = &standby;
        task.metadata->n_annotations = 1;
        turn_create(cleanup->op->turn, &api_host_task_kind, &task);
}

static bool is_over(const struct api_host_task_status *status)
{
        return status && (is(status->state, "Succeeded") || is(status->state, "Failed"));
}

/* --- what is found --- */

static bool is_disk_of(const struct cleanup *cleanup, const char *path)
{
        const struct api_instance_spec *spec = cleanup->op->domain ? cleanup->op->domain->spec : NULL;
        g_autofree char *name = g_path_get_basename(path);

        for (size_t i = 0; spec && i < spec->n_disks; i++) {
                const struct cache_object *volume =
                        spec->disks[i].volume ? cache_get(cleanup->op->cache, &api_volume_kind, NULL, spec->disks[i].volume) : NULL;

                if (volume && is(spec->disks[i].kind, "Disk") &&
                    is(((const struct api_volume *)volume->view)->spec->volume_name, name))
                        return true;
        }
        return false;
}

static bool is_left(const struct cleanup *cleanup, const struct api_host_finding *finding)
{
        if (!finding->fix)
                return false;
        return (is(finding->code, REASON_STRAY_DOMAIN) && is(finding->machine, cleanup->op->machine->uid)) ||
               (is(finding->code, REASON_STRAY_VOLUME) && is_disk_of(cleanup, finding->subject));
}

static void add_words(GString *words, const char *node, const char *subject, const char *message)
{
        g_string_append_printf(words, "%s%s on %s%s%s", words->len ? ", " : "", subject, node, message ? ": " : "",
                               message ? message : "");
}

static void take_repairs(struct cleanup *cleanup, const char *node, const struct api_host_task_status *status)
{
        for (size_t i = 0; i < status->n_repairs; i++) {
                const struct api_host_repair *repair = &status->repairs[i];

                if (is(repair->state, "Done"))
                        add_words(cleanup->removed, node, repair->subject, NULL);
                else if (!is(repair->state, "NotFound"))
                        add_words(cleanup->kept, node, repair->subject, repair->message);
        }
        if (is(status->state, "Failed"))
                add_words(cleanup->kept, node, "something", status->error ? status->error->message : NULL);
}

/* A file that a stale definition names is nobody's once that has gone: what was put right is looked at once more. */
static const struct {
        const char *look, *mend;
} rounds[] = {{"look", "mend"}, {"look-again", "mend-again"}};

/* Whether it was put right, so that there may be more. */
static bool mend(struct cleanup *cleanup, const char *node, const char *what, const struct api_host_task_status *found)
{
        const char *name = task_name(cleanup, what, node);
        const struct cache_object *task = cache_get(cleanup->op->cache, &api_host_task_kind, NULL, name);
        const struct api_host_task_status *status = task ? ((const struct api_host_task *)task->view)->status : NULL;
        struct api_host_finding_ref *refs = arena_array(cleanup->arena, found->n_findings, sizeof(*refs));
        struct api_host_task_spec spec = {.node_name = node, .type = "Repair", .findings = refs};

        for (size_t i = 0; i < found->n_findings; i++)
                if (is_left(cleanup, &found->findings[i]))
                        refs[spec.n_findings++] = (struct api_host_finding_ref){.code = found->findings[i].code,
                                                                                .subject = found->findings[i].subject};
        if (spec.n_findings == 0)
                return false;
        if (!task)
                make_task(cleanup, name, &spec);
        if (!is_over(status)) {
                cleanup->waits++;
                return false;
        }
        take_repairs(cleanup, node, status);
        return true;
}

static bool look_at_node(const struct cache_object *node, void *userdata)
{
        struct cleanup *cleanup = userdata;

        if (!placement_node_ready(node)) {
                add_words(cleanup->kept, node->name, "whatever is", "it does not answer");
                return true;
        }
        for (size_t i = 0; i < G_N_ELEMENTS(rounds); i++) {
                const char *name = task_name(cleanup, rounds[i].look, node->name);
                const struct cache_object *task = cache_get(cleanup->op->cache, &api_host_task_kind, NULL, name);
                const struct api_host_task_status *status = task ? ((const struct api_host_task *)task->view)->status : NULL;
                struct api_host_task_spec spec = {.node_name = node->name, .type = "Inspect"};

                if (!task)
                        make_task(cleanup, name, &spec);
                if (!is_over(status)) {
                        cleanup->waits++;
                        return true;
                }
                if (!mend(cleanup, node->name, rounds[i].mend, status))
                        return true;
        }
        return true;
}

/* --- the end --- */

static bool drop_task(const struct cache_object *node, void *userdata)
{
        struct cleanup *cleanup = userdata;

        for (size_t i = 0; i < 2 * G_N_ELEMENTS(rounds); i++) {
                const char *what = i % 2 ? rounds[i / 2].mend : rounds[i / 2].look;
                const struct cache_object *task =
                        cache_get(cleanup->op->cache, &api_host_task_kind, NULL, task_name(cleanup, what, node->name));

                if (task && !object_deleting(task))
                        turn_delete(cleanup->op->turn, task);
        }
        return true;
}

static enum turn_result end(struct cleanup *cleanup, const char *fault)
{
        struct op *op = cleanup->op;
        const char *words;

        cache_each(op->cache, &api_node_kind, NULL, drop_task, cleanup);
        if (fault)
                return op_fail(op, REASON_OPERATION_FAILED, fault);
        words = arena_printf(cleanup->arena, "%s%s%s%s", cleanup->removed->len ? "Removed: " : "Nothing was left",
                             cleanup->removed->str, cleanup->kept->len ? "; not looked at or not removed: " : "",
                             cleanup->kept->str);
        return op_finish(op, "Completed", "True", REASON_OPERATION_COMPLETED, words);
}

bool migration_is_cleanup(const struct op *op)
{
        return op->view->spec->migrate && is(op->view->spec->migrate->mode, "Cleanup");
}

enum turn_result migration_cleanup(struct op *op)
{
        g_autoptr(GString) removed = g_string_new(NULL), kept = g_string_new(NULL);
        struct cleanup cleanup = {.op = op, .arena = turn_arena(op->turn), .removed = removed, .kept = kept};
        uint64_t late_us = object_created_us(op->object) + LATE_US;

        assert(op && op->machine);
        if (object_deleting(op->object) || object_deleting(op->machine))
                return end(&cleanup, "it was given up");
        if (g_strcmp0(op->status.phase, "InProgress") != 0)
                op_take_up(op);
        cache_each(op->cache, &api_node_kind, NULL, look_at_node, &cleanup);
        if (cleanup.waits == 0)
                return end(&cleanup, NULL);
        if (turn_now_us(op->turn) >= late_us)
                return end(&cleanup, "a host has not answered in time");
        turn_again_in(op->turn, AGAIN_US);
        return op_wait(op, "InProgress", REASON_MIGRATION_CLEANUP, "the hosts look for what former migrations have left");
}
