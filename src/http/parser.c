/* SPDX-License-Identifier: Apache-2.0 */
#include "http/parser.h"

#include "base/error.h"
#include "http/uri.h"

#include <string.h>

enum parser_phase { PHASE_HEAD, PHASE_LENGTH, PHASE_CHUNKED, PHASE_END, PHASE_BAD };

/* Where the scan of a head's lines stands. */
enum parser_line {
        LINE_BLANK,    /* before the request line: empty lines are skipped */
        LINE_BLANK_CR, /* CR of such an empty line */
        LINE_TEXT,     /* within a line */
        LINE_CR,       /* after its CR */
        LINE_START,    /* at the beginning of a header line */
        LINE_START_CR, /* CR of the line that ends the head */
};

void http_head_init(struct http_head *head)
{
        assert(head);
        *head = (struct http_head){.text = g_string_sized_new(1000)};
}

void http_head_clear(struct http_head *head)
{
        assert(head);

        if (head->text)
                g_string_free(head->text, TRUE);
        *head = (struct http_head){0};
}

const char *http_head_field(const struct http_head *head, const char *name, unsigned from, unsigned *ret_index)
{
        assert(head && name && ret_index);

        const char *pair = head->fields;
        for (unsigned i = 0; i < head->n_fields; i++) {
                const char *value = pair + strlen(pair) + 1;
                if (i >= from && g_ascii_strcasecmp(pair, name) == 0) {
                        *ret_index = i;
                        return value;
                }
                pair = value + strlen(value) + 1;
        }
        return NULL;
}

static enum http_parse parser_refuse(struct http_parser *parser, int status, const char *words)
{
        parser->phase = PHASE_BAD;
        parser->status = status;
        parser->words = words;
        return HTTP_PARSE_BAD;
}

static int parser_on_url(llhttp_t *inner, const char *at, size_t len)
{
        struct http_parser *parser = inner->data;
        g_string_append_len(parser->head->text, at, len);
        return 0;
}

static int parser_on_url_complete(llhttp_t *inner)
{
        struct http_parser *parser = inner->data;
        g_string_append_c(parser->head->text, '\0');
        return 0;
}

static int parser_on_field(llhttp_t *inner, const char *at, size_t len)
{
        struct http_parser *parser = inner->data;

        if (parser->phase != PHASE_HEAD)
                return HPE_USER; /* a trailer */
        g_string_append_len(parser->head->text, at, len);
        return 0;
}

static int parser_on_field_complete(llhttp_t *inner)
{
        struct http_parser *parser = inner->data;
        GString *text = parser->head->text;

        if (parser->phase != PHASE_HEAD || text->str[text->len - 1] == '\0')
                return HPE_USER; /* a header without a name */
        g_string_append_c(text, '\0');
        parser->head->n_fields++;
        return 0;
}

static int parser_on_value(llhttp_t *inner, const char *at, size_t len)
{
        struct http_parser *parser = inner->data;
        g_string_append_len(parser->head->text, at, len);
        return 0;
}

static int parser_on_value_complete(llhttp_t *inner)
{
        struct http_parser *parser = inner->data;
        GString *text = parser->head->text;

        while (text->str[text->len - 1] == ' ' || text->str[text->len - 1] == '\t')
                g_string_truncate(text, text->len - 1);
        g_string_append_c(text, '\0');
        return 0;
}

static int parser_on_head(llhttp_t *inner)
{
        return HPE_PAUSED;
}

static int parser_on_body(llhttp_t *inner, const char *at, size_t len)
{
        struct http_parser *parser = inner->data;

        parser->piece = at;
        parser->piece_len = len;
        return len > 0 ? HPE_PAUSED : 0;
}

static int parser_on_end(llhttp_t *inner)
{
        struct http_parser *parser = inner->data;

        parser->phase = PHASE_HEAD;
        parser->head_bytes = 0;
        return HPE_PAUSED;
}

static int parser_on_extension(llhttp_t *inner, const char *at, size_t len)
{
        return HPE_USER;
}

static const llhttp_settings_t parser_settings = {
        .on_url = parser_on_url,
        .on_url_complete = parser_on_url_complete,
        .on_header_field = parser_on_field,
        .on_header_field_complete = parser_on_field_complete,
        .on_header_value = parser_on_value,
        .on_header_value_complete = parser_on_value_complete,
        .on_headers_complete = parser_on_head,
        .on_body = parser_on_body,
        .on_message_complete = parser_on_end,
        .on_chunk_extension_name = parser_on_extension,
        .on_chunk_extension_value = parser_on_extension,
};

void http_parser_init(struct http_parser *parser, const struct http_limits *limits)
{
        assert(parser && limits);

        *parser = (struct http_parser){.limits = limits};
        llhttp_init(&parser->inner, HTTP_REQUEST, &parser_settings);
        parser->inner.data = parser;
}

bool http_parser_idle(const struct http_parser *parser)
{
        assert(parser);
        return parser->phase == PHASE_HEAD && parser->head_bytes == 0;
}

bool http_parser_ended(const struct http_parser *parser)
{
        assert(parser);
        return parser->phase == PHASE_END;
}

void http_parser_begin(struct http_parser *parser, struct http_head *head)
{
        assert(parser && head && head->text);
        assert(http_parser_idle(parser));

        GString *text = head->text;
        g_string_truncate(text, 0);
        *head = (struct http_head){.text = text};
        parser->head = head;
        llhttp_reset(&parser->inner);
        parser->line = LINE_BLANK;
}

/* What a byte makes of the line; -1: no line of HTTP goes on so. */
static int parser_line_next(enum parser_line line, char c)
{
        switch (line) {
        case LINE_BLANK:
                return c == '\r' ? LINE_BLANK_CR : c == '\n' ? -1 : LINE_TEXT;
        case LINE_BLANK_CR:
                return c == '\n' ? LINE_BLANK : -1;
        case LINE_TEXT:
                return c == '\r' ? LINE_CR : c == '\n' || c == '\0' ? -1 : LINE_TEXT;
        case LINE_CR:
                return c == '\n' ? LINE_START : -1;
        case LINE_START:
                return c == '\r' ? LINE_START_CR : c == '\n' || c == ' ' || c == '\t' || c == '\0' ? -1 : LINE_TEXT;
        default:
                return -1;
        }
}

/* Follow the lines of a head; @ret_len: bytes up to its end, or all. 1: the head ends there, 0: it goes on, < 0: no HTTP. */
static int parser_scan_head(struct http_parser *parser, const char *data, size_t len, size_t *ret_len)
{
        int line = parser->line;

        for (size_t i = 0; i < len; i++) {
                if (line == LINE_TEXT && (unsigned char)data[i] >= 0x20)
                        continue;
                if (line == LINE_START_CR) {
                        *ret_len = i + 1;
                        return data[i] == '\n' ? 1 : -EINVAL;
                }
                line = parser_line_next(line, data[i]);
                if (line < 0)
                        return -EINVAL;
        }
        parser->line = line;
        *ret_len = len;
        return 0;
}

/* What llhttp found wrong, as an answer. */
static enum http_parse parser_refuse_inner(struct http_parser *parser, llhttp_errno_t code)
{
        switch (code) {
        case HPE_INVALID_METHOD:
                return parser_refuse(parser, 501, "the method is not known");
        case HPE_INVALID_VERSION:
        case HPE_PAUSED_H2_UPGRADE:
                return parser_refuse(parser, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
        case HPE_INVALID_URL:
                return parser_refuse(parser, 400, "the request target is not valid");
        case HPE_UNEXPECTED_CONTENT_LENGTH:
        case HPE_INVALID_CONTENT_LENGTH:
        case HPE_INVALID_TRANSFER_ENCODING:
                return parser_refuse(parser, 400, "the length of the body is not clear");
        case HPE_INVALID_CHUNK_SIZE:
        case HPE_STRICT:
        case HPE_USER:
                return parser_refuse(parser, 400, "the chunked body is not valid");
        default:
                return parser_refuse(parser, 400, "the request is not valid HTTP");
        }
}

static const char *const parser_methods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};

static bool parser_method_is_served(const char *method)
{
        for (size_t i = 0; i < G_N_ELEMENTS(parser_methods); i++) {
                if (strcmp(method, parser_methods[i]) == 0)
                        return true;
        }
        return false;
}

/* The origin form of a target: absolute-form loses scheme and authority (RFC 9112 §3.2.2). */
static const char *parser_origin_form(const char *target)
{
        size_t skip = g_ascii_strncasecmp(target, "http://", 7) == 0 ? 7 : g_ascii_strncasecmp(target, "https://", 8) == 0 ? 8 : 0;

        return skip ? target + skip + strcspn(target + skip, "/?#") : target;
}

/* Path and query are appended to the head's text, which may move: positions first, pointers at the end. */
static int parser_decode_target(struct http_head *head)
{
        GString *text = head->text;
        size_t origin = parser_origin_form(text->str) - text->str;
        size_t target_len = strlen(text->str);
        size_t path_len = strcspn(text->str + origin, "?");
        size_t path_at = text->len;

        if (memchr(text->str, '#', target_len))
                return -EINVAL;
        g_autofree char *copy = g_strndup(text->str + origin, target_len - origin);
        if (http_uri_decode_path(copy, path_len, text) < 0)
                return -EINVAL;
        size_t query_at = text->len;
        if (copy[path_len] && http_uri_decode_query(copy + path_len + 1, strlen(copy + path_len + 1), text, &head->n_query) < 0)
                return -EINVAL;
        head->target = text->str;
        head->fields = text->str + target_len + 1;
        head->path = text->str + path_at;
        head->query = text->str + query_at;
        return 0;
}

static bool parser_field_is_single(const struct http_head *head, const char *name)
{
        unsigned index;

        return !http_head_field(head, name, 0, &index) || !http_head_field(head, name, index + 1, &index);
}

static enum http_parse parser_check_fields(struct http_parser *parser)
{
        struct http_head *head = parser->head;
        unsigned index;

        const char *coding = http_head_field(head, "Transfer-Encoding", 0, &index);
        if (coding && (head->minor == 0 || !parser_field_is_single(head, "Transfer-Encoding")))
                return parser_refuse(parser, 400, "the length of the body is not clear");
        if (coding && g_ascii_strcasecmp(coding, "chunked") != 0)
                return parser_refuse(parser, 501, "of the transfer codings only \"chunked\" is known");
        bool has_length = http_head_field(head, "Content-Length", 0, &index) != NULL;
        if ((coding && has_length) || !parser_field_is_single(head, "Content-Length") ||
            (has_length && parser->inner.content_length > INT64_MAX))
                return parser_refuse(parser, 400, "the length of the body is not clear");
        bool has_host = http_head_field(head, "Host", 0, &index) != NULL;
        if ((!has_host && head->minor > 0) || !parser_field_is_single(head, "Host"))
                return parser_refuse(parser, 400, "a request has exactly one Host header");
        if (!parser_field_is_single(head, "Authorization"))
                return parser_refuse(parser, 400, "a request has at most one Authorization header");
        const char *expect = http_head_field(head, "Expect", 0, &index);
        if (expect && g_ascii_strcasecmp(expect, "100-continue") != 0)
                return parser_refuse(parser, 417, "of the expectations only \"100-continue\" is known");
        head->expect_continue = expect && head->minor > 0;
        head->content_length = coding ? -1 : has_length ? (int64_t)parser->inner.content_length : 0;
        return HTTP_PARSE_HEAD;
}

static enum http_parse parser_finish_head(struct http_parser *parser)
{
        struct http_head *head = parser->head;

        head->method = llhttp_method_name(llhttp_get_method(&parser->inner));
        head->minor = llhttp_get_http_minor(&parser->inner);
        if (llhttp_get_http_major(&parser->inner) != 1 || head->minor > 1)
                return parser_refuse(parser, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
        if (!parser_method_is_served(head->method))
                return parser_refuse(parser, 501, "the method is not served");
        if (parser_decode_target(head) < 0)
                return parser_refuse(parser, 400, "the request target is not valid");
        if (parser_check_fields(parser) == HTTP_PARSE_BAD)
                return HTTP_PARSE_BAD;
        head->keep_alive = llhttp_should_keep_alive(&parser->inner);
        head->upgrade = llhttp_get_upgrade(&parser->inner);
        parser->phase = head->content_length < 0 ? PHASE_CHUNKED : head->content_length > 0 ? PHASE_LENGTH : PHASE_END;
        parser->body_left = MAX(head->content_length, 0);
        if (parser->phase == PHASE_CHUNKED) {
                parser->inner.upgrade = 0;
                llhttp_resume(&parser->inner);
        }
        return HTTP_PARSE_HEAD;
}

static enum http_parse parser_feed_head(struct http_parser *parser, const char *data, size_t len, size_t *ret_used)
{
        size_t part;

        int ends = parser_scan_head(parser, data, len, &part);
        if (ends < 0)
                return parser_refuse(parser, 400, "the request is not valid HTTP");
        parser->head_bytes += part;
        if (parser->head_bytes > parser->limits->header_bytes)
                return parser_refuse(parser, 431, "the headers are too large");
        llhttp_errno_t code = llhttp_execute(&parser->inner, data, part);
        *ret_used = part;
        if (parser->head->n_fields > parser->limits->headers)
                return parser_refuse(parser, 431, "there are too many headers");
        if (code == HPE_OK && !ends)
                return HTTP_PARSE_MORE;
        if (code != HPE_PAUSED || !ends)
                return parser_refuse_inner(parser, code);
        return parser_finish_head(parser);
}

static enum http_parse parser_feed_length(struct http_parser *parser, const char *data, size_t len, size_t *ret_used)
{
        if (len == 0)
                return HTTP_PARSE_MORE;
        parser->piece = data;
        parser->piece_len = MIN(len, parser->body_left);
        parser->body_left -= parser->piece_len;
        *ret_used = parser->piece_len;
        if (parser->body_left == 0)
                parser->phase = PHASE_END;
        return HTTP_PARSE_PIECE;
}

static enum http_parse parser_feed_chunked(struct http_parser *parser, const char *data, size_t len, size_t *ret_used)
{
        parser->piece_len = 0;
        llhttp_errno_t code = llhttp_execute(&parser->inner, data, len);
        if (code == HPE_OK) {
                *ret_used = len;
                return HTTP_PARSE_MORE;
        }
        if (code != HPE_PAUSED)
                return parser_refuse_inner(parser, code);
        *ret_used = llhttp_get_error_pos(&parser->inner) - data;
        llhttp_resume(&parser->inner);
        return parser->phase == PHASE_HEAD ? HTTP_PARSE_END : HTTP_PARSE_PIECE;
}

enum http_parse http_parser_feed(struct http_parser *parser, const char *data, size_t len, size_t *ret_used)
{
        assert(parser && parser->head && (data || len == 0) && ret_used);

        *ret_used = 0;
        switch (parser->phase) {
        case PHASE_HEAD:
                return parser_feed_head(parser, data, len, ret_used);
        case PHASE_LENGTH:
                return parser_feed_length(parser, data, len, ret_used);
        case PHASE_CHUNKED:
                return parser_feed_chunked(parser, data, len, ret_used);
        case PHASE_END:
                parser->phase = PHASE_HEAD;
                parser->head_bytes = 0;
                return HTTP_PARSE_END;
        default:
                return HTTP_PARSE_BAD;
        }
}
