/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/auto.h"

#include <stdbool.h>
#include <stdint.h>

struct gateway;
struct loop;

/*
 * Images of the gateway's library, kept on this host by digest: fetched once however many want them, resumed after an interruption,
 * whole and right or not there. Everything but the fetching runs on the loop thread.
 */
struct images;

/* How the bytes from @offset on are got; blocking, on a pool thread. The gateway's own is images_from_gateway(). */
struct images_source {
        int (*read)(void *userdata, const char *digest, uint64_t offset,
                    bool (*on_piece)(const void *piece, size_t len, void *sink), void *sink, int *ret_status, char **reterr_words);
        void *userdata;
};

struct steps;

struct images_options {
        struct loop *loop;
        struct images_source source;
        const char *dir;       /* made, 0700 */
        uint64_t max_bytes;    /* of images that nobody holds; the least recently used go */
        unsigned max_attempts; /* of one fetch; 0: 5 */
        uint64_t retry_us;     /* first pause between attempts, doubling; 0: 500 ms */
        uint64_t rest_us;      /* how long a failed fetch stays failed before it is tried again; 0: 4 s */
        struct steps *steps;   /* NULL: nobody listens */
        void (*changed)(const char *digest, void *userdata); /* ready, failed, or another percent */
        void *userdata;
};

int images_new(const struct images_options *options, struct images **ret_images);
struct images *images_free(struct images *images);
AUTOPTR(images, images_free);
struct images_source images_from_gateway(struct gateway *gateway);

struct images_wish {
        const char *digest; /* SHA-256 of the file */
        uint64_t size_bytes;
        const char *format; /* "qcow2" "raw" "iso": what its header must say */
};

enum images_state { IMAGES_FETCHING, IMAGES_READY, IMAGES_FAILED };

struct images_status {
        enum images_state state;
        unsigned percent;    /* fetching */
        const char *path;    /* ready; borrowed until control returns to the loop */
        const char *reason;  /* failed: a reason code */
        const char *message; /* failed: words, borrowed as above */
};

/** images_want() - how it stands with an image; begins a fetch when it is not there, and again some time after one failed. */
struct images_status images_want(struct images *images, const struct images_wish *wish);

/** images_hold() / images_release() - while held, a ready image is not dropped. */
void images_hold(struct images *images, const char *digest);
void images_release(struct images *images, const char *digest);
