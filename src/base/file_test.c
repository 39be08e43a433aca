/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct fixture {
        char *dir;
};

static void setup(struct fixture *fixture, const void *data)
{
        fixture->dir = g_dir_make_tmp("gabbro-file-XXXXXX", NULL);
        g_assert_nonnull(fixture->dir);
}

static void teardown(struct fixture *fixture, const void *data)
{
        g_assert_cmpint(file_remove_tree(fixture->dir), ==, 0);
        g_assert_cmpint(access(fixture->dir, F_OK), ==, -1);
        g_free(fixture->dir);
}

static char *in(const struct fixture *fixture, const char *name)
{
        return g_build_filename(fixture->dir, name, NULL);
}

static mode_t mode_of(const char *path)
{
        struct stat st;

        g_assert_cmpint(lstat(path, &st), ==, 0);
        return st.st_mode & 07777;
}

static unsigned entries_of(const char *dir)
{
        g_autoptr(GDir) entries = g_dir_open(dir, 0, NULL);
        unsigned n = 0;

        while (g_dir_read_name(entries))
                n++;
        return n;
}

static void what_is_written_is_read_back(struct fixture *fixture, const void *data)
{
        g_autofree char *path = in(fixture, "a");
        g_autofree char *text = NULL;
        size_t len = 0;

        g_assert_cmpint(file_write_atomic(path, "a\0b", 3, 0640), ==, 0);
        g_assert_cmpint(file_read(path, 3, &text, &len), ==, 0);
        g_assert_cmpmem(text, len, "a\0b", 3);
        g_assert_cmpint(text[3], ==, 0);
        g_assert_cmpuint(mode_of(path), ==, 0640);
        g_assert_cmpuint(entries_of(fixture->dir), ==, 1);
}

static void replacing_leaves_the_new_content_and_mode(struct fixture *fixture, const void *data)
{
        g_autofree char *path = in(fixture, "a");
        g_autofree char *text = NULL;

        g_assert_cmpint(file_write_atomic(path, "old", 3, 0644), ==, 0);
        g_assert_cmpint(file_write_atomic(path, "new", 3, 0600), ==, 0);
        g_assert_cmpint(file_read(path, 100, &text, NULL), ==, 0);
        g_assert_cmpstr(text, ==, "new");
        g_assert_cmpuint(mode_of(path), ==, 0600);
        g_assert_cmpuint(entries_of(fixture->dir), ==, 1);
}

static void a_failed_replacement_leaves_nothing_behind(struct fixture *fixture, const void *data)
{
        g_autofree char *folder = in(fixture, "folder");
        g_autofree char *below = in(fixture, "absent/a");

        g_assert_cmpint(mkdir(folder, 0700), ==, 0);
        g_assert_cmpint(file_write_atomic(folder, "x", 1, 0600), <, 0);
        g_assert_cmpint(file_write_atomic(below, "x", 1, 0600), ==, -ENOENT);
        g_assert_cmpuint(entries_of(fixture->dir), ==, 1);
}

static void what_a_kill_left_is_removed(struct fixture *fixture, const void *data)
{
        static const struct {
                const char *name;
                bool stays;
        } files[] = {{"file", true},         {"file.a8Zk2Q", false},    {"file.checkpoint", true}, {"file.a8Zk2", true},
                     {"file.a8Zk2Qx", true}, {"file.a8Zk2Q.bad", true}, {"other.a8Zk2Q", true},    {"file.a8-k2Q", true}};
        g_autofree char *path = in(fixture, "file");

        for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
                g_autofree char *one = in(fixture, files[i].name);

                g_assert_cmpint(file_write_exclusive(one, "", 0, 0600), ==, 0);
        }
        file_drop_leftovers(path);
        for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
                g_autofree char *one = in(fixture, files[i].name);

                g_test_message("%s", files[i].name);
                g_assert_cmpint(access(one, F_OK), ==, files[i].stays ? 0 : -1);
        }
}

static void too_much_is_refused(struct fixture *fixture, const void *data)
{
        g_autofree char *path = in(fixture, "a");
        g_autofree char *text = NULL;

        g_assert_cmpint(file_write_atomic(path, "1234", 4, 0600), ==, 0);
        g_assert_cmpint(file_read(path, 3, &text, NULL), ==, -EFBIG);
        g_assert_cmpint(file_read("/dev/zero", 100000, &text, NULL), ==, -EFBIG);
        g_assert_null(text);
        g_assert_cmpint(file_read(fixture->dir, 100, &text, NULL), ==, -EISDIR);
}

static void files_without_a_size_are_read_to_their_end(struct fixture *fixture, const void *data)
{
        g_autofree char *text = NULL;
        size_t len = 0;

        g_assert_cmpint(file_read("/proc/self/maps", 1 << 20, &text, &len), ==, 0);
        g_assert_cmpuint(len, >, 0);
        g_assert_cmpuint(strlen(text), ==, len);
}

static void exclusive_means_nothing_was_there(struct fixture *fixture, const void *data)
{
        g_autofree char *path = in(fixture, "a");
        g_autofree char *link = in(fixture, "link");
        g_autofree char *target = in(fixture, "target");
        g_autofree char *text = NULL;

        g_assert_cmpint(file_write_exclusive(path, "secret", 6, 0600), ==, 0);
        g_assert_cmpuint(mode_of(path), ==, 0600);
        g_assert_cmpint(file_write_exclusive(path, "other", 5, 0600), ==, -EEXIST);
        g_assert_cmpint(file_read(path, 100, &text, NULL), ==, 0);
        g_assert_cmpstr(text, ==, "secret");
        g_assert_cmpint(symlink(target, link), ==, 0);
        g_assert_cmpint(file_write_exclusive(link, "x", 1, 0600), ==, -EEXIST);
        g_assert_cmpint(access(target, F_OK), ==, -1);
}

static void folders_are_made_with_their_parents(struct fixture *fixture, const void *data)
{
        g_autofree char *deep = in(fixture, "a/b//c");
        g_autofree char *first = in(fixture, "a");
        g_autofree char *file = in(fixture, "file");
        g_autofree char *below = in(fixture, "file/x");

        g_assert_cmpint(file_ensure_dir(deep, 0750), ==, 0);
        g_assert_true(g_file_test(deep, G_FILE_TEST_IS_DIR));
        g_assert_cmpint(chmod(first, 0700), ==, 0);
        g_assert_cmpint(file_ensure_dir(deep, 0755), ==, 0);
        g_assert_cmpuint(mode_of(first), ==, 0700);
        g_assert_cmpint(file_write_exclusive(file, "", 0, 0600), ==, 0);
        g_assert_cmpint(file_ensure_dir(file, 0755), ==, -ENOTDIR);
        g_assert_cmpint(file_ensure_dir(below, 0755), ==, -ENOTDIR);
        g_assert_cmpint(file_ensure_dir("", 0755), ==, -ENOENT);
}

static void user_paths_stay_beneath_their_folder(struct fixture *fixture, const void *data)
{
        static const char *const bad[] = {"../x", "/etc/passwd", "sub/../../x", "link", "link/passwd", "sub/up"};
        g_autofree char *sub = in(fixture, "sub");
        g_autofree char *link = in(fixture, "link");
        g_autofree char *up = in(fixture, "sub/up");
        autofd dir = open(fixture->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        autofd made = -1, again = -1;

        g_assert_cmpint(mkdir(sub, 0700), ==, 0);
        g_assert_cmpint(symlink("/etc", link), ==, 0);
        g_assert_cmpint(symlink("..", up), ==, 0);
        made = file_open_beneath(dir, "sub/file", O_WRONLY | O_CREAT | O_EXCL, 0600);
        g_assert_cmpint(made, >=, 0);
        g_assert_cmpint(fcntl(made, F_GETFD) & FD_CLOEXEC, !=, 0);
        again = file_open_beneath(dir, "sub/../sub/file", O_RDONLY, 0);
        g_assert_cmpint(again, >=, 0);
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
                autofd fd = file_open_beneath(dir, bad[i], O_RDONLY, 0);

                if (fd >= 0)
                        g_error("\"%s\" was opened", bad[i]);
        }
}

static void removing_a_tree_does_not_follow_links(struct fixture *fixture, const void *data)
{
        g_autofree char *outside = in(fixture, "outside");
        g_autofree char *kept = in(fixture, "outside/kept");
        g_autofree char *tree = in(fixture, "tree");
        g_autofree char *deep = in(fixture, "tree/a/b/c");
        g_autofree char *file = in(fixture, "tree/a/file");
        g_autofree char *link = in(fixture, "tree/a/link");

        g_assert_cmpint(file_ensure_dir(outside, 0700), ==, 0);
        g_assert_cmpint(file_ensure_dir(deep, 0700), ==, 0);
        g_assert_cmpint(file_write_exclusive(kept, "", 0, 0600), ==, 0);
        g_assert_cmpint(file_write_exclusive(file, "", 0, 0400), ==, 0);
        g_assert_cmpint(symlink(outside, link), ==, 0);
        g_assert_cmpint(file_remove_tree(tree), ==, 0);
        g_assert_cmpint(access(tree, F_OK), ==, -1);
        g_assert_cmpint(access(kept, F_OK), ==, 0);
        g_assert_cmpint(file_remove_tree(tree), ==, 0);
        g_assert_cmpint(file_remove_tree(kept), ==, 0);
        g_assert_cmpint(access(kept, F_OK), ==, -1);
}

static void writing_everything_reports_a_closed_reader(struct fixture *fixture, const void *data)
{
        int ends[2];

        g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
        g_assert_cmpint(fd_write_all(ends[1], "abc", 3), ==, 0);
        g_assert_cmpint(fd_write_all(ends[0], "abc", 3), ==, -EBADF);
        g_assert_cmpint(fd_close(ends[0]), ==, -1);
        g_assert_cmpint(fd_close(ends[1]), ==, -1);
        g_assert_cmpint(fd_close(-1), ==, -1);
}

/* Pages and parts of pages, one after the other: those past the page cache and those through it make one file. */
static void what_is_written_past_the_cache_is_read_back(struct fixture *fixture, const void *data)
{
        static const size_t lens[] = {4096, 65536, 10, 4086, 8192, 5000, 3192, 12288, 1};
        g_autofree char *path = in(fixture, "a"), *text = NULL;
        char *bytes = g_aligned_alloc(1, 131072, FILE_PAGE_BYTES);
        size_t at = 0, len = 0, done = 0;
        autofd fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

        for (size_t i = 0; i < 131072; i++)
                bytes[i] = (char)(i * 31 % 251);
        for (size_t i = 0; i < G_N_ELEMENTS(lens); i++) {
                g_assert_cmpint(fd_write_direct(fd, bytes + at, lens[i], (off_t)at, &done), ==, 0);
                g_assert_cmpuint(done, ==, lens[i]);
                at += done;
                g_assert_cmpint(fcntl(fd, F_GETFL) & O_DIRECT, ==, 0);
        }
        g_assert_cmpint(file_read(path, 1 << 20, &text, &len), ==, 0);
        g_assert_cmpmem(text, len, bytes, at);
        g_aligned_free(bytes);
}

static void a_write_that_fails_says_how_far_it_came(struct fixture *fixture, const void *data)
{
        char *page = g_aligned_alloc0(1, FILE_PAGE_BYTES, FILE_PAGE_BYTES);
        size_t done = 7;
        autofd full = open("/dev/full", O_RDWR | O_CLOEXEC);

        g_assert_cmpint(fd_write_direct(full, page, FILE_PAGE_BYTES, 0, &done), ==, -ENOSPC);
        g_assert_cmpuint(done, ==, 0);
        g_assert_cmpint(fcntl(full, F_GETFL) & O_DIRECT, ==, 0);
        g_aligned_free(page);
}

int main(int argc, char **argv)
{
        static const struct {
                const char *name;
                void (*run)(struct fixture *fixture, const void *data);
        } tests[] = {
                {"/file/what_is_written_is_read_back", what_is_written_is_read_back},
                {"/file/replacing_leaves_the_new_content_and_mode", replacing_leaves_the_new_content_and_mode},
                {"/file/a_failed_replacement_leaves_nothing_behind", a_failed_replacement_leaves_nothing_behind},
                {"/file/what_a_kill_left_is_removed", what_a_kill_left_is_removed},
                {"/file/too_much_is_refused", too_much_is_refused},
                {"/file/files_without_a_size_are_read_to_their_end", files_without_a_size_are_read_to_their_end},
                {"/file/exclusive_means_nothing_was_there", exclusive_means_nothing_was_there},
                {"/file/folders_are_made_with_their_parents", folders_are_made_with_their_parents},
                {"/file/user_paths_stay_beneath_their_folder", user_paths_stay_beneath_their_folder},
                {"/file/removing_a_tree_does_not_follow_links", removing_a_tree_does_not_follow_links},
                {"/file/what_is_written_past_the_cache_is_read_back", what_is_written_past_the_cache_is_read_back},
                {"/file/a_write_that_fails_says_how_far_it_came", a_write_that_fails_says_how_far_it_came},
                {"/file/writing_everything_reports_a_closed_reader", writing_everything_reports_a_closed_reader},
        };

        g_test_init(&argc, &argv, NULL);
        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
                g_test_add(tests[i].name, struct fixture, NULL, setup, tests[i].run, teardown);
        return g_test_run();
}
