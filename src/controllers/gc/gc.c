/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/gc/gc.h"

#include "controllers/controllers.h"
#include "controllers/doctor/doctor.h"
#include "controllers/object.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

/* --- owners --- */

static const struct schema_kind *cached_kind(const char *name)
{
        for (const struct schema_kind *const *kind = controllers_kinds; *kind; kind++)
                if (strcmp((*kind)->kind, name) == 0)
                        return *kind;
        return NULL;
}

static bool owner_gone(const struct cache *cache, const struct api_owner_reference *owner)
{
        return cached_kind(owner->kind) && !cache_by_uid(cache, owner->uid);
}

static enum turn_result gc_turn(struct turn *turn, const struct cache_object *object)
{
        const struct api_object_meta *meta = object_meta(object);

        if (meta->n_owner_references == 0 || object_deleting(object))
                return TURN_DONE;
        for (size_t i = 0; i < meta->n_owner_references; i++)
                if (!owner_gone(turn_cache(turn), &meta->owner_references[i]))
                        return TURN_DONE;
        turn_delete(turn, object);
        return TURN_DONE;
}

struct dependents {
        const char *owner_uid;
        struct workqueue *queue;
};

static bool enqueue_dependent(const struct cache_object *object, void *userdata)
{
        struct dependents *dependents = userdata;

        if (object_owned_by(object, dependents->owner_uid))
                controller_enqueue(dependents->queue, object->namespace, object->name);
        return true;
}

static void gc_relate(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                      const struct schema_kind *kind, struct workqueue *queue)
{
        struct dependents dependents = {.owner_uid = before ? before->uid : NULL, .queue = queue};

        if (before && !now && before->kind == &api_virtual_machine_kind)
                cache_each(cache, kind, before->namespace, enqueue_dependent, &dependents);
}

static void address_related(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                            struct workqueue *queue)
{
        gc_relate(cache, before, now, &api_virtual_machine_ip_address_kind, queue);
}

static void operation_related(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                              struct workqueue *queue)
{
        gc_relate(cache, before, now, &api_virtual_machine_operation_kind, queue);
}

static void disk_related(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                         struct workqueue *queue)
{
        gc_relate(cache, before, now, &api_virtual_disk_kind, queue);
}

const struct controller gc_address_controller = {
        .name = "gc-address",
        .kind = &api_virtual_machine_ip_address_kind,
        .turn = gc_turn,
        .related = address_related,
};
const struct controller gc_operation_controller = {
        .name = "gc-operation",
        .kind = &api_virtual_machine_operation_kind,
        .turn = gc_turn,
        .related = operation_related,
};
const struct controller gc_disk_controller = {
        .name = "gc-disk",
        .kind = &api_virtual_disk_kind,
        .turn = gc_turn,
        .related = disk_related,
};

/* --- tasks of the doctor --- */

#define TASK_KEPT_US 600000000ull

static enum turn_result task_turn(struct turn *turn, const struct cache_object *object)
{
        uint64_t end = object_created_us(object) + TASK_KEPT_US;

        if (!object_label(object, LABEL_DOCTOR_RUN) || object_deleting(object))
                return TURN_DONE;
        if (end > turn_now_us(turn))
                turn_again_in(turn, end - turn_now_us(turn));
        else
                turn_delete(turn, object);
        return TURN_DONE;
}

const struct controller gc_task_controller = {
        .name = "gc-task",
        .kind = &api_host_task_kind,
        .turn = task_turn,
};

/* --- namespaces --- */

#define FINALIZER_NAMESPACE "gabbro.dev/namespace-cleanup"
#define SWEEP_AGAIN_US      500000

static bool is_cached(const struct schema_kind *kind)
{
        for (const struct schema_kind *const *cached = controllers_kinds; *cached; cached++)
                if (*cached == kind)
                        return true;
        return false;
}

struct sweep {
        struct turn *turn;
        size_t left;
};

static bool sweep_object(const struct cache_object *object, void *userdata)
{
        struct sweep *sweep = userdata;

        sweep->left++;
        if (!object_deleting(object) && turn_room(sweep->turn) > 2)
                turn_delete(sweep->turn, object);
        return true;
}

/* What machines are made of goes after them: their ends may still read it, or write about it. */
static bool goes_last(const struct schema_kind *kind)
{
        return !kind->group || !*kind->group;
}

static void sweep_kinds(struct sweep *sweep, const char *namespace, bool last)
{
        for (const struct schema_kind *const *kind = schema_kinds; *kind; kind++) {
                if (!(*kind)->namespaced || goes_last(*kind) != last)
                        continue;
                if (is_cached(*kind))
                        cache_each(turn_cache(sweep->turn), *kind, namespace, sweep_object, sweep);
                else
                        sweep->left += turn_sweep(sweep->turn, *kind, namespace);
        }
}

static enum turn_result namespace_turn(struct turn *turn, const struct cache_object *object)
{
        const struct api_namespace *view = object->view;
        struct api_namespace_status status = view->status ? *view->status : (struct api_namespace_status){0};
        struct sweep sweep = {.turn = turn};

        if (!object_deleting(object)) {
                turn_add_finalizer(turn, object, FINALIZER_NAMESPACE);
                status.phase = "Active";
                turn_update_status(turn, object, &status);
                return TURN_DONE;
        }
        status.phase = "Terminating";
        turn_update_status(turn, object, &status);
        sweep_kinds(&sweep, object->name, false);
        if (sweep.left == 0)
                sweep_kinds(&sweep, object->name, true);
        if (sweep.left == 0) {
                turn_remove_finalizer(turn, object, FINALIZER_NAMESPACE);
                return TURN_DONE;
        }
        turn_again_in(turn, SWEEP_AGAIN_US);
        return TURN_WAIT;
}

static void namespace_related(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                              struct workqueue *queue)
{
        const struct cache_object *namespace;

        if (!before || now || !before->namespace)
                return;
        namespace = cache_get(cache, &api_namespace_kind, NULL, before->namespace);
        if (namespace && object_deleting(namespace))
                controller_enqueue(queue, NULL, namespace->name);
}

const struct controller namespace_controller = {
        .name = "namespace",
        .kind = &api_namespace_kind,
        .turn = namespace_turn,
        .related = namespace_related,
};
