/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/policy.h"

#include <assert.h>
#include <string.h>

/* --- kinds
 * --------------------------------------------------------------------------------------------------------------------------- */

static bool has_alias_in(const struct schema_kind *kind, const char *group)
{
        size_t len = strlen(group);

        for (const char *const *alias = kind->aliases; alias && *alias; alias++)
                if (strncmp(*alias, group, len) == 0 && (*alias)[len] == '/')
                        return true;
        return false;
}

const struct schema_kind *auth_kind_of(const char *group, const char *plural)
{
        const struct schema_kind *kind;

        assert(plural);
        kind = schema_kind_by_plural(group ?: "", plural);
        for (size_t i = 0; !kind && schema_kinds[i]; i++)
                if (strcmp(schema_kinds[i]->plural, plural) == 0 && has_alias_in(schema_kinds[i], group ?: ""))
                        kind = schema_kinds[i];
        return kind;
}

void auth_attributes_of_kind(struct auth_attributes *attributes)
{
        const struct schema_kind *kind;

        assert(attributes && attributes->resource);
        kind = auth_kind_of(attributes->group, attributes->resource);
        if (!kind)
                return;
        attributes->group = kind->group;
        attributes->hidden = kind->hidden;
        attributes->internal = kind->internal;
}

/* --- what is missing
 * ------------------------------------------------------------------------------------------------------------------ */

/* One walk over the rights that rules mean. */
struct search {
        struct auth_policy *policy;
        const struct auth_identity *identity;
        const char *namespace;
        const struct json_value *verbs; /* of the rule at hand */
        size_t rule;
        GPtrArray *missing;
};

static void missing_free(void *data)
{
        struct auth_missing *missing = data;

        g_free(missing->words);
        g_free(missing);
}

/* @attributes with each of the rule's verbs; what is not had becomes one line. */
static void look_at(struct search *search, struct auth_attributes *attributes, const char *what)
{
        g_autoptr(GString) lacking = g_string_new(NULL);
        struct auth_missing *missing;

        for (const struct json_value *verb = json_first(search->verbs); verb; verb = json_next(verb)) {
                attributes->verb = json_string(verb, "");
                if (!auth_policy_allows(search->policy, search->identity, attributes, NULL))
                        g_string_append_printf(lacking, "%s%s", lacking->len ? ", " : "", attributes->verb);
        }
        if (lacking->len == 0)
                return;
        missing = g_new0(struct auth_missing, 1);
        missing->rule = search->rule;
        missing->words = g_strdup_printf("%s %s", lacking->str, what);
        g_ptr_array_add(search->missing, missing);
}

static void look_at_resource(struct search *search, const char *group, const char *written, const char *name)
{
        const char *slash = strchr(written, '/');
        g_autofree char *resource = slash ? g_strndup(written, (gsize)(slash - written)) : g_strdup(written);
        g_autofree char *what =
                g_strdup_printf("%s%s%s%s%s%s", written, *group ? "." : "", group, name ? " \"" : "", name ?: "", name ? "\"" : "");
        struct auth_attributes attributes = {.verb = "",
                                             .group = group,
                                             .resource = resource,
                                             .subresource = slash ? slash + 1 : NULL,
                                             .namespace = search->namespace,
                                             .name = name};

        auth_attributes_of_kind(&attributes);
        look_at(search, &attributes, what);
}

static void look_at_resources(struct search *search, const struct json_value *rule, const char *group)
{
        const struct json_value *names = json_get(rule, "resourceNames");

        for (const struct json_value *value = json_first(json_get(rule, "resources")); value; value = json_next(value)) {
                if (json_length(names) == 0)
                        look_at_resource(search, group, json_string(value, ""), NULL);
                for (const struct json_value *name = json_first(names); name; name = json_next(name))
                        look_at_resource(search, group, json_string(value, ""), json_string(name, ""));
        }
}

GPtrArray *auth_policy_missing(struct auth_policy *policy, const struct auth_identity *identity, const char *namespace,
                               const GPtrArray *rules)
{
        struct search search = {.policy = policy, .identity = identity, .namespace = namespace};

        assert(policy && identity && rules);
        search.missing = g_ptr_array_new_with_free_func(missing_free);
        for (; search.rule < rules->len && !auth_is_administrator(identity); search.rule++) {
                const struct json_value *rule = rules->pdata[search.rule];

                search.verbs = json_get(rule, "verbs");
                for (const struct json_value *group = json_first(json_get(rule, "apiGroups")); group; group = json_next(group))
                        look_at_resources(&search, rule, json_string(group, ""));
                for (const struct json_value *path = json_first(json_get(rule, "nonResourceURLs")); path; path = json_next(path))
                        look_at(&search, &(struct auth_attributes){.path = json_string(path, "")}, json_string(path, ""));
        }
        return search.missing;
}
