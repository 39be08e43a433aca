/* SPDX-License-Identifier: Apache-2.0 */
#include "store/delta.h"

#include "base/error.h"

#include <string.h>

#define DELTA_DEPTH 32u

struct delta_walk {
        const struct schema_type *seen[256];
        size_t n_seen;
};

static bool delta_walk_sensitive(struct delta_walk *walk, const struct schema_type *type, unsigned depth)
{
        for (size_t i = 0; i < walk->n_seen; i++)
                if (walk->seen[i] == type)
                        return false;
        /* A table beyond these bounds counts as sensitive: clearing too much work is the safe side. */
        if (depth == 0 || walk->n_seen == G_N_ELEMENTS(walk->seen))
                return true;
        walk->seen[walk->n_seen++] = type;
        for (const struct schema_field *field = type->fields; field->name; field++) {
                if (field->flags & SCHEMA_SENSITIVE)
                        return true;
                if (field->type && delta_walk_sensitive(walk, field->type, depth - 1))
                        return true;
        }
        return false;
}

bool delta_kind_is_sensitive(const struct schema_kind *kind)
{
        struct delta_walk walk = {0};

        return !kind->type || delta_walk_sensitive(&walk, kind->type, DELTA_DEPTH);
}

static struct json_value *delta_copy_cleared(const struct schema_kind *kind, struct json_doc *doc, const struct json_value *object)
{
        struct json_value *copy = json_copy(doc, object);

        schema_clear_sensitive(kind, doc, copy);
        return copy;
}

static char *delta_between(const struct row *row, const struct json_value *from, const struct json_value *to)
{
        const struct schema_kind *kind = row->object->public.kind;
        g_autoptr(json_doc) doc = json_doc_new();

        if (!row->sensitive)
                return json_to_text(json_diff(doc, from, to));
        return json_to_text(json_diff(doc, delta_copy_cleared(kind, doc, from), delta_copy_cleared(kind, doc, to)));
}

static char *delta_from_nothing(const struct schema_kind *kind, const struct json_value *to)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *operations = json_new(doc, JSON_ARRAY), *add = json_new(doc, JSON_OBJECT);

        json_set_string(doc, add, "op", "add");
        json_set_string(doc, add, "path", "");
        json_set(doc, add, "value", delta_copy_cleared(kind, doc, to));
        json_append(operations, add);
        return json_to_text(operations);
}

char *delta_of_row(const struct row *row)
{
        const struct schema_kind *kind = row->object->public.kind;
        const struct version *kept = row->previous && row->previous->base ? row->previous->base : row->previous;

        if (row->keep == ROW_WINDOW || kind->sealed || row->verb == STORE_CREATE)
                return NULL;
        assert(kept && kept->public.root);
        if (row->verb == STORE_DELETE)
                return delta_from_nothing(kind, kept->public.root);
        assert(row->object->public.root);
        return delta_between(row, row->object->public.root, kept->public.root);
}

void commit_prepare(struct commit *commit)
{
        for (size_t i = 0; i < commit->n_rows; i++)
                commit->rows[i].delta = delta_of_row(&commit->rows[i]);
}

struct json_doc *delta_apply(const struct json_value *object, const char *delta)
{
        g_autoptr(json_doc) operations = NULL;
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *value;

        if (json_parse(delta, strlen(delta), &operations, NULL) != 0)
                return NULL;
        if (json_patch(doc, object, json_root(operations), &value, NULL) != 0)
                return NULL;
        json_set_root(doc, value);
        return g_steal_pointer(&doc);
}
