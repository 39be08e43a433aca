/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/image_internal.h"

#include "base/limits.h"

#include <assert.h>
#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* Bounds as in QEMU's block/qcow2.h: an image beyond them could not be opened anyway. */
#define CLUSTER_BITS_MIN          9
#define CLUSTER_BITS_MAX          21
#define CLUSTER_BITS_MIN_EXTENDED 14
#define L1_BYTES_MAX              (32ull << 20)
#define REFCOUNT_TABLE_BYTES_MAX  (8ull << 20)
#define SNAPSHOTS_MAX             65536
#define SNAPSHOT_BYTES_MIN        40
#define REFCOUNT_ORDER_MAX        6
#define HEADER_BYTES_V2           72
#define HEADER_BYTES_V3           104
#define EXTENSIONS_MAX            64

enum {
        INCOMPATIBLE_DIRTY = 1 << 0,
        INCOMPATIBLE_CORRUPT = 1 << 1,
        INCOMPATIBLE_DATA_FILE = 1 << 2,
        INCOMPATIBLE_COMPRESSION = 1 << 3,
        INCOMPATIBLE_EXTENDED_L2 = 1 << 4,
        INCOMPATIBLE_KNOWN = (1 << 5) - 1,
};
#define COMPATIBLE_LAZY_REFCOUNTS 1
#define AUTOCLEAR_RAW_EXTERNAL    2

enum {
        EXTENSION_END = 0,
        EXTENSION_ENCRYPTION = 0x0537be77,
        EXTENSION_DATA_FILE = 0x44415441,
};

struct qcow2_header {
        uint64_t backing_offset, size, l1_offset, refcount_offset, snapshots_offset;
        uint64_t incompatible, compatible, autoclear;
        uint32_t version, backing_size, cluster_bits, crypt_method, l1_entries, refcount_clusters, snapshots;
        uint32_t refcount_order, header_bytes;
        uint8_t compression;
};

static void header_read(const struct image_view *view, struct qcow2_header *ret_header)
{
        struct qcow2_header h = {
                .version = (uint32_t)image_be(view, 4, 4),
                .backing_offset = image_be(view, 8, 8),
                .backing_size = (uint32_t)image_be(view, 16, 4),
                .cluster_bits = (uint32_t)image_be(view, 20, 4),
                .size = image_be(view, 24, 8),
                .crypt_method = (uint32_t)image_be(view, 32, 4),
                .l1_entries = (uint32_t)image_be(view, 36, 4),
                .l1_offset = image_be(view, 40, 8),
                .refcount_offset = image_be(view, 48, 8),
                .refcount_clusters = (uint32_t)image_be(view, 56, 4),
                .snapshots = (uint32_t)image_be(view, 60, 4),
                .snapshots_offset = image_be(view, 64, 8),
                .refcount_order = 4,
                .header_bytes = HEADER_BYTES_V2,
        };

        if (h.version >= 3) {
                h.incompatible = image_be(view, 72, 8);
                h.compatible = image_be(view, 80, 8);
                h.autoclear = image_be(view, 88, 8);
                h.refcount_order = (uint32_t)image_be(view, 96, 4);
                h.header_bytes = (uint32_t)image_be(view, 100, 4);
                h.compression = h.header_bytes > HEADER_BYTES_V3 ? (uint8_t)image_be(view, 104, 1) : 0;
        }
        *ret_header = h;
}

static int check_identity(const struct image_view *view, const struct qcow2_header *h, struct image_refusal *reterr)
{
        if (h->version == 1)
                return image_refuse(reterr, "ImageFormatUnknown",
                                    "QCOW version 1 is not supported; convert it: qemu-img convert -f qcow -O qcow2 IN OUT");
        if (h->version != 2 && h->version != 3)
                return image_refuse(reterr, "ImageFormatUnknown", "QCOW version %" PRIu32 " is not supported, only 2 and 3",
                                    h->version);
        if (view->file_size < (h->version == 2 ? HEADER_BYTES_V2 : HEADER_BYTES_V3))
                return image_refuse(reterr, "ImageHeaderInvalid", "the file ends within the qcow2 header");
        if (h->cluster_bits < CLUSTER_BITS_MIN || h->cluster_bits > CLUSTER_BITS_MAX)
                return image_refuse(reterr, "ImageHeaderInvalid", "cluster size 2^%" PRIu32 " is outside 2^%d to 2^%d",
                                    h->cluster_bits, CLUSTER_BITS_MIN, CLUSTER_BITS_MAX);
        if (h->version == 3 && (h->header_bytes < HEADER_BYTES_V3 || h->header_bytes > 1u << h->cluster_bits))
                return image_refuse(reterr, "ImageHeaderInvalid", "a header of %" PRIu32 " bytes is impossible", h->header_bytes);
        return 0;
}

static int check_references(const struct qcow2_header *h, struct image_refusal *reterr)
{
        if (h->backing_offset || h->backing_size)
                return image_refuse(reterr, "ImageHasBackingFile",
                                    "the image refers to a backing file; flatten it with qemu-img convert before the upload");
        if (h->incompatible & INCOMPATIBLE_DATA_FILE || h->autoclear & AUTOCLEAR_RAW_EXTERNAL)
                return image_refuse(reterr, "ImageHasDataFile",
                                    "the image keeps its content in an external data file; put it into one file with qemu-img "
                                    "convert before the upload");
        if (h->crypt_method)
                return image_refuse(reterr, "ImageEncrypted", "the image is encrypted");
        return 0;
}

static int check_features(const struct qcow2_header *h, struct image_refusal *reterr)
{
        if (h->incompatible & ~(uint64_t)INCOMPATIBLE_KNOWN)
                return image_refuse(reterr, "ImageFormatRefused", "unknown incompatible feature bits 0x%" PRIx64,
                                    h->incompatible & ~(uint64_t)INCOMPATIBLE_KNOWN);
        if (h->incompatible & INCOMPATIBLE_CORRUPT)
                return image_refuse(reterr, "ImageHeaderInvalid", "the image is marked as corrupt");
        if (h->compression > 1)
                return image_refuse(reterr, "ImageFormatRefused", "unknown compression type %u", h->compression);
        if (!h->compression != !(h->incompatible & INCOMPATIBLE_COMPRESSION))
                return image_refuse(reterr, "ImageHeaderInvalid", "compression type %u contradicts the feature bits",
                                    h->compression);
        if (h->incompatible & INCOMPATIBLE_EXTENDED_L2 && h->cluster_bits < CLUSTER_BITS_MIN_EXTENDED)
                return image_refuse(reterr, "ImageHeaderInvalid", "extended L2 entries need clusters of 2^%d bytes or more",
                                    CLUSTER_BITS_MIN_EXTENDED);
        if (h->refcount_order > REFCOUNT_ORDER_MAX)
                return image_refuse(reterr, "ImageHeaderInvalid", "reference counts of 2^%" PRIu32 " bits are impossible",
                                    h->refcount_order);
        return 0;
}

static int check_table(const struct image_view *view, const struct qcow2_header *h, const char *what, uint64_t offset,
                       uint64_t bytes, struct image_refusal *reterr)
{
        if (!bytes)
                return 0;
        if (!offset || offset & ((1ull << h->cluster_bits) - 1))
                return image_refuse(reterr, "ImageHeaderInvalid", "the %s table is not at a cluster boundary", what);
        if (offset > view->file_size || bytes > view->file_size - offset)
                return image_refuse(reterr, "ImageHeaderInvalid", "the %s table lies outside the file; is it cut short?", what);
        return 0;
}

static int check_tables(const struct image_view *view, const struct qcow2_header *h, struct image_refusal *reterr)
{
        uint64_t l2_entries = 1ull << (h->cluster_bits - (h->incompatible & INCOMPATIBLE_EXTENDED_L2 ? 4 : 3));
        uint64_t l1_reach = l2_entries << h->cluster_bits; /* at most 2^39 */
        uint64_t refcount_bytes = (uint64_t)h->refcount_clusters << h->cluster_bits;
        int r;

        if (!h->size)
                return image_refuse(reterr, "ImageEmpty", "the image holds a disk of no bytes");
        if (h->size > LIMIT_IMAGE_BYTES)
                return image_refuse(reterr, "ImageTooLarge", "a virtual size of %" PRIu64 " bytes is above the limit of %llu",
                                    h->size, LIMIT_IMAGE_BYTES);
        if ((uint64_t)h->l1_entries * 8 > L1_BYTES_MAX || h->l1_entries < (h->size + l1_reach - 1) / l1_reach)
                return image_refuse(reterr, "ImageHeaderInvalid",
                                    "an L1 table of %" PRIu32 " entries does not fit the virtual size", h->l1_entries);
        if (!refcount_bytes || refcount_bytes > REFCOUNT_TABLE_BYTES_MAX)
                return image_refuse(reterr, "ImageHeaderInvalid", "a refcount table of %" PRIu64 " bytes is impossible",
                                    refcount_bytes);
        if (h->snapshots > SNAPSHOTS_MAX)
                return image_refuse(reterr, "ImageHeaderInvalid", "%" PRIu32 " snapshots are too many", h->snapshots);
        r = check_table(view, h, "L1", h->l1_offset, (uint64_t)h->l1_entries * 8, reterr);
        if (!r)
                r = check_table(view, h, "refcount", h->refcount_offset, refcount_bytes, reterr);
        if (!r)
                r = check_table(view, h, "snapshot", h->snapshots_offset, (uint64_t)h->snapshots * SNAPSHOT_BYTES_MIN, reterr);
        return r;
}

static int check_extensions(const struct image_view *view, const struct qcow2_header *h, struct image_refusal *reterr)
{
        uint64_t offset = h->header_bytes, end = MIN(1ull << h->cluster_bits, view->file_size);

        for (unsigned n = 0; offset + 8 <= end; n++) {
                uint64_t type, length;

                if (n == EXTENSIONS_MAX || offset + 8 > view->len)
                        return image_refuse(reterr, "ImageHeaderInvalid", "the header extensions do not end");
                type = image_be(view, offset, 4);
                length = image_be(view, offset + 4, 4);
                offset += 8;
                if (type == EXTENSION_END)
                        return 0;
                if (type == EXTENSION_DATA_FILE)
                        return image_refuse(reterr, "ImageHasDataFile", "the image names an external data file");
                if (type == EXTENSION_ENCRYPTION)
                        return image_refuse(reterr, "ImageEncrypted", "the image has an encryption header");
                if (length > end - offset)
                        return image_refuse(reterr, "ImageHeaderInvalid", "a header extension reaches beyond the header's cluster");
                offset += (length + 7) & ~7ull;
        }
        return 0;
}

int image_qcow2_judge(const struct image_view *view, struct image_facts *ret_facts, struct image_refusal *reterr)
{
        struct qcow2_header h;
        int r;

        assert(view && view->bytes && ret_facts && reterr);

        header_read(view, &h);
        r = check_identity(view, &h, reterr);
        if (!r)
                r = check_references(&h, reterr);
        if (!r)
                r = check_features(&h, reterr);
        if (!r)
                r = check_tables(view, &h, reterr);
        if (!r)
                r = check_extensions(view, &h, reterr);
        if (r)
                return r;
        *ret_facts = (struct image_facts){
                .format = IMAGE_FORMAT_QCOW2,
                .virtual_size_bytes = (h.size + 511) & ~511ull,
                .file_size_bytes = view->file_size,
                .version = h.version,
                .cluster_bits = h.cluster_bits,
                .snapshots = h.snapshots,
                .extended_l2 = h.incompatible & INCOMPATIBLE_EXTENDED_L2,
                .lazy_refcounts = h.compatible & COMPATIBLE_LAZY_REFCOUNTS,
                .dirty = h.incompatible & INCOMPATIBLE_DIRTY,
                .zstd = h.compression == 1,
        };
        return 0;
}

#define BACKING_BYTES_MAX 1023 /* as in QEMU */

int image_header_backing(int fd, char **ret_name)
{
        uint8_t head[HEADER_BYTES_V2];
        struct image_view view = {.bytes = head, .len = sizeof(head)};
        struct qcow2_header h;

        assert(ret_name);
        *ret_name = NULL;
        ssize_t n = pread(fd, head, sizeof(head), 0);
        if (n < 0)
                return -errno;
        if (n < (ssize_t)sizeof(head) || memcmp(head, "QFI\xfb", 4) != 0)
                return -EBADMSG;
        h.backing_offset = image_be(&view, 8, 8);
        h.backing_size = (uint32_t)image_be(&view, 16, 4);
        if (!h.backing_offset)
                return 0;
        if (h.backing_size == 0 || h.backing_size > BACKING_BYTES_MAX || h.backing_offset > INT64_MAX)
                return -EBADMSG;
        g_autofree char *name = g_malloc0(h.backing_size + 1);
        n = pread(fd, name, h.backing_size, (off_t)h.backing_offset);
        if (n != (ssize_t)h.backing_size)
                return n < 0 ? -errno : -EBADMSG;
        *ret_name = g_steal_pointer(&name);
        return 0;
}
