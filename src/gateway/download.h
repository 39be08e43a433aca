/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "gateway/blobs.h"
#include "gateway/reach.h"

/*
 * One file, fetched from a server that may be slow, broken or hostile, into an intake. Blocking: work for a thread of its own.
 * What breaks off is gone on with by a range when the server says by a validator that its file is still the same one; else it
 * is begun anew.
 */
struct download {
        struct blobs *blobs;
        const char *url;
        const char *sha256;    /* NULL: whatever comes */
        const char *ca_bundle; /* base64 of PEM; NULL: the system's authorities */
        const struct reach *reach;
        const struct blob_bounds *bounds; /* of its intakes */
        uint64_t time_us, stall_us;
        uint64_t pause_us; /* before the second attempt; twice as long before each further one */
        /* The intake that bytes come into from now on, and how many are expected (0: not known); NULL before it is freed. */
        void (*on_intake)(struct blob_intake *intake, uint64_t expected_bytes, void *userdata);
        void *userdata;
};

/** download_run() - 0, > 0: it failed, with reason and words for the user; < 0: -errno (-ECANCELED: nobody wants it any more). */
int download_run(const struct download *download, struct blob_facts *ret_facts, struct blob_fault *reterr_fault);

/** download_parse_range() - "bytes 5-9/10" of Content-Range; @ret_total is 0 for an unknown one ("*"). 0 or -EINVAL. */
int download_parse_range(const char *text, uint64_t *ret_first, uint64_t *ret_last, uint64_t *ret_total);
