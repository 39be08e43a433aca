/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/vm/redeploy.h"

#include "controllers/disk/disk.h"
#include "controllers/vm/context.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

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
                readers = disk_imaged(cache, disk, arena);
                if (readers)
                        return arena_printf(arena, "images are being made of disk %s: %s", disk->name, readers);
                if (disk_other_holder(cache, disk, machine->uid, &former))
                        return arena_printf(arena, "disk %s is with another machine", disk->name);
                disk_plan(cache, disk, arena, &plan);
                if (object_deleting(disk) || plan.phase)
                        return arena_printf(arena, "disk %s could not be made anew: %s", disk->name,
                                            plan.phase ? plan.words : "it is being deleted");
        }
        return n > 0 ? NULL : "none of its disks is made of an image";
}

/* --- identity --- */

const char *redeploy_identity(const struct cache_object *machine)
{
        const char *renewed = object_annotation(machine, ANNOTATION_IDENTITY);

        return renewed ? renewed : machine->uid;
}

static bool wants_identity(const struct vm_context *vm)
{
        const struct api_virtual_machine_operation *view = vm->operation->view;

        return g_strcmp0(view->spec->identity, "New") == 0;
}

static bool is_named(const struct vm_context *vm, const char *address)
{
        bool named = g_strcmp0(vm->spec->virtual_machine_ip_address_name, address) == 0;

        for (size_t i = 0; i < vm->spec->n_networks; i++)
                named |= g_strcmp0(vm->spec->networks[i].virtual_machine_ip_address_name, address) == 0;
        return named;
}

/* The old addresses are given back first: they would wait for the new interfaces. */
static bool identity_renewed(const struct vm_context *vm)
{
        g_autoptr(GPtrArray) owned = cache_lookup(vm->cache, INDEX_VMIP_BY_OWNER, vm->object->uid);

        if (strcmp(redeploy_identity(vm->object), vm->operation->uid) != 0)
                return false;
        for (guint i = 0; owned && i < owned->len; i++)
                if (object_deleting(owned->pdata[i]) && !is_named(vm, ((const struct cache_object *)owned->pdata[i])->name))
                        return false;
        return true;
}

/* Once, in one transaction: from then on all that is made is made of the new one. */
static void renew_identity(struct vm_context *vm)
{
        g_autoptr(GPtrArray) owned = cache_lookup(vm->cache, INDEX_VMIP_BY_OWNER, vm->object->uid);

        if (!vm_retire_ports(vm, true) || strcmp(redeploy_identity(vm->object), vm->operation->uid) == 0)
                return;
        for (guint i = 0; owned && i < owned->len; i++)
                if (!is_named(vm, ((const struct cache_object *)owned->pdata[i])->name))
                        turn_delete(vm->turn, owned->pdata[i]);
        turn_set_annotation(vm->turn, vm->object, ANNOTATION_IDENTITY, vm->operation->uid);
}

/* --- steps --- */

bool redeploy_renewed(const struct vm_context *vm)
{
        if (wants_identity(vm) && !identity_renewed(vm))
                return false;
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

void redeploy_renew(struct vm_context *vm)
{
        for (size_t i = 0; i < vm->spec->n_block_device_refs; i++) {
                const struct cache_object *disk = template_disk(vm->cache, vm->object, &vm->spec->block_device_refs[i]);

                if (disk && g_strcmp0(object_annotation(disk, ANNOTATION_RENEW), vm->operation->uid) != 0)
                        turn_set_annotation(vm->turn, disk, ANNOTATION_RENEW, vm->operation->uid);
        }
        if (wants_identity(vm))
                renew_identity(vm);
}
