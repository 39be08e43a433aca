/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/vm/context.h"

#include "base/quantity.h"
#include "controllers/attachment/attachment.h"
#include "controllers/disk/disk.h"
#include "controllers/image/image.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

#define SERIAL_LEN 20 /* what a virtio disk carries */

/* --- looking --- */

static void device_bad(struct vm_device *device, const char *words)
{
        device->usable = device->ready = false;
        device->words = words;
}

static void look_at_disk(struct vm_context *vm, struct vm_device *device)
{
        static const char *const usable[] = {"Ready", "Resizing", "WaitForFirstConsumer", "Provisioning"};
        const struct api_virtual_disk *disk = device->object->view;
        const char *phase = disk->status ? disk->status->phase : NULL;
        const struct api_condition *ready =
                disk->status ? condition_get(disk->status->conditions, disk->status->n_conditions, "Ready") : NULL;
        const struct cache_object *other = disk_other_holder(vm->cache, device->object, vm->object->uid, &device->former);
        const char *backs = disk_readers(vm->cache, device->object, true, vm->arena);
        bool placed = disk_node(vm->cache, device->object) != NULL;

        device->size = disk->status ? disk->status->capacity : NULL;
        device->ready = g_strcmp0(phase, "Ready") == 0 || g_strcmp0(phase, "Resizing") == 0;
        device->usable =
                phase && strings_hold(usable, G_N_ELEMENTS(usable), phase) && (strcmp(phase, "Provisioning") != 0 || placed);
        device->words = ready && ready->message ? ready->message : "nothing is known of it yet";
        if (object_deleting(device->object))
                device_bad(device, "it is being deleted");
        if (backs)
                device_bad(device, arena_printf(vm->arena,
                                                "linked clones read from it (%s): delete them, or use a full clone of it", backs));
        if (other)
                device_bad(device, arena_printf(vm->arena, "machine %s has it",
                                                ((const struct api_instance *)other->view)->spec->machine->name));
}

static void look_at_image(struct vm_context *vm, struct vm_device *device)
{
        struct image_content content;
        char text[32];

        device->usable = device->ready = image_ready(device->object, &content, &device->words);
        if (!device->ready)
                return;
        device->cdrom = strcmp(content.format, "iso") == 0;
        device->size = arena_strdup(vm->arena, quantity_format_bytes((uint64_t)content.virtual_size_bytes, text));
}

static void look_at_device(struct vm_context *vm, struct vm_device *device)
{
        const char *kind = device->ref->kind;

        device->image = g_strcmp0(kind, "VirtualDisk") != 0;
        device->object = device->image ? image_find(vm->cache, kind, vm->object->namespace, device->ref->name)
                                       : cache_get(vm->cache, &api_virtual_disk_kind, vm->object->namespace, device->ref->name);
        if (!device->object)
                device_bad(device, "it does not exist");
        else if (device->image)
                look_at_image(vm, device);
        else
                look_at_disk(vm, device);
}

/* Why devices cannot be used, or (@unready) are not ready yet. */
static const char *device_words(struct vm_context *vm, bool unready)
{
        const char *words = "";

        for (size_t i = 0; i < vm->n_devices; i++) {
                const struct vm_device *device = &vm->devices[i];

                if (unready ? device->ready : device->usable)
                        continue;
                words = arena_printf(vm->arena, "%s%s%s %s: %s", words, words[0] ? "; " : "", device->ref->kind, device->ref->name,
                                     device->words);
        }
        return words;
}

void vm_look_at_devices(struct vm_context *vm)
{
        assert(vm);

        const char *unusable, *unready;

        vm->n_devices = MIN(vm->spec->n_block_device_refs, LIMIT_BLOCK_DEVICES);
        for (size_t i = 0; i < vm->n_devices; i++) {
                vm->devices[i] = (struct vm_device){.ref = &vm->spec->block_device_refs[i]};
                look_at_device(vm, &vm->devices[i]);
        }
        unusable = device_words(vm, false);
        unready = device_words(vm, true);
        if (unusable[0]) {
                conditions_say(&vm->conditions, "BlockDevicesReady", "False", REASON_BLOCK_DEVICES_NOT_READY, "%s", unready);
                vm_block(vm, REASON_BLOCK_DEVICES_NOT_READY, unusable);
        } else if (unready[0]) {
                conditions_say(&vm->conditions, "BlockDevicesReady", "False",
                               REASON_WAITING_FOR_WAIT_FOR_FIRST_CONSUMER_BLOCK_DEVICES_TO_BE_READY, "%s", unready);
        } else {
                conditions_say(&vm->conditions, "BlockDevicesReady", "True", REASON_BLOCK_DEVICES_READY,
                               "all %zu disks and images are ready", vm->n_devices);
        }
        vm->n_own = vm->n_devices;
        vm_look_at_attachments(vm);
}

/* --- starting --- */

bool vm_bind_device(struct vm_context *vm, struct vm_device *device, const char **reterr_words)
{
        assert(vm && vm->node && device && reterr_words);

        device->volume = device->image ? image_volume_bind(vm->turn, device->object, vm->node, vm->object->uid, reterr_words)
                                       : disk_bind(vm->turn, device->object, vm->node, vm->object->uid, reterr_words);
        if (device->former)
                turn_depends(vm->turn, device->former);
        if (device->attachment)
                turn_depends(vm->turn, device->attachment);
        return device->volume != NULL;
}

/* What an attachment names does not keep the machine from starting: it comes later, or the attachment tells why not. */
bool vm_bind_devices(struct vm_context *vm)
{
        assert(vm && vm->node);

        for (size_t i = 0; i < vm->n_devices; i++) {
                struct vm_device *device = &vm->devices[i];
                const char *words = NULL, *node;

                node = device->attachment && !device->image ? disk_node(vm->cache, device->object) : NULL;
                device->dropped = node && strcmp(node, vm->node) != 0;
                if (device->dropped || vm_bind_device(vm, device, &words))
                        continue;
                device->dropped = device->attachment != NULL;
                if (device->dropped)
                        continue;
                vm_block(vm, REASON_BLOCK_DEVICES_NOT_READY,
                         arena_printf(vm->arena, "%s %s: %s", device->ref->kind, device->ref->name, words));
                return false;
        }
        return true;
}

/* The first letters and digits of the object's uid: the same for every machine that gets the disk. */
static const char *serial_of(struct vm_context *vm, const struct vm_device *device)
{
        char *serial = arena_alloc(vm->arena, SERIAL_LEN + 1);
        size_t n = 0;

        for (const char *p = device->object->uid; *p && n < SERIAL_LEN; p++)
                if (g_ascii_isalnum(*p))
                        serial[n++] = *p;
        return serial;
}

struct api_instance_disk vm_instance_disk(struct vm_context *vm, const struct vm_device *device)
{
        assert(vm && device && device->volume);
        return (struct api_instance_disk){
                .name = attachment_disk_name(vm->arena, device->ref->kind, device->ref->name),
                .volume = device->volume,
                .kind = device->cdrom   ? "Cdrom"
                        : device->image ? "Image"
                                        : "Disk",
                .read_only = device->image,
                .has_read_only = true,
                .serial = device->cdrom ? NULL : serial_of(vm, device),
                .attachment = device->attachment ? device->attachment->name : NULL,
                .limits = device->image ? NULL : disk_limits_wanted(device->object, vm->arena),
        };
}

/* Its place among all, from 1: those that name one first, then the others as they stand in the list (D32). */
static int64_t boot_place(const struct vm_context *vm, size_t index)
{
        const struct api_block_device_ref *ref = vm->devices[index].ref;
        int64_t place = 1;

        for (size_t i = 0; i < vm->n_own; i++) {
                const struct api_block_device_ref *other = vm->devices[i].ref;

                if (!ref->has_boot_order)
                        place += other->has_boot_order || i < index;
                else
                        place += other->has_boot_order && other->boot_order < ref->boot_order;
        }
        return place;
}

struct api_instance_disk *vm_instance_disks(struct vm_context *vm, size_t *ret_n)
{
        assert(vm && ret_n);

        struct api_instance_disk *disks = arena_array(vm->arena, vm->n_devices, sizeof(*disks));
        size_t n = 0;

        for (size_t i = 0; i < vm->n_devices; i++) {
                if (vm->devices[i].dropped)
                        continue;
                disks[n] = vm_instance_disk(vm, &vm->devices[i]);
                disks[n].has_boot_order = !vm->devices[i].attachment;
                disks[n].boot_order = disks[n].has_boot_order ? boot_place(vm, i) : 0;
                n++;
        }
        *ret_n = n;
        return disks;
}

/* The VirtualDisk that a disk of the Instance was started with; NULL: it is another kind, or gone. */
static const struct cache_object *disk_started(struct vm_context *vm, const struct api_instance_disk *disk)
{
        const struct cache_object *object =
                g_str_has_prefix(disk->name, "vd-")
                        ? cache_get(vm->cache, &api_virtual_disk_kind, vm->object->namespace, disk->name + strlen("vd-"))
                        : NULL;

        return object && g_strcmp0(disk_volume_name(vm->cache, vm->arena, object), disk->volume) == 0 ? object : NULL;
}

struct api_instance_disk_limits *vm_limits_wanted(struct vm_context *vm, const struct api_instance_disk *disk)
{
        const struct cache_object *object = disk_started(vm, disk);

        return object ? disk_limits_wanted(object, vm->arena) : disk->limits;
}

void vm_renew_limits(struct vm_context *vm)
{
        assert(vm && vm->view);

        struct api_instance_spec spec = *vm->view->spec;
        struct api_instance_disk *disks = arena_array(vm->arena, spec.n_disks, sizeof(*disks));
        bool any = false;

        for (size_t i = 0; i < spec.n_disks; i++) {
                disks[i] = spec.disks[i];
                disks[i].limits = vm_limits_wanted(vm, &spec.disks[i]);
                any |= disks[i].limits || spec.disks[i].limits;
        }
        spec.disks = disks;
        if (any)
                turn_update_spec(vm->turn, vm->instance, &spec);
}

void vm_release_devices(struct vm_context *vm)
{
        assert(vm);

        for (size_t i = 0; i < vm->spec->n_block_device_refs; i++) {
                const struct api_block_device_ref *ref = &vm->spec->block_device_refs[i];
                const struct cache_object *disk;

                if (strcmp(ref->kind, "VirtualDisk") != 0)
                        continue;
                disk = cache_get(vm->cache, &api_virtual_disk_kind, vm->object->namespace, ref->name);
                if (disk && g_strcmp0(object_annotation(disk, ANNOTATION_HELD_BY), vm->object->uid) == 0)
                        turn_set_annotation(vm->turn, disk, ANNOTATION_HELD_BY, NULL);
        }
}
