/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/rules/rules.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define POLICIES_MAX       16 /* more are refused by the table; each is compared with each */
#define DEFAULT_ANNOTATION "virtualmachineclass.virtualization.deckhouse.io/is-default-class"

static bool core_range(const struct json_value *policy, int64_t *ret_min, int64_t *ret_max)
{
        return json_int64(json_find(policy, "cores", "min", NULL), ret_min) == 0 &&
               json_int64(json_find(policy, "cores", "max", NULL), ret_max) == 0;
}

static void check_cores(const struct json_value *policies, const struct json_value *policy, size_t index,
                        struct schema_faults *faults)
{
        g_autofree char *place = g_strdup_printf("spec.sizingPolicies[%zu].cores", index);
        int64_t min, max, other_min, other_max;
        size_t other_index = 0;

        if (!json_get(policy, "cores"))
                rules_required(faults, place, "a policy is of a range of cores");
        if (!core_range(policy, &min, &max))
                return;
        if (min > max) {
                rules_invalid(faults, place, json_get(policy, "cores"), "max must not be less than min");
                return;
        }
        for (const struct json_value *other = json_first(policies); other != policy; other = json_next(other), other_index++)
                if (core_range(other, &other_min, &other_max) && min <= other_max && other_min <= max)
                        rules_invalid(faults, place, json_get(policy, "cores"),
                                      "overlaps with the range %" PRId64 " to %" PRId64 " of policy %zu", other_min, other_max,
                                      other_index);
}

static void check_bytes_range(const struct json_value *range, const char *place, struct schema_faults *faults)
{
        uint64_t min, max;

        if (rules_bytes(json_get(range, "min"), &min) && rules_bytes(json_get(range, "max"), &max) && min > max)
                rules_invalid(faults, place, range, "max must not be less than min");
}

/* "20%" and 20 are the same share; -1: neither. */
static int share_of(const struct json_value *value)
{
        const char *text = json_string(value, json_number_text(value));
        char *end = NULL;
        long share = text && g_ascii_isdigit(*text) ? strtol(text, &end, 10) : -1;

        if (share < 1 || share > 100 || (*end && strcmp(end, "%") != 0))
                return -1;
        return (int)share;
}

static void check_fractions(const struct json_value *policy, size_t index, struct schema_faults *faults)
{
        const struct json_value *fractions = json_get(policy, "coreFractions"), *chosen = json_get(policy, "defaultCoreFraction");
        bool listed = json_length(fractions) == 0;
        size_t number = 0;

        for (const struct json_value *value = json_first(fractions); value; value = json_next(value), number++) {
                g_autofree char *place = g_strdup_printf("spec.sizingPolicies[%zu].coreFractions[%zu]", index, number);

                if (share_of(value) < 0)
                        rules_invalid(faults, place, value, "must be a share from 1 to 100, or from \"1%%\" to \"100%%\"");
                listed |= chosen && share_of(value) == share_of(chosen);
        }
        if (chosen && (share_of(chosen) < 0 || !listed)) {
                g_autofree char *place = g_strdup_printf("spec.sizingPolicies[%zu].defaultCoreFraction", index);

                rules_invalid(faults, place, chosen, "must be one of the policy's coreFractions");
        }
}

static void check_policies(const struct json_value *policies, struct schema_faults *faults)
{
        size_t index = 0;

        for (const struct json_value *policy = json_first(policies); policy && index < POLICIES_MAX;
             policy = json_next(policy), index++) {
                g_autofree char *memory = g_strdup_printf("spec.sizingPolicies[%zu].memory", index);
                g_autofree char *per_core = g_strconcat(memory, ".perCore", NULL);

                check_cores(policies, policy, index, faults);
                check_bytes_range(json_get(policy, "memory"), memory, faults);
                check_bytes_range(json_find(policy, "memory", "perCore", NULL), per_core, faults);
                check_fractions(policy, index, faults);
        }
}

void rules_virtual_machine_class(const struct json_value *object, const struct json_value *old, struct schema_faults *faults)
{
        const struct json_value *spec = json_get(object, "spec"), *selector = json_get(spec, "nodeSelector");
        const struct json_value *mark = json_find(object, "metadata", "annotations", DEFAULT_ANNOTATION, NULL);

        if (old)
                rules_frozen(faults, "spec.cpu", json_get(spec, "cpu"), json_find(old, "spec", "cpu", NULL),
                             "guests have seen the processor; make another class");
        if (mark && strcmp(json_string(mark, ""), "true") != 0)
                rules_invalid(faults, "metadata.annotations", mark, "%s can only be \"true\"; remove it otherwise",
                              DEFAULT_ANNOTATION);
        rules_selector(faults, "spec.nodeSelector.matchLabels", json_get(selector, "matchLabels"));
        rules_expressions(faults, "spec.nodeSelector.matchExpressions", json_get(selector, "matchExpressions"));
        rules_tolerations(faults, "spec.tolerations", json_get(spec, "tolerations"));
        check_policies(json_get(spec, "sizingPolicies"), faults);
}
