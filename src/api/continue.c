/* SPDX-License-Identifier: Apache-2.0 */
#include "api/continue.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define TOKEN_MAX 2048
#define WORD      "continue" /* what else is sealed with the same key begins otherwise */
#define PARTS     5

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

/* What must be the same on every page, besides the kind. */
static char *query_digest(const struct continue_query *query)
{
        g_autofree char *text =
                g_strdup_printf("%s\n%s\n%s", query->namespace ?: "", query->label_selector ?: "", query->field_selector ?: "");

        return g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);
}

char *continue_token_write(const struct continue_token *token, const struct continue_query *query)
{
        g_autofree char *digest = query_digest(query);

        assert(token && token->after_key);
        return g_strdup_printf(WORD " %" PRIu64 " %" PRIu64 " %s %s", token->revision, token->told, digest, token->after_key);
}

int continue_token_read(const char *plain, const struct continue_query *query, struct continue_token *ret_token)
{
        g_autofree char *digest = query_digest(query), *prefix = NULL;
        g_auto(GStrv) parts = NULL;
        guint64 revision, told;

        assert(plain && query->kind && ret_token);
        parts = g_strsplit(plain, " ", PARTS);
        prefix = g_strdup_printf("%s.%s/", query->kind->plural, query->kind->group);
        if (g_strv_length(parts) != PARTS || strcmp(parts[0], WORD) != 0 || strcmp(parts[3], digest) != 0 ||
            !g_str_has_prefix(parts[4], prefix) || !g_ascii_string_to_unsigned(parts[1], 10, 1, G_MAXUINT64, &revision, NULL) ||
            !g_ascii_string_to_unsigned(parts[2], 10, 0, G_MAXINT64, &told, NULL))
                return -EINVAL;
        *ret_token = (struct continue_token){.after_key = g_strdup(parts[4]), .revision = revision, .told = told};
        return 0;
}

char *continue_token_text(const struct continue_token *token, const struct continue_query *query, struct auth_seal *seal)
{
        g_autofree char *plain = continue_token_write(token, query), *sealed = NULL;
        size_t len;
        char *text;

        assert(seal);
        if (auth_seal_seal(seal, plain, strlen(plain), &sealed, &len) < 0)
                return NULL;
        text = g_base64_encode((const guchar *)sealed, len);
        to_url_letters(text);
        return text;
}

int continue_token_parse(const char *text, const struct continue_query *query, struct auth_seal *seal,
                         struct continue_token *ret_token)
{
        g_autofree char *letters = NULL, *sealed = NULL, *plain = NULL;
        gsize sealed_len;
        size_t len;

        assert(text && seal && ret_token);
        if (strnlen(text, TOKEN_MAX + 1) > TOKEN_MAX)
                return -EINVAL;
        letters = g_strdup(text);
        from_url_letters(letters);
        sealed = (char *)g_base64_decode(letters, &sealed_len);
        if (!sealed || auth_seal_unseal(seal, sealed, sealed_len, &plain, &len) < 0 || strnlen(plain, len) != len)
                return -EINVAL;
        return continue_token_read(plain, query, ret_token);
}
