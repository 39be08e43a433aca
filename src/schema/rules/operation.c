/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/rules/rules.h"

#include "base/names.h"

static bool renames_machine(const struct json_value *clone, const char *machine)
{
        const struct json_value *more = json_get(clone, "customization");

        for (const struct json_value *r = json_first(json_get(clone, "nameReplacement")); r; r = json_next(r)) {
                const char *kind = json_find_string(r, "from", "kind", NULL) ?: "VirtualMachine";

                if (g_strcmp0(kind, "VirtualMachine") == 0 && g_strcmp0(json_find_string(r, "from", "name", NULL), machine) == 0)
                        return g_strcmp0(json_find_string(r, "to", NULL), machine) != 0;
        }
        return json_find_string(more, "namePrefix", NULL) || json_find_string(more, "nameSuffix", NULL);
}

static void clone_rules(const struct json_value *spec, struct schema_faults *faults)
{
        const struct json_value *clone = json_get(spec, "clone"), *name = json_get(clone, "name");
        const char *machine = json_find_string(spec, "virtualMachineName", NULL), *text = json_find_string(clone, "name", NULL);

        if (text && !names_is_label(text))
                rules_invalid(faults, "spec.clone.name", name, "a name has up to 63 of a-z, 0-9 and '-'");
        else if (text && g_strcmp0(text, machine) == 0)
                rules_invalid(faults, "spec.clone.name", name, "the new machine needs another name than its source");
        else if (!name && !renames_machine(clone, machine))
                rules_required(faults, "spec.clone.name", "nothing gives the new machine another name");
}

/* Where it goes was decided at the beginning; how fast it goes may be changed. */
static void migrate_rules(const struct json_value *object, const struct json_value *old, struct schema_faults *faults)
{
        static const char *const fixed[] = {"nodeName", "nodeSelector", "cold"};

        for (size_t i = 0; i < G_N_ELEMENTS(fixed); i++) {
                g_autofree char *field = g_strconcat("spec.migrate.", fixed[i], NULL);

                if (!json_find(old, "spec", "migrate", fixed[i], NULL))
                        rules_frozen(faults, field, json_find(object, "spec", "migrate", fixed[i], NULL), NULL,
                                     "it is under way; create another");
        }
}

void rules_virtual_machine_operation(const struct json_value *object, const struct json_value *old, struct schema_faults *faults)
{
        const struct json_value *force = json_find(object, "spec", "force", NULL);

        static const char *const forced[] = {"Stop", "Restart", "ForceOff", "Migrate", "Evict", NULL};
        const char *type = json_find_string(object, "spec", "type", NULL);

        if (json_bool(force, false) && g_strcmp0(type, "Start") == 0)
                rules_invalid(faults, "spec.force", force, "a start cannot be forced");
        else if (json_bool(force, false) && type && !g_strv_contains(forced, type))
                rules_invalid(faults, "spec.force", force, "only Stop and Restart can be forced");
        if (g_strcmp0(type, "Redeploy") != 0 && json_find(object, "spec", "identity", NULL))
                rules_forbidden(faults, "spec.identity", "it is for type Redeploy");
        if (g_strcmp0(type, "Migrate") != 0 && json_find(object, "spec", "migrate", NULL))
                rules_forbidden(faults, "spec.migrate", "it is for type Migrate");
        if (g_strcmp0(type, "Clone") != 0) {
                if (json_find(object, "spec", "clone", NULL))
                        rules_forbidden(faults, "spec.clone", "it is for type Clone");
        } else if (!json_find(object, "spec", "clone", NULL)) {
                rules_required(faults, "spec.clone", "what is cloned needs another name");
        } else {
                clone_rules(json_get(object, "spec"), faults);
        }
        if (old)
                migrate_rules(object, old, faults);
        if (old && !json_find(old, "spec", "force", NULL))
                rules_frozen(faults, "spec.force", force, NULL, "an operation is done once; create another");
}
