/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/instance_start.h"

#include "base/error.h"
#include "base/log.h"

/*
 * An order changes a running domain once: suspend, resume, reset. Its number is written into the metadata of the domain when it is
 * done. An agent that is killed in between does it again: suspended twice is suspended, and a guest that was reset a moment ago
 * loses nothing by the second time. That an order is lost instead would be a lie to whoever gave it.
 */

/* The calls; what is as ordered already is left alone. */
static int suspend_domain(struct instance_turn *turn, struct virt_error *reterr)
{
        return turn->fact.state == INSTANCE_HELD ? 0 : virt_domain_suspend(turn->job->agent->virt, turn->uuid, reterr);
}

static int resume_domain(struct instance_turn *turn, struct virt_error *reterr)
{
        return turn->fact.state == INSTANCE_RUNNING ? 0 : virt_domain_resume(turn->job->agent->virt, turn->uuid, reterr);
}

static int reset_domain(struct instance_turn *turn, struct virt_error *reterr)
{
        return virt_domain_reset(turn->job->agent->virt, turn->uuid, reterr);
}

static const struct {
        const char *step, *done;
        int (*carry_out)(struct instance_turn *turn, struct virt_error *reterr);
        const char *failed;
} orders[INSTANCE_ORDER_COUNT] = {
        [INSTANCE_SUSPEND_ORDER] = {"suspend", "guest is suspended", suspend_domain, REASON_STOP_FAILED},
        [INSTANCE_RESUME_ORDER] = {"resume", "guest goes on", resume_domain, REASON_START_FAILED},
        [INSTANCE_RESET_ORDER] = {"reset", "guest was reset", reset_domain, REASON_STOP_FAILED},
};

void instance_learn_order(struct instance_turn *turn)
{
        const struct api_instance_spec *spec = turn->instance->spec;
        enum instance_order order = INSTANCE_NO_ORDER;
        bool done = turn->exists && turn->entry.order >= spec->order_number;

        if (spec->order && instance_order_from_text(spec->order, &order) != 0) {
                log_warning("an order that is not known is left alone", "instance", turn->instance->metadata->name, "order",
                            spec->order);
        }
        turn->wish.order = done ? INSTANCE_NO_ORDER : order;
        turn->wish.suspended = done && order == INSTANCE_SUSPEND_ORDER;
}

bool instance_obey(struct instance_turn *turn)
{
        enum instance_order order = turn->wish.order;
        struct virt_owner owner = instance_owner(turn);
        struct api_intent_error *why = NULL;
        struct virt_error error = {};
        int r;

        assert(order > INSTANCE_NO_ORDER && order < INSTANCE_ORDER_COUNT);
        if (order == INSTANCE_RESUME_ORDER) {
                why = instance_see_policy(turn);
        }
        if (why) {
                instance_fail(turn, orders[order].step, why);
                return false;
        }
        (void)job_pass(turn->job, orders[order].step, "before");
        r = orders[order].carry_out(turn, &error);
        if (r == VIRT_E_STATE || r == VIRT_E_MISSING) {
                return true; /* it ended, or was changed, meanwhile */
        }
        if (!r) {
                (void)job_pass(turn->job, orders[order].step, "done");
                owner.order = turn->instance->spec->order_number;
                r = virt_domain_set_owner(turn->job->agent->virt, turn->uuid, &owner, &error);
        }
        if (r) {
                instance_fail(turn, orders[order].step, job_virt_error(turn->job, orders[order].failed, r, &error));
                return false;
        }
        (void)job_pass(turn->job, orders[order].step, "noted");
        log_info(orders[order].done, "machine", turn->instance->spec->machine->name, "namespace",
                 turn->instance->spec->machine->namespace, "epoch", turn->epoch_text);
        return true;
}
