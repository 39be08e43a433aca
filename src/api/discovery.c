/* SPDX-License-Identifier: Apache-2.0 */
#include "api/discovery.h"
#include "api/review.h"

#include <assert.h>
#include <string.h>

/* The groups of resources that are no kinds of ours: questions that are answered at once. */
#define REVIEW_GROUP   "authorization.k8s.io"
#define WHO_GROUP      "authentication.k8s.io"
#define REVIEW_VERSION "v1"

/* Groups that only name what the body of a subresource is; clients look for them. */
static const struct {
        const char *group, *version;
} body_groups[] = {{"policy", "v1"}, {"policy", "v1beta1"}};

static const struct review_kind who_kinds[] = {
        {"selfsubjectreviews", "SelfSubjectReview", false},
        {"tokenreviews", "TokenReview", false},
        {},
};

static const char *const all_verbs[] = {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch", NULL};
static const char *const read_verbs[] = {"get", "list", "watch", NULL};
static const char *const status_verbs[] = {"get", "patch", "update", NULL};
static const char *const create_verbs[] = {"create", NULL};

struct group_version {
        char *group, *version;
        bool alias;
};

static void group_version_clear(void *data)
{
        struct group_version *entry = data;

        g_free(entry->group);
        g_free(entry->version);
}

static void add_group_version(GArray *list, const char *group, const char *version, bool alias)
{
        struct group_version entry = {.alias = alias};

        for (guint i = 0; i < list->len; i++) {
                const struct group_version *known = &g_array_index(list, struct group_version, i);

                if (strcmp(known->group, group) == 0 && strcmp(known->version, version) == 0)
                        return;
        }
        entry.group = g_strdup(group);
        entry.version = g_strdup(version);
        g_array_append_val(list, entry);
}

static void add_alias(GArray *list, const char *api_version)
{
        g_auto(GStrv) parts = g_strsplit(api_version, "/", 2);

        if (g_strv_length(parts) == 2)
                add_group_version(list, parts[0], parts[1], true);
}

/* Every named group and version. Aliases come last: clients prefer earlier groups when a name is in several. */
static GArray *list_group_versions(const struct api *api)
{
        GArray *list = g_array_new(FALSE, TRUE, sizeof(struct group_version));

        g_array_set_clear_func(list, group_version_clear);
        for (size_t i = 0; schema_kinds[i]; i++)
                if (!schema_kinds[i]->internal && !schema_kinds[i]->hidden && *schema_kinds[i]->group)
                        add_group_version(list, schema_kinds[i]->group, schema_kinds[i]->version, false);
        for (size_t i = 0; schema_kinds[i]; i++)
                if (!schema_kinds[i]->internal && *schema_kinds[i]->group)
                        add_group_version(list, schema_kinds[i]->group, schema_kinds[i]->version, false);
        add_group_version(list, REVIEW_GROUP, REVIEW_VERSION, false);
        for (size_t i = 0; i < G_N_ELEMENTS(body_groups); i++)
                add_group_version(list, body_groups[i].group, body_groups[i].version, false);
        add_group_version(list, WHO_GROUP, REVIEW_VERSION, false);
        for (guint i = 0; i < api->readings->len; i++) {
                const struct api_reading *reading = &g_array_index(api->readings, struct api_reading, i);

                add_group_version(list, reading->group, reading->version, false);
        }
        for (size_t i = 0; api->options.compat_api && schema_kinds[i]; i++)
                for (const char *const *alias = schema_kinds[i]->aliases; alias && *alias && !schema_kinds[i]->internal; alias++)
                        add_alias(list, *alias);
        return list;
}

static GString *text_of(const struct json_value *root)
{
        GString *text = g_string_new(NULL);

        json_write(root, text);
        return text;
}

static void set_strings(struct json_doc *doc, struct json_value *object, const char *key, const char *const *strings)
{
        struct json_value *list = json_ensure_array(doc, object, key);

        for (; strings && *strings; strings++)
                json_append(list, json_new_string(doc, *strings));
}

GString *discovery_versions(const struct api *api)
{
        static const char *const versions[] = {"v1", NULL};
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);

        json_set_string(doc, root, "kind", "APIVersions");
        set_strings(doc, root, "versions", versions);
        json_ensure_array(doc, root, "serverAddressByClientCIDRs");
        return text_of(root);
}

/* --- groups
 * -------------------------------------------------------------------------------------------------------------------------- */

static struct json_value *new_version(struct json_doc *doc, const struct group_version *entry)
{
        g_autofree char *group_version = g_strconcat(entry->group, "/", entry->version, NULL);
        struct json_value *version = json_new(doc, JSON_OBJECT);

        json_set_string(doc, version, "groupVersion", group_version);
        json_set_string(doc, version, "version", entry->version);
        return version;
}

/* One APIGroup: all versions of the group of @entry. */
static struct json_value *new_group(struct json_doc *doc, const GArray *list, const struct group_version *entry)
{
        struct json_value *group = json_new(doc, JSON_OBJECT), *versions;

        json_set_string(doc, group, "name", entry->group);
        versions = json_ensure_array(doc, group, "versions");
        for (guint i = 0; i < list->len; i++) {
                const struct group_version *other = &g_array_index(list, struct group_version, i);

                if (strcmp(other->group, entry->group) == 0)
                        json_append(versions, new_version(doc, other));
        }
        json_set(doc, group, "preferredVersion", new_version(doc, entry));
        return group;
}

static bool is_first_of_group(const GArray *list, guint index)
{
        const struct group_version *entry = &g_array_index(list, struct group_version, index);

        for (guint i = 0; i < index; i++)
                if (strcmp(g_array_index(list, struct group_version, i).group, entry->group) == 0)
                        return false;
        return true;
}

GString *discovery_groups(const struct api *api)
{
        g_autoptr(GArray) list = list_group_versions(api);
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT), *groups;

        json_set_string(doc, root, "kind", "APIGroupList");
        json_set_string(doc, root, "apiVersion", "v1");
        groups = json_ensure_array(doc, root, "groups");
        for (guint i = 0; i < list->len; i++)
                if (is_first_of_group(list, i))
                        json_append(groups, new_group(doc, list, &g_array_index(list, struct group_version, i)));
        return text_of(root);
}

GString *discovery_group(const struct api *api, const char *group)
{
        g_autoptr(GArray) list = list_group_versions(api);
        g_autoptr(json_doc) doc = json_doc_new();

        for (guint i = 0; i < list->len; i++) {
                const struct group_version *entry = &g_array_index(list, struct group_version, i);
                struct json_value *root;

                if (strcmp(entry->group, group) != 0)
                        continue;
                root = new_group(doc, list, entry);
                json_set_string(doc, root, "kind", "APIGroup");
                json_set_string(doc, root, "apiVersion", "v1");
                return text_of(root);
        }
        return NULL;
}

/* --- resources
 * ----------------------------------------------------------------------------------------------------------------------- */

static struct json_value *new_resource(struct json_doc *doc, const struct schema_kind *kind, const char *subresource,
                                       const char *const *verbs)
{
        struct json_value *resource = json_new(doc, JSON_OBJECT);
        g_autofree char *name = subresource ? g_strconcat(kind->plural, "/", subresource, NULL) : g_strdup(kind->plural);

        json_set_string(doc, resource, "name", name);
        json_set_string(doc, resource, "singularName", subresource ? "" : kind->singular);
        json_set_bool(doc, resource, "namespaced", kind->namespaced);
        json_set_string(doc, resource, "kind", kind->kind);
        set_strings(doc, resource, "verbs", verbs);
        return resource;
}

/* Whether an earlier entry, for another method, has the same name. */
static bool is_told_already(const struct api *api, guint index)
{
        const struct api_subresource *entry = &g_array_index(api->subresources, struct api_subresource, index);

        for (guint i = 0; i < index; i++) {
                const struct api_subresource *other = &g_array_index(api->subresources, struct api_subresource, i);

                if (other->kind == entry->kind && strcmp(other->name, entry->name) == 0 && strcmp(other->verb, entry->verb) == 0)
                        return true;
        }
        return false;
}

/* Hidden kinds are listed, so that tools can read them by name, but are in no category; intents and projected kinds can only be
 * read. */
static void add_kind(struct json_doc *doc, struct json_value *resources, const struct api *api, const struct schema_kind *kind,
                     bool alias)
{
        bool intent = kind->projected || (kind->hidden && strcmp(kind->group, "host.gabbro.dev") == 0);
        struct json_value *resource = json_append(resources, new_resource(doc, kind, NULL, intent ? read_verbs : all_verbs));

        if (!alias && kind->short_names && *kind->short_names)
                set_strings(doc, resource, "shortNames", kind->short_names);
        if (!alias && !kind->hidden && kind->categories && *kind->categories)
                set_strings(doc, resource, "categories", kind->categories);
        if (kind->has_status)
                json_append(resources,
                            new_resource(doc, kind, "status", intent ? (const char *const[]){"get", NULL} : status_verbs));
        for (guint i = 0; i < api->subresources->len; i++) {
                const struct api_subresource *other = &g_array_index(api->subresources, struct api_subresource, i);
                const char *const verbs[] = {other->verb, NULL};

                if (other->kind != kind || is_told_already(api, i))
                        continue;
                resource = json_append(resources, new_resource(doc, kind, other->name, verbs));
                json_set_string(doc, resource, "group", other->as_group);
                json_set_string(doc, resource, "version", other->as_version);
                if (other->as_kind)
                        json_set_string(doc, resource, "kind", other->as_kind);
        }
}

static bool is_served_as(const struct api *api, const struct schema_kind *kind, const char *group, const char *version,
                         bool *ret_alias)
{
        g_autofree char *api_version = g_strconcat(group, "/", version, NULL);

        *ret_alias = false;
        if (kind->internal)
                return false;
        if (strcmp(kind->group, group) == 0 && strcmp(kind->version, version) == 0)
                return true;
        *ret_alias = api->options.compat_api && kind->aliases && g_strv_contains(kind->aliases, api_version);
        return *ret_alias;
}

static void add_reviews(struct json_doc *doc, struct json_value *resources, const char *group, const char *version)
{
        bool who = strcmp(group, WHO_GROUP) == 0;

        if ((!who && strcmp(group, REVIEW_GROUP) != 0) || strcmp(version, REVIEW_VERSION) != 0)
                return;
        for (const struct review_kind *review = who ? who_kinds : review_kinds(); review->plural; review++) {
                struct json_value *resource = json_append(resources, json_new(doc, JSON_OBJECT));

                json_set_string(doc, resource, "name", review->plural);
                json_set_string(doc, resource, "singularName", "");
                json_set_bool(doc, resource, "namespaced", review->namespaced);
                json_set_string(doc, resource, "kind", review->kind);
                set_strings(doc, resource, "verbs", create_verbs);
        }
}

/* The subresources that take such bodies, without verbs, for they are served under their own kind. Clients do not keep what they
 * discovered of a group that has no resources, and would ask again at every command. */
static void add_bodies(struct json_doc *doc, struct json_value *resources, const struct api *api, const char *group,
                       const char *version)
{
        for (size_t i = 0; i < G_N_ELEMENTS(body_groups); i++) {
                if (strcmp(body_groups[i].group, group) != 0 || strcmp(body_groups[i].version, version) != 0)
                        continue;
                for (guint k = 0; k < api->subresources->len; k++) {
                        const struct api_subresource *other = &g_array_index(api->subresources, struct api_subresource, k);

                        if (g_strcmp0(other->as_group, group) == 0)
                                json_set_string(doc, json_append(resources, new_resource(doc, other->kind, other->name, NULL)),
                                                "kind", other->as_kind);
                }
        }
}

static void add_readings(struct json_doc *doc, struct json_value *resources, const struct api *api, const char *group,
                         const char *version)
{
        static const char *const verbs[] = {"get", "list", NULL};

        for (guint i = 0; i < api->readings->len; i++) {
                const struct api_reading *reading = &g_array_index(api->readings, struct api_reading, i);
                struct json_value *resource;

                if (strcmp(reading->group, group) != 0 || strcmp(reading->version, version) != 0)
                        continue;
                resource = json_append(resources, json_new(doc, JSON_OBJECT));
                json_set_string(doc, resource, "name", reading->plural);
                json_set_string(doc, resource, "singularName", "");
                json_set_bool(doc, resource, "namespaced", reading->namespaced);
                json_set_string(doc, resource, "kind", reading->kind);
                set_strings(doc, resource, "verbs", verbs);
        }
}

GString *discovery_resources(const struct api *api, const char *group, const char *version)
{
        g_autofree char *group_version = *group ? g_strconcat(group, "/", version, NULL) : g_strdup(version);
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT), *resources;
        bool alias;

        assert(api && group && version);
        json_set_string(doc, root, "kind", "APIResourceList");
        json_set_string(doc, root, "apiVersion", "v1");
        json_set_string(doc, root, "groupVersion", group_version);
        resources = json_ensure_array(doc, root, "resources");
        for (size_t i = 0; schema_kinds[i]; i++)
                if (is_served_as(api, schema_kinds[i], group, version, &alias))
                        add_kind(doc, resources, api, schema_kinds[i], alias);
        add_reviews(doc, resources, group, version);
        add_bodies(doc, resources, api, group, version);
        add_readings(doc, resources, api, group, version);
        return json_length(resources) ? text_of(root) : NULL;
}
