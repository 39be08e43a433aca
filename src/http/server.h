/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "http/admission.h"
#include "http/output.h"
#include "http/parser.h"

#include <netinet/in.h>

/*
 * The server from within. server.c: listeners, the sweep of deadlines; admission.c: who may be connected; connection.c: one
 * connection's turns; request.c: what its owner reads; reply.c and stream.c: what its owner answers. All I/O of a connection
 * happens in http_connection_pump(), which the loop calls: nothing that an owner calls runs the owner's callbacks.
 */

#define HTTP_SERVER_READ_BYTES   (64u << 10)
#define HTTP_STRANGER_READ_BYTES (16u << 10) /* what it sends ahead of its turn is kept: less of it */
#define HTTP_SERVER_LISTENERS    8
#define HTTP_SERVER_SPARE_HEADS  64
#define HTTP_SERVER_READERS      2           /* threads that read files from disk */
#define HTTP_LINGER_TIME_US      2000000ull  /* for the peer to read the last answer and end */
#define HTTP_DISCARD_BYTES       (64u << 10) /* of an unread body that may be skipped to keep a connection */

struct http_connection;

struct http_listener {
        int fd;
        struct loop_source *source;
        struct http_server *server;
        bool rests; /* no descriptors: not asked until the next sweep */
};

struct http_server {
        struct http_server_options options;
        struct http_limits limits;
        struct http_listener listeners[HTTP_SERVER_LISTENERS];
        unsigned n_listeners;
        int spare_fd;                        /* given up for a moment when descriptors run out */
        struct http_connection *connections; /* all, doubly linked */
        struct http_connection *dirty;       /* to be pumped in the next turn */
        struct loop_source *kick, *sweep;
        struct loop_pool *readers; /* of files; made for the first one */
        struct http_admission admission;
        struct http_server_stats stats;
        bool draining, sweeping;
        size_t high_water; /* connections, since memory was given back */
        time_t date_second;
        char date[40];
        GString *reply_head;        /* being built */
        struct http_request *spare; /* finished requests kept for the next ones */
        unsigned n_spare;
        char read_buffer[HTTP_SERVER_READ_BYTES];
        char write_buffer[HTTP_OUTPUT_SCRATCH_BYTES];
};

/** http_server_kick() - have @connection pumped soon. */
void http_server_kick(struct http_server *server, struct http_connection *connection);
/** http_server_unkick() - not needed any more. */
void http_server_unkick(struct http_connection *connection);
/** http_server_link() - put a new connection on the list that the sweep walks. */
void http_server_link(struct http_server *server, struct http_connection *connection);
/** http_server_forget() - take a closing connection out of all lists and accounts. */
void http_server_forget(struct http_server *server, struct http_connection *connection);
/** http_server_readers() - threads that read files; NULL: there can be none now. */
struct loop_pool *http_server_readers(struct http_server *server);
/** http_server_date() - "Sun, 06 Nov 1994 08:49:37 GMT". */
const char *http_server_date(struct http_server *server);

enum http_body { BODY_UNDECIDED, BODY_WHOLE, BODY_STREAMING, BODY_DISCARDED };
enum http_answer { ANSWER_NONE, ANSWER_STREAMING, ANSWER_COMPLETE };

struct http_request {
        struct http_request *next_spare;
        struct http_connection *connection;
        struct http_head head;
        void *userdata;
        void (*on_gone)(struct http_request *request, void *userdata);
        GSList *texts; /* repeated headers, joined */
        bool seen;     /* by its owner: on_request was called */

        enum http_body body;
        bool body_paused, body_begun, body_too_large;
        bool body_ended, body_end_told; /* all has come; its handler knows */
        size_t body_max;
        uint64_t body_begun_us;
        GString *collected;
        void (*on_whole)(struct http_request *request, const char *body, size_t len, void *userdata);
        void (*on_too_large)(struct http_request *request, void *userdata);
        void (*on_piece)(struct http_request *request, const char *piece, size_t len, void *userdata);
        void (*on_end)(struct http_request *request, void *userdata);

        enum http_answer answer;
        bool answered_by_core, keep, chunked, bodyless, streaming, undrained;
        GString *reply_headers;
        void (*on_drained)(struct http_request *request, void *userdata);
};

struct http_connection {
        struct http_connection *previous, *next;
        struct http_connection *next_dirty, **dirty_link; /* dirty_link: what points here while it is dirty, else NULL */
        struct http_server *server;
        struct http_transport transport;
        struct http_parser parser;
        struct http_request *request;
        struct http_output output;
        struct http_ws *ws; /* after the upgrade; it owns the transport */
        char *held;         /* bytes read and not yet parsed */
        size_t held_len, held_at;
        uint64_t since_us, last_read_us, last_write_us; /* since: accepted, idle, or the first byte of a head */
        struct http_peer_identity *identity;
        char *peer_text;
        struct sockaddr_storage peer;
        struct http_peer_account *peer_account;
        struct http_principal *principal; /* NULL: nobody has vouched for it */
        GList stranger;                   /* its link among the strangers of its address */
        uint64_t serial;                  /* in the order of their coming */
        size_t charged;                   /* bytes in the accounts of memory */
        bool identity_known, pumping, dead, writing;
        bool heard;      /* it has sent something */
        bool known;      /* it is no stranger */
        bool peer_ended; /* the peer has ended its writing half */
        bool ahead;      /* it has sent something behind the request that is being answered */
        bool lingering;  /* all is said; what still comes is discarded until the peer ends too */
        bool served;     /* a request was finished on it */
};

/** http_connection_new() - on an accepted socket, which is taken over. */
int http_connection_new(struct http_server *server, int fd, const struct sockaddr_storage *peer);
/** http_connection_pump() - one turn: read, parse, call the owner, write, settle what to wait for. */
void http_connection_pump(struct http_connection *connection, unsigned events);
/** http_connection_abort() - the connection is lost or ended: the owner's last call, then free. From within a turn it is put off to
 *  the turn's end. */
void http_connection_abort(struct http_connection *connection);
/** http_connection_check_deadline() - from the sweep: end what has waited too long. */
void http_connection_check_deadline(struct http_connection *connection, uint64_t now_us);
/** http_connection_drain() - end it as soon as its request is answered; streams end cleanly. */
void http_connection_drain(struct http_connection *connection);
/** http_connection_release() - the upgraded connection's stream is over. */
void http_connection_release(struct http_connection *connection);

struct http_request *http_request_new(struct http_connection *connection);
/** http_request_free() - the last call of its owner, then give the memory back. */
void http_request_free(struct http_request *request);

/** http_status_phrase() - "Not Found"; "" for a number without one. */
const char *http_status_phrase(int status);
/** http_status_body() - a Kubernetes Status as JSON text appended to @out. */
void http_status_body(int status, const char *words, GString *out);
/** http_reply_stream_begin() - queue the head of an answer without known length; whether it still counts. */
bool http_reply_stream_begin(struct http_request *request, int status, const char *content_type);
/** http_request_identity() - what the verified client certificate says, or NULL; cached per connection. */
const struct http_peer_identity *http_request_identity(const struct http_request *request);
/** http_reply_refuse() - a Status of the core's own, after which the connection is closed. Whatever the owner answers is dropped.
 */
void http_reply_refuse(struct http_request *request, int status, const char *words);
