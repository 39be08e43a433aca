/* SPDX-License-Identifier: Apache-2.0 */
#include "json/pointer.h"

#include <assert.h>

struct diff {
        struct json_doc *doc;
        struct json_value *operations;
        GString *path; /* of the values being compared */
};

static void emit(struct diff *diff, const char *operation, const struct json_value *value)
{
        struct json_value *entry = json_append(diff->operations, json_new(diff->doc, JSON_OBJECT));

        json_set_string(diff->doc, entry, "op", operation);
        json_set(diff->doc, entry, "path", json_new_string_len(diff->doc, diff->path->str, diff->path->len));
        if (value)
                json_set(diff->doc, entry, "value", json_copy(diff->doc, value));
}

static void diff_at(struct diff *diff, const struct json_value *from, const struct json_value *to, unsigned depth);

/* One member under its own path: @from or @to is NULL where it is missing. */
static void diff_member(struct diff *diff, const struct json_value *from, const struct json_value *to, unsigned depth)
{
        const struct json_value *named = from ? from : to;
        size_t len = diff->path->len;

        json_pointer_append(diff->path, named->key, named->key_len);
        if (!to)
                emit(diff, "remove", NULL);
        else if (!from)
                emit(diff, "add", to);
        else
                diff_at(diff, from, to, depth + 1);
        g_string_truncate(diff->path, len);
}

static void diff_at(struct diff *diff, const struct json_value *from, const struct json_value *to, unsigned depth)
{
        assert(depth < JSON_WALK_DEPTH);
        if (!json_is(from, JSON_OBJECT) || !json_is(to, JSON_OBJECT)) {
                if (!json_equal(from, to))
                        emit(diff, "replace", to ? to : json_new(diff->doc, JSON_NULL));
                return;
        }
        for (const struct json_value *v = from->first; v; v = v->next)
                diff_member(diff, v, json_get_len(to, v->key, v->key_len), depth);
        for (const struct json_value *v = to->first; v; v = v->next)
                if (!json_get_len(from, v->key, v->key_len))
                        diff_member(diff, NULL, v, depth);
}

struct json_value *json_diff(struct json_doc *doc, const struct json_value *from, const struct json_value *to)
{
        g_autoptr(GString) path = g_string_sized_new(64);
        struct diff diff = {.doc = doc, .path = path};

        assert(doc);
        diff.operations = json_new(doc, JSON_ARRAY);
        diff_at(&diff, from, to, 0);
        return diff.operations;
}
