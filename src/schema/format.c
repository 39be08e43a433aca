/* SPDX-License-Identifier: Apache-2.0 */
#include "base/address.h"
#include "base/clock.h"
#include "base/names.h"
#include "schema/walk.h"

#include <assert.h>
#include <string.h>

static bool is_ip(const char *text)
{
        struct address address;

        return address_parse(text, &address) == 0;
}

static bool is_cidr(const char *text)
{
        struct address_prefix prefix;

        return address_prefix_parse(text, &prefix) == 0;
}

static bool is_url(const char *text)
{
        const char *host = g_str_has_prefix(text, "https://") ? text + 8 : g_str_has_prefix(text, "http://") ? text + 7 : NULL;
        size_t len = host ? strcspn(host, "/?#") : 0;

        if (len == 0 || host[0] == ':' || memchr(host, '@', len))
                return false;
        for (const char *c = text; *c; c++)
                if ((unsigned char)*c <= ' ' || *c == 0x7f || strchr("\"<>\\^`{|}", *c))
                        return false;
        return true;
}

static bool is_sha256(const char *text)
{
        return strlen(text) == 64 && strspn(text, "0123456789abcdefABCDEF") == 64;
}

static bool is_percent(const char *text)
{
        size_t digits = strspn(text, "0123456789");

        if (digits < 1 || digits > 3 || text[0] == '0' || strcmp(text + digits, "%") != 0)
                return false;
        return digits < 3 || strncmp(text, "100", 3) == 0;
}

static bool is_path(const char *text)
{
        if (text[0] != '/' || text[1] == '\0' || strlen(text) >= 4096)
                return false;
        for (const char *part = text; *part;) {
                size_t len = strcspn(part + 1, "/");

                if (len == 0 || (len == 1 && part[1] == '.') || (len == 2 && part[1] == '.' && part[2] == '.'))
                        return false;
                part += len + 1;
        }
        return names_is_plain_text(text, 4096, false);
}

/* Base64 of RFC 4648 with its padding; line breaks are let in, as Go's decoder does. */
static bool is_base64(const char *text)
{
        size_t symbols = 0, padding = 0;

        for (const char *c = text; *c; c++) {
                if (*c == '\n' || *c == '\r')
                        continue;
                if (*c == '=')
                        padding++;
                else if (padding > 0 || !(g_ascii_isalnum(*c) || *c == '+' || *c == '/'))
                        return false;
                else
                        symbols++;
        }
        return padding <= 2 && (symbols + padding) % 4 == 0 && (padding == 0 || symbols % 4 >= 2);
}

static const struct {
        bool (*holds)(const char *text);
        const char *words;
} formats[] = {
        [SCHEMA_FORMAT_LABEL] = {names_is_label,
                                 "must be at most 63 lower-case letters, digits and '-', with a letter or digit at both ends"},
        [SCHEMA_FORMAT_SUBDOMAIN] = {names_is_subdomain,
                                     "must be at most 253 lower-case letters, digits, '-' and '.', with a letter or "
                                     "digit at both ends of each part"},
        [SCHEMA_FORMAT_LABEL_VALUE] = {names_is_label_value,
                                       "must be empty, or at most 63 letters, digits, '-', '_' and '.', with a letter or "
                                       "digit at both ends"},
        [SCHEMA_FORMAT_IP] = {is_ip, "must be an IP address, for example 10.66.10.14"},
        [SCHEMA_FORMAT_CIDR] = {is_cidr, "must be an address range whose host bits are zero, for example 10.66.10.0/24"},
        [SCHEMA_FORMAT_MAC] = {mac_valid, "must be six pairs of hexadecimal digits, for example 52:54:00:12:34:56"},
        [SCHEMA_FORMAT_UUID] = {uuid_valid, "must be a UUID of 36 characters"},
        [SCHEMA_FORMAT_URL] = {is_url, "must be an http or https URL with a host and without a password"},
        [SCHEMA_FORMAT_SHA256] = {is_sha256, "must be 64 hexadecimal digits"},
        [SCHEMA_FORMAT_PERCENT] = {is_percent, "must be a whole percentage from 1% to 100%"},
        [SCHEMA_FORMAT_PATH] = {is_path, "must be an absolute path without '.', '..' and empty parts"},
        [SCHEMA_FORMAT_BYTE] = {is_base64, "must be base64"},
};

const char *format_check(enum schema_format format, const char *text)
{
        assert(text);
        assert((size_t)format < G_N_ELEMENTS(formats));
        if (format == SCHEMA_FORMAT_NONE || formats[format].holds(text))
                return NULL;
        return formats[format].words;
}
