/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/attachment/attachment.h"

#include "controllers/cloud_test.h"
#include "generated/reasons.h"

#include <string.h>

static void disk(struct cloud *cloud, const char *name)
{
        cloud_applyf(cloud,
                     "{apiVersion: gabbro.dev/v1, kind: VirtualDisk, metadata: {name: %s},\n"
                     " spec: {persistentVolumeClaim: {size: 64Mi}}}",
                     name);
}

static void attach(struct cloud *cloud, const char *name, const char *machine, const char *kind, const char *device)
{
        cloud_applyf(cloud,
                     "{apiVersion: gabbro.dev/v1, kind: VirtualMachineBlockDeviceAttachment, metadata: {name: %s},\n"
                     " spec: {virtualMachineName: %s, blockDeviceRef: {kind: %s, name: %s}}}",
                     name, machine, kind, device);
}

static struct cloud *running(void)
{
        struct cloud *cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", "  runPolicy: Manual\n");
        disk(cloud, "data");
        cloud_applyf(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: go},\n"
                            " spec: {type: Start, virtualMachineName: web}}");
        cloud_expect_phase(cloud, VM, "web", "Running");
        return cloud;
}

static void operate(struct cloud *cloud, const char *name, const char *type)
{
        cloud_applyf(cloud,
                     "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: %s},\n"
                     " spec: {type: %s, force: %s, virtualMachineName: web}}",
                     name, type, strcmp(type, "Stop") == 0 ? "true" : "false");
        cloud_settle(cloud);
}

static size_t n_disks(struct cloud *cloud, const char *machine)
{
        return cloud_instance(cloud, machine)->spec->n_disks;
}

/* --- A48, A49, D102-D106 --- */

static void a_disk_is_attached_to_a_machine_that_runs_and_detached_again(void)
{
        g_autoptr(cloud) cloud = running();
        int64_t epoch = cloud_instance(cloud, "web")->spec->epoch;

        attach(cloud, "more", "web", "VirtualDisk", "data");
        cloud_expect_phase(cloud, VMBDA, "more", "Attached");
        cloud_expect_condition(cloud, VMBDA, "more", "Attached", "True " REASON_ATTACHED, "VirtualDisk data is vdb of machine web");
        cloud_expect_condition(cloud, VMBDA, "more", "BlockDeviceReady", "True " REASON_BLOCK_DEVICE_READY, NULL);
        cloud_expect_condition(cloud, VMBDA, "more", "VirtualMachineReady", "True " REASON_VIRTUAL_MACHINE_READY, NULL);
        cloud_expect_condition(cloud, VMBDA, "more", "DiskAttachmentCapacityAvailableType", "True " REASON_CAPACITY_AVAILABLE,
                               NULL);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/blockDeviceRefs/1/target"), ==, "vdb");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/blockDeviceRefs/1/hotplugged"), ==, "true");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/blockDeviceRefs/1/virtualMachineBlockDeviceAttachmentName"), ==,
                        "more");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/blockDeviceRefs/0/hotplugged"), ==, "false");
        cloud_expect_condition(cloud, VD, "data", "InUse", "True " REASON_ATTACHED_TO_VIRTUAL_MACHINE, "machine web has it");
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->epoch, ==, epoch);
        cloud_expect_no_effects(cloud);
        cloud_delete(cloud, VMBDA, "more");
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, VMBDA, "more"));
        g_assert_cmpuint(n_disks(cloud, "web"), ==, 1);
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->epoch, ==, epoch);
        cloud_expect_condition(cloud, VD, "data", "InUse", "False " REASON_NOT_IN_USE, NULL);
        g_assert_true(cloud_has_event(cloud, "more", REASON_BLOCK_DEVICE_ATTACHED));
        g_assert_true(cloud_has_event(cloud, "more", REASON_BLOCK_DEVICE_DETACHED));
        cloud_expect_no_effects(cloud);
}

static void it_waits_for_a_machine_that_does_not_exist_and_for_one_that_is_off(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        disk(cloud, "data");
        attach(cloud, "more", "web", "VirtualDisk", "data");
        cloud_expect_phase(cloud, VMBDA, "more", "Pending");
        cloud_expect_condition(cloud, VMBDA, "more", "VirtualMachineReady", "False " REASON_VIRTUAL_MACHINE_NOT_READY,
                               "does not exist");
        cloud_machine(cloud, "web", "  runPolicy: Manual\n");
        cloud_expect_phase(cloud, VMBDA, "more", "Pending");
        cloud_expect_condition(cloud, VMBDA, "more", "VirtualMachineReady", "False " REASON_VIRTUAL_MACHINE_NOT_READY,
                               "at its next start");
        operate(cloud, "one", "Start");
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_expect_phase(cloud, VMBDA, "more", "Attached");
        g_assert_cmpstr(cloud_instance(cloud, "web")->spec->disks[1].attachment, ==, "more");
        g_assert_false(cloud_instance(cloud, "web")->spec->disks[1].has_boot_order);
        operate(cloud, "two", "Stop");
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        cloud_expect_phase(cloud, VMBDA, "more", "Pending");
        operate(cloud, "three", "Start");
        cloud_expect_phase(cloud, VMBDA, "more", "Attached");
        operate(cloud, "four", "Restart");
        cloud_expect_phase(cloud, VMBDA, "more", "Attached");
        cloud_expect_no_effects(cloud);
}

static void what_it_waits_for_never_keeps_a_machine_from_starting(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", "  runPolicy: AlwaysOn\n");
        attach(cloud, "more", "web", "VirtualDisk", "later");
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_expect_phase(cloud, VMBDA, "more", "Pending");
        cloud_expect_condition(cloud, VMBDA, "more", "BlockDeviceReady", "False " REASON_BLOCK_DEVICE_NOT_READY, "does not exist");
        disk(cloud, "later");
        cloud_expect_phase(cloud, VMBDA, "more", "Attached");
}

static void an_attachment_of_a_machine_that_is_off_goes_at_once(void)
{
        g_autoptr(cloud) cloud = running();

        attach(cloud, "more", "web", "VirtualDisk", "data");
        cloud_expect_phase(cloud, VMBDA, "more", "Attached");
        operate(cloud, "off", "Stop");
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        cloud_delete(cloud, VMBDA, "more");
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, VMBDA, "more"));
        g_assert_cmpuint(n_disks(cloud, "web"), ==, 1);
        operate(cloud, "on", "Start");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpuint(n_disks(cloud, "web"), ==, 1);
}

static void a_guest_that_does_not_let_go_is_told_and_a_stop_ends_it(void)
{
        g_autoptr(cloud) cloud = running();

        attach(cloud, "more", "web", "VirtualDisk", "data");
        cloud_expect_phase(cloud, VMBDA, "more", "Attached");
        cloud_hold_disks(cloud, true);
        cloud_delete(cloud, VMBDA, "more");
        cloud_expect_phase(cloud, VMBDA, "more", "Terminating");
        cloud_expect_condition(cloud, VMBDA, "more", "Terminating", "True " REASON_DETACH_NOT_ACKNOWLEDGED, "the guest sleeps");
        g_assert_true(cloud_has_event(cloud, "more", REASON_DETACH_NOT_ACKNOWLEDGED));
        cloud_expect_condition(cloud, VD, "data", "InUse", "True " REASON_ATTACHED_TO_VIRTUAL_MACHINE, NULL);
        cloud_delete(cloud, VD, "data");
        cloud_advance(cloud, 600 * SECOND_US);
        g_assert_nonnull(cloud_get(cloud, VD, "data"));
        cloud_expect_no_effects(cloud);
        operate(cloud, "off", "Stop");
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        g_assert_null(cloud_get(cloud, VMBDA, "more"));
        g_assert_null(cloud_get(cloud, VD, "data"));
}

/* --- I2 --- */

static void a_disk_of_another_machine_is_refused(void)
{
        g_autoptr(cloud) cloud = running();

        cloud_machine(cloud, "db", "  runPolicy: AlwaysOn\n");
        attach(cloud, "first", "web", "VirtualDisk", "data");
        cloud_expect_phase(cloud, VMBDA, "first", "Attached");
        attach(cloud, "second", "db", "VirtualDisk", "data");
        cloud_expect_phase(cloud, VMBDA, "second", "Failed");
        cloud_expect_condition(cloud, VMBDA, "second", "Attached", "False " REASON_ATTACHMENT_CONFLICT, "machine web has it");
        g_assert_cmpuint(n_disks(cloud, "db"), ==, 1);
        attach(cloud, "third", "db", "VirtualDisk", "web-root");
        cloud_expect_phase(cloud, VMBDA, "third", "Failed");
        cloud_delete(cloud, VMBDA, "first");
        cloud_expect_phase(cloud, VMBDA, "second", "Attached");
        g_assert_cmpuint(n_disks(cloud, "web"), ==, 1);
        cloud_expect_no_effects(cloud);
}

static void who_comes_first_has_the_disk_while_the_other_is_off(void)
{
        g_autoptr(cloud) cloud = running();

        cloud_machine(cloud, "db", "  runPolicy: AlwaysOn\n");
        attach(cloud, "first", "web", "VirtualDisk", "data");
        cloud_expect_phase(cloud, VMBDA, "first", "Attached");
        attach(cloud, "second", "db", "VirtualDisk", "data");
        cloud_expect_phase(cloud, VMBDA, "second", "Failed");
        operate(cloud, "off", "Stop");
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        g_assert_cmpuint(n_disks(cloud, "web"), ==, 1);
        cloud_expect_phase(cloud, VMBDA, "second", "Attached");
        cloud_expect_phase(cloud, VMBDA, "first", "Failed");
        operate(cloud, "on", "Start");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpuint(n_disks(cloud, "web"), ==, 1);
        cloud_delete(cloud, VMBDA, "second");
        cloud_expect_phase(cloud, VMBDA, "first", "Attached");
        g_assert_cmpuint(n_disks(cloud, "db"), ==, 1);
        cloud_expect_no_effects(cloud);
}

static void a_disk_of_a_machine_that_is_off_can_be_deleted(void)
{
        g_autoptr(cloud) cloud = running();

        attach(cloud, "more", "web", "VirtualDisk", "data");
        cloud_expect_phase(cloud, VMBDA, "more", "Attached");
        operate(cloud, "off", "Stop");
        cloud_delete(cloud, VD, "data");
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, VD, "data"));
        cloud_expect_phase(cloud, VMBDA, "more", "Pending");
}

static void a_disk_whose_pool_the_host_lacks_is_refused(void)
{
        g_autoptr(cloud) cloud = running();

        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: StoragePool, metadata: {name: other},\n"
                           " spec: {path: /srv/other, nodeSelector: {rack: z}}}");
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualDisk, metadata: {name: far},\n"
                           " spec: {persistentVolumeClaim: {size: 64Mi, storageClassName: other}}}");
        attach(cloud, "more", "web", "VirtualDisk", "far");
        cloud_settle(cloud);
        cloud_expect_phase(cloud, VMBDA, "more", "Failed");
        cloud_expect_condition(cloud, VMBDA, "more", "Attached", "False " REASON_DEVICE_NOT_AVAILABLE_ON_NODE,
                               "host node-a does not have storage pool other");
        g_assert_cmpuint(n_disks(cloud, "web"), ==, 1);
}

static void two_attachments_at_once_give_the_disk_to_one_machine(void)
{
        g_autoptr(cloud) cloud = running();

        cloud_machine(cloud, "db", "  runPolicy: AlwaysOn\n");
        cloud_expect_phase(cloud, VM, "db", "Running");
        attach(cloud, "first", "web", "VirtualDisk", "data");
        attach(cloud, "second", "db", "VirtualDisk", "data");
        cloud_settle(cloud);
        g_assert_cmpuint(n_disks(cloud, "web") + n_disks(cloud, "db"), ==, 3);
}

static void a_device_is_attached_to_a_machine_once(void)
{
        g_autoptr(cloud) cloud = running();

        attach(cloud, "own", "web", "VirtualDisk", "web-root");
        cloud_expect_phase(cloud, VMBDA, "own", "Failed");
        cloud_expect_condition(cloud, VMBDA, "own", "Attached", "False " REASON_ATTACHMENT_CONFLICT, "its own specification");
        attach(cloud, "more", "web", "VirtualDisk", "data");
        attach(cloud, "again", "web", "VirtualDisk", "data");
        cloud_settle(cloud);
        g_assert_cmpuint(n_disks(cloud, "web"), ==, 2);
        g_assert_cmpuint((strcmp(cloud_phase(cloud, VMBDA, "more"), "Attached") == 0) +
                                 (strcmp(cloud_phase(cloud, VMBDA, "again"), "Attached") == 0),
                         ==, 1);
}

/* Made in the same second, and first by its name: what the machine has stays. */
static void what_was_granted_comes_before_what_is_as_old(void)
{
        g_autoptr(cloud) cloud = running();

        attach(cloud, "more", "web", "VirtualDisk", "data");
        cloud_expect_phase(cloud, VMBDA, "more", "Attached");
        attach(cloud, "again", "web", "VirtualDisk", "data");
        cloud_expect_phase(cloud, VMBDA, "again", "Failed");
        cloud_expect_phase(cloud, VMBDA, "more", "Attached");
        cloud_expect_no_effects(cloud);
        g_assert_cmpuint(n_disks(cloud, "web"), ==, 2);
        cloud_delete(cloud, VMBDA, "more");
        cloud_expect_phase(cloud, VMBDA, "again", "Attached");
}

/* --- D107 --- */

static void an_image_is_attached_read_only(void)
{
        g_autoptr(cloud) cloud = running();

        attach(cloud, "tools", "web", "ClusterVirtualImage", "tiny");
        cloud_expect_phase(cloud, VMBDA, "tools", "Attached");
        g_assert_true(cloud_instance(cloud, "web")->spec->disks[1].read_only);
        g_assert_cmpstr(cloud_instance(cloud, "web")->spec->disks[1].kind, ==, "Image");
        cloud_delete(cloud, VMBDA, "tools");
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, VMBDA, "tools"));
}

/* --- limits and ends --- */

static void a_machine_has_at_most_sixteen_devices(void)
{
        g_autoptr(cloud) cloud = running();

        for (unsigned i = 0; i < 16; i++) {
                g_autofree char *name = g_strdup_printf("d%02u", i);

                disk(cloud, name);
                attach(cloud, name, "web", "VirtualDisk", name);
                cloud_settle(cloud);
        }
        g_assert_cmpuint(n_disks(cloud, "web"), ==, 16);
        cloud_expect_phase(cloud, VMBDA, "d15", "Pending");
        cloud_expect_condition(cloud, VMBDA, "d15", "DiskAttachmentCapacityAvailableType", "False " REASON_CAPACITY_REACHED, NULL);
        cloud_delete(cloud, VMBDA, "d03");
        cloud_expect_phase(cloud, VMBDA, "d15", "Attached");
}

static void the_attachment_outlives_its_machine_and_waits(void)
{
        g_autoptr(cloud) cloud = running();

        attach(cloud, "more", "web", "VirtualDisk", "data");
        cloud_expect_phase(cloud, VMBDA, "more", "Attached");
        cloud_delete(cloud, VM, "web");
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, VM, "web"));
        cloud_expect_phase(cloud, VMBDA, "more", "Pending");
        cloud_expect_condition(cloud, VD, "data", "InUse", "False " REASON_NOT_IN_USE, NULL);
        cloud_delete(cloud, VMBDA, "more");
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, VMBDA, "more"));
}

static void a_disk_that_becomes_the_machines_own_stays_until_its_restart(void)
{
        g_autoptr(cloud) cloud = running();

        attach(cloud, "more", "web", "VirtualDisk", "data");
        cloud_expect_phase(cloud, VMBDA, "more", "Attached");
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachine, metadata: {name: web},\n"
                           " spec: {runPolicy: Manual, virtualMachineClassName: generic, cpu: {cores: 1}, memory: {size: 1Gi},\n"
                           "  blockDeviceRefs: [{kind: VirtualDisk, name: web-root}, {kind: VirtualDisk, name: data}]}}");
        cloud_expect_phase(cloud, VMBDA, "more", "Attached");
        operate(cloud, "again", "Restart");
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_expect_phase(cloud, VMBDA, "more", "Failed");
        g_assert_cmpuint(n_disks(cloud, "web"), ==, 2);
        g_assert_null(cloud_instance(cloud, "web")->spec->disks[1].attachment);
        cloud_delete(cloud, VMBDA, "more");
        cloud_settle(cloud);
        g_assert_cmpuint(n_disks(cloud, "web"), ==, 2);
        cloud_expect_condition(cloud, VD, "data", "InUse", "True " REASON_ATTACHED_TO_VIRTUAL_MACHINE, NULL);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/attachment/A48_A49_D102_D106_attach_and_detach",
                        a_disk_is_attached_to_a_machine_that_runs_and_detached_again);
        g_test_add_func("/attachment/D104_waits_for_its_machine",
                        it_waits_for_a_machine_that_does_not_exist_and_for_one_that_is_off);
        g_test_add_func("/attachment/never_blocks_a_start", what_it_waits_for_never_keeps_a_machine_from_starting);
        g_test_add_func("/attachment/off", an_attachment_of_a_machine_that_is_off_goes_at_once);
        g_test_add_func("/attachment/never_acknowledged", a_guest_that_does_not_let_go_is_told_and_a_stop_ends_it);
        g_test_add_func("/attachment/I2_other_machine", a_disk_of_another_machine_is_refused);
        g_test_add_func("/attachment/I2_who_comes_first", who_comes_first_has_the_disk_while_the_other_is_off);
        g_test_add_func("/attachment/off_and_deleted", a_disk_of_a_machine_that_is_off_can_be_deleted);
        g_test_add_func("/attachment/pool", a_disk_whose_pool_the_host_lacks_is_refused);
        g_test_add_func("/attachment/I2_at_once", two_attachments_at_once_give_the_disk_to_one_machine);
        g_test_add_func("/attachment/once", a_device_is_attached_to_a_machine_once);
        g_test_add_func("/attachment/granted", what_was_granted_comes_before_what_is_as_old);
        g_test_add_func("/attachment/D107_image", an_image_is_attached_read_only);
        g_test_add_func("/attachment/capacity", a_machine_has_at_most_sixteen_devices);
        g_test_add_func("/attachment/outlives", the_attachment_outlives_its_machine_and_waits);
        g_test_add_func("/attachment/becomes_own", a_disk_that_becomes_the_machines_own_stays_until_its_restart);
        return g_test_run();
}
