/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/auth.h"

#include <assert.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#define ID_LEN     10
#define SECRET_LEN 32
#define HASH_LEN   64
#define TEXT_MAX   256

static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567"; /* 32: five bits each */

void auth_token_text_clear(struct auth_token_text *token)
{
        if (!token)
                return;
        if (token->text)
                OPENSSL_cleanse(token->text, strlen(token->text));
        g_free(token->text);
        g_free(token->id);
        g_free(token->hash);
        *token = (struct auth_token_text){};
}

/* Hex SHA-256 of "<id>.<secret>". The secret has 160 random bits, so a slow hash would add nothing. */
static char *hash_of(const char *id, const char *secret)
{
        GChecksum *checksum = g_checksum_new(G_CHECKSUM_SHA256);
        char *hash;

        g_checksum_update(checksum, (const guchar *)id, -1);
        g_checksum_update(checksum, (const guchar *)".", 1);
        g_checksum_update(checksum, (const guchar *)secret, -1);
        hash = g_strdup(g_checksum_get_string(checksum));
        g_checksum_free(checksum);
        return hash;
}

static void random_letters(const struct random_source *random, char *text, size_t len)
{
        unsigned char bytes[SECRET_LEN];

        assert(len <= sizeof(bytes));
        random_fill(random, bytes, len);
        for (size_t i = 0; i < len; i++)
                text[i] = letters[bytes[i] & 31];
        text[len] = 0;
        OPENSSL_cleanse(bytes, sizeof(bytes));
}

int auth_token_generate(const struct random_source *random, const char *prefix, const char *suffix,
                        struct auth_token_text *ret_token)
{
        char id[ID_LEN + 1], secret[SECRET_LEN + 1];

        assert(random && prefix && ret_token);
        random_letters(random, id, ID_LEN);
        random_letters(random, secret, SECRET_LEN);
        *ret_token = (struct auth_token_text){
                .text = suffix ? g_strdup_printf("%s.%s.%s.%s", prefix, id, secret, suffix)
                               : g_strdup_printf("%s.%s.%s", prefix, id, secret),
                .id = g_strdup(id),
                .hash = hash_of(id, secret),
        };
        OPENSSL_cleanse(secret, sizeof(secret));
        return 0;
}

static bool only_of(const char *text, size_t len, const char *alphabet)
{
        return text && strlen(text) == len && strspn(text, alphabet) == len;
}

/* "gbt1.<id>.<secret>" or "gbj1.<id>.<secret>.<sha256>" */
static bool parts_are_valid(char **parts)
{
        guint n = g_strv_length(parts);
        bool join = n == 4 && g_str_equal(parts[0], "gbj1"), user = n == 3 && g_str_equal(parts[0], "gbt1");

        return (join || user) && only_of(parts[1], ID_LEN, letters) && only_of(parts[2], SECRET_LEN, letters) &&
               (!join || only_of(parts[3], HASH_LEN, "0123456789abcdef"));
}

int auth_token_split(const char *text, char **ret_id, char **ret_hash, char **ret_suffix)
{
        g_auto(GStrv) parts = NULL;

        assert(ret_id && ret_hash);
        if (!text || strnlen(text, TEXT_MAX + 1) > TEXT_MAX)
                return -EINVAL;
        parts = g_strsplit(text, ".", 5);
        if (!parts_are_valid(parts))
                return -EINVAL;
        *ret_id = g_strdup(parts[1]);
        *ret_hash = hash_of(parts[1], parts[2]);
        if (ret_suffix)
                *ret_suffix = g_strdup(parts[3]);
        return 0;
}

bool auth_hash_equal(const char *a, const char *b)
{
        size_t len = a ? strlen(a) : 0;

        /* The length of a hash is no secret; its digits are. */
        return a && b && strlen(b) == len && CRYPTO_memcmp(a, b, len) == 0;
}
