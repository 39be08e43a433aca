/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "http/ws_frames.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Raw bytes into the WebSocket framing. The first byte chooses the side and how the rest is cut: the same messages must come out,
 * none above the bound, text as UTF-8; and what goes out must stay in proportion to what came in.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_MESSAGE_BYTES 3000

struct fuzz_run {
        GString *trace;
        struct http_frames *frames;
        bool pausing;
        unsigned messages;
};

static void check(bool ok, const char *what)
{
        if (ok)
                return;
        fprintf(stderr, "broken promise: %s\n", what);
        abort();
}

static void on_message(void *userdata, bool binary, const char *data, size_t len)
{
        struct fuzz_run *run = userdata;

        check(len <= FUZZ_MESSAGE_BYTES, "messages are bounded");
        check(binary || len == 0 || g_utf8_validate_len(data, len, NULL) || memchr(data, 0, len), "text is UTF-8");
        g_string_append_printf(run->trace, "(%d %zu ", binary, len);
        g_string_append_len(run->trace, data, len);
        g_string_append_c(run->trace, ')');
        run->frames->mute = run->pausing && ++run->messages % 2;
}

static GString *trace_all(const uint8_t *data, size_t size, bool server, unsigned cut, bool pausing)
{
        struct http_output output;
        struct http_frames frames;
        struct fuzz_run run = {.trace = g_string_new(NULL), .frames = &frames, .pausing = pausing};
        unsigned code = 0;

        http_output_init(&output);
        check(http_frames_init(&frames, server, FUZZ_MESSAGE_BYTES, &output, on_message, &run) == 0, "memory");
        for (size_t at = 0; at < size && http_frames_reads(&frames);) {
                size_t len = cut ? MIN(1 + (at * 7 + cut) % cut, size - at) : size;
                g_autofree char *piece = g_memdup2(data + at, len);
                check(http_frames_feed(&frames, piece, len) == 0, "memory");
                at += len;
                do
                        frames.mute = false;
                while (http_frames_tell_kept(&frames));
        }
        bool closed = http_frames_closed(&frames, &code);
        check(output.pending <= 2 * size + 256, "answers are in proportion");
        if (closed)
                check(http_frames_send(&frames, true, "x", 1) < 0, "nothing is sent behind a close");
        http_frames_clear(&frames);
        http_output_clear(&output);
        return run.trace;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (size < 2)
                return 0;
        bool server = data[0] & 1;
        g_autoptr(GString) whole = trace_all(data + 1, size - 1, server, 0, false);
        g_autoptr(GString) cut = trace_all(data + 1, size - 1, server, 1 + (data[0] >> 2) % 64, data[0] & 2);
        if (!g_string_equal(whole, cut)) {
                fprintf(stderr, "whole: %s\ncut: %s\n", whole->str, cut->str);
                check(false, "the same however it is cut");
        }
        return 0;
}
