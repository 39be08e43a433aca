/* SPDX-License-Identifier: Apache-2.0 */
#include "json/json_value.h"

#include <assert.h>

/*
 * Text goes to a bare pointer into the room of @out, which is asked for in advance: every function that takes the cursor @to gives
 * it back with SLACK bytes free behind it, enough for the punctuation between values. A string is written in slices, so that the
 * room for its worst case stays small.
 */
#define SLACK        16u
#define SLICE_BYTES  512u
#define ESCAPE_BYTES 6u

/* Room for @n bytes and the slack at the cursor. */
static inline char *take_room(GString *out, char *to, size_t n)
{
        size_t len = (size_t)(to - out->str);

        if (G_LIKELY(out->allocated_len - len > n + SLACK))
                return to;
        out->len = len;
        g_string_set_size(out, len + MAX(n + SLACK, len));
        return out->str + len;
}

static inline char *begin(GString *out)
{
        return take_room(out, out->str + out->len, 0);
}

static inline void finish(GString *out, char *to)
{
        *to = 0;
        out->len = (gsize)(to - out->str);
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

/* Bytes that cannot be copied as they are: quote, backslash, control characters, and what may begin a line separator. */
static inline uint64_t marks_special(uint64_t word)
{
        return (json_marks_quoting(word) | json_marks_byte(word, 0xe2)) & JSON_HIGHS;
}

/* Fewer than eight bytes in a word, zeroes above them. */
static inline uint64_t load_tail(const char *s, size_t n)
{
        uint32_t low, high;

        if (n >= 4) {
                memcpy(&low, s, sizeof(low));
                memcpy(&high, s + n - 4, sizeof(high));
                return GUINT32_FROM_LE(low) | (uint64_t)GUINT32_FROM_LE(high) << (n - 4) * 8;
        }
        if (!n)
                return 0;
        return (unsigned char)s[0] | (uint64_t)(unsigned char)s[n / 2] << n / 2 * 8 |
               (uint64_t)(unsigned char)s[n - 1] << (n - 1) * 8;
}

static inline void store8(char *to, uint64_t word)
{
        word = GUINT64_TO_LE(word);
        memcpy(to, &word, sizeof(word));
}

/* @slice bytes of @s, two more when a line separator begins at its end; @left bytes may be looked at. */
static inline char *put_slice(char *to, const char *s, size_t slice, size_t left, size_t *ret_used)
{
        size_t i = 0, rest;
        uint64_t word;

        while (i + 8 <= slice) {
                uint64_t marks;

                word = json_load8(s + i);
                marks = marks_special(word);
                store8(to, word);
                if (G_LIKELY(!marks)) {
                        to += 8;
                        i += 8;
                        continue;
                }
                to += __builtin_ctzll(marks) >> 3;
                i += (unsigned)__builtin_ctzll(marks) >> 3;
                i += put_one(&to, s + i, left - i);
        }
        rest = i < slice ? slice - i : 0;
        word = load_tail(s + i, rest);
        if (G_LIKELY(!(marks_special(word) & (((uint64_t)1 << rest * 8) - 1)))) {
                store8(to, word);
                *ret_used = i + rest;
                return to + rest;
        }
        while (i < slice)
                i += put_one(&to, s + i, left - i);
        *ret_used = i;
        return to;
}

static char *put_string(GString *out, char *to, const char *text, size_t len)
{
        size_t used;

        to = take_room(out, to, MIN(len, SLICE_BYTES) * ESCAPE_BYTES + SLACK);
        *to++ = '"';
        while (len > 0) {
                to = put_slice(to, text, MIN(len, SLICE_BYTES), len, &used);
                text += used;
                len -= used;
                to = take_room(out, to, MIN(len, SLICE_BYTES) * ESCAPE_BYTES + SLACK);
        }
        *to++ = '"';
        return to;
}

static char *put_text(GString *out, char *to, const char *text, size_t len)
{
        to = take_room(out, to, len);
        memcpy(to, text, len);
        return to + len;
}

static char *put_scalar(GString *out, char *to, const struct json_value *value)
{
        switch (json_type(value)) {
        case JSON_FALSE:
                return put_text(out, to, "false", 5);
        case JSON_TRUE:
                return put_text(out, to, "true", 4);
        case JSON_NUMBER:
                return put_text(out, to, value->text, value->len);
        case JSON_STRING:
                return put_string(out, to, value->text, value->len);
        default:
                return put_text(out, to, "null", 4);
        }
}

static char *put_compact(GString *out, char *to, const struct json_value *value, unsigned depth)
{
        bool in_object;

        assert(depth < JSON_WALK_DEPTH);
        if (!json_is_container(value))
                return put_scalar(out, to, value);
        in_object = value->type == JSON_OBJECT;
        *to++ = in_object ? '{' : '[';
        for (const struct json_value *v = value->first; v; v = v->next) {
                to = take_room(out, to, 0);
                if (v != value->first)
                        *to++ = ',';
                if (in_object) {
                        to = put_string(out, to, v->key, v->key_len);
                        *to++ = ':';
                }
                to = put_compact(out, to, v, depth + 1);
        }
        *to++ = in_object ? '}' : ']';
        return take_room(out, to, 0);
}

static char *put_line(GString *out, char *to, unsigned depth)
{
        to = take_room(out, to, 1 + (size_t)depth * 2);
        *to++ = '\n';
        memset(to, ' ', (size_t)depth * 2);
        return to + (size_t)depth * 2;
}

static char *put_indented(GString *out, char *to, const struct json_value *value, unsigned depth)
{
        bool in_object;

        assert(depth < JSON_WALK_DEPTH);
        if (!json_is_container(value))
                return put_scalar(out, to, value);
        in_object = value->type == JSON_OBJECT;
        *to++ = in_object ? '{' : '[';
        for (const struct json_value *v = value->first; v; v = v->next) {
                if (v != value->first)
                        *to++ = ',';
                to = put_line(out, to, depth + 1);
                if (in_object) {
                        to = put_string(out, to, v->key, v->key_len);
                        to = put_text(out, to, ": ", 2);
                }
                to = put_indented(out, to, v, depth + 1);
        }
        if (value->len)
                to = put_line(out, to, depth);
        *to++ = in_object ? '}' : ']';
        return take_room(out, to, 0);
}

void json_write_string(const char *text, size_t len, GString *out)
{
        assert(text || !len);
        assert(out);
        finish(out, put_string(out, begin(out), text, len));
}

void json_write(const struct json_value *value, GString *out)
{
        assert(out);
        finish(out, put_compact(out, begin(out), value, 0));
}

void json_write_pretty(const struct json_value *value, GString *out)
{
        assert(out);
        finish(out, put_indented(out, begin(out), value, 0));
}

char *json_to_text(const struct json_value *value)
{
        GString *out = g_string_sized_new(256);

        json_write(value, out);
        return g_string_free(out, FALSE);
}
