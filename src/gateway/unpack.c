/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/unpack.h"

#include "base/error.h"
#include "base/limits.h"
#include "base/quantity.h"
#include "generated/reasons.h"

#include <archive.h>
#include <archive_entry.h>
#include <glib.h>
#include <inttypes.h>
#include <lzma.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define IN_BYTES    (256u << 10)
#define OUT_BYTES   (1u << 20)
#define GZIP_WINDOW (15 + 16) /* the largest window, and a gzip header before it */

struct unpacker {
        const struct unpack_job *job;
        struct blob_fault *fault;
        uint64_t read, made, made_max;
        gint64 deadline;
        int end; /* why it ended, when a callback of libarchive said so */
        char *in, *out;
};

int blob_refuse(struct blob_fault *fault, const char *reason, const char *format, ...)
{
        va_list args;

        assert(fault && reason && format);
        fault->reason = reason;
        va_start(args, format);
        g_vsnprintf(fault->message, sizeof(fault->message), format, args);
        va_end(args);
        return 1;
}

/* --- what it is --- */

static const struct {
        const char *name, *magic;
        size_t len;
} packings[] = {
        [UNPACK_XZ] = {"xz",
                       "\xfd"
                       "7zXZ\0",
                       6},
        [UNPACK_GZIP] = {"gz", "\x1f\x8b\x08", 3},
        [UNPACK_BZIP2] = {"bz2", "BZh", 3},
        [UNPACK_ZSTD] = {"zstd", "\x28\xb5\x2f\xfd", 4},
};

enum unpack_packing unpack_packing(const void *head, size_t len)
{
        assert(head);
        for (size_t i = UNPACK_XZ; i < G_N_ELEMENTS(packings); i++)
                if (len >= UNPACK_HEAD_BYTES && memcmp(head, packings[i].magic, packings[i].len) == 0)
                        return (enum unpack_packing)i;
        return UNPACK_PLAIN;
}

const char *unpack_packing_name(enum unpack_packing packing)
{
        assert((size_t)packing < G_N_ELEMENTS(packings));
        return packings[packing].name;
}

static uint64_t bytes_max(const struct unpack_job *job)
{
        if (job->packed_bytes > LIMIT_IMAGE_BYTES / LIMIT_UNPACK_RATIO)
                return LIMIT_IMAGE_BYTES;
        return MAX(job->free_bytes ? job->free_bytes : LIMIT_UNPACK_BYTES, job->packed_bytes * LIMIT_UNPACK_RATIO);
}

/* --- both ends of the stream --- */

static int damaged(struct unpacker *unpacker, const char *words)
{
        return blob_refuse(unpacker->fault, REASON_IMAGE_CORRUPT, "the %s file is damaged or cut short: %s",
                           unpack_packing_name(unpacker->job->packing), words);
}

/* The next piece; *ret_len 0: the end. */
static int take(struct unpacker *unpacker, size_t *ret_len)
{
        const struct unpack_job *job = unpacker->job;
        ssize_t n;

        if (job->go_on && !job->go_on(unpacker->read, job->userdata))
                return -ECANCELED;
        do
                n = pread(job->fd, unpacker->in, MIN(IN_BYTES, job->packed_bytes - unpacker->read), (off_t)unpacker->read);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        unpacker->read += (uint64_t)n;
        *ret_len = (size_t)n;
        return 0;
}

static int hand_on(struct unpacker *unpacker, const void *data, size_t len)
{
        const struct unpack_job *job = unpacker->job;

        if (len > unpacker->made_max - unpacker->made) {
                char size[32];

                return blob_refuse(
                        unpacker->fault, REASON_IMAGE_TOO_LARGE,
                        "the %s file of %" PRIu64 " bytes unpacks to more than %sB, which is all that one of its size may; "
                        "send the image as qcow2",
                        unpack_packing_name(job->packing), job->packed_bytes, quantity_format_bytes(unpacker->made_max, size));
        }
        if (g_get_monotonic_time() >= unpacker->deadline)
                return blob_refuse(unpacker->fault, REASON_IMAGE_TOO_LARGE,
                                   "the %s file does not unpack in time; send the image as qcow2",
                                   unpack_packing_name(job->packing));
        if (job->go_on && !job->go_on(unpacker->read, job->userdata))
                return -ECANCELED;
        unpacker->made += len;
        return len ? job->sink(data, len, job->userdata) : 0;
}

/* --- xz and gzip: the libraries, for their bounds on memory and their checks --- */

/* One step: from next_in to next_out. 0: more; 1: the stream has ended; -1: damaged, and *ret_words. */
struct codec {
        size_t state_bytes;
        bool (*begin)(void *state);
        int (*step)(void *state, const char **in, size_t *in_len, char *out, size_t *out_len, bool last, const char **ret_words);
        void (*end)(void *state);
};

static bool xz_begin(void *state)
{
        return lzma_stream_decoder(state, LIMIT_UNPACK_MEMORY_BYTES, LZMA_CONCATENATED) == LZMA_OK;
}

static int xz_step(void *state, const char **in, size_t *in_len, char *out, size_t *out_len, bool last, const char **ret_words)
{
        lzma_stream *stream = state;
        size_t room = *out_len;

        stream->next_in = (const uint8_t *)*in;
        stream->avail_in = *in_len;
        stream->next_out = (uint8_t *)out;
        stream->avail_out = room;
        lzma_ret r = lzma_code(stream, last ? LZMA_FINISH : LZMA_RUN);
        *in = (const char *)stream->next_in;
        *in_len = stream->avail_in;
        *out_len = room - stream->avail_out;
        if (r == LZMA_STREAM_END)
                return 1;
        if (r == LZMA_OK || (r == LZMA_BUF_ERROR && !last))
                return 0;
        *ret_words = r == LZMA_MEMLIMIT_ERROR
                             ? "it needs more memory than is given; pack it with a smaller dictionary (xz -9 or less)"
                     : r == LZMA_BUF_ERROR  ? "it ends too early"
                     : r == LZMA_DATA_ERROR ? "its checksum or content is wrong"
                                            : "it is no xz stream that is known";
        return -1;
}

static void xz_end(void *state)
{
        lzma_end(state);
}

struct gzip {
        z_stream stream;
        bool between; /* one has ended: a gzip file may be several, one after the other */
};

static bool gzip_begin(void *state)
{
        struct gzip *gzip = state;

        return inflateInit2(&gzip->stream, GZIP_WINDOW) == Z_OK;
}

static int gzip_step(void *state, const char **in, size_t *in_len, char *out, size_t *out_len, bool last, const char **ret_words)
{
        struct gzip *gzip = state;
        z_stream *stream = &gzip->stream;
        size_t room = *out_len;

        *out_len = 0;
        if (gzip->between && *in_len == 0)
                return last;
        if (gzip->between && inflateReset2(stream, GZIP_WINDOW) != Z_OK)
                return -1;
        stream->next_in = (Bytef *)*in;
        stream->avail_in = (uInt)*in_len;
        stream->next_out = (Bytef *)out;
        stream->avail_out = (uInt)room;
        int r = inflate(stream, Z_NO_FLUSH);
        *in = (const char *)stream->next_in;
        *in_len = stream->avail_in;
        *out_len = room - stream->avail_out;
        gzip->between = r == Z_STREAM_END;
        if (r == Z_STREAM_END || r == Z_OK || (r == Z_BUF_ERROR && !last))
                return 0;
        *ret_words = r == Z_BUF_ERROR ? "it ends too early" : stream->msg ? stream->msg : "its content is wrong";
        return -1;
}

static void gzip_end(void *state)
{
        struct gzip *gzip = state;

        inflateEnd(&gzip->stream);
}

static const struct codec xz_codec = {sizeof(lzma_stream), xz_begin, xz_step, xz_end};
static const struct codec gzip_codec = {sizeof(struct gzip), gzip_begin, gzip_step, gzip_end};

static int run_codec(struct unpacker *unpacker, const struct codec *codec)
{
        g_autofree void *state = g_malloc0(codec->state_bytes);
        const char *in = unpacker->in, *words = "no memory";
        bool last = false;
        size_t left = 0;
        int r = 0, step = 0;

        if (!codec->begin(state))
                return -ENOMEM;
        while (r == 0 && step == 0) {
                size_t made = OUT_BYTES;

                if (left == 0 && !last) {
                        in = unpacker->in;
                        r = take(unpacker, &left);
                        last = left == 0;
                }
                if (r == 0)
                        step = codec->step(state, &in, &left, unpacker->out, &made, last, &words);
                if (r == 0)
                        r = step < 0 ? damaged(unpacker, words) : hand_on(unpacker, unpacker->out, made);
        }
        codec->end(state);
        return r;
}

/* --- bzip2 and zstd: libarchive --- */

static la_ssize_t on_archive_read(struct archive *archive, void *userdata, const void **ret_buffer)
{
        struct unpacker *unpacker = userdata;
        size_t len = 0;

        unpacker->end = take(unpacker, &len);
        *ret_buffer = unpacker->in;
        if (unpacker->end < 0) {
                archive_set_error(archive, -unpacker->end, "it cannot be read");
                return -1;
        }
        return (la_ssize_t)len;
}

static int archive_trouble(struct unpacker *unpacker, struct archive *archive)
{
        return unpacker->end ? unpacker->end : damaged(unpacker, archive_error_string(archive) ?: "no data");
}

static int drain_archive(struct unpacker *unpacker, struct archive *archive)
{
        struct archive_entry *entry;
        int r = archive_read_next_header(archive, &entry);

        if (r == ARCHIVE_EOF)
                return unpacker->end; /* nothing was packed */
        if (r != ARCHIVE_OK)
                return archive_trouble(unpacker, archive);
        /* Its own one, and the file. libarchive goes on as long as what comes out looks packed. */
        if (archive_filter_count(archive) < 2)
                return damaged(unpacker, "it ends too early");
        if (archive_filter_count(archive) > 2)
                return blob_refuse(unpacker->fault, REASON_IMAGE_FORMAT_UNKNOWN, "the file is packed more than once; pack it once");
        for (r = 0; r == 0;) {
                la_ssize_t n = archive_read_data(archive, unpacker->out, OUT_BYTES);

                if (n == 0)
                        return unpacker->end;
                r = n < 0 ? archive_trouble(unpacker, archive) : hand_on(unpacker, unpacker->out, (size_t)n);
        }
        return r;
}

static int run_archive(struct unpacker *unpacker)
{
        struct archive *archive = archive_read_new();
        int r;

        if (!archive)
                return -ENOMEM;
        if (unpacker->job->packing == UNPACK_BZIP2)
                archive_read_support_filter_bzip2(archive);
        else
                archive_read_support_filter_zstd(archive);
        archive_read_support_format_raw(archive);
        if (archive_read_open(archive, unpacker, NULL, on_archive_read, NULL) == ARCHIVE_OK)
                r = drain_archive(unpacker, archive);
        else
                r = archive_trouble(unpacker, archive);
        archive_read_free(archive);
        return r;
}

int unpack_run(const struct unpack_job *job, struct blob_fault *reterr_fault)
{
        assert(job && job->packing != UNPACK_PLAIN && job->sink && reterr_fault);

        g_autofree char *in = g_malloc(IN_BYTES);
        g_autofree char *out = g_malloc(OUT_BYTES);
        struct unpacker unpacker = {
                .job = job,
                .fault = reterr_fault,
                .made_max = bytes_max(job),
                .deadline = g_get_monotonic_time() + (gint64)(job->time_us ? job->time_us : LIMIT_UNPACK_US),
                .in = in,
                .out = out,
        };

        if (job->packing == UNPACK_XZ)
                return run_codec(&unpacker, &xz_codec);
        if (job->packing == UNPACK_GZIP)
                return run_codec(&unpacker, &gzip_codec);
        return run_archive(&unpacker);
}
