/* SPDX-License-Identifier: Apache-2.0 */
#include "api/fields.h"
#include "api/slot.h"

#include <assert.h>
#include <string.h>

/* What nests deeper is owned as a whole, so that an object with its fields is no deeper than what the store takes. */
#define DEPTH_MAX 40

struct fields {
        bool self;            /* the node itself is in the set */
        GHashTable *children; /* name -> struct fields; NULL: none */
};

/* --- trees
 * -------------------------------------------------------------------------------------------------------------------------- */

struct fields *fields_new(void)
{
        return g_new0(struct fields, 1);
}

struct fields *fields_free(struct fields *fields)
{
        if (!fields)
                return NULL;
        if (fields->children)
                g_hash_table_unref(fields->children);
        g_free(fields);
        return NULL;
}

static void free_child(gpointer child)
{
        fields_free(child);
}

static struct fields *child_of(const struct fields *fields, const char *name)
{
        return fields->children ? g_hash_table_lookup(fields->children, name) : NULL;
}

/* Takes @child over; NULL is nothing. */
static void put_child(struct fields *fields, const char *name, struct fields *child)
{
        if (!child)
                return;
        if (!fields->children)
                fields->children = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_child);
        g_hash_table_replace(fields->children, g_strdup(name), child);
}

static struct fields *new_leaf(void)
{
        struct fields *fields = fields_new();

        fields->self = true;
        return fields;
}

bool fields_empty(const struct fields *fields)
{
        return !fields || (!fields->self && (!fields->children || g_hash_table_size(fields->children) == 0));
}

/* NULL instead of an empty tree. */
static struct fields *or_null(struct fields *fields)
{
        return fields_empty(fields) ? fields_free(fields) : fields;
}

/* Walk the children; for (EACH_CHILD(fields, iter, name, child)) */
static bool begin_children(const struct fields *fields, GHashTableIter *iter)
{
        if (!fields->children)
                return false;
        g_hash_table_iter_init(iter, fields->children);
        return true;
}

static bool next_child(GHashTableIter *iter, const char **name, struct fields **child)
{
        gpointer key, value;

        if (!g_hash_table_iter_next(iter, &key, &value))
                return false;
        *name = key;
        *child = value;
        return true;
}

/* All trees are made by walks that are bounded by DEPTH_MAX, so these are too. */

static struct fields *copy_at(const struct fields *fields, unsigned depth)
{
        struct fields *copy = fields_new(), *child;
        GHashTableIter iter;
        const char *name;

        assert(depth <= DEPTH_MAX + 1);
        copy->self = fields->self;
        if (begin_children(fields, &iter))
                while (next_child(&iter, &name, &child))
                        put_child(copy, name, copy_at(child, depth + 1));
        return copy;
}

struct fields *fields_copy(const struct fields *fields)
{
        assert(fields);
        return copy_at(fields, 0);
}

static bool equal_at(const struct fields *a, const struct fields *b, unsigned depth)
{
        GHashTableIter iter;
        struct fields *child;
        const char *name;

        assert(depth <= DEPTH_MAX + 1);
        if (a->self != b->self ||
            (a->children ? g_hash_table_size(a->children) : 0) != (b->children ? g_hash_table_size(b->children) : 0))
                return false;
        if (begin_children(a, &iter)) {
                while (next_child(&iter, &name, &child)) {
                        const struct fields *other = child_of(b, name);

                        if (!other || !equal_at(child, other, depth + 1))
                                return false;
                }
        }
        return true;
}

bool fields_equal(const struct fields *a, const struct fields *b)
{
        assert(a && b);
        return equal_at(a, b, 0);
}

static size_t count_at(const struct fields *fields, unsigned depth)
{
        size_t count = fields->self;
        GHashTableIter iter;
        struct fields *child;
        const char *name;

        assert(depth <= DEPTH_MAX + 1);
        if (begin_children(fields, &iter))
                while (next_child(&iter, &name, &child))
                        count += count_at(child, depth + 1);
        return count;
}

size_t fields_count(const struct fields *fields)
{
        assert(fields);
        return count_at(fields, 0);
}

static void add_at(struct fields *fields, const struct fields *more, unsigned depth)
{
        GHashTableIter iter;
        struct fields *child;
        const char *name;

        assert(depth <= DEPTH_MAX + 1);
        fields->self |= more->self;
        if (!begin_children(more, &iter))
                return;
        while (next_child(&iter, &name, &child)) {
                struct fields *mine = child_of(fields, name);

                if (mine)
                        add_at(mine, child, depth + 1);
                else
                        put_child(fields, name, copy_at(child, depth + 1));
        }
}

void fields_add(struct fields *fields, const struct fields *more)
{
        assert(fields && more);
        add_at(fields, more, 0);
}

static void take_at(struct fields *fields, const struct fields *less, unsigned depth)
{
        GHashTableIter iter;
        struct fields *child;
        const char *name;

        assert(depth <= DEPTH_MAX + 1);
        fields->self &= !less->self;
        if (!begin_children(less, &iter))
                return;
        while (next_child(&iter, &name, &child)) {
                struct fields *mine = child_of(fields, name);

                if (!mine)
                        continue;
                take_at(mine, child, depth + 1);
                if (fields_empty(mine))
                        g_hash_table_remove(fields->children, name);
        }
}

void fields_take(struct fields *fields, const struct fields *less)
{
        assert(fields && less);
        take_at(fields, less, 0);
}

static struct fields *both_at(const struct fields *a, const struct fields *b, unsigned depth)
{
        struct fields *both = fields_new(), *child;
        GHashTableIter iter;
        const char *name;

        assert(depth <= DEPTH_MAX + 1);
        both->self = a->self && b->self;
        if (begin_children(a, &iter)) {
                while (next_child(&iter, &name, &child)) {
                        const struct fields *other = child_of(b, name);

                        if (other)
                                put_child(both, name, or_null(both_at(child, other, depth + 1)));
                }
        }
        return both;
}

struct fields *fields_both(const struct fields *a, const struct fields *b)
{
        assert(a && b);
        return both_at(a, b, 0);
}

static void drop_at(struct fields *fields, const char *const *path, unsigned depth)
{
        g_autofree char *name = g_strconcat("f:", *path, NULL);
        struct fields *child = child_of(fields, name);

        assert(depth <= DEPTH_MAX + 1);
        if (!child)
                return;
        if (path[1])
                drop_at(child, path + 1, depth + 1);
        if (!path[1] || fields_empty(child))
                g_hash_table_remove(fields->children, name);
}

void fields_drop(struct fields *fields, const char *const *path)
{
        assert(fields && path && *path);
        drop_at(fields, path, 0);
}

void fields_drop_all_but(struct fields *fields, const char *member)
{
        g_autofree char *kept = g_strconcat("f:", member, NULL);
        GHashTableIter iter;
        struct fields *child;
        const char *name;

        assert(fields && member);
        fields->self = false;
        if (begin_children(fields, &iter))
                while (next_child(&iter, &name, &child))
                        if (strcmp(name, kept) != 0)
                                g_hash_table_iter_remove(&iter);
}

/* --- sets of documents
 * -------------------------------------------------------------------------------------------------------------- */

/* The form of @value for this folder's walks: deep things are leaves. */
static enum slot_form form_at(const struct slot *slot, const struct json_value *value, unsigned depth)
{
        return depth < DEPTH_MAX ? slot_form(slot, value) : SLOT_LEAF;
}

struct collecting {
        bool containers; /* they are in the set themselves */
        GString *path;   /* of the element that is looked at; only with @duplicate */
        char **duplicate;
};

static struct fields *collect(const struct collecting *collecting, const struct slot *slot, const struct json_value *value,
                              bool element, unsigned depth)
{
        enum slot_form form = form_at(slot, value, depth);
        g_autoptr(GString) name = NULL;
        struct fields *fields;

        if (form == SLOT_LEAF || !json_length(value))
                return new_leaf();
        name = g_string_new(NULL);
        fields = fields_new();
        fields->self = element || collecting->containers;
        for (const struct json_value *child = json_first(value); child; child = json_next(child)) {
                struct slot place = slot_child(slot, form, child);

                slot_name(slot, form, child, name);
                if (slot_is_list(form) && child_of(fields, name->str) && collecting->duplicate && !*collecting->duplicate)
                        *collecting->duplicate = g_strdup(name->str + 2);
                put_child(fields, name->str, collect(collecting, &place, child, form == SLOT_KEYED, depth + 1));
        }
        return fields;
}

static struct fields *collect_root(const struct collecting *collecting, const struct schema_kind *kind,
                                   const struct json_value *object)
{
        struct slot root = slot_of_kind(kind);
        struct fields *fields = collect(collecting, &root, object, false, 0);

        fields->self = false;
        return fields;
}

struct fields *fields_of(const struct schema_kind *kind, const struct json_value *object, char **duplicate)
{
        const struct collecting collecting = {.duplicate = duplicate};

        assert(kind);
        if (duplicate)
                *duplicate = NULL;
        return collect_root(&collecting, kind, object);
}

struct fields *fields_all(const struct schema_kind *kind, const struct json_value *object)
{
        const struct collecting collecting = {.containers = true};

        assert(kind);
        return collect_root(&collecting, kind, object);
}

static struct fields *changed_at(const struct slot *slot, const struct json_value *old, const struct json_value *now,
                                 unsigned depth)
{
        static const struct collecting whole = {.containers = true};
        enum slot_form form = form_at(slot, now, depth);
        g_autoptr(GHashTable) index = NULL;
        g_autoptr(GString) name = NULL;
        struct fields *fields;

        if (!old)
                return collect(&whole, slot, now, false, depth);
        if (form == SLOT_LEAF || form_at(slot, old, depth) != form) {
                if (json_equal(old, now))
                        return NULL;
                return collect(&whole, slot, now, false, depth);
        }
        if (slot_is_list(form))
                index = slot_index(slot, form, old);
        name = g_string_new(NULL);
        fields = fields_new();
        for (const struct json_value *child = json_first(now); child; child = json_next(child)) {
                struct slot place = slot_child(slot, form, child);

                slot_name(slot, form, child, name);
                put_child(fields, name->str, changed_at(&place, slot_find(old, index, name->str), child, depth + 1));
        }
        return or_null(fields);
}

struct fields *fields_changed(const struct schema_kind *kind, const struct json_value *old, const struct json_value *now)
{
        struct slot root = slot_of_kind(kind);
        struct fields *fields = changed_at(&root, old, now, 0);

        if (!fields)
                return fields_new();
        fields->self = false;
        return fields;
}

static void keep_at(const struct slot *slot, struct fields *fields, const struct json_value *value, unsigned depth)
{
        enum slot_form form = form_at(slot, value, depth);
        g_autoptr(GHashTable) index = NULL;
        GHashTableIter iter;
        struct fields *child;
        const char *name;

        if (!begin_children(fields, &iter))
                return;
        if (form == SLOT_LEAF) {
                g_clear_pointer(&fields->children, g_hash_table_unref);
                return;
        }
        if (slot_is_list(form))
                index = slot_index(slot, form, value);
        while (next_child(&iter, &name, &child)) {
                const struct json_value *found = slot_find(value, index, name);

                if (found) {
                        struct slot place = slot_child(slot, form, found);

                        keep_at(&place, child, found, depth + 1);
                }
                if (!found || fields_empty(child))
                        g_hash_table_iter_remove(&iter);
        }
}

void fields_keep(const struct schema_kind *kind, struct fields *fields, const struct json_value *object)
{
        struct slot root = slot_of_kind(kind);

        assert(kind && fields);
        keep_at(&root, fields, object, 0);
}

/* --- taking out
 * --------------------------------------------------------------------------------------------------------------------- */

struct pruning {
        struct json_doc *doc;
        GString *name;
};

static bool prune_at(const struct pruning *pruning, const struct slot *slot, struct json_value *value, const struct fields *last,
                     const struct fields *kept, unsigned depth);

/* Whether a child is to go, after what is below it has gone. */
static bool prune_child(const struct pruning *pruning, const struct slot *slot, enum slot_form form, struct json_value *child,
                        const struct fields *last, const struct fields *kept, unsigned depth)
{
        struct slot place = slot_child(slot, form, child);
        const struct fields *mine, *held;
        enum slot_form inner;

        slot_name(slot, form, child, pruning->name);
        mine = child_of(last, pruning->name->str);
        if (!mine)
                return false;
        held = kept ? child_of(kept, pruning->name->str) : NULL;
        inner = form_at(&place, child, depth + 1);
        /* Of a struct nobody keeps anything: it goes with its defaults. Maps and lists may hold what nobody has written down, and
         * so may metadata and spec as a whole. */
        if (!held && (inner == SLOT_LEAF || (inner == SLOT_STRUCT && depth > 0)))
                return true;
        return inner != SLOT_LEAF && prune_at(pruning, &place, child, mine, held, depth + 1);
}

/* Whether nothing is left and nobody wants it empty. */
static bool prune_at(const struct pruning *pruning, const struct slot *slot, struct json_value *value, const struct fields *last,
                     const struct fields *kept, unsigned depth)
{
        enum slot_form form = form_at(slot, value, depth);
        g_autoptr(GPtrArray) left = NULL;

        if (form == SLOT_LEAF || !last->children)
                return !kept && !json_length(value);
        left = g_ptr_array_new();
        for (struct json_value *child = json_first(value); child; child = json_next(child))
                if (!prune_child(pruning, slot, form, child, last, kept, depth))
                        g_ptr_array_add(left, child);
        if (left->len < json_length(value))
                slot_refill(pruning->doc, value, left);
        return !kept && !json_length(value);
}

void fields_prune(const struct schema_kind *kind, struct json_doc *doc, struct json_value *object, const struct fields *last,
                  const struct fields *kept)
{
        g_autoptr(GString) name = g_string_new(NULL);
        const struct pruning pruning = {.doc = doc, .name = name};
        struct slot root = slot_of_kind(kind);

        assert(kind && doc && last && kept);
        (void)prune_at(&pruning, &root, object, last, kept, 0);
}

/* --- as JSON
 * ------------------------------------------------------------------------------------------------------------------------ */

/* Numbers and white space as slot_name() writes them, so that equal elements have equal names. NULL: malformed. */
static char *canonical_name(const char *name)
{
        g_autoptr(json_doc) doc = NULL;
        g_autofree char *text = NULL;

        if (g_str_has_prefix(name, "f:"))
                return g_strdup(name);
        if (!g_str_has_prefix(name, "k:") && !g_str_has_prefix(name, "v:") && !g_str_has_prefix(name, "i:"))
                return NULL;
        if (json_parse(name + 2, strlen(name + 2), &doc, NULL) != 0)
                return NULL;
        if (*name == 'k' && (!json_is(json_root(doc), JSON_OBJECT) || !json_length(json_root(doc))))
                return NULL;
        text = json_to_text(json_root(doc));
        return g_strdup_printf("%.2s%s", name, text);
}

static struct fields *parse_at(const struct json_value *value, unsigned depth)
{
        g_autoptr(fields) fields = fields_new();

        if (depth > DEPTH_MAX || !json_is(value, JSON_OBJECT))
                return NULL;
        fields->self = depth > 0 && json_length(value) == 0;
        for (const struct json_value *member = json_first(value); member; member = json_next(member)) {
                g_autofree char *name = NULL;
                struct fields *child;

                if (strcmp(json_key(member), ".") == 0) {
                        fields->self = depth > 0;
                        continue;
                }
                name = canonical_name(json_key(member));
                child = name ? parse_at(member, depth + 1) : NULL;
                if (!child)
                        return NULL;
                put_child(fields, name, child);
        }
        return g_steal_pointer(&fields);
}

struct fields *fields_parse(const struct json_value *value)
{
        return parse_at(value, 0);
}

static gint by_name(gconstpointer a, gconstpointer b)
{
        return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names of the children, sorted; g_free() the array alone. */
static const char **sorted_names(const struct fields *fields, guint *ret_n)
{
        const char **names;

        *ret_n = 0;
        if (!fields->children)
                return NULL;
        names = (const char **)g_hash_table_get_keys_as_array(fields->children, ret_n);
        qsort(names, *ret_n, sizeof(*names), by_name);
        return names;
}

static struct json_value *write_at(const struct fields *fields, struct json_doc *doc, unsigned depth)
{
        struct json_value *value = json_new(doc, JSON_OBJECT);
        guint n;
        g_autofree const char **names = sorted_names(fields, &n);

        assert(depth <= DEPTH_MAX + 1);
        if (fields->self && n)
                json_set(doc, value, ".", json_new(doc, JSON_OBJECT));
        for (guint i = 0; i < n; i++)
                json_set(doc, value, names[i], write_at(child_of(fields, names[i]), doc, depth + 1));
        return value;
}

struct json_value *fields_write(const struct fields *fields, struct json_doc *doc)
{
        assert(fields && doc);
        return write_at(fields, doc, 0);
}

/* --- as paths
 * ----------------------------------------------------------------------------------------------------------------------- */

static void append_place(GString *path, const char *name)
{
        g_autoptr(json_doc) doc = NULL;
        bool first = true;

        if (*name != 'k') {
                g_string_append_printf(path, *name == 'f' ? ".%s" : "[%s]", name + 2);
                return;
        }
        if (json_parse(name + 2, strlen(name + 2), &doc, NULL) != 0)
                return;
        g_string_append_c(path, '[');
        for (const struct json_value *key = json_first(json_root(doc)); key; key = json_next(key), first = false) {
                g_string_append_printf(path, "%s%s=", first ? "" : ",", json_key(key));
                json_write(key, path);
        }
        g_string_append_c(path, ']');
}

struct telling {
        GString *path;
        bool (*each)(const char *path, void *userdata);
        void *userdata;
};

static bool tell_at(const struct fields *fields, const struct telling *telling, unsigned depth)
{
        guint n;
        g_autofree const char **names = sorted_names(fields, &n);
        gsize len = telling->path->len;

        assert(depth <= DEPTH_MAX + 1);
        if (fields->self && !telling->each(telling->path->str, telling->userdata))
                return false;
        for (guint i = 0; i < n; i++) {
                append_place(telling->path, names[i]);
                if (!tell_at(child_of(fields, names[i]), telling, depth + 1))
                        return false;
                g_string_truncate(telling->path, len);
        }
        return true;
}

void fields_each(const struct fields *fields, bool (*each)(const char *path, void *userdata), void *userdata)
{
        g_autoptr(GString) path = g_string_new(NULL);
        const struct telling telling = {.path = path, .each = each, .userdata = userdata};

        assert(fields && each);
        (void)tell_at(fields, &telling, 0);
}
