/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/walk.h"

#include <assert.h>

static bool same_type(const struct schema_type *type, const struct json_value *a, const struct json_value *b, unsigned depth);

static bool same_list(const struct schema_type *type, const struct json_value *a, const struct json_value *b, unsigned depth)
{
        const struct json_value *x = json_first(a), *y = json_first(b);

        for (; x && y; x = json_next(x), y = json_next(y))
                if (!same_type(type, x, y, depth))
                        return false;
        return !x && !y;
}

static bool same_field(const struct schema_field *field, const struct json_value *a, const struct json_value *b, unsigned depth)
{
        if (!field || field->value != SCHEMA_OBJECT || json_type(a) != json_type(b))
                return a && b && json_equal(a, b);
        if (json_is(a, JSON_ARRAY))
                return same_list(field->type, a, b, depth + 1);
        return same_type(field->type, a, b, depth + 1);
}

/* An object that holds volatile members only, and absence of it, are the same. */
static bool only_volatile(const struct schema_type *type, const struct json_value *object, unsigned depth)
{
        assert(depth <= WALK_DEPTH_MAX);
        for (const struct json_value *value = json_first(object); value; value = json_next(value)) {
                const struct schema_field *field = walk_field(type, json_key(value));

                if (!field || !(field->flags & SCHEMA_VOLATILE))
                        return false;
        }
        return true;
}

static bool same_member(const struct schema_type *type, const struct json_value *value, const struct json_value *other,
                        unsigned depth)
{
        const struct schema_field *field = walk_field(type, json_key(value));

        if (field && (field->flags & SCHEMA_VOLATILE))
                return true;
        if (!other && field && field->value == SCHEMA_OBJECT && json_is(value, JSON_OBJECT))
                return only_volatile(field->type, value, depth + 1);
        return same_field(field, value, other, depth);
}

static bool same_type(const struct schema_type *type, const struct json_value *a, const struct json_value *b, unsigned depth)
{
        assert(depth <= WALK_DEPTH_MAX);
        if (!json_is(a, JSON_OBJECT) || !json_is(b, JSON_OBJECT))
                return json_equal(a, b);
        for (const struct json_value *value = json_first(a); value; value = json_next(value))
                if (!same_member(type, value, json_get(b, json_key(value)), depth))
                        return false;
        for (const struct json_value *value = json_first(b); value; value = json_next(value))
                if (!json_get(a, json_key(value)) && !same_member(type, value, NULL, depth))
                        return false;
        return true;
}

bool schema_changes_only_volatile(const struct schema_kind *kind, const struct json_value *a, const struct json_value *b)
{
        assert(kind);
        return same_type(kind->type, a, b, 1);
}
