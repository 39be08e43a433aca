/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/vm/policy.h"

#include "controllers/cloud_test.h"
#include "controllers/operation/operation.h"
#include "generated/reasons.h"

#include <string.h>

/* D66-D69: every cell of the table, in a cloud with everything around it: what is brought about, and what the machine then is. */

static const enum run_policy columns[] = {RUN_ALWAYS_ON, RUN_UNLESS_STOPPED, RUN_MANUAL, RUN_ALWAYS_OFF};

static void set_policy(struct cloud *cloud, enum run_policy policy)
{
        g_autofree char *line = g_strdup_printf("  runPolicy: %s\n", run_policy_to_text(policy));

        cloud_machine(cloud, "web", line);
}

static void operate(struct cloud *cloud, const char *type)
{
        cloud_applyf(cloud,
                     "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: go},\n"
                     " spec: {type: %s, virtualMachineName: web}}",
                     type);
}

static void tell(struct cloud *cloud, const char *json)
{
        const struct cache_object *machine = cloud_get(cloud, VM, "web");

        cloud_status(cloud, &api_instance_kind,
                     ((const struct cache_object *)index_one(cloud_cache(cloud), INDEX_INSTANCE_BY_MACHINE, machine->uid))->name,
                     json);
}

/* A machine that runs and has the policy; AlwaysOff comes in the same moment as what happens next. */
static void run_with(struct cloud *cloud, enum run_policy policy)
{
        set_policy(cloud, RUN_ALWAYS_ON);
        cloud_expect_phase(cloud, VM, "web", "Running");
        set_policy(cloud, policy);
        if (policy != RUN_ALWAYS_OFF)
                cloud_settle(cloud);
}

static void apply_without_disk(struct cloud *cloud, enum run_policy policy)
{
        cloud_applyf(cloud,
                     "{apiVersion: gabbro.dev/v1, kind: VirtualMachine, metadata: {name: web},\n"
                     " spec: {virtualMachineClassName: generic, runPolicy: %s, cpu: {cores: 1}, memory: {size: 1Gi},\n"
                     "  blockDeviceRefs: [{kind: VirtualDisk, name: web-root}]}}",
                     run_policy_to_text(policy));
        cloud_settle(cloud);
}

static void bring_deletion(struct cloud *cloud, enum run_policy policy, const char *arg)
{
        run_with(cloud, policy);
        cloud_delete(cloud, VM, "web");
}

static void bring_operation(struct cloud *cloud, enum run_policy policy, const char *arg)
{
        run_with(cloud, policy);
        operate(cloud, "Restart");
}

static void bring_reboot(struct cloud *cloud, enum run_policy policy, const char *arg)
{
        run_with(cloud, policy);
        if (arg)
                cloud_hold(cloud, &api_host_task_kind);
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: NodeOperation, metadata: {name: go}, spec: {type: Reboot, nodeName: "
                           "node-a}}");
}

static void bring_new(struct cloud *cloud, enum run_policy policy, const char *arg)
{
        set_policy(cloud, policy);
}

/* The operation is long over when its wish can be fulfilled. */
static void bring_start_waits(struct cloud *cloud, enum run_policy policy, const char *arg)
{
        apply_without_disk(cloud, RUN_MANUAL);
        operate(cloud, "Start");
        cloud_settle(cloud);
        cloud_advance(cloud, 200 * SECOND_US);
        cloud_expect_phase(cloud, VMOP, "go", "Failed");
        apply_without_disk(cloud, policy);
        if (policy == RUN_ALWAYS_OFF) { /* what is forgotten stays so */
                apply_without_disk(cloud, RUN_MANUAL);
                policy = RUN_MANUAL;
        }
        set_policy(cloud, policy);
}

static void bring_stopped_before(struct cloud *cloud, enum run_policy policy, const char *arg)
{
        apply_without_disk(cloud, RUN_UNLESS_STOPPED);
        operate(cloud, "Stop");
        cloud_expect_phase(cloud, VMOP, "go", "Completed");
        set_policy(cloud, policy);
}

static void bring_off(struct cloud *cloud, enum run_policy policy, const char *arg)
{
        run_with(cloud, RUN_UNLESS_STOPPED);
        operate(cloud, "Stop");
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        set_policy(cloud, policy);
}

static void bring_released(struct cloud *cloud, enum run_policy policy, const char *arg)
{
        run_with(cloud, RUN_ALWAYS_OFF);
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        set_policy(cloud, policy);
}

static void bring_starting(struct cloud *cloud, enum run_policy policy, const char *arg)
{
        cloud_hold(cloud, &api_volume_kind);
        set_policy(cloud, RUN_ALWAYS_ON);
        cloud_expect_phase(cloud, VM, "web", "Starting");
        if (arg)
                tell(cloud, arg);
        set_policy(cloud, policy);
}

static void bring_running(struct cloud *cloud, enum run_policy policy, const char *arg)
{
        run_with(cloud, policy);
        if (arg)
                tell(cloud, arg);
}

static void bring_short_silence(struct cloud *cloud, enum run_policy policy, const char *arg)
{
        run_with(cloud, policy);
        cloud_lose_node(cloud, "node-a", true);
        cloud_advance(cloud, 20 * SECOND_US);
        cloud_lose_node(cloud, "node-a", false);
}

static void bring_libvirt_restart(struct cloud *cloud, enum run_policy policy, const char *arg)
{
        static const char conditions[] = "{\"conditions\": [{\"type\": \"Ready\", \"status\": \"%s\", \"reason\": \"%s\", "
                                         "\"message\": \"said so\", \"lastTransitionTime\": \"2023-11-14T22:13:20Z\"}]}";
        g_autofree char *away = g_strdup_printf(conditions, "False", REASON_LIBVIRT_UNREACHABLE);
        g_autofree char *back = g_strdup_printf(conditions, "True", REASON_NODE_READY);

        run_with(cloud, policy);
        cloud_status(cloud, &api_node_kind, "node-a", away);
        cloud_settle(cloud);
        cloud_status(cloud, &api_node_kind, "node-a", back);
}

static void bring_node_lost(struct cloud *cloud, enum run_policy policy, const char *arg)
{
        run_with(cloud, policy);
        cloud_lose_node(cloud, "node-a", true);
        cloud_advance(cloud, 90 * SECOND_US);
}

#define PAUSED(reason)  "{\"state\": \"paused\", \"stateReason\": \"" reason "\"}"
#define ENDED(reason)   "{\"state\": \"shutoff\", \"stateReason\": \"" reason "\"}"
#define CRASHED(reason) "{\"state\": \"crashed\", \"stateReason\": \"" reason "\"}"

/* "PHASE EPOCH" in the order of the columns; "-": no machine, or no start. */
static const struct {
        void (*bring)(struct cloud *cloud, enum run_policy policy, const char *arg);
        const char *arg;
        const char *then[G_N_ELEMENTS(columns)];
} cells[POLICY_EVENTS] = {
        [POLICY_DELETION] = {bring_deletion, NULL, {"- -", "- -", "- -", "- -"}},
        [POLICY_OPERATION] = {bring_operation, NULL, {"Running 2", "Running 2", "Running 2", "Stopped 1"}},
        [POLICY_HOST_STOPS] = {bring_reboot, "held", {"Stopped 1", "Stopped 1", "Stopped 1", "Stopped 1"}},
        [POLICY_HOST_IS_BACK] = {bring_reboot, NULL, {"Running 2", "Running 2", "Running 2", "Stopped 1"}},
        [POLICY_NEW] = {bring_new, NULL, {"Running 1", "Running 1", "Stopped -", "Stopped -"}},
        [POLICY_START_WAITS] = {bring_start_waits, NULL, {"Running 1", "Running 1", "Running 1", "Stopped -"}},
        [POLICY_STOPPED_BEFORE] = {bring_stopped_before, NULL, {"Running 1", "Stopped -", "Stopped -", "Stopped -"}},
        [POLICY_OFF] = {bring_off, NULL, {"Running 2", "Stopped 1", "Stopped 1", "Stopped 1"}},
        [POLICY_RELEASED] = {bring_released, NULL, {"Running 2", "Running 2", "Stopped 1", "Stopped 1"}},
        [POLICY_STARTING] = {bring_starting, NULL, {"Starting 1", "Starting 1", "Starting 1", "Stopped 1"}},
        [POLICY_START_FAILS] = {bring_starting,
                                "{\"state\": \"creating\", \"error\": {\"reason\": \"StartFailed\", \"message\": \"no\"}}",
                                {"Starting 1", "Starting 1", "Starting 1", "Stopped 1"}},
        [POLICY_RUNS] = {bring_running, NULL, {"Running 1", "Running 1", "Running 1", "Stopped 1"}},
        [POLICY_GUEST_REBOOT] = {bring_running,
                                 "{\"state\": \"running\", \"agentConnected\": false}",
                                 {"Running 1", "Running 1", "Running 1", "Stopped 1"}},
        [POLICY_AGENT_RESTART] = {bring_short_silence, NULL, {"Running 1", "Running 1", "Running 1", "Stopped 1"}},
        [POLICY_LIBVIRT_RESTART] = {bring_libvirt_restart, NULL, {"Running 1", "Running 1", "Running 1", "Stopped 1"}},
        [POLICY_NODE_LOST] = {bring_node_lost, NULL, {"Running 1", "Running 1", "Running 1", "Stopping 1"}},
        [POLICY_SUSPENDED] = {bring_running, PAUSED("Paused"), {"Pause 1", "Pause 1", "Pause 1", "Stopped 1"}},
        [POLICY_PAUSED_OUTSIDE] = {bring_running, PAUSED("PausedOutside"), {"Pause 1", "Pause 1", "Pause 1", "Stopped 1"}},
        [POLICY_GUEST_SLEEPS] = {bring_running, PAUSED("GuestSuspended"), {"Pause 1", "Pause 1", "Pause 1", "Stopped 1"}},
        [POLICY_NO_SPACE] = {bring_running, PAUSED("PoolFull"), {"Pause 1", "Pause 1", "Pause 1", "Stopped 1"}},
        [POLICY_DISK_ERROR] = {bring_running, PAUSED("DiskFailed"), {"Pause 1", "Pause 1", "Pause 1", "Stopped 1"}},
        [POLICY_GUEST_SHUTDOWN] = {bring_running, ENDED("GuestShutdown"), {"Running 2", "Stopped 1", "Stopped 1", "Stopped 1"}},
        [POLICY_CRASH] = {bring_running, CRASHED("Crashed"), {"Running 2", "Running 2", "Stopped 1", "Stopped 1"}},
        [POLICY_PANIC] = {bring_running, CRASHED("GuestPanicked"), {"Running 2", "Running 2", "Stopped 1", "Stopped 1"}},
        [POLICY_HOST_REBOOT] = {bring_running, ENDED("HostLost"), {"Running 2", "Running 2", "Stopped 1", "Stopped 1"}},
        [POLICY_CUT_OFF] = {bring_running, ENDED("DomainDestroyedOutside"), {"Running 2", "Running 2", "Stopped 1", "Stopped 1"}},
        [POLICY_DOMAIN_LOST] = {bring_running, ENDED("DomainLost"), {"Running 2", "Running 2", "Stopped 1", "Stopped 1"}},
        [POLICY_OTHER_END] = {bring_running, ENDED("Superseded"), {"Running 2", "Running 2", "Stopped 1", "Stopped 1"}},
};

static void every_cell_is_what_happens(void)
{
        for (unsigned event = 0; event < POLICY_EVENTS; event++)
                for (size_t i = 0; i < G_N_ELEMENTS(columns); i++) {
                        g_autoptr(cloud) cloud = cloud_new(NULL);
                        const struct api_instance *instance;
                        g_autofree char *found = NULL;
                        const char *phase;

                        g_assert_nonnull(cells[event].bring);
                        cells[event].bring(cloud, columns[i], cells[event].arg);
                        cloud_settle(cloud);
                        if (event != POLICY_NODE_LOST)
                                cloud_advance(cloud, 5 * SECOND_US);
                        phase = cloud_get(cloud, VM, "web") ? cloud_phase(cloud, VM, "web") : "-";
                        instance = phase[0] == '-' ? NULL : cloud_instance(cloud, "web");
                        found = instance ? g_strdup_printf("%s %d", phase, (int)instance->spec->epoch)
                                         : g_strdup_printf("%s -", phase);
                        g_test_message("%s, %s: %s", policy_rows[event].event, run_policy_to_text(columns[i]), found);
                        g_assert_cmpstr(found, ==, cells[event].then[i]);
                        cloud_expect_no_effects(cloud);
                }
}

/* --- the table itself --- */

static void every_row_has_words_and_decides_or_names_who_does(void)
{
        for (unsigned event = 0; event < POLICY_EVENTS; event++) {
                enum policy_event as = policy_rows[event].as;

                g_assert_true(policy_rows[event].event && policy_rows[event].words);
                g_assert_cmpint(policy_rows[as].as, ==, as);
                for (size_t i = 0; i < G_N_ELEMENTS(policy_rows[event].reasons) && policy_rows[event].reasons[i]; i++)
                        g_assert_cmpint(
                                policy_event_of(POLICY_DELETION, POLICY_OTHER_END, policy_rows[event].reasons[i], POLICY_EVENTS),
                                ==, event);
        }
        g_assert_cmpint(policy_event_of(POLICY_DELETION, POLICY_OTHER_END, NULL, POLICY_RUNS), ==, POLICY_RUNS);
}

/* A policy that refuses all operations has none in their table, and the other way round. A clone does nothing to its machine. */
static void both_tables_agree_on_operations(void)
{
        for (int policy = 0; policy < RUN_POLICIES; policy++) {
                bool any = false;

                for (size_t i = 0; i < operation_n_rules; i++)
                        any |= power_order_is_of_machine(power_order_to_text(operation_rules[i].order)) &&
                               (operation_rules[i].policies & (1u << policy)) != 0;
                g_assert_cmpint(any, ==, policy_verdict(POLICY_OPERATION, (enum run_policy)policy) == POLICY_OBEYS);
        }
}

static void the_manual_has_every_row(void)
{
        g_autoptr(GString) page = g_string_new(NULL);

        policy_manual(page);
        for (unsigned event = 0; event < POLICY_EVENTS; event++)
                g_assert_nonnull(strstr(page->str, policy_rows[event].event));
        g_assert_nonnull(strstr(page->str, "| the guest shuts itself down | **starts again** | stays off | stays off | stays off | "
                                           "GuestShutdown |"));
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/policy/D66_D69_every_cell_is_what_happens", every_cell_is_what_happens);
        g_test_add_func("/policy/every_row_has_words_and_decides_or_names_who_does",
                        every_row_has_words_and_decides_or_names_who_does);
        g_test_add_func("/policy/both_tables_agree_on_operations", both_tables_agree_on_operations);
        g_test_add_func("/policy/the_manual_has_every_row", the_manual_has_every_row);
        return g_test_run();
}
