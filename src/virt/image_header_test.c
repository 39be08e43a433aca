/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/image_header.h"

#include "base/file.h"
#include "base/limits.h"

#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/mman.h>

#define MIB (1ull << 20)

static void put(uint8_t *bytes, size_t offset, uint64_t value, unsigned width)
{
        while (width--) {
                bytes[offset + width] = (uint8_t)value;
                value >>= 8;
        }
}

/* A sound qcow2 version 3 of 1 GiB with 64 KiB clusters: header, refcount table, refcount block, L1. */
#define SOUND_BYTES (4u << 16)
static void sound(uint8_t *b)
{
        memset(b, 0, SOUND_BYTES);
        memcpy(b, "QFI\xfb", 4);
        put(b, 4, 3, 4);
        put(b, 20, 16, 4);
        put(b, 24, 1ull << 30, 8);
        put(b, 36, 2, 4);
        put(b, 40, 3 << 16, 8);
        put(b, 48, 1 << 16, 8);
        put(b, 56, 1, 4);
        put(b, 96, 4, 4);
        put(b, 100, 112, 4);
}

static void sound_images_are_taken(void)
{
        g_autofree uint8_t *b = g_malloc(SOUND_BYTES);
        struct image_facts facts;
        struct image_refusal refusal;

        sound(b);
        put(b, 80, 1, 8);
        g_assert_cmpint(image_header_judge_bytes(b, SOUND_BYTES, NULL, SOUND_BYTES, &facts, &refusal), ==, 0);
        g_assert_cmpint(facts.format, ==, IMAGE_FORMAT_QCOW2);
        g_assert_cmpuint(facts.virtual_size_bytes, ==, 1ull << 30);
        g_assert_cmpuint(facts.cluster_bits, ==, 16);
        g_assert_cmpuint(facts.version, ==, 3);
        g_assert_true(facts.lazy_refcounts);
        g_assert_false(facts.extended_l2);

        sound(b);
        put(b, 4, 2, 4);
        memset(b + 72, 0, 40);
        g_assert_cmpint(image_header_judge_bytes(b, SOUND_BYTES, NULL, SOUND_BYTES, &facts, &refusal), ==, 0);
        g_assert_cmpuint(facts.version, ==, 2);
}

/* One change of a sound image each (attacks 1, 2, 5). */
struct change {
        const char *what;
        size_t offset;
        uint64_t value;
        unsigned width;
        const char *reason;
};

static const struct change changes[] = {
        {"backing file", 8, 0x200, 8, "ImageHasBackingFile"},
        {"backing file name length alone", 16, 11, 4, "ImageHasBackingFile"},
        {"external data file", 72, 4, 8, "ImageHasDataFile"},
        {"raw external data", 88, 2, 8, "ImageHasDataFile"},
        {"data file name extension", 112, 0x4441544100000004, 8, "ImageHasDataFile"},
        {"encryption", 32, 1, 4, "ImageEncrypted"},
        {"LUKS header extension", 112, 0x0537be7700000010, 8, "ImageEncrypted"},
        {"unknown incompatible bit 5", 72, 32, 8, "ImageFormatRefused"},
        {"unknown incompatible bit 63", 72, 1ull << 63, 8, "ImageFormatRefused"},
        {"unknown compression", 104, 2, 1, "ImageFormatRefused"},
        {"compression without its bit", 104, 1, 1, "ImageHeaderInvalid"},
        {"compression bit without a type", 72, 8, 8, "ImageHeaderInvalid"},
        {"corrupt", 72, 2, 8, "ImageHeaderInvalid"},
        {"version 1", 4, 1, 4, "ImageFormatUnknown"},
        {"version 4", 4, 4, 4, "ImageFormatUnknown"},
        {"version 2^32-1", 4, UINT32_MAX, 4, "ImageFormatUnknown"},
        {"cluster bits 8", 20, 8, 4, "ImageHeaderInvalid"},
        {"cluster bits 22", 20, 22, 4, "ImageHeaderInvalid"},
        {"cluster bits 2^32-1", 20, UINT32_MAX, 4, "ImageHeaderInvalid"},
        {"virtual size 8 EiB", 24, INT64_MAX, 8, "ImageTooLarge"},
        {"virtual size 2^64-1", 24, UINT64_MAX, 8, "ImageTooLarge"},
        {"virtual size above the limit by one", 24, LIMIT_IMAGE_BYTES + 1, 8, "ImageTooLarge"},
        {"no bytes", 24, 0, 8, "ImageEmpty"},
        {"L1 too small for the size", 36, 1, 4, "ImageHeaderInvalid"},
        {"L1 of 2^32-1 entries", 36, UINT32_MAX, 4, "ImageHeaderInvalid"},
        {"L1 off a cluster boundary", 40, (3 << 16) + 8, 8, "ImageHeaderInvalid"},
        {"L1 nowhere", 40, 0, 8, "ImageHeaderInvalid"},
        {"L1 beyond the file", 40, 1ull << 40, 8, "ImageHeaderInvalid"},
        {"L1 offset that overflows", 40, UINT64_MAX & ~0xffffull, 8, "ImageHeaderInvalid"},
        {"refcount table of no clusters", 56, 0, 4, "ImageHeaderInvalid"},
        {"refcount table of 2^32-1 clusters", 56, UINT32_MAX, 4, "ImageHeaderInvalid"},
        {"refcount table beyond the file", 48, 4 << 16, 8, "ImageHeaderInvalid"},
        {"refcount order 7", 96, 7, 4, "ImageHeaderInvalid"},
        {"2^32-1 snapshots", 60, UINT32_MAX, 4, "ImageHeaderInvalid"},
        {"snapshots nowhere", 60, 1, 4, "ImageHeaderInvalid"},
        {"header of 0 bytes", 100, 0, 4, "ImageHeaderInvalid"},
        {"header of 103 bytes", 100, 103, 4, "ImageHeaderInvalid"},
        {"header above a cluster", 100, (1 << 16) + 8, 4, "ImageHeaderInvalid"},
        {"extension that reaches too far", 112, 0x00000001ffffffff, 8, "ImageHeaderInvalid"},
        {"extended L2 with clusters of 4 KiB", 20, 12, 4, "ImageHeaderInvalid"},
};

static void every_dangerous_field_is_refused_with_its_reason(void)
{
        g_autofree uint8_t *b = g_malloc(SOUND_BYTES);

        for (size_t i = 0; i < G_N_ELEMENTS(changes); i++) {
                struct image_facts facts = {};
                struct image_refusal refusal = {};
                int r;

                sound(b);
                if (g_str_has_prefix(changes[i].what, "extended"))
                        put(b, 72, 16, 8);
                put(b, changes[i].offset, changes[i].value, changes[i].width);
                r = image_header_judge_bytes(b, SOUND_BYTES, NULL, SOUND_BYTES, &facts, &refusal);
                g_test_message("%s: %s", changes[i].what, refusal.words);
                g_assert_cmpint(r, ==, IMAGE_E_REFUSED);
                g_assert_cmpstr(refusal.reason, ==, changes[i].reason);
                g_assert_cmpint(strlen(refusal.words), >, 10);
        }
}

static void endless_header_extensions_are_refused(void)
{
        g_autofree uint8_t *b = g_malloc(SOUND_BYTES);
        struct image_facts facts;
        struct image_refusal refusal = {};

        sound(b);
        for (size_t at = 112; at + 8 <= 1 << 16; at += 8)
                put(b, at, 0x1111111100000000, 8);
        g_assert_cmpint(image_header_judge_bytes(b, SOUND_BYTES, NULL, SOUND_BYTES, &facts, &refusal), ==, IMAGE_E_REFUSED);
        g_assert_cmpstr(refusal.reason, ==, "ImageHeaderInvalid");
}

static void a_web_page_is_no_image(void)
{
        static const struct {
                const char *text;
                int outcome;
        } cases[] = {
                {"<!DOCTYPE html>\n<title>404", IMAGE_E_REFUSED},
                {" \r\n\t<HTML>", IMAGE_E_REFUSED},
                {"<htm", 0},
                {"  ", 0},
                {"\0<html>", 0},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct image_facts facts;
                struct image_refusal refusal = {};
                uint8_t b[32] = {};

                memcpy(b, cases[i].text, strlen(cases[i].text + 1) + 1);
                g_assert_cmpint(image_header_judge_bytes(b, sizeof(b), NULL, sizeof(b), &facts, &refusal), ==, cases[i].outcome);
                if (cases[i].outcome)
                        g_assert_nonnull(strstr(refusal.words, "web page"));
        }
}

static void every_cut_of_a_sound_image_is_refused_or_raw(void)
{
        g_autofree uint8_t *b = g_malloc(SOUND_BYTES);

        sound(b);
        for (size_t len = 0; len < SOUND_BYTES; len += len < 256 ? 1 : 4099) {
                struct image_facts facts = {};
                struct image_refusal refusal = {};
                int r = image_header_judge_bytes(b, len, NULL, len, &facts, &refusal);

                if (r == 0)
                        g_assert_true(facts.format == IMAGE_FORMAT_RAW ? len < 8 : len >= (3 << 16) + 16);
        }
}

/* Attacks 3 and 4: containers that QEMU would probe, and polyglots. */
#define HEAD(bytes) bytes, sizeof(bytes) - 1
static void other_containers_are_refused(void)
{
        static const struct {
                const char *head;
                size_t len, offset;
                int r;
                const char *reason;
        } rows[] = {
                {HEAD("KDMV\x01"), 0, IMAGE_E_REFUSED, "ImageFormatUnknown"},
                {HEAD("COWD"), 0, IMAGE_E_REFUSED, "ImageFormatUnknown"},
                {HEAD("# Disk DescriptorFile\nversion=1\nRW 1 FLAT \"/etc/shadow\" 0\n"), 0, IMAGE_E_REFUSED, "ImageFormatUnknown"},
                {HEAD("#x\r\n\r\n   \n\nversion=3\n"), 0, IMAGE_E_REFUSED, "ImageFormatUnknown"},
                {HEAD("\n\nversion=2"), 0, IMAGE_E_REFUSED, "ImageFormatUnknown"},
                {HEAD("\x7f\x10\xda\xbe"), 64, IMAGE_E_REFUSED, "ImageFormatUnknown"},
                {HEAD("conectix"), 0, IMAGE_E_REFUSED, "ImageFormatUnknown"},
                {HEAD("conectix"), 4096 - 512, IMAGE_E_REFUSED, "ImageFormatUnknown"},
                {HEAD("koly"), 4096 - 512, IMAGE_E_REFUSED, "ImageFormatUnknown"},
                {HEAD("vhdxfile"), 0, IMAGE_E_REFUSED, "ImageFormatUnknown"},
                {HEAD("QED"), 0, IMAGE_E_REFUSED, "ImageFormatUnknown"},
                {HEAD("WithoutFreeSpace"), 0, IMAGE_E_REFUSED, "ImageFormatUnknown"},
                {HEAD("LUKS\xba\xbe"), 0, IMAGE_E_REFUSED, "ImageEncrypted"},
                {HEAD("\x1f\x8b\x08"), 0, IMAGE_E_PACKED, "ImageFormatUnknown"},
                {HEAD("\xfd\x37zXZ"), 0, IMAGE_E_PACKED, "ImageFormatUnknown"},
                {HEAD("\x28\xb5\x2f\xfd"), 0, IMAGE_E_PACKED, "ImageFormatUnknown"},
                {HEAD("BZh9"), 0, IMAGE_E_PACKED, "ImageFormatUnknown"},
                {HEAD("ustar"), 257, IMAGE_E_PACKED, "ImageFormatUnknown"},
                {HEAD("# a shell script\nversion"), 0, 0, NULL},
                {HEAD("\xeb\x63\x90"), 0, 0, NULL},
                {HEAD("QFI"), 0, 0, NULL},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                uint8_t bytes[4096] = {};
                struct image_facts facts = {};
                struct image_refusal refusal = {};

                memcpy(bytes + rows[i].offset, rows[i].head, rows[i].len);
                g_assert_cmpint(image_header_judge_bytes(bytes, sizeof(bytes), bytes + sizeof(bytes) - 512, sizeof(bytes), &facts,
                                                         &refusal),
                                ==, rows[i].r);
                g_assert_cmpstr(refusal.reason, ==, rows[i].reason);
                if (!rows[i].r)
                        g_assert_cmpint(facts.format, ==, IMAGE_FORMAT_RAW);
        }
}

static void put_little(uint8_t *bytes, size_t offset, uint64_t value, unsigned width)
{
        for (; width--; value >>= 8)
                bytes[offset++] = (uint8_t)value;
}

/* Attack 3: a refusal names the format, what kind of it the file is, and what to do. */
static void refusals_name_the_format_its_kind_and_the_remedy(void)
{
        static const char text[] = "# Disk DescriptorFile\nversion=1\ncreateType=\"streamOptimized\"\n";
        static const char flat[] =
                "# Disk DescriptorFile\nversion=1\ncreateType=\"twoGbMaxExtentFlat\"\nRW 1 FLAT \"/etc/shadow\" 0\n";
        uint8_t vmdk[4096] = "KDMV", vhd[4096] = {}, vdi[4096] = {}, qed[4096] = "QED", broken[4096] = "KDMV", plain[4096] = {};
        const struct {
                const uint8_t *bytes;
                const char *words;
        } rows[] = {
                {vmdk, "VMDK images (streamOptimized) are not supported; convert it: qemu-img convert -f vmdk -O qcow2 IN OUT"},
                {broken, "VMDK images are not supported; convert it: qemu-img convert -f vmdk -O qcow2 IN OUT"},
                {vhd, "VHD images (dynamic) are not supported; convert it: qemu-img convert -f vpc -O qcow2 IN OUT"},
                {vdi, "VDI images (differencing, it needs its parent) are not supported; convert it: qemu-img convert -f vdi -O "
                      "qcow2 IN "
                      "OUT"},
                {qed, "QED images (with a backing file) are not supported; convert it: qemu-img convert -f qed -O qcow2 IN OUT"},
                {plain,
                 "VMDK descriptors (twoGbMaxExtentFlat) are not supported, they name other files; convert it where those are: "
                 "qemu-img convert -f vmdk -O qcow2 IN OUT"},
        };

        put_little(vmdk, 28, 1, 8);
        put_little(vmdk, 36, 2, 8);
        memcpy(vmdk + 512, text, sizeof(text));
        put_little(broken, 28, UINT64_MAX, 8);
        put_little(broken, 36, UINT64_MAX, 8);
        memcpy(vhd + sizeof(vhd) - 512, "conectix", 8);
        put(vhd, sizeof(vhd) - 512 + 60, 3, 4);
        memcpy(vdi + 64, "\x7f\x10\xda\xbe", 4);
        put_little(vdi, 76, 4, 4);
        put_little(qed, 16, 1, 8);
        memcpy(plain, flat, sizeof(flat));
        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                struct image_facts facts = {};
                struct image_refusal refusal = {};

                g_assert_cmpint(image_header_judge_bytes(rows[i].bytes, 4096, rows[i].bytes + 4096 - 512, 4096, &facts, &refusal),
                                ==, IMAGE_E_REFUSED);
                g_assert_cmpstr(refusal.words, ==, rows[i].words);
        }
}

static void blank_lines_to_the_end_are_raw_and_read_nothing_beyond(void)
{
        g_autofree uint8_t *bytes = g_malloc(300);
        struct image_facts facts;
        struct image_refusal refusal;

        memset(bytes, ' ', 300);
        g_assert_cmpint(image_header_judge_bytes(bytes, 300, NULL, 300, &facts, &refusal), ==, 0);
        memset(bytes, '\n', 300);
        g_assert_cmpint(image_header_judge_bytes(bytes, 300, NULL, 300, &facts, &refusal), ==, 0);
        g_assert_cmpuint(facts.virtual_size_bytes, ==, 512);
}

static void iso_images_are_known_and_cut_ones_refused(void)
{
        size_t len = 64 * 2048;
        g_autofree uint8_t *b = g_malloc0(len);
        struct image_facts facts;
        struct image_refusal refusal = {};

        b[16 * 2048] = 0; /* a boot record comes first */
        memcpy(b + 16 * 2048 + 1, "CD001\1", 6);
        b[17 * 2048] = 1;
        memcpy(b + 17 * 2048 + 1, "CD001\1", 6);
        put(b, 17 * 2048 + 84, 64, 4);
        put(b, 17 * 2048 + 130, 2048, 2);
        g_assert_cmpint(image_header_judge_bytes(b, len, NULL, len, &facts, &refusal), ==, 0);
        g_assert_cmpint(facts.format, ==, IMAGE_FORMAT_ISO);
        g_assert_cmpuint(facts.virtual_size_bytes, ==, len);

        put(b, 17 * 2048 + 84, 100000, 4);
        g_assert_cmpint(image_header_judge_bytes(b, len, NULL, len, &facts, &refusal), ==, IMAGE_E_REFUSED);
        g_assert_cmpstr(refusal.reason, ==, "ImageHeaderInvalid");

        put(b, 17 * 2048 + 84, 64, 4);
        put(b, 17 * 2048 + 162, 63, 4); /* the root directory */
        put(b, 17 * 2048 + 170, 2048, 4);
        g_assert_cmpint(image_header_judge_bytes(b, len, NULL, len, &facts, &refusal), ==, 0);
        put(b, 17 * 2048 + 170, 4096, 4);
        g_assert_cmpint(image_header_judge_bytes(b, len, NULL, len, &facts, &refusal), ==, IMAGE_E_REFUSED);
        g_assert_nonnull(strstr(refusal.words, "root directory"));

        b[17 * 2048] = 255; /* no primary descriptor before the end of the set: only a guest can tell what it is */
        g_assert_cmpint(image_header_judge_bytes(b, len, NULL, len, &facts, &refusal), ==, 0);
}

static void files_are_judged_by_their_descriptor(void)
{
        g_autofree uint8_t *b = g_malloc(SOUND_BYTES);
        autofd fd = memfd_create("image", MFD_CLOEXEC), huge = memfd_create("huge", MFD_CLOEXEC), empty = -1, null = -1;
        struct image_facts facts;
        struct image_refusal refusal = {};

        sound(b);
        g_assert_cmpint(fd_write_all(fd, b, SOUND_BYTES), ==, 0);
        g_assert_cmpint(image_header_judge(fd, &facts, &refusal), ==, 0);
        g_assert_cmpint(facts.format, ==, IMAGE_FORMAT_QCOW2);
        g_assert_cmpint(lseek(fd, 0, SEEK_CUR), ==, SOUND_BYTES);

        g_assert_cmpint(ftruncate(huge, (off_t)(LIMIT_IMAGE_BYTES + 1)), ==, 0);
        g_assert_cmpint(image_header_judge(huge, &facts, &refusal), ==, IMAGE_E_REFUSED);
        g_assert_cmpstr(refusal.reason, ==, "ImageTooLarge");
        g_assert_cmpint(ftruncate(huge, (off_t)(700 * MIB + 1)), ==, 0);
        g_assert_cmpint(image_header_judge(huge, &facts, &refusal), ==, 0);
        g_assert_cmpuint(facts.virtual_size_bytes, ==, 700 * MIB + 512);

        empty = memfd_create("empty", MFD_CLOEXEC);
        g_assert_cmpint(image_header_judge(empty, &facts, &refusal), ==, IMAGE_E_REFUSED);
        g_assert_cmpstr(refusal.reason, ==, "ImageEmpty");
        null = open("/dev/null", O_RDONLY | O_CLOEXEC);
        g_assert_cmpint(image_header_judge(null, &facts, &refusal), ==, IMAGE_E_REFUSED);
}

static void the_file_behind_an_image_is_named(void)
{
        static const uint8_t sizes[][2] = {{0xff, 0xff}, {0, 0}, {0, 200}}; /* too long, nothing, beyond the end */
        static const char name[] = "/pool/base.qcow2";
        uint8_t head[256] = {'Q', 'F', 'I', 0xfb, 0, 0, 0, 3};
        g_autofree char *found = NULL;
        autofd fd = memfd_create("linked", MFD_CLOEXEC);

        g_assert_cmpint(image_header_backing(fd, &found), ==, -EBADMSG);
        g_assert_cmpint(pwrite(fd, head, sizeof(head), 0), ==, sizeof(head));
        g_assert_cmpint(image_header_backing(fd, &found), ==, 0);
        g_assert_null(found);
        head[15] = 120;
        head[19] = sizeof(name) - 1;
        memcpy(head + 120, name, sizeof(name) - 1);
        g_assert_cmpint(pwrite(fd, head, sizeof(head), 0), ==, sizeof(head));
        g_assert_cmpint(image_header_backing(fd, &found), ==, 0);
        g_assert_cmpstr(found, ==, name);
        for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
                g_clear_pointer(&found, g_free);
                memcpy(head + 18, sizes[i], 2);
                g_assert_cmpint(pwrite(fd, head, sizeof(head), 0), ==, sizeof(head));
                g_assert_cmpint(image_header_backing(fd, &found), ==, -EBADMSG);
                g_assert_null(found);
        }
}

static void format_names_go_both_ways(void)
{
        for (enum image_format f = IMAGE_FORMAT_RAW; f <= IMAGE_FORMAT_ISO; f++) {
                enum image_format back;

                g_assert_cmpint(image_format_from_text(image_format_to_text(f), &back), ==, 0);
                g_assert_cmpint(back, ==, f);
        }
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/image/sound_images_are_taken", sound_images_are_taken);
        g_test_add_func("/image/every_dangerous_field_is_refused_with_its_reason",
                        every_dangerous_field_is_refused_with_its_reason);
        g_test_add_func("/image/endless_header_extensions_are_refused", endless_header_extensions_are_refused);
        g_test_add_func("/image/a_web_page_is_no_image", a_web_page_is_no_image);
        g_test_add_func("/image/every_cut_of_a_sound_image_is_refused_or_raw", every_cut_of_a_sound_image_is_refused_or_raw);
        g_test_add_func("/image/other_containers_are_refused", other_containers_are_refused);
        g_test_add_func("/image/refusals_name_the_format_its_kind_and_the_remedy",
                        refusals_name_the_format_its_kind_and_the_remedy);
        g_test_add_func("/image/blank_lines_to_the_end_are_raw_and_read_nothing_beyond",
                        blank_lines_to_the_end_are_raw_and_read_nothing_beyond);
        g_test_add_func("/image/iso_images_are_known_and_cut_ones_refused", iso_images_are_known_and_cut_ones_refused);
        g_test_add_func("/image/files_are_judged_by_their_descriptor", files_are_judged_by_their_descriptor);
        g_test_add_func("/image/the_file_behind_an_image_is_named", the_file_behind_an_image_is_named);
        g_test_add_func("/image/format_names_go_both_ways", format_names_go_both_ways);
        return g_test_run();
}
