/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/decide.h"

#include <glib.h>

/* Every cell: rows are what is wanted, columns what libvirt says. */
static void every_cell_of_the_table(void)
{
        enum { OLDER = 4, SAME = 5, NEWER = 6 };
        static const struct {
                const char *wish;
                struct instance_wish value;
                int64_t domain_epoch;
                const char *expected[INSTANCE_STATE_COUNT]; /* absent off running held paused stuck leaving */
                bool resetting;
        } rows[] = {
                {"deleted",
                 {.deleted = true, .power_on = true, .epoch = SAME, .may_start = true},
                 SAME,
                 {"gone", "undefine", "stop", "stop", "destroy", "destroy", "stop"}},
                {"deleted without a lease",
                 {.deleted = true, .power_on = true, .epoch = SAME},
                 OLDER,
                 {"gone", "undefine", "stop", "stop", "destroy", "destroy", "stop"}},
                {"off",
                 {.epoch = SAME, .may_start = true},
                 SAME,
                 {"report", "report", "stop", "stop", "destroy", "destroy", "stop"}},
                {"off, older epoch", {.epoch = SAME}, OLDER, {"report", "report", "stop", "stop", "destroy", "destroy", "stop"}},
                {"on, epoch as wanted",
                 {.power_on = true, .epoch = SAME, .may_start = true},
                 SAME,
                 {"report", "report", "report", "report", "resume", "report", "report"}},
                {"on, epoch as wanted, no lease",
                 {.power_on = true, .epoch = SAME},
                 SAME,
                 {"report", "report", "report", "report", "wait-lease", "report", "report"}},
                {"on, domain older",
                 {.power_on = true, .epoch = SAME, .may_start = true},
                 OLDER,
                 {"start", "start", "stop", "stop", "destroy", "destroy", "stop"}},
                {"on, domain older, no lease",
                 {.power_on = true, .epoch = SAME},
                 OLDER,
                 {"wait-lease", "wait-lease", "stop", "stop", "destroy", "destroy", "stop"}},
                {"on, domain newer than the order",
                 {.power_on = true, .epoch = SAME, .may_start = true},
                 NEWER,
                 {"report", "report", "report", "report", "report", "report", "report"}},
                {"on, to be suspended",
                 {.power_on = true, .epoch = SAME, .may_start = true, .order = INSTANCE_SUSPEND_ORDER},
                 SAME,
                 {"report", "report", "obey", "obey", "resume", "report", "report"}},
                {"on, to be suspended, no lease",
                 {.power_on = true, .epoch = SAME, .order = INSTANCE_SUSPEND_ORDER},
                 SAME,
                 {"report", "report", "obey", "obey", "wait-lease", "report", "report"}},
                {"on, suspended",
                 {.power_on = true, .epoch = SAME, .may_start = true, .suspended = true},
                 SAME,
                 {"report", "report", "report", "report", "report", "report", "report"}},
                {"on, to be resumed",
                 {.power_on = true, .epoch = SAME, .may_start = true, .order = INSTANCE_RESUME_ORDER},
                 SAME,
                 {"report", "report", "obey", "obey", "resume", "obey", "report"}},
                {"on, to be resumed, no lease",
                 {.power_on = true, .epoch = SAME, .order = INSTANCE_RESUME_ORDER},
                 SAME,
                 {"report", "report", "report", "report", "wait-lease", "report", "report"}},
                {"on, to be reset",
                 {.power_on = true, .epoch = SAME, .may_start = true, .order = INSTANCE_RESET_ORDER},
                 SAME,
                 {"report", "report", "obey", "report", "resume", "report", "report"}},
                {"on, held for a reset that was cut off",
                 {.power_on = true, .epoch = SAME, .may_start = true, .order = INSTANCE_RESET_ORDER},
                 SAME,
                 {"report", "report", "obey", "obey", "resume", "report", "report"},
                 true},
                {"on, held for a reset that was cut off, no lease",
                 {.power_on = true, .epoch = SAME, .order = INSTANCE_RESET_ORDER},
                 SAME,
                 {"report", "report", "obey", "wait-lease", "wait-lease", "report", "report"},
                 true},
                {"on, to be reset, domain older",
                 {.power_on = true, .epoch = SAME, .may_start = true, .order = INSTANCE_RESET_ORDER},
                 OLDER,
                 {"start", "start", "stop", "stop", "destroy", "destroy", "stop"}},
                {"off, though suspended",
                 {.epoch = SAME, .may_start = true, .suspended = true},
                 SAME,
                 {"report", "report", "stop", "stop", "destroy", "destroy", "stop"}},
                {"on, never ran",
                 {.power_on = true, .epoch = 0, .may_start = true},
                 -1,
                 {"start", "start", "stop", "stop", "destroy", "destroy", "stop"}},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                for (unsigned state = 0; state < INSTANCE_STATE_COUNT; state++) {
                        struct instance_fact fact = {.state = state, .epoch = rows[i].domain_epoch, .resetting = rows[i].resetting};

                        g_test_message("%s × %s", rows[i].wish, instance_state_to_text(state));
                        g_assert_cmpstr(instance_action_to_text(instance_decide(&rows[i].value, &fact)), ==,
                                        rows[i].expected[state]);
                }
        }
}

static void a_stuck_guest_goes_on_once_it_is_cured(void)
{
        struct instance_wish wish = {.power_on = true, .epoch = 3, .may_start = true};
        struct instance_fact fact = {.state = INSTANCE_STUCK, .epoch = 3};

        g_assert_cmpint(instance_decide(&wish, &fact), ==, INSTANCE_REPORT);
        fact.cured = true;
        g_assert_cmpint(instance_decide(&wish, &fact), ==, INSTANCE_RESUME);
        wish.suspended = true; /* there is space again, and still it was asked to stand still */
        g_assert_cmpint(instance_decide(&wish, &fact), ==, INSTANCE_REPORT);
        wish.suspended = false;
        wish.may_start = false;
        g_assert_cmpint(instance_decide(&wish, &fact), ==, INSTANCE_WAIT_LEASE);
        wish.power_on = false;
        g_assert_cmpint(instance_decide(&wish, &fact), ==, INSTANCE_DESTROY);
}

static void pauses_between_attempts_double(void)
{
        struct space_progress progress = {};
        const uint64_t second = 1000000;
        uint64_t now = 1000 * second, wait = 0, before;

        g_assert_cmpuint(space_wait_us(&progress, now), ==, 0);
        for (unsigned i = 0; i < 8; i++) {
                before = wait;
                space_resumed(&progress, now);
                wait = space_wait_us(&progress, now);
                g_assert_cmpuint(wait, ==, MAX(SPACE_AGAIN_US, MIN(before * 2, SPACE_AGAIN_MAX_US)));
                now += wait;
                g_assert_cmpuint(space_wait_us(&progress, now), ==, 0);
        }
        g_assert_cmpuint(wait, ==, SPACE_AGAIN_MAX_US);
        now += SPACE_SOON_US;
        space_resumed(&progress, now);
        g_assert_cmpuint(space_wait_us(&progress, now), ==, SPACE_AGAIN_US);
}

static void names_are_complete(void)
{
        for (unsigned i = 0; i < INSTANCE_STATE_COUNT; i++) {
                g_assert_nonnull(instance_state_to_text(i));
        }
        for (unsigned i = 0; i < INSTANCE_ACTION_COUNT; i++) {
                g_assert_nonnull(instance_action_to_text(i));
        }
        for (unsigned i = 0; i < INSTANCE_ORDER_COUNT; i++) {
                enum instance_order order;

                g_assert_cmpint(instance_order_from_text(instance_order_to_text(i), &order), ==, 0);
                g_assert_cmpint(order, ==, i);
        }
        g_assert_null(instance_state_to_text(INSTANCE_STATE_COUNT));
        g_assert_null(instance_action_to_text(INSTANCE_ACTION_COUNT));
}

static void guest_is_asked_again_and_again_then_cut_off(void)
{
        static const struct {
                uint64_t begun_s, asked_s;
                bool force;
                uint64_t grace_s, now_s;
                enum stop_action action;
                uint64_t again_s;
        } cases[] = {
                {0, 0, false, 60, 100, STOP_ASK, 5},     {100, 100, false, 60, 104, STOP_WAIT, 1},
                {100, 100, false, 60, 105, STOP_ASK, 5}, {100, 155, false, 60, 156, STOP_WAIT, 4},
                {100, 140, false, 60, 158, STOP_ASK, 2}, {100, 155, false, 60, 160, STOP_PULL, 0},
                {0, 0, true, 60, 100, STOP_PULL, 0},     {0, 0, false, 0, 100, STOP_PULL, 0},
                {0, 0, false, 3, 100, STOP_ASK, 3},      {100, 100, false, 60, 500, STOP_PULL, 0},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct stop_progress progress = {.begun_us = cases[i].begun_s * 1000000, .asked_us = cases[i].asked_s * 1000000};
                uint64_t again = 0;

                g_assert_cmpint(
                        stop_decide(&progress, cases[i].force, cases[i].grace_s * 1000000, cases[i].now_s * 1000000, &again), ==,
                        cases[i].action);
                g_assert_cmpuint(again, ==, cases[i].again_s * 1000000);
        }
}

static void a_guest_that_keeps_a_disk_is_asked_often_then_seldom_and_that_is_told(void)
{
        struct unplug_progress progress = {};
        uint64_t now = 5000000;

        g_assert_cmpuint(unplug_wait_us(&progress, now), ==, 0);
        g_assert_false(unplug_is_late(&progress, now + 3600000000ull));
        unplug_asked(&progress, now);
        g_assert_cmpuint(unplug_wait_us(&progress, now), ==, UNPLUG_SOON_US);
        g_assert_cmpuint(unplug_wait_us(&progress, now + 1000000), ==, UNPLUG_SOON_US - 1000000);
        g_assert_cmpuint(unplug_wait_us(&progress, now + UNPLUG_SOON_US), ==, 0);
        unplug_asked(&progress, now + UNPLUG_SOON_US);
        g_assert_false(unplug_is_late(&progress, now + UNPLUG_LATE_US - 1));
        g_assert_true(unplug_is_late(&progress, now + UNPLUG_LATE_US));
        unplug_asked(&progress, now + UNPLUG_OFTEN_US);
        g_assert_cmpuint(unplug_wait_us(&progress, now + UNPLUG_OFTEN_US), ==, UNPLUG_LATER_US);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/decide/cured", a_stuck_guest_goes_on_once_it_is_cured);
        g_test_add_func("/decide/space", pauses_between_attempts_double);
        g_test_add_func("/decide/every_cell_of_the_table", every_cell_of_the_table);
        g_test_add_func("/decide/names_are_complete", names_are_complete);
        g_test_add_func("/decide/guest_is_asked_again_and_again_then_cut_off", guest_is_asked_again_and_again_then_cut_off);
        g_test_add_func("/decide/A49_unplug", a_guest_that_keeps_a_disk_is_asked_often_then_seldom_and_that_is_told);
        return g_test_run();
}
