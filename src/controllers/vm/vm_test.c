/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/cloud_test.h"

#include "base/address.h"

#include <string.h>

/* --- the way to Running --- */

static void a_machine_comes_to_running(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", NULL);
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_expect_phase(cloud, VD, "web-root", "Ready");
        cloud_expect_condition(cloud, VM, "web", "Running", "True Running", "it runs on node-a");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/nodeName"), ==, "node-a");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/hardware/machine"), ==, "pc-q35-7.2");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/epoch"), ==, "1");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/versions/qemu"), ==, "7.2.0");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/blockDeviceRefs/0/attached"), ==, "true");
        g_assert_true(cloud_has_event(cloud, "web", "Started"));
        cloud_expect_no_effects(cloud);
}

static void a_machine_alone_needs_no_order_of_its_parts(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_apply(cloud, "apiVersion: gabbro.dev/v1\nkind: VirtualMachine\nmetadata: {name: early}\n"
                           "spec: {virtualMachineClassName: generic, cpu: {cores: 1}, memory: {size: 1Gi},\n"
                           "  blockDeviceRefs: [{kind: VirtualDisk, name: early-root}]}\n");
        cloud_expect_phase(cloud, VM, "early", "Pending");
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualDisk, metadata: {name: early-root},\n"
                           " spec: {dataSource: {type: ObjectRef, objectRef: {kind: ClusterVirtualImage, name: tiny}}}}");
        cloud_expect_condition(cloud, VD, "early-root", "DatasourceReady", "False ClusterImageNotFound", "tiny does not exist");
        cloud_image(cloud, "tiny");
        cloud_expect_phase(cloud, VM, "early", "Running");
}

/* A2, A3: what the host is told. */
static void the_instance_says_all_that_the_host_needs(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        const struct api_instance *instance;
        const struct api_port *port;
        const struct cache_object *object;

        cloud_machine(cloud, "web", "  provisioning: {type: UserData, userData: \"#cloud-config\"}\n  bootloader: EFI\n");
        cloud_settle(cloud);
        instance = cloud_instance(cloud, "web");
        g_assert_cmpstr(instance->spec->power, ==, "On");
        g_assert_cmpint(instance->spec->epoch, ==, 1);
        g_assert_cmpint(instance->spec->memory_mib, ==, 1024);
        g_assert_cmpint(instance->spec->grace_period_seconds, ==, 60);
        g_assert_cmpstr(instance->spec->firmware, ==, "EFI");
        g_assert_cmpstr(instance->spec->cpu_model->mode, ==, "Model");
        g_assert_cmpstr(instance->spec->cpu_model->model, ==, "Nehalem");
        g_assert_cmpstr(instance->spec->disks[0].kind, ==, "Disk");
        g_assert_cmpint(instance->spec->disks[0].boot_order, ==, 1);
        g_assert_cmpstr(instance->spec->seed->kind, ==, "CloudInit");
        g_assert_cmpstr(instance->spec->seed->hostname, ==, "web");
        g_assert_nonnull(instance->spec->seed->digest);

        object = cache_get(cloud_cache(cloud), &api_port_kind, NULL, instance->spec->ports[0]);
        g_assert_nonnull(object);
        port = object->view;
        g_assert_cmpstr(port->spec->hostname, ==, "web");
        g_assert_cmpstr(port->spec->network->gateway, ==, "10.66.10.1");
        g_assert_cmpstr(port->spec->addresses[0], ==, cloud_text(cloud, VM, "web", "/status/ipAddress"));
        g_assert_true(mac_valid(port->spec->mac));
        g_assert_true(port->spec->policy->anti_spoofing);
        g_assert_cmpstr(port->spec->policy->rules[0].direction, ==, "Egress");
        g_assert_cmpuint(port->spec->policy->n_rules, ==, 1);
        g_assert_cmpstr(object_label(object, LABEL_OWNER_NAME), ==, "web");
        g_assert_true(object_has_finalizer(object, FINALIZER_AGENT));
}

static void one_transaction_starts_a_machine(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        struct control_stats before, after;

        cloud_machine(cloud, "web", "  runPolicy: Manual\n");
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        g_assert_null(cloud_instance(cloud, "web"));
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/ipAddress"), !=, "");
        control_stats(cloud_control(cloud), "vm", &before);
        cloud_hold(cloud, &api_instance_kind);
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: go},\n"
                           " spec: {type: Start, virtualMachineName: web}}");
        cloud_settle(cloud);
        control_stats(cloud_control(cloud), "vm", &after);
        g_assert_cmpuint(cloud_count(cloud, &api_instance_kind), ==, 1);
        g_assert_cmpuint(cloud_count(cloud, &api_port_kind), ==, 1);
        g_assert_cmpuint(cloud_count(cloud, &api_volume_kind), ==, 1);
        g_assert_cmpuint(after.conflicts, ==, before.conflicts);
        cloud_expect_phase(cloud, VM, "web", "Starting");
}

/* --- D46, D47, D48, D58: every reason is told --- */

static const struct blocked {
        const char *name;
        const char *spec; /* further lines of the machine */
        const char *type, *status_reason, *part;
        const char *running_part; /* of the message of condition Running */
} blocked_cases[] = {
        {"class", "  virtualMachineClassName: nowhere\n", "VirtualMachineClassReady", "False VirtualMachineClassNotReady",
         "VirtualMachineClass nowhere does not exist", "nowhere"},
        {"size", "  cpu: {cores: 2, coreFraction: 7%}\n", "SizingPolicyMatched", "False SizingPolicyNotMatched",
         "the share of 7% is not one of 5%, 10%, 20%, 50%, 100%", "7%"},
        {"secret", "  provisioning: {type: UserDataRef, userDataRef: {kind: Secret, name: none}}\n", "ProvisioningReady",
         "False ProvisioningNotReady", "Secret none does not exist", "none"},
        {"secret type", "  provisioning: {type: UserDataRef, userDataRef: {kind: Secret, name: opaque}}\n", "ProvisioningReady",
         "False ProvisioningNotReady", "has the type Opaque", "opaque"},
        {"secret key", "  provisioning: {type: SysprepRef, sysprepRef: {kind: Secret, name: empty}}\n", "ProvisioningReady",
         "False ProvisioningNotReady", "has no key unattend.xml", "empty"},
        {"disk", "  blockDeviceRefs: [{kind: VirtualDisk, name: absent}]\n", "BlockDevicesReady", "False BlockDevicesNotReady",
         "VirtualDisk absent: it does not exist", "absent"},
        {"image", "  blockDeviceRefs: [{kind: ClusterVirtualImage, name: later}]\n", "BlockDevicesReady",
         "False BlockDevicesNotReady", "ClusterVirtualImage later: the file is being fetched and judged", "later"},
        {"address", "  virtualMachineIPAddressName: mine\n", "VirtualMachineIPAddressReady",
         "False VirtualMachineIPAddressNotReady", "VirtualMachineIPAddress mine does not exist", "mine"},
        {"network", "  networks: [{type: Network, name: dmz}]\n", "NetworkReady", "False NetworkNotFound",
         "network dmz does not exist", "dmz"},
        {"node", "  nodeSelector: {rack: b}\n", "Running", "False NoSuitableNode",
         "none of 1 node fits: node-a lacks the labels that the machine selects (rack=b)", "node-a"},
        {"memory", "  memory: {size: 100Gi}\n", "Running", "False NoSuitableNode", "MiB of memory free", "102868 MiB are needed"},
};

static void blocked_machines_say_why(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_apply(cloud, "{apiVersion: v1, kind: Secret, metadata: {name: opaque}, data: {userData: YQ==}}\n---\n"
                           "{apiVersion: v1, kind: Secret, metadata: {name: empty}, type: "
                           "provisioning.virtualization.deckhouse.io/sysprep}\n---\n"
                           "{apiVersion: gabbro.dev/v1, kind: ClusterVirtualImage, metadata: {name: later},\n"
                           " spec: {dataSource: {type: HTTP, http: {url: \"https://example.org/later\"}}}}\n");
        cloud_image(cloud, "tiny");
        for (size_t i = 0; i < G_N_ELEMENTS(blocked_cases); i++) {
                const struct blocked *test = &blocked_cases[i];
                g_autofree char *name = g_strdup_printf("vm-%zu", i);
                g_autofree char *head = g_strdup_printf(
                        "apiVersion: gabbro.dev/v1\nkind: VirtualMachine\nmetadata: {name: %s}\nspec:\n%s%s%s%s%s%s", name,
                        strstr(test->spec, "ClassName") ? "" : "  virtualMachineClassName: generic\n",
                        strstr(test->spec, "cpu") ? "" : "  cpu: {cores: 1}\n",
                        strstr(test->spec, "memory") ? "" : "  memory: {size: 1Gi}\n",
                        strstr(test->spec, "blockDeviceRefs") ? ""
                                                              : "  blockDeviceRefs: [{kind: ClusterVirtualImage, name: tiny}]\n",
                        test->spec, "");

                g_test_message("%s", test->name);
                cloud_apply(cloud, head);
                cloud_expect_phase(cloud, VM, name, "Pending");
                cloud_expect_condition(cloud, VM, name, test->type, test->status_reason, test->part);
                g_assert_nonnull(strstr(cloud_condition(cloud, VM, name, "Running"), test->running_part));
                g_assert_true(g_str_has_prefix(cloud_condition(cloud, VM, name, "Running"), "False "));
                g_assert_null(cloud_instance(cloud, name));
        }
        cloud_expect_no_effects(cloud);
}

/* What is blocked goes on by itself when the reason ends. */
static void a_blocked_machine_goes_on_when_its_need_is_met(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "web",
                      "  provisioning: {type: UserDataRef, userDataRef: {kind: Secret, name: init}}\n  nodeSelector: {rack: b}\n");
        cloud_expect_condition(cloud, VM, "web", "ProvisioningReady", "False ProvisioningNotReady", NULL);
        cloud_apply(cloud, "{apiVersion: v1, kind: Secret, metadata: {name: init}, data: {userData: YQ==},\n"
                           " type: provisioning.virtualization.deckhouse.io/cloud-init}");
        cloud_expect_condition(cloud, VM, "web", "ProvisioningReady", "True ProvisioningReady", NULL);
        cloud_expect_condition(cloud, VM, "web", "Running", "False NoSuitableNode", NULL);
        cloud_apply(cloud,
                    "{apiVersion: v1, kind: Node, metadata: {name: node-a, labels: {rack: b, kubernetes.io/hostname: node-a}}}");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpstr(cloud_instance(cloud, "web")->spec->seed->digest, ==,
                        "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"); /* of "a" */
}

/* Decision 7, D51-D53, D55, D57: explicit, also in the good state. */
static void good_conditions_stay_with_a_message(void)
{
        static const char *const expect[][2] = {
                {"VirtualMachineClassReady", "True VirtualMachineClassReady"},
                {"BlockDevicesReady", "True BlockDevicesReady"},
                {"VirtualMachineIPAddressReady", "True VirtualMachineIPAddressReady"},
                {"NetworkReady", "True NetworkReady"},
                {"ProvisioningReady", "True ProvisioningReady"},
                {"SizingPolicyMatched", "True SizingPolicyMatched"},
                {"Running", "True Running"},
                {"Migratable", "False VirtualMachineNonMigratable"},
                {"AgentReady", "False AgentNotReady"},
                {"FirmwareUpToDate", "True FirmwareUpToDate"},
                {"ConfigurationApplied", "True ConfigurationApplied"},
                {"AwaitingRestartToApplyConfiguration", "False NoRestartRequired"},
        };
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", NULL);
        for (size_t i = 0; i < G_N_ELEMENTS(expect); i++)
                cloud_expect_condition(cloud, VM, "web", expect[i][0], expect[i][1], " ");
}

/* D51: what runs is older than what a start would take. */
static void an_upgraded_host_is_told_until_a_restart(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", NULL);
        cloud_expect_condition(cloud, VM, "web", "FirmwareUpToDate", "True FirmwareUpToDate", NULL);
        cloud_status(cloud, &api_node_kind, "node-a", "{\"virtualization\": {\"qemuVersion\": \"8.0.1\"}}");
        cloud_expect_condition(cloud, VM, "web", "FirmwareUpToDate", "False FirmwareOutOfDate",
                               "it runs on QEMU 7.2.0, its host has 8.0.1 now; a restart renews it");
        cloud_status(cloud, &api_instance_kind, cloud_text(cloud, VM, "web", "/status/instanceName"),
                     "{\"versions\": {\"qemu\": \"8.0.1\"}}");
        cloud_expect_condition(cloud, VM, "web", "FirmwareUpToDate", "True FirmwareUpToDate", NULL);
}

/* D32 */
static void the_list_is_the_boot_order_unless_devices_name_their_place(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        const struct api_instance_spec *spec;

        for (const char *const *name = (const char *const[]){"one", "two", "three", "four", NULL}; *name; name++)
                cloud_image(cloud, *name);
        cloud_apply(cloud, "apiVersion: gabbro.dev/v1\nkind: VirtualMachine\nmetadata: {name: web}\n"
                           "spec: {virtualMachineClassName: generic, cpu: {cores: 1}, memory: {size: 1Gi}, osType: Windows,\n"
                           "  bootloader: EFIWithSecureBoot, watchdog: {action: Pause}, graphics: {protocol: None},\n"
                           "  blockDeviceRefs: [{kind: ClusterVirtualImage, name: one}, {kind: ClusterVirtualImage, name: two,\n"
                           "    bootOrder: 9}, {kind: ClusterVirtualImage, name: three}, {kind: ClusterVirtualImage, name: four,\n"
                           "    bootOrder: 3}]}\n");
        cloud_expect_condition(cloud, VM, "web", "Running", "False NoSuitableNode", "has no EFIWithSecureBoot firmware");
        cloud_status(cloud, &api_node_kind, "node-a",
                     "{\"virtualization\": {\"firmwares\": [\"BIOS\", \"EFIWithSecureBoot\"], \"tpm\": false}}");
        cloud_expect_condition(cloud, VM, "web", "Running", "False NoSuitableNode", "cannot give machines a TPM; install swtpm");
        cloud_status(cloud, &api_node_kind, "node-a", "{\"virtualization\": {\"tpm\": true}}");
        cloud_expect_phase(cloud, VM, "web", "Running");
        spec = cloud_instance(cloud, "web")->spec;
        g_assert_true(spec->tpm); /* as Windows 11 needs it */
        g_assert_cmpstr(spec->watchdog, ==, "Pause");
        g_assert_cmpstr(spec->graphics, ==, "None");
        for (size_t i = 0; i < 4; i++)
                g_assert_cmpint(spec->disks[i].boot_order, ==, ((const int64_t[]){3, 2, 4, 1})[i]);
}

/* D56, D145 */
static void a_machine_that_sees_its_hosts_processor_cannot_move(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineClass, metadata: {name: through}, spec: {cpu: {type: "
                           "HostPassthrough}}}\n");
        cloud_image(cloud, "tiny");
        cloud_apply(cloud, "apiVersion: gabbro.dev/v1\nkind: VirtualMachine\nmetadata: {name: web}\n"
                           "spec: {virtualMachineClassName: through, cpu: {cores: 1}, memory: {size: 1Gi},\n"
                           "  blockDeviceRefs: [{kind: ClusterVirtualImage, name: tiny}]}\n");
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_expect_condition(cloud, VM, "web", "Migratable", "False VirtualMachineNonMigratable", "processor of the very host");
}

/* D49, D50 */
static void the_guest_agent_fills_its_facts(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        const char *instance;

        cloud_machine(cloud, "web", NULL);
        cloud_settle(cloud);
        instance = cloud_text(cloud, VM, "web", "/status/instanceName");
        cloud_status(cloud, &api_instance_kind, instance,
                     "{\"agentConnected\": true, \"guestOSInfo\": {\"id\": \"debian\", \"versionId\": \"12\"}}");
        cloud_expect_condition(cloud, VM, "web", "AgentReady", "True AgentReady", NULL);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/guestOSInfo/id"), ==, "debian");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/guestOSInfo/versionId"), ==, "12");
}

static void the_parts_of_a_start_are_timed(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        const char *instance;

        cloud_machine(cloud, "web", "  nodeSelector: {rack: b}\n");
        cloud_settle(cloud);
        cloud_advance(cloud, 65 * SECOND_US);
        cloud_hold(cloud, &api_instance_kind);
        cloud_apply(cloud,
                    "{apiVersion: v1, kind: Node, metadata: {name: node-a, labels: {rack: b, kubernetes.io/hostname: node-a}}}");
        cloud_settle(cloud);
        cloud_advance(cloud, 7 * SECOND_US);
        cloud_hold(cloud, NULL);
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/stats/launchTimeDuration/waitingForDependencies"), ==, "1m5s");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/stats/launchTimeDuration/virtualMachineStarting"), ==, "7s");
        cloud_advance(cloud, 3 * SECOND_US);
        instance = cloud_text(cloud, VM, "web", "/status/instanceName");
        cloud_status(cloud, &api_instance_kind, instance, "{\"agentConnected\": true}");
        cloud_settle(cloud);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/stats/launchTimeDuration/guestOSAgentStarting"), ==, "3s");
        cloud_advance(cloud, 60 * SECOND_US);
        cloud_expect_no_effects(cloud);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/stats/launchTimeDuration/guestOSAgentStarting"), ==, "3s");
}

/* --- D39-D44 --- */

static const struct resources_case {
        unsigned cores;
        const char *fraction;
        unsigned sockets, per_socket;
        const char *requested;
} resources_cases[] = {
        {1, "10%", 1, 1, "100m"},  {8, NULL, 1, 8, "8"},      {16, "50%", 1, 16, "8"},
        {18, "100%", 2, 9, "18"},  {32, "100%", 2, 16, "32"}, {36, "100%", 4, 9, "36"},
        {64, "100%", 4, 16, "64"}, {72, "100%", 8, 9, "72"},  {248, "100%", 8, 31, "248"},
};

static void resources_tell_cores_share_and_topology(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        for (size_t i = 0; i < G_N_ELEMENTS(resources_cases); i++) {
                const struct resources_case *test = &resources_cases[i];
                g_autofree char *name = g_strdup_printf("vm-%zu", i), *number = g_strdup_printf("%u", test->cores);
                g_autofree char *sockets = g_strdup_printf("%u", test->sockets),
                                *per_socket = g_strdup_printf("%u", test->per_socket);

                cloud_applyf(
                        cloud,
                        "apiVersion: gabbro.dev/v1\nkind: VirtualMachine\nmetadata: {name: %s}\n"
                        "spec: {runPolicy: Manual, virtualMachineClassName: generic, cpu: {cores: %u%s%s}, memory: {size: 1Gi},\n"
                        "  blockDeviceRefs: [{kind: VirtualDisk, name: none}]}\n",
                        name, test->cores, test->fraction ? ", coreFraction: " : "", test->fraction ? test->fraction : "");
                cloud_settle(cloud);
                g_assert_cmpstr(cloud_text(cloud, VM, name, "/status/resources/cpu/cores"), ==, number);
                g_assert_cmpstr(cloud_text(cloud, VM, name, "/status/resources/cpu/coreFraction"), ==,
                                test->fraction ? test->fraction : "100%");
                g_assert_cmpstr(cloud_text(cloud, VM, name, "/status/resources/cpu/requestedCores"), ==, test->requested);
                g_assert_cmpstr(cloud_text(cloud, VM, name, "/status/resources/cpu/runtimeOverhead"), ==, "0");
                g_assert_cmpstr(cloud_text(cloud, VM, name, "/status/resources/cpu/topology/sockets"), ==, sockets);
                g_assert_cmpstr(cloud_text(cloud, VM, name, "/status/resources/cpu/topology/coresPerSocket"), ==, per_socket);
                g_assert_cmpstr(cloud_text(cloud, VM, name, "/status/resources/memory/size"), ==, "1Gi");
        }
}

/* --- changes --- */

static void machine_of(struct cloud *cloud, unsigned cores, const char *memory, const char *more)
{
        cloud_applyf(cloud,
                     "apiVersion: gabbro.dev/v1\nkind: VirtualMachine\nmetadata: {name: web}\n"
                     "spec:\n  virtualMachineClassName: generic\n  cpu: {cores: %u}\n  memory: {size: %s}\n"
                     "  blockDeviceRefs: [{kind: VirtualDisk, name: web-root}]\n%s",
                     cores, memory, more);
        cloud_settle(cloud);
}

/* D52, D53, D79, D80 */
static void changes_wait_for_a_restart_and_are_listed(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", NULL);
        cloud_settle(cloud);
        machine_of(cloud, 2, "1Gi", "");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/restartAwaitingChanges"), ==,
                        "[{\"operation\":\"replace\",\"path\":\"cpu.cores\",\"currentValue\":1,\"desiredValue\":2}]");
        cloud_expect_condition(cloud, VM, "web", "AwaitingRestartToApplyConfiguration", "True ChangesPendingRestart",
                               "1 change waits");
        cloud_expect_condition(cloud, VM, "web", "ConfigurationApplied", "False ConfigurationNotApplied", NULL);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/resources/cpu/cores"), ==, "1");
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->cpu->cores, ==, 1);
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: again},\n"
                           " spec: {type: Restart, virtualMachineName: web}}");
        cloud_expect_phase(cloud, VMOP, "again", "Completed");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/restartAwaitingChanges"), ==, "");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/resources/cpu/cores"), ==, "2");
        cloud_expect_condition(cloud, VM, "web", "AwaitingRestartToApplyConfiguration", "False NoRestartRequired", NULL);
        cloud_expect_no_effects(cloud);
}

static void disks_of_web(struct cloud *cloud, const char *policy, const char *refs)
{
        cloud_applyf(cloud,
                     "apiVersion: gabbro.dev/v1\nkind: VirtualMachine\nmetadata: {name: web}\n"
                     "spec:\n  virtualMachineClassName: generic\n  runPolicy: %s\n  cpu: {cores: 1}\n  memory: {size: 1Gi}\n"
                     "  blockDeviceRefs: [%s]\n",
                     policy, refs);
        cloud_settle(cloud);
}

/* D75, D101: a list of disks changes with the next start, which a running machine is told of and a stopped one is not. */
static void a_list_of_disks_changes_with_the_next_start(void)
{
        static const char one[] = "{kind: VirtualDisk, name: web-root}",
                          two[] = "{kind: VirtualDisk, name: web-root}, {kind: VirtualDisk, name: web-data}";
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualDisk, metadata: {name: web-data},\n"
                           " spec: {persistentVolumeClaim: {size: 1Gi}}}");
        cloud_machine(cloud, "web", NULL);
        cloud_settle(cloud);
        disks_of_web(cloud, "AlwaysOn", two);
        g_assert_nonnull(strstr(cloud_text(cloud, VM, "web", "/status/restartAwaitingChanges"), "\"path\":\"blockDeviceRefs"));
        g_assert_cmpuint(cloud_instance(cloud, "web")->spec->n_disks, ==, 1);
        disks_of_web(cloud, "AlwaysOn", one);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/restartAwaitingChanges"), ==, "");
        disks_of_web(cloud, "AlwaysOff", one);
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        disks_of_web(cloud, "AlwaysOff", two);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/restartAwaitingChanges"), ==, "");
        disks_of_web(cloud, "AlwaysOn", two);
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpuint(cloud_instance(cloud, "web")->spec->n_disks, ==, 2);
}

static const struct change_case {
        const char *name;
        unsigned cores;
        const char *memory, *more;
        const char *expect; /* "operation path" of each change */
} change_cases[] = {
        {"nothing", 1, "1Gi", "", ""},
        {"a default written out", 1, "1Gi", "  bootloader: BIOS\n", ""},
        {"run policy at once", 1, "1Gi", "  runPolicy: AlwaysOn\n", ""},
        {"D77: node selector at once", 1, "1Gi", "  nodeSelector: {disk: fast}\n", ""},
        {"live migration policy at once", 1, "1Gi", "  liveMigrationPolicy: AlwaysSafe\n", ""},
        {"memory", 1, "2Gi", "", "replace memory.size;"},
        {"memory written otherwise", 1, "1024Mi", "", ""},
        {"boot firmware", 1, "1Gi", "  bootloader: EFI\n", "replace bootloader;"},
        {"user data", 1, "1Gi", "  provisioning: {type: UserData, userData: x}\n", "add provisioning;"},
        {"grace period", 1, "1Gi", "  terminationGracePeriodSeconds: 5\n", "replace terminationGracePeriodSeconds;"},
        {"guest system", 1, "1Gi", "  osType: Windows\n", "replace osType;"},
        {"tolerations at once", 1, "1Gi", "  tolerations: [{operator: Exists}]\n", ""},
        {"two", 2, "2Gi", "", "replace cpu.cores;replace memory.size;"},
        {"address", 1, "1Gi", "  virtualMachineIPAddressName: other\n", "add virtualMachineIPAddressName;"},
};

static void the_way_of_every_change_is_known(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", NULL);
        cloud_settle(cloud);
        for (size_t i = 0; i < G_N_ELEMENTS(change_cases); i++) {
                const struct change_case *test = &change_cases[i];
                g_autoptr(GString) got = g_string_new(NULL);
                const struct json_value *list;

                g_test_message("%s", test->name);
                machine_of(cloud, test->cores, test->memory, test->more);
                list = json_find(cache_root(cloud_get(cloud, VM, "web")), "status", "restartAwaitingChanges", NULL);
                for (const struct json_value *v = json_first(list); v; v = json_next(v))
                        g_string_append_printf(got, "%s %s;", json_find_string(v, "operation", NULL),
                                               json_find_string(v, "path", NULL));
                g_assert_cmpstr(got->str, ==, test->expect);
        }
}

/* Decision 6: user data is told by its hash alone. */
static void user_data_is_not_copied_into_intents(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        const struct cache_object *instance;
        g_autofree char *text = NULL;

        cloud_machine(cloud, "web", "  provisioning: {type: UserData, userData: \"password is hunter2\"}\n");
        cloud_settle(cloud);
        instance = cloud_get(cloud, &api_instance_kind, cloud_text(cloud, VM, "web", "/status/instanceName"));
        text = json_to_text(cache_root(instance));
        g_assert_null(strstr(text, "hunter2"));
        g_assert_nonnull(strstr(text, "sha256:"));
}

/* --- the end --- */

static void deletion_leaves_nothing_but_disks(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        const char *address;

        cloud_machine(cloud, "web", NULL);
        cloud_settle(cloud);
        address = cloud_text(cloud, VM, "web", "/status/virtualMachineIPAddressName");
        cloud_hold(cloud, &api_instance_kind);
        cloud_delete(cloud, VM, "web");
        cloud_expect_phase(cloud, VM, "web", "Terminating");
        cloud_expect_condition(cloud, VM, "web", "Running", "False Terminating", "waits until host node-a has removed its domain");
        g_assert_cmpuint(cloud_count(cloud, &api_port_kind), ==, 1); /* the policy outlives the domain */
        cloud_hold(cloud, NULL);
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, VM, "web"));
        g_assert_cmpuint(cloud_count(cloud, &api_instance_kind), ==, 0);
        g_assert_cmpuint(cloud_count(cloud, &api_port_kind), ==, 0);
        g_assert_null(cloud_get(cloud, VMIP, address)); /* D139 */
        cloud_expect_phase(cloud, VD, "web-root", "Ready");
        g_assert_cmpuint(cloud_count(cloud, &api_volume_kind), ==, 1);
        cloud_delete(cloud, VD, "web-root");
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, VD, "web-root"));
        g_assert_cmpuint(cloud_count(cloud, &api_volume_kind), ==, 0);
        cloud_expect_no_effects(cloud);
}

static void a_machine_that_never_ran_goes_at_once(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", "  runPolicy: Manual\n");
        cloud_settle(cloud);
        cloud_delete(cloud, VM, "web");
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, VM, "web"));
}

/* --- changed outside --- */

static void what_somebody_does_on_the_host_is_told(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        const struct schema_kind *kind = &api_instance_kind;
        g_autofree char *name = NULL;

        cloud_machine(cloud, "web", NULL);
        cloud_settle(cloud);
        name = g_strdup(cloud_text(cloud, VM, "web", "/status/instanceName"));
        cloud_status(cloud, kind, name, "{\"state\":\"paused\",\"stateReason\":\"PausedOutside\",\"domainName\":\"web-1\"}");
        cloud_expect_phase(cloud, VM, "web", "Pause");
        cloud_expect_condition(cloud, VM, "web", "Running", "False PausedOutside", "virsh resume web-1");
        g_assert_true(cloud_has_event(cloud, "web", "PausedOutside"));
        cloud_status(cloud, kind, name, "{\"state\":\"running\",\"stateReason\":null,\"differs\":\"disk vdx (/x) was added\"}");
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_expect_condition(cloud, VM, "web", "ConfigurationApplied", "False DomainChangedOutside", "disk vdx (/x) was added");
        cloud_status(cloud, kind, name,
                     "{\"differs\":null,\"outside\":{\"reason\":\"DomainUndefinedOutside\",\"message\":\"it was gone\","
                     "\"at\":\"2026-01-02T03:04:05Z\"}}");
        cloud_expect_condition(cloud, VM, "web", "ConfigurationApplied", "True ConfigurationApplied", NULL);
        g_assert_true(cloud_has_event(cloud, "web", "DomainUndefinedOutside"));
        cloud_guest(cloud, "web", "shutoff", "DomainDestroyedOutside");
        cloud_settle(cloud);
        g_assert_true(cloud_has_event(cloud, "web", "DomainDestroyedOutside"));
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->epoch, ==, 2);
}

/* A store that was put back knows an older epoch than the host has. */
static void a_domain_newer_than_its_order_runs(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        g_autofree char *name = NULL;

        cloud_machine(cloud, "web", NULL);
        cloud_settle(cloud);
        name = g_strdup(cloud_text(cloud, VM, "web", "/status/instanceName"));
        cloud_hold(cloud, &api_instance_kind);
        cloud_status(cloud, &api_instance_kind, name, "{\"epoch\":7}");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/epoch"), ==, "7");
        cloud_status(cloud, &api_instance_kind, name, "{\"state\":\"crashed\",\"stateReason\":\"Crashed\"}");
        cloud_hold(cloud, NULL);
        cloud_settle(cloud);
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->epoch, ==, 8);
}

/* --- a lost host --- */

/* What was true when it was heard of last is not told as if it were so now. */
static const char *const known_to_the_host[] = {"AgentReady", "Migratable", "NetworkReady", "FirmwareUpToDate",
                                                "ConfigurationApplied"};

static void a_lost_host_keeps_its_machines(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_add_node(cloud, "node-b", 8, 32);
        cloud_machine(cloud, "web", NULL);
        cloud_settle(cloud);

        const char *node = cloud_text(cloud, VM, "web", "/status/nodeName");

        cloud_lose_node(cloud, node, true);
        cloud_advance(cloud, 60 * SECOND_US);
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_expect_condition(cloud, VM, "web", "Running", "Unknown NodeLost", "nothing is started elsewhere");
        for (size_t i = 0; i < G_N_ELEMENTS(known_to_the_host); i++)
                cloud_expect_condition(cloud, VM, "web", known_to_the_host[i], "Unknown NodeLost", "does not answer");
        g_assert_true(cloud_has_event(cloud, node, "AgentNotResponding"));
        g_assert_cmpstr(cloud_text(cloud, &api_node_kind, node, "/status/conditions/0/status"), ==, "Unknown");
        cloud_advance(cloud, 3600 * SECOND_US);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/nodeName"), ==, node);
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->epoch, ==, 1);
        cloud_delete(cloud, VM, "web");
        cloud_advance(cloud, 60 * SECOND_US);
        cloud_expect_phase(cloud, VM, "web", "Terminating"); /* decision 2: only by an explicit forget */
        cloud_lose_node(cloud, node, false);
        cloud_advance(cloud, 20 * SECOND_US);
        g_assert_null(cloud_get(cloud, VM, "web"));
}

static void a_machine_on_a_lost_host_recovers_with_it(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", NULL);
        cloud_settle(cloud);
        cloud_lose_node(cloud, "node-a", true);
        cloud_advance(cloud, 60 * SECOND_US);
        cloud_expect_condition(cloud, VM, "web", "Running", "Unknown NodeLost", NULL);
        cloud_lose_node(cloud, "node-a", false);
        cloud_advance(cloud, 20 * SECOND_US);
        cloud_expect_condition(cloud, VM, "web", "Running", "True Running", NULL);
        for (size_t i = 0; i < G_N_ELEMENTS(known_to_the_host); i++)
                g_assert_false(g_str_has_prefix(cloud_condition(cloud, VM, "web", known_to_the_host[i]), "Unknown"));
}

static void a_node_that_is_removed_is_a_lost_host(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", NULL);
        cloud_settle(cloud);
        cloud_delete(cloud, &api_node_kind, "node-a");
        cloud_expect_condition(cloud, VM, "web", "Running", "Unknown NodeLost", "host node-a does not answer");
        cloud_expect_phase(cloud, VM, "web", "Running");
}

static void an_instance_that_is_removed_by_hand_is_made_again(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", NULL);
        cloud_settle(cloud);
        cloud_delete(cloud, &api_instance_kind, cloud_text(cloud, VM, "web", "/status/instanceName"));
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->epoch, ==, 2); /* epochs never come twice */
        g_assert_nonnull(cloud_instance(cloud, "web")->spec->hardware);    /* the guest sees the same hardware (decision 3) */
        cloud_expect_no_effects(cloud);
}

/* --- a disk has one machine at a time --- */

static void a_disk_runs_in_one_machine_only(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "one", NULL);
        cloud_settle(cloud);
        cloud_apply(cloud, "apiVersion: gabbro.dev/v1\nkind: VirtualMachine\nmetadata: {name: two}\n"
                           "spec: {virtualMachineClassName: generic, cpu: {cores: 1}, memory: {size: 1Gi},\n"
                           "  blockDeviceRefs: [{kind: VirtualDisk, name: one-root}]}\n");
        cloud_expect_phase(cloud, VM, "two", "Pending");
        cloud_expect_condition(cloud, VM, "two", "BlockDevicesReady", "False BlockDevicesNotReady", "machine one has it");
        g_assert_null(cloud_instance(cloud, "two"));
        cloud_delete(cloud, VM, "one");
        cloud_expect_phase(cloud, VM, "two", "Running");
}

static const struct api_port *port_of(struct cloud *cloud, const char *machine)
{
        return index_one(cloud_cache(cloud), INDEX_PORT_BY_MACHINE, cloud_get(cloud, VM, machine)->uid)->view;
}

/* Three bytes of a hash: among some thousands of machines two have the same. */
static void no_two_machines_have_the_same_mac_address(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        g_autofree char *second = NULL;
        char first[MAC_TEXT_MAX];

        cloud_machine(cloud, "web", "  runPolicy: AlwaysOff\n");
        cloud_settle(cloud);
        mac_derive(cloud_get(cloud, VM, "web")->uid, 0, first);
        cloud_applyf(cloud,
                     "{apiVersion: host.gabbro.dev/v1, kind: Port, metadata: {name: p-other},\n"
                     " spec: {nodeName: node-x, machine: {uid: other, namespace: default, name: other}, mac: \"%s\",\n"
                     "  network: {name: default, uid: net, type: NAT, cidr: 10.66.10.0/24, gateway: 10.66.10.1, bridge: gbr0},\n"
                     "  tapName: gbt0, policy: {digest: x}}}",
                     first);
        cloud_machine(cloud, "web", "  runPolicy: AlwaysOn\n");
        cloud_expect_phase(cloud, VM, "web", "Running");
        second = g_strdup(port_of(cloud, "web")->spec->mac);
        g_assert_true(mac_valid(second));
        g_assert_cmpstr(second, !=, first);
        /* It stays when the other one has gone. */
        cloud_delete(cloud, &api_port_kind, "p-other");
        cloud_machine(cloud, "web", "  runPolicy: AlwaysOff\n");
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        cloud_machine(cloud, "web", "  runPolicy: AlwaysOn\n");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpstr(port_of(cloud, "web")->spec->mac, ==, second);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/networks/0/macAddress"), ==, second);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/vm/a_machine_comes_to_running", a_machine_comes_to_running);
        g_test_add_func("/vm/a_machine_alone_needs_no_order_of_its_parts", a_machine_alone_needs_no_order_of_its_parts);
        g_test_add_func("/vm/A2_A3_the_instance_says_all_that_the_host_needs", the_instance_says_all_that_the_host_needs);
        g_test_add_func("/vm/one_transaction_starts_a_machine", one_transaction_starts_a_machine);
        g_test_add_func("/vm/D46_D47_D48_D58_blocked_machines_say_why", blocked_machines_say_why);
        g_test_add_func("/vm/a_blocked_machine_goes_on_when_its_need_is_met", a_blocked_machine_goes_on_when_its_need_is_met);
        g_test_add_func("/vm/D51_D52_D53_D55_good_conditions_stay_with_a_message", good_conditions_stay_with_a_message);
        g_test_add_func("/vm/D56_D145_a_machine_that_sees_its_hosts_processor_cannot_move",
                        a_machine_that_sees_its_hosts_processor_cannot_move);
        g_test_add_func("/vm/D51_an_upgraded_host_is_told_until_a_restart", an_upgraded_host_is_told_until_a_restart);
        g_test_add_func("/vm/D31_D32_the_list_is_the_boot_order_unless_devices_name_their_place",
                        the_list_is_the_boot_order_unless_devices_name_their_place);
        g_test_add_func("/vm/D49_D50_the_guest_agent_fills_its_facts", the_guest_agent_fills_its_facts);
        g_test_add_func("/vm/the_parts_of_a_start_are_timed", the_parts_of_a_start_are_timed);
        g_test_add_func("/vm/D39_D44_resources_tell_cores_share_and_topology", resources_tell_cores_share_and_topology);
        g_test_add_func("/vm/D52_D53_D79_changes_wait_for_a_restart_and_are_listed", changes_wait_for_a_restart_and_are_listed);
        g_test_add_func("/vm/D75_D101_a_list_of_disks_changes_with_the_next_start", a_list_of_disks_changes_with_the_next_start);
        g_test_add_func("/vm/the_way_of_every_change_is_known", the_way_of_every_change_is_known);
        g_test_add_func("/vm/user_data_is_not_copied_into_intents", user_data_is_not_copied_into_intents);
        g_test_add_func("/vm/D54_deletion_leaves_nothing_but_disks", deletion_leaves_nothing_but_disks);
        g_test_add_func("/vm/a_machine_that_never_ran_goes_at_once", a_machine_that_never_ran_goes_at_once);
        g_test_add_func("/vm/what_somebody_does_on_the_host_is_told", what_somebody_does_on_the_host_is_told);
        g_test_add_func("/vm/a_domain_newer_than_its_order_runs", a_domain_newer_than_its_order_runs);
        g_test_add_func("/vm/a_lost_host_keeps_its_machines", a_lost_host_keeps_its_machines);
        g_test_add_func("/vm/a_machine_on_a_lost_host_recovers_with_it", a_machine_on_a_lost_host_recovers_with_it);
        g_test_add_func("/vm/a_node_that_is_removed_is_a_lost_host", a_node_that_is_removed_is_a_lost_host);
        g_test_add_func("/vm/an_instance_that_is_removed_by_hand_is_made_again", an_instance_that_is_removed_by_hand_is_made_again);
        g_test_add_func("/vm/no_two_machines_have_the_same_mac_address", no_two_machines_have_the_same_mac_address);
        g_test_add_func("/vm/a_disk_runs_in_one_machine_only", a_disk_runs_in_one_machine_only);
        return g_test_run();
}
