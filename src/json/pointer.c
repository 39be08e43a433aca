/* SPDX-License-Identifier: Apache-2.0 */
#include "json/pointer.h"

#include <assert.h>
#include <errno.h>

bool json_pointer_valid(const char *pointer)
{
        if (*pointer && *pointer != '/')
                return false;
        for (; *pointer; pointer++)
                if (*pointer == '~' && pointer[1] != '0' && pointer[1] != '1')
                        return false;
        return true;
}

unsigned json_pointer_depth(const char *pointer)
{
        unsigned depth = 0;

        for (; *pointer; pointer++)
                depth += *pointer == '/';
        return depth;
}

const char *json_pointer_take(const char *pointer, GString *token)
{
        assert(*pointer == '/');
        g_string_truncate(token, 0);
        for (pointer++; *pointer && *pointer != '/'; pointer++) {
                if (*pointer == '~')
                        g_string_append_c(token, *++pointer == '0' ? '~' : '/');
                else
                        g_string_append_c(token, *pointer);
        }
        return pointer;
}

int json_pointer_index(const GString *token, size_t *ret_index)
{
        size_t index = 0;

        if (token->len < 1 || token->len > 9 || (token->str[0] == '0' && token->len > 1))
                return -EINVAL;
        for (size_t i = 0; i < token->len; i++) {
                if (!g_ascii_isdigit(token->str[i]))
                        return -EINVAL;
                index = index * 10 + (size_t)(token->str[i] - '0');
        }
        *ret_index = index;
        return 0;
}

struct json_value *json_pointer_step(const struct json_value *value, const GString *token)
{
        size_t index;

        if (json_is(value, JSON_OBJECT))
                return json_get_len(value, token->str, token->len);
        if (json_is(value, JSON_ARRAY) && json_pointer_index(token, &index) == 0)
                return json_at(value, index);
        return NULL;
}

struct json_value *json_pointer_get(const struct json_value *root, const char *pointer)
{
        g_autoptr(GString) token = NULL;
        const struct json_value *value = root;

        assert(pointer);
        if (!json_pointer_valid(pointer))
                return NULL;
        token = g_string_sized_new(32);
        while (value && *pointer) {
                pointer = json_pointer_take(pointer, token);
                value = json_pointer_step(value, token);
        }
        return (struct json_value *)value;
}

void json_pointer_append(GString *pointer, const char *key, size_t len)
{
        g_string_append_c(pointer, '/');
        for (size_t i = 0; i < len; i++) {
                if (key[i] == '~')
                        g_string_append(pointer, "~0");
                else if (key[i] == '/')
                        g_string_append(pointer, "~1");
                else
                        g_string_append_c(pointer, key[i]);
        }
}
