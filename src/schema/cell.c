/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "schema/walk.h"

#include <assert.h>
#include <string.h>

/* Column paths; their grammar is told in api/README.md and judged by api/generate/check.py. */

static bool is_text(const struct json_value *value, const char *text, size_t len)
{
        return json_string_len(value) == len && memcmp(json_string(value, ""), text, len) == 0;
}

/* The element of a list whose type or name is @key, or member @key of a map. */
static const struct json_value *select_by(const struct json_value *container, const char *key, size_t len)
{
        if (json_is(container, JSON_OBJECT))
                return json_get_len(container, key, len);
        for (const struct json_value *value = json_first(container); value; value = json_next(value))
                if (is_text(json_get_len(value, "type", 4), key, len) || is_text(json_get_len(value, "name", 4), key, len))
                        return value;
        return NULL;
}

/* Rows are made by the ten thousand: nothing is copied on the way. */
static const struct json_value *follow(const struct json_value *value, const char *path, size_t len)
{
        const char *end = path + len;

        while (value && path < end) {
                bool bracket = *path == '[';
                size_t n = bracket ? strcspn(path + 1, "]") : strcspn(path + 1, ".[)");

                value = bracket ? select_by(value, path + 1, n) : json_get_len(value, path + 1, n);
                path += n + 1 + bracket;
        }
        return value;
}

static char *age_of(const struct json_value *value, uint64_t now_us)
{
        char text[32];
        uint64_t then_us;

        if (clock_parse_rfc3339(json_string(value, ""), &then_us) != 0)
                return NULL;
        if (then_us > now_us)
                return g_strconcat("in ", clock_format_age(then_us - now_us, text), NULL);
        return g_strdup(clock_format_age(now_us - then_us, text));
}

static char *text_of(const struct json_value *value)
{
        if (!value || json_is(value, JSON_NULL))
                return NULL;
        if (json_is(value, JSON_STRING))
                return g_strdup(json_string(value, ""));
        return json_to_text(value);
}

/* --- functions of columns --------------------------------------------------------------------------------------------------------
 */

static char *cell_keys(const struct json_value *value, uint64_t now_us)
{
        return g_strdup_printf("%zu", json_length(value));
}

/* A reference as kubectl prints it: "virtualmachine/linux-vm". */
static char *cell_object(const struct json_value *value, uint64_t now_us)
{
        const char *kind = json_find_string(value, "kind", NULL), *name = json_find_string(value, "name", NULL);
        g_autofree char *lower = kind ? g_ascii_strdown(kind, -1) : NULL;

        return name ? g_strdup_printf("%s%s%s", lower ?: "", lower ? "/" : "", name) : NULL;
}

static char *cell_node_status(const struct json_value *node, uint64_t now_us)
{
        const struct json_value *ready = select_by(json_find(node, "status", "conditions", NULL), "Ready", strlen("Ready"));
        const char *status = json_find_string(ready, "status", NULL), *words = "Unknown";

        if (g_strcmp0(status, "True") == 0)
                words = "Ready";
        else if (g_strcmp0(status, "False") == 0 || g_strcmp0(status, "Unknown") == 0)
                words = "NotReady";
        return g_strconcat(words, json_bool(json_find(node, "spec", "unschedulable", NULL), false) ? ",SchedulingDisabled" : NULL,
                           NULL);
}

static char *cell_node_roles(const struct json_value *node, uint64_t now_us)
{
        static const char prefix[] = "node-role.kubernetes.io/";
        const struct json_value *labels = json_find(node, "metadata", "labels", NULL);
        GString *roles = g_string_new(NULL);

        for (const struct json_value *label = json_first(labels); label; label = json_next(label))
                if (g_str_has_prefix(json_key(label), prefix))
                        g_string_append_printf(roles, "%s%s", roles->len > 0 ? "," : "", json_key(label) + strlen(prefix));
        if (roles->len == 0)
                g_string_append(roles, "<none>");
        return g_string_free(roles, FALSE);
}

/* "cores: 2/10, memory: 4Gi/8Gi" of an object with members used and hard. */
static char *cell_usage(const struct json_value *value, uint64_t now_us)
{
        g_autoptr(GString) text = g_string_new(NULL);

        for (const struct json_value *hard = json_first(json_get(value, "hard")); hard; hard = json_next(hard)) {
                const struct json_value *used = json_find(value, "used", json_key(hard), NULL);

                g_string_append_printf(text, "%s%s: %s/%s", text->len > 0 ? ", " : "", json_key(hard),
                                       json_string(used, json_number_text(used)) ?: "?",
                                       json_string(hard, json_number_text(hard)) ?: "?");
        }
        return g_string_free(g_steal_pointer(&text), FALSE);
}

/* The subjects of a binding that are of one kind, service accounts as "project/name". */
static char *subjects_of(const struct json_value *subjects, const char *kind)
{
        GString *names = g_string_new(NULL);

        for (const struct json_value *subject = json_first(subjects); subject; subject = json_next(subject)) {
                const char *namespace = json_find_string(subject, "namespace", NULL);

                if (g_strcmp0(json_find_string(subject, "kind", NULL), kind) == 0)
                        g_string_append_printf(names, "%s%s%s%s", names->len > 0 ? ", " : "", namespace ?: "", namespace ? "/" : "",
                                               json_find_string(subject, "name", NULL) ?: "");
        }
        return g_string_free(names, FALSE);
}

static char *cell_users(const struct json_value *subjects, uint64_t now_us)
{
        return subjects_of(subjects, "User");
}

static char *cell_groups(const struct json_value *subjects, uint64_t now_us)
{
        return subjects_of(subjects, "Group");
}

static char *cell_service_accounts(const struct json_value *subjects, uint64_t now_us)
{
        return subjects_of(subjects, "ServiceAccount");
}

static const struct {
        const char *name;
        char *(*text)(const struct json_value *value, uint64_t now_us);
} functions[] = {
        {"keys(", cell_keys},
        {"age(", age_of},
        {"object(", cell_object},
        {"usage(", cell_usage},
        {"nodestatus(", cell_node_status},
        {"noderoles(", cell_node_roles},
        {"users(", cell_users},
        {"groups(", cell_groups},
        {"serviceaccounts(", cell_service_accounts},
};

char *schema_cell(const struct schema_column *column, const struct json_value *object, uint64_t now_us)
{
        const char *path;

        assert(column);
        path = column->path;
        for (size_t i = 0; *path != '.' && *path != '[' && i < G_N_ELEMENTS(functions); i++)
                if (g_str_has_prefix(path, functions[i].name)) {
                        const char *inner = path + strlen(functions[i].name);

                        return functions[i].text(follow(object, inner, strcspn(inner, ")")), now_us);
                }
        if (strcmp(column->type, "date") == 0)
                return age_of(follow(object, path, strlen(path)), now_us);
        return text_of(follow(object, path, strlen(path)));
}
