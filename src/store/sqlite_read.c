/* SPDX-License-Identifier: Apache-2.0 */
#include "store/sqlite_private.h"

#include "base/error.h"

#include <string.h>

#define SQLITE_READER_BUSY_MS 2000

static uint64_t sum_mix(uint64_t sum, uint64_t word)
{
        sum = (sum ^ word) * 0x9e3779b97f4a7c15ull;
        return sum ^ sum >> 29;
}

static uint64_t sum_bytes(uint64_t sum, const char *bytes, size_t len)
{
        uint64_t word;

        sum = sum_mix(sum, bytes ? len : UINT64_MAX);
        for (; len >= sizeof(word); bytes += sizeof(word), len -= sizeof(word)) {
                memcpy(&word, bytes, sizeof(word));
                sum = sum_mix(sum, GUINT64_FROM_LE(word));
        }
        word = 0;
        if (len > 0)
                memcpy(&word, bytes, len);
        return sum_mix(sum, GUINT64_FROM_LE(word));
}

uint64_t sqlite_sum(const struct row_record *record)
{
        uint64_t sum = sum_mix(1, record->revision);

        sum = sum_mix(sum, record->previous);
        sum = sum_mix(sum, record->created_revision);
        sum = sum_mix(sum, record->time_us);
        sum = sum_mix(sum, (uint64_t)record->verb << 16 | (uint64_t)record->keep << 8 | record->sealed);
        sum = sum_bytes(sum, record->key, strlen(record->key));
        sum = sum_bytes(sum, record->uid, record->uid ? strlen(record->uid) : 0);
        return sum_bytes(sum, record->bytes, record->len);
}

static struct row_record sqlite_record_of(sqlite3_stmt *s)
{
        return (struct row_record){
                .revision = (uint64_t)sqlite3_column_int64(s, 0),
                .previous = (uint64_t)sqlite3_column_int64(s, 1),
                .created_revision = (uint64_t)sqlite3_column_int64(s, 2),
                .time_us = (uint64_t)sqlite3_column_int64(s, 3),
                .verb = (enum store_verb)sqlite3_column_int(s, 4),
                .keep = (enum row_keep)sqlite3_column_int(s, 5),
                .sealed = sqlite3_column_int(s, 6) != 0,
                .key = (const char *)sqlite3_column_text(s, 7),
                .uid = (const char *)sqlite3_column_text(s, 8),
                .bytes = sqlite3_column_blob(s, 9),
                .len = (size_t)sqlite3_column_bytes(s, 9),
                .delta = (const char *)sqlite3_column_text(s, 10),
        };
}

static int sqlite_damaged_row(struct sqlite_driver *sqlite, uint64_t revision, const char *key, const char *fault)
{
        g_free(sqlite->words);
        sqlite->words = g_strdup_printf("%s: damaged row of revision %" G_GUINT64_FORMAT " (%s): %s", sqlite->path, revision,
                                        key ?: "no key", fault);
        return -EBADMSG;
}

/* 0 or -EBADMSG with words. */
static int sqlite_record_check(struct sqlite_driver *sqlite, sqlite3_stmt *s, const struct row_record *record)
{
        const char *fault = NULL;

        if (record->revision == 0 || !record->key)
                fault = "an object has no row in the log";
        else if (record->verb > STORE_DELETE || record->keep > ROW_HISTORY)
                fault = "it is not of a write";
        else if (sqlite3_column_type(s, SQLITE_RECORD_SUM) != SQLITE_NULL &&
                 (uint64_t)sqlite3_column_int64(s, SQLITE_RECORD_SUM) != sqlite_sum(record))
                fault = "its sum is wrong";
        return fault ? sqlite_damaged_row(sqlite, record->revision, record->key, fault) : 0;
}

/* Each row of @statement, which is given back. 0, < 0, or what @each returned. */
static int sqlite_each(struct sqlite_driver *sqlite, sqlite3_stmt *statement,
                       int (*each)(const struct row_record *record, void *userdata), void *userdata)
{
        int step, r = 0;

        while (r == 0 && (step = sqlite3_step(statement)) != SQLITE_DONE) {
                struct row_record record;

                if (step != SQLITE_ROW)
                        return sqlite_fault(sqlite, sqlite->db, "load");
                record = sqlite_record_of(statement);
                r = sqlite_record_check(sqlite, statement, &record);
                if (r == 0)
                        r = each(&record, userdata);
        }
        return r;
}

static int sqlite_each_of(struct sqlite_driver *sqlite, const char *sql, uint64_t after,
                          int (*each)(const struct row_record *record, void *userdata), void *userdata)
{
        sqlite3_stmt *statement = NULL;
        int r;

        if (sqlite3_prepare_v2(sqlite->db, sql, -1, &statement, NULL) != SQLITE_OK)
                return sqlite_fault(sqlite, sqlite->db, sql);
        if (sqlite3_bind_parameter_count(statement) > 0)
                (void)sqlite3_bind_int64(statement, 1, (sqlite3_int64)after);
        r = sqlite_each(sqlite, statement, each, userdata);
        sqlite3_finalize(statement);
        return r;
}

static int sqlite_load_state(struct sqlite_driver *sqlite, struct driver_state *ret_state)
{
        sqlite3_stmt *statement = NULL;
        int r = 0;

        if (sqlite3_prepare_v2(sqlite->db, "SELECT max(revision), time_us, (SELECT value FROM meta WHERE name = 'window') FROM log",
                               -1, &statement, NULL) != SQLITE_OK)
                return sqlite_fault(sqlite, sqlite->db, "load state");
        if (sqlite3_step(statement) == SQLITE_ROW) {
                ret_state->revision = (uint64_t)sqlite3_column_int64(statement, 0);
                ret_state->time_us = (uint64_t)sqlite3_column_int64(statement, 1);
                ret_state->floor = (uint64_t)sqlite3_column_int64(statement, 2);
                if (ret_state->floor == 0 || (ret_state->revision > 0 && ret_state->floor >= ret_state->revision))
                        r = sqlite_damaged_row(sqlite, ret_state->revision, NULL, "the window does not fit it");
        } else {
                r = sqlite_fault(sqlite, sqlite->db, "load state");
        }
        sqlite3_finalize(statement);
        sqlite->window = ret_state->floor;
        sqlite->newest = ret_state->revision;
        return r;
}

int sqlite_load(struct driver *driver, const struct driver_loader *loader, struct driver_state *ret_state)
{
        struct sqlite_driver *sqlite = sqlite_of(driver);
        int r;

        r = sqlite_load_state(sqlite, ret_state);
        if (r < 0)
                return r;
        /* In the order of the log, so that its pages are read one after the other. An object without its row has no key here. */
        r = sqlite_each_of(sqlite,
                           "SELECT " SQLITE_RECORD_COLUMNS " FROM (SELECT revision, key FROM objects ORDER BY revision) o "
                           "LEFT JOIN log l ON l.revision = o.revision AND l.key = o.key",
                           0, loader->object, loader->userdata);
        if (r < 0)
                return r;
        r = sqlite_each_of(sqlite, "SELECT " SQLITE_RECORD_COLUMNS " FROM log l WHERE l.revision > ?1 ORDER BY l.revision DESC",
                           ret_state->floor, loader->event, loader->userdata);
        /* Pages that were read once: the writer needs few of them. */
        (void)sqlite3_db_release_memory(sqlite->db);
        return MIN(r, 0);
}

int sqlite_fetch(struct driver *driver, uint64_t revision, int (*each)(const struct row_record *record, void *userdata),
                 void *userdata)
{
        struct sqlite_driver *sqlite = sqlite_of(driver);
        sqlite3_stmt *s = sqlite->statements[STATEMENT_FETCH];
        int step, r = 0;

        (void)sqlite3_bind_int64(s, 1, (sqlite3_int64)revision);
        step = sqlite3_step(s);
        if (step == SQLITE_ROW) {
                struct row_record record = sqlite_record_of(s);

                r = sqlite_record_check(sqlite, s, &record);
                if (r == 0)
                        r = each(&record, userdata);
        } else {
                r = step == SQLITE_DONE ? sqlite_damaged_row(sqlite, revision, NULL, "it is missing")
                                        : sqlite_fault(sqlite, sqlite->db, "fetch");
        }
        sqlite3_reset(s);
        return r;
}

/* --- history: loop thread, on a connection of its own
 * ------------------------------------------------------------------------------ */

#define HISTORY_COLUMNS "revision, time_us, verb, key, uid, user, client, request_id, field_manager, api_verb, delta"

static int sqlite_open_reader(struct sqlite_driver *sqlite)
{
        if (sqlite->reader)
                return 0;
        if (sqlite3_open_v2(sqlite->path, &sqlite->reader, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK &&
            sqlite3_busy_timeout(sqlite->reader, SQLITE_READER_BUSY_MS) == SQLITE_OK &&
            sqlite3_exec(sqlite->reader, "PRAGMA cache_size=-256", NULL, NULL, NULL) == SQLITE_OK &&
            sqlite3_prepare_v3(sqlite->reader,
                               "SELECT " HISTORY_COLUMNS
                               " FROM log INDEXED BY log_by_key WHERE key = ?4 AND keep > 0 AND revision <= ?1 "
                               "AND revision < ?2 AND (keep = 2 OR revision = (SELECT o.revision FROM objects o WHERE o.key = ?4)) "
                               "ORDER BY revision DESC LIMIT ?3",
                               -1, SQLITE_PREPARE_PERSISTENT, &sqlite->history_of_key, NULL) == SQLITE_OK &&
            sqlite3_prepare_v3(sqlite->reader,
                               "SELECT " HISTORY_COLUMNS " FROM log WHERE keep = 2 AND revision <= ?1 AND revision < ?2 "
                               "ORDER BY revision DESC LIMIT ?3",
                               -1, SQLITE_PREPARE_PERSISTENT, &sqlite->history_of_all, NULL) == SQLITE_OK)
                return 0;
        sqlite3_finalize(sqlite->history_of_key);
        sqlite3_finalize(sqlite->history_of_all);
        sqlite->history_of_key = sqlite->history_of_all = NULL;
        sqlite3_close(sqlite->reader);
        sqlite->reader = NULL;
        return -EIO;
}

static void sqlite_history_row(sqlite3_stmt *s, const struct history_query *query)
{
        const char *texts[8];

        for (int i = 0; i < (int)G_N_ELEMENTS(texts); i++)
                texts[i] = (const char *)sqlite3_column_text(s, 3 + i);
        query->each(
                &(struct store_history_row){
                        .revision = (uint64_t)sqlite3_column_int64(s, 0),
                        .time_us = (uint64_t)sqlite3_column_int64(s, 1),
                        .verb = (enum store_verb)sqlite3_column_int(s, 2),
                        .key = texts[0],
                        .uid = texts[1],
                        .user = texts[2],
                        .client = texts[3],
                        .request_id = texts[4],
                        .field_manager = texts[5],
                        .api_verb = texts[6],
                        .delta = texts[7],
                },
                query->userdata);
}

int sqlite_history(struct driver *driver, const struct history_query *query)
{
        struct sqlite_driver *sqlite = sqlite_of(driver);
        sqlite3_stmt *s;
        int step, r;

        r = sqlite_open_reader(sqlite);
        if (r < 0)
                return r;
        s = query->key ? sqlite->history_of_key : sqlite->history_of_all;
        (void)sqlite3_bind_int64(s, 1, (sqlite3_int64)query->newest);
        (void)sqlite3_bind_int64(s, 2, query->before ? (sqlite3_int64)query->before : G_MAXINT64);
        (void)sqlite3_bind_int64(s, 3, query->limit);
        if (query->key)
                (void)sqlite_bind_text(s, 4, query->key);
        while ((step = sqlite3_step(s)) == SQLITE_ROW)
                sqlite_history_row(s, query);
        sqlite3_reset(s);
        sqlite3_clear_bindings(s);
        return step == SQLITE_DONE ? 0 : -EIO;
}
