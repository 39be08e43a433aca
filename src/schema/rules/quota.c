/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/quota_names.h"
#include "schema/rules/rules.h"

#define SHOWN_MAX 100

/* What is not counted would never be refused: a name that nobody knows is a fault, not a promise. */
static void check_hard(const struct json_value *hard, struct schema_faults *faults)
{
        const char *name = json_key(hard), *text = json_string(hard, json_number_text(hard));
        g_autofree char *place = g_strdup_printf("spec.hard[%.*s]", SHOWN_MAX, name), *resource = NULL;
        enum quota_unit unit;
        uint64_t amount;

        if (!quota_name_parse(name, &resource, &unit))
                schema_faults_add(faults, place, REASON_FIELD_VALUE_NOT_SUPPORTED,
                                  "Unsupported value: \"%.*s\": nothing is counted under this name; supported values: \"cores\", "
                                  "\"cpu\", \"memory\", \"storage\", \"images.storage\", \"machines\", \"disks\", \"images\", "
                                  "\"addresses\", \"<pool>" QUOTA_POOL_STORAGE "\", \"<pool>" QUOTA_POOL_DISKS
                                  "\" and \"count/<plural>.<group>\" of every kind that lives in projects",
                                  SHOWN_MAX, name);
        else if (text && quota_amount_parse(unit, text, &amount) != 0)
                rules_invalid(faults, place, hard,
                              unit == QUOTA_COUNT ? "must be a whole number, 0 or more" : "must be a quantity, 0 or more");
}

void rules_resource_quota(const struct json_value *object, const struct json_value *old, struct schema_faults *faults)
{
        for (const struct json_value *hard = json_first(json_find(object, "spec", "hard", NULL)); hard; hard = json_next(hard))
                check_hard(hard, faults);
        if (json_length(json_find(object, "spec", "scopes", NULL)) > 0)
                rules_forbidden(faults, "spec.scopes", "a quota counts all objects of the project");
        if (json_find(object, "spec", "scopeSelector", NULL))
                rules_forbidden(faults, "spec.scopeSelector", "a quota counts all objects of the project");
}
