/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/daemon_stack.h"

#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>

static void the_stack_of_a_daemon_is_read_from_its_limits(void)
{
        static const struct {
                const char *pid, *limits;
                int result;
                uint64_t bytes;
        } table[] = {
                {"7\n",
                 "Limit\nMax data size  unlimited\nMax stack size            8388608              unlimited            bytes\n", 0,
                 8388608},
                {"7", "Limit\nMax stack size            1073741824           1073741824           bytes     \n", 0, 1073741824},
                {"7", "Limit\nMax stack size            unlimited            unlimited            bytes\n", 0, 2097152},
                {"7", "Limit\nMax data size  unlimited\n", -EBADMSG, 0},
                {"7", "Limit\nMax stack size   none\n", -EBADMSG, 0},
                {"8", "", -ENOENT, 0},
                {"", "", -ENOENT, 0},
        };
        g_autofree char *root = g_dir_make_tmp("stack-XXXXXX", NULL);
        g_autofree char *folder = g_build_filename(root, "7", NULL), *file = g_build_filename(folder, "limits", NULL);
        g_autofree char *pid_file = g_build_filename(root, "libvirtd.pid", NULL);

        g_assert_cmpint(g_mkdir(folder, 0700), ==, 0);
        for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
                uint64_t bytes = 0;

                g_assert_true(g_file_set_contents(file, table[i].limits, -1, NULL));
                g_assert_true(g_file_set_contents(pid_file, table[i].pid, -1, NULL));
                g_assert_cmpint(daemon_stack_bytes(pid_file, root, &bytes), ==, table[i].result);
                g_assert_cmpuint(bytes, ==, table[i].bytes);
        }
        g_unlink(file);
        g_unlink(pid_file);
        g_rmdir(folder);
        g_rmdir(root);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/daemon-stack/limits", the_stack_of_a_daemon_is_read_from_its_limits);
        return g_test_run();
}
