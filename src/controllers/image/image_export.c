/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/image/image_private.h"

#include "controllers/disk/disk.h"
#include "controllers/object.h"
#include "controllers/placement/placement.h"
#include "controllers/pool/pool.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

/*
 * Images of disks. Two intents on the host of the disk, one after the other: a Volume of the image's own, which is a full copy of
 * the disk as it is at that moment (clones of disks are made by the same code, with the same care for machines that run); and once
 * that is complete a HostTask that sends its file to the gateway. What is sent never changes any more, so that it can be gone on
 * with at any byte. Both go when the library has the content, or has refused it.
 */

#define SEND           "ExportVolume"
#define LIMIT_AGAIN_US 60000000ull

bool image_volume_is_copy(const struct cache_object *volume)
{
        assert(volume);
        return ((const struct api_volume *)volume->view)->spec->copy;
}

/* --- what there is already --- */

static const struct cache_object *find_copy(const struct cache *cache, const struct cache_object *image)
{
        g_autoptr(GPtrArray) volumes = cache_lookup(cache, INDEX_VOLUME_BY_OWNER, image->uid);

        for (guint i = 0; volumes && i < volumes->len; i++)
                if (image_volume_is_copy(volumes->pdata[i]) && !object_deleting(volumes->pdata[i]))
                        return volumes->pdata[i];
        return NULL;
}

static const struct cache_object *find_task(const struct cache *cache, const struct cache_object *image, const char *volume)
{
        g_autoptr(GPtrArray) tasks = cache_lookup(cache, INDEX_TASK_BY_OWNER, image->uid);

        for (guint i = 0; tasks && i < tasks->len; i++) {
                const struct api_host_task *task = ((const struct cache_object *)tasks->pdata[i])->view;

                if (!object_deleting(tasks->pdata[i]) && g_strcmp0(task->spec->volume, volume) == 0)
                        return tasks->pdata[i];
        }
        return NULL;
}

bool image_export_retire(struct turn *turn, const struct cache_object *image)
{
        assert(turn && image);

        const struct cache *cache = turn_cache(turn);
        g_autoptr(GPtrArray) tasks = cache_lookup(cache, INDEX_TASK_BY_OWNER, image->uid);
        g_autoptr(GPtrArray) volumes = cache_lookup(cache, INDEX_VOLUME_BY_OWNER, image->uid);
        bool none = true;

        for (guint i = 0; tasks && i < tasks->len; i++) {
                const struct api_host_task *task = ((const struct cache_object *)tasks->pdata[i])->view;

                none &= intent_retire(turn, tasks->pdata[i], task->status ? task->status->state : NULL);
        }
        /* Nobody reads the file any more when it goes. */
        for (guint i = 0; volumes && i < volumes->len; i++) {
                const struct api_volume *volume = ((const struct cache_object *)volumes->pdata[i])->view;

                if (!image_volume_is_copy(volumes->pdata[i]))
                        continue;
                none = none && intent_retire(turn, volumes->pdata[i], volume->status ? volume->status->state : NULL);
        }
        return none;
}

/* --- making --- */

static void say(struct image_export *out, const char *phase, const char *reason, const char *words)
{
        out->phase = phase;
        out->reason = reason;
        out->words = words;
}

static void say_source(struct image_export *out, const char *reason, const char *words)
{
        out->source_fault = true;
        say(out, "Pending", reason, words);
}

static bool is_state(const char *state, const char *wanted)
{
        return g_strcmp0(state, wanted) == 0;
}

static struct api_object_ref *owner_ref(struct arena *arena, const struct intent_owner *owner)
{
        struct api_object_ref *ref = arena_new0(arena, struct api_object_ref);

        *ref = (struct api_object_ref){.kind = owner->kind, .namespace = owner->namespace, .name = owner->name, .uid = owner->uid};
        return ref;
}

static void create_copy(struct turn *turn, const struct cache_object *image, const struct cache_object *disk,
                        const struct cache_object *source)
{
        struct arena *arena = turn_arena(turn);
        const struct api_volume *of = source->view;
        struct intent_owner owner = intent_owner_of(image);
        const char *file, *name = image_volume_name(turn, image, "qcow2", &file);
        struct api_volume_copy copy = {.volume = source->name, .mode = "Full", .consistency = "Auto"};
        struct api_volume_spec spec = {
                .node_name = of->spec->node_name,
                .owner = owner_ref(arena, &owner),
                .pool = of->spec->pool,
                .volume_name = file,
                .format = "qcow2",
                .capacity_bytes = MAX(of->spec->capacity_bytes, of->status->capacity_bytes),
                .has_capacity_bytes = true,
                .copy = &copy,
                .read_only = true,
                .has_read_only = true,
        };
        struct api_volume volume = {.metadata = intent_meta(arena, &owner, name, spec.node_name), .spec = &spec};

        turn_create(turn, &api_volume_kind, &volume);
        turn_depends(turn, disk);
        turn_depends(turn, source);
}

static void create_task(struct turn *turn, const struct cache_object *image, const struct cache_object *copy)
{
        struct arena *arena = turn_arena(turn);
        struct intent_owner owner = intent_owner_of(image);
        const char *node = ((const struct api_volume *)copy->view)->spec->node_name, *name;
        struct api_host_task_spec spec = {.node_name = node, .owner = owner_ref(arena, &owner), .type = SEND, .volume = copy->name};
        unsigned n = 0;

        do
                name = intent_name(arena, 't', image->uid, n++);
        while (cache_get(turn_cache(turn), &api_host_task_kind, NULL, name));
        struct api_host_task task = {.metadata = intent_meta(arena, &owner, name, node), .spec = &spec};

        turn_create(turn, &api_host_task_kind, &task);
        turn_depends(turn, copy);
}

/* --- how it stands --- */

static bool is_out_of_reach(const struct cache *cache, const char *name)
{
        const struct cache_object *node = cache_get(cache, &api_node_kind, NULL, name);

        return !node || !placement_node_ready(node);
}

static void begin(struct turn *turn, const struct cache_object *image, const struct image_view *view, struct image_export *out)
{
        const struct cache *cache = turn_cache(turn);
        struct arena *arena = turn_arena(turn);
        const struct cache_object *disk = cache_get(cache, &api_virtual_disk_kind, view->ref_namespace, view->ref_name);
        const struct cache_object *source = disk ? disk_volume(cache, disk) : NULL;
        const struct api_volume *volume = source ? source->view : NULL;
        const char *words;

        if (!disk) {
                say_source(out, REASON_VIRTUAL_DISK_NOT_FOUND,
                           arena_printf(arena, "VirtualDisk %s does not exist", view->ref_name));
                return;
        }
        if (object_deleting(disk) || !volume || !volume->status || !is_state(volume->status->state, "Ready")) {
                say_source(out, REASON_VIRTUAL_DISK_NOT_READY,
                           arena_printf(arena, "VirtualDisk %s %s", view->ref_name,
                                        object_deleting(disk) ? "is being deleted"
                                        : volume              ? "is not ready"
                                                              : "has no content before its first machine starts"));
                return;
        }
        if (turn_refusal(turn)) {
                say(out, "Pending", REASON_QUOTA_EXCEEDED, turn_refusal(turn));
                return;
        }
        words = pool_why_no_room(cache, volume->spec->pool->name, volume->spec->node_name, (uint64_t)volume->spec->capacity_bytes,
                                 arena);
        if (words) {
                turn_again_in(turn, LIMIT_AGAIN_US);
                say(out, "Pending", REASON_POOL_OVER_COMMITTED, words);
                return;
        }
        out->source_uid = disk->uid;
        create_copy(turn, image, disk, source);
        say(out, "Provisioning", REASON_PROVISIONING,
            arena_printf(arena, "host %s copies VirtualDisk %s", volume->spec->node_name, view->ref_name));
}

/* The copy is not complete. */
static void follow_copy(struct turn *turn, const struct cache_object *image, const struct image_view *view,
                        const struct cache_object *copy, struct image_export *out)
{
        struct arena *arena = turn_arena(turn);
        const struct api_volume *volume = copy->view;
        const struct api_volume_status *status = volume->status;
        const struct api_intent_error *error = status ? status->error : NULL;
        const char *node = volume->spec->node_name;

        if (error && is_state(error->reason, REASON_VOLUME_MISSING)) {
                (void)image_export_retire(turn, image);
                say(out, "Provisioning", REASON_VOLUME_MISSING,
                    arena_printf(arena, "the copy on host %s is lost; another one is made", node));
                return;
        }
        out->percent = status ? (int)status->progress_percent / 2 : 0;
        if (status && is_state(status->state, "Failed")) {
                bool full = error && is_state(error->reason, REASON_POOL_FULL);

                say(out, "Failed", full ? REASON_POOL_FULL : REASON_PROVISIONING_FAILED,
                    error ? error->message : "the host could not copy the disk");
                return;
        }
        say(out, "Provisioning", REASON_PROVISIONING,
            error ? error->message : arena_printf(arena, "host %s copies VirtualDisk %s", node, view->ref_name));
}

static void follow_task(struct turn *turn, const struct image_view *view, const struct cache_object *object,
                        struct image_export *out)
{
        const struct api_host_task *task = object->view;
        const struct api_host_task_status *status = task->status;
        const struct api_image_ingest *ingest = view->status.ingest;

        out->percent = 50 + (ingest ? (int)ingest->progress_percent / 2 : 0);
        if (status && status->error)
                say(out, is_state(status->state, "Failed") ? "Failed" : "Provisioning", status->error->reason,
                    status->error->message);
        else
                say(out, "Provisioning", REASON_PROVISIONING,
                    arena_printf(turn_arena(turn), "host %s sends its copy of VirtualDisk %s to the library", task->spec->node_name,
                                 view->ref_name));
}

void image_export_take(struct turn *turn, const struct cache_object *image, const struct image_view *view,
                       struct image_export *ret_export)
{
        assert(turn && image && view && ret_export);

        const struct cache *cache = turn_cache(turn);
        const struct cache_object *copy = find_copy(cache, image), *task;
        const struct api_volume *volume = copy ? copy->view : NULL;

        *ret_export = (struct image_export){0};
        if (!copy) {
                begin(turn, image, view, ret_export);
                return;
        }
        if (volume->status && volume->status->copied)
                ret_export->consistency = volume->status->copied->consistency;
        task = find_task(cache, image, copy->name);
        if (!volume->status || !is_state(volume->status->state, "Ready")) {
                follow_copy(turn, image, view, copy, ret_export);
        } else if (!task) {
                create_task(turn, image, copy);
                ret_export->percent = 50;
                say(ret_export, "Provisioning", REASON_PROVISIONING,
                    arena_printf(turn_arena(turn), "host %s has copied VirtualDisk %s", volume->spec->node_name, view->ref_name));
        } else {
                follow_task(turn, view, task, ret_export);
        }
        if (is_state(ret_export->phase, "Provisioning") && is_out_of_reach(cache, volume->spec->node_name))
                say(ret_export, "Provisioning", REASON_NODE_LOST,
                    arena_printf(turn_arena(turn),
                                 "host %s, which has VirtualDisk %s, does not answer; it goes on when the host is back",
                                 volume->spec->node_name, view->ref_name));
}
