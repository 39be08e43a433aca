/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/cpu_topology.h"

#include "base/limits.h"

#include <glib.h>

/* Requirements D39 to D43, written down as they are told, not as they are computed. */
static const struct {
        const char *requirement;
        int from, to, step, sockets;
        int least_per_socket, most_per_socket;
} bands[] = {
        {"D39", 1, 16, 1, 1, 1, 16},
        {"D40", 18, 32, 2, 2, 9, 16},
        {"D41", 36, 64, 4, 4, 9, 16},
        {"D42", 72, 248, 8, 8, 9, 31},
};

static int expected_sockets(int cores)
{
        for (size_t i = 0; i < G_N_ELEMENTS(bands); i++)
                if (cores >= bands[i].from && cores <= bands[i].to && (cores - bands[i].from) % bands[i].step == 0)
                        return bands[i].sockets;
        return 0;
}

static void every_number_of_cores_has_its_sockets_or_is_refused_D39_D40_D41_D42(void)
{
        for (int cores = 1; cores <= LIMIT_CPU_CORES; cores++) {
                int sockets = 0, per_socket = 0;
                bool allowed = schema_cpu_topology(cores, &sockets, &per_socket);

                g_assert_cmpint(allowed, ==, expected_sockets(cores) > 0);
                if (!allowed)
                        continue;
                g_assert_cmpint(sockets, ==, expected_sockets(cores));
                g_assert_cmpint(sockets * per_socket, ==, cores);
                for (size_t i = 0; i < G_N_ELEMENTS(bands); i++)
                        if (cores >= bands[i].from && cores <= bands[i].to) {
                                g_assert_cmpint(per_socket, >=, bands[i].least_per_socket);
                                g_assert_cmpint(per_socket, <=, bands[i].most_per_socket);
                        }
        }
}

static void numbers_outside_1_to_248_are_refused_D43(void)
{
        static const int64_t numbers[] = {0, -1, 249, 256, 1024, INT64_MAX, INT64_MIN};
        int sockets, per_socket;

        for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++)
                g_assert_false(schema_cpu_topology(numbers[i], &sockets, &per_socket));
}

static void the_nearest_allowed_numbers_are_named_D43(void)
{
        static const struct {
                int64_t cores;
                int below, above;
        } cases[] = {
                {17, 16, 18}, {19, 18, 20},  {33, 32, 36},        {34, 32, 36},    {37, 36, 40},
                {65, 64, 72}, {71, 64, 72},  {73, 72, 80},        {247, 240, 248}, {0, 0, 1},
                {-5, 0, 1},   {249, 248, 0}, {INT64_MAX, 248, 0}, {1, 0, 2},       {248, 240, 0},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                int below, above;

                schema_cpu_nearest(cases[i].cores, &below, &above);
                g_assert_cmpint(below, ==, cases[i].below);
                g_assert_cmpint(above, ==, cases[i].above);
        }
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/schema/cpu/every_number_of_cores_has_its_sockets_or_is_refused_D39_D40_D41_D42",
                        every_number_of_cores_has_its_sockets_or_is_refused_D39_D40_D41_D42);
        g_test_add_func("/schema/cpu/numbers_outside_1_to_248_are_refused_D43", numbers_outside_1_to_248_are_refused_D43);
        g_test_add_func("/schema/cpu/the_nearest_allowed_numbers_are_named_D43", the_nearest_allowed_numbers_are_named_D43);
        return g_test_run();
}
