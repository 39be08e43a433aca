/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "http/http.h"

#include <llhttp/llhttp.h>

/*
 * The request parser: bytes in, events out; knows no sockets. Framing that two parties could read in two ways is refused: bare CR
 * or LF, folded headers, Content-Length beside Transfer-Encoding or twice, codings but "chunked", chunk extensions and trailers.
 */

/* The head of one request. Texts live in @text until the next head begins. */
struct http_head {
        GString *text;
        const char *method; /* a constant */
        const char *target; /* as received */
        const char *path;   /* decoded */
        const char *query;  /* @n_query pairs "name NUL value NUL" */
        const char *fields; /* @n_fields pairs "name NUL value NUL" */
        unsigned n_query, n_fields;
        int minor;              /* of HTTP/1.x */
        int64_t content_length; /* -1: chunked */
        bool keep_alive, expect_continue, upgrade;
};

enum http_parse {
        HTTP_PARSE_MORE,  /* all bytes are used */
        HTTP_PARSE_HEAD,  /* a head is complete */
        HTTP_PARSE_PIECE, /* a piece of the body */
        HTTP_PARSE_END,   /* the request is complete */
        HTTP_PARSE_BAD,   /* see parser->status and parser->words; nothing more can be read */
};

struct http_parser {
        llhttp_t inner;
        struct http_head *head; /* being filled, or of the request whose body is read; borrowed */
        const struct http_limits *limits;
        uint64_t body_left; /* of a body with Content-Length */
        size_t head_bytes;
        uint8_t phase, line; /* enum parser_phase, parser_line */
        int status;          /* HTTP_PARSE_BAD: what to answer */
        const char *words;   /* a constant sentence */
        const char *piece;
        size_t piece_len; /* HTTP_PARSE_PIECE: within the bytes fed */
};

void http_parser_init(struct http_parser *parser, const struct http_limits *limits);
/** http_parser_idle() - between requests: not a byte of the next head has come. */
bool http_parser_idle(const struct http_parser *parser);
/** http_parser_ended() - the whole body was given out: the next event is HTTP_PARSE_END, which needs no bytes. */
bool http_parser_ended(const struct http_parser *parser);
/** http_parser_begin() - read the next head into @head, which the caller keeps until HTTP_PARSE_END or _BAD. */
void http_parser_begin(struct http_parser *parser, struct http_head *head);
/** http_parser_feed() - read on, up to the next event; @ret_used: bytes that need not come again. @len may be 0. */
enum http_parse http_parser_feed(struct http_parser *parser, const char *data, size_t len, size_t *ret_used);

void http_head_init(struct http_head *head);
void http_head_clear(struct http_head *head);
/** http_head_field() - the first value of header @name at or after pair @from; @ret_index: its pair. NULL when there is none. */
const char *http_head_field(const struct http_head *head, const char *name, unsigned from, unsigned *ret_index);
