/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/policy_match.h"

#include <assert.h>
#include <string.h>

/* --- rules
 * --------------------------------------------------------------------------------------------------------------------------- */

static const char **texts_of(const struct json_value *list)
{
        size_t n = 0;
        const char **texts;

        if (json_length(list) == 0)
                return NULL;
        texts = g_new0(const char *, json_length(list) + 1);
        for (const struct json_value *value = json_first(list); value; value = json_next(value))
                if (json_string(value, NULL))
                        texts[n++] = json_string(value, NULL);
        return texts;
}

static bool has(const char *const *texts, const char *text)
{
        for (; texts && *texts; texts++)
                if (strcmp(*texts, text) == 0)
                        return true;
        return false;
}

static bool has_or_all(const char *const *texts, const char *text)
{
        for (; texts && *texts; texts++)
                if (((*texts)[0] == '*' && !(*texts)[1]) || strcmp(*texts, text) == 0)
                        return true;
        return false;
}

struct match_rule *match_rule_new(const struct json_value *rule)
{
        struct match_rule *compiled = g_new0(struct match_rule, 1);

        assert(rule);
        *compiled = (struct match_rule){
                .json = rule,
                .verbs = texts_of(json_get(rule, "verbs")),
                .groups = texts_of(json_get(rule, "apiGroups")),
                .resources = texts_of(json_get(rule, "resources")),
                .names = texts_of(json_get(rule, "resourceNames")),
                .paths = texts_of(json_get(rule, "nonResourceURLs")),
        };
        compiled->everything = has(compiled->verbs, "*") && has(compiled->groups, "*") && has(compiled->resources, "*");
        return compiled;
}

void match_rule_free(void *data)
{
        struct match_rule *rule = data;

        if (!rule)
                return;
        g_free(rule->verbs);
        g_free(rule->groups);
        g_free(rule->resources);
        g_free(rule->names);
        g_free(rule->paths);
        g_free(rule);
}

/* "x" is "x", "x/sub" is "x/sub" or "*" with "/sub" behind it; "*" is all of them. */
static bool resource_is(const char *written, const struct auth_attributes *attributes)
{
        size_t len = strcspn(written, "/");
        bool all = len == 1 && *written == '*';

        if (all && !written[len])
                return true;
        if (!attributes->subresource)
                return strcmp(written, attributes->resource) == 0;
        if (!all && (strlen(attributes->resource) != len || strncmp(written, attributes->resource, len) != 0))
                return false;
        return written[len] && strcmp(written + len + 1, attributes->subresource) == 0;
}

static bool allows_resource(const struct match_rule *rule, const struct auth_attributes *attributes)
{
        for (const char *const *written = rule->resources; written && *written; written++)
                if (resource_is(*written, attributes) && (!attributes->hidden || rule->everything || **written != '*'))
                        return true;
        return false;
}

static bool allows_path(const struct match_rule *rule, const char *path)
{
        for (const char *const *written = rule->paths; written && *written; written++) {
                size_t len = strlen(*written);

                if (strcmp(*written, path) == 0 || (len > 0 && (*written)[len - 1] == '*' && strncmp(*written, path, len - 1) == 0))
                        return true;
        }
        return false;
}

bool match_rule_allows(const struct match_rule *rule, const struct auth_attributes *attributes)
{
        assert(rule && attributes && attributes->verb);
        if (!has_or_all(rule->verbs, attributes->verb))
                return false;
        if (!attributes->resource)
                return allows_path(rule, attributes->path);
        if (!has_or_all(rule->groups, attributes->group ?: "") || !allows_resource(rule, attributes))
                return false;
        return !rule->names || attributes->any_name || (attributes->name && has(rule->names, attributes->name));
}

/* --- aggregation
 * ----------------------------------------------------------------------------------------------------------------------- */

static bool list_has(const struct json_value *list, const char *text)
{
        for (const struct json_value *value = json_first(list); value; value = json_next(value))
                if (g_strcmp0(json_string(value, NULL), text) == 0)
                        return true;
        return false;
}

static bool expression_holds(const struct json_value *expression, const struct json_value *labels)
{
        const char *key = json_find_string(expression, "key", NULL), *op = json_find_string(expression, "operator", NULL);
        const char *value = key ? json_find_string(labels, key, NULL) : NULL;

        if (g_strcmp0(op, "In") == 0)
                return value && list_has(json_get(expression, "values"), value);
        if (g_strcmp0(op, "NotIn") == 0)
                return !value || !list_has(json_get(expression, "values"), value);
        if (g_strcmp0(op, "Exists") == 0)
                return value;
        return g_strcmp0(op, "DoesNotExist") == 0 && !value;
}

static bool selector_holds(const struct json_value *selector, const struct json_value *labels)
{
        const struct json_value *wanted = json_get(selector, "matchLabels"), *expressions = json_get(selector, "matchExpressions");

        for (const struct json_value *label = json_first(wanted); label; label = json_next(label))
                if (g_strcmp0(json_find_string(labels, json_key(label), NULL), json_string(label, "")) != 0)
                        return false;
        for (const struct json_value *expression = json_first(expressions); expression; expression = json_next(expression))
                if (!expression_holds(expression, labels))
                        return false;
        return true;
}

bool match_aggregates(const struct json_value *aggregation, const struct json_value *labels)
{
        const struct json_value *selectors = json_get(aggregation, "clusterRoleSelectors");

        for (const struct json_value *selector = json_first(selectors); selector; selector = json_next(selector))
                if (selector_holds(selector, labels))
                        return true;
        return false;
}
