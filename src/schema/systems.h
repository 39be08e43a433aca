/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Operating systems by the short names of libosinfo's database, as far as a machine's specification speaks of them. Made by
 * api/generate/systems.py. */

enum schema_system_type { SCHEMA_SYSTEM_GENERIC, SCHEMA_SYSTEM_WINDOWS, SCHEMA_SYSTEM_LEGACY };

struct schema_system {
        const char *id; /* "debian12" */
        const char *name;
        enum schema_system_type type;
        bool virtio;                                            /* it brings drivers for virtio disks and interfaces */
        bool bios;                                              /* it starts with a BIOS */
        unsigned least_cores, least_memory_mib, least_disk_mib; /* 0: not known */
};
extern const struct schema_system schema_systems[]; /* sorted by id */
extern const size_t schema_n_systems;

/** schema_system_type_text() - the value of osType. */
const char *schema_system_type_text(enum schema_system_type type);
/** schema_system_find() - NULL: nobody knows it; @id may be NULL. */
const struct schema_system *schema_system_find(const char *id);

#define SCHEMA_SYSTEM_NEAREST 3
/** schema_system_nearest() - ids that are most like @id, the best first; fewer when nothing is like it. */
size_t schema_system_nearest(const char *id, const char *nearest[SCHEMA_SYSTEM_NEAREST]);
