/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/names.h"

#include <glib.h>

/*
 * What a run policy makes of what happens to a machine: one table, of which power_decide() reads and the manual is printed. No
 * other place decides it; which operations a policy allows is the table of controllers/operation.
 */

enum run_policy { RUN_ALWAYS_ON, RUN_ALWAYS_OFF, RUN_MANUAL, RUN_UNLESS_STOPPED, RUN_POLICIES };
ENUM_TABLE_DECLARE(run_policy);

enum policy_event {
        POLICY_DELETION,
        /* Its host is rebooted by an operation. */
        POLICY_HOST_STOPS,
        POLICY_HOST_IS_BACK,
        POLICY_OPERATION,
        /* It has no domain yet. */
        POLICY_NEW,
        POLICY_START_WAITS,    /* an operation Start ended before what it needs was there */
        POLICY_STOPPED_BEFORE, /* an operation Stop came before the first start */
        /* It is off. */
        POLICY_OFF,
        POLICY_RELEASED, /* off because the policy was AlwaysOff, which it is no more */
        /* It runs, or shall. */
        POLICY_STARTING,
        POLICY_START_FAILS,
        POLICY_RUNS,
        POLICY_GUEST_REBOOT,
        POLICY_AGENT_RESTART,
        POLICY_LIBVIRT_RESTART,
        POLICY_NODE_LOST,
        /* It stands still. */
        POLICY_SUSPENDED,
        POLICY_PAUSED_OUTSIDE,
        POLICY_GUEST_SLEEPS,
        POLICY_NO_SPACE,
        POLICY_DISK_ERROR,
        /* It ended and was not asked to. */
        POLICY_GUEST_SHUTDOWN,
        POLICY_CRASH,
        POLICY_PANIC,
        POLICY_HOST_REBOOT,
        POLICY_CUT_OFF,
        POLICY_DOMAIN_LOST,
        POLICY_OTHER_END,
        POLICY_EVENTS,
};

enum policy_verdict {
        POLICY_LEAVES, /* as it is */
        POLICY_OBEYS,  /* the operation */
        POLICY_REFUSES,
        POLICY_FORGETS, /* what was asked for */
        POLICY_STARTS,
        POLICY_STARTS_AGAIN, /* with the pauses of the back-off */
        POLICY_STAYS_OFF,    /* for what happened: only an operation, or another policy, starts it */
        POLICY_HOLDS_OFF,    /* for the policy: it starts when the policy is another one */
        POLICY_SHUTS_DOWN,
        POLICY_REMOVES,
        POLICY_VERDICTS,
};

struct policy_row {
        const char *event;      /* for the manual */
        enum policy_event as;   /* the row that decides: to the controller it is the same; of most rows themselves */
        const char *reasons[3]; /* by which status.stateReason of the Instance it is told, for pauses and ends */
        enum policy_verdict cells[RUN_POLICIES];
        const char *words;
};
extern const struct policy_row policy_rows[POLICY_EVENTS];

/** policy_verdict() - the cell of an event. */
enum policy_verdict policy_verdict(enum policy_event event, enum run_policy policy);

/** policy_event_of() - which of the events from @first to @last the host tells with a reason (NULL: none), or @otherwise. */
enum policy_event policy_event_of(enum policy_event first, enum policy_event last, const char *reason, enum policy_event otherwise);

/** policy_manual() - append the page of the reference manual. */
void policy_manual(GString *page);
