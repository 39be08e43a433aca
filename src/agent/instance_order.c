/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/instance_start.h"

#include "base/error.h"
#include "base/log.h"

/*
 * An order changes a running domain once: suspend, resume, reset. Its number is written into the metadata of the domain when it is
 * done. An agent that is killed in between does it again: suspended twice is suspended. A guest is reset while it stands still, and
 * goes on only when that is noted: whoever died in between, it begins anew once.
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

static int note(struct instance_turn *turn, int64_t order, int resetting, struct virt_error *reterr)
{
        struct virt_owner owner = instance_owner(turn);

        owner.order = order;
        owner.resetting = resetting;
        return virt_domain_set_owner(turn->job->agent->virt, turn->uuid, &owner, reterr);
}

/* The guest does not run between the first reset and the note, so that a second one changes nothing that it could see. */
static int reset_held(struct instance_turn *turn, struct virt_error *reterr)
{
        struct virt *virt = turn->job->agent->virt;
        int r = turn->fact.state == INSTANCE_HELD ? 0 : virt_domain_suspend(virt, turn->uuid, reterr);

        if (!r) {
                (void)job_pass(turn->job, "reset", "held");
                r = virt_domain_reset(virt, turn->uuid, reterr);
        }
        if (!r) {
                (void)job_pass(turn->job, "reset", "done");
                r = note(turn, turn->instance->spec->order_number, 1, reterr);
        }
        if (!r) {
                (void)job_pass(turn->job, "reset", "kept");
        }
        return r;
}

/* Also what an agent before this one has begun; when its order was withdrawn the guest only goes on. */
static int reset_domain(struct instance_turn *turn, struct virt_error *reterr)
{
        const struct api_instance_spec *spec = turn->instance->spec;
        bool wanted =
                g_strcmp0(spec->order, instance_order_to_text(INSTANCE_RESET_ORDER)) == 0 && turn->entry.order < spec->order_number;
        int r = turn->entry.resetting ? 0 : note(turn, turn->entry.order, 1, reterr);

        if (!r) {
                (void)job_pass(turn->job, "reset", "begun");
        }
        if (!r && wanted) {
                r = reset_held(turn, reterr);
        }
        if (!r && (wanted || turn->fact.state == INSTANCE_HELD)) {
                r = virt_domain_resume(turn->job->agent->virt, turn->uuid, reterr);
        }
        if (!r) {
                (void)job_pass(turn->job, "reset", "resumed");
                r = note(turn, wanted ? spec->order_number : turn->entry.order, -1, reterr);
        }
        return r;
}

static int carry_out_and_note(struct instance_turn *turn, int (*call)(struct instance_turn *turn, struct virt_error *reterr),
                              const char *step, struct virt_error *reterr)
{
        int r = call(turn, reterr);

        if (!r) {
                (void)job_pass(turn->job, step, "done");
                r = note(turn, turn->instance->spec->order_number, 0, reterr);
        }
        return r;
}

static int suspend_and_note(struct instance_turn *turn, struct virt_error *reterr)
{
        return carry_out_and_note(turn, suspend_domain, "suspend", reterr);
}

static int resume_and_note(struct instance_turn *turn, struct virt_error *reterr)
{
        return carry_out_and_note(turn, resume_domain, "resume", reterr);
}

static const struct {
        const char *step, *done;
        int (*carry_out)(struct instance_turn *turn, struct virt_error *reterr);
        const char *failed;
} orders[INSTANCE_ORDER_COUNT] = {
        [INSTANCE_SUSPEND_ORDER] = {"suspend", "guest is suspended", suspend_and_note, REASON_STOP_FAILED},
        [INSTANCE_RESUME_ORDER] = {"resume", "guest goes on", resume_and_note, REASON_START_FAILED},
        [INSTANCE_RESET_ORDER] = {"reset", "guest was reset", reset_domain, REASON_STOP_FAILED},
};

void instance_learn_order(struct instance_turn *turn)
{
        const struct api_instance_spec *spec = turn->instance->spec;
        enum instance_order order = INSTANCE_NO_ORDER;
        bool done = turn->exists && turn->entry.order >= spec->order_number;

        if (turn->exists && turn->entry.resetting) {
                turn->wish.order = INSTANCE_RESET_ORDER;
                turn->wish.suspended = false;
                return;
        }
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
        if (r) {
                instance_fail(turn, orders[order].step, job_virt_error(turn->job, orders[order].failed, r, &error));
                return false;
        }
        (void)job_pass(turn->job, orders[order].step, "noted");
        log_info(orders[order].done, "machine", turn->instance->spec->machine->name, "namespace",
                 turn->instance->spec->machine->namespace, "epoch", turn->epoch_text);
        return true;
}
