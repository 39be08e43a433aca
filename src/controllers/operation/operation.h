/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "control/control.h"
#include "controllers/vm/power.h"

#include <stdbool.h>

/*
 * VirtualMachineOperation: judges whether it may be done, puts it In Progress, and watches until the machine is as asked for. The
 * vm controller carries it out, once: the Instance (or the machine, while it has none) remembers its uid.
 */
extern const struct controller operation_controller;

/* What an operation needs (vm-api 4.4); the manual prints it. Bits: 1 << enum vm_phase, 1 << enum run_policy. */
struct operation_rule {
        enum power_order order;
        unsigned phases;
        unsigned phases_with_force; /* these too, when the operation is forced */
        unsigned policies;
        const char *in_progress; /* reason code while it is under way */
        const char *goal;        /* what the machine then is: "running" */
        const char *done;        /* told at the end */
        const char *done_when;
};
extern const struct operation_rule operation_rules[];
extern const size_t operation_n_rules;

/** operation_rule() - of an order that is not ORDER_NONE. */
const struct operation_rule *operation_rule(enum power_order order);

/** operation_refusal() - the reason code why it may not be done, or NULL. */
const char *operation_refusal(enum power_order order, bool force, enum vm_phase phase, enum run_policy policy);

/** operation_supersedes() - whether a newer operation ends an unfinished older one (vm-api 4.5). */
bool operation_supersedes(enum power_order newer, bool newer_force, enum power_order older, bool older_force);
