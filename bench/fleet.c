/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/limits.h"
#include "generated/api_types.h"
#include "loop/loop.h"
#include "store/store.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * A gateway's store with many machines, each with its disk and intents as a running one has them (machine.json, "@@@@@@@@" is its
 * number); and the time that bare SQLite needs to read the newest rows of such a store.
 *
 * usage: fleet fill STORE MACHINES | fleet read STORE
 */
#define PLACE     "@@@@@@@@"
#define IN_FLIGHT 64u

static void must(bool good, const char *what)
{
        if (good)
                return;
        (void)fprintf(stderr, "fleet: %s failed\n", what);
        exit(1);
}

struct fleet {
        struct store *store;
        struct loop *loop;
        char *text;
        unsigned in_flight;
};

static void fleet_done(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        must(result == 0, "a commit");
        ((struct fleet *)userdata)->in_flight--;
}

/* One machine is one transaction. */
static void fleet_add(struct fleet *fleet, unsigned number)
{
        g_autofree char *text = g_strdup(fleet->text), *digits = g_strdup_printf("%08x", number);
        g_autoptr(json_doc) doc = NULL;
        struct store_op ops[LIMIT_STORE_TXN_OPS];
        struct store_txn txn = {.ops = ops, .actor = {.user = "bench"}};

        for (char *place = text; (place = strstr(place, PLACE));)
                memcpy(place, digits, strlen(PLACE));
        must(json_parse(text, strlen(text), &doc, NULL) == 0, "parse");
        for (const struct json_value *from = json_first(json_root(doc)); from; from = json_next(from)) {
                struct json_doc *copy = json_doc_new();
                const char *version = json_string(json_get(from, "apiVersion"), ""), *slash = strchr(version, '/');
                g_autofree char *group = g_strndup(version, (size_t)(slash - version));

                json_set_root(copy, json_copy(copy, from));
                ops[txn.n_ops++] = (struct store_op){
                        .verb = STORE_CREATE,
                        .kind = schema_kind_by_kind(group, json_string(json_get(from, "kind"), "")),
                        .namespace = json_find_string(from, "metadata", "namespace", NULL),
                        .name = json_find_string(from, "metadata", "name", NULL),
                        .doc = copy,
                };
                must(ops[txn.n_ops - 1].kind, "find a kind");
        }
        must(store_commit(fleet->store, &txn, fleet_done, fleet, NULL) == 0, "accept");
        fleet->in_flight++;
}

static int fill(const char *path, unsigned machines)
{
        struct store_options options = {0};
        struct store_stats stats;
        struct fleet fleet = {0};
        size_t len;

        must(file_read(BENCH_MACHINE, 1 << 20, &fleet.text, &len) == 0, "read " BENCH_MACHINE);
        must(loop_new(&options.loop) == 0, "loop");
        must(store_open_sqlite(path, &options, &fleet.store) == 0, "open");
        for (unsigned i = 0; i < machines; i++) {
                fleet_add(&fleet, i);
                while (fleet.in_flight >= IN_FLIGHT)
                        must(loop_run_once(options.loop, UINT64_MAX) >= 0, "loop");
        }
        while (fleet.in_flight > 0)
                must(loop_run_once(options.loop, UINT64_MAX) >= 0, "loop");
        store_stats(fleet.store, &stats);
        printf("%zu %zu\n", stats.objects, stats.bytes);
        store_close(fleet.store);
        loop_free(options.loop);
        g_free(fleet.text);
        return 0;
}

static int read_bare(const char *path)
{
        static const char sql[] =
                "SELECT l.revision, l.key, l.uid, l.object FROM (SELECT revision FROM objects ORDER BY revision) o "
                "JOIN log l ON l.revision = o.revision";
        uint64_t begin = clock_monotonic_us(clock_system());
        sqlite3_stmt *statement = NULL;
        sqlite3 *db = NULL;
        size_t bytes = 0;

        must(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK, "open");
        must(sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK, sql);
        while (sqlite3_step(statement) == SQLITE_ROW) {
                bytes += (size_t)sqlite3_column_bytes(statement, 1) + (size_t)sqlite3_column_bytes(statement, 2);
                must(sqlite3_column_blob(statement, 3), "read");
                bytes += (size_t)sqlite3_column_bytes(statement, 3);
        }
        sqlite3_finalize(statement);
        sqlite3_close(db);
        printf("%.1f %zu\n", (double)(clock_monotonic_us(clock_system()) - begin) / 1000, bytes);
        return 0;
}

int main(int argc, char **argv)
{
        if (argc == 4 && strcmp(argv[1], "fill") == 0)
                return fill(argv[2], (unsigned)strtoul(argv[3], NULL, 10));
        if (argc == 3 && strcmp(argv[1], "read") == 0)
                return read_bare(argv[2]);
        (void)fprintf(stderr, "usage: fleet fill STORE MACHINES | fleet read STORE\n");
        return 2;
}
