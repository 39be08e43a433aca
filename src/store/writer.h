/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "store/driver.h"

/*
 * The thread that makes commits durable. It takes all that is queued as one group; while it writes, the next group gathers. When
 * nothing is queued it lets the driver compact, a bounded piece at a time.
 */
struct loop;
struct writer;

/** writer_new() - starts the thread. @finished runs on the loop with a list of commits (result is set), in order, and takes it
 * over. */
int writer_new(struct driver *driver, struct loop *loop, void (*finished)(struct commit *commits, void *userdata), void *userdata,
               struct writer **ret_writer);
/** writer_free() - after all that is queued has been written and @finished has run for it. */
struct writer *writer_free(struct writer *writer);
AUTOPTR(writer, writer_free);

/** writer_submit() - takes the list @commits over; @retention is what may be forgotten after it. */
void writer_submit(struct writer *writer, struct commit *commits, const struct retention *retention);
/** writer_take_back() - after a group that found no room (result DRIVER_E_FULL): all that was submitted behind it, which is not
 * tried either. What is submitted from now on is. */
struct commit *writer_take_back(struct writer *writer);
/** writer_groups() - number of groups written so far. */
uint64_t writer_groups(const struct writer *writer);
/** writer_compact() - wait until the thread is idle, then let the driver forget all it may. 0 or < 0. */
int writer_compact(struct writer *writer, const struct retention *retention);
