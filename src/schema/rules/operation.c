/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/rules/rules.h"

void rules_virtual_machine_operation(const struct json_value *object, const struct json_value *old, struct schema_faults *faults)
{
        const struct json_value *force = json_find(object, "spec", "force", NULL);

        static const char *const forced[] = {"Stop", "Restart", "ForceOff", NULL};
        const char *type = json_find_string(object, "spec", "type", NULL);

        if (json_bool(force, false) && g_strcmp0(type, "Start") == 0)
                rules_invalid(faults, "spec.force", force, "a start cannot be forced");
        else if (json_bool(force, false) && type && !g_strv_contains(forced, type))
                rules_invalid(faults, "spec.force", force, "only Stop and Restart can be forced");
        if (old && !json_find(old, "spec", "force", NULL))
                rules_frozen(faults, "spec.force", force, NULL, "an operation is done once; create another");
}
