/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/evacuation/evacuation.h"

#include "controllers/cloud_test.h"
#include "generated/reasons.h"

#include <string.h>

#define POD  (&api_pod_kind)
#define NODE (&api_node_kind)

/* --- a cloud of hosts that machines can move between --- */

static void can_move(struct cloud *cloud, const char *node)
{
        g_autofree char *json = g_strdup_printf("{\"conditions\": [{\"type\": \"MigrationReady\", \"status\": \"True\", "
                                                "\"reason\": \"MigrationReady\", \"message\": \"it is\"}],"
                                                " \"virtualization\": {\"migrationAddress\": \"10.0.0.%c\"}}",
                                                node[strlen(node) - 1] - 'a' + '1');

        cloud_status(cloud, NODE, node, json);
}

static struct cloud *two_hosts(void)
{
        struct cloud *cloud = cloud_new(NULL);

        cloud_let_move(cloud);
        cloud_settle(cloud);
        can_move(cloud, "node-a");
        cloud_machine(cloud, "m", NULL);
        cloud_settle(cloud);
        g_assert_cmpstr(cloud_phase(cloud, VM, "m"), ==, "Running");
        cloud_add_node(cloud, "node-b", 16, 64);
        cloud_settle(cloud);
        can_move(cloud, "node-b");
        cloud_settle(cloud);
        return cloud;
}

static void cordon(struct cloud *cloud, const char *node, bool on)
{
        cloud_applyf(cloud, "{apiVersion: v1, kind: Node, metadata: {name: %s}, spec: {unschedulable: %s}}", node,
                     on ? "true" : "false");
}

static void evict(struct cloud *cloud, const char *machine, const char *how)
{
        cloud_applyf(cloud,
                     "{apiVersion: v1, kind: Pod, metadata: {name: %s, annotations: {" ANNOTATION_EVICTION
                     ": \"%s 2026-01-01T00:00:00.000000Z\"}}}",
                     machine, how);
        cloud_settle(cloud);
}

static bool count_evacuation(const struct cache_object *object, void *userdata)
{
        const struct api_virtual_machine_operation *view = object->view;

        if (g_str_has_prefix(object->name, EVACUATION_PREFIX)) {
                g_assert_cmpstr(view->spec->type, ==, "Evict");
                ++*(size_t *)userdata;
        }
        return true;
}

static size_t evacuations(struct cloud *cloud)
{
        size_t n = 0;

        cache_each(cloud_cache(cloud), VMOP, "default", count_evacuation, &n);
        return n;
}

static const char *annotation(struct cloud *cloud, const char *machine, const char *key)
{
        const struct cache_object *pod = cloud_get(cloud, POD, machine);

        return pod ? object_annotation(pod, key) : NULL;
}

static bool first_evacuation(const struct cache_object *object, void *userdata)
{
        const struct cache_object **ret = userdata;

        if (g_str_has_prefix(object->name, EVACUATION_PREFIX) && !*ret)
                *ret = object;
        return true;
}

static const char *operation(struct cloud *cloud)
{
        const struct cache_object *object = NULL;

        cache_each(cloud_cache(cloud), VMOP, "default", first_evacuation, &object);
        return object ? object->name : NULL;
}

/* --- what becomes of a mark --- */

static void an_evicted_machine_moves_once(void)
{
        g_autoptr(cloud) cloud = two_hosts();
        g_autofree char *pod = g_strdup(cloud_get(cloud, POD, "m")->uid);

        cordon(cloud, "node-a", true);
        evict(cloud, "m", "drain");
        g_assert_cmpuint(evacuations(cloud), ==, 1);
        g_assert_cmpstr(cloud_phase(cloud, VMOP, operation(cloud)), ==, "Completed");
        g_assert_cmpstr(cloud_text(cloud, POD, "m", "/spec/nodeName"), ==, "node-b");
        g_assert_cmpstr(cloud_get(cloud, POD, "m")->uid, !=, pod);
        g_assert_null(annotation(cloud, "m", ANNOTATION_EVICTION));
        g_assert_true(object_owned_by(cloud_get(cloud, VMOP, operation(cloud)), cloud_get(cloud, VM, "m")->uid));
        g_assert_cmpuint(evacuation_came_us(cloud_cache(cloud), cloud_get(cloud, VM, "m"), "node-b"), >, 0);
        g_assert_cmpuint(evacuation_came_us(cloud_cache(cloud), cloud_get(cloud, VM, "m"), "node-a"), ==, 0);
        cloud_expect_no_effects(cloud);
}

static void all_of_a_host_leave_one_after_the_other(void)
{
        g_autoptr(cloud) cloud = two_hosts();

        cordon(cloud, "node-b", true);
        cloud_machine(cloud, "n", NULL);
        cloud_machine(cloud, "o", NULL);
        cloud_settle(cloud);
        cordon(cloud, "node-b", false);
        cordon(cloud, "node-a", true);
        evict(cloud, "m", "drain");
        evict(cloud, "n", "drain");
        evict(cloud, "o", "drain");
        g_assert_cmpuint(evacuations(cloud), ==, 3);
        for (size_t i = 0; i < 3; i++)
                g_assert_cmpstr(cloud_text(cloud, POD, ((const char *const[]){"m", "n", "o"})[i], "/spec/nodeName"), ==, "node-b");
}

static void what_has_not_begun_is_let_be_when_the_host_is_uncordoned(void)
{
        g_autoptr(cloud) cloud = two_hosts();

        cordon(cloud, "node-b", true);
        cloud_machine(cloud, "n", NULL);
        cloud_settle(cloud);
        cordon(cloud, "node-b", false);
        cordon(cloud, "node-a", true);
        cloud_hold(cloud, &api_instance_kind);
        evict(cloud, "m", "drain");
        evict(cloud, "n", "drain");
        g_assert_cmpuint(evacuations(cloud), ==, 2); /* one is under way, the other waits for its turn */
        cordon(cloud, "node-a", false);
        cloud_settle(cloud);
        g_assert_cmpuint(evacuations(cloud), ==, 1);
        g_assert_nonnull(annotation(cloud, "m", ANNOTATION_EVICTION));
        g_assert_null(annotation(cloud, "n", ANNOTATION_EVICTION));
        g_assert_nonnull(strstr(annotation(cloud, "n", ANNOTATION_WITHDRAWN), "host node-a takes machines again"));
        g_assert_true(cloud_has_event(cloud, "n", REASON_EVICTION_WITHDRAWN));
        cloud_hold(cloud, NULL);
        cloud_settle(cloud);
        g_assert_cmpstr(cloud_text(cloud, POD, "m", "/spec/nodeName"), ==, "node-b");
        g_assert_cmpstr(cloud_text(cloud, POD, "n", "/spec/nodeName"), ==, "node-a");
}

static void a_machine_that_is_evicted_alone_does_not_mind_cordons(void)
{
        g_autoptr(cloud) cloud = two_hosts();

        evict(cloud, "m", "alone");
        g_assert_cmpstr(cloud_text(cloud, POD, "m", "/spec/nodeName"), ==, "node-b");
}

static void deleting_the_operation_withdraws_the_eviction(void)
{
        g_autoptr(cloud) cloud = two_hosts();

        cordon(cloud, "node-a", true);
        cloud_hold(cloud, &api_instance_kind);
        evict(cloud, "m", "drain");
        g_assert_cmpstr(cloud_phase(cloud, VMOP, operation(cloud)), ==, "InProgress");
        cloud_delete(cloud, VMOP, operation(cloud));
        cloud_settle(cloud);
        cloud_hold(cloud, NULL);
        cloud_settle(cloud);
        g_assert_null(annotation(cloud, "m", ANNOTATION_EVICTION));
        g_assert_nonnull(strstr(annotation(cloud, "m", ANNOTATION_WITHDRAWN), "was deleted"));
        g_assert_cmpuint(evacuations(cloud), ==, 0);
        g_assert_cmpstr(cloud_text(cloud, POD, "m", "/spec/nodeName"), ==, "node-a");
}

static void what_failed_is_tried_again_later_and_later(void)
{
        g_autoptr(cloud) cloud = two_hosts();

        cordon(cloud, "node-a", true);
        cloud_fail_moves(cloud, "no such luck");
        evict(cloud, "m", "drain");
        g_assert_cmpuint(evacuations(cloud), ==, 1);
        cloud_advance(cloud, SECOND_US);
        g_assert_cmpuint(evacuations(cloud), ==, 1);
        cloud_advance(cloud, 2 * SECOND_US);
        g_assert_cmpuint(evacuations(cloud), ==, 2);
        cloud_advance(cloud, 2 * SECOND_US);
        g_assert_cmpuint(evacuations(cloud), ==, 2);
        cloud_advance(cloud, 3 * SECOND_US);
        g_assert_cmpuint(evacuations(cloud), ==, 3);
        cloud_fail_moves(cloud, NULL);
        cloud_advance(cloud, 9 * SECOND_US);
        g_assert_cmpstr(cloud_text(cloud, POD, "m", "/spec/nodeName"), ==, "node-b");
}

static void what_finds_no_room_waits_for_it_and_makes_no_operations(void)
{
        g_autoptr(cloud) cloud = two_hosts();

        cordon(cloud, "node-a", true);
        cordon(cloud, "node-b", true);
        evict(cloud, "m", "drain");
        cloud_advance(cloud, 60 * SECOND_US);
        g_assert_cmpuint(evacuations(cloud), ==, 0);
        cordon(cloud, "node-b", false);
        cloud_advance(cloud, 11 * SECOND_US);
        g_assert_cmpstr(cloud_text(cloud, POD, "m", "/spec/nodeName"), ==, "node-b");
}

static void another_operation_of_the_machine_is_not_disturbed(void)
{
        g_autoptr(cloud) cloud = two_hosts();

        cordon(cloud, "node-a", true);
        cloud_hold(cloud, &api_instance_kind);
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: by-hand},\n"
                           " spec: {type: Migrate, virtualMachineName: m}}");
        cloud_settle(cloud);
        evict(cloud, "m", "drain");
        g_assert_cmpuint(evacuations(cloud), ==, 0);
        cloud_hold(cloud, NULL);
        cloud_settle(cloud);
        g_assert_cmpstr(cloud_phase(cloud, VMOP, "by-hand"), ==, "Completed");
        g_assert_cmpstr(cloud_text(cloud, POD, "m", "/spec/nodeName"), ==, "node-b");
        g_assert_cmpuint(evacuations(cloud), ==, 0);
}

static void a_machine_that_is_deleted_meanwhile_goes(void)
{
        g_autoptr(cloud) cloud = two_hosts();

        cordon(cloud, "node-a", true);
        cloud_hold(cloud, &api_instance_kind);
        evict(cloud, "m", "drain");
        cloud_delete(cloud, VM, "m");
        cloud_settle(cloud);
        cloud_hold(cloud, NULL);
        cloud_settle(cloud);
        cloud_advance(cloud, 60 * SECOND_US);
        g_assert_null(cloud_get(cloud, VM, "m"));
        g_assert_cmpuint(evacuations(cloud), ==, 0);
        g_assert_cmpuint(cloud_count(cloud, POD), ==, 0);
}

/* --- moves by themselves --- */

static size_t count_ops(struct cloud *cloud, const char *prefix)
{
        g_autoptr(GPtrArray) found = cache_lookup(cloud_cache(cloud), INDEX_OPERATION_BY_VM, "default/m");
        size_t n = 0;

        for (guint i = 0; found && i < found->len; i++)
                n += g_str_has_prefix(((const struct cache_object *)found->pdata[i])->name, prefix) ? 1 : 0;
        return n;
}

static void label(struct cloud *cloud, const char *node, const char *rack)
{
        cloud_applyf(cloud, "{apiVersion: v1, kind: Node, metadata: {name: %s, labels: {rack: %s}}}", node, rack);
        cloud_settle(cloud);
}

static void wants_rack(struct cloud *cloud, const char *rack)
{
        cloud_machine(cloud, "m", rack);
        cloud_settle(cloud);
}

static void a_changed_placement_moves_a_machine_once(void)
{
        g_autoptr(cloud) cloud = two_hosts();

        label(cloud, "node-a", "a");
        label(cloud, "node-b", "b");
        wants_rack(cloud, "  nodeSelector: {rack: a}\n");
        g_assert_cmpuint(count_ops(cloud, "nodeplacement-update-m-"), ==, 0); /* it is where it wants to be */
        label(cloud, "node-a", "c");
        cloud_advance(cloud, 120 * SECOND_US);
        g_assert_cmpuint(count_ops(cloud, "nodeplacement-update-m-"), ==, 0); /* and stays, whatever becomes of the host's labels */
        wants_rack(cloud, "  nodeSelector: {rack: b}\n");
        g_assert_cmpuint(count_ops(cloud, "nodeplacement-update-m-"), ==, 1);
        g_assert_cmpstr(cloud_text(cloud, POD, "m", "/spec/nodeName"), ==, "node-b");
        g_assert_true(cloud_has_event(cloud, "m", REASON_PLACEMENT_NOT_MATCHED));
        wants_rack(cloud, "  nodeSelector: {rack: c}\n");
        g_assert_cmpuint(count_ops(cloud, "nodeplacement-update-m-"), ==, 1); /* not before it has rested */
        cloud_advance(cloud, 61 * SECOND_US);
        g_assert_cmpstr(cloud_text(cloud, POD, "m", "/spec/nodeName"), ==, "node-a");
        cloud_expect_no_effects(cloud);
}

static void a_move_for_a_placement_is_tried_once_and_only_where_there_is_room(void)
{
        g_autoptr(cloud) cloud = two_hosts();

        label(cloud, "node-b", "b");
        cordon(cloud, "node-b", true);
        wants_rack(cloud, "  nodeSelector: {rack: b}\n");
        cloud_advance(cloud, 120 * SECOND_US);
        g_assert_cmpuint(count_ops(cloud, "nodeplacement-update-m-"), ==, 0);
        cloud_fail_moves(cloud, "no such luck");
        cordon(cloud, "node-b", false);
        cloud_advance(cloud, 61 * SECOND_US);
        g_assert_cmpuint(count_ops(cloud, "nodeplacement-update-m-"), ==, 1);
        cloud_fail_moves(cloud, NULL);
        cloud_advance(cloud, 600 * SECOND_US);
        g_assert_cmpuint(count_ops(cloud, "nodeplacement-update-m-"), ==, 1);
        g_assert_cmpstr(cloud_text(cloud, POD, "m", "/spec/nodeName"), ==, "node-a");
}

static void an_older_emulator_moves_a_machine_once_for_each_version(void)
{
        g_autoptr(cloud) cloud = two_hosts();

        cloud_status(cloud, NODE, "node-a", "{\"virtualization\": {\"qemuVersion\": \"7.2.9\"}}");
        cloud_settle(cloud);
        g_assert_cmpuint(count_ops(cloud, "firmware-update-m-"), ==, 1);
        g_assert_cmpstr(cloud_text(cloud, POD, "m", "/spec/nodeName"), ==, "node-b");
        cloud_expect_condition(cloud, VM, "m", "FirmwareUpToDate", "True FirmwareUpToDate", NULL);
        cloud_advance(cloud, 600 * SECOND_US);
        g_assert_cmpuint(count_ops(cloud, "firmware-update-m-"), ==, 1);
        cloud_fail_moves(cloud, "no such luck");
        cloud_status(cloud, NODE, "node-b", "{\"virtualization\": {\"qemuVersion\": \"7.2.10\"}}");
        cloud_advance(cloud, 600 * SECOND_US);
        g_assert_cmpuint(count_ops(cloud, "firmware-update-m-"), ==, 2);
}

/* --- the look --- */

static void nothing(struct cloud *cloud)
{
}

static void no_room(struct cloud *cloud)
{
        cordon(cloud, "node-b", true);
}

static void suspended(struct cloud *cloud)
{
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: nap},\n"
                           " spec: {type: Suspend, virtualMachineName: m}}");
}

static void off(struct cloud *cloud)
{
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: off},\n"
                           " spec: {type: Stop, virtualMachineName: m}}");
}

static void alone(struct cloud *cloud)
{
        cloud_delete(cloud, NODE, "node-b");
}

static void on_its_way(struct cloud *cloud)
{
        cloud_hold(cloud, &api_instance_kind);
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: move},\n"
                           " spec: {type: Migrate, virtualMachineName: m}}");
}

static void detaching(struct cloud *cloud)
{
        const struct cache_object *instance =
                index_one(cloud_cache(cloud), INDEX_INSTANCE_BY_MACHINE, cloud_get(cloud, VM, "m")->uid);

        cloud_status(cloud, &api_instance_kind, instance->name,
                     "{\"devices\": [{\"name\": \"m-root\", \"state\": \"Detaching\", \"target\": \"vda\"}]}");
}

static void the_look_says_what_would_come_of_it(void)
{
        static const struct {
                void (*change)(struct cloud *cloud);
                const char *way, *words;
        } cases[] = {
                {nothing, "Move", "it can be moved to node-b"},
                {no_room, "Full", "no other host can take it now: node-a is where the machine runs already; node-b is cordoned"},
                {suspended, "Stay", "it stands still; resume it first"},
                {off, "Go", "it is off"},
                {alone, "Stay", "there is no other host"},
                {on_its_way, "Wait", " of it is under way"},
                {detaching, "Stay", "disk m-root is on its way"},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(cloud) cloud = two_hosts();
                g_autoptr(arena) arena = arena_new(0);
                struct evacuation_look look;

                cases[i].change(cloud);
                cloud_settle(cloud);
                look = evacuation_look(cloud_cache(cloud), cloud_get(cloud, VM, "m"), arena);
                g_assert_cmpstr(evacuation_way_to_text(look.way), ==, cases[i].way);
                if (!strstr(look.words, cases[i].words))
                        g_error("%zu: %s", i, look.words);
        }
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
#define ADD(name, id) g_test_add_func("/evacuation/" id #name, name)
        ADD(an_evicted_machine_moves_once, "D125_D130_");
        ADD(all_of_a_host_leave_one_after_the_other, "D18_");
        ADD(what_has_not_begun_is_let_be_when_the_host_is_uncordoned, "D132_");
        ADD(a_machine_that_is_evicted_alone_does_not_mind_cordons, "");
        ADD(deleting_the_operation_withdraws_the_eviction, "");
        ADD(what_failed_is_tried_again_later_and_later, "");
        ADD(what_finds_no_room_waits_for_it_and_makes_no_operations, "");
        ADD(another_operation_of_the_machine_is_not_disturbed, "");
        ADD(a_machine_that_is_deleted_meanwhile_goes, "");
        ADD(a_changed_placement_moves_a_machine_once, "D96_D124_");
        ADD(a_move_for_a_placement_is_tried_once_and_only_where_there_is_room, "D96_");
        ADD(an_older_emulator_moves_a_machine_once_for_each_version, "D51_D129_");
        ADD(the_look_says_what_would_come_of_it, "A18_");
        return g_test_run();
}
