/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "http/server.h"

#include <arpa/inet.h>
#include <string.h>

/* Larger texts are not kept for the next request. */
#define REQUEST_SPARE_BYTES 4096

struct http_request *http_request_new(struct http_connection *connection)
{
        assert(connection && !connection->request);

        struct http_server *server = connection->server;
        struct http_request *request = server->spare;
        if (request) {
                server->spare = request->next_spare;
                server->n_spare--;
                request->next_spare = NULL;
        } else {
                request = g_new0(struct http_request, 1);
                http_head_init(&request->head);
        }
        request->connection = connection;
        return request;
}

static void request_recycle(struct http_server *server, struct http_request *request)
{
        GString *text = request->head.text;

        if (server->n_spare >= HTTP_SERVER_SPARE_HEADS || text->allocated_len > REQUEST_SPARE_BYTES) {
                http_head_clear(&request->head);
                g_free(request);
                return;
        }
        *request = (struct http_request){.next_spare = server->spare, .head.text = text};
        server->spare = request;
        server->n_spare++;
}

void http_request_free(struct http_request *request)
{
        assert(request);

        struct http_server *server = request->connection->server;
        if (request->streaming)
                server->stats.streams--;
        if (request->seen && request->on_gone)
                request->on_gone(request, request->userdata);
        g_slist_free_full(request->texts, g_free);
        if (request->collected)
                g_string_free(request->collected, TRUE);
        if (request->reply_headers)
                g_string_free(request->reply_headers, TRUE);
        if (request->connection->request == request)
                request->connection->request = NULL;
        request_recycle(server, request);
}

const char *http_request_method(const struct http_request *request)
{
        assert(request);
        return request->head.method;
}

const char *http_request_target(const struct http_request *request)
{
        assert(request);
        return request->head.target;
}

const char *http_request_path(const struct http_request *request)
{
        assert(request);
        return request->head.path;
}

const char *http_request_query(const struct http_request *request, const char *name)
{
        assert(request && name);

        const char *pair = request->head.query;
        for (unsigned i = 0; i < request->head.n_query; i++) {
                const char *value = pair + strlen(pair) + 1;
                if (strcmp(pair, name) == 0)
                        return value;
                pair = value + strlen(value) + 1;
        }
        return NULL;
}

const char *http_request_header(const struct http_request *request, const char *name)
{
        assert(request && name);

        unsigned index;
        const char *first = http_head_field(&request->head, name, 0, &index);
        const char *more = first ? http_head_field(&request->head, name, index + 1, &index) : NULL;
        if (!more)
                return first;
        GString *joined = g_string_new(first);
        for (; more; more = http_head_field(&request->head, name, index + 1, &index)) {
                g_string_append(joined, ", ");
                g_string_append(joined, more);
        }
        char *text = g_string_free(joined, FALSE);
        ((struct http_request *)request)->texts = g_slist_prepend(request->texts, text);
        return text;
}

bool http_request_header_begins(const struct http_request *request, const char *prefix)
{
        assert(request && prefix);

        const char *pair = request->head.fields;
        for (unsigned i = 0; i < request->head.n_fields; i++) {
                if (g_ascii_strncasecmp(pair, prefix, strlen(prefix)) == 0)
                        return true;
                const char *value = pair + strlen(pair) + 1;
                pair = value + strlen(value) + 1;
        }
        return false;
}

const char *http_request_peer(const struct http_request *request)
{
        assert(request);

        struct http_connection *connection = request->connection;
        if (connection->peer_text)
                return connection->peer_text;
        char host[INET6_ADDRSTRLEN] = "?";
        if (connection->peer.ss_family == AF_INET) {
                const struct sockaddr_in *v4 = (const struct sockaddr_in *)&connection->peer;
                inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
                connection->peer_text = g_strdup_printf("%s:%u", host, ntohs(v4->sin_port));
        } else {
                const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&connection->peer;
                bool mapped = IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);
                inet_ntop(mapped ? AF_INET : AF_INET6, &v6->sin6_addr.s6_addr[mapped ? 12 : 0], host, sizeof(host));
                connection->peer_text = g_strdup_printf(mapped ? "%s:%u" : "[%s]:%u", host, ntohs(v6->sin6_port));
        }
        return connection->peer_text;
}

const struct http_peer_identity *http_request_identity(const struct http_request *request)
{
        assert(request);

        struct http_connection *connection = request->connection;
        if (!connection->identity_known && connection->transport.ssl)
                connection->identity = http_peer_identity_new(connection->transport.ssl);
        connection->identity_known = true;
        return connection->identity;
}

const char *http_request_peer_certificate(const struct http_request *request)
{
        const struct http_peer_identity *identity = http_request_identity(request);
        return identity ? identity->certificate_pem : NULL;
}

const char *http_request_peer_cn(const struct http_request *request)
{
        const struct http_peer_identity *identity = http_request_identity(request);
        return identity ? identity->common_name : NULL;
}

const char *const *http_request_peer_organizations(const struct http_request *request)
{
        const struct http_peer_identity *identity = http_request_identity(request);
        return identity ? (const char *const *)identity->organizations : NULL;
}

const char *http_request_peer_serial(const struct http_request *request)
{
        const struct http_peer_identity *identity = http_request_identity(request);
        return identity ? identity->serial : NULL;
}

int64_t http_request_content_length(const struct http_request *request)
{
        assert(request);
        return request->head.content_length;
}

int http_request_vouch(struct http_request *request, const char *name)
{
        assert(request && name);
        return http_admission_vouch(request->connection->server, request->connection, name);
}

void *http_request_userdata(const struct http_request *request)
{
        assert(request);
        return request->userdata;
}

void http_request_set_userdata(struct http_request *request, void *userdata)
{
        assert(request);
        request->userdata = userdata;
}

void http_request_on_gone(struct http_request *request, void (*on_gone)(struct http_request *request, void *userdata))
{
        assert(request);
        request->on_gone = on_gone;
}

/* A client that waits for leave to send its body gets it. */
static void request_begin_body(struct http_request *request, enum http_body body)
{
        struct http_connection *connection = request->connection;
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

        request->body = body;
        request->body_begun_us = loop_now_us(connection->server->options.loop);
        if (request->head.expect_continue && !request->body_ended && !request->body_too_large)
                http_output_copy(&connection->output, go_on, sizeof(go_on) - 1);
        http_server_kick(connection->server, connection);
}

void http_request_body_whole(struct http_request *request, size_t max_bytes,
                             void (*on_body)(struct http_request *request, const char *body, size_t len, void *userdata),
                             void (*on_too_large)(struct http_request *request, void *userdata))
{
        assert(request && on_body);
        assert(request->body == BODY_UNDECIDED);

        if (request->answer != ANSWER_NONE)
                return;
        int64_t length = request->head.content_length;
        request->on_whole = on_body;
        request->on_too_large = on_too_large;
        request->body_max = max_bytes;
        request->body_too_large = length > 0 && (uint64_t)length > max_bytes;
        request->collected = g_string_sized_new(request->body_too_large || length < 0 ? 0 : MIN(length, 64 << 10));
        request_begin_body(request, BODY_WHOLE);
}

void http_request_body_streaming(struct http_request *request,
                                 void (*on_piece)(struct http_request *request, const char *piece, size_t len, void *userdata),
                                 void (*on_end)(struct http_request *request, void *userdata))
{
        assert(request && on_piece);
        assert(request->body == BODY_UNDECIDED);

        if (request->answer != ANSWER_NONE)
                return;
        request->on_piece = on_piece;
        request->on_end = on_end;
        request_begin_body(request, BODY_STREAMING);
}

void http_request_body_pause(struct http_request *request, bool paused)
{
        assert(request);

        if (request->body_paused == paused)
                return;
        request->body_paused = paused;
        request->body_begun_us = loop_now_us(request->connection->server->options.loop);
        if (!paused)
                http_server_kick(request->connection->server, request->connection);
}
