/* SPDX-License-Identifier: Apache-2.0 */
#include "generated/api_types.h"
#include "loop/loop.h"
#include "store/store.h"

#include "base/error.h"
#include "base/file.h"

#include <malloc.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Durable creates per second through store_commit() with 1, 64 and 256 in flight, beside bare SQLite that writes two rows per
 * create (the object, and a log row with the same bytes) in transactions of as many creates, in the same folder. Rounds are
 * interleaved, since the speed of a disk comes and goes; figures are medians, ratios the median of each round's own. Lines: name
 * value unit ratio.
 *
 * usage: store_bench [FOLDER [ROUNDS [MILLISECONDS]]]
 */
#define N_SIZES    3
#define MAX_ROUNDS 64

static const unsigned sizes[N_SIZES] = {1, 64, 256};

struct bench {
        char *folder;
        unsigned rounds;
        uint64_t span_us;
        char *object; /* JSON text of one machine */
        size_t object_len;
        unsigned next_name;
};

static uint64_t now_us(void)
{
        return clock_monotonic_us(clock_system());
}

static void must(bool good, const char *what)
{
        if (good)
                return;
        (void)fprintf(stderr, "store_bench: %s failed\n", what);
        exit(1);
}

/* --- the peer
 * ------------------------------------------------------------------------------------------------------------------------ */

struct bare {
        sqlite3 *db;
        sqlite3_stmt *begin, *commit, *object, *log;
        char *path;
        sqlite3_int64 revision;
};

static sqlite3_stmt *bare_prepare(struct bare *bare, const char *sql)
{
        sqlite3_stmt *statement = NULL;

        must(sqlite3_prepare_v2(bare->db, sql, -1, &statement, NULL) == SQLITE_OK, sql);
        return statement;
}

static void bare_open(struct bare *bare, const struct bench *bench)
{
        bare->path = g_build_filename(bench->folder, "bare.db", NULL);
        must(sqlite3_open(bare->path, &bare->db) == SQLITE_OK, "open");
        must(sqlite3_exec(
                     bare->db,
                     "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=4000; PRAGMA cache_size=-4096;"
                     "CREATE TABLE objects (key TEXT PRIMARY KEY, revision INTEGER, object BLOB);"
                     "CREATE TABLE log (revision INTEGER PRIMARY KEY, key TEXT, object BLOB);",
                     NULL, NULL, NULL) == SQLITE_OK,
             "create tables");
        bare->begin = bare_prepare(bare, "BEGIN IMMEDIATE");
        bare->commit = bare_prepare(bare, "COMMIT");
        bare->object = bare_prepare(bare, "INSERT OR REPLACE INTO objects VALUES (?1, ?2, ?3)");
        bare->log = bare_prepare(bare, "INSERT INTO log VALUES (?2, ?1, ?3)");
}

static void bare_close(struct bare *bare)
{
        sqlite3_finalize(bare->begin);
        sqlite3_finalize(bare->commit);
        sqlite3_finalize(bare->object);
        sqlite3_finalize(bare->log);
        sqlite3_close(bare->db);
        g_free(bare->path);
}

static void bare_step(sqlite3_stmt *statement)
{
        must(sqlite3_step(statement) == SQLITE_DONE, "bare step");
        sqlite3_reset(statement);
}

static void bare_write(struct bare *bare, const struct bench *bench, sqlite3_stmt *statement, const char *key)
{
        sqlite3_bind_text(statement, 1, key, -1, SQLITE_STATIC);
        sqlite3_bind_int64(statement, 2, bare->revision);
        sqlite3_bind_blob64(statement, 3, bench->object, bench->object_len, SQLITE_STATIC);
        bare_step(statement);
}

static double bare_run(struct bare *bare, struct bench *bench, unsigned group)
{
        uint64_t begin = now_us(), n = 0;

        while (now_us() - begin < bench->span_us) {
                bare_step(bare->begin);
                for (unsigned i = 0; i < group; i++, n++) {
                        g_autofree char *key = g_strdup_printf("virtualmachines.gabbro.dev/bench/m%u", bench->next_name++);

                        bare->revision++;
                        bare_write(bare, bench, bare->object, key);
                        bare_write(bare, bench, bare->log, key);
                }
                bare_step(bare->commit);
        }
        return (double)n * 1e6 / (double)(now_us() - begin);
}

/* --- the store
 * ------------------------------------------------------------------------------------------------------------------------ */

struct ours {
        struct bench *bench;
        struct loop *loop;
        struct store *store;
        uint64_t end_us;
        uint64_t done;
        unsigned in_flight;
};

static void ours_create(struct ours *ours);

static void ours_done(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        struct ours *ours = userdata;

        must(result == 0, "commit");
        ours->done++;
        ours->in_flight--;
        if (now_us() < ours->end_us)
                ours_create(ours);
}

/* What an API request does as well: a parsed document comes in. */
static void ours_create(struct ours *ours)
{
        g_autofree char *name = g_strdup_printf("m%u", ours->bench->next_name++);
        struct store_op op = {.verb = STORE_CREATE, .kind = &api_virtual_machine_kind, .namespace = "bench", .name = name};
        struct store_txn txn = {.ops = &op, .n_ops = 1, .actor = {.user = "admin", .client = "127.0.0.1", .verb = "create"}};

        must(json_parse(ours->bench->object, ours->bench->object_len, &op.doc, NULL) == 0, "parse");
        json_set_string(op.doc, json_get(json_root(op.doc), "metadata"), "name", name);
        must(store_commit(ours->store, &txn, ours_done, ours, NULL) == 0, "accept");
        ours->in_flight++;
}

static double ours_run(struct ours *ours, unsigned in_flight)
{
        uint64_t begin = now_us();

        ours->end_us = begin + ours->bench->span_us;
        ours->done = 0;
        for (unsigned i = 0; i < in_flight; i++)
                ours_create(ours);
        while (ours->in_flight > 0)
                must(loop_run_once(ours->loop, UINT64_MAX) >= 0, "loop");
        return (double)ours->done * 1e6 / (double)(now_us() - begin);
}

/* --- lists, memory, restart
 * ---------------------------------------------------------------------------------------------------------- */

struct listing {
        unsigned left;
        uint64_t bytes;
};

static bool list_each(const struct store_object *object, void *userdata)
{
        struct listing *listing = userdata;

        listing->bytes += object->len;
        return --listing->left > 0;
}

static void ours_list(struct ours *ours)
{
        struct listing listing = {.left = 1000};
        uint64_t begin = now_us();

        store_list(ours->store, &api_virtual_machine_kind, NULL, NULL, list_each, &listing);
        printf("store.list_1000 %.3f ms -\n", (double)(now_us() - begin) / 1e3);
        begin = now_us();
        listing.left = 1000;
        store_list(ours->store, &api_virtual_machine_kind, NULL, NULL, list_each, &listing);
        printf("store.list_1000_again %.3f ms -\n", (double)(now_us() - begin) / 1e3);
}

static void ours_restart(struct ours *ours, const char *path, const struct store_options *options)
{
        struct store_stats stats;
        uint64_t begin;
        size_t before, held;

        ours->store = store_close(ours->store);
        (void)malloc_trim(0);
        before = mallinfo2().uordblks;
        begin = now_us();
        must(store_open_sqlite(path, options, &ours->store) == 0, "open again");
        store_stats(ours->store, &stats);
        held = mallinfo2().uordblks - before;
        printf("store.open %.0f ms %zu objects\n", (double)(now_us() - begin) / 1e3, stats.objects);
        printf("store.memory_per_object %.0f B %.2f of its bytes\n", (double)held / (double)stats.objects,
               (double)held / (double)stats.bytes);
}

static int compare_numbers(const void *a, const void *b)
{
        double x = *(const double *)a, y = *(const double *)b;

        return (x > y) - (x < y);
}

static double median(double *values, unsigned n)
{
        qsort(values, n, sizeof(*values), compare_numbers);
        return values[n / 2];
}

static void run_all(struct bench *bench)
{
        g_autofree char *path = g_build_filename(bench->folder, "store.db", NULL);
        struct store_options options = {0};
        struct ours ours = {.bench = bench};
        struct bare bare = {0};
        double mine[N_SIZES][MAX_ROUNDS], theirs[N_SIZES][MAX_ROUNDS];

        must(loop_new(&options.loop) == 0, "loop");
        must(store_open_sqlite(path, &options, &ours.store) == 0, "open");
        ours.loop = options.loop;
        bare_open(&bare, bench);
        for (unsigned round = 0; round < bench->rounds; round++)
                for (unsigned i = 0; i < N_SIZES; i++) {
                        theirs[i][round] = bare_run(&bare, bench, sizes[i]);
                        mine[i][round] = ours_run(&ours, sizes[i]);
                }
        for (unsigned i = 0; i < N_SIZES; i++) {
                double ratios[MAX_ROUNDS];

                for (unsigned round = 0; round < bench->rounds; round++)
                        ratios[round] = mine[i][round] / theirs[i][round];
                printf("store.creates_%u %.0f /s %.2f\n", sizes[i], median(mine[i], bench->rounds), median(ratios, bench->rounds));
                printf("store.bare_%u %.0f /s 1.00\n", sizes[i], median(theirs[i], bench->rounds));
        }
        ours_list(&ours);
        ours_restart(&ours, path, &options);
        ours_list(&ours);
        store_close(ours.store);
        bare_close(&bare);
        loop_free(options.loop);
}

/* Both sides write the object as the store keeps it. */
static void compact(struct bench *bench)
{
        g_autoptr(json_doc) doc = NULL;

        must(json_parse(bench->object, bench->object_len, &doc, NULL) == 0, "parse");
        g_free(bench->object);
        bench->object = json_to_text(json_root(doc));
        bench->object_len = strlen(bench->object);
        printf("store.object_bytes %zu B -\n", bench->object_len);
}

int main(int argc, char **argv)
{
        g_autofree char *template = g_build_filename(argc > 1 ? argv[1] : g_get_tmp_dir(), "gabbro-store-bench-XXXXXX", NULL);
        struct bench bench = {.rounds = 15, .span_us = 150000};

        if (argc > 2)
                bench.rounds = CLAMP((unsigned)strtoul(argv[2], NULL, 10), 1, MAX_ROUNDS);
        if (argc > 3)
                bench.span_us = strtoull(argv[3], NULL, 10) * 1000;
        must(file_read(BENCH_OBJECT, 1 << 20, &bench.object, &bench.object_len) == 0, "read " BENCH_OBJECT);
        compact(&bench);
        bench.folder = g_mkdtemp(template);
        must(bench.folder, "make a folder");
        run_all(&bench);
        must(file_remove_tree(bench.folder) == 0, "remove the folder");
        g_free(bench.object);
        return 0;
}
