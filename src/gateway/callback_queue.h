/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/auto.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Which event is told next. Of each object of a callback only the one with the lowest sequence goes out, so that an endpoint hears
 * of it in order; of each callback and of each project only some are under way, and endpoints that were slow have at most half of
 * the places, so that nobody waits for another one's endpoint. Knows no clock: times come in, and nothing is sent here.
 */
struct callback_queue;

struct callback_bounds {
        unsigned all, per_callback, per_project;
};

/* An event that is to be told. */
struct callback_entry {
        const char *uid; /* of the delivery */
        const char *namespace, *name;
        const char *callback_uid;
        const char *object_uid;
        int64_t sequence;
        uint64_t next_us; /* not before */
};

/** callback_queue_new() - without entries. */
struct callback_queue *callback_queue_new(const struct callback_bounds *bounds);
/** callback_queue_free() - also with entries under way; NULL is accepted. */
struct callback_queue *callback_queue_free(struct callback_queue *queue);
AUTOPTR(callback_queue, callback_queue_free);

/** callback_queue_put() - copied; a later one of the same uid changes its time. One that is under way stays so. */
void callback_queue_put(struct callback_queue *queue, const struct callback_entry *entry);
/** callback_queue_drop() - it is not to be told any more. One that is under way goes with callback_queue_finish(). */
void callback_queue_drop(struct callback_queue *queue, const char *uid);
/** callback_queue_hold() - nothing of this callback is taken until it is released. */
void callback_queue_hold(struct callback_queue *queue, const char *callback_uid, bool held);
/** callback_queue_forget() - the callback is gone; what is left of it is dropped. */
void callback_queue_forget(struct callback_queue *queue, const char *callback_uid);

/** callback_queue_take() - an entry to be told now, which is under way from here on, or NULL and when the next one is due
 * (UINT64_MAX: none by time alone). Borrowed until callback_queue_finish(). */
const struct callback_entry *callback_queue_take(struct callback_queue *queue, uint64_t now_us, uint64_t *ret_due_us);
/** callback_queue_finish() - it is no longer under way. @next_us: 0: as it was put last. @slow: of its endpoint. */
void callback_queue_finish(struct callback_queue *queue, const char *uid, uint64_t next_us, bool slow);
/** callback_queue_length() - entries, those under way included. */
size_t callback_queue_length(const struct callback_queue *queue);
