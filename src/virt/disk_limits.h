/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/names.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * How fast a disk is at most. QEMU holds the guest back by itself, so every disk that has
 * content can be limited, before its machine starts and while it runs.
 */

enum virt_limit {
        VIRT_LIMIT_TOTAL_BYTES, /* in a second, as all of them; reads and writes together: not beside one of the two */
        VIRT_LIMIT_READ_BYTES,
        VIRT_LIMIT_WRITE_BYTES,
        VIRT_LIMIT_TOTAL_OPERATIONS,
        VIRT_LIMIT_READ_OPERATIONS,
        VIRT_LIMIT_WRITE_OPERATIONS,
        VIRT_LIMITS,
};
/* The names are those of libvirt's <iotune> and of its parameters alike: "read_bytes_sec" "total_iops_sec" … */
ENUM_TABLE_DECLARE(virt_limit);

struct virt_disk_limits {
        uint64_t most[VIRT_LIMITS]; /* 0: not limited */
        bool more;                  /* read back: something else of <iotune> is set (bursts …), which we never set */
};

/** virt_disk_limits_any() - whether anything is limited. */
bool virt_disk_limits_any(const struct virt_disk_limits *limits);
/** virt_disk_limits_equal() */
bool virt_disk_limits_equal(const struct virt_disk_limits *a, const struct virt_disk_limits *b);
/** virt_disk_limits_fault() - why QEMU would refuse them, or NULL. */
const char *virt_disk_limits_fault(const struct virt_disk_limits *limits);
/** virt_disk_limits_words() - "read_bytes_sec 1048576, write_iops_sec 100", or "not limited"; g_free(). */
char *virt_disk_limits_words(const struct virt_disk_limits *limits);
