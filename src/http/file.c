/* SPDX-License-Identifier: Apache-2.0 */
#include "http/file.h"

#include "base/error.h"
#include "base/file.h"

#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define READ_AHEAD_BYTES (4u << 20)

struct http_file {
        struct http_file_options options;
        uint64_t at;        /* read so far, of len */
        size_t have, taken; /* in the buffer */
        ssize_t result;     /* of the thread */
        bool reading;       /* a thread does, into the buffer */
        bool fetched;       /* it has, and the result was not looked at yet */
        bool abandoned;     /* freed meanwhile */
        char buffer[HTTP_FILE_BUFFER_BYTES];
};

static ssize_t system_read_now(int fd, void *buffer, size_t size, uint64_t offset)
{
        const struct iovec part = {.iov_base = buffer, .iov_len = size};
        ssize_t n = preadv2(fd, &part, 1, (off_t)offset, RWF_NOWAIT);

        if (n >= 0)
                return n;
        /* Some file systems cannot tell whether they would wait. */
        return errno == EOPNOTSUPP || errno == ENOSYS ? -EAGAIN : -errno;
}

static ssize_t system_read(int fd, void *buffer, size_t size, uint64_t offset)
{
        (void)posix_fadvise(fd, (off_t)offset, READ_AHEAD_BYTES, POSIX_FADV_WILLNEED);
        ssize_t n = pread(fd, buffer, size, (off_t)offset);
        return n < 0 ? -errno : n;
}

const struct http_disk *http_disk_system(void)
{
        static const struct http_disk disk = {.read_now = system_read_now, .read = system_read};

        return &disk;
}

struct http_file *http_file_new(const struct http_file_options *options)
{
        struct http_file *file;

        assert(options && options->fd >= 0 && options->disk && options->pool && options->ready);
        file = g_malloc(sizeof(*file));
        memset(file, 0, offsetof(struct http_file, buffer));
        file->options = *options;
        return file;
}

static void file_free_now(struct http_file *file)
{
        fd_close(file->options.fd);
        g_free(file);
}

struct http_file *http_file_free(struct http_file *file)
{
        if (!file)
                return NULL;
        if (file->reading)
                file->abandoned = true;
        else
                file_free_now(file);
        return NULL;
}

static size_t file_wanted(const struct http_file *file)
{
        return MIN(sizeof(file->buffer), file->options.len - file->at);
}

static int file_work(void *userdata)
{
        struct http_file *file = userdata;

        file->result = file->options.disk->read(file->options.fd, file->buffer, file_wanted(file), file->options.offset + file->at);
        return 0;
}

static void file_done(int result, void *userdata)
{
        struct http_file *file = userdata;

        file->reading = false;
        file->fetched = true;
        if (result < 0)
                file->result = result;
        if (file->abandoned)
                file_free_now(file);
        else
                file->options.ready(file->options.userdata);
}

static int file_fill(struct http_file *file)
{
        const struct http_file_options *options = &file->options;
        ssize_t n;

        if (file->fetched)
                n = file->result;
        else
                n = options->disk->read_now(options->fd, file->buffer, file_wanted(file), options->offset + file->at);
        if (!file->fetched && n == -EAGAIN) {
                file->reading = true;
                loop_pool_submit(options->pool, file_work, file_done, file);
                return -EINPROGRESS;
        }
        file->fetched = false;
        if (n <= 0)
                return n < 0 ? (int)n : -EPIPE;
        file->have = (size_t)n;
        file->taken = 0;
        file->at += (uint64_t)n;
        return 0;
}

int http_file_take(struct http_file *file, const char **ret_data, size_t *ret_len)
{
        assert(file && ret_data && ret_len);
        if (file->reading)
                return -EINPROGRESS;
        if (file->taken == file->have) {
                int r = file_fill(file);

                if (r < 0)
                        return r;
        }
        *ret_data = file->buffer + file->taken;
        *ret_len = file->have - file->taken;
        return 0;
}

void http_file_consume(struct http_file *file, size_t len)
{
        assert(file && len <= file->have - file->taken);
        file->taken += len;
}
