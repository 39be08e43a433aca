/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/auto.h"
#include "loop/loop.h"

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * HTTP/1.1 over TLS (RFC 9110, RFC 9112) on the one loop: server, client, WebSocket streams (RFC 6455). Knows nothing of resources.
 * Everything runs on the loop thread. Bounds are LIMIT_HTTP_*; they hold from the first byte of a connection.
 */

/* --- TLS
 * -------------------------------------------------------------------------------------------------------------------------- */

struct http_tls; /* an OpenSSL context: certificate, key, trusted CA */

struct http_tls_options {
        const char *certificate_pem; /* chain, leaf first; NULL for a client without one */
        const char *key_pem;
        const char *ca_pem; /* server: CA of client certificates; client: CA of the server; NULL: none trusted */
        bool server;
        /* Client only: accept exactly this SHA-256 of the CA's DER certificate when ca_pem is NULL (joining). 64 hex digits. */
        const char *ca_sha256;
        bool insecure; /* client only: skip verification of the peer: only for `gabbro --insecure` */
};
/** http_tls_new() - 0, or -EINVAL when certificate, key, CA or hash cannot be used. */
int http_tls_new(const struct http_tls_options *options, struct http_tls **ret_tls);
struct http_tls *http_tls_free(struct http_tls *tls);
AUTOPTR(http_tls, http_tls_free);
/** http_tls_reload() - use another certificate and key for new connections. */
int http_tls_reload(struct http_tls *tls, const char *certificate_pem, const char *key_pem);

/* --- server
 * ----------------------------------------------------------------------------------------------------------------------- */

struct http_server;
struct http_request; /* one request and its response */

/*
 * What the owner of a request gets, in this order:
 *   on_request   headers are complete; nothing of the body has been read. Decide here (route, authenticate, authorise), set
 *                on_body/on_end for a body, or reply at once. A reply before the body was read closes the connection after it
 *                unless the body is empty.
 *   on_body      a piece of the body (http_request_body_streaming()), or the whole of it (http_request_body_whole()).
 *   on_gone      the request is over: answered and sent, or the peer went away. Free what belongs to it. The last call, exactly
 * once.
 */
struct http_limits {
        size_t header_bytes; /* request line and headers */
        unsigned headers;
        uint64_t header_time_us, body_time_us, idle_time_us, stall_time_us;
        size_t connections, connections_per_peer, unauthenticated; /* per peer: an IPv4 address or an IPv6 /64 */
        size_t out_bytes, ws_message_bytes;
};
/** http_limits_default() - LIMIT_HTTP_*; a static object. */
const struct http_limits *http_limits_default(void);

struct http_server_options {
        struct loop *loop;
        struct http_tls *tls; /* borrowed until the server is freed; NULL: no TLS (tests, sockets behind a proxy) */
        void (*on_request)(struct http_request *request, void *userdata);
        void *userdata;
        const char *server_name;          /* Server header, or NULL */
        const struct http_limits *limits; /* copied; NULL: http_limits_default() */
};
int http_server_new(const struct http_server_options *options, struct http_server **ret_server);
struct http_server *http_server_free(struct http_server *server);
AUTOPTR(http_server, http_server_free);
/** http_server_listen() - "127.0.0.1:6443", "[::1]:0"; @ret_port: the bound port. 0 or -errno. */
int http_server_listen(struct http_server *server, const char *address_port, uint16_t *ret_port);
/** http_server_drain() - accept nothing new, end streams with a clean end, close idle connections. */
void http_server_drain(struct http_server *server);

struct http_server_stats {
        uint64_t requests, connections_total, refused_connections, bytes_in, bytes_out;
        size_t connections, streams;
};
void http_server_stats(const struct http_server *server, struct http_server_stats *ret_stats);

const char *http_request_method(const struct http_request *request);
const char *http_request_target(const struct http_request *request); /* as received */
const char *http_request_path(const struct http_request *request);   /* without the query, percent-decoded once; paths with "..",
                                                                        "//", NUL or bad escapes are refused by the core */
/** http_request_query() - decoded value of the first query parameter @name, or NULL; "" for a bare name. */
const char *http_request_query(const struct http_request *request, const char *name);
/** http_request_header() - value of a header (any case); NULL when absent. Repeated headers are joined by ", ". */
const char *http_request_header(const struct http_request *request, const char *name);
const char *http_request_peer(const struct http_request *request); /* "127.0.0.1:40000" */
/** http_request_peer_certificate() - PEM of the verified client certificate, or NULL; cached per connection. */
const char *http_request_peer_certificate(const struct http_request *request);
/** http_request_peer_cn() - common name of the verified client certificate, or NULL. */
const char *http_request_peer_cn(const struct http_request *request);
/** http_request_peer_organizations() - its organisations, NULL-terminated; NULL without a certificate. */
const char *const *http_request_peer_organizations(const struct http_request *request);
const char *http_request_peer_serial(const struct http_request *request); /* lower-case hex, or NULL */
/** http_request_content_length() - of the body; -1: chunked (unknown), 0: none. */
int64_t http_request_content_length(const struct http_request *request);

void *http_request_userdata(const struct http_request *request);
void http_request_set_userdata(struct http_request *request, void *userdata);
void http_request_on_gone(struct http_request *request, void (*on_gone)(struct http_request *request, void *userdata));

/** http_request_body_whole() - collect the body up to @max_bytes, then call @on_body once with all of it; above the bound the core
 *  answers 413 by @on_too_large when given, else plainly. May be called only from on_request. */
void http_request_body_whole(struct http_request *request, size_t max_bytes,
                             void (*on_body)(struct http_request *request, const char *body, size_t len, void *userdata),
                             void (*on_too_large)(struct http_request *request, void *userdata));
/** http_request_body_streaming() - pieces as they come; http_request_body_pause() stops reading from the socket (back-pressure). */
void http_request_body_streaming(struct http_request *request,
                                 void (*on_piece)(struct http_request *request, const char *piece, size_t len, void *userdata),
                                 void (*on_end)(struct http_request *request, void *userdata));
void http_request_body_pause(struct http_request *request, bool paused);

/** http_reply() - complete answer; @body is copied. Extra headers first, by http_reply_header(). */
void http_reply(struct http_request *request, int status, const char *content_type, const char *body, size_t len);
void http_reply_header(struct http_request *request, const char *name, const char *value);
/** http_reply_bytes() - complete answer whose body is borrowed bytes kept by @bytes. */
void http_reply_bytes(struct http_request *request, int status, const char *content_type, GBytes *bytes);
/** http_reply_file() - a file with Range support (RFC 9110 §14: one range), sent with back-pressure. Takes @fd over. */
void http_reply_file(struct http_request *request, const char *content_type, int fd);

/** http_reply_stream() - begin a chunked answer; then any number of http_stream_write(); http_stream_end(). */
void http_reply_stream(struct http_request *request, int status, const char *content_type);
/** http_stream_write() - queue bytes (shared by reference between many requests). 0, or -ENOBUFS above LIMIT_HTTP_OUT_BYTES
 *  (nothing queued: the owner ends the stream or waits for on_drained). */
int http_stream_write(struct http_request *request, GBytes *bytes);
void http_stream_end(struct http_request *request);
size_t http_stream_pending(const struct http_request *request); /* bytes queued and not yet sent */
void http_stream_on_drained(struct http_request *request, void (*on_drained)(struct http_request *request, void *userdata));

/* --- client: libcurl on the loop -------------------------------------------------------------------------------------------------
 */

struct http_client;
struct http_call;

struct http_client_options {
        struct loop *loop;
        const char *ca_pem, *certificate_pem, *key_pem; /* PEM text, copied; may be NULL (ca_pem: the system's authorities) */
        /* Accept exactly servers whose chain ends in the CA with this SHA-256 of its DER when ca_pem is NULL (joining). 64 hex
         * digits. */
        const char *ca_sha256;
        const char *user_agent;
        bool insecure; /* skip verification of the peer: only for `gabbro --insecure` */
        /* Refuse to connect to addresses for which this returns false (downloads: no internal hosts), also after redirects. */
        bool (*allow_address)(const char *ip, void *userdata);
        void *userdata;
};
int http_client_new(const struct http_client_options *options, struct http_client **ret_client);
struct http_client *http_client_free(struct http_client *client);
AUTOPTR(http_client, http_client_free);

struct http_call_options {
        const char *method; /* NULL: GET */
        const char *url;
        const char *const *headers; /* "Name: value", NULL-terminated, or NULL */
        const char *body;           /* copied; NULL: none */
        size_t body_len;
        int body_fd; /* >= 0 (with body_fd_set): stream the body from this file, from its offset, @body_len bytes; not taken over */
        bool body_fd_set;
        uint64_t timeout_us;       /* whole call; 0: none */
        uint64_t stall_timeout_us; /* no byte for so long; 0: none */
        unsigned max_redirects;    /* 0: none are followed; https never goes to http */
        size_t max_body_bytes;     /* of a collected answer; 0: LIMIT_JSON_BYTES. More is an error */
        /* Set: the answer is not collected but handed on in pieces; return false to abort. */
        bool (*on_piece)(struct http_call *call, const char *piece, size_t len, void *userdata);
        /* Progress of an upload: bytes sent so far. May be NULL. */
        void (*on_sent)(struct http_call *call, uint64_t sent, void *userdata);
};
/** The end of a call. @status: HTTP status, or 0 when none came; @error: words for a failure of transport, or NULL. */
typedef void (*http_call_fn)(struct http_call *call, int status, const char *body, size_t len, const char *error, void *userdata);
int http_call(struct http_client *client, const struct http_call_options *options, http_call_fn done, void *userdata,
              struct http_call **ret_call);
/** http_call_cancel() - end it without calling back; NULL is accepted. */
struct http_call *http_call_cancel(struct http_call *call);
const char *http_call_header(const struct http_call *call, const char *name); /* of the answer; valid within callbacks */
int http_call_status(const struct http_call *call);

/** http_fetch() - the same, blocking, on a thread of its own choosing (worker jobs, CLI): no loop. 0 or -errno (words in
 *  @reterr_words, g_free): -ETIMEDOUT, -EHOSTUNREACH (no such name), -ECONNREFUSED, -EKEYREJECTED (the peer's certificate),
 * -EMSGSIZE (more than max_body_bytes), -ECANCELED (by on_piece), -EINVAL (not a URL of http or https), -ELOOP (redirects), -EIO.
 * @ret_body may be NULL with @options->on_piece, whose call argument serves http_call_status() and http_call_header() until it
 * returns. */
int http_fetch(const struct http_client_options *client, const struct http_call_options *options, void *userdata, int *ret_status,
               GString **ret_body, char **reterr_words);

/* --- WebSocket streams: messages both ways over an upgraded connection
 * ------------------------------------------------------------- */

struct http_ws;

struct http_ws_handlers {
        void (*on_open)(struct http_ws *ws, void *userdata); /* dialled streams: the peer accepted */
        void (*on_message)(struct http_ws *ws, bool binary, const char *data, size_t len, void *userdata);
        void (*on_drained)(struct http_ws *ws, void *userdata);                                  /* the queue is empty again */
        void (*on_close)(struct http_ws *ws, unsigned code, const char *reason, void *userdata); /* the last call */
};
/** http_request_upgrade() - accept the WebSocket request (from on_request); @protocol: chosen subprotocol or NULL.
 *  0, or -EINVAL when it is no valid handshake (then answer it). The request is over; on_gone runs after on_close. */
int http_request_upgrade(struct http_request *request, const char *protocol, const struct http_ws_handlers *handlers,
                         void *userdata, struct http_ws **ret_ws);
struct http_ws_dial_options {
        struct loop *loop;
        struct http_tls *tls;       /* client context */
        const char *url;            /* "https://host:port/path" */
        const char *const *headers; /* NULL-terminated, or NULL */
        const char *protocol;
        uint64_t timeout_us; /* until open; 0: 10 s */
};
int http_ws_dial(const struct http_ws_dial_options *options, const struct http_ws_handlers *handlers, void *userdata,
                 struct http_ws **ret_ws);
/** http_ws_send() - 0, or -ENOBUFS when LIMIT_HTTP_OUT_BYTES are queued. */
int http_ws_send(struct http_ws *ws, bool binary, const void *data, size_t len);
size_t http_ws_pending(const struct http_ws *ws);
void http_ws_pause(struct http_ws *ws, bool paused); /* stop reading: back-pressure */
/** http_ws_close() - start the closing handshake; on_close follows. */
void http_ws_close(struct http_ws *ws, unsigned code, const char *reason);
