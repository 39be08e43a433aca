/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/disk/disk_private.h"

#include "base/quantity.h"
#include "controllers/object.h"
#include "generated/reasons.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define SECTOR   512
#define NAME_CUT 40

/* --- pools --- */

static bool older_default(const struct cache_object *object, void *userdata)
{
        const struct cache_object **oldest = userdata;

        if (g_strcmp0(object_annotation(object, ANNOTATION_DEFAULT_POOL), "true") != 0 || object_deleting(object))
                return true;
        if (!*oldest || object_created_us(object) < object_created_us(*oldest))
                *oldest = object;
        return true;
}

const struct cache_object *disk_pool_default(const struct cache *cache)
{
        const struct cache_object *oldest = NULL;

        assert(cache);
        cache_each(cache, &api_storage_pool_kind, NULL, older_default, &oldest);
        return oldest;
}

struct api_volume_pool *disk_pool_view(const struct cache_object *pool, struct arena *arena)
{
        assert(pool && arena);

        const struct api_storage_pool *view = pool->view;
        struct api_volume_pool *ret = arena_new0(arena, struct api_volume_pool);

        *ret = (struct api_volume_pool){
                .name = pool->name,
                .type = view->spec->type ? view->spec->type : "Directory",
                .path = view->spec->path,
        };
        return ret;
}

const char *disk_file_name(struct arena *arena, const char *name, const char *uid, const char *format)
{
        assert(arena && name && uid && format);
        return arena_printf(arena, "%.*s-%.8s-main.%s", NAME_CUT, name, uid, format);
}

/* --- plan --- */

bool disk_plan_fault(struct disk_plan *plan, const char *phase, const char *condition, const char *reason, const char *words)
{
        if (!plan->phase) {
                plan->phase = phase;
                plan->condition = condition;
                plan->reason = reason;
                plan->words = words;
        }
        return false;
}

static bool plan_pool(const struct cache *cache, const struct api_virtual_disk_spec *spec, struct arena *arena,
                      struct disk_plan *plan)
{
        const char *name = spec && spec->persistent_volume_claim ? spec->persistent_volume_claim->storage_class_name : NULL;
        const struct api_storage_pool *pool;

        if (!name && plan->cloned)
                name = ((const struct api_volume *)plan->cloned->view)->spec->pool->name;

        plan->pool = name ? cache_get(cache, &api_storage_pool_kind, NULL, name) : disk_pool_default(cache);
        if (!plan->pool)
                return disk_plan_fault(plan, "Pending", "StorageClassReady",
                                       name ? REASON_STORAGE_CLASS_NOT_FOUND : REASON_NO_DEFAULT_STORAGE_POOL,
                                       name ? arena_printf(arena, "StoragePool %s does not exist", name)
                                            : "the disk names no StoragePool and none is marked as the default");
        pool = plan->pool->view;
        if (object_deleting(plan->pool) || (pool->status && g_strcmp0(pool->status->phase, "Failed") == 0)) {
                const struct api_condition *ready =
                        pool->status ? condition_get(pool->status->conditions, pool->status->n_conditions, "Ready") : NULL;

                return disk_plan_fault(plan, "Pending", "StorageClassReady", REASON_STORAGE_CLASS_NOT_READY,
                                       arena_printf(arena, "StoragePool %s is not ready: %s", plan->pool->name,
                                                    ready && ready->message ? ready->message : "it is being deleted"));
        }
        if (pool->spec->drain)
                return disk_plan_fault(
                        plan, "Pending", "StorageClassReady", REASON_POOL_DRAINING,
                        arena_printf(arena, "StoragePool %s takes no new disks, for it is being drained", plan->pool->name));
        return true;
}

static bool plan_image(const struct cache *cache, const struct cache_object *disk, const struct api_disk_object_ref *ref,
                       struct arena *arena, struct disk_plan *plan)
{
        bool cluster = ref && g_strcmp0(ref->kind, "ClusterVirtualImage") == 0;
        const char *words;

        if (!ref || (!cluster && g_strcmp0(ref->kind, "VirtualImage") != 0))
                return disk_plan_fault(plan, "Failed", "DatasourceReady", REASON_SNAPSHOT_NOT_SUPPORTED,
                                       "disks cannot be made of snapshots yet");
        plan->source = image_find(cache, ref->kind, disk->namespace, ref->name);
        if (!plan->source)
                return disk_plan_fault(plan, "Pending", "DatasourceReady",
                                       cluster ? REASON_CLUSTER_IMAGE_NOT_FOUND : REASON_IMAGE_NOT_FOUND,
                                       arena_printf(arena, "%s %s does not exist", ref->kind, ref->name));
        if (!image_ready(plan->source, &plan->content, &words))
                return disk_plan_fault(plan, "Pending", "DatasourceReady",
                                       cluster ? REASON_CLUSTER_IMAGE_NOT_READY : REASON_IMAGE_NOT_READY,
                                       arena_printf(arena, "%s %s is not ready: %s", ref->kind, ref->name, words));
        plan->has_content = true;
        return true;
}

static bool plan_ingest(const struct api_virtual_disk *disk, bool upload, struct disk_plan *plan)
{
        const struct api_image_ingest *ingest = disk->status ? disk->status->ingest : NULL;

        if (image_ingest_content(ingest, &plan->content)) {
                plan->has_content = true;
                return true;
        }
        plan->progress_percent = ingest ? (int)ingest->progress_percent : 0;
        if (ingest && ingest->error)
                return disk_plan_fault(plan, "Failed", "DatasourceReady", ingest->error->reason, ingest->error->message);
        if (upload && !(ingest && ingest->has_progress_percent))
                return disk_plan_fault(plan, "WaitForUserUpload", "Ready", REASON_WAIT_FOR_USER_UPLOAD,
                                       "waits for the upload of its file");
        return disk_plan_fault(plan, "Provisioning", "Ready", REASON_PROVISIONING,
                               upload ? "the file is being received and judged" : "the file is being fetched and judged");
}

static bool plan_source(const struct cache *cache, const struct cache_object *object, struct arena *arena, struct disk_plan *plan)
{
        const struct api_virtual_disk *disk = object->view;
        const struct api_disk_data_source *source = disk->spec ? disk->spec->data_source : NULL;
        bool ok;

        if (!source)
                return true;
        if (disk_source_of(object))
                return disk_plan_clone(cache, object, arena, plan);
        if (strcmp(source->type, "ObjectRef") == 0)
                ok = plan_image(cache, object, source->object_ref, arena, plan);
        else if (strcmp(source->type, "HTTP") == 0 || strcmp(source->type, "Upload") == 0)
                ok = plan_ingest(disk, source->type[0] == 'U', plan);
        else
                ok = disk_plan_fault(plan, "Failed", "DatasourceReady", REASON_CONTAINER_IMAGE_NOT_SUPPORTED,
                                     "container images are no source here");
        if (ok && strcmp(plan->content.format, "iso") == 0)
                return disk_plan_fault(plan, "Failed", "DatasourceReady", REASON_IMAGE_FORMAT_REFUSED,
                                       "the source is an ISO image; give it to a machine as a CD-ROM");
        return ok && (strcmp(source->type, "ObjectRef") != 0 || disk_plan_image_way(disk->spec, arena, plan));
}

/* What its source has, which it must have too; 0: it begins empty. */
static uint64_t least_bytes(const struct disk_plan *plan)
{
        const struct api_volume *volume = plan->cloned ? plan->cloned->view : NULL;

        if (volume)
                return (uint64_t)MAX(volume->spec->capacity_bytes, volume->status ? volume->status->capacity_bytes : 0);
        return plan->has_content ? (uint64_t)plan->content.virtual_size_bytes : 0;
}

static bool plan_size(const struct api_virtual_disk_spec *spec, struct arena *arena, struct disk_plan *plan)
{
        const char *text = spec && spec->persistent_volume_claim ? spec->persistent_volume_claim->size : NULL;
        uint64_t bytes = 0, least = least_bytes(plan);
        char need[32];

        if (text && quantity_parse_bytes(text, &bytes) != 0)
                return disk_plan_fault(plan, "Failed", "Ready", REASON_FIELD_VALUE_INVALID,
                                       arena_printf(arena, "the size %s cannot be read", text));
        if (!text && !least)
                return disk_plan_fault(plan, "Failed", "Ready", REASON_FIELD_VALUE_REQUIRED,
                                       "an empty disk needs spec.persistentVolumeClaim.size");
        if (!text)
                bytes = least;
        if (bytes < least)
                return disk_plan_fault(plan, "Failed", "Ready", REASON_IMAGE_TOO_SMALL,
                                       arena_printf(arena, "the size %s is smaller than its %s, which %s %s", text,
                                                    plan->cloned ? "source" : "image", plan->cloned ? "has" : "needs",
                                                    quantity_format_bytes(least, need)));
        plan->capacity_bytes = (int64_t)((bytes + SECTOR - 1) / SECTOR * SECTOR);
        return true;
}

/* A clone is made where its source lies: its pool must be there. */
static bool plan_place(struct arena *arena, struct disk_plan *plan)
{
        const struct api_storage_pool *pool = plan->pool->view;

        for (size_t i = 0; pool->status && i < pool->status->n_nodes; i++)
                if (g_strcmp0(pool->status->nodes[i].name, plan->node) == 0 &&
                    g_strcmp0(pool->status->nodes[i].phase, "Ready") == 0)
                        return true;
        return disk_plan_fault(plan, "Pending", "StorageClassReady", REASON_STORAGE_CLASS_NOT_READY,
                               arena_printf(arena, "host %s, on which VirtualDisk %s lies, does not have StoragePool %s",
                                            plan->node, plan->source->name, plan->pool->name));
}

void disk_plan(const struct cache *cache, const struct cache_object *disk, struct arena *arena, struct disk_plan *ret_plan)
{
        assert(cache && disk && arena && ret_plan);

        const struct api_virtual_disk *view = disk->view;

        const struct api_disk_volume_claim *claim = view->spec ? view->spec->persistent_volume_claim : NULL;

        *ret_plan = (struct disk_plan){.format = claim && claim->format ? claim->format : "qcow2"};
        if (!plan_source(cache, disk, arena, ret_plan)) {
                (void)plan_pool(cache, view->spec, arena, ret_plan);
                return;
        }
        if (plan_pool(cache, view->spec, arena, ret_plan) && plan_size(view->spec, arena, ret_plan) && ret_plan->cloned)
                (void)plan_place(arena, ret_plan);
}
