/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Our own judgement of image files, before any QEMU tool opens them (library gabbro-image: libc and base only, for the gateway
 * too). Reads at most IMAGE_HEADER_READ_MAX bytes whatever the file claims. Source: QEMU's docs/interop/qcow2.txt, ECMA-119.
 */

enum image_format { IMAGE_FORMAT_RAW, IMAGE_FORMAT_QCOW2, IMAGE_FORMAT_ISO };
const char *image_format_to_text(enum image_format format); /* "raw" "qcow2" "iso" */
int image_format_from_text(const char *text, enum image_format *ret_format);

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

/* Outcome: refused; code and words say why. */
enum { IMAGE_E_REFUSED = 1 };

struct image_refusal {
        const char *reason; /* a constant: ImageHasBackingFile ImageHasDataFile ImageFormatUnsupported ImageHeaderInvalid
                               ImageTooLarge ImageEncrypted ImageFeatureUnknown ImageEmpty */
        char words[256];
};

/**
 * image_header_judge() - what a file is, or why it is refused
 * @fd: readable and seekable; its offset is not used or moved
 *
 * Refused: qcow2 with backing file, data file, encryption, unknown incompatible bits, corrupt bit, broken bounds, a virtual size
 * above LIMIT_IMAGE_BYTES; every other container format that QEMU would probe (VMDK, VDI, VHD, VHDX, QED, Parallels, LUKS, DMG,
 * bochs, cloop); compressed files and archives. A file that is nothing of these is raw (size rounded up to 512).
 *
 * Return: 0, IMAGE_E_REFUSED, or -errno when it cannot be read.
 */
int image_header_judge(int fd, struct image_facts *ret_facts, struct image_refusal *reterr_refusal);

/**
 * image_header_judge_bytes() - the same from the first bytes of a file of @file_size bytes
 * @len: at least min(@file_size, IMAGE_HEADER_READ_MAX) bytes for a final answer
 */
int image_header_judge_bytes(const uint8_t *bytes, size_t len, uint64_t file_size, struct image_facts *ret_facts,
                             struct image_refusal *reterr_refusal);
