/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/vm/redeploy.h"

#include "controllers/disk/disk.h"
#include "controllers/vm/context.h"
#include "generated/reasons.h"

#include <assert.h>

/*
 * Redeploy (A14): the domain goes, then the volumes of the disks that are made of images; the disks make them anew, and the machine
 * starts with the next epoch. Each step is seen from what is there, so that a gateway that ends in between goes on.
 */

/* The disk of a reference, when it is one that is made of an image; else NULL. */
static const struct cache_object *template_disk(const struct cache *cache, const struct cache_object *machine,
                                                const struct api_block_device_ref *ref)
{
        const struct cache_object *disk = g_strcmp0(ref->kind, "VirtualDisk") == 0
                                                  ? cache_get(cache, &api_virtual_disk_kind, machine->namespace, ref->name)
                                                  : NULL;

        return disk && disk_is_of_image(disk) ? disk : NULL;
}

const char *redeploy_refusal(const struct cache *cache, const struct cache_object *machine, struct arena *arena)
{
        const struct api_virtual_machine *view = machine->view;
        size_t n = 0;

        assert(cache && machine && arena);
        for (size_t i = 0; i < view->spec->n_block_device_refs; i++) {
                const struct cache_object *disk = template_disk(cache, machine, &view->spec->block_device_refs[i]);
                const struct cache_object *former = NULL;
                const char *readers;
                struct disk_plan plan;

                if (!disk)
                        continue;
                n++;
                readers = disk_readers(cache, disk, true, arena) ?: disk_readers(cache, disk, false, arena);
                if (readers)
                        return arena_printf(arena, "disk %s is read by its clones: %s", disk->name, readers);
                if (disk_other_holder(cache, disk, machine->uid, &former))
                        return arena_printf(arena, "disk %s is with another machine", disk->name);
                disk_plan(cache, disk, arena, &plan);
                if (object_deleting(disk) || plan.phase)
                        return arena_printf(arena, "disk %s could not be made anew: %s", disk->name,
                                            plan.phase ? plan.words : "it is being deleted");
        }
        return n > 0 ? NULL : "none of its disks is made of an image";
}

bool redeploy_renewed(const struct vm_context *vm)
{
        for (size_t i = 0; i < vm->spec->n_block_device_refs; i++) {
                const struct cache_object *disk = template_disk(vm->cache, vm->object, &vm->spec->block_device_refs[i]);

                if (disk && g_strcmp0(object_annotation(disk, ANNOTATION_RENEWED), vm->operation->uid) != 0)
                        return false;
        }
        return true;
}

void redeploy_end_domain(struct vm_context *vm)
{
        struct api_instance_spec spec = *vm->view->spec;

        /* Nothing that its guest could still write will be read. */
        spec.power = "Off";
        spec.stop_mode = "Force";
        spec.order = NULL;
        vm->ordered = true;
        turn_update_spec(vm->turn, vm->instance, &spec);
        vm->power_on = false;
        (void)intent_retire(vm->turn, vm->instance, vm->view->status ? vm->view->status->state : NULL);
        turn_event(vm->turn, vm->object, false, REASON_STOPPING, "the machine is redeployed: its domain is removed");
}

void redeploy_renew_disks(struct vm_context *vm)
{
        for (size_t i = 0; i < vm->spec->n_block_device_refs; i++) {
                const struct cache_object *disk = template_disk(vm->cache, vm->object, &vm->spec->block_device_refs[i]);

                if (disk && g_strcmp0(object_annotation(disk, ANNOTATION_RENEW), vm->operation->uid) != 0)
                        turn_set_annotation(vm->turn, disk, ANNOTATION_RENEW, vm->operation->uid);
        }
}
