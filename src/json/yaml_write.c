/* SPDX-License-Identifier: Apache-2.0 */
#include "json/yaml_scalar.h"

#include <assert.h>

/* libyaml takes at most 1,024 characters for a key on one line; longer ones are written with a question mark. */
#define KEY_BYTES 128

static void write_at(const struct json_value *value, GString *out, unsigned depth);

static void indent(GString *out, unsigned depth)
{
        for (; depth > 0; depth--)
                g_string_append(out, "  ");
}

/* What a YAML reader takes as it stands, line breaks apart. */
static bool is_printable(gunichar c)
{
        return (c >= 0x20 && c < 0x7f) || (c >= 0xa0 && c < 0xfffe && c != 0xfeff && c != 0x2028 && c != 0x2029) ||
               (c >= 0x10000 && (c & 0xfffe) != 0xfffe);
}

static void write_quoted_char(gunichar c, GString *out)
{
        switch (c) {
        case '"':
        case '\\':
                g_string_append_printf(out, "\\%c", (char)c);
                return;
        case '\n':
                g_string_append(out, "\\n");
                return;
        case '\t':
                g_string_append(out, "\\t");
                return;
        default:
                break;
        }
        if (is_printable(c))
                g_string_append_unichar(out, c);
        else if (c > 0xffff)
                g_string_append_printf(out, "\\U%08x", c);
        else
                g_string_append_printf(out, "\\u%04x", c);
}

static void write_quoted(const char *text, size_t len, GString *out)
{
        g_string_append_c(out, '"');
        for (const char *s = text; s < text + len; s = g_utf8_next_char(s))
                write_quoted_char(g_utf8_get_char(s), out);
        g_string_append_c(out, '"');
}

/* Whether the text survives as a literal block: lines of printable characters that do not begin or end in space. */
static bool fits_block(const char *text, size_t len)
{
        bool line_starts = true;

        if (!memchr(text, '\n', len) || text[0] == '\n')
                return false;
        for (const char *s = text; s < text + len; s = g_utf8_next_char(s)) {
                gunichar c = g_utf8_get_char(s);

                if (c != '\n' && !is_printable(c))
                        return false;
                if (s == text && c == ' ')
                        return false;
                if (c == ' ' && line_starts && (s[1] == '\n' || s[1] == 0))
                        return false;
                line_starts = c == '\n' || (c == ' ' && line_starts);
        }
        return true;
}

static void write_block(const char *text, size_t len, GString *out, unsigned depth)
{
        const char *end = text + len;
        bool ends_line = text[len - 1] == '\n';

        g_string_append(out, !ends_line ? "|-" : len > 1 && text[len - 2] == '\n' ? "|+" : "|");
        g_string_append_c(out, '\n');
        for (const char *line = text, *stop; line < end; line = stop + 1) {
                stop = memchr(line, '\n', (size_t)(end - line));
                stop = stop ? stop : end;
                if (stop > line)
                        indent(out, depth);
                g_string_append_len(out, line, stop - line);
                g_string_append_c(out, '\n');
        }
}

/* A scalar and the end of its line. */
static void write_scalar(const struct json_value *value, GString *out, unsigned depth)
{
        if (!json_is(value, JSON_STRING)) {
                json_write(value, out);
        } else if (yaml_scalar_is_text(value->text, value->len)) {
                g_string_append_len(out, value->text, value->len);
        } else if (fits_block(value->text, value->len)) {
                write_block(value->text, value->len, out, MAX(depth, 1));
                return;
        } else {
                write_quoted(value->text, value->len, out);
        }
        g_string_append_c(out, '\n');
}

static void write_key(const struct json_value *member, GString *out, unsigned depth)
{
        bool is_long = member->key_len > KEY_BYTES;

        if (is_long)
                g_string_append(out, "? ");
        if (yaml_scalar_is_text(member->key, member->key_len))
                g_string_append_len(out, member->key, member->key_len);
        else
                write_quoted(member->key, member->key_len, out);
        if (is_long) {
                g_string_append_c(out, '\n');
                indent(out, depth);
        }
        g_string_append_c(out, ':');
}

/* What stands behind "key:". */
static void write_member_value(const struct json_value *member, GString *out, unsigned depth)
{
        if (!json_length(member)) {
                g_string_append_c(out, ' ');
                write_at(member, out, depth + 1);
                return;
        }
        g_string_append_c(out, '\n');
        /* as kubectl: the dashes of a list stand under its key */
        if (member->type == JSON_OBJECT)
                depth++;
        indent(out, depth);
        write_at(member, out, depth);
}

/* The cursor stands where the value begins, @depth being its column; the value ends its last line. */
static void write_at(const struct json_value *value, GString *out, unsigned depth)
{
        assert(depth < JSON_WALK_DEPTH);
        if (!json_length(value)) {
                if (json_is_container(value))
                        g_string_append(out, value->type == JSON_OBJECT ? "{}\n" : "[]\n");
                else
                        write_scalar(value, out, depth);
                return;
        }
        for (const struct json_value *v = value->first; v; v = v->next) {
                if (v != value->first)
                        indent(out, depth);
                if (value->type == JSON_ARRAY) {
                        g_string_append(out, "- ");
                        write_at(v, out, depth + 1);
                } else {
                        write_key(v, out, depth);
                        write_member_value(v, out, depth);
                }
        }
}

void json_write_yaml(const struct json_value *value, GString *out)
{
        assert(out);
        write_at(value, out, 0);
}
