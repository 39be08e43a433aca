/* SPDX-License-Identifier: Apache-2.0 */
#include "api/managed.h"
#include "api/apply.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/names.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

#define MANAGER_MAX     128
#define SUBRESOURCE_MAX 63
#define FOLDED          "ancient-changes"           /* updates of many managers, folded into one */
#define UNTRACKED       "before-first-apply"        /* who wrote an object before anybody applied it is not known */
#define CLIENT_SIDE     "kubectl-client-side-apply" /* kubectl's name when it merges by itself */

/* What one manager owns. */
struct part {
        char *manager;
        bool applied; /* operation Apply, else Update */
        char *api_version;
        char *subresource; /* "" for the object itself */
        char *time;        /* or NULL */
        struct fields *fields;
};

struct managed {
        GPtrArray *parts;
        /* The part of the writer of this request, until it is written. */
        struct part *own;
        struct fields *before; /* what it owned before; NULL: nothing */
        bool touched;          /* values that it owns have changed */
        char *now;
};

/* --- life
 * --------------------------------------------------------------------------------------------------------------------------- */

static struct part *part_free(struct part *part)
{
        if (!part)
                return NULL;
        g_free(part->manager);
        g_free(part->api_version);
        g_free(part->subresource);
        g_free(part->time);
        fields_free(part->fields);
        g_free(part);
        return NULL;
}

static void free_part(gpointer part)
{
        part_free(part);
}

struct managed *managed_new(void)
{
        struct managed *managed = g_new0(struct managed, 1);

        managed->parts = g_ptr_array_new_with_free_func(free_part);
        return managed;
}

struct managed *managed_free(struct managed *managed)
{
        if (!managed)
                return NULL;
        g_ptr_array_unref(managed->parts);
        fields_free(managed->before);
        g_free(managed->now);
        g_free(managed);
        return NULL;
}

static struct part *part_at(const struct managed *managed, guint i)
{
        return managed->parts->pdata[i];
}

static char *canonical_version(const struct schema_kind *kind)
{
        return *kind->group ? g_strconcat(kind->group, "/", kind->version, NULL) : g_strdup(kind->version);
}

static struct part *find_part(const struct managed *managed, const char *manager, bool applied, const char *subresource)
{
        for (guint i = 0; i < managed->parts->len; i++) {
                struct part *part = part_at(managed, i);

                if (part->applied == applied && strcmp(part->manager, manager) == 0 &&
                    strcmp(part->subresource, subresource ?: "") == 0)
                        return part;
        }
        return NULL;
}

/* The part of a manager, made when there is none. */
static struct part *ensure_part(struct managed *managed, const struct schema_kind *kind, const char *manager, bool applied,
                                const char *subresource)
{
        struct part *part = find_part(managed, manager, applied, subresource);

        if (part)
                return part;
        part = g_new0(struct part, 1);
        *part = (struct part){.manager = g_strdup(manager),
                              .applied = applied,
                              .api_version = canonical_version(kind),
                              .subresource = g_strdup(subresource ?: ""),
                              .fields = fields_new()};
        g_ptr_array_add(managed->parts, part);
        return part;
}

/* --- reading
 * ------------------------------------------------------------------------------------------------------------------------ */

static bool is_served_version(const struct schema_kind *kind, const char *version)
{
        g_autofree char *canonical = canonical_version(kind);

        return strcmp(version, canonical) == 0 || (kind->aliases && g_strv_contains(kind->aliases, version));
}

static void check_text(const char *text, size_t max, const char *field, struct schema_faults *faults)
{
        if (!names_is_plain_text(text, max, false))
                schema_faults_add(faults, field, REASON_FIELD_VALUE_INVALID,
                                  "Invalid value: must be at most %zu bytes of printable characters", max);
}

/* Whether the part may be; what is wrong goes to @faults when they are wanted. */
static bool check_part(const struct json_value *entry, size_t index, struct schema_faults *faults)
{
        g_autoptr(schema_faults) found = schema_faults_new();
        g_autofree char *path = g_strdup_printf("metadata.managedFields[%zu]", index);
        const char *operation = json_find_string(entry, "operation", NULL) ?: "";

        if (strcmp(operation, "Apply") != 0 && strcmp(operation, "Update") != 0)
                schema_faults_add(found, path, REASON_FIELD_VALUE_INVALID,
                                  "Invalid value: operation \"%.40s\": must be `Apply` or `Update`", operation);
        check_text(json_find_string(entry, "manager", NULL) ?: "", MANAGER_MAX, path, found);
        check_text(json_find_string(entry, "subresource", NULL) ?: "", SUBRESOURCE_MAX, path, found);
        for (size_t i = 0; faults && i < schema_faults_kept(found); i++)
                schema_faults_add(faults, schema_faults_at(found, i)->field, schema_faults_at(found, i)->reason, "%s",
                                  schema_faults_at(found, i)->message);
        return schema_faults_count(found) == 0;
}

static bool is_text_or_absent(const struct json_value *entry, const char *member)
{
        const struct json_value *value = json_get(entry, member);

        return !value || json_is(value, JSON_STRING) || json_is(value, JSON_NULL);
}

/* NULL: cannot be read. */
static struct fields *read_fields(const struct json_value *entry)
{
        static const char *const texts[] = {"manager", "operation", "apiVersion", "time", "fieldsType", "subresource"};
        const char *type = json_find_string(entry, "fieldsType", NULL);

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
                if (!is_text_or_absent(entry, texts[i]))
                        return NULL;
        if (!json_find_string(entry, "apiVersion", NULL) || (type && *type && strcmp(type, "FieldsV1") != 0))
                return NULL;
        return json_get(entry, "fieldsV1") ? fields_parse(json_get(entry, "fieldsV1")) : fields_new();
}

static bool is_reset(const struct json_value *list)
{
        return json_length(list) == 1 && json_is(json_first(list), JSON_OBJECT) && json_length(json_first(list)) == 0;
}

int managed_read(const struct schema_kind *kind, const struct json_value *list, struct schema_faults *faults,
                 struct managed **ret_managed)
{
        g_autoptr(managed) managed = managed_new();
        size_t index = 0;

        assert(kind && ret_managed);
        if (list && !json_is(list, JSON_ARRAY))
                return MANAGED_E_MALFORMED;
        if (is_reset(list))
                return MANAGED_E_RESET;
        for (const struct json_value *entry = json_first(list); entry; entry = json_next(entry), index++) {
                g_autoptr(fields) fields = json_is(entry, JSON_OBJECT) ? read_fields(entry) : NULL;
                const char *time = json_find_string(entry, "time", NULL);
                struct part *part;
                uint64_t us;

                if (!fields)
                        return MANAGED_E_MALFORMED;
                if (!check_part(entry, index, faults) || !is_served_version(kind, json_find_string(entry, "apiVersion", NULL)))
                        continue;
                part = ensure_part(managed, kind, json_find_string(entry, "manager", NULL) ?: "",
                                   strcmp(json_find_string(entry, "operation", NULL), "Apply") == 0,
                                   json_find_string(entry, "subresource", NULL));
                fields_add(part->fields, fields);
                if (time && strlen(time) < CLOCK_RFC3339_MAX && clock_parse_rfc3339(time, &us) == 0) {
                        g_free(part->time);
                        part->time = g_strdup(time);
                }
        }
        *ret_managed = g_steal_pointer(&managed);
        return 0;
}

/* --- updates
 * ------------------------------------------------------------------------------------------------------------------------ */

/* Identity and what only the server sets belong to nobody, and so does metadata itself. */
static const char nobodys[] =
        "{\"f:apiVersion\":{},\"f:kind\":{},\"f:metadata\":{\".\":{},\"f:name\":{},\"f:namespace\":{},\"f:uid\":{},"
        "\"f:creationTimestamp\":{},\"f:deletionTimestamp\":{},\"f:deletionGracePeriodSeconds\":{},\"f:generation\":{},"
        "\"f:resourceVersion\":{},\"f:selfLink\":{}}}";

static void strip(struct fields *fields, const struct schema_kind *kind, const char *subresource)
{
        static const char *const status[] = {"status", NULL}, *const managed[] = {"metadata", "managedFields", NULL};
        g_autoptr(json_doc) doc = NULL;
        g_autoptr(fields) taken = NULL;

        if (subresource) {
                fields_drop_all_but(fields, "status");
                return;
        }
        if (json_parse(nobodys, strlen(nobodys), &doc, NULL) == 0)
                taken = fields_parse(json_root_const(doc));
        assert(taken);
        fields_take(fields, taken);
        fields_drop(fields, managed);
        if (kind->has_status)
                fields_drop(fields, status);
}

static void become_own(struct managed *managed, struct part *own, const struct managed_writer *writer)
{
        managed->own = own;
        managed->now = g_strdup(writer->time);
}

void managed_update(struct managed *managed, const struct managed_writer *writer, const struct schema_kind *kind,
                    const struct json_value *old, const struct json_value *now)
{
        g_autoptr(fields) changed = fields_changed(kind, old, now);
        struct part *own;

        assert(managed && writer && writer->name && now);
        strip(changed, kind, writer->subresource);
        if (fields_empty(changed))
                return;
        for (guint i = 0; i < managed->parts->len; i++)
                fields_take(part_at(managed, i)->fields, changed);
        own = ensure_part(managed, kind, writer->name, false, writer->subresource);
        fields_add(own->fields, changed);
        managed->touched = true;
        become_own(managed, own, writer);
}

/* --- conflicts
 * ---------------------------------------------------------------------------------------------------------------------- */

static gint by_manager(gconstpointer a, gconstpointer b)
{
        const struct part *left = *(const struct part *const *)a, *right = *(const struct part *const *)b;
        int order = strcmp(left->manager, right->manager);

        return order ? order : (int)right->applied - (int)left->applied;
}

/* As Kubernetes names a manager. */
static char *part_words(const struct part *part)
{
        g_autoptr(GString) words = g_string_new(NULL);

        json_write_string(part->manager, strlen(part->manager), words);
        if (*part->subresource)
                g_string_append_printf(words, " with subresource \"%s\"", part->subresource);
        if (!part->applied)
                g_string_append_printf(words, " using %s", part->api_version);
        return g_string_free(g_steal_pointer(&words), FALSE);
}

struct telling {
        struct schema_faults *faults;
        const char *who;
        GString *words;
        size_t count;
};

static bool tell_conflict(const char *path, void *userdata)
{
        struct telling *telling = userdata;

        if (telling->count++ < LIMIT_FAULTS)
                g_string_append_printf(telling->words, "\n- %s", path);
        schema_faults_add(telling->faults, path, REASON_FIELD_MANAGER_CONFLICT, "conflict with %s", telling->who);
        return true;
}

static void tell_conflicts(const struct part *part, const struct fields *conflict, struct telling *telling)
{
        g_autofree char *who = part_words(part);

        g_string_append_printf(telling->words, "%sconflicts with %s:", telling->words->len ? "\n" : "", who);
        telling->who = who;
        fields_each(conflict, tell_conflict, telling);
}

/* What kubectl has applied from the client's side by now is its own, whoever wrote it down. */
static struct fields *allowed_by_last_applied(const struct managed_application *application)
{
        const char *text = json_find_string(application->live, "metadata", "annotations", MANAGED_LAST_APPLIED, NULL);
        g_autoptr(json_doc) doc = NULL;

        if (!text || application->writer->subresource || strcmp(application->writer->name, MANAGED_KUBECTL) != 0 ||
            json_parse(text, strlen(text), &doc, NULL) != 0 || !json_is(json_root(doc), JSON_OBJECT))
                return fields_new();
        return fields_of(application->kind, json_root_const(doc), NULL);
}

/* Take what changes away from the others, or tell who they are. */
static int resolve_conflicts(struct managed *managed, const struct managed_application *application, const struct part *own,
                             const struct fields *changed, struct schema_faults *faults, char **reterr_words)
{
        g_autoptr(fields) allowed = allowed_by_last_applied(application);
        g_autoptr(GPtrArray) sorted = g_ptr_array_new();
        g_autoptr(GString) words = g_string_new(NULL);
        struct telling telling = {.faults = faults, .words = words};

        for (guint i = 0; i < managed->parts->len; i++)
                g_ptr_array_add(sorted, part_at(managed, i));
        g_ptr_array_sort(sorted, by_manager);
        for (guint i = 0; !application->force && i < sorted->len; i++) {
                const struct part *part = sorted->pdata[i];
                g_autoptr(fields) conflict = part == own ? fields_new() : fields_both(part->fields, changed);

                if (!part->applied)
                        fields_take(conflict, allowed);
                if (!fields_empty(conflict))
                        tell_conflicts(part, conflict, &telling);
        }
        if (telling.count == 1) {
                *reterr_words = g_strdup_printf("Apply failed with 1 conflict: %s: %s", schema_faults_at(faults, 0)->message,
                                                schema_faults_at(faults, 0)->field);
                return MANAGED_E_CONFLICT;
        }
        if (telling.count) {
                *reterr_words = g_strdup_printf("Apply failed with %zu conflicts: %s", telling.count, words->str);
                return MANAGED_E_CONFLICT;
        }
        for (guint i = 0; i < sorted->len; i++)
                if (sorted->pdata[i] != own)
                        fields_take(((struct part *)sorted->pdata[i])->fields, changed);
        return 0;
}

/* --- apply
 * -------------------------------------------------------------------------------------------------------------------------- */

/* Of an object that nobody has tracked, everything there is belongs to somebody unknown: nothing is overwritten unasked. */
static void own_untracked(struct managed *managed, const struct managed_application *application)
{
        struct part *part;

        if (!application->live || managed->parts->len > 0)
                return;
        part = ensure_part(managed, application->kind, UNTRACKED, false, NULL);
        fields_free(part->fields);
        part->fields = fields_all(application->kind, application->live);
        strip(part->fields, application->kind, NULL);
        part->time = g_strdup(application->writer->time);
}

/*
 * Who changes from merging in kubectl to applying here goes on with what it applied before: else its first apply could take nothing
 * out, since its own other name still holds everything. The annotation stays, for the way back.
 */
static void inherit(struct managed *managed, const struct managed_application *application, struct part *own)
{
        static const char *const names[] = {CLIENT_SIDE, UNTRACKED}, *const annotation[] = {"metadata", "annotations",
                                                                                            MANAGED_LAST_APPLIED, NULL};

        if (application->writer->subresource || strcmp(application->writer->name, MANAGED_KUBECTL) != 0 ||
            !json_find_string(application->live, "metadata", "annotations", MANAGED_LAST_APPLIED, NULL))
                return;
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
                struct part *part = find_part(managed, names[i], false, NULL);

                if (!part)
                        continue;
                fields_drop(part->fields, annotation);
                fields_add(own->fields, part->fields);
                g_ptr_array_remove(managed->parts, part);
        }
}

static guint count_appliers(const struct managed *managed)
{
        guint count = 0;

        for (guint i = 0; i < managed->parts->len; i++)
                count += part_at(managed, i)->applied;
        return count;
}

/* The fields that the writer applies now. */
static struct fields *applied_fields(const struct managed_application *application, struct schema_faults *faults)
{
        g_autofree char *duplicate = NULL;
        g_autoptr(fields) fields = fields_of(application->kind, application->applied, &duplicate);

        if (duplicate) {
                schema_faults_add(faults, "", REASON_FIELD_VALUE_DUPLICATE, "Duplicate value: %.200s: is applied twice", duplicate);
                return NULL;
        }
        strip(fields, application->kind, application->writer->subresource);
        return g_steal_pointer(&fields);
}

static struct fields *kept_fields(const struct managed *managed)
{
        struct fields *kept = fields_new();

        for (guint i = 0; i < managed->parts->len; i++)
                fields_add(kept, part_at(managed, i)->fields);
        return kept;
}

static struct json_value *merge(const struct managed_application *application, struct json_doc *doc)
{
        if (!application->live)
                return json_copy(doc, application->applied);
        return apply_merge(application->kind, doc, application->live, application->applied);
}

int managed_apply(struct managed *managed, const struct managed_application *application, struct json_doc *doc,
                  struct json_value **ret_merged, struct schema_faults *faults, char **reterr_words)
{
        const struct managed_writer *writer = application->writer;
        g_autoptr(fields) applied = NULL, last = NULL, changed = NULL, kept = NULL;
        struct json_value *merged;
        struct part *own;
        int r;

        assert(managed && writer && writer->name && application->applied && doc && ret_merged && faults && reterr_words);
        applied = applied_fields(application, faults);
        if (!applied)
                return MANAGED_E_DUPLICATE;
        own_untracked(managed, application);
        own = find_part(managed, writer->name, true, writer->subresource);
        managed->before = own ? fields_copy(own->fields) : NULL;
        own = ensure_part(managed, application->kind, writer->name, true, writer->subresource);
        if (count_appliers(managed) > LIMIT_FIELD_APPLIERS) {
                schema_faults_add(faults, "metadata.managedFields", REASON_FIELD_VALUE_TOO_MANY,
                                  "Too many: must have at most %d managers that apply", LIMIT_FIELD_APPLIERS);
                return MANAGED_E_TOO_MANY;
        }
        inherit(managed, application, own);
        merged = merge(application, doc);
        changed = fields_changed(application->kind, application->live, merged);
        strip(changed, application->kind, writer->subresource);
        r = resolve_conflicts(managed, application, own, changed, faults, reterr_words);
        if (r)
                return r;
        last = own->fields;
        own->fields = g_steal_pointer(&applied);
        kept = kept_fields(managed);
        if (application->live)
                fields_prune(application->kind, doc, merged, last, kept);
        managed->touched = !fields_empty(changed);
        become_own(managed, own, writer);
        *ret_merged = merged;
        return 0;
}

/* --- writing
 * ------------------------------------------------------------------------------------------------------------------------ */

static void drop_empty(struct managed *managed)
{
        for (guint i = managed->parts->len; i-- > 0;)
                if (fields_empty(part_at(managed, i)->fields))
                        g_ptr_array_remove_index(managed->parts, i);
}

/* Apply first, then by time and name, as Kubernetes. */
static gint by_time(gconstpointer a, gconstpointer b)
{
        const struct part *left = *(const struct part *const *)a, *right = *(const struct part *const *)b;
        int order = (int)right->applied - (int)left->applied;

        if (!order)
                order = g_strcmp0(left->time, right->time);
        if (!order)
                order = strcmp(left->manager, right->manager);
        return order ? order : strcmp(left->subresource, right->subresource);
}

static struct part *oldest_update(const struct managed *managed, const struct part *but)
{
        for (guint i = 0; i < managed->parts->len; i++) {
                struct part *part = part_at(managed, i);

                if (!part->applied && part != but && part != managed->own && !*part->subresource)
                        return part;
        }
        return NULL;
}

/* Many updaters become one, the oldest first. */
static void fold_updates(struct managed *managed, const struct schema_kind *kind)
{
        while (managed->parts->len - count_appliers(managed) > LIMIT_FIELD_UPDATERS) {
                struct part *folded = find_part(managed, FOLDED, false, NULL), *oldest = oldest_update(managed, folded);

                if (!oldest)
                        return;
                folded = ensure_part(managed, kind, FOLDED, false, NULL);
                fields_add(folded->fields, oldest->fields);
                g_free(folded->time);
                folded->time = g_strdup(oldest->time);
                g_ptr_array_remove(managed->parts, oldest);
        }
}

static struct json_value *write_part(const struct part *part, struct json_doc *doc)
{
        struct json_value *entry = json_new(doc, JSON_OBJECT);

        json_set_string(doc, entry, "manager", part->manager);
        json_set_string(doc, entry, "operation", part->applied ? "Apply" : "Update");
        json_set_string(doc, entry, "apiVersion", part->api_version);
        json_set_string(doc, entry, "time", part->time);
        json_set_string(doc, entry, "fieldsType", "FieldsV1");
        json_set(doc, entry, "fieldsV1", fields_write(part->fields, doc));
        json_set_string(doc, entry, "subresource", *part->subresource ? part->subresource : NULL);
        return entry;
}

static struct json_value *write_parts(const struct managed *managed, struct json_doc *doc)
{
        struct json_value *list = json_new(doc, JSON_ARRAY);

        for (guint i = 0; i < managed->parts->len; i++)
                json_append(list, write_part(part_at(managed, i), doc));
        return list;
}

static size_t size_of(const struct json_value *list)
{
        g_autofree char *text = json_to_text(list);

        return strlen(text);
}

/* Updates are forgotten, the oldest first, until the rest fits. */
static struct json_value *write_within(struct managed *managed, struct json_doc *doc)
{
        struct json_value *list = write_parts(managed, doc);

        while (size_of(list) > LIMIT_MANAGED_FIELDS_BYTES) {
                struct part *oldest = NULL;

                for (guint i = 0; !oldest && i < managed->parts->len; i++)
                        oldest = part_at(managed, i)->applied ? NULL : part_at(managed, i);
                if (!oldest)
                        return NULL;
                g_ptr_array_remove(managed->parts, oldest);
                list = write_parts(managed, doc);
        }
        return list;
}

bool managed_write(struct managed *managed, const struct schema_kind *kind, struct json_doc *doc)
{
        struct json_value *metadata = json_ensure_object(doc, json_root(doc), "metadata"), *list;
        struct part *own = managed->own;

        assert(kind && doc);
        for (guint i = 0; i < managed->parts->len; i++)
                fields_keep(kind, part_at(managed, i)->fields, json_root_const(doc));
        if (own && (managed->touched || !own->time || !managed->before || !fields_equal(managed->before, own->fields))) {
                g_free(own->time);
                own->time = g_strdup(managed->now);
        }
        drop_empty(managed);
        g_ptr_array_sort(managed->parts, by_time);
        fold_updates(managed, kind);
        g_ptr_array_sort(managed->parts, by_time);
        list = write_within(managed, doc);
        managed->own = NULL;
        if (!list)
                return false;
        if (json_length(list))
                json_set(doc, metadata, "managedFields", list);
        else
                json_remove(metadata, "managedFields");
        return true;
}
