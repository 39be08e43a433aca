/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/disk_limits.h"

#include <assert.h>
#include <glib.h>
#include <string.h>

#define MOST 1000000000000000ull /* QEMU's THROTTLE_VALUE_MAX */

static const char *const limit_names[VIRT_LIMITS] = {
        [VIRT_LIMIT_TOTAL_BYTES] = "total_bytes_sec",   [VIRT_LIMIT_READ_BYTES] = "read_bytes_sec",
        [VIRT_LIMIT_WRITE_BYTES] = "write_bytes_sec",   [VIRT_LIMIT_TOTAL_OPERATIONS] = "total_iops_sec",
        [VIRT_LIMIT_READ_OPERATIONS] = "read_iops_sec", [VIRT_LIMIT_WRITE_OPERATIONS] = "write_iops_sec",
};
ENUM_TABLE(virt_limit, limit_names)

bool virt_disk_limits_any(const struct virt_disk_limits *limits)
{
        assert(limits);

        for (size_t i = 0; i < VIRT_LIMITS; i++)
                if (limits->most[i])
                        return true;
        return limits->more;
}

bool virt_disk_limits_equal(const struct virt_disk_limits *a, const struct virt_disk_limits *b)
{
        assert(a && b);
        return memcmp(a->most, b->most, sizeof(a->most)) == 0 && a->more == b->more;
}

const char *virt_disk_limits_fault(const struct virt_disk_limits *limits)
{
        assert(limits);

        const uint64_t *most = limits->most;

        for (size_t i = 0; i < VIRT_LIMITS; i++)
                if (most[i] > MOST)
                        return "a limit is 10^15 at most";
        if ((most[VIRT_LIMIT_TOTAL_BYTES] && (most[VIRT_LIMIT_READ_BYTES] || most[VIRT_LIMIT_WRITE_BYTES])) ||
            (most[VIRT_LIMIT_TOTAL_OPERATIONS] && (most[VIRT_LIMIT_READ_OPERATIONS] || most[VIRT_LIMIT_WRITE_OPERATIONS])))
                return "a limit of reads and writes together stands beside none of reads or of writes";
        return NULL;
}

char *virt_disk_limits_words(const struct virt_disk_limits *limits)
{
        assert(limits);

        GString *words = g_string_new(NULL);

        for (size_t i = 0; i < VIRT_LIMITS; i++)
                if (limits->most[i])
                        g_string_append_printf(words, "%s%s %" G_GUINT64_FORMAT, words->len ? ", " : "", limit_names[i],
                                               limits->most[i]);
        if (limits->more)
                g_string_append_printf(words, "%sbursts", words->len ? ", " : "");
        if (!words->len)
                g_string_append(words, "not limited");
        return g_string_free(words, FALSE);
}
