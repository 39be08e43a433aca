/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/vm/vm.h"

#include "controllers/attachment/attachment.h"
#include "controllers/migration/migration.h"
#include "controllers/nodeop/nodeop.h"
#include "controllers/vm/context.h"
#include "controllers/vm/graphics.h"
#include "controllers/vm/redeploy.h"
#include "generated/reasons.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define ANNOTATION_RESTARTED_FOR                                                                                                   \
        "gabbro.dev/restarted-for" /* Instance: metadata.generation of the machine that it was restarted for */
#define WOKEN_BY_A_LEASE 8         /* one will take it, and some of the first may be on their way out */

/* --- what is known --- */

/* The operation that is in progress and was not carried out yet; there is one at most, the oldest counts. */
static const struct cache_object *find_operation(struct vm_context *vm)
{
        g_autofree char *key = g_strdup_printf("%s/%s", vm->object->namespace, vm->object->name);
        g_autoptr(GPtrArray) operations = cache_lookup(vm->cache, INDEX_OPERATION_BY_VM, key);
        const char *done = vm->instance ? object_annotation(vm->instance, ANNOTATION_OPERATION) : NULL;
        const struct cache_object *oldest = NULL;

        for (guint i = 0; operations && i < operations->len; i++) {
                const struct cache_object *object = operations->pdata[i];
                const struct api_virtual_machine_operation *operation = object->view;

                if (!operation->status || g_strcmp0(operation->status->phase, "InProgress") != 0 || object_deleting(object) ||
                    g_strcmp0(object->uid, done) == 0 || !power_order_is_of_machine(operation->spec->type))
                        continue;
                if (!oldest || object_created_us(object) < object_created_us(oldest))
                        oldest = object;
        }
        return oldest;
}

static void learn_order(struct vm_context *vm)
{
        const char *request = object_annotation(vm->object, ANNOTATION_POWER_REQUEST);
        const struct api_virtual_machine_operation *operation;
        bool noted;

        vm->operation = vm->facts.hold == HOLD_NONE ? find_operation(vm) : NULL; /* they wait until their host is back */
        noted = vm->operation && request && g_str_has_suffix(request, vm->operation->uid);
        if (vm->operation) {
                operation = vm->operation->view;
                if (power_order_from_text(operation->spec->type, &vm->facts.order) != 0)
                        vm->facts.order = ORDER_NONE;
                vm->facts.order_force = operation->spec->force;
                vm->facts.renewed = vm->facts.order == ORDER_REDEPLOY && redeploy_renewed(vm);
        } else if (request) {
                vm->facts.waits = g_str_has_prefix(request, "Start ") ? ORDER_START : ORDER_STOP;
        }
        if (noted && vm->facts.order == ORDER_STOP && !vm->instance)
                vm->operation = NULL; /* there is nothing to stop, and that is noted */
}

static void learn_instance(struct vm_context *vm)
{
        const struct api_instance_status *status;

        vm->instance = index_one(vm->cache, INDEX_INSTANCE_BY_MACHINE, vm->object->uid);
        vm->view = vm->instance ? vm->instance->view : NULL;
        if (!vm->instance)
                return;
        status = vm->view->status;
        vm->node = vm->view->spec->node_name;
        vm->epoch = vm->view->spec->epoch;
        vm->power_on = g_strcmp0(vm->view->spec->power, "On") == 0;
        /* A store that was put back to an older state may know less than the host. */
        vm->current = status && status->epoch >= vm->view->spec->epoch;
        if (vm->current)
                vm->epoch = status->epoch;
        vm->power_reason = object_annotation(vm->instance, ANNOTATION_POWER_REASON);
        vm->facts.has_instance = true;
        vm->facts.power_on = vm->power_on;
        vm->facts.off_by_policy = !vm->power_on && g_strcmp0(vm->power_reason, "Policy") == 0;
        vm->facts.state = vm_state_of(status ? status->state : NULL);
        if (!vm->power_on && instance_panicked(vm->view))
                vm->facts.state = VM_STATE_PAUSED; /* its QEMU is being ended */
        vm->facts.current = vm->current;
        vm->facts.state_reason = status ? status->state_reason : NULL;
}

static void learn(struct vm_context *vm, struct turn *turn, const struct cache_object *object)
{
        const struct api_virtual_machine *view = object->view;

        *vm = (struct vm_context){
                .turn = turn,
                .arena = turn_arena(turn),
                .cache = turn_cache(turn),
                .object = object,
                .spec = view->spec,
                .status = view->status ? *view->status : (struct api_virtual_machine_status){0},
        };
        vm->conditions = (struct conditions){
                .arena = vm->arena,
                .list = &vm->status.conditions,
                .n = &vm->status.n_conditions,
                .generation = object_meta(object)->generation,
                .now_us = turn_now_us(turn),
        };
        vm->has_phase_before = vm->status.phase && vm_phase_from_text(vm->status.phase, &vm->phase_before) == 0;
        vm->status.observed_generation = vm->conditions.generation;
        vm->status.has_observed_generation = true;
        if (!vm->spec->run_policy || run_policy_from_text(vm->spec->run_policy, &vm->facts.policy) != 0)
                vm->facts.policy = RUN_UNLESS_STOPPED;
        vm->facts.deleting = object_deleting(object);
        learn_instance(vm);
        vm->facts.hold = node_operation_hold(vm->cache, vm->node, object->uid);
        if (vm->facts.hold == HOLD_NONE) {
                vm->facts.hold = migration_hold(vm->cache, object);
                vm->facts.moves = vm->facts.hold != HOLD_NONE;
        }
        learn_order(vm);
        vm_learn_size(vm);
}

/* --- steps --- */

/* What a start needs, each with its condition; all are looked at, so that every reason is told at once (D46). */
static void (*const looks[])(struct vm_context *vm) = {
        vm_look_at_class, vm_look_at_size, vm_look_at_provisioning, vm_look_at_devices, vm_look_at_interfaces, vm_look_at_graphics,
};

static bool restart_is_approved(const struct vm_context *vm)
{
        const struct api_disruptions *disruptions = vm->spec->disruptions;
        const struct api_condition *waits =
                condition_get(vm->status.conditions, vm->status.n_conditions, "AwaitingRestartToApplyConfiguration");

        return disruptions && g_strcmp0(disruptions->restart_approval_mode, "Automatic") == 0 && waits &&
               g_strcmp0(waits->status, "True") == 0 && waits->observed_generation == vm->conditions.generation;
}

static const char *generation_text(const struct vm_context *vm)
{
        return arena_printf(vm->arena, "%" PRId64, vm->conditions.generation);
}

/* One version of a specification causes one restart, whatever still differs afterwards. */
static bool was_restarted(const struct vm_context *vm)
{
        return g_strcmp0(object_annotation(vm->instance, ANNOTATION_RESTARTED_FOR), generation_text(vm)) == 0;
}

static void decide(struct vm_context *vm)
{
        vm->decision = power_decide(&vm->facts);
        if (vm->decision.wish == WISH_NOTHING && vm->facts.state == VM_STATE_RUNNING && vm->power_on && vm->current &&
            restart_is_approved(vm) && !was_restarted(vm)) {
                vm->decision = (struct power_decision){.wish = WISH_RESTART, .reason = "Policy"};
                vm->approved = true;
        }
}

/* D81: told once, by the turn that does it; one that cannot start is no restart. */
static void tell_approved(struct vm_context *vm)
{
        if (!vm->approved || !vm->started)
                return;
        turn_set_annotation(vm->turn, vm->instance, ANNOTATION_RESTARTED_FOR, generation_text(vm));
        turn_event(vm->turn, vm->object, false, REASON_CHANGES_APPLIED, "the machine is restarted to apply its changes");
}

static enum turn_result vm_turn(struct turn *turn, const struct cache_object *object)
{
        struct vm_context vm;

        learn(&vm, turn, object);
        if (power_decide(&vm.facts).wish == WISH_REMOVE)
                return vm_teardown(&vm);
        turn_add_finalizer(turn, object, FINALIZER_VM);
        vm_cancel(&vm);
        for (size_t i = 0; i < G_N_ELEMENTS(looks); i++)
                looks[i](&vm);
        if (vm.instance && object_deleting(vm.instance)) {
                vm_block(&vm, REASON_CLEANUP_PENDING, "its former domain is being removed");
                (void)intent_retire(turn, vm.instance, vm.view->status ? vm.view->status->state : NULL);
        } else {
                if (migration_holds(vm.cache, vm.object))
                        vm.decision = (struct power_decision){.wish = WISH_NOTHING}; /* until it has come to an end */
                else
                        decide(&vm);
                /* What is carried out counts more, and the next turn renews again. */
                if (migration_holds(vm.cache, vm.object))
                        vm.operation = NULL;
                else if (vm.decision.wish == WISH_NOTHING && vm.instance && vm.power_on && !vm_change_live(&vm))
                        vm_renew_limits(&vm);
                vm_carry_out(&vm);
                tell_approved(&vm);
        }
        (void)migration_sweep(turn, object, false);
        if (!vm.started && vm.instance && !migration_holds(vm.cache, vm.object)) {
                vm_plug(&vm);
                vm_renew_policies(&vm);
                if (vm.current)
                        (void)vm_retire_ports(&vm, false);
                vm_release_addresses(&vm);
        }
        vm_mirror(&vm);
        return vm.block_reason ? TURN_WAIT : TURN_DONE;
}

/* --- relations --- */

static void enqueue_waiting(const struct cache *cache, struct workqueue *queue)
{
        index_enqueue(cache, INDEX_VM_BY_NODE, "-", queue);
}

static void enqueue_owner(const struct api_machine_ref *machine, struct workqueue *queue)
{
        if (machine)
                controller_enqueue(queue, machine->namespace, machine->name);
}

static void relate_node(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                        struct workqueue *queue)
{
        if (!node_moved(before, now))
                return;
        enqueue_waiting(cache, queue);
        index_enqueue(cache, INDEX_VM_BY_NODE, (now ? now : before)->name, queue);
}

static void relate_instance(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                            struct workqueue *queue)
{
        const struct api_instance *instance = (now ? now : before)->view;

        enqueue_owner(instance->spec ? instance->spec->machine : NULL, queue);
        if (before && instance_active(before) && (!now || !instance_active(now))) /* room on the node has come back */
                enqueue_waiting(cache, queue);
}

static void enqueue_attached(const struct cache_object *attachment, struct workqueue *queue)
{
        controller_enqueue(queue, attachment->namespace, attachment_view(attachment)->spec->virtual_machine_name);
}

static void relate_device(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                          struct workqueue *queue)
{
        const struct cache_object *object = now ? now : before;
        g_autofree char *key = device_key(object->kind->kind, object->namespace, object->name);
        g_autoptr(GPtrArray) attached = NULL;

        index_enqueue(cache, INDEX_VM_BY_DEVICE, key, queue);
        attached = cache_lookup(cache, INDEX_ATTACHMENT_BY_DEVICE, key);
        for (guint i = 0; attached && i < attached->len; i++)
                enqueue_attached(attached->pdata[i], queue);
}

static void relate_attachment(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                              struct workqueue *queue)
{
        if (object_moved(before, now))
                enqueue_attached(now ? now : before, queue);
}

/* What a pool's owner changed may make room for machines that wait for a place. */
static void relate_pool(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                        struct workqueue *queue)
{
        if (now && object_moved(before, now))
                enqueue_waiting(cache, queue);
}

static void relate_port(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                        struct workqueue *queue)
{
        const struct api_port *port = (now ? now : before)->view;

        enqueue_owner(port->spec ? port->spec->machine : NULL, queue);
}

static void relate_address(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                           struct workqueue *queue)
{
        const struct cache_object *object = now ? now : before;
        const struct api_object_meta *meta = object_meta(object);
        g_autofree char *key = g_strdup_printf("%s/%s", object->namespace, object->name);

        index_enqueue(cache, INDEX_VM_BY_ADDRESS, key, queue);
        for (size_t i = 0; i < meta->n_owner_references; i++) {
                const struct cache_object *owner = cache_by_uid(cache, meta->owner_references[i].uid);

                if (owner && owner->kind == &api_virtual_machine_kind)
                        controller_enqueue(queue, owner->namespace, owner->name);
        }
}

/* An address is free again. */
static void relate_lease(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                         struct workqueue *queue)
{
        g_autoptr(GPtrArray) waiting = now ? NULL : cache_lookup(cache, INDEX_VM_WITHOUT_ADDRESS, "-");

        for (guint i = 0; waiting && i < MIN(waiting->len, WOKEN_BY_A_LEASE); i++) {
                const struct cache_object *machine = waiting->pdata[i];

                controller_enqueue(queue, machine->namespace, machine->name);
        }
}

static void relate_class(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                         struct workqueue *queue)
{
        index_enqueue(cache, INDEX_VM_BY_CLASS, (now ? now : before)->name, queue);
}

static void relate_secret(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                          struct workqueue *queue)
{
        const struct cache_object *object = now ? now : before;
        g_autofree char *key = g_strdup_printf("%s/%s", object->namespace, object->name);

        index_enqueue(cache, INDEX_VM_BY_SECRET, key, queue);
        vm_graphics_related(cache, object, queue);
}

static void relate_operation(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                             struct workqueue *queue)
{
        const struct cache_object *object = now ? now : before;
        const struct api_virtual_machine_operation *operation = object->view;

        if (operation->spec && operation->spec->virtual_machine_name) /* also that of a migration */
                controller_enqueue(queue, object->namespace, operation->spec->virtual_machine_name);
}

static void relate_node_operation(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                                  struct workqueue *queue)
{
        const struct api_node_operation *operation = (now ? now : before)->view;

        g_autoptr(GPtrArray) instances = cache_lookup(cache, INDEX_INSTANCE_BY_NODE, operation->spec->node_name);

        for (guint i = 0; instances && i < instances->len; i++) {
                const struct api_instance *instance = ((const struct cache_object *)instances->pdata[i])->view;

                enqueue_owner(instance->spec->machine, queue);
        }
        enqueue_waiting(cache, queue);
}

static void relate_network(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                           struct workqueue *queue)
{
        const struct api_network *old = before ? before->view : NULL, *new = now ? now->view : NULL;

        if (object_moved(before, now) ||
            g_strcmp0(old->status ? old->status->phase : NULL, new->status ? new->status->phase : NULL) != 0)
                enqueue_waiting(cache, queue);
}

static void relate_group(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                         struct workqueue *queue)
{
        if (object_moved(before, now))
                kind_enqueue(cache, &api_virtual_machine_kind, (now ? now : before)->namespace, queue);
}

/* One that is left of a machine which has moved. */
static void relate_volume(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                          struct workqueue *queue)
{
        migration_enqueue_machine(cache, now ? now : before, queue);
}

static const struct {
        const struct schema_kind *kind;
        void (*relate)(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                       struct workqueue *queue);
} relations[] = {
        {&api_instance_kind, relate_instance},
        {&api_port_kind, relate_port},
        {&api_volume_kind, relate_volume},
        {&api_host_task_kind, relate_volume},
        {&api_virtual_disk_kind, relate_device},
        {&api_virtual_image_kind, relate_device},
        {&api_cluster_virtual_image_kind, relate_device},
        {&api_virtual_machine_block_device_attachment_kind, relate_attachment},
        {&api_virtual_machine_ip_address_kind, relate_address},
        {&api_virtual_machine_ip_address_lease_kind, relate_lease},
        {&api_virtual_machine_class_kind, relate_class},
        {&api_virtual_machine_operation_kind, relate_operation},
        {&api_secret_kind, relate_secret},
        {&api_network_kind, relate_network},
        {&api_security_group_kind, relate_group},
        {&api_node_kind, relate_node},
        {&api_node_operation_kind, relate_node_operation},
        {&api_storage_pool_kind, relate_pool},
};

static void vm_related(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                       struct workqueue *queue)
{
        const struct cache_object *object = now ? now : before;

        for (size_t i = 0; i < G_N_ELEMENTS(relations); i++)
                if (relations[i].kind == object->kind)
                        relations[i].relate(cache, before, now, queue);
}

const struct controller vm_controller = {
        .name = "vm",
        .kind = &api_virtual_machine_kind,
        .turn = vm_turn,
        .related = vm_related,
};
