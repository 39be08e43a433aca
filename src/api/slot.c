/* SPDX-License-Identifier: Apache-2.0 */
#include "api/slot.h"

#include <assert.h>
#include <string.h>

struct slot slot_of_kind(const struct schema_kind *kind)
{
        assert(kind);
        return (struct slot){.type = kind->type};
}

static enum slot_form form_of_list(const struct schema_field *field)
{
        static const enum slot_form forms[] = {
                [SCHEMA_SINGLE] = SLOT_LEAF,    [SCHEMA_LIST_ATOMIC] = SLOT_LEAF, [SCHEMA_LIST_SET] = SLOT_SET,
                [SCHEMA_LIST_MAP] = SLOT_KEYED, [SCHEMA_MAP] = SLOT_LEAF,
        };

        return forms[field->shape];
}

enum slot_form slot_form(const struct slot *slot, const struct json_value *value)
{
        const struct schema_field *field = slot->field;

        if (json_is(value, JSON_ARRAY))
                return field && !slot->element ? form_of_list(field) : SLOT_LEAF;
        if (!json_is(value, JSON_OBJECT))
                return SLOT_LEAF;
        if (!field || slot->element || field->shape == SCHEMA_SINGLE)
                return !field || field->value == SCHEMA_OBJECT || field->value == SCHEMA_ANY ? SLOT_STRUCT : SLOT_LEAF;
        return field->shape == SCHEMA_MAP ? SLOT_MAP : SLOT_LEAF;
}

bool slot_is_list(enum slot_form form)
{
        return form == SLOT_SET || form == SLOT_KEYED;
}

static const struct schema_field *field_called(const struct schema_type *type, const char *name)
{
        for (const struct schema_field *field = type ? type->fields : NULL; field && field->name; field++)
                if (strcmp(field->name, name) == 0)
                        return field;
        return NULL;
}

static struct slot slot_of_field(const struct schema_field *field, bool element)
{
        return (struct slot){
                .field = field, .type = field && field->value == SCHEMA_OBJECT ? field->type : NULL, .element = element};
}

struct slot slot_child(const struct slot *slot, enum slot_form form, const struct json_value *child)
{
        assert(form != SLOT_LEAF);
        if (form == SLOT_STRUCT)
                return slot_of_field(field_called(slot->type, json_key(child)), false);
        return slot_of_field(slot->field, true);
}

bool slot_child_nullable(const struct slot *slot)
{
        return slot->field && ((slot->field->flags & SCHEMA_NULLABLE) || slot->field->value == SCHEMA_ANY);
}

static int by_text(const void *a, const void *b)
{
        return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The keys of an element as JSON, in the order of their names; what is absent stands as null. */
static void append_keys(const struct schema_field *field, const struct json_value *element, GString *name)
{
        g_autoptr(GPtrArray) keys = g_ptr_array_new();

        for (const char *const *key = field->list_keys; *key; key++)
                g_ptr_array_add(keys, (void *)*key);
        g_ptr_array_sort(keys, by_text);
        g_string_append_c(name, '{');
        for (guint i = 0; i < keys->len; i++) {
                const struct json_value *value = json_get(element, keys->pdata[i]);

                if (i)
                        g_string_append_c(name, ',');
                json_write_string(keys->pdata[i], strlen(keys->pdata[i]), name);
                g_string_append_c(name, ':');
                if (value)
                        json_write(value, name);
                else
                        g_string_append(name, "null");
        }
        g_string_append_c(name, '}');
}

const char *slot_name(const struct slot *slot, enum slot_form form, const struct json_value *child, GString *name)
{
        assert(slot && name && form != SLOT_LEAF);
        if (!slot_is_list(form)) {
                g_string_assign(name, "f:");
                g_string_append(name, json_key(child));
        } else if (form == SLOT_KEYED) {
                g_string_assign(name, "k:");
                append_keys(slot->field, child, name);
        } else {
                g_string_assign(name, "v:");
                json_write(child, name);
        }
        return name->str;
}

GHashTable *slot_index(const struct slot *slot, enum slot_form form, const struct json_value *list)
{
        GHashTable *index = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_autoptr(GString) name = g_string_new(NULL);

        assert(slot_is_list(form));
        for (struct json_value *child = json_first(list); child; child = json_next(child)) {
                slot_name(slot, form, child, name);
                if (!g_hash_table_contains(index, name->str))
                        g_hash_table_insert(index, g_strdup(name->str), child);
        }
        return index;
}

struct json_value *slot_find(const struct json_value *container, GHashTable *index, const char *name)
{
        if (index)
                return g_hash_table_lookup(index, name);
        return g_str_has_prefix(name, "f:") ? json_get(container, name + 2) : NULL;
}

void slot_refill(struct json_doc *doc, struct json_value *container, const GPtrArray *left)
{
        g_autoptr(GPtrArray) keys = g_ptr_array_new();
        bool list = json_is(container, JSON_ARRAY);

        assert(doc && container && left);
        for (guint i = 0; i < left->len; i++)
                g_ptr_array_add(keys, (void *)json_key(left->pdata[i]));
        /* Unlinked from the front, which is cheap however many there are. */
        while (json_length(container)) {
                if (list)
                        json_remove_at(container, 0);
                else
                        json_remove(container, json_key(json_first(container)));
        }
        for (guint i = 0; i < left->len; i++) {
                if (list)
                        json_append(container, left->pdata[i]);
                else
                        json_set(doc, container, keys->pdata[i], left->pdata[i]);
        }
}
