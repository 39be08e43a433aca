/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "gateway/blobs.h"
#include "gateway/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <glib.h>
#include <lzma.h>
#include <string.h>
#include <sys/stat.h>

#define RAW_BYTES (64u << 10)

struct fixture {
        char *dir;
        struct blobs *blobs;
};

static void set_up(struct fixture *fixture, const void *unused)
{
        fixture->dir = g_dir_make_tmp("blobs-XXXXXX", NULL);
        g_assert_cmpint(blobs_new(fixture->dir, &fixture->blobs), ==, 0);
}

static void tear_down(struct fixture *fixture, const void *unused)
{
        blobs_free(fixture->blobs);
        g_assert_cmpint(file_remove_tree(fixture->dir), ==, 0);
        g_free(fixture->dir);
}

static unsigned files_in(const struct fixture *fixture, const char *folder)
{
        g_autofree char *path = g_build_filename(fixture->dir, "blobs", folder, NULL);
        g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
        unsigned n = 0;

        while (g_dir_read_name(dir))
                n++;
        return n;
}

static int take(struct fixture *fixture, const void *bytes, size_t len, const char *sha256, struct blob_facts *facts,
                struct blob_fault *fault)
{
        struct blob_intake *intake = NULL;

        g_assert_cmpint(blob_intake_new(fixture->blobs, sha256, &intake), ==, 0);
        g_assert_cmpint(blob_intake_write(intake, bytes, len), ==, 0);
        int r = blob_intake_finish(intake, facts, fault);
        blob_intake_free(intake);
        return r;
}

static char *raw_image(void)
{
        char *bytes = g_malloc0(RAW_BYTES);

        memcpy(bytes + RAW_BYTES - 8, "the end", 8);
        return bytes;
}

static char *digest_of(const void *bytes, size_t len)
{
        return g_compute_checksum_for_data(G_CHECKSUM_SHA256, bytes, len);
}

static void image_is_kept_under_its_digest(struct fixture *fixture, const void *unused)
{
        g_autofree char *bytes = raw_image();
        g_autofree char *digest = digest_of(bytes, RAW_BYTES);
        struct blob_facts facts = {};
        struct blob_fault fault = {};
        char head[8];

        g_assert_cmpint(take(fixture, bytes, RAW_BYTES, digest, &facts, &fault), ==, 0);
        g_assert_cmpstr(facts.digest, ==, digest);
        g_assert_cmpstr(facts.format, ==, "raw");
        g_assert_cmpuint(facts.virtual_size_bytes, ==, RAW_BYTES);
        g_assert_true(blobs_has(fixture->blobs, digest));
        autofd fd = blobs_open(fixture->blobs, digest);
        g_assert_cmpint(pread(fd, head, 8, RAW_BYTES - 8), ==, 8);
        g_assert_cmpmem(head, 8, "the end", 8);
        g_assert_cmpuint(files_in(fixture, "intake"), ==, 0);
}

static void same_bytes_twice_are_one_file(struct fixture *fixture, const void *unused)
{
        g_autofree char *bytes = raw_image();
        struct blob_facts facts = {};
        struct blob_fault fault = {};

        g_assert_cmpint(take(fixture, bytes, RAW_BYTES, NULL, &facts, &fault), ==, 0);
        g_assert_cmpint(take(fixture, bytes, RAW_BYTES, NULL, &facts, &fault), ==, 0);
        g_assert_cmpuint(files_in(fixture, "sha256"), ==, 1);
}

/* Requirement B31 and attack 7: what does not hash to the promise is not kept. */
static void B31_wrong_digest_leaves_nothing(struct fixture *fixture, const void *unused)
{
        g_autofree char *bytes = raw_image();
        g_autofree char *wrong = g_strnfill(64, '0');
        struct blob_facts facts = {};
        struct blob_fault fault = {};

        g_assert_cmpint(take(fixture, bytes, RAW_BYTES, wrong, &facts, &fault), >, 0);
        g_assert_cmpstr(fault.reason, ==, "ImageDigestMismatch");
        g_assert_cmpuint(files_in(fixture, "sha256") + files_in(fixture, "intake"), ==, 0);
}

struct hostile {
        const char *what;
        const char *reason;
        unsigned char header[104];
};

/* qcow2 headers, big-endian: magic, version 3, backing file offset and size, cluster bits 16, size 1 MiB ... */
static const struct hostile hostiles[] = {
        {"an empty file", "ImageEmpty", {0}},
        {"a VMDK", "ImageFormatUnknown", "KDMV"},
        {"LUKS", "ImageEncrypted", "LUKS\xba\xbe"},
};

static void hostile_files_are_refused(struct fixture *fixture, const void *unused)
{
        for (size_t i = 0; i < G_N_ELEMENTS(hostiles); i++) {
                struct blob_facts facts = {};
                struct blob_fault fault = {};
                g_autofree char *bytes = g_malloc0(RAW_BYTES);
                memcpy(bytes, hostiles[i].header, sizeof(hostiles[i].header));
                g_assert_cmpint(take(fixture, bytes, i == 0 ? 0 : RAW_BYTES, NULL, &facts, &fault), >, 0);
                g_assert_cmpstr(fault.reason, ==, hostiles[i].reason);
                g_assert_cmpuint(files_in(fixture, "sha256") + files_in(fixture, "intake"), ==, 0);
        }
}

static GByteArray *packed(const char *bytes, size_t len, int (*filter)(struct archive *))
{
        GByteArray *out = g_byte_array_new();
        struct archive *archive = archive_write_new();
        struct archive_entry *entry = archive_entry_new();
        size_t used = 0;

        g_byte_array_set_size(out, (guint)len * 2 + 65536);
        archive_write_set_format_raw(archive);
        filter(archive);
        archive_write_set_bytes_per_block(archive, 0);
        g_assert_cmpint(archive_write_open_memory(archive, out->data, out->len, &used), ==, ARCHIVE_OK);
        archive_entry_set_filetype(entry, AE_IFREG);
        archive_entry_set_pathname(entry, "image");
        g_assert_cmpint(archive_write_header(archive, entry), ==, ARCHIVE_OK);
        g_assert_cmpint(archive_write_data(archive, bytes, len), ==, len);
        archive_entry_free(entry);
        archive_write_free(archive);
        g_byte_array_set_size(out, (guint)used);
        return out;
}

/* The same of so many zeroes, which are never all in memory. */
static GByteArray *packed_zeroes(uint64_t len, int (*filter)(struct archive *))
{
        g_autofree char *zeroes = g_malloc0(1u << 20);
        GByteArray *out = g_byte_array_new();
        struct archive *archive = archive_write_new();
        struct archive_entry *entry = archive_entry_new();
        size_t used = 0;

        g_byte_array_set_size(out, 4u << 20);
        archive_write_set_format_raw(archive);
        filter(archive);
        archive_write_set_bytes_per_block(archive, 0);
        g_assert_cmpint(archive_write_open_memory(archive, out->data, out->len, &used), ==, ARCHIVE_OK);
        archive_entry_set_filetype(entry, AE_IFREG);
        archive_entry_set_pathname(entry, "image");
        g_assert_cmpint(archive_write_header(archive, entry), ==, ARCHIVE_OK);
        for (uint64_t at = 0; at < len; at += 1u << 20)
                g_assert_cmpint(archive_write_data(archive, zeroes, 1u << 20), ==, 1u << 20);
        archive_entry_free(entry);
        archive_write_free(archive);
        g_byte_array_set_size(out, (guint)used);
        return out;
}

/* Requirement E27: packed images are unpacked as a stream; the digest kept is that of the plain file. */
static void E27_packed_images_are_unpacked(struct fixture *fixture, const void *unused)
{
        static int (*const filters[])(struct archive *) = {archive_write_add_filter_gzip, archive_write_add_filter_xz,
                                                           archive_write_add_filter_bzip2, archive_write_add_filter_zstd};
        g_autofree char *bytes = raw_image();
        g_autofree char *plain = digest_of(bytes, RAW_BYTES);

        for (size_t i = 0; i < G_N_ELEMENTS(filters); i++) {
                g_autoptr(GByteArray) small = packed(bytes, RAW_BYTES, filters[i]);
                g_autofree char *digest = digest_of(small->data, small->len);
                struct blob_facts facts = {};
                struct blob_fault fault = {};
                g_assert_cmpint(take(fixture, small->data, small->len, digest, &facts, &fault), ==, 0);
                g_assert_cmpstr(facts.digest, ==, plain);
                g_assert_cmpuint(facts.size_bytes, ==, RAW_BYTES);
        }
        g_assert_cmpuint(files_in(fixture, "sha256"), ==, 1);
        g_assert_cmpuint(files_in(fixture, "intake"), ==, 0);
}

static int (*const packers[])(struct archive *) = {archive_write_add_filter_gzip, archive_write_add_filter_xz,
                                                   archive_write_add_filter_bzip2, archive_write_add_filter_zstd};

/* Attack 6: what unpacks to more than its size allows is cut off there, and leaves nothing. */
static void attack_6_bombs_are_cut_off(struct fixture *fixture, const void *unused)
{
        const struct blob_bounds bounds = {.unpack_bytes = 4u << 20};

        for (size_t i = 0; i < G_N_ELEMENTS(packers); i++) {
                g_autoptr(GByteArray) bomb = packed_zeroes(64u << 20, packers[i]);
                struct blob_intake *intake = NULL;
                struct blob_facts facts = {};
                struct blob_fault fault = {};

                g_assert_cmpint(blob_intake_new(fixture->blobs, NULL, &intake), ==, 0);
                blob_intake_bound(intake, &bounds);
                g_assert_cmpint(blob_intake_write(intake, bomb->data, bomb->len), ==, 0);
                g_assert_cmpint(blob_intake_finish(intake, &facts, &fault), >, 0);
                g_assert_cmpstr(fault.reason, ==, "ImageTooLarge");
                g_test_message("%u bytes: %s", bomb->len, fault.message);
                blob_intake_free(intake);
                g_assert_cmpuint(files_in(fixture, "sha256") + files_in(fixture, "intake"), ==, 0);
        }
}

static void zeroes_are_unpacked_as_holes(struct fixture *fixture, const void *unused)
{
        g_autoptr(GByteArray) small = packed_zeroes(64u << 20, archive_write_add_filter_xz);
        struct blob_facts facts = {};
        struct blob_fault fault = {};
        struct stat st;

        g_assert_cmpint(take(fixture, small->data, small->len, NULL, &facts, &fault), ==, 0);
        g_assert_cmpuint(facts.size_bytes, ==, 64u << 20);
        autofd fd = blobs_open(fixture->blobs, facts.digest);
        g_assert_cmpint(fstat(fd, &st), ==, 0);
        g_assert_cmpint(st.st_size, ==, 64 << 20);
        g_assert_cmpint(st.st_blocks, <, 1024);
}

static void packed_twice_is_refused(struct fixture *fixture, const void *unused)
{
        g_autofree char *bytes = raw_image();

        for (size_t inner = 0; inner < G_N_ELEMENTS(packers); inner++) {
                g_autoptr(GByteArray) once = packed(bytes, RAW_BYTES, packers[inner]);

                for (size_t outer = 0; outer < G_N_ELEMENTS(packers); outer++) {
                        g_autoptr(GByteArray) twice = packed((const char *)once->data, once->len, packers[outer]);
                        struct blob_facts facts = {};
                        struct blob_fault fault = {};

                        g_assert_cmpint(take(fixture, twice->data, twice->len, NULL, &facts, &fault), >, 0);
                        g_assert_cmpstr(fault.reason, ==, "ImageFormatUnknown");
                        g_assert_nonnull(strstr(fault.message, "more than once"));
                }
        }
        g_assert_cmpuint(files_in(fixture, "sha256") + files_in(fixture, "intake"), ==, 0);
}

/* Each packed file cut at places all over, and with one byte changed: damaged, or right; never anything else. */
static void damage_is_seen_at_every_place(struct fixture *fixture, const void *unused)
{
        g_autofree char *bytes = raw_image();
        g_autofree char *plain = digest_of(bytes, RAW_BYTES);

        for (size_t i = 0; i < G_N_ELEMENTS(packers); i++) {
                g_autoptr(GByteArray) small = packed(bytes, RAW_BYTES, packers[i]);

                for (guint at = UNPACK_HEAD_BYTES; at < small->len; at += 1 + small->len / 37) {
                        struct blob_facts facts = {};
                        struct blob_fault fault = {};
                        int r = take(fixture, small->data, at, NULL, &facts, &fault);

                        g_assert_cmpint(r, >, 0);
                        g_assert_cmpstr(fault.reason, ==, "ImageCorrupt");
                        small->data[at] ^= 0x55;
                        r = take(fixture, small->data, small->len, NULL, &facts, &fault);
                        small->data[at] ^= 0x55;
                        g_assert_true(r > 0 || strcmp(facts.digest, plain) == 0 || packers[i] == archive_write_add_filter_zstd);
                }
        }
        g_assert_cmpuint(files_in(fixture, "intake"), ==, 0);
}

static void several_members_are_one_file(struct fixture *fixture, const void *unused)
{
        g_autofree char *bytes = raw_image();

        for (size_t i = 0; i < 2; i++) { /* gzip and xz say that files may be put together */
                g_autoptr(GByteArray) small = packed(bytes, RAW_BYTES, packers[i]);
                guint len = small->len;
                struct blob_facts facts = {};
                struct blob_fault fault = {};

                g_byte_array_set_size(small, 2 * len);
                memcpy(small->data + len, small->data, len);
                g_assert_cmpint(take(fixture, small->data, small->len, NULL, &facts, &fault), ==, 0);
                g_assert_cmpuint(facts.size_bytes, ==, 2 * RAW_BYTES);
        }
}

struct patience {
        uint64_t room;
        unsigned left;
};

static uint64_t room_of(void *userdata)
{
        return ((struct patience *)userdata)->room;
}

static bool has_patience(void *userdata)
{
        struct patience *patience = userdata;

        return patience->left && patience->left--;
}

/* A quota of less than the image unpacks to, and somebody who wants it no more: both end it in the middle. */
static void unpacking_ends_at_the_quota_and_when_nobody_wants_it(struct fixture *fixture, const void *unused)
{
        g_autoptr(GByteArray) small = packed_zeroes(64u << 20, archive_write_add_filter_gzip);
        struct patience patience = {.room = 32u << 20, .left = UINT_MAX};
        const struct blob_bounds bounds = {.room = room_of, .go_on = has_patience, .userdata = &patience};
        const int expected[] = {-EDQUOT, -ECANCELED};

        for (size_t i = 0; i < G_N_ELEMENTS(expected); i++) {
                struct blob_intake *intake = NULL;
                struct blob_facts facts = {};
                struct blob_fault fault = {};

                g_assert_cmpint(blob_intake_new(fixture->blobs, NULL, &intake), ==, 0);
                blob_intake_bound(intake, &bounds);
                g_assert_cmpint(blob_intake_write(intake, small->data, small->len), ==, 0);
                g_assert_cmpint(blob_intake_percent(intake, small->len), ==, 50);
                g_assert_cmpint(blob_intake_finish(intake, &facts, &fault), ==, expected[i]);
                blob_intake_free(intake);
                g_assert_cmpuint(files_in(fixture, "sha256") + files_in(fixture, "intake"), ==, 0);
                patience = (struct patience){.room = UINT64_MAX, .left = 10};
        }
}

static void unpacking_that_takes_too_long_ends(struct fixture *fixture, const void *unused)
{
        g_autoptr(GByteArray) small = packed_zeroes(64u << 20, archive_write_add_filter_gzip);
        const struct blob_bounds bounds = {.unpack_us = 1};
        struct blob_intake *intake = NULL;
        struct blob_facts facts = {};
        struct blob_fault fault = {};

        g_assert_cmpint(blob_intake_new(fixture->blobs, NULL, &intake), ==, 0);
        blob_intake_bound(intake, &bounds);
        g_assert_cmpint(blob_intake_write(intake, small->data, small->len), ==, 0);
        g_assert_cmpint(blob_intake_finish(intake, &facts, &fault), >, 0);
        g_assert_cmpstr(fault.reason, ==, "ImageTooLarge");
        g_assert_nonnull(strstr(fault.message, "in time"));
        blob_intake_free(intake);
        g_assert_cmpuint(files_in(fixture, "sha256") + files_in(fixture, "intake"), ==, 0);
}

/* A dictionary of 256 MiB is the sender's wish; the memory for it is ours. */
static void an_xz_that_wants_too_much_memory_is_refused(struct fixture *fixture, const void *unused)
{
        lzma_options_lzma options;
        lzma_filter filters[] = {{.id = LZMA_FILTER_LZMA2, .options = &options}, {.id = LZMA_VLI_UNKNOWN}};
        g_autofree char *bytes = raw_image();
        uint8_t small[65536];
        size_t used = 0;
        struct blob_facts facts = {};
        struct blob_fault fault = {};

        g_assert_false(lzma_lzma_preset(&options, 0));
        options.dict_size = 256u << 20;
        options.mf = LZMA_MF_HC3;
        g_assert_cmpint(lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC32, NULL, (const uint8_t *)bytes, RAW_BYTES, small, &used,
                                                  sizeof(small)),
                        ==, LZMA_OK);
        g_assert_cmpint(take(fixture, small, used, NULL, &facts, &fault), >, 0);
        g_assert_cmpstr(fault.reason, ==, "ImageCorrupt");
        g_assert_nonnull(strstr(fault.message, "smaller dictionary"));
}

static void damaged_archive_is_told(struct fixture *fixture, const void *unused)
{
        g_autofree char *bytes = raw_image();
        g_autoptr(GByteArray) small = packed(bytes, RAW_BYTES, archive_write_add_filter_gzip);
        struct blob_facts facts = {};
        struct blob_fault fault = {};

        g_assert_cmpint(take(fixture, small->data, small->len / 2, NULL, &facts, &fault), >, 0);
        g_assert_cmpstr(fault.reason, ==, "ImageCorrupt");
}

static void names_outside_the_folder_are_not_opened(struct fixture *fixture, const void *unused)
{
        static const char *const names[] = {"", "../store.db", "/etc/passwd", "abc", "ZZ"};

        for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
                g_assert_cmpint(blobs_open(fixture->blobs, names[i]), ==, -EINVAL);
}

static void interrupted_intake_is_swept_at_start(struct fixture *fixture, const void *unused)
{
        struct blob_intake *intake = NULL;

        g_assert_cmpint(blob_intake_new(fixture->blobs, NULL, &intake), ==, 0);
        g_assert_cmpint(blob_intake_write(intake, "x", 1), ==, 0);
        g_assert_cmpuint(files_in(fixture, "intake"), ==, 1);
        struct blobs *again = NULL;
        g_assert_cmpint(blobs_new(fixture->dir, &again), ==, 0);
        g_assert_cmpuint(files_in(fixture, "intake"), ==, 0);
        blobs_free(again);
        blob_intake_free(intake);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add("/blobs/" #name, struct fixture, NULL, set_up, name, tear_down)
        ADD(image_is_kept_under_its_digest);
        ADD(same_bytes_twice_are_one_file);
        ADD(B31_wrong_digest_leaves_nothing);
        ADD(hostile_files_are_refused);
        ADD(E27_packed_images_are_unpacked);
        ADD(attack_6_bombs_are_cut_off);
        ADD(zeroes_are_unpacked_as_holes);
        ADD(packed_twice_is_refused);
        ADD(damage_is_seen_at_every_place);
        ADD(several_members_are_one_file);
        ADD(unpacking_ends_at_the_quota_and_when_nobody_wants_it);
        ADD(unpacking_that_takes_too_long_ends);
        ADD(an_xz_that_wants_too_much_memory_is_refused);
        ADD(damaged_archive_is_told);
        ADD(names_outside_the_folder_are_not_opened);
        ADD(interrupted_intake_is_swept_at_start);
        return g_test_run();
}
