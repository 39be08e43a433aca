/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limits.h"
#include "schema/rules/rules.h"

#include <string.h>

/* Secrets, ConfigMaps, Events. */

/* What is immutable stays so, and its values with it. Values are never shown. */
static void check_immutable(const struct json_value *object, const struct json_value *old, const char *const *members,
                            struct schema_faults *faults)
{
        if (!json_bool(json_get(old, "immutable"), false))
                return;
        if (!json_bool(json_get(object, "immutable"), false))
                rules_forbidden(faults, "immutable", "it cannot be taken back");
        for (; *members; members++)
                if (!json_equal(json_get(object, *members), json_get(old, *members)))
                        rules_forbidden(faults, *members, "field is immutable when `immutable` is set");
}

static void check_size(size_t bytes, const char *field, struct schema_faults *faults)
{
        if (bytes > LIMIT_SECRET_BYTES)
                schema_faults_add(faults, field, REASON_FIELD_VALUE_TOO_LONG,
                                  "Too long: all values together have %zu bytes, %u at most", bytes, LIMIT_SECRET_BYTES);
}

void rules_secret(const struct json_value *object, const struct json_value *old, struct schema_faults *faults)
{
        static const char *const members[] = {"data", NULL};
        size_t bytes = 0;

        rules_data_keys(faults, "data", json_get(object, "data"), &bytes);
        check_size(bytes / 4 * 3, "data", faults);
        check_immutable(object, old, members, faults);
}

void rules_config_map(const struct json_value *object, const struct json_value *old, struct schema_faults *faults)
{
        static const char *const members[] = {"data", "binaryData", NULL};
        const struct json_value *data = json_get(object, "data"), *binary = json_get(object, "binaryData");
        size_t bytes = 0;

        rules_data_keys(faults, "data", data, &bytes);
        rules_data_keys(faults, "binaryData", binary, &bytes);
        check_size(bytes, "data", faults);
        check_immutable(object, old, members, faults);
        for (const struct json_value *value = json_first(binary); value; value = json_next(value))
                if (json_get(data, json_key(value)))
                        schema_faults_add(faults, "binaryData", REASON_FIELD_VALUE_DUPLICATE,
                                          "Duplicate value: \"%.253s\": data has the same key", json_key(value));
}

/* Who may write in one project tells nothing about the objects of another. Those of the cluster are told about in "default". */
void rules_event(const struct json_value *object, const struct json_value *old, struct schema_faults *faults)
{
        const struct json_value *about = json_find(object, "involvedObject", "namespace", NULL);
        const char *namespace = json_find_string(object, "metadata", "namespace", NULL);
        const char *said = json_string(about, "");

        if (!namespace || strcmp(said, namespace) == 0 || (!*said && strcmp(namespace, "default") == 0) || old)
                return;
        if (*said)
                rules_invalid(faults, "involvedObject.namespace", about, "must be the namespace of the event, %.63s", namespace);
        else
                rules_required(faults, "involvedObject.namespace", "an event about an object of the cluster lies in default");
}

/* stringData is for writing only: its values are moved into data, where they win. */
void prepare_secret(struct json_doc *doc, struct json_value *object)
{
        const struct json_value *text = json_get(object, "stringData");
        struct json_value *data;

        if (!json_is(text, JSON_OBJECT))
                return;
        for (const struct json_value *value = json_first(text); value; value = json_next(value))
                if (!json_is(value, JSON_STRING))
                        return;
        data = json_ensure_object(doc, object, "data");
        for (const struct json_value *value = json_first(text); value; value = json_next(value)) {
                g_autofree char *coded = g_base64_encode((const guchar *)json_string(value, ""), json_string_len(value));

                json_set_string(doc, data, json_key(value), coded);
        }
        json_remove(object, "stringData");
}
