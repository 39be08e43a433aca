/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/vm/context.h"

#include "controllers/migration/migration.h"

#include "generated/reasons.h"

#include <assert.h>

#define GRACE_MOST_SECONDS 30

static enum turn_result teardown_wait(struct vm_context *vm, const char *words)
{
        vm->status.phase = vm_phase_to_text(VM_TERMINATING);
        conditions_say(&vm->conditions, "Running", "False", REASON_TERMINATING, "%s", words);
        turn_update_status(vm->turn, vm->object, &vm->status);
        return TURN_WAIT;
}

/* The guest gets a shorter grace than for a stop: nobody will start it again. */
static void hurry(struct vm_context *vm)
{
        struct api_instance_spec spec = *vm->view->spec;

        if (object_deleting(vm->instance) || (spec.has_grace_period_seconds && spec.grace_period_seconds <= GRACE_MOST_SECONDS))
                return;
        spec.grace_period_seconds = GRACE_MOST_SECONDS;
        spec.has_grace_period_seconds = true;
        turn_update_spec(vm->turn, vm->instance, &spec);
}

/* Domain first, then its interfaces; disks stay, an address made for the machine goes by its owner reference. */
enum turn_result vm_teardown(struct vm_context *vm)
{
        assert(vm);

        const struct api_instance_status *status = vm->view ? vm->view->status : NULL;

        if (vm->instance)
                hurry(vm);
        if (vm->instance && !intent_retire(vm->turn, vm->instance, status ? status->state : NULL))
                return teardown_wait(
                        vm, arena_printf(vm->arena, "waits until host %s has removed its domain", vm->view->spec->node_name));
        if (!migration_sweep(vm->turn, vm->object, true))
                return teardown_wait(vm, "waits until what is left of a migration is removed");
        if (!vm_retire_ports(vm, true))
                return teardown_wait(vm, "waits until its interfaces are removed");
        vm_release_devices(vm);
        turn_remove_finalizer(vm->turn, vm->object, FINALIZER_VM);
        return TURN_DONE;
}
