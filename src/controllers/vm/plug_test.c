/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/cloud_test.h"
#include "generated/reasons.h"

#include <string.h>

#define LIVE    "  disruptions: {applyMode: Live}\n"
#define RESTART "  disruptions: {applyMode: Restart}\n"

/* Machine "web" with further devices, as JSON objects separated by commas, and further lines of its specification. */
static void web(struct cloud *cloud, const char *devices, const char *more)
{
        cloud_applyf(cloud,
                     "apiVersion: gabbro.dev/v1\nkind: VirtualMachine\nmetadata: {name: web}\n"
                     "spec:\n  virtualMachineClassName: generic\n  cpu: {cores: 1}\n  memory: {size: 1Gi}\n"
                     "  blockDeviceRefs: [{kind: VirtualDisk, name: web-root}%s]\n%s",
                     devices, more);
        cloud_settle(cloud);
}

/* --- media of CD drives --- */

#define CD(name) ", {kind: ClusterVirtualImage, name: " name "}"

static struct cloud *with_disc(const char *more)
{
        struct cloud *cloud = cloud_new(NULL);
        g_autofree char *lines = g_strconcat("  runPolicy: Manual\n", more, NULL);

        cloud_image(cloud, "a-iso");
        cloud_image(cloud, "b-iso");
        cloud_machine(cloud, "web", lines);
        web(cloud, CD("a-iso"), more);
        cloud_applyf(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: go},\n"
                            " spec: {type: Start, virtualMachineName: web}}");
        cloud_expect_phase(cloud, VM, "web", "Running");
        return cloud;
}

static const struct api_instance_disk *drive(struct cloud *cloud)
{
        const struct api_instance *instance = cloud_instance(cloud, "web");

        g_assert_cmpuint(instance->spec->n_disks, ==, 2);
        return &instance->spec->disks[1];
}

static void expect_applied(struct cloud *cloud)
{
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/epoch"), ==, "1");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/restartAwaitingChanges"), ==, "");
        cloud_expect_condition(cloud, VM, "web", "ConfigurationApplied", "True " REASON_CONFIGURATION_APPLIED, NULL);
}

static void a_disc_is_exchanged_ejected_and_inserted_while_the_machine_runs(void)
{
        g_autoptr(cloud) cloud = with_disc(LIVE);
        g_autofree char *first = g_strdup(drive(cloud)->volume);

        web(cloud, CD("b-iso"), LIVE);
        g_assert_cmpstr(drive(cloud)->name, ==, "cvi-b-iso");
        g_assert_cmpstr(drive(cloud)->drive, ==, "cvi-a-iso");
        g_assert_cmpstr(drive(cloud)->volume, !=, first);
        expect_applied(cloud);
        web(cloud, "", LIVE);
        g_assert_null(drive(cloud)->volume);
        expect_applied(cloud);
        web(cloud, CD("a-iso"), LIVE);
        g_assert_cmpstr(drive(cloud)->name, ==, "cvi-a-iso");
        g_assert_null(drive(cloud)->drive);
        g_assert_cmpstr(drive(cloud)->volume, ==, first);
        expect_applied(cloud);
        cloud_expect_no_effects(cloud);
}

/* The next start makes the drives anew. */
static void a_restart_knows_nothing_of_exchanges(void)
{
        g_autoptr(cloud) cloud = with_disc(LIVE);

        web(cloud, CD("b-iso"), LIVE);
        cloud_applyf(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: again},\n"
                            " spec: {type: Restart, virtualMachineName: web}}");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpstr(drive(cloud)->name, ==, "cvi-b-iso");
        g_assert_null(drive(cloud)->drive);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/restartAwaitingChanges"), ==, "");
}

/* D101: and what finds no drive waits, too. */
static void without_live_or_a_drive_a_disc_waits(void)
{
        g_autoptr(cloud) cloud = with_disc(RESTART);

        web(cloud, CD("b-iso"), RESTART);
        g_assert_cmpstr(drive(cloud)->name, ==, "cvi-a-iso");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/restartAwaitingChanges/0/path"), ==, "blockDeviceRefs.1");
        web(cloud, CD("a-iso") CD("b-iso"), LIVE);
        g_assert_cmpuint(cloud_instance(cloud, "web")->spec->n_disks, ==, 2);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/restartAwaitingChanges/0/path"), ==, "blockDeviceRefs.2");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/blockDeviceRefs/2/attached"), ==, "false");
}

/* What is in the drive stays until the other disc can be put in. */
static void a_disc_that_is_not_ready_empties_no_drive(void)
{
        g_autoptr(cloud) cloud = with_disc(LIVE);

        web(cloud, CD("late-iso"), LIVE);
        g_assert_cmpstr(drive(cloud)->name, ==, "cvi-a-iso");
        g_assert_nonnull(drive(cloud)->volume);
        cloud_image(cloud, "late-iso");
        cloud_settle(cloud);
        g_assert_cmpstr(drive(cloud)->name, ==, "cvi-late-iso");
        expect_applied(cloud);
}

/* --- interfaces --- */

#define NETWORK(name, cidr) "{apiVersion: gabbro.dev/v1, kind: Network, metadata: {name: " name "}, spec: {cidr: " cidr "}}"
#define WITH(list)          LIVE "  networks: [{type: Main}" list "]\n"
#define DMZ                 ", {type: Network, name: dmz}"
#define LAN                 ", {type: Network, name: lan}"

static struct cloud *with_networks(const char *more)
{
        struct cloud *cloud = cloud_new(NULL);
        g_autofree char *lines = g_strconcat("  runPolicy: Manual\n", more, NULL);

        cloud_apply(cloud, NETWORK("dmz", "10.70.0.0/24"));
        cloud_apply(cloud, NETWORK("lan", "10.71.0.0/24"));
        cloud_machine(cloud, "web", lines);
        web(cloud, "", more);
        cloud_applyf(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: go},\n"
                            " spec: {type: Start, virtualMachineName: web}}");
        cloud_expect_phase(cloud, VM, "web", "Running");
        return cloud;
}

static void expect_ports(struct cloud *cloud, size_t n)
{
        g_assert_cmpuint(cloud_instance(cloud, "web")->spec->n_ports, ==, n);
        g_assert_cmpuint(cloud_instance(cloud, "web")->spec->n_leaving_ports, ==, 0);
        g_assert_cmpuint(cloud_count(cloud, &api_port_kind), ==, n);
        g_assert_cmpuint(cloud_count(cloud, &api_virtual_machine_ip_address_kind), ==, n);
        expect_applied(cloud);
}

/* A50, A51 */
static void an_interface_comes_and_goes_while_the_machine_runs(void)
{
        g_autoptr(cloud) cloud = with_networks(LIVE);

        expect_ports(cloud, 1);
        web(cloud, "", WITH(DMZ));
        expect_ports(cloud, 2);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/networks/1/name"), ==, "dmz");
        g_assert_true(g_str_has_prefix(cloud_text(cloud, VM, "web", "/status/networks/1/ipAddress"), "10.70.0."));
        g_assert_true(cloud_has_event(cloud, "web", REASON_INTERFACE_ATTACHED));
        web(cloud, "", LIVE);
        expect_ports(cloud, 1);
        g_assert_true(cloud_has_event(cloud, "web", REASON_INTERFACE_DETACHED));
        cloud_expect_no_effects(cloud);
}

/* The others keep number, MAC address and Port. */
static void the_interfaces_that_stay_are_the_same(void)
{
        g_autoptr(cloud) cloud = with_networks(WITH(DMZ LAN));
        g_autofree char *mac = g_strdup(cloud_text(cloud, VM, "web", "/status/networks/2/macAddress"));
        g_autofree char *address = g_strdup(cloud_text(cloud, VM, "web", "/status/networks/2/ipAddress"));

        web(cloud, "", WITH(LAN));
        expect_ports(cloud, 2);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/networks/1/macAddress"), ==, mac);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/networks/1/ipAddress"), ==, address);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/networks/1/id"), ==, "3");
        web(cloud, "", WITH(DMZ LAN));
        expect_ports(cloud, 3);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/networks/2/macAddress"), ==, mac);
}

static void without_live_an_interface_waits(void)
{
        g_autoptr(cloud) cloud = with_networks(RESTART);

        web(cloud, "", RESTART "  networks: [{type: Main}, {type: Network, name: dmz}]\n");
        g_assert_cmpuint(cloud_count(cloud, &api_port_kind), ==, 1);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/restartAwaitingChanges/0/path"), ==, "networks");
}

/* The first one is that of the start. */
static void the_first_interface_waits(void)
{
        g_autoptr(cloud) cloud = with_networks(WITH(DMZ));

        web(cloud, "", LIVE "  networks: [{type: Network, name: lan}, {type: Network, name: dmz}]\n");
        g_assert_cmpuint(cloud_instance(cloud, "web")->spec->n_leaving_ports, ==, 0);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/restartAwaitingChanges/0/path"), ==, "networks.0");
}

/* A guest that does not let go keeps interface and address, and that is told; a stop ends it. */
static void an_interface_that_is_held_is_told_and_goes_with_a_stop(void)
{
        g_autoptr(cloud) cloud = with_networks(WITH(DMZ));

        cloud_hold_disks(cloud, true);
        web(cloud, "", LIVE);
        g_assert_cmpuint(cloud_instance(cloud, "web")->spec->n_leaving_ports, ==, 1);
        g_assert_cmpuint(cloud_count(cloud, &api_virtual_machine_ip_address_kind), ==, 2);
        cloud_expect_condition(cloud, VM, "web", "ConfigurationApplied", "False " REASON_DETACH_NOT_ACKNOWLEDGED,
                               "the guest sleeps");
        g_assert_true(cloud_has_event(cloud, "web", REASON_DETACH_NOT_ACKNOWLEDGED));
        cloud_applyf(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: off},\n"
                            " spec: {type: Stop, force: true, virtualMachineName: web}}");
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        cloud_settle(cloud);
        g_assert_cmpuint(cloud_count(cloud, &api_virtual_machine_ip_address_kind), ==, 1);
        g_assert_cmpuint(cloud_count(cloud, &api_port_kind), ==, 1);
}

/* A cable is pulled at once whatever applyMode is; nothing waits for a restart, and the next start has it so. */
static void a_link_goes_down_and_up_while_the_machine_runs(void)
{
        g_autoptr(cloud) cloud = with_networks(RESTART);
        const struct api_instance_spec *spec;

        web(cloud, "", RESTART "  networks: [{type: Main, linkState: Down}]\n");
        spec = cloud_instance(cloud, "web")->spec;
        g_assert_cmpuint(spec->n_down_ports, ==, 1);
        g_assert_cmpstr(spec->down_ports[0], ==, spec->ports[0]);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/networks/0/linkState"), ==, "Down");
        expect_applied(cloud);
        cloud_applyf(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: again},\n"
                            " spec: {type: Restart, force: true, virtualMachineName: web}}");
        cloud_settle(cloud);
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpuint(cloud_instance(cloud, "web")->spec->n_down_ports, ==, 1);
        web(cloud, "", RESTART);
        g_assert_cmpuint(cloud_instance(cloud, "web")->spec->n_down_ports, ==, 0);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/networks/0/linkState"), ==, "Up");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/restartAwaitingChanges"), ==, "");
        cloud_expect_no_effects(cloud);
}

/* Of several interfaces that one; what else changes of the list still waits, and says nothing of links. */
static void each_interface_has_a_link_of_its_own(void)
{
        g_autoptr(cloud) cloud = with_networks(WITH(DMZ LAN));
        const struct api_instance_spec *spec;

        web(cloud, "", WITH(DMZ ", {type: Network, name: lan, linkState: Down}"));
        spec = cloud_instance(cloud, "web")->spec;
        g_assert_cmpuint(spec->n_down_ports, ==, 1);
        g_assert_cmpstr(spec->down_ports[0], ==, spec->ports[2]);
        expect_ports(cloud, 3);
        web(cloud, "", WITH(", {type: Network, name: lan, linkState: Down}"));
        expect_ports(cloud, 2);
        g_assert_cmpuint(cloud_instance(cloud, "web")->spec->n_down_ports, ==, 1);
        web(cloud, "", RESTART "  networks: [{type: Main, linkState: Down}, {type: Network, name: dmz}]\n");
        g_assert_cmpuint(cloud_instance(cloud, "web")->spec->n_down_ports, ==, 2);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/restartAwaitingChanges/0/path"), ==, "networks.2");
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/plug/D101_discs_come_and_go", a_disc_is_exchanged_ejected_and_inserted_while_the_machine_runs);
        g_test_add_func("/plug/restart_after_exchange", a_restart_knows_nothing_of_exchanges);
        g_test_add_func("/plug/D101_discs_wait", without_live_or_a_drive_a_disc_waits);
        g_test_add_func("/plug/disc_not_ready", a_disc_that_is_not_ready_empties_no_drive);
        g_test_add_func("/plug/A50_A51_interfaces_come_and_go", an_interface_comes_and_goes_while_the_machine_runs);
        g_test_add_func("/plug/A51_others_stay", the_interfaces_that_stay_are_the_same);
        g_test_add_func("/plug/interface_waits", without_live_an_interface_waits);
        g_test_add_func("/plug/first_interface_waits", the_first_interface_waits);
        g_test_add_func("/plug/A51_interface_held", an_interface_that_is_held_is_told_and_goes_with_a_stop);
        g_test_add_func("/plug/A50_link", a_link_goes_down_and_up_while_the_machine_runs);
        g_test_add_func("/plug/A50_links", each_interface_has_a_link_of_its_own);
        return g_test_run();
}
