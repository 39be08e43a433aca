/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define TREE_DEPTH_MAX 128

int fd_close(int fd)
{
        if (fd >= 0)
                close(fd);
        return -1;
}

int fd_write_all(int fd, const void *data, size_t len)
{
        const char *cursor = data;

        assert(data || !len);
        while (len > 0) {
                ssize_t n = write(fd, cursor, len);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                cursor += n;
                len -= (size_t)n;
        }
        return 0;
}

/* 0, or -EINVAL where that cannot be. */
static int set_direct(int fd, bool direct)
{
        int flags = fcntl(fd, F_GETFL);

        if (flags < 0)
                return -errno;
        flags = direct ? flags | O_DIRECT : flags & ~O_DIRECT;
        return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}

static int write_at(int fd, const char *data, size_t len, off_t offset, size_t *done)
{
        for (size_t at = 0; at < len;) {
                ssize_t n = pwrite(fd, data + at, len - at, offset + (off_t)at);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -EIO;
                at += (size_t)n;
                *done += (size_t)n;
        }
        return 0;
}

int fd_write_direct(int fd, const void *data, size_t len, off_t offset, size_t *ret_done)
{
        size_t pages = ((uintptr_t)data | (uint64_t)offset) % FILE_PAGE_BYTES ? 0 : len - len % FILE_PAGE_BYTES;

        assert(fd >= 0 && (data || !len) && offset >= 0 && ret_done);
        *ret_done = 0;
        if (pages > 0 && set_direct(fd, true) == 0) {
                int r = write_at(fd, data, pages, offset, ret_done);
                int back = set_direct(fd, false);
                /* A file system that takes the flag may still refuse the write, or what a short one left of a page. */
                if (r < 0 && r != -EINVAL)
                        return r;
                if (back < 0)
                        return back;
        }
        return write_at(fd, (const char *)data + *ret_done, len - *ret_done, offset + (off_t)*ret_done, ret_done);
}

/* Read until the end of the file or one byte more than @max_bytes. */
static int fd_read_all(int fd, size_t size_hint, size_t max_bytes, GString *out)
{
        size_t room = CLAMP(size_hint + 1, 4096, 1u << 20);

        for (;;) {
                size_t old = out->len;
                ssize_t n;

                g_string_set_size(out, old + room);
                n = read(fd, out->str + old, room);
                g_string_set_size(out, old + (n > 0 ? (size_t)n : 0));
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        return 0;
                if (out->len > max_bytes)
                        return -EFBIG;
        }
}

int file_read(const char *path, size_t max_bytes, char **ret_text, size_t *ret_len)
{
        g_autoptr(GString) text = g_string_new(NULL);
        autofd fd = -1;
        struct stat st;
        int r;

        assert(path);
        assert(ret_text);
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (S_ISREG(st.st_mode) && (uint64_t)st.st_size > max_bytes)
                return -EFBIG;
        r = fd_read_all(fd, (size_t)MAX(st.st_size, 0), max_bytes, text);
        if (r < 0)
                return r;
        if (ret_len)
                *ret_len = text->len;
        *ret_text = g_string_free(g_steal_pointer(&text), FALSE);
        return 0;
}

/* A rename or a new name lasts only when its folder is on disk as well. */
static int sync_parent(const char *path)
{
        g_autofree char *parent = g_path_get_dirname(path);
        autofd fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0 || fsync(fd) < 0)
                return -errno;
        return 0;
}

/* Mode first: content must never be readable under a wider one. */
static int fill_and_sync(int fd, const void *data, size_t len, mode_t mode)
{
        int r;

        if (fchmod(fd, mode) < 0)
                return -errno;
        r = fd_write_all(fd, data, len);
        if (r < 0)
                return r;
        return fsync(fd) < 0 ? -errno : 0;
}

int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode)
{
        g_autofree char *temporary = NULL;
        autofd fd = -1;
        int r;

        assert(path);
        temporary = g_strdup_printf("%s.XXXXXX", path);
        fd = mkostemp(temporary, O_CLOEXEC);
        if (fd < 0)
                return -errno;
        r = fill_and_sync(fd, data, len, mode);
        if (r == 0 && rename(temporary, path) < 0)
                r = -errno;
        if (r < 0) {
                unlink(temporary);
                return r;
        }
        return sync_parent(path);
}

void file_drop_leftovers(const char *path)
{
        g_autofree char *parent = NULL, *prefix = NULL;
        g_autoptr(GDir) folder = NULL;
        const char *name;
        size_t len;

        assert(path);
        parent = g_path_get_dirname(path);
        prefix = g_path_get_basename(path);
        len = strlen(prefix);
        folder = g_dir_open(parent, 0, NULL);
        while (folder && (name = g_dir_read_name(folder))) {
                bool ours = g_str_has_prefix(name, prefix) && name[len] == '.' && strlen(name + len) == sizeof(".XXXXXX") - 1;

                for (size_t i = len + 1; ours && name[i]; i++)
                        ours = g_ascii_isalnum(name[i]);
                if (ours) {
                        g_autofree char *leftover = g_build_filename(parent, name, NULL);

                        /* One that stays is looked at again the next time. */
                        (void)unlink(leftover);
                }
        }
}

int file_write_exclusive(const char *path, const void *data, size_t len, mode_t mode)
{
        autofd fd = -1;
        int r;

        assert(path);
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode & 0700);
        if (fd < 0)
                return -errno;
        r = fill_and_sync(fd, data, len, mode);
        if (r < 0) {
                unlink(path);
                return r;
        }
        return sync_parent(path);
}

static int ensure_one_dir(const char *path, mode_t mode)
{
        struct stat st;

        if (mkdir(path, mode) == 0)
                return 0;
        if (errno != EEXIST)
                return -errno;
        if (stat(path, &st) < 0)
                return -errno;
        return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int file_ensure_dir(const char *path, mode_t mode)
{
        g_autofree char *part = NULL;
        int r;

        assert(path);
        if (!*path)
                return -ENOENT;
        part = g_strdup(path);
        for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
                *slash = 0;
                r = ensure_one_dir(part, mode);
                if (r < 0)
                        return r;
                *slash = '/';
        }
        return ensure_one_dir(part, mode);
}

int file_open_beneath(int dirfd, const char *relative, int flags, mode_t mode)
{
        struct open_how how = {
                .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
                .mode = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? mode : 0,
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
        };
        long fd;

        assert(relative);
        fd = syscall(SYS_openat2, dirfd, relative, &how, sizeof(how));
        return fd < 0 ? -errno : (int)fd;
}

static int remove_entry(int dirfd, const char *name, unsigned depth);

static int remove_content(int fd, unsigned depth)
{
        DIR *dir = fdopendir(fd);
        struct dirent *entry;
        int r = 0;

        if (!dir) {
                r = -errno;
                close(fd);
                return r;
        }
        while (r == 0) {
                errno = 0;
                entry = readdir(dir);
                if (!entry) {
                        r = -errno;
                        break;
                }
                if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                        r = remove_entry(dirfd(dir), entry->d_name, depth);
        }
        closedir(dir);
        return r;
}

static int remove_entry(int dirfd, const char *name, unsigned depth)
{
        int fd, r;

        if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
                return 0;
        if (errno != EISDIR && errno != EPERM)
                return -errno;
        if (depth >= TREE_DEPTH_MAX)
                return -ELOOP;
        fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        r = remove_content(fd, depth + 1);
        if (r < 0)
                return r;
        return unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

int file_remove_tree(const char *path)
{
        assert(path);
        return remove_entry(AT_FDCWD, path, 0);
}
