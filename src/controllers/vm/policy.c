/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/vm/policy.h"

#include "generated/reasons.h"

#include <assert.h>

static const char *const policy_names[RUN_POLICIES] = {
        [RUN_ALWAYS_ON] = "AlwaysOn",
        [RUN_ALWAYS_OFF] = "AlwaysOff",
        [RUN_MANUAL] = "Manual",
        [RUN_UNLESS_STOPPED] = "AlwaysOnUnlessStoppedManually",
};
ENUM_TABLE(run_policy, policy_names)

/* The cells of AlwaysOn, AlwaysOnUnlessStoppedManually, Manual, AlwaysOff. */
#define CELLS(on, unless, manual, off)                                                                                             \
        {                                                                                                                          \
                [RUN_ALWAYS_ON] = POLICY_##on, [RUN_UNLESS_STOPPED] = POLICY_##unless, [RUN_MANUAL] = POLICY_##manual,             \
                [RUN_ALWAYS_OFF] = POLICY_##off                                                                                    \
        }

/* An event that the controller sees as another one has its cells. */
#define AS(other, text, doc)                                                                                                       \
        {                                                                                                                          \
                .event = (text), .as = POLICY_##other, .words = (doc)                                                              \
        }

const struct policy_row policy_rows[POLICY_EVENTS] = {
        [POLICY_DELETION] = {"it is being deleted",
                             POLICY_DELETION,
                             {0},
                             CELLS(REMOVES, REMOVES, REMOVES, REMOVES),
                             "The guest is asked to shut down, for 30 s at most, then the domain goes. Nothing starts it again."},
        [POLICY_HOST_STOPS] = {"its host is about to be rebooted, or reboots, by a NodeOperation",
                               POLICY_HOST_STOPS,
                               {0},
                               CELLS(SHUTS_DOWN, SHUTS_DOWN, SHUTS_DOWN, SHUTS_DOWN),
                               "Its own operations wait. What was off before stays off."},
        [POLICY_HOST_IS_BACK] = {"it ran before that reboot, and its host is back",
                                 POLICY_HOST_IS_BACK,
                                 {0},
                                 CELLS(STARTS, STARTS, STARTS, STAYS_OFF),
                                 "Once; what then happens to it has its own row."},
        [POLICY_OPERATION] = {"an operation",
                              POLICY_OPERATION,
                              {0},
                              CELLS(OBEYS, OBEYS, OBEYS, REFUSES),
                              "Which ones AlwaysOn allows says the table of [operations](operations.md#run-policies)."},
        [POLICY_NEW] = {"it was made, and all it needs is there", POLICY_NEW, {0}, CELLS(STARTS, STARTS, STAYS_OFF, STAYS_OFF), ""},
        [POLICY_START_WAITS] = {"a Start was asked for, and something that it needs was not there",
                                POLICY_START_WAITS,
                                {0},
                                CELLS(STARTS, STARTS, STARTS, FORGETS),
                                "It is remembered, also when the operation is long over."},
        [POLICY_STOPPED_BEFORE] = {"a Stop was asked for before its first start",
                                   POLICY_STOPPED_BEFORE,
                                   {0},
                                   CELLS(STARTS, STAYS_OFF, STAYS_OFF, STAYS_OFF),
                                   ""},
        [POLICY_OFF] = {"it is off: by an operation, or because it was left off",
                        POLICY_OFF,
                        {0},
                        CELLS(STARTS, STAYS_OFF, STAYS_OFF, STAYS_OFF),
                        "A policy that is changed to AlwaysOn starts it."},
        [POLICY_RELEASED] = {"it is off because its policy was AlwaysOff",
                             POLICY_RELEASED,
                             {0},
                             CELLS(STARTS, STARTS, STAYS_OFF, STAYS_OFF),
                             "The policy was changed."},
        [POLICY_STARTING] = {"it is being started", POLICY_STARTING, {0}, CELLS(LEAVES, LEAVES, LEAVES, SHUTS_DOWN), ""},
        [POLICY_START_FAILS] = AS(STARTING, "its start fails", "Its host tries again, with pauses that grow up to a minute."),
        [POLICY_RUNS] = {"it runs", POLICY_RUNS, {0}, CELLS(LEAVES, LEAVES, LEAVES, SHUTS_DOWN), ""},
        [POLICY_GUEST_REBOOT] =
                AS(RUNS, "the guest reboots", "In the same QEMU and epoch; changes of the machine are not applied."),
        [POLICY_AGENT_RESTART] = AS(RUNS, "the agent of its host restarts", "What happened meanwhile is seen when it is back."),
        [POLICY_LIBVIRT_RESTART] =
                AS(RUNS, "libvirtd restarts", "QEMU goes on without it; what happened meanwhile is seen when it is back."),
        [POLICY_NODE_LOST] = AS(RUNS, "its host does not answer", "It may run there still, so it is started nowhere else."),
        [POLICY_SUSPENDED] = {"an operation suspended it",
                              POLICY_SUSPENDED,
                              {REASON_PAUSED},
                              CELLS(LEAVES, LEAVES, LEAVES, SHUTS_DOWN),
                              "Until it is resumed, stopped or restarted."},
        [POLICY_PAUSED_OUTSIDE] = {"somebody paused it on its host",
                                   POLICY_PAUSED_OUTSIDE,
                                   {REASON_PAUSED_OUTSIDE},
                                   CELLS(LEAVES, LEAVES, LEAVES, SHUTS_DOWN),
                                   "Somebody meant it."},
        [POLICY_GUEST_SLEEPS] = {"the guest put itself to sleep",
                                 POLICY_GUEST_SLEEPS,
                                 {REASON_GUEST_SUSPENDED},
                                 CELLS(LEAVES, LEAVES, LEAVES, SHUTS_DOWN),
                                 "It wakes by itself, or by a Resume."},
        [POLICY_NO_SPACE] = {"a pool is full, and QEMU paused it",
                             POLICY_NO_SPACE,
                             {REASON_POOL_FULL},
                             CELLS(LEAVES, LEAVES, LEAVES, SHUTS_DOWN),
                             "It stands still and loses nothing. It goes on by itself when there is room, or by a Resume."},
        [POLICY_DISK_ERROR] = {"a disk reports errors, and QEMU paused it",
                               POLICY_DISK_ERROR,
                               {REASON_DISK_FAILED},
                               CELLS(LEAVES, LEAVES, LEAVES, SHUTS_DOWN),
                               "It stands still until it is resumed or restarted: a new start would meet the same disk."},
        [POLICY_GUEST_SHUTDOWN] = {"the guest shuts itself down",
                                   POLICY_GUEST_SHUTDOWN,
                                   {REASON_GUEST_SHUTDOWN},
                                   CELLS(STARTS_AGAIN, STAYS_OFF, STAYS_OFF, HOLDS_OFF),
                                   ""},
        [POLICY_CRASH] = {"its QEMU crashes or is killed",
                          POLICY_CRASH,
                          {REASON_CRASHED, REASON_FAILED},
                          CELLS(STARTS_AGAIN, STARTS_AGAIN, STAYS_OFF, HOLDS_OFF),
                          ""},
        [POLICY_PANIC] = {"the guest's kernel panics",
                          POLICY_PANIC,
                          {REASON_GUEST_PANICKED},
                          CELLS(STARTS_AGAIN, STARTS_AGAIN, STAYS_OFF, HOLDS_OFF),
                          "Seen when the guest has a driver for pvpanic; others stand still or reboot by themselves."},
        [POLICY_HOST_REBOOT] = {"its host goes down and comes back",
                                POLICY_HOST_REBOOT,
                                {REASON_HOST_LOST},
                                CELLS(STARTS_AGAIN, STARTS_AGAIN, STAYS_OFF, HOLDS_OFF),
                                "Not before the agent has spoken to the gateway."},
        [POLICY_CUT_OFF] = {"somebody cuts it off, or saves it, on its host",
                            POLICY_CUT_OFF,
                            {REASON_DOMAIN_DESTROYED_OUTSIDE, REASON_DOMAIN_SAVED_OUTSIDE, REASON_DESTROYED},
                            CELLS(STARTS_AGAIN, STARTS_AGAIN, STAYS_OFF, HOLDS_OFF),
                            "It boots; what was saved is thrown away."},
        [POLICY_DOMAIN_LOST] = {"its domain is removed on its host",
                                POLICY_DOMAIN_LOST,
                                {REASON_DOMAIN_LOST},
                                CELLS(STARTS_AGAIN, STARTS_AGAIN, STAYS_OFF, HOLDS_OFF),
                                "It is defined again as it was."},
        [POLICY_OTHER_END] =
                {"it ends for another reason", POLICY_OTHER_END, {0}, CELLS(STARTS_AGAIN, STARTS_AGAIN, STAYS_OFF, HOLDS_OFF), ""},
};

enum policy_verdict policy_verdict(enum policy_event event, enum run_policy policy)
{
        assert(event < POLICY_EVENTS && policy < RUN_POLICIES);
        return policy_rows[policy_rows[event].as].cells[policy];
}

enum policy_event policy_event_of(enum policy_event first, enum policy_event last, const char *reason, enum policy_event otherwise)
{
        assert(first <= last && last < POLICY_EVENTS);
        for (enum policy_event event = first; reason && event <= last; event++)
                for (size_t i = 0; i < G_N_ELEMENTS(policy_rows[event].reasons); i++)
                        if (g_strcmp0(policy_rows[event].reasons[i], reason) == 0)
                                return event;
        return otherwise;
}

/* --- the manual --- */

static const char *const verdict_words[POLICY_VERDICTS] = {
        [POLICY_LEAVES] = "is left as it is", [POLICY_OBEYS] = "is carried out",
        [POLICY_REFUSES] = "is refused",      [POLICY_FORGETS] = "is forgotten",
        [POLICY_STARTS] = "**starts**",       [POLICY_STARTS_AGAIN] = "**starts again**",
        [POLICY_STAYS_OFF] = "stays off",     [POLICY_HOLDS_OFF] = "stays off",
        [POLICY_SHUTS_DOWN] = "is shut down", [POLICY_REMOVES] = "is shut down and removed",
};

void policy_manual(GString *page)
{
        static const enum run_policy columns[] = {RUN_ALWAYS_ON, RUN_UNLESS_STOPPED, RUN_MANUAL, RUN_ALWAYS_OFF};

        assert(page);
        g_string_append(page,
                        "# Run policies\n\nMade by the build of the table that decides. What happens to a machine, what it then "
                        "does by each `spec.runPolicy`, and the reason that its condition `Running` or its event tells.\n\n"
                        "| |");
        for (size_t i = 0; i < G_N_ELEMENTS(columns); i++)
                g_string_append_printf(page, " %s |", run_policy_to_text(columns[i]));
        g_string_append(page, " reason | |\n|---|---|---|---|---|---|---|\n");
        for (unsigned event = 0; event < POLICY_EVENTS; event++) {
                const struct policy_row *row = &policy_rows[event];

                g_string_append_printf(page, "| %s |", row->event);
                for (size_t i = 0; i < G_N_ELEMENTS(columns); i++)
                        g_string_append_printf(page, " %s |", verdict_words[policy_verdict(event, columns[i])]);
                for (size_t i = 0; i < G_N_ELEMENTS(row->reasons) && row->reasons[i]; i++)
                        g_string_append_printf(page, "%s%s", i ? ", " : " ", row->reasons[i]);
                g_string_append_printf(page, " | %s |\n", row->words);
        }
        g_string_append(
                page, "\n*Starts again*: at once the first time; when it ends again, after 10 s, then 20, 40, 80, 160 and at most "
                      "300 s. A run of ten minutes ends the count, and so does an operation that starts it.\n\n"
                      "A policy that is changed acts at once: read the row of what the machine is then.\n");
}
