/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "store/version.h"

/*
 * What keeps the rows of a store. The core (store.c) owns all decisions; a driver makes groups of transactions durable, gives them
 * back at the next start, and forgets what is no longer needed. A fault switch in tests is a driver that wraps another.
 *
 * The log: one row per write. A row's object bytes are kept while it is the newest version of its key, or it or the next row of the
 * key is in the window (above the floor of the event ring), so that the ring can be rebuilt.
 */

/* How long a row lives once it has left the window and is not the newest of its key. */
enum row_keep {
        ROW_WINDOW,   /* no history: it goes */
        ROW_VOLATILE, /* an update of volatile fields alone: it goes; the delta of the next kept row leads past it */
        ROW_HISTORY,  /* the delta stays, by age and number */
};

/* One write of a transaction that is on its way. */
struct row {
        enum store_verb verb;
        enum row_keep keep;
        uint64_t revision, time_us;
        struct version *object;   /* the new version; for a delete the last one */
        struct version *previous; /* NULL for create */
        char *sealed;             /* the bytes to keep instead of object's, or NULL */
        size_t sealed_len;
        bool sensitive; /* the kind has fields whose values history must not show */
        char *delta;    /* commit_prepare() sets it; or NULL */
};

struct commit {
        struct commit *next;
        store_done_fn done;
        void *userdata;
        uint64_t queued_us; /* monotonic */
        int result;         /* once it was persisted: 0, < 0 or DRIVER_E_FULL */
        size_t bytes;
        struct store_actor actor; /* strings are its own */
        char *actor_text;
        size_t n_rows;
        struct row rows[];
};

/** commit_prepare() - compute the deltas; on the thread that persists, before it does. */
void commit_prepare(struct commit *commit);

/* A row as it is read back. Strings are borrowed for the call. */
struct row_record {
        uint64_t revision, previous, created_revision, time_us;
        enum store_verb verb;
        enum row_keep keep;
        bool sealed;
        const char *key, *uid;
        const char *bytes; /* NULL for a delete */
        size_t len;
        const char *delta;
};

/* What a driver tells at the start. */
struct driver_loader {
        /* Every current object, in any order. 0, or < 0 to end with it. */
        int (*object)(const struct row_record *record, void *userdata);
        /* The rows of the window, newest first. 0, < 0, or > 0: enough. */
        int (*event)(const struct row_record *record, void *userdata);
        void *userdata;
};

struct driver_state {
        uint64_t revision; /* the newest, 0: none yet */
        uint64_t time_us;  /* of the newest row */
        uint64_t floor;    /* the window begins behind it */
};

struct history_query {
        const char *key; /* NULL: all */
        uint64_t before; /* exclusive; 0: none */
        uint64_t newest; /* inclusive */
        unsigned limit;
        void (*each)(const struct store_history_row *row, void *userdata);
        void *userdata;
};

/* What compaction may forget. */
struct retention {
        uint64_t floor;      /* of the ring: rows at or below it have left the window */
        uint64_t before_us;  /* history rows older than this ... */
        unsigned per_object; /* ... go unless they are among this many newest of a live key */
        unsigned least_rows; /* fewer that have left the window are not worth the work; 0: whatever there is */
        unsigned max_rows;   /* at most this much work */
};

struct driver;

/* persist() outcomes */
enum {
        DRIVER_E_FULL = 1, /* no room: nothing of the commits is durable, nor can it become so; others may follow */
};

struct driver_ops {
        bool blocks; /* persist() and compact() are called on a thread of their own */
        /* Make all @commits durable together: 0, DRIVER_E_FULL, or < 0 when the outcome is failure or unknown. */
        int (*persist)(struct driver *driver, struct commit *const *commits, size_t n_commits);
        /* After the commits of a group were handed back: upkeep that need not delay them; or NULL. < 0: failure, as of persist().
         */
        int (*settle)(struct driver *driver);
        int (*load)(struct driver *driver, const struct driver_loader *loader, struct driver_state *ret_state);
        /* The kept row with this revision, given to @each: 0 or < 0 (-ENOENT). Used while loading. */
        int (*fetch)(struct driver *driver, uint64_t revision, int (*each)(const struct row_record *record, void *userdata),
                     void *userdata);
        int (*history)(struct driver *driver, const struct history_query *query); /* loop thread */
        /* A bounded piece of work: 0 nothing left to do, > 0 there is more, < 0 failure. */
        int (*compact)(struct driver *driver, const struct retention *retention);
        /* Words for the last failure; borrowed. */
        const char *(*words)(struct driver *driver);
        struct driver *(*close)(struct driver *driver);
};

struct driver {
        const struct driver_ops *ops;
};

/** store_open_driver() - a store over @driver, which it takes over also on failure. 0, < 0 or STORE_E_CORRUPT. */
int store_open_driver(struct driver *driver, const struct store_options *options, struct store **ret_store);

int driver_memory_new(struct driver **ret_driver);
/** driver_sqlite_new() - 0, < 0, STORE_E_NEWER, STORE_E_CORRUPT or STORE_E_LOCKED. @reterr_words: why, g_free(); may be NULL. */
int driver_sqlite_new(const char *path, struct driver **ret_driver, char **reterr_words);
