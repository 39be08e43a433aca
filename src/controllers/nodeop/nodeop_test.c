/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/nodeop/nodeop.h"

#include "controllers/cloud_test.h"
#include "generated/reasons.h"

#include <string.h>

/* E21: the machines of a host are shut down, it is rebooted, and exactly those that ran run again. */

#define NODEOP (&api_node_operation_kind)

static void reboot(struct cloud *cloud, const char *name, const char *more)
{
        cloud_applyf(cloud,
                     "{apiVersion: gabbro.dev/v1, kind: NodeOperation, metadata: {name: %s}, spec: {type: Reboot, nodeName: "
                     "node-a%s}}",
                     name, more);
}

static void operate(struct cloud *cloud, const char *type, const char *machine)
{
        g_autofree char *name = g_ascii_strdown(type, -1);

        cloud_applyf(cloud,
                     "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: %s-%s},\n"
                     " spec: {type: %s, virtualMachineName: %s}}",
                     name, machine, type, machine);
}

static void expect_epoch(struct cloud *cloud, const char *machine, const char *phase, int epoch)
{
        cloud_expect_phase(cloud, VM, machine, phase);
        g_assert_cmpint(cloud_instance(cloud, machine)->spec->epoch, ==, epoch);
}

static const char *annotation(struct cloud *cloud)
{
        return object_annotation(cloud_get(cloud, &api_node_kind, "node-a"), ANNOTATION_NODE_OPERATION);
}

/* Three that run by three policies, and one that is off. */
static struct cloud *busy_cloud(void)
{
        struct cloud *cloud = cloud_new(NULL);

        cloud_machine(cloud, "on", "  runPolicy: AlwaysOn\n");
        cloud_machine(cloud, "keep", "  runPolicy: AlwaysOnUnlessStoppedManually\n");
        cloud_machine(cloud, "off", "  runPolicy: AlwaysOnUnlessStoppedManually\n");
        cloud_machine(cloud, "hand", "  runPolicy: Manual\n");
        cloud_settle(cloud);
        operate(cloud, "Start", "hand");
        operate(cloud, "Stop", "off");
        cloud_settle(cloud);
        expect_epoch(cloud, "hand", "Running", 1);
        expect_epoch(cloud, "off", "Stopped", 1);
        return cloud;
}

static void those_that_ran_run_again(void)
{
        g_autoptr(cloud) cloud = busy_cloud();

        reboot(cloud, "go", "");
        cloud_expect_phase(cloud, NODEOP, "go", "Completed");
        cloud_expect_condition(cloud, NODEOP, "go", "Completed", "True HostRebooted", "the 3 machines that ran");
        expect_epoch(cloud, "on", "Running", 2);
        expect_epoch(cloud, "keep", "Running", 2);
        expect_epoch(cloud, "hand", "Running", 2);
        expect_epoch(cloud, "off", "Stopped", 1);
        g_assert_null(annotation(cloud));
        cloud_expect_no_effects(cloud);
}

/* Nothing starts on the host while it goes down, whoever asks; what waits begins when it is back. */
static void nothing_starts_while_it_goes_down(void)
{
        g_autoptr(cloud) cloud = busy_cloud();

        cloud_hold(cloud, &api_host_task_kind);
        reboot(cloud, "go", "");
        cloud_settle(cloud);
        for (size_t i = 0; i < 3; i++)
                cloud_expect_phase(cloud, VM, ((const char *const[]){"on", "keep", "hand"})[i], "Stopped");
        cloud_expect_condition(cloud, VM, "on", "Running", "False HostReboots", "reboot of host node-a");
        g_assert_cmpstr(annotation(cloud), ==, "go");
        operate(cloud, "Start", "off");
        cloud_settle(cloud);
        expect_epoch(cloud, "off", "Stopped", 1);
        reboot(cloud, "second", "");
        cloud_expect_phase(cloud, NODEOP, "second", "Pending");
        cloud_expect_condition(cloud, NODEOP, "second", "Completed", "False NodeOperationWaits", "NodeOperation go");
        cloud_delete(cloud, NODEOP, "second");
        cloud_hold(cloud, NULL);
        cloud_expect_phase(cloud, NODEOP, "go", "Completed");
        expect_epoch(cloud, "on", "Running", 2);
        cloud_settle(cloud);
        expect_epoch(cloud, "off", "Running", 2);
}

static void suspended_machines_keep_it_up(void)
{
        g_autoptr(cloud) cloud = busy_cloud();

        operate(cloud, "Suspend", "keep");
        cloud_expect_phase(cloud, VM, "keep", "Pause");
        reboot(cloud, "go", "");
        cloud_expect_phase(cloud, NODEOP, "go", "Failed");
        cloud_expect_condition(cloud, NODEOP, "go", "Completed", "False MachinesSuspended", "default/keep");
        expect_epoch(cloud, "on", "Running", 1);
        reboot(cloud, "forced", ", force: true");
        cloud_expect_phase(cloud, NODEOP, "forced", "Completed");
        expect_epoch(cloud, "keep", "Running", 2);
}

static void what_cannot_be_done_is_said(void)
{
        g_autoptr(cloud) cloud = busy_cloud();

        cloud_apply(cloud,
                    "{apiVersion: gabbro.dev/v1, kind: NodeOperation, metadata: {name: nowhere}, spec: {type: Reboot, nodeName: "
                    "none}}");
        cloud_expect_condition(cloud, NODEOP, "nowhere", "Completed", "False NodeNotFound", "no node none");
        cloud_lose_node(cloud, "node-a", true);
        cloud_advance(cloud, 90 * SECOND_US);
        reboot(cloud, "lost", "");
        cloud_expect_condition(cloud, NODEOP, "lost", "Completed", "False NodeNotReady", "nobody there");
        g_assert_null(annotation(cloud));
}

/* A host that refuses gives its machines back; one that stays away is told, and its machines follow their policies later. */
static void a_reboot_that_fails_leaves_the_machines_running(void)
{
        g_autoptr(cloud) cloud = busy_cloud();
        const struct cache_object *task;

        cloud_hold(cloud, &api_host_task_kind);
        reboot(cloud, "go", "");
        cloud_settle(cloud);
        task = index_one(cloud_cache(cloud), INDEX_TASK_BY_OWNER, cloud_get(cloud, NODEOP, "go")->uid);
        cloud_status(cloud, &api_host_task_kind, task->name,
                     "{\"state\": \"Failed\", \"error\": {\"reason\": \"RebootCommandFailed\", \"message\": \"no way\"}}");
        cloud_expect_phase(cloud, NODEOP, "go", "Failed");
        cloud_expect_condition(cloud, NODEOP, "go", "Completed", "False RebootFailed", "no way");
        expect_epoch(cloud, "on", "Running", 2);
        expect_epoch(cloud, "hand", "Running", 2);
        reboot(cloud, "away", ", bootTimeoutSeconds: 30");
        cloud_settle(cloud);
        cloud_advance(cloud, 40 * SECOND_US);
        cloud_expect_phase(cloud, NODEOP, "away", "Failed");
        cloud_expect_condition(cloud, NODEOP, "away", "Completed", "False HostNotBack", "did not come back");
        g_assert_null(annotation(cloud));
}

/* Deleted while machines stop: those that are off start again, and the host stays up. */
static void a_cancelled_one_starts_what_it_stopped(void)
{
        g_autoptr(cloud) cloud = busy_cloud();

        cloud_hold(cloud, &api_instance_kind);
        reboot(cloud, "go", "");
        cloud_settle(cloud);
        g_assert_cmpstr(annotation(cloud), ==, "go");
        cloud_delete(cloud, NODEOP, "go");
        cloud_hold(cloud, NULL);
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, NODEOP, "go"));
        g_assert_null(annotation(cloud));
        for (size_t i = 0; i < 3; i++)
                cloud_expect_phase(cloud, VM, ((const char *const[]){"on", "keep", "hand"})[i], "Running");
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/nodeop/E21_E51_those_that_ran_run_again", those_that_ran_run_again);
        g_test_add_func("/nodeop/E21_nothing_starts_while_it_goes_down", nothing_starts_while_it_goes_down);
        g_test_add_func("/nodeop/suspended_machines_keep_it_up", suspended_machines_keep_it_up);
        g_test_add_func("/nodeop/what_cannot_be_done_is_said", what_cannot_be_done_is_said);
        g_test_add_func("/nodeop/a_reboot_that_fails_leaves_the_machines_running", a_reboot_that_fails_leaves_the_machines_running);
        g_test_add_func("/nodeop/a_cancelled_one_starts_what_it_stopped", a_cancelled_one_starts_what_it_stopped);
        return g_test_run();
}
