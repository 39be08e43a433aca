/* SPDX-License-Identifier: Apache-2.0 */
#include "http/transport.h"

#include "base/error.h"
#include "base/file.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/socket.h>

int http_transport_init(struct http_transport *transport, int fd, struct http_tls *tls, const char *host)
{
        assert(transport && fd >= 0);

        *transport = (struct http_transport){.fd = fd, .handshaking = tls != NULL};
        int r = tls ? http_tls_session(tls, fd, host, &transport->ssl) : 0;
        if (r < 0)
                transport->fd = fd_close(fd);
        return r;
}

void http_transport_clear(struct http_transport *transport)
{
        assert(transport);

        http_transport_detach(transport);
        if (transport->ssl) {
                ERR_clear_error();
                if (!transport->handshaking && !transport->broken)
                        SSL_shutdown(transport->ssl);
                SSL_free(transport->ssl);
                ERR_clear_error();
        }
        transport->ssl = NULL;
        if (transport->fd >= 0)
                transport->fd = fd_close(transport->fd);
}

int http_transport_attach(struct http_transport *transport, struct loop *loop, loop_fd_fn fn, void *userdata)
{
        assert(transport && !transport->source && loop && fn);

        transport->events = LOOP_READ | LOOP_HANGUP;
        return loop_fd(loop, transport->fd, transport->events, fn, userdata, &transport->source);
}

void http_transport_detach(struct http_transport *transport)
{
        assert(transport);
        transport->source = loop_source_free(transport->source);
}

int http_transport_watch(struct http_transport *transport, unsigned events)
{
        assert(transport && transport->source);

        if (transport->events == events)
                return 0;
        transport->events = events;
        return loop_fd_set(transport->source, events);
}

/* Fold what OpenSSL says of a failed call into -EAGAIN, 0 (end of stream) or -ECONNRESET. */
static int transport_tls_result(struct http_transport *transport, int ret)
{
        switch (SSL_get_error(transport->ssl, ret)) {
        case SSL_ERROR_WANT_READ:
                return -EAGAIN;
        case SSL_ERROR_WANT_WRITE:
                transport->tls_wants_write = true;
                return -EAGAIN;
        case SSL_ERROR_ZERO_RETURN:
                return 0;
        default:
                transport->broken = true;
                return -ECONNRESET;
        }
}

int http_transport_handshake(struct http_transport *transport)
{
        assert(transport);

        if (!transport->handshaking)
                return 0;
        transport->tls_wants_write = false;
        ERR_clear_error();
        int ret = SSL_do_handshake(transport->ssl);
        if (ret != 1) {
                int r = transport_tls_result(transport, ret);
                return r == 0 ? -ECONNRESET : r;
        }
        transport->handshaking = false;
        /* Nothing is sent after the client's last flight (no tickets): without an ACK of its own a client under Nagle's algorithm
         * would hold its first request back for 40 ms. */
        const int one = 1;
        setsockopt(transport->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof(one));
        return 0;
}

ssize_t http_transport_read(struct http_transport *transport, void *buffer, size_t size)
{
        assert(transport && !transport->handshaking && buffer && size > 0);

        if (!transport->ssl) {
                ssize_t n = recv(transport->fd, buffer, size, 0);
                return n < 0 ? -errno : n;
        }
        transport->tls_wants_write = false;
        ERR_clear_error();
        int n = SSL_read(transport->ssl, buffer, MIN(size, INT_MAX));
        return n > 0 ? n : transport_tls_result(transport, n);
}

ssize_t http_transport_peek(struct http_transport *transport)
{
        char byte;

        assert(transport && !transport->handshaking);
        if (!transport->ssl) {
                ssize_t n = recv(transport->fd, &byte, sizeof(byte), MSG_PEEK);
                return n < 0 ? -errno : n;
        }
        ERR_clear_error();
        int n = SSL_peek(transport->ssl, &byte, sizeof(byte));
        return n > 0 ? n : transport_tls_result(transport, n);
}

bool http_transport_pending(const struct http_transport *transport)
{
        assert(transport);
        return transport->ssl && !transport->handshaking && SSL_has_pending(transport->ssl);
}

ssize_t http_transport_write(struct http_transport *transport, const void *data, size_t len)
{
        assert(transport && !transport->handshaking && data && len > 0);

        if (!transport->ssl) {
                ssize_t n = send(transport->fd, data, len, MSG_NOSIGNAL);
                return n < 0 ? -errno : n;
        }
        transport->tls_wants_write = false;
        ERR_clear_error();
        int n = SSL_write(transport->ssl, data, MIN(len, INT_MAX));
        if (n > 0)
                return n;
        int r = transport_tls_result(transport, n);
        return r == 0 ? -ECONNRESET : r;
}

void http_transport_finish(struct http_transport *transport)
{
        assert(transport);

        if (transport->ssl && !transport->handshaking && !transport->broken) {
                ERR_clear_error();
                SSL_shutdown(transport->ssl);
                transport->broken = true;
        }
        shutdown(transport->fd, SHUT_WR);
}

int http_transport_discard(struct http_transport *transport)
{
        assert(transport);

        char buffer[4096];
        for (int i = 0; i < 64; i++) {
                ssize_t n = recv(transport->fd, buffer, sizeof(buffer), 0);
                if (n <= 0)
                        return n < 0 ? -errno : 0;
        }
        return -EAGAIN;
}
