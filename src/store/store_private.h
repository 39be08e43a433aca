/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "loop/loop.h"
#include "store/driver.h"
#include "store/order.h"
#include "store/ring.h"
#include "store/warm.h"
#include "store/writer.h"

/* Shared by the parts of the core: store.c (opening, reading, publishing), commit.c (accepting), watch.c, load.c. */

struct kind_state {
        const struct schema_kind *kind;
        struct order *order; /* published versions by key; borrowed from store->published */
        GPtrArray *watches;  /* of this kind; borrowed */
        bool sensitive;      /* has fields whose values history must not show */
};

struct store {
        struct store_options options;
        struct driver *driver;
        struct writer *writer;    /* NULL: the driver does not block */
        struct loop_source *work; /* deferred: unthreaded commits, watches that lag */

        GHashTable *published; /* key -> struct version, an own reference */
        GHashTable *kinds;     /* struct schema_kind * -> struct kind_state */
        GHashTable *overlay;   /* key -> the newest struct row on its way (borrowed) */
        struct ring ring;
        struct warm *warm;

        uint64_t accepted_revision; /* the newest that was assigned */
        uint64_t accepted_time_us;
        uint64_t revision; /* the newest published */

        struct commit *queue, **queue_tail; /* unthreaded: waiting for the next iteration; else held back while publishing */
        bool publishing;
        size_t queued_ops, queued_bytes; /* accepted and not published */
        bool failed, closing;
        bool full; /* the last group found no room */

        struct store_guard guard; /* concerns NULL: none */
        struct schema_faults *refusal;

        GPtrArray *watches;        /* all, owned */
        GPtrArray *watches_of_all; /* those of all kinds; borrowed */
        uint64_t slowest;          /* no watch that lags and can still go on has seen less; UINT64_MAX: none lags */
        uint64_t delivering;       /* revision of the event being delivered, or 0 */
        unsigned watch_depth;      /* callbacks are running: nothing is freed */
        bool watch_dead;           /* some were freed meanwhile */

        GString *scratch;
        char *load_words; /* what was found damaged */
        struct store_stats stats;
};

struct kind_state *store_kind_state(struct store *store, const struct schema_kind *kind);
struct version *store_find_published(struct store *store, const char *key);
/** store_find_newest() - accepted, or NULL when it does not exist or its delete was accepted. Borrowed. */
struct version *store_find_newest(struct store *store, const char *key);
/** store_put_published() - make @version the published one of its key (NULL @version: remove @key); the store takes references. */
void store_put_published(struct store *store, const char *key, struct version *version);

/** store_key_range() - the keys of @namespace (NULL: of the kind) are those from @ret_first up to, not including, @ret_end, each of
 *  STORE_KEY_MAX bytes. false: no key is that long, so there are none. */
bool store_key_range(const struct schema_kind *kind, const char *namespace, char *ret_first, char *ret_end);

/** commit_free() - with its rows. Loop thread. */
struct commit *commit_free(struct commit *commit);
/** store_finish() - commits that were persisted, in order: publish, or fail. Takes the list over. */
void store_finish(struct commit *commits, void *store);
/** store_release() - give what was held back to the writer, as one group. */
void store_release(struct store *store);
/** store_work() - persist what waits (unthreaded drivers) and serve watches that lag; the deferred source does it. */
void store_work(struct store *store);
void store_arm_work(struct store *store);

/** store_load() - 0, < 0 or STORE_E_CORRUPT. */
int store_load(struct store *store);

/** watch_deliver() - an event to the watches that are up to date. */
void watch_deliver(struct store *store, const struct ring_event *event);
/** watch_catch_up() - serve watches that lag; whether some still do. */
bool watch_catch_up(struct store *store);
void watch_free_all(struct store *store);

/** store_compact() - for tests and tools: forget all that may be forgotten now. Nothing must be on its way. 0 or < 0. */
int store_compact(struct store *store);
struct retention store_retention(const struct store *store);
