/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/vm/context.h"

#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

/*
 * Deleting an operation that is under way cancels what of it can be cancelled: a start becomes a stop while the guest does not run
 * yet, a guest that was asked to shut down is not cut off, and what its host has not suspended, resumed or reset stays as it is. A
 * restart that was begun goes on: what ran before cannot be brought back.
 */

static bool is_sent(const struct vm_context *vm, const struct cache_object *object)
{
        return vm->instance && g_strcmp0(object_annotation(vm->instance, ANNOTATION_OPERATION), object->uid) == 0;
}

static bool is_noted(const struct vm_context *vm, const struct cache_object *object)
{
        const char *request = object_annotation(vm->object, ANNOTATION_POWER_REQUEST);

        return request && g_str_has_suffix(request, object->uid);
}

/* The guest that is being started is stopped, by the same operation. */
static const char *cancel_start(struct vm_context *vm, const struct cache_object *object)
{
        bool runs = vm->current && (vm->facts.state == VM_STATE_RUNNING || vm->facts.state == VM_STATE_PAUSED);

        if (runs || (!is_noted(vm, object) && !(is_sent(vm, object) && vm->power_on)))
                return NULL;
        vm->operation = object;
        vm->facts.order = ORDER_STOP;
        vm->facts.order_force = false;
        return "its start was cancelled";
}

/* It is on again with the epoch that it has: a guest that heeds the power button all the same ends as if by itself. */
static const char *cancel_stop(struct vm_context *vm, const struct cache_object *object)
{
        struct api_instance_spec spec;
        bool runs =
                vm->facts.state == VM_STATE_RUNNING || vm->facts.state == VM_STATE_PAUSED || vm->facts.state == VM_STATE_SHUTDOWN;

        if (is_noted(vm, object)) {
                turn_set_annotation(vm->turn, vm->object, ANNOTATION_POWER_REQUEST, NULL);
                vm->facts.order = vm->facts.waits = ORDER_NONE;
                return "its stop was cancelled";
        }
        if (!is_sent(vm, object) || vm->power_on || !vm->current || !runs ||
            policy_verdict(POLICY_RUNS, vm->facts.policy) == POLICY_SHUTS_DOWN)
                return NULL;
        spec = *vm->view->spec;
        spec.power = "On";
        turn_update_spec(vm->turn, vm->instance, &spec);
        vm->power_on = vm->facts.power_on = true;
        return "its stop was cancelled; the guest is not cut off";
}

static const struct {
        const char *(*cancel)(struct vm_context *vm, const struct cache_object *object);
} cancels[POWER_ORDERS] = {
        [ORDER_START] = {cancel_start},
        [ORDER_STOP] = {cancel_stop},
};

void vm_cancel(struct vm_context *vm)
{
        g_autofree char *key = g_strdup_printf("%s/%s", vm->object->namespace, vm->object->name);
        g_autoptr(GPtrArray) operations = cache_lookup(vm->cache, INDEX_OPERATION_BY_VM, key);

        for (guint i = 0; operations && i < operations->len; i++) {
                const struct cache_object *object = operations->pdata[i];
                const struct api_virtual_machine_operation *operation = object->view;
                const char *words = NULL;
                enum power_order order;

                if (!object_deleting(object) || !power_order_is_of_machine(operation->spec->type))
                        continue; /* what a clone has made is not of this machine */
                /* A newer one counts more than what an older one was. */
                if (!vm->operation && operation->status && g_strcmp0(operation->status->phase, "InProgress") == 0 &&
                    power_order_from_text(operation->spec->type, &order) == 0 && cancels[order].cancel)
                        words = cancels[order].cancel(vm, object);
                if (words)
                        turn_event(vm->turn, vm->object, false, REASON_OPERATION_CANCELLED, words);
                turn_remove_finalizer(vm->turn, object, FINALIZER_OPERATION);
        }
}
