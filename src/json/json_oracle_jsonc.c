/* SPDX-License-Identifier: Apache-2.0 */
#include "json/json_oracle.h"

#include <json-c/json.h>
#include <limits.h>
#include <stdbool.h>

/* json-c lets these pass even when it is strict. */
static const char *const laxities[] = {
        "nested too deeply", /* counted otherwise */
        "too many values",
        "duplicate key", /* the last one wins */
        "U+0000 in a string",
        "control character in a string",                      /* as they are */
        "malformed \\u escape or lone surrogate in a string", /* U+FFFD */
        "malformed UTF-8 in a string",                        /* surrogates and overlong forms */
        "a key in quotes is expected",                        /* single quotes */
        "malformed number",                                   /* 1. and 1e */
        "a value is expected",                                /* NaN, Infinity */
        "\",\" or",                                           /* what follows a number that only json-c takes */
        "something follows the value",
};

gboolean json_oracle_is_lax(const char *reason)
{
        for (size_t i = 0; i < G_N_ELEMENTS(laxities); i++)
                if (g_str_has_prefix(reason, laxities[i]))
                        return TRUE;
        return FALSE;
}

static void put_value(struct json_object *object, GString *out, unsigned depth);

static void put_object(struct json_object *object, GString *out, unsigned depth)
{
        g_autoptr(GPtrArray) keys = g_ptr_array_new();

        {
                json_object_object_foreach(object, key, value)
                {
                        (void)value;
                        g_ptr_array_add(keys, key);
                }
        }
        g_ptr_array_sort(keys, json_oracle_compare);
        g_string_append_c(out, '{');
        for (guint i = 0; i < keys->len; i++) {
                json_oracle_put_string(keys->pdata[i], strlen(keys->pdata[i]), out);
                put_value(json_object_object_get(object, keys->pdata[i]), out, depth);
        }
        g_string_append_c(out, '}');
}

static void put_value(struct json_object *object, GString *out, unsigned depth)
{
        g_assert_cmpuint(depth, >, 0);
        switch (json_object_get_type(object)) {
        case json_type_null:
                g_string_append_c(out, 'n');
                break;
        case json_type_boolean:
                g_string_append_c(out, json_object_get_boolean(object) ? 't' : 'f');
                break;
        case json_type_int:
        case json_type_double:
                json_oracle_put_number(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN), out);
                break;
        case json_type_string:
                json_oracle_put_string(json_object_get_string(object), (size_t)json_object_get_string_len(object), out);
                break;
        case json_type_array:
                g_string_append_c(out, '[');
                for (size_t i = 0; i < json_object_array_length(object); i++)
                        put_value(json_object_array_get_idx(object, i), out, depth - 1);
                g_string_append_c(out, ']');
                break;
        case json_type_object:
                put_object(object, out, depth - 1);
                break;
        }
}

enum json_oracle json_oracle_read(const char *text, size_t len, unsigned depth, GString *out)
{
        g_autofree char *copy = g_strndup(text, len);
        struct json_tokener *tokener;
        struct json_object *object;
        bool taken;

        if (len > INT_MAX / 2 || strlen(copy) != len)
                return JSON_ORACLE_IS_SILENT;
        tokener = json_tokener_new_ex((int)depth + 1);
        json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
        object = json_tokener_parse_ex(tokener, copy, (int)len + 1);
        taken = json_tokener_get_error(tokener) == json_tokener_success;
        if (taken)
                put_value(object, out, depth + 2);
        json_object_put(object);
        json_tokener_free(tokener);
        return taken ? JSON_ORACLE_TAKES : JSON_ORACLE_REFUSES;
}
