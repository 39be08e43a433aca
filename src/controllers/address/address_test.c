/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/address/address.h"

#include "base/address.h"
#include "controllers/cloud_test.h"
#include "controllers/network/network.h"

#include <string.h>

#define LEASE (&api_virtual_machine_ip_address_lease_kind)

static void vmip(struct cloud *cloud, const char *name, const char *spec)
{
        cloud_applyf(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineIPAddress, metadata: {name: %s}, spec: {%s}}", name,
                     spec);
}

/* --- D134, D135: ranges --- */

static const struct {
        const char *cidr, *gateway, *start, *end;
        uint64_t size; /* 0: refused */
        const char *in, *out;
} ranges[] = {
        {"10.66.10.0/24", NULL, NULL, NULL, 253, "10.66.10.2", "10.66.10.1"},
        {"10.66.10.0/24", NULL, NULL, NULL, 253, "10.66.10.254", "10.66.10.255"},
        {"10.66.10.0/24", NULL, NULL, NULL, 253, "10.66.10.9", "10.66.10.0"},
        {"10.66.10.0/24", "10.66.10.254", NULL, NULL, 253, "10.66.10.1", "10.66.10.254"},
        {"10.66.10.0/24", NULL, "10.66.10.100", "10.66.10.109", 10, "10.66.10.100", "10.66.10.110"},
        {"10.0.0.0/30", NULL, NULL, NULL, 1, "10.0.0.2", "10.0.0.3"},
        {"10.0.0.0/31", NULL, NULL, NULL, 0, NULL, NULL},
        {"10.0.0.0/24", "10.0.1.1", NULL, NULL, 0, NULL, NULL},
        {"10.0.0.0/24", NULL, "10.0.0.9", "10.0.0.5", 0, NULL, NULL},
        {"fd00::/64", NULL, NULL, NULL, 0, NULL, NULL},
};

static void ranges_leave_out_first_last_and_gateway(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(ranges); i++) {
                struct api_network_spec spec = {.cidr = ranges[i].cidr,
                                                .gateway = ranges[i].gateway,
                                                .range_start = ranges[i].start,
                                                .range_end = ranges[i].end};
                struct network_range range;
                struct address address;
                const char *words = NULL;

                g_test_message("%s", ranges[i].cidr);
                g_assert_cmpint(network_range(&spec, &range, &words) == 0, ==, ranges[i].size > 0);
                if (ranges[i].size == 0) {
                        g_assert_nonnull(words);
                        continue;
                }
                g_assert_cmpuint(network_range_size(&range), ==, ranges[i].size);
                g_assert_cmpint(address_parse(ranges[i].in, &address), ==, 0);
                g_assert_true(network_range_holds(&range, &address));
                g_assert_cmpint(address_parse(ranges[i].out, &address), ==, 0);
                g_assert_false(network_range_holds(&range, &address));
        }
}

/* --- D136-D138, D144 --- */

static void a_machine_gets_a_random_address_that_is_its_own(void)
{
        g_autofree char *first = NULL;

        for (uint64_t seed = 1; seed <= 3; seed++) {
                struct cloud_options options = {.seed = seed};
                g_autoptr(cloud) cloud = cloud_new(&options);
                g_autofree char *lease = NULL;
                const char *name, *address;

                cloud_machine(cloud, "web", NULL);
                cloud_settle(cloud);
                name = cloud_text(cloud, VM, "web", "/status/virtualMachineIPAddressName");
                address = cloud_text(cloud, VM, "web", "/status/ipAddress");
                g_assert_true(g_regex_match_simple("^web-[a-z0-9]{5}$", name, 0, 0));
                g_assert_cmpstr(cloud_text(cloud, VMIP, name, "/status/address"), ==, address);
                g_assert_cmpstr(cloud_phase(cloud, VMIP, name), ==, "Attached");
                g_assert_cmpstr(cloud_text(cloud, VMIP, name, "/status/virtualMachineName"), ==, "web");
                g_assert_cmpstr(cloud_text(cloud, VMIP, name, "/metadata/ownerReferences/0/kind"), ==, "VirtualMachine");
                lease = g_strdelimit(g_strdup_printf("ip-%s", address), ".", '-');
                g_assert_cmpstr(cloud_phase(cloud, LEASE, lease), ==, "Bound");
                g_assert_cmpstr(cloud_text(cloud, LEASE, lease, "/spec/virtualMachineIPAddressRef/name"), ==, name);
                g_assert_cmpstr(first, !=, address); /* another seed, another address */
                g_free(first);
                first = g_strdup(address);
        }
}

static void no_address_is_given_twice_until_all_are_taken(void)
{
        struct cloud_options options = {.seed = 7, .bare = true};
        g_autoptr(cloud) cloud = cloud_new(&options);
        g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
        unsigned pending = 0;

        cloud_apply(
                cloud,
                "{apiVersion: gabbro.dev/v1, kind: Network, metadata: {name: small}, spec: {cidr: 10.9.0.0/28, default: true}}");
        for (unsigned i = 0; i < 15; i++) {
                g_autofree char *name = g_strdup_printf("ip-%02u", i);

                vmip(cloud, name, "type: Auto");
        }
        cloud_settle(cloud);
        for (unsigned i = 0; i < 15; i++) {
                g_autofree char *name = g_strdup_printf("ip-%02u", i);
                const char *address = cloud_text(cloud, VMIP, name, "/status/address");

                if (!address[0]) {
                        cloud_expect_condition(cloud, VMIP, name, "Bound", "False NoFreeAddress",
                                               "network small has no free address");
                        pending++;
                        continue;
                }
                g_assert_true(g_hash_table_add(seen, (gpointer)address));
        }
        g_assert_cmpuint(pending, ==, 2); /* 16 less first, last and gateway */
        cloud_advance(cloud, 3 * SECOND_US);
        g_assert_cmpstr(cloud_text(cloud, &api_network_kind, "small", "/status/free"), ==, "0");
        g_assert_cmpstr(cloud_text(cloud, &api_network_kind, "small", "/status/used"), ==, "13");
}

/* --- D140, D141 --- */

static void a_static_address_is_claimed_or_refused_with_words(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        vmip(cloud, "mine", "type: Static, staticIP: 10.66.10.14");
        cloud_expect_phase(cloud, VMIP, "mine", "Bound");
        g_assert_nonnull(cloud_get(cloud, LEASE, "ip-10-66-10-14"));
        cloud_expect_condition(cloud, VMIP, "mine", "Attached", "False NotAttached", NULL);
        vmip(cloud, "second", "type: Static, staticIP: 10.66.10.14");
        cloud_expect_phase(cloud, VMIP, "second", "Pending");
        cloud_expect_condition(cloud, VMIP, "second", "Bound", "False VirtualMachineIPAddressLeaseAlreadyExists",
                               "10.66.10.14 is held by VirtualMachineIPAddress mine");
        vmip(cloud, "out", "type: Static, staticIP: 10.66.11.14");
        cloud_expect_condition(cloud, VMIP, "out", "Bound", "False VirtualMachineIPAddressIsOutOfTheValidRange", "10.66.11.14");
        vmip(cloud, "gateway", "type: Static, staticIP: 10.66.10.1");
        cloud_expect_condition(cloud, VMIP, "gateway", "Bound", "False VirtualMachineIPAddressIsOutOfTheValidRange", NULL);
        cloud_machine(cloud, "web", "  virtualMachineIPAddressName: mine\n");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/ipAddress"), ==, "10.66.10.14");
        cloud_expect_phase(cloud, VMIP, "mine", "Attached");
        cloud_expect_no_effects(cloud);
}

static void one_address_serves_one_machine(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        vmip(cloud, "mine", "type: Static, staticIP: 10.66.10.14");
        cloud_machine(cloud, "one", "  virtualMachineIPAddressName: mine\n");
        cloud_expect_phase(cloud, VM, "one", "Running");
        cloud_advance(cloud, SECOND_US);
        cloud_machine(cloud, "two", "  virtualMachineIPAddressName: mine\n");
        cloud_expect_phase(cloud, VM, "two", "Pending");
        cloud_expect_condition(cloud, VM, "two", "VirtualMachineIPAddressReady", "False VirtualMachineIPAddressNotAvailable",
                               "used by machine one");
        cloud_delete(cloud, VM, "one");
        cloud_expect_phase(cloud, VM, "two", "Running");
        g_assert_cmpstr(cloud_text(cloud, VMIP, "mine", "/status/virtualMachineName"), ==, "two");
}

/* --- D139, D142, D143 --- */

static void a_released_address_is_kept_ten_minutes_for_its_project(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_apply(cloud, "{apiVersion: v1, kind: Namespace, metadata: {name: other}}");
        vmip(cloud, "mine", "type: Static, staticIP: 10.66.10.14");
        cloud_expect_phase(cloud, VMIP, "mine", "Bound");
        cloud_delete(cloud, VMIP, "mine");
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, VMIP, "mine"));
        g_assert_cmpstr(cloud_phase(cloud, LEASE, "ip-10-66-10-14"), ==, "Released");
        g_assert_cmpstr(cloud_text(cloud, LEASE, "ip-10-66-10-14", "/spec/virtualMachineIPAddressRef/namespace"), ==, "default");
        g_assert_cmpstr(cloud_text(cloud, LEASE, "ip-10-66-10-14", "/spec/virtualMachineIPAddressRef/name"), ==, "");

        cloud_apply(cloud,
                    "{apiVersion: gabbro.dev/v1, kind: VirtualMachineIPAddress, metadata: {name: theirs, namespace: other},\n"
                    " spec: {type: Static, staticIP: 10.66.10.14}}");
        cloud_advance(cloud, 300 * SECOND_US);
        g_assert_cmpstr(cloud_phase(cloud, LEASE, "ip-10-66-10-14"), ==, "Released"); /* not theirs */
        vmip(cloud, "again", "type: Static, staticIP: 10.66.10.14");
        cloud_expect_phase(cloud, VMIP, "again", "Bound"); /* its project may */
        cloud_delete(cloud, VMIP, "again");
        cloud_advance(cloud, 590 * SECOND_US);
        g_assert_cmpstr(cloud_phase(cloud, LEASE, "ip-10-66-10-14"), ==, "Released");
        cloud_advance(cloud, 30 * SECOND_US);
        g_assert_cmpstr(cloud_text(cloud, LEASE, "ip-10-66-10-14", "/spec/virtualMachineIPAddressRef/namespace"), ==, "other");
}

static void an_address_without_owner_outlives_its_machine(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        const char *name, *address;

        cloud_machine(cloud, "web", NULL);
        cloud_settle(cloud);
        name = cloud_text(cloud, VM, "web", "/status/virtualMachineIPAddressName");
        address = cloud_text(cloud, VM, "web", "/status/ipAddress");
        cloud_applyf(cloud,
                     "{apiVersion: gabbro.dev/v1, kind: VirtualMachineIPAddress, metadata: {name: %s, ownerReferences: []},\n"
                     " spec: {type: Auto, networkName: default}}",
                     name);
        cloud_settle(cloud);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/virtualMachineIPAddressName"), ==, name);
        cloud_delete(cloud, VM, "web");
        cloud_expect_phase(cloud, VMIP, name, "Bound");
        g_assert_cmpstr(cloud_text(cloud, VMIP, name, "/status/address"), ==, address);
}

static void an_address_in_use_is_not_given_back(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        const char *name;

        cloud_machine(cloud, "web", NULL);
        cloud_settle(cloud);
        name = cloud_text(cloud, VM, "web", "/status/virtualMachineIPAddressName");
        cloud_delete(cloud, VMIP, name);
        cloud_expect_condition(cloud, VMIP, name, "Attached", "True Attached", "its deletion waits for machine web");
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_delete(cloud, VM, "web");
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, VMIP, name));
}

/* --- networks and policies --- */

static void overlapping_networks_fail_with_words(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_advance(cloud, SECOND_US);
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: Network, metadata: {name: big}, spec: {cidr: 10.66.0.0/16}}");
        cloud_expect_phase(cloud, &api_network_kind, "big", "Failed");
        cloud_expect_condition(cloud, &api_network_kind, "big", "Ready", "False NetworkOverlaps", "network default");
        cloud_expect_phase(cloud, &api_network_kind, "default", "Ready");
        cloud_machine(cloud, "web", NULL);
        cloud_settle(cloud);
        cloud_delete(cloud, &api_network_kind, "default");
        cloud_expect_phase(cloud, &api_network_kind, "default", "Terminating");
}

static const struct api_port *port_of(struct cloud *cloud, const char *machine)
{
        const struct api_instance *instance = cloud_instance(cloud, machine);

        return cache_get(cloud_cache(cloud), &api_port_kind, NULL, instance->spec->ports[0])->view;
}

static void policies_follow_their_groups_while_the_machine_runs(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        g_autofree char *digest = NULL;

        cloud_machine(cloud, "web", NULL);
        cloud_settle(cloud);
        digest = g_strdup(port_of(cloud, "web")->spec->policy->digest);
        cloud_apply(cloud,
                    "{apiVersion: gabbro.dev/v1, kind: SecurityGroup, metadata: {name: default},\n"
                    " spec: {rules: [{direction: Ingress, protocol: TCP, ports: [{from: 22, to: 22}], peers: [10.0.0.0/8]}]}}");
        cloud_settle(cloud);
        g_assert_cmpstr(port_of(cloud, "web")->spec->policy->digest, !=, digest);
        g_assert_cmpint(port_of(cloud, "web")->spec->policy->rules[0].ports[0].from, ==, 22);
        g_assert_cmpuint(port_of(cloud, "web")->spec->policy->n_rules, ==, 1);
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->epoch, ==, 1);
        cloud_expect_condition(cloud, VM, "web", "NetworkReady", "True NetworkReady", NULL);

        cloud_machine(cloud, "web", "  securityGroups: [absent]\n");
        cloud_expect_condition(cloud, VM, "web", "NetworkReady", "False SecurityGroupNotFound", "absent");
        g_assert_cmpuint(port_of(cloud, "web")->spec->policy->n_rules, ==, 0); /* closed, never open */
        g_assert_true(port_of(cloud, "web")->spec->policy->anti_spoofing);
        cloud_expect_no_effects(cloud);
}

static void a_machine_can_have_several_interfaces(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: Network, metadata: {name: dmz}, spec: {cidr: 10.70.0.0/24}}");
        cloud_machine(cloud, "web", "  networks: [{type: Main}, {type: Network, name: dmz}]\n");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpuint(cloud_count(cloud, &api_port_kind), ==, 2);
        g_assert_true(g_str_has_prefix(cloud_text(cloud, VM, "web", "/status/networks/1/ipAddress"), "10.70.0."));
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/networks/1/ready"), ==, "true");
        cloud_expect_no_effects(cloud);
        cloud_delete(cloud, VM, "web");
        cloud_settle(cloud);
        g_assert_cmpuint(cloud_count(cloud, &api_port_kind), ==, 0);
        g_assert_cmpuint(cloud_count(cloud, VMIP), ==, 0);
}

static void a_machine_that_waits_is_woken_by_the_lease_that_goes(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: Network, metadata: {name: dmz}, spec: {cidr: 10.70.0.0/30}}");
        cloud_settle(cloud);
        cloud_applyf(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineIPAddress, metadata: {name: only},\n"
                            " spec: {type: Static, staticIP: 10.70.0.2, networkName: dmz}}");
        cloud_expect_phase(cloud, VMIP, "only", "Bound");
        cloud_machine(cloud, "web", "  networks: [{type: Main}, {type: Network, name: dmz}]\n");
        cloud_expect_phase(cloud, VM, "web", "Pending");
        cloud_expect_condition(cloud, VM, "web", "VirtualMachineIPAddressReady", "False NoFreeAddress", "dmz has no free address");
        cloud_advance(cloud, 30 * SECOND_US); /* between the looks that it takes by itself, which are minutes apart */
        cloud_delete(cloud, VMIP, "only");
        cloud_advance(cloud, 605 * SECOND_US);
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/networks/1/ipAddress"), ==, "10.70.0.2");
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/address/D135_ranges_leave_out_first_last_and_gateway", ranges_leave_out_first_last_and_gateway);
        g_test_add_func("/address/D65_D138_D144_a_machine_gets_a_random_address_that_is_its_own",
                        a_machine_gets_a_random_address_that_is_its_own);
        g_test_add_func("/address/no_address_is_given_twice_until_all_are_taken", no_address_is_given_twice_until_all_are_taken);
        g_test_add_func("/address/D140_D141_a_static_address_is_claimed_or_refused_with_words",
                        a_static_address_is_claimed_or_refused_with_words);
        g_test_add_func("/address/one_address_serves_one_machine", one_address_serves_one_machine);
        g_test_add_func("/address/D143_a_released_address_is_kept_ten_minutes_for_its_project",
                        a_released_address_is_kept_ten_minutes_for_its_project);
        g_test_add_func("/address/D142_an_address_without_owner_outlives_its_machine",
                        an_address_without_owner_outlives_its_machine);
        g_test_add_func("/address/an_address_in_use_is_not_given_back", an_address_in_use_is_not_given_back);
        g_test_add_func("/address/a_machine_that_waits_is_woken_by_the_lease_that_goes",
                        a_machine_that_waits_is_woken_by_the_lease_that_goes);
        g_test_add_func("/network/overlapping_networks_fail_with_words", overlapping_networks_fail_with_words);
        g_test_add_func("/network/policies_follow_their_groups_while_the_machine_runs",
                        policies_follow_their_groups_while_the_machine_runs);
        g_test_add_func("/network/a_machine_can_have_several_interfaces", a_machine_can_have_several_interfaces);
        return g_test_run();
}
