/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/transfer_rate.h"

#include <glib.h>

#define SECOND 1000000ull
#define MIB    1048576ull

/* C12, D32: how fast it comes now, and on the average. */
static void what_was_there_before_counts_for_nothing(void)
{
        struct transfer_rate rate = {};

        transfer_rate_begin(&rate, 10 * SECOND, 100 * MIB);
        g_assert_false(transfer_rate_due(&rate, 11 * SECOND));
        g_assert_true(transfer_rate_due(&rate, 12 * SECOND));
        transfer_rate_look(&rate, 12 * SECOND, 120 * MIB);
        g_assert_cmpuint(rate.current, ==, 10 * MIB);
        g_assert_cmpuint(rate.average, ==, 10 * MIB);
        transfer_rate_look(&rate, 14 * SECOND, 180 * MIB);
        g_assert_cmpuint(rate.current, ==, 30 * MIB);
        g_assert_cmpuint(rate.average, ==, 20 * MIB);
        transfer_rate_look(&rate, 18 * SECOND, 180 * MIB);
        g_assert_cmpuint(rate.current, ==, 0);
        g_assert_cmpuint(rate.average, ==, 10 * MIB);
}

static void a_look_in_the_same_moment_and_one_that_went_back_divide_by_nothing(void)
{
        struct transfer_rate rate = {};

        transfer_rate_begin(&rate, 0, 0);
        transfer_rate_look(&rate, 0, MIB);
        g_assert_cmpuint(rate.current, ==, 0);
        transfer_rate_look(&rate, SECOND, 0);
        g_assert_cmpuint(rate.current, ==, 0);
        g_assert_cmpuint(rate.average, ==, 0);
        transfer_rate_begin(&rate, 1, 0);
        transfer_rate_look(&rate, 2, UINT64_MAX);
        g_assert_cmpuint(rate.current, >, 0);
}

static void rates_are_for_people(void)
{
        static const struct {
                uint64_t rate;
                const char *expect;
        } cases[] = {{0, "0 B/s"}, {1023, "1023 B/s"}, {1536, "1.5 KiB/s"}, {310 * MIB, "310.0 MiB/s"}, {5000 * MIB, "4.9 GiB/s"}};
        char text[32];

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
                g_assert_cmpstr(transfer_rate_words(cases[i].rate, text), ==, cases[i].expect);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/transfer-rate/what_was_there_before_counts_for_nothing", what_was_there_before_counts_for_nothing);
        g_test_add_func("/transfer-rate/a_look_in_the_same_moment_and_one_that_went_back_divide_by_nothing",
                        a_look_in_the_same_moment_and_one_that_went_back_divide_by_nothing);
        g_test_add_func("/transfer-rate/rates_are_for_people", rates_are_for_people);
        return g_test_run();
}
