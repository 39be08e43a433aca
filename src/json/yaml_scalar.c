/* SPDX-License-Identifier: Apache-2.0 */
#include "json/yaml_scalar.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
        const char *word;
        enum json_type type;
} words[] = {
        {"", JSON_NULL},       {"~", JSON_NULL},      {"null", JSON_NULL},   {"Null", JSON_NULL},
        {"NULL", JSON_NULL},   {"true", JSON_TRUE},   {"True", JSON_TRUE},   {"TRUE", JSON_TRUE},
        {"false", JSON_FALSE}, {"False", JSON_FALSE}, {"FALSE", JSON_FALSE},
};

/* Booleans of YAML 1.1, which older readers still take for such, and the merge key. */
static const char *const old_words[] = {"y",  "Y",  "yes", "Yes", "YES", "n",   "N",   "no", "No",
                                        "NO", "on", "On",  "ON",  "off", "Off", "OFF", "<<", "="};

static bool is_not_finite(const char *text)
{
        static const char *const names[] = {".inf", ".Inf", ".INF"};
        static const char *const nans[] = {".nan", ".NaN", ".NAN"};

        for (size_t i = 0; i < G_N_ELEMENTS(nans); i++)
                if (strcmp(text, nans[i]) == 0)
                        return true;
        if (*text == '+' || *text == '-')
                text++;
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
                if (strcmp(text, names[i]) == 0)
                        return true;
        return false;
}

static bool only(const char *text, const char *set)
{
        return *text && text[strspn(text, set)] == 0;
}

/* The digits of 0x1f, 0o17 and 017; NULL for anything else. */
static const char *digits_of_base(const char *text, int *ret_base)
{
        if (text[0] != '0')
                return NULL;
        if (text[1] == 'x' && only(text + 2, "0123456789abcdefABCDEF")) {
                *ret_base = 16;
                return text + 2;
        }
        if (text[1] == 'o' && only(text + 2, "01234567")) {
                *ret_base = 8;
                return text + 2;
        }
        if (only(text + 1, "01234567")) {
                *ret_base = 8;
                return text + 1;
        }
        return NULL;
}

/* 0: no such integer, or one beyond 64 bits. */
static size_t convert_base(const char *text, char *number, size_t size)
{
        bool minus = *text == '-';
        const char *digits;
        uint64_t value;
        int base;

        digits = digits_of_base(text + (minus || *text == '+'), &base);
        if (!digits)
                return 0;
        errno = 0;
        value = g_ascii_strtoull(digits, NULL, (guint)base);
        if (errno)
                return 0;
        return (size_t)snprintf(number, size, "%s%" PRIu64, minus && value ? "-" : "", value);
}

static size_t take_digits(const char **cursor, GString *out)
{
        size_t n = strspn(*cursor, "0123456789");

        g_string_append_len(out, *cursor, (gssize)n);
        *cursor += n;
        return n;
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? in JSON's spelling; false when @text is none. */
static bool convert_decimal(const char *text, GString *out)
{
        size_t whole, fraction = 0;

        if (*text == '-')
                g_string_append_c(out, '-');
        if (*text == '-' || *text == '+')
                text++;
        while (text[0] == '0' && g_ascii_isdigit(text[1]))
                text++;
        whole = take_digits(&text, out);
        if (!whole)
                g_string_append_c(out, '0');
        if (*text == '.') {
                text++;
                g_string_append_c(out, '.');
                fraction = take_digits(&text, out);
                if (!fraction)
                        g_string_append_c(out, '0');
        }
        if (!whole && !fraction)
                return false;
        if (*text == 'e' || *text == 'E') {
                g_string_append_c(out, *text++);
                if (*text == '-' || *text == '+')
                        g_string_append_c(out, *text++);
                if (!take_digits(&text, out))
                        return false;
        }
        return !*text;
}

static struct json_value *resolve_number(struct json_doc *doc, const char *text)
{
        g_autoptr(GString) out = NULL;
        char number[32];
        size_t len;

        if (!g_ascii_isdigit(*text) && !strchr("+-.", *text))
                return NULL;
        len = convert_base(text, number, sizeof(number));
        if (len)
                return json_new_text(doc, JSON_NUMBER, arena_strndup(doc->arena, number, len), len);
        out = g_string_sized_new(32);
        if (!convert_decimal(text, out))
                return NULL;
        return json_new_text(doc, JSON_NUMBER, arena_strndup(doc->arena, out->str, out->len), out->len);
}

int yaml_scalar_resolve(struct json_doc *doc, const char *text, size_t len, struct json_value **ret_value)
{
        struct json_value *value = NULL;

        assert(text);
        assert(ret_value);
        for (size_t i = 0; i < G_N_ELEMENTS(words) && !value; i++)
                if (strcmp(text, words[i].word) == 0)
                        value = json_new_raw(doc, words[i].type);
        if (is_not_finite(text))
                return JSON_E_SYNTAX;
        if (!value)
                value = resolve_number(doc, text);
        *ret_value = value ? value : json_new_text(doc, JSON_STRING, arena_strndup(doc->arena, text, len), len);
        return 0;
}

static bool is_word(const char *text, size_t len)
{
        for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
                if (json_text_is(words[i].word, strlen(words[i].word), text, len))
                        return true;
        for (size_t i = 0; i < G_N_ELEMENTS(old_words); i++)
                if (json_text_is(old_words[i], strlen(old_words[i]), text, len))
                        return true;
        return false;
}

/* Numbers of any YAML version, times, dates: what begins like one and holds nothing else. */
static bool looks_numeric(const char *text, size_t len)
{
        static const char set[] = "0123456789abcdefABCDEFxXoO_.+-:TZ ";

        if (!g_ascii_isdigit(text[0]) && !strchr("+-.", text[0]))
                return false;
        for (size_t i = 0; i < len; i++)
                if (!strchr(set, text[i]))
                        return false;
        return true;
}

bool yaml_scalar_is_text(const char *text, size_t len)
{
        static const char punctuation[] = " _./@+=,()-:";

        if (!len || text[len - 1] == ' ' || text[len - 1] == ':')
                return false;
        if (!g_ascii_isalnum(text[0]) && text[0] != '/' && text[0] != '_')
                return false;
        for (size_t i = 0; i < len; i++) {
                if (!g_ascii_isalnum(text[i]) && !strchr(punctuation, text[i]))
                        return false;
                if (text[i] == ':' && text[i + 1] == ' ')
                        return false;
        }
        return !is_word(text, len) && !looks_numeric(text, len);
}
