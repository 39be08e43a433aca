/* SPDX-License-Identifier: Apache-2.0 */
#include "store/sqlite_private.h"

#include "base/error.h"
#include "base/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

/* The WAL is copied back into the database when it has this many pages, after the commits of a group were acknowledged. */
#define SQLITE_CHECKPOINT_PAGES 4000

static const char *const sqlite_texts[STATEMENT_N_STATEMENTS] = {
        [STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
        [STATEMENT_COMMIT] = "COMMIT",
        [STATEMENT_ROLLBACK] = "ROLLBACK",
        [STATEMENT_LOG] =
                "INSERT INTO log (revision, previous, created, time_us, verb, keep, sealed, key, uid, user, client, request_id, "
                "field_manager, api_verb, delta, object, sum) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17)",
        [STATEMENT_OBJECT] = "INSERT INTO objects (key, revision) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET revision = ?2",
        [STATEMENT_OBJECT_GONE] = "DELETE FROM objects WHERE key = ?1",
        /* A row that leaves the window takes the bytes of the version before it along (see driver.h). */
        [STATEMENT_STRIP] = "UPDATE log SET object = NULL, sum = NULL WHERE keep = 2 AND object IS NOT NULL AND revision IN "
                            "(SELECT previous FROM log WHERE revision > ?1 AND revision <= ?2)",
        [STATEMENT_DROP] = "DELETE FROM log WHERE keep < 2 AND revision IN "
                           "(SELECT previous FROM log WHERE revision > ?1 AND revision <= ?2)",
        [STATEMENT_DROP_GRAVES] = "DELETE FROM log WHERE keep < 2 AND verb = 2 AND revision > ?1 AND revision <= ?2",
        [STATEMENT_WINDOW] = "UPDATE meta SET value = ?1 WHERE name = 'window'",
        [STATEMENT_OLD] = "SELECT revision, key, keep = 2 AND object IS NULL FROM log WHERE revision > ?1 AND revision <= ?2 "
                          "AND time_us < ?3 ORDER BY revision LIMIT ?4",
        [STATEMENT_IS_LIVE] = "SELECT 1 FROM objects WHERE key = ?1",
        [STATEMENT_NEWER_ROWS] = "SELECT count(*) FROM (SELECT 1 FROM log INDEXED BY log_by_key WHERE key = ?1 AND keep > 0 "
                                 "AND revision > ?2 LIMIT ?3)",
        [STATEMENT_DROP_ROW] = "DELETE FROM log WHERE revision = ?1",
        [STATEMENT_NEWEST] = "SELECT max(revision) FROM log",
        [STATEMENT_FETCH] = "SELECT " SQLITE_RECORD_COLUMNS " FROM log l WHERE l.revision = ?1",
};

int sqlite_fault(struct sqlite_driver *sqlite, sqlite3 *db, const char *what)
{
        int code = sqlite3_extended_errcode(db), system_errno = sqlite3_system_errno(db), primary = code & 0xff;

        sqlite->full = primary == SQLITE_FULL;
        if (sqlite->full)
                system_errno = ENOSPC; /* which SQLite keeps to itself */
        g_free(sqlite->words);
        sqlite->words = g_strdup_printf("%s: %s: %s (%s, code %d)", sqlite->path, what, sqlite3_errmsg(db),
                                        system_errno ? g_strerror(system_errno) : "no system error", code);
        if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB)
                return -EBADMSG;
        if (sqlite->full)
                return -ENOSPC;
        return system_errno > 0 ? -system_errno : -EIO;
}

int sqlite_run(struct sqlite_driver *sqlite, sqlite3_stmt *statement, const char *what)
{
        int r = sqlite3_step(statement) == SQLITE_DONE ? 0 : sqlite_fault(sqlite, sqlite->db, what);

        sqlite3_reset(statement);
        return r;
}

/*
 * SQLITE_FULL comes of a write that found no room, never of a sync: the frame that ends the transaction is the last that is
 * written, so it is not whole in the file and no recovery can take the transaction for committed. That it is gone is looked up all
 * the same.
 */
bool sqlite_take_back(struct sqlite_driver *sqlite)
{
        sqlite3_stmt *s = sqlite->statements[STATEMENT_NEWEST];
        g_autofree char *words = NULL;
        bool gone;

        if (!sqlite->full)
                return false;
        words = g_steal_pointer(&sqlite->words);
        gone = sqlite3_get_autocommit(sqlite->db) || sqlite_run(sqlite, sqlite->statements[STATEMENT_ROLLBACK], "roll back") == 0;
        if (gone)
                gone = sqlite3_step(s) == SQLITE_ROW && (uint64_t)sqlite3_column_int64(s, 0) == sqlite->newest;
        sqlite3_reset(s);
        if (gone || !sqlite->words) {
                g_free(sqlite->words);
                sqlite->words = g_steal_pointer(&words);
        }
        sqlite->full = false;
        return gone;
}

/* --- committing: writer thread ---------------------------------------------------------------------------------------------------
 */

static int sqlite_write_log(struct sqlite_driver *sqlite, const struct store_actor *actor, const struct row *row)
{
        sqlite3_stmt *s = sqlite->statements[STATEMENT_LOG];
        const struct store_object *object = &row->object->public;
        const struct row_record record = {
                .revision = row->revision,
                .previous = row->previous ? row->previous->public.revision : 0,
                .created_revision = object->created_revision,
                .time_us = row->time_us,
                .verb = row->verb,
                .keep = row->keep,
                .sealed = row->sealed,
                .key = object->key,
                .uid = object->uid,
                .bytes = row->verb == STORE_DELETE ? NULL : row->sealed ?: object->bytes,
                .len = row->verb == STORE_DELETE ? 0 : row->sealed ? row->sealed_len : object->len,
        };
        int r = SQLITE_OK;

        r |= sqlite3_bind_int64(s, 1, (sqlite3_int64)record.revision);
        r |= sqlite3_bind_int64(s, 2, (sqlite3_int64)record.previous);
        r |= sqlite3_bind_int64(s, 3, (sqlite3_int64)record.created_revision);
        r |= sqlite3_bind_int64(s, 4, (sqlite3_int64)record.time_us);
        r |= sqlite3_bind_int(s, 5, record.verb);
        r |= sqlite3_bind_int(s, 6, record.keep);
        r |= sqlite3_bind_int(s, 7, record.sealed);
        r |= sqlite_bind_text(s, 8, record.key);
        r |= sqlite_bind_text(s, 9, record.uid);
        r |= sqlite_bind_text(s, 10, actor->user);
        r |= sqlite_bind_text(s, 11, actor->client);
        r |= sqlite_bind_text(s, 12, actor->request_id);
        r |= sqlite_bind_text(s, 13, actor->field_manager);
        r |= sqlite_bind_text(s, 14, actor->verb);
        r |= sqlite_bind_text(s, 15, row->delta);
        r |= sqlite3_bind_blob64(s, 16, record.bytes, record.len, SQLITE_STATIC); /* no bytes: NULL */
        r |= sqlite3_bind_int64(s, 17, (sqlite3_int64)sqlite_sum(&record));
        if (r != SQLITE_OK)
                return sqlite_fault(sqlite, sqlite->db, "bind log row");
        return sqlite_run(sqlite, s, "write log row");
}

static int sqlite_write_row(struct sqlite_driver *sqlite, const struct store_actor *actor, const struct row *row)
{
        sqlite3_stmt *s = sqlite->statements[row->verb == STORE_DELETE ? STATEMENT_OBJECT_GONE : STATEMENT_OBJECT];
        int r;

        r = sqlite_write_log(sqlite, actor, row);
        if (r < 0)
                return r;
        /* An update finds its key in place: binding the same text again is as good as a new one. */
        if (sqlite_bind_text(s, 1, row->object->public.key) != SQLITE_OK)
                return sqlite_fault(sqlite, sqlite->db, "bind object row");
        if (row->verb != STORE_DELETE && sqlite3_bind_int64(s, 2, (sqlite3_int64)row->revision) != SQLITE_OK)
                return sqlite_fault(sqlite, sqlite->db, "bind object row");
        return sqlite_run(sqlite, s, "write object row");
}

static int sqlite_write_group(struct sqlite_driver *sqlite, struct commit *const *commits, size_t n_commits)
{
        int r;

        r = sqlite_run(sqlite, sqlite->statements[STATEMENT_BEGIN], "begin");
        for (size_t i = 0; i < n_commits && r == 0; i++)
                for (size_t k = 0; k < commits[i]->n_rows && r == 0; k++)
                        r = sqlite_write_row(sqlite, &commits[i]->actor, &commits[i]->rows[k]);
        return r == 0 ? sqlite_run(sqlite, sqlite->statements[STATEMENT_COMMIT], "commit") : r;
}

static int sqlite_persist(struct driver *driver, struct commit *const *commits, size_t n_commits)
{
        struct sqlite_driver *sqlite = sqlite_of(driver);
        int r;

        assert(!sqlite->failed);
        r = sqlite_write_group(sqlite, commits, n_commits);
        for (size_t i = 0; i < n_commits && r == 0; i++)
                if (commits[i]->n_rows > 0)
                        sqlite->newest = commits[i]->rows[commits[i]->n_rows - 1].revision;
        if (r < 0 && sqlite_take_back(sqlite))
                return DRIVER_E_FULL;
        /* Whether a failed commit reached the disk is unknown: nothing more is written, not even by the checkpoint at the close. */
        sqlite->failed = r < 0;
        return r;
}

static int sqlite_wal_grew(void *userdata, sqlite3 *db, const char *name, int pages)
{
        struct sqlite_driver *sqlite = userdata;

        sqlite->wal_pages = pages;
        return SQLITE_OK;
}

/* SQLite's own checkpoint after a commit ignores errors and delays the acknowledgement; this one does neither. */
static int sqlite_settle(struct driver *driver)
{
        struct sqlite_driver *sqlite = sqlite_of(driver);

        int r;

        if (sqlite->wal_pages < sqlite->checkpoint_pages)
                return 0;
        sqlite->checkpoint_pages = SQLITE_CHECKPOINT_PAGES;
        if (sqlite3_wal_checkpoint_v2(sqlite->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL) == SQLITE_OK) {
                sqlite->wal_pages = 0;
                return 0;
        }
        r = sqlite_fault(sqlite, sqlite->db, "checkpoint");
        /* No room in the database: all stands in the WAL still, and may stay there for a while. */
        if (sqlite->full) {
                sqlite->checkpoint_pages = sqlite->wal_pages + SQLITE_CHECKPOINT_PAGES / 8;
                return 0;
        }
        sqlite->failed = true;
        return r;
}

/* --- opening and closing ---------------------------------------------------------------------------------------------------------
 */

static const char *sqlite_words(struct driver *driver)
{
        const char *words = sqlite_of(driver)->words;

        return words ? words : "unknown failure of the store";
}

static struct driver *sqlite_close(struct driver *driver)
{
        struct sqlite_driver *sqlite = sqlite_of(driver);

        for (size_t i = 0; i < STATEMENT_N_STATEMENTS; i++)
                sqlite3_finalize(sqlite->statements[i]);
        sqlite3_finalize(sqlite->history_of_key);
        sqlite3_finalize(sqlite->history_of_all);
        sqlite3_close(sqlite->reader);
        if (sqlite->db && sqlite->failed)
                (void)sqlite3_db_config(sqlite->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        sqlite3_close(sqlite->db);
        sqlite->lock_fd = fd_close(sqlite->lock_fd);
        g_free(sqlite->path);
        g_free(sqlite->words);
        g_free(sqlite);
        return NULL;
}

static struct sqlite_driver *sqlite_driver_free(struct sqlite_driver *sqlite)
{
        if (sqlite)
                sqlite_close(&sqlite->driver);
        return NULL;
}
AUTOPTR(sqlite_driver, sqlite_driver_free);

/* A lock file beside the database: one process at a time, given back by the kernel however the process ends. */
static int sqlite_lock(struct sqlite_driver *sqlite)
{
        g_autofree char *path = g_strconcat(sqlite->path, "-lock", NULL);

        sqlite->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (sqlite->lock_fd < 0)
                return -errno;
        if (flock(sqlite->lock_fd, LOCK_EX | LOCK_NB) < 0)
                return errno == EWOULDBLOCK ? STORE_E_LOCKED : -errno;
        return 0;
}

/* Makes the file with its mode before SQLite sees it, and its name durable. */
static int sqlite_ensure_file(const char *path, bool *ret_empty)
{
        g_autofree char *folder = g_path_get_dirname(path);
        autofd fd = -1, dir = -1;
        struct stat st;

        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if ((st.st_mode & 077) && fchmod(fd, 0600) < 0)
                return -errno;
        *ret_empty = st.st_size == 0;
        if (!*ret_empty)
                return 0;
        dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0 || fsync(fd) < 0 || fsync(dir) < 0)
                return -errno;
        return 0;
}

static int sqlite_exec(struct sqlite_driver *sqlite, const char *sql)
{
        if (sqlite3_exec(sqlite->db, sql, NULL, NULL, NULL) != SQLITE_OK)
                return sqlite_fault(sqlite, sqlite->db, sql);
        return 0;
}

/* The first column of the first row as text; "" when there is none. */
static int sqlite_ask(struct sqlite_driver *sqlite, const char *sql, char **ret_text)
{
        sqlite3_stmt *statement = NULL;
        int r = 0, step;

        if (sqlite3_prepare_v2(sqlite->db, sql, -1, &statement, NULL) != SQLITE_OK)
                return sqlite_fault(sqlite, sqlite->db, sql);
        step = sqlite3_step(statement);
        if (step == SQLITE_ROW)
                *ret_text = g_strdup((const char *)sqlite3_column_text(statement, 0));
        else if (step == SQLITE_DONE)
                *ret_text = g_strdup("");
        else
                r = sqlite_fault(sqlite, sqlite->db, sql);
        sqlite3_finalize(statement);
        return r;
}

static int sqlite_create(struct sqlite_driver *sqlite)
{
        g_autofree char *meta = NULL;
        char uuid[UUID_TEXT_MAX];
        int r;

        uuid_generate(random_system(), uuid);
        meta = g_strdup_printf("INSERT INTO meta VALUES ('schema_version', %d), ('uuid', '%s'), ('window', 1)",
                               SQLITE_STORE_SCHEMA_VERSION, uuid);
        r = sqlite_exec(sqlite, "PRAGMA journal_mode=WAL");
        if (r == 0)
                r = sqlite_exec(
                        sqlite,
                        "BEGIN IMMEDIATE;"
                        "CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;"
                        "CREATE TABLE objects (key TEXT PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID;"
                        "CREATE TABLE log (revision INTEGER PRIMARY KEY, previous INTEGER NOT NULL,"
                        " created INTEGER NOT NULL, time_us INTEGER NOT NULL, verb INTEGER NOT NULL,"
                        " keep INTEGER NOT NULL, sealed INTEGER NOT NULL, key TEXT NOT NULL, uid TEXT, user TEXT,"
                        " client TEXT, request_id TEXT, field_manager TEXT, api_verb TEXT, delta TEXT, object BLOB, sum INTEGER);"
                        "CREATE INDEX log_by_key ON log (key, revision) WHERE keep > 0;");
        if (r == 0)
                r = sqlite_exec(sqlite, meta);
        return r == 0 ? sqlite_exec(sqlite, "COMMIT") : r;
}

/* Version 1 had no sums; its rows go unchecked until they are written again. */
static int sqlite_upgrade(struct sqlite_driver *sqlite)
{
        return sqlite_exec(sqlite, "BEGIN IMMEDIATE; ALTER TABLE log ADD COLUMN sum INTEGER;"
                                   "UPDATE meta SET value = 2 WHERE name = 'schema_version'; COMMIT");
}

int sqlite_damaged(struct sqlite_driver *sqlite, const char *words)
{
        g_free(sqlite->words);
        sqlite->words = g_strdup_printf("%s: %s", sqlite->path, words);
        return STORE_E_CORRUPT;
}

/* 0, < 0, STORE_E_NEWER or STORE_E_CORRUPT */
static int sqlite_judge(struct sqlite_driver *sqlite)
{
        g_autofree char *version = NULL, *verdict = NULL;
        long number;
        int r;

        r = sqlite_ask(sqlite, "SELECT value FROM meta WHERE name = 'schema_version'", &version);
        /* No such table: a database, but not ours. */
        if (r < 0)
                return r == -EBADMSG || sqlite3_errcode(sqlite->db) == SQLITE_ERROR ? STORE_E_CORRUPT : r;
        number = version ? strtol(version, NULL, 10) : 0;
        if (number > SQLITE_STORE_SCHEMA_VERSION)
                return STORE_E_NEWER;
        if (number < 1)
                return sqlite_damaged(sqlite, "it has no schema version");
        r = sqlite_ask(sqlite, "PRAGMA quick_check(1)", &verdict);
        if (r < 0)
                return r == -EBADMSG ? STORE_E_CORRUPT : r;
        if (g_strcmp0(verdict, "ok") != 0)
                return sqlite_damaged(sqlite, verdict);
        return number == 1 ? sqlite_upgrade(sqlite) : 0;
}

static int sqlite_prepare(struct sqlite_driver *sqlite)
{
        for (size_t i = 0; i < STATEMENT_N_STATEMENTS; i++)
                if (sqlite3_prepare_v3(sqlite->db, sqlite_texts[i], -1, SQLITE_PREPARE_PERSISTENT, &sqlite->statements[i], NULL) !=
                    SQLITE_OK)
                        return sqlite_fault(sqlite, sqlite->db, sqlite_texts[i]);
        return 0;
}

static int sqlite_connect(struct sqlite_driver *sqlite, bool empty)
{
        g_autofree char *mode = NULL;
        int r;

        if (sqlite3_open_v2(sqlite->path, &sqlite->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
                return sqlite_fault(sqlite, sqlite->db, "open");
        (void)sqlite3_extended_result_codes(sqlite->db, 1);
        (void)sqlite3_db_config(sqlite->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        (void)sqlite3_db_config(sqlite->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        r = sqlite_exec(sqlite, "PRAGMA synchronous=FULL; PRAGMA cache_size=-4096; PRAGMA wal_autocheckpoint=0;");
        if (r == 0)
                r = empty ? sqlite_create(sqlite) : sqlite_judge(sqlite);
        if (r == 0)
                r = sqlite_ask(sqlite, "PRAGMA journal_mode=WAL", &mode);
        if (r)
                return r == -EBADMSG ? STORE_E_CORRUPT : r;
        if (g_strcmp0(mode, "wal") != 0)
                return -ENOTSUP;
        (void)sqlite3_wal_hook(sqlite->db, sqlite_wal_grew, sqlite);
        r = sqlite_prepare(sqlite);
        return r == -EBADMSG ? STORE_E_CORRUPT : r;
}

int driver_sqlite_new(const char *path, struct driver **ret_driver, char **reterr_words)
{
        static const struct driver_ops ops = {
                .blocks = true,
                .persist = sqlite_persist,
                .settle = sqlite_settle,
                .load = sqlite_load,
                .fetch = sqlite_fetch,
                .history = sqlite_history,
                .compact = sqlite_compact,
                .words = sqlite_words,
                .close = sqlite_close,
        };
        g_autoptr(sqlite_driver) sqlite = g_new0(struct sqlite_driver, 1);
        bool empty = false;
        int r;

        assert(path && ret_driver);
        sqlite->driver.ops = &ops;
        sqlite->path = g_strdup(path);
        sqlite->lock_fd = -1;
        sqlite->checkpoint_pages = SQLITE_CHECKPOINT_PAGES;
        r = sqlite_lock(sqlite);
        if (r == 0)
                r = sqlite_ensure_file(path, &empty);
        if (r == 0 && !empty)
                r = sqlite_check_wal(sqlite);
        if (r == 0)
                r = sqlite_connect(sqlite, empty);
        if (r && reterr_words)
                *reterr_words = sqlite->words ? g_steal_pointer(&sqlite->words)
                                              : g_strdup_printf("%s: %s", path, r < 0 ? g_strerror(-r) : "refused");
        if (r)
                return r;
        *ret_driver = &g_steal_pointer(&sqlite)->driver;
        return 0;
}
