/* SPDX-License-Identifier: Apache-2.0 */
#include "api/object.h"
#include "api/splice.h"
#include "generated/api_types.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

#define NAMESPACE_FINALIZER "gabbro.dev/namespace-cleanup" /* dropped by the namespace controller */
#define SUFFIX_LEN          5
#define GENERATED_MAX       63 /* a generated name is a label, so that it fits everywhere */

/* Members of metadata that only the server sets. */
static const char *const server_members[] = {
        "uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", NULL};
/* Members that are not stored: the store writes resourceVersion anew. */
static const char *const dropped_members[] = {"selfLink", "resourceVersion", NULL};

static void remove_members(struct json_value *object, const char *const *names)
{
        for (; *names; names++)
                json_remove(object, *names);
}

static bool has_spec(const struct schema_kind *kind)
{
        for (const struct schema_field *field = kind->type->fields; field->name; field++)
                if (strcmp(field->name, "spec") == 0)
                        return true;
        return false;
}

/* --- names
 * --------------------------------------------------------------------------------------------------------------------------- */

/* As Kubernetes: letters and digits that make no words and are not mistaken for each other. */
static void make_name(const struct object_source *source, struct json_doc *doc, struct json_value *metadata, const char *prefix)
{
        static const char letters[] = "bcdfghjklmnpqrstvwxz2456789";
        g_autoptr(GString) name = g_string_new(prefix);

        g_string_truncate(name, MIN(name->len, GENERATED_MAX - SUFFIX_LEN));
        for (unsigned i = 0; i < SUFFIX_LEN; i++)
                g_string_append_c(name, letters[random_below(source->random, sizeof(letters) - 1)]);
        json_set_string(doc, metadata, "name", name->str);
}

/* --- kinds with habits of their own
 * --------------------------------------------------------------------------------------------------- */

static bool lists(const struct json_value *list, const char *text)
{
        for (const struct json_value *value = json_first(list); value; value = json_next(value))
                if (strcmp(json_string(value, ""), text) == 0)
                        return true;
        return false;
}

/* A namespace is held from its first moment: its controller lets it go when its content is gone. */
static void begin_namespace(struct json_doc *doc, struct json_value *root)
{
        struct json_value *finalizers = json_ensure_array(doc, json_get(root, "metadata"), "finalizers");

        if (!lists(finalizers, NAMESPACE_FINALIZER))
                json_append(finalizers, json_new_string(doc, NAMESPACE_FINALIZER));
        json_set_string(doc, json_ensure_object(doc, root, "status"), "phase", "Active");
}

static void copy_member(struct json_doc *doc, struct json_value *to, const struct json_value *from, const char *name)
{
        const struct json_value *value = json_get(from, name);

        if (value)
                json_set(doc, to, name, json_copy(doc, value));
        else
                json_remove(to, name);
}

/* --- create
 * -------------------------------------------------------------------------------------------------------------------------- */

void object_begin(const struct schema_kind *kind, const struct object_source *source, struct json_doc *doc, const char *namespace)
{
        struct json_value *root = json_root(doc), *metadata;
        char uid[UUID_TEXT_MAX], time[CLOCK_RFC3339_MAX];
        const char *name, *prefix;

        assert(kind && source && json_is(root, JSON_OBJECT));
        metadata = json_ensure_object(doc, root, "metadata");
        remove_members(metadata, server_members);
        remove_members(metadata, dropped_members);
        if (kind->has_status)
                json_remove(root, "status");
        name = json_string(json_get(metadata, "name"), "");
        prefix = json_string(json_get(metadata, "generateName"), "");
        if (!*name && *prefix)
                make_name(source, doc, metadata, prefix);
        json_set_string(doc, metadata, "namespace", namespace);
        json_set_string(doc, metadata, "uid", uuid_generate(source->random, uid));
        json_set_string(doc, metadata, "creationTimestamp", clock_format_rfc3339(clock_real_us(source->clock), false, time));
        if (has_spec(kind))
                json_set_int(doc, metadata, "generation", 1);
        if (kind == &api_namespace_kind)
                begin_namespace(doc, root);
}

/* --- update
 * -------------------------------------------------------------------------------------------------------------------------- */

static void keep_all_but_status(struct json_doc *doc, const struct json_value *old)
{
        const struct json_value *status = json_get(json_root(doc), "status");
        struct json_value *root = json_copy(doc, old);

        json_remove(root, "status");
        if (status)
                json_set(doc, root, "status", json_copy(doc, status));
        remove_members(json_get(root, "metadata"), dropped_members);
        json_set_root(doc, root);
}

/* What Gabbro itself waits for is let go by its controllers alone, which do not come by this way. */
static bool is_own_finalizer(const char *text)
{
        const char *slash = strchr(text, '/');
        g_autofree char *domain = slash ? g_strndup(text, (gsize)(slash - text)) : NULL;

        return domain && (strcmp(domain, "gabbro.dev") == 0 || g_str_has_suffix(domain, ".gabbro.dev"));
}

static void keep_own_finalizers(struct json_doc *doc, struct json_value *metadata, const struct json_value *old)
{
        for (const struct json_value *value = json_first(json_find(old, "metadata", "finalizers", NULL)); value;
             value = json_next(value)) {
                const char *text = json_string(value, "");
                const struct json_value *kept = json_get(metadata, "finalizers");

                if (!is_own_finalizer(text) || lists(kept, text))
                        continue;
                if (!json_is(kept, JSON_ARRAY))
                        json_remove(metadata, "finalizers");
                json_append(json_ensure_array(doc, metadata, "finalizers"), json_new_string(doc, text));
        }
}

void object_protect(const struct schema_kind *kind, struct json_doc *doc, const struct json_value *old, bool status_only)
{
        static const char *const identity[] = {"name", "namespace", NULL};
        struct json_value *root = json_root(doc), *metadata;

        assert(kind && json_is(root, JSON_OBJECT) && old);
        if (status_only) {
                keep_all_but_status(doc, old);
                return;
        }
        metadata = json_ensure_object(doc, root, "metadata");
        remove_members(metadata, dropped_members);
        for (const char *const *name = server_members; *name; name++)
                copy_member(doc, metadata, json_get(old, "metadata"), *name);
        for (const char *const *name = identity; *name; name++)
                copy_member(doc, metadata, json_get(old, "metadata"), *name);
        keep_own_finalizers(doc, metadata, old);
        if (kind->has_status)
                copy_member(doc, root, old, "status");
}

static bool is_bookkeeping(const char *key)
{
        return strcmp(key, "metadata") == 0 || strcmp(key, "status") == 0;
}

/* Whether every member of @a but metadata and status equals that of @b. */
static bool covers(const struct json_value *a, const struct json_value *b)
{
        for (const struct json_value *value = json_first(a); value; value = json_next(value))
                if (!is_bookkeeping(json_key(value)) && !json_equal(value, json_get(b, json_key(value))))
                        return false;
        return true;
}

void object_grow_generation(struct json_doc *doc, const struct json_value *old)
{
        struct json_value *root = json_root(doc);
        int64_t generation;

        if (json_int64(json_find(old, "metadata", "generation", NULL), &generation) != 0)
                return;
        if (!covers(root, old) || !covers(old, root))
                json_set_int(doc, json_get(root, "metadata"), "generation", generation + 1);
}

/* --- checks
 * -------------------------------------------------------------------------------------------------------------------------- */

static bool is_of_status(const char *field)
{
        return g_str_has_prefix(field, "status") && (field[6] == 0 || field[6] == '.' || field[6] == '[');
}

/* The unknown fields that the stored object has, written by a newer program: they survive. */
static GHashTable *known_unknowns(const struct schema_kind *kind, const struct json_value *old)
{
        GHashTable *fields = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_autoptr(schema_faults) faults = schema_faults_new();
        g_autoptr(json_doc) copy = json_doc_new();

        if (!old)
                return fields;
        json_set_root(copy, json_copy(copy, old));
        schema_check_shape(kind, json_root(copy), SCHEMA_UNKNOWN_REFUSE, faults);
        for (size_t i = 0; i < schema_faults_kept(faults); i++) {
                const struct schema_fault *fault = schema_faults_at(faults, i);

                if (strcmp(fault->reason, REASON_FIELD_VALUE_UNKNOWN) == 0)
                        g_hash_table_add(fields, g_strdup(fault->field));
        }
        return fields;
}

static bool is_unknown(const struct schema_fault *fault)
{
        return strcmp(fault->reason, REASON_FIELD_VALUE_UNKNOWN) == 0;
}

static bool have_unknown(const struct schema_faults *faults)
{
        if (schema_faults_count(faults) > schema_faults_kept(faults))
                return true;
        for (size_t i = 0; i < schema_faults_kept(faults); i++)
                if (is_unknown(schema_faults_at(faults, i)))
                        return true;
        return false;
}

static void hand_on(const struct schema_faults *found, GHashTable *known, struct schema_faults *faults)
{
        for (size_t i = 0; i < schema_faults_kept(found); i++) {
                const struct schema_fault *fault = schema_faults_at(found, i);

                if (!is_unknown(fault) || !g_hash_table_contains(known, fault->field))
                        schema_faults_add(faults, fault->field, fault->reason, "%s", fault->message);
        }
        schema_faults_omit(faults, schema_faults_count(found) - schema_faults_kept(found));
}

/*
 * Wrong types, and what becomes of unknown fields: those that the stored object has (of a newer program) stay; of kinds of our own
 * others are refused or dropped, of Kubernetes' kinds, which we do not know whole, they are refused or kept.
 */
static void check_shape(const struct object_check *check, struct json_doc *doc, struct schema_faults *faults)
{
        g_autoptr(schema_faults) found = schema_faults_new();
        g_autoptr(GHashTable) known = NULL;
        bool warns = check->validation != PARAMS_VALIDATION_IGNORE;

        schema_check_shape(check->kind, json_root(doc), SCHEMA_UNKNOWN_REFUSE, found);
        if (have_unknown(found))
                known = known_unknowns(check->kind, check->old);
        if (!known || check->validation == PARAMS_VALIDATION_STRICT)
                hand_on(found, known, faults);
        else
                schema_sift_unknown(check->kind, json_root(doc), check->kind->core ? SCHEMA_UNKNOWN_KEEP : SCHEMA_UNKNOWN_DROP,
                                    known, warns ? check->warnings : NULL, faults);
}

/* Hand on the faults that count: of the part that is written. */
static void filter(const struct object_check *check, const struct schema_faults *found, struct schema_faults *faults)
{
        for (size_t i = 0; i < schema_faults_kept(found); i++) {
                const struct schema_fault *fault = schema_faults_at(found, i);

                if (!check->old || is_of_status(fault->field) == check->status_only)
                        schema_faults_add(faults, fault->field, fault->reason, "%s", fault->message);
        }
        /* What nobody has kept may be one that counts. */
        schema_faults_omit(faults, schema_faults_count(found) - schema_faults_kept(found));
}

/* A finalizer added during deletion would come too late for whoever waits. */
static void check_finalizers(const struct json_value *root, const struct json_value *old, struct schema_faults *faults)
{
        const struct json_value *before = json_find(old, "metadata", "finalizers", NULL);

        if (!object_is_deleting(old))
                return;
        for (const struct json_value *value = json_first(json_find(root, "metadata", "finalizers", NULL)); value;
             value = json_next(value)) {
                bool had = false;

                for (const struct json_value *known = json_first(before); known; known = json_next(known))
                        had |= json_equal(known, value);
                if (!had)
                        schema_faults_add(faults, "metadata.finalizers", REASON_FIELD_VALUE_FORBIDDEN,
                                          "Forbidden: no new finalizers can be added if the object is being deleted, found new "
                                          "finalizer \"%.80s\"",
                                          json_string(value, ""));
        }
}

void object_check(const struct object_check *check, struct json_doc *doc, struct schema_faults *faults)
{
        g_autoptr(schema_faults) found = schema_faults_new();

        assert(check && check->kind && doc && faults);
        check_shape(check, doc, found);
        schema_default(check->kind, doc, json_root(doc));
        if (!check->status_only)
                schema_canonical(check->kind, doc, json_root(doc), check->old);
        schema_validate(check->kind, json_root(doc), check->old, found);
        if (check->old)
                check_finalizers(json_root(doc), check->old, found);
        filter(check, found, faults);
        splice_order(doc);
}

/* --- deletion
 * ------------------------------------------------------------------------------------------------------------------------ */

bool object_holds(const struct json_value *root)
{
        return json_length(json_find(root, "metadata", "finalizers", NULL)) > 0;
}

bool object_is_deleting(const struct json_value *root)
{
        return json_find_string(root, "metadata", "deletionTimestamp", NULL);
}

void object_begin_deletion(const struct schema_kind *kind, const struct clock *clock, struct json_doc *doc)
{
        struct json_value *metadata = json_ensure_object(doc, json_root(doc), "metadata");
        char time[CLOCK_RFC3339_MAX];

        json_set_string(doc, metadata, "deletionTimestamp", clock_format_rfc3339(clock_real_us(clock), false, time));
        json_set_int(doc, metadata, "deletionGracePeriodSeconds", 0);
        if (kind == &api_namespace_kind)
                json_set_string(doc, json_ensure_object(doc, json_root(doc), "status"), "phase", "Terminating");
}
