/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "store/driver.h"

#include <sqlite3.h>

/*
 * The SQLite driver. One connection writes (opened on the loop thread, then used by the writer thread alone), a second one, opened
 * when it is first needed, answers history queries on the loop thread, so that a read never waits for an fsync.
 *
 *   meta      name, value: schema_version, uuid, window (rows above it are complete, see driver.h)
 *   objects   key -> revision of the newest version
 *   log       a row per write; the bytes of an object stand here once. Its newest row is never removed and tells the newest
 *             revision. sum: sqlite_sum() of the row while it has its bytes, so that a damaged one is not taken for a write
 */
#define SQLITE_STORE_SCHEMA_VERSION 2

enum sqlite_statement {
        STATEMENT_BEGIN,
        STATEMENT_COMMIT,
        STATEMENT_ROLLBACK,
        STATEMENT_LOG,
        STATEMENT_OBJECT,
        STATEMENT_OBJECT_GONE,
        STATEMENT_STRIP,
        STATEMENT_DROP,
        STATEMENT_DROP_GRAVES,
        STATEMENT_WINDOW,
        STATEMENT_OLD,
        STATEMENT_IS_LIVE,
        STATEMENT_NEWER_ROWS,
        STATEMENT_DROP_ROW,
        STATEMENT_FETCH,
        STATEMENT_NEWEST,
        STATEMENT_N_STATEMENTS
};

struct sqlite_driver {
        struct driver driver; /* first */
        char *path;
        int lock_fd;
        sqlite3 *db;
        sqlite3_stmt *statements[STATEMENT_N_STATEMENTS];
        int wal_pages;        /* since the last checkpoint began again */
        int checkpoint_pages; /* at which the next one is due */
        uint64_t newest;      /* revision that is durable */
        bool full;            /* the last error was want of room */
        bool failed;
        char *words;

        uint64_t window;           /* as in meta */
        uint64_t prune_cursor;     /* history rows up to here were looked at in this pass */
        uint64_t pruned_before_us; /* the last complete pass */

        sqlite3 *reader; /* history, loop thread */
        sqlite3_stmt *history_of_key, *history_of_all;
};

static inline struct sqlite_driver *sqlite_of(struct driver *driver)
{
        return (struct sqlite_driver *)driver;
}

/** sqlite_fault() - note the connection's error under @what and give -errno (-EBADMSG for a damaged file). */
int sqlite_fault(struct sqlite_driver *sqlite, sqlite3 *db, const char *what);
/** sqlite_take_back() - after an error within a transaction: whether it was want of room and nothing of it is left. */
bool sqlite_take_back(struct sqlite_driver *sqlite);
/** sqlite_sum() - over what a row says, its delta and who wrote it apart. To find damage, not malice. */
uint64_t sqlite_sum(const struct row_record *record);
/** sqlite_damaged() - note @words about the file; STORE_E_CORRUPT. */
int sqlite_damaged(struct sqlite_driver *sqlite, const char *words);
/** sqlite_check_wal() - before SQLite looks at it: 0, < 0 or STORE_E_CORRUPT with words. */
int sqlite_check_wal(struct sqlite_driver *sqlite);
/** sqlite_run() - step a statement that gives no rows, and reset it. 0 or < 0. */
int sqlite_run(struct sqlite_driver *sqlite, sqlite3_stmt *statement, const char *what);
/** sqlite_bind_text() - NULL binds NULL; @text stays the caller's until the statement is reset. */
static inline int sqlite_bind_text(sqlite3_stmt *statement, int index, const char *text)
{
        return sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC);
}

int sqlite_load(struct driver *driver, const struct driver_loader *loader, struct driver_state *ret_state);
int sqlite_fetch(struct driver *driver, uint64_t revision, int (*each)(const struct row_record *record, void *userdata),
                 void *userdata);
int sqlite_history(struct driver *driver, const struct history_query *query);
int sqlite_compact(struct driver *driver, const struct retention *retention);

/* The columns of a row_record, in the order that sqlite_record_of() reads. */
#define SQLITE_RECORD_COLUMNS                                                                                                      \
        "l.revision, l.previous, l.created, l.time_us, l.verb, l.keep, l.sealed, l.key, l.uid, l.object, l.delta, l.sum"
#define SQLITE_RECORD_SUM 11
