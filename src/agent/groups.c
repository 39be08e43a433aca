/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/groups.h"

#include <assert.h>
#include <errno.h>
#include <glib.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

/* "machine-qemu\x2d3\x2dweb\x2d1a2b3c4d.scope" of systemd, or "qemu-3-web-1a2b3c4d.libvirt-qemu": the name of the domain. */
char *groups_domain(const char *folder)
{
        g_auto(GStrv) parts = g_strsplit(folder, "\\x2d", 0);
        g_autofree char *plain = g_strjoinv("-", parts);
        const char *at;

        at = g_str_has_prefix(plain, "machine-qemu-") ? plain + strlen("machine-qemu-")
             : g_str_has_prefix(plain, "qemu-")       ? plain + strlen("qemu-")
                                                      : NULL;
        if (!at || !g_ascii_isdigit(*at) || !(at = strchr(at, '-'))) {
                return NULL;
        }
        if (g_str_has_suffix(at, ".scope")) {
                return g_strndup(at + 1, strlen(at + 1) - strlen(".scope"));
        }
        return g_str_has_suffix(at, ".libvirt-qemu") ? g_strndup(at + 1, strlen(at + 1) - strlen(".libvirt-qemu")) : NULL;
}

int groups_remove_folder(const char *path, unsigned depth)
{
        g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
        const char *name;

        while (folder && depth && (name = g_dir_read_name(folder))) {
                g_autofree char *child = g_build_filename(path, name, NULL);

                if (g_file_test(child, G_FILE_TEST_IS_DIR)) {
                        (void)groups_remove_folder(child, depth - 1);
                }
        }
        return rmdir(path) < 0 ? -errno : 0;
}

static unsigned remove_below(const char *path, const char *domain, unsigned depth)
{
        g_autoptr(GDir) folder = depth ? g_dir_open(path, 0, NULL) : NULL;
        const char *name;
        unsigned n = 0;

        while (folder && (name = g_dir_read_name(folder))) {
                g_autofree char *child = g_build_filename(path, name, NULL), *of = groups_domain(name);

                if (!g_file_test(child, G_FILE_TEST_IS_DIR) || g_file_test(child, G_FILE_TEST_IS_SYMLINK)) {
                        continue;
                }
                if (!of) {
                        n += remove_below(child, domain, depth - 1);
                } else if (g_str_equal(of, domain)) {
                        n += groups_remove_folder(child, GROUPS_DEPTH) == 0;
                }
        }
        return n;
}

unsigned groups_remove(const char *root, const char *domain)
{
        assert(root && domain);
        return remove_below(root, domain, GROUPS_DEPTH);
}
