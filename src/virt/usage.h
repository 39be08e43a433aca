/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/virt.h"

#include <glib.h>
#include <stdint.h>

/* What domains and their host have used up, as counters that grow; one call of libvirt for all domains. */
struct virt_counters {
        char uuid[37]; /* "" for the host */
        uint64_t cpu_ns;
        uint64_t memory_bytes,
                memory_used_bytes; /* used: as the guest's balloon driver tells, else what its process has; 0: unknown */
        uint64_t read_bytes, write_bytes, reads, writes, received_bytes, sent_bytes;
};

struct virt_usage {
        uint64_t at_us;            /* monotonic */
        struct virt_counters host; /* processor and memory only */
        unsigned cpus;
        GArray *domains; /* struct virt_counters: all that run */
};
struct virt_usage *virt_usage_free(struct virt_usage *usage);
AUTOPTR(virt_usage, virt_usage_free);
/** virt_usage_find() - the counters of a domain, or NULL. */
const struct virt_counters *virt_usage_find(const struct virt_usage *usage, const char *uuid);

/** virt_usage_take() - all of them now; a domain that libvirt cannot look at without waiting tells less. 0, VIRT_E_UNREACHABLE,
 * VIRT_E_FAILED. */
int virt_usage_take(struct virt *virt, struct virt_usage **ret_usage, struct virt_error *reterr);
