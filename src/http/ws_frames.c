/* SPDX-License-Identifier: Apache-2.0 */
#include "http/ws_frames.h"

#include "base/clock.h"
#include "base/error.h"

#include <string.h>

struct http_frames_message {
        bool binary;
        size_t len;
        char data[];
};

static ssize_t frames_on_recv(wslay_event_context_ptr inner, uint8_t *buffer, size_t len, int flags, void *userdata)
{
        struct http_frames *frames = userdata;

        if (frames->in_len == 0) {
                wslay_event_set_error(inner, WSLAY_ERR_WOULDBLOCK);
                return -1;
        }
        len = MIN(len, frames->in_len);
        memcpy(buffer, frames->in, len);
        frames->in += len;
        frames->in_len -= len;
        return len;
}

static ssize_t frames_on_send(wslay_event_context_ptr inner, const uint8_t *data, size_t len, int flags, void *userdata)
{
        struct http_frames *frames = userdata;

        http_output_copy(frames->output, data, len);
        return len;
}

static int frames_on_mask(wslay_event_context_ptr inner, uint8_t *buffer, size_t len, void *userdata)
{
        random_fill(random_system(), buffer, len);
        return 0;
}

static void frames_keep(struct http_frames *frames, bool binary, const char *data, size_t len)
{
        struct http_frames_message *message = g_malloc(sizeof(*message) + len + 1);

        *message = (struct http_frames_message){.binary = binary, .len = len};
        if (len > 0)
                memcpy(message->data, data, len);
        message->data[len] = '\0';
        g_queue_push_tail(&frames->kept, message);
}

static void frames_on_message(wslay_event_context_ptr inner, const struct wslay_event_on_msg_recv_arg *arg, void *userdata)
{
        struct http_frames *frames = userdata;
        const char *data = (const char *)arg->msg;
        bool binary = arg->opcode == WSLAY_BINARY_FRAME;

        if (arg->opcode == WSLAY_CONNECTION_CLOSE) {
                g_free(frames->reason);
                frames->reason = arg->msg_length > 2 ? g_strndup(data + 2, arg->msg_length - 2) : NULL;
        }
        if (arg->opcode != WSLAY_TEXT_FRAME && !binary)
                return;
        if (frames->mute || !g_queue_is_empty(&frames->kept))
                frames_keep(frames, binary, data, arg->msg_length);
        else
                frames->on_message(frames->userdata, binary, arg->msg_length ? data : "", arg->msg_length);
}

int http_frames_init(struct http_frames *frames, bool server, size_t max_message, struct http_output *output,
                     void (*on_message)(void *userdata, bool binary, const char *data, size_t len), void *userdata)
{
        static const struct wslay_event_callbacks callbacks = {
                .recv_callback = frames_on_recv,
                .send_callback = frames_on_send,
                .genmask_callback = frames_on_mask,
                .on_msg_recv_callback = frames_on_message,
        };

        assert(frames && output && on_message);
        *frames = (struct http_frames){.server = server, .output = output, .on_message = on_message, .userdata = userdata};
        g_queue_init(&frames->kept);
        int r = server ? wslay_event_context_server_init(&frames->inner, &callbacks, frames)
                       : wslay_event_context_client_init(&frames->inner, &callbacks, frames);
        if (r != 0)
                return -ENOMEM;
        wslay_event_config_set_max_recv_msg_length(frames->inner, max_message);
        return 0;
}

void http_frames_clear(struct http_frames *frames)
{
        assert(frames);

        if (frames->inner)
                wslay_event_context_free(frames->inner);
        frames->inner = NULL;
        g_queue_clear_full(&frames->kept, g_free);
        g_clear_pointer(&frames->reason, g_free);
}

static int frames_flush(struct http_frames *frames)
{
        return wslay_event_send(frames->inner) == 0 ? 0 : -EPROTO;
}

/* A breach on the level of frames: wslay would close without a code, so the frame of code 1002 is written here. */
static void frames_break(struct http_frames *frames)
{
        unsigned char close[8] = {0x88, frames->server ? 2 : 0x82};
        size_t at = 2;

        if (!frames->server) {
                random_fill(random_system(), close + at, 4);
                at += 4;
        }
        close[at] = 0x03 ^ (frames->server ? 0 : close[2]);
        close[at + 1] = 0xea ^ (frames->server ? 0 : close[3]);
        http_output_copy(frames->output, close, at + 2);
        frames->broken = true;
}

int http_frames_feed(struct http_frames *frames, const char *data, size_t len)
{
        assert(frames && frames->inner && (data || len == 0));

        frames->in = data;
        frames->in_len = len;
        int r = wslay_event_recv(frames->inner);
        frames->in_len = 0;
        if (r == WSLAY_ERR_NOMEM)
                return -ENOMEM;
        if (r != 0) {
                frames_break(frames);
                return 0;
        }
        return frames_flush(frames);
}

bool http_frames_tell_kept(struct http_frames *frames)
{
        assert(frames);

        bool any = false;
        while (!frames->mute && !g_queue_is_empty(&frames->kept)) {
                g_autofree struct http_frames_message *message = g_queue_pop_head(&frames->kept);
                frames->on_message(frames->userdata, message->binary, message->data, message->len);
                any = true;
        }
        return any;
}

static int frames_queue(struct http_frames *frames, uint8_t opcode, const void *data, size_t len)
{
        struct wslay_event_msg message = {.opcode = opcode, .msg = data, .msg_length = len};

        if (frames->broken || wslay_event_queue_msg(frames->inner, &message) != 0)
                return -EPIPE;
        return frames_flush(frames);
}

int http_frames_send(struct http_frames *frames, bool binary, const void *data, size_t len)
{
        assert(frames && frames->inner && (data || len == 0));
        return frames_queue(frames, binary ? WSLAY_BINARY_FRAME : WSLAY_TEXT_FRAME, data, len);
}

int http_frames_ping(struct http_frames *frames)
{
        assert(frames && frames->inner);
        return frames_queue(frames, WSLAY_PING, NULL, 0);
}

int http_frames_close(struct http_frames *frames, unsigned code, const char *reason)
{
        assert(frames && frames->inner);

        size_t len = reason ? MIN(strlen(reason), 123) : 0;
        while (len > 0 && reason && !g_utf8_validate(reason, len, NULL))
                len--;
        if (frames->broken || wslay_event_queue_close(frames->inner, code, (const uint8_t *)reason, len) != 0)
                return -EPIPE;
        return frames_flush(frames);
}

bool http_frames_reads(const struct http_frames *frames)
{
        assert(frames && frames->inner);
        return !frames->broken && wslay_event_want_read(frames->inner);
}

bool http_frames_closed(const struct http_frames *frames, unsigned *ret_code)
{
        assert(frames && frames->inner && ret_code);

        if (frames->broken) {
                *ret_code = 1002;
                return true;
        }
        if (!wslay_event_get_close_sent(frames->inner))
                return false;
        if (wslay_event_get_close_received(frames->inner)) {
                unsigned code = wslay_event_get_status_code_received(frames->inner);
                *ret_code = code ? code : 1005;
                return true;
        }
        if (wslay_event_get_read_enabled(frames->inner))
                return false;
        *ret_code = wslay_event_get_status_code_sent(frames->inner);
        return true;
}

bool http_frames_broken(const struct http_frames *frames)
{
        assert(frames && frames->inner);
        return frames->broken || (wslay_event_get_close_sent(frames->inner) && !wslay_event_get_close_received(frames->inner) &&
                                  !wslay_event_get_read_enabled(frames->inner));
}
