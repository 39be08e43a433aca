/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/daemon_stack.h"

#include "base/error.h"

#include <assert.h>
#include <glib.h>
#include <string.h>

#define UNLIMITED_BYTES (2ull << 20)
#define LINE            "\nMax stack size "

int daemon_stack_bytes(const char *pid_file, const char *proc, uint64_t *ret_bytes)
{
        g_autofree char *pid_text = NULL, *path = NULL, *limits = NULL;
        const char *value;
        uint64_t pid, bytes;
        char *end;

        assert(pid_file && proc && ret_bytes);

        if (!g_file_get_contents(pid_file, &pid_text, NULL, NULL)) {
                return -ENOENT;
        }
        pid = g_ascii_strtoull(pid_text, NULL, 10);
        path = g_strdup_printf("%s/%" G_GUINT64_FORMAT "/limits", proc, pid);
        if (!pid || !g_file_get_contents(path, &limits, NULL, NULL)) {
                return -ENOENT;
        }
        value = strstr(limits, LINE);
        if (!value) {
                return -EBADMSG;
        }
        value += strlen(LINE);
        value += strspn(value, " ");
        bytes = g_str_has_prefix(value, "unlimited") ? UNLIMITED_BYTES : g_ascii_strtoull(value, &end, 10);
        if (!bytes) {
                return -EBADMSG;
        }
        *ret_bytes = bytes;
        return 0;
}

bool daemon_stack_is_small(void)
{
        static const char *const pid_files[] = {"/run/libvirtd.pid", "/run/virtqemud.pid"};
        uint64_t bytes;

        for (size_t i = 0; i < G_N_ELEMENTS(pid_files); i++) {
                if (daemon_stack_bytes(pid_files[i], "/proc", &bytes) == 0) {
                        return bytes < DAEMON_STACK_LEAST_BYTES;
                }
        }
        return false;
}
