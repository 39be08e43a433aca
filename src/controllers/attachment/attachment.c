/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/attachment/attachment.h"

#include "base/limits.h"
#include "controllers/disk/disk.h"
#include "controllers/image/image.h"
#include "controllers/object.h"
#include "controllers/vm/phase.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

struct attachment {
        struct turn *turn;
        const struct cache *cache;
        const struct cache_object *object;
        const struct api_virtual_machine_block_device_attachment *view;
        struct api_virtual_machine_block_device_attachment_status status;
        struct conditions conditions;

        const struct cache_object *machine;   /* NULL: it does not exist */
        const struct cache_object *instance;  /* NULL: none */
        const struct api_instance_disk *disk; /* of the Instance; NULL: it has none by this attachment */
        const struct api_instance_disk_status *host;
        struct attachment_look look;
        bool runs; /* the machine takes devices now */
};

/* --- what is known --- */

static bool machine_runs(const struct cache_object *instance)
{
        const struct api_instance *view = instance ? instance->view : NULL;
        enum vm_state state = vm_state_of(view && view->status ? view->status->state : NULL);

        return view && view->status && !object_deleting(instance) && g_strcmp0(view->spec->power, "On") == 0 &&
               view->status->epoch >= view->spec->epoch && (state == VM_STATE_RUNNING || state == VM_STATE_PAUSED);
}

static void learn(struct attachment *a, struct turn *turn, const struct cache_object *object)
{
        *a = (struct attachment){
                .turn = turn,
                .cache = turn_cache(turn),
                .object = object,
                .view = attachment_view(object),
        };
        if (a->view->status)
                a->status = *a->view->status;
        a->conditions = (struct conditions){
                .arena = turn_arena(turn),
                .list = &a->status.conditions,
                .n = &a->status.n_conditions,
                .generation = object_meta(object)->generation,
                .now_us = turn_now_us(turn),
        };
        a->status.observed_generation = a->conditions.generation;
        a->status.has_observed_generation = true;
        a->status.virtual_machine_name = a->view->spec->virtual_machine_name;
        a->machine = cache_get(a->cache, &api_virtual_machine_kind, object->namespace, a->view->spec->virtual_machine_name);
        a->instance = a->machine ? index_one(a->cache, INDEX_INSTANCE_BY_MACHINE, a->machine->uid) : NULL;
        a->disk = attachment_in(a->instance, object);
        a->host = a->disk ? attachment_on_host(a->instance, a->disk->name) : NULL;
        a->runs = machine_runs(a->instance);
        attachment_look(a->cache, object, a->machine, a->instance, turn_arena(turn), &a->look);
}

/* --- conditions --- */

static void say_device(struct attachment *a)
{
        if (a->look.usable)
                conditions_say(&a->conditions, "BlockDeviceReady", "True", REASON_BLOCK_DEVICE_READY, "%s %s can be attached",
                               a->look.kind, a->look.name);
        else
                conditions_say(&a->conditions, "BlockDeviceReady", "False", REASON_BLOCK_DEVICE_NOT_READY, "%s %s: %s",
                               a->look.kind, a->look.name, a->look.words);
}

static void say_machine(struct attachment *a)
{
        const char *name = a->view->spec->virtual_machine_name;

        if (a->runs)
                conditions_say(&a->conditions, "VirtualMachineReady", "True", REASON_VIRTUAL_MACHINE_READY, "machine %s runs",
                               name);
        else if (!a->machine)
                conditions_say(&a->conditions, "VirtualMachineReady", "False", REASON_VIRTUAL_MACHINE_NOT_READY,
                               "machine %s does not exist", name);
        else
                conditions_say(&a->conditions, "VirtualMachineReady", "False", REASON_VIRTUAL_MACHINE_NOT_READY,
                               "machine %s does not run; what waits is attached at its next start", name);
}

/* Devices of the machine besides this one. */
static size_t others(const struct attachment *a)
{
        const struct api_instance_spec *spec = a->instance ? ((const struct api_instance *)a->instance->view)->spec : NULL;
        const struct api_virtual_machine *vm = a->machine ? a->machine->view : NULL;

        if (spec && instance_active(a->instance))
                return spec->n_disks - (a->disk ? 1 : 0);
        return vm ? vm->spec->n_block_device_refs : 0;
}

static bool say_capacity(struct attachment *a)
{
        size_t n = others(a);

        if (n < LIMIT_BLOCK_DEVICES)
                conditions_say(&a->conditions, "DiskAttachmentCapacityAvailableType", "True", REASON_CAPACITY_AVAILABLE,
                               "a machine may have %d devices", LIMIT_BLOCK_DEVICES);
        else
                conditions_say(&a->conditions, "DiskAttachmentCapacityAvailableType", "False", REASON_CAPACITY_REACHED,
                               "machine %s has %zu devices already, and may have %d", a->machine->name, n, LIMIT_BLOCK_DEVICES);
        return n < LIMIT_BLOCK_DEVICES;
}

static enum turn_result tell(struct attachment *a, const char *phase, bool attached, const char *reason, const char *words)
{
        bool was = g_strcmp0(a->status.phase, "Attached") == 0, failed = strcmp(phase, "Failed") == 0;

        if (attached && !was)
                turn_event(a->turn, a->object, false, REASON_BLOCK_DEVICE_ATTACHED, words);
        if (failed && g_strcmp0(a->status.phase, "Failed") != 0)
                turn_event(a->turn, a->object, true, reason, words);
        a->status.phase = phase;
        a->status.target = attached && a->host ? a->host->target : NULL;
        conditions_say(&a->conditions, "Attached", attached ? "True" : "False", reason, "%s", words);
        turn_update_status(a->turn, a->object, &a->status);
        return attached ? TURN_DONE : TURN_WAIT;
}

/* --- in place --- */

/* The Instance has it: what its host makes of it. */
static enum turn_result follow(struct attachment *a)
{
        struct arena *arena = turn_arena(a->turn);
        const char *node = ((const struct api_instance *)a->instance->view)->spec->node_name;
        bool attached = a->host && g_strcmp0(a->host->state, "Attached") == 0;

        if (!a->runs)
                return tell(a, "Pending", false, REASON_NOT_ATTACHED, "it is attached when the machine runs");
        if (attached)
                return tell(a, "Attached", true, REASON_ATTACHED,
                            arena_printf(arena, "%s %s is %s of machine %s", a->look.kind, a->look.name,
                                         a->host->target ? a->host->target : "a disk", a->machine->name));
        if (a->host && a->host->reason)
                return tell(a, "InProgress", false, a->host->reason,
                            arena_printf(arena, "host %s: %s", node, a->host->message ? a->host->message : "no words"));
        return tell(a, "InProgress", false, REASON_ATTACHMENT_REQUEST_SENT,
                    arena_printf(arena, "host %s was told to attach it", node));
}

/* A drive whose medium was exchanged keeps the name that it was started with. */
static bool names_drive(const struct attachment *a)
{
        const struct api_instance_spec *spec = a->instance ? ((const struct api_instance *)a->instance->view)->spec : NULL;
        const char *name = attachment_disk_name(turn_arena(a->turn), a->look.kind, a->look.name);

        for (size_t i = 0; spec && a->runs && i < spec->n_disks; i++)
                if (g_strcmp0(spec->disks[i].drive, name) == 0)
                        return true;
        return false;
}

static enum turn_result judge(struct attachment *a)
{
        struct arena *arena = turn_arena(a->turn);
        bool room;

        say_device(a);
        say_machine(a);
        room = say_capacity(a);
        if (a->disk && instance_active(a->instance))
                return follow(a);
        if (a->look.conflict)
                return tell(a, "Failed", false, REASON_ATTACHMENT_CONFLICT, a->look.conflict);
        if (a->look.elsewhere)
                return tell(a, "Failed", false, REASON_DEVICE_NOT_AVAILABLE_ON_NODE, a->look.elsewhere);
        if (!a->look.usable)
                return tell(a, "Pending", false, REASON_NOT_ATTACHED,
                            arena_printf(arena, "waits for %s %s: %s", a->look.kind, a->look.name, a->look.words));
        if (!room)
                return tell(a, "Pending", false, REASON_CAPACITY_REACHED, "waits until the machine has fewer devices");
        if (names_drive(a))
                return tell(a, "Pending", false, REASON_NOT_ATTACHED,
                            "a CD drive of the machine was started with it and bears its name: it comes at the next start");
        return tell(a, "Pending", false, REASON_NOT_ATTACHED,
                    a->runs ? "the machine is about to get it" : "waits until the machine runs");
}

/* --- the end --- */

/* Nobody has the device by this attachment any more: others may have it. */
static void release(struct attachment *a)
{
        const char *node = a->instance ? ((const struct api_instance *)a->instance->view)->spec->node_name : NULL;
        const struct cache_object *held = !a->look.device  ? NULL
                                          : !a->look.image ? a->look.device
                                          : node           ? image_volume_on(a->cache, a->look.device, node)
                                                           : NULL;
        const struct api_instance_spec *spec = a->instance ? ((const struct api_instance *)a->instance->view)->spec : NULL;
        const char *name = attachment_disk_name(turn_arena(a->turn), a->look.kind, a->look.name);

        for (size_t i = 0; spec && i < spec->n_disks; i++)
                if (strcmp(spec->disks[i].name, name) == 0)
                        return;
        if (!held || !a->machine || g_strcmp0(object_annotation(held, ANNOTATION_HELD_BY), a->machine->uid) != 0)
                return;
        if (a->instance)
                turn_depends(a->turn, a->instance);
        turn_set_annotation(a->turn, held, ANNOTATION_HELD_BY, NULL);
}

/* What hinders a detach is told once. */
static void tell_trouble(struct attachment *a)
{
        const struct api_condition *before = condition_get(a->status.conditions, a->status.n_conditions, "Terminating");

        if (a->host && a->host->reason && a->host->message && (!before || g_strcmp0(before->reason, a->host->reason) != 0))
                turn_event(a->turn, a->object, true, a->host->reason,
                           arena_printf(turn_arena(a->turn), "%s %s stays in machine %s: %s", a->look.kind, a->look.name,
                                        a->view->spec->virtual_machine_name, a->host->message));
}

static enum turn_result detach(struct attachment *a)
{
        const char *words;

        if (!a->disk) {
                release(a);
                if (g_strcmp0(a->status.phase, "Terminating") == 0)
                        turn_event(a->turn, a->object, false, REASON_BLOCK_DEVICE_DETACHED,
                                   arena_printf(turn_arena(a->turn), "%s %s was detached from machine %s", a->look.kind,
                                                a->look.name, a->view->spec->virtual_machine_name));
                turn_remove_finalizer(a->turn, a->object, FINALIZER_ATTACHMENT);
                return TURN_DONE;
        }
        words = a->host && a->host->message ? a->host->message
                                            : arena_printf(turn_arena(a->turn), "waits until host %s has taken it from the machine",
                                                           ((const struct api_instance *)a->instance->view)->spec->node_name);
        tell_trouble(a);
        a->status.phase = "Terminating";
        a->status.target = a->host ? a->host->target : NULL;
        conditions_say(&a->conditions, "Terminating", "True", a->host && a->host->reason ? a->host->reason : REASON_DETACH_PENDING,
                       "%s", words);
        turn_update_status(a->turn, a->object, &a->status);
        return TURN_WAIT;
}

static enum turn_result attachment_turn(struct turn *turn, const struct cache_object *object)
{
        struct attachment a;

        learn(&a, turn, object);
        if (object_deleting(object))
                return detach(&a);
        turn_add_finalizer(turn, object, FINALIZER_ATTACHMENT);
        return judge(&a);
}

/* --- relations --- */

static void enqueue_of(const struct cache *cache, const char *namespace, const char *name, struct workqueue *queue)
{
        g_autofree char *key = g_strdup_printf("%s/%s", namespace, name);

        index_enqueue(cache, INDEX_ATTACHMENT_BY_VM, key, queue);
}

static void enqueue_device(const struct cache *cache, const char *kind, const char *namespace, const char *name,
                           struct workqueue *queue)
{
        g_autofree char *key = device_key(kind, strcmp(kind, "ClusterVirtualImage") == 0 ? NULL : namespace, name);

        index_enqueue(cache, INDEX_ATTACHMENT_BY_DEVICE, key, queue);
}

static void attachment_related(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                               struct workqueue *queue)
{
        const struct cache_object *object = now ? now : before;

        if (object->kind == &api_virtual_machine_kind) {
                if (object_moved(before, now))
                        enqueue_of(cache, object->namespace, object->name, queue);
        } else if (object->kind == &api_instance_kind) {
                const struct api_instance *instance = object->view;

                enqueue_of(cache, instance->spec->machine->namespace, instance->spec->machine->name, queue);
        } else if (object->kind == &api_virtual_disk_kind || object->kind == &api_virtual_image_kind ||
                   object->kind == &api_cluster_virtual_image_kind) {
                enqueue_device(cache, object->kind->kind, object->namespace, object->name, queue);
        } else if (object->kind == &api_virtual_machine_block_device_attachment_kind && object_moved(before, now)) {
                const struct api_virtual_machine_block_device_attachment_spec *spec = attachment_view(object)->spec;

                enqueue_of(cache, object->namespace, spec->virtual_machine_name, queue); /* younger ones may take its place */
                enqueue_device(cache, spec->block_device_ref->kind, object->namespace, spec->block_device_ref->name, queue);
        }
}

const struct controller attachment_controller = {
        .name = "attachment",
        .kind = &api_virtual_machine_block_device_attachment_kind,
        .turn = attachment_turn,
        .related = attachment_related,
};
