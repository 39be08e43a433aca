/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "http/parser.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Raw bytes into the request parser. The first byte chooses how the rest is cut: however the bytes arrive, the same requests must
 * be read, and what is read must hold what the parser promises of paths, fields and lengths.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok, const char *what)
{
        if (ok)
                return;
        fprintf(stderr, "broken promise: %s\n", what);
        abort();
}

static void check_path(const char *path)
{
        check(path[0] == '/', "a path begins with a slash");
        check(!strstr(path, "//"), "no empty segments");
        g_auto(GStrv) segments = g_strsplit(path, "/", -1);
        for (size_t i = 0; segments[i]; i++)
                check(strcmp(segments[i], ".") != 0 && strcmp(segments[i], "..") != 0, "no dot segments");
        for (const char *c = path; *c; c++)
                check((unsigned char)*c >= 0x20 && *c != 0x7f, "no control characters");
        check(g_utf8_validate(path, -1, NULL), "paths are UTF-8");
}

static void trace_head(const struct http_head *head, GString *trace)
{
        unsigned index;

        check_path(head->path);
        g_string_append_printf(trace, "[%s %s %s 1.%d length %" G_GINT64_FORMAT " keep %d", head->method, head->target, head->path,
                               head->minor, head->content_length, head->keep_alive);
        const char *pair = head->query;
        for (unsigned i = 0; i < 2 * head->n_query; i++, pair += strlen(pair) + 1)
                g_string_append_printf(trace, " q(%s)", pair);
        pair = head->fields;
        for (unsigned i = 0; i < head->n_fields; i++) {
                const char *value = pair + strlen(pair) + 1;
                check(*pair && !strpbrk(pair, " \t\r\n:") && !strpbrk(value, "\r\n"), "fields are on one line");
                g_string_append_printf(trace, " f(%s=%s)", pair, value);
                pair = value + strlen(value) + 1;
        }
        bool coded = http_head_field(head, "Transfer-Encoding", 0, &index),
             sized = http_head_field(head, "Content-Length", 0, &index);
        check(!(coded && sized), "one length only");
        check(coded == (head->content_length < 0), "chunked is chunked");
        g_string_append_c(trace, ']');
}

/* Read one event; false when the bytes are used up or no more can be read. */
static bool trace_event(struct http_parser *parser, struct http_head *head, const uint8_t **data, size_t *len, GString *trace)
{
        size_t used;

        if (http_parser_idle(parser)) {
                if (*len == 0)
                        return false;
                http_parser_begin(parser, head);
        }
        enum http_parse event = http_parser_feed(parser, (const char *)*data, *len, &used);
        check(used <= *len, "no more is used than was given");
        if (event == HTTP_PARSE_PIECE) {
                check(parser->piece >= (const char *)*data && parser->piece + parser->piece_len <= (const char *)*data + *len,
                      "pieces are within");
                check(parser->piece_len > 0, "pieces are not empty");
                g_string_append_len(trace, parser->piece, parser->piece_len);
        }
        if (event == HTTP_PARSE_HEAD)
                trace_head(head, trace);
        if (event == HTTP_PARSE_END)
                g_string_append(trace, "<end>");
        if (event == HTTP_PARSE_BAD) {
                check(parser->status >= 400 && parser->words, "a refusal has a status and words");
                g_string_append(trace, "<bad>");
        }
        *data += used;
        *len -= used;
        return event != HTTP_PARSE_BAD && (event != HTTP_PARSE_MORE || *len > 0);
}

static GString *trace_all(const uint8_t *data, size_t size, unsigned cut)
{
        static struct http_limits limits;
        struct http_parser parser;
        struct http_head head;
        GString *trace = g_string_new(NULL);

        limits = *http_limits_default();
        limits.header_bytes = 2000;
        limits.headers = 20;
        http_parser_init(&parser, &limits);
        http_head_init(&head);
        for (size_t at = 0; at < size;) {
                size_t len = cut ? MIN(1 + (at * 7 + cut) % cut, size - at) : size;
                at += len;
                /* exactly as long as the piece, so that a sanitizer sees what is read beyond */
                g_autofree uint8_t *piece = g_memdup2(data + at - len, len);
                const uint8_t *next = piece;
                while (trace_event(&parser, &head, &next, &len, trace))
                        ;
                if (parser.status)
                        break;
        }
        http_head_clear(&head);
        return trace;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (size < 2)
                return 0;
        g_autoptr(GString) whole = trace_all(data + 1, size - 1, 0);
        g_autoptr(GString) cut = trace_all(data + 1, size - 1, 1 + data[0] % 64);
        if (!g_string_equal(whole, cut)) {
                fprintf(stderr, "whole: %s\ncut: %s\n", whole->str, cut->str);
                check(false, "the same however it is cut");
        }
        return 0;
}
