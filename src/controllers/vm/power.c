/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/vm/power.h"

#include "generated/reasons.h"

#include <assert.h>
#include <glib.h>

#define BACK_OFF_FIRST_US 10000000ull
#define BACK_OFF_MOST_US  300000000ull

static const char *const policy_names[RUN_POLICIES] = {
        [RUN_ALWAYS_ON] = "AlwaysOn",
        [RUN_ALWAYS_OFF] = "AlwaysOff",
        [RUN_MANUAL] = "Manual",
        [RUN_UNLESS_STOPPED] = "AlwaysOnUnlessStoppedManually",
};
ENUM_TABLE(run_policy, policy_names)

static const char *const order_names[POWER_ORDERS] = {
        [ORDER_NONE] = "",           [ORDER_START] = "Start",        [ORDER_STOP] = "Stop",
        [ORDER_RESTART] = "Restart", [ORDER_FORCE_OFF] = "ForceOff", [ORDER_SUSPEND] = "Suspend",
        [ORDER_RESUME] = "Resume",   [ORDER_RESET] = "Reset",        [ORDER_REDEPLOY] = "Redeploy",
};
ENUM_TABLE(power_order, order_names)

static struct power_decision decision(enum power_wish wish, const char *reason)
{
        return (struct power_decision){.wish = wish, .reason = reason};
}

/* Whether the domain of the wanted epoch came to an end although it shall run. */
static bool has_ended(const struct power_facts *facts)
{
        return facts->power_on && facts->current && (facts->state == VM_STATE_SHUTOFF || facts->state == VM_STATE_CRASHED);
}

/* Whether the domain of the wanted epoch is there to be suspended, resumed or reset. */
static bool is_up(const struct power_facts *facts)
{
        bool up = facts->state == VM_STATE_RUNNING || facts->state == VM_STATE_PAUSED;

        return facts->has_instance && facts->power_on && facts->current && up;
}

static struct power_decision obey(const struct power_facts *facts)
{
        struct power_decision ret = {.reason = "Operation", .force = facts->order_force};

        switch (facts->order) {
        case ORDER_START:
                ret.wish = facts->has_instance && facts->power_on && !has_ended(facts) ? WISH_NOTHING : WISH_START;
                break;
        case ORDER_STOP:
                ret.wish = facts->has_instance && (facts->power_on || facts->order_force) ? WISH_STOP : WISH_NOTHING;
                break;
        case ORDER_FORCE_OFF:
                ret.wish = facts->has_instance ? WISH_FORCE_OFF : WISH_NOTHING;
                ret.force = true;
                break;
        case ORDER_RESTART:
                ret.wish = facts->has_instance && facts->power_on ? WISH_RESTART : WISH_START;
                break;
        case ORDER_REDEPLOY:
                ret.wish = facts->has_instance ? WISH_END : facts->renewed ? WISH_START : WISH_RENEW;
                break;
        case ORDER_SUSPEND:
        case ORDER_RESUME:
        case ORDER_RESET:
                ret.wish = is_up(facts) ? WISH_OBEY : WISH_NOTHING;
                break;
        case ORDER_NONE:
        case POWER_ORDERS:
                break;
        }
        return ret;
}

/* The domain ended by itself: what the run policy makes of it. */
static struct power_decision after_end(const struct power_facts *facts)
{
        bool by_guest = g_strcmp0(facts->state_reason, REASON_GUEST_SHUTDOWN) == 0;
        const char *reason = facts->state_reason                ? facts->state_reason
                             : facts->state == VM_STATE_CRASHED ? REASON_CRASHED
                                                                : REASON_DESTROYED;
        bool again = facts->policy == RUN_ALWAYS_ON || (facts->policy == RUN_UNLESS_STOPPED && !by_guest);
        struct power_decision ret = decision(again ? WISH_START : WISH_STOP, reason);

        ret.ended = true;
        return ret;
}

struct power_decision power_decide(const struct power_facts *facts)
{
        assert(facts && facts->policy < RUN_POLICIES && facts->order < POWER_ORDERS);

        if (facts->policy == RUN_ALWAYS_OFF)
                return decision(facts->has_instance && facts->power_on ? WISH_STOP : WISH_NOTHING, "Policy");
        if (facts->order != ORDER_NONE)
                return obey(facts);
        if (!facts->has_instance)
                return decision(facts->policy == RUN_MANUAL ? WISH_NOTHING : WISH_START, "Policy");
        if (!facts->power_on) {
                bool start = facts->policy == RUN_ALWAYS_ON || (facts->policy == RUN_UNLESS_STOPPED && facts->off_by_policy);

                return decision(start ? WISH_START : WISH_NOTHING, "Policy");
        }
        return has_ended(facts) ? after_end(facts) : decision(WISH_NOTHING, NULL);
}

uint64_t power_back_off_us(unsigned count)
{
        if (count <= 1)
                return 0;
        return count - 2 >= 5 ? BACK_OFF_MOST_US : MIN(BACK_OFF_FIRST_US << (count - 2), BACK_OFF_MOST_US);
}
