/* SPDX-License-Identifier: Apache-2.0 */
#include "json/json_value.h"

#include <assert.h>

static struct json_value *merge_at(struct json_doc *doc, const struct json_value *target, const struct json_value *patch,
                                   unsigned depth);

static void append(struct json_doc *doc, struct json_value *object, const struct json_value *named, struct json_value *value)
{
        json_object_append(doc, object, arena_strndup(doc->arena, named->key, named->key_len), named->key_len, value);
}

/* The result is built anew, so that a patch with many members costs no more than their number. */
static struct json_value *merge_objects(struct json_doc *doc, const struct json_value *target, const struct json_value *patch,
                                        unsigned depth)
{
        struct json_value *merged = json_new_raw(doc, JSON_OBJECT);

        if (!json_is(target, JSON_OBJECT))
                target = NULL;
        for (const struct json_value *t = json_first(target); t; t = t->next) {
                const struct json_value *p = json_get_len(patch, t->key, t->key_len);

                if (!p)
                        append(doc, merged, t, json_copy(doc, t));
                else if (p->type != JSON_NULL)
                        append(doc, merged, t, merge_at(doc, t, p, depth + 1));
        }
        for (const struct json_value *p = patch->first; p; p = p->next)
                if (p->type != JSON_NULL && !json_get_len(target, p->key, p->key_len))
                        append(doc, merged, p, merge_at(doc, NULL, p, depth + 1));
        return merged;
}

static struct json_value *merge_at(struct json_doc *doc, const struct json_value *target, const struct json_value *patch,
                                   unsigned depth)
{
        assert(depth < JSON_WALK_DEPTH);
        if (!json_is(patch, JSON_OBJECT))
                return json_copy(doc, patch);
        return merge_objects(doc, target, patch, depth);
}

struct json_value *json_merge_patch(struct json_doc *doc, const struct json_value *target, const struct json_value *patch)
{
        assert(doc);
        return merge_at(doc, target, patch, 0);
}
