/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/walk.h"

#include <assert.h>
#include <string.h>

/* Between JSON and the typed views: every member stands at the offset that its field names. */

static void *at(const void *view, size_t offset)
{
        return (char *)view + offset;
}

/* --- decode ----------------------------------------------------------------------------------------------------------------------
 */

struct decoding {
        struct arena *arena;
        const struct schema_keep *keep; /* NULL: the view borrows */
};

static const char *keep_text(const struct decoding *decoding, const char *text)
{
        return text && decoding->keep ? decoding->keep->text(decoding->keep->userdata, text) : text;
}

static const struct json_value *keep_any(const struct decoding *decoding, const struct json_value *value)
{
        return decoding->keep ? decoding->keep->any(decoding->keep->userdata, value) : value;
}

static void *decode_object(const struct schema_type *type, const struct json_value *value, struct decoding *decoding,
                           unsigned depth);

static const char *decode_text(const struct schema_field *field, const struct json_value *value)
{
        const char *text = json_string(value, NULL);

        if (!text && (field->value == SCHEMA_QUANTITY || field->value == SCHEMA_INT_OR_STRING))
                text = json_number_text(value);
        return text;
}

static size_t element_size(const struct schema_field *field)
{
        switch (field->value) {
        case SCHEMA_INT:
                return sizeof(int64_t);
        case SCHEMA_BOOL:
                return sizeof(bool);
        case SCHEMA_OBJECT:
                return field->type->size;
        default:
                return sizeof(void *);
        }
}

static void decode_into(const struct schema_type *type, const struct json_value *value, void *view, struct decoding *decoding,
                        unsigned depth);

/* One element of a list; false when it has the wrong type. */
static bool decode_element(const struct schema_field *field, const struct json_value *value, void *slot, struct decoding *decoding,
                           unsigned depth)
{
        switch (field->value) {
        case SCHEMA_INT:
                return json_int64(value, slot) == 0;
        case SCHEMA_BOOL:
                *(bool *)slot = json_bool(value, false);
                return json_is_bool(value);
        case SCHEMA_OBJECT:
                if (!json_is(value, JSON_OBJECT))
                        return false;
                decode_into(field->type, value, slot, decoding, depth + 1);
                return true;
        case SCHEMA_ANY:
                *(const struct json_value **)slot = keep_any(decoding, value);
                return true;
        default:
                *(const char **)slot = keep_text(decoding, decode_text(field, value));
                return *(const char **)slot != NULL;
        }
}

static void decode_list(const struct schema_field *field, const struct json_value *list, void *view, struct decoding *decoding,
                        unsigned depth)
{
        size_t size = element_size(field), count = 0;
        char *elements;

        if (!json_is(list, JSON_ARRAY))
                return;
        elements = arena_array(decoding->arena, MAX(json_length(list), 1), size);
        for (const struct json_value *value = json_first(list); value; value = json_next(value))
                count += decode_element(field, value, elements + count * size, decoding, depth);
        *(void **)at(view, field->offset) = elements;
        *(size_t *)at(view, field->count_offset) = count;
}

static void decode_map(const struct schema_field *field, const struct json_value *map, void *view, struct decoding *decoding)
{
        struct api_pair *pairs;
        size_t count = 0;

        if (!json_is(map, JSON_OBJECT))
                return;
        pairs = arena_array(decoding->arena, MAX(json_length(map), 1), sizeof(*pairs));
        for (const struct json_value *value = json_first(map); value; value = json_next(value)) {
                const char *text = decode_text(field, value);

                if (text)
                        pairs[count++] =
                                (struct api_pair){.key = keep_text(decoding, json_key(value)), .value = keep_text(decoding, text)};
        }
        *(struct api_pair **)at(view, field->offset) = pairs;
        *(size_t *)at(view, field->count_offset) = count;
}

static void decode_single(const struct schema_field *field, const struct json_value *value, void *view, struct decoding *decoding,
                          unsigned depth)
{
        void *slot = at(view, field->offset);

        switch (field->value) {
        case SCHEMA_INT:
                *(bool *)at(view, field->has_offset) = json_int64(value, slot) == 0;
                break;
        case SCHEMA_BOOL:
                *(bool *)slot = json_bool(value, false);
                *(bool *)at(view, field->has_offset) = json_is_bool(value);
                break;
        case SCHEMA_OBJECT:
                *(void **)slot = decode_object(field->type, value, decoding, depth + 1);
                break;
        case SCHEMA_ANY:
                *(const struct json_value **)slot = keep_any(decoding, value);
                break;
        default:
                *(const char **)slot = keep_text(decoding, decode_text(field, value));
                break;
        }
}

static void decode_into(const struct schema_type *type, const struct json_value *value, void *view, struct decoding *decoding,
                        unsigned depth)
{
        assert(depth <= WALK_DEPTH_MAX);
        for (const struct schema_field *field = type->fields; field->name; field++) {
                const struct json_value *member = json_get(value, field->name);

                if (!member || json_is(member, JSON_NULL) || (field->flags & SCHEMA_UNVIEWED))
                        continue;
                if (field->shape == SCHEMA_SINGLE)
                        decode_single(field, member, view, decoding, depth);
                else if (field->shape == SCHEMA_MAP)
                        decode_map(field, member, view, decoding);
                else
                        decode_list(field, member, view, decoding, depth);
        }
}

static void *decode_object(const struct schema_type *type, const struct json_value *value, struct decoding *decoding,
                           unsigned depth)
{
        void *view;

        if (!json_is(value, JSON_OBJECT))
                return NULL;
        view = arena_alloc(decoding->arena, type->size);
        decode_into(type, value, view, decoding, depth);
        return view;
}

void *schema_decode(const struct schema_type *type, const struct json_value *value, struct arena *arena)
{
        struct decoding decoding = {.arena = arena};

        assert(type && arena);
        return decode_object(type, value, &decoding, 1);
}

void *schema_decode_apart(const struct schema_type *type, const struct json_value *value, struct arena *arena,
                          const struct schema_keep *keep)
{
        struct decoding decoding = {.arena = arena, .keep = keep};

        assert(type && arena && keep && keep->text && keep->any);
        return decode_object(type, value, &decoding, 1);
}

/* --- encode ----------------------------------------------------------------------------------------------------------------------
 */

static void overlay_type(const struct schema_type *type, const void *view, struct json_doc *doc, struct json_value *target,
                         unsigned depth);

static struct json_value *encode_object(const struct schema_type *type, const void *view, struct json_doc *doc, unsigned depth)
{
        struct json_value *object = json_new(doc, JSON_OBJECT);

        overlay_type(type, view, doc, object, depth);
        return object;
}

static bool is_whole_number(const char *text)
{
        size_t digits = strspn(text, "0123456789");

        return digits > 0 && digits < 19 && text[digits] == '\0' && (text[0] != '0' || digits == 1);
}

static struct json_value *encode_text(const struct schema_field *field, const char *text, struct json_doc *doc)
{
        if (field->value == SCHEMA_INT_OR_STRING && is_whole_number(text))
                return json_new_number(doc, text);
        return json_new_string(doc, text);
}

/* An element of a list; NULL: nothing to write. */
static struct json_value *encode_element(const struct schema_field *field, const void *slot, struct json_doc *doc, unsigned depth)
{
        const char *text;

        switch (field->value) {
        case SCHEMA_INT:
                return json_new_int(doc, *(const int64_t *)slot);
        case SCHEMA_BOOL:
                return json_new_bool(doc, *(const bool *)slot);
        case SCHEMA_OBJECT:
                return encode_object(field->type, slot, doc, depth + 1);
        case SCHEMA_ANY:
                return *(struct json_value *const *)slot ? json_copy(doc, *(struct json_value *const *)slot) : NULL;
        default:
                text = *(const char *const *)slot;
                return text ? encode_text(field, text, doc) : NULL;
        }
}

static struct json_value *encode_list(const struct schema_field *field, const void *view, struct json_doc *doc,
                                      const struct json_value *before, unsigned depth)
{
        const char *elements = *(void *const *)at(view, field->offset);
        size_t count = *(const size_t *)at(view, field->count_offset);
        struct json_value *list;

        if (!elements)
                return NULL;
        list = json_new(doc, JSON_ARRAY);
        for (size_t i = 0; i < count; i++) {
                const void *slot = elements + i * element_size(field);
                struct json_value *value = encode_element(field, slot, doc, depth);
                const struct json_value *old =
                        value && field->shape == SCHEMA_LIST_MAP ? walk_find_by_keys(field, before, value) : NULL;

                if (old) {
                        value = json_copy(doc, old);
                        overlay_type(field->type, slot, doc, value, depth + 1);
                }
                if (value)
                        json_append(list, value);
        }
        return list;
}

static struct json_value *encode_map(const struct schema_field *field, const void *view, struct json_doc *doc)
{
        const struct api_pair *pairs = *(struct api_pair *const *)at(view, field->offset);
        size_t count = *(const size_t *)at(view, field->count_offset);
        struct json_value *map;

        if (!pairs)
                return NULL;
        map = json_new(doc, JSON_OBJECT);
        for (size_t i = 0; i < count; i++)
                json_set_string(doc, map, pairs[i].key, pairs[i].value ?: "");
        return map;
}

static struct json_value *encode_single(const struct schema_field *field, const void *view, struct json_doc *doc, unsigned depth)
{
        const void *slot = at(view, field->offset);

        if (field->has_offset && !*(const bool *)at(view, field->has_offset))
                return NULL;
        if (field->value != SCHEMA_OBJECT)
                return encode_element(field, slot, doc, depth);
        return *(void *const *)slot ? encode_object(field->type, *(void *const *)slot, doc, depth + 1) : NULL;
}

static void overlay_field(const struct schema_field *field, const void *view, struct json_doc *doc, struct json_value *target,
                          unsigned depth)
{
        struct json_value *before = json_get(target, field->name), *value;

        if (field->shape == SCHEMA_SINGLE && field->value == SCHEMA_OBJECT && json_is(before, JSON_OBJECT)) {
                const void *part = *(void *const *)at(view, field->offset);

                if (part)
                        overlay_type(field->type, part, doc, before, depth + 1);
                else
                        json_remove(target, field->name);
                return;
        }
        if (field->shape == SCHEMA_SINGLE)
                value = encode_single(field, view, doc, depth);
        else if (field->shape == SCHEMA_MAP)
                value = encode_map(field, view, doc);
        else
                value = encode_list(field, view, doc, before, depth);
        if (value)
                json_set(doc, target, field->name, value);
        else
                json_remove(target, field->name);
}

static void overlay_type(const struct schema_type *type, const void *view, struct json_doc *doc, struct json_value *target,
                         unsigned depth)
{
        assert(depth <= WALK_DEPTH_MAX);
        for (const struct schema_field *field = type->fields; field->name; field++)
                if (!(field->flags & SCHEMA_UNVIEWED))
                        overlay_field(field, view, doc, target, depth);
}

struct json_value *schema_encode(const struct schema_type *type, const void *view, struct json_doc *doc)
{
        assert(type && doc);
        return view ? encode_object(type, view, doc, 1) : NULL;
}

void schema_overlay(const struct schema_type *type, const void *view, struct json_doc *doc, struct json_value *target)
{
        assert(type && view && doc);
        assert(json_is(target, JSON_OBJECT));
        overlay_type(type, view, doc, target, 1);
}
