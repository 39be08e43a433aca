/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/inspect.h"

#include "base/file.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>
#include <utime.h>

/* The folders of an agent without libvirt: what lies in them, and what a look and a repair make of it. */

#define KNOWN  "11111111-1111-4111-8111-111111111111"
#define GONE   "99999999-9999-4999-8999-999999999999"
#define DIGEST "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

struct rig {
        char *dir;
        struct agent agent;
        struct job job;
};

static void free_known(void *data)
{
        struct inspect_intent *intent = data;

        g_free(intent->name);
        g_free(intent->uid);
        g_free(intent);
}

static struct rig *rig_new(void)
{
        static const char *const folders[] = {"seeds", "journal", "images"};
        struct rig *rig = g_new0(struct rig, 1);
        struct inspect_intent *known = g_new0(struct inspect_intent, 1);

        rig->dir = g_dir_make_tmp("gabbro-inspect-XXXXXX", NULL);
        for (size_t i = 0; i < G_N_ELEMENTS(folders); i++) {
                g_autofree char *path = g_build_filename(rig->dir, folders[i], NULL);

                g_assert_cmpint(file_ensure_dir(path, 0700), ==, 0);
        }
        rig->agent.data_dir = rig->dir;
        rig->agent.seed_dir = g_build_filename(rig->dir, "seeds", NULL);
        g_autofree char *journal = g_build_filename(rig->dir, "journal", NULL);
        g_assert_cmpint(journal_open(journal, NULL, &rig->agent.journal), ==, 0);
        *known = (struct inspect_intent){.kind = &api_instance_kind, .name = g_strdup("i-1-0"), .uid = g_strdup(KNOWN)};
        rig->job = (struct job){.agent = &rig->agent, .arena = arena_new(0)};
        rig->job.inspection = g_new0(struct inspection, 1);
        rig->job.inspection->intents = g_ptr_array_new_with_free_func(free_known);
        g_ptr_array_add(rig->job.inspection->intents, known);
        return rig;
}

static struct rig *rig_free(struct rig *rig)
{
        file_remove_tree(rig->dir);
        journal_free(rig->agent.journal);
        inspection_free(rig->job.inspection);
        arena_free(rig->job.arena);
        g_free(rig->agent.seed_dir);
        g_free(rig->dir);
        g_free(rig);
        return NULL;
}
AUTOPTR(rig, rig_free);

static char *put(struct rig *rig, const char *name, bool old)
{
        char *path = g_build_filename(rig->dir, name, NULL);
        struct utimbuf times = {.actime = 1000000000, .modtime = 1000000000};

        g_assert_true(g_file_set_contents(path, name, -1, NULL));
        g_assert_cmpint(old ? utime(path, &times) : 0, ==, 0);
        return path;
}

static const struct {
        const char *file;
        bool old;         /* not changed for years */
        const char *code; /* that must find it; NULL: none may */
        bool aside;       /* a repair moves it; else deletes it */
} files[] = {
        {"seeds/" KNOWN ".iso", false, NULL, false},
        {"seeds/" GONE ".iso", false, REASON_STRAY_SEED, false},
        {"seeds/" KNOWN ".iso.Xy12", false, REASON_STRAY_SEED, false},
        {"seeds/holiday.iso", false, REASON_STRAY_SEED, true},
        {"journal/" KNOWN "-3.json", false, NULL, false},
        {"journal/" GONE "-1.json", false, REASON_STRAY_JOURNAL, true},
        {"journal/" KNOWN "-3.json.bad", false, REASON_STRAY_JOURNAL, true},
        {"images/" DIGEST, false, NULL, false},
        {"images/" DIGEST ".part", false, NULL, false},
        {"images/b" DIGEST, true, REASON_STRAY_IMAGE_FILE, true},
        {"images/half.tmp", false, REASON_STRAY_IMAGE_FILE, true},
};

static const struct api_host_finding *finding_of(const struct inspect *inspect, const char *path)
{
        for (unsigned i = 0; i < inspect->findings->len; i++) {
                const struct api_host_finding *finding = inspect->findings->pdata[i];

                if (g_str_equal(finding->subject, path)) {
                        return finding;
                }
        }
        return NULL;
}

static void files_are_found_and_only_they_are_repaired(void)
{
        static const char *const codes[] = {REASON_STRAY_SEED, REASON_STRAY_JOURNAL, REASON_STRAY_IMAGE_FILE};
        g_autoptr(rig) rig = rig_new();

        for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
                g_free(put(rig, files[i].file, files[i].old));
        }
        for (size_t c = 0; c < G_N_ELEMENTS(codes); c++) {
                struct inspect inspect;

                inspect_look(&inspect, &rig->job, codes[c]);
                for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
                        g_autofree char *path = g_build_filename(rig->dir, files[i].file, NULL), *words = NULL;
                        g_autofree char *name = g_path_get_basename(path);
                        g_autofree char *aside = g_build_filename(rig->dir, "lost+found", name, NULL);
                        const struct api_host_finding *finding = finding_of(&inspect, path);

                        g_test_message("%s %s", codes[c], files[i].file);
                        g_assert_true((g_strcmp0(files[i].code, codes[c]) == 0) == (finding != NULL));
                        if (!finding) {
                                continue;
                        }
                        g_assert_cmpuint(finding->n_evidence, >, 0);
                        g_assert_true((finding->undo != NULL) == files[i].aside);
                        g_assert_cmpint(repair_finding(&inspect, finding, &words), ==, 0);
                        g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
                        g_assert_true(g_file_test(aside, G_FILE_TEST_EXISTS) == files[i].aside);
                }
                inspect_clear(&inspect);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
                g_autofree char *path = g_build_filename(rig->dir, files[i].file, NULL);

                g_assert_true(g_file_test(path, G_FILE_TEST_EXISTS) == !files[i].code);
        }
}

static void a_download_that_stopped_growing_is_a_rest(void)
{
        g_autoptr(rig) rig = rig_new();
        g_autofree char *path = put(rig, "images/" DIGEST ".part", true);
        struct inspect inspect;

        inspect_look(&inspect, &rig->job, REASON_STRAY_IMAGE_FILE);
        g_assert_nonnull(finding_of(&inspect, path));
        inspect_clear(&inspect);
}

static void what_is_moved_never_covers_what_was_moved_before(void)
{
        g_autoptr(rig) rig = rig_new();
        g_autofree char *second = g_build_filename(rig->dir, "lost+found", "holiday.iso.1", NULL);

        for (unsigned i = 0; i < 2; i++) {
                g_autofree char *path = put(rig, "seeds/holiday.iso", false), *words = NULL;
                struct inspect inspect;

                inspect_look(&inspect, &rig->job, REASON_STRAY_SEED);
                g_assert_cmpint(repair_finding(&inspect, finding_of(&inspect, path), &words), ==, 0);
                g_assert_nonnull(strstr(words, "to get it back: mv "));
                inspect_clear(&inspect);
        }
        g_assert_true(g_file_test(second, G_FILE_TEST_EXISTS));
}

static void names_of_others_become_one_line(void)
{
        g_autoptr(rig) rig = rig_new();

        const struct api_host_finding *finding;
        struct inspect inspect;

        g_free(put(rig, "seeds/a\nb\x1b[31m", false));
        inspect_look(&inspect, &rig->job, REASON_STRAY_SEED);
        g_assert_cmpuint(inspect.findings->len, ==, 1);
        finding = inspect.findings->pdata[0];
        g_assert_true(g_str_has_suffix(finding->subject, "seeds/a?b?[31m"));
        g_assert_null(finding->fix);
        inspect_clear(&inspect);
}

static void a_part_that_cannot_be_looked_at_is_told(void)
{
        g_autoptr(rig) rig = rig_new();
        struct inspect inspect;

        inspect_look(&inspect, &rig->job, REASON_STRAY_DOMAIN);
        g_assert_cmpuint(inspect.findings->len, ==, 0);
        g_assert_cmpuint(inspect.unlooked->len, ==, 1);
        g_assert_cmpstr(inspect.unlooked->pdata[0], ==, "libvirt: it was never reached");
        inspect_clear(&inspect);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/inspect/files_are_found_and_only_they_are_repaired", files_are_found_and_only_they_are_repaired);
        g_test_add_func("/inspect/a_download_that_stopped_growing_is_a_rest", a_download_that_stopped_growing_is_a_rest);
        g_test_add_func("/inspect/what_is_moved_never_covers_what_was_moved_before",
                        what_is_moved_never_covers_what_was_moved_before);
        g_test_add_func("/inspect/names_of_others_become_one_line", names_of_others_become_one_line);
        g_test_add_func("/inspect/a_part_that_cannot_be_looked_at_is_told", a_part_that_cannot_be_looked_at_is_told);
        return g_test_run();
}
