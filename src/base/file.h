/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <unistd.h>

/* File descriptors and files whose loss would matter. Paths are the program's own unless said; user paths go through
 * file_open_beneath(). */

/** fd_close() - close @fd when it is >= 0; returns -1 for assignment. */
int fd_close(int fd);
static inline void fd_closep(int *fd)
{
        if (*fd >= 0)
                close(*fd);
}
#define autofd __attribute__((cleanup(fd_closep))) int

/** file_read() - the whole file, NUL-terminated beyond @ret_len; 0, -errno, or -EFBIG above @max_bytes. Free with g_free(). */
int file_read(const char *path, size_t max_bytes, char **ret_text, size_t *ret_len);

/**
 * file_write_atomic() - replace @path: temporary file beside it, fsync, rename, fsync of the folder
 * @mode: permission bits of the new file, set before content is written
 */
int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode);

/** file_drop_leftovers() - remove temporary files that killed calls of file_write_atomic() left of @path. Nobody writes it
 * meanwhile. */
void file_drop_leftovers(const char *path);

/** file_write_exclusive() - create @path with @mode; -EEXIST when anything is there already (also a dangling link). */
int file_write_exclusive(const char *path, const void *data, size_t len, mode_t mode);

/** file_ensure_dir() - make the folder and its parents; an existing folder keeps its mode. 0 or -errno (-ENOTDIR). */
int file_ensure_dir(const char *path, mode_t mode);

/** file_open_beneath() - openat2(2) with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS; fd or -errno. */
int file_open_beneath(int dirfd, const char *relative, int flags, mode_t mode);

/** file_remove_tree() - remove a folder and all below without following links; 0 also when absent. */
int file_remove_tree(const char *path);

/** fd_write_all() - write all bytes; 0 or -errno. */
int fd_write_all(int fd, const void *data, size_t len);

#define FILE_PAGE_BYTES 4096u

/**
 * fd_write_direct() - write all bytes at @offset, past the page cache where @data, @offset and the file system allow it: whole
 * pages that begin at multiples of FILE_PAGE_BYTES. Nobody else uses @fd meanwhile.
 * Return: 0 or -errno; @ret_done: bytes that were written, also then.
 */
int fd_write_direct(int fd, const void *data, size_t len, off_t offset, size_t *ret_done);
