/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/cloud_private_test.h"

#include <string.h>

/* What controllers make for a machine is counted too: an exceeded quota is a condition, and goes by when there is room (D59, D48).
 */

static void expect_used(struct cloud *cloud, const char *resource, const char *amount)
{
        autostoreobject object = store_get(cloud->store, &api_resource_quota_kind, "default", "q");

        g_assert_cmpstr(json_find_string(object->root, "status", "used", resource, NULL), ==, amount);
}

static void disk_without_size(struct cloud *cloud, const char *name)
{
        cloud_applyf(cloud,
                     "{apiVersion: gabbro.dev/v1, kind: VirtualDisk, metadata: {name: %s},"
                     " spec: {dataSource: {type: ObjectRef, objectRef: {kind: ClusterVirtualImage, name: tiny}}}}",
                     name);
}

static void quota(struct cloud *cloud, const char *hard)
{
        cloud_applyf(cloud, "{apiVersion: v1, kind: ResourceQuota, metadata: {name: q}, spec: {hard: {%s}}}", hard);
        cloud_settle(cloud);
}

static void an_address_that_a_controller_makes_is_counted(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        quota(cloud, "addresses: 1");
        cloud_machine(cloud, "a", "");
        cloud_expect_phase(cloud, VM, "a", "Running");
        cloud_machine(cloud, "b", "");
        cloud_expect_phase(cloud, VM, "b", "Pending");
        cloud_expect_condition(cloud, VM, "b", "VirtualMachineIPAddressReady", "False QuotaExceeded",
                               "exceeded quota: q, requested: addresses=1, used: addresses=1, limited: addresses=1");
        expect_used(cloud, "addresses", "1");
        cloud_delete(cloud, VM, "a");
        cloud_advance(cloud, 10 * SECOND_US);
        cloud_expect_phase(cloud, VM, "b", "Running");
        expect_used(cloud, "addresses", "1");
}

/* A disk that names no size has that of its image: it is judged when the size is known, before a byte is written. */
static void a_disk_of_unknown_size_is_judged_when_it_is_known(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        quota(cloud, "storage: 1536Mi, default.storageclass.storage.k8s.io/persistentvolumeclaims: 1");
        disk_without_size(cloud, "a-root");
        disk_without_size(cloud, "b-root");
        cloud_machine(cloud, "a", "");
        cloud_machine(cloud, "b", "");
        cloud_settle(cloud);

        const char *phases[] = {cloud_phase(cloud, VM, "a"), cloud_phase(cloud, VM, "b")};
        const char *waits = strcmp(phases[0], "Running") == 0 ? "b" : "a";
        g_autofree char *disk = g_strdup_printf("%s-root", waits);

        g_assert_true((strcmp(phases[0], "Running") == 0) != (strcmp(phases[1], "Running") == 0));
        cloud_expect_phase(cloud, VD, disk, "Pending");
        cloud_expect_condition(cloud, VD, disk, "Ready", "False QuotaExceeded", "requested: storage=1Gi, used: storage=1Gi");
        cloud_expect_condition(cloud, VD, disk, "Ready", "False QuotaExceeded", "persistentvolumeclaims=1");
        expect_used(cloud, "storage", "1Gi");
        quota(cloud, "storage: 2Gi");
        cloud_advance(cloud, 10 * SECOND_US);
        cloud_expect_phase(cloud, VM, waits, "Running");
        expect_used(cloud, "storage", "2Gi");
}

/* What a guest gave back it may take again: it counts until the machine is off. */
static void memory_that_a_guest_gave_back_is_counted(void)
{
        static const char less[] =
                "{apiVersion: gabbro.dev/v1, kind: VirtualMachine, metadata: {name: a}, spec: {virtualMachineClassName: generic,\n"
                " cpu: {cores: 1}, memory: {size: 512Mi}, disruptions: {applyMode: Live}, runPolicy: Manual,\n"
                " blockDeviceRefs: [{kind: VirtualDisk, name: a-root}]}}";
        g_autoptr(cloud) cloud = cloud_new(NULL);

        quota(cloud, "memory: 4Gi");
        cloud_machine(cloud, "a", "  disruptions: {applyMode: Live}\n");
        cloud_expect_phase(cloud, VM, "a", "Running");
        expect_used(cloud, "memory", "1Gi");
        cloud_applyf(cloud, "%s", less);
        cloud_settle(cloud);
        g_assert_cmpstr(cloud_text(cloud, VM, "a", "/status/resources/memory/size"), ==, "512Mi");
        expect_used(cloud, "memory", "1Gi");
        cloud_applyf(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: off},\n"
                            " spec: {type: Stop, force: true, virtualMachineName: a}}");
        cloud_expect_phase(cloud, VM, "a", "Stopped");
        cloud_settle(cloud);
        expect_used(cloud, "memory", "512Mi");
}

/* Lowering a quota below what is used breaks nothing that is there. */
static void a_lowered_quota_breaks_nothing(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "a", "");
        cloud_expect_phase(cloud, VM, "a", "Running");
        quota(cloud, "machines: 0, cores: 0, memory: 0, storage: 0, addresses: 0, disks: 0");
        cloud_advance(cloud, 60 * SECOND_US);
        cloud_expect_phase(cloud, VM, "a", "Running");
        cloud_guest(cloud, "a", "crashed", "crashed");
        cloud_advance(cloud, 60 * SECOND_US);
        cloud_expect_phase(cloud, VM, "a", "Running");
        expect_used(cloud, "machines", "1");
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/quota/address", an_address_that_a_controller_makes_is_counted);
        g_test_add_func("/quota/disk", a_disk_of_unknown_size_is_judged_when_it_is_known);
        g_test_add_func("/quota/given-back", memory_that_a_guest_gave_back_is_counted);
        g_test_add_func("/quota/lowered", a_lowered_quota_breaks_nothing);
        return g_test_run();
}
