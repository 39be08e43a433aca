/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/boot_sector.h"

#include "base/file.h"

#include <assert.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define SIGNATURE_OFFSET 510
#define SECTOR_BYTES     512

/* El Torito 1.0: the boot record volume descriptor is the second one. */
#define EL_TORITO_OFFSET (17 * 2048)
#define EL_TORITO        "\0CD001\1EL TORITO SPECIFICATION"

/* QEMU's docs/interop/qcow2.txt */
#define QCOW2_HEADER_BYTES         104
#define QCOW2_OFFSET               0x00fffffffffffe00ull
#define QCOW2_L2_COMPRESSED        (1ull << 62)
#define QCOW2_L2_ZERO              1ull
#define QCOW2_SUBCLUSTER_ZERO      (1ull << 32)
#define QCOW2_SUBCLUSTER_ALLOCATED 1ull
#define QCOW2_DATA_FILE            (1ull << 2)
#define QCOW2_EXTENDED_L2          (1ull << 4)
#define QCOW2_CLUSTER_BITS_LEAST   9

static const char *const boot_sector_names[] = {
        [BOOT_SECTOR_UNKNOWN] = "unknown", [BOOT_SECTOR_THERE] = "there", [BOOT_SECTOR_MISSING] = "missing"};
ENUM_TABLE(boot_sector, boot_sector_names)

static bool read_at(int fd, uint64_t offset, void *bytes, size_t n)
{
        return offset <= INT64_MAX && pread(fd, bytes, n, (off_t)offset) == (ssize_t)n;
}

static uint64_t number_at(const uint8_t *bytes, size_t offset, unsigned width)
{
        uint64_t value = 0;

        for (unsigned i = 0; i < width; i++)
                value = value << 8 | bytes[offset + i];
        return value;
}

static enum boot_sector look_raw(int fd, uint64_t sector)
{
        uint8_t signature[2];

        if (!read_at(fd, sector + SIGNATURE_OFFSET, signature, sizeof(signature)))
                return BOOT_SECTOR_UNKNOWN;
        return signature[0] == 0x55 && signature[1] == 0xaa ? BOOT_SECTOR_THERE : BOOT_SECTOR_MISSING;
}

/* The first entry of an L2 table: where the first sector is. @unallocated: what holds for one that was never written. */
static enum boot_sector look_entry(int fd, const uint8_t *entry, bool extended, enum boot_sector unallocated)
{
        uint64_t at = number_at(entry, 0, 8), subclusters = extended ? number_at(entry, 8, 8) : 0;
        bool zero = extended ? subclusters & QCOW2_SUBCLUSTER_ZERO : at & QCOW2_L2_ZERO;
        bool allocated = extended ? subclusters & QCOW2_SUBCLUSTER_ALLOCATED : at & QCOW2_OFFSET;

        if (at & QCOW2_L2_COMPRESSED)
                return BOOT_SECTOR_UNKNOWN;
        if (zero)
                return BOOT_SECTOR_MISSING;
        return allocated ? look_raw(fd, at & QCOW2_OFFSET) : unallocated;
}

static enum boot_sector look_qcow2(int fd)
{
        uint8_t header[QCOW2_HEADER_BYTES], entry[16];
        enum boot_sector unallocated;
        uint64_t incompatible, at;

        if (!read_at(fd, 0, header, sizeof(header)) || memcmp(header, "QFI\xfb", 4) != 0)
                return BOOT_SECTOR_UNKNOWN;
        incompatible = number_at(header, 4, 4) >= 3 ? number_at(header, 72, 8) : 0;
        if (number_at(header, 20, 4) < QCOW2_CLUSTER_BITS_LEAST || number_at(header, 32, 4) || incompatible & QCOW2_DATA_FILE)
                return BOOT_SECTOR_UNKNOWN;
        /* Without a backing file what was never written reads as zeroes. */
        unallocated = number_at(header, 8, 8) ? BOOT_SECTOR_UNKNOWN : BOOT_SECTOR_MISSING;
        if (!read_at(fd, number_at(header, 40, 8), entry, 8))
                return BOOT_SECTOR_UNKNOWN;
        at = number_at(entry, 0, 8) & QCOW2_OFFSET;
        if (!at)
                return unallocated;
        if (!read_at(fd, at, entry, sizeof(entry)))
                return BOOT_SECTOR_UNKNOWN;
        return look_entry(fd, entry, incompatible & QCOW2_EXTENDED_L2, unallocated);
}

static enum boot_sector look_cd(int fd)
{
        char record[sizeof(EL_TORITO) - 1];

        if (!read_at(fd, EL_TORITO_OFFSET, record, sizeof(record)))
                return BOOT_SECTOR_UNKNOWN;
        return memcmp(record, EL_TORITO, sizeof(record)) == 0 ? BOOT_SECTOR_THERE : BOOT_SECTOR_MISSING;
}

enum boot_sector boot_sector_look(const struct virt_disk *disk)
{
        autofd fd = -1;

        assert(disk);
        if (!disk->path)
                return BOOT_SECTOR_MISSING;
        fd = open(disk->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return BOOT_SECTOR_UNKNOWN;
        if (disk->cdrom)
                return look_cd(fd);
        return disk->format == VIRT_FORMAT_QCOW2 ? look_qcow2(fd) : look_raw(fd, 0);
}

/* The device that is booted from next after the one at @order. */
static struct virt_disk *next_after(struct virt_domain *domain, unsigned order)
{
        struct virt_disk *next = NULL;

        for (size_t i = 0; i < domain->n_disks; i++) {
                struct virt_disk *disk = &domain->disks[i];

                if (disk->boot_order > order && (!next || disk->boot_order < next->boot_order))
                        next = disk;
        }
        return next;
}

/* @disk comes to the place of @first; the disks between them, and @first, go one place of a disk further. */
static void put_first(struct virt_domain *domain, struct virt_disk *first, struct virt_disk *disk)
{
        unsigned place = first->boot_order, end = disk->boot_order;

        for (struct virt_disk *it = first; it != disk;) {
                struct virt_disk *next = next_after(domain, it->boot_order);

                while (next->cdrom)
                        next = next_after(domain, next->boot_order);
                it->boot_order = next == disk ? end : next->boot_order;
                it = next;
        }
        disk->boot_order = place;
}

const struct virt_disk *boot_sector_fall_through(struct virt_domain *domain)
{
        struct virt_disk *first = NULL, *disk;

        assert(domain);
        for (disk = next_after(domain, 0); disk; disk = next_after(domain, disk->boot_order)) {
                bool again = first && !disk->cdrom;

                if (!first && !disk->cdrom)
                        first = disk;
                if (!next_after(domain, disk->boot_order) && !again)
                        return NULL; /* nothing to fall to: nothing is read */
                if (boot_sector_look(disk) == BOOT_SECTOR_MISSING)
                        continue;
                if (!again)
                        return NULL; /* SeaBIOS comes to it by itself */
                put_first(domain, first, disk);
                return disk;
        }
        return NULL;
}
