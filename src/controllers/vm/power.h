/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "controllers/vm/phase.h"
#include "controllers/vm/policy.h"

#include <stdbool.h>
#include <stdint.h>

/* Whether a machine shall run: a pure function of run policy, operation, what was decided before and what the host says
 * (vm-api 2.10). What a policy makes of what happened is the table of policy.h. */

enum power_order {
        ORDER_NONE,
        ORDER_START,
        ORDER_STOP,
        ORDER_RESTART,
        ORDER_FORCE_OFF,
        ORDER_SUSPEND,
        ORDER_RESUME,
        ORDER_RESET,
        ORDER_REDEPLOY,
        ORDER_CLONE,   /* another machine is made; nothing happens to this one */
        ORDER_MIGRATE, /* it goes on elsewhere; controllers/migration moves it */
        ORDER_EVICT,
        POWER_ORDERS,
};
/* "", Start, Stop, Restart, ForceOff, Suspend, Resume, Reset, Redeploy, Clone, Migrate, Evict: VirtualMachineOperation.spec.type.
 */
ENUM_TABLE_DECLARE(power_order);

/* What an operation on the machine's host, or a cold migration, wants of it. */
enum power_hold {
        HOLD_NONE,
        HOLD_OFF, /* it is off, or goes off, while the host is rebooted or it moves */
        HOLD_ON,  /* it ran before that: it runs again */
};

enum power_wish {
        WISH_NOTHING, /* leave it as it is */
        WISH_START,   /* a new epoch, on */
        WISH_STOP,    /* off, the guest is asked */
        WISH_FORCE_OFF,
        WISH_RESTART, /* a new epoch, what runs is ended before */
        WISH_END,     /* the domain goes, without asking: it is redeployed */
        WISH_RENEW,   /* its disks are made anew */
        WISH_OBEY,    /* the domain of this epoch carries out the order: suspended, resumed, reset */
        WISH_FORGET,  /* the start that was asked for and not possible yet */
        WISH_REMOVE,  /* the machine is being deleted */
};

/** power_order_is_of_machine() - whether an operation of this type is carried out by the vm controller. */
bool power_order_is_of_machine(const char *type);

struct power_facts {
        enum run_policy policy;
        bool deleting;
        bool has_instance;
        bool power_on;            /* Instance.spec.power */
        bool off_by_policy;       /* it is off because the policy was AlwaysOff */
        enum vm_state state;      /* of the domain */
        bool current;             /* the domain has the wanted epoch */
        const char *state_reason; /* why it is in its state; may be NULL */
        enum power_order order;   /* an operation not carried out yet, or one that waits for what it needs */
        bool order_force;
        enum power_order waits; /* ORDER_START or ORDER_STOP of an operation that ended and could not be done yet */
        enum power_hold hold;
        bool moves;   /* hold: for a cold migration */
        bool renewed; /* ORDER_REDEPLOY: nothing is left of what its disks held */
};

struct power_decision {
        enum power_wish wish;
        const char *reason; /* a code of api/reasons.yaml, or "Policy" or "Operation": recorded with the Instance */
        bool ended;         /* the domain ended without being asked: back-off applies to the next start */
        bool force;         /* the guest is not asked */
};

/** power_event() - the row of the run policies' table that the machine is in now. */
enum policy_event power_event(const struct power_facts *facts);

/** power_decide() - what to do with the machine now; the tables of vm-api 2.10 and 4.4 are its test. */
struct power_decision power_decide(const struct power_facts *facts);

/** power_back_off_us() - how long the @count-th start after an end (from 1) waits: none, then 10 s doubling up to 5 minutes. */
uint64_t power_back_off_us(unsigned count);
