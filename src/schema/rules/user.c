/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/rules/rules.h"

#include <string.h>

/* Groups with these beginnings say what somebody is, not what he may: nobody gives them away but the gateway. */
void rules_user(const struct json_value *object, const struct json_value *old, struct schema_faults *faults)
{
        size_t index = 0;

        for (const struct json_value *group = json_first(json_find(object, "spec", "groups", NULL)); group;
             group = json_next(group)) {
                g_autofree char *place = g_strdup_printf("spec.groups[%zu]", index++);
                const char *text = json_string(group, "");

                if (strcmp(text, "gabbro:administrators") != 0 &&
                    (g_str_has_prefix(text, "gabbro:") || g_str_has_prefix(text, "system:")))
                        rules_invalid(faults, place, group, "groups that begin with gabbro: or system: are not given to people");
                for (const char *c = text; *c; c++)
                        if (g_ascii_iscntrl(*c)) {
                                rules_invalid(faults, place, group, "has control characters");
                                break;
                        }
        }
}
