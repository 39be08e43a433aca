/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "loop/loop.h"

#include <stdint.h>

/*
 * A worker pool for what is asked of guests, who answer when they like. One job of a guest at a time, LANES_THREADS in all; guests
 * that let their jobs wait share LANES_SLOW of them, until they have answered in time LANES_MEMORY times in a row. So many guests
 * that do not answer delay each other, and nobody else for longer than one job each.
 */
#define LANES_THREADS 6
#define LANES_SLOW    2
#define LANES_MEMORY  4

struct lanes;
int lanes_new(struct loop *loop, struct lanes **ret_lanes);
/** lanes_free() - waits for the jobs that run; the @done of those that wait runs with -ECANCELED. */
struct lanes *lanes_free(struct lanes *lanes);
AUTOPTR(lanes, lanes_free);

struct lanes_job {
        const char *guest;                        /* copied; NULL: of the host, never slow */
        uint64_t patience_us;                     /* one that takes as long was let wait by its guest */
        int (*work)(void *userdata);              /* on a pool thread */
        void (*done)(int result, void *userdata); /* on the loop; may submit, must not free the lanes */
        void *userdata;
};
/** lanes_submit() - queue a job, from the loop thread. In order, but for the bounds above. */
void lanes_submit(struct lanes *lanes, const struct lanes_job *job);
