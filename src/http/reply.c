/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/file.h"
#include "http/server.h"

#include <string.h>
#include <sys/stat.h>

static void head_add(GString *head, const char *text)
{
        g_string_append_len(head, text, strlen(text));
}

static void head_add_number(GString *head, uint64_t number)
{
        char text[20];
        size_t at = sizeof(text);

        do {
                text[--at] = '0' + number % 10;
                number /= 10;
        } while (number > 0);
        g_string_append_len(head, text + at, sizeof(text) - at);
}

/* A body may be skipped so that the connection lives on: it is on its way already, and short. */
static bool reply_may_skip_body(const struct http_request *request)
{
        const struct http_head *head = &request->head;

        if (head->content_length < 0 || request->connection->parser.body_left > HTTP_DISCARD_BYTES)
                return false;
        return !head->expect_continue || request->body_begun || request->body != BODY_UNDECIDED;
}

static bool reply_may_keep(const struct http_request *request, bool streaming)
{
        if (!request->seen || !request->head.keep_alive || request->connection->server->draining || request->answered_by_core)
                return false;
        return request->body_ended || (!streaming && reply_may_skip_body(request));
}

/* Status line and headers; @length: -1 for a chunked answer. */
static GString *reply_head(struct http_request *request, int status, const char *content_type, int64_t length)
{
        struct http_server *server = request->connection->server;
        GString *head = server->reply_head;

        g_string_truncate(head, 0);
        head_add(head, "HTTP/1.1 ");
        head_add_number(head, status);
        g_string_append_c(head, ' ');
        head_add(head, http_status_phrase(status));
        head_add(head, "\r\nDate: ");
        head_add(head, http_server_date(server));
        if (server->options.server_name) {
                head_add(head, "\r\nServer: ");
                head_add(head, server->options.server_name);
        }
        if (content_type) {
                head_add(head, "\r\nContent-Type: ");
                head_add(head, content_type);
        }
        if (length >= 0 && status != 204 && status != 304) {
                head_add(head, "\r\nContent-Length: ");
                head_add_number(head, length);
        } else if (request->chunked) {
                head_add(head, "\r\nTransfer-Encoding: chunked");
        }
        if (!request->keep)
                head_add(head, "\r\nConnection: close");
        else if (request->head.minor == 0)
                head_add(head, "\r\nConnection: keep-alive");
        head_add(head, "\r\n");
        if (request->reply_headers)
                g_string_append_len(head, request->reply_headers->str, request->reply_headers->len);
        head_add(head, "\r\n");
        return head;
}

/* Whether the owner's answer still counts. */
static bool reply_begin(struct http_request *request, int status, bool streaming)
{
        assert(status >= 200 && status <= 599);
        assert(request->answer == ANSWER_NONE || request->answered_by_core);

        if (request->answer != ANSWER_NONE || request->connection->dead)
                return false;
        request->keep = reply_may_keep(request, streaming);
        request->bodyless = status == 204 || status == 304 || (request->head.method && strcmp(request->head.method, "HEAD") == 0);
        return true;
}

static void reply_complete(struct http_request *request)
{
        request->answer = ANSWER_COMPLETE;
        if (!request->body_ended && request->keep)
                request->body = BODY_DISCARDED;
        http_server_kick(request->connection->server, request->connection);
}

void http_reply_header(struct http_request *request, const char *name, const char *value)
{
        assert(request && name && value);

        if (request->answer != ANSWER_NONE)
                return;
        if (!request->reply_headers)
                request->reply_headers = g_string_sized_new(128);
        GString *headers = request->reply_headers;
        g_string_append(headers, name);
        g_string_append(headers, ": ");
        for (const char *c = value; *c; c++)
                g_string_append_c(headers, (unsigned char)*c < 0x20 || *c == 0x7f ? ' ' : *c);
        g_string_append(headers, "\r\n");
}

void http_reply(struct http_request *request, int status, const char *content_type, const char *body, size_t len)
{
        assert(request && (body || len == 0));

        if (!reply_begin(request, status, false))
                return;
        GString *head = reply_head(request, status, content_type, len);
        size_t body_len = request->bodyless ? 0 : len;
        char *room = http_output_reserve(&request->connection->output, head->len + body_len);
        memcpy(room, head->str, head->len);
        if (body_len > 0)
                memcpy(room + head->len, body, body_len);
        reply_complete(request);
}

void http_reply_bytes(struct http_request *request, int status, const char *content_type, GBytes *bytes)
{
        assert(request && bytes);

        if (!reply_begin(request, status, false))
                return;
        GString *head = reply_head(request, status, content_type, g_bytes_get_size(bytes));
        http_output_copy(&request->connection->output, head->str, head->len);
        if (!request->bodyless)
                http_output_bytes(&request->connection->output, bytes, false);
        reply_complete(request);
}

bool http_reply_stream_begin(struct http_request *request, int status, const char *content_type)
{
        assert(request);

        if (!reply_begin(request, status, true))
                return false;
        request->chunked = request->head.minor > 0;
        request->keep = request->keep && request->chunked;
        GString *head = reply_head(request, status, content_type, -1);
        http_output_copy(&request->connection->output, head->str, head->len);
        return true;
}

void http_reply_refuse(struct http_request *request, int status, const char *words)
{
        assert(request && words);

        if (request->answer != ANSWER_NONE) {
                http_connection_abort(request->connection);
                return;
        }
        g_autoptr(GString) body = g_string_new(NULL);
        http_status_body(status, words, body);
        request->answered_by_core = true;
        if (request->reply_headers)
                g_string_truncate(request->reply_headers, 0);
        if (status == 429)
                http_reply_header(request, "Retry-After", "1");
        http_reply(request, status, "application/json", body->str, body->len);
}

/* A single range of RFC 9110 §14.1.2. 0: @ret_first and @ret_last hold it; 1: none that is understood; -ERANGE: not satisfiable. */
static int reply_parse_range(const char *text, uint64_t size, uint64_t *ret_first, uint64_t *ret_last)
{
        char *end;

        if (!text || g_ascii_strncasecmp(text, "bytes=", 6) != 0 || strlen(text) > 64)
                return 1;
        text += 6;
        bool suffix = *text == '-';
        if (!g_ascii_isdigit(text[suffix]))
                return 1;
        uint64_t first = g_ascii_strtoull(text + suffix, &end, 10);
        uint64_t last = UINT64_MAX;
        if (suffix) {
                if (*end)
                        return 1;
                *ret_first = first >= size ? 0 : size - first;
                *ret_last = size - 1;
                return first == 0 || size == 0 ? -ERANGE : 0;
        }
        if (*end++ != '-' || (*end && !g_ascii_isdigit(*end)))
                return 1;
        if (*end)
                last = g_ascii_strtoull(end, &end, 10);
        if (*end || last < first)
                return 1;
        *ret_first = first;
        *ret_last = MIN(last, size - 1);
        return first >= size ? -ERANGE : 0;
}

static void reply_content_range(struct http_request *request, uint64_t first, uint64_t last, uint64_t size)
{
        char text[80];

        g_snprintf(text, sizeof(text), "bytes %" G_GUINT64_FORMAT "-%" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT, first, last, size);
        http_reply_header(request, "Content-Range", text);
}

static void reply_range_refused(struct http_request *request, uint64_t size)
{
        char text[40];

        g_autoptr(GString) body = g_string_new(NULL);
        http_status_body(416, "the range is beyond the end of the content", body);
        g_snprintf(text, sizeof(text), "bytes */%" G_GUINT64_FORMAT, size);
        http_reply_header(request, "Content-Range", text);
        http_reply(request, 416, "application/json", body->str, body->len);
}

static void reply_on_file_ready(void *userdata)
{
        struct http_connection *connection = userdata;

        http_server_kick(connection->server, connection);
}

static void reply_queue_file(struct http_request *request, int fd, uint64_t offset, uint64_t len)
{
        struct http_connection *connection = request->connection;
        const struct http_disk *disk = connection->server->options.disk;
        struct http_file *file = http_file_new(&(struct http_file_options){
                .fd = fd,
                .offset = offset,
                .len = len,
                .disk = disk ? disk : http_disk_system(),
                .pool = connection->server->readers,
                .ready = reply_on_file_ready,
                .userdata = connection,
        });

        http_output_file(&connection->output, file, len);
}

void http_reply_file(struct http_request *request, const char *content_type, int fd)
{
        assert(request && fd >= 0);

        struct stat st;
        autofd file = fd;
        if (request->answer != ANSWER_NONE || request->connection->dead)
                return;
        if (fstat(file, &st) < 0 || !S_ISREG(st.st_mode) || !http_server_readers(request->connection->server)) {
                http_reply_refuse(request, 500, "the content cannot be read");
                return;
        }
        uint64_t size = st.st_size, first = 0, last = size - 1;
        const char *range = http_request_header(request, "If-Range") || strcmp(request->head.method, "GET") != 0
                                    ? NULL
                                    : http_request_header(request, "Range");
        int r = reply_parse_range(range, size, &first, &last);
        if (r == -ERANGE) {
                reply_range_refused(request, size);
                return;
        }
        uint64_t len = r == 0 ? last - first + 1 : size;
        if (r == 0)
                reply_content_range(request, first, last, size);
        http_reply_header(request, "Accept-Ranges", "bytes");
        reply_begin(request, r == 0 ? 206 : 200, false);
        GString *head = reply_head(request, r == 0 ? 206 : 200, content_type, len);
        http_output_copy(&request->connection->output, head->str, head->len);
        if (!request->bodyless) {
                reply_queue_file(request, file, r == 0 ? first : 0, len);
                file = -1;
        }
        reply_complete(request);
}
