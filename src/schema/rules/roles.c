/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limits.h"
#include "base/names.h"
#include "schema/rules/rules.h"

#include <inttypes.h>
#include <string.h>

/* Roles and bindings: what Kubernetes wants of them, and a bound on what a role can mean. */

#define RBAC_GROUP "rbac.authorization.k8s.io"

/* --- roles
 * --------------------------------------------------------------------------------------------------------------------------- */

static void check_path(const struct json_value *path, const char *place, struct schema_faults *faults)
{
        const char *text = json_string(path, ""), *star = strchr(text, '*');

        if (*text != '/' && strcmp(text, "*") != 0)
                rules_invalid(faults, place, path, "must begin with '/', or be *");
        else if (star && star[1])
                rules_invalid(faults, place, path, "* may stand at the end only");
}

static void check_paths(const struct json_value *paths, const char *place, struct schema_faults *faults)
{
        size_t index = 0;

        for (const struct json_value *path = json_first(paths); path; path = json_next(path)) {
                g_autofree char *field = g_strdup_printf("%s[%zu]", place, index++);

                check_path(path, field, faults);
        }
}

static void check_resource(const struct json_value *resource, const char *place, struct schema_faults *faults)
{
        const char *text = json_string(resource, NULL), *slash = text ? strchr(text, '/') : NULL;

        if (!text)
                return;
        if (!*text || slash == text || (slash && !slash[1]))
                rules_invalid(faults, place, resource, "must be a resource, resource/subresource, *, or */subresource");
        else if (slash && strchr(slash + 1, '*'))
                rules_invalid(faults, place, resource,
                              "a subresource is named; %.*s/* is not known, * means all with all of theirs", (int)(slash - text),
                              text);
}

static void check_regular(const struct json_value *rule, const char *place, struct schema_faults *faults)
{
        g_autofree char *groups = g_strconcat(place, ".apiGroups", NULL), *resources = g_strconcat(place, ".resources", NULL);
        size_t index = 0;

        if (json_length(json_get(rule, "apiGroups")) == 0)
                rules_required(faults, groups, "resource rules must supply at least one api group");
        if (json_length(json_get(rule, "resources")) == 0)
                rules_required(faults, resources, "resource rules must supply at least one resource");
        for (const struct json_value *resource = json_first(json_get(rule, "resources")); resource;
             resource = json_next(resource)) {
                g_autofree char *field = g_strdup_printf("%s[%zu]", resources, index++);

                check_resource(resource, field, faults);
        }
}

static void check_rule(const struct json_value *rule, const char *place, bool namespaced, struct schema_faults *faults)
{
        const struct json_value *paths = json_get(rule, "nonResourceURLs");
        g_autofree char *field = g_strconcat(place, ".nonResourceURLs", NULL);

        if (json_length(paths) == 0) {
                check_regular(rule, place, faults);
                return;
        }
        if (namespaced)
                rules_invalid(faults, field, paths, "namespaced rules cannot apply to non-resource URLs");
        if (json_length(json_get(rule, "apiGroups")) || json_length(json_get(rule, "resources")) ||
            json_length(json_get(rule, "resourceNames")))
                rules_invalid(faults, field, paths, "rules cannot apply to both regular resources and non-resource URLs");
        check_paths(paths, field, faults);
}

static uint64_t at_least_one(const struct json_value *list)
{
        return MAX(json_length(list), 1);
}

/* Verbs times groups times resources times names: what a check against escalation has to look at. */
static uint64_t rights_of(const struct json_value *rule)
{
        return at_least_one(json_get(rule, "verbs")) *
               MAX(at_least_one(json_get(rule, "apiGroups")) * at_least_one(json_get(rule, "resources")) *
                           at_least_one(json_get(rule, "resourceNames")),
                   json_length(json_get(rule, "nonResourceURLs")));
}

static void check_rules(const struct json_value *object, bool namespaced, struct schema_faults *faults)
{
        uint64_t rights = 0;
        size_t index = 0;

        for (const struct json_value *rule = json_first(json_get(object, "rules")); rule; rule = json_next(rule)) {
                g_autofree char *place = g_strdup_printf("rules[%zu]", index++);

                check_rule(rule, place, namespaced, faults);
                rights += rights_of(rule);
        }
        if (rights > LIMIT_ROLE_RIGHTS)
                schema_faults_add(faults, "rules", REASON_FIELD_VALUE_TOO_MANY,
                                  "Too many: the rules come to %" PRIu64 " rights (verbs x groups x resources x names), %u at most",
                                  rights, LIMIT_ROLE_RIGHTS);
}

void rules_role(const struct json_value *object, const struct json_value *old, struct schema_faults *faults)
{
        check_rules(object, true, faults);
}

void rules_cluster_role(const struct json_value *object, const struct json_value *old, struct schema_faults *faults)
{
        const struct json_value *aggregation = json_get(object, "aggregationRule");
        const struct json_value *selectors = json_get(aggregation, "clusterRoleSelectors");
        size_t index = 0;

        /* The rules of an aggregated role are written by the gateway, and bounded where they come from. */
        if (!aggregation)
                check_rules(object, false, faults);
        else if (json_length(selectors) == 0)
                rules_required(faults, "aggregationRule.clusterRoleSelectors",
                               "at least one clusterRoleSelector required if aggregationRule is non-nil");
        for (const struct json_value *selector = json_first(selectors); selector; selector = json_next(selector), index++) {
                g_autofree char *labels = g_strdup_printf("aggregationRule.clusterRoleSelectors[%zu].matchLabels", index);
                g_autofree char *expressions = g_strdup_printf("aggregationRule.clusterRoleSelectors[%zu].matchExpressions", index);

                rules_selector(faults, labels, json_get(selector, "matchLabels"));
                rules_expressions(faults, expressions, json_get(selector, "matchExpressions"));
        }
}

/* --- bindings
 * ------------------------------------------------------------------------------------------------------------------------ */

static void check_account(const struct json_value *subject, const char *place, struct schema_faults *faults)
{
        g_autofree char *namespace_place = g_strconcat(place, ".namespace", NULL), *name_place = g_strconcat(place, ".name", NULL);
        g_autofree char *group_place = g_strconcat(place, ".apiGroup", NULL);
        const struct json_value *namespace = json_get(subject, "namespace"), *name = json_get(subject, "name");

        if (*json_string(json_get(subject, "apiGroup"), ""))
                schema_faults_add(faults, group_place, REASON_FIELD_VALUE_NOT_SUPPORTED,
                                  "Unsupported value: a ServiceAccount is of the core group: \"\"");
        if (!*json_string(namespace, ""))
                rules_required(faults, namespace_place, "a ServiceAccount has a namespace");
        else if (!names_is_label(json_string(namespace, "")))
                rules_invalid(faults, namespace_place, namespace, "is not the name of a namespace");
        if (*json_string(name, "") && !names_is_subdomain(json_string(name, "")))
                rules_invalid(faults, name_place, name, "is not the name of a ServiceAccount");
}

static void check_subject(const struct json_value *subject, const char *place, struct schema_faults *faults)
{
        g_autofree char *group_place = g_strconcat(place, ".apiGroup", NULL);
        g_autofree char *namespace_place = g_strconcat(place, ".namespace", NULL);
        const char *kind = json_find_string(subject, "kind", NULL), *group = json_find_string(subject, "apiGroup", NULL);

        if (g_strcmp0(kind, "ServiceAccount") == 0) {
                check_account(subject, place, faults);
                return;
        }
        if (group && strcmp(group, RBAC_GROUP) != 0)
                schema_faults_add(faults, group_place, REASON_FIELD_VALUE_NOT_SUPPORTED,
                                  "Unsupported value: \"%.80s\": supported values: \"" RBAC_GROUP "\"", group);
        if (*json_string(json_get(subject, "namespace"), ""))
                rules_forbidden(faults, namespace_place, "users and groups belong to no namespace");
}

static void check_binding(const struct json_value *object, const struct json_value *old, const char *const *kinds,
                          struct schema_faults *faults)
{
        const struct json_value *reference = json_get(object, "roleRef");
        const char *group = json_find_string(reference, "apiGroup", NULL), *kind = json_find_string(reference, "kind", NULL);
        size_t index = 0;

        if (group && strcmp(group, RBAC_GROUP) != 0)
                schema_faults_add(faults, "roleRef.apiGroup", REASON_FIELD_VALUE_NOT_SUPPORTED,
                                  "Unsupported value: \"%.80s\": supported values: \"" RBAC_GROUP "\"", group);
        if (kind && !g_strv_contains(kinds, kind))
                schema_faults_add(faults, "roleRef.kind", REASON_FIELD_VALUE_NOT_SUPPORTED,
                                  "Unsupported value: \"%.80s\": supported values: \"%s\"", kind, kinds[0]);
        if (old && !json_equal(reference, json_get(old, "roleRef")))
                rules_invalid(faults, "roleRef", reference, "cannot change roleRef; delete the binding and make another one");
        for (const struct json_value *subject = json_first(json_get(object, "subjects")); subject; subject = json_next(subject)) {
                g_autofree char *place = g_strdup_printf("subjects[%zu]", index++);

                check_subject(subject, place, faults);
        }
}

void rules_role_binding(const struct json_value *object, const struct json_value *old, struct schema_faults *faults)
{
        static const char *const kinds[] = {"Role", "ClusterRole", NULL};

        check_binding(object, old, kinds, faults);
}

void rules_cluster_role_binding(const struct json_value *object, const struct json_value *old, struct schema_faults *faults)
{
        static const char *const kinds[] = {"ClusterRole", NULL};

        check_binding(object, old, kinds, faults);
}

/* The group of a subject follows from its kind. */
static void prepare_subjects(struct json_doc *doc, struct json_value *object)
{
        for (struct json_value *subject = json_first(json_get(object, "subjects")); subject; subject = json_next(subject)) {
                const char *kind = json_find_string(subject, "kind", NULL);
                const char *group = json_find_string(subject, "apiGroup", NULL);

                if ((g_strcmp0(kind, "User") == 0 || g_strcmp0(kind, "Group") == 0) && (!group || !*group))
                        json_set_string(doc, subject, "apiGroup", RBAC_GROUP);
        }
}

void prepare_role_binding(struct json_doc *doc, struct json_value *object)
{
        prepare_subjects(doc, object);
}

void prepare_cluster_role_binding(struct json_doc *doc, struct json_value *object)
{
        prepare_subjects(doc, object);
}
