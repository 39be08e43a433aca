/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/domain_xml.h"
#include "virt/image_jail.h"
#include "virt/virt.h"

/*
 * qemu-img as a bounded child: argument vector only, explicit formats on both sides, bare environment, no capabilities, no network,
 * no file but those that it is given open (image_jail.h), limits on memory, processor time, file size and open files, killed on
 * cancellation or deadline and always reaped. Judge the source by image_header_judge() first, and hand on what was judged by its
 * descriptor.
 */

/* What a source reads from where it was not written itself, nearest first: named to the tool, whatever the headers say. */
struct image_backing {
        const char *path; /* absolute */
        enum virt_format format;
};

struct image_convert {
        const char *source;             /* absolute path; NULL: source_fd */
        int source_fd;                  /* readable; borrowed */
        enum virt_format source_format; /* never probed */
        const struct image_backing *backings;
        size_t n_backings;  /* at most IMAGE_JAIL_BACKINGS */
        const char *target; /* absolute path of an existing volume of at least the source's virtual size */
        enum virt_format target_format;
        bool target_is_zero; /* the target is fresh: reads as zeroes everywhere, so zeroes are not written */
        uint64_t max_bytes;  /* no file may grow above (RLIMIT_FSIZE); 0: LIMIT_IMAGE_BYTES and some metadata */
        uint64_t timeout_us; /* 0: one hour */
        /* Called on this thread about every 100 ms and with each progress line; true cancels. Permille, 0..1000. May be NULL. */
        bool (*progress)(unsigned permille, void *userdata);
        void *userdata;
};

/** image_convert() - copy content (`qemu-img convert -n`). 0, VIRT_E_CANCELLED, VIRT_E_TIMEOUT, VIRT_E_NO_SPACE, VIRT_E_FAILED,
 * VIRT_E_MISSING. */
int image_convert(const struct image_convert *options, struct virt_error *reterr);
