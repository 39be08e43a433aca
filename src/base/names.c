/* SPDX-License-Identifier: Apache-2.0 */
#include "base/names.h"

#include <assert.h>
#include <errno.h>
#include <glib.h>
#include <string.h>

#define LABEL_MAX     63
#define SUBDOMAIN_MAX 253

static bool is_lower_alnum(char c)
{
        return g_ascii_islower(c) || g_ascii_isdigit(c);
}

static bool is_label_span(const char *text, size_t len)
{
        if (len < 1 || len > LABEL_MAX || !is_lower_alnum(text[0]) || !is_lower_alnum(text[len - 1]))
                return false;
        for (size_t i = 0; i < len; i++)
                if (!is_lower_alnum(text[i]) && text[i] != '-')
                        return false;
        return true;
}

/* A subdomain's labels have no bound of their own in Kubernetes; the whole has. */
static bool is_subdomain_span(const char *text, size_t len)
{
        if (len < 1 || len > SUBDOMAIN_MAX)
                return false;
        for (size_t i = 0; i < len; i++) {
                bool edge = i == 0 || i == len - 1 || text[i - 1] == '.' || text[i + 1] == '.';

                if (is_lower_alnum(text[i]))
                        continue;
                if (edge || (text[i] != '-' && text[i] != '.'))
                        return false;
        }
        return true;
}

static bool is_qualified_span(const char *text, size_t len)
{
        if (len < 1 || len > LABEL_MAX || !g_ascii_isalnum(text[0]) || !g_ascii_isalnum(text[len - 1]))
                return false;
        for (size_t i = 0; i < len; i++)
                if (!g_ascii_isalnum(text[i]) && !strchr("._-", text[i]))
                        return false;
        return true;
}

bool names_is_label(const char *text)
{
        return text && is_label_span(text, strnlen(text, LABEL_MAX + 1));
}

bool names_is_subdomain(const char *text)
{
        return text && is_subdomain_span(text, strnlen(text, SUBDOMAIN_MAX + 1));
}

bool names_is_label_key(const char *text)
{
        const char *slash;

        if (!text)
                return false;
        slash = strchr(text, '/');
        if (!slash)
                return is_qualified_span(text, strnlen(text, LABEL_MAX + 1));
        return is_subdomain_span(text, (size_t)(slash - text)) && is_qualified_span(slash + 1, strnlen(slash + 1, LABEL_MAX + 1));
}

bool names_is_label_value(const char *text)
{
        return text && (!*text || is_qualified_span(text, strnlen(text, LABEL_MAX + 1)));
}

bool names_is_plain_text(const char *text, size_t max_bytes, bool lines)
{
        size_t len;

        if (!text)
                return false;
        len = strlen(text);
        if (len > max_bytes || !g_utf8_validate(text, (gssize)len, NULL))
                return false;
        for (const char *c = text; *c; c = g_utf8_next_char(c)) {
                gunichar u = g_utf8_get_char(c);

                if ((u == '\n' || u == '\t') && lines)
                        continue;
                if (u < 0x20 || (u >= 0x7f && u < 0xa0))
                        return false;
        }
        return true;
}

int enum_index_of(const char *const *names, size_t n_names, const char *text)
{
        assert(names);
        if (!text)
                return -EINVAL;
        for (size_t i = 0; i < n_names; i++)
                if (names[i] && strcmp(names[i], text) == 0)
                        return (int)i;
        return -EINVAL;
}
