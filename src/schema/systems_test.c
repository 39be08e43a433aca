/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/systems.h"

#include <glib.h>
#include <string.h>

/* The table is made when Gabbro is built; these are systems that no database will forget. */

static void what_is_known_of_systems(void)
{
        static const struct schema_system known[] = {
                {"debian12", "Debian 12", SCHEMA_SYSTEM_GENERIC, true, true, 1, 0, 0},
                {"debianbullseye", "Debian 11", SCHEMA_SYSTEM_GENERIC, true, true, 1, 0, 0},
                {"win11", "Microsoft Windows 11", SCHEMA_SYSTEM_WINDOWS, false, false, 2, 4096, 0},
                {"win2k25", "Microsoft Windows Server 2025", SCHEMA_SYSTEM_WINDOWS, false, true, 1, 0, 0},
                {"winxp", "Microsoft Windows XP", SCHEMA_SYSTEM_LEGACY, false, true, 1, 0, 0},
                {"msdos6.22", "Microsoft MS-DOS 6.22", SCHEMA_SYSTEM_LEGACY, false, true, 0, 0, 0},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(known); i++) {
                const struct schema_system *row = schema_system_find(known[i].id);

                g_assert_nonnull(row);
                g_assert_cmpstr(row->name, ==, known[i].name);
                g_assert_cmpint(row->type, ==, known[i].type);
                g_assert_true(row->virtio == known[i].virtio && row->bios == known[i].bios);
                g_assert_cmpuint(row->least_cores, ==, known[i].least_cores);
                if (known[i].least_memory_mib)
                        g_assert_cmpuint(row->least_memory_mib, ==, known[i].least_memory_mib);
        }
        g_assert_null(schema_system_find("debian"));
        g_assert_null(schema_system_find(NULL));
}

static void the_table_is_sorted(void)
{
        for (size_t i = 1; i < schema_n_systems; i++)
                g_assert_cmpint(strcmp(schema_systems[i - 1].id, schema_systems[i].id), <, 0);
}

static void what_is_meant_is_among_the_nearest(void)
{
        static const struct {
                const char *id, *meant; /* NULL: nothing is like it */
        } cases[] = {
                {"debain12", "debian12"},        {"Debian12", "debian12"},
                {"windows11", "win11"},          {"ubunut22.04", "ubuntu22.04"},
                {"ubuntu-22.04", "ubuntu22.04"}, {"fedroa37", "fedora37"},
                {"qqqqqqqqqqqqqqqq", NULL},      {"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", NULL},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                const char *nearest[SCHEMA_SYSTEM_NEAREST];
                size_t n = schema_system_nearest(cases[i].id, nearest);
                bool found = false;

                for (size_t j = 0; j < n; j++)
                        found |= g_strcmp0(nearest[j], cases[i].meant) == 0;
                if (found != (cases[i].meant != NULL) || (!cases[i].meant && n))
                        g_error("%s: %zu, %s %s %s", cases[i].id, n, n > 0 ? nearest[0] : "", n > 1 ? nearest[1] : "",
                                n > 2 ? nearest[2] : "");
        }
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/systems/known", what_is_known_of_systems);
        g_test_add_func("/systems/sorted", the_table_is_sorted);
        g_test_add_func("/systems/nearest", what_is_meant_is_among_the_nearest);
        return g_test_run();
}
