/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/disk/disk_private.h"

#include "base/limits.h"
#include "controllers/object.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

#define LINKS_MAX 8 /* disks behind a disk */

/* --- relations --- */

const struct api_disk_object_ref *disk_source_of(const struct cache_object *disk)
{
        assert(disk);

        const struct api_virtual_disk *view = disk->view;
        const struct api_disk_data_source *source = view->spec ? view->spec->data_source : NULL;
        const struct api_disk_object_ref *ref = source ? source->object_ref : NULL;

        return ref && g_strcmp0(ref->kind, "VirtualDisk") == 0 ? ref : NULL;
}

void disk_enqueue_relatives(const struct cache *cache, const struct cache_object *disk, struct workqueue *queue)
{
        assert(cache && disk && queue);

        const struct api_disk_object_ref *ref = disk_source_of(disk);
        g_autofree char *key = device_key("VirtualDisk", disk->namespace, disk->name);

        index_enqueue(cache, INDEX_DISK_BY_SOURCE, key, queue);
        if (ref)
                controller_enqueue(queue, disk->namespace, ref->name);
}

static bool is_linked(const struct api_volume *volume)
{
        const char *made = volume->status && volume->status->copied ? volume->status->copied->mode : NULL;

        return volume->spec->copy && g_strcmp0(made ? made : volume->spec->copy->mode, "Linked") == 0;
}

static bool is_state(const struct api_volume *volume, const char *state)
{
        return volume->status && g_strcmp0(volume->status->state, state) == 0;
}

const char *disk_readers(const struct cache *cache, const struct cache_object *disk, bool linked, struct arena *arena)
{
        assert(cache && disk && arena);

        g_autofree char *key = device_key("VirtualDisk", disk->namespace, disk->name);
        g_autoptr(GPtrArray) clones = cache_lookup(cache, INDEX_DISK_BY_SOURCE, key);
        const struct cache_object *source = disk_volume(cache, disk);
        const char *names = NULL;

        for (guint i = 0; source && clones && i < clones->len; i++) {
                const struct cache_object *clone = clones->pdata[i], *object = disk_volume(cache, clone);
                const struct api_volume *volume = object ? object->view : NULL;

                if (!volume || !volume->spec->copy || strcmp(volume->spec->copy->volume, source->name) != 0 ||
                    is_state(volume, "Gone"))
                        continue;
                if (is_linked(volume) != linked || (!linked && volume->status && volume->status->path))
                        continue;
                names = names ? arena_printf(arena, "%s, %s", names, clone->name) : clone->name;
        }
        return names;
}

const char *disk_imaged(const struct cache *cache, const struct cache_object *disk, struct arena *arena)
{
        assert(cache && disk && arena);

        const struct cache_object *source = disk_volume(cache, disk);
        g_autoptr(GPtrArray) copies = source ? cache_lookup(cache, INDEX_VOLUME_BY_COPY, source->name) : NULL;
        const char *names = NULL;

        for (guint i = 0; copies && i < copies->len; i++) {
                const struct api_volume *volume = ((const struct cache_object *)copies->pdata[i])->view;
                const struct api_object_ref *owner = volume->spec->owner;

                if (g_strcmp0(owner->kind, "VirtualDisk") == 0 || is_state(volume, "Gone") ||
                    (volume->status && volume->status->path))
                        continue;
                names = names ? arena_printf(arena, "%s, %s", names, owner->name) : owner->name;
        }
        return names;
}

const char *disk_user(const struct cache *cache, const struct cache_object *disk)
{
        assert(cache && disk);

        const char *holder = object_annotation(disk, ANNOTATION_HELD_BY);
        const struct cache_object *instance = holder ? index_one(cache, INDEX_INSTANCE_BY_MACHINE, holder) : NULL;

        if (!instance || !instance_active(instance))
                return NULL;
        return ((const struct api_instance *)instance->view)->spec->machine->name;
}

/* --- plan --- */

static unsigned links_behind(const struct cache *cache, const struct cache_object *object)
{
        unsigned n = 0;

        while (object && n <= LINKS_MAX && is_linked(object->view)) {
                object = cache_get(cache, &api_volume_kind, NULL, ((const struct api_volume *)object->view)->spec->copy->volume);
                n++;
        }
        return n;
}

/* What a linked clone asks for beyond the others. */
static bool plan_link(const struct cache *cache, const char *format, struct arena *arena, struct disk_plan *plan)
{
        const char *user = disk_user(cache, plan->source);

        if (g_strcmp0(format, "raw") == 0)
                return disk_plan_fault(plan, "Failed", "Ready", REASON_CLONE_NOT_SUPPORTED,
                                       "a linked clone is a qcow2 file; leave spec.persistentVolumeClaim.format away");
        if (links_behind(cache, plan->cloned) >= LINKS_MAX)
                return disk_plan_fault(plan, "Failed", "Ready", REASON_CLONE_NOT_SUPPORTED,
                                       arena_printf(arena, "VirtualDisk %s has %d disks behind it already; choose mode Full",
                                                    plan->source->name, LINKS_MAX));
        if (user)
                return disk_plan_fault(plan, "Pending", "DatasourceReady", REASON_DISK_IN_USE,
                                       arena_printf(arena,
                                                    "machine %s writes to VirtualDisk %s, and a linked clone needs it as it is; "
                                                    "stop the machine, or choose mode Full",
                                                    user, plan->source->name));
        plan->format = "qcow2";
        return true;
}

static bool plan_way(const struct cache *cache, const struct api_virtual_disk_spec *spec, const struct api_volume *volume,
                     struct arena *arena, struct disk_plan *plan)
{
        const struct api_disk_volume_claim *claim = spec->persistent_volume_claim;
        const char *pool = claim ? claim->storage_class_name : NULL, *format = claim ? claim->format : NULL;
        const char *mode = spec->clone && spec->clone->mode ? spec->clone->mode : "Auto";
        const char *consistency = spec->clone && spec->clone->consistency ? spec->clone->consistency : "Auto";
        struct api_volume_copy *copy = arena_new0(arena, struct api_volume_copy);

        *copy = (struct api_volume_copy){.volume = plan->cloned->name, .mode = mode, .consistency = consistency};
        plan->copy = copy;
        plan->node = volume->spec->node_name;
        plan->format = format ? format : volume->spec->format;
        if (pool && strcmp(pool, volume->spec->pool->name) != 0 && (strcmp(mode, "Auto") != 0 && strcmp(mode, "Full") != 0))
                return disk_plan_fault(plan, "Failed", "Ready", REASON_CLONE_NOT_SUPPORTED,
                                       arena_printf(arena,
                                                    "a clone of mode %s lies in the pool of its source, %s; choose that pool, or "
                                                    "mode Full",
                                                    mode, volume->spec->pool->name));
        if (strcmp(mode, "Reflink") == 0 && strcmp(plan->format, volume->spec->format) != 0)
                return disk_plan_fault(plan, "Failed", "Ready", REASON_CLONE_NOT_SUPPORTED,
                                       arena_printf(arena,
                                                    "the source is a %s file, and blocks are shared without a change of format",
                                                    volume->spec->format));
        if (strcmp(mode, "Reflink") == 0 && is_linked(volume))
                return disk_plan_fault(plan, "Failed", "Ready", REASON_CLONE_NOT_SUPPORTED,
                                       "the source is a linked clone; choose mode Linked or Full");
        return strcmp(mode, "Linked") != 0 || plan_link(cache, format, arena, plan);
}

bool disk_plan_clone(const struct cache *cache, const struct cache_object *disk, struct arena *arena, struct disk_plan *plan)
{
        assert(cache && disk && arena && plan);

        const struct api_disk_object_ref *ref = disk_source_of(disk);
        const struct api_volume *volume;

        plan->source = cache_get(cache, &api_virtual_disk_kind, disk->namespace, ref->name);
        if (!plan->source)
                return disk_plan_fault(plan, "Pending", "DatasourceReady", REASON_VIRTUAL_DISK_NOT_FOUND,
                                       arena_printf(arena, "VirtualDisk %s does not exist", ref->name));
        plan->cloned = disk_volume(cache, plan->source);
        volume = plan->cloned ? plan->cloned->view : NULL;
        if (object_deleting(plan->source) || !volume || !is_state(volume, "Ready"))
                return disk_plan_fault(plan, "Pending", "DatasourceReady", REASON_VIRTUAL_DISK_NOT_READY,
                                       arena_printf(arena, "VirtualDisk %s %s", ref->name,
                                                    object_deleting(plan->source) ? "is being deleted"
                                                    : volume                      ? "is not ready"
                                                             : "has no content before its first machine starts"));
        return plan_way(cache, ((const struct api_virtual_disk *)disk->view)->spec, volume, arena, plan);
}
