/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/images.h"

#include "base/file.h"
#include "loop/loop.h"

#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONTENT_BYTES 100000

/* A scripted library: what it does with each request in turn. */
struct answer {
        int status;        /* 0: transport fails after @bytes */
        size_t bytes;      /* how many are handed over; SIZE_MAX: all that remain */
        bool ignore_range; /* send from the beginning */
        bool garble;       /* with one wrong byte */
};

static struct {
        struct loop *loop;
        char *dir;
        char content[CONTENT_BYTES];
        char *digest;
        struct answer answers[8];
        gint requests;
        uint64_t offsets[16];
        struct images *images;
        unsigned changes;
} rig;

static int scripted_read(void *userdata, const char *digest, uint64_t offset,
                         bool (*on_piece)(const void *piece, size_t len, void *sink), void *sink, int *ret_status,
                         char **reterr_words)
{
        int index = g_atomic_int_add(&rig.requests, 1);
        const struct answer *answer = &rig.answers[MIN(index, 7)];
        size_t from = answer->ignore_range ? 0 : offset, left = MIN(answer->bytes, CONTENT_BYTES - from);
        g_autofree char *copy = g_memdup2(rig.content, CONTENT_BYTES);

        rig.offsets[MIN(index, 15)] = offset;
        if (answer->garble) {
                copy[from] ^= 1;
        }
        for (size_t done = 0; done < left; done += 1000) {
                if (!on_piece(copy + from + done, MIN(1000, left - done), sink)) {
                        break;
                }
        }
        if (!answer->status) {
                *reterr_words = g_strdup("connection reset");
                return -ECONNRESET;
        }
        *ret_status = answer->status;
        return 0;
}

static void on_changed(const char *digest, void *userdata)
{
        rig.changes++;
}

static void open_images(uint64_t max_bytes)
{
        struct images_options options = {.loop = rig.loop,
                                         .source = {.read = scripted_read},
                                         .dir = rig.dir,
                                         .max_bytes = max_bytes,
                                         .max_attempts = 3,
                                         .retry_us = 1000,
                                         .rest_us = UINT64_MAX,
                                         .changed = on_changed};

        g_assert_cmpint(images_new(&options, &rig.images), ==, 0);
}

static void set_up(const struct answer *answers, size_t n)
{
        memset(&rig, 0, sizeof(rig));
        g_assert_cmpint(loop_new(&rig.loop), ==, 0);
        rig.dir = g_dir_make_tmp("gabbro-images-XXXXXX", NULL);
        g_assert_cmpint(rmdir(rig.dir), ==, 0); /* it makes its folder itself */
        memset(rig.content, 'x', sizeof(rig.content));
        rig.digest = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *)rig.content, sizeof(rig.content));
        memcpy(rig.answers, answers, n * sizeof(*answers));
        open_images(UINT64_MAX);
}

static void tear_down(void)
{
        images_free(rig.images);
        loop_free(rig.loop);
        g_assert_cmpint(file_remove_tree(rig.dir), ==, 0);
        g_free(rig.dir);
        g_free(rig.digest);
}

static struct images_status want(void)
{
        struct images_wish wish = {.digest = rig.digest, .size_bytes = CONTENT_BYTES, .format = "raw"};

        return images_want(rig.images, &wish);
}

static struct images_status wait_for_end(void)
{
        struct images_status status = want();

        while (status.state == IMAGES_FETCHING) {
                g_assert_cmpint(loop_run_once(rig.loop, 10000000), >, 0);
                status = want();
        }
        return status;
}

static unsigned files(void)
{
        g_autoptr(GDir) dir = g_dir_open(rig.dir, 0, NULL);
        unsigned n = 0;

        while (g_dir_read_name(dir)) {
                n++;
        }
        return n;
}

/* E25, E26, E60: the folder is there, and what was fetched once, unpacked as the library has it, is never fetched again. */
static void ten_users_fetch_once(void)
{
        struct images_status status;
        struct stat folder;

        set_up((const struct answer[]){{200, SIZE_MAX}}, 1);
        for (unsigned i = 0; i < 10; i++) {
                g_assert_cmpint(want().state, ==, IMAGES_FETCHING);
        }
        status = wait_for_end();
        g_assert_cmpint(status.state, ==, IMAGES_READY);
        g_assert_cmpint(rig.requests, ==, 1);
        g_assert_cmpuint(rig.changes, >, 10); /* percents and the end */
        g_assert_cmpint(stat(rig.dir, &folder), ==, 0);
        g_assert_cmpuint(folder.st_mode & 0777, ==, 0700);
        images_free(rig.images);
        open_images(UINT64_MAX);
        g_assert_cmpint(wait_for_end().state, ==, IMAGES_READY);
        g_assert_cmpint(rig.requests, ==, 1);
        tear_down();
}

static void interrupted_transfer_goes_on_where_it_broke(void)
{
        set_up((const struct answer[]){{0, 30000}, {0, 20000}, {206, SIZE_MAX}}, 3);
        g_assert_cmpint(wait_for_end().state, ==, IMAGES_READY);
        g_assert_cmpint(rig.requests, ==, 3);
        g_assert_cmpuint(rig.offsets[0], ==, 0);
        g_assert_cmpuint(rig.offsets[1], ==, 30000);
        g_assert_cmpuint(rig.offsets[2], ==, 50000);
        tear_down();
}

static void part_of_an_earlier_run_is_used(void)
{
        g_autofree char *part = NULL;

        set_up((const struct answer[]){{206, SIZE_MAX}}, 1);
        part = g_strdup_printf("%s/%s.part", rig.dir, rig.digest);
        g_assert_true(g_file_set_contents(part, rig.content, 70000, NULL));
        g_assert_cmpint(wait_for_end().state, ==, IMAGES_READY);
        g_assert_cmpuint(rig.offsets[0], ==, 70000);
        tear_down();
}

static void server_without_ranges_starts_over(void)
{
        set_up((const struct answer[]){{0, 30000}, {200, SIZE_MAX, .ignore_range = true}, {200, SIZE_MAX}}, 3);
        g_assert_cmpint(wait_for_end().state, ==, IMAGES_READY);
        g_assert_cmpuint(rig.offsets[2], ==, 0);
        tear_down();
}

static void wrong_bytes_are_never_kept(void)
{
        struct images_status status;

        set_up((const struct answer[]){{200, SIZE_MAX, .garble = true},
                                       {200, SIZE_MAX, .garble = true},
                                       {200, SIZE_MAX, .garble = true}},
               3);
        status = wait_for_end();
        g_assert_cmpint(status.state, ==, IMAGES_FAILED);
        g_assert_cmpstr(status.reason, ==, "ImageDigestMismatch");
        g_assert_cmpint(rig.requests, ==, 3);
        images_free(rig.images);
        open_images(UINT64_MAX);
        rig.answers[3] = (struct answer){200, SIZE_MAX};
        g_assert_cmpint(wait_for_end().state, ==, IMAGES_READY);
        tear_down();
}

static void attempts_are_bounded(void)
{
        struct images_status status;

        set_up((const struct answer[]){{0, 10}, {0, 10}, {0, 10}, {0, 10}}, 4);
        status = wait_for_end();
        g_assert_cmpint(status.state, ==, IMAGES_FAILED);
        g_assert_cmpstr(status.reason, ==, "ImageFetchFailed");
        g_assert_cmpstr(status.message, ==, "connection reset");
        g_assert_cmpint(rig.requests, ==, 3);
        tear_down();
}

static void answers_that_are_no_image_are_not_taken_for_one(void)
{
        set_up((const struct answer[]){{404, 500}}, 1);
        g_assert_cmpint(wait_for_end().state, ==, IMAGES_FAILED);
        g_assert_cmpint(rig.requests, ==, 1);
        tear_down();
        set_up((const struct answer[]){{503, 500}, {200, SIZE_MAX}}, 2);
        g_assert_cmpint(wait_for_end().state, ==, IMAGES_READY);
        g_assert_cmpuint(rig.offsets[1], ==, 0);
        tear_down();
}

static void header_is_judged_before_use(void)
{
        struct images_status status;
        struct images_wish wish;
        /* qcow2 version 3 whose backing file name lies at 0x68 and is 8 bytes long */
        static const uint8_t header[] = {'Q', 'F', 'I', 0xfb, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0x68, 0, 0, 0, 8, 0, 0, 0, 16};

        set_up((const struct answer[]){{200, SIZE_MAX}}, 1);
        memcpy(rig.content, header, sizeof(header));
        g_free(rig.digest);
        rig.digest = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *)rig.content, sizeof(rig.content));
        wish = (struct images_wish){.digest = rig.digest, .size_bytes = CONTENT_BYTES, .format = "qcow2"};
        while ((status = images_want(rig.images, &wish)).state == IMAGES_FETCHING) {
                g_assert_cmpint(loop_run_once(rig.loop, 10000000), >, 0);
        }
        g_assert_cmpint(status.state, ==, IMAGES_FAILED);
        g_assert_true(g_str_has_prefix(status.reason, "Image"));
        g_assert_cmpuint(files(), ==, 0);
        tear_down();
}

static void announced_format_must_be_the_real_one(void)
{
        struct images_wish wish;
        struct images_status status;

        set_up((const struct answer[]){{200, SIZE_MAX}}, 1);
        wish = (struct images_wish){.digest = rig.digest, .size_bytes = CONTENT_BYTES, .format = "qcow2"};
        while ((status = images_want(rig.images, &wish)).state == IMAGES_FETCHING) {
                g_assert_cmpint(loop_run_once(rig.loop, 10000000), >, 0);
        }
        g_assert_cmpstr(status.reason, ==, "ImageFormatRefused");
        tear_down();
}

static void unheld_images_go_when_there_is_no_room(void)
{
        set_up((const struct answer[]){{200, SIZE_MAX}}, 1);
        images_free(rig.images);
        open_images(0);
        want();
        images_hold(rig.images, rig.digest);
        g_assert_cmpint(wait_for_end().state, ==, IMAGES_READY);
        g_assert_cmpuint(files(), ==, 1);
        images_release(rig.images, rig.digest);
        g_assert_cmpuint(files(), ==, 0);
        tear_down();
}

static void digests_that_are_none_are_refused(void)
{
        static const char *const digests[] = {"", "../../etc/passwd", "ABCDEF", NULL};

        set_up((const struct answer[]){{200, SIZE_MAX}}, 1);
        for (size_t i = 0; i < G_N_ELEMENTS(digests); i++) {
                struct images_wish wish = {.digest = digests[i], .size_bytes = 1, .format = "raw"};

                g_assert_cmpint(images_want(rig.images, &wish).state, ==, IMAGES_FAILED);
        }
        g_assert_cmpint(rig.requests, ==, 0);
        tear_down();
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/images/E25_E26_E60_ten_users_fetch_once", ten_users_fetch_once);
        g_test_add_func("/images/interrupted_transfer_goes_on_where_it_broke", interrupted_transfer_goes_on_where_it_broke);
        g_test_add_func("/images/part_of_an_earlier_run_is_used", part_of_an_earlier_run_is_used);
        g_test_add_func("/images/server_without_ranges_starts_over", server_without_ranges_starts_over);
        g_test_add_func("/images/wrong_bytes_are_never_kept", wrong_bytes_are_never_kept);
        g_test_add_func("/images/attempts_are_bounded", attempts_are_bounded);
        g_test_add_func("/images/answers_that_are_no_image_are_not_taken_for_one", answers_that_are_no_image_are_not_taken_for_one);
        g_test_add_func("/images/header_is_judged_before_use", header_is_judged_before_use);
        g_test_add_func("/images/announced_format_must_be_the_real_one", announced_format_must_be_the_real_one);
        g_test_add_func("/images/unheld_images_go_when_there_is_no_room", unheld_images_go_when_there_is_no_room);
        g_test_add_func("/images/digests_that_are_none_are_refused", digests_that_are_none_are_refused);
        return g_test_run();
}
