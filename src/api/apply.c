/* SPDX-License-Identifier: Apache-2.0 */
#include "api/apply.h"
#include "api/slot.h"
#include "base/limits.h"

#include <assert.h>
#include <string.h>

#define DEPTH_MAX (LIMIT_JSON_DEPTH + LIMIT_JSON_WRAP)

static struct json_value *merge_at(struct json_doc *doc, const struct slot *slot, const struct json_value *live,
                                   const struct json_value *applied, unsigned depth);

static struct json_value *merge_members(struct json_doc *doc, const struct slot *slot, enum slot_form form,
                                        const struct json_value *live, const struct json_value *applied, unsigned depth)
{
        struct json_value *merged = json_new(doc, JSON_OBJECT);

        for (const struct json_value *old = json_first(live); old; old = json_next(old)) {
                const struct json_value *value = json_get(applied, json_key(old));
                struct slot place = slot_child(slot, form, old);

                json_set(doc, merged, json_key(old), value ? merge_at(doc, &place, old, value, depth + 1) : json_copy(doc, old));
        }
        for (const struct json_value *value = json_first(applied); value; value = json_next(value))
                if (!json_get(live, json_key(value)))
                        json_set(doc, merged, json_key(value), json_copy(doc, value));
        return merged;
}

struct list_merge {
        struct json_doc *doc;
        const struct slot *slot;
        enum slot_form form;
        GHashTable *live, *applied; /* by name; what is emitted is taken out of @applied */
        struct json_value *merged;
        GString *name;
        unsigned depth;
};

static void emit_applied(struct list_merge *merge, const struct json_value *value)
{
        const struct json_value *old;
        struct slot place = slot_child(merge->slot, merge->form, value);

        slot_name(merge->slot, merge->form, value, merge->name);
        old = g_hash_table_lookup(merge->live, merge->name->str);
        json_append(merge->merged, old ? merge_at(merge->doc, &place, old, value, merge->depth + 1) : json_copy(merge->doc, value));
        g_hash_table_remove(merge->applied, merge->name->str);
}

/*
 * Where the live list has an element that is applied too, the applied ones come in their own order up to it; what only the live
 * list has keeps its place between them.
 */
static struct json_value *merge_elements(struct json_doc *doc, const struct slot *slot, enum slot_form form,
                                         const struct json_value *live, const struct json_value *applied, unsigned depth)
{
        g_autoptr(GHashTable) live_index = slot_index(slot, form, live), left = slot_index(slot, form, applied),
                              shared = slot_index(slot, form, applied);
        g_autoptr(GString) name = g_string_new(NULL);
        struct list_merge merge = {.doc = doc,
                                   .slot = slot,
                                   .form = form,
                                   .live = live_index,
                                   .applied = left,
                                   .merged = json_new(doc, JSON_ARRAY),
                                   .name = name,
                                   .depth = depth};
        const struct json_value *next = json_first(applied);

        for (const struct json_value *old = json_first(live); old; old = json_next(old)) {
                g_autofree char *key = g_strdup(slot_name(slot, form, old, name));

                if (!g_hash_table_contains(shared, key)) {
                        json_append(merge.merged, json_copy(doc, old));
                        continue;
                }
                for (; next && g_hash_table_contains(left, key); next = json_next(next))
                        emit_applied(&merge, next);
        }
        for (; next; next = json_next(next))
                emit_applied(&merge, next);
        return merge.merged;
}

static struct json_value *merge_at(struct json_doc *doc, const struct slot *slot, const struct json_value *live,
                                   const struct json_value *applied, unsigned depth)
{
        enum slot_form form = depth < DEPTH_MAX ? slot_form(slot, applied) : SLOT_LEAF;

        if (form == SLOT_LEAF || slot_form(slot, live) != form)
                return json_copy(doc, applied);
        if (slot_is_list(form))
                return merge_elements(doc, slot, form, live, applied, depth);
        return merge_members(doc, slot, form, live, applied, depth);
}

struct json_value *apply_merge(const struct schema_kind *kind, struct json_doc *doc, const struct json_value *live,
                               const struct json_value *applied)
{
        struct slot root = slot_of_kind(kind);

        assert(kind && doc && applied);
        return merge_at(doc, &root, live, applied, 0);
}

static void clean_at(struct json_doc *doc, const struct slot *slot, struct json_value *value, unsigned depth)
{
        enum slot_form form = depth < DEPTH_MAX ? slot_form(slot, value) : SLOT_LEAF;
        g_autoptr(GPtrArray) left = NULL;

        if (form == SLOT_LEAF || form == SLOT_SET)
                return;
        left = g_ptr_array_new();
        for (struct json_value *child = json_first(value); child; child = json_next(child)) {
                struct slot place = slot_child(slot, form, child);

                if (form != SLOT_KEYED && json_is(child, JSON_NULL) && !slot_child_nullable(&place))
                        continue;
                g_ptr_array_add(left, child);
                clean_at(doc, &place, child, depth + 1);
        }
        if (left->len < json_length(value))
                slot_refill(doc, value, left);
}

void apply_clean(const struct schema_kind *kind, struct json_doc *doc, struct json_value *applied)
{
        struct slot root = slot_of_kind(kind);

        assert(kind && doc);
        clean_at(doc, &root, applied, 0);
}
