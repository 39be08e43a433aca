/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control.h"

static uint64_t now_us;

static uint64_t test_now(void *userdata)
{
        return now_us;
}

static const struct clock test_clock = {.real_us = test_now, .monotonic_us = test_now};

static struct workqueue *fresh(void)
{
        now_us = 1000000;
        return workqueue_new(&test_clock);
}

static void keys_come_once_and_in_order(void)
{
        g_autoptr(workqueue) queue = fresh();
        static const char *const expect[] = {"a", "b", "c"};

        workqueue_add(queue, "a");
        workqueue_add(queue, "b");
        workqueue_add(queue, "a");
        workqueue_add(queue, "c");
        g_assert_cmpuint(workqueue_length(queue), ==, 3);
        for (size_t i = 0; i < G_N_ELEMENTS(expect); i++) {
                const char *key = workqueue_take(queue);

                g_assert_cmpstr(key, ==, expect[i]);
                workqueue_finish(queue, key);
        }
        g_assert_null(workqueue_take(queue));
        g_assert_cmpuint(workqueue_due_us(queue), ==, UINT64_MAX);
}

static void event_during_a_turn_gives_one_more(void)
{
        g_autoptr(workqueue) queue = fresh();

        workqueue_add(queue, "a");

        const char *key = workqueue_take(queue);

        workqueue_add(queue, "a");
        workqueue_add(queue, "a");
        g_assert_null(workqueue_take(queue));
        workqueue_finish(queue, key);
        key = workqueue_take(queue);
        g_assert_cmpstr(key, ==, "a");
        workqueue_finish(queue, key);
        g_assert_null(workqueue_take(queue));
}

static void the_earliest_of_several_times_wins(void)
{
        g_autoptr(workqueue) queue = fresh();

        workqueue_add_after(queue, "a", 500);
        workqueue_add_after(queue, "a", 300);
        workqueue_add_after(queue, "a", 900);
        g_assert_cmpuint(workqueue_due_us(queue), ==, 300);
        now_us += 299;
        g_assert_null(workqueue_take(queue));
        now_us += 1;

        const char *key = workqueue_take(queue);

        g_assert_cmpstr(key, ==, "a");
        workqueue_finish(queue, key);
        now_us += 10000;
        g_assert_null(workqueue_take(queue));
}

static void an_event_overtakes_a_delay(void)
{
        g_autoptr(workqueue) queue = fresh();

        workqueue_add_after(queue, "a", 60000000);
        workqueue_add(queue, "a");
        g_assert_cmpuint(workqueue_due_us(queue), ==, 0);

        const char *key = workqueue_take(queue);

        workqueue_finish(queue, key);
        now_us += 120000000;
        g_assert_null(workqueue_take(queue));
}

static void a_delay_asked_for_during_work_begins_then(void)
{
        g_autoptr(workqueue) queue = fresh();

        workqueue_add(queue, "a");

        const char *key = workqueue_take(queue);

        workqueue_add_after(queue, "a", 100);
        now_us += 40;
        workqueue_finish(queue, key);
        g_assert_cmpuint(workqueue_due_us(queue), ==, 60);
}

static void back_off_doubles_from_50_ms_to_60_s_and_is_forgotten(void)
{
        static const uint64_t expect_ms[] = {50, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000, 60000};
        g_autoptr(workqueue) queue = fresh();

        for (size_t i = 0; i < G_N_ELEMENTS(expect_ms); i++) {
                workqueue_retry(queue, "a");
                g_assert_cmpuint(workqueue_due_us(queue), ==, expect_ms[i] * 1000);
                now_us += expect_ms[i] * 1000;
                workqueue_finish(queue, workqueue_take(queue));
        }
        workqueue_forget(queue, "a");
        workqueue_retry(queue, "a");
        g_assert_cmpuint(workqueue_due_us(queue), ==, 50000);
}

static void equal_times_keep_their_order(void)
{
        g_autoptr(workqueue) queue = fresh();

        workqueue_add_after(queue, "b", 10);
        workqueue_add_after(queue, "a", 10);
        now_us += 10;
        g_assert_cmpstr(workqueue_take(queue), ==, "b");
        g_assert_cmpstr(workqueue_take(queue), ==, "a");
}

static void count_call(void *userdata)
{
        ++*(unsigned *)userdata;
}

static void the_owner_hears_of_new_work(void)
{
        g_autoptr(workqueue) queue = fresh();
        unsigned calls = 0;

        workqueue_on_ready(queue, count_call, &calls);
        controller_enqueue(queue, "default", "vm");
        g_assert_cmpuint(calls, ==, 1);
        workqueue_add_after(queue, "later", 5);
        g_assert_cmpuint(calls, ==, 2);

        const char *key = workqueue_take(queue);

        g_assert_cmpstr(key, ==, "default/vm");
        workqueue_finish(queue, key);
        controller_enqueue(queue, NULL, "node");
        key = workqueue_take(queue);
        g_assert_cmpstr(key, ==, "-/node");
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/workqueue/keys_come_once_and_in_order", keys_come_once_and_in_order);
        g_test_add_func("/workqueue/event_during_a_turn_gives_one_more", event_during_a_turn_gives_one_more);
        g_test_add_func("/workqueue/the_earliest_of_several_times_wins", the_earliest_of_several_times_wins);
        g_test_add_func("/workqueue/an_event_overtakes_a_delay", an_event_overtakes_a_delay);
        g_test_add_func("/workqueue/a_delay_asked_for_during_work_begins_then", a_delay_asked_for_during_work_begins_then);
        g_test_add_func("/workqueue/back_off_doubles_from_50_ms_to_60_s_and_is_forgotten",
                        back_off_doubles_from_50_ms_to_60_s_and_is_forgotten);
        g_test_add_func("/workqueue/equal_times_keep_their_order", equal_times_keep_their_order);
        g_test_add_func("/workqueue/the_owner_hears_of_new_work", the_owner_hears_of_new_work);
        return g_test_run();
}
