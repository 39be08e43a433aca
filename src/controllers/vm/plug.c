/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/vm/context.h"
#include "controllers/vm/graphics.h"

#include "controllers/attachment/attachment.h"

#include <assert.h>
#include <string.h>

/*
 * Attachments of a machine. A start takes those that can be used; while it runs the Instance's list of disks grows by them, one
 * that shall go is marked, and leaves the list when its host says that the domain has it no more. A machine that is off has none:
 * its next start looks anew, and the hardware record keeps their places. The disks of the specification are those of the start.
 */

/* --- looking --- */

/* The specification lists it too, since the machine was started with it. */
static bool is_own(const struct vm_context *vm, const struct attachment_look *look)
{
        for (size_t i = 0; i < vm->n_own; i++)
                if (strcmp(vm->devices[i].ref->kind, look->kind) == 0 && strcmp(vm->devices[i].ref->name, look->name) == 0)
                        return true;
        return false;
}

void vm_look_at_attachments(struct vm_context *vm)
{
        g_autoptr(GPtrArray) all = attachments_of(vm->cache, vm->object);

        assert(vm->n_devices == vm->n_own);
        for (guint i = 0; i < all->len && vm->n_devices < LIMIT_BLOCK_DEVICES; i++) {
                const struct cache_object *attachment = all->pdata[i];
                const struct api_instance_disk *disk = attachment_in(vm->instance, attachment);
                struct attachment_look look;

                attachment_look(vm->cache, attachment, vm->object, vm->instance, vm->arena, &look);
                if (!look.device || is_own(vm, &look) ||
                    (!disk && (object_deleting(attachment) || !look.usable || look.conflict || look.elsewhere)))
                        continue;
                vm->devices[vm->n_devices++] = (struct vm_device){
                        .ref = attachment_view(attachment)->spec->block_device_ref,
                        .object = look.device,
                        .former = look.former,
                        .image = look.image,
                        .cdrom = look.cdrom,
                        .usable = look.usable,
                        .ready = look.usable,
                        .words = look.words,
                        .size = look.size,
                        .attachment = attachment,
                };
        }
}

/* --- plugging --- */

/* Whether a disk of the Instance is one of its specification, or its attachment still stands. */
static bool is_wanted(struct vm_context *vm, const struct api_instance_disk *disk)
{
        const struct cache_object *attachment = disk->attachment
                                                        ? cache_get(vm->cache, &api_virtual_machine_block_device_attachment_kind,
                                                                    vm->object->namespace, disk->attachment)
                                                        : NULL;
        const struct api_virtual_machine_block_device_attachment_spec *spec = attachment ? attachment_view(attachment)->spec : NULL;

        if (!disk->attachment)
                return true;
        return spec && !object_deleting(attachment) && strcmp(spec->virtual_machine_name, vm->object->name) == 0 &&
               strcmp(attachment_disk_name(vm->arena, spec->block_device_ref->kind, spec->block_device_ref->name), disk->name) == 0;
}

/* Whether the domain may still have a disk that shall go. */
static bool is_held(struct vm_context *vm, const struct api_instance_disk *disk)
{
        const struct api_instance_status *status = vm->view->status;

        if (!instance_active(vm->instance))
                return false;
        return !disk->unplug || !status || status->n_devices == 0 ||
               status->observed_generation < object_meta(vm->instance)->generation || attachment_on_host(vm->instance, disk->name);
}

/* What stays of the disks that the Instance has; false: nothing changes. */
static bool keep(struct vm_context *vm, struct api_instance_disk *disks, size_t *n)
{
        const struct api_instance_spec *spec = vm->view->spec;
        bool changed = false, active = instance_active(vm->instance);

        for (size_t i = 0; i < spec->n_disks; i++) {
                struct api_instance_disk disk = spec->disks[i];
                bool wanted = is_wanted(vm, &disk) && (active || !disk.attachment);

                if (!wanted && !is_held(vm, &disk)) {
                        changed = true;
                        continue;
                }
                if (!wanted && !disk.unplug) {
                        disk.unplug = disk.has_unplug = true;
                        changed = true;
                }
                disk.limits = vm_limits_wanted(vm, &disk); /* this list takes the place of one of vm_renew_limits() */
                disks[(*n)++] = disk;
        }
        return changed;
}

static bool has_disk(const struct api_instance_disk *disks, size_t n, const char *name)
{
        for (size_t i = 0; i < n; i++)
                if (strcmp(disks[i].name, name) == 0 || g_strcmp0(disks[i].drive, name) == 0)
                        return true;
        return false;
}

/* A domain takes disks while it runs as it was ordered. */
static bool takes_disks(const struct vm_context *vm)
{
        return vm->power_on && vm->current && vm->facts.state == VM_STATE_RUNNING;
}

static bool add(struct vm_context *vm, struct api_instance_disk *disks, size_t *n)
{
        bool changed = false;

        for (size_t i = vm->n_own; i < vm->n_devices && *n < LIMIT_BLOCK_DEVICES; i++) {
                struct vm_device *device = &vm->devices[i];
                const char *name = attachment_disk_name(vm->arena, device->ref->kind, device->ref->name), *words = NULL;

                if (object_deleting(device->attachment) || !device->usable || has_disk(disks, *n, name) ||
                    !vm_bind_device(vm, device, &words))
                        continue;
                disks[(*n)++] = vm_instance_disk(vm, device);
                changed = true;
        }
        return changed;
}

void vm_plug(struct vm_context *vm)
{
        struct api_instance_spec spec;
        size_t n = 0;
        bool changed;

        assert(vm && vm->instance && !vm->started);

        if (object_deleting(vm->instance) || vm->ordered)
                return;
        spec = *vm->view->spec;
        spec.disks = arena_array(vm->arena, spec.n_disks + LIMIT_BLOCK_DEVICES, sizeof(*spec.disks));
        changed = keep(vm, spec.disks, &n);
        if (takes_disks(vm) && vm_applies_live(vm))
                changed |= vm_exchange_media(vm, spec.disks, n);
        if (takes_disks(vm))
                changed |= add(vm, spec.disks, &n);
        changed |= vm_plug_nics(vm, &spec, takes_disks(vm));
        changed |= vm_renew_graphics(vm, &spec);
        if (!changed)
                return;
        spec.n_disks = n;
        if (vm->view->status && vm->view->status->hardware)
                spec.hardware = vm->view->status->hardware; /* with the places of disks that came */
        turn_update_spec(vm->turn, vm->instance, &spec);
}
