/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limits.h"
#include "base/names.h"
#include "generated/reasons.h"
#include "schema/walk.h"

#include <assert.h>
#include <string.h>

/* What holds for metadata of every kind: the API conventions of Kubernetes. */

#define LABEL_KEY_WORDS                                                                                                            \
        "a key is at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends, and may have a prefix "       \
        "such as example.com/"

#define OWNERS_MOST 64u /* more than this is no ownership, and every end of an owner would cost */

static const char *const label_named[] = {"Namespace", "SecurityGroup", "StoragePool", NULL}; /* their names are labels */
static const char *const machine_named[] = {"VirtualMachine", NULL};                          /* 63 characters at most */

/* Names of roles and bindings are any text that can stand in a path: "gabbro:viewer", "someone@example.com". */
static const char *const path_named[] = {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", NULL};

static bool is_one_of(const char *const *names, const char *name)
{
        for (; *names; names++)
                if (strcmp(*names, name) == 0)
                        return true;
        return false;
}

static const char *check_path_name(const char *name)
{
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strpbrk(name, "/%"))
                return "must not be '.' or '..' and must not have '/' or '%' in it";
        for (const char *c = name; *c; c++)
                if ((unsigned char)*c < ' ' || *c == 0x7f)
                        return "must have no control characters";
        return strlen(name) > 253 ? "must have at most 253 bytes" : NULL;
}

static const char *name_words(const struct schema_kind *kind, const char *name)
{
        if (is_one_of(path_named, kind->kind))
                return check_path_name(name);
        return format_check(is_one_of(label_named, kind->kind) ? SCHEMA_FORMAT_LABEL : SCHEMA_FORMAT_SUBDOMAIN, name);
}

static void check_name(const struct schema_kind *kind, const char *name, struct schema_faults *faults)
{
        const char *words = name_words(kind, name);

        if (words)
                schema_faults_add(faults, "metadata.name", REASON_FIELD_VALUE_INVALID, "Invalid value: \"%.253s\": %s", name,
                                  words);
        else if (is_one_of(machine_named, kind->kind) && strlen(name) > 63)
                schema_faults_add(faults, "metadata.name", REASON_FIELD_VALUE_TOO_LONG,
                                  "Too long: a %s's name has at most 63 characters", kind->kind);
}

static void check_generate_name(const struct schema_kind *kind, const char *prefix, struct schema_faults *faults)
{
        g_autofree char *probe = g_strconcat(prefix, "x", NULL);
        bool path_name = is_one_of(path_named, kind->kind);
        const char *words = path_name                   ? check_path_name(probe)
                            : names_is_subdomain(probe) ? NULL
                                                        : format_check(SCHEMA_FORMAT_SUBDOMAIN, "");

        if (*prefix && words)
                schema_faults_add(faults, "metadata.generateName", REASON_FIELD_VALUE_INVALID, "Invalid value: \"%.253s\": %s",
                                  prefix, words);
}

static void check_labels(const struct json_value *labels, struct schema_faults *faults)
{
        for (const struct json_value *value = json_first(labels); value; value = json_next(value)) {
                const char *text = json_string(value, ""), *words = format_check(SCHEMA_FORMAT_LABEL_VALUE, text);

                if (!names_is_label_key(json_key(value)))
                        schema_faults_add(faults, "metadata.labels", REASON_FIELD_VALUE_INVALID,
                                          "Invalid value: \"%.80s\": " LABEL_KEY_WORDS, json_key(value));
                if (words)
                        schema_faults_add(faults, "metadata.labels", REASON_FIELD_VALUE_INVALID,
                                          "Invalid value: \"%.80s\": the value of %.80s %s", text, json_key(value), words);
        }
}

static void check_annotations(const struct json_value *annotations, struct schema_faults *faults)
{
        size_t bytes = 0;

        for (const struct json_value *value = json_first(annotations); value; value = json_next(value)) {
                g_autofree char *lower = g_ascii_strdown(json_key(value), -1);

                bytes += strlen(json_key(value)) + json_string_len(value);
                if (!names_is_label_key(lower))
                        schema_faults_add(faults, "metadata.annotations", REASON_FIELD_VALUE_INVALID,
                                          "Invalid value: \"%.80s\": " LABEL_KEY_WORDS, json_key(value));
        }
        if (bytes > LIMIT_LABELS_BYTES)
                schema_faults_add(faults, "metadata.annotations", REASON_FIELD_VALUE_TOO_LONG,
                                  "Too long: all annotations together have %zu bytes, %u at most", bytes, LIMIT_LABELS_BYTES);
}

static void check_finalizers(const struct json_value *finalizers, struct schema_faults *faults)
{
        size_t index = 0;

        for (const struct json_value *value = json_first(finalizers); value; value = json_next(value), index++) {
                g_autofree char *field = g_strdup_printf("metadata.finalizers[%zu]", index);

                if (!names_is_label_key(json_string(value, "")))
                        schema_faults_add(faults, field, REASON_FIELD_VALUE_INVALID,
                                          "Invalid value: \"%.80s\": must be a name such as example.com/cleanup",
                                          json_string(value, ""));
        }
}

static void check_owner_text(const char *field, const struct json_value *owner, const char *member, struct schema_faults *faults)
{
        g_autofree char *path = g_strdup_printf("%s.%s", field, member);
        const char *text = json_string(json_get(owner, member), NULL);

        if (text && !*text)
                schema_faults_add(faults, path, REASON_FIELD_VALUE_REQUIRED, "Required value: %s must not be empty", member);
}

/* What is a mistake whatever exists: the garbage collector would look for the owner where it cannot be, or never let go. */
static void check_owner(const struct schema_kind *kind, const char *field, const struct json_value *owner,
                        struct schema_faults *faults)
{
        static const char *const members[] = {"apiVersion", "kind", "name", "uid"};
        const char *version = json_string(json_get(owner, "apiVersion"), ""), *slash = strchr(version, '/');
        g_autofree char *group = slash ? g_strndup(version, (gsize)(slash - version)) : g_strdup("");
        const struct schema_kind *of = schema_kind_by_kind(group, json_string(json_get(owner, "kind"), ""));

        for (size_t i = 0; i < G_N_ELEMENTS(members); i++)
                check_owner_text(field, owner, members[i], faults);
        if (of && strcmp(of->kind, "Event") == 0)
                schema_faults_add(faults, field, REASON_FIELD_VALUE_INVALID,
                                  "Invalid value: %s %s is disallowed from being an owner", version, of->kind);
        else if (of && of->namespaced && !kind->namespaced)
                schema_faults_add(faults, field, REASON_FIELD_VALUE_INVALID,
                                  "Invalid value: %s is in a namespace, and an object of the cluster has no owner there", of->kind);
}

/* One owner at most is the managing controller. */
static void check_owners(const struct schema_kind *kind, const struct json_value *owners, const struct json_value *before,
                         struct schema_faults *faults)
{
        size_t controllers = 0, index = 0;

        if (before && json_equal(owners, before)) /* what an older program took is no fault of this write */
                return;
        for (const struct json_value *owner = json_first(owners); owner; owner = json_next(owner), index++) {
                g_autofree char *field = g_strdup_printf("metadata.ownerReferences[%zu]", index);

                controllers += json_bool(json_get(owner, "controller"), false);
                check_owner(kind, field, owner, faults);
        }
        if (index > OWNERS_MOST)
                schema_faults_add(faults, "metadata.ownerReferences", REASON_FIELD_VALUE_TOO_MANY,
                                  "Too many: %zu: must have at most %u owners", index, OWNERS_MOST);
        if (controllers > 1)
                schema_faults_add(faults, "metadata.ownerReferences", REASON_FIELD_VALUE_INVALID,
                                  "Invalid value: %zu owners have controller set to true; one may", controllers);
}

void metadata_check(const struct schema_kind *kind, const struct json_value *object, const struct json_value *old,
                    struct schema_faults *faults)
{
        const struct json_value *metadata = json_get(object, "metadata");
        const char *name = json_string(json_get(metadata, "name"), NULL);
        const char *prefix = json_string(json_get(metadata, "generateName"), NULL);

        assert(kind && faults);
        if (name && *name && !old)
                check_name(kind, name, faults);
        else if ((!name || !*name) && (!prefix || !*prefix))
                schema_faults_add(faults, "metadata.name", REASON_FIELD_VALUE_REQUIRED,
                                  "Required value: name or generateName is required");
        if (prefix)
                check_generate_name(kind, prefix, faults);
        check_labels(json_get(metadata, "labels"), faults);
        check_annotations(json_get(metadata, "annotations"), faults);
        check_finalizers(json_get(metadata, "finalizers"), faults);
        check_owners(kind, json_get(metadata, "ownerReferences"), json_find(old, "metadata", "ownerReferences", NULL), faults);
}
