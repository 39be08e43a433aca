/* SPDX-License-Identifier: Apache-2.0 */
#include "base/address.h"
#include "schema/rules/rules.h"

#include <inttypes.h>
#include <string.h>

/* Networks, addresses and security groups. */

#define PREFIX_SHORTEST 8
#define PREFIX_LONGEST  30

/* An address of @spec that must be usable for a host in @prefix; false when absent or wrong. */
static bool host_address(const struct json_value *spec, const char *member, const struct address_prefix *prefix,
                         struct schema_faults *faults, struct address *ret_address)
{
        const struct json_value *value = json_get(spec, member);
        g_autofree char *place = g_strconcat("spec.", member, NULL);
        struct address last;

        if (!value || address_parse(json_string(value, ""), ret_address) != 0)
                return false;
        if (!address_prefix_contains(prefix, ret_address)) {
                rules_invalid(faults, place, value, "is not in the range of the network");
                return false;
        }
        address_offset(&prefix->base, address_prefix_size(prefix) - 1, &last);
        if (address_compare(ret_address, &prefix->base) == 0 || address_compare(ret_address, &last) == 0) {
                rules_invalid(faults, place, value, "is the first or the last address of the range, which no host can have");
                return false;
        }
        return true;
}

void rules_network(const struct json_value *object, const struct json_value *old, struct schema_faults *faults)
{
        const struct json_value *spec = json_get(object, "spec"), *cidr = json_get(spec, "cidr");
        struct address gateway, start, end;
        struct address_prefix prefix;
        bool has_start, has_end;

        if (!json_is(cidr, JSON_STRING) || address_prefix_parse(json_string(cidr, ""), &prefix) != 0)
                return;
        if (prefix.base.family != 4) {
                rules_invalid(faults, "spec.cidr", cidr, "must be of IPv4");
                return;
        }
        if (prefix.length < PREFIX_SHORTEST || prefix.length > PREFIX_LONGEST) {
                rules_invalid(faults, "spec.cidr", cidr, "must be from /%d to /%d", PREFIX_SHORTEST, PREFIX_LONGEST);
                return;
        }
        host_address(spec, "gateway", &prefix, faults, &gateway);
        has_start = host_address(spec, "rangeStart", &prefix, faults, &start);
        has_end = host_address(spec, "rangeEnd", &prefix, faults, &end);
        if (has_start && has_end && address_compare(&start, &end) > 0)
                rules_invalid(faults, "spec.rangeEnd", json_get(spec, "rangeEnd"), "must not be below rangeStart");
}

void rules_virtual_machine_ip_address(const struct json_value *object, const struct json_value *old, struct schema_faults *faults)
{
        const struct json_value *fixed = json_find(object, "spec", "staticIP", NULL);
        const struct json_value *fixed_before = json_find(old, "spec", "staticIP", NULL);
        const char *type = json_find_string(object, "spec", "type", NULL),
                   *type_before = json_find_string(old, "spec", "type", NULL);
        const char *address = json_find_string(old, "status", "address", NULL);
        struct address parsed;

        if (fixed && !*json_string(fixed, "x"))
                fixed = NULL; /* an empty text is no address, as the other servers of this kind have it */
        if (fixed && address_parse(json_string(fixed, ""), &parsed) != 0)
                rules_invalid(faults, "spec.staticIP", fixed, "must be an IP address, for example 10.66.10.14");
        if (g_strcmp0(type, "Static") == 0 && !fixed)
                rules_required(faults, "spec.staticIP", "type Static names the address that is wanted");
        else if (g_strcmp0(type, "Static") != 0 && fixed)
                rules_forbidden(faults, "spec.staticIP", "type Auto takes any free address");
        if (!old || !address || !*address)
                return;
        if (g_strcmp0(type_before, "Static") == 0 && g_strcmp0(type, "Static") != 0)
                rules_invalid(faults, "spec.type", json_find(object, "spec", "type", NULL),
                              "a bound address cannot go back to Auto");
        if (fixed && !json_equal(fixed, fixed_before) && g_strcmp0(json_string(fixed, NULL), address) != 0)
                rules_invalid(faults, "spec.staticIP", fixed, "the bound address is %s and cannot change", address);
}

static void check_rule(const struct json_value *rule, size_t index, struct schema_faults *faults)
{
        const struct json_value *ports = json_get(rule, "ports");
        const char *protocol = json_find_string(rule, "protocol", NULL);
        g_autofree char *place = g_strdup_printf("spec.rules[%zu].ports", index);
        int64_t from, to;
        size_t number = 0;

        if (json_length(ports) > 0 && g_strcmp0(protocol, "TCP") != 0 && g_strcmp0(protocol, "UDP") != 0)
                rules_forbidden(faults, place, "only TCP and UDP have ports");
        for (const struct json_value *range = json_first(ports); range; range = json_next(range), number++) {
                g_autofree char *field = g_strdup_printf("%s[%zu]", place, number);

                if (json_int64(json_get(range, "from"), &from) == 0 && json_int64(json_get(range, "to"), &to) == 0 && from > to)
                        rules_invalid(faults, field, range, "to must not be less than from");
        }
}

void rules_security_group(const struct json_value *object, const struct json_value *old, struct schema_faults *faults)
{
        size_t index = 0;

        for (const struct json_value *rule = json_first(json_find(object, "spec", "rules", NULL)); rule; rule = json_next(rule))
                check_rule(rule, index++, faults);
}
