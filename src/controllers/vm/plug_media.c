/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/vm/context.h"

#include "controllers/attachment/attachment.h"

#include <assert.h>
#include <string.h>

/*
 * Media of the CD drives of a running machine, with disruptions.applyMode Live: an ISO image that its specification names instead
 * of another goes into the drive of that one, one that it names no more leaves its drive empty, and a new one takes an empty drive.
 * A drive keeps its name in the domain (InstanceDisk.drive) until the machine stops; the next start makes the drives anew. What
 * finds no drive waits for a restart as every other change of the list.
 */

static const char *key_of(const struct api_instance_disk *disk)
{
        return disk->drive ? disk->drive : disk->name;
}

static bool is_drive(const struct api_instance_disk *disk)
{
        return g_strcmp0(disk->kind, "Cdrom") == 0 && !disk->attachment && !disk->unplug;
}

static const char *name_of(struct vm_context *vm, const struct vm_device *device)
{
        return attachment_disk_name(vm->arena, device->ref->kind, device->ref->name);
}

struct media {
        struct vm_context *vm;
        struct api_instance_disk *disks;
        size_t n;
        bool taken[LIMIT_BLOCK_DEVICES * 2]; /* drives whose medium stays, or that one on its way will need */
        bool changed;
};

static bool names_device(const struct media *media, const char *name)
{
        for (size_t i = 0; i < media->n; i++)
                if (strcmp(media->disks[i].name, name) == 0 && media->disks[i].volume)
                        return true;
        return false;
}

/* That of the medium itself, when it was ejected before; else the first one that is free. */
static size_t find_drive(const struct media *media, const char *name)
{
        size_t found = media->n;

        for (size_t i = media->n; i-- > 0;)
                if (is_drive(&media->disks[i]) && !media->taken[i] &&
                    (found == media->n || strcmp(media->disks[found].name, name) != 0))
                        found = i;
        return found;
}

static void insert(struct media *media, struct vm_device *device)
{
        struct vm_context *vm = media->vm;
        size_t at = find_drive(media, name_of(vm, device));
        struct api_instance_disk *disk;
        const char *words = NULL, *key;

        if (at == media->n)
                return;
        media->taken[at] = true; /* also for an image that is not ready: what is there now stays until then */
        if (!device->usable || !device->cdrom || !vm_bind_device(vm, device, &words))
                return;
        disk = &media->disks[at];
        key = key_of(disk);
        *disk = (struct api_instance_disk){
                .name = name_of(vm, device),
                .volume = device->volume,
                .kind = "Cdrom",
                .read_only = true,
                .has_read_only = true,
                .boot_order = disk->boot_order,
                .has_boot_order = disk->has_boot_order,
        };
        disk->drive = strcmp(disk->name, key) == 0 ? NULL : key;
        media->changed = true;
}

bool vm_exchange_media(struct vm_context *vm, struct api_instance_disk *disks, size_t n)
{
        struct media media = {.vm = vm, .disks = disks, .n = n};

        assert(vm && disks && n <= G_N_ELEMENTS(media.taken));

        for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < vm->n_own; j++)
                        media.taken[i] |= disks[i].volume && strcmp(disks[i].name, name_of(vm, &vm->devices[j])) == 0;
        for (size_t j = 0; j < vm->n_own; j++)
                if (vm->devices[j].image && (vm->devices[j].cdrom || !vm->devices[j].usable) &&
                    !names_device(&media, name_of(vm, &vm->devices[j])))
                        insert(&media, &vm->devices[j]);
        for (size_t i = 0; i < n; i++) {
                if (!is_drive(&disks[i]) || media.taken[i] || !disks[i].volume)
                        continue;
                disks[i].volume = NULL;
                media.changed = true;
        }
        return media.changed;
}

/* --- what waits for a restart --- */

static const struct api_instance_disk *drive_of(const struct vm_context *vm, const char *key)
{
        const struct api_instance_spec *spec = vm->view->spec;

        for (size_t i = 0; i < spec->n_disks; i++)
                if (is_drive(&spec->disks[i]) && strcmp(key_of(&spec->disks[i]), key) == 0)
                        return &spec->disks[i];
        return NULL;
}

static const char *disk_name(struct vm_context *vm, const struct json_value *ref)
{
        const char *kind = json_find_string(ref, "kind", NULL), *name = json_find_string(ref, "name", NULL);

        return kind && name ? attachment_disk_name(vm->arena, kind, name) : "";
}

static const struct json_value *ref_of(struct vm_context *vm, const struct json_value *list, const char *name)
{
        for (const struct json_value *ref = json_first(list); ref; ref = json_next(ref))
                if (strcmp(disk_name(vm, ref), name) == 0)
                        return ref;
        return NULL;
}

/* Of a medium that nobody names any more. */
static struct json_value *ref_made(struct json_doc *doc, const char *name)
{
        struct json_value *ref = json_new(doc, JSON_OBJECT);
        bool cluster = g_str_has_prefix(name, "cvi-");

        json_set_string(doc, ref, "kind", cluster ? "ClusterVirtualImage" : "VirtualImage");
        json_set_string(doc, ref, "name", name + strlen(cluster ? "cvi-" : "vi-"));
        return ref;
}

void vm_overlay_media(struct vm_context *vm, struct json_doc *doc, struct json_value *current, const struct json_value *desired)
{
        const struct json_value *before = json_get(current, "blockDeviceRefs"), *wanted = json_get(desired, "blockDeviceRefs");
        struct json_value *now = json_new(doc, JSON_ARRAY);
        bool changed = false;

        assert(vm && vm->view && doc && current);
        for (const struct json_value *ref = json_first(before); ref; ref = json_next(ref)) {
                const struct api_instance_disk *drive = drive_of(vm, disk_name(vm, ref));
                const struct json_value *other = drive && drive->drive ? ref_of(vm, wanted, drive->name) : NULL;

                changed |= drive && (drive->drive || !drive->volume);
                if (drive && !drive->volume)
                        continue;
                json_append(now,
                            drive && drive->drive && !other ? ref_made(doc, drive->name) : json_copy(doc, other ? other : ref));
        }
        if (changed)
                json_set(doc, current, "blockDeviceRefs", now);
}

const char *vm_media_words(struct vm_context *vm, const char **ret_reason)
{
        const struct api_instance_spec *spec = vm->view->spec;
        const struct api_instance_status *status = vm->view->status;
        bool seen = status && status->observed_generation >= object_meta(vm->instance)->generation;

        assert(ret_reason);
        for (size_t i = 0; i < spec->n_disks; i++) {
                const struct api_instance_disk *disk = &spec->disks[i];
                const struct api_instance_disk_status *host = attachment_on_host(vm->instance, disk->name);

                if (!is_drive(disk) || (disk->volume && !disk->drive && host && !host->reason))
                        continue;
                if (host && host->reason) {
                        *ret_reason = host->reason;
                        return arena_printf(vm->arena, "host %s cannot %s the CD drive %s: %s", vm->node,
                                            disk->volume ? "put a medium into" : "empty", host->target ? host->target : "",
                                            host->message ? host->message : "no words");
                }
                if (disk->volume ? disk->drive && (!host || g_strcmp0(host->state, "Attached") != 0) : !seen || host)
                        return arena_printf(vm->arena, "host %s changes the medium of a CD drive", vm->node);
        }
        return NULL;
}
