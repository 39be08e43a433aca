/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/tus.h"
#include "base/limits.h"

#include <assert.h>
#include <errno.h>
#include <glib.h>
#include <string.h>
#include <time.h>

int tus_parse_number(const char *text, uint64_t *ret_number)
{
        uint64_t number = 0;

        assert(ret_number);
        if (!text || !*text)
                return -EINVAL;
        for (const char *c = text; *c; c++) {
                if (!g_ascii_isdigit(*c) || number > (INT64_MAX - (uint64_t)(*c - '0')) / 10)
                        return -EINVAL;
                number = number * 10 + (uint64_t)(*c - '0');
        }
        *ret_number = number;
        return 0;
}

/* Base64 of RFC 4648 §4, whole and padded. */
static guchar *decode(const char *text, gsize *ret_len)
{
        size_t len = strlen(text), n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
        const char *rest = text + n;

        if (len % 4 != 0 || !(*rest == 0 || strcmp(rest, "=") == 0 || strcmp(rest, "==") == 0))
                return NULL;
        return g_base64_decode(text, ret_len);
}

static bool pair_is_valid(char *pair, GHashTable *keys)
{
        char *key = g_strstrip(pair), *value = strchr(key, ' ');
        g_autofree guchar *bytes = NULL;
        gsize n = 0;

        if (value)
                *value++ = 0;
        for (const char *c = key; *c; c++)
                if (*c <= ' ' || *c > '~')
                        return false;
        if (!*key || !g_hash_table_add(keys, key))
                return false;
        bytes = value && *value ? decode(value, &n) : NULL;
        return !value || !*value || bytes;
}

bool tus_metadata_is_valid(const char *text)
{
        assert(text);

        g_auto(GStrv) pairs = strlen(text) <= LIMIT_UPLOAD_METADATA_BYTES ? g_strsplit(text, ",", -1) : NULL;
        g_autoptr(GHashTable) keys = g_hash_table_new(g_str_hash, g_str_equal);

        for (size_t i = 0; pairs && pairs[i]; i++)
                if (!pair_is_valid(pairs[i], keys))
                        return false;
        return pairs && pairs[0];
}

int tus_parse_checksum(const char *text, struct tus_checksum *ret_checksum)
{
        static const struct {
                const char *name;
                const EVP_MD *(*algorithm)(void);
        } algorithms[] = {{"sha1 ", EVP_sha1}, {"sha256 ", EVP_sha256}, {"sha512 ", EVP_sha512}};

        assert(text && ret_checksum);
        for (size_t i = 0; i < G_N_ELEMENTS(algorithms); i++) {
                if (!g_str_has_prefix(text, algorithms[i].name))
                        continue;
                gsize n = 0;
                g_autofree guchar *digest = decode(text + strlen(algorithms[i].name), &n);
                const EVP_MD *algorithm = algorithms[i].algorithm();
                if (!digest || n != (gsize)EVP_MD_get_size(algorithm))
                        return -EINVAL;
                *ret_checksum = (struct tus_checksum){.algorithm = algorithm, .len = (unsigned)n};
                memcpy(ret_checksum->digest, digest, n);
                return 0;
        }
        return -EINVAL;
}

char *tus_format_date(uint64_t real_us, char *text)
{
        static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
        static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
        time_t seconds = (time_t)(real_us / 1000000);
        struct tm tm = {};

        assert(text);
        gmtime_r(&seconds, &tm);
        g_snprintf(text, TUS_DATE_MAX, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday % 7], tm.tm_mday % 32,
                   months[tm.tm_mon % 12], (tm.tm_year + 1900) % 10000, tm.tm_hour % 24, tm.tm_min % 60, tm.tm_sec % 61);
        return text;
}
