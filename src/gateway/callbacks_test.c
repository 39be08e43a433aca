/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/callback_plan.h"
#include "gateway/callback_queue.h"

#include <glib.h>
#include <string.h>

/* What follows from an attempt, and who is next; on a clock that only the test moves. */

#define SECOND_US 1000000ull
#define NOW_US    1700000000000000ull /* 2023-11-14T22:13:20Z */

/* --- one attempt --- */

static void an_answer_decides(void)
{
        static const struct {
                int status;
                int64_t attempts;
                enum callback_verdict expect;
        } cases[] = {
                {200, 1, CALLBACK_DELIVERED}, {204, 10, CALLBACK_DELIVERED}, {299, 30, CALLBACK_DELIVERED},
                {0, 1, CALLBACK_AGAIN},       {0, 10, CALLBACK_DEAD},        {500, 9, CALLBACK_AGAIN},
                {500, 10, CALLBACK_DEAD},     {302, 1, CALLBACK_AGAIN},      {404, 1, CALLBACK_AGAIN},
                {410, 1, CALLBACK_DEAD},      {429, 1, CALLBACK_AGAIN},      {199, 1, CALLBACK_AGAIN},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct callback_answer answer = {.status = cases[i].status};

                g_assert_cmpint(callback_judge(&answer, cases[i].attempts, 10), ==, cases[i].expect);
        }
}

static void pauses_double_up_to_ten_minutes_and_are_spread_over_all_of_it(void)
{
        struct callback_answer refused = {.status = 500};
        uint64_t seed = 7;
        struct random_source random = random_seeded(&seed);

        for (int64_t attempts = 1; attempts <= 30; attempts++) {
                uint64_t bound_us = MIN(SECOND_US << MIN(attempts - 1, 20), 600 * SECOND_US), least_us = UINT64_MAX, most_us = 0;

                for (unsigned i = 0; i < 300; i++) {
                        uint64_t pause_us = callback_pause_us(&refused, attempts, NOW_US, &random);

                        least_us = MIN(least_us, pause_us);
                        most_us = MAX(most_us, pause_us);
                }
                g_assert_cmpuint(most_us, <=, bound_us);
                g_assert_cmpuint(most_us, >, bound_us * 9 / 10);
                g_assert_cmpuint(least_us, >=, CALLBACK_PAUSE_LEAST_US);
                g_assert_cmpuint(least_us, <, MAX(bound_us / 10, CALLBACK_PAUSE_LEAST_US + 1));
        }
}

static void what_the_endpoint_asks_for_is_honoured_within_bounds(void)
{
        static const struct {
                int status;
                const char *retry_after;
                uint64_t least_us, most_us;
        } cases[] = {
                {503, "120", 120 * SECOND_US, 120 * SECOND_US},
                {429, "120", 120 * SECOND_US, 120 * SECOND_US},
                {500, "120", 0, SECOND_US}, /* nothing that it may ask for */
                {503, "0", 0, SECOND_US},
                {503, "86400", CALLBACK_PAUSE_ASKED_US, CALLBACK_PAUSE_ASKED_US},
                {503, "99999999999999999999999", CALLBACK_PAUSE_ASKED_US, CALLBACK_PAUSE_ASKED_US},
                {503, "Tue, 14 Nov 2023 22:14:20 GMT", 60 * SECOND_US, 60 * SECOND_US},
                {503, "Tue, 14 Nov 2023 22:12:20 GMT", 0, SECOND_US},
                {503, "-5", 0, SECOND_US},
                {503, "soon", 0, SECOND_US},
                {503, "", 0, SECOND_US},
        };
        uint64_t seed = 7;
        struct random_source random = random_seeded(&seed);

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct callback_answer answer = {.status = cases[i].status, .retry_after = cases[i].retry_after};
                uint64_t pause_us = callback_pause_us(&answer, 1, NOW_US, &random);

                g_assert_cmpuint(pause_us, >=, cases[i].least_us);
                g_assert_cmpuint(pause_us, <=, cases[i].most_us);
        }
}

/* The digest is of "1700000000.{}" by `openssl dgst -sha256 -hmac Jefe`. */
static void a_signature_is_of_the_time_and_the_body(void)
{
        g_autofree char *one = callback_signature("Jefe", 4, 1700000000, "{}");
        g_autofree char *other = callback_signature("Jefe", 4, 1700000001, "{}");

        g_assert_cmpstr(one, ==, "t=1700000000,v1=d3793e2b4103edfbd98cc19591832f5fad701d413db9fcae0ae7dab8184ed207");
        g_assert_cmpstr(strchr(one, 'v'), !=, strchr(other, 'v'));
}

/* --- who is next --- */

static const struct callback_bounds bounds = {.all = 8, .per_callback = 2, .per_project = 4};

static void put(struct callback_queue *queue, const char *callback, const char *object, int64_t sequence, uint64_t when_us)
{
        g_autofree char *uid = g_strdup_printf("%s/%s/%d", callback, object, (int)sequence);
        g_autofree char *project = g_strndup(callback, 1); /* callbacks a1, a2 are of project a */
        const struct callback_entry entry = {.uid = uid,
                                             .namespace = project,
                                             .name = uid,
                                             .callback_uid = callback,
                                             .object_uid = object,
                                             .sequence = sequence,
                                             .next_us = when_us};

        callback_queue_put(queue, &entry);
}

static const char *take(struct callback_queue *queue, uint64_t now_us)
{
        uint64_t due_us;
        const struct callback_entry *entry = callback_queue_take(queue, now_us, &due_us);

        return entry ? entry->uid : "none";
}

static void the_events_of_an_object_go_out_in_order_and_one_at_a_time(void)
{
        g_autoptr(callback_queue) queue = callback_queue_new(&bounds);
        uint64_t due_us;

        put(queue, "a1", "image", 2, 0);
        put(queue, "a1", "image", 10, 0);
        put(queue, "a1", "image", 1, 0);
        g_assert_cmpstr(take(queue, 1), ==, "a1/image/1");
        g_assert_cmpstr(take(queue, 1), ==, "none");
        put(queue, "a1", "image", 1, 500); /* it failed, and waits */
        callback_queue_finish(queue, "a1/image/1", 0, false);
        g_assert_null(callback_queue_take(queue, 499, &due_us)); /* nor do later ones overtake it */
        g_assert_cmpuint(due_us, ==, 500);
        g_assert_cmpstr(take(queue, 500), ==, "a1/image/1");
        callback_queue_drop(queue, "a1/image/1");
        callback_queue_finish(queue, "a1/image/1", 0, false);
        g_assert_cmpstr(take(queue, 500), ==, "a1/image/2");
        callback_queue_drop(queue, "a1/image/2");
        callback_queue_finish(queue, "a1/image/2", 0, false);
        g_assert_cmpstr(take(queue, 500), ==, "a1/image/10");
        g_assert_cmpuint(callback_queue_length(queue), ==, 1);
}

static void what_waited_longest_goes_first(void)
{
        g_autoptr(callback_queue) queue = callback_queue_new(&bounds);

        put(queue, "a1", "x", 1, 300);
        put(queue, "a1", "y", 1, 100);
        put(queue, "a1", "z", 1, 200);
        g_assert_cmpstr(take(queue, 1000), ==, "a1/y/1");
        g_assert_cmpstr(take(queue, 1000), ==, "a1/z/1");
        g_assert_cmpstr(take(queue, 1000), ==, "none"); /* two of a callback */
        callback_queue_drop(queue, "a1/y/1");
        callback_queue_finish(queue, "a1/y/1", 0, false);
        g_assert_cmpstr(take(queue, 1000), ==, "a1/x/1");
}

static void nobody_has_all_places(void)
{
        g_autoptr(callback_queue) queue = callback_queue_new(&bounds);
        unsigned n = 0;

        for (unsigned c = 1; c <= 5; c++)
                for (unsigned o = 0; o < 5; o++) {
                        g_autofree char *callback = g_strdup_printf("a%u", c), *object = g_strdup_printf("o%u", o);

                        put(queue, callback, object, 1, 0);
                }
        put(queue, "b1", "o", 1, 0);
        while (strcmp(take(queue, 1), "none") != 0)
                n++;
        g_assert_cmpuint(n, ==, bounds.per_project + 1);
}

static void slow_endpoints_have_half_of_the_places(void)
{
        g_autoptr(callback_queue) queue = callback_queue_new(&bounds);
        static const char *const slow[] = {"a1", "b1", "c1", "d1", "e1"};
        unsigned n = 0;

        for (size_t i = 0; i < G_N_ELEMENTS(slow); i++) {
                g_autofree char *uid = g_strdup_printf("%s/first/1", slow[i]);

                put(queue, slow[i], "first", 1, 0);
                g_assert_cmpstr(take(queue, 1), ==, uid);
                callback_queue_finish(queue, uid, 1000000, true);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(slow); i++)
                for (unsigned o = 0; o < 5; o++) {
                        g_autofree char *object = g_strdup_printf("o%u", o);

                        put(queue, slow[i], object, 1, 0);
                }
        while (strcmp(take(queue, 1), "none") != 0)
                n++;
        g_assert_cmpuint(n, ==, bounds.all / 2);
        put(queue, "f1", "o", 1, 0);
        g_assert_cmpstr(take(queue, 1), ==, "f1/o/1");
}

static void what_is_held_or_gone_is_not_taken(void)
{
        g_autoptr(callback_queue) queue = callback_queue_new(&bounds);

        callback_queue_hold(queue, "a1", true);
        put(queue, "a1", "x", 1, 0);
        put(queue, "a1", "y", 1, 0);
        g_assert_cmpstr(take(queue, 1), ==, "none");
        callback_queue_hold(queue, "a1", false);
        g_assert_cmpstr(take(queue, 1), ==, "a1/x/1");
        callback_queue_forget(queue, "a1");
        g_assert_cmpstr(take(queue, 1), ==, "none");
        callback_queue_finish(queue, "a1/x/1", 0, false);
        g_assert_cmpuint(callback_queue_length(queue), ==, 0);
        callback_queue_forget(queue, "a1");
        callback_queue_hold(queue, "never-seen", false);
        callback_queue_drop(queue, "never-seen");
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/callbacks/B33_an_answer_decides", an_answer_decides);
        g_test_add_func("/callbacks/B33_pauses_double_up_to_ten_minutes_and_are_spread_over_all_of_it",
                        pauses_double_up_to_ten_minutes_and_are_spread_over_all_of_it);
        g_test_add_func("/callbacks/B33_what_the_endpoint_asks_for_is_honoured_within_bounds",
                        what_the_endpoint_asks_for_is_honoured_within_bounds);
        g_test_add_func("/callbacks/a_signature_is_of_the_time_and_the_body", a_signature_is_of_the_time_and_the_body);
        g_test_add_func("/callbacks/the_events_of_an_object_go_out_in_order_and_one_at_a_time",
                        the_events_of_an_object_go_out_in_order_and_one_at_a_time);
        g_test_add_func("/callbacks/what_waited_longest_goes_first", what_waited_longest_goes_first);
        g_test_add_func("/callbacks/nobody_has_all_places", nobody_has_all_places);
        g_test_add_func("/callbacks/slow_endpoints_have_half_of_the_places", slow_endpoints_have_half_of_the_places);
        g_test_add_func("/callbacks/what_is_held_or_gone_is_not_taken", what_is_held_or_gone_is_not_taken);
        return g_test_run();
}
