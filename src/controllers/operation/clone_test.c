/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/operation/operation.h"

#include "controllers/cloud_test.h"
#include "generated/reasons.h"

#include <string.h>

/* Clones of machines (A55): a whole one, or nothing of it. */

static void clone_web(struct cloud *cloud, const char *operation, const char *how)
{
        cloud_applyf(cloud,
                     "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: %s},\n"
                     " spec: {type: Clone, virtualMachineName: web, clone: {%s}}}",
                     operation, how);
}

/* A machine that runs, with two disks: one made of an image, one that began empty. */
static struct cloud *running(void)
{
        struct cloud *cloud = cloud_new(NULL);

        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualDisk, metadata: {name: data},\n"
                           " spec: {persistentVolumeClaim: {size: 2Gi}, limits: {totalOperationsPerSecond: 500}}}");
        cloud_machine(cloud, "web", NULL);
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachine, metadata: {name: web, labels: {app: shop}},\n"
                           " spec: {virtualMachineClassName: generic, cpu: {cores: 1}, memory: {size: 1Gi}, blockDeviceRefs: [\n"
                           "  {kind: VirtualDisk, name: web-root}, {kind: VirtualDisk, name: data}]}}");
        cloud_settle(cloud);
        cloud_expect_phase(cloud, VM, "web", "Running");
        return cloud;
}

static void expect_nothing_left(struct cloud *cloud)
{
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, VM, "db"));
        g_assert_null(cloud_get(cloud, VD, "db-root"));
        g_assert_null(cloud_get(cloud, VD, "db-data"));
        g_assert_cmpuint(cloud_count(cloud, &api_volume_kind), ==, 2);
        g_assert_cmpuint(cloud_count(cloud, VMIP), ==, 1);
        cloud_expect_no_effects(cloud);
}

static const char *mac(struct cloud *cloud, const char *machine)
{
        return cloud_text(cloud, VM, machine, "/status/networks/0/macAddress");
}

static void a_clone_is_another_machine(void)
{
        g_autoptr(cloud) cloud = running();
        const struct api_virtual_machine *made;

        clone_web(cloud, "c", "name: db");
        cloud_expect_phase(cloud, VMOP, "c", "Completed");
        cloud_expect_condition(cloud, VMOP, "c", "Completed", "True OperationCompleted", "machine db was made");
        cloud_expect_phase(cloud, VM, "db", "Running");
        made = cloud_get(cloud, VM, "db")->view;
        g_assert_cmpuint(made->spec->n_block_device_refs, ==, 2);
        g_assert_cmpstr(made->spec->block_device_refs[0].name, ==, "db-root");
        g_assert_cmpstr(made->spec->block_device_refs[1].name, ==, "db-data");
        g_assert_cmpstr(cloud_text(cloud, VM, "db", "/metadata/labels/app"), ==, "shop");
        g_assert_cmpstr(cloud_text(cloud, VD, "db-data", "/spec/limits/totalOperationsPerSecond"), ==, "500");
        g_assert_cmpstr(cloud_text(cloud, VD, "db-root", "/spec/dataSource/objectRef/name"), ==, "web-root");
        g_assert_cmpstr(cloud_text(cloud, VD, "db-root", "/metadata/ownerReferences/0/name"), ==, "");
        g_assert_cmpstr(mac(cloud, "db"), !=, mac(cloud, "web"));
        g_assert_cmpstr(cloud_text(cloud, VM, "db", "/status/ipAddress"), !=, cloud_text(cloud, VM, "web", "/status/ipAddress"));
        g_assert_cmpstr(cloud_text(cloud, VMOP, "c", "/status/resources/0/name"), ==, "db");
        g_assert_cmpstr(cloud_text(cloud, VMOP, "c", "/status/resources/2/status"), ==, "Completed");
        cloud_delete(cloud, VMOP, "c");
        cloud_settle(cloud);
        g_assert_nonnull(cloud_get(cloud, VD, "db-root"));
        cloud_expect_phase(cloud, VM, "db", "Running");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->epoch, ==, 1);
        cloud_expect_no_effects(cloud);
}

static const struct {
        const char *how, *machine, *root, *data;
} names[] = {
        {"name: db", "db", "db-root", "db-data"},
        {"name: db, nameReplacement: [{from: {kind: VirtualDisk, name: data}, to: archive}]", "db", "db-root", "archive"},
        {"customization: {nameSuffix: -copy}", "web-copy", "web-root-copy", "data-copy"},
        {"customization: {namePrefix: new-}, nameReplacement: [{from: {name: web}, to: db}]", "db", "new-web-root", "new-data"},
        {"nameReplacement: [{from: {kind: VirtualMachine, name: web}, to: db}]", "db", "db-root", "db-data"},
};

static void names_follow_from_what_was_asked(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
                g_autoptr(cloud) cloud = running();

                clone_web(cloud, "c", names[i].how);
                cloud_expect_phase(cloud, VMOP, "c", "Completed");
                cloud_expect_phase(cloud, VM, names[i].machine, "Running");
                g_assert_nonnull(cloud_get(cloud, VD, names[i].root));
                g_assert_nonnull(cloud_get(cloud, VD, names[i].data));
        }
}

static void a_machine_that_never_ran_is_cloned_by_its_description(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", "  runPolicy: Manual\n");
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        clone_web(cloud, "c", "name: db, runPolicy: AlwaysOn");
        cloud_expect_phase(cloud, VMOP, "c", "Completed");
        cloud_expect_phase(cloud, VM, "db", "Running");
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        g_assert_cmpstr(cloud_text(cloud, VD, "db-root", "/spec/dataSource/objectRef/kind"), ==, "ClusterVirtualImage");
}

static const struct {
        const char *how, *reason, *words;
} refusals[] = {
        {"name: taken", "False CloneNameTaken", "machine taken exists already"},
        {"name: web2, nameReplacement: [{from: {kind: VirtualDisk, name: data}, to: taken-root}]", "False CloneNameTaken",
         "disk taken-root exists already"},
        {"name: web2, nameReplacement: [{from: {kind: VirtualDisk, name: data}, to: x}, {from: {name: web-root}, to: x}]",
         "False CloneNameTaken", "two disks would be named x"},
        {"customization: {nameSuffix: A}", "False OperationFailed", "webA is no name of a machine"},
        {"name: db, diskMode: Linked", "False DiskInUse", "machine web writes to disk web-root"},
};

static void what_cannot_be_cloned_is_refused_with_words(void)
{
        g_autoptr(cloud) cloud = running();

        cloud_machine(cloud, "taken", "  runPolicy: Manual\n");
        cloud_settle(cloud);
        for (size_t i = 0; i < G_N_ELEMENTS(refusals); i++) {
                clone_web(cloud, "c", refusals[i].how);
                cloud_expect_phase(cloud, VMOP, "c", "Failed");
                cloud_expect_condition(cloud, VMOP, "c", "Completed", refusals[i].reason, refusals[i].words);
                cloud_delete(cloud, VMOP, "c");
                cloud_settle(cloud);
                g_assert_cmpuint(cloud_count(cloud, VD), ==, 3);
        }
}

static void a_dry_run_makes_nothing(void)
{
        g_autoptr(cloud) cloud = running();

        clone_web(cloud, "c", "name: db, mode: DryRun");
        cloud_expect_phase(cloud, VMOP, "c", "Completed");
        cloud_expect_condition(cloud, VMOP, "c", "Completed", "True OperationCompleted", "a dry run makes nothing");
        g_assert_cmpstr(cloud_text(cloud, VMOP, "c", "/status/resources/1/name"), ==, "db-root");
        expect_nothing_left(cloud);
}

static void best_effort_leaves_out_what_cannot_be_cloned(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        const struct api_virtual_machine *made;

        cloud_machine(cloud, "web", "  runPolicy: Manual\n");
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachine, metadata: {name: web},\n"
                           " spec: {runPolicy: Manual, virtualMachineClassName: generic, cpu: {cores: 1}, memory: {size: 1Gi},\n"
                           "  blockDeviceRefs: [{kind: VirtualDisk, name: web-root}, {kind: VirtualDisk, name: absent}]}}");
        cloud_settle(cloud);
        clone_web(cloud, "strict", "name: db");
        cloud_expect_phase(cloud, VMOP, "strict", "Failed");
        cloud_expect_condition(cloud, VMOP, "strict", "Completed", "False NotReadyToBeExecuted", "disk absent does not exist");
        clone_web(cloud, "best", "name: db, mode: BestEffort");
        cloud_expect_phase(cloud, VMOP, "best", "Completed");
        made = cloud_get(cloud, VM, "db")->view;
        g_assert_cmpuint(made->spec->n_block_device_refs, ==, 1);
}

/* --- all or nothing --- */

static struct cloud *cloning(void)
{
        struct cloud *cloud = running();

        cloud_hold(cloud, &api_volume_kind);
        clone_web(cloud, "c", "name: db");
        cloud_expect_phase(cloud, VMOP, "c", "InProgress");
        g_assert_cmpuint(cloud_count(cloud, &api_volume_kind), ==, 4);
        g_assert_null(cloud_get(cloud, VM, "db"));
        return cloud;
}

static char *volume_of(struct cloud *cloud, const char *disk)
{
        return g_strdup_printf("v-%s-0", cloud_get(cloud, VD, disk)->uid);
}

static void progress_is_that_of_its_disks(void)
{
        g_autoptr(cloud) cloud = cloning();
        g_autofree char *volume = volume_of(cloud, "db-root");

        cloud_status(cloud, &api_volume_kind, volume, "{\"state\": \"Creating\", \"progressPercent\": 50}");
        cloud_settle(cloud);
        g_assert_cmpstr(cloud_text(cloud, VMOP, "c", "/status/progress"), ==, "25%");
        g_assert_cmpstr(cloud_text(cloud, VMOP, "c", "/status/resources/1/status"), ==, "InProgress");
        cloud_advance(cloud, 599 * SECOND_US);
        cloud_expect_phase(cloud, VMOP, "c", "InProgress");
        cloud_hold(cloud, NULL);
        cloud_expect_phase(cloud, VMOP, "c", "Completed");
        g_assert_cmpstr(cloud_text(cloud, VMOP, "c", "/status/progress"), ==, "100%");
        cloud_expect_phase(cloud, VM, "db", "Running");
}

static void a_deleted_clone_leaves_nothing(void)
{
        g_autoptr(cloud) cloud = cloning();

        cloud_delete(cloud, VMOP, "c");
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, VMOP, "c"));
        cloud_hold(cloud, NULL);
        expect_nothing_left(cloud);
        cloud_expect_phase(cloud, VM, "web", "Running");
}

static void a_disk_that_cannot_be_made_fails_the_whole(void)
{
        g_autoptr(cloud) cloud = cloning();
        g_autofree char *volume = volume_of(cloud, "db-data");

        cloud_status(cloud, &api_volume_kind, volume,
                     "{\"state\": \"Failed\", \"error\": {\"reason\": \"PoolFull\", \"message\": \"no room is left\"}}");
        cloud_expect_phase(cloud, VMOP, "c", "Failed");
        cloud_expect_condition(cloud, VMOP, "c", "Completed", "False CloneFailed", "disk db-data: no room is left");
        cloud_hold(cloud, NULL);
        expect_nothing_left(cloud);
}

/* A libvirtd that restarts, for one. */
static void a_host_may_try_again_what_failed(void)
{
        g_autoptr(cloud) cloud = cloning();
        g_autofree char *volume = volume_of(cloud, "db-data");

        cloud_status(cloud, &api_volume_kind, volume,
                     "{\"state\": \"Failed\", \"error\": {\"reason\": \"LibvirtUnreachable\", \"message\": \"it is gone\"}}");
        cloud_expect_phase(cloud, VMOP, "c", "InProgress");
        cloud_advance(cloud, 121 * SECOND_US);
        cloud_expect_phase(cloud, VMOP, "c", "Failed");
        cloud_expect_condition(cloud, VMOP, "c", "Completed", "False CloneFailed", "it came no further for 2 minutes: disk db-");
        cloud_hold(cloud, NULL);
        expect_nothing_left(cloud);
}

static void a_clone_that_comes_no_further_is_given_up(void)
{
        g_autoptr(cloud) cloud = cloning();

        cloud_advance(cloud, 601 * SECOND_US);
        cloud_expect_phase(cloud, VMOP, "c", "Failed");
        cloud_expect_condition(cloud, VMOP, "c", "Completed", "False CloneFailed",
                               "it came no further for 10 minutes: disk db-root");
        cloud_hold(cloud, NULL);
        expect_nothing_left(cloud);
}

static void a_clone_ends_with_its_source(void)
{
        g_autoptr(cloud) cloud = cloning();

        cloud_delete(cloud, VM, "web");
        cloud_expect_phase(cloud, VMOP, "c", "Failed");
        cloud_expect_condition(cloud, VMOP, "c", "Completed", "False VirtualMachineNotFound", "the machine is being deleted");
        cloud_hold(cloud, NULL);
        cloud_settle(cloud);
        g_assert_cmpuint(cloud_count(cloud, VD), ==, 2);
        g_assert_cmpuint(cloud_count(cloud, VM), ==, 0);
}

static void what_others_do_meanwhile_is_seen(void)
{
        g_autoptr(cloud) cloud = cloning();

        /* Somebody takes the name, and another operation must wait. */
        cloud_applyf(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: stop},\n"
                            " spec: {type: Stop, virtualMachineName: web}}");
        cloud_expect_phase(cloud, VMOP, "stop", "Failed");
        cloud_expect_condition(cloud, VMOP, "stop", "Completed", "False NotReadyToBeExecuted", "operation c");
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachine, metadata: {name: db},\n"
                           " spec: {runPolicy: Manual, virtualMachineClassName: generic, cpu: {cores: 1}, memory: {size: 1Gi},\n"
                           "  blockDeviceRefs: [{kind: VirtualDisk, name: other}]}}");
        cloud_hold(cloud, NULL);
        cloud_expect_phase(cloud, VMOP, "c", "Failed");
        cloud_expect_condition(cloud, VMOP, "c", "Completed", "False CloneNameTaken", "machine db exists already");
        cloud_settle(cloud);
        g_assert_cmpuint(cloud_count(cloud, VD), ==, 2);
        g_assert_cmpuint(cloud_count(cloud, VM), ==, 2);
}

static void a_quota_is_kept(void)
{
        g_autoptr(cloud) cloud = running();

        cloud_apply(cloud, "{apiVersion: v1, kind: ResourceQuota, metadata: {name: q}, spec: {hard: {"
                           "\"count/virtualdisks.gabbro.dev\": 3}}}");
        clone_web(cloud, "c", "name: db");
        cloud_expect_phase(cloud, VMOP, "c", "Failed");
        cloud_expect_condition(cloud, VMOP, "c", "Completed", "False QuotaExceeded", "virtualdisks.gabbro.dev");
        expect_nothing_left(cloud);
        cloud_apply(cloud, "{apiVersion: v1, kind: ResourceQuota, metadata: {name: q}, spec: {hard: {"
                           "\"count/virtualmachines.gabbro.dev\": 1}}}");
        cloud_settle(cloud);
        clone_web(cloud, "d", "name: db");
        cloud_expect_phase(cloud, VMOP, "d", "Failed");
        cloud_expect_condition(cloud, VMOP, "d", "Completed", "False QuotaExceeded", "virtualmachines.gabbro.dev");
        expect_nothing_left(cloud);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/clone/A55_a_clone_is_another_machine", a_clone_is_another_machine);
        g_test_add_func("/clone/names_follow_from_what_was_asked", names_follow_from_what_was_asked);
        g_test_add_func("/clone/a_machine_that_never_ran_is_cloned_by_its_description",
                        a_machine_that_never_ran_is_cloned_by_its_description);
        g_test_add_func("/clone/what_cannot_be_cloned_is_refused_with_words", what_cannot_be_cloned_is_refused_with_words);
        g_test_add_func("/clone/a_dry_run_makes_nothing", a_dry_run_makes_nothing);
        g_test_add_func("/clone/best_effort_leaves_out_what_cannot_be_cloned", best_effort_leaves_out_what_cannot_be_cloned);
        g_test_add_func("/clone/progress_is_that_of_its_disks", progress_is_that_of_its_disks);
        g_test_add_func("/clone/a_deleted_clone_leaves_nothing", a_deleted_clone_leaves_nothing);
        g_test_add_func("/clone/a_disk_that_cannot_be_made_fails_the_whole", a_disk_that_cannot_be_made_fails_the_whole);
        g_test_add_func("/clone/a_host_may_try_again_what_failed", a_host_may_try_again_what_failed);
        g_test_add_func("/clone/a_clone_that_comes_no_further_is_given_up", a_clone_that_comes_no_further_is_given_up);
        g_test_add_func("/clone/a_clone_ends_with_its_source", a_clone_ends_with_its_source);
        g_test_add_func("/clone/what_others_do_meanwhile_is_seen", what_others_do_meanwhile_is_seen);
        g_test_add_func("/clone/a_quota_is_kept", a_quota_is_kept);
        return g_test_run();
}
