/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/disk/disk_private.h"

#include "controllers/object.h"
#include "controllers/pool/pool.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

/*
 * Disks of images. One that is made whole gets its content out of the file that the agent has fetched. One that shares blocks, or
 * reads what was not written from its image, needs a Volume of the image beside it in the pool: that is made once on each host and
 * kept as long as there are disks of it.
 */

static const char *mode_of(const struct api_virtual_disk_spec *spec)
{
        return spec && spec->clone && spec->clone->mode ? spec->clone->mode : "Auto";
}

bool disk_plan_image_way(const struct api_virtual_disk_spec *spec, struct arena *arena, struct disk_plan *plan)
{
        assert(arena && plan && plan->has_content);

        const struct api_disk_volume_claim *claim = spec ? spec->persistent_volume_claim : NULL;
        const char *mode = mode_of(spec), *format = claim ? claim->format : NULL;

        if (strcmp(mode, "Linked") == 0 && g_strcmp0(format, "raw") == 0)
                return disk_plan_fault(plan, "Failed", "Ready", REASON_CLONE_NOT_SUPPORTED,
                                       "a linked disk is a qcow2 file; leave spec.persistentVolumeClaim.format away");
        if (strcmp(mode, "Reflink") == 0 && format && strcmp(format, plan->content.format) != 0)
                return disk_plan_fault(plan, "Failed", "Ready", REASON_CLONE_NOT_SUPPORTED,
                                       arena_printf(arena, "the image is %s, and blocks are shared without a change of format",
                                                    plan->content.format));
        if (strcmp(mode, "Reflink") == 0)
                plan->format = plan->content.format;
        return true;
}

static bool shares_blocks(const struct cache_object *pool, const char *node)
{
        const struct api_storage_pool *view = pool->view;

        for (size_t i = 0; view->status && i < view->status->n_nodes; i++)
                if (g_strcmp0(view->status->nodes[i].name, node) == 0)
                        return view->status->nodes[i].has_reflink && view->status->nodes[i].reflink;
        return false;
}

/* Words when there is no Volume of the image yet, and no room for it beside the disk. */
static const char *no_room_for_base(const struct cache *cache, const struct disk_plan *plan, const char *node, struct arena *arena)
{
        if (image_base_is_there(cache, plan->source, plan->pool, node))
                return NULL;
        return pool_why_no_room(cache, plan->pool->name, node,
                                (uint64_t)plan->content.virtual_size_bytes + (uint64_t)plan->capacity_bytes, arena);
}

const char *disk_image_refusal(const struct cache *cache, const struct cache_object *disk, const struct disk_plan *plan,
                               const char *node, struct arena *arena)
{
        assert(cache && disk && plan && node && arena);

        const char *mode = mode_of(((const struct api_virtual_disk *)disk->view)->spec), *words;

        if (!plan->has_content || !disk_is_of_image(disk) || strcmp(mode, "Full") == 0 || strcmp(mode, "Auto") == 0)
                return NULL;
        words = no_room_for_base(cache, plan, node, arena);
        return words ? arena_printf(arena, "it needs a copy of its image beside it: %s", words) : NULL;
}

struct api_volume_copy *disk_image_copy(struct turn *turn, const struct cache_object *disk, const struct disk_plan *plan,
                                        const char *node)
{
        assert(turn && disk && plan && node);

        const char *mode = mode_of(((const struct api_virtual_disk *)disk->view)->spec);
        bool automatic = strcmp(mode, "Auto") == 0;
        struct api_volume_copy *copy;

        if (!plan->has_content || !disk_is_of_image(disk) || strcmp(mode, "Full") == 0)
                return NULL;
        if (automatic && (strcmp(plan->format, plan->content.format) != 0 || !shares_blocks(plan->pool, node) ||
                          no_room_for_base(turn_cache(turn), plan, node, turn_arena(turn))))
                return NULL;
        copy = arena_new0(turn_arena(turn), struct api_volume_copy);
        *copy = (struct api_volume_copy){.volume = image_base_bind(turn, plan->source, &plan->content, plan->pool, node),
                                         .mode = mode,
                                         .consistency = "Crash"}; /* nobody writes to it */
        return copy;
}

const char *disk_lost_source(const struct cache *cache, const struct api_volume *volume)
{
        assert(cache && volume);

        const struct api_volume_copied *copied = volume->status ? volume->status->copied : NULL;
        const struct cache_object *object = copied && volume->spec->copy && g_strcmp0(copied->mode, "Linked") == 0
                                                    ? cache_get(cache, &api_volume_kind, NULL, volume->spec->copy->volume)
                                                    : NULL;
        const struct api_volume_status *source = object ? ((const struct api_volume *)object->view)->status : NULL;
        bool lost = source && g_strcmp0(source->state, "Failed") == 0 && source->error &&
                    g_strcmp0(source->error->reason, REASON_VOLUME_MISSING) == 0;

        return lost ? source->error->message : NULL;
}

void disk_enqueue_copies(const struct cache *cache, const struct cache_object *volume, struct workqueue *queue)
{
        assert(cache && volume && queue);

        const struct api_volume_copy *copy_of = ((const struct api_volume *)volume->view)->spec->copy;
        const struct cache_object *source = copy_of ? cache_get(cache, &api_volume_kind, NULL, copy_of->volume) : NULL;
        const struct api_object_ref *whose = source ? ((const struct api_volume *)source->view)->spec->owner : NULL;
        g_autoptr(GPtrArray) copies = cache_lookup(cache, INDEX_VOLUME_BY_COPY, volume->name);

        for (guint i = 0; copies && i < copies->len; i++) {
                const struct api_volume *copy = ((const struct cache_object *)copies->pdata[i])->view;
                const struct api_object_ref *owner = copy->spec->owner;

                if (g_strcmp0(owner->kind, "VirtualDisk") == 0)
                        controller_enqueue(queue, owner->namespace, owner->name);
        }
        if (whose && g_strcmp0(whose->kind, "VirtualDisk") == 0)
                controller_enqueue(queue, whose->namespace, whose->name);
}

const char *disk_image_digest(const struct cache *cache, const struct api_volume *volume, const char *known)
{
        assert(cache && volume);

        const struct cache_object *base =
                volume->spec->copy ? cache_get(cache, &api_volume_kind, NULL, volume->spec->copy->volume) : NULL;
        const struct api_volume_spec *spec = base ? ((const struct api_volume *)base->view)->spec : volume->spec;

        if (base && g_strcmp0(spec->owner->kind, "VirtualDisk") == 0)
                return NULL;
        return spec->source ? spec->source->digest : known;
}
