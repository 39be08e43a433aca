/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/image_tool.h"

#include "base/file.h"

#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool stop_at_once(unsigned permille, void *userdata)
{
        return true;
}

static bool note_progress(unsigned permille, void *userdata)
{
        *(unsigned *)userdata = permille;
        return false;
}

static void images_are_copied_with_progress_and_cancelled(void)
{
        g_autofree char *folder = g_dir_make_tmp("gabbro-XXXXXX", NULL);
        g_autofree char *source = g_build_filename(folder, "source", NULL), *target = g_build_filename(folder, "target", NULL);
        struct image_convert options = {.source = source, .target = target};
        struct virt_error error = {};
        g_autofree char *copy = NULL;
        unsigned permille = 0;
        size_t len;

        if (access("/usr/bin/qemu-img", X_OK) < 0) {
                g_test_skip("qemu-img is not installed");
                return;
        }
        g_assert_cmpint(image_convert(&options, &error), ==, VIRT_E_MISSING);
        g_assert_true(g_file_set_contents(source, "0123456789abcdef", 16, NULL) && g_file_set_contents(target, "", 0, NULL));
        g_assert_cmpint(truncate(source, 1 << 20), ==, 0);
        g_assert_cmpint(truncate(target, 1 << 20), ==, 0);
        options.progress = note_progress;
        options.userdata = &permille;
        options.target_is_zero = true;
        g_assert_cmpint(image_convert(&options, &error), ==, 0);
        g_assert_cmpuint(permille, ==, 1000);
        g_assert_cmpint(file_read(target, 2 << 20, &copy, &len), ==, 0);
        g_assert_cmpuint(len, ==, 1 << 20);
        g_assert_cmpmem(copy, 16, "0123456789abcdef", 16);

        options.progress = stop_at_once;
        g_assert_cmpint(image_convert(&options, &error), ==, VIRT_E_CANCELLED);
        options.progress = NULL;
        options.timeout_us = 1;
        g_assert_cmpint(image_convert(&options, &error), ==, VIRT_E_TIMEOUT);
        options.timeout_us = 0;
        options.source_format = VIRT_FORMAT_QCOW2; /* the format is not probed: raw bytes are no qcow2 */
        g_assert_cmpint(image_convert(&options, &error), ==, VIRT_E_FAILED);
        g_test_message("%s", error.words);
        options.source = "json:{}";
        g_assert_cmpint(image_convert(&options, &error), ==, VIRT_E_INVALID);
        g_assert_cmpint(file_remove_tree(folder), ==, 0);
}

/* Attack 10: the file is swapped after it was judged, and its name is a link by now. */
static void what_was_judged_is_what_is_copied(void)
{
        g_autofree char *folder = g_dir_make_tmp("gabbro-XXXXXX", NULL);
        g_autofree char *source = g_build_filename(folder, "source", NULL), *target = g_build_filename(folder, "target", NULL);
        struct image_convert options = {.target = target, .target_is_zero = true};
        g_autofree char *good = g_strnfill(4096, 'g'), *copy = NULL;
        struct virt_error error = {};
        autofd fd = -1;
        size_t len;

        if (access("/usr/bin/qemu-img", X_OK) < 0) {
                g_test_skip("qemu-img is not installed");
                return;
        }
        g_assert_true(g_file_set_contents(source, good, 4096, NULL) && g_file_set_contents(target, "", 0, NULL));
        g_assert_cmpint(truncate(target, 4096), ==, 0);
        fd = open(source, O_RDONLY | O_CLOEXEC);
        g_assert_cmpint(unlink(source), ==, 0);
        g_assert_cmpint(symlink("/etc/shadow", source), ==, 0);
        options.source_fd = fd;
        g_assert_cmpint(image_convert(&options, &error), ==, 0);
        g_assert_cmpint(file_read(target, 8192, &copy, &len), ==, 0);
        g_assert_cmpmem(copy, len, good, 4096);

        options.source = source; /* by its name it is refused */
        g_assert_cmpint(image_convert(&options, &error), ==, VIRT_E_FAILED);
        g_assert_nonnull(strstr(error.words, "symbolic links"));
        g_assert_cmpint(file_remove_tree(folder), ==, 0);
}

static void run(const char *const *argv)
{
        int status;

        g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, &status, NULL) &&
                      status == 0);
}

/* Whatever its header says of what it reads from. */
static void a_linked_source_is_read_with_what_is_told_to_be_behind_it(void)
{
        g_autofree char *folder = g_dir_make_tmp("gabbro-XXXXXX", NULL);
        g_autofree char *base = g_build_filename(folder, "base", NULL), *middle = g_build_filename(folder, "middle", NULL);
        g_autofree char *top = g_build_filename(folder, "top", NULL), *target = g_build_filename(folder, "target", NULL);
        const char *const make_middle[] = {"qemu-img",    "create", "-q",  "-u",   "-f", "qcow2", "-b",
                                           "/etc/shadow", "-F",     "raw", middle, "1M", NULL};
        const char *const make_top[] = {"qemu-img",    "create", "-q",  "-u", "-f", "qcow2", "-b",
                                        "/etc/passwd", "-F",     "raw", top,  "1M", NULL};
        const char *const write_middle[] = {"qemu-io", "--image-opts", "-c", "write -P 109 64k 64k", NULL, NULL};
        g_autofree char *spec =
                g_strdup_printf("driver=qcow2,file.driver=file,file.filename=%s,backing.driver=raw,backing.file.driver="
                                "file,backing.file.filename=%s",
                                middle, base);
        struct image_backing backings[] = {{middle, VIRT_FORMAT_QCOW2}, {base, VIRT_FORMAT_RAW}};
        struct image_convert options = {
                .source = top, .source_format = VIRT_FORMAT_QCOW2, .backings = backings, .n_backings = 2, .target = target};
        g_autofree char *content = g_strnfill(1 << 20, 'b'), *copy = NULL;
        struct virt_error error = {};
        size_t len;

        if (access("/usr/bin/qemu-img", X_OK) < 0) {
                g_test_skip("qemu-img is not installed");
                return;
        }
        g_assert_true(g_file_set_contents(base, content, 1 << 20, NULL) && g_file_set_contents(target, "", 0, NULL));
        g_assert_cmpint(truncate(target, 1 << 20), ==, 0);
        run(make_middle);
        run(make_top);
        ((const char **)write_middle)[4] = spec;
        run(write_middle);
        g_assert_cmpint(image_convert(&options, &error), ==, 0);
        g_assert_cmpint(file_read(target, 2 << 20, &copy, &len), ==, 0);
        memset(content + (64 << 10), 'm', 64 << 10);
        g_assert_cmpmem(copy, len, content, 1 << 20);
        options.n_backings = 1; /* what was not told is not looked for */
        g_assert_cmpint(image_convert(&options, &error), ==, 0);
        g_clear_pointer(&copy, g_free);
        g_assert_cmpint(file_read(target, 2 << 20, &copy, &len), ==, 0);
        g_assert_cmpint(copy[0], ==, 0);
        g_assert_cmpint(copy[64 << 10], ==, 'm');
        g_assert_cmpint(file_remove_tree(folder), ==, 0);
}

/* What would have to slip through our own reader of headers: qemu-img is told of another file, and may not open it. */
static void a_copy_reads_no_other_file(void)
{
        g_autofree char *folder = g_dir_make_tmp("gabbro-XXXXXX", NULL);
        g_autofree char *source = g_build_filename(folder, "source", NULL), *target = g_build_filename(folder, "target", NULL);
        g_autofree char *other = g_build_filename(folder, "other", NULL), *secret = g_strnfill(65536, 's');
        const char *const argv[] = {"qemu-img", "create", "-q", "-f", "qcow2", "-b", other, "-F", "raw", source, NULL};
        struct image_convert options = {.source = source, .source_format = VIRT_FORMAT_QCOW2, .target = target};
        struct virt_error error = {};
        int status;

        if (access("/usr/bin/qemu-img", X_OK) < 0 || syscall(SYS_landlock_create_ruleset, NULL, 0, 1) < 1) {
                g_test_skip("no qemu-img, or a kernel without Landlock");
                return;
        }
        g_assert_true(g_file_set_contents(other, secret, 65536, NULL) && g_file_set_contents(target, "", 0, NULL));
        g_assert_cmpint(truncate(target, 65536), ==, 0);
        g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, &status, NULL));
        g_assert_cmpint(status, ==, 0);
        g_assert_cmpint(image_convert(&options, &error), ==, VIRT_E_FAILED);
        g_test_message("%s", error.words);
        g_assert_nonnull(strstr(error.words, "Permission denied"));
        g_assert_cmpint(file_remove_tree(folder), ==, 0);
}

static void a_copy_does_not_grow_above_its_limit(void)
{
        g_autofree char *folder = g_dir_make_tmp("gabbro-XXXXXX", NULL);
        g_autofree char *source = g_build_filename(folder, "source", NULL), *target = g_build_filename(folder, "target", NULL);
        struct image_convert options = {.source = source, .target = target, .max_bytes = 64 << 10};
        g_autofree char *bytes = g_strnfill(1 << 20, 'x');
        struct virt_error error = {};

        if (access("/usr/bin/qemu-img", X_OK) < 0) {
                g_test_skip("qemu-img is not installed");
                return;
        }
        g_assert_true(g_file_set_contents(source, bytes, 1 << 20, NULL) && g_file_set_contents(target, "", 0, NULL));
        g_assert_cmpint(truncate(target, 1 << 20), ==, 0);
        g_assert_cmpint(image_convert(&options, &error), ==, VIRT_E_FAILED);
        g_assert_cmpstr(error.reason, ==, "ImageTooLarge");
        g_assert_cmpint(file_remove_tree(folder), ==, 0);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/image/images_are_copied_with_progress_and_cancelled", images_are_copied_with_progress_and_cancelled);
        g_test_add_func("/image/what_was_judged_is_what_is_copied", what_was_judged_is_what_is_copied);
        g_test_add_func("/image/a_linked_source_is_read_with_what_is_told_to_be_behind_it",
                        a_linked_source_is_read_with_what_is_told_to_be_behind_it);
        g_test_add_func("/image/a_copy_reads_no_other_file", a_copy_reads_no_other_file);
        g_test_add_func("/image/a_copy_does_not_grow_above_its_limit", a_copy_does_not_grow_above_its_limit);
        return g_test_run();
}
