/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "control/control.h"
#include "controllers/vm/power.h"

#include <glib.h>
#include <stdbool.h>

/*
 * VirtualMachineOperation: judges whether it may be done, puts it In Progress, and watches until the machine is as asked for. The
 * vm controller carries it out, once: the Instance (or the machine, while it has none) remembers its uid.
 */
extern const struct controller operation_controller;

/* One cell of the table of transitions: an operation on a machine in a phase. */
enum operation_verdict { OPERATION_REFUSED, OPERATION_ALLOWED, OPERATION_WITH_FORCE };
struct operation_cell {
        enum operation_verdict verdict;
        const char *words; /* why it is refused without force; NULL: it is allowed */
};

/* What an operation needs (vm-api 4.4); the manual prints it. Bits of policies: 1 << enum run_policy. */
struct operation_rule {
        enum power_order order;
        struct operation_cell cells[VM_PHASES];
        unsigned policies;
        const char *in_progress; /* reason code while it is under way */
        const char *goal;        /* what the machine then is: "running" */
        const char *done;        /* told at the end */
        const char *done_when;
        bool hurries; /* allowed for a machine that waits after an end (phase Pending, reason BackOff): it does not wait any longer
                       */
};
extern const struct operation_rule operation_rules[];
extern const size_t operation_n_rules;

/** operation_rule() - of an order that is not ORDER_NONE. */
const struct operation_rule *operation_rule(enum power_order order);

/** operation_refusal() - the reason code why it may not be done, or NULL. */
const char *operation_refusal(enum power_order order, bool force, enum vm_phase phase, enum run_policy policy);

/** operation_supersedes() - whether a newer operation ends an unfinished older one (vm-api 4.5). */
bool operation_supersedes(enum power_order newer, bool newer_force, enum power_order older, bool older_force);

/** operation_manual() - append the page of the reference manual: all tables of this folder, and phases. */
void operation_manual(GString *page);
