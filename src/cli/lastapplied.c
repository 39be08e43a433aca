/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/lastapplied.h"

#include "base/limits.h"

#include <assert.h>
#include <string.h>

/*
 * kubectl keeps the manifest in an annotation. The text here is that of kubectl byte for byte (sorted keys, an empty map of
 * annotations at least, the namespace, a line feed at the end), so that the two programs may take turns on an object without seeing
 * changes where there are none.
 */

static int by_key(const void *a, const void *b)
{
        return g_strcmp0(json_key(*(const struct json_value *const *)a), json_key(*(const struct json_value *const *)b));
}

static struct json_value *sorted(struct json_doc *doc, const struct json_value *value, unsigned depth)
{
        assert(depth <= LIMIT_JSON_DEPTH);

        if (json_is(value, JSON_ARRAY)) {
                struct json_value *array = json_new(doc, JSON_ARRAY);
                for (const struct json_value *v = json_first(value); v; v = json_next(v))
                        json_append(array, sorted(doc, v, depth + 1));
                return array;
        }
        if (!json_is(value, JSON_OBJECT))
                return json_copy(doc, value);
        g_autoptr(GPtrArray) members = g_ptr_array_new();
        struct json_value *object = json_new(doc, JSON_OBJECT);
        for (struct json_value *v = json_first(value); v; v = json_next(v))
                g_ptr_array_add(members, v);
        g_ptr_array_sort(members, by_key);
        for (guint i = 0; i < members->len; i++)
                json_set(doc, object, json_key(members->pdata[i]), sorted(doc, members->pdata[i], depth + 1));
        return object;
}

/* Go writes these as escapes in strings; elsewhere in JSON they do not stand. */
static char *escaped(const char *text)
{
        GString *out = g_string_new(NULL);

        for (const char *c = text; *c; c++) {
                if (strchr("<>&", *c))
                        g_string_append_printf(out, "\\u%04x", (unsigned)*c);
                else
                        g_string_append_c(out, *c);
        }
        g_string_append_c(out, '\n');
        return g_string_free(out, FALSE);
}

/* A manifest that `get -o yaml` printed has these; what they say is of the past. */
static void drop_what_the_gateway_writes(struct json_value *root, struct json_value *metadata)
{
        static const char *const members[] = {"creationTimestamp", "deletionGracePeriodSeconds",
                                              "deletionTimestamp", "generation",
                                              "managedFields",     "resourceVersion",
                                              "selfLink",          "uid"};

        json_remove(root, "status");
        for (size_t i = 0; i < G_N_ELEMENTS(members); i++)
                json_remove(metadata, members[i]);
}

void lastapplied_set(struct json_doc *doc, const char *namespace)
{
        assert(doc);

        struct json_value *metadata = json_ensure_object(doc, json_root(doc), "metadata");
        struct json_value *annotations = json_ensure_object(doc, metadata, "annotations");

        drop_what_the_gateway_writes(json_root(doc), metadata);
        json_remove(annotations, LASTAPPLIED);
        if (namespace)
                json_set_string(doc, metadata, "namespace", namespace);
        g_autofree char *compact = json_to_text(sorted(doc, json_root(doc), 0));
        g_autofree char *text = escaped(compact);
        json_set_string(doc, annotations, LASTAPPLIED, text);
}

/* What the last manifest had and this one has not is null; what differs from @live is set. Lists are replaced whole. */
static struct json_value *three_way(struct json_doc *doc, const struct json_value *last, const struct json_value *wanted,
                                    const struct json_value *live, unsigned depth)
{
        struct json_value *patch = json_new(doc, JSON_OBJECT);

        if (depth > LIMIT_JSON_DEPTH)
                return patch;
        for (const struct json_value *w = json_first(wanted); w; w = json_next(w)) {
                const struct json_value *l = json_get(live, json_key(w));
                if (json_is(w, JSON_OBJECT) && json_is(l, JSON_OBJECT)) {
                        struct json_value *inner = three_way(doc, json_get(last, json_key(w)), w, l, depth + 1);
                        if (json_length(inner) > 0)
                                json_set(doc, patch, json_key(w), inner);
                } else if (l ? !json_equal(w, l) : !json_is(w, JSON_NULL)) {
                        json_set(doc, patch, json_key(w), json_copy(doc, w));
                }
        }
        for (const struct json_value *b = json_first(last); b; b = json_next(b))
                if (!json_get(wanted, json_key(b)) && json_get(live, json_key(b)))
                        json_set(doc, patch, json_key(b), json_new(doc, JSON_NULL));
        return patch;
}

struct json_value *lastapplied_patch(struct json_doc *doc, const struct json_value *live)
{
        assert(doc && live);

        const struct json_value *annotations = json_find(live, "metadata", "annotations", NULL);
        const char *before = json_string(json_get(annotations, LASTAPPLIED), NULL);
        g_autoptr(json_doc) last = NULL;

        if (before && json_parse(before, strlen(before), &last, NULL))
                last = NULL;
        struct json_value *patch = three_way(doc, last ? json_root(last) : NULL, json_root(doc), live, 0);
        json_remove(patch, "apiVersion");
        json_remove(patch, "kind");
        /* Whoever put a finalizer there takes it away, also when an earlier manifest had a copy of it. */
        struct json_value *metadata = json_get(patch, "metadata");
        if (json_is(json_get(metadata, "finalizers"), JSON_NULL)) {
                json_remove(metadata, "finalizers");
                if (json_length(metadata) == 0)
                        json_remove(patch, "metadata");
        }
        return patch;
}
