/* SPDX-License-Identifier: Apache-2.0 */
#include "json/json_value.h"

#include <assert.h>

/* A string is written in slices, so that the room taken beforehand, for the worst case, stays small. */
#define SLICE_BYTES  512
#define ESCAPE_BYTES 6

/* Room for @n more bytes and a NUL; they are filled by the caller, who then moves out->len. */
static inline char *take_room(GString *out, size_t n)
{
        size_t len = out->len;

        if (G_UNLIKELY(out->allocated_len - len <= n)) {
                g_string_set_size(out, len + MAX(n, len));
                out->len = len;
        }
        return out->str + len;
}

static inline void finish(GString *out, char *end)
{
        out->len = (gsize)(end - out->str);
}

static char *put_escape(char *to, unsigned code)
{
        static const char hex[] = "0123456789abcdef";
        static const char singles[0x20] = {['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};

        *to++ = '\\';
        if (code == '"' || code == '\\') {
                *to++ = (char)code;
                return to;
        }
        if (code < 0x20 && singles[code]) {
                *to++ = singles[code];
                return to;
        }
        *to++ = 'u';
        *to++ = hex[code >> 12];
        *to++ = hex[code >> 8 & 15];
        *to++ = hex[code >> 4 & 15];
        *to++ = hex[code & 15];
        return to;
}

/* The byte at @s, escaped if need be; U+2028 and U+2029, which end lines in JavaScript, take three bytes. Returns how many were
 * used. */
static inline size_t put_one(char **to, const char *s, size_t left)
{
        unsigned char c = (unsigned char)*s;

        if (c == 0xe2 && left >= 3 && (unsigned char)s[1] == 0x80 && ((unsigned char)s[2] & 0xfe) == 0xa8) {
                *to = put_escape(*to, 0x2000u + ((unsigned char)s[2] & 0x3f));
                return 3;
        }
        if (c < 0x20 || c == '"' || c == '\\')
                *to = put_escape(*to, c);
        else
                *(*to)++ = (char)c;
        return 1;
}

/* As much of @s as the slice ends with; up to two bytes less than @slice when a line separator could be cut, never none. */
static char *put_slice(char *to, const char *s, size_t slice, size_t left, size_t *ret_used)
{
        size_t i = 0;

        while (slice - i >= 8) {
                uint64_t word = json_load8(s + i);
                uint64_t marks = (json_marks_quoting(word) | json_marks_byte(word, 0xe2)) & JSON_HIGHS;
                unsigned plain = marks ? (unsigned)__builtin_ctzll(marks) >> 3 : 8;

                memcpy(to, s + i, 8);
                to += plain;
                i += plain;
                if (marks)
                        i += put_one(&to, s + i, left - i);
                if (i > slice)
                        break;
        }
        while (i < slice)
                i += put_one(&to, s + i, left - i);
        *ret_used = i;
        return to;
}

void json_write_string(const char *text, size_t len, GString *out)
{
        char *to = take_room(out, MIN(len, SLICE_BYTES) * ESCAPE_BYTES + 16);
        size_t used;

        assert(text || !len);
        *to++ = '"';
        while (len > 0) {
                to = put_slice(to, text, MIN(len, SLICE_BYTES), len, &used);
                text += used;
                len -= used;
                finish(out, to);
                to = take_room(out, MIN(len, SLICE_BYTES) * ESCAPE_BYTES + 16);
        }
        *to++ = '"';
        *to = 0;
        finish(out, to);
}

static void put_text(GString *out, const char *text, size_t len)
{
        char *to = take_room(out, len);

        memcpy(to, text, len);
        to[len] = 0;
        out->len += len;
}

static inline void put_char(GString *out, char c)
{
        char *to = take_room(out, 1);

        to[0] = c;
        to[1] = 0;
        out->len++;
}

static void write_scalar(const struct json_value *value, GString *out)
{
        switch (json_type(value)) {
        case JSON_FALSE:
                put_text(out, "false", 5);
                break;
        case JSON_TRUE:
                put_text(out, "true", 4);
                break;
        case JSON_NUMBER:
                put_text(out, value->text, value->len);
                break;
        case JSON_STRING:
                json_write_string(value->text, value->len, out);
                break;
        default:
                put_text(out, "null", 4);
                break;
        }
}

static void write_compact(const struct json_value *value, GString *out, unsigned depth)
{
        bool in_object;

        assert(depth < JSON_WALK_DEPTH);
        if (!json_is_container(value)) {
                write_scalar(value, out);
                return;
        }
        in_object = value->type == JSON_OBJECT;
        put_char(out, in_object ? '{' : '[');
        for (const struct json_value *v = value->first; v; v = v->next) {
                if (in_object) {
                        json_write_string(v->key, v->key_len, out);
                        put_char(out, ':');
                }
                write_compact(v, out, depth + 1);
                if (v->next)
                        put_char(out, ',');
        }
        put_char(out, in_object ? '}' : ']');
}

static void put_line(GString *out, unsigned depth)
{
        put_char(out, '\n');
        for (; depth > 0; depth--)
                put_text(out, "  ", 2);
}

static void write_indented(const struct json_value *value, GString *out, unsigned depth)
{
        bool in_object;

        assert(depth < JSON_WALK_DEPTH);
        if (!json_is_container(value)) {
                write_scalar(value, out);
                return;
        }
        in_object = value->type == JSON_OBJECT;
        put_char(out, in_object ? '{' : '[');
        for (const struct json_value *v = value->first; v; v = v->next) {
                put_line(out, depth + 1);
                if (in_object) {
                        json_write_string(v->key, v->key_len, out);
                        put_text(out, ": ", 2);
                }
                write_indented(v, out, depth + 1);
                if (v->next)
                        put_char(out, ',');
        }
        if (value->len)
                put_line(out, depth);
        put_char(out, in_object ? '}' : ']');
}

void json_write(const struct json_value *value, GString *out)
{
        assert(out);
        write_compact(value, out, 0);
}

void json_write_pretty(const struct json_value *value, GString *out)
{
        assert(out);
        write_indented(value, out, 0);
}

char *json_to_text(const struct json_value *value)
{
        GString *out = g_string_sized_new(256);

        json_write(value, out);
        return g_string_free(out, FALSE);
}
