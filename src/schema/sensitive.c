/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/walk.h"

#include <assert.h>

#define HIDDEN       "(hidden)"
#define LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"

static void hide_container(struct json_doc *doc, struct json_value *container)
{
        for (struct json_value *value = json_first(container); value;) {
                const char *key = json_key(value);

                if (key)
                        value = json_set(doc, container, key, json_new_string(doc, HIDDEN));
                value = json_next(value);
        }
}

static void hide_field(struct json_doc *doc, struct json_value *object, const struct schema_field *field, struct json_value *value)
{
        struct json_value *list;
        size_t n = json_length(value);

        if (json_is(value, JSON_OBJECT)) {
                hide_container(doc, value);
                return;
        }
        if (!json_is(value, JSON_ARRAY)) {
                json_set_string(doc, object, field->name, HIDDEN);
                return;
        }
        list = json_new(doc, JSON_ARRAY);
        for (size_t i = 0; i < n; i++)
                json_append(list, json_new_string(doc, HIDDEN));
        json_set(doc, object, field->name, list);
}

static void clear_type(const struct schema_type *type, struct json_doc *doc, struct json_value *object, unsigned depth)
{
        assert(depth <= WALK_DEPTH_MAX);
        for (const struct schema_field *field = type->fields; field->name; field++) {
                struct json_value *value = json_get(object, field->name);

                if (!value || json_is(value, JSON_NULL))
                        continue;
                if (field->flags & SCHEMA_SENSITIVE)
                        hide_field(doc, object, field, value);
                else if (field->value == SCHEMA_OBJECT && json_is(value, JSON_OBJECT))
                        clear_type(field->type, doc, value, depth + 1);
                else if (field->value == SCHEMA_OBJECT)
                        for (struct json_value *element = json_first(value); element; element = json_next(element))
                                clear_type(field->type, doc, element, depth + 1);
        }
}

static bool has_sensitive(const struct schema_type *type, unsigned depth)
{
        assert(depth <= WALK_DEPTH_MAX);
        for (const struct schema_field *field = type->fields; field->name; field++)
                if ((field->flags & SCHEMA_SENSITIVE) || (field->value == SCHEMA_OBJECT && has_sensitive(field->type, depth + 1)))
                        return true;
        return false;
}

void schema_clear_sensitive(const struct schema_kind *kind, struct json_doc *doc, struct json_value *object)
{
        struct json_value *annotations = json_find(object, "metadata", "annotations", NULL);

        assert(kind && doc);
        if (!json_is(object, JSON_OBJECT) || !has_sensitive(kind->type, 1))
                return;
        clear_type(kind->type, doc, object, 1);
        if (json_get(annotations, LAST_APPLIED))
                json_set_string(doc, annotations, LAST_APPLIED, HIDDEN);
}
