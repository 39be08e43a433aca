/* SPDX-License-Identifier: Apache-2.0 */
#include "generated/reasons.h"
#include "schema/walk.h"

#include <assert.h>

static bool has_immutable(const struct schema_type *type, unsigned depth)
{
        assert(depth <= WALK_DEPTH_MAX);
        for (const struct schema_field *field = type->fields; field->name; field++)
                if ((field->flags & SCHEMA_IMMUTABLE) || (field->value == SCHEMA_OBJECT && has_immutable(field->type, depth + 1)))
                        return true;
        return false;
}

static void check_list(const struct schema_field *field, const struct json_value *list, const struct json_value *old,
                       const struct walk_path *path, struct schema_faults *faults)
{
        size_t index = 0;

        if (!has_immutable(field->type, 1))
                return;
        for (const struct json_value *value = json_first(list); value; value = json_next(value)) {
                struct walk_path place = walk_element(path, index++);
                const struct json_value *before = walk_find_by_keys(field, old, value);

                if (before)
                        immutable_check(field->type, value, before, &place, faults);
        }
}

void immutable_check(const struct schema_type *type, const struct json_value *value, const struct json_value *old,
                     const struct walk_path *path, struct schema_faults *faults)
{
        assert(type && faults);
        for (const struct schema_field *field = type->fields; field->name; field++) {
                const struct json_value *before = json_get(old, field->name);
                const struct json_value *now = json_get(value, field->name);
                struct walk_path place = walk_member(path, field->name);

                if (!before || json_is(before, JSON_NULL))
                        continue;
                if ((field->flags & SCHEMA_IMMUTABLE) && !json_equal(before, now)) {
                        g_autofree char *shown = now ? walk_show(now, field->flags) : NULL;

                        walk_fault(faults, &place, REASON_FIELD_VALUE_INVALID, "Invalid value: %s: field is immutable",
                                   shown ?: "(removed)");
                } else if (field->value == SCHEMA_OBJECT && field->shape == SCHEMA_SINGLE) {
                        immutable_check(field->type, now, before, &place, faults);
                } else if (field->value == SCHEMA_OBJECT && field->shape == SCHEMA_LIST_MAP) {
                        check_list(field, now, before, &place, faults);
                }
        }
}
