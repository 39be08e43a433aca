/* SPDX-License-Identifier: Apache-2.0 */
#include "base/quantity.h"
#include "schema/walk.h"

#include <assert.h>

/* Quantities in the one form that Kubernetes writes: "1024Mi" is 1Gi, 0.5 is 500m. What is no quantity is left for the validation.
 */

static void canonical_member(struct json_doc *doc, struct json_value *object, const char *name, const struct json_value *old)
{
        const struct json_value *value = json_get(object, name);
        const char *text = json_string(value, NULL) ?: json_number_text(value);
        char canonical[QUANTITY_TEXT_MAX];

        if (!text || (old && json_equal(value, old)) || quantity_canonical(text, canonical) != 0)
                return;
        if (g_strcmp0(json_string(value, NULL), canonical) != 0)
                json_set_string(doc, object, name, canonical);
}

static void canonical_map(struct json_doc *doc, struct json_value *map, const struct json_value *old)
{
        g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);

        for (const struct json_value *value = json_first(map); value; value = json_next(value))
                g_ptr_array_add(names, g_strdup(json_key(value)));
        for (guint i = 0; i < names->len; i++)
                canonical_member(doc, map, names->pdata[i], json_get(old, names->pdata[i]));
}

static void canonical_type(const struct schema_type *type, struct json_doc *doc, struct json_value *object,
                           const struct json_value *old, unsigned depth)
{
        assert(depth <= WALK_DEPTH_MAX);
        for (const struct schema_field *field = type->fields; field->name; field++) {
                struct json_value *value = json_get(object, field->name);
                const struct json_value *before = json_get(old, field->name);

                if (!value)
                        continue;
                if (field->value == SCHEMA_QUANTITY && field->shape == SCHEMA_SINGLE)
                        canonical_member(doc, object, field->name, before);
                else if (field->value == SCHEMA_QUANTITY && field->shape == SCHEMA_MAP && json_is(value, JSON_OBJECT))
                        canonical_map(doc, value, before);
                else if (field->value == SCHEMA_OBJECT && field->shape == SCHEMA_SINGLE && json_is(value, JSON_OBJECT))
                        canonical_type(field->type, doc, value, before, depth + 1);
                else if (field->value == SCHEMA_OBJECT && json_is(value, JSON_ARRAY))
                        for (struct json_value *element = json_first(value); element; element = json_next(element))
                                if (json_is(element, JSON_OBJECT))
                                        canonical_type(field->type, doc, element, NULL, depth + 1);
        }
}

void schema_canonical(const struct schema_kind *kind, struct json_doc *doc, struct json_value *object, const struct json_value *old)
{
        assert(kind && doc);
        if (json_is(object, JSON_OBJECT))
                canonical_type(kind->type, doc, object, old, 1);
}
