/* SPDX-License-Identifier: Apache-2.0 */
#include "http/output.h"

#include "base/error.h"

#include <string.h>

/* One connection's share of a turn; level-triggered events bring it back. */
#define OUTPUT_TURN_BYTES (512u << 10)
#define OUTPUT_COPY_ROOM  1024u

/* A segment is head[0..head_len), data[0..len) and, in chunks, CR LF; done counts over all three. */
struct http_output_segment {
        struct http_output_segment *next;
        GBytes *bytes;    /* keeps data, or NULL: data stands behind the segment */
        const char *data; /* NULL for a file */
        uint64_t len, done;
        size_t room; /* of a copy */
        struct http_file *file;
        uint8_t head_len, tail_len;
        char head[20];
};

static uint64_t segment_total(const struct http_output_segment *segment)
{
        return segment->head_len + segment->len + segment->tail_len;
}

/* Memory that it keeps. */
static size_t segment_cost(const struct http_output_segment *segment)
{
        return sizeof(*segment) + segment->room + (segment->bytes ? segment->len : 0) +
               (segment->file ? HTTP_FILE_BUFFER_BYTES : 0);
}

static void segment_free(struct http_output *output, struct http_output_segment *segment)
{
        output->kept -= segment_cost(segment);
        if (segment->bytes)
                g_bytes_unref(segment->bytes);
        http_file_free(segment->file);
        g_free(segment);
}

void http_output_init(struct http_output *output)
{
        assert(output);
        *output = (struct http_output){0};
        output->tail = &output->head;
}

void http_output_clear(struct http_output *output)
{
        assert(output);

        for (struct http_output_segment *segment = output->head, *next; segment; segment = next) {
                next = segment->next;
                segment_free(output, segment);
        }
        http_output_init(output);
}

static struct http_output_segment *output_add(struct http_output *output, size_t room)
{
        struct http_output_segment *segment = g_malloc(sizeof(struct http_output_segment) + room);

        *segment = (struct http_output_segment){.room = room};
        *output->tail = segment;
        output->tail = &segment->next;
        output->kept += segment_cost(segment);
        return segment;
}

char *http_output_reserve(struct http_output *output, size_t len)
{
        assert(output);

        struct http_output_segment *segment = output_add(output, len);
        segment->data = (char *)(segment + 1);
        segment->len = len;
        output->pending += len;
        return (char *)(segment + 1);
}

void http_output_copy(struct http_output *output, const void *data, size_t len)
{
        assert(output && (data || len == 0));

        if (len == 0)
                return;
        struct http_output_segment *last =
                output->head ? (struct http_output_segment *)((char *)output->tail - offsetof(struct http_output_segment, next))
                             : NULL;
        if (!last || last->bytes || last->file || last->room - last->len < len) {
                last = output_add(output, MAX(len, OUTPUT_COPY_ROOM));
                last->data = (char *)(last + 1);
        }
        memcpy((char *)(last + 1) + last->len, data, len);
        last->len += len;
        output->pending += len;
}

void http_output_bytes(struct http_output *output, GBytes *bytes, bool chunked)
{
        assert(output && bytes);

        gsize len;
        const char *data = g_bytes_get_data(bytes, &len);
        if (len == 0)
                return;
        struct http_output_segment *segment = output_add(output, 0);
        segment->bytes = g_bytes_ref(bytes);
        segment->data = data;
        segment->len = len;
        output->kept += len;
        if (chunked) {
                segment->head_len = g_snprintf(segment->head, sizeof(segment->head), "%zx\r\n", len);
                segment->tail_len = 2;
        }
        output->pending += segment_total(segment);
}

void http_output_file(struct http_output *output, struct http_file *file, uint64_t len)
{
        assert(output && file);

        if (len == 0) {
                http_file_free(file);
                return;
        }
        struct http_output_segment *segment = output_add(output, 0);
        segment->file = file;
        segment->len = len;
        output->pending += len;
        output->kept += HTTP_FILE_BUFFER_BYTES;
}

bool http_output_waits(const struct http_output *output)
{
        assert(output);
        return output->head && output->waiting;
}

/* The contiguous bytes of @segment at @done. */
static const char *segment_span(const struct http_output_segment *segment, uint64_t done, size_t *ret_len)
{
        if (done < segment->head_len) {
                *ret_len = segment->head_len - done;
                return segment->head + done;
        }
        done -= segment->head_len;
        if (done < segment->len) {
                *ret_len = segment->len - done;
                return segment->data + done;
        }
        done -= segment->len;
        *ret_len = segment->tail_len - done;
        return &"\r\n"[done];
}

static ssize_t output_take_file(struct http_output *output, const char **ret_data)
{
        size_t len;
        int r = http_file_take(output->head->file, ret_data, &len);

        output->waiting = r == -EINPROGRESS;
        if (r < 0)
                return output->waiting ? -EAGAIN : r;
        return MIN(len, OUTPUT_TURN_BYTES);
}

/* Find the next bytes to write: in place when one span fills a record or is all there is, else gathered in @scratch. */
static ssize_t output_gather(struct http_output *output, char *scratch, const char **ret_data)
{
        struct http_output_segment *segment = output->head;

        *ret_data = scratch;
        if (segment->file)
                return output_take_file(output, ret_data);
        size_t len;
        const char *span = segment_span(segment, segment->done, &len);
        if (len >= HTTP_OUTPUT_SCRATCH_BYTES || (!segment->next && segment->done + len == segment_total(segment))) {
                *ret_data = span;
                return MIN(len, OUTPUT_TURN_BYTES);
        }
        size_t filled = 0;
        for (; segment && !segment->file && filled < HTTP_OUTPUT_SCRATCH_BYTES; segment = segment->next) {
                uint64_t done = segment->done;
                while (done < segment_total(segment) && filled < HTTP_OUTPUT_SCRATCH_BYTES) {
                        span = segment_span(segment, done, &len);
                        len = MIN(len, HTTP_OUTPUT_SCRATCH_BYTES - filled);
                        memcpy(scratch + filled, span, len);
                        filled += len;
                        done += len;
                }
        }
        return filled;
}

static void output_consume(struct http_output *output, size_t written)
{
        output->pending -= written;
        while (written > 0) {
                struct http_output_segment *segment = output->head;
                uint64_t take = MIN(written, segment_total(segment) - segment->done);
                if (segment->file)
                        http_file_consume(segment->file, take);
                segment->done += take;
                written -= take;
                if (segment->done < segment_total(segment))
                        return;
                output->head = segment->next;
                if (!output->head)
                        output->tail = &output->head;
                segment_free(output, segment);
        }
}

int http_output_flush(struct http_output *output, struct http_transport *transport, char *scratch, uint64_t *ret_written)
{
        assert(output && transport && scratch && ret_written);

        for (size_t turn = 0; output->head;) {
                const char *data;
                if (turn >= OUTPUT_TURN_BYTES)
                        return -EAGAIN;
                ssize_t n = output_gather(output, scratch, &data);
                if (n < 0)
                        return n;
                n = http_transport_write(transport, data, n);
                if (n < 0)
                        return n;
                output_consume(output, n);
                *ret_written += n;
                turn += n;
        }
        return 0;
}
