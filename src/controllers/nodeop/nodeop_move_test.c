/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/cloud_test.h"
#include "controllers/evacuation/evacuation.h"
#include "controllers/nodeop/nodeop.h"
#include "generated/reasons.h"

#include <string.h>

/* E21, D18: before its reboot the machines of a host move to others; those that cannot be moved are shut down and come back. */

#define NODEOP (&api_node_operation_kind)
#define NODE   (&api_node_kind)
#define POD    (&api_pod_kind)
#define MOVE   ", machines: Move"

static void can_move(struct cloud *cloud, const char *node)
{
        g_autofree char *json = g_strdup_printf("{\"conditions\": [{\"type\": \"MigrationReady\", \"status\": \"True\", "
                                                "\"reason\": \"MigrationReady\", \"message\": \"it is\"}],"
                                                " \"virtualization\": {\"migrationAddress\": \"10.0.0.%c\"}}",
                                                node[strlen(node) - 1] - 'a' + '1');

        cloud_status(cloud, NODE, node, json);
        cloud_settle(cloud);
}

/* "a" and "b" run on node-a, "off" is off; node-b has room. */
static struct cloud *two_hosts_of(const struct cloud_options *options)
{
        struct cloud *cloud = cloud_new(options);

        cloud_let_move(cloud);
        cloud_settle(cloud);
        can_move(cloud, "node-a");
        cloud_machine(cloud, "a", "  runPolicy: AlwaysOn\n");
        cloud_machine(cloud, "b", NULL);
        cloud_machine(cloud, "off", "  runPolicy: AlwaysOff\n");
        cloud_settle(cloud);
        cloud_expect_phase(cloud, VM, "a", "Running");
        cloud_expect_phase(cloud, VM, "b", "Running");
        cloud_add_node(cloud, "node-b", 16, 64);
        cloud_settle(cloud);
        can_move(cloud, "node-b");
        return cloud;
}

static struct cloud *two_hosts(void)
{
        return two_hosts_of(NULL);
}

static void reboot(struct cloud *cloud, const char *name, const char *more)
{
        cloud_applyf(cloud,
                     "{apiVersion: gabbro.dev/v1, kind: NodeOperation, metadata: {name: %s}, spec: {type: Reboot, nodeName: "
                     "node-a%s}}",
                     name, more);
        cloud_settle(cloud);
}

/* "STATE" or "STATE: MESSAGE" of a machine in the operation's list; "" when it is not there. */
static const char *row(struct cloud *cloud, const char *machine)
{
        const struct cache_object *object = cloud_get(cloud, NODEOP, "go");
        const struct api_node_operation *view = object ? object->view : NULL;

        for (size_t i = 0; view && view->status && i < view->status->n_machines; i++) {
                const struct api_node_operation_machine *found = &view->status->machines[i];

                if (strcmp(found->name, machine) == 0) {
                        g_autofree char *text = found->message ? g_strdup_printf("%s: %s", found->state, found->message) : NULL;

                        return g_intern_string(text ?: found->state);
                }
        }
        return "";
}

static void expect_row(struct cloud *cloud, const char *machine, const char *state, const char *words)
{
        const char *found = row(cloud, machine);

        if (!g_str_has_prefix(found, state) || (words ? !strstr(found, words) : strchr(found, ':') != NULL))
                g_error("%s: %s", machine, found);
}

/* It is on this host, and has been started so often. */
static void expect_at(struct cloud *cloud, const char *machine, const char *node, int epoch)
{
        cloud_expect_phase(cloud, VM, machine, "Running");
        g_assert_cmpstr(cloud_instance(cloud, machine)->spec->node_name, ==, node);
        g_assert_cmpint(cloud_instance(cloud, machine)->spec->epoch, ==, epoch);
}

static const char *mark(struct cloud *cloud, const char *machine)
{
        return object_annotation(cloud_get(cloud, POD, machine), ANNOTATION_EVICTION);
}

static bool count_evacuation(const struct cache_object *object, void *userdata)
{
        *(size_t *)userdata += g_str_has_prefix(object->name, EVACUATION_PREFIX);
        return true;
}

static size_t evacuations(struct cloud *cloud)
{
        size_t n = 0;

        cache_each(cloud_cache(cloud), VMOP, "default", count_evacuation, &n);
        return n;
}

/* --- cases --- */

static void all_move_and_none_is_stopped(void)
{
        g_autoptr(cloud) cloud = two_hosts();

        reboot(cloud, "go", MOVE);
        cloud_expect_phase(cloud, NODEOP, "go", "Completed");
        cloud_expect_condition(cloud, NODEOP, "go", "Completed", "True HostRebooted",
                               "2 machines have moved to other hosts before");
        expect_at(cloud, "a", "node-b", 1);
        expect_at(cloud, "b", "node-b", 1);
        expect_row(cloud, "a", "Moved", NULL);
        expect_row(cloud, "b", "Moved", NULL);
        g_assert_cmpstr(row(cloud, "off"), ==, "");
        cloud_expect_phase(cloud, VM, "off", "Stopped");
        g_assert_cmpuint(evacuations(cloud), ==, 2);
        g_assert_false(evacuation_cordoned(cloud_cache(cloud), "node-a"));
        g_assert_null(object_annotation(cloud_get(cloud, NODE, "node-a"), ANNOTATION_NODE_OPERATION));
        cloud_expect_no_effects(cloud);
}

static void without_it_nothing_moves(void)
{
        g_autoptr(cloud) cloud = two_hosts();

        reboot(cloud, "go", "");
        cloud_expect_phase(cloud, NODEOP, "go", "Completed");
        expect_at(cloud, "a", "node-a", 2);
        expect_row(cloud, "a", "Started", NULL);
        g_assert_cmpuint(evacuations(cloud), ==, 0);
}

/* One has no host to go to: it is shut down when the other one has left, not before, and comes back. */
static void what_cannot_be_moved_is_stopped_and_comes_back(void)
{
        g_autoptr(cloud) cloud = two_hosts();

        cloud_applyf(cloud, "{apiVersion: v1, kind: Node, metadata: {name: node-a, labels: {rack: a}}}");
        cloud_machine(cloud, "tied", "  nodeSelector: {rack: a}\n");
        expect_at(cloud, "tied", "node-a", 1);
        cloud_hold(cloud, &api_instance_kind);
        reboot(cloud, "go", MOVE);
        g_assert_cmpstr(cloud_text(cloud, NODEOP, "go", "/status/step"), ==, "Moving");
        expect_row(cloud, "tied", "Staying", "no other host can take it now");
        g_assert_null(mark(cloud, "tied"));
        expect_at(cloud, "tied", "node-a", 1);
        g_assert_nonnull(mark(cloud, "a"));
        g_assert_true(cloud_has_event(cloud, "go", REASON_MACHINES_MOVE));
        cloud_hold(cloud, NULL);
        cloud_expect_phase(cloud, NODEOP, "go", "Completed");
        cloud_expect_condition(cloud, NODEOP, "go", "Completed", "True HostRebooted", "the 1 that were shut down run again");
        expect_at(cloud, "a", "node-b", 1);
        expect_at(cloud, "b", "node-b", 1);
        expect_at(cloud, "tied", "node-a", 2);
        expect_row(cloud, "tied", "Started", "no other host can take it now");
}

static void a_move_that_fails_in_the_end_stops_the_machine(void)
{
        g_autoptr(cloud) cloud = two_hosts();

        cloud_fail_moves(cloud, "no such luck");
        reboot(cloud, "go", MOVE);
        cloud_expect_phase(cloud, NODEOP, "go", "InProgress");
        cloud_expect_condition(cloud, NODEOP, "go", "Completed", "False MachinesMove", "2 of 2 machines are still to leave");
        expect_at(cloud, "a", "node-a", 1);
        cloud_advance(cloud, 60 * SECOND_US);
        cloud_expect_phase(cloud, NODEOP, "go", "Completed");
        g_assert_cmpuint(evacuations(cloud), ==, 6);
        expect_row(cloud, "a", "Started", "3 moves of it failed, the last one: no such luck");
        expect_at(cloud, "a", "node-a", 2);
        expect_at(cloud, "b", "node-a", 2);
        g_assert_null(mark(cloud, "a"));
        cloud_advance(cloud, 600 * SECOND_US);
        g_assert_cmpuint(evacuations(cloud), ==, 6);
}

/* What moves arrives; what has not begun stays, and its operation goes. The host is not rebooted. */
static void deleted_in_the_middle_it_lets_be_what_has_not_begun(void)
{
        g_autoptr(cloud) cloud = two_hosts();
        const char *moved, *stayed;

        cloud_hold(cloud, &api_instance_kind);
        reboot(cloud, "go", MOVE);
        g_assert_cmpuint(evacuations(cloud), ==, 2); /* one is under way, the other waits for its turn */
        cloud_delete(cloud, NODEOP, "go");
        cloud_settle(cloud);
        g_assert_cmpuint(evacuations(cloud), ==, 1);
        g_assert_null(cloud_get(cloud, NODEOP, "go"));
        g_assert_null(object_annotation(cloud_get(cloud, NODE, "node-a"), ANNOTATION_NODE_OPERATION));
        moved = mark(cloud, "a") ? "a" : "b";
        stayed = mark(cloud, "a") ? "b" : "a";
        g_assert_null(mark(cloud, stayed));
        g_assert_true(cloud_has_event(cloud, stayed, REASON_EVICTION_WITHDRAWN));
        cloud_hold(cloud, NULL);
        cloud_settle(cloud);
        cloud_advance(cloud, 600 * SECOND_US);
        expect_at(cloud, moved, "node-b", 1);
        expect_at(cloud, stayed, "node-a", 1);
        g_assert_cmpstr(cloud_text(cloud, NODE, "node-a", "/status/nodeInfo/bootID"), ==, "boot-0");
}

/* Whoever deletes the operation of one move keeps that machine from it: it is shut down. An uncordon changes nothing. */
static void a_move_that_somebody_calls_off_is_not_tried_again(void)
{
        g_autoptr(cloud) cloud = two_hosts();

        cloud_applyf(cloud, "{apiVersion: v1, kind: Node, metadata: {name: node-a}, spec: {unschedulable: true}}");
        cloud_hold(cloud, &api_instance_kind);
        reboot(cloud, "go", MOVE);
        cloud_applyf(cloud, "{apiVersion: v1, kind: Node, metadata: {name: node-a}, spec: {unschedulable: false}}");
        cloud_settle(cloud);
        g_assert_cmpuint(evacuations(cloud), ==, 2);

        g_autoptr(GPtrArray) found = cache_lookup(cloud_cache(cloud), INDEX_OPERATION_BY_VM, "default/a");

        g_assert_cmpuint(found->len, ==, 1);
        cloud_delete(cloud, VMOP, ((const struct cache_object *)found->pdata[0])->name);
        cloud_settle(cloud);
        cloud_hold(cloud, NULL);
        cloud_expect_phase(cloud, NODEOP, "go", "Completed");
        expect_row(cloud, "a", "Started", "its move was called off: operation evacuation-a-");
        expect_at(cloud, "a", "node-a", 2);
        expect_at(cloud, "b", "node-b", 1);
}

static void time_that_is_up_ends_what_moves(void)
{
        g_autoptr(cloud) cloud = two_hosts();

        cloud_hold(cloud, &api_instance_kind);
        reboot(cloud, "go", MOVE ", moveTimeoutSeconds: 30");
        cloud_advance(cloud, 20 * SECOND_US);
        g_assert_cmpuint(evacuations(cloud), ==, 2);
        cloud_advance(cloud, 20 * SECOND_US);
        g_assert_cmpuint(evacuations(cloud), ==, 0);
        expect_row(cloud, "a", "Stopping", "it has not left in the time that the operation gave it");
        expect_row(cloud, "b", "Stopping", "it has not left in the time that the operation gave it");
        cloud_hold(cloud, NULL);
        cloud_expect_phase(cloud, NODEOP, "go", "Completed");
        expect_at(cloud, "a", "node-a", 2);
        expect_at(cloud, "b", "node-a", 2);
}

/* The one that is suspended while the others move has a memory to lose. */
static void one_that_is_suspended_meanwhile_keeps_the_host_up(void)
{
        g_autoptr(cloud) cloud = two_hosts();

        cloud_fail_moves(cloud, "no such luck");
        reboot(cloud, "go", MOVE);
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: nap},\n"
                           " spec: {type: Suspend, virtualMachineName: b}}");
        cloud_expect_phase(cloud, VM, "b", "Pause");
        cloud_advance(cloud, 60 * SECOND_US);
        cloud_expect_phase(cloud, NODEOP, "go", "Failed");
        cloud_expect_condition(cloud, NODEOP, "go", "Completed", "False MachinesSuspended", "default/b");
        expect_at(cloud, "a", "node-a", 1);
        g_assert_null(mark(cloud, "a"));
}

static void one_that_has_moved_may_be_suspended(void)
{
        g_autoptr(cloud) cloud = two_hosts();

        cloud_fail_moves(cloud, "no such luck");
        reboot(cloud, "go", MOVE);
        cloud_fail_moves(cloud, NULL);
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: by-hand},\n"
                           " spec: {type: Migrate, virtualMachineName: a}}");
        expect_at(cloud, "a", "node-b", 1);
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: nap},\n"
                           " spec: {type: Suspend, virtualMachineName: a}}");
        cloud_expect_phase(cloud, VM, "a", "Pause");
        expect_row(cloud, "b", "Moving", NULL);
        cloud_advance(cloud, 60 * SECOND_US);
        cloud_expect_phase(cloud, NODEOP, "go", "Completed");
        expect_at(cloud, "b", "node-b", 1);
        cloud_expect_phase(cloud, VM, "a", "Pause");
}

/* It is waited for, and leaves again when it has arrived. */
static void one_that_is_on_its_way_to_the_host_is_not_forgotten(void)
{
        g_autoptr(cloud) cloud = two_hosts();

        cloud_applyf(cloud, "{apiVersion: v1, kind: Node, metadata: {name: node-a}, spec: {unschedulable: true}}");
        cloud_machine(cloud, "c", NULL);
        expect_at(cloud, "c", "node-b", 1);
        cloud_applyf(cloud, "{apiVersion: v1, kind: Node, metadata: {name: node-a}, spec: {unschedulable: false}}");
        cloud_delete(cloud, VM, "a");
        cloud_delete(cloud, VM, "b");
        cloud_settle(cloud);
        cloud_hold(cloud, &api_instance_kind);
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: by-hand},\n"
                           " spec: {type: Migrate, virtualMachineName: c, migrate: {nodeName: node-a}}}");
        cloud_expect_phase(cloud, VMOP, "by-hand", "InProgress");
        reboot(cloud, "go", MOVE);
        g_assert_cmpstr(row(cloud, "c"), ==, "");
        g_assert_cmpstr(cloud_text(cloud, NODEOP, "go", "/status/step"), ==, "Moving");
        cloud_hold(cloud, NULL);
        cloud_expect_phase(cloud, NODEOP, "go", "Completed");
        cloud_expect_phase(cloud, VMOP, "by-hand", "Completed");
        expect_row(cloud, "c", "Moved", NULL);
        expect_at(cloud, "c", "node-b", 1);
}

/* The controllers begin anew after every single second, with nothing but the store. */
static void it_goes_on_when_the_gateway_was_killed(void)
{
        g_autoptr(cloud) cloud = two_hosts();

        cloud_hold(cloud, &api_instance_kind);
        reboot(cloud, "go", MOVE);
        cloud_restart(cloud);
        cloud_settle(cloud);
        g_assert_cmpuint(evacuations(cloud), ==, 2);
        cloud_hold(cloud, NULL);
        cloud_fail_moves(cloud, "no such luck");
        for (size_t i = 0; i < 60; i++) {
                cloud_restart(cloud);
                cloud_advance(cloud, SECOND_US);
                if (i == 1)
                        cloud_fail_moves(cloud, NULL);
        }
        cloud_expect_phase(cloud, NODEOP, "go", "Completed");
        expect_at(cloud, "a", "node-b", 1);
        expect_at(cloud, "b", "node-b", 1);
        g_assert_cmpuint(evacuations(cloud), >, 2);
}

/* What is written at once is seen one after the other: the mark before what the operation says of it, and the other way round. */
static void events_that_come_late_stop_nothing(void)
{
        for (uint64_t seed = 1; seed <= 25; seed++) {
                g_autoptr(cloud) cloud = two_hosts_of(&(struct cloud_options){.seed = seed, .chaos = true});

                reboot(cloud, "go", MOVE);
                cloud_advance(cloud, 60 * SECOND_US);
                cloud_expect_phase(cloud, NODEOP, "go", "Completed");
                expect_at(cloud, "a", "node-b", 1);
                expect_at(cloud, "b", "node-b", 1);
                g_assert_cmpuint(evacuations(cloud), ==, 2);
        }
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
#define ADD(name, id) g_test_add_func("/nodeop-move/" id #name, name)
        ADD(all_move_and_none_is_stopped, "E21_D18_");
        ADD(without_it_nothing_moves, "E21_");
        ADD(what_cannot_be_moved_is_stopped_and_comes_back, "E21_");
        ADD(a_move_that_fails_in_the_end_stops_the_machine, "E21_");
        ADD(deleted_in_the_middle_it_lets_be_what_has_not_begun, "");
        ADD(a_move_that_somebody_calls_off_is_not_tried_again, "");
        ADD(time_that_is_up_ends_what_moves, "");
        ADD(one_that_is_suspended_meanwhile_keeps_the_host_up, "");
        ADD(one_that_has_moved_may_be_suspended, "");
        ADD(one_that_is_on_its_way_to_the_host_is_not_forgotten, "");
        ADD(it_goes_on_when_the_gateway_was_killed, "E21_");
        ADD(events_that_come_late_stop_nothing, "E21_");
        return g_test_run();
}
