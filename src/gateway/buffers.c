/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/buffers.h"
#include "base/file.h"
#include "base/limits.h"

#include <assert.h>
#include <glib.h>
#include <string.h>

void buffers_init(struct buffers *buffers, uint64_t offset, size_t n)
{
        assert(buffers && n > 0);
        *buffers = (struct buffers){
                .at = offset,
                .bound = CLAMP(LIMIT_UPLOADS_BUFFER_BYTES / 2 / n, BUFFERS_WRITE_BYTES, BUFFERS_MOST_BYTES),
        };
}

void buffers_clear(struct buffers *buffers)
{
        assert(buffers);
        g_aligned_free(buffers->filling);
        g_aligned_free(buffers->writing);
        *buffers = (struct buffers){};
}

static void make_room(struct buffers *buffers, size_t len)
{
        size_t size = MAX(buffers->filling_size, FILE_PAGE_BYTES);

        if (len <= buffers->filling_size)
                return;
        while (size < len)
                size *= 2;
        char *larger = g_aligned_alloc(1, size, FILE_PAGE_BYTES);
        if (buffers->filling_len > 0)
                memcpy(larger, buffers->filling, buffers->filling_len);
        g_aligned_free(buffers->filling);
        buffers->filling = larger;
        buffers->filling_size = size;
}

void buffers_add(struct buffers *buffers, const void *data, size_t len)
{
        assert(buffers && (data || !len));
        if (len == 0)
                return;
        make_room(buffers, buffers->filling_len + len);
        memcpy(buffers->filling + buffers->filling_len, data, len);
        buffers->filling_len += len;
}

bool buffers_is_ready(const struct buffers *buffers)
{
        assert(buffers);
        return buffers->filling_len >= BUFFERS_WRITE_BYTES;
}

bool buffers_is_full(const struct buffers *buffers)
{
        assert(buffers);
        return buffers->filling_len >= buffers->bound;
}

void buffers_swap(struct buffers *buffers, bool all)
{
        assert(buffers);

        struct buffers before = *buffers;
        size_t rest = all ? 0 : MIN((before.at + before.filling_len) % FILE_PAGE_BYTES, before.filling_len);

        *buffers = (struct buffers){
                .filling = before.writing,
                .filling_size = before.writing_size,
                .writing = before.filling,
                .writing_size = before.filling_size,
                .writing_len = before.filling_len - rest,
                .bound = before.bound,
                .at = before.at + before.filling_len - rest,
        };
        buffers_add(buffers, before.filling + before.filling_len - rest, rest);
}
