/* SPDX-License-Identifier: Apache-2.0 */
#include "api/strategic.h"
#include "base/limits.h"

#include <assert.h>
#include <glib.h>
#include <string.h>

#define DELETE_PREFIX "$deleteFromPrimitiveList/"
#define ORDER_PREFIX  "$setElementOrder/"
#define STEPS_MAX     20000000u /* elements looked at: lists and members are compared one by one */

/* Lists of objects that merge: always by their key, or only when the patch shows that its sender means that. */
static const struct {
        const char *list, *key;
        bool always;
} merge_lists[] = {
        {"ownerReferences", "uid", true},
        {"conditions", "type", true},
        {"addresses", "type", true},
        {"taints", "key", false},
};

static const char *const set_lists[] = {"finalizers", NULL};

struct merge {
        struct json_doc *doc;
        size_t steps;
        const char *why; /* the first thing that is wrong, or NULL */
};

/* Some hundred thousand elements that are all compared with each other would hold the loop for minutes. */
static bool spend(struct merge *merge, size_t steps)
{
        merge->steps += steps;
        if (merge->steps > STEPS_MAX && !merge->why)
                merge->why = "the patch is too much work";
        return !merge->why;
}

static struct json_value *merge_map(struct merge *merge, const struct json_value *target, const struct json_value *patch,
                                    unsigned depth);

static bool is_directive(const char *key)
{
        return *key == '$';
}

/* The patch without its directives: what a value becomes where there was none. */
static struct json_value *plain_copy(struct merge *merge, const struct json_value *patch, unsigned depth)
{
        struct json_value *list;

        if (depth > LIMIT_JSON_DEPTH) {
                merge->why = "the patch is too deep";
                return json_new(merge->doc, JSON_NULL);
        }
        if (json_is(patch, JSON_OBJECT))
                return merge_map(merge, NULL, patch, depth + 1);
        if (!json_is(patch, JSON_ARRAY))
                return json_copy(merge->doc, patch);
        list = json_new(merge->doc, JSON_ARRAY);
        for (const struct json_value *value = json_first(patch); value; value = json_next(value)) {
                const char *directive = json_string(json_get(value, "$patch"), "");

                /* Directives are no elements: delete finds nothing here, a lone replace stands for the whole list. */
                if (strcmp(directive, "delete") != 0 && !(strcmp(directive, "replace") == 0 && json_length(value) == 1))
                        json_append(list, plain_copy(merge, value, depth + 1));
        }
        return list;
}

/* --- lists
 * -------------------------------------------------------------------------------------------------------------------------- */

static bool list_says_replace(const struct json_value *patch)
{
        for (const struct json_value *value = json_first(patch); value; value = json_next(value))
                if (strcmp(json_string(json_get(value, "$patch"), ""), "replace") == 0)
                        return true;
        return false;
}

static bool list_has_directive(const struct json_value *patch)
{
        for (const struct json_value *value = json_first(patch); value; value = json_next(value))
                if (json_get(value, "$patch"))
                        return true;
        return false;
}

/* The key by which list @name merges, or NULL when it is replaced. */
static const char *merge_key(const char *name, const struct json_value *list, const struct json_value *parent_patch)
{
        g_autofree char *order = g_strconcat(ORDER_PREFIX, name, NULL);

        for (size_t i = 0; i < G_N_ELEMENTS(merge_lists); i++)
                if (strcmp(merge_lists[i].list, name) == 0 &&
                    (merge_lists[i].always || list_has_directive(list) || json_get(parent_patch, order)))
                        return merge_lists[i].key;
        return NULL;
}

static bool same_key(const struct json_value *a, const struct json_value *b, const char *key)
{
        return json_get(a, key) && json_equal(json_get(a, key), json_get(b, key));
}

static bool find_by_key(const struct json_value *list, const struct json_value *element, const char *key, size_t *ret_index,
                        struct json_value **ret_value)
{
        *ret_index = 0;
        for (struct json_value *value = json_first(list); value; value = json_next(value), ++*ret_index) {
                *ret_value = value;
                if (same_key(value, element, key))
                        return true;
        }
        return false;
}

static void merge_element(struct merge *merge, struct json_value *list, const struct json_value *element, const char *key,
                          unsigned depth)
{
        const char *directive = json_string(json_get(element, "$patch"), "merge");
        struct json_value *found = NULL;
        size_t index;
        bool there;

        if (!json_is(element, JSON_OBJECT) || !json_get(element, key)) {
                merge->why = "an element of a list that merges lacks its key";
                return;
        }
        if (!spend(merge, json_length(list)))
                return;
        there = find_by_key(list, element, key, &index, &found);
        if (there) {
                struct json_value *merged = strcmp(directive, "merge") == 0 ? merge_map(merge, found, element, depth + 1) : NULL;

                json_remove_at(list, index);
                if (merged)
                        json_insert(list, index, merged);
        } else if (strcmp(directive, "delete") != 0) {
                json_append(list, plain_copy(merge, element, depth + 1));
        }
}

static struct json_value *merge_list(struct merge *merge, const struct json_value *target, const struct json_value *patch,
                                     const char *key, unsigned depth)
{
        struct json_value *list;

        if (!json_is(target, JSON_ARRAY) || list_says_replace(patch))
                return plain_copy(merge, patch, depth + 1);
        list = json_copy(merge->doc, target);
        for (const struct json_value *element = json_first(patch); element; element = json_next(element))
                merge_element(merge, list, element, key, depth);
        return list;
}

/* Whether two elements are the same one: by their key, or as values without one. */
static bool same_element(const struct json_value *a, const struct json_value *b, const char *key)
{
        return key ? same_key(a, b, key) : json_equal(a, b);
}

static struct json_value *find_element(struct merge *merge, const struct json_value *list, const struct json_value *element,
                                       const char *key)
{
        for (struct json_value *value = json_first(list); value && spend(merge, 1); value = json_next(value))
                if (same_element(value, element, key))
                        return value;
        return NULL;
}

/* The elements that "$setElementOrder/x" names in its order; others stay behind the element that they followed. */
static struct json_value *in_order(struct merge *merge, struct json_value *list, const struct json_value *order, const char *key)
{
        struct json_value *sorted = json_new(merge->doc, JSON_ARRAY);
        const struct json_value *next = json_first(order);

        for (const struct json_value *value = json_first(list); value; value = json_next(value)) {
                const struct json_value *found = NULL;

                if (!find_element(merge, order, value, key)) {
                        json_append(sorted, json_copy(merge->doc, value));
                        continue;
                }
                for (; next && !found; next = json_next(next))
                        found = find_element(merge, list, next, key);
                if (found)
                        json_append(sorted, json_copy(merge->doc, found));
        }
        return sorted;
}

static bool contains(const struct json_value *list, const struct json_value *value)
{
        for (const struct json_value *element = json_first(list); element; element = json_next(element))
                if (json_equal(element, value))
                        return true;
        return false;
}

static struct json_value *merge_set(struct merge *merge, const struct json_value *target, const struct json_value *patch)
{
        struct json_value *list = json_is(target, JSON_ARRAY) ? json_copy(merge->doc, target) : json_new(merge->doc, JSON_ARRAY);

        for (const struct json_value *value = json_first(patch); value; value = json_next(value))
                if (spend(merge, json_length(list)) && !contains(list, value))
                        json_append(list, json_copy(merge->doc, value));
        return list;
}

static void remove_from_list(struct merge *merge, struct json_value *list, const struct json_value *gone)
{
        size_t index = 0;

        for (struct json_value *value = json_first(list), *next; value; value = next) {
                next = json_next(value);
                if (!spend(merge, json_length(gone)))
                        return;
                if (!contains(gone, value))
                        index++;
                else if (spend(merge, index))
                        json_remove_at(list, index);
        }
}

/* --- maps
 * --------------------------------------------------------------------------------------------------------------------------- */

static struct json_value *merge_value(struct merge *merge, const char *name, const struct json_value *target,
                                      const struct json_value *patch, const struct json_value *parent_patch, unsigned depth)
{
        const char *key;

        if (json_is(patch, JSON_OBJECT))
                return merge_map(merge, json_is(target, JSON_OBJECT) ? target : NULL, patch, depth + 1);
        if (!json_is(patch, JSON_ARRAY))
                return json_copy(merge->doc, patch);
        if (g_strv_contains(set_lists, name))
                return merge_set(merge, target, patch);
        key = merge_key(name, patch, parent_patch);
        return key ? merge_list(merge, target, patch, key, depth) : plain_copy(merge, patch, depth + 1);
}

/* "$retainKeys": only the members that it names stay. */
static void retain_keys(struct merge *merge, struct json_value *map, const struct json_value *keys)
{
        for (struct json_value *value = json_first(map), *next; value; value = next) {
                bool kept = false;

                next = json_next(value);
                if (!spend(merge, 2 * json_length(keys)))
                        return;
                for (const struct json_value *key = json_first(keys); key; key = json_next(key))
                        kept |= strcmp(json_string(key, ""), json_key(value)) == 0;
                if (!kept)
                        json_remove(map, json_key(value));
        }
}

/* What is set must be among what is retained, else the patch contradicts itself. */
static void check_retained(struct merge *merge, const struct json_value *patch, const struct json_value *keys)
{
        for (const struct json_value *value = json_first(patch); value && !merge->why; value = json_next(value)) {
                bool named = is_directive(json_key(value)) || json_is(value, JSON_NULL);

                if (!spend(merge, 1 + json_length(keys)))
                        return;
                for (const struct json_value *key = json_first(keys); key && !named; key = json_next(key))
                        named = strcmp(json_string(key, ""), json_key(value)) == 0;
                if (!named)
                        merge->why = "$retainKeys must name every member that the patch sets";
        }
}

static void set_order(struct merge *merge, struct json_value *map, const char *name, const struct json_value *order)
{
        struct json_value *list = json_get(map, name);
        const char *key = NULL;

        if (!json_is(list, JSON_ARRAY) || !json_is(order, JSON_ARRAY))
                return;
        for (size_t i = 0; i < G_N_ELEMENTS(merge_lists); i++)
                if (strcmp(merge_lists[i].list, name) == 0)
                        key = merge_lists[i].key;
        if (key || g_strv_contains(set_lists, name))
                json_set(merge->doc, map, name, in_order(merge, list, order, key));
}

static void apply_directives(struct merge *merge, struct json_value *map, const struct json_value *patch)
{
        for (const struct json_value *value = json_first(patch); value; value = json_next(value)) {
                const char *key = json_key(value);

                if (g_str_has_prefix(key, DELETE_PREFIX)) {
                        remove_from_list(merge, json_get(map, key + strlen(DELETE_PREFIX)), value);
                } else if (strcmp(key, "$retainKeys") == 0) {
                        check_retained(merge, patch, value);
                        retain_keys(merge, map, value);
                }
        }
        for (const struct json_value *value = json_first(patch); value; value = json_next(value))
                if (g_str_has_prefix(json_key(value), ORDER_PREFIX))
                        set_order(merge, map, json_key(value) + strlen(ORDER_PREFIX), value);
}

static struct json_value *merge_map(struct merge *merge, const struct json_value *target, const struct json_value *patch,
                                    unsigned depth)
{
        const char *directive = json_string(json_get(patch, "$patch"), "merge");
        struct json_value *map;

        if (depth > LIMIT_JSON_DEPTH ||
            (strcmp(directive, "merge") && strcmp(directive, "replace") && strcmp(directive, "delete"))) {
                merge->why = depth > LIMIT_JSON_DEPTH ? "the patch is too deep" : "$patch must be merge, replace or delete";
                return json_new(merge->doc, JSON_NULL);
        }
        if (strcmp(directive, "delete") == 0)
                return json_new(merge->doc, JSON_OBJECT);
        map = target && strcmp(directive, "merge") == 0 ? json_copy(merge->doc, target) : json_new(merge->doc, JSON_OBJECT);
        for (const struct json_value *value = json_first(patch); value; value = json_next(value)) {
                const char *key = json_key(value);

                if (is_directive(key))
                        continue;
                if (json_get(map, key) && !spend(merge, json_length(map)))
                        break;
                if (json_is(value, JSON_NULL))
                        json_remove(map, key);
                else
                        json_set(merge->doc, map, key, merge_value(merge, key, json_get(map, key), value, patch, depth));
        }
        apply_directives(merge, map, patch);
        return map;
}

int strategic_merge(struct json_doc *doc, const struct json_value *target, const struct json_value *patch,
                    struct json_value **ret_value, const char **reterr_why)
{
        struct merge merge = {.doc = doc};
        struct json_value *value;

        assert(doc && target && patch && ret_value && reterr_why);
        if (!json_is(patch, JSON_OBJECT)) {
                *reterr_why = "a patch must be an object";
                return STRATEGIC_E_INVALID;
        }
        value = merge_map(&merge, target, patch, 0);
        if (merge.why) {
                *reterr_why = merge.why;
                return STRATEGIC_E_INVALID;
        }
        *ret_value = value;
        return 0;
}
