/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "gateway/blobs.h"

/*
 * One packed file, unpacked as a stream in bounded memory, time and space. Blocking: work for a pool thread. Which packing it is
 * says its magic number; what comes out is handed on and judged by others.
 */
enum unpack_packing { UNPACK_PLAIN, UNPACK_XZ, UNPACK_GZIP, UNPACK_BZIP2, UNPACK_ZSTD };
#define UNPACK_HEAD_BYTES 6

/** unpack_packing() - by the first UNPACK_HEAD_BYTES of a file; a shorter one is plain. */
enum unpack_packing unpack_packing(const void *head, size_t len);
/** unpack_packing_name() - "xz"; NULL for a plain file. */
const char *unpack_packing_name(enum unpack_packing packing);

struct unpack_job {
        enum unpack_packing packing;
        int fd;                /* read from its beginning by offset */
        uint64_t packed_bytes; /* its length */
        uint64_t time_us;      /* 0: LIMIT_UNPACK_US */
        uint64_t free_bytes;   /* 0: LIMIT_UNPACK_BYTES: what may come out whatever the packed size is */
        /* What came out: 0, or -errno which ends it. */
        int (*sink)(const void *data, size_t len, void *userdata);
        /* Called with every piece that was read: @done of packed_bytes. false ends it with -ECANCELED. */
        bool (*go_on)(uint64_t done, void *userdata);
        void *userdata;
};

/** unpack_run() - 0; > 0: refused, see @reterr_fault; < 0: -errno. */
int unpack_run(const struct unpack_job *job, struct blob_fault *reterr_fault);

/** blob_refuse() - fill a fault; returns 1 for `return blob_refuse(...)`. */
int blob_refuse(struct blob_fault *fault, const char *reason, const char *format, ...) __attribute__((format(printf, 3, 4)));
