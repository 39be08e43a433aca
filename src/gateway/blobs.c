/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/blobs.h"
#include "base/error.h"
#include "base/file.h"
#include "base/limits.h"
#include "gateway/unpack.h"
#include "generated/reasons.h"
#include "virt/image_header.h"

#include <assert.h>
#include <fcntl.h>
#include <glib.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define HOLE_BYTES  (64u << 10)
#define FLUSH_BYTES (8u << 20) /* the disk is set to work whenever so much more was written */
#define LOOKS       4          /* at the free space, while as much is written as is to stay free */
#define RESERVE_DIV 16

struct blobs {
        char *dir;    /* .../blobs/sha256 */
        char *intake; /* .../blobs/intake */
        int dirfd;
};

struct blob_intake {
        struct blobs *blobs;
        char *path;
        int fd;
        EVP_MD_CTX *hash;
        char expected[65];
        char known[65]; /* the digest of an adopted file, else "" */
        struct blob_bounds bounds;
        uint64_t flushed;              /* the disk has been told to write up to here */
        uint64_t look_at;              /* so many bytes: when the free space is looked at again */
        atomic_ullong bytes, unpacked; /* unpacked: of bytes, that have been read again */
        atomic_bool packed;
};

static bool is_digest(const char *text)
{
        return text && strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

int blobs_new(const char *data_dir, struct blobs **ret_blobs)
{
        struct blobs *blobs = g_new0(struct blobs, 1);

        blobs->dirfd = -1;
        blobs->dir = g_build_filename(data_dir, "blobs", "sha256", NULL);
        blobs->intake = g_build_filename(data_dir, "blobs", "intake", NULL);
        int r = file_remove_tree(blobs->intake);
        if (r == 0)
                r = file_ensure_dir(blobs->dir, 0700);
        if (r == 0)
                r = file_ensure_dir(blobs->intake, 0700);
        if (r == 0) {
                blobs->dirfd = open(blobs->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                r = blobs->dirfd < 0 ? -errno : 0;
        }
        if (r < 0) {
                blobs_free(blobs);
                return r;
        }
        *ret_blobs = blobs;
        return 0;
}

struct blobs *blobs_free(struct blobs *blobs)
{
        if (!blobs)
                return NULL;
        fd_close(blobs->dirfd);
        g_free(blobs->dir);
        g_free(blobs->intake);
        g_free(blobs);
        return NULL;
}

int blobs_open(struct blobs *blobs, const char *digest)
{
        return is_digest(digest) ? file_open_beneath(blobs->dirfd, digest, O_RDONLY | O_CLOEXEC, 0) : -EINVAL;
}

int blobs_remove(struct blobs *blobs, const char *digest)
{
        if (!is_digest(digest))
                return -EINVAL;
        return unlinkat(blobs->dirfd, digest, 0) < 0 ? -errno : 0;
}

bool blobs_has(struct blobs *blobs, const char *digest)
{
        autofd fd = blobs_open(blobs, digest);

        return fd >= 0;
}

/* --- intake
 * -------------------------------------------------------------------------------------------------------------------------------
 */

int blob_intake_new(struct blobs *blobs, const char *expected_sha256, struct blob_intake **ret_intake)
{
        struct blob_intake *intake = g_new0(struct blob_intake, 1);

        intake->blobs = blobs;
        intake->path = g_build_filename(blobs->intake, "XXXXXX", NULL);
        intake->fd = g_mkstemp_full(intake->path, O_RDWR | O_CLOEXEC, 0600);
        intake->hash = EVP_MD_CTX_new();
        if (expected_sha256) {
                g_autofree char *lower = g_ascii_strdown(expected_sha256, -1);
                g_strlcpy(intake->expected, lower, sizeof(intake->expected));
        }
        if (intake->fd < 0 || !intake->hash || !EVP_DigestInit_ex(intake->hash, EVP_sha256(), NULL)) {
                int r = intake->fd < 0 ? -errno : -ENOMEM;
                blob_intake_free(intake);
                return r;
        }
        *ret_intake = intake;
        return 0;
}

int blob_intake_adopt(struct blobs *blobs, const char *path, const char *sha256, uint64_t bytes, const char *expected_sha256,
                      struct blob_intake **ret_intake)
{
        struct blob_intake *intake = NULL;

        assert(blobs && path && is_digest(sha256) && ret_intake);
        int r = blob_intake_new(blobs, expected_sha256, &intake);
        if (r < 0)
                return r;
        /* Its own new name becomes another one of the file. */
        intake->fd = fd_close(intake->fd);
        if (unlink(intake->path) < 0 || link(path, intake->path) < 0)
                r = -errno;
        if (r == 0)
                intake->fd = open(intake->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (r == 0 && intake->fd < 0) {
                r = -errno;
                unlink(intake->path);
        }
        if (r < 0) {
                blob_intake_free(intake);
                return r;
        }
        g_strlcpy(intake->known, sha256, sizeof(intake->known));
        intake->bytes = bytes;
        *ret_intake = intake;
        return 0;
}

struct blob_intake *blob_intake_free(struct blob_intake *intake)
{
        if (!intake)
                return NULL;
        if (intake->fd >= 0)
                unlink(intake->path);
        fd_close(intake->fd);
        EVP_MD_CTX_free(intake->hash);
        g_free(intake->path);
        g_free(intake);
        return NULL;
}

void blob_intake_bound(struct blob_intake *intake, const struct blob_bounds *bounds)
{
        assert(intake && bounds && (intake->bytes == 0 || intake->known[0]));
        intake->bounds = *bounds;
}

/* The store lives on the same disk: images never take the last of it. */
static int check_space(struct blob_intake *intake, size_t len)
{
        struct statvfs disk;

        if (intake->bytes + len <= intake->look_at)
                return 0;
        if (fstatvfs(intake->fd, &disk) < 0)
                return -errno;
        uint64_t whole = (uint64_t)disk.f_blocks * disk.f_frsize, free = (uint64_t)disk.f_bavail * disk.f_frsize;
        uint64_t reserve = MIN(LIMIT_IMAGE_RESERVE_BYTES, whole / RESERVE_DIV);
        if (free < reserve + len)
                return -ENOSPC;
        intake->look_at = intake->bytes + len + reserve / LOOKS;
        return 0;
}

static int check_bounds(struct blob_intake *intake, size_t len)
{
        const struct blob_bounds *bounds = &intake->bounds;

        if (len > LIMIT_IMAGE_BYTES - intake->bytes)
                return -EFBIG;
        if (bounds->go_on && !bounds->go_on(bounds->userdata))
                return -ECANCELED;
        if (bounds->room && intake->bytes + len > bounds->room(bounds->userdata))
                return -EDQUOT;
        return check_space(intake, len);
}

static bool is_zero(const char *data, size_t len)
{
        return len > 0 && data[0] == 0 && memcmp(data, data + 1, len - 1) == 0;
}

/* Whole pieces of zeroes become holes: the file has its size afterwards, also when it ends with one. */
static int write_with_holes(int fd, const char *data, size_t len)
{
        int r = 0;

        for (size_t at = 0, n; at < len && r == 0; at += n) {
                n = MIN(HOLE_BYTES, len - at);
                if (is_zero(data + at, n))
                        r = lseek(fd, (off_t)n, SEEK_CUR) < 0 ? -errno : 0;
                else
                        r = fd_write_all(fd, data + at, n);
        }
        return r;
}

static int take_in(struct blob_intake *intake, const void *data, size_t len, bool holes)
{
        size_t done;
        int r = check_bounds(intake, len);

        if (r == 0)
                r = holes ? write_with_holes(intake->fd, data, len)
                          : fd_write_direct(intake->fd, data, len, (off_t)intake->bytes, &done);
        if (r < 0)
                return r;
        if (!EVP_DigestUpdate(intake->hash, data, len))
                return -EIO;
        intake->bytes += len;
        if (intake->bytes - intake->flushed >= FLUSH_BYTES) {
                (void)sync_file_range(intake->fd, (off_t)intake->flushed, (off_t)(intake->bytes - intake->flushed),
                                      SYNC_FILE_RANGE_WRITE);
                intake->flushed = intake->bytes;
        }
        return 0;
}

int blob_intake_write(struct blob_intake *intake, const void *data, size_t len)
{
        assert(intake && (data || !len));
        if (intake->bytes == 0)
                intake->packed = unpack_packing(data, len) != UNPACK_PLAIN; /* for the progress */
        return take_in(intake, data, len, false);
}

uint64_t blob_intake_bytes(const struct blob_intake *intake)
{
        return intake->bytes;
}

int blob_intake_percent(const struct blob_intake *intake, uint64_t expected_bytes)
{
        uint64_t bytes = intake->bytes, unpacked = intake->unpacked;

        if (unpacked > 0 && bytes > 0)
                return (int)(50 + unpacked * 50 / bytes);
        if (expected_bytes == 0)
                return -1;
        return (int)(MIN(bytes, expected_bytes) * (intake->packed ? 50 : 100) / expected_bytes);
}

static void digest_text(EVP_MD_CTX *hash, char *text)
{
        unsigned char raw[EVP_MAX_MD_SIZE];
        unsigned n = 0;

        EVP_DigestFinal_ex(hash, raw, &n);
        for (unsigned i = 0; i < n && i < 32; i++)
                g_snprintf(text + 2 * i, 3, "%02x", raw[i]);
}

/* --- unpacking: out of one intake into another one --- */

struct unpacking {
        struct blob_intake *from, *to;
};

static int on_unpacked(const void *data, size_t len, void *userdata)
{
        struct unpacking *unpacking = userdata;

        return take_in(unpacking->to, data, len, true);
}

static bool on_read(uint64_t done, void *userdata)
{
        struct unpacking *unpacking = userdata;
        const struct blob_bounds *bounds = &unpacking->from->bounds;

        unpacking->from->unpacked = done;
        return !bounds->go_on || bounds->go_on(bounds->userdata);
}

static int unpack(struct blob_intake *intake, enum unpack_packing packing, struct blob_intake **ret_unpacked,
                  struct blob_fault *fault)
{
        struct blob_intake *unpacked = NULL;
        int r = blob_intake_new(intake->blobs, NULL, &unpacked);

        if (r < 0)
                return r;
        struct unpacking unpacking = {.from = intake, .to = unpacked};
        struct unpack_job job = {
                .packing = packing,
                .fd = intake->fd,
                .packed_bytes = intake->bytes,
                .time_us = intake->bounds.unpack_us,
                .free_bytes = intake->bounds.unpack_bytes,
                .sink = on_unpacked,
                .go_on = on_read,
                .userdata = &unpacking,
        };
        unpacked->bounds = intake->bounds;
        r = unpack_run(&job, fault);
        if (r == 0 && unpacked->bytes == 0)
                r = blob_refuse(fault, REASON_IMAGE_EMPTY, "there is nothing in the %s file", unpack_packing_name(packing));
        if (r == 0 && ftruncate(unpacked->fd, (off_t)unpacked->bytes) < 0)
                r = -errno;
        if (r == -EFBIG)
                r = blob_refuse(fault, REASON_IMAGE_TOO_LARGE, "the image unpacks to more than the largest size");
        if (r) {
                blob_intake_free(unpacked);
                return r;
        }
        *ret_unpacked = unpacked;
        return 0;
}

static int judge(struct blob_intake *intake, bool was_packed, struct image_facts *ret_image, struct blob_fault *fault)
{
        struct image_refusal bad = {};
        int r = image_header_judge(intake->fd, ret_image, &bad);

        if (r == IMAGE_E_PACKED && was_packed)
                return blob_refuse(fault, bad.reason, "the file is packed more than once: %s", bad.words);
        return r > 0 ? blob_refuse(fault, bad.reason, "%s", bad.words) : r;
}

/* Judge, sync and name the plain image of @intake, whose hash is @facts->digest. */
static int store_image(struct blob_intake *intake, bool was_packed, struct blob_facts *facts, struct blob_fault *fault)
{
        struct image_facts image = {};
        int r = judge(intake, was_packed, &image, fault);

        if (r)
                return r;
        facts->size_bytes = intake->bytes;
        facts->virtual_size_bytes = image.virtual_size_bytes;
        g_strlcpy(facts->format, image_format_to_text(image.format), sizeof(facts->format));
        if (fsync(intake->fd) < 0)
                return -errno;
        g_autofree char *target = g_build_filename(intake->blobs->dir, facts->digest, NULL);
        if (rename(intake->path, target) < 0 || fsync(intake->blobs->dirfd) < 0)
                return -errno;
        intake->fd = fd_close(intake->fd);
        return 0;
}

int blob_intake_finish(struct blob_intake *intake, struct blob_facts *ret_facts, struct blob_fault *reterr_fault)
{
        assert(intake && ret_facts && reterr_fault);

        struct blob_facts facts = {};
        struct blob_intake *unpacked = NULL;
        char head[UNPACK_HEAD_BYTES];

        if (intake->known[0])
                g_strlcpy(facts.digest, intake->known, sizeof(facts.digest));
        else
                digest_text(intake->hash, facts.digest);
        if (intake->expected[0] && strcmp(intake->expected, facts.digest) != 0)
                return blob_refuse(reterr_fault, REASON_IMAGE_DIGEST_MISMATCH, "the SHA-256 is %s, not %s", facts.digest,
                                   intake->expected);
        if (intake->bytes == 0)
                return blob_refuse(reterr_fault, REASON_IMAGE_EMPTY, "the image is empty");
        ssize_t n = pread(intake->fd, head, sizeof(head), 0);
        if (n < 0)
                return -errno;
        enum unpack_packing packing = unpack_packing(head, (size_t)n);
        int r = packing == UNPACK_PLAIN ? 0 : unpack(intake, packing, &unpacked, reterr_fault);
        if (r)
                return r;
        if (unpacked)
                digest_text(unpacked->hash, facts.digest);
        r = store_image(unpacked ?: intake, unpacked != NULL, &facts, reterr_fault);
        blob_intake_free(unpacked);
        if (r == 0)
                *ret_facts = facts;
        return r;
}
