/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "gateway/blobs.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <glib.h>
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

/* Requirement E31 and attack 7: what does not hash to the promise is not kept. */
static void E31_wrong_digest_leaves_nothing(struct fixture *fixture, const void *unused)
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
        ADD(E31_wrong_digest_leaves_nothing);
        ADD(hostile_files_are_refused);
        ADD(E27_packed_images_are_unpacked);
        ADD(damaged_archive_is_told);
        ADD(names_outside_the_folder_are_not_opened);
        ADD(interrupted_intake_is_swept_at_start);
        return g_test_run();
}
