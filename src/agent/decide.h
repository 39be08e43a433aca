/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/names.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * What is to be done with a domain: a pure function of what is wanted and what libvirt says (design decision 4). The epoch of a
 * domain is written into its metadata after the start and before its guest runs for the first time; so a domain whose epoch is
 * below the wanted one has not run for it, and one whose epoch is equal and that is off has ended by itself.
 */
enum instance_state { /* of the domain */
                      INSTANCE_ABSENT,
                      INSTANCE_OFF, /* defined, no process */
                      INSTANCE_RUNNING,
                      INSTANCE_HELD,    /* it ran in this epoch and was paused from outside */
                      INSTANCE_PAUSED,  /* by us before the first resume, or from outside */
                      INSTANCE_STUCK,   /* paused by an error that is not ours to resume: I/O error, watchdog, migration */
                      INSTANCE_LEAVING, /* the guest is on its way down */
                      INSTANCE_STATE_COUNT,
};
const char *instance_state_to_text(enum instance_state state);

/* What the machine's owner wants done with the running domain, once. */
enum instance_order {
        INSTANCE_NO_ORDER,
        INSTANCE_SUSPEND_ORDER,
        INSTANCE_RESUME_ORDER,
        INSTANCE_RESET_ORDER,
        INSTANCE_ORDER_COUNT
};
/* "", Suspend, Resume, Reset: Instance.spec.order. */
ENUM_TABLE_DECLARE(instance_order);

enum instance_action {
        INSTANCE_REPORT,     /* nothing to do but tell what is */
        INSTANCE_START,      /* define anew and start, when may_start */
        INSTANCE_WAIT_LEASE, /* would start or resume, may not: the node's lease is not valid */
        INSTANCE_RESUME,     /* see the policy in place, then let the guest run */
        INSTANCE_OBEY,       /* carry out the order, then note its number */
        INSTANCE_STOP,       /* as the stop mode says */
        INSTANCE_DESTROY,    /* pull the plug: the guest could not answer, or never ran */
        INSTANCE_UNDEFINE,
        INSTANCE_GONE, /* nothing is left: say so */
        INSTANCE_ACTION_COUNT,
};
const char *instance_action_to_text(enum instance_action action);

struct instance_wish {
        bool deleted;
        bool power_on;
        int64_t epoch;
        enum instance_order order; /* not carried out yet */
        bool suspended;            /* by an order that was carried out: never let run by itself */
        bool may_start;            /* the lease is valid and the gateway was spoken to since the host booted */
};

struct instance_fact {
        enum instance_state state;
        bool resetting; /* it stands still for a reset of ours that was cut off */
        bool cured;     /* INSTANCE_STUCK: what held it up is no longer so */
        int64_t epoch;  /* of the domain's metadata; absent: the last one that was reported to have run, -1: none */
};

enum instance_action instance_decide(const struct instance_wish *wish, const struct instance_fact *fact);

/*
 * How a running domain is brought down: the guest is asked again and again (it misses the power button early in its boot), then the
 * plug is pulled.
 */
enum stop_action { STOP_ASK, STOP_WAIT, STOP_PULL };

struct stop_progress {
        uint64_t begun_us; /* 0: not begun */
        uint64_t asked_us; /* last time; 0: never */
};

/** stop_decide() - what to do at @now_us and, with STOP_ASK and STOP_WAIT, after how long to look again. */
enum stop_action stop_decide(const struct stop_progress *progress, bool force, uint64_t grace_us, uint64_t now_us,
                             uint64_t *ret_again_us);
#define STOP_ASK_INTERVAL_US 5000000ull

/*
 * A disk leaves a running domain when its guest lets it go: a guest that is paused, still boots or has no driver for that never
 * answers. It is asked again, first often, then now and then, and after a while that is told. So is one that shall give memory
 * back.
 */
struct unplug_progress {
        uint64_t begun_us; /* 0: nothing is awaited */
        uint64_t asked_us; /* last time; 0: never */
};
#define UNPLUG_SOON_US  3000000ull  /* between two questions, at first */
#define UNPLUG_OFTEN_US 60000000ull /* for so long */
#define UNPLUG_LATER_US 60000000ull /* between two questions, after that */
#define UNPLUG_LATE_US  30000000ull /* from then on it is told that the guest does not answer */

/** unplug_wait_us() - how long after @now_us the guest is asked again at the earliest; 0: now. */
uint64_t unplug_wait_us(const struct unplug_progress *progress, uint64_t now_us);
/** unplug_asked() - it was asked at @now_us. */
void unplug_asked(struct unplug_progress *progress, uint64_t now_us);
/** unplug_is_late() - whether it has been asked in vain for long. */
bool unplug_is_late(const struct unplug_progress *progress, uint64_t now_us);

/*
 * When a guest that stands still for want of space is let run again: with a pause in between that doubles each time it came back
 * soon, so that a pool at its brim does not make it stutter.
 */
struct space_progress {
        uint64_t resumed_us; /* the last time; 0: never */
        unsigned again;      /* how often it stood still soon after */
};
#define SPACE_AGAIN_US     2000000ull
#define SPACE_AGAIN_MAX_US 60000000ull
#define SPACE_SOON_US      120000000ull

/** space_wait_us() - how long after @now_us it may be resumed at the earliest; 0: now. */
uint64_t space_wait_us(const struct space_progress *progress, uint64_t now_us);
/** space_resumed() - it is let run at @now_us. */
void space_resumed(struct space_progress *progress, uint64_t now_us);
