/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "http/http.h"
#include "http/tls.h"

#include <sys/types.h>

/*
 * A non-blocking TCP connection on the loop, with TLS or without. Internal to src/http. Errors are -errno; -EAGAIN means "when the
 * socket is ready"; -ECONNRESET also stands for every TLS failure.
 */
struct http_transport {
        int fd;
        SSL *ssl;
        struct loop_source *source;
        unsigned events; /* what the loop watches */
        bool handshaking;
        bool tls_wants_write; /* the TLS layer must send before it can go on */
        bool broken;          /* no orderly end of TLS is possible */
};

/** http_transport_init() - on a connected or connecting socket, which is taken over (also when this fails). */
int http_transport_init(struct http_transport *transport, int fd, struct http_tls *tls, const char *host);
/** http_transport_clear() - end it: close_notify when possible, close. */
void http_transport_clear(struct http_transport *transport);
/** http_transport_attach() - have @fn called for events; LOOP_READ | LOOP_HANGUP at first. */
int http_transport_attach(struct http_transport *transport, struct loop *loop, loop_fd_fn fn, void *userdata);
/** http_transport_detach() - stop that, for another owner to attach. */
void http_transport_detach(struct http_transport *transport);
/** http_transport_watch() - what to wait for from now on. */
int http_transport_watch(struct http_transport *transport, unsigned events);

/** http_transport_handshake() - 0 done, -EAGAIN, or lost. */
int http_transport_handshake(struct http_transport *transport);
/** http_transport_read() - bytes, 0 at the end of the stream, or -errno. */
ssize_t http_transport_read(struct http_transport *transport, void *buffer, size_t size);
/** http_transport_peek() - whether bytes can be read (> 0), without taking any; 0 at the end of the stream, or -errno. */
ssize_t http_transport_peek(struct http_transport *transport);
/** http_transport_pending() - bytes are waiting above the socket, so that no event will announce them. */
bool http_transport_pending(const struct http_transport *transport);
/** http_transport_write() - bytes taken (> 0) or -errno. After -EAGAIN the same bytes must be offered again, and may be more. */
ssize_t http_transport_write(struct http_transport *transport, const void *data, size_t len);
/** http_transport_finish() - nothing more will be written: end the writing half. */
void http_transport_finish(struct http_transport *transport);
/** http_transport_discard() - read and forget what has come; 0 at the end of the stream, -EAGAIN, or lost. */
int http_transport_discard(struct http_transport *transport);
