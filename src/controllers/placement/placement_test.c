/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/placement/placement.h"
#include "controllers/placement/processor.h"

#include "controllers/class/class.h"
#include "controllers/cloud_test.h"
#include "controllers/placement/selector.h"

#include <string.h>

/* --- choice --- */

static void the_node_with_most_room_is_taken_then_the_first_by_name(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_add_node(cloud, "node-b", 8, 32);
        cloud_machine(cloud, "one", NULL);
        cloud_settle(cloud);
        g_assert_cmpstr(cloud_text(cloud, VM, "one", "/status/nodeName"), ==, "node-a");
        cloud_machine(cloud, "two", NULL);
        cloud_settle(cloud);
        g_assert_cmpstr(cloud_text(cloud, VM, "two", "/status/nodeName"), ==, "node-b");
        cloud_add_node(cloud, "node-c", 16, 64);
        cloud_machine(cloud, "three", NULL);
        cloud_settle(cloud);
        g_assert_cmpstr(cloud_text(cloud, VM, "three", "/status/nodeName"), ==, "node-c");
}

/* D29: guaranteed shares count, not cores. */
static void the_guaranteed_share_counts(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        unsigned running = 0;

        for (unsigned i = 0; i < 12; i++) {
                g_autofree char *name = g_strdup_printf("vm-%02u", i);

                cloud_machine(cloud, name, NULL); /* one core each at 100%, the node has 8 */
        }
        cloud_settle(cloud);
        for (unsigned i = 0; i < 12; i++) {
                g_autofree char *name = g_strdup_printf("vm-%02u", i);

                if (strcmp(cloud_phase(cloud, VM, name), "Running") == 0)
                        running++;
                else
                        cloud_expect_condition(cloud, VM, name, "Running", "False NoSuitableNode",
                                               "node-a has 0 cores free, 1 are guaranteed to the machine");
        }
        g_assert_cmpuint(running, ==, 8);
        cloud_applyf(cloud,
                     "apiVersion: gabbro.dev/v1\nkind: VirtualMachine\nmetadata: {name: free}\n"
                     "spec: {virtualMachineClassName: any, cpu: {cores: 4, coreFraction: 5%%}, memory: {size: 1Gi},\n"
                     "  blockDeviceRefs: [{kind: ClusterVirtualImage, name: tiny}]}\n---\n"
                     "{apiVersion: gabbro.dev/v1, kind: VirtualMachineClass, metadata: {name: any}, spec: {cpu: {type: Host}}}");
        cloud_expect_condition(cloud, VM, "free", "Running", "False NoSuitableNode", "200m are guaranteed");
        cloud_delete(cloud, VM, "vm-00"); /* room comes back: one of those that wait goes on by itself */
        cloud_settle(cloud);
        running = 0;
        for (unsigned i = 1; i < 12; i++) {
                g_autofree char *name = g_strdup_printf("vm-%02u", i);

                running += strcmp(cloud_phase(cloud, VM, name), "Running") == 0 ? 1 : 0;
        }
        running += strcmp(cloud_phase(cloud, VM, "free"), "Running") == 0 ? 1 : 0;
        g_assert_cmpuint(running, ==, 8);
}

static void two_at_once_do_not_get_the_same_room(void)
{
        struct cloud_options options = {.seed = 3, .bare = true};
        g_autoptr(cloud) cloud = cloud_new(&options);
        unsigned running = 0;

        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: Network, metadata: {name: default}, spec: {cidr: 10.9.0.0/24, "
                           "default: true}}\n---\n"
                           "{apiVersion: gabbro.dev/v1, kind: VirtualMachineClass, metadata: {name: generic}, spec: {cpu: {type: "
                           "Model, model: Nehalem}}}\n---\n"
                           "{apiVersion: gabbro.dev/v1, kind: StoragePool, metadata: {name: p, annotations: "
                           "{storagepool.gabbro.dev/is-default: \"true\"}},\n"
                           " spec: {path: /srv/p}}");
        cloud_image(cloud, "tiny");
        for (unsigned i = 0; i < 6; i++) {
                g_autofree char *name = g_strdup_printf("vm-%u", i);

                cloud_machine(cloud, name, NULL);
        }
        cloud_settle(cloud);
        cloud_add_node(cloud, "node-a", 2, 32); /* all of them want it at the same moment */
        cloud_settle(cloud);
        for (unsigned i = 0; i < 6; i++) {
                g_autofree char *name = g_strdup_printf("vm-%u", i);

                running += strcmp(cloud_phase(cloud, VM, name), "Running") == 0 ? 1 : 0;
        }
        g_assert_cmpuint(running, ==, 2);
}

/* --- every rule --- */

static const char *words_for(struct cloud *cloud, const char *machine)
{
        return strstr(cloud_condition(cloud, VM, machine, "Running"), ": ") + 2;
}

static void a_no_lists_every_node_with_every_reason(void)
{
        static const char *const parts[] = {
                "none of 4 nodes fits:",
                "node-a lacks the labels that the machine selects (rack=b), has 8 cores free, 20 are guaranteed to the machine",
                "node-b is not ready (the agent has stopped renewing its lease)",
                "node-c is cordoned, has the taint only=gpu:NoSchedule, which the machine does not tolerate, lacks the labels",
                "node-d",
                "emulates its processors (KVM hangs here), so a class of type HostPassthrough is not eligible there",
        };
        g_autoptr(cloud) cloud = cloud_new(NULL);
        const char *words;

        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineClass, metadata: {name: host}, spec: {cpu: {type: "
                           "HostPassthrough}}}");
        cloud_add_node(cloud, "node-b", 4, 8);
        cloud_add_node(cloud, "node-c", 4, 8);
        cloud_apply(cloud, "{apiVersion: v1, kind: Node, metadata: {name: node-c},\n"
                           " spec: {unschedulable: true, taints: [{key: only, value: gpu, effect: NoSchedule}, {key: x, effect: "
                           "PreferNoSchedule}]}}");
        cloud_add_node(cloud, "node-d", 64, 128);
        cloud_status(cloud, &api_node_kind, "node-d",
                     "{\"virtualization\": {\"type\": \"qemu\", \"typeReason\": \"KVM hangs here\"}}");
        cloud_lose_node(cloud, "node-b", true);
        cloud_advance(cloud, 60 * SECOND_US);
        cloud_image(cloud, "tiny");
        cloud_apply(cloud,
                    "apiVersion: gabbro.dev/v1\nkind: VirtualMachine\nmetadata: {name: big}\n"
                    "spec: {virtualMachineClassName: host, cpu: {cores: 20}, memory: {size: 16Gi}, nodeSelector: {rack: b},\n"
                    "  blockDeviceRefs: [{kind: ClusterVirtualImage, name: tiny}]}\n");
        cloud_expect_condition(cloud, VM, "big", "Running", "False NoSuitableNode", NULL);
        words = words_for(cloud, "big");
        for (size_t i = 0; i < G_N_ELEMENTS(parts); i++)
                if (!strstr(words, parts[i]))
                        g_error("\"%s\" is not in \"%s\"", parts[i], words);
        cloud_expect_no_effects(cloud);
}

/* D88, D89, D93, D97 */
static const struct rule_case {
        const char *rule;
        const char *node;    /* a document that changes node-a, or NULL */
        const char *machine; /* further lines of the machine */
        const char *part;    /* of the refusal; NULL: it runs */
} rule_cases[] = {
        {"NodeAffinity", NULL,
         "  affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: "
         "[{matchExpressions: [{key: zone, operator: In, values: [z1, z2]}]}]}}}\n",
         "fulfils none of the machine's required node affinity terms"},
        {"NodeAffinity holds", "{apiVersion: v1, kind: Node, metadata: {name: node-a, labels: {zone: z2}}}",
         "  affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: "
         "[{matchExpressions: [{key: zone, operator: In, values: [z1, z2]}]}]}}}\n",
         NULL},
        {"Taints tolerated",
         "{apiVersion: v1, kind: Node, metadata: {name: node-a}, spec: {taints: [{key: only, value: gpu, effect: NoExecute}]}}",
         "  tolerations: [{key: only, operator: Exists}]\n", NULL},
        {"Firmware", NULL, "  bootloader: EFIWithSecureBoot\n", "has no EFIWithSecureBoot firmware"},
        {"Memory", NULL, "  memory: {size: 32Gi}\n", "32768 MiB of memory free, 32964 MiB are needed"},
};

static void each_rule_refuses_with_its_words(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(rule_cases); i++) {
                const struct rule_case *test = &rule_cases[i];
                g_autoptr(cloud) cloud = cloud_new(NULL);
                bool memory = strstr(test->machine, "memory") != NULL;

                g_test_message("%s", test->rule);
                if (test->node)
                        cloud_apply(cloud, test->node);
                cloud_image(cloud, "tiny");
                cloud_applyf(cloud,
                             "apiVersion: gabbro.dev/v1\nkind: VirtualMachine\nmetadata: {name: web}\n"
                             "spec:\n  virtualMachineClassName: generic\n  cpu: {cores: 1}\n%s"
                             "  blockDeviceRefs: [{kind: ClusterVirtualImage, name: tiny}]\n%s",
                             memory ? "" : "  memory: {size: 1Gi}\n", test->machine);
                if (test->part)
                        cloud_expect_condition(cloud, VM, "web", "Running", "False NoSuitableNode", test->part);
                else
                        cloud_expect_phase(cloud, VM, "web", "Running");
        }
}

/* D91, D92 */
static void machines_keep_together_or_apart_as_they_ask(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        const char *term = "[{labelSelector: {matchLabels: {app: web}}, topologyKey: kubernetes.io/hostname}]";
        g_autofree char *apart = g_strdup_printf(
                "  affinity: {virtualMachineAndPodAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: %s}}\n", term);
        g_autofree char *together = g_strdup_printf(
                "  affinity: {virtualMachineAndPodAffinity: {requiredDuringSchedulingIgnoredDuringExecution: %s}}\n", term);

        cloud_add_node(cloud, "node-b", 8, 32);
        cloud_settle(cloud);
        cloud_machine(cloud, "first", together); /* nobody to be beside yet, and it is one of them */
        cloud_expect_phase(cloud, VM, "first", "Running");
        cloud_machine(cloud, "second", together);
        cloud_settle(cloud);
        g_assert_cmpstr(cloud_text(cloud, VM, "second", "/status/nodeName"), ==,
                        cloud_text(cloud, VM, "first", "/status/nodeName"));
        cloud_machine(cloud, "lone", apart);
        cloud_settle(cloud);
        g_assert_cmpstr(cloud_text(cloud, VM, "lone", "/status/nodeName"), !=, cloud_text(cloud, VM, "first", "/status/nodeName"));
        cloud_machine(cloud, "crowded", apart);
        cloud_expect_condition(cloud, VM, "crowded", "Running", "False NoSuitableNode",
                               "has machine lone in the same kubernetes.io/hostname, which the machine avoids");
}

/* A5, B1: data does not move by itself: a machine starts where its disks are. */
static void a_machine_starts_where_its_disks_lie(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", NULL);
        cloud_settle(cloud);
        cloud_delete(cloud, VM, "web");
        cloud_add_node(cloud, "node-b", 64, 256);
        cloud_settle(cloud);
        cloud_machine(cloud, "next", NULL);
        cloud_settle(cloud);
        g_assert_cmpstr(cloud_text(cloud, VM, "next", "/status/nodeName"), ==, "node-b");
        cloud_machine(cloud, "web", "  nodeSelector: {kubernetes.io/hostname: node-b}\n");
        cloud_expect_condition(cloud, VM, "web", "Running", "False NoSuitableNode",
                               "node-b does not hold the machine's data (disk web-root lies on node-a)");
        cloud_machine(cloud, "web", "  nodeSelector: {}\n");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/nodeName"), ==, "node-a");
}

/* D130, D132: a cordoned node keeps what runs and takes nothing new; a restart in place is no new machine. */
static void a_cordoned_node_takes_nothing_new(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", NULL);
        cloud_settle(cloud);
        cloud_apply(cloud, "{apiVersion: v1, kind: Node, metadata: {name: node-a}, spec: {unschedulable: true}}");
        cloud_machine(cloud, "new", NULL);
        cloud_expect_condition(cloud, VM, "new", "Running", "False NoSuitableNode", "node-a is cordoned");
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: again},\n"
                           " spec: {type: Restart, virtualMachineName: web}}");
        cloud_expect_phase(cloud, VMOP, "again", "Completed");
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_apply(cloud, "{apiVersion: v1, kind: Node, metadata: {name: node-a}, spec: {unschedulable: false}}");
        cloud_expect_phase(cloud, VM, "new", "Running");
}

static void every_rule_is_documented(void)
{
        for (size_t i = 0; placement_rules[i].name; i++)
                g_assert_cmpuint(strlen(placement_rules[i].doc), >, 10);
}

/* --- tolerations --- */

static const struct {
        struct api_toleration toleration;
        bool covers; /* only=gpu:NoSchedule */
} tolerations[] = {{{.key = "only", .operator= "Equal", .value = "gpu", .effect = "NoSchedule"}, true},
                   {{.key = "only", .value = "gpu"}, true},
                   {{.key = "only", .operator= "Exists" }, true},
                    {{.operator= "Exists" }, true}, {{.key = "only", .value = "cpu"}, false},
                     {
                             {.key = "other", .operator= "Exists" }, false},
                             {{.key = "only", .operator= "Exists", .effect = "NoExecute"}, false},
                             {{.value = "gpu"}, false},
                    };

static void tolerations_cover_taints_as_kubernetes_says(void)
{
        const struct api_taint taint = {.key = "only", .value = "gpu", .effect = "NoSchedule"};

        for (size_t i = 0; i < G_N_ELEMENTS(tolerations); i++)
                g_assert_cmpint(selector_tolerates(&tolerations[i].toleration, 1, &taint), ==, tolerations[i].covers);
}

/* --- sizing: vm-api 3.5, D33-D38 --- */

#define GIB (1ull << 30)

static struct api_core_range range_small = {.min = 1, .max = 4}, range_steps = {.min = 5, .max = 16, .step = 4, .has_step = true};
static struct api_per_core_memory per_core = {.min = "1Gi", .max = "4Gi"};
static struct api_memory_range memory_small = {.min = "1Gi", .max = "8Gi", .step = "1Gi"},
                               memory_per_core = {.per_core = &per_core};
static const char *fractions_small[] = {"5", "20%", "100%"};
static struct api_sizing_policy policies[] = {
        {.cores = &range_small, .memory = &memory_small, .core_fractions = fractions_small, .n_core_fractions = 3},
        {.cores = &range_steps, .memory = &memory_per_core},
};
static const struct api_virtual_machine_class_spec sized = {.sizing_policies = policies, .n_sizing_policies = 2};

static const struct {
        struct sizing sizing;
        const char *words; /* NULL: allowed */
} sizes[] = {
        {{1, 5, GIB}, NULL},
        {{4, 100, 8 * GIB}, NULL},
        {{2, 20, 3 * GIB}, NULL},
        {{2, 50, 2 * GIB}, "the share of 50% is not one of 5%, 20%, 100%"},
        {{1, 100, GIB / 2}, "512Mi of memory is less than 1Gi"},
        {{1, 100, 9 * GIB}, "9Gi of memory is more than 8Gi"},
        {{1, 100, GIB + GIB / 2}, "1536Mi of memory is not on the steps of 1Gi"},
        {{1, 7, 9 * GIB}, "the share of 7% is not one of 5%, 20%, 100%; 9Gi of memory is more than 8Gi"},
        {{5, 100, 5 * GIB}, NULL},
        {{9, 1, 36 * GIB}, NULL},
        {{16, 100, 16 * GIB}, NULL}, /* the end of the range is always on the grid */
        {{6, 100, 6 * GIB}, "6 cores are not on the steps of 4 from 5 to 16"},
        {{5, 100, 4 * GIB}, "4Gi of memory is less than 5Gi for these cores"},
        {{5, 100, 21 * GIB}, "21Gi of memory is more than 20Gi for these cores"},
        {{32, 100, GIB}, "32 cores are in no sizing policy, which allow 1-4, 5-16"},
};

static void sizes_are_judged_with_every_violation(void)
{
        const struct api_virtual_machine_class_spec free_class = {0};

        for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
                g_autoptr(GString) words = g_string_new(NULL);

                g_assert_cmpint(sizing_matches(&sized, &sizes[i].sizing, words), ==, sizes[i].words == NULL);
                g_assert_cmpstr(words->str, ==, sizes[i].words ? sizes[i].words : "");
                g_assert_true(sizing_matches(&free_class, &sizes[i].sizing, words));
                g_assert_true(sizing_matches(NULL, &sizes[i].sizing, words));
        }
}

/* D36, D37: a policy that changes later leaves what runs alone, and keeps it from starting again. */
static void a_changed_policy_leaves_running_machines_alone(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_apply(cloud,
                    "{apiVersion: gabbro.dev/v1, kind: VirtualMachineClass, metadata: {name: own}, spec: {cpu: {type: Host}}}");
        cloud_image(cloud, "tiny");
        cloud_apply(cloud, "apiVersion: gabbro.dev/v1\nkind: VirtualMachine\nmetadata: {name: web}\n"
                           "spec: {virtualMachineClassName: own, cpu: {cores: 3}, memory: {size: 1Gi},\n"
                           "  blockDeviceRefs: [{kind: ClusterVirtualImage, name: tiny}]}\n");
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineClass, metadata: {name: own},\n"
                           " spec: {cpu: {type: Host}, sizingPolicies: [{cores: {min: 1, max: 2}}]}}");
        cloud_expect_condition(cloud, VM, "web", "SizingPolicyMatched", "False SizingPolicyNotMatched", "3 cores");
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_guest(cloud, "web", "crashed", "Crashed");
        cloud_expect_phase(cloud, VM, "web", "Pending");
        cloud_expect_condition(cloud, VM, "web", "Running", "False SizingPolicyNotMatched", NULL);
}

/* --- classes, nodes, namespaces --- */

#define CLASS (&api_virtual_machine_class_kind)

#define NODE (&api_node_kind)

/* Decision 19 */
static void classes_tell_their_nodes(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_add_node(cloud, "node-t", 4, 8);
        cloud_status(cloud, NODE, "node-t",
                     "{\"virtualization\": {\"type\": \"qemu\", \"typeReason\": \"no KVM\", \"cpu\": {\"otherModels\":"
                     " [{\"name\": \"EPYC\", \"missing\": [\"avx\", \"avx2\"]}]}}}");
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineClass, metadata: {name: host}, spec: {cpu: {type: "
                           "HostPassthrough}}}\n---\n"
                           "{apiVersion: gabbro.dev/v1, kind: VirtualMachineClass, metadata: {name: new}, spec: {cpu: {type: "
                           "Model, model: EPYC}}}\n---\n"
                           "{apiVersion: gabbro.dev/v1, kind: VirtualMachineClass, metadata: {name: aes}, spec: {cpu: {type: "
                           "Features, features: [aes, avx]}}}\n---\n"
                           "{apiVersion: gabbro.dev/v1, kind: VirtualMachineClass, metadata: {name: common}, spec: {cpu: {type: "
                           "Discovery}}}\n");
        cloud_expect_phase(cloud, CLASS, "generic", "Ready");
        g_assert_cmpstr(cloud_text(cloud, CLASS, "generic", "/status/availableNodes"), ==, "[\"node-a\",\"node-t\"]");
        g_assert_cmpstr(cloud_text(cloud, CLASS, "generic", "/status/maxAllocatableResources/cpu"), ==, "8");
        g_assert_cmpstr(cloud_text(cloud, CLASS, "host", "/status/availableNodes"), ==, "[\"node-a\"]");
        g_assert_nonnull(
                strstr(cloud_text(cloud, CLASS, "host", "/status/unavailableNodes"),
                       "{\"name\":\"node-t\",\"message\":\"emulates its processors (no KVM), so a class of type HostPassthrough"));
        cloud_expect_condition(cloud, CLASS, "host", "Migratable", "False HostProcessorPassedThrough",
                               "cannot move while they run");
        cloud_expect_condition(cloud, CLASS, "generic", "Migratable", "True ProcessorFixed", NULL);
        cloud_expect_phase(cloud, CLASS, "new", "Pending");
        cloud_expect_condition(cloud, CLASS, "new", "Ready", "False NoSuitableNodesFound",
                               "node-a cannot give guests the processor model EPYC");
        cloud_expect_condition(cloud, CLASS, "new", "Ready", "False NoSuitableNodesFound",
                               "node-t cannot give guests the processor model EPYC: it lacks avx, avx2");
        cloud_expect_condition(cloud, CLASS, "aes", "Ready", "False NoSuitableNodesFound", "lacks the processor features avx");
        cloud_expect_phase(cloud, CLASS, "common", "Ready");
        g_assert_cmpstr(cloud_text(cloud, CLASS, "common", "/status/cpuFeatures/enabled"), ==, "[\"sse4.2\",\"aes\"]");
        cloud_expect_no_effects(cloud);
}

static void a_machine_says_which_feature_its_nodes_lack(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineClass, metadata: {name: avx}, spec: {cpu: {type: "
                           "Features, features: [aes, avx, avx2]}}}\n");
        cloud_image(cloud, "tiny");
        cloud_apply(cloud, "apiVersion: gabbro.dev/v1\nkind: VirtualMachine\nmetadata: {name: web}\n"
                           "spec: {virtualMachineClassName: avx, cpu: {cores: 1}, memory: {size: 1Gi},\n"
                           "  blockDeviceRefs: [{kind: ClusterVirtualImage, name: tiny}]}\n");
        cloud_expect_condition(cloud, VM, "web", "VirtualMachineClassReady", "False VirtualMachineClassNotReady",
                               "node-a lacks the processor features avx, avx2");
        cloud_expect_phase(cloud, VM, "web", "Pending");
        cloud_status(cloud, NODE, "node-a", "{\"virtualization\": {\"cpu\": {\"features\": [\"aes\", \"avx\", \"avx2\", \"x\"]}}}");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpstr(cloud_text(cloud, CLASS, "avx", "/status/cpuFeatures/enabled"), ==, "[\"aes\",\"avx\",\"avx2\"]");
        g_assert_cmpstr(cloud_text(cloud, CLASS, "avx", "/status/cpuFeatures/notEnabledCommon"), ==, "[\"x\"]");
}

static void what_was_discovered_stays_once_a_machine_uses_it(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_apply(cloud, "{apiVersion: v1, kind: Node, metadata: {name: node-a, labels: {rack: a}}}\n---\n"
                           "{apiVersion: gabbro.dev/v1, kind: VirtualMachineClass, metadata: {name: common}, spec: {cpu: {type: "
                           "Discovery, discovery: {nodeSelector: {matchLabels: {rack: a}}}}}}\n");
        cloud_add_node(cloud, "node-b", 8, 8); /* not selected: it only may run them */
        cloud_status(cloud, NODE, "node-b", "{\"virtualization\": {\"cpu\": {\"features\": [\"aes\", \"avx\", \"sse4.2\"]}}}");
        cloud_expect_phase(cloud, CLASS, "common", "Ready");
        g_assert_cmpstr(cloud_text(cloud, CLASS, "common", "/status/cpuFeatures/enabled"), ==, "[\"sse4.2\",\"aes\"]");
        cloud_status(cloud, NODE, "node-a", "{\"virtualization\": {\"cpu\": {\"features\": [\"aes\", \"avx\", \"sse4.2\"]}}}");
        cloud_settle(cloud); /* nobody uses it: it follows */
        g_assert_cmpstr(cloud_text(cloud, CLASS, "common", "/status/cpuFeatures/enabled"), ==, "[\"aes\",\"avx\",\"sse4.2\"]");
        cloud_image(cloud, "tiny");
        cloud_apply(cloud, "apiVersion: gabbro.dev/v1\nkind: VirtualMachine\nmetadata: {name: web}\n"
                           "spec: {virtualMachineClassName: common, cpu: {cores: 1}, memory: {size: 1Gi},\n"
                           "  blockDeviceRefs: [{kind: ClusterVirtualImage, name: tiny}]}\n");
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_status(cloud, NODE, "node-a",
                     "{\"virtualization\": {\"cpu\": {\"features\": [\"aes\", \"avx\", \"new\", \"sse4.2\"]}}}");
        cloud_status(cloud, NODE, "node-b", "{\"virtualization\": {\"cpu\": {\"features\": [\"aes\", \"new\", \"sse4.2\"]}}}");
        cloud_settle(cloud);
        g_assert_cmpstr(cloud_text(cloud, CLASS, "common", "/status/cpuFeatures/enabled"), ==, "[\"aes\",\"avx\",\"sse4.2\"]");
        g_assert_cmpstr(cloud_text(cloud, CLASS, "common", "/status/cpuFeatures/notEnabledCommon"), ==, "[\"new\"]");
        g_assert_cmpstr(cloud_text(cloud, CLASS, "common", "/status/availableNodes"), ==, "[\"node-a\"]");
        g_assert_nonnull(
                strstr(cloud_text(cloud, CLASS, "common", "/status/unavailableNodes"), "lacks the processor features avx"));
        cloud_expect_condition(cloud, CLASS, "common", "Discovered", "True DiscoverySucceeded", "fixed, for machines use them");
}

/* The record of a machine speaks for it where the class takes what the host has. */
static void a_machine_of_a_host_class_needs_what_its_first_host_had(void)
{
        static const char *const there[] = {"aes", "sse4.2"};
        struct api_class_cpu host = {.type = "Host"}, model = {.type = "Model", .model = "qemu64"};
        struct api_virtual_machine_class_spec spec = {.cpu = &host};
        struct api_virtual_machine_class class = {.spec = &spec};
        struct api_node_cpu cpu = {.features = (const char **)there, .n_features = 2};
        struct api_node_virtualization virt = {.type = "kvm", .cpu = &cpu};
        struct api_node_status status = {.virtualization = &virt};
        struct api_node node = {.status = &status};
        static const struct {
                const char *record, *words;
        } cases[] = {
                {"null", NULL},
                {"{\"cpu\":{\"requires\":[\"aes\"]},\"asked\":{\"cpu\":{\"mode\":\"Host\"}}}", NULL},
                {"{\"cpu\":{\"requires\":[\"aes\",\"avx\"]},\"asked\":{\"cpu\":{\"mode\":\"Model\"}}}", NULL},
                {"{\"cpu\":{\"requires\":[\"aes\",\"avx\",\"avx2\"]},\"asked\":{\"cpu\":{\"mode\":\"Host\"}}}",
                 "lacks the processor features avx, avx2, which the machine's processor has since its first start"},
        };
        g_autoptr(arena) arena = arena_new(0);

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(json_doc) doc = NULL;

                g_assert_cmpint(json_parse(cases[i].record, strlen(cases[i].record), &doc, NULL), ==, 0);
                g_assert_cmpstr(processor_words(&class, json_root(doc), &node, arena), ==, cases[i].words);
        }
        spec.cpu = &model; /* it was given another class: its record no longer speaks */
        g_assert_null(processor_words(&class, NULL, &node, arena));
        g_assert_null(processor_words(NULL, NULL, &node, arena));
}

static void a_class_in_use_waits_for_its_machines(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", NULL);
        cloud_settle(cloud);
        cloud_delete(cloud, CLASS, "generic");
        cloud_expect_phase(cloud, CLASS, "generic", "Terminating");
        cloud_expect_condition(cloud, VM, "web", "VirtualMachineClassReady", "False VirtualMachineClassNotReady",
                               "is being deleted");
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_delete(cloud, VM, "web");
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, CLASS, "generic"));
}

static void a_deleted_namespace_takes_its_content_with_it(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", NULL);
        cloud_apply(cloud, "{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: default}}");
        cloud_apply(cloud, "{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: default}}");
        cloud_settle(cloud);
        g_assert_cmpuint(cloud_count(cloud, &api_secret_kind), ==, 1);
        cloud_delete(cloud, &api_namespace_kind, "default");
        cloud_advance(cloud, 10 * SECOND_US);
        g_assert_null(cache_get(cloud_cache(cloud), &api_namespace_kind, NULL, "default"));
        g_assert_cmpuint(cloud_count(cloud, VM), ==, 0);
        g_assert_cmpuint(cloud_count(cloud, VD), ==, 0);
        g_assert_cmpuint(cloud_count(cloud, VMIP), ==, 0);
        g_assert_cmpuint(cloud_count(cloud, &api_instance_kind), ==, 0);
        g_assert_cmpuint(cloud_count(cloud, &api_secret_kind), ==, 0);
        g_assert_cmpuint(cloud_count(cloud, &api_config_map_kind), ==, 0);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/placement/A62_the_node_with_most_room_is_taken_then_the_first_by_name",
                        the_node_with_most_room_is_taken_then_the_first_by_name);
        g_test_add_func("/placement/D29_the_guaranteed_share_counts", the_guaranteed_share_counts);
        g_test_add_func("/placement/two_at_once_do_not_get_the_same_room", two_at_once_do_not_get_the_same_room);
        g_test_add_func("/placement/D48_a_no_lists_every_node_with_every_reason", a_no_lists_every_node_with_every_reason);
        g_test_add_func("/placement/each_rule_refuses_with_its_words", each_rule_refuses_with_its_words);
        g_test_add_func("/placement/D91_D92_machines_keep_together_or_apart_as_they_ask",
                        machines_keep_together_or_apart_as_they_ask);
        g_test_add_func("/placement/a_machine_starts_where_its_disks_lie", a_machine_starts_where_its_disks_lie);
        g_test_add_func("/placement/D130_a_cordoned_node_takes_nothing_new", a_cordoned_node_takes_nothing_new);
        g_test_add_func("/placement/every_rule_is_documented", every_rule_is_documented);
        g_test_add_func("/placement/D94_tolerations_cover_taints_as_kubernetes_says", tolerations_cover_taints_as_kubernetes_says);
        g_test_add_func("/sizing/D33_D34_sizes_are_judged_with_every_violation", sizes_are_judged_with_every_violation);
        g_test_add_func("/sizing/D36_D37_a_changed_policy_leaves_running_machines_alone",
                        a_changed_policy_leaves_running_machines_alone);
        g_test_add_func("/class/D145_classes_tell_their_nodes", classes_tell_their_nodes);
        g_test_add_func("/class/D56_a_machine_of_a_host_class_needs_what_its_first_host_had",
                        a_machine_of_a_host_class_needs_what_its_first_host_had);
        g_test_add_func("/class/D48_a_machine_says_which_feature_its_nodes_lack", a_machine_says_which_feature_its_nodes_lack);
        g_test_add_func("/class/D145_what_was_discovered_stays_once_a_machine_uses_it",
                        what_was_discovered_stays_once_a_machine_uses_it);
        g_test_add_func("/class/a_class_in_use_waits_for_its_machines", a_class_in_use_waits_for_its_machines);
        g_test_add_func("/namespace/a_deleted_namespace_takes_its_content_with_it", a_deleted_namespace_takes_its_content_with_it);
        return g_test_run();
}
