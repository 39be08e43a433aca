/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limits.h"
#include "json/pointer.h"

#include <assert.h>

/*
 * What one patch may cost, beside its own size: bytes that "copy" makes (or a few operations could double a document again and
 * again), and steps along lists.
 */
#define COPY_BYTES_MAX (16u << 20)
#define STEPS_MAX      20000000u

struct patch {
        struct json_doc *doc;
        struct json_value *root; /* the copy being changed; unlinked */
        size_t number;           /* of the current operation */
        const char *name;
        size_t copied_bytes;
        size_t steps;
        GString *token;
        struct json_fault *fault;
};

/* Where a pointer points: @parent is NULL for the root, and @patch->token names the child otherwise. */
struct place {
        struct json_value *parent;
};

static int refuse(struct patch *patch, int outcome, const char *reason, const char *pointer)
{
        if (pointer)
                json_fault_set(patch->fault, patch->number, 0, "operation %zu (%s): %s \"%s\"", patch->number, patch->name, reason,
                               pointer);
        else
                json_fault_set(patch->fault, patch->number, 0, "operation %zu (%s): %s", patch->number, patch->name, reason);
        return outcome;
}

static int charge(struct patch *patch, size_t steps)
{
        patch->steps += steps;
        if (patch->steps > STEPS_MAX)
                return refuse(patch, JSON_E_PATCH_INVALID, "the patch is too much work", NULL);
        return 0;
}

/* Containers one inside the other, and the bytes that a copy takes. */
static void measure(const struct json_value *value, unsigned depth, unsigned *deepest, size_t *bytes)
{
        assert(depth < JSON_WALK_DEPTH);
        *bytes += sizeof(*value) + value->key_len;
        if (!json_is_container(value)) {
                *bytes += value->len;
                return;
        }
        *deepest = MAX(*deepest, depth + 1);
        for (const struct json_value *v = value->first; v; v = v->next)
                measure(v, depth + 1, deepest, bytes);
}

/* Whether @value may stand at @pointer; its size goes to @ret_bytes. */
static int check_depth(struct patch *patch, const struct json_value *value, const char *pointer, size_t *ret_bytes)
{
        unsigned deepest = 0;

        *ret_bytes = 0;
        measure(value, 0, &deepest, ret_bytes);
        if (json_pointer_depth(pointer) + deepest > LIMIT_JSON_DEPTH)
                return refuse(patch, JSON_E_PATCH_INVALID, "nested too deeply at", pointer);
        return charge(patch, *ret_bytes / sizeof(*value));
}

/* Steps that reach, or relink, the child that patch->token names. */
static size_t cost(const struct patch *patch, const struct json_value *container)
{
        size_t index;

        if (json_is(container, JSON_ARRAY) && json_pointer_index(patch->token, &index) == 0)
                return MIN(index, container->len);
        return 0;
}

static size_t cost_of_change(const struct patch *patch, const struct json_value *container)
{
        if (container->indexed && json_get_len(container, patch->token->str, patch->token->len))
                return container->len;
        return cost(patch, container);
}

static int find(struct patch *patch, const char *pointer, struct json_value **ret_value)
{
        struct json_value *value = patch->root;
        const char *rest = pointer;
        int r;

        while (value && *rest) {
                rest = json_pointer_take(rest, patch->token);
                r = charge(patch, cost(patch, value));
                if (r)
                        return r;
                value = json_pointer_step(value, patch->token);
        }
        if (!value)
                return refuse(patch, JSON_E_PATCH_MISSING, "there is no", pointer);
        *ret_value = value;
        return 0;
}

/* The container around what @pointer names, whose last token stays in patch->token. */
static int find_place(struct patch *patch, const char *pointer, struct place *ret_place)
{
        const char *last = strrchr(pointer, '/');
        g_autofree char *parent = NULL;
        int r;

        *ret_place = (struct place){0};
        if (!last)
                return 0;
        parent = g_strndup(pointer, (gsize)(last - pointer));
        r = find(patch, parent, &ret_place->parent);
        if (r)
                return r;
        json_pointer_take(last, patch->token);
        if (!json_is_container(ret_place->parent))
                return refuse(patch, JSON_E_PATCH_MISSING, "there is neither an object nor an array at", parent);
        return charge(patch, cost_of_change(patch, ret_place->parent));
}

/* "add" of a value that is in no container. */
static int put(struct patch *patch, const char *pointer, struct json_value *value)
{
        struct place place;
        size_t index;
        int r;

        r = find_place(patch, pointer, &place);
        if (r)
                return r;
        if (!place.parent) {
                patch->root = value;
                return 0;
        }
        if (place.parent->type == JSON_OBJECT) {
                json_set_len(patch->doc, place.parent, patch->token->str, patch->token->len, value);
                return 0;
        }
        if (strcmp(patch->token->str, "-") == 0)
                index = place.parent->len;
        else if (json_pointer_index(patch->token, &index) < 0 || index > place.parent->len)
                return refuse(patch, JSON_E_PATCH_MISSING, "there is no place", pointer);
        json_insert(place.parent, index, value);
        return 0;
}

/* "remove", and the value that was there. */
static int take(struct patch *patch, const char *pointer, struct json_value **ret_value)
{
        struct json_value *value = NULL;
        struct place place;
        size_t index;
        int r;

        r = find_place(patch, pointer, &place);
        if (r)
                return r;
        if (!place.parent)
                return refuse(patch, JSON_E_PATCH_INVALID, "the whole document cannot be taken away", NULL);
        if (place.parent->type == JSON_OBJECT)
                value = json_remove_len(place.parent, patch->token->str, patch->token->len);
        else if (json_pointer_index(patch->token, &index) == 0)
                value = json_take_at(place.parent, index);
        if (!value)
                return refuse(patch, JSON_E_PATCH_MISSING, "there is no", pointer);
        *ret_value = value;
        return 0;
}

/* The members that operations need; each is checked before the operation runs. */
struct operation {
        const char *path;
        const char *from;
        const struct json_value *value;
};

static int run_add(struct patch *patch, const struct operation *operation)
{
        size_t bytes;
        int r;

        r = check_depth(patch, operation->value, operation->path, &bytes);
        if (r)
                return r;
        return put(patch, operation->path, json_copy(patch->doc, operation->value));
}

static int run_remove(struct patch *patch, const struct operation *operation)
{
        struct json_value *value;

        return take(patch, operation->path, &value);
}

/* In place: a member keeps its position, which removing and adding would lose. */
static int run_replace(struct patch *patch, const struct operation *operation)
{
        struct json_value *old;
        const char *last;
        int r;

        r = find(patch, operation->path, &old);
        if (r)
                return r;
        last = strrchr(operation->path, '/');
        /* an element goes first, so that the new one is inserted at its number */
        if (last && !old->key) {
                r = take(patch, operation->path, &old);
                if (r)
                        return r;
        }
        return run_add(patch, operation);
}

static bool is_inside(const char *path, const char *from)
{
        size_t len = strlen(from);

        return strncmp(path, from, len) == 0 && path[len] == '/';
}

static int run_move(struct patch *patch, const struct operation *operation)
{
        struct json_value *value;
        size_t bytes;
        int r;

        if (is_inside(operation->path, operation->from))
                return refuse(patch, JSON_E_PATCH_INVALID, "a value cannot move into itself, to", operation->path);
        r = find(patch, operation->from, &value);
        if (r || strcmp(operation->path, operation->from) == 0)
                return r;
        r = check_depth(patch, value, operation->path, &bytes);
        if (r)
                return r;
        r = take(patch, operation->from, &value);
        if (r)
                return r;
        return put(patch, operation->path, value);
}

static int run_copy(struct patch *patch, const struct operation *operation)
{
        struct json_value *value;
        size_t bytes;
        int r;

        r = find(patch, operation->from, &value);
        if (r)
                return r;
        r = check_depth(patch, value, operation->path, &bytes);
        if (r)
                return r;
        patch->copied_bytes += bytes;
        if (patch->copied_bytes > COPY_BYTES_MAX)
                return refuse(patch, JSON_E_PATCH_INVALID, "the patch copies too much", NULL);
        return put(patch, operation->path, json_copy(patch->doc, value));
}

static int run_test(struct patch *patch, const struct operation *operation)
{
        struct json_value *value;
        int r;

        r = find(patch, operation->path, &value);
        if (r)
                return r;
        if (!json_equal(value, operation->value))
                return refuse(patch, JSON_E_PATCH_TEST, "the value differs at", operation->path);
        return 0;
}

static const struct {
        const char *name;
        int (*run)(struct patch *patch, const struct operation *operation);
        bool needs_from;
        bool needs_value;
} verbs[] = {
        {"add", run_add, .needs_value = true},         {"remove", run_remove},
        {"replace", run_replace, .needs_value = true}, {"move", run_move, .needs_from = true},
        {"copy", run_copy, .needs_from = true},        {"test", run_test, .needs_value = true},
};

static const char *read_pointer(const struct json_value *entry, const char *key)
{
        const char *pointer = json_find_string(entry, key, NULL);

        return pointer && json_pointer_valid(pointer) ? pointer : NULL;
}

static int run_entry(struct patch *patch, const struct json_value *entry)
{
        const char *name = json_find_string(entry, "op", NULL);
        struct operation operation = {
                .path = read_pointer(entry, "path"),
                .from = read_pointer(entry, "from"),
                .value = json_get(entry, "value"),
        };
        size_t verb = 0;

        patch->name = name ? name : "?";
        while (verb < G_N_ELEMENTS(verbs) && g_strcmp0(name, verbs[verb].name) != 0)
                verb++;
        if (verb == G_N_ELEMENTS(verbs))
                return refuse(patch, JSON_E_PATCH_INVALID, "\"op\" must be one of add remove replace move copy test", NULL);
        if (!operation.path)
                return refuse(patch, JSON_E_PATCH_INVALID, "\"path\" must be a JSON pointer", NULL);
        if (verbs[verb].needs_from && !operation.from)
                return refuse(patch, JSON_E_PATCH_INVALID, "\"from\" must be a JSON pointer", NULL);
        if (verbs[verb].needs_value && !operation.value)
                return refuse(patch, JSON_E_PATCH_INVALID, "\"value\" is missing", NULL);
        return verbs[verb].run(patch, &operation);
}

int json_patch(struct json_doc *doc, const struct json_value *target, const struct json_value *operations,
               struct json_value **ret_value, struct json_fault *reterr_fault)
{
        g_autoptr(GString) token = g_string_sized_new(64);
        struct patch patch = {.doc = doc, .token = token, .fault = reterr_fault};
        int r;

        assert(doc);
        assert(ret_value);
        if (!json_is(operations, JSON_ARRAY)) {
                json_fault_set(reterr_fault, 0, 0, "a JSON patch is an array of operations");
                return JSON_E_PATCH_INVALID;
        }
        if (operations->len > LIMIT_JSON_PATCH_OPS) {
                json_fault_set(reterr_fault, 0, 0, "a JSON patch has at most %u operations", LIMIT_JSON_PATCH_OPS);
                return JSON_E_PATCH_INVALID;
        }
        patch.root = json_copy(doc, target);
        for (const struct json_value *entry = operations->first; entry; entry = entry->next, patch.number++) {
                r = run_entry(&patch, entry);
                if (r)
                        return r;
        }
        *ret_value = patch.root;
        return 0;
}
