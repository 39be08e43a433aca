/* SPDX-License-Identifier: Apache-2.0 */
#include "store/sqlite_private.h"

#include "base/error.h"

/* A complete look for history rows that are too old happens this often, in time of the log. */
#define SQLITE_PRUNE_INTERVAL_US 3600000000ull

static int sqlite_run_range(struct sqlite_driver *sqlite, enum sqlite_statement which, uint64_t from, uint64_t to)
{
        sqlite3_stmt *s = sqlite->statements[which];

        (void)sqlite3_bind_int64(s, 1, (sqlite3_int64)from);
        (void)sqlite3_bind_int64(s, 2, (sqlite3_int64)to);
        return sqlite_run(sqlite, s, "compact");
}

/* Rows behind the window up to @to leave it. Bytes go before rows: a row that goes still names the version before it. */
static int sqlite_leave_window(struct sqlite_driver *sqlite, uint64_t to)
{
        static const enum sqlite_statement steps[] = {STATEMENT_STRIP, STATEMENT_DROP, STATEMENT_DROP_GRAVES};
        int r = 0;

        for (size_t i = 0; i < G_N_ELEMENTS(steps) && r == 0; i++)
                r = sqlite_run_range(sqlite, steps[i], sqlite->window, to);
        if (r < 0)
                return r;
        (void)sqlite3_bind_int64(sqlite->statements[STATEMENT_WINDOW], 1, (sqlite3_int64)to);
        return sqlite_run(sqlite, sqlite->statements[STATEMENT_WINDOW], "write window");
}

static int64_t sqlite_number_of_key(struct sqlite_driver *sqlite, enum sqlite_statement which, const char *key, uint64_t revision,
                                    unsigned limit)
{
        sqlite3_stmt *s = sqlite->statements[which];
        int64_t number = 0;

        (void)sqlite_bind_text(s, 1, key);
        if (which == STATEMENT_NEWER_ROWS) {
                (void)sqlite3_bind_int64(s, 2, (sqlite3_int64)revision);
                (void)sqlite3_bind_int64(s, 3, limit);
        }
        switch (sqlite3_step(s)) {
        case SQLITE_ROW:
                number = sqlite3_column_int64(s, 0);
                break;
        case SQLITE_DONE:
                break;
        default:
                number = sqlite_fault(sqlite, sqlite->db, "compact");
        }
        sqlite3_reset(s);
        return number;
}

/* 1: the history row may go; 0: not; < 0. */
static int sqlite_row_may_go(struct sqlite_driver *sqlite, const char *key, uint64_t revision, unsigned per_object)
{
        int64_t live = sqlite_number_of_key(sqlite, STATEMENT_IS_LIVE, key, 0, 0), newer;

        if (live <= 0)
                return live < 0 ? (int)live : 1;
        newer = sqlite_number_of_key(sqlite, STATEMENT_NEWER_ROWS, key, revision, per_object);
        return newer < 0 ? (int)newer : newer >= (int64_t)per_object;
}

/* Looks at the next old rows and drops those that may go. > 0: the pass is not at its end. */
static int sqlite_prune(struct sqlite_driver *sqlite, const struct retention *retention)
{
        sqlite3_stmt *s = sqlite->statements[STATEMENT_OLD];
        unsigned n = 0;
        int step, r = 0;

        (void)sqlite3_bind_int64(s, 1, (sqlite3_int64)sqlite->prune_cursor);
        (void)sqlite3_bind_int64(s, 2, (sqlite3_int64)sqlite->window);
        (void)sqlite3_bind_int64(s, 3, (sqlite3_int64)retention->before_us);
        (void)sqlite3_bind_int64(s, 4, retention->max_rows);
        while (r >= 0 && (step = sqlite3_step(s)) != SQLITE_DONE) {
                uint64_t revision = (uint64_t)sqlite3_column_int64(s, 0);

                if (step != SQLITE_ROW) {
                        r = sqlite_fault(sqlite, sqlite->db, "compact");
                        break;
                }
                n++;
                sqlite->prune_cursor = revision;
                if (!sqlite3_column_int(s, 2))
                        continue;
                r = sqlite_row_may_go(sqlite, (const char *)sqlite3_column_text(s, 1), revision, retention->per_object);
                if (r > 0) {
                        (void)sqlite3_bind_int64(sqlite->statements[STATEMENT_DROP_ROW], 1, (sqlite3_int64)revision);
                        r = sqlite_run(sqlite, sqlite->statements[STATEMENT_DROP_ROW], "compact");
                }
        }
        sqlite3_reset(s);
        return r < 0 ? r : n == retention->max_rows;
}

static int sqlite_compact_in_transaction(struct sqlite_driver *sqlite, const struct retention *retention, uint64_t to, bool prune)
{
        int r, more = 0;

        r = sqlite_run(sqlite, sqlite->statements[STATEMENT_BEGIN], "begin");
        if (r == 0 && to > sqlite->window)
                r = sqlite_leave_window(sqlite, to);
        if (r == 0 && prune)
                r = more = sqlite_prune(sqlite, retention);
        if (r < 0)
                return r;
        r = sqlite_run(sqlite, sqlite->statements[STATEMENT_COMMIT], "commit");
        return r < 0 ? r : more;
}

int sqlite_compact(struct driver *driver, const struct retention *retention)
{
        struct sqlite_driver *sqlite = sqlite_of(driver);
        uint64_t waiting = retention->floor > sqlite->window ? retention->floor - sqlite->window : 0;
        uint64_t to = sqlite->window + (waiting < retention->least_rows ? 0 : MIN(waiting, retention->max_rows));
        bool prune = sqlite->prune_cursor > 0 || retention->least_rows == 0 ||
                     retention->before_us >= sqlite->pruned_before_us + SQLITE_PRUNE_INTERVAL_US;
        uint64_t cursor = sqlite->prune_cursor;
        int r;

        if (sqlite->failed || (to == sqlite->window && !prune))
                return 0;
        r = sqlite_compact_in_transaction(sqlite, retention, to, prune);
        if (r < 0 && sqlite_take_back(sqlite)) {
                sqlite->prune_cursor = cursor;
                return 0; /* another time, when there is room */
        }
        if (r < 0) {
                sqlite->failed = true;
                return r;
        }
        sqlite->window = to;
        if (prune && r == 0) {
                sqlite->prune_cursor = 0;
                sqlite->pruned_before_us = retention->before_us;
        }
        return r > 0 || waiting > retention->max_rows;
}
