/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/vm/context.h"

#include "controllers/disk/disk.h"
#include "controllers/placement/firmware.h"
#include "controllers/placement/placement.h"
#include "controllers/vm/graphics.h"
#include "controllers/vm/redeploy.h"
#include "generated/reasons.h"
#include "schema/cpu_topology.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define STABLE_RUN_US  600000000ull /* a run that lasts this long ends the count of failures */
#define COUNT_MOST     1000000u     /* of ends in a row */
#define PLACE_AGAIN_US 60000000ull  /* room may come back without an event, at the latest seen then */

void vm_block(struct vm_context *vm, const char *reason, const char *words)
{
        assert(vm && reason && words);

        if (vm->block_reason)
                return;
        vm->block_reason = reason;
        vm->block_words = words;
}

/* --- an end that nobody asked for --- */

const char *vm_end_words(struct vm_context *vm, const char *reason)
{
        static const struct {
                const char *reason, *before, *after; /* the name of the host stands between them */
        } ends[] = {
                {REASON_DOMAIN_DESTROYED_OUTSIDE, "somebody cut it off on host ", ""},
                {REASON_DOMAIN_SAVED_OUTSIDE, "somebody saved it to a file on host ", ""},
                {REASON_DOMAIN_LOST, "its domain was removed from host ", ""},
                {REASON_HOST_LOST, "host ", " went down"},
                {REASON_GUEST_SHUTDOWN, "the guest on host ", " shut itself down"},
                {REASON_CRASHED, "its QEMU crashed or was killed on host ", ""},
                {REASON_GUEST_PANICKED, "the kernel of the guest panicked on host ", ""},
        };

        assert(vm && reason);
        for (size_t i = 0; i < G_N_ELEMENTS(ends); i++)
                if (strcmp(ends[i].reason, reason) == 0)
                        return arena_printf(vm->arena, "%s%s%s", ends[i].before, vm->node, ends[i].after);
        return arena_printf(vm->arena, "it ended on host %s (%s)", vm->node, reason);
}

/* --- back-off --- */

struct back_off {
        int64_t epoch;
        unsigned count;
        uint64_t since_us;
};

static struct back_off back_off_read(const char *text)
{
        struct back_off back_off = {0};
        char time[CLOCK_RFC3339_MAX] = "";

        if (!text || sscanf(text, "%" SCNd64 " %u %31s", &back_off.epoch, &back_off.count, time) != 3)
                return (struct back_off){0};
        back_off.since_us = time_us(time);
        return back_off;
}

/* The end of the domain of this epoch, counted and told once. */
static void back_off_note(struct vm_context *vm, struct back_off *back_off)
{
        const struct api_instance_status *status = vm->view->status;
        uint64_t now_us = turn_now_us(vm->turn), started_us = status ? time_us(status->started_at) : 0, pause_us;
        bool stable = started_us > 0 && now_us > started_us + STABLE_RUN_US;
        char time[CLOCK_RFC3339_MAX];
        const char *next = "";

        back_off->count = stable || back_off->epoch != vm->view->spec->epoch - 1 ? 1 : MIN(back_off->count, COUNT_MOST) + 1;
        back_off->since_us = now_us / 1000000 * 1000000;
        turn_set_annotation(vm->turn, vm->instance, ANNOTATION_BACK_OFF,
                            arena_printf(vm->arena, "%" PRId64 " %u %s", vm->view->spec->epoch, back_off->count,
                                         clock_format_rfc3339(back_off->since_us, false, time)));
        pause_us = power_back_off_us(back_off->count);
        if (pause_us > 0)
                next = arena_printf(vm->arena, "; that was %u times in a row, it is started again at %s", back_off->count,
                                    clock_format_rfc3339(back_off->since_us + pause_us, false, time));
        turn_event(vm->turn, vm->object, true, vm->decision.reason,
                   arena_printf(vm->arena, "the machine ended without being asked: %s%s", vm_end_words(vm, vm->decision.reason),
                                next));
}

/* Whether the next start is due. */
static bool back_off_over(struct vm_context *vm)
{
        struct back_off back_off = back_off_read(object_annotation(vm->instance, ANNOTATION_BACK_OFF));
        uint64_t now_us = turn_now_us(vm->turn), until_us;

        if (back_off.epoch != vm->view->spec->epoch)
                back_off_note(vm, &back_off);
        until_us = back_off.since_us + power_back_off_us(back_off.count);
        if (now_us >= until_us)
                return true;
        vm->back_off_until_us = until_us;
        vm->back_off_count = back_off.count;
        turn_again_in(vm->turn, until_us - now_us);
        return false;
}

/* --- placement --- */

/* Where the machine's data is: its disks, and its domain once it has one. */
static size_t collect_pins(struct vm_context *vm, struct placement_pin *pins)
{
        size_t n = 0;

        if (vm->instance)
                pins[n++] = (struct placement_pin){.node = vm->view->spec->node_name, .what = "its domain"};
        for (size_t i = 0; i < vm->n_own; i++) {
                const struct vm_device *device = &vm->devices[i];
                const char *node = device->image ? NULL : disk_node(vm->cache, device->object);

                if (node)
                        pins[n++] =
                                (struct placement_pin){.node = node, .what = arena_printf(vm->arena, "disk %s", device->ref->name)};
        }
        return n;
}

/* The pools that the devices need, and how much of each new disks may become. */
static size_t collect_pools(struct vm_context *vm, const char **pools, uint64_t *bytes)
{
        const struct cache_object *pool;
        size_t n = 0;

        for (size_t i = 0; i < vm->n_own; i++) {
                const struct vm_device *device = &vm->devices[i];

                uint64_t more = 0;
                size_t at = 0;

                pool = disk_pool_default(vm->cache);
                if (!device->image) {
                        struct disk_plan plan;

                        disk_plan(vm->cache, device->object, vm->arena, &plan);
                        pool = plan.pool;
                        more = disk_volume(vm->cache, device->object) ? 0 : (uint64_t)plan.capacity_bytes;
                }
                if (!pool)
                        continue;
                while (at < n && strcmp(pools[at], pool->name) != 0)
                        at++;
                if (at == n) {
                        bytes[n] = 0;
                        pools[n++] = pool->name;
                }
                bytes[at] += more;
        }
        return n;
}

/* Two turns at once must not give the same room away twice: each start on a node writes to it. */
static void lock_node(struct vm_context *vm)
{
        const struct cache_object *node = cache_get(vm->cache, &api_node_kind, NULL, vm->node);

        assert(node);
        turn_set_annotation(vm->turn, node, ANNOTATION_LAST_START,
                            arena_printf(vm->arena, "%s %" PRId64, vm->object->uid, vm->epoch));
}

static bool choose_node(struct vm_context *vm, bool in_place)
{
        struct placement_pin pins[LIMIT_BLOCK_DEVICES + 1];
        const char *pools[LIMIT_BLOCK_DEVICES];
        uint64_t pool_bytes[LIMIT_BLOCK_DEVICES];
        struct placement_request request = {
                .machine = vm->object,
                .class = vm->class,
                .cpu_milli = placement_guaranteed_milli((uint64_t)vm->cores, vm->fraction_percent),
                .memory_mib = vm->memory_mib + placement_overhead_mib((uint64_t)vm->cores, vm->memory_mib),
                .pins = pins,
                .n_pins = collect_pins(vm, pins),
                .pools = pools,
                .pool_bytes = pool_bytes,
                .n_pools = collect_pools(vm, pools, pool_bytes),
                .in_place = in_place,
        };
        struct placement placement = placement_choose(vm->cache, &request, vm->arena);

        if (placement.node) {
                vm->node = placement.node;
                return true;
        }
        vm_block(vm, placement.n_nodes == 0 ? REASON_NO_NODES : REASON_NO_SUITABLE_NODE, placement_words(&placement, vm->arena));
        turn_again_in(vm->turn, PLACE_AGAIN_US);
        return false;
}

/* --- Instance --- */

static struct api_instance_cpu_model *cpu_model(struct vm_context *vm)
{
        const struct api_virtual_machine_class *class = vm->class->view;
        const struct api_class_cpu *cpu = class->spec->cpu;
        struct api_instance_cpu_model *model = arena_new0(vm->arena, struct api_instance_cpu_model);

        *model = (struct api_instance_cpu_model){
                .mode = cpu->type,
                .model = cpu->model,
                .features = cpu->features,
                .n_features = cpu->n_features,
        };
        if (strcmp(cpu->type, "Discovery") == 0 && class->status && class->status->cpu_features) {
                model->features = class->status->cpu_features->enabled;
                model->n_features = class->status->cpu_features->n_enabled;
        }
        return model;
}

static struct api_instance_cpu *cpu_of(struct vm_context *vm)
{
        struct api_instance_cpu *cpu = arena_new0(vm->arena, struct api_instance_cpu);
        int64_t asked = vm->spec->cpu && vm->spec->cpu->has_max_cores ? vm->spec->cpu->max_cores : change_cores_room(vm->cores);
        int64_t most = vm_applies_live(vm) ? MAX(asked, vm->cores) : vm->cores;
        int sockets = 1, per_socket = (int)most;

        (void)schema_cpu_topology(most, &sockets, &per_socket);
        *cpu = (struct api_instance_cpu){
                .cores = vm->cores,
                .has_cores = true,
                .sockets = sockets,
                .has_sockets = true,
                .cores_per_socket = per_socket,
                .has_cores_per_socket = true,
                .core_fraction_percent = vm->fraction_percent,
                .has_core_fraction_percent = true,
                .max_cores = most,
                .has_max_cores = most > vm->cores,
        };
        return cpu;
}

static void instance_fill(struct vm_context *vm, struct api_machine_ref *machine, struct api_instance_spec *spec)
{
        *machine = (struct api_machine_ref){.uid = vm->object->uid, .namespace = vm->object->namespace, .name = vm->object->name};
        *spec = (struct api_instance_spec){
                .node_name = vm->node,
                .machine = machine,
                .epoch = vm->epoch,
                .has_epoch = true,
                .power = "On",
                .stop_mode = vm->decision.force ? "Force" : "Graceful",
                .grace_period_seconds =
                        vm->spec->has_termination_grace_period_seconds ? vm->spec->termination_grace_period_seconds : 60,
                .has_grace_period_seconds = true,
                .order_number = vm->view ? vm->view->spec->order_number : 0,
                .has_order_number = vm->view && vm->view->spec->has_order_number,
                .cpu = cpu_of(vm),
                .cpu_model = cpu_model(vm),
                .memory_mib = (int64_t)vm->memory_mib,
                .has_memory_mib = true,
                .max_memory_mib = (int64_t)change_memory_room(vm->memory_mib),
                .has_max_memory_mib = vm_applies_live(vm) && change_memory_room(vm->memory_mib) > vm->memory_mib,
                .firmware = vm->spec->bootloader,
                .os_type = vm->spec->os_type,
                /* Legacy systems know emulated devices only. */
                .paravirtualization = (!vm->spec->has_enable_paravirtualization || vm->spec->enable_paravirtualization) &&
                                      g_strcmp0(vm->spec->os_type, "Legacy") != 0,
                .has_paravirtualization = true,
                .tpm = firmware_wants_tpm(vm->spec, vm->status.hardware),
                .has_tpm = true,
                .watchdog = vm->spec->watchdog ? vm->spec->watchdog->action : NULL,
                .graphics = vm->spec->graphics ? vm->spec->graphics->protocol : NULL,
                .graphics_port = vm_graphics_port(vm),
                .ports = vm_port_names(vm),
                .n_ports = vm->n_nics,
                .seed = vm_seed(vm),
                .hardware = vm->status.hardware,
        };
        spec->disks = vm_instance_disks(vm, &spec->n_disks);
        spec->down_ports = vm_down_ports(vm, &spec->n_down_ports);
}

static void instance_create(struct vm_context *vm, struct api_instance_spec *spec, const char *applied)
{
        struct intent_owner owner = intent_owner_of(vm->object);
        struct api_object_meta *meta = intent_meta(
                vm->arena, &owner, intent_free_name(vm->cache, &api_instance_kind, vm->arena, 'i', vm->object->uid, 0), vm->node);
        struct api_pair annotations[3] = {
                {ANNOTATION_APPLIED, applied},
                {ANNOTATION_POWER_REASON, vm->power_reason},
                {ANNOTATION_OPERATION, vm->operation ? vm->operation->uid : NULL},
        };
        struct api_instance instance = {.metadata = meta, .spec = spec};

        meta->annotations = annotations;
        meta->n_annotations = vm->operation ? 3 : 2;
        vm->made = true;
        turn_create(vm->turn, &api_instance_kind, &instance);
}

static void instance_change(struct vm_context *vm, const struct api_instance_spec *spec, const char *applied)
{
        vm->ordered = true;
        turn_update_spec(vm->turn, vm->instance, spec);
        if (applied)
                turn_set_annotation(vm->turn, vm->instance, ANNOTATION_APPLIED, applied);
        if (!vm->decision.ended) /* somebody wants it so: what it did before does not count any more */
                turn_set_annotation(vm->turn, vm->instance, ANNOTATION_BACK_OFF, NULL);
        turn_set_annotation(vm->turn, vm->instance, ANNOTATION_POWER_REASON, vm->power_reason);
        if (vm->operation)
                turn_set_annotation(vm->turn, vm->instance, ANNOTATION_OPERATION, vm->operation->uid);
}

static void tell_start(struct vm_context *vm)
{
        bool restart = vm->decision.wish == WISH_RESTART;

        turn_event(vm->turn, vm->object, false, restart ? REASON_RESTARTED : REASON_SCHEDULED,
                   restart ? arena_printf(vm->arena, "the machine is restarted on %s", vm->node)
                           : arena_printf(vm->arena, "the machine is started on %s", vm->node));
}

static void start(struct vm_context *vm)
{
        bool active = vm->instance && instance_active(vm->instance);
        int64_t before = MAX(vm->epoch, vm->status.epoch);
        struct api_machine_ref machine;
        struct api_instance_spec spec;
        g_autofree char *applied = NULL;

        if (vm->block_reason || !choose_node(vm, active) || !vm_bind_devices(vm))
                return;
        applied = vm_applied_text(vm->object);
        vm->epoch = before + 1;
        vm->power_on = vm->started = true;
        vm->current = false;
        vm->power_reason = vm->decision.reason;
        lock_node(vm);
        vm_write_ports(vm);
        instance_fill(vm, &machine, &spec);
        if (vm->class)
                turn_depends(vm->turn, vm->class);
        if (vm->instance)
                instance_change(vm, &spec, applied);
        else
                instance_create(vm, &spec, applied);
        turn_set_annotation(vm->turn, vm->object, ANNOTATION_POWER_REQUEST, NULL);
        tell_start(vm);
}

static void stop(struct vm_context *vm)
{
        struct api_instance_spec spec = *vm->view->spec;

        spec.power = "Off";
        spec.order = NULL;
        spec.stop_mode = vm->decision.force ? "Force" : "Graceful";
        vm->power_on = false;
        vm->power_reason = vm->decision.reason;
        instance_change(vm, &spec, NULL);
        turn_set_annotation(vm->turn, vm->object, ANNOTATION_POWER_REQUEST, NULL);
        if (g_strcmp0(vm->decision.reason, REASON_GUEST_SHUTDOWN) == 0)
                turn_event(vm->turn, vm->object, false, REASON_GUEST_SHUTDOWN, "the guest shut itself down; the machine stays off");
        else if (vm->decision.ended)
                turn_event(vm->turn, vm->object, true, vm->decision.reason,
                           arena_printf(vm->arena, "%s; run policy %s leaves it off", vm_end_words(vm, vm->decision.reason),
                                        run_policy_to_text(vm->facts.policy)));
        else
                turn_event(vm->turn, vm->object, false, REASON_STOPPING, "the machine is being stopped");
}

/*
 * An operation that changes nothing is noted with the Instance, one that its Instance cannot take yet with the machine: it is done
 * once, and a wish to start outlives the operation. A restart that cannot be done leaves no trace: what runs goes on.
 */
static void note_operation(struct vm_context *vm)
{
        const char *uid = vm->operation ? vm->operation->uid : NULL;
        bool stop = vm->facts.order == ORDER_STOP || vm->facts.order == ORDER_FORCE_OFF;

        if (!uid)
                return;
        if (vm->decision.wish == WISH_NOTHING && vm->instance) {
                turn_set_annotation(vm->turn, vm->instance, ANNOTATION_OPERATION, uid);
                turn_set_annotation(vm->turn, vm->object, ANNOTATION_POWER_REQUEST, NULL);
        } else if (vm->facts.order == ORDER_START || stop) {
                turn_set_annotation(vm->turn, vm->object, ANNOTATION_POWER_REQUEST,
                                    arena_printf(vm->arena, "%s %s", stop ? "Stop" : "Start", uid));
        }
}

/* The host carries it out once: its number grows with each. */
static void give_order(struct vm_context *vm)
{
        const struct api_instance_status *status = vm->view->status;
        struct api_instance_spec spec = *vm->view->spec;

        spec.order = power_order_to_text(vm->facts.order);
        spec.order_number = MAX(spec.order_number, status ? status->order_number : 0) + 1;
        spec.has_order_number = true;
        instance_change(vm, &spec, NULL);
}

/* An order that its host has not carried out yet goes with its operation: cancelled, superseded or failed. */
static void withdraw_order(struct vm_context *vm)
{
        const struct api_instance_spec *spec = vm->view->spec;
        const struct api_instance_status *status = vm->view->status;
        const char *uid = object_annotation(vm->instance, ANNOTATION_OPERATION);
        const struct cache_object *object = uid ? cache_by_uid(vm->cache, uid) : NULL;
        const struct api_virtual_machine_operation *operation = object ? object->view : NULL;
        struct api_instance_spec without = *spec;

        if (!spec->order || vm->operation || (status && status->order_number >= spec->order_number))
                return;
        if (operation && !object_deleting(object) && operation->status && g_strcmp0(operation->status->phase, "InProgress") == 0)
                return;
        without.order = NULL;
        vm->ordered = true;
        turn_update_spec(vm->turn, vm->instance, &without);
}

void vm_carry_out(struct vm_context *vm)
{
        assert(vm);

        switch (vm->decision.wish) {
        case WISH_NOTHING:
                note_operation(vm);
                if (vm->instance)
                        withdraw_order(vm);
                return;
        case WISH_FORGET:
                turn_set_annotation(vm->turn, vm->object, ANNOTATION_POWER_REQUEST, NULL);
                return;
        case WISH_REMOVE:
                return; /* its turn is teardown.c's */
        case WISH_END:
                redeploy_end_domain(vm);
                return;
        case WISH_RENEW:
                redeploy_renew(vm);
                return;
        case WISH_OBEY:
                give_order(vm);
                return;
        case WISH_STOP:
        case WISH_FORCE_OFF:
                stop(vm);
                return;
        case WISH_START:
        case WISH_RESTART:
                if (!vm->decision.ended || back_off_over(vm))
                        start(vm);
                if (!vm->started)
                        note_operation(vm);
                return;
        }
}
