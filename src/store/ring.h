/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "store/version.h"

/*
 * The newest events, for watches that start in the past. Bounded by number and bytes (LIMIT_STORE_EVENT_RING*); beyond
 * LIMIT_STORE_EVENT_RING_QUIET events also by age, so that a quiet program stays small.
 */
struct ring_event {
        enum store_verb verb;
        struct version *object;   /* owned; for a delete the last version */
        struct version *previous; /* owned, or NULL */
        uint64_t revision;
        uint64_t time_us;
};

struct ring {
        struct ring_event *events; /* a power of two of slots */
        size_t slots, head, n;     /* head: the oldest */
        size_t bytes;
        uint64_t floor; /* revision of the newest event that is no longer kept: watches may start here */
};

void ring_clear(struct ring *ring);
/** ring_push() - @event's versions gain references of the ring. Drops what no longer fits. */
void ring_push(struct ring *ring, const struct ring_event *event);
/** ring_seek() - index of the first event above @after (ring->n: none). */
size_t ring_seek(const struct ring *ring, uint64_t after);
static inline const struct ring_event *ring_at(const struct ring *ring, size_t index)
{
        return &ring->events[(ring->head + index) & (ring->slots - 1)];
}
