/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/walk.h"

#include <assert.h>
#include <string.h>

#define SHOW_MAX 120 /* bytes of a value that a message repeats */

struct walk_path walk_member(const struct walk_path *up, const char *name)
{
        struct walk_path path = {.up = up, .name = name, .depth = up ? up->depth + 1 : 1};

        assert(name);
        assert(path.depth <= 2 * WALK_DEPTH_MAX);
        return path;
}

struct walk_path walk_element(const struct walk_path *up, size_t index)
{
        struct walk_path path = {.up = up, .index = index, .depth = up ? up->depth + 1 : 1};

        assert(path.depth <= 2 * WALK_DEPTH_MAX);
        return path;
}

char *walk_text(const struct walk_path *path)
{
        const struct walk_path *places[2 * WALK_DEPTH_MAX];
        GString *text = g_string_new(NULL);
        size_t n = 0;

        for (; path; path = path->up) {
                assert(n < G_N_ELEMENTS(places));
                places[n++] = path;
        }
        while (n-- > 0) {
                if (places[n]->name)
                        g_string_append_printf(text, "%s%s", text->len > 0 ? "." : "", places[n]->name);
                else
                        g_string_append_printf(text, "[%zu]", places[n]->index);
        }
        return g_string_free(text, FALSE);
}

void walk_fault(struct schema_faults *faults, const struct walk_path *path, const char *reason, const char *format, ...)
{
        g_autofree char *field = walk_text(path);
        g_autofree char *message = NULL;
        va_list arguments;

        assert(faults && reason && format);
        va_start(arguments, format);
        message = g_strdup_vprintf(format, arguments);
        va_end(arguments);
        schema_faults_add(faults, field, reason, "%s", message);
}

char *walk_show(const struct json_value *value, unsigned flags)
{
        GString *text = g_string_new(NULL);

        if (flags & SCHEMA_SENSITIVE) {
                g_string_append(text, "(hidden)");
                return g_string_free(text, FALSE);
        }
        json_write(value, text);
        if (text->len > SHOW_MAX) {
                const char *end = g_utf8_find_prev_char(text->str, text->str + SHOW_MAX);

                g_string_truncate(text, end ? (gsize)(end - text->str) : 0);
                g_string_append(text, "…");
        }
        return g_string_free(text, FALSE);
}

const struct schema_field *walk_field(const struct schema_type *type, const char *name)
{
        assert(type && name);
        for (const struct schema_field *field = type->fields; field->name; field++)
                if (strcmp(field->name, name) == 0)
                        return field;
        return NULL;
}

bool walk_same_keys(const struct schema_field *field, const struct json_value *a, const struct json_value *b)
{
        assert(field && field->list_keys);
        for (const char *const *key = field->list_keys; *key; key++)
                if (!json_equal(json_get(a, *key), json_get(b, *key)))
                        return false;
        return true;
}

struct json_value *walk_find_by_keys(const struct schema_field *field, const struct json_value *list,
                                     const struct json_value *element)
{
        for (struct json_value *other = json_first(list); other; other = json_next(other))
                if (walk_same_keys(field, other, element))
                        return other;
        return NULL;
}
