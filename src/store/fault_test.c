/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/limits.h"
#include "generated/api_types.h"
#include "store/faulty_vfs_test.h"
#include "store/world_test.h"

#include <string.h>
#include <unistd.h>

/* What is acknowledged is durable, what fails ends the store: with the n-th call failing, for every n. */

#define MAPS     (&api_config_map_kind)
#define N_WRITES 4

/* --- a driver whose n-th persist() fails, before or after the inner one has done its work
 * ------------------------------------------- */

struct faulty_driver {
        struct driver driver; /* first */
        struct driver_ops ops;
        struct driver *inner;
        int left;
        bool after;
};

static struct driver *inner_driver(struct driver *driver)
{
        return ((struct faulty_driver *)driver)->inner;
}

static int fault_persist(struct driver *driver, struct commit *const *commits, size_t n_commits)
{
        struct faulty_driver *faulty = (struct faulty_driver *)driver;
        bool fails = --faulty->left == 0;

        if (fails && !faulty->after)
                return -EIO;
        g_assert_cmpint(faulty->inner->ops->persist(faulty->inner, commits, n_commits), ==, 0);
        return fails ? -EIO : 0;
}

static int fault_load(struct driver *driver, const struct driver_loader *loader, struct driver_state *ret_state)
{
        return inner_driver(driver)->ops->load(inner_driver(driver), loader, ret_state);
}

static int fault_fetch(struct driver *driver, uint64_t revision, int (*each)(const struct row_record *record, void *userdata),
                       void *userdata)
{
        return inner_driver(driver)->ops->fetch(inner_driver(driver), revision, each, userdata);
}

static int fault_history(struct driver *driver, const struct history_query *query)
{
        return inner_driver(driver)->ops->history(inner_driver(driver), query);
}

static int fault_compact(struct driver *driver, const struct retention *retention)
{
        return inner_driver(driver)->ops->compact(inner_driver(driver), retention);
}

static const char *fault_words(struct driver *driver)
{
        return "the disk is on fire";
}

static struct driver *fault_close(struct driver *driver)
{
        inner_driver(driver)->ops->close(inner_driver(driver));
        g_free(driver);
        return NULL;
}

static void open_faulty(struct world *w, int nth, bool after)
{
        struct faulty_driver *faulty = g_new0(struct faulty_driver, 1);

        world_close(w);
        g_assert_cmpint(w->path ? driver_sqlite_new(w->path, &faulty->inner, NULL) : driver_memory_new(&faulty->inner), ==, 0);
        faulty->ops = (struct driver_ops){
                .blocks = faulty->inner->ops->blocks,
                .persist = fault_persist,
                .load = fault_load,
                .fetch = fault_fetch,
                .history = fault_history,
                .compact = fault_compact,
                .words = fault_words,
                .close = fault_close,
        };
        faulty->driver.ops = &faulty->ops;
        faulty->left = nth;
        faulty->after = after;
        g_assert_cmpint(store_open_driver(&faulty->driver, &w->options, &w->store), ==, 0);
}

/* --- N_WRITES creates, one after the other
 * ------------------------------------------------------------------------------------------ */

/* How many were acknowledged. All behind the first failure must be refused. */
static unsigned write_all(struct world *w)
{
        unsigned acknowledged = 0;
        bool failed = false;

        for (unsigned i = 0; i < N_WRITES; i++) {
                g_autofree char *name = g_strdup_printf("m%u", i);
                struct store_op op = {.verb = STORE_CREATE, .kind = MAPS, .namespace = "ns", .name = name};
                struct world_result result;
                autostoreobject newest = NULL;

                op.doc = world_doc(MAPS, "ns", name, "x");
                result = world_commit(w, &op, 1, NULL, 0);
                if (failed) {
                        g_assert_cmpint(result.outcome, ==, STORE_E_FAILED);
                        continue;
                }
                g_assert_cmpint(result.outcome, ==, 0);
                newest = store_get_newest(w->store, MAPS, "ns", name);
                failed = result.result < 0;
                g_assert_true((newest == NULL) == failed);
                g_assert_cmpstr(world_text(w, MAPS, "ns", name), ==, failed ? "-" : "x");
                acknowledged += !failed;
        }
        g_assert_cmpuint(w->failures, ==, failed);
        g_assert_cmpuint(store_count(w->store, MAPS, NULL), ==, acknowledged);
        return acknowledged;
}

/* After a healthy start again: all that was acknowledged, and at most the one whose outcome was unknown. */
static unsigned count_durable(struct world *w, unsigned acknowledged)
{
        unsigned n;

        world_reopen(w);
        n = (unsigned)store_count(w->store, MAPS, NULL);
        g_assert_cmpuint(n, >=, acknowledged);
        g_assert_cmpuint(n, <=, acknowledged + 1);
        g_assert_cmpuint(store_revision(w->store), ==, 1 + n);
        for (unsigned i = 0; i < n; i++) {
                g_autofree char *name = g_strdup_printf("m%u", i);

                g_assert_cmpstr(world_text(w, MAPS, "ns", name), ==, "x");
        }
        g_assert_cmpuint(world_create(w, MAPS, "ns", "after", "x"), ==, 2 + n);
        return n;
}

static void test_nothing_is_acknowledged_from_the_failure_on(void)
{
        for (int sqlite = 0; sqlite < 2; sqlite++)
                for (int after = 0; after < 2; after++)
                        for (int nth = 1; nth <= N_WRITES + 1; nth++) {
                                g_autoptr(world) w = world_new(sqlite);
                                unsigned acknowledged;

                                open_faulty(w, nth, after);
                                acknowledged = write_all(w);
                                g_assert_cmpuint(acknowledged, ==, nth - 1);
                                if (nth <= N_WRITES)
                                        g_assert_cmpstr(w->failure_words, ==, "the disk is on fire");
                                if (sqlite)
                                        g_assert_cmpuint(count_durable(w, acknowledged), ==,
                                                         acknowledged + (nth <= N_WRITES && after));
                        }
}

static void note_done(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        g_string_append_printf(userdata, "%s %s;", objects[0]->name, result < 0 ? "lost" : "done");
}

static void test_all_that_wait_are_told_once_and_in_order(void)
{
        for (int sqlite = 0; sqlite < 2; sqlite++) {
                g_autoptr(world) w = world_new(sqlite);
                struct store_watch *watch;

                open_faulty(w, 1, false);
                g_assert_cmpint(store_watch(w->store, NULL, 1, world_trace_event, w, &watch), ==, 0);
                world_wait_trace(w, "=;");
                for (unsigned i = 0; i < 4; i++) {
                        const char *name = (const char *const[]){"a", "b", "c", "d"}[i];
                        struct store_op op = {.verb = STORE_CREATE, .kind = MAPS, .namespace = "ns", .name = name};
                        struct store_txn txn = {.ops = &op, .n_ops = 1};

                        op.doc = world_doc(MAPS, "ns", name, "x");
                        g_assert_cmpint(store_commit(w->store, &txn, note_done, w->trace, NULL), ==, 0);
                }
                world_wait_trace(w, "=;a lost;b lost;c lost;d lost;");
                while (w->failures == 0)
                        g_assert_cmpint(loop_run_once(w->loop, WORLD_PATIENCE_US), >, 0);
                store_watch_free(watch);
                world_close(w);
                g_assert_cmpuint(w->failures, ==, 1);
        }
}

/* --- the same below SQLite
 * ------------------------------------------------------------------------------------------------------------ */

static void run_with_fault(enum faulty_call call, unsigned nth, bool for_good, bool *ret_hit)
{
        g_autoptr(world) w = world_new(true);
        unsigned acknowledged;

        faulty_vfs_arm(call, FAULTY_FAILS, nth, for_good);
        acknowledged = write_all(w);
        *ret_hit = faulty_vfs_hit();
        g_assert_true(*ret_hit == (acknowledged < N_WRITES));
        world_close(w);
        faulty_vfs_arm(call, FAULTY_FAILS, 0, false);
        g_assert_cmpint(world_open(w), ==, 0);
        count_durable(w, acknowledged);
}

static void test_a_file_system_that_fails_takes_nothing_back(void)
{
        static const enum faulty_call calls[] = {FAULTY_WAL_WRITE, FAULTY_WAL_SYNC};

        faulty_vfs_register();
        for (size_t i = 0; i < G_N_ELEMENTS(calls); i++)
                for (int for_good = 0; for_good < 2; for_good++) {
                        bool hit = true;

                        for (unsigned nth = 1; hit; nth++)
                                run_with_fault(calls[i], nth, for_good, &hit);
                }
        faulty_vfs_unregister();
}

static void test_opening_on_a_file_system_that_fails_is_refused(void)
{
        faulty_vfs_register();
        for (enum faulty_call call = 0; call < FAULTY_N_CHANGES; call++) {
                bool hit = true;

                for (unsigned nth = 1; hit; nth++) {
                        g_autoptr(world) w = world_new(true);
                        g_autofree char *path = g_build_filename(w->folder, "other.db", NULL);
                        g_autoptr(store) store = NULL;
                        int r;

                        faulty_vfs_arm(call, FAULTY_FAILS, nth, true);
                        r = store_open_sqlite(path, &w->options, &store);
                        hit = faulty_vfs_hit();
                        g_assert_true(hit ? r < 0 : r == 0);
                        faulty_vfs_arm(call, FAULTY_FAILS, 0, false);
                }
        }
        faulty_vfs_unregister();
}

static void test_a_checkpoint_that_fails_ends_the_store(void)
{
        static const enum faulty_call calls[] = {FAULTY_DB_WRITE, FAULTY_DB_SYNC};
        g_autofree char *large = g_strnfill(LIMIT_OBJECT_BYTES - 1000, 'x');

        faulty_vfs_register();
        for (size_t i = 0; i < G_N_ELEMENTS(calls); i++) {
                g_autoptr(world) w = world_new(true);
                unsigned acknowledged = 0;

                faulty_vfs_arm(calls[i], FAULTY_FAILS, 1, false);
                while (w->failures == 0) {
                        g_autofree char *name = g_strdup_printf("m%u", acknowledged);
                        struct store_op op = {.verb = STORE_CREATE, .kind = MAPS, .namespace = "ns", .name = name};
                        struct world_result result;

                        op.doc = world_doc(MAPS, "ns", name, large);
                        result = world_commit(w, &op, 1, NULL, 0);
                        acknowledged += result.outcome == 0 && result.result == 0;
                        g_assert_cmpuint(acknowledged, <, 40);
                }
                g_assert_true(faulty_vfs_hit());
                world_reopen(w);
                g_assert_cmpuint(store_count(w->store, MAPS, NULL), ==, acknowledged);
        }
        faulty_vfs_unregister();
}

int main(int argc, char **argv)
{
        /* Some hundred databases, none of which need outlive a power cut: memory does, where there is room. */
        if (access("/dev/shm", W_OK) == 0)
                g_setenv("TMPDIR", "/dev/shm", TRUE);
        g_test_init(&argc, &argv, NULL);
#define TEST(sentence) g_test_add_func("/store_faults/" #sentence, test_##sentence)
        TEST(nothing_is_acknowledged_from_the_failure_on);
        TEST(all_that_wait_are_told_once_and_in_order);
        TEST(a_file_system_that_fails_takes_nothing_back);
        TEST(opening_on_a_file_system_that_fails_is_refused);
        TEST(a_checkpoint_that_fails_ends_the_store);
        return g_test_run();
}
