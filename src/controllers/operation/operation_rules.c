/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/operation/operation.h"

#include "generated/reasons.h"

#include <assert.h>
#include <glib.h>

#define R(policy) (1u << (RUN_##policy))
#define R_STOPS   (R(MANUAL) | R(UNLESS_STOPPED))
#define R_RUNS    (R_STOPS | R(ALWAYS_ON))
#define R_ALL     (R_RUNS | R(ALWAYS_OFF))

#define YES                                                                                                                        \
        {                                                                                                                          \
                OPERATION_ALLOWED, NULL                                                                                            \
        }
#define NO(words)                                                                                                                  \
        {                                                                                                                          \
                OPERATION_REFUSED, words                                                                                           \
        }
#define FORCE(words)                                                                                                               \
        {                                                                                                                          \
                OPERATION_WITH_FORCE, words                                                                                        \
        }
#define GOES [VM_TERMINATING] = NO("it is being deleted")
/* Only what runs can move while it runs. */
#define IS_NO_GUEST                                                                                                                \
        [VM_PENDING] = NO("it does not run yet"), [VM_STARTING] = NO("it is being started; wait until it runs"),                   \
        [VM_STOPPING] = NO("it is being stopped"), [VM_STOPPED] = NO("it is off; it is placed anew when it starts")
#define MOVES [VM_MIGRATING] = NO("it moves to another host; wait until it has arrived")

const struct operation_rule operation_rules[] = {
        {ORDER_START,
         {[VM_PENDING] = NO("it is to be started already and waits for what it needs"),
          [VM_STARTING] = NO("it is being started already"),
          [VM_RUNNING] = NO("it runs already"),
          [VM_STOPPING] = YES,
          [VM_STOPPED] = YES,
          [VM_PAUSE] = NO("it is on and stands still; resume it"),
          GOES,
          MOVES},
         R_STOPS,
         REASON_START_IN_PROGRESS,
         "running",
         "the machine runs",
         "It runs.",
         true},
        {ORDER_STOP,
         {[VM_PENDING] = YES,
          [VM_STARTING] = YES,
          [VM_RUNNING] = YES,
          [VM_STOPPING] = FORCE("it is being stopped already; force cuts it off"),
          [VM_STOPPED] = NO("it is off already"),
          [VM_PAUSE] = YES,
          GOES,
          MOVES},
         R_STOPS,
         REASON_STOP_IN_PROGRESS,
         "off",
         "the machine is off",
         "It is off."},
        {ORDER_RESTART,
         {[VM_PENDING] = NO("it does not run yet"),
          [VM_STARTING] = YES,
          [VM_RUNNING] = YES,
          [VM_STOPPING] = FORCE("it is being stopped; force restarts it at once"),
          [VM_STOPPED] = NO("it is off; start it"),
          [VM_PAUSE] = YES,
          GOES,
          MOVES},
         R_RUNS,
         REASON_RESTART_IN_PROGRESS,
         "running",
         "the machine runs",
         "It runs with a new epoch.",
         true},
        {ORDER_FORCE_OFF,
         {[VM_PENDING] = YES,
          [VM_STARTING] = YES,
          [VM_RUNNING] = YES,
          [VM_STOPPING] = YES,
          [VM_STOPPED] = NO("it is off already"),
          [VM_PAUSE] = YES,
          GOES,
          MOVES},
         R_STOPS,
         REASON_STOP_IN_PROGRESS,
         "off",
         "the machine is off",
         "It is off."},
        {ORDER_SUSPEND,
         {[VM_PENDING] = NO("it does not run yet"),
          [VM_STARTING] = NO("it does not run yet"),
          [VM_RUNNING] = YES,
          [VM_STOPPING] = NO("it is being stopped"),
          [VM_STOPPED] = NO("it is off"),
          [VM_PAUSE] = NO("it stands still already"),
          GOES,
          MOVES},
         R_RUNS,
         REASON_SUSPEND_IN_PROGRESS,
         "suspended",
         "the machine is suspended",
         "Its processors stand still; its memory is kept."},
        {ORDER_RESUME,
         {[VM_PENDING] = NO("it does not run yet"),
          [VM_STARTING] = NO("it does not run yet"),
          [VM_RUNNING] = NO("it is not paused"),
          [VM_STOPPING] = NO("it is being stopped"),
          [VM_STOPPED] = NO("it is off; start it"),
          [VM_PAUSE] = YES,
          GOES,
          MOVES},
         R_RUNS,
         REASON_RESUME_IN_PROGRESS,
         "running",
         "the machine goes on",
         "Its processors run, from where they stood still."},
        {ORDER_RESET,
         {[VM_PENDING] = NO("it does not run yet"),
          [VM_STARTING] = NO("it does not run yet"),
          [VM_RUNNING] = YES,
          [VM_STOPPING] = NO("it is being stopped"),
          [VM_STOPPED] = NO("it is off; start it"),
          [VM_PAUSE] = NO("it stands still; resume it first, or restart it"),
          GOES,
          MOVES},
         R_RUNS,
         REASON_RESET_IN_PROGRESS,
         "reset",
         "the machine was reset",
         "Its host has pressed the reset button; the epoch stays."},
        {ORDER_REDEPLOY,
         {[VM_PENDING] = NO("it does not run yet; stop it first"),
          [VM_STARTING] = NO("it is being started; wait until it runs"),
          [VM_RUNNING] = YES,
          [VM_STOPPING] = NO("it is being stopped; wait until it is off"),
          [VM_STOPPED] = YES,
          [VM_PAUSE] = YES,
          GOES,
          MOVES},
         R_RUNS,
         REASON_REDEPLOY_IN_PROGRESS,
         "running",
         "the machine runs, made anew",
         "It runs with a new epoch on disks as their images are."},
        {ORDER_CLONE,
         {[VM_PENDING] = NO("it waits for what it needs; stop it first"),
          [VM_STARTING] = NO("it is being started; wait until it runs"),
          [VM_RUNNING] = YES,
          [VM_STOPPING] = NO("it is being stopped; wait until it is off"),
          [VM_STOPPED] = YES,
          [VM_PAUSE] = YES,
          GOES,
          MOVES},
         R_ALL,
         REASON_CLONE_IN_PROGRESS,
         "cloned",
         "the new machine is there",
         "The new machine is there, with disks of its own."},
        {ORDER_MIGRATE,
         {[VM_PENDING] = NO("it does not run yet"),
          [VM_STARTING] = NO("it is being started; wait until it runs"),
          [VM_RUNNING] = YES,
          [VM_STOPPING] = NO("it is being stopped; wait until it is off"),
          [VM_STOPPED] = YES,
          [VM_PAUSE] = NO("it stands still; resume it first"),
          GOES,
          MOVES},
         R_ALL,
         REASON_SYNCING,
         "moved",
         "the machine is on another host",
         "It is on another host, and runs there when it ran before."},
        {ORDER_EVICT,
         {IS_NO_GUEST, [VM_RUNNING] = YES, [VM_PAUSE] = NO("it stands still; resume it first"), GOES, MOVES},
         R_RUNS,
         REASON_SYNCING,
         "moved",
         "the machine runs on another host",
         "It runs on another host."},
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
        enum operation_verdict verdict = rule->cells[phase].verdict;

        assert(phase < VM_PHASES && policy < RUN_POLICIES);
        if (!(rule->policies & (1u << policy)))
                return REASON_NOT_APPLICABLE_FOR_VIRTUAL_MACHINE_RUN_POLICY;
        if (verdict == OPERATION_ALLOWED || (verdict == OPERATION_WITH_FORCE && force))
                return NULL;
        return REASON_NOT_APPLICABLE_FOR_VIRTUAL_MACHINE_PHASE;
}

/* Without force, with force: one row and column each. ForceOff counts as a forced Stop; what leaves a machine on counts alike; what
 * makes disks is done whole. */
enum strength { S_START, S_STOP, S_STOP_FORCE, S_RESTART, S_RESTART_FORCE, S_ORDER, S_WHOLE, STRENGTHS };

static enum strength strength_of(enum power_order order, bool force)
{
        static const enum strength plain[POWER_ORDERS] = {
                [ORDER_START] = S_START,   [ORDER_STOP] = S_STOP,     [ORDER_RESTART] = S_RESTART, [ORDER_FORCE_OFF] = S_STOP_FORCE,
                [ORDER_SUSPEND] = S_ORDER, [ORDER_RESUME] = S_ORDER,  [ORDER_RESET] = S_ORDER,     [ORDER_REDEPLOY] = S_WHOLE,
                [ORDER_CLONE] = S_WHOLE,   [ORDER_MIGRATE] = S_WHOLE, [ORDER_EVICT] = S_WHOLE,
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
