/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "http/output.h"

#include <wslay/wslay.h>

/*
 * WebSocket framing (RFC 6455 §5) without sockets: bytes in, messages out; messages in, frames into an output. Answers pings and
 * closing handshakes by itself, and closes with the right code on every breach of the protocol. Internal to src/http.
 */
struct http_frames {
        struct wslay_event_context *inner;
        struct http_output *output; /* borrowed; frames go there */
        void (*on_message)(void *userdata, bool binary, const char *data, size_t len);
        void *userdata;
        const char *in; /* being read */
        size_t in_len;
        bool server, broken; /* broken: the peer breached the protocol below messages */
        bool mute;           /* messages are kept back: the receiver is paused */
        GQueue kept;         /* struct http_frames_message, which came in one piece with the last one told */
        char *reason;        /* of the peer's close */
};

/** http_frames_init() - @server: the peer is a client (its frames are masked). @max_message: bytes of one message. */
int http_frames_init(struct http_frames *frames, bool server, size_t max_message, struct http_output *output,
                     void (*on_message)(void *userdata, bool binary, const char *data, size_t len), void *userdata);
void http_frames_clear(struct http_frames *frames);
/** http_frames_feed() - read bytes of the peer. 0, or -errno: the stream is of no more use. */
int http_frames_feed(struct http_frames *frames, const char *data, size_t len);
/** http_frames_tell_kept() - messages that were kept back while mute; whether there were any. */
bool http_frames_tell_kept(struct http_frames *frames);
/** http_frames_send() - a message as one frame into the output. 0 or -errno. */
int http_frames_send(struct http_frames *frames, bool binary, const void *data, size_t len);
int http_frames_ping(struct http_frames *frames);
int http_frames_close(struct http_frames *frames, unsigned code, const char *reason);
/** http_frames_reads() - more bytes are of use: no close has come, nothing was broken. */
bool http_frames_reads(const struct http_frames *frames);
/** http_frames_closed() - both sides have closed, or this side has after a breach. @ret_code: the peer's code (1005: none), or
 * ours. */
bool http_frames_closed(const struct http_frames *frames, unsigned *ret_code);
/** http_frames_broken() - the peer breached the protocol, and was told so. */
bool http_frames_broken(const struct http_frames *frames);
