/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/attachment/attachment.h"

#include "base/quantity.h"
#include "controllers/disk/disk.h"
#include "controllers/image/image.h"
#include "controllers/object.h"
#include "controllers/placement/placement.h"

#include <assert.h>
#include <string.h>

const struct api_virtual_machine_block_device_attachment *attachment_view(const struct cache_object *attachment)
{
        assert(attachment && attachment->kind == &api_virtual_machine_block_device_attachment_kind);
        return attachment->view;
}

const char *attachment_disk_name(struct arena *arena, const char *kind, const char *name)
{
        const char *prefix = strcmp(kind, "VirtualDisk") == 0 ? "vd" : strcmp(kind, "VirtualImage") == 0 ? "vi" : "cvi";

        assert(arena && name);
        return arena_printf(arena, "%s-%s", prefix, name);
}

/* --- in the Instance --- */

const struct api_instance_disk *attachment_in(const struct cache_object *instance, const struct cache_object *attachment)
{
        const struct api_instance_spec *spec = instance ? ((const struct api_instance *)instance->view)->spec : NULL;

        assert(attachment);
        for (size_t i = 0; spec && i < spec->n_disks; i++)
                if (g_strcmp0(spec->disks[i].attachment, attachment->name) == 0)
                        return &spec->disks[i];
        return NULL;
}

const struct api_instance_disk_status *attachment_on_host(const struct cache_object *instance, const char *disk)
{
        const struct api_instance *view = instance ? instance->view : NULL;
        const struct api_instance_status *status = view ? view->status : NULL;

        assert(disk);
        if (!status || status->epoch < view->spec->epoch)
                return NULL;
        for (size_t i = 0; i < status->n_devices; i++)
                if (strcmp(status->devices[i].name, disk) == 0)
                        return &status->devices[i];
        return NULL;
}

/* --- of a machine --- */

static int compare_age(const void *a, const void *b)
{
        const struct cache_object *left = *(const struct cache_object *const *)a, *right = *(const struct cache_object *const *)b;
        uint64_t x = object_created_us(left), y = object_created_us(right);

        return x != y ? (x < y ? -1 : 1) : strcmp(left->name, right->name);
}

GPtrArray *attachments_of(const struct cache *cache, const struct cache_object *machine)
{
        g_autofree char *key = g_strdup_printf("%s/%s", machine->namespace, machine->name);
        GPtrArray *all = cache_lookup(cache, INDEX_ATTACHMENT_BY_VM, key);

        assert(cache);
        if (!all)
                return g_ptr_array_new();
        g_ptr_array_sort(all, compare_age);
        return all;
}

/* --- conflicts --- */

static bool is_same(const struct api_block_device_ref *ref, const struct attachment_look *look)
{
        return ref && g_strcmp0(ref->kind, look->kind) == 0 && g_strcmp0(ref->name, look->name) == 0;
}

/* The device is the machine's without the attachment, by its specification or by one that came before: by which it has it (still),
 * or that is older. Times are whole seconds: of two that were made in one, the name would decide against what the machine has. */
static const char *conflict_of(const struct cache *cache, const struct cache_object *attachment, const struct cache_object *machine,
                               const struct cache_object *instance, const struct attachment_look *look, struct arena *arena)
{
        const struct api_virtual_machine_spec *spec = ((const struct api_virtual_machine *)machine->view)->spec;
        g_autoptr(GPtrArray) all = attachments_of(cache, machine);
        bool older = true; /* those before the attachment itself are */

        for (size_t i = 0; i < spec->n_block_device_refs; i++)
                if (is_same(&spec->block_device_refs[i], look))
                        return arena_printf(arena, "machine %s lists %s %s in its own specification", machine->name, look->kind,
                                            look->name);
        for (guint i = 0; i < all->len; i++) {
                const struct cache_object *other = all->pdata[i];

                if (other == attachment)
                        older = false;
                else if (((older && !object_deleting(other)) || attachment_in(instance, other)) &&
                         is_same(attachment_view(other)->spec->block_device_ref, look))
                        return arena_printf(arena, "attachment %s gives %s %s to the machine already", other->name, look->kind,
                                            look->name);
        }
        return NULL;
}

/* --- devices --- */

static void look_at_disk(const struct cache *cache, const struct cache_object *machine, struct arena *arena,
                         struct attachment_look *look)
{
        static const char *const usable[] = {"Ready", "Resizing", "WaitForFirstConsumer", "Provisioning"};
        const struct api_virtual_disk *disk = look->device->view;
        const char *phase = disk->status ? disk->status->phase : NULL;
        const struct api_condition *ready =
                disk->status ? condition_get(disk->status->conditions, disk->status->n_conditions, "Ready") : NULL;
        const struct cache_object *other = machine ? disk_other_holder(cache, look->device, machine->uid, &look->former) : NULL;
        const char *backs = disk_readers(cache, look->device, true, arena);

        look->size = disk->status ? disk->status->capacity : NULL;
        look->usable = phase && strings_hold(usable, G_N_ELEMENTS(usable), phase) &&
                       (strcmp(phase, "Provisioning") != 0 || disk_node(cache, look->device));
        look->words = ready && ready->message ? ready->message : "nothing is known of it yet";
        if (backs) {
                look->usable = false;
                look->words = arena_printf(arena, "linked clones read from it (%s): delete them, or use a full clone of it", backs);
        }
        if (other)
                look->conflict =
                        arena_printf(arena, "machine %s has it", ((const struct api_instance *)other->view)->spec->machine->name);
}

static void look_at_image(struct arena *arena, struct attachment_look *look)
{
        struct image_content content;
        char text[32];

        look->usable = image_ready(look->device, &content, &look->words);
        if (!look->usable)
                return;
        look->cdrom = strcmp(content.format, "iso") == 0;
        look->size = arena_strdup(arena, quantity_format_bytes((uint64_t)content.virtual_size_bytes, text));
}

static void look_at_device(const struct cache *cache, const struct cache_object *attachment, const struct cache_object *machine,
                           struct arena *arena, struct attachment_look *look)
{
        look->image = strcmp(look->kind, "VirtualDisk") != 0;
        look->device = look->image ? image_find(cache, look->kind, attachment->namespace, look->name)
                                   : cache_get(cache, &api_virtual_disk_kind, attachment->namespace, look->name);
        if (!look->device) {
                look->words = "it does not exist";
                return;
        }
        if (look->image)
                look_at_image(arena, look);
        else
                look_at_disk(cache, machine, arena, look);
        if (object_deleting(look->device)) {
                look->usable = false;
                look->words = "it is being deleted";
        }
}

static const char *elsewhere_of(const struct cache *cache, const struct cache_object *instance, struct arena *arena,
                                const struct attachment_look *look)
{
        const char *host = ((const struct api_instance *)instance->view)->spec->node_name, *node = disk_node(cache, look->device);
        const struct cache_object *object = cache_get(cache, &api_node_kind, NULL, host);
        struct disk_plan plan;
        const char *words;

        if (node && strcmp(node, host) != 0)
                return arena_printf(arena, "%s lies on host %s, and the machine is on %s", look->name, node, host);
        if (disk_volume(cache, look->device) || !object || !look->usable)
                return NULL;
        disk_plan(cache, look->device, arena, &plan);
        words = plan.pool ? placement_pool_words(cache, object, plan.pool->name, (uint64_t)plan.capacity_bytes, arena) : NULL;
        return words ? arena_printf(arena, "host %s %s", host, words) : NULL;
}

void attachment_look(const struct cache *cache, const struct cache_object *attachment, const struct cache_object *machine,
                     const struct cache_object *instance, struct arena *arena, struct attachment_look *ret)
{
        const struct api_virtual_machine_block_device_attachment_spec *spec = attachment_view(attachment)->spec;

        assert(cache && arena && ret);

        *ret = (struct attachment_look){.kind = spec->block_device_ref->kind, .name = spec->block_device_ref->name};
        look_at_device(cache, attachment, machine, arena, ret);
        if (instance && instance_active(instance) && attachment_in(instance, attachment))
                return;
        if (instance && ret->device && !ret->image)
                ret->elsewhere = elsewhere_of(cache, instance, arena, ret);
        if (machine && !ret->conflict)
                ret->conflict = conflict_of(cache, attachment, machine, instance, ret, arena);
}
