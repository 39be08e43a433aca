/* SPDX-License-Identifier: Apache-2.0 */
#include "json/json_value.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

struct json_value *json_new_raw(struct json_doc *doc, enum json_type type)
{
        struct json_value *value = arena_new0(doc->arena, struct json_value);

        value->type = (uint8_t)type;
        return value;
}

struct json_value *json_new_text(struct json_doc *doc, enum json_type type, const char *text, size_t len)
{
        struct json_value *value = json_new_raw(doc, type);

        assert(len <= UINT32_MAX);
        value->text = text;
        value->len = (uint32_t)len;
        return value;
}

struct json_value *json_new(struct json_doc *doc, enum json_type type)
{
        assert(doc);
        assert(type != JSON_STRING && type != JSON_NUMBER);
        return json_new_raw(doc, type);
}

/* The length of the leading part of @text that is UTF-8 without zeroes; @text[@len] is NUL. */
static size_t valid_length(const char *text, size_t len)
{
        size_t i = 0;

        for (unsigned n; i < len; i += n) {
                n = text[i] ? json_utf8_length((const unsigned char *)text + i) : 0;
                if (!n)
                        break;
        }
        return i;
}

static struct json_value *new_repaired(struct json_doc *doc, const char *text, size_t len)
{
        g_autoptr(GString) repaired = g_string_sized_new(len + 16);

        for (;;) {
                size_t valid = valid_length(text, len);

                g_string_append_len(repaired, text, (gssize)valid);
                if (valid == len)
                        break;
                g_string_append(repaired, "\357\277\275");
                text += valid + 1;
                len -= valid + 1;
        }
        return json_new_text(doc, JSON_STRING, arena_strndup(doc->arena, repaired->str, repaired->len), repaired->len);
}

struct json_value *json_new_string_len(struct json_doc *doc, const char *text, size_t len)
{
        const char *copy;

        assert(doc);
        assert(text || !len);
        copy = arena_strndup(doc->arena, text, len);
        if (valid_length(copy, len) < len)
                return new_repaired(doc, copy, len);
        return json_new_text(doc, JSON_STRING, copy, len);
}

struct json_value *json_new_string(struct json_doc *doc, const char *text)
{
        assert(text);
        return json_new_string_len(doc, text, strlen(text));
}

struct json_value *json_new_int(struct json_doc *doc, int64_t number)
{
        char text[24];
        int len = snprintf(text, sizeof(text), "%" PRId64, number);

        assert(doc);
        return json_new_text(doc, JSON_NUMBER, arena_strndup(doc->arena, text, (size_t)len), (size_t)len);
}

struct json_value *json_new_number(struct json_doc *doc, const char *verbatim)
{
        const char *end;

        assert(doc);
        assert(verbatim);
        end = json_number_end(verbatim);
        assert(end && !*end);
        return json_new_text(doc, JSON_NUMBER, arena_strdup(doc->arena, verbatim), strlen(verbatim));
}

static struct json_value *copy_at(struct json_doc *doc, const struct json_value *value, unsigned depth)
{
        struct json_value *copy;

        assert(depth < JSON_WALK_DEPTH);
        if (!json_is_container(value)) {
                enum json_type type = json_type(value);

                if (type == JSON_STRING || type == JSON_NUMBER)
                        return json_new_text(doc, type, arena_strndup(doc->arena, value->text, value->len), value->len);
                return json_new_raw(doc, type);
        }
        copy = json_new_raw(doc, json_type(value));
        for (const struct json_value *v = value->first; v; v = v->next) {
                struct json_value *child = copy_at(doc, v, depth + 1);

                if (value->type == JSON_OBJECT)
                        json_object_append(doc, copy, arena_strndup(doc->arena, v->key, v->key_len), v->key_len, child);
                else
                        json_append(copy, child);
        }
        return copy;
}

struct json_value *json_copy(struct json_doc *doc, const struct json_value *value)
{
        assert(doc);
        return copy_at(doc, value, 0);
}

void json_set_string(struct json_doc *doc, struct json_value *object, const char *key, const char *text)
{
        if (text)
                json_set(doc, object, key, json_new_string(doc, text));
        else
                json_remove(object, key);
}

void json_set_int(struct json_doc *doc, struct json_value *object, const char *key, int64_t number)
{
        json_set(doc, object, key, json_new_int(doc, number));
}

void json_set_bool(struct json_doc *doc, struct json_value *object, const char *key, bool b)
{
        json_set(doc, object, key, json_new_bool(doc, b));
}

static struct json_value *ensure(struct json_doc *doc, struct json_value *object, const char *key, enum json_type type)
{
        struct json_value *value = json_get(object, key);

        if (json_is(value, type))
                return value;
        return json_set(doc, object, key, json_new_raw(doc, type));
}

struct json_value *json_ensure_object(struct json_doc *doc, struct json_value *object, const char *key)
{
        return ensure(doc, object, key, JSON_OBJECT);
}

struct json_value *json_ensure_array(struct json_doc *doc, struct json_value *object, const char *key)
{
        return ensure(doc, object, key, JSON_ARRAY);
}
