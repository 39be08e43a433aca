/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/walk.h"

#include <assert.h>
#include <string.h>

static struct json_value *new_default(struct json_doc *doc, const char *text)
{
        size_t len = strlen(text);
        struct json_doc *parsed = NULL;
        struct json_value *value;
        int r;

        if (text[0] == '"' && !strchr(text, '\\'))
                return json_new_string_len(doc, text + 1, len - 2);
        if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
                return json_new_bool(doc, text[0] == 't');
        if (strcmp(text, "{}") == 0)
                return json_new(doc, JSON_OBJECT);
        r = json_parse(text, len, &parsed, NULL);
        assert(r == 0); /* the generator wrote it */
        value = json_copy(doc, json_root_const(parsed));
        json_doc_free(parsed);
        return value;
}

static void default_type(const struct schema_type *type, struct json_doc *doc, struct json_value *object, unsigned depth)
{
        assert(depth <= WALK_DEPTH_MAX);
        for (const struct schema_field *field = type->fields; field->name; field++) {
                struct json_value *value = json_get(object, field->name);

                if (!value && field->default_json)
                        value = json_set(doc, object, field->name, new_default(doc, field->default_json));
                if (!value || field->value != SCHEMA_OBJECT)
                        continue;
                if (field->shape == SCHEMA_SINGLE && json_is(value, JSON_OBJECT))
                        default_type(field->type, doc, value, depth + 1);
                if (field->shape == SCHEMA_SINGLE || !json_is(value, JSON_ARRAY))
                        continue;
                for (struct json_value *element = json_first(value); element; element = json_next(element))
                        if (json_is(element, JSON_OBJECT))
                                default_type(field->type, doc, element, depth + 1);
        }
}

void schema_default(const struct schema_kind *kind, struct json_doc *doc, struct json_value *object)
{
        assert(kind && doc);
        if (!json_is(object, JSON_OBJECT))
                return;
        default_type(kind->type, doc, object, 1);
        if (kind->prepare)
                kind->prepare(doc, object);
}
