/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/virt.h"

#include <stddef.h>

/*
 * Moving a running domain to another host's libvirt, peer to peer and encrypted: its memory, and the disks that are told. There it
 * is defined, here it is undefined, in one move. libvirt goes on with it when the caller dies.
 */

/* What the domain's description says here, and what it shall say there. */
struct virt_rename {
        const char *from, *to;
};

struct virt_migration {
        const char *uuid;
        const char *address;      /* of the other host */
        const char *keys;         /* folder of this host's certificate (migration_tls.h) */
        const char *instance_uid; /* that owns it there */
        const struct virt_rename *files;
        size_t n_files;
        const char *const *copied; /* those of files, by @from, whose content goes along */
        size_t n_copied;
        const struct virt_rename *nics; /* names of interfaces in our metadata */
        size_t n_nics;
        const char *graphics_address; /* where its screen listens there, when it listens for TCP */
        bool auto_converge;
        unsigned bandwidth_mib; /* a second; 0: as fast as it goes */
};

/**
 * virt_migrate() - blocks until it is over
 *
 * When the answer of the other host to the last question, whether the guest runs there, is lost, libvirt lets it run on here. It is
 * stopped again then: virt_migration_is_open().
 *
 * Return: 0: it runs there and is gone here. Else ask virt_migration_look() and virt_domain_get() of both sides what is.
 */
int virt_migrate(struct virt *virt, const struct virt_migration *options, struct virt_error *reterr);

/** virt_migration_is_open() - whether a failed virt_migrate() may have brought the guest to the other host all the same: a
 * connection was lost. */
bool virt_migration_is_open(const struct virt_error *error);

/** virt_migration_xml() - the description @xml as it shall be there; g_free(). VIRT_E_INVALID. @ret_targets: of the disks that are
 * copied, in the order of the description, NULL-terminated; g_strfreev(). */
int virt_migration_xml(const char *xml, const struct virt_migration *options, char **ret_xml, char ***ret_targets,
                       struct virt_error *reterr);

struct virt_migration_progress {
        bool leaves;      /* the domain is being moved away now */
        bool interrupted; /* it stands still in the middle of a migration that is no more */
        bool paused;      /* it stands still, for whatever reason */
        bool returned;    /* it runs on after it had stood still for the switch of a migration that failed */
        uint64_t elapsed_ms;
        uint64_t total_bytes, processed_bytes, remaining_bytes; /* memory and disks */
        uint64_t bytes_per_second;
        uint64_t dirty_bytes_per_second;
        uint64_t iterations;
        unsigned throttle_percent;
};
/** virt_migration_look() - how far it is. */
int virt_migration_look(struct virt *virt, const char *uuid, struct virt_migration_progress *ret_progress,
                        struct virt_error *reterr);

/** virt_migration_tune() - how fast memory goes (MiB a second, 0: as fast as it goes) and how long the guest may stand still at the
 * switch (0: as it is), of a move under way; what is so already is left alone. */
int virt_migration_tune(struct virt *virt, const char *uuid, unsigned bandwidth_mib, unsigned downtime_ms,
                        struct virt_error *reterr);

/** virt_dirty_rate() - how fast the guest writes memory, by a second of looking at samples of it: blocks so long. VIRT_E_STATE: it
 * does not run. */
int virt_dirty_rate(struct virt *virt, const char *uuid, uint64_t *ret_bytes_per_second, struct virt_error *reterr);

/** virt_migration_abort() - the domain stays here; 0 also when none is under way. */
int virt_migration_abort(struct virt *virt, const char *uuid, struct virt_error *reterr);
