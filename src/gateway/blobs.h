/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The bytes of the image library: files named by the SHA-256 of their content below DATA/blobs. Filling one is work for pool
 * threads: struct blob_intake is used by one thread at a time.
 */
struct blobs;

/** blobs_new() - make the folders, drop what interrupted intakes left. */
int blobs_new(const char *data_dir, struct blobs **ret_blobs);
struct blobs *blobs_free(struct blobs *blobs);
/** blobs_open() - a read-only fd, -EINVAL when @digest is no SHA-256, -ENOENT. */
int blobs_open(struct blobs *blobs, const char *digest);
/** blobs_remove() - 0, -EINVAL, -ENOENT. A reader that has the file open keeps its bytes. */
int blobs_remove(struct blobs *blobs, const char *digest);
bool blobs_has(struct blobs *blobs, const char *digest);

/* What the library knows of an accepted image. */
struct blob_facts {
        char digest[65]; /* of the stored file */
        uint64_t size_bytes;
        uint64_t virtual_size_bytes;
        char format[8]; /* "qcow2" "raw" "iso" */
};

/* Why an image was not accepted: a reason code of api/reasons.yaml and words. */
struct blob_fault {
        const char *reason;
        char message[256];
};

/* What may end an intake early. Asked on the thread that works for it, at every piece. */
struct blob_bounds {
        uint64_t (*room)(void *userdata); /* bytes that the stored file may have (quotas); NULL: as many as an image may */
        bool (*go_on)(void *userdata);    /* false: -ECANCELED; NULL: always */
        uint64_t unpack_us;               /* 0: LIMIT_UNPACK_US */
        uint64_t unpack_bytes;            /* 0: LIMIT_UNPACK_BYTES */
        void *userdata;
};

struct blob_intake;
/** blob_intake_new() - begin; @expected_sha256: of the bytes as they come, or NULL. */
int blob_intake_new(struct blobs *blobs, const char *expected_sha256, struct blob_intake **ret_intake);
/** blob_intake_adopt() - an intake that is the file @path of the same disk, whose @bytes bytes are known to hash to @sha256:
 * nothing is copied, nothing more is written to it. The name @path stays its owner's, also after blob_intake_finish(): whoever is
 * killed between that and noting what came of it finds the file again. */
int blob_intake_adopt(struct blobs *blobs, const char *path, const char *sha256, uint64_t bytes, const char *expected_sha256,
                      struct blob_intake **ret_intake);
/** blob_intake_bound() - before the first byte, or of an adopted file before it is finished; @bounds is copied. */
void blob_intake_bound(struct blob_intake *intake, const struct blob_bounds *bounds);
/** blob_intake_write() - more bytes. Blocking. -errno: -ENOSPC (LIMIT_IMAGE_RESERVE_BYTES are left free), -EFBIG above
 * LIMIT_IMAGE_BYTES, -EDQUOT above the room, -ECANCELED. */
int blob_intake_write(struct blob_intake *intake, const void *data, size_t len);
/** blob_intake_bytes() - that were written; from any thread. */
uint64_t blob_intake_bytes(const struct blob_intake *intake);
/** blob_intake_percent() - of @expected_bytes (0: not known) and the unpacking, which is the second half of a packed file; -1: not
 * known. From any thread. */
int blob_intake_percent(const struct blob_intake *intake, uint64_t expected_bytes);
/**
 * blob_intake_finish() - verify what came, unpack it (xz, gz, bz2, zstd), judge the header, store it under the digest of what is
 * stored. Nothing is unpacked before its digest was found right. Blocking; may take long.
 * Return: 0; > 0: refused, see @reterr_fault; < 0: -errno.
 */
int blob_intake_finish(struct blob_intake *intake, struct blob_facts *ret_facts, struct blob_fault *reterr_fault);
/** blob_intake_free() - an unfinished intake leaves nothing behind. */
struct blob_intake *blob_intake_free(struct blob_intake *intake);
