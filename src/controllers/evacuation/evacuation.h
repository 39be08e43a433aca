/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/arena.h"
#include "control/control.h"

/*
 * Machines leave their host because somebody empties it. Who evicts a machine's Pod leaves a mark on it; the Pod is of this host
 * alone, so that the mark goes when the machine has left. This controller makes an operation "evacuation-*" of type Evict for every
 * mark, one at a time, and again with a back-off when it failed. The mark is withdrawn when the operation is deleted, and, before
 * the move has begun, when the host takes machines again, or when the NodeOperation that asked does not wait for it any more.
 */
extern const struct controller evacuation_controller;

#define EVACUATION_PREFIX          "evacuation-"
#define ANNOTATION_EVICTION        "gabbro.dev/eviction" /* Pod: "drain TIME" of a cordoned host, "reboot TIME", or "alone TIME" */
#define EVICTION_REBOOT            "reboot "             /* how that of a NodeOperation begins */
#define ANNOTATION_EVACUATION      "gabbro.dev/evacuation"      /* Pod: "NAME FAILURES TIME": its operation, not before */
#define ANNOTATION_EVICTION_POLICY "gabbro.dev/eviction-policy" /* VirtualMachine, by its owner: "Stop" when it cannot be moved */
#define ANNOTATION_WITHDRAWN       "gabbro.dev/eviction-withdrawn" /* Pod: "TIME WORDS" */

/* What the eviction of a machine from its host would come to now. */
enum evacuation_way {
        EVACUATION_MOVES, /* it can be moved, and would be */
        EVACUATION_WAITS, /* something must end first that ends by itself */
        EVACUATION_FULL,  /* no other host can take it now */
        EVACUATION_STAYS, /* it never can, as it is and as the hosts are */
        EVACUATION_GOES,  /* it leaves the host anyway */
};
/** evacuation_way_to_text() - "Move", "Wait", "Full", "Stay", "Go". */
const char *evacuation_way_to_text(enum evacuation_way way);

struct evacuation_look {
        enum evacuation_way way;
        const char *node;  /* with EVACUATION_MOVES: where to */
        const char *words; /* why, with every reason; a sentence without the machine's name */
};
/** evacuation_look() - everything lives in @arena. */
struct evacuation_look evacuation_look(const struct cache *cache, const struct cache_object *machine, struct arena *arena);

/** evacuation_may_stop() - whether its owner lets an eviction stop a machine that cannot be moved. */
bool evacuation_may_stop(const struct cache_object *machine);
/** evacuation_under_way() - the unfinished operation that moves or holds a machine now, or NULL. */
const struct cache_object *evacuation_under_way(const struct cache *cache, const struct cache_object *machine);
/** evacuation_came_us() - when an evacuation brought a machine to @node, its latest one; 0: none did. */
uint64_t evacuation_came_us(const struct cache *cache, const struct cache_object *machine, const char *node);
/** evacuation_failures() - how many operations of the mark on @pod have failed. */
unsigned evacuation_failures(const struct cache_object *pod);
/** evacuation_cordoned() - whether a node takes no new machines. */
bool evacuation_cordoned(const struct cache *cache, const char *node);
