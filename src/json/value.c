/* SPDX-License-Identifier: Apache-2.0 */
#include "json/json_value.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

struct json_doc *json_doc_new_sized(size_t bytes)
{
        struct arena *arena = arena_new(bytes);
        struct json_doc *doc = arena_new0(arena, struct json_doc);

        doc->arena = arena;
        return doc;
}

struct json_doc *json_doc_new(void)
{
        struct json_doc *doc = json_doc_new_sized(0);

        doc->root = json_new_raw(doc, JSON_NULL);
        return doc;
}

struct json_doc *json_doc_free(struct json_doc *doc)
{
        if (doc)
                arena_free(doc->arena);
        return NULL;
}

struct json_value *json_root(struct json_doc *doc)
{
        return doc ? doc->root : NULL;
}

const struct json_value *json_root_const(const struct json_doc *doc)
{
        return doc ? doc->root : NULL;
}

void json_set_root(struct json_doc *doc, struct json_value *value)
{
        assert(doc);
        assert(value && !value->linked);
        doc->root = value;
}

struct arena *json_arena(struct json_doc *doc)
{
        assert(doc);
        return doc->arena;
}

void json_fault_set(struct json_fault *fault, size_t offset, unsigned line, const char *format, ...)
{
        const char *end;
        va_list args;

        if (!fault)
                return;
        fault->offset = offset;
        fault->line = line;
        va_start(args, format);
        vsnprintf(fault->reason, sizeof(fault->reason), format, args);
        va_end(args);
        if (!g_utf8_validate(fault->reason, -1, &end))
                fault->reason[end - fault->reason] = 0;
}

enum json_type json_type(const struct json_value *value)
{
        return value ? (enum json_type)value->type : JSON_NULL;
}

const char *json_type_name(enum json_type type)
{
        static const char *const names[] = {"null", "boolean", "boolean", "number", "string", "array", "object"};

        return (size_t)type < G_N_ELEMENTS(names) ? names[type] : "unknown";
}

bool json_is_bool(const struct json_value *value)
{
        return value && (value->type == JSON_TRUE || value->type == JSON_FALSE);
}

bool json_bool(const struct json_value *value, bool otherwise)
{
        return json_is_bool(value) ? value->type == JSON_TRUE : otherwise;
}

const char *json_string(const struct json_value *value, const char *otherwise)
{
        return json_is(value, JSON_STRING) ? value->text : otherwise;
}

size_t json_string_len(const struct json_value *value)
{
        return json_is(value, JSON_STRING) ? value->len : 0;
}

const char *json_number_text(const struct json_value *value)
{
        return json_is(value, JSON_NUMBER) ? value->text : NULL;
}

size_t json_length(const struct json_value *value)
{
        return json_is_container(value) ? value->len : 0;
}

static struct json_value *find_path(const struct json_value *object, va_list keys)
{
        const struct json_value *value = object;
        const char *key;

        while (value && (key = va_arg(keys, const char *)))
                value = json_get(value, key);
        return (struct json_value *)value;
}

struct json_value *json_find(const struct json_value *object, ...)
{
        struct json_value *value;
        va_list keys;

        va_start(keys, object);
        value = find_path(object, keys);
        va_end(keys);
        return value;
}

const char *json_find_string(const struct json_value *object, ...)
{
        struct json_value *value;
        va_list keys;

        va_start(keys, object);
        value = find_path(object, keys);
        va_end(keys);
        return json_string(value, NULL);
}

struct json_value *json_at(const struct json_value *array, size_t index)
{
        struct json_value *value;

        if (!json_is(array, JSON_ARRAY) || index >= array->len)
                return NULL;
        for (value = array->first; index > 0; index--)
                value = value->next;
        return value;
}

struct json_value *json_first(const struct json_value *container)
{
        return json_is_container(container) ? container->first : NULL;
}

struct json_value *json_next(const struct json_value *value)
{
        return value ? value->next : NULL;
}

const char *json_key(const struct json_value *value)
{
        return value ? value->key : NULL;
}

static bool equal_at(const struct json_value *a, const struct json_value *b, unsigned depth);

static bool members_equal(const struct json_value *a, const struct json_value *b, unsigned depth)
{
        const struct json_value *hint = b->first;

        for (const struct json_value *v = a->first; v; v = v->next) {
                const struct json_value *other = hint;

                /* members mostly stand in the same order */
                if (!other || !json_text_is(v->key, v->key_len, other->key, other->key_len))
                        other = json_get_len(b, v->key, v->key_len);
                if (!other || !equal_at(v, other, depth))
                        return false;
                hint = other->next;
        }
        return true;
}

static bool elements_equal(const struct json_value *a, const struct json_value *b, unsigned depth)
{
        const struct json_value *w = b->first;

        for (const struct json_value *v = a->first; v; v = v->next, w = w->next)
                if (!equal_at(v, w, depth))
                        return false;
        return true;
}

static bool equal_at(const struct json_value *a, const struct json_value *b, unsigned depth)
{
        assert(depth < JSON_WALK_DEPTH);
        if (json_type(a) != json_type(b))
                return false;
        switch (json_type(a)) {
        case JSON_NULL:
        case JSON_FALSE:
        case JSON_TRUE:
                return true;
        case JSON_NUMBER:
                return json_text_is(a->text, a->len, b->text, b->len) || json_number_equal(a->text, b->text);
        case JSON_STRING:
                return json_text_is(a->text, a->len, b->text, b->len);
        case JSON_ARRAY:
                return a->len == b->len && elements_equal(a, b, depth + 1);
        case JSON_OBJECT:
                return a->len == b->len && members_equal(a, b, depth + 1);
        }
        return false;
}

bool json_equal(const struct json_value *a, const struct json_value *b)
{
        return a == b || equal_at(a, b, 0);
}
