/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define S 1000000ull

static const struct {
        const char *text;
        uint64_t us;
        const char *formatted; /* NULL: as @text */
} times[] = {
        {"1970-01-01T00:00:00Z", 0, NULL},
        {"2000-02-29T12:00:00Z", 951825600 * S, NULL},
        {"2026-01-02T03:04:05Z", 1767323045 * S, NULL},
        {"2038-01-19T03:14:08Z", 2147483648 * S, NULL},
        {"2100-02-28T23:59:59Z", 4107542399 * S, NULL},
        {"2100-03-01T00:00:00Z", 4107542400 * S, NULL},
        {"9999-12-31T23:59:59Z", 253402300799 * S, NULL},
        {"2026-01-02T03:04:05.5Z", 1767323045 * S + 500000, "2026-01-02T03:04:05Z"},
        {"2026-01-02T03:04:05.123456789Z", 1767323045 * S + 123456, "2026-01-02T03:04:05Z"},
        {"2026-01-02t03:04:05z", 1767323045 * S, "2026-01-02T03:04:05Z"},
        {"2026-01-02T05:34:05+02:30", 1767323045 * S, "2026-01-02T03:04:05Z"},
        {"2026-01-01T19:04:05-08:00", 1767323045 * S, "2026-01-02T03:04:05Z"},
        {"1969-12-31T23:59:59-00:30", 1799 * S, "1970-01-01T00:29:59Z"},
};

static void times_are_read_and_written(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(times); i++) {
                char text[CLOCK_RFC3339_MAX];
                uint64_t us = 1;

                g_assert_cmpint(clock_parse_rfc3339(times[i].text, &us), ==, 0);
                g_assert_cmpuint(us, ==, times[i].us);
                clock_format_rfc3339(us, false, text);
                g_assert_cmpstr(text, ==, times[i].formatted ? times[i].formatted : times[i].text);
        }
}

static void micros_survive_a_round_trip(void)
{
        uint64_t state = 7;
        struct random_source random = random_seeded(&state);

        for (int i = 0; i < 2000; i++) {
                uint64_t us = random_below(&random, 253402300800 * S), again;
                char text[CLOCK_RFC3339_MAX];

                g_assert_cmpint(clock_parse_rfc3339(clock_format_rfc3339(us, true, text), &again), ==, 0);
                g_assert_cmpuint(again, ==, us);
        }
        {
                char text[CLOCK_RFC3339_MAX];

                g_assert_cmpstr(clock_format_rfc3339(UINT64_MAX, true, text), ==, "586524-01-19T08:01:49.551615Z");
        }
}

static void malformed_times_are_refused(void)
{
        static const char *const bad[] = {
                "",
                "2026",
                "2026-01-02",
                "2026-01-02T03:04Z",
                "2026-01-02 03:04:05Z",
                "2026-01-02T03:04:05",
                "2026-1-2T03:04:05Z",
                "2026-02-29T00:00:00Z",
                "2100-02-29T00:00:00Z",
                "2026-00-10T00:00:00Z",
                "2026-13-10T00:00:00Z",
                "2026-04-31T00:00:00Z",
                "2026-01-00T00:00:00Z",
                "2026-01-02T24:00:00Z",
                "2026-01-02T00:60:00Z",
                "2026-01-02T00:00:60Z",
                "2026-01-02T03:04:05.Z",
                "2026-01-02T03:04:05.1234567890Z",
                "2026-01-02T03:04:05+25:00",
                "2026-01-02T03:04:05+0100",
                "2026-01-02T03:04:05Zx",
                "2026-01-02T03:04:05 Z",
                "1969-12-31T23:59:59Z",
                "1970-01-01T00:00:00+00:01",
                "0000-01-01T00:00:00Z",
                "-026-01-02T03:04:05Z",
        };
        uint64_t us;

        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
                if (clock_parse_rfc3339(bad[i], &us) != -EINVAL)
                        g_error("\"%s\" was taken", bad[i]);
        g_assert_cmpint(clock_parse_rfc3339(NULL, &us), ==, -EINVAL);
}

static void ages_are_written_as_kubectl_writes_them(void)
{
        static const struct {
                uint64_t seconds;
                const char *text;
        } ages[] = {
                {0, "0s"},
                {5, "5s"},
                {119, "119s"},
                {120, "2m"},
                {250, "4m10s"},
                {599, "9m59s"},
                {600, "10m"},
                {10799, "179m"},
                {10800, "3h"},
                {3 * 3600 + 1260, "3h21m"},
                {8 * 3600, "8h"},
                {47 * 3600 + 3599, "47h"},
                {48 * 3600, "2d"},
                {52 * 3600, "2d4h"},
                {8 * 86400, "8d"},
                {729 * 86400, "729d"},
                {730 * 86400, "2y"},
                {(3 * 365 + 12) * 86400, "3y12d"},
                {8 * 365 * 86400, "8y"},
                {9 * 365 * 86400 + 5 * 86400, "9y"},
        };
        char text[32];

        for (size_t i = 0; i < G_N_ELEMENTS(ages); i++)
                g_assert_cmpstr(clock_format_age(ages[i].seconds * S, text), ==, ages[i].text);
}

static void the_system_clock_moves_forward(void)
{
        const struct clock *clock = clock_system();
        uint64_t first = clock_monotonic_us(clock);

        g_assert_cmpuint(clock_monotonic_us(clock), >=, first);
        g_assert_cmpuint(clock_real_us(clock), >, 1700000000 * S);
}

static void seeded_randomness_repeats(void)
{
        uint64_t one = 42, two = 42, three = 43;
        struct random_source a = random_seeded(&one), b = random_seeded(&two), c = random_seeded(&three);
        unsigned char x[37], y[37], z[37];

        random_fill(&a, x, sizeof(x));
        random_fill(&b, y, sizeof(y));
        random_fill(&c, z, sizeof(z));
        g_assert_cmpmem(x, sizeof(x), y, sizeof(y));
        g_assert_cmpint(memcmp(x, z, sizeof(x)), !=, 0);
}

static void random_below_stays_below_and_reaches_all(void)
{
        unsigned counts[7] = {0};
        uint64_t state = 1;
        struct random_source random = random_seeded(&state);

        for (int i = 0; i < 7000; i++)
                counts[random_below(&random, G_N_ELEMENTS(counts))]++;
        for (size_t i = 0; i < G_N_ELEMENTS(counts); i++)
                g_assert_cmpuint(counts[i], >, 800);
        g_assert_cmpuint(random_below(&random, 1), ==, 0);
        g_assert_cmpuint(random_below(random_system(), 3), <, 3);
}

static void uuids_are_valid_and_differ(void)
{
        char a[UUID_TEXT_MAX], b[UUID_TEXT_MAX];

        uuid_generate(random_system(), a);
        uuid_generate(random_system(), b);
        g_assert_true(uuid_valid(a));
        g_assert_cmpstr(a, !=, b);
        g_assert_cmpint(a[14], ==, '4');
        g_assert_nonnull(strchr("89ab", a[19]));
}

static void other_texts_are_no_uuid(void)
{
        g_assert_true(uuid_valid("7D0C8F1E-2f43-4a86-9a83-2d1a5c1f9b77"));
        g_assert_false(uuid_valid(NULL));
        g_assert_false(uuid_valid(""));
        g_assert_false(uuid_valid("7d0c8f1e-2f43-4a86-9a83-2d1a5c1f9b7"));
        g_assert_false(uuid_valid("7d0c8f1e-2f43-4a86-9a83-2d1a5c1f9b777"));
        g_assert_false(uuid_valid("7d0c8f1e-2f43-4a86-9a83+2d1a5c1f9b77"));
        g_assert_false(uuid_valid("7d0c8f1e02f43-4a86-9a83-2d1a5c1f9b77"));
        g_assert_false(uuid_valid("7d0c8f1g-2f43-4a86-9a83-2d1a5c1f9b77"));
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/clock/times_are_read_and_written", times_are_read_and_written);
        g_test_add_func("/clock/micros_survive_a_round_trip", micros_survive_a_round_trip);
        g_test_add_func("/clock/malformed_times_are_refused", malformed_times_are_refused);
        g_test_add_func("/clock/ages_are_written_as_kubectl_writes_them", ages_are_written_as_kubectl_writes_them);
        g_test_add_func("/clock/the_system_clock_moves_forward", the_system_clock_moves_forward);
        g_test_add_func("/random/seeded_randomness_repeats", seeded_randomness_repeats);
        g_test_add_func("/random/random_below_stays_below_and_reaches_all", random_below_stays_below_and_reaches_all);
        g_test_add_func("/uuid/uuids_are_valid_and_differ", uuids_are_valid_and_differ);
        g_test_add_func("/uuid/other_texts_are_no_uuid", other_texts_are_no_uuid);
        return g_test_run();
}
