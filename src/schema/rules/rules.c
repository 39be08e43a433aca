/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/rules/rules.h"

#include "base/names.h"
#include "base/quantity.h"
#include "schema/walk.h"

#include <assert.h>
#include <string.h>

void rules_invalid(struct schema_faults *faults, const char *field, const struct json_value *value, const char *format, ...)
{
        g_autofree char *shown = walk_show(value, 0), *words = NULL;
        va_list arguments;

        va_start(arguments, format);
        words = g_strdup_vprintf(format, arguments);
        va_end(arguments);
        schema_faults_add(faults, field, REASON_FIELD_VALUE_INVALID, "Invalid value: %s: %s", shown, words);
}

void rules_forbidden(struct schema_faults *faults, const char *field, const char *words)
{
        schema_faults_add(faults, field, REASON_FIELD_VALUE_FORBIDDEN, "Forbidden: %s", words);
}

void rules_required(struct schema_faults *faults, const char *field, const char *words)
{
        schema_faults_add(faults, field, REASON_FIELD_VALUE_REQUIRED, "Required value: %s", words);
}

bool rules_bytes(const struct json_value *value, uint64_t *ret_bytes)
{
        const char *text = json_string(value, json_number_text(value));

        return text && quantity_parse_bytes(text, ret_bytes) == 0;
}

void rules_frozen(struct schema_faults *faults, const char *field, const struct json_value *now, const struct json_value *before,
                  const char *words)
{
        if ((now || before) && !json_equal(now, before))
                rules_invalid(faults, field, now, "field is immutable: %s", words);
}

void rules_selector(struct schema_faults *faults, const char *field, const struct json_value *labels)
{
        for (const struct json_value *value = json_first(labels); value; value = json_next(value)) {
                g_autofree char *place = g_strdup_printf("%s.%s", field, json_key(value));
                const char *words = format_check(SCHEMA_FORMAT_LABEL_VALUE, json_string(value, ""));

                if (!names_is_label_key(json_key(value)))
                        rules_invalid(faults, place, value, "the key is not that of a label");
                if (words)
                        rules_invalid(faults, place, value, "%s", words);
        }
}

static void check_expression(struct schema_faults *faults, const char *place, const struct json_value *expression)
{
        const char *op = json_find_string(expression, "operator", NULL), *key = json_find_string(expression, "key", NULL);
        size_t count = json_length(json_get(expression, "values"));
        g_autofree char *values = g_strconcat(place, ".values", NULL), *key_place = g_strconcat(place, ".key", NULL);

        if (key && *key && !names_is_label_key(key))
                rules_invalid(faults, key_place, json_get(expression, "key"), "is not the key of a label");
        if (!op)
                return;
        if ((strcmp(op, "In") == 0 || strcmp(op, "NotIn") == 0) && count == 0)
                rules_required(faults, values, "In and NotIn compare with at least one value");
        else if ((strcmp(op, "Exists") == 0 || strcmp(op, "DoesNotExist") == 0) && count > 0)
                rules_forbidden(faults, values, "Exists and DoesNotExist compare with no value");
        else if ((strcmp(op, "Gt") == 0 || strcmp(op, "Lt") == 0) && count != 1)
                rules_required(faults, values, "Gt and Lt compare with exactly one whole number");
}

void rules_expressions(struct schema_faults *faults, const char *field, const struct json_value *expressions)
{
        size_t index = 0;

        for (const struct json_value *expression = json_first(expressions); expression; expression = json_next(expression)) {
                g_autofree char *place = g_strdup_printf("%s[%zu]", field, index++);

                check_expression(faults, place, expression);
        }
}

void rules_tolerations(struct schema_faults *faults, const char *field, const struct json_value *tolerations)
{
        size_t index = 0;

        for (const struct json_value *toleration = json_first(tolerations); toleration; toleration = json_next(toleration)) {
                g_autofree char *place = g_strdup_printf("%s[%zu]", field, index++);
                const char *key = json_find_string(toleration, "key", NULL), *value = json_find_string(toleration, "value", NULL);
                const char *op = json_find_string(toleration, "operator", NULL);
                bool exists = g_strcmp0(op, "Exists") == 0;

                if ((!key || !*key) && !exists)
                        rules_invalid(faults, place, toleration,
                                      "operator must be Exists when key is empty, which tolerates every taint");
                if (exists && value && *value)
                        rules_invalid(faults, place, toleration, "value must be empty when operator is Exists");
                if (json_get(toleration, "tolerationSeconds") &&
                    g_strcmp0(json_find_string(toleration, "effect", NULL), "NoExecute") != 0)
                        rules_invalid(faults, place, toleration, "effect must be NoExecute when tolerationSeconds is set");
        }
}

void rules_data_source(struct schema_faults *faults, const struct json_value *object, const struct json_value *old)
{
        const struct json_value *source = json_find(object, "spec", "dataSource", NULL);

        assert(faults);
        if (g_strcmp0(json_find_string(source, "type", NULL), "ContainerImage") == 0)
                schema_faults_add(faults, "spec.dataSource.type", REASON_FIELD_VALUE_NOT_SUPPORTED,
                                  "Unsupported value: \"ContainerImage\": container images are no source here; use HTTP, Upload or "
                                  "ObjectRef");
        if (old)
                rules_frozen(faults, "spec.dataSource", source, json_find(old, "spec", "dataSource", NULL),
                             "the content is made once; delete it and create another");
}

static bool is_data_key(const char *key)
{
        size_t len = strlen(key);

        if (len < 1 || len > 253 || strcmp(key, ".") == 0 || g_str_has_prefix(key, ".."))
                return false;
        for (; *key; key++)
                if (!g_ascii_isalnum(*key) && !strchr("-._", *key))
                        return false;
        return true;
}

void rules_data_keys(struct schema_faults *faults, const char *field, const struct json_value *data, size_t *bytes)
{
        for (const struct json_value *value = json_first(data); value; value = json_next(value)) {
                *bytes += json_string_len(value);
                if (!is_data_key(json_key(value)))
                        schema_faults_add(faults, field, REASON_FIELD_VALUE_INVALID,
                                          "Invalid value: \"%.80s\": a key is at most 253 letters, digits, '-', '_' and '.'",
                                          json_key(value));
        }
}
