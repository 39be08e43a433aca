/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/journal.h"

#include "base/file.h"

#include <glib.h>
#include <glib/gstdio.h>

#define UID "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"

static const struct journal_key first = {.kind = "volumes", .name = "v-1-1", .uid = UID, .generation = 1};
static const struct journal_key second = {.kind = "volumes", .name = "v-1-1", .uid = UID, .generation = 2};

struct fixture {
        char *dir;
        struct journal *journal;
};

static void set_up(struct fixture *fixture, const void *data)
{
        fixture->dir = g_dir_make_tmp("gabbro-journal-XXXXXX", NULL);
        g_assert_cmpint(journal_open(fixture->dir, NULL, &fixture->journal), ==, 0);
}

static void tear_down(struct fixture *fixture, const void *data)
{
        journal_free(fixture->journal);
        g_assert_cmpint(file_remove_tree(fixture->dir), ==, 0);
        g_free(fixture->dir);
}

/* As after a kill: nothing but the files. */
static void reopen(struct fixture *fixture)
{
        journal_free(fixture->journal);
        g_assert_cmpint(journal_open(fixture->dir, NULL, &fixture->journal), ==, 0);
}

static unsigned files(const struct fixture *fixture)
{
        g_autoptr(GDir) dir = g_dir_open(fixture->dir, 0, NULL);
        unsigned n = 0;

        while (g_dir_read_name(dir)) {
                n++;
        }
        return n;
}

static void steps_survive_a_kill(struct fixture *fixture, const void *data)
{
        g_assert_cmpint(journal_step(fixture->journal, UID, "create"), ==, JOURNAL_NONE);
        g_assert_cmpint(journal_begin(fixture->journal, &first, "create"), ==, 0);
        reopen(fixture);
        g_assert_cmpint(journal_step(fixture->journal, UID, "create"), ==, JOURNAL_BEGUN);
        g_assert_cmpint(journal_done(fixture->journal, &first, "create"), ==, 0);
        reopen(fixture);
        g_assert_cmpint(journal_step(fixture->journal, UID, "create"), ==, JOURNAL_DONE);
        g_assert_cmpint(journal_step(fixture->journal, UID, "other"), ==, JOURNAL_NONE);
        g_assert_cmpint(journal_undo(fixture->journal, &first, "create"), ==, 0);
        reopen(fixture);
        g_assert_cmpint(journal_step(fixture->journal, UID, "create"), ==, JOURNAL_NONE);
}

static void generations_carry_their_steps_over(struct fixture *fixture, const void *data)
{
        g_assert_cmpint(journal_begin(fixture->journal, &first, "create"), ==, 0);
        g_assert_cmpint(journal_begin(fixture->journal, &second, "grow"), ==, 0);
        g_assert_cmpuint(files(fixture), ==, 1);
        reopen(fixture);
        g_assert_cmpint(journal_step(fixture->journal, UID, "create"), ==, JOURNAL_BEGUN);
        g_assert_cmpint(journal_step(fixture->journal, UID, "grow"), ==, JOURNAL_BEGUN);
}

static void acknowledgement_of_an_older_generation_keeps_the_newer(struct fixture *fixture, const void *data)
{
        g_assert_cmpint(journal_begin(fixture->journal, &second, "create"), ==, 0);
        g_assert_cmpint(journal_drop(fixture->journal, UID, 1), ==, 0);
        g_assert_cmpint(journal_step(fixture->journal, UID, "create"), ==, JOURNAL_BEGUN);
        g_assert_cmpint(journal_drop(fixture->journal, UID, 2), ==, 0);
        g_assert_cmpint(journal_step(fixture->journal, UID, "create"), ==, JOURNAL_NONE);
        g_assert_cmpuint(files(fixture), ==, 0);
        g_assert_cmpint(journal_drop(fixture->journal, UID, 2), ==, 0);
}

static void kill_between_two_generations_keeps_the_newer(struct fixture *fixture, const void *data)
{
        g_autofree char *older = g_strdup_printf("%s/" UID "-1.json", fixture->dir);
        const char *text = "{\"version\":1,\"kind\":\"volumes\",\"name\":\"v-1-1\",\"uid\":\"" UID
                           "\",\"generation\":1,\"steps\":{\"create\":\"begun\"}}";

        g_assert_cmpint(journal_begin(fixture->journal, &second, "create"), ==, 0);
        g_assert_cmpint(journal_done(fixture->journal, &second, "create"), ==, 0);
        g_assert_true(g_file_set_contents(older, text, -1, NULL));
        reopen(fixture);
        g_assert_cmpint(journal_step(fixture->journal, UID, "create"), ==, JOURNAL_DONE);
        g_assert_cmpuint(files(fixture), ==, 1);
}

static void damaged_files_are_moved_aside(struct fixture *fixture, const void *data)
{
        static const char *const texts[] = {"",
                                            "{",
                                            "[]",
                                            "{\"version\":2,\"generation\":1,\"uid\":\"" UID "\"}",
                                            "{\"version\":1,\"generation\":1,\"uid\":\"../../etc/passwd\"}",
                                            "{\"version\":1,\"uid\":\"" UID "\"}"};

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
                g_autofree char *path = g_strdup_printf("%s/x-%zu.json", fixture->dir, i);

                g_assert_true(g_file_set_contents(path, texts[i], -1, NULL));
        }
        reopen(fixture);
        g_assert_cmpuint(journal_length(fixture->journal), ==, 0);
        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
                g_autofree char *path = g_strdup_printf("%s/x-%zu.json.bad", fixture->dir, i);

                g_assert_true(g_file_test(path, G_FILE_TEST_EXISTS));
        }
}

static void write_that_was_cut_short_is_cleaned_up(struct fixture *fixture, const void *data)
{
        g_autofree char *temporary = g_strdup_printf("%s/" UID "-1.json.Ab12Cd", fixture->dir);

        g_assert_cmpint(journal_begin(fixture->journal, &first, "create"), ==, 0);
        g_assert_true(g_file_set_contents(temporary, "{\"ver", -1, NULL));
        reopen(fixture);
        g_assert_cmpint(journal_step(fixture->journal, UID, "create"), ==, JOURNAL_BEGUN);
        g_assert_cmpuint(files(fixture), ==, 1);
}

#define ADD(name) g_test_add("/journal/" #name, struct fixture, NULL, set_up, name, tear_down)

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        ADD(steps_survive_a_kill);
        ADD(generations_carry_their_steps_over);
        ADD(acknowledgement_of_an_older_generation_keeps_the_newer);
        ADD(kill_between_two_generations_keeps_the_newer);
        ADD(damaged_files_are_moved_aside);
        ADD(write_that_was_cut_short_is_cleaned_up);
        return g_test_run();
}
