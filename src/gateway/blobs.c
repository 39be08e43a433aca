/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/blobs.h"
#include "base/error.h"
#include "base/file.h"
#include "base/limits.h"
#include "generated/reasons.h"
#include "virt/image_header.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <glib.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_BYTES (1u << 20)

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
        uint64_t bytes;
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

int blob_intake_write(struct blob_intake *intake, const void *data, size_t len)
{
        if (intake->bytes + len > LIMIT_IMAGE_BYTES)
                return -EFBIG;
        int r = fd_write_all(intake->fd, data, len);
        if (r < 0)
                return r;
        if (!EVP_DigestUpdate(intake->hash, data, len))
                return -EIO;
        intake->bytes += len;
        return 0;
}

uint64_t blob_intake_bytes(const struct blob_intake *intake)
{
        return intake->bytes;
}

static int refuse(struct blob_fault *fault, const char *reason, const char *format, ...) G_GNUC_PRINTF(3, 4);
static int refuse(struct blob_fault *fault, const char *reason, const char *format, ...)
{
        va_list args;

        fault->reason = reason;
        va_start(args, format);
        g_vsnprintf(fault->message, sizeof(fault->message), format, args);
        va_end(args);
        return 1;
}

static void digest_text(EVP_MD_CTX *hash, char *text)
{
        unsigned char raw[EVP_MAX_MD_SIZE];
        unsigned n = 0;

        EVP_DigestFinal_ex(hash, raw, &n);
        for (unsigned i = 0; i < n && i < 32; i++)
                g_snprintf(text + 2 * i, 3, "%02x", raw[i]);
}

static bool is_packed(int fd)
{
        static const struct {
                const char *magic;
                size_t len;
        } magics[] = {{"\xfd"
                       "7zXZ\0",
                       6},
                      {"\x1f\x8b", 2},
                      {"BZh", 3},
                      {"\x28\xb5\x2f\xfd", 4}};
        char head[8] = {};

        if (pread(fd, head, sizeof(head), 0) < 0)
                return false;
        for (size_t i = 0; i < G_N_ELEMENTS(magics); i++)
                if (memcmp(head, magics[i].magic, magics[i].len) == 0)
                        return true;
        return false;
}

/* Copy one unpacked stream into @unpacked; bounded by LIMIT_IMAGE_BYTES of output. */
static int unpack_stream(struct archive *archive, struct blob_intake *unpacked, struct blob_fault *fault)
{
        struct archive_entry *entry;
        g_autofree char *buffer = g_malloc(COPY_BYTES);

        if (archive_read_next_header(archive, &entry) != ARCHIVE_OK)
                return refuse(fault, REASON_IMAGE_CORRUPT, "the packed image cannot be read: %s",
                              archive_error_string(archive) ?: "no data");
        for (;;) {
                ssize_t n = archive_read_data(archive, buffer, COPY_BYTES);
                if (n == 0)
                        return 0;
                if (n < 0)
                        return refuse(fault, REASON_IMAGE_CORRUPT, "the packed image is damaged: %s",
                                      archive_error_string(archive) ?: "unknown");
                int r = blob_intake_write(unpacked, buffer, (size_t)n);
                if (r == -EFBIG)
                        return refuse(fault, REASON_IMAGE_TOO_LARGE, "the image unpacks to more than the largest size");
                if (r < 0)
                        return r;
        }
}

static int unpack(struct blob_intake *intake, struct blob_intake **ret_unpacked, struct blob_fault *fault)
{
        struct blob_intake *unpacked = NULL;
        struct archive *archive = archive_read_new();
        int r = blob_intake_new(intake->blobs, NULL, &unpacked);

        archive_read_support_filter_gzip(archive);
        archive_read_support_filter_bzip2(archive);
        archive_read_support_filter_xz(archive);
        archive_read_support_filter_zstd(archive);
        archive_read_support_format_raw(archive);
        if (r == 0 && lseek(intake->fd, 0, SEEK_SET) < 0)
                r = -errno;
        if (r == 0 && archive_read_open_fd(archive, intake->fd, COPY_BYTES) != ARCHIVE_OK)
                r = refuse(fault, REASON_IMAGE_CORRUPT, "the packed image cannot be read: %s",
                           archive_error_string(archive) ?: "unknown");
        if (r == 0)
                r = unpack_stream(archive, unpacked, fault);
        archive_read_free(archive);
        if (r) {
                blob_intake_free(unpacked);
                return r;
        }
        *ret_unpacked = unpacked;
        return 0;
}

/* Judge, sync and name the plain image of @intake, whose hash is @facts->digest. */
static int store_image(struct blob_intake *intake, struct blob_facts *facts, struct blob_fault *fault)
{
        struct image_facts image = {};
        struct image_refusal bad = {};
        int r = image_header_judge(intake->fd, &image, &bad);

        if (r > 0)
                return refuse(fault, bad.reason, "%s", bad.words);
        if (r < 0)
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
        struct blob_facts facts = {};
        struct blob_intake *unpacked = NULL;

        digest_text(intake->hash, facts.digest);
        if (intake->expected[0] && strcmp(intake->expected, facts.digest) != 0)
                return refuse(reterr_fault, REASON_IMAGE_DIGEST_MISMATCH, "the SHA-256 is %s, not %s", facts.digest,
                              intake->expected);
        if (intake->bytes == 0)
                return refuse(reterr_fault, REASON_IMAGE_EMPTY, "the image is empty");
        int r = is_packed(intake->fd) ? unpack(intake, &unpacked, reterr_fault) : 0;
        if (r)
                return r;
        if (unpacked)
                digest_text(unpacked->hash, facts.digest);
        r = store_image(unpacked ?: intake, &facts, reterr_fault);
        blob_intake_free(unpacked);
        if (r == 0)
                *ret_facts = facts;
        return r;
}
