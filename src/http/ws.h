/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "http/transport.h"
#include "http/ws_frames.h"

/*
 * The stream behind struct http_ws: ws.c runs it, ws_accept.c makes one of a request, ws_dial.c makes one by dialling.
 */
struct http_connection;
struct http_ws_dial;

struct http_ws {
        struct loop *loop;
        struct http_transport transport;
        struct http_output output;
        struct http_frames frames;
        struct http_ws_handlers handlers;
        void *userdata;
        struct loop_source *kick, *timer;
        struct http_connection *connection; /* of an accepted stream */
        struct http_ws_dial *dial;          /* while it is being dialled */
        char *early;                        /* bytes that came behind the handshake */
        size_t early_len, out_bytes;
        uint64_t last_read_us, last_write_us;
        const char *failure; /* why it ended, when not by a close of the protocol; a constant */
        char *failure_text;  /* the same, made up */
        bool paused, open, closing, lingering, lost, pumping, undrained, readable;
        char buffer[16 << 10];
};

/** http_ws_new() - without transport. @server: the accepting side. @limits: of messages and of what waits to be sent. */
int http_ws_new(struct loop *loop, bool server, const struct http_limits *limits, const struct http_ws_handlers *handlers,
                void *userdata, struct http_ws **ret_ws);
/** http_ws_start() - the handshake is over and ws->transport set: attach to the loop. */
int http_ws_start(struct http_ws *ws);
/** http_ws_preload() - bytes that came with the handshake. */
void http_ws_preload(struct http_ws *ws, const char *data, size_t len);
/** http_ws_abandon() - end it at once; on_close is called, the connection is not released. */
void http_ws_abandon(struct http_ws *ws);
/** http_ws_fail() - it cannot go on; on_close follows in a later turn. @words: borrowed for ever. */
void http_ws_fail(struct http_ws *ws, const char *words);
/** http_ws_kick() - one more turn soon. */
void http_ws_kick(struct http_ws *ws);

/** http_ws_accept_key() - the answer to a Sec-WebSocket-Key. @text holds 32 bytes. */
const char *http_ws_accept_key(const char *key, char *text);

/* ws_dial.c, called by ws.c */
void http_ws_dial_free(struct http_ws_dial *dial);
