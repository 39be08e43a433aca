/* SPDX-License-Identifier: Apache-2.0 */
#include "api/continue.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define TOKEN_MAX 2048

void continue_token_clear(struct continue_token *token)
{
        assert(token);
        g_free(token->after_key);
        *token = (struct continue_token){};
}

/* base64 with the letters of URLs (RFC 4648 §5), and back. */
static void to_url_letters(char *text)
{
        for (; *text; text++)
                *text = *text == '+' ? '-' : *text == '/' ? '_' : *text;
}

static void from_url_letters(char *text)
{
        for (; *text; text++)
                *text = *text == '-' ? '+' : *text == '_' ? '/' : *text;
}

char *continue_token_text(const struct continue_token *token)
{
        g_autofree char *plain = NULL;
        char *text;

        assert(token && token->after_key);
        plain = g_strdup_printf("1 %" PRIu64 " %" PRIu64 " %s", token->revision, token->told, token->after_key);
        text = g_base64_encode((const guchar *)plain, strlen(plain));
        to_url_letters(text);
        return text;
}

int continue_token_parse(const char *text, const struct schema_kind *kind, struct continue_token *ret_token)
{
        g_autofree char *letters = NULL, *plain = NULL, *prefix = NULL;
        g_auto(GStrv) parts = NULL;
        guint64 revision, told;
        gsize len;

        assert(text && kind && ret_token);
        if (strnlen(text, TOKEN_MAX + 1) > TOKEN_MAX)
                return -EINVAL;
        letters = g_strdup(text);
        from_url_letters(letters);
        plain = (char *)g_base64_decode(letters, &len);
        if (!plain || strnlen(plain, len) != len)
                return -EINVAL;
        parts = g_strsplit(plain, " ", 4);
        prefix = g_strdup_printf("%s.%s/", kind->plural, kind->group);
        if (g_strv_length(parts) != 4 || strcmp(parts[0], "1") != 0 || !g_str_has_prefix(parts[3], prefix) ||
            !g_ascii_string_to_unsigned(parts[1], 10, 1, G_MAXUINT64, &revision, NULL) ||
            !g_ascii_string_to_unsigned(parts[2], 10, 0, G_MAXINT64, &told, NULL))
                return -EINVAL;
        *ret_token = (struct continue_token){.after_key = g_strdup(parts[3]), .revision = revision, .told = told};
        return 0;
}
