/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "http/server.h"
#include "http/ws.h"

#include <openssl/evp.h>
#include <string.h>

/* RFC 6455 §1.3 */
static const char ws_guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const char *http_ws_accept_key(const char *key, char *text)
{
        assert(key && text);

        unsigned char digest[EVP_MAX_MD_SIZE];
        unsigned len = 0;
        g_autofree char *joined = g_strconcat(key, ws_guid, NULL);
        int ok = EVP_Digest(joined, strlen(joined), digest, &len, EVP_sha1(), NULL);
        assert(ok == 1);
        EVP_EncodeBlock((unsigned char *)text, digest, len);
        return text;
}

/* Whether the comma-separated @list has @token (any case). */
static bool ws_list_has(const char *list, const char *token)
{
        g_auto(GStrv) parts = g_strsplit(list ? list : "", ",", 16);

        for (size_t i = 0; parts[i]; i++) {
                if (g_ascii_strcasecmp(g_strstrip(parts[i]), token) == 0)
                        return true;
        }
        return false;
}

/* The key of a valid handshake (RFC 6455 §4.2.1), or NULL. */
static const char *ws_handshake_key(const struct http_request *request)
{
        const char *key = http_request_header(request, "Sec-WebSocket-Key");
        const char *version = http_request_header(request, "Sec-WebSocket-Version");
        gsize len = 0;

        if (strcmp(request->head.method, "GET") != 0 || request->head.minor < 1 || !request->head.upgrade || !request->body_ended)
                return NULL;
        if (!ws_list_has(http_request_header(request, "Upgrade"), "websocket") || !version || strcmp(version, "13") != 0)
                return NULL;
        if (!key || strlen(key) != 24)
                return NULL;
        g_free(g_base64_decode(key, &len));
        return len == 16 ? key : NULL;
}

static void ws_queue_accept(struct http_request *request, struct http_ws *ws, const char *key, const char *protocol)
{
        char accept[32];

        g_autoptr(GString) head = g_string_new("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
        if (protocol)
                http_reply_header(request, "Sec-WebSocket-Protocol", protocol);
        http_reply_header(request, "Sec-WebSocket-Accept", http_ws_accept_key(key, accept));
        g_string_append_len(head, request->reply_headers->str, request->reply_headers->len);
        g_string_append(head, "\r\n");
        http_output_copy(&ws->output, head->str, head->len);
}

int http_request_upgrade(struct http_request *request, const char *protocol, const struct http_ws_handlers *handlers,
                         void *userdata, struct http_ws **ret_ws)
{
        assert(request && handlers && ret_ws);

        struct http_connection *connection = request->connection;
        const char *key = ws_handshake_key(request);
        if (!key || request->answer != ANSWER_NONE || connection->dead)
                return -EINVAL;
        struct http_ws *ws;
        int r = http_ws_new(connection->server->options.loop, true, &connection->server->limits, handlers, userdata, &ws);
        if (r < 0)
                return r;
        http_request_identity(request); /* while the session is here */
        http_transport_detach(&connection->transport);
        ws->transport = connection->transport;
        connection->transport = (struct http_transport){.fd = -1};
        ws->connection = connection;
        connection->ws = ws;
        ws_queue_accept(request, ws, key, protocol);
        request->answer = ANSWER_COMPLETE;
        r = http_ws_start(ws);
        if (r < 0)
                http_ws_fail(ws, "the event loop refused the connection");
        *ret_ws = ws;
        return 0;
}
