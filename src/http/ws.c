/* SPDX-License-Identifier: Apache-2.0 */
#include "http/ws.h"

#include "base/error.h"
#include "base/limits.h"
#include "http/server.h"

#include <string.h>

#define WS_TURNS          16
#define WS_TICK_US        5000000ull
#define WS_PING_AFTER_US  30000000ull /* of silence */
#define WS_LOST_AFTER_US  90000000ull
#define WS_CLOSE_TIME_US  5000000ull /* for the closing handshake */
#define WS_LINGER_TIME_US 2000000ull

static void ws_free(struct http_ws *ws)
{
        unsigned code = 1006;
        const char *reason = ws->failure_text ? ws->failure_text : ws->failure ? ws->failure : "the connection was lost";
        struct http_connection *connection = g_steal_pointer(&ws->connection);

        if (http_frames_closed(&ws->frames, &code))
                reason = ws->frames.reason                 ? ws->frames.reason
                         : http_frames_broken(&ws->frames) ? "the peer broke the protocol"
                                                           : "";
        ws->lost = ws->pumping = true; /* whatever on_close still asks for */
        loop_source_free(ws->kick);
        loop_source_free(ws->timer);
        http_ws_dial_free(ws->dial);
        http_transport_clear(&ws->transport);
        if (ws->handlers.on_close)
                ws->handlers.on_close(ws, code, reason, ws->userdata);
        http_frames_clear(&ws->frames);
        http_output_clear(&ws->output);
        g_free(ws->early);
        g_free(ws->failure_text);
        g_free(ws);
        if (connection)
                http_connection_release(connection);
}

void http_ws_abandon(struct http_ws *ws)
{
        assert(ws && !ws->pumping);

        ws->connection = NULL;
        ws_free(ws);
}

void http_ws_fail(struct http_ws *ws, const char *words)
{
        assert(ws);

        if (!ws->failure)
                ws->failure = words;
        ws->lost = true;
        http_ws_kick(ws);
}

void http_ws_kick(struct http_ws *ws)
{
        assert(ws);

        if (!ws->pumping)
                loop_defer_set(ws->kick, true);
}

static void ws_on_message(void *userdata, bool binary, const char *data, size_t len)
{
        struct http_ws *ws = userdata;

        if (!ws->closing)
                ws->handlers.on_message(ws, binary, data, len, ws->userdata);
}

static void ws_feed(struct http_ws *ws, const char *data, size_t len)
{
        ws->last_read_us = loop_now_us(ws->loop);
        if (http_frames_feed(&ws->frames, data, len) < 0)
                http_ws_fail(ws, "the frames could not be read");
}

static bool ws_wants_input(const struct http_ws *ws)
{
        return ws->open && !ws->lost && !ws->lingering && (!ws->paused || ws->closing) &&
               g_queue_is_empty(&((struct http_ws *)ws)->frames.kept) && http_frames_reads(&ws->frames) &&
               ws->output.pending <= ws->out_bytes;
}

/* Read once. Whether there was anything to do. */
static bool ws_input(struct http_ws *ws)
{
        bool told = http_frames_tell_kept(&ws->frames);

        if (!ws_wants_input(ws))
                return told;
        if (ws->early) {
                g_autofree char *early = g_steal_pointer(&ws->early);
                ws_feed(ws, early, ws->early_len);
                return true;
        }
        if (!ws->readable && !http_transport_pending(&ws->transport))
                return told;
        ws->readable = false;
        ssize_t n = http_transport_read(&ws->transport, ws->buffer, sizeof(ws->buffer));
        if (n > 0)
                ws_feed(ws, ws->buffer, n);
        else if (n != -EAGAIN)
                http_ws_fail(ws, "the connection was lost");
        return n > 0;
}

static bool ws_output(struct http_ws *ws)
{
        static char scratch[HTTP_OUTPUT_SCRATCH_BYTES]; /* loop thread only */

        if (ws->output.head) {
                uint64_t written = 0;
                int r = http_output_flush(&ws->output, &ws->transport, scratch, &written);
                if (written > 0)
                        ws->last_write_us = loop_now_us(ws->loop);
                if (r < 0 && r != -EAGAIN)
                        http_ws_fail(ws, "the connection was lost");
                if (r < 0)
                        return false;
        }
        if (!ws->undrained || !ws->open || ws->closing)
                return false;
        ws->undrained = false;
        if (ws->handlers.on_drained)
                ws->handlers.on_drained(ws, ws->userdata);
        return ws->output.head != NULL;
}

/* The closing handshake is over and sent: end the connection in order. */
static void ws_settle_close(struct http_ws *ws)
{
        unsigned code;

        if (ws->lingering || ws->output.head || !http_frames_closed(&ws->frames, &code))
                return;
        http_transport_finish(&ws->transport);
        ws->lingering = true;
        loop_timer_set(ws->timer, WS_LINGER_TIME_US);
}

static void ws_watch(struct http_ws *ws)
{
        unsigned events = 0;

        if (ws->lingering)
                events = LOOP_READ;
        else if (ws_wants_input(ws))
                events = LOOP_READ | LOOP_HANGUP;
        if (!ws->lingering && (ws->output.head || ws->transport.tls_wants_write))
                events |= LOOP_WRITE;
        if (http_transport_watch(&ws->transport, events) < 0)
                ws->lost = true;
}

static void ws_pump(struct http_ws *ws, unsigned events)
{
        assert(!ws->pumping);

        ws->pumping = true;
        ws->readable = events & (LOOP_READ | LOOP_HANGUP) || ws->transport.tls_wants_write;
        /* A hang-up that was not asked for is one of both directions. */
        if (events & LOOP_ERROR || (events & LOOP_HANGUP && !(ws->transport.events & LOOP_HANGUP) && !ws->lingering))
                ws->lost = true;
        if (ws->lingering)
                ws->lost |= http_transport_discard(&ws->transport) != -EAGAIN;
        bool more = !ws->lost && !ws->lingering;
        for (int i = 0; more && i < WS_TURNS; i++) {
                more = ws_input(ws);
                more |= ws_output(ws);
                ws_settle_close(ws);
                more &= !ws->lost && !ws->lingering;
        }
        ws->pumping = false;
        if (!ws->lost)
                ws_watch(ws);
        if (ws->lost)
                ws_free(ws);
        else if (more)
                http_ws_kick(ws);
}

static void ws_on_event(struct loop_source *source, int fd, unsigned events, void *userdata)
{
        ws_pump(userdata, events);
}

static void ws_on_kick(struct loop_source *source, void *userdata)
{
        struct http_ws *ws = userdata;

        if (ws->lost)
                ws_free(ws);
        else if (ws->transport.source && ws->open)
                ws_pump(ws, 0);
}

static void ws_on_timer(struct loop_source *source, void *userdata)
{
        struct http_ws *ws = userdata;
        uint64_t silent_us = loop_now_us(ws->loop) - ws->last_read_us;

        if (!ws->open) {
                http_ws_fail(ws, "the peer did not answer in time");
                return;
        }
        if (ws->output.head && loop_now_us(ws->loop) - ws->last_write_us >= LIMIT_HTTP_STALL_TIME_US) {
                http_ws_fail(ws, "the peer does not read");
                return;
        }
        if (ws->closing || ws->lingering || (silent_us >= WS_LOST_AFTER_US && !ws->paused)) {
                http_ws_fail(ws, "the peer is silent");
                return;
        }
        if (silent_us >= WS_PING_AFTER_US && !ws->paused && http_frames_ping(&ws->frames) == 0)
                http_ws_kick(ws);
        loop_timer_set(ws->timer, WS_TICK_US);
}

int http_ws_new(struct loop *loop, bool server, const struct http_limits *limits, const struct http_ws_handlers *handlers,
                void *userdata, struct http_ws **ret_ws)
{
        assert(loop && limits && handlers && handlers->on_message && ret_ws);

        struct http_ws *ws = g_new0(struct http_ws, 1);
        ws->loop = loop;
        ws->transport.fd = -1;
        ws->handlers = *handlers;
        ws->userdata = userdata;
        ws->out_bytes = limits->out_bytes;
        http_output_init(&ws->output);
        int r = http_frames_init(&ws->frames, server, limits->ws_message_bytes, &ws->output, ws_on_message, ws);
        if (r == 0)
                r = loop_defer(loop, ws_on_kick, ws, &ws->kick);
        if (r == 0)
                r = loop_timer(loop, WS_TICK_US, ws_on_timer, ws, &ws->timer);
        if (r < 0) {
                loop_source_free(ws->kick);
                http_frames_clear(&ws->frames);
                g_free(ws);
                return r;
        }
        *ret_ws = ws;
        return 0;
}

int http_ws_start(struct http_ws *ws)
{
        assert(ws && ws->transport.fd >= 0 && !ws->open);

        int r = http_transport_attach(&ws->transport, ws->loop, ws_on_event, ws);
        if (r < 0)
                return r;
        ws->open = true;
        ws->last_read_us = ws->last_write_us = loop_now_us(ws->loop);
        loop_timer_set(ws->timer, WS_TICK_US);
        http_ws_kick(ws);
        return 0;
}

void http_ws_preload(struct http_ws *ws, const char *data, size_t len)
{
        assert(ws && !ws->early);

        if (len == 0)
                return;
        ws->early = g_memdup2(data, len);
        ws->early_len = len;
        http_ws_kick(ws);
}

int http_ws_send(struct http_ws *ws, bool binary, const void *data, size_t len)
{
        assert(ws && (data || len == 0));

        if (ws->lost || ws->closing || !ws->open)
                return -EPIPE;
        if (ws->output.pending + len > ws->out_bytes)
                return -ENOBUFS;
        if (!ws->output.head)
                ws->last_write_us = loop_now_us(ws->loop);
        int r = http_frames_send(&ws->frames, binary, data, len);
        if (r < 0)
                return r;
        ws->undrained = true;
        http_ws_kick(ws);
        return 0;
}

size_t http_ws_pending(const struct http_ws *ws)
{
        assert(ws);
        return ws->output.pending;
}

void http_ws_pause(struct http_ws *ws, bool paused)
{
        assert(ws);

        ws->paused = paused;
        ws->frames.mute = paused;
        ws->last_read_us = loop_now_us(ws->loop);
        if (!paused)
                http_ws_kick(ws);
}

void http_ws_close(struct http_ws *ws, unsigned code, const char *reason)
{
        assert(ws);

        if (ws->closing || ws->lost)
                return;
        ws->closing = true;
        ws->frames.mute = false;
        if (!ws->open || http_frames_close(&ws->frames, code, reason) < 0) {
                http_ws_fail(ws, "closed before it was open");
                return;
        }
        loop_timer_set(ws->timer, WS_CLOSE_TIME_US);
        http_ws_kick(ws);
}
