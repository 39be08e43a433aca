/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/names.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Our own judgement of image files, before any QEMU tool opens them (library gabbro-image: libc and base only, for the gateway
 * too). Reads at most IMAGE_HEADER_READ_MAX bytes whatever the file claims. Source: QEMU's docs/interop/qcow2.txt, ECMA-119.
 */

enum image_format { IMAGE_FORMAT_RAW, IMAGE_FORMAT_QCOW2, IMAGE_FORMAT_ISO };
ENUM_TABLE_DECLARE(image_format); /* "raw" "qcow2" "iso" */

struct image_facts {
        enum image_format format;
        uint64_t virtual_size_bytes; /* what a guest would see */
        uint64_t file_size_bytes;
        unsigned version;                              /* qcow2: 2 or 3 */
        unsigned cluster_bits;                         /* qcow2 */
        unsigned snapshots;                            /* qcow2: number of internal snapshots */
        bool extended_l2, lazy_refcounts, dirty, zstd; /* qcow2 */
};

#define IMAGE_HEADER_READ_MAX (256u << 10)

/* Outcomes: refused; the refusal says why. */
enum {
        IMAGE_E_REFUSED = 1,
        IMAGE_E_PACKED, /* refused as it is: compressed or an archive; unpack, then judge what comes out */
};

struct image_refusal {
        /* A constant of api/reasons.yaml: ImageHasBackingFile ImageHasDataFile ImageEncrypted ImageFormatRefused ImageFormatUnknown
         * ImageHeaderInvalid ImageTooLarge ImageEmpty. */
        const char *reason;
        char words[256];
};

/**
 * image_header_judge() - what a file is, or why it is refused
 * @fd: readable and seekable; its offset is not used or moved
 *
 * Refused: qcow2 with backing file, data file, encryption, unknown incompatible bits, corrupt bit, tables outside the file or
 * beyond QEMU's bounds, a virtual size above LIMIT_IMAGE_BYTES; ISO 9660 that is cut short; every other container format that QEMU
 * would probe (VMDK, VDI, VHD, VHDX, QED, Parallels, LUKS, DMG, bochs, cloop), each with its name and what to do. Compressed files
 * and archives give IMAGE_E_PACKED. A file that is nothing of
 * these is raw, its size rounded up to 512; give that format to QEMU, which must never probe.
 *
 * Return: 0, IMAGE_E_REFUSED, IMAGE_E_PACKED, or -errno when it cannot be read.
 */
int image_header_judge(int fd, struct image_facts *ret_facts, struct image_refusal *reterr_refusal);

/**
 * image_header_backing() - the name of the file behind a qcow2 file, as its header has it, whether or not there is such a file
 * @ret_name: g_free(); NULL: it stands alone
 *
 * Return: 0, -EBADMSG (no qcow2 file, or a damaged header), or -errno when it cannot be read.
 */
int image_header_backing(int fd, char **ret_name);

/**
 * image_header_judge_bytes() - the same from the first bytes of a file of @file_size bytes
 * @len: all of the file, or IMAGE_HEADER_READ_MAX of it
 * @tail: its last 512 bytes (footers of VHD and DMG), or NULL when it is shorter
 *
 * Return: 0, IMAGE_E_REFUSED or IMAGE_E_PACKED.
 */
int image_header_judge_bytes(const uint8_t *bytes, size_t len, const uint8_t *tail, uint64_t file_size,
                             struct image_facts *ret_facts, struct image_refusal *reterr_refusal);
