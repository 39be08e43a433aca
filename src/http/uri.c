/* SPDX-License-Identifier: Apache-2.0 */
#include "http/uri.h"

#include "base/error.h"

#include <string.h>

static bool uri_is_control(unsigned char c)
{
        return c < 0x20 || c == 0x7f;
}

/* One character, unescaped; -EINVAL for a broken escape. */
static int uri_unescape(const char *text, size_t len, size_t *at)
{
        if (text[*at] != '%')
                return (unsigned char)text[(*at)++];
        if (len - *at < 3)
                return -EINVAL;
        int high = g_ascii_xdigit_value(text[*at + 1]), low = g_ascii_xdigit_value(text[*at + 2]);
        if (high < 0 || low < 0)
                return -EINVAL;
        *at += 3;
        return high << 4 | low;
}

static bool uri_segments_are_plain(const char *path)
{
        const char *segment = path + 1;

        for (const char *end;; segment = end + 1) {
                end = strchrnul(segment, '/');
                size_t len = end - segment;
                if (len == 0 && *end)
                        return false;
                if ((len == 1 && segment[0] == '.') || (len == 2 && segment[0] == '.' && segment[1] == '.'))
                        return false;
                if (!*end)
                        return true;
        }
}

int http_uri_decode_path(const char *path, size_t len, GString *out)
{
        assert(path && out);

        size_t start = out->len;
        if (len == 0 || path[0] != '/')
                return -EINVAL;
        for (size_t at = 0; at < len;) {
                bool escaped = path[at] == '%';
                int c = uri_unescape(path, len, &at);
                if (c < 0 || uri_is_control(c) || (escaped && c == '/'))
                        return -EINVAL;
                g_string_append_c(out, c);
        }
        if (!g_utf8_validate(out->str + start, out->len - start, NULL) || !uri_segments_are_plain(out->str + start))
                return -EINVAL;
        g_string_append_c(out, '\0');
        return 0;
}

static int uri_decode_part(const char *part, size_t len, GString *out)
{
        size_t start = out->len;

        for (size_t at = 0; at < len;) {
                bool plus = part[at] == '+';
                int c = uri_unescape(part, len, &at);
                if (c < 0 || (uri_is_control(c) && c != '\t' && c != '\n' && c != '\r'))
                        return -EINVAL;
                g_string_append_c(out, plus ? ' ' : c);
        }
        if (!g_utf8_validate(out->str + start, out->len - start, NULL))
                return -EINVAL;
        g_string_append_c(out, '\0');
        return 0;
}

int http_uri_decode_query(const char *query, size_t len, GString *out, unsigned *ret_n)
{
        assert(query && out && ret_n);

        unsigned n = 0;
        for (const char *end = query + len; query < end;) {
                const char *stop = memchr(query, '&', end - query);
                if (!stop)
                        stop = end;
                const char *equals = memchr(query, '=', stop - query);
                const char *value = equals ? equals + 1 : stop;
                if (stop > query) {
                        if (uri_decode_part(query, (equals ? equals : stop) - query, out) < 0 ||
                            uri_decode_part(value, stop - value, out) < 0)
                                return -EINVAL;
                        n++;
                }
                query = stop + 1;
        }
        *ret_n = n;
        return 0;
}

/* "host", "host:port", "[v6]:port" of @len bytes. */
static int uri_split_authority(const char *text, size_t len, char **ret_host, char **ret_port)
{
        const char *end = text + len, *host = text, *host_end, *port;

        if (len > 0 && text[0] == '[') {
                host++;
                host_end = memchr(host, ']', end - host);
                if (!host_end)
                        return -EINVAL;
                port = host_end + 1;
        } else {
                host_end = memchr(text, ':', len);
                if (!host_end)
                        host_end = end;
                port = host_end;
        }
        if (host_end == host || memchr(text, '@', len) || (port < end && (*port != ':' || end - port < 2 || end - port > 6)))
                return -EINVAL;
        for (const char *digit = port + 1; digit < end; digit++) {
                if (!g_ascii_isdigit(*digit))
                        return -EINVAL;
        }
        *ret_host = g_strndup(host, host_end - host);
        *ret_port = port < end ? g_strndup(port + 1, end - port - 1) : NULL;
        return 0;
}

int http_uri_split(const char *url, bool *ret_tls, char **ret_host, char **ret_port, const char **ret_target)
{
        assert(url && ret_tls && ret_host && ret_port && ret_target);

        bool tls = g_ascii_strncasecmp(url, "https://", 8) == 0;
        if (!tls && g_ascii_strncasecmp(url, "http://", 7) != 0)
                return -EINVAL;
        for (const char *c = url; *c; c++) {
                if (uri_is_control(*c) || *c == ' ')
                        return -EINVAL;
        }
        const char *authority = url + (tls ? 8 : 7);
        size_t len = strcspn(authority, "/?#");
        int r = uri_split_authority(authority, len, ret_host, ret_port);
        if (r < 0)
                return r;
        if (!*ret_port)
                *ret_port = g_strdup(tls ? "443" : "80");
        *ret_tls = tls;
        *ret_target = authority + len;
        return 0;
}
