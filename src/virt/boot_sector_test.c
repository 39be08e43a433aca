/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/boot_sector.h"

#include "base/file.h"

#include <string.h>

#define CLUSTER    (64u << 10)
#define FILE_BYTES (5 * CLUSTER)

/* What is put at places of a file of zeroes. */
struct piece {
        size_t offset;
        uint64_t value;
        unsigned width;
};
#define SIGNATURE(sector)                                                                                                          \
        {                                                                                                                          \
                (sector) + 510, 0x55aa, 2                                                                                          \
        }
#define EXTENDED                                                                                                                   \
        {                                                                                                                          \
                72, 16, 8                                                                                                          \
        }
#define QCOW2                                                                                                                      \
        {0, 0x514649fb, 4}, {4, 3, 4}, {20, 16, 4},                                                                                \
        {                                                                                                                          \
                40, CLUSTER, 8                                                                                                     \
        }
#define L1                                                                                                                         \
        {                                                                                                                          \
                CLUSTER, 2 * CLUSTER | 1ull << 63, 8                                                                               \
        }

static void put(uint8_t *bytes, const struct piece *piece)
{
        for (unsigned i = 0; i < piece->width; i++)
                bytes[piece->offset + i] = (uint8_t)(piece->value >> 8 * (piece->width - 1 - i));
}

static enum boot_sector look(const struct piece *pieces, size_t n, enum virt_format format, bool cdrom, size_t size)
{
        g_autofree char *folder = g_dir_make_tmp("gabbro-boot-XXXXXX", NULL), *path = g_build_filename(folder, "disk", NULL);
        g_autofree uint8_t *bytes = g_malloc0(FILE_BYTES);
        struct virt_disk disk = {.path = path, .format = format, .cdrom = cdrom};
        enum boot_sector seen;

        for (size_t i = 0; i < n; i++)
                put(bytes, &pieces[i]);
        g_assert_cmpint(file_write_exclusive(path, bytes, size, 0600), ==, 0);
        seen = boot_sector_look(&disk);
        g_assert_cmpint(unlink(path), ==, 0);
        g_assert_cmpint(rmdir(folder), ==, 0);
        return seen;
}

static void the_two_bytes_are_found_in_every_format(void)
{
        static const struct {
                const char *name;
                struct piece pieces[10];
                enum virt_format format;
                bool cdrom;
                size_t size;
                enum boot_sector expect;
        } cases[] = {
                {"raw, empty", {}, VIRT_FORMAT_RAW, false, FILE_BYTES, BOOT_SECTOR_MISSING},
                {"raw", {SIGNATURE(0)}, VIRT_FORMAT_RAW, false, FILE_BYTES, BOOT_SECTOR_THERE},
                {"raw, half a signature", {{511, 0xaa, 1}}, VIRT_FORMAT_RAW, false, FILE_BYTES, BOOT_SECTOR_MISSING},
                {"raw, shorter than a sector", {}, VIRT_FORMAT_RAW, false, 100, BOOT_SECTOR_UNKNOWN},
                {"qcow2 header in a raw disk", {QCOW2}, VIRT_FORMAT_RAW, false, FILE_BYTES, BOOT_SECTOR_MISSING},
                {"qcow2, never written", {QCOW2}, VIRT_FORMAT_QCOW2, false, FILE_BYTES, BOOT_SECTOR_MISSING},
                {"qcow2, written elsewhere", {QCOW2, L1}, VIRT_FORMAT_QCOW2, false, FILE_BYTES, BOOT_SECTOR_MISSING},
                {"qcow2",
                 {QCOW2, L1, {2 * CLUSTER, 3 * CLUSTER | 1ull << 63, 8}, SIGNATURE(3 * CLUSTER)},
                 VIRT_FORMAT_QCOW2,
                 false,
                 FILE_BYTES,
                 BOOT_SECTOR_THERE},
                {"qcow2, data",
                 {QCOW2, L1, {2 * CLUSTER, 3 * CLUSTER | 1ull << 63, 8}},
                 VIRT_FORMAT_QCOW2,
                 false,
                 FILE_BYTES,
                 BOOT_SECTOR_MISSING},
                {"qcow2, zeroed",
                 {QCOW2, L1, {2 * CLUSTER, 3 * CLUSTER | 1, 8}, SIGNATURE(3 * CLUSTER)},
                 VIRT_FORMAT_QCOW2,
                 false,
                 FILE_BYTES,
                 BOOT_SECTOR_MISSING},
                {"qcow2, compressed",
                 {QCOW2, L1, {2 * CLUSTER, 3 * CLUSTER | 1ull << 62, 8}},
                 VIRT_FORMAT_QCOW2,
                 false,
                 FILE_BYTES,
                 BOOT_SECTOR_UNKNOWN},
                {"qcow2 over a backing file", {QCOW2, {8, 512, 8}}, VIRT_FORMAT_QCOW2, false, FILE_BYTES, BOOT_SECTOR_UNKNOWN},
                {"qcow2, a table beyond the file",
                 {QCOW2, {CLUSTER, 1ull << 50, 8}},
                 VIRT_FORMAT_QCOW2,
                 false,
                 FILE_BYTES,
                 BOOT_SECTOR_UNKNOWN},
                {"qcow2, a table beyond all files",
                 {QCOW2, {40, UINT64_MAX, 8}},
                 VIRT_FORMAT_QCOW2,
                 false,
                 FILE_BYTES,
                 BOOT_SECTOR_UNKNOWN},
                {"subclusters, never written",
                 {QCOW2, L1, EXTENDED, {2 * CLUSTER, 3 * CLUSTER, 8}, SIGNATURE(3 * CLUSTER)},
                 VIRT_FORMAT_QCOW2,
                 false,
                 FILE_BYTES,
                 BOOT_SECTOR_MISSING},
                {"subclusters",
                 {QCOW2, L1, EXTENDED, {2 * CLUSTER, 3 * CLUSTER, 8}, {2 * CLUSTER + 8, 1, 8}, SIGNATURE(3 * CLUSTER)},
                 VIRT_FORMAT_QCOW2,
                 false,
                 FILE_BYTES,
                 BOOT_SECTOR_THERE},
                {"subclusters, zeroed",
                 {QCOW2, L1, EXTENDED, {2 * CLUSTER, 3 * CLUSTER, 8}, {2 * CLUSTER + 8, 1ull << 32, 8}, SIGNATURE(3 * CLUSTER)},
                 VIRT_FORMAT_QCOW2,
                 false,
                 FILE_BYTES,
                 BOOT_SECTOR_MISSING},
                {"qcow2 that is raw", {SIGNATURE(0)}, VIRT_FORMAT_QCOW2, false, FILE_BYTES, BOOT_SECTOR_UNKNOWN},
                {"a CD of data", {SIGNATURE(0)}, VIRT_FORMAT_RAW, true, FILE_BYTES, BOOT_SECTOR_MISSING},
                {"a CD that boots",
                 {{34816, 0x0043443030310145, 8},
                  {34824, 0x4c20544f5249544f, 8},
                  {34832, 0x2053504543494649, 8},
                  {34840, 0x434154494f4e, 6}},
                 VIRT_FORMAT_RAW,
                 true,
                 FILE_BYTES,
                 BOOT_SECTOR_THERE},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                enum boot_sector seen =
                        look(cases[i].pieces, G_N_ELEMENTS(cases[i].pieces), cases[i].format, cases[i].cdrom, cases[i].size);

                if (seen != cases[i].expect)
                        g_error("%s: %s instead of %s", cases[i].name, boot_sector_to_text(seen),
                                boot_sector_to_text(cases[i].expect));
        }
        g_assert_cmpint(boot_sector_look(&(struct virt_disk){.cdrom = true}), ==, BOOT_SECTOR_MISSING);
        g_assert_cmpint(boot_sector_look(&(struct virt_disk){.path = "/nonexistent"}), ==, BOOT_SECTOR_UNKNOWN);
}

/* Devices in their order: e(mpty disk), b(oots), u(nknown), c(d of data), C(d that boots), "-" is not booted from at all. */
static void the_first_disk_that_boots_comes_first_among_disks(void)
{
        static const struct {
                const char *devices;
                const char *order; /* afterwards, one digit each */
        } cases[] = {
                {"b", "1"},     {"e", "1"},     {"bb", "12"},   {"eb", "21"},   {"ee", "12"},     {"eu", "21"},
                {"ueb", "123"}, {"eeb", "231"}, {"eCb", "123"}, {"ecb", "321"}, {"Ceb", "123"},   {"ceb", "132"},
                {"eC", "12"},   {"e-b", "2-1"}, {"be", "12"},   {"ebC", "213"}, {"eeCb", "1234"}, {"eecb", "2431"},
        };
        g_autofree char *folder = g_dir_make_tmp("gabbro-boot-XXXXXX", NULL);
        g_autofree char *empty = g_build_filename(folder, "e", NULL), *boots = g_build_filename(folder, "b", NULL);
        g_autofree uint8_t *bytes = g_malloc0(FILE_BYTES);
        const struct piece signature = SIGNATURE(0);

        g_assert_cmpint(file_write_exclusive(empty, bytes, FILE_BYTES, 0600), ==, 0);
        put(bytes, &signature);
        memcpy(bytes + 34816, "\0CD001\1EL TORITO SPECIFICATION", 30);
        g_assert_cmpint(file_write_exclusive(boots, bytes, FILE_BYTES, 0600), ==, 0);
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct virt_disk disks[4] = {};
                struct virt_domain domain = {.disks = disks, .n_disks = strlen(cases[i].devices)};
                const struct virt_disk *instead;
                char after[5] = "";
                bool moved = false;
                unsigned n = 0;

                for (size_t j = 0; j < domain.n_disks; j++) {
                        char kind = cases[i].devices[j];

                        disks[j].path = strchr("ec", kind) ? empty : strchr("u-", kind) ? "/nonexistent" : boots;
                        disks[j].cdrom = strchr("cC", kind) != NULL;
                        disks[j].boot_order = kind == '-' ? 0 : ++n;
                }
                instead = boot_sector_fall_through(&domain);
                n = 0;
                for (size_t j = 0; j < domain.n_disks; j++) {
                        bool none = cases[i].devices[j] == '-';

                        after[j] = none ? '-' : (char)('0' + disks[j].boot_order);
                        moved |= !none && disks[j].boot_order != ++n;
                }
                g_assert_cmpstr(after, ==, cases[i].order);
                g_assert_cmpint(instead != NULL, ==, moved);
        }
        g_assert_cmpint(unlink(empty) | unlink(boots) | rmdir(folder), ==, 0);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/boot-sector/formats", the_two_bytes_are_found_in_every_format);
        g_test_add_func("/boot-sector/order", the_first_disk_that_boots_comes_first_among_disks);
        return g_test_run();
}
