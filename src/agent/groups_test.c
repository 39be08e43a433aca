/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/groups.h"

#include <glib.h>
#include <glib/gstdio.h>

static void names_of_folders_tell_the_domain(void)
{
        static const struct {
                const char *folder, *domain;
        } table[] = {
                {"qemu-3-web-1a2b3c4d.libvirt-qemu", "web-1a2b3c4d"},
                {"machine-qemu\\x2d3\\x2dweb\\x2d1a2b3c4d.scope", "web-1a2b3c4d"},
                {"qemu-web.libvirt-qemu", NULL},
                {"machine.slice", NULL},
                {"qemu-3-web-1a2b3c4d", NULL},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
                g_autofree char *domain = groups_domain(table[i].folder);

                g_assert_cmpstr(domain, ==, table[i].domain);
        }
}

static void only_empty_groups_of_the_domain_are_removed(void)
{
        g_autofree char *root = g_dir_make_tmp("groups-XXXXXX", NULL);
        g_autofree char *machine = g_build_filename(root, "cpu", "machine", NULL);
        g_autofree char *old = g_build_filename(machine, "qemu-1-web-1a2b3c4d.libvirt-qemu", NULL);
        g_autofree char *vcpu = g_build_filename(old, "vcpu0", NULL);
        g_autofree char *other = g_build_filename(machine, "qemu-2-web-1a2b3c4d-x.libvirt-qemu", NULL);
        g_autofree char *busy = g_build_filename(machine, "qemu-3-web-1a2b3c4d.libvirt-qemu", NULL);
        g_autofree char *process = g_build_filename(busy, "process", NULL); /* stands for what makes the kernel refuse */

        g_assert_cmpint(g_mkdir_with_parents(vcpu, 0700), ==, 0);
        g_assert_cmpint(g_mkdir_with_parents(other, 0700), ==, 0);
        g_assert_cmpint(g_mkdir_with_parents(busy, 0700), ==, 0);
        g_assert_true(g_file_set_contents(process, "", 0, NULL));
        g_assert_cmpuint(groups_remove(root, "web-1a2b3c4d"), ==, 1);
        g_assert_false(g_file_test(old, G_FILE_TEST_EXISTS));
        g_assert_true(g_file_test(other, G_FILE_TEST_IS_DIR));
        g_assert_true(g_file_test(busy, G_FILE_TEST_IS_DIR));

        g_unlink(process);
        g_rmdir(busy);
        g_rmdir(other);
        g_rmdir(machine);
        g_autofree char *cpu = g_path_get_dirname(machine);
        g_rmdir(cpu);
        g_assert_cmpint(g_rmdir(root), ==, 0);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/groups/names", names_of_folders_tell_the_domain);
        g_test_add_func("/groups/remove", only_empty_groups_of_the_domain_are_removed);
        return g_test_run();
}
