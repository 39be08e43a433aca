/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "loop/loop.h"

#include <stddef.h>

/*
 * A part of a file on its way out. Internal to src/http. The loop takes only what is in memory already; what is not is read on a
 * thread of the pool, so that a cold or hanging disk holds up nobody but the one who asked for it.
 */
struct http_file;

/* How files are read; both as pread(2), with -errno. */
struct http_disk {
        /* Without waiting for the disk: -EAGAIN when that is not possible. On the loop. */
        ssize_t (*read_now)(int fd, void *buffer, size_t size, uint64_t offset);
        /* On any thread; asks for what follows, too. */
        ssize_t (*read)(int fd, void *buffer, size_t size, uint64_t offset);
};
/** http_disk_system() - the machine's; a static object. */
const struct http_disk *http_disk_system(void);

struct http_file_options {
        int fd; /* taken over */
        uint64_t offset, len;
        const struct http_disk *disk;
        struct loop_pool *pool;
        void (*ready)(void *userdata); /* on the loop: what http_file_take() was waiting for has come */
        void *userdata;
};

#define HTTP_FILE_BUFFER_BYTES (256u << 10)

/** http_file_new() - nothing is read yet. */
struct http_file *http_file_new(const struct http_file_options *options);
/** http_file_free() - NULL is accepted; also while a thread reads for it. */
struct http_file *http_file_free(struct http_file *file);
/** http_file_take() - the next bytes, at least one; valid until the next call. 0; -EINPROGRESS: they are being read, @ready will be
 *  called; or lost (-EPIPE: the file has become shorter). */
int http_file_take(struct http_file *file, const char **ret_data, size_t *ret_len);
/** http_file_consume() - @len of them are done with. */
void http_file_consume(struct http_file *file, size_t len);
