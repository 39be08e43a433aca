/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/pod/pod.h"

#include "controllers/cloud_private_test.h"

#include <string.h>

#define POD (&api_pod_kind)

static const char *pod_text(struct cloud *cloud, const char *pointer)
{
        return cloud_text(cloud, POD, "m", pointer);
}

static void order(struct cloud *cloud, const char *name, const char *type)
{
        cloud_applyf(cloud,
                     "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: %s},\n"
                     " spec: {type: %s, virtualMachineName: m}}",
                     name, type);
        cloud_settle(cloud);
}

static void a_machine_that_a_host_holds_has_a_pod(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        const struct api_object_meta *meta;

        cloud_machine(cloud, "m", NULL);
        cloud_expect_phase(cloud, VM, "m", "Running");
        g_assert_cmpuint(cloud_count(cloud, POD), ==, 1);
        g_assert_cmpstr(pod_text(cloud, "/spec/nodeName"), ==, "node-a");
        g_assert_cmpstr(pod_text(cloud, "/status/phase"), ==, "Running");
        g_assert_cmpstr(pod_text(cloud, "/status/conditions/0/status"), ==, "True");
        g_assert_cmpstr(pod_text(cloud, "/status/podIP"), ==, cloud_text(cloud, VM, "m", "/status/ipAddress"));
        g_assert_cmpstr(pod_text(cloud, "/spec/containers/0/resources/requests/memory"), ==, "1Gi");
        g_assert_cmpstr(pod_text(cloud, "/spec/containers/0/resources/limits/cpu"), ==, "1");
        g_assert_cmpstr(pod_text(cloud, "/metadata/labels/app"), ==, "web");
        meta = object_meta(cloud_get(cloud, POD, "m"));
        g_assert_cmpuint(meta->n_owner_references, ==, 1);
        g_assert_cmpstr(meta->owner_references[0].uid, ==, cloud_get(cloud, VM, "m")->uid);
        g_assert_true(meta->owner_references[0].controller);
        cloud_expect_no_effects(cloud);
}

static void a_pod_follows_its_machine(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        g_autofree char *first = NULL;

        cloud_machine(cloud, "m", NULL);
        cloud_settle(cloud);
        first = g_strdup(cloud_get(cloud, POD, "m")->uid);
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachine, metadata: {name: m, labels: {tier: db}}}");
        cloud_settle(cloud);
        g_assert_cmpstr(pod_text(cloud, "/metadata/labels/tier"), ==, "db");
        g_assert_cmpstr(pod_text(cloud, "/metadata/labels/app"), ==, "");
        order(cloud, "again", "Restart");
        g_assert_cmpstr(pod_text(cloud, "/status/containerStatuses/0/restartCount"), ==, "1");
        g_assert_cmpstr(cloud_get(cloud, POD, "m")->uid, ==, first);
        order(cloud, "off", "Stop");
        cloud_expect_phase(cloud, VM, "m", "Stopped");
        g_assert_cmpuint(cloud_count(cloud, POD), ==, 0);
        order(cloud, "on", "Start");
        g_assert_cmpstr(pod_text(cloud, "/status/phase"), ==, "Running");
        g_assert_cmpstr(pod_text(cloud, "/status/containerStatuses/0/restartCount"), ==, "0");
        g_assert_cmpstr(cloud_get(cloud, POD, "m")->uid, !=, first);
        cloud_delete(cloud, VM, "m");
        cloud_settle(cloud);
        g_assert_cmpuint(cloud_count(cloud, POD), ==, 0);
}

/* A Pod that is not its machine's: of a machine that had the name before, or on a host that it left. */
static void a_pod_of_another_is_replaced(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        g_autofree char *first = NULL;
        struct json_doc *doc;

        cloud_machine(cloud, "m", NULL);
        cloud_settle(cloud);
        first = g_strdup(cloud_get(cloud, POD, "m")->uid);
        doc = json_doc_new();
        json_set_root(doc, json_copy(doc, cache_root(cloud_get(cloud, POD, "m"))));
        json_set_string(doc, json_get(json_root(doc), "spec"), "nodeName", "node-z");
        cloud_commit(cloud, STORE_UPDATE, POD, "default", "m", doc);
        cloud_settle(cloud);
        g_assert_cmpstr(pod_text(cloud, "/spec/nodeName"), ==, "node-a");
        g_assert_cmpstr(cloud_get(cloud, POD, "m")->uid, !=, first);
        cloud_commit(cloud, STORE_DELETE, POD, "default", "m", NULL);
        cloud_settle(cloud);
        g_assert_cmpuint(cloud_count(cloud, POD), ==, 1);
}

/* D19, D78: a cordon keeps away what starts, and leaves what runs; taints the same, by key and effect. */
static void a_cordoned_host_takes_nobody_new(void)
{
        static const char *const specs[] = {"{unschedulable: true}",
                                            "{taints: [{key: a, effect: PreferNoSchedule}, {key: a, effect: NoSchedule}]}"};

        for (size_t i = 0; i < G_N_ELEMENTS(specs); i++) {
                g_autoptr(cloud) cloud = cloud_new(NULL);

                cloud_machine(cloud, "m", NULL);
                cloud_settle(cloud);
                cloud_applyf(cloud, "{apiVersion: v1, kind: Node, metadata: {name: node-a}, spec: %s}", specs[i]);
                cloud_machine(cloud, "late", NULL);
                cloud_settle(cloud);
                g_assert_cmpstr(cloud_phase(cloud, VM, "m"), ==, "Running");
                g_assert_cmpstr(cloud_phase(cloud, VM, "late"), ==, "Pending");
                g_assert_cmpuint(cloud_count(cloud, POD), ==, 1);
                cloud_apply(cloud, "{apiVersion: v1, kind: Node, metadata: {name: node-a}, spec: {unschedulable: false}}");
                cloud_settle(cloud);
                g_assert_cmpstr(cloud_phase(cloud, VM, "late"), ==, "Running");
                g_assert_cmpuint(cloud_count(cloud, POD), ==, 2);
        }
}

static void pods_are_the_same_whatever_order_events_come_in(void)
{
        for (uint64_t seed = 1; seed <= (g_test_thorough() ? 100 : 8); seed++) {
                struct cloud_options options = {.seed = seed, .chaos = true};
                g_autoptr(cloud) cloud = cloud_new(&options);

                cloud_machine(cloud, "m", NULL);
                cloud_machine(cloud, "n", NULL);
                cloud_settle(cloud);
                order(cloud, "again", "Restart");
                cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: end},\n"
                                   " spec: {type: Stop, virtualMachineName: n}}");
                cloud_settle(cloud);
                g_assert_cmpuint(cloud_count(cloud, POD), ==, 1);
                g_assert_cmpstr(pod_text(cloud, "/status/phase"), ==, "Running");
        }
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/pod/D18_a_machine_that_a_host_holds_has_a_pod", a_machine_that_a_host_holds_has_a_pod);
        g_test_add_func("/pod/a_pod_follows_its_machine", a_pod_follows_its_machine);
        g_test_add_func("/pod/a_pod_of_another_is_replaced", a_pod_of_another_is_replaced);
        g_test_add_func("/pod/D19_a_cordoned_host_takes_nobody_new", a_cordoned_host_takes_nobody_new);
        g_test_add_func("/pod/A4_pods_are_the_same_whatever_order_events_come_in", pods_are_the_same_whatever_order_events_come_in);
        return g_test_run();
}
