/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/virt.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * The file of a volume of another host's libvirt, by its streams, under the certificate of migrations. Holes come as holes. What
 * the file here holds already is not asked for again: its length is how far it is.
 */
struct virt_fetch {
        const char *address;    /* of the other host */
        const char *keys;       /* folder of this host's certificate (migration_tls.h) */
        const char *pool;       /* there */
        const char *name;       /* of the volume there */
        int fd;                 /* of the file here, open for writing */
        unsigned bandwidth_mib; /* a second; 0: as fast as it goes */
        /* Called often; true: it is not wanted any more. */
        bool (*progress)(uint64_t done, uint64_t total, void *userdata);
        void *userdata;
};

/** virt_fetch_volume() - blocks until the whole file is here. 0; -ECANCELED; -errno of the file here; VIRT_E_*. @ret_bytes: how
 * long it is. */
int virt_fetch_volume(const struct virt_fetch *fetch, uint64_t *ret_bytes, struct virt_error *reterr);
