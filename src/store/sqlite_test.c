/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/file.h"
#include "base/limits.h"
#include "generated/api_types.h"
#include "store/world_test.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* What only the SQLite driver has: restarts, files, sealing at rest, compaction, damage. */

#define MAPS    (&api_config_map_kind)
#define LEASES  (&api_lease_kind)
#define SECRETS (&api_secret_kind)

static void test_a_restart_keeps_objects_revisions_and_the_ring(void)
{
        g_autoptr(world) w = world_new(true);
        struct store_watch *watch;
        autostoreobject object = NULL;

        world_create(w, MAPS, "ns", "a", "1");
        world_create(w, MAPS, "ns", "b", "1");
        world_update(w, MAPS, "ns", "a", "2");
        world_delete(w, MAPS, "ns", "b");
        world_create(w, LEASES, "ns", "l", "1");
        world_reopen(w);
        g_assert_cmpuint(store_revision(w->store), ==, 6);
        g_assert_cmpstr(world_text(w, MAPS, "ns", "a"), ==, "2");
        g_assert_cmpstr(world_text(w, MAPS, "ns", "b"), ==, "-");
        object = store_get(w->store, MAPS, "ns", "a");
        g_assert_cmpuint(object->revision, ==, 4);
        g_assert_cmpuint(object->created_revision, ==, 2);
        g_assert_cmpstr(object->uid, ==, "uid-a");
        g_assert_cmpuint(store_oldest_revision(w->store), ==, 1);
        g_assert_cmpint(store_watch(w->store, NULL, 1, world_trace_event, w, &watch), ==, 0);
        world_wait_trace(w, "C2 a=1;C3 b=1;U4 a=2;D5 b=1;C6 l=1;=;");
        g_assert_cmpuint(world_update(w, MAPS, "ns", "a", "3"), ==, 7);
        store_watch_free(watch);
}

static void test_an_empty_store_can_be_opened_again(void)
{
        g_autoptr(world) w = world_new(true);

        g_assert_cmpint(store_compact(w->store), ==, 0);
        world_reopen(w);
        g_assert_cmpuint(store_revision(w->store), ==, 1);
        g_assert_cmpuint(world_create(w, MAPS, "ns", "a", "1"), ==, 2);
}

static void test_files_are_the_owners_alone(void)
{
        g_autoptr(world) w = world_new(true);
        static const char *const suffixes[] = {"", "-wal", "-shm", "-lock"};

        world_create(w, MAPS, "ns", "a", "1");
        for (size_t i = 0; i < G_N_ELEMENTS(suffixes); i++) {
                g_autofree char *path = g_strconcat(w->path, suffixes[i], NULL);
                struct stat st;

                g_assert_cmpint(stat(path, &st), ==, 0);
                g_assert_cmpint(st.st_mode & 07777, ==, 0600);
        }
}

static void test_a_second_opener_is_refused(void)
{
        g_autoptr(world) w = world_new(true);
        g_autoptr(store) second = NULL;

        g_assert_cmpint(store_open_sqlite(w->path, &w->options, &second), ==, STORE_E_LOCKED);
        world_close(w);
        g_assert_cmpint(store_open_sqlite(w->path, &w->options, &second), ==, 0);
}

static void test_a_newer_store_is_refused_and_left_alone(void)
{
        g_autoptr(world) w = world_new(true);
        g_autofree char *before = NULL, *after = NULL;
        size_t before_len, after_len;

        world_create(w, MAPS, "ns", "a", "1");
        world_close(w);
        world_sql(w, "UPDATE meta SET value = 3 WHERE name = 'schema_version'");
        g_assert_cmpint(file_read(w->path, 1 << 20, &before, &before_len), ==, 0);
        g_assert_cmpint(world_open(w), ==, STORE_E_NEWER);
        g_assert_cmpint(file_read(w->path, 1 << 20, &after, &after_len), ==, 0);
        g_assert_cmpmem(before, before_len, after, after_len);
}

static void test_damage_is_told(void)
{
        static const struct {
                const char *sql;   /* or NULL */
                const char *bytes; /* the file instead */
        } cases[] = {
                {NULL, "this is not a database at all, but it is long enough to look at, and then some more text to be sure of it"},
                {"DROP TABLE meta", NULL},
                {"DELETE FROM meta WHERE name = 'schema_version'", NULL},
                {"DELETE FROM log WHERE revision = 2", NULL},
                {"DELETE FROM log WHERE revision = 3", NULL},
                {"UPDATE log SET object = NULL WHERE revision = 3", NULL},
                {"UPDATE log SET verb = 7 WHERE revision = 3", NULL},
                {"DELETE FROM meta WHERE name = 'window'", NULL},
                {"UPDATE meta SET value = 90 WHERE name = 'window'", NULL},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(world) w = world_new(true);

                world_create(w, MAPS, "ns", "a", "1");
                world_update(w, MAPS, "ns", "a", "2");
                world_close(w);
                if (cases[i].sql)
                        world_sql(w, cases[i].sql);
                else
                        g_assert_cmpint(file_write_atomic(w->path, cases[i].bytes, strlen(cases[i].bytes), 0600), ==, 0);
                g_assert_cmpint(world_open(w), ==, STORE_E_CORRUPT);
        }
}

static void test_a_damaged_page_is_told(void)
{
        g_autoptr(world) w = world_new(true);
        g_autofree char *text = NULL;
        size_t len;

        for (int i = 0; i < 50; i++) {
                g_autofree char *name = g_strdup_printf("a%d", i);

                world_create(w, MAPS, "ns", name, "some text to fill pages with");
        }
        world_close(w);
        g_assert_cmpint(file_read(w->path, 8 << 20, &text, &len), ==, 0);
        g_assert_cmpuint(len, >, 5 * 4096);
        memset(text + 4 * 4096, 0x5a, 512);
        g_assert_cmpint(file_write_atomic(w->path, text, len, 0600), ==, 0);
        g_assert_cmpint(world_open(w), ==, STORE_E_CORRUPT);
}

static void test_rows_of_kinds_that_this_program_does_not_know_survive(void)
{
        g_autoptr(world) w = world_new(true);
        struct store_watch *watch;

        world_create(w, MAPS, "ns", "a", "1");
        world_create(w, MAPS, "ns", "b", "1");
        world_close(w);
        world_sql(w, "UPDATE log SET key = 'futures.example.org/ns/a', sum = NULL WHERE revision = 2");
        world_sql(w, "UPDATE objects SET key = 'futures.example.org/ns/a' WHERE revision = 2");
        g_assert_cmpint(world_open(w), ==, 0);
        g_assert_cmpint(store_watch(w->store, NULL, 1, world_trace_event, w, &watch), ==, 0);
        world_wait_trace(w, "C3 b=1;=;");
        store_watch_free(watch);
        g_assert_cmpint(store_compact(w->store), ==, 0);
        world_close(w);
        g_assert_cmpint(world_sql(w, "SELECT count(*) FROM objects JOIN log USING (revision) WHERE object IS NOT NULL"), ==, 2);
}

/* --- sealing
 * ------------------------------------------------------------------------------------------------------------------------ */

static int seal(void *userdata, const char *plain, size_t len, char **ret_sealed, size_t *ret_len)
{
        char *sealed = g_malloc(len + 1);

        for (size_t i = 0; i < len; i++)
                sealed[i + 1] = (char)(plain[i] ^ 0x55);
        sealed[0] = *(const char *)userdata;
        *ret_sealed = sealed;
        *ret_len = len + 1;
        return 0;
}

static int unseal(void *userdata, const char *sealed, size_t len, char **ret_plain, size_t *ret_len)
{
        char *plain;

        if (len == 0 || sealed[0] != *(const char *)userdata)
                return -EKEYREJECTED;
        plain = g_malloc(len);
        for (size_t i = 1; i < len; i++)
                plain[i - 1] = (char)(sealed[i] ^ 0x55);
        *ret_plain = plain;
        *ret_len = len - 1;
        return 0;
}

static bool file_holds(struct world *w, const char *suffix, const char *needle)
{
        g_autofree char *path = g_strconcat(w->path, suffix, NULL), *text = NULL;
        size_t len;

        if (file_read(path, 64 << 20, &text, &len) < 0)
                return false;
        return memmem(text, len, needle, strlen(needle));
}

static void test_secrets_are_sealed_at_rest_and_only_there(void)
{
        g_autoptr(world) w = world_new(true);
        char right = 'k', wrong = 'w';

        world_close(w);
        w->options.seal = seal;
        w->options.unseal = unseal;
        w->options.seal_userdata = &right;
        g_assert_cmpint(world_open(w), ==, 0);
        world_create(w, SECRETS, "ns", "s", "cGxhaW50ZXh0");
        world_update(w, SECRETS, "ns", "s", "c2Vjb25kdGV4dA==");
        world_create(w, MAPS, "ns", "m", "in-the-clear");
        g_assert_cmpstr(world_text(w, SECRETS, "ns", "s"), ==, "c2Vjb25kdGV4dA==");
        g_assert_true(file_holds(w, "-wal", "in-the-clear"));
        g_assert_false(file_holds(w, "-wal", "cGxhaW50ZXh0"));
        world_reopen(w);
        g_assert_cmpstr(world_text(w, SECRETS, "ns", "s"), ==, "c2Vjb25kdGV4dA==");
        world_delete(w, SECRETS, "ns", "s");
        world_close(w);
        g_assert_true(file_holds(w, "", "in-the-clear"));
        g_assert_false(file_holds(w, "", "cGxhaW50ZXh0"));
        g_assert_false(file_holds(w, "", "c2Vjb25kdGV4dA"));
        w->options.seal_userdata = &wrong;
        g_assert_cmpint(world_open(w), ==, -EKEYREJECTED);
        w->options.unseal = NULL;
        g_assert_cmpint(world_open(w), ==, -ENOKEY);
}

static int seal_nothing(void *userdata, const char *plain, size_t len, char **ret_sealed, size_t *ret_len)
{
        return -EIO;
}

static void test_what_cannot_be_sealed_is_not_accepted(void)
{
        g_autoptr(world) w = world_new(true);
        struct store_op op = {.verb = STORE_CREATE, .kind = SECRETS, .namespace = "ns", .name = "s"};

        world_close(w);
        w->options.seal = seal_nothing;
        g_assert_cmpint(world_open(w), ==, 0);
        op.doc = world_doc(SECRETS, "ns", "s", "x");
        g_assert_cmpint(world_commit(w, &op, 1, NULL, 0).outcome, ==, -EIO);
        g_assert_null(store_get_newest(w->store, SECRETS, "ns", "s"));
        world_create(w, MAPS, "ns", "m", "x");
}

/* --- compaction
 * ----------------------------------------------------------------------------------------------------------------------- */

/* Lets everything up to the newest QUIET events leave the ring. */
static void push_out_of_the_ring(struct world *w)
{
        if (g_str_equal(world_text(w, LEASES, "ns", "pusher"), "-"))
                world_create(w, LEASES, "ns", "pusher", "x");
        else
                world_update(w, LEASES, "ns", "pusher", "x");
        world_update_often(w, LEASES, "ns", "pusher", LIMIT_STORE_EVENT_RING_QUIET - 1);
        w->now_us += LIMIT_STORE_EVENT_RING_QUIET_US + 10 * LIMIT_STORE_EVENT_RING_QUIET;
        world_update(w, LEASES, "ns", "pusher", "x");
}

static void test_compaction_strips_rows_that_left_the_window(void)
{
        g_autoptr(world) w = world_new(true);
        struct store_watch *watch;

        world_create(w, MAPS, "ns", "a", "1"); /* 2 */
        world_update(w, MAPS, "ns", "a", "2"); /* 3 */
        world_create(w, LEASES, "ns", "l", "1");
        world_update(w, LEASES, "ns", "l", "2"); /* 5 */
        world_create(w, LEASES, "ns", "m", "1");
        world_delete(w, LEASES, "ns", "m"); /* 7 */
        world_create(w, MAPS, "ns", "b", "1");
        world_delete(w, MAPS, "ns", "b"); /* 9 */
        push_out_of_the_ring(w);
        g_assert_cmpuint(store_oldest_revision(w->store), ==, 10);
        g_assert_cmpint(store_compact(w->store), ==, 0);
        world_close(w);
        /* Of the first nine: history rows of maps without bytes, but for what is current; of leases only the current one. */
        g_assert_cmpint(
                world_sql(w, "SELECT group_concat(revision, '') FROM (SELECT revision FROM log WHERE revision < 10 ORDER BY 1)"),
                ==, 23589);
        g_assert_cmpint(world_sql(w, "SELECT group_concat(revision, '') FROM (SELECT revision FROM log WHERE revision < 10 AND "
                                     "object IS NOT NULL "
                                     "ORDER BY 1)"),
                        ==, 35);
        g_assert_cmpint(world_open(w), ==, 0);
        g_assert_cmpuint(store_oldest_revision(w->store), ==, 10);
        g_assert_cmpstr(world_text(w, MAPS, "ns", "a"), ==, "2");
        g_assert_cmpstr(world_text(w, LEASES, "ns", "l"), ==, "2");
        g_assert_cmpint(store_watch(w->store, NULL, 9, world_trace_event, w, &watch), ==, STORE_E_GONE);
        g_assert_cmpint(store_watch(w->store, NULL, 10, world_trace_event, w, &watch), ==, 0);
        while (!g_str_has_suffix(w->trace->str, "=;"))
                g_assert_cmpint(loop_run_once(w->loop, WORLD_PATIENCE_US), >, 0);
        g_assert_true(g_str_has_prefix(w->trace->str, "U11 pusher=x;U12 pusher=x;"));
        store_watch_free(watch);
}

static void test_history_goes_by_age_and_number(void)
{
        g_autoptr(world) w = world_new(true);

        world_close(w);
        w->options.history_days = 10;
        w->options.history_per_object = 3;
        g_assert_cmpint(world_open(w), ==, 0);
        world_create(w, MAPS, "ns", "live", "0");
        for (int i = 0; i < 6; i++)
                world_update(w, MAPS, "ns", "live", "x");
        world_create(w, MAPS, "ns", "dead", "0");
        world_delete(w, MAPS, "ns", "dead");
        push_out_of_the_ring(w);
        g_assert_cmpint(store_compact(w->store), ==, 0);
        world_close(w);
        g_assert_cmpint(world_sql(w, "SELECT count(*) FROM log WHERE keep = 2"), ==, 9);
        g_assert_cmpint(world_open(w), ==, 0);
        w->now_us += 11 * 86400000000ull;
        world_update(w, MAPS, "ns", "live", "young");
        push_out_of_the_ring(w);
        g_assert_cmpint(store_compact(w->store), ==, 0);
        world_close(w);
        /* The young one, and of the old ones as many as make three; all of the dead one is old enough. */
        g_assert_cmpint(world_sql(w, "SELECT count(*) FROM log WHERE keep = 2 AND key = 'configmaps./ns/live'"), ==, 3);
        g_assert_cmpint(world_sql(w, "SELECT count(*) FROM log WHERE keep = 2"), ==, 3);
        g_assert_cmpint(world_open(w), ==, 0);
        g_assert_cmpstr(world_text(w, MAPS, "ns", "live"), ==, "young");
}

static void test_volatile_rows_go_when_they_are_overtaken(void)
{
        g_autoptr(world) w = world_new(true);
        const struct schema_kind *instances = &api_instance_kind;

        world_write(w, STORE_CREATE, instances, NULL, "i-1", world_instance("i-1", 1, 0));
        for (int i = 1; i < 10; i++)
                world_write(w, STORE_UPDATE, instances, NULL, "i-1", world_instance("i-1", 1, i));
        push_out_of_the_ring(w);
        g_assert_cmpint(store_compact(w->store), ==, 0);
        world_close(w);
        g_assert_cmpint(world_sql(w, "SELECT count(*) FROM log WHERE keep > 0"), ==, 2);
        g_assert_cmpint(world_sql(w, "SELECT sum(revision) FROM log WHERE keep > 0"), ==, 2 + 11);
        g_assert_cmpint(world_open(w), ==, 0);
        g_assert_cmpuint(store_count(w->store, instances, NULL), ==, 1);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
#define TEST(sentence) g_test_add_func("/sqlite/" #sentence, test_##sentence)
        TEST(a_restart_keeps_objects_revisions_and_the_ring);
        TEST(an_empty_store_can_be_opened_again);
        TEST(files_are_the_owners_alone);
        TEST(a_second_opener_is_refused);
        TEST(a_newer_store_is_refused_and_left_alone);
        TEST(damage_is_told);
        TEST(a_damaged_page_is_told);
        TEST(rows_of_kinds_that_this_program_does_not_know_survive);
        TEST(secrets_are_sealed_at_rest_and_only_there);
        TEST(what_cannot_be_sealed_is_not_accepted);
        TEST(compaction_strips_rows_that_left_the_window);
        TEST(history_goes_by_age_and_number);
        TEST(volatile_rows_go_when_they_are_overtaken);
        return g_test_run();
}
