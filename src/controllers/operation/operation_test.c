/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/operation/operation.h"

#include "controllers/cloud_test.h"
#include "generated/reasons.h"

#include <string.h>

static void order(struct cloud *cloud, const char *name, const char *type, bool force)
{
        cloud_applyf(cloud,
                     "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: %s},\n"
                     " spec: {type: %s, virtualMachineName: web%s%s}}",
                     name, type, force ? ", force: true" : "", strcmp(type, "Clone") == 0 ? ", clone: {name: db}" : "");
}

static struct cloud *running(const char *policy)
{
        struct cloud *cloud = cloud_new(NULL);
        g_autofree char *line = g_strdup_printf("  runPolicy: %s\n", policy);

        cloud_machine(cloud, "web", line);
        cloud_settle(cloud);
        return cloud;
}

/* --- A8, A9, A13, C39, C40, D70-D73 --- */

static void stop_start_restart_and_force_off_do_what_they_say(void)
{
        g_autoptr(cloud) cloud = running("AlwaysOnUnlessStoppedManually");

        order(cloud, "stop", "Stop", false);
        cloud_expect_phase(cloud, VMOP, "stop", "Completed");
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        cloud_expect_condition(cloud, VMOP, "stop", "Completed", "True OperationCompleted", "the machine is off");
        cloud_expect_condition(cloud, VMOP, "stop", "SignalSent", "True SignalSentSuccess", NULL);
        cloud_expect_condition(cloud, VM, "web", "Running", "False Stopped", "an operation asked for it");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/nodeName"), ==, "");

        order(cloud, "start", "Start", false);
        cloud_expect_phase(cloud, VMOP, "start", "Completed");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpstr(cloud_text(cloud, VMOP, "start", "/status/epoch"), ==, "2");

        order(cloud, "restart", "Restart", false);
        cloud_expect_phase(cloud, VMOP, "restart", "Completed");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->epoch, ==, 3);
        g_assert_cmpstr(cloud_instance(cloud, "web")->spec->stop_mode, ==, "Graceful");

        order(cloud, "off", "ForceOff", false);
        cloud_expect_phase(cloud, VMOP, "off", "Completed");
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        g_assert_cmpstr(cloud_instance(cloud, "web")->spec->stop_mode, ==, "Force");
        g_assert_true(cloud_has_event(cloud, "off", "VirtualMachineOperationSucceeded"));
        cloud_expect_no_effects(cloud);
}

static void an_operation_is_done_once(void)
{
        g_autoptr(cloud) cloud = running("AlwaysOnUnlessStoppedManually");

        order(cloud, "restart", "Restart", false);
        cloud_settle(cloud);
        cloud_advance(cloud, 600 * SECOND_US);
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->epoch, ==, 2);
        cloud_guest(cloud, "web", "shutoff", "GuestShutdown");
        cloud_advance(cloud, 600 * SECOND_US);
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->epoch, ==, 2);
}

static void manual_machines_are_started_by_an_operation(void)
{
        g_autoptr(cloud) cloud = running("Manual");

        cloud_expect_phase(cloud, VM, "web", "Stopped");
        order(cloud, "start", "Start", false);
        cloud_expect_phase(cloud, VMOP, "start", "Completed");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/metadata/annotations"), ==, "");
}

/* --- A11, A12, C43-C45 --- */

static void suspend_resume_and_reset_keep_the_epoch(void)
{
        g_autoptr(cloud) cloud = running("AlwaysOn");

        order(cloud, "suspend", "Suspend", false);
        cloud_expect_phase(cloud, VMOP, "suspend", "Completed");
        cloud_expect_condition(cloud, VMOP, "suspend", "Completed", "True OperationCompleted", "the machine is suspended");
        cloud_expect_phase(cloud, VM, "web", "Pause");
        cloud_expect_condition(cloud, VM, "web", "Running", "False Paused", "an operation suspended it");
        g_assert_true(cloud_has_event(cloud, "web", "Paused"));
        cloud_advance(cloud, 3600 * SECOND_US);
        cloud_expect_phase(cloud, VM, "web", "Pause");
        cloud_expect_no_effects(cloud);

        order(cloud, "resume", "Resume", false);
        cloud_expect_phase(cloud, VMOP, "resume", "Completed");
        cloud_expect_condition(cloud, VMOP, "resume", "Completed", "True OperationCompleted", "the machine goes on");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_true(cloud_has_event(cloud, "web", "Resumed"));

        order(cloud, "reset", "Reset", false);
        cloud_expect_phase(cloud, VMOP, "reset", "Completed");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->epoch, ==, 1);
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->order_number, ==, 3);
        cloud_expect_no_effects(cloud);
}

static void a_suspended_machine_is_stopped_and_starts_without_its_order(void)
{
        g_autoptr(cloud) cloud = running("Manual");

        order(cloud, "start", "Start", false);
        cloud_expect_phase(cloud, VM, "web", "Running");
        order(cloud, "suspend", "Suspend", false);
        cloud_expect_phase(cloud, VM, "web", "Pause");
        order(cloud, "stop", "Stop", false);
        cloud_expect_phase(cloud, VMOP, "stop", "Completed");
        g_assert_null(cloud_instance(cloud, "web")->spec->order);
        order(cloud, "again", "Start", false);
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_null(cloud_instance(cloud, "web")->spec->order);
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->order_number, ==, 1);
        order(cloud, "reset", "Reset", false);
        cloud_expect_phase(cloud, VMOP, "reset", "Completed");
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->order_number, ==, 2);
}

static void what_somebody_paused_is_resumed(void)
{
        g_autoptr(cloud) cloud = running("AlwaysOn");

        cloud_guest(cloud, "web", "paused", "PausedOutside");
        cloud_expect_phase(cloud, VM, "web", "Pause");
        order(cloud, "resume", "Resume", false);
        cloud_expect_phase(cloud, VMOP, "resume", "Completed");
        cloud_expect_phase(cloud, VM, "web", "Running");
}

static void an_order_goes_with_its_operation(void)
{
        g_autoptr(cloud) cloud = running("AlwaysOn");

        cloud_hold(cloud, &api_instance_kind);
        order(cloud, "suspend", "Suspend", false);
        cloud_expect_phase(cloud, VMOP, "suspend", "InProgress");
        g_assert_cmpstr(cloud_instance(cloud, "web")->spec->order, ==, "Suspend");
        cloud_delete(cloud, VMOP, "suspend");
        cloud_settle(cloud);
        g_assert_null(cloud_instance(cloud, "web")->spec->order);
        cloud_hold(cloud, NULL);
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_expect_no_effects(cloud);

        cloud_hold(cloud, &api_instance_kind);
        order(cloud, "late", "Suspend", false);
        cloud_advance(cloud, 61 * SECOND_US);
        cloud_expect_phase(cloud, VMOP, "late", "Failed");
        cloud_expect_condition(cloud, VMOP, "late", "Completed", "False OperationFailed",
                               "the machine was not suspended within 60 seconds");
        cloud_hold(cloud, NULL);
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_null(cloud_instance(cloud, "web")->spec->order);
        cloud_expect_no_effects(cloud);
}

static void an_order_fails_when_its_machine_ends(void)
{
        g_autoptr(cloud) cloud = running("AlwaysOn");

        cloud_hold(cloud, &api_instance_kind);
        order(cloud, "reset", "Reset", false);
        cloud_expect_phase(cloud, VMOP, "reset", "InProgress");
        cloud_guest(cloud, "web", "crashed", "Crashed");
        cloud_hold(cloud, NULL);
        cloud_expect_phase(cloud, VMOP, "reset", "Failed");
        cloud_expect_condition(cloud, VMOP, "reset", "Completed", "False OperationFailed", "went another way");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->epoch, ==, 2);
        g_assert_null(cloud_instance(cloud, "web")->spec->order);
}

/* --- vm-api 4.4 --- */

static const struct {
        const char *type;
        enum vm_phase phase;
        enum run_policy policy;
        bool force;
        const char *refusal;
} refusals[] = {
        {"Start", VM_STOPPED, RUN_MANUAL, false, NULL},
        {"Start", VM_STOPPING, RUN_UNLESS_STOPPED, false, NULL},
        {"Start", VM_RUNNING, RUN_MANUAL, false, REASON_NOT_APPLICABLE_FOR_VIRTUAL_MACHINE_PHASE},
        {"Start", VM_STOPPED, RUN_ALWAYS_ON, false, REASON_NOT_APPLICABLE_FOR_VIRTUAL_MACHINE_RUN_POLICY},
        {"Start", VM_STOPPED, RUN_ALWAYS_OFF, false, REASON_NOT_APPLICABLE_FOR_VIRTUAL_MACHINE_RUN_POLICY},
        {"Stop", VM_RUNNING, RUN_UNLESS_STOPPED, false, NULL},
        {"Stop", VM_PENDING, RUN_UNLESS_STOPPED, false, NULL},
        {"Stop", VM_STOPPING, RUN_UNLESS_STOPPED, false, REASON_NOT_APPLICABLE_FOR_VIRTUAL_MACHINE_PHASE},
        {"Stop", VM_STOPPING, RUN_UNLESS_STOPPED, true, NULL},
        {"Stop", VM_RUNNING, RUN_ALWAYS_ON, false, REASON_NOT_APPLICABLE_FOR_VIRTUAL_MACHINE_RUN_POLICY},
        {"Stop", VM_STOPPED, RUN_MANUAL, false, REASON_NOT_APPLICABLE_FOR_VIRTUAL_MACHINE_PHASE},
        {"Restart", VM_RUNNING, RUN_ALWAYS_ON, false, NULL},
        {"Restart", VM_STOPPED, RUN_MANUAL, false, REASON_NOT_APPLICABLE_FOR_VIRTUAL_MACHINE_PHASE},
        {"Restart", VM_RUNNING, RUN_ALWAYS_OFF, false, REASON_NOT_APPLICABLE_FOR_VIRTUAL_MACHINE_RUN_POLICY},
        {"ForceOff", VM_STOPPING, RUN_MANUAL, false, NULL},
        {"Suspend", VM_RUNNING, RUN_ALWAYS_ON, false, NULL},
        {"Suspend", VM_PAUSE, RUN_MANUAL, false, REASON_NOT_APPLICABLE_FOR_VIRTUAL_MACHINE_PHASE},
        {"Suspend", VM_RUNNING, RUN_ALWAYS_OFF, false, REASON_NOT_APPLICABLE_FOR_VIRTUAL_MACHINE_RUN_POLICY},
        {"Resume", VM_PAUSE, RUN_ALWAYS_ON, false, NULL},
        {"Resume", VM_RUNNING, RUN_MANUAL, false, REASON_NOT_APPLICABLE_FOR_VIRTUAL_MACHINE_PHASE},
        {"Reset", VM_RUNNING, RUN_UNLESS_STOPPED, false, NULL},
        {"Reset", VM_STOPPED, RUN_UNLESS_STOPPED, false, REASON_NOT_APPLICABLE_FOR_VIRTUAL_MACHINE_PHASE},
        {"ForceOff", VM_MIGRATING, RUN_MANUAL, false, REASON_NOT_APPLICABLE_FOR_VIRTUAL_MACHINE_PHASE},
};

static void operations_apply_by_phase_and_run_policy(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(refusals); i++) {
                enum power_order type;

                g_assert_cmpint(power_order_from_text(refusals[i].type, &type), ==, 0);
                g_assert_cmpstr(operation_refusal(type, refusals[i].force, refusals[i].phase, refusals[i].policy), ==,
                                refusals[i].refusal);
        }
}

static void refused_operations_fail_with_words(void)
{
        g_autoptr(cloud) cloud = running("AlwaysOn");

        order(cloud, "stop", "Stop", false);
        cloud_expect_phase(cloud, VMOP, "stop", "Failed");
        cloud_expect_condition(cloud, VMOP, "stop", "Completed", "False NotApplicableForVirtualMachineRunPolicy",
                               "run policy AlwaysOn does not allow Stop");
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: nobody},\n"
                           " spec: {type: Stop, virtualMachineName: nobody}}");
        cloud_expect_phase(cloud, VMOP, "nobody", "Failed");
        cloud_expect_condition(cloud, VMOP, "nobody", "Completed", "False VirtualMachineNotFound", "machine nobody does not exist");
        g_assert_true(cloud_has_event(cloud, "nobody", "VirtualMachineOperationFailed"));
}

/* --- one at a time, vm-api 4.5 --- */

static const char *const types[] = {"Start",  "Stop",  "Stop!",    "Restart", "Restart!", "Suspend",
                                    "Resume", "Reset", "Redeploy", "Clone",   "Migrate",  "Evict"};
/* Rows: the older one; columns: the newer one. */
static const bool ends[G_N_ELEMENTS(types)][G_N_ELEMENTS(types)] = {
        {false, true, true},
        {false, false, true, false, true},
        {false},
        {false, false, true, false, true},
        {false},
        {false, true, true, true, true},
        {false, true, true, true, true},
        {false, true, true, true, true},
};

static enum power_order type_of(const char *text, bool *ret_force)
{
        g_autofree char *name = g_strdup(text);
        enum power_order type;

        *ret_force = g_str_has_suffix(name, "!");
        if (*ret_force)
                name[strlen(name) - 1] = '\0';
        g_assert_cmpint(power_order_from_text(name, &type), ==, 0);
        return type;
}

static void stronger_operations_take_the_place_of_weaker_ones(void)
{
        for (size_t older = 0; older < G_N_ELEMENTS(types); older++)
                for (size_t newer = 0; newer < G_N_ELEMENTS(types); newer++) {
                        bool older_force, newer_force;
                        enum power_order a = type_of(types[older], &older_force), b = type_of(types[newer], &newer_force);

                        g_assert_cmpint(operation_supersedes(b, newer_force, a, older_force), ==, ends[older][newer]);
                }
}

static void a_second_operation_fails_while_one_is_unfinished(void)
{
        g_autoptr(cloud) cloud = running("AlwaysOnUnlessStoppedManually");

        cloud_hold(cloud, &api_instance_kind);
        order(cloud, "a-stop", "Stop", false);
        cloud_settle(cloud);
        cloud_advance(cloud, SECOND_US);
        cloud_expect_phase(cloud, VMOP, "a-stop", "InProgress");
        order(cloud, "b-restart", "Restart", false);
        cloud_expect_phase(cloud, VMOP, "b-restart", "Failed");
        cloud_expect_condition(cloud, VMOP, "b-restart", "Completed", "False NotReadyToBeExecuted", "operation a-stop");
        cloud_advance(cloud, SECOND_US);
        order(cloud, "c-off", "ForceOff", false);
        cloud_expect_phase(cloud, VMOP, "a-stop", "Superseded");
        cloud_expect_phase(cloud, VMOP, "c-off", "InProgress");
        cloud_hold(cloud, NULL);
        cloud_expect_phase(cloud, VMOP, "c-off", "Completed");
        cloud_expect_phase(cloud, VM, "web", "Stopped");
}

static void two_at_the_same_time_the_older_wins(void)
{
        g_autoptr(cloud) cloud = running("AlwaysOnUnlessStoppedManually");

        order(cloud, "a", "Restart", false);
        order(cloud, "b", "Restart", false);
        cloud_expect_phase(cloud, VMOP, "a", "Completed");
        cloud_expect_phase(cloud, VMOP, "b", "Failed");
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->epoch, ==, 2);
}

/* --- A14 --- */

static char *uid_of_volume(struct cloud *cloud, const char *disk)
{
        g_autofree char *name = g_strdup_printf("v-%s-0", cloud_get(cloud, VD, disk)->uid);
        const struct cache_object *volume = cloud_get(cloud, &api_volume_kind, name);

        return volume ? g_strdup(volume->uid) : NULL;
}

static void redeploy_makes_the_disks_of_images_anew(void)
{
        static const char *const policies[] = {"AlwaysOn", "AlwaysOnUnlessStoppedManually", "Manual"};

        for (size_t i = 0; i < G_N_ELEMENTS(policies); i++) {
                g_autoptr(cloud) cloud = cloud_new(NULL);
                g_autofree char *line = g_strdup_printf("  runPolicy: %s\n", policies[i]);
                g_autofree char *mac = NULL, *uid = NULL, *root = NULL, *data = NULL, *root_now = NULL, *data_now = NULL;

                cloud_machine(cloud, "web", line);
                cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualDisk, metadata: {name: data},\n"
                                   " spec: {persistentVolumeClaim: {size: 1Gi}}}");
                cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachine, metadata: {name: web},\n"
                                   " spec: {virtualMachineClassName: generic, cpu: {cores: 1}, memory: {size: 1Gi},\n"
                                   " blockDeviceRefs: [{kind: VirtualDisk, name: web-root}, {kind: VirtualDisk, name: data}]}}");
                cloud_settle(cloud);
                if (strcmp(cloud_phase(cloud, VM, "web"), "Running") == 0)
                        order(cloud, "first", "Restart", false);
                else
                        order(cloud, "first", "Start", false);
                cloud_expect_phase(cloud, VMOP, "first", "Completed");
                mac = g_strdup(cloud_text(cloud, VM, "web", "/status/networks/0/macAddress"));
                uid = g_strdup(cloud_get(cloud, VM, "web")->uid);
                root = uid_of_volume(cloud, "web-root");
                data = uid_of_volume(cloud, "data");
                g_assert_nonnull(data);
                cloud_advance(cloud, SECOND_US);

                order(cloud, "anew", "Redeploy", false);
                cloud_expect_phase(cloud, VMOP, "anew", "Completed");
                cloud_expect_condition(cloud, VMOP, "anew", "Completed", "True OperationCompleted", "made anew");
                cloud_expect_phase(cloud, VM, "web", "Running");
                cloud_expect_phase(cloud, VD, "web-root", "Ready");
                root_now = uid_of_volume(cloud, "web-root");
                data_now = uid_of_volume(cloud, "data");
                g_assert_cmpstr(root_now, !=, root);
                g_assert_cmpstr(data_now, ==, data);
                g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/networks/0/macAddress"), ==, mac);
                g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/hardware/machine"), ==, "pc-q35-7.2");
                g_assert_cmpstr(cloud_get(cloud, VM, "web")->uid, ==, uid);
                cloud_expect_no_effects(cloud);
                cloud_advance(cloud, 600 * SECOND_US);
                g_clear_pointer(&root, g_free);
                root = uid_of_volume(cloud, "web-root");
                g_assert_cmpstr(root, ==, root_now);
        }
}

static void redeploy_gives_a_new_identity_when_asked(void)
{
        g_autoptr(cloud) cloud = running("AlwaysOn");
        g_autofree char *mac = g_strdup(cloud_text(cloud, VM, "web", "/status/networks/0/macAddress"));
        g_autofree char *address = g_strdup(cloud_text(cloud, VM, "web", "/status/ipAddress")), *now = NULL;

        cloud_applyf(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: anew},\n"
                            " spec: {type: Redeploy, virtualMachineName: web, identity: New}}");
        cloud_expect_phase(cloud, VMOP, "anew", "Completed");
        cloud_expect_phase(cloud, VM, "web", "Running");
        now = g_strdup(cloud_text(cloud, VM, "web", "/status/networks/0/macAddress"));
        g_assert_cmpstr(now, !=, mac);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/ipAddress"), !=, address);
        g_assert_cmpuint(cloud_count(cloud, VMIP), ==, 1);
        g_assert_cmpuint(cloud_count(cloud, &api_port_kind), ==, 1);
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->epoch, ==, 2);
        cloud_expect_no_effects(cloud);
        cloud_advance(cloud, 60 * SECOND_US);
        order(cloud, "again", "Restart", false);
        cloud_expect_phase(cloud, VMOP, "again", "Completed");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/networks/0/macAddress"), ==, now);
}

/* The instance id of the seed is another one too, and an address that the machine names stays. */
static void what_a_machine_names_of_its_identity_stays(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        const char *address;

        cloud_apply(cloud,
                    "{apiVersion: gabbro.dev/v1, kind: VirtualMachineIPAddress, metadata: {name: mine}, spec: {type: Auto}}");
        cloud_machine(cloud, "web",
                      "  virtualMachineIPAddressName: mine\n  provisioning: {type: UserData, userData: \"#cloud-config\"}\n");
        cloud_expect_phase(cloud, VM, "web", "Running");
        address = cloud_text(cloud, VM, "web", "/status/ipAddress");
        g_assert_cmpstr(cloud_instance(cloud, "web")->spec->seed->instance_id, ==, cloud_get(cloud, VM, "web")->uid);
        cloud_applyf(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: anew},\n"
                            " spec: {type: Redeploy, virtualMachineName: web, identity: New}}");
        cloud_expect_phase(cloud, VMOP, "anew", "Completed");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/ipAddress"), ==, address);
        g_assert_cmpstr(cloud_instance(cloud, "web")->spec->seed->instance_id, ==, cloud_get(cloud, VMOP, "anew")->uid);
}

#define LINKED_COPY                                                                                                                \
        "{apiVersion: gabbro.dev/v1, kind: VirtualDisk, metadata: {name: copy}, spec: {clone: {mode: Linked},\n"                   \
        " dataSource: {type: ObjectRef, objectRef: {kind: VirtualDisk, name: web-root}}}}"

static void redeploy_destroys_nothing_that_it_cannot_make(void)
{
        g_autoptr(cloud) cloud = running("Manual");
        g_autofree char *root = NULL, *now = NULL;

        order(cloud, "start", "Start", false);
        cloud_expect_phase(cloud, VM, "web", "Running");
        order(cloud, "stop", "Stop", false);
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        root = uid_of_volume(cloud, "web-root");
        cloud_apply(cloud, LINKED_COPY);
        cloud_expect_phase(cloud, VD, "copy", "Ready");
        order(cloud, "anew", "Redeploy", false);
        cloud_expect_phase(cloud, VMOP, "anew", "Failed");
        cloud_expect_condition(cloud, VMOP, "anew", "Completed", "False NotReadyToBeExecuted",
                               "disk web-root is read by its clones: copy");
        now = uid_of_volume(cloud, "web-root");
        g_assert_cmpstr(now, ==, root);
        cloud_expect_phase(cloud, VM, "web", "Stopped");
}

static void a_redeploy_that_was_given_up_takes_no_disk_later(void)
{
        g_autoptr(cloud) cloud = running("Manual");
        g_autofree char *root = NULL, *now = NULL;

        order(cloud, "start", "Start", false);
        cloud_expect_phase(cloud, VM, "web", "Running");
        root = uid_of_volume(cloud, "web-root");
        cloud_apply(cloud, LINKED_COPY); /* waits until the machine lets go of the disk, and is first */
        cloud_settle(cloud);
        order(cloud, "anew", "Redeploy", false);
        cloud_settle(cloud);
        cloud_expect_phase(cloud, VD, "copy", "Ready");
        cloud_expect_phase(cloud, VMOP, "anew", "InProgress");
        cloud_advance(cloud, 200 * SECOND_US);
        cloud_expect_phase(cloud, VMOP, "anew", "Failed");
        cloud_delete(cloud, VD, "copy");
        cloud_advance(cloud, SECOND_US);
        g_assert_null(cloud_get(cloud, VD, "copy"));
        now = uid_of_volume(cloud, "web-root");
        g_assert_cmpstr(now, ==, root);
        order(cloud, "again", "Start", false);
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_clear_pointer(&now, g_free);
        now = uid_of_volume(cloud, "web-root");
        g_assert_cmpstr(now, ==, root);
}

/* --- deleted while under way --- */

static void a_cancelled_stop_cuts_nothing_off(void)
{
        g_autoptr(cloud) cloud = running("AlwaysOnUnlessStoppedManually");

        cloud_hold(cloud, &api_instance_kind);
        order(cloud, "stop", "Stop", false);
        cloud_expect_phase(cloud, VM, "web", "Stopping");
        cloud_delete(cloud, VMOP, "stop");
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, VMOP, "stop"));
        g_assert_cmpstr(cloud_instance(cloud, "web")->spec->power, ==, "On");
        g_assert_true(cloud_has_event(cloud, "web", "OperationCancelled"));
        cloud_hold(cloud, NULL);
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->epoch, ==, 1);
        cloud_expect_no_effects(cloud);
        order(cloud, "again", "Stop", false);
        cloud_expect_phase(cloud, VMOP, "again", "Completed");
        cloud_expect_phase(cloud, VM, "web", "Stopped");
}

static void a_cancelled_start_leaves_the_machine_off(void)
{
        g_autoptr(cloud) cloud = running("Manual");

        cloud_hold(cloud, &api_instance_kind);
        order(cloud, "start", "Start", false);
        cloud_expect_phase(cloud, VM, "web", "Starting");
        cloud_delete(cloud, VMOP, "start");
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, VMOP, "start"));
        g_assert_cmpstr(cloud_instance(cloud, "web")->spec->power, ==, "Off");
        cloud_hold(cloud, NULL);
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        cloud_expect_no_effects(cloud);
}

static void a_start_that_waits_for_room_is_cancelled(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", "  runPolicy: Manual\n  nodeSelector: {rack: b}\n");
        cloud_settle(cloud);
        order(cloud, "start", "Start", false);
        cloud_expect_phase(cloud, VM, "web", "Pending");
        cloud_delete(cloud, VMOP, "start");
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        g_assert_null(cloud_get(cloud, VMOP, "start"));
        cloud_apply(cloud,
                    "{apiVersion: v1, kind: Node, metadata: {name: node-a, labels: {rack: b, kubernetes.io/hostname: node-a}}}");
        cloud_expect_phase(cloud, VM, "web", "Stopped");
}

static void what_is_done_is_not_undone_by_deleting_its_operation(void)
{
        g_autoptr(cloud) cloud = running("AlwaysOnUnlessStoppedManually");

        order(cloud, "stop", "Stop", false);
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        cloud_delete(cloud, VMOP, "stop");
        cloud_advance(cloud, SECOND_US);
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        order(cloud, "start", "Start", false);
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_delete(cloud, VMOP, "start");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpuint(cloud_count(cloud, VMOP), ==, 0);
        cloud_hold(cloud, &api_instance_kind);
        order(cloud, "restart", "Restart", false);
        cloud_expect_phase(cloud, VMOP, "restart", "InProgress");
        cloud_delete(cloud, VMOP, "restart");
        cloud_settle(cloud);
        g_assert_cmpuint(cloud_count(cloud, VMOP), ==, 0);
        cloud_hold(cloud, NULL);
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->epoch, ==, 3);
}

static void an_operation_goes_with_its_machine(void)
{
        g_autoptr(cloud) cloud = running("AlwaysOnUnlessStoppedManually");

        cloud_hold(cloud, &api_instance_kind);
        order(cloud, "stop", "Stop", false);
        cloud_expect_phase(cloud, VMOP, "stop", "InProgress");
        cloud_delete(cloud, VM, "web");
        cloud_delete(cloud, VMOP, "stop");
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, VMOP, "stop"));
        cloud_hold(cloud, NULL);
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, VM, "web"));
}

/* --- the table of transitions, move by move --- */

/* y: allowed, f: by force, n: refused; Start Stop Restart ForceOff Suspend Resume Reset Redeploy Clone Migrate Evict. Written apart
 * from the table in the product. */
static const struct {
        const char *phase, *cells;
} transitions[] = {
        {"Pending", "nynynnnnnnn"}, {"Starting", "nyyynnnnnnn"},    {"Running", "nyyyynyyyyy"},   {"Stopping", "yffynnnnnnn"},
        {"Stopped", "ynnnnnnyyyn"}, {"Terminating", "nnnnnnnnnnn"}, {"Migrating", "nnnnnnnnnnn"}, {"Pause", "nyyynynyynn"},
};

static const char *const all[] = {"Start", "Stop",     "Restart", "ForceOff", "Suspend", "Resume",
                                  "Reset", "Redeploy", "Clone",   "Migrate",  "Evict"};

static void every_cell_has_its_verdict_and_its_words(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(transitions); i++)
                for (size_t j = 0; j < G_N_ELEMENTS(all); j++) {
                        char cell = transitions[i].cells[j];
                        enum power_order type;
                        enum vm_phase phase;
                        const char *words;

                        g_test_message("%s while %s", all[j], transitions[i].phase);
                        g_assert_cmpint(vm_phase_from_text(transitions[i].phase, &phase), ==, 0);
                        g_assert_cmpint(power_order_from_text(all[j], &type), ==, 0);
                        words = operation_rule(type)->cells[phase].words;
                        g_assert_true((operation_refusal(type, false, phase, RUN_UNLESS_STOPPED) == NULL) == (cell == 'y'));
                        g_assert_true((operation_refusal(type, true, phase, RUN_UNLESS_STOPPED) == NULL) == (cell != 'n'));
                        g_assert_true((words != NULL) == (cell != 'y'));
                }
        g_assert_cmpuint(operation_n_rules, ==, G_N_ELEMENTS(all));
}

/* A machine that stays in the phase: what its host would say next is held back. */
static struct cloud *cloud_in(const char *phase)
{
        bool starts = strcmp(phase, "Starting") == 0 || strcmp(phase, "Pending") == 0 || strcmp(phase, "Stopped") == 0;
        struct cloud *cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", strcmp(phase, "Pending") == 0 ? "  nodeSelector: {rack: b}\n" : NULL);
        if (strcmp(phase, "Starting") == 0)
                cloud_hold(cloud, &api_instance_kind);
        cloud_settle(cloud);
        if (!starts) {
                cloud_expect_phase(cloud, VM, "web", "Running");
        }
        if (strcmp(phase, "Stopping") == 0)
                cloud_hold(cloud, &api_instance_kind);
        if (strcmp(phase, "Stopped") == 0 || strcmp(phase, "Stopping") == 0)
                order(cloud, "before", "Stop", false);
        else if (strcmp(phase, "Pause") == 0)
                order(cloud, "before", "Suspend", false);
        cloud_expect_phase(cloud, VM, "web", phase);
        cloud_advance(cloud, SECOND_US);
        if (strcmp(phase, "Stopping") == 0) { /* the operation that stops it is over, the guest is not */
                cloud_advance(cloud, 121 * SECOND_US);
                cloud_expect_phase(cloud, VMOP, "before", "Failed");
                cloud_expect_phase(cloud, VM, "web", phase);
        }
        return cloud;
}

static void every_move_is_taken_or_refused_with_words(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(transitions); i++)
                for (size_t j = 0; j < G_N_ELEMENTS(all); j++) {
                        const char *phase = transitions[i].phase;
                        const char *const after[] = {"Running", "Stopped", "Running", "Stopped", "Pause", "Running",
                                                     "Running", "Running", phase,     phase,     phase};
                        g_autoptr(cloud) cloud = NULL;
                        g_autofree char *words = NULL;

                        if (strcmp(phase, "Migrating") == 0 || strcmp(phase, "Terminating") == 0)
                                continue;
                        if (j >= 9 && transitions[i].cells[j] == 'y')
                                continue; /* tests/hosts moves machines */
                        cloud = cloud_in(phase);
                        g_test_message("%s while %s", all[j], phase);
                        order(cloud, "move", all[j], false);
                        cloud_settle(cloud);
                        words = g_strdup_printf("%s is not possible while the machine is %s: ", all[j], phase);
                        if (transitions[i].cells[j] == 'y') {
                                cloud_hold(cloud, NULL);
                                cloud_expect_phase(cloud, VMOP, "move", "Completed");
                                cloud_expect_phase(cloud, VM, "web", after[j]);
                        } else {
                                cloud_expect_phase(cloud, VMOP, "move", "Failed");
                                cloud_expect_condition(cloud, VMOP, "move", "Completed",
                                                       "False NotApplicableForVirtualMachinePhase", words);
                                cloud_expect_phase(cloud, VM, "web", phase);
                        }
                }
}

static void the_manual_prints_the_tables(void)
{
        static const char *const lines[] = {
                "| Pause | no | yes | yes | yes | no | yes | no | yes | yes | no | no |\n",
                "| Stopping | yes | by force | by force | yes | no | no | no | no | no | no | no |\n",
                "| Reset | Pause | it stands still; resume it first, or restart it |\n",
                "| AlwaysOn | no | no | yes | no | yes | yes | yes | yes | yes | yes | yes |\n",
                "| Suspend | Stop, Stop by force, Restart, Restart by force, ForceOff |\n",
                "| Stop by force | nothing |\n",
                "| Clone | nothing |\n",
                "| On | paused | Pause | Stopping | ",
                "| Terminating | nothing |\n",
        };
        g_autoptr(GString) page = g_string_new(NULL);

        operation_manual(page);
        for (size_t i = 0; i < G_N_ELEMENTS(lines); i++)
                if (!strstr(page->str, lines[i]))
                        g_error("the page lacks: %s", lines[i]);
}

/* --- deadlines --- */

static void an_operation_that_takes_too_long_fails_with_words(void)
{
        g_autoptr(cloud) cloud = running("AlwaysOnUnlessStoppedManually");

        cloud_hold(cloud, &api_instance_kind);
        order(cloud, "stop", "Stop", false);
        cloud_expect_phase(cloud, VMOP, "stop", "InProgress");
        cloud_advance(cloud, 119 * SECOND_US);
        cloud_expect_phase(cloud, VMOP, "stop", "InProgress");
        cloud_advance(cloud, 3 * SECOND_US);
        cloud_expect_phase(cloud, VMOP, "stop", "Failed");
        cloud_expect_condition(cloud, VMOP, "stop", "Completed", "False OperationFailed",
                               "the machine was not off within 120 seconds: it is being stopped");
}

static void a_start_that_cannot_happen_tells_what_keeps_it(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", "  runPolicy: Manual\n  nodeSelector: {rack: b}\n");
        cloud_settle(cloud);
        order(cloud, "start", "Start", false);
        cloud_expect_phase(cloud, VMOP, "start", "InProgress");
        cloud_expect_phase(cloud, VM, "web", "Pending");
        cloud_advance(cloud, 125 * SECOND_US);
        cloud_expect_phase(cloud, VMOP, "start", "Failed");
        cloud_expect_condition(cloud, VMOP, "start", "Completed", "False OperationFailed", "rack=b");
        /* The wish to start outlives the operation. */
        cloud_apply(cloud,
                    "{apiVersion: v1, kind: Node, metadata: {name: node-a, labels: {rack: b, kubernetes.io/hostname: node-a}}}");
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_expect_no_effects(cloud);
}

static void a_wish_to_start_is_withdrawn_by_a_stop(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", "  nodeSelector: {rack: b}\n");
        cloud_expect_phase(cloud, VM, "web", "Pending");
        order(cloud, "stop", "Stop", false);
        cloud_expect_phase(cloud, VMOP, "stop", "Completed");
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        cloud_apply(cloud,
                    "{apiVersion: v1, kind: Node, metadata: {name: node-a, labels: {rack: b, kubernetes.io/hostname: node-a}}}");
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        order(cloud, "start", "Start", false);
        cloud_expect_phase(cloud, VM, "web", "Running");
}

static void an_operation_fails_when_its_machine_goes(void)
{
        g_autoptr(cloud) cloud = running("AlwaysOnUnlessStoppedManually");

        cloud_hold(cloud, &api_instance_kind);
        order(cloud, "restart", "Restart", false);
        cloud_expect_phase(cloud, VMOP, "restart", "InProgress");
        cloud_delete(cloud, VM, "web");
        cloud_expect_phase(cloud, VMOP, "restart", "Failed");
        cloud_expect_condition(cloud, VMOP, "restart", "Completed", "False VirtualMachineNotFound", NULL);
}

static void finished_operations_go_after_a_day_and_ten(void)
{
        g_autoptr(cloud) cloud = running("AlwaysOnUnlessStoppedManually");

        for (unsigned i = 0; i < 13; i++) {
                g_autofree char *name = g_strdup_printf("op-%02u", i);

                order(cloud, name, "Restart", false);
                cloud_advance(cloud, SECOND_US);
        }
        cloud_settle(cloud);
        g_assert_cmpuint(cloud_count(cloud, VMOP), <=, 11);
        g_assert_null(cloud_get(cloud, VMOP, "op-00"));
        cloud_advance(cloud, 25 * 3600 * SECOND_US);
        g_assert_cmpuint(cloud_count(cloud, VMOP), ==, 0);
}

/* --- many --- */

static bool is_over(const char *phase)
{
        return strcmp(phase, "Completed") == 0 || strcmp(phase, "Failed") == 0 || strcmp(phase, "Superseded") == 0;
}

static void make(struct cloud *cloud, unsigned i)
{
        g_autofree char *name = g_strdup_printf("m%u", i), *node = g_strdup_printf("node-%u", i);

        cloud_add_node(cloud, node, 8, 16);
        cloud_machine(cloud, name, NULL);
}

/* Two or three on each machine, in any order of events: each ends, and each machine is where the last that was done left it. */
static void fifty_operations_at_once_on_twenty_machines_all_end(void)
{
        static const char *const kinds[] = {"Restart", "Stop", "Suspend", "Reset", "ForceOff", "Redeploy"};

        for (uint64_t seed = 1; seed <= 3; seed++) {
                struct cloud_options wild = {.seed = seed, .chaos = seed > 1};
                g_autoptr(cloud) cloud = cloud_new(&wild);
                size_t done = 0;

                for (unsigned i = 0; i < 20; i++)
                        make(cloud, i);
                cloud_settle(cloud);
                for (unsigned i = 0; i < 50; i++)
                        cloud_applyf(cloud,
                                     "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: op-%u},\n"
                                     " spec: {type: %s, virtualMachineName: m%u}}",
                                     i, kinds[(i * 7 + i / 20) % G_N_ELEMENTS(kinds)], i % 20);
                cloud_settle(cloud);
                cloud_advance(cloud, 300 * SECOND_US);
                cloud_settle(cloud);
                for (unsigned i = 0; i < 50; i++) {
                        g_autofree char *name = g_strdup_printf("op-%u", i);
                        const char *phase = cloud_phase(cloud, VMOP, name);

                        if (!is_over(phase))
                                g_error("%s is %s: %s", name, phase, cloud_condition(cloud, VMOP, name, "Completed"));
                        done += strcmp(phase, "Completed") == 0;
                }
                g_assert_cmpuint(done, >=, 20);
                for (unsigned i = 0; i < 20; i++) {
                        g_autofree char *name = g_strdup_printf("m%u", i);
                        const char *phase = cloud_phase(cloud, VM, name);

                        g_assert_true(strcmp(phase, "Running") == 0 || strcmp(phase, "Stopped") == 0 ||
                                      strcmp(phase, "Pause") == 0);
                }
                if (!wild.chaos)
                        cloud_expect_no_effects(cloud);
        }
}

static void an_operation_on_a_machine_that_is_being_deleted_fails(void)
{
        g_autoptr(cloud) cloud = running("AlwaysOn");

        cloud_hold(cloud, &api_instance_kind);
        cloud_delete(cloud, VM, "web");
        cloud_expect_phase(cloud, VM, "web", "Terminating");
        for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
                order(cloud, "late", all[i], false);
                cloud_expect_phase(cloud, VMOP, "late", "Failed");
                cloud_expect_condition(cloud, VMOP, "late", "Completed", "False VirtualMachineNotFound", "is being deleted");
                cloud_delete(cloud, VMOP, "late");
                cloud_settle(cloud);
        }
        cloud_hold(cloud, NULL);
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, VM, "web"));
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/operation/A8_A9_C39_C40_stop_start_restart_and_force_off_do_what_they_say",
                        stop_start_restart_and_force_off_do_what_they_say);
        g_test_add_func("/operation/A11_A12_C43_C44_C45_suspend_resume_and_reset_keep_the_epoch",
                        suspend_resume_and_reset_keep_the_epoch);
        g_test_add_func("/operation/C47_a_suspended_machine_is_stopped_and_starts_without_its_order",
                        a_suspended_machine_is_stopped_and_starts_without_its_order);
        g_test_add_func("/operation/what_somebody_paused_is_resumed", what_somebody_paused_is_resumed);
        g_test_add_func("/operation/an_order_goes_with_its_operation", an_order_goes_with_its_operation);
        g_test_add_func("/operation/an_order_fails_when_its_machine_ends", an_order_fails_when_its_machine_ends);
        g_test_add_func("/operation/an_operation_is_done_once", an_operation_is_done_once);
        g_test_add_func("/operation/D68_manual_machines_are_started_by_an_operation", manual_machines_are_started_by_an_operation);
        g_test_add_func("/operation/operations_apply_by_phase_and_run_policy", operations_apply_by_phase_and_run_policy);
        g_test_add_func("/operation/D73_refused_operations_fail_with_words", refused_operations_fail_with_words);
        g_test_add_func("/operation/stronger_operations_take_the_place_of_weaker_ones",
                        stronger_operations_take_the_place_of_weaker_ones);
        g_test_add_func("/operation/a_second_operation_fails_while_one_is_unfinished",
                        a_second_operation_fails_while_one_is_unfinished);
        g_test_add_func("/operation/two_at_the_same_time_the_older_wins", two_at_the_same_time_the_older_wins);
        g_test_add_func("/operation/A14_redeploy_makes_the_disks_of_images_anew", redeploy_makes_the_disks_of_images_anew);
        g_test_add_func("/operation/A14_redeploy_gives_a_new_identity_when_asked", redeploy_gives_a_new_identity_when_asked);
        g_test_add_func("/operation/A14_what_a_machine_names_of_its_identity_stays", what_a_machine_names_of_its_identity_stays);
        g_test_add_func("/operation/A14_redeploy_destroys_nothing_that_it_cannot_make",
                        redeploy_destroys_nothing_that_it_cannot_make);
        g_test_add_func("/operation/A14_a_redeploy_that_was_given_up_takes_no_disk_later",
                        a_redeploy_that_was_given_up_takes_no_disk_later);
        g_test_add_func("/operation/a_cancelled_stop_cuts_nothing_off", a_cancelled_stop_cuts_nothing_off);
        g_test_add_func("/operation/a_cancelled_start_leaves_the_machine_off", a_cancelled_start_leaves_the_machine_off);
        g_test_add_func("/operation/a_start_that_waits_for_room_is_cancelled", a_start_that_waits_for_room_is_cancelled);
        g_test_add_func("/operation/what_is_done_is_not_undone_by_deleting_its_operation",
                        what_is_done_is_not_undone_by_deleting_its_operation);
        g_test_add_func("/operation/an_operation_goes_with_its_machine", an_operation_goes_with_its_machine);
        g_test_add_func("/operation/A16_A17_D45_every_cell_has_its_verdict_and_its_words",
                        every_cell_has_its_verdict_and_its_words);
        g_test_add_func("/operation/A17_every_move_is_taken_or_refused_with_words", every_move_is_taken_or_refused_with_words);
        g_test_add_func("/operation/the_manual_prints_the_tables", the_manual_prints_the_tables);
        g_test_add_func("/operation/an_operation_that_takes_too_long_fails_with_words",
                        an_operation_that_takes_too_long_fails_with_words);
        g_test_add_func("/operation/a_start_that_cannot_happen_tells_what_keeps_it",
                        a_start_that_cannot_happen_tells_what_keeps_it);
        g_test_add_func("/operation/a_wish_to_start_is_withdrawn_by_a_stop", a_wish_to_start_is_withdrawn_by_a_stop);
        g_test_add_func("/operation/an_operation_fails_when_its_machine_goes", an_operation_fails_when_its_machine_goes);
        g_test_add_func("/operation/finished_operations_go_after_a_day_and_ten", finished_operations_go_after_a_day_and_ten);
        g_test_add_func("/operation/fifty_operations_at_once_on_twenty_machines_all_end",
                        fifty_operations_at_once_on_twenty_machines_all_end);
        g_test_add_func("/operation/an_operation_on_a_machine_that_is_being_deleted_fails",
                        an_operation_on_a_machine_that_is_being_deleted_fails);
        return g_test_run();
}
