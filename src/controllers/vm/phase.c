/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/vm/phase.h"

#include <assert.h>
#include <glib.h>

static const char *const phase_names[VM_PHASES] = {
        [VM_PENDING] = "Pending", [VM_STARTING] = "Starting",       [VM_RUNNING] = "Running",     [VM_STOPPING] = "Stopping",
        [VM_STOPPED] = "Stopped", [VM_TERMINATING] = "Terminating", [VM_MIGRATING] = "Migrating", [VM_PAUSE] = "Pause",
};
ENUM_TABLE(vm_phase, phase_names)

static const char *const state_names[VM_STATES] = {
        [VM_STATE_NONE] = "",           [VM_STATE_DEFINED] = "defined",     [VM_STATE_CREATING] = "creating",
        [VM_STATE_RUNNING] = "running", [VM_STATE_PAUSED] = "paused",       [VM_STATE_SHUTDOWN] = "shutdown",
        [VM_STATE_SHUTOFF] = "shutoff", [VM_STATE_MIGRATING] = "migrating", [VM_STATE_CRASHED] = "crashed",
        [VM_STATE_GONE] = "Gone",
};
ENUM_TABLE(vm_state, state_names)

enum vm_state vm_state_of(const char *text)
{
        enum vm_state state;

        return text && vm_state_from_text(text, &state) == 0 ? state : VM_STATE_NONE;
}

const struct vm_phase_row vm_phase_rows[] = {
        {true, VM_STATE_NONE, VM_STARTING, VM_STARTING, "The host has not begun yet."},
        {true, VM_STATE_DEFINED, VM_STARTING, VM_STARTING, "The domain is defined and will be started."},
        {true, VM_STATE_CREATING, VM_STARTING, VM_STARTING, "Volumes, seed image and interfaces are being made."},
        {true, VM_STATE_RUNNING, VM_RUNNING, VM_STOPPING, "It runs; with an older epoch it is stopped to be started anew."},
        {true, VM_STATE_PAUSED, VM_PAUSE, VM_STOPPING, "Its processors do not run."},
        {true, VM_STATE_SHUTDOWN, VM_STOPPING, VM_STOPPING, "The guest shuts down."},
        {true, VM_STATE_SHUTOFF, VM_PENDING, VM_STARTING,
         "It ended by itself and the next start waits, or it is being started anew."},
        {true, VM_STATE_MIGRATING, VM_MIGRATING, VM_MIGRATING, "It moves to another host."},
        {true, VM_STATE_CRASHED, VM_PENDING, VM_STARTING, "It crashed and the next start waits, or it is being started anew."},
        {true, VM_STATE_GONE, VM_PENDING, VM_PENDING, "The host has given it up."},
        {false, VM_STATE_NONE, VM_STOPPED, VM_STOPPED, "It was stopped before the host began."},
        {false, VM_STATE_DEFINED, VM_STOPPED, VM_STOPPED, "The domain is defined and off."},
        {false, VM_STATE_CREATING, VM_STOPPING, VM_STOPPING, "Its start is being undone."},
        {false, VM_STATE_RUNNING, VM_STOPPING, VM_STOPPING, "The guest was asked to shut down."},
        {false, VM_STATE_PAUSED, VM_STOPPING, VM_STOPPING, "It is being ended."},
        {false, VM_STATE_SHUTDOWN, VM_STOPPING, VM_STOPPING, "The guest shuts down."},
        {false, VM_STATE_SHUTOFF, VM_STOPPED, VM_STOPPED, "It is off."},
        {false, VM_STATE_MIGRATING, VM_MIGRATING, VM_MIGRATING, "It moves to another host and is stopped there."},
        {false, VM_STATE_CRASHED, VM_STOPPED, VM_STOPPED, "It crashed and stays off."},
        {false, VM_STATE_GONE, VM_STOPPED, VM_STOPPED, "The host has given it up."},
};
const size_t vm_n_phase_rows = G_N_ELEMENTS(vm_phase_rows);

enum vm_phase vm_phase_of(bool power_on, enum vm_state state, bool current)
{
        assert(state < VM_STATES);

        for (size_t i = 0; i < vm_n_phase_rows; i++)
                if (vm_phase_rows[i].power_on == power_on && vm_phase_rows[i].state == state)
                        return current ? vm_phase_rows[i].current : vm_phase_rows[i].older;
        return VM_PENDING;
}

#define MAY(phase) (1u << (phase))

/* A status shows the newest state only, so states in between may be skipped. What never happens: anything after Terminating. */
static const unsigned moves[VM_PHASES] = {
        [VM_PENDING] =
                MAY(VM_STARTING) | MAY(VM_RUNNING) | MAY(VM_STOPPING) | MAY(VM_STOPPED) | MAY(VM_PAUSE) | MAY(VM_TERMINATING),
        [VM_STARTING] =
                MAY(VM_PENDING) | MAY(VM_RUNNING) | MAY(VM_STOPPING) | MAY(VM_STOPPED) | MAY(VM_PAUSE) | MAY(VM_TERMINATING),
        [VM_RUNNING] = MAY(VM_PENDING) | MAY(VM_STARTING) | MAY(VM_STOPPING) | MAY(VM_STOPPED) | MAY(VM_MIGRATING) | MAY(VM_PAUSE) |
                       MAY(VM_TERMINATING),
        [VM_STOPPING] = MAY(VM_PENDING) | MAY(VM_STARTING) | MAY(VM_RUNNING) | MAY(VM_STOPPED) | MAY(VM_TERMINATING),
        [VM_STOPPED] = MAY(VM_PENDING) | MAY(VM_STARTING) | MAY(VM_RUNNING) | MAY(VM_TERMINATING),
        [VM_TERMINATING] = 0,
        [VM_MIGRATING] =
                MAY(VM_PENDING) | MAY(VM_RUNNING) | MAY(VM_STOPPING) | MAY(VM_STOPPED) | MAY(VM_PAUSE) | MAY(VM_TERMINATING),
        [VM_PAUSE] = MAY(VM_PENDING) | MAY(VM_STARTING) | MAY(VM_RUNNING) | MAY(VM_STOPPING) | MAY(VM_STOPPED) | MAY(VM_MIGRATING) |
                     MAY(VM_TERMINATING),
};

bool vm_phase_may_follow(enum vm_phase from, enum vm_phase to)
{
        assert(from < VM_PHASES && to < VM_PHASES);
        return from == to || (moves[from] & MAY(to));
}
