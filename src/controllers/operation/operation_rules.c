/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/operation/operation.h"

#include "generated/reasons.h"

#include <assert.h>
#include <glib.h>

#define P(phase)  (1u << (VM_##phase))
#define R(policy) (1u << (RUN_##policy))
#define R_RUNS    (R(MANUAL) | R(UNLESS_STOPPED) | R(ALWAYS_ON))

const struct operation_rule operation_rules[] = {
        {ORDER_START, P(STOPPED) | P(STOPPING), 0, R(MANUAL) | R(UNLESS_STOPPED), REASON_START_IN_PROGRESS, "running",
         "the machine runs", "The machine runs."},
        {ORDER_STOP, P(RUNNING) | P(STARTING) | P(PAUSE) | P(PENDING), P(STOPPING), R(MANUAL) | R(UNLESS_STOPPED),
         REASON_STOP_IN_PROGRESS, "off", "the machine is off", "The machine is off."},
        {ORDER_RESTART, P(RUNNING) | P(STARTING) | P(PAUSE), P(STOPPING), R_RUNS, REASON_RESTART_IN_PROGRESS, "running",
         "the machine runs", "The machine runs with a new epoch."},
        {ORDER_FORCE_OFF, P(RUNNING) | P(STARTING) | P(PAUSE) | P(PENDING) | P(STOPPING), 0, R(MANUAL) | R(UNLESS_STOPPED),
         REASON_STOP_IN_PROGRESS, "off", "the machine is off", "The machine is off."},
        {ORDER_SUSPEND, P(RUNNING), 0, R_RUNS, REASON_SUSPEND_IN_PROGRESS, "suspended", "the machine is suspended",
         "Its processors stand still; its memory is kept."},
        {ORDER_RESUME, P(PAUSE), 0, R_RUNS, REASON_RESUME_IN_PROGRESS, "running", "the machine goes on",
         "Its processors run, from where they stood still."},
        {ORDER_RESET, P(RUNNING), 0, R_RUNS, REASON_RESET_IN_PROGRESS, "reset", "the machine was reset",
         "Its host has pressed the reset button; the epoch stays."},
};
const size_t operation_n_rules = G_N_ELEMENTS(operation_rules);

const struct operation_rule *operation_rule(enum power_order order)
{
        for (size_t i = 0; i < operation_n_rules; i++)
                if (operation_rules[i].order == order)
                        return &operation_rules[i];
        g_assert_not_reached();
}

const char *operation_refusal(enum power_order order, bool force, enum vm_phase phase, enum run_policy policy)
{
        const struct operation_rule *rule = operation_rule(order);
        unsigned phases = rule->phases | (force ? rule->phases_with_force : 0);

        assert(phase < VM_PHASES && policy < RUN_POLICIES);
        if (!(rule->policies & (1u << policy)))
                return REASON_NOT_APPLICABLE_FOR_VIRTUAL_MACHINE_RUN_POLICY;
        return phases & (1u << phase) ? NULL : REASON_NOT_APPLICABLE_FOR_VIRTUAL_MACHINE_PHASE;
}

/* Without force, with force: one row and column each. ForceOff counts as a forced Stop; what leaves a machine on counts alike. */
enum strength { S_START, S_STOP, S_STOP_FORCE, S_RESTART, S_RESTART_FORCE, S_ORDER, STRENGTHS };

static enum strength strength_of(enum power_order order, bool force)
{
        static const enum strength plain[POWER_ORDERS] = {
                [ORDER_START] = S_START,   [ORDER_STOP] = S_STOP,    [ORDER_RESTART] = S_RESTART, [ORDER_FORCE_OFF] = S_STOP_FORCE,
                [ORDER_SUSPEND] = S_ORDER, [ORDER_RESUME] = S_ORDER, [ORDER_RESET] = S_ORDER,
        };

        assert(order < POWER_ORDERS);
        if (force && order == ORDER_STOP)
                return S_STOP_FORCE;
        return force && order == ORDER_RESTART ? S_RESTART_FORCE : plain[order];
}

bool operation_supersedes(enum power_order newer, bool newer_force, enum power_order older, bool older_force)
{
        static const bool ends[STRENGTHS][STRENGTHS] = {
                /* older */
                [S_START] = {[S_STOP] = true, [S_STOP_FORCE] = true},
                [S_STOP] = {[S_STOP_FORCE] = true, [S_RESTART_FORCE] = true},
                [S_RESTART] = {[S_STOP_FORCE] = true, [S_RESTART_FORCE] = true},
                [S_ORDER] = {[S_STOP] = true, [S_STOP_FORCE] = true, [S_RESTART] = true, [S_RESTART_FORCE] = true},
        };

        return ends[strength_of(older, older_force)][strength_of(newer, newer_force)];
}
