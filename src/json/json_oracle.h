/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>
#include <string.h>

/*
 * A second opinion on JSON texts, for the fuzz target: json-c where it is installed. This header names nothing of json/json.h,
 * because both libraries have a json_bool and a json_type.
 *
 * Values are compared by a canonical text: n t f; i<integer, saturated to 64 bits>; d<double as %a>; s<bytes>:<text>;
 * [<elements>]; {<key as string><value>, in order of the keys}.
 */

enum json_oracle { JSON_ORACLE_REFUSES, JSON_ORACLE_TAKES, JSON_ORACLE_IS_SILENT };

/** json_oracle_read() - the other library's verdict; when it takes @text (without any byte of zero), its value in @out. */
enum json_oracle json_oracle_read(const char *text, size_t len, unsigned depth, GString *out);

/** json_oracle_is_lax() - whether the other library is known to let pass what this one refuses with @reason. */
gboolean json_oracle_is_lax(const char *reason);

/** json_oracle_put_number() - the canonical text of a number as it stands in a document. */
static inline void json_oracle_put_number(const char *text, GString *out)
{
        if (strpbrk(text, ".eE")) {
                g_string_append_printf(out, "d%a", g_ascii_strtod(text, NULL));
        } else if (text[0] == '-') {
                g_string_append_printf(out, "i%" G_GINT64_FORMAT, g_ascii_strtoll(text, NULL, 10));
        } else {
                g_string_append_printf(out, "i%" G_GUINT64_FORMAT, g_ascii_strtoull(text, NULL, 10));
        }
}

static inline void json_oracle_put_string(const char *text, size_t len, GString *out)
{
        g_string_append_printf(out, "s%zu:", len);
        g_string_append_len(out, text, (gssize)len);
}

static inline int json_oracle_compare(const void *a, const void *b)
{
        return strcmp(*(const char *const *)a, *(const char *const *)b);
}
