/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/names.h"

#include <stdbool.h>
#include <stddef.h>

/* VirtualMachine.status.phase and Instance.status.state, and the one table that maps them (decision 2). The manual prints both
 * tables. */

enum vm_phase {
        VM_PENDING,
        VM_STARTING,
        VM_RUNNING,
        VM_STOPPING,
        VM_STOPPED,
        VM_TERMINATING,
        VM_MIGRATING,
        VM_PAUSE,
        VM_PHASES,
};
ENUM_TABLE_DECLARE(vm_phase);

/* What libvirt says of the domain, by the agent; VM_STATE_NONE: nothing yet. */
enum vm_state {
        VM_STATE_NONE,
        VM_STATE_DEFINED,
        VM_STATE_CREATING,
        VM_STATE_RUNNING,
        VM_STATE_PAUSED,
        VM_STATE_SHUTDOWN,
        VM_STATE_SHUTOFF,
        VM_STATE_MIGRATING,
        VM_STATE_CRASHED,
        VM_STATE_GONE,
        VM_STATES,
};
ENUM_TABLE_DECLARE(vm_state);

/** vm_state_of() - of the text in an Instance's status; VM_STATE_NONE for NULL and unknown words. */
enum vm_state vm_state_of(const char *text);

/* One row: with this power and state, the phase when the domain has the wanted epoch, and when it has an older one. */
struct vm_phase_row {
        bool power_on;
        enum vm_state state;
        enum vm_phase current;
        enum vm_phase older;
        const char *doc;
};
extern const struct vm_phase_row vm_phase_rows[];
extern const size_t vm_n_phase_rows;

/** vm_phase_of() - the phase of a machine that is not being deleted and whose Instance says @state. */
enum vm_phase vm_phase_of(bool power_on, enum vm_state state, bool current);

/** vm_phase_may_follow() - the table of moves: what a status may change into from one turn to the next. */
bool vm_phase_may_follow(enum vm_phase from, enum vm_phase to);
