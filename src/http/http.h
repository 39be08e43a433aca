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

/* --- TLS --- */

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
/** http_tls_new() - 0, or -EINVAL when certificate, key, CA or hash cannot be used. A server whose certificate comes without its
 * chain sends the certificate of ca_pem that issued it along. Makes the process ignore SIGPIPE. */
int http_tls_new(const struct http_tls_options *options, struct http_tls **ret_tls);
/** http_tls_free() - connections that began with it live on. */
struct http_tls *http_tls_free(struct http_tls *tls);
AUTOPTR(http_tls, http_tls_free);
/** http_tls_reload() - use another certificate and key for new connections; 0, or -EINVAL and the old ones stay. */
int http_tls_reload(struct http_tls *tls, const char *certificate_pem, const char *key_pem);

/* --- server --- */

struct http_server;
struct http_disk;
struct http_request; /* one request and its response */

/*
 * What the owner of a request gets, in this order:
 *
 * - on_request: headers are complete; nothing of the body has been read. Decide here or later (route, authenticate,
 *   authorise), then ask for the body, or reply.
 * - on_body: a piece of the body (http_request_body_streaming()), or the whole of it (http_request_body_whole()).
 * - on_gone: the request is over: answered and sent, or the peer went away. Free what belongs to it. The last call, exactly
 *   once.
 *
 * A reply before the body was read closes the connection after it, unless the rest of the body is short (64 KiB) and on its
 * way: then it is skipped. Nothing that an owner calls (http_reply(), http_stream_write(), http_request_body_pause() ...) runs
 * its callbacks: those come in a later turn of the loop. Answers to a request whose peer is gone, or that the core has answered
 * itself meanwhile (a body that did not come in time), are dropped; on_gone follows. What the core answers has a Kubernetes
 * Status as its body.
 */
struct http_limits {
        size_t header_bytes; /* request line and headers */
        unsigned headers;
        uint64_t header_time_us, body_time_us, idle_time_us, stall_time_us;
        size_t connections, connections_per_peer, connections_per_principal; /* per peer: an IPv4 address or an IPv6 /64 */
        size_t unauthenticated;                                              /* connections nobody has vouched for */
        size_t memory, memory_per_principal; /* bytes of bodies that come and of answers that are not read */
        size_t out_bytes, ws_message_bytes;
};
/** http_limits_default() - LIMIT_HTTP_*; a static object. */
const struct http_limits *http_limits_default(void);
/** http_limits_within() - lower them so that @descriptors (RLIMIT_NOFILE) are enough for all connections and everything else. */
void http_limits_within(struct http_limits *limits, size_t descriptors);

struct http_server_options {
        struct loop *loop;
        struct http_tls *tls; /* borrowed until the server is freed; NULL: no TLS (tests, sockets behind a proxy) */
        void (*on_request)(struct http_request *request, void *userdata);
        void (*on_calm)(void *userdata); /* many connections have closed: free memory could be given back. May be NULL */
        void *userdata;
        const char *server_name;          /* Server header, or NULL */
        const struct http_limits *limits; /* copied; NULL: http_limits_default() */
        const struct http_disk *disk;     /* how http_reply_file() reads; NULL: from the machine's disks */
};
/** http_server_new() - without listeners. 0 or -errno. */
int http_server_new(const struct http_server_options *options, struct http_server **ret_server);
/** http_server_free() - end everything at once; every request's on_gone is called. Not from within a callback of the server. */
struct http_server *http_server_free(struct http_server *server);
AUTOPTR(http_server, http_server_free);
/** http_server_listen() - "127.0.0.1:6443", "[::1]:0" (up to eight times); @ret_port: the bound port, may be NULL. 0, -EINVAL (no
 *  such address) or -errno. */
int http_server_listen(struct http_server *server, const char *address_port, uint16_t *ret_port);
/** http_server_drain() - accept nothing new, end streams with a clean end, close idle connections, and the others after their
 * answer. It is over when the stats count no connections. */
void http_server_drain(struct http_server *server);

struct http_server_stats {
        uint64_t requests, connections_total, refused_connections, evicted_connections, bytes_in, bytes_out;
        size_t connections, streams, unauthenticated, memory;
};
/** http_server_stats() - counters since the beginning, and what there is now. */
void http_server_stats(const struct http_server *server, struct http_server_stats *ret_stats);

/** http_request_method() - GET HEAD POST PUT PATCH DELETE OPTIONS; others are refused by the core. */
const char *http_request_method(const struct http_request *request);
/** http_request_target() - as received. */
const char *http_request_target(const struct http_request *request);
/** http_request_path() - without the query, percent-decoded once. Paths with ".", "..", "//", escaped slashes, control characters,
 * bad escapes or bytes that are not UTF-8 are refused by the core. */
const char *http_request_path(const struct http_request *request);
/** http_request_query() - decoded value of the first query parameter @name, or NULL; "" for a bare name. */
const char *http_request_query(const struct http_request *request, const char *name);
/** http_request_header() - value of a header (any case); NULL when absent. Repeated headers are joined by ", ". */
const char *http_request_header(const struct http_request *request, const char *name);
/** http_request_header_begins() - whether there is a header whose name begins with @prefix (any case). */
bool http_request_header_begins(const struct http_request *request, const char *prefix);
/** http_request_peer() - "127.0.0.1:40000", "[::1]:40000". */
const char *http_request_peer(const struct http_request *request);
/** http_request_peer_certificate() - PEM of the verified client certificate, or NULL; cached per connection. */
const char *http_request_peer_certificate(const struct http_request *request);
/** http_request_peer_cn() - common name of the verified client certificate, or NULL. */
const char *http_request_peer_cn(const struct http_request *request);
/** http_request_peer_organizations() - its organisations, NULL-terminated; NULL without a certificate. */
const char *const *http_request_peer_organizations(const struct http_request *request);
/** http_request_peer_serial() - its serial number in lower-case hex, or NULL. */
const char *http_request_peer_serial(const struct http_request *request);
/** http_request_content_length() - of the body; -1: chunked (unknown), 0: none. */
int64_t http_request_content_length(const struct http_request *request);

/** http_request_vouch() - its owner has found out that @name sends it: the connection is no stranger any more, which a new one may
 * push out, and is charged to @name. 0, or what is to be refused with 429: -EUSERS (@name has too many connections) or -ENOBUFS
 * (too much of its bodies and unread answers is kept). */
int http_request_vouch(struct http_request *request, const char *name);

/** http_request_userdata() - what http_request_set_userdata() set: the last argument of every callback of this request. */
void *http_request_userdata(const struct http_request *request);
void http_request_set_userdata(struct http_request *request, void *userdata);
/** http_request_on_gone() - the last call of this request. */
void http_request_on_gone(struct http_request *request, void (*on_gone)(struct http_request *request, void *userdata));

/** http_request_body_whole() - collect the body up to @max_bytes, then call @on_body once with all of it (NUL-terminated, valid
 * until on_gone; empty when the request has none); above the bound call @on_too_large, which answers, or without it the core does
 * (413). */
void http_request_body_whole(struct http_request *request, size_t max_bytes,
                             void (*on_body)(struct http_request *request, const char *body, size_t len, void *userdata),
                             void (*on_too_large)(struct http_request *request, void *userdata));
/** http_request_body_streaming() - pieces as they come, then @on_end (may be NULL). */
void http_request_body_streaming(struct http_request *request,
                                 void (*on_piece)(struct http_request *request, const char *piece, size_t len, void *userdata),
                                 void (*on_end)(struct http_request *request, void *userdata));
/** http_request_body_pause() - no piece and no end is told until it is resumed; nothing is read from the socket (back-pressure). */
void http_request_body_pause(struct http_request *request, bool paused);

/** http_reply() - complete answer; @body is copied. Extra headers first, by http_reply_header(). */
void http_reply(struct http_request *request, int status, const char *content_type, const char *body, size_t len);
/** http_reply_header() - before the answer; control characters in @value become spaces. */
void http_reply_header(struct http_request *request, const char *name, const char *value);
/** http_reply_bytes() - complete answer whose body is borrowed bytes kept by @bytes. */
void http_reply_bytes(struct http_request *request, int status, const char *content_type, GBytes *bytes);
/** http_reply_file() - a file with Range support (RFC 9110 §14: one range), sent with back-pressure. Takes @fd over. What is not in
 *  memory is read by threads of the server. */
void http_reply_file(struct http_request *request, const char *content_type, int fd);

/** http_reply_stream() - begin a chunked answer; then any number of http_stream_write(); http_stream_end(). To HTTP/1.0 the answer
 * goes unframed and ends with the connection. */
void http_reply_stream(struct http_request *request, int status, const char *content_type);
/** http_stream_write() - queue bytes (shared by reference between many requests). 0, -ENOBUFS above LIMIT_HTTP_OUT_BYTES (nothing
 *  queued: the owner ends the stream or waits for on_drained), or -EPIPE when the stream has ended already. */
int http_stream_write(struct http_request *request, GBytes *bytes);
/** http_stream_end() - the answer is complete. */
void http_stream_end(struct http_request *request);
/** http_stream_pending() - bytes queued and not yet sent, framing included. */
size_t http_stream_pending(const struct http_request *request);
/** http_stream_on_drained() - call @on_drained whenever all that was written has been sent. */
void http_stream_on_drained(struct http_request *request, void (*on_drained)(struct http_request *request, void *userdata));

/* --- client: libcurl on the loop --- */

struct http_client;
struct http_call;

struct http_client_options {
        struct loop *loop;
        const char *ca_pem, *certificate_pem, *key_pem; /* PEM text, copied; may be NULL (ca_pem: the system's authorities) */
        /* When ca_pem is NULL: accept exactly servers whose chain ends in the CA with this SHA-256 of its DER (joining). 64 hex
         * digits. */
        const char *ca_sha256;
        const char *user_agent;
        bool insecure; /* skip verification of the peer: only for `gabbro --insecure` */
        /* Refuse to connect to addresses for which this returns false (downloads: no internal hosts), also after redirects. */
        bool (*allow_address)(const char *ip, void *userdata);
        void *userdata;
        struct http_kept *kept; /* http_fetch(): connections that go on to the next call, borrowed; NULL: each has its own */
};
/** http_client_new() - keeps connections alive between its calls. Ignores proxies of the environment. 0 or -errno. */
int http_client_new(const struct http_client_options *options, struct http_client **ret_client);
/** http_client_free() - cancels its calls; also from within their callbacks. */
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
        uint64_t stall_timeout_us; /* on its average less than stall_rate; 0: none */
        unsigned stall_rate;       /* bytes a second; 0: a byte */
        unsigned max_redirects;    /* 0: none are followed; https never goes to http, be it by a detour */
        size_t max_body_bytes;     /* of a collected answer; 0: LIMIT_JSON_BYTES. More is an error */
        /* Set: the answer is not collected but handed on in pieces; return false to abort. */
        bool (*on_piece)(struct http_call *call, const char *piece, size_t len, void *userdata);
        /* Asked at least once a second, also when nothing comes: false ends the call with -ECANCELED. May be NULL. */
        bool (*go_on)(struct http_call *call, void *userdata);
        /* The answer is complete; its status and headers can be read from @call (http_fetch() only). May be NULL. */
        void (*on_answer)(struct http_call *call, void *userdata);
        /* Progress of an upload: bytes sent so far. May be NULL. */
        void (*on_sent)(struct http_call *call, uint64_t sent, void *userdata);
};
/** The end of a call. @status: HTTP status, or 0 when none came; @error: words for a failure of transport, or NULL. */
typedef void (*http_call_fn)(struct http_call *call, int status, const char *body, size_t len, const char *error, void *userdata);
/** http_call() - begin a call; @done runs exactly once in a later turn of the loop, and @ret_call (may be NULL) is valid until it
 * returns. 0, or -EINVAL for options that cannot be sent. */
int http_call(struct http_client *client, const struct http_call_options *options, http_call_fn done, void *userdata,
              struct http_call **ret_call);
/** http_call_cancel() - end it without calling back, also from within its on_piece; NULL is accepted. */
struct http_call *http_call_cancel(struct http_call *call);
/** http_call_header() - of the answer, or NULL; valid within callbacks. */
const char *http_call_header(const struct http_call *call, const char *name);
/** http_call_status() - of the answer, 0 before it. */
int http_call_status(const struct http_call *call);

/**
 * http_fetch() - the same, blocking, on a thread of its own choosing (worker jobs, CLI): no loop
 * @ret_body: the collected answer; may be NULL with @options->on_piece, whose call argument serves http_call_status() and
 *            http_call_header() until it returns
 * @reterr_words: g_free()
 *
 * Return: 0, or -ETIMEDOUT, -EHOSTUNREACH (no such name), -ECONNREFUSED, -EACCES (by allow_address), -EKEYREJECTED (the peer's
 * certificate), -EMSGSIZE (more than max_body_bytes), -ECANCELED (by on_piece), -EINVAL (no URL of http or https, one with a user
 * name, or a redirect to such a one or from https to http), -ELOOP (redirects), -EIO.
 */
int http_fetch(const struct http_client_options *client, const struct http_call_options *options, void *userdata, int *ret_status,
               GString **ret_body, char **reterr_words);

/** http_kept_new() - connections and TLS sessions that calls leave to each other, one after the other; NULL: no memory. Not for
 * clients that pin a CA by its hash, nor for requests that must not be sent twice: a call that finds its connection closed makes
 * another one and asks again. */
struct http_kept *http_kept_new(void);
/** http_kept_free() - closes them; NULL is accepted. No call that borrows them is under way. */
struct http_kept *http_kept_free(struct http_kept *kept);

/* --- WebSocket streams: messages both ways over an upgraded connection --- */

struct http_ws;

struct http_ws_handlers {
        void (*on_open)(struct http_ws *ws, void *userdata); /* dialled streams: the peer accepted */
        void (*on_message)(struct http_ws *ws, bool binary, const char *data, size_t len, void *userdata);
        void (*on_drained)(struct http_ws *ws, void *userdata);                                  /* the queue is empty again */
        void (*on_close)(struct http_ws *ws, unsigned code, const char *reason, void *userdata); /* the last call */
};
/** http_request_upgrade() - accept the WebSocket request; @protocol: chosen subprotocol or NULL. The stream ends by itself: @ret_ws
 * is valid until on_close. 0, or -EINVAL when it is no valid handshake (then answer it). on_gone runs after on_close. */
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
/** http_ws_dial() - connect to a server's stream: on_open or on_close follows. 0, or -EINVAL when the URL is not valid or does not
 *  agree with @options->tls. */
int http_ws_dial(const struct http_ws_dial_options *options, const struct http_ws_handlers *handlers, void *userdata,
                 struct http_ws **ret_ws);
/** http_ws_send() - 0, -ENOBUFS when LIMIT_HTTP_OUT_BYTES would be queued (nothing is), or -EPIPE when it is not open. */
int http_ws_send(struct http_ws *ws, bool binary, const void *data, size_t len);
/** http_ws_pending() - bytes queued and not yet sent. */
size_t http_ws_pending(const struct http_ws *ws);
/** http_ws_pause() - tell no message until it is resumed; nothing is read from the socket (back-pressure). */
void http_ws_pause(struct http_ws *ws, bool paused);
/** http_ws_close() - start the closing handshake; on_close follows. */
void http_ws_close(struct http_ws *ws, unsigned code, const char *reason);
