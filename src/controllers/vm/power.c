/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/vm/power.h"

#include "generated/reasons.h"

#include <assert.h>
#include <glib.h>

#define BACK_OFF_FIRST_US 10000000ull
#define BACK_OFF_MOST_US  300000000ull

static const char *const order_names[POWER_ORDERS] = {
        [ORDER_NONE] = "",           [ORDER_START] = "Start",        [ORDER_STOP] = "Stop",
        [ORDER_RESTART] = "Restart", [ORDER_FORCE_OFF] = "ForceOff", [ORDER_SUSPEND] = "Suspend",
        [ORDER_RESUME] = "Resume",   [ORDER_RESET] = "Reset",        [ORDER_REDEPLOY] = "Redeploy",
        [ORDER_CLONE] = "Clone",     [ORDER_MIGRATE] = "Migrate",    [ORDER_EVICT] = "Evict",
};
ENUM_TABLE(power_order, order_names)

bool power_order_is_of_machine(const char *type)
{
        enum power_order order;

        assert(type);
        return power_order_from_text(type, &order) != 0 || (order != ORDER_CLONE && order != ORDER_MIGRATE && order != ORDER_EVICT);
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
        case ORDER_CLONE:
        case ORDER_MIGRATE:
        case ORDER_EVICT:
        case ORDER_NONE:
        case POWER_ORDERS:
                break;
        }
        return ret;
}

/* Why the domain ended that was not asked to. */
static const char *end_reason(const struct power_facts *facts)
{
        if (facts->state_reason)
                return facts->state_reason;
        return facts->state == VM_STATE_CRASHED ? REASON_CRASHED : REASON_DESTROYED;
}

static enum policy_event event_without_domain(const struct power_facts *facts)
{
        return facts->waits == ORDER_START ? POLICY_START_WAITS : facts->waits == ORDER_STOP ? POLICY_STOPPED_BEFORE : POLICY_NEW;
}

enum policy_event power_event(const struct power_facts *facts)
{
        assert(facts);

        if (facts->deleting)
                return POLICY_DELETION;
        if (facts->hold == HOLD_OFF && facts->has_instance)
                return POLICY_HOST_STOPS;
        if (facts->hold == HOLD_ON && facts->has_instance && (!facts->power_on || has_ended(facts)))
                return POLICY_HOST_IS_BACK;
        if (facts->order != ORDER_NONE && policy_verdict(POLICY_OPERATION, facts->policy) == POLICY_OBEYS)
                return POLICY_OPERATION;
        if (!facts->has_instance)
                return event_without_domain(facts);
        if (facts->waits == ORDER_START && (!facts->power_on || has_ended(facts)))
                return POLICY_START_WAITS;
        if (!facts->power_on)
                return facts->off_by_policy ? POLICY_RELEASED : POLICY_OFF;
        if (!facts->current)
                return POLICY_STARTING;
        if (has_ended(facts))
                return policy_event_of(POLICY_GUEST_SHUTDOWN, POLICY_OTHER_END, end_reason(facts), POLICY_OTHER_END);
        if (facts->state == VM_STATE_PAUSED)
                return policy_event_of(POLICY_SUSPENDED, POLICY_DISK_ERROR, facts->state_reason, POLICY_SUSPENDED);
        return POLICY_RUNS;
}

/* What the verdicts are to the controller. */
static const struct {
        enum power_wish wish;
        const char *reason;
} verdicts[POLICY_VERDICTS] = {
        [POLICY_LEAVES] = {WISH_NOTHING, NULL},      [POLICY_FORGETS] = {WISH_FORGET, "Policy"},
        [POLICY_STARTS] = {WISH_START, "Policy"},    [POLICY_STARTS_AGAIN] = {WISH_START, "Policy"},
        [POLICY_STAYS_OFF] = {WISH_STOP, "Policy"},  [POLICY_HOLDS_OFF] = {WISH_STOP, "Policy"},
        [POLICY_SHUTS_DOWN] = {WISH_STOP, "Policy"}, [POLICY_REMOVES] = {WISH_REMOVE, "Policy"},
};

struct power_decision power_decide(const struct power_facts *facts)
{
        enum policy_verdict verdict;
        enum policy_event event;
        struct power_decision ret;

        assert(facts && facts->policy < RUN_POLICIES && facts->order < POWER_ORDERS);

        event = power_event(facts);
        if (event == POLICY_OPERATION)
                return obey(facts);
        verdict = policy_verdict(event, facts->policy);
        ret = (struct power_decision){.wish = verdicts[verdict].wish, .reason = verdicts[verdict].reason};
        if (event == POLICY_HOST_STOPS)
                ret.reason = facts->moves ? REASON_COLD_MIGRATION : REASON_HOST_REBOOTS;
        if (ret.wish == WISH_STOP && (!facts->has_instance || !facts->power_on))
                ret.wish = WISH_NOTHING; /* it is off already */
        if (event >= POLICY_GUEST_SHUTDOWN && verdict != POLICY_HOLDS_OFF) {
                ret.reason = end_reason(facts);
                ret.ended = true;
        }
        return ret;
}

uint64_t power_back_off_us(unsigned count)
{
        if (count <= 1)
                return 0;
        return count - 2 >= 5 ? BACK_OFF_MOST_US : MIN(BACK_OFF_FIRST_US << (count - 2), BACK_OFF_MOST_US);
}
