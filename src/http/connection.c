/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "http/server.h"
#include "http/ws.h"

#include <openssl/err.h>
#include <string.h>
#include <sys/socket.h>

/* Reads of one turn; a connection that has more waits for the others. */
#define CONNECTION_TURNS 16

static void connection_free(struct http_connection *connection)
{
        struct http_server *server = connection->server;

        connection->dead = true;
        if (connection->ws)
                http_ws_abandon(connection->ws);
        if (connection->request)
                http_request_free(connection->request);
        http_transport_clear(&connection->transport);
        http_output_clear(&connection->output);
        http_peer_identity_free(connection->identity);
        http_server_forget(server, connection);
        g_free(connection->peer_text);
        g_free(connection->held);
        g_free(connection);
}

void http_connection_abort(struct http_connection *connection)
{
        assert(connection);

        connection->dead = true;
        if (!connection->pumping)
                connection_free(connection);
}

static uint64_t connection_now_us(const struct http_connection *connection)
{
        return loop_now_us(connection->server->options.loop);
}

/* Whether bytes of the peer would be of use now. */
static bool connection_wants_input(const struct http_connection *connection)
{
        const struct http_request *request = connection->request;

        if (connection->dead || connection->lingering || connection->ws)
                return false;
        if (!request)
                return true;
        if (!request->seen)
                return request->answer == ANSWER_NONE;
        if (request->body_ended || request->body_too_large || (request->answer == ANSWER_COMPLETE && !request->keep))
                return false;
        switch (request->body) {
        case BODY_WHOLE:
        case BODY_DISCARDED:
                return true;
        case BODY_STREAMING:
                return !request->body_paused;
        default:
                return false;
        }
}

static void connection_on_head(struct http_connection *connection)
{
        struct http_request *request = connection->request;
        struct http_server *server = connection->server;
        size_t used;

        request->seen = true;
        request->body_ended = http_parser_ended(&connection->parser);
        if (request->body_ended)
                http_parser_feed(&connection->parser, NULL, 0, &used);
        server->stats.requests++;
        server->options.on_request(request, server->options.userdata);
}

static void connection_on_piece(struct http_connection *connection)
{
        struct http_request *request = connection->request;
        const char *piece = connection->parser.piece;
        size_t len = connection->parser.piece_len;

        request->body_begun = true;
        if (request->body == BODY_STREAMING)
                request->on_piece(request, piece, len, request->userdata);
        if (request->body != BODY_WHOLE)
                return;
        if (len > request->body_max - request->collected->len) {
                request->body_too_large = true;
                return;
        }
        g_string_append_len(request->collected, piece, len);
        http_admission_charge(connection->server, connection);
        if (http_admission_is_over(connection->server, connection) && request->answer == ANSWER_NONE)
                http_reply_refuse(request, 429, "too much of what this client has sent or asked for is kept in memory: try again");
}

/* Tell the owner of what became due outside of its own calls: the end of the body, or that it is too large. */
static void connection_tell_body(struct http_connection *connection)
{
        struct http_request *request = connection->request;

        if (!request || !request->seen || request->body_end_told || request->answer == ANSWER_COMPLETE || connection->ws)
                return;
        if (request->body != BODY_WHOLE && request->body != BODY_STREAMING)
                return;
        if (request->body_too_large) {
                request->body_end_told = true;
                if (request->on_too_large)
                        request->on_too_large(request, request->userdata);
                else
                        http_reply_refuse(request, 413, "the body is too large");
        } else if (request->body_ended && !(request->body == BODY_STREAMING && request->body_paused)) {
                request->body_end_told = true;
                if (request->body == BODY_WHOLE)
                        request->on_whole(request, request->collected->str, request->collected->len, request->userdata);
                else if (request->on_end)
                        request->on_end(request, request->userdata);
        }
}

static void connection_on_bad(struct http_connection *connection)
{
        struct http_request *request = connection->request;

        if (request->answer == ANSWER_NONE)
                http_reply_refuse(request, connection->parser.status, connection->parser.words);
        else
                connection->dead = true;
}

static void connection_begin_request(struct http_connection *connection)
{
        connection->request = http_request_new(connection);
        if (connection->served)
                connection->since_us = connection_now_us(connection);
        http_parser_begin(&connection->parser, &connection->request->head);
}

/* Parse as far as the state of the request allows; the rest of the bytes: @return. */
static size_t connection_feed(struct http_connection *connection, const char *data, size_t len)
{
        while (connection_wants_input(connection) && (len > 0 || (connection->request && http_parser_ended(&connection->parser)))) {
                size_t used;
                if (!connection->request)
                        connection_begin_request(connection);
                enum http_parse event = http_parser_feed(&connection->parser, data, len, &used);
                data += used;
                len -= used;
                if (event == HTTP_PARSE_HEAD)
                        connection_on_head(connection);
                else if (event == HTTP_PARSE_PIECE)
                        connection_on_piece(connection);
                else if (event == HTTP_PARSE_END)
                        connection->request->body_ended = true;
                else if (event == HTTP_PARSE_BAD)
                        connection_on_bad(connection);
                connection_tell_body(connection);
        }
        return len;
}

/* Keep what could not be parsed yet, for when its turn has come. */
static void connection_hold(struct http_connection *connection, const char *data, size_t len)
{
        assert(connection->held_len == 0);

        if (len == 0)
                return;
        connection->held = g_memdup2(data, len);
        connection->held_len = len;
        connection->held_at = 0;
}

static void connection_feed_held(struct http_connection *connection)
{
        size_t len = connection->held_len;

        size_t rest = connection_feed(connection, connection->held + connection->held_at, len);
        connection->held_at += len - rest;
        connection->held_len = rest;
        if (rest == 0)
                g_clear_pointer(&connection->held, g_free);
}

/* Read once and parse. Whether there was anything to do. */
static bool connection_input(struct http_connection *connection, bool *readable)
{
        struct http_server *server = connection->server;

        connection_tell_body(connection);
        if (!connection_wants_input(connection))
                return false;
        if (connection->held_len > 0 || (connection->request && http_parser_ended(&connection->parser))) {
                connection_feed_held(connection);
                return true;
        }
        if (!*readable && !http_transport_pending(&connection->transport))
                return false;
        size_t room = connection->known ? sizeof(server->read_buffer) : HTTP_STRANGER_READ_BYTES;
        ssize_t n = http_transport_read(&connection->transport, server->read_buffer, room);
        *readable = n == (ssize_t)room;
        if (n == -EAGAIN)
                return false;
        if (n <= 0) {
                connection->dead = true;
                return false;
        }
        connection->ahead = false;
        server->stats.bytes_in += n;
        connection->last_read_us = connection_now_us(connection);
        size_t rest = connection_feed(connection, server->read_buffer, n);
        connection_hold(connection, server->read_buffer + n - rest, rest);
        return true;
}

static void connection_finish_request(struct http_connection *connection)
{
        struct http_request *request = g_steal_pointer(&connection->request);
        bool keep = request->keep && request->seen;

        connection->served = true;
        connection->since_us = connection_now_us(connection);
        http_request_free(request);
        if (keep && !connection->server->draining)
                return;
        http_transport_finish(&connection->transport);
        connection->lingering = true;
}

/* Write what is queued and end what is answered. Whether that opened the way for more. */
static bool connection_output(struct http_connection *connection)
{
        struct http_server *server = connection->server;
        struct http_request *request = connection->request;

        if (connection->ws || connection->dead)
                return false;
        if (connection->output.head) {
                uint64_t written = 0;
                int r = http_output_flush(&connection->output, &connection->transport, server->write_buffer, &written);
                server->stats.bytes_out += written;
                if (written > 0 || !connection->writing)
                        connection->last_write_us = connection_now_us(connection);
                connection->writing = r == -EAGAIN && !http_output_waits(&connection->output);
                connection->dead = r < 0 && r != -EAGAIN;
                if (r < 0)
                        return false;
        }
        if (!request)
                return false;
        if (request->answer == ANSWER_COMPLETE && (request->body_ended || !request->keep)) {
                connection_finish_request(connection);
                return true;
        }
        if (request->undrained) {
                request->undrained = false;
                if (request->on_drained && request->answer == ANSWER_STREAMING)
                        request->on_drained(request, request->userdata);
                return connection->output.head != NULL;
        }
        return false;
}

/* A client that speaks plain HTTP to the TLS port is told so (as Go's server does). */
static void connection_on_handshake_failure(struct http_connection *connection)
{
        static const char answer[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
                                     "This port speaks HTTPS; the request was plain HTTP.\n";

        if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST &&
            send(connection->transport.fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
                shutdown(connection->transport.fd, SHUT_WR);
        ERR_clear_error();
        connection->dead = true;
}

/* While the whole request has come and the answer is under way, the next bytes can only be another request ahead of its turn, or
 * the end of the peer's stream: TLS tells that without an end of the TCP connection. */
static bool connection_awaits_end(const struct http_connection *connection)
{
        const struct http_request *request = connection->request;

        return request && request->body_ended && !connection->transport.handshaking && !connection->ws && !connection->lingering &&
               !connection->dead && !connection->peer_ended && !connection->ahead && connection->held_len == 0 &&
               !connection_wants_input(connection);
}

static void connection_listen_for_end(struct http_connection *connection)
{
        ssize_t n = http_transport_peek(&connection->transport);

        if (n > 0)
                connection->ahead = true;
        else if (n == 0)
                connection->peer_ended = true;
        else
                connection->dead = n != -EAGAIN;
}

static void connection_turn(struct http_connection *connection, unsigned events)
{
        bool readable = events & (LOOP_READ | LOOP_HANGUP) || connection->transport.tls_wants_write;

        if (events & LOOP_READ)
                http_admission_heard(connection->server, connection);
        if (connection->transport.handshaking) {
                int r = http_transport_handshake(&connection->transport);
                if (r < 0 && r != -EAGAIN)
                        connection_on_handshake_failure(connection);
                if (r < 0)
                        return;
                readable = true;
        }
        if (events & LOOP_READ && connection_awaits_end(connection))
                connection_listen_for_end(connection);
        for (int i = 0; i < CONNECTION_TURNS; i++) {
                bool more = connection_input(connection, &readable);
                more |= connection_output(connection);
                if (connection->dead || connection->lingering || connection->ws)
                        return;
                if (more)
                        continue;
                /* What came along with the request is announced by no event. */
                if (http_transport_pending(&connection->transport) && connection_awaits_end(connection))
                        connection_listen_for_end(connection);
                return;
        }
        http_server_kick(connection->server, connection);
}

/* The peer has gone and nothing that it could still receive is complete. */
static bool connection_is_deserted(const struct http_connection *connection)
{
        const struct http_request *request = connection->request;

        return connection->peer_ended && !connection_wants_input(connection) && !connection->lingering &&
               !(request && request->answer == ANSWER_COMPLETE);
}

static unsigned connection_wanted_events(const struct http_connection *connection, unsigned events)
{
        const struct http_transport *transport = &connection->transport;
        unsigned wanted = connection->peer_ended ? 0 : LOOP_HANGUP;

        if (connection->lingering)
                return LOOP_READ;
        if (transport->tls_wants_write || (connection->output.head && !http_output_waits(&connection->output)))
                wanted |= LOOP_WRITE;
        if (transport->handshaking || connection_wants_input(connection) || connection_awaits_end(connection))
                return wanted | LOOP_READ;
        /* Most clients send nothing while they wait for the answer: stop asking only when one does. */
        if (transport->events & LOOP_READ && !(events & LOOP_READ) && !connection->peer_ended)
                wanted |= LOOP_READ;
        return wanted;
}

void http_connection_pump(struct http_connection *connection, unsigned events)
{
        assert(connection && !connection->pumping);

        connection->pumping = true;
        if (events & LOOP_HANGUP)
                connection->peer_ended = true;
        if (events & LOOP_ERROR)
                connection->dead = true;
        else if (connection->lingering)
                connection->dead = http_transport_discard(&connection->transport) != -EAGAIN;
        else if (!connection->ws)
                connection_turn(connection, events);
        if (connection_is_deserted(connection) && !connection->ws)
                connection->dead = true;
        if (connection->ws && connection->held_len > 0) {
                http_ws_preload(connection->ws, connection->held + connection->held_at, connection->held_len);
                connection->held_len = 0;
        }
        connection->pumping = false;
        http_admission_charge(connection->server, connection);
        if (!connection->dead && !connection->ws &&
            http_transport_watch(&connection->transport, connection_wanted_events(connection, events)) < 0)
                connection->dead = true;
        if (connection->dead)
                connection_free(connection);
}

static void connection_on_event(struct loop_source *source, int fd, unsigned events, void *userdata)
{
        http_connection_pump(userdata, events);
}

int http_connection_new(struct http_server *server, int fd, const struct sockaddr_storage *peer)
{
        assert(server && fd >= 0 && peer);

        struct http_connection *connection = g_new0(struct http_connection, 1);
        int r = http_transport_init(&connection->transport, fd, server->options.tls, NULL);
        if (r == 0)
                r = http_transport_attach(&connection->transport, server->options.loop, connection_on_event, connection);
        if (r < 0) {
                http_transport_clear(&connection->transport);
                g_free(connection);
                return r;
        }
        connection->server = server;
        connection->peer = *peer;
        connection->since_us = loop_now_us(server->options.loop);
        http_output_init(&connection->output);
        http_parser_init(&connection->parser, &server->limits);
        http_admission_enter(server, connection);
        http_server_link(server, connection);
        return 0;
}

static bool is_over(uint64_t since_us, uint64_t limit_us, uint64_t now_us)
{
        return now_us >= since_us && now_us - since_us >= limit_us;
}

/* Between requests, in the handshake, or within a head. */
static void connection_check_head(struct http_connection *connection, uint64_t now_us)
{
        const struct http_limits *limits = &connection->server->limits;

        if (!connection->request) {
                uint64_t limit_us = connection->served && connection->known ? limits->idle_time_us : limits->header_time_us;
                if (is_over(connection->since_us, limit_us, now_us))
                        http_connection_abort(connection);
        } else if (is_over(connection->since_us, limits->header_time_us, now_us)) {
                http_reply_refuse(connection->request, 408, "the headers did not come in time");
        }
}

static void connection_check_body(struct http_connection *connection, uint64_t now_us)
{
        const struct http_limits *limits = &connection->server->limits;
        struct http_request *request = connection->request;
        uint64_t moved_us = MAX(connection->last_read_us, request->body_begun_us);

        if (request->body == BODY_WHOLE && is_over(request->body_begun_us, limits->body_time_us, now_us))
                http_reply_refuse(request, 408, "the body did not come in time");
        else if (request->body == BODY_STREAMING && is_over(moved_us, limits->stall_time_us, now_us))
                http_reply_refuse(request, 408, "the body has stopped coming");
        else if (request->body == BODY_DISCARDED && is_over(moved_us, limits->stall_time_us, now_us))
                http_connection_abort(connection);
}

void http_connection_check_deadline(struct http_connection *connection, uint64_t now_us)
{
        assert(connection && !connection->pumping);

        struct http_request *request = connection->request;
        if (connection->ws)
                return;
        if (connection->lingering) {
                if (is_over(connection->since_us, HTTP_LINGER_TIME_US, now_us))
                        http_connection_abort(connection);
        } else if (connection->writing) {
                if (is_over(connection->last_write_us, connection->server->limits.stall_time_us, now_us))
                        http_connection_abort(connection);
        } else if (!request || (!request->seen && request->answer == ANSWER_NONE)) {
                connection_check_head(connection, now_us);
        } else if (connection_wants_input(connection)) {
                connection_check_body(connection, now_us);
        }
}

void http_connection_drain(struct http_connection *connection)
{
        assert(connection);

        struct http_request *request = connection->request;
        if (connection->ws) {
                http_ws_close(connection->ws, 1001, "the server is stopping");
        } else if (!request && http_parser_idle(&connection->parser) && !connection->lingering) {
                connection->since_us = connection_now_us(connection);
                if (connection->transport.handshaking) {
                        connection->dead = true;
                } else {
                        http_transport_finish(&connection->transport);
                        connection->lingering = true;
                }
                http_server_kick(connection->server, connection);
        } else if (request && request->answer == ANSWER_STREAMING) {
                http_stream_end(request);
        }
}

void http_connection_release(struct http_connection *connection)
{
        assert(connection);

        connection->ws = NULL;
        http_connection_abort(connection);
}
