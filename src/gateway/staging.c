/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/staging.h"
#include "base/error.h"
#include "base/file.h"
#include "base/limits.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define READ_BYTES   (1u << 20)
#define FLUSH_BYTES  (8u << 20)  /* the disk is set to work whenever so much more was written */
#define SYNC_BYTES   (32u << 20) /* no more than these are acknowledged and not synced */
#define RESERVE_DIV  16
#define RECORD_BYTES (64u << 10)
#define RECORD       ".record"
#define PART         ".part"
#define MARK         ".mark"

#define BOOT_BYTES 40
#define EVERYTHING UINT64_MAX

struct staging {
        char *dir;
        char boot[BOOT_BYTES];
};

/* The content of ID.mark. One of an older version ends after its first number. */
struct mark {
        uint64_t vouched;      /* bytes behind it are of a request with a checksum that was not seen to be right; or EVERYTHING */
        uint64_t synced;       /* once the host has started anew, bytes behind it may not be what came */
        char boot[BOOT_BYTES]; /* the start of the host since which that counts */
};

struct staged {
        struct staging *staging;
        char *path, *mark_path;
        int fd, mark_fd;
        uint64_t written; /* bytes in the file */
        uint64_t durable; /* of which are synced and vouched for */
        uint64_t base;    /* how many there were when the request began */
        uint64_t flushed; /* the disk has been told to write up to here */
        uint64_t vouched; /* as the mark says; EVERYTHING: no request had a checksum */
        bool noted;       /* the mark says since which start of the host bytes were not synced, and that is durable */
        uint64_t hashed;
        EVP_MD_CTX *hash;
        EVP_MD_CTX *check; /* of the request's bytes, or NULL */
        struct tus_checksum checksum;
};

/* --- the folder
 * ------------------------------------------------------------------------------------------------------------------------------
 */

int staging_new(const char *data_dir, const char *boot, struct staging **ret_staging)
{
        assert(data_dir && boot && ret_staging);

        struct staging *staging = g_new0(struct staging, 1);
        g_strlcpy(staging->boot, boot, sizeof(staging->boot));
        staging->dir = g_build_filename(data_dir, "blobs", "uploads", NULL);
        int r = file_ensure_dir(staging->dir, 0700);
        if (r < 0) {
                staging_free(staging);
                return r;
        }
        *ret_staging = staging;
        return 0;
}

struct staging *staging_free(struct staging *staging)
{
        if (!staging)
                return NULL;
        g_free(staging->dir);
        g_free(staging);
        return NULL;
}

static char *path_of(const struct staging *staging, const char *id, const char *ending)
{
        g_autofree char *name = g_strconcat(id, ending, NULL);

        return g_build_filename(staging->dir, name, NULL);
}

/* "ID.record" and no temporary file of one. */
static char *id_of(const char *name, const char *ending)
{
        return g_str_has_suffix(name, ending) && name[0] != '.' ? g_strndup(name, strlen(name) - strlen(ending)) : NULL;
}

static void drop(const struct staging *staging, const char *id, const char *ending)
{
        g_autofree char *path = path_of(staging, id, ending);

        (void)unlink(path);
}

/* A kill before the record was there, or after it was said to be over, leaves files that belong to nothing. */
static void drop_strays(struct staging *staging, GHashTable *ids, DIR *dir)
{
        struct dirent *entry;

        rewinddir(dir);
        while ((entry = readdir(dir))) {
                g_autofree char *part = id_of(entry->d_name, PART), *mark = id_of(entry->d_name, MARK);
                g_autofree char *record = id_of(entry->d_name, RECORD);
                const char *id = part ?: mark ?: record;
                bool kept = id && g_hash_table_contains(ids, id);

                if (!kept && strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                        (void)unlinkat(dirfd(dir), entry->d_name, 0);
        }
}

int staging_each(struct staging *staging, void (*each)(const char *id, const char *record, size_t len, void *userdata),
                 void *userdata)
{
        g_autoptr(GHashTable) ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        DIR *dir = opendir(staging->dir);
        struct dirent *entry;

        assert(each);
        if (!dir)
                return -errno;
        while ((entry = readdir(dir))) {
                g_autofree char *id = id_of(entry->d_name, RECORD), *text = NULL;
                g_autofree char *path = id ? path_of(staging, id, RECORD) : NULL;
                size_t len = 0;

                if (!path || file_read(path, RECORD_BYTES, &text, &len) < 0)
                        continue;
                g_hash_table_add(ids, g_strdup(id));
                each(id, text, len, userdata);
        }
        drop_strays(staging, ids, dir);
        closedir(dir);
        return 0;
}

int staging_record(struct staging *staging, const char *id, const char *record, bool drop_bytes)
{
        g_autofree char *path = path_of(staging, id, RECORD);

        int r = file_write_atomic(path, record, strlen(record), 0600);
        if (r == 0 && drop_bytes)
                staging_drop(staging, id);
        return r;
}

void staging_drop(struct staging *staging, const char *id)
{
        assert(staging && id);
        drop(staging, id, PART);
        drop(staging, id, MARK);
}

void staging_forget(struct staging *staging, const char *id)
{
        assert(staging && id);
        staging_drop(staging, id);
        drop(staging, id, RECORD);
}

/* --- one upload: opening
 * --------------------------------------------------------------------------------------------------------------------- */

/* How many bytes count by the mark; EVERYTHING when there is none. */
static int read_mark(struct staged *staged, uint64_t *ret_bytes)
{
        struct mark mark = {.vouched = EVERYTHING, .synced = EVERYTHING};
        ssize_t n = 0;

        staged->mark_fd = open(staged->mark_path, O_RDWR | O_CLOEXEC);
        if (staged->mark_fd >= 0)
                n = pread(staged->mark_fd, &mark, sizeof(mark), 0);
        else if (errno != ENOENT)
                return -errno;
        bool same = n < (ssize_t)sizeof(mark) || strncmp(mark.boot, staged->staging->boot, BOOT_BYTES) == 0;
        staged->vouched = mark.vouched;
        *ret_bytes = MIN(mark.vouched, same ? EVERYTHING : mark.synced);
        return 0;
}

static int write_mark(struct staged *staged, bool sync)
{
        struct mark mark = {.vouched = staged->vouched, .synced = staged->durable};

        memcpy(mark.boot, staged->staging->boot, sizeof(mark.boot));
        if (staged->mark_fd < 0) {
                int r = file_write_atomic(staged->mark_path, &mark, sizeof(mark), 0600);
                if (r < 0)
                        return r;
                staged->mark_fd = open(staged->mark_path, O_RDWR | O_CLOEXEC);
                return staged->mark_fd < 0 ? -errno : 0;
        }
        if (pwrite(staged->mark_fd, &mark, sizeof(mark), 0) != sizeof(mark))
                return errno ? -errno : -EIO;
        return sync && fdatasync(staged->mark_fd) < 0 ? -errno : 0;
}

static int open_files(struct staged *staged)
{
        struct stat about;

        staged->fd = open(staged->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (staged->fd < 0 || fstat(staged->fd, &about) < 0)
                return -errno;
        uint64_t counted = 0;
        int r = read_mark(staged, &counted);
        if (r < 0)
                return r;
        staged->written = MIN((uint64_t)about.st_size, counted);
        if (staged->written < (uint64_t)about.st_size && ftruncate(staged->fd, (off_t)staged->written) < 0)
                return -errno;
        if (fdatasync(staged->fd) < 0)
                return -errno;
        staged->durable = staged->base = staged->flushed = staged->written;
        staged->vouched = staged->vouched == EVERYTHING ? EVERYTHING : staged->written;
        return staged->mark_fd >= 0 ? write_mark(staged, true) : 0;
}

int staged_open(struct staging *staging, const char *id, struct staged **ret_staged)
{
        struct staged *staged = g_new0(struct staged, 1);

        assert(staging && id && ret_staged);
        staged->staging = staging;
        staged->path = path_of(staging, id, PART);
        staged->mark_path = path_of(staging, id, MARK);
        staged->fd = staged->mark_fd = -1;
        staged->hash = EVP_MD_CTX_new();
        int r = staged->hash && EVP_DigestInit_ex(staged->hash, EVP_sha256(), NULL) ? open_files(staged) : -ENOMEM;
        if (r < 0) {
                staged_free(staged);
                return r;
        }
        *ret_staged = staged;
        return 0;
}

struct staged *staged_free(struct staged *staged)
{
        if (!staged)
                return NULL;
        fd_close(staged->fd);
        fd_close(staged->mark_fd);
        EVP_MD_CTX_free(staged->hash);
        EVP_MD_CTX_free(staged->check);
        g_free(staged->path);
        g_free(staged->mark_path);
        g_free(staged);
        return NULL;
}

const char *staged_path(const struct staged *staged)
{
        assert(staged);
        return staged->path;
}

uint64_t staged_offset(const struct staged *staged)
{
        assert(staged);
        return staged->written;
}

uint64_t staged_touched_us(const struct staged *staged)
{
        struct stat about;

        assert(staged);
        if (fstat(staged->fd, &about) < 0)
                return 0;
        return (uint64_t)about.st_mtim.tv_sec * 1000000 + (uint64_t)about.st_mtim.tv_nsec / 1000;
}

/* --- one upload: bytes
 * ----------------------------------------------------------------------------------------------------------------------- */

int staged_begin(struct staged *staged, const struct tus_checksum *checksum)
{
        assert(staged);

        staged->base = staged->written;
        g_clear_pointer(&staged->check, EVP_MD_CTX_free);
        if (!checksum)
                return 0;
        staged->checksum = *checksum;
        staged->check = EVP_MD_CTX_new();
        if (!staged->check || !EVP_DigestInit_ex(staged->check, checksum->algorithm, NULL))
                return -ENOMEM;
        staged->vouched = staged->base;
        return write_mark(staged, true);
}

static int add(struct staged *staged, const void *data, size_t len)
{
        size_t done;
        int r = fd_write_direct(staged->fd, data, len, (off_t)staged->written, &done);

        if (staged->hashed == staged->written && done > 0) {
                if (!EVP_DigestUpdate(staged->hash, data, done))
                        return -EIO;
                staged->hashed += done;
        }
        staged->written += done;
        return r;
}

/* The store lives on the same disk: uploads never take the last of it, however many there are at once. */
static int check_space(const struct staged *staged, size_t len)
{
        struct statvfs disk;

        if (fstatvfs(staged->fd, &disk) < 0)
                return -errno;
        uint64_t whole = (uint64_t)disk.f_blocks * disk.f_frsize, free = (uint64_t)disk.f_bavail * disk.f_frsize;
        return free < len + MIN(LIMIT_IMAGE_RESERVE_BYTES, whole / RESERVE_DIV) ? -ENOSPC : 0;
}

int staged_write(struct staged *staged, const void *data, size_t len)
{
        assert(staged && data);

        int r = check_space(staged, len);
        if (r < 0)
                return r;
        if (staged->check && !EVP_DigestUpdate(staged->check, data, len))
                return -EIO;
        r = add(staged, data, len);
        if (r == 0 && staged->written - staged->flushed >= FLUSH_BYTES) {
                (void)sync_file_range(staged->fd, (off_t)staged->flushed, (off_t)(staged->written - staged->flushed),
                                      SYNC_FILE_RANGE_WRITE);
                staged->flushed = staged->written;
        }
        return r;
}

/* Back to @offset; a hash cannot go back, it begins anew. */
static int go_back(struct staged *staged, uint64_t offset)
{
        if (ftruncate(staged->fd, (off_t)offset) < 0)
                return -errno;
        staged->written = offset;
        staged->flushed = MIN(staged->flushed, offset);
        if (staged->hashed > offset) {
                staged->hashed = 0;
                if (!EVP_DigestInit_ex(staged->hash, EVP_sha256(), NULL))
                        return -EIO;
        }
        return 0;
}

static bool check_is_good(struct staged *staged)
{
        unsigned char digest[EVP_MAX_MD_SIZE];
        unsigned n = 0;

        return EVP_DigestFinal_ex(staged->check, digest, &n) && n == staged->checksum.len &&
               memcmp(digest, staged->checksum.digest, n) == 0;
}

bool staged_is_synced(const struct staged *staged)
{
        assert(staged);
        return staged->durable == staged->written;
}

int staged_sync(struct staged *staged)
{
        assert(staged);

        uint64_t durable = staged->durable, vouched = staged->vouched;
        int r = fdatasync(staged->fd) < 0 ? -errno : 0;

        if (r == 0) {
                staged->durable = staged->flushed = staged->written;
                staged->vouched = vouched == EVERYTHING ? EVERYTHING : staged->written;
                r = staged->mark_fd >= 0 ? write_mark(staged, true) : 0;
        }
        if (r < 0) {
                /* What a failed sync leaves on the disk is unknown, but for what an earlier one has put there. */
                staged->durable = durable;
                staged->vouched = vouched;
                (void)go_back(staged, durable);
        }
        return r;
}

/* What came is in the file, and outlives this program; the host only from the next sync on. */
static int put_off(struct staged *staged)
{
        bool vouching = staged->vouched != EVERYTHING;
        int r = 0;

        if (vouching)
                staged->vouched = staged->written;
        if (vouching || !staged->noted)
                r = write_mark(staged, !staged->noted);
        staged->noted |= r == 0;
        if (r < 0)
                (void)go_back(staged, staged->durable);
        return r;
}

int staged_settle(struct staged *staged, bool whole, bool nothing, bool more)
{
        bool checked = staged->check, wrong = checked && whole && !nothing && !check_is_good(staged);
        int r = 0;

        assert(staged);
        g_clear_pointer(&staged->check, EVP_MD_CTX_free);
        if (nothing || wrong || (checked && !whole))
                r = go_back(staged, staged->base);
        bool later = more && whole && !checked && !nothing && staged->written - staged->durable < SYNC_BYTES;
        if (r == 0)
                r = later ? put_off(staged) : staged_sync(staged);
        if (r < 0)
                return r;
        staged->base = staged->written;
        return wrong ? STAGED_E_CHECKSUM : 0;
}

/* --- the hash of all
 * -------------------------------------------------------------------------------------------------------------------------- */

int staged_catch_up(struct staged *staged, uint64_t max_bytes)
{
        g_autofree char *buffer = g_malloc(READ_BYTES);
        uint64_t end = MIN(staged->written, staged->hashed + max_bytes);

        while (staged->hashed < end) {
                ssize_t n = pread(staged->fd, buffer, MIN(READ_BYTES, end - staged->hashed), (off_t)staged->hashed);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0 || !EVP_DigestUpdate(staged->hash, buffer, (size_t)n))
                        return n < 0 ? -errno : -EIO;
                staged->hashed += (uint64_t)n;
        }
        return 0;
}

bool staged_is_hashed(const struct staged *staged)
{
        assert(staged);
        return staged->hashed == staged->written;
}

int staged_digest(const struct staged *staged, char *ret_text)
{
        unsigned char raw[EVP_MAX_MD_SIZE];
        EVP_MD_CTX *copy = EVP_MD_CTX_new();
        unsigned n = 0;

        assert(staged && staged->hashed == staged->written && ret_text);
        int ok = copy && EVP_MD_CTX_copy_ex(copy, staged->hash) && EVP_DigestFinal_ex(copy, raw, &n);
        EVP_MD_CTX_free(copy);
        for (unsigned i = 0; ok && i < n && i < 32; i++)
                g_snprintf(ret_text + 2 * i, 3, "%02x", raw[i]);
        return ok ? 0 : -EIO;
}
