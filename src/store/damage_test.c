/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/file.h"
#include "base/limits.h"
#include "generated/api_types.h"
#include "store/faulty_vfs_test.h"
#include "store/world_test.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Disks that are full, writes that are torn, reads that fall short, bits that flip: refused in words, or nothing is missing. */

#define MAPS     (&api_config_map_kind)
#define N_WRITES 5
#define N_FLIPS  500u

/* What a store that was closed has: consecutive revisions up to @revision, nothing that SQLite finds fault with. */
static void check_log(struct world *w, uint64_t revision)
{
        g_assert_cmpint(world_sql(w, "SELECT count(*) FROM log"), ==, revision - 1);
        g_assert_cmpint(world_sql(w, "SELECT max(revision) FROM log"), ==, revision);
        g_assert_cmpint(world_sql(w, "SELECT integrity_check = 'ok' FROM pragma_integrity_check"), ==, 1);
}

static int try_create(struct world *w, unsigned i)
{
        g_autofree char *name = g_strdup_printf("m%u", i);
        struct store_op op = {.verb = STORE_CREATE, .kind = MAPS, .namespace = "ns", .name = name};
        struct world_result result;

        op.doc = world_doc(MAPS, "ns", name, "x");
        result = world_commit(w, &op, 1, NULL, 0);
        g_assert_cmpint(result.outcome, ==, 0);
        return result.result;
}

/* --- a full disk
 * -------------------------------------------------------------------------------------------------------------------- */

struct fullness {
        unsigned told, over;
        char *words;
};

static void note_full(const char *words, void *userdata)
{
        struct fullness *fullness = userdata;

        if (!words) {
                fullness->over++;
                return;
        }
        fullness->told++;
        g_free(fullness->words);
        fullness->words = g_strdup(words);
}

static struct world *open_with(struct fullness *fullness)
{
        struct world *w = world_new(true);

        w->options.full = note_full;
        w->options.full_userdata = fullness;
        world_reopen(w);
        return w;
}

static void run_on_a_full_disk(unsigned nth, bool for_good, bool *ret_hit)
{
        struct fullness fullness = {0};
        g_autoptr(world) w = open_with(&fullness);
        unsigned there = 0, refused = 0;
        uint64_t revision;

        faulty_vfs_arm(FAULTY_WAL_WRITE, FAULTY_FULL, nth, for_good);
        for (unsigned i = 0; i < N_WRITES; i++) {
                int r = try_create(w, i);

                g_assert_true(r == 0 || r == -ENOSPC);
                there += r == 0;
                refused += r != 0;
        }
        *ret_hit = faulty_vfs_hit();
        g_assert_true(*ret_hit == (refused > 0));
        g_assert_true(for_good || refused <= 1);
        g_assert_cmpuint(fullness.told, ==, refused);
        if (refused)
                g_assert_nonnull(strstr(fullness.words, "store.db: "));
        if (refused)
                g_assert_nonnull(strstr(fullness.words, g_strerror(ENOSPC)));
        g_assert_cmpuint(store_count(w->store, MAPS, NULL), ==, there);
        faulty_vfs_arm(FAULTY_WAL_WRITE, FAULTY_FULL, 0, false);
        /* There is room again: what was refused can be written, with the revision that follows. */
        for (unsigned i = 0; i < N_WRITES; i++) {
                g_autofree char *name = g_strdup_printf("m%u", i);

                if (g_str_equal(world_text(w, MAPS, "ns", name), "-"))
                        g_assert_cmpint(try_create(w, i), ==, 0);
        }
        revision = store_revision(w->store);
        g_assert_cmpuint(revision, ==, 1 + N_WRITES);
        g_assert_cmpuint(fullness.over, ==, refused > 0);
        g_assert_cmpuint(w->failures, ==, 0);
        world_reopen(w);
        g_assert_cmpuint(store_count(w->store, MAPS, NULL), ==, N_WRITES);
        world_close(w);
        check_log(w, revision);
        g_free(fullness.words);
}

static void test_a_full_disk_refuses_writes_and_takes_them_again(void)
{
        faulty_vfs_register();
        for (int for_good = 0; for_good < 2; for_good++) {
                bool hit = true;

                for (unsigned nth = 1; hit; nth++)
                        run_on_a_full_disk(nth, for_good, &hit);
        }
        faulty_vfs_unregister();
}

static void note_done(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        g_string_append_printf(userdata, "%s %s;", objects[0]->name, result == 0 ? "done" : result == -ENOSPC ? "full" : "lost");
}

static void submit(struct world *w, enum store_verb verb, const char *name, uint64_t expect)
{
        struct store_op op = {.verb = verb, .kind = MAPS, .namespace = "ns", .name = name, .expect_revision = expect};
        struct store_txn txn = {.ops = &op, .n_ops = 1};

        op.doc = world_doc(MAPS, "ns", name, "y");
        g_assert_cmpint(store_commit(w->store, &txn, note_done, w->trace, NULL), ==, 0);
}

static void test_what_was_accepted_behind_a_refused_write_is_refused_too(void)
{
        struct fullness fullness = {0};
        g_autoptr(world) w = NULL;

        faulty_vfs_register();
        w = open_with(&fullness);
        world_create(w, MAPS, "ns", "a", "x");
        faulty_vfs_arm(FAULTY_WAL_WRITE, FAULTY_FULL, 1, false);
        /* The second and third are accepted on top of the first, which is not to be. */
        submit(w, STORE_UPDATE, "a", 2);
        submit(w, STORE_UPDATE, "a", 3);
        submit(w, STORE_CREATE, "b", 0);
        world_wait_trace(w, "a full;a full;b full;");
        g_assert_cmpstr(world_text(w, MAPS, "ns", "a"), ==, "x");
        /* The newest state is the published one again. */
        submit(w, STORE_UPDATE, "a", 2);
        submit(w, STORE_CREATE, "b", 0);
        world_wait_trace(w, "a full;a full;b full;a done;b done;");
        g_assert_cmpuint(store_revision(w->store), ==, 4);
        world_close(w);
        check_log(w, 4);
        faulty_vfs_unregister();
        g_free(fullness.words);
}

static void test_watches_see_nothing_of_a_refused_write(void)
{
        struct fullness fullness = {0};
        g_autoptr(world) w = NULL;
        struct store_watch *watch;

        faulty_vfs_register();
        w = open_with(&fullness);
        g_assert_cmpint(store_watch(w->store, NULL, 1, world_trace_event, w, &watch), ==, 0);
        g_assert_cmpint(try_create(w, 0), ==, 0);
        faulty_vfs_arm(FAULTY_WAL_WRITE, FAULTY_FULL, 1, false);
        g_assert_cmpint(try_create(w, 1), ==, -ENOSPC);
        g_assert_cmpint(try_create(w, 2), ==, 0);
        store_watch_free(watch);
        world_reopen(w);
        g_assert_cmpint(store_watch(w->store, NULL, 1, world_trace_event, w, &watch), ==, 0);
        world_wait_trace(w, "=;C2 m0=x;C3 m2=x;C2 m0=x;C3 m2=x;=;");
        store_watch_free(watch);
        faulty_vfs_unregister();
        g_free(fullness.words);
}

static void test_a_checkpoint_without_room_is_made_later(void)
{
        struct fullness fullness = {0};
        g_autofree char *large = g_strnfill(LIMIT_OBJECT_BYTES - 1000, 'x');
        g_autoptr(world) w = NULL;

        faulty_vfs_register();
        w = open_with(&fullness);
        faulty_vfs_arm(FAULTY_DB_WRITE, FAULTY_FULL, 1, true);
        for (unsigned i = 0; i < 60; i++) {
                g_autofree char *name = g_strdup_printf("l%u", i);

                world_create(w, MAPS, "ns", name, large);
        }
        g_assert_true(faulty_vfs_hit());
        g_assert_cmpuint(w->failures + fullness.told, ==, 0);
        faulty_vfs_arm(FAULTY_DB_WRITE, FAULTY_FULL, 0, false);
        world_reopen(w);
        g_assert_cmpuint(store_count(w->store, MAPS, NULL), ==, 60);
        world_close(w);
        check_log(w, 61);
        faulty_vfs_unregister();
}

/* --- torn writes: the process ends in the middle of one
 * ----------------------------------------------------------------------------- */

/* In a child: creates one after the other, each acknowledged by a byte. The store is closed at the end, so that it checkpoints. */
static void write_until_torn(struct world *w, int fd, enum faulty_call call, unsigned nth)
{
        faulty_vfs_register();
        if (loop_new(&w->loop) < 0) /* the parent's is of no use here */
                _exit(2);
        w->options.loop = w->loop;
        if (world_open(w) != 0)
                _exit(2);
        faulty_vfs_arm(call, FAULTY_TORN, nth, false);
        for (unsigned i = 0; i < N_WRITES; i++)
                if (try_create(w, i) != 0 || write(fd, "x", 1) != 1)
                        _exit(3);
        world_close(w);
        _exit(0);
}

static bool run_torn(enum faulty_call call, unsigned nth)
{
        g_autoptr(world) w = world_new(true);
        unsigned acknowledged = 0;
        int fds[2], status;
        uint64_t revision;
        pid_t pid;
        char byte;

        world_close(w);
        g_assert_cmpint(pipe(fds), ==, 0);
        pid = fork();
        g_assert_cmpint(pid, >=, 0);
        if (pid == 0)
                write_until_torn(w, fds[1], call, nth);
        close(fds[1]);
        while (read(fds[0], &byte, 1) == 1)
                acknowledged++;
        close(fds[0]);
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == FAULTY_TORN_EXIT));
        g_assert_cmpint(world_open(w), ==, 0);
        revision = store_revision(w->store);
        /* None but the one that was cut off may be missing; it may not be half there. */
        g_assert_cmpuint(store_count(w->store, MAPS, NULL), ==, acknowledged);
        g_assert_cmpuint(revision, ==, 1 + acknowledged);
        g_assert_cmpint(try_create(w, 100), ==, 0);
        world_close(w);
        check_log(w, revision + 1);
        return WEXITSTATUS(status) == FAULTY_TORN_EXIT;
}

static void test_a_torn_write_leaves_whole_ones(void)
{
        unsigned n = 0;

        while (run_torn(FAULTY_WAL_WRITE, n + 1))
                n++;
        g_assert_cmpuint(n, >=, 2 * N_WRITES);
        for (n = 0; run_torn(FAULTY_DB_WRITE, n + 1);)
                n++;
        g_assert_cmpuint(n, >, 2);
}

/* --- damage
 * ------------------------------------------------------------------------------------------------------------------------- */

/* Objects that were created, updated and deleted; what watches and lists must say of them. */
static void fill(struct world *w)
{
        for (unsigned i = 0; i < 24; i++) {
                g_autofree char *name = g_strdup_printf("m%u", i);
                g_autofree char *text = g_strnfill(10 + i * 40, (char)('a' + i));

                world_create(w, MAPS, "ns", name, text);
                if (i % 3 == 0)
                        world_update(w, MAPS, "ns", name, "second");
                if (i % 4 == 0)
                        world_delete(w, MAPS, "ns", name);
        }
}

static bool describe_each(const struct store_object *object, void *userdata)
{
        g_string_append_printf(userdata, "%s %s %s\n", object->key, object->uid, object->bytes);
        return true;
}

/* All that the store can be asked for. */
static char *describe(struct world *w)
{
        GString *text = g_string_new(NULL);
        struct store_watch *watch;

        store_list(w->store, MAPS, NULL, NULL, describe_each, text);
        g_string_truncate(w->trace, 0);
        g_assert_cmpint(store_watch(w->store, NULL, store_oldest_revision(w->store), world_trace_event, w, &watch), ==, 0);
        while (!g_str_has_suffix(w->trace->str, "=;"))
                g_assert_cmpint(loop_run_once(w->loop, WORLD_PATIENCE_US), >, 0);
        store_watch_free(watch);
        g_string_append_printf(text, "%s at %" G_GUINT64_FORMAT, w->trace->str, store_revision(w->store));
        return g_string_free(text, FALSE);
}

/* Refused with words, or all is as it was. Whether it was refused. */
static bool open_damaged(struct world *w, const char *expect, const char *what)
{
        g_autofree char *words = NULL, *found = NULL;
        int r;

        w->options.reterr_words = &words;
        r = world_open(w);
        w->options.reterr_words = NULL;
        if (r != 0) {
                if (!words || !strstr(words, "store.db"))
                        g_error("%s: no words that name the file: %d %s", what, r, words ?: "");
                return true;
        }
        found = describe(w);
        world_close(w);
        if (!g_str_equal(found, expect))
                g_error("%s: silently wrong\n--- found\n%s\n--- instead of\n%s", what, found, expect);
        return false;
}

static void copy_file(const char *from, const char *to)
{
        g_autofree char *bytes = NULL;
        size_t len;

        g_assert_true(g_file_get_contents(from, &bytes, &len, NULL));
        g_assert_true(g_file_set_contents_full(to, bytes, (gssize)len, G_FILE_SET_CONTENTS_NONE, 0600, NULL));
}

/* A copy of an open store as a kill would leave it. */
static struct world *copy_of(struct world *w, bool with_log)
{
        struct world *copy = world_new(true);
        g_autofree char *from = g_strconcat(w->path, "-wal", NULL), *to = g_strconcat(copy->path, "-wal", NULL);

        world_close(copy);
        copy_file(w->path, copy->path);
        if (with_log)
                copy_file(from, to);
        return copy;
}

static void flip(const char *path, size_t place)
{
        g_autofree char *bytes = NULL;
        size_t len;

        g_assert_true(g_file_get_contents(path, &bytes, &len, NULL));
        bytes[place / 8] ^= (char)(1 << place % 8);
        g_assert_true(g_file_set_contents_full(path, bytes, (gssize)len, G_FILE_SET_CONTENTS_NONE, 0600, NULL));
}

static size_t bits_of(const char *path)
{
        g_autofree char *bytes = NULL;
        size_t len;

        g_assert_true(g_file_get_contents(path, &bytes, &len, NULL));
        return len * 8;
}

static void test_a_flipped_bit_of_the_database_is_told_or_harmless(void)
{
        g_autoptr(world) w = world_new(true);
        g_autofree char *expect = NULL;
        uint64_t state = 7;
        struct random_source random = random_seeded(&state);
        unsigned refused = 0;

        fill(w);
        expect = describe(w);
        world_close(w);
        for (unsigned i = 0; i < N_FLIPS; i++) {
                g_autoptr(world) copy = copy_of(w, false);
                size_t place = random_below(&random, bits_of(w->path));
                g_autofree char *what = g_strdup_printf("bit %zu of byte %zu", place % 8, place / 8);

                flip(copy->path, place);
                refused += open_damaged(copy, expect, what);
        }
        g_assert_cmpuint(refused, >, N_FLIPS / 10);
}

/* In the last commit a flipped bit cannot be told from a power cut in the middle of it; before it must be told. */
static void test_a_flipped_bit_of_the_log_is_told_or_harmless(void)
{
        g_autoptr(world) w = world_new(true);
        g_autofree char *wal = g_strconcat(w->path, "-wal", NULL), *expect = NULL;
        uint64_t state = 7;
        struct random_source random = random_seeded(&state);
        unsigned refused = 0;
        size_t before_last;

        fill(w);
        before_last = bits_of(wal);
        world_create(w, MAPS, "ns", "last", "x");
        expect = describe(w);
        for (unsigned i = 0; i < N_FLIPS; i++) {
                g_autoptr(world) copy = copy_of(w, true);
                g_autofree char *copied = g_strconcat(copy->path, "-wal", NULL);
                size_t place = random_below(&random, before_last);
                g_autofree char *what = g_strdup_printf("bit %zu of byte %zu of the log", place % 8, place / 8);

                flip(copied, place);
                refused += open_damaged(copy, expect, what);
        }
        g_assert_cmpuint(refused, >, N_FLIPS / 2);
}

static void test_a_short_read_is_told_or_harmless(void)
{
        static const enum faulty_call calls[] = {FAULTY_DB_READ, FAULTY_WAL_READ};
        static const enum faulty_way ways[] = {FAULTY_SHORT, FAULTY_FAILS};
        g_autoptr(world) w = world_new(true);
        g_autofree char *expect = NULL;

        fill(w);
        expect = describe(w);
        faulty_vfs_register();
        for (size_t i = 0; i < G_N_ELEMENTS(calls) * G_N_ELEMENTS(ways); i++) {
                bool hit = true;

                for (unsigned nth = 1; hit; nth++) {
                        g_autoptr(world) copy = copy_of(w, true);
                        g_autofree char *what = g_strdup_printf("read %u of %zu", nth, i);

                        faulty_vfs_arm(calls[i / 2], ways[i % 2], nth, false);
                        (void)open_damaged(copy, expect, what);
                        hit = faulty_vfs_hit();
                        faulty_vfs_arm(calls[i / 2], FAULTY_FAILS, 0, false);
                }
        }
        faulty_vfs_unregister();
}

int main(int argc, char **argv)
{
        /* A thousand databases, none of which need outlive a power cut. */
        if (access("/dev/shm", W_OK) == 0)
                g_setenv("TMPDIR", "/dev/shm", TRUE);
        g_test_init(&argc, &argv, NULL);
#define TEST(sentence) g_test_add_func("/store_damage/" #sentence, test_##sentence)
        TEST(a_full_disk_refuses_writes_and_takes_them_again);
        TEST(what_was_accepted_behind_a_refused_write_is_refused_too);
        TEST(watches_see_nothing_of_a_refused_write);
        TEST(a_checkpoint_without_room_is_made_later);
        TEST(a_torn_write_leaves_whole_ones);
        TEST(a_flipped_bit_of_the_database_is_told_or_harmless);
        TEST(a_flipped_bit_of_the_log_is_told_or_harmless);
        TEST(a_short_read_is_told_or_harmless);
        return g_test_run();
}
