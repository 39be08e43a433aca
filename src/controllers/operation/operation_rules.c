/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/operation/operation.h"

#include "generated/reasons.h"

#include <assert.h>
#include <glib.h>

#define P(phase)  (1u << (VM_##phase))
#define R(policy) (1u << (RUN_##policy))

const struct operation_rule operation_rules[] = {
        {ORDER_START, P(STOPPED) | P(STOPPING), 0, R(MANUAL) | R(UNLESS_STOPPED), "The machine runs."},
        {ORDER_STOP, P(RUNNING) | P(STARTING) | P(PAUSE) | P(PENDING), P(STOPPING), R(MANUAL) | R(UNLESS_STOPPED),
         "The machine is off."},
        {ORDER_RESTART, P(RUNNING) | P(STARTING) | P(PAUSE), P(STOPPING), R(MANUAL) | R(UNLESS_STOPPED) | R(ALWAYS_ON),
         "The machine runs with a new epoch."},
        {ORDER_FORCE_OFF, P(RUNNING) | P(STARTING) | P(PAUSE) | P(PENDING) | P(STOPPING), 0, R(MANUAL) | R(UNLESS_STOPPED),
         "The machine is off."},
};
const size_t operation_n_rules = G_N_ELEMENTS(operation_rules);

const char *operation_refusal(enum power_order order, bool force, enum vm_phase phase, enum run_policy policy)
{
        for (size_t i = 0; i < operation_n_rules; i++) {
                const struct operation_rule *rule = &operation_rules[i];
                unsigned phases = rule->phases | (force ? rule->phases_with_force : 0);

                if (rule->order != order)
                        continue;
                if (!(rule->policies & (1u << policy)))
                        return REASON_NOT_APPLICABLE_FOR_VIRTUAL_MACHINE_RUN_POLICY;
                return phases & (1u << phase) ? NULL : REASON_NOT_APPLICABLE_FOR_VIRTUAL_MACHINE_PHASE;
        }
        return REASON_OPERATION_FAILED;
}

/* Without force, with force: one row and column each. ForceOff counts as a forced Stop. */
enum strength { S_START, S_STOP, S_STOP_FORCE, S_RESTART, S_RESTART_FORCE, STRENGTHS };

static enum strength strength_of(enum power_order order, bool force)
{
        if (order == ORDER_FORCE_OFF)
                return S_STOP_FORCE;
        if (order == ORDER_STOP)
                return force ? S_STOP_FORCE : S_STOP;
        if (order == ORDER_RESTART)
                return force ? S_RESTART_FORCE : S_RESTART;
        return S_START;
}

bool operation_supersedes(enum power_order newer, bool newer_force, enum power_order older, bool older_force)
{
        static const bool ends[STRENGTHS][STRENGTHS] = {
                /* older */
                [S_START] = {[S_STOP] = true, [S_STOP_FORCE] = true},
                [S_STOP] = {[S_STOP_FORCE] = true, [S_RESTART_FORCE] = true},
                [S_RESTART] = {[S_STOP_FORCE] = true, [S_RESTART_FORCE] = true},
        };

        return ends[strength_of(older, older_force)][strength_of(newer, newer_force)];
}
