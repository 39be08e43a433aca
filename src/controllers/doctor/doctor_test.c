/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/doctor/doctor.h"

#include "base/clock.h"
#include "controllers/controllers.h"
#include "controllers/object.h"
#include "generated/api_types.h"

#include <string.h>

#define NOW "2026-11-21T12:00:00Z"
#define OLD "2026-11-21T10:00:00Z" /* well before */

#define META(more) "creationTimestamp: " OLD ", generation: 1" more

#define LINKED(source)                                                                                                             \
        "{apiVersion: host.gabbro.dev/v1, kind: Volume, metadata: {name: v-d2-0, uid: v2, finalizers: "                            \
        "[host.gabbro.dev/agent], " META("") "}, spec: {nodeName: node-a, owner: {kind: VirtualDisk, namespace: default, name: "   \
                                             "root, uid: d1}, volumeName: "                                                        \
                                             "l.qcow2, copy: {volume: " source                                                     \
                                             ", mode: Linked, consistency: Auto}}, status: {state: Ready}}"

/* One machine "web" that runs on node-a, and all that belongs to it. */
static const char healthy[] = "{apiVersion: v1, kind: Node, metadata: {name: node-a, uid: n1, " META(
        "") "}}\n---\n"
            "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: node-a, namespace: kube-node-lease, uid: l1, " META(
                    "") "},"
                        " spec: {renewTime: " NOW "}}\n---\n"
                        "{apiVersion: gabbro.dev/v1, kind: VirtualMachine, metadata: {name: web, namespace: default, uid: "
                        "m1, " META(
                                "") "},"
                                    " status: {phase: Running}}\n---\n"
                                    "{apiVersion: gabbro.dev/v1, kind: VirtualDisk, metadata: {name: root, namespace: default, "
                                    "uid: d1, " META(
                                            "") "},"
                                                " status: {phase: Ready}}\n---\n"
                                                "{apiVersion: gabbro.dev/v1, kind: VirtualMachineIPAddress, metadata: {name: ip, "
                                                "namespace: default, uid: a1, " META(
                                                        "") "}}\n---\n"
                                                            "{apiVersion: gabbro.dev/v1, kind: VirtualMachineIPAddressLease, "
                                                            "metadata: {name: ip-10-66-0-9, uid: b1, " META(
                                                                    "") "},"
                                                                        " spec: {virtualMachineIPAddressRef: {namespace: default, "
                                                                        "name: ip}}, status: {phase: Bound}}\n---\n"
                                                                        "{apiVersion: host.gabbro.dev/v1, kind: Instance, "
                                                                        "metadata: {name: i-m1-0, uid: i1, finalizers: "
                                                                        "[host.gabbro.dev/agent], " META(
                                                                                "") "},"
                                                                                    " spec: {nodeName: node-a, epoch: 1, power: "
                                                                                    "\"On\", machine: {uid: m1, namespace: "
                                                                                    "default, name: web},"
                                                                                    " disks: [{name: root, volume: v-d1-0, kind: "
                                                                                    "Disk}], ports: [p-m1-0]}, status: {state: "
                                                                                    "running, epoch: 1}}\n---\n"
                                                                                    "{apiVersion: host.gabbro.dev/v1, kind: "
                                                                                    "Volume, metadata: {name: v-d1-0, uid: v1, "
                                                                                    "finalizers: [host.gabbro.dev/agent], " META(
                                                                                            "") "},"
                                                                                                " spec: {nodeName: node-a, owner: "
                                                                                                "{kind: VirtualDisk, namespace: "
                                                                                                "default, name: root, uid: d1}, "
                                                                                                "volumeName: root.qcow2},"
                                                                                                " status: {state: Ready}}\n---\n"
                                                                                                "{apiVersion: host.gabbro.dev/v1, "
                                                                                                "kind: Port, metadata: {name: "
                                                                                                "p-m1-0, uid: p1, finalizers: "
                                                                                                "[host.gabbro.dev/agent], " META(
                                                                                                        "") "},"
                                                                                                            " spec: {nodeName: "
                                                                                                            "node-a, machine: "
                                                                                                            "{uid: m1, namespace: "
                                                                                                            "default, name: web}, "
                                                                                                            "network: {name: "
                                                                                                            "default},"
                                                                                                            " mac: "
                                                                                                            "\"52:54:00:00:00:01\","
                                                                                                            " addresses: "
                                                                                                            "[10.66.0.9], tapName: "
                                                                                                            "gbt1, policy: "
                                                                                                            "{digest: aa}},"
                                                                                                            " status: {state: "
                                                                                                            "Ready, policyDigest: "
                                                                                                            "aa, "
                                                                                                            "observedGeneration: "
                                                                                                            "1}}\n---\n"
                                                                                                            "{apiVersion: "
                                                                                                            "gabbro.dev/v1, kind: "
                                                                                                            "VirtualMachineOperatio"
                                                                                                            "n, metadata: {name: "
                                                                                                            "done, namespace: "
                                                                                                            "default, uid: "
                                                                                                            "o1, " META(
                                                                                                                    "") "},"
                                                                                                                        " spec: "
                                                                                                                        "{type: "
                                                                                                                        "Start, "
                                                                                                                        "virtualMac"
                                                                                                                        "hineName: "
                                                                                                                        "web}, "
                                                                                                                        "status: "
                                                                                                                        "{phase: "
                                                                                                                        "Completed}"
                                                                                                                        "}\n";

#define INSTANCE(name, uid, machine, power, state, more)                                                                           \
        "{apiVersion: host.gabbro.dev/v1, kind: Instance, metadata: {name: " name ", uid: " uid                                    \
        ", " META(more) "},"                                                                                                       \
                        " spec: {nodeName: node-a, epoch: 1, power: \"" power "\", machine: {uid: " machine                        \
                        ", namespace: default, name: web},"                                                                        \
                        " disks: [{name: root, volume: v-d1-0, kind: Disk}]}, status: {state: \"" state "\"}}\n"
#define MACHINE(name, uid, phase)                                                                                                  \
        "{apiVersion: gabbro.dev/v1, kind: VirtualMachine, metadata: {name: " name ", namespace: default, uid: " uid               \
        ", " META("") "}, status: {phase: " phase "}}\n"
#define PORT(name, uid, mac, address, tap, policy, state, more)                                                                    \
        "{apiVersion: host.gabbro.dev/v1, kind: Port, metadata: {name: " name ", uid: " uid                                        \
        ", " META(more) "},"                                                                                                       \
                        " spec: {nodeName: node-a, machine: {uid: m1, namespace: default, name: web}, network: {name: default}, "  \
                        "mac: \"" mac "\","                                                                                        \
                        " addresses: [" address "], tapName: " tap policy "}, status: {" state "}}\n"
#define READY "state: Ready, policyDigest: aa, observedGeneration: 1"

static const struct doctor_case {
        const char *name;
        const char *yaml;   /* over the healthy cloud */
        const char *gone;   /* "Kind/name" that is taken out, or NULL */
        const char *expect; /* "Code subject fix, ..." or "" */
} cases[] = {
        {"nothing is wrong", "", NULL, ""},

        /* I1 */
        {"two Instances that shall run", INSTANCE("i-m1-1", "i2", "m1", "On", "", ""), NULL, "TwoInstances instances/i-m1-0 -"},
        {"two Instances that say running", INSTANCE("i-m1-1", "i2", "m1", "Off", "running", ""), NULL,
         "TwoInstances instances/i-m1-0 -"},
        {"an old Instance that has ended", INSTANCE("i-m1-1", "i2", "m1", "Off", "shutoff", ""), NULL, ""},
        {"an old Instance that goes, and still runs", INSTANCE("i-m1-1", "i2", "m1", "Off", "running", ", deletionTimestamp: " NOW),
         NULL, "TwoInstances instances/i-m1-0 -"},
        {"a migration has two", MACHINE("web", "m1", "Migrating") "---\n" INSTANCE("i-m1-1", "i2", "m1", "On", "creating", ""),
         NULL, ""},

        /* I2 */
        {"a disk that two machines write",
         MACHINE("other", "m2", "Starting") "---\n" INSTANCE("i-m2-0", "i2", "m2", "On", "creating", ""), NULL,
         "DiskInTwoMachines volumes/v-d1-0 -"},
        {"the other machine is off", MACHINE("other", "m2", "Stopped") "---\n" INSTANCE("i-m2-0", "i2", "m2", "Off", "shutoff", ""),
         NULL, ""},

        /* Linked disks */
        {"a linked disk with what it reads from", LINKED("v-d1-0"), NULL, ""},
        {"a linked disk whose source is gone", LINKED("v-none"), NULL, "LinkBroken volumes/v-d2-0 -"},

        /* I3 */
        {"a MAC address twice", PORT("p-m1-1", "p2", "52:54:00:00:00:01", "10.66.0.8", "gbt2", ", policy: {digest: aa}", READY, ""),
         NULL, "AddressTwice ports/p-m1-1 -"},
        {"an IP address twice", PORT("p-m1-1", "p2", "52:54:00:00:00:02", "10.66.0.9", "gbt2", ", policy: {digest: aa}", READY, ""),
         NULL, "AddressTwice ports/p-m1-1 -"},
        {"a tap name twice", PORT("p-m1-1", "p2", "52:54:00:00:00:02", "10.66.0.8", "gbt1", ", policy: {digest: aa}", READY, ""),
         NULL, "AddressTwice ports/p-m1-1 -"},
        {"the other port is gone already",
         PORT("p-m1-1", "p2", "52:54:00:00:00:01", "10.66.0.9", "gbt1", ", policy: {digest: aa}", "state: Gone", ""), NULL, ""},

        /* I7 */
        {"a port without a policy", PORT("p-m1-1", "p2", "52:54:00:00:00:02", "10.66.0.8", "gbt2", "", "state: Ready", ""), NULL,
         "PortWithoutPolicy ports/p-m1-1 -"},
        {"another policy is in place",
         PORT("p-m1-1", "p2", "52:54:00:00:00:02", "10.66.0.8", "gbt2", ", policy: {digest: bb}", READY, ""), NULL,
         "PortWithoutPolicy ports/p-m1-1 -"},
        {"another policy is on its way",
         PORT("p-m1-1", "p2", "52:54:00:00:00:02", "10.66.0.8", "gbt2", ", policy: {digest: bb}",
              "state: Ready, policyDigest: aa, observedGeneration: 0", ""),
         NULL, ""},

        /* I8 */
        {"the machine of intents is gone", "", "VirtualMachine/web",
         "OwnerGone instances/i-m1-0 delete, OwnerGone ports/p-m1-0 delete"},
        {"the bytes of a disk that is gone are for a person", "", "VirtualDisk/root", "OwnerGone volumes/v-d1-0 -"},
        {"nobody takes the finalizer away",
         "{apiVersion: host.gabbro.dev/v1, kind: Volume, metadata: {name: v-d9-0, uid: v9, deletionTimestamp: " NOW
         ", finalizers: [host.gabbro.dev/agent], " META(
                 "") "}, spec: {nodeName: node-a, owner: {kind: VirtualDisk, name: x, uid: d9}},"
                     " status: {state: Gone}}\n",
         NULL, "FinalizerUnattended volumes/v-d9-0 finalizer"},
        {"a task of the doctor has no owner to lose",
         "{apiVersion: host.gabbro.dev/v1, kind: HostTask, metadata: {name: t-1-0, uid: t1, " META(
                 "") "},"
                     " spec: {nodeName: node-a, type: Inspect, owner: {kind: Doctor, name: r}}}\n",
         NULL, ""},
        {"intents of a node that is gone", "", "Node/node-a",
         "FinalizerUnattended instances/i-m1-0 -, FinalizerUnattended ports/p-m1-0 -, FinalizerUnattended volumes/v-d1-0 -,"
         " LeaseUnbound leases/kube-node-lease/node-a delete"},
        {"a deletion that takes two hours",
         "{apiVersion: gabbro.dev/v1, kind: VirtualDisk, metadata: {name: slow, namespace: default, uid: d2, "
         "deletionTimestamp: " OLD ", finalizers: [gabbro.dev/vd-cleanup], " META("") "}}\n",
         NULL, "StuckDeleting virtualdisks/default/slow -"},
        {"a deletion that has just begun",
         "{apiVersion: gabbro.dev/v1, kind: VirtualDisk, metadata: {name: slow, namespace: default, uid: d2, "
         "deletionTimestamp: " NOW ", finalizers: [gabbro.dev/vd-cleanup], " META("") "}}\n",
         NULL, ""},

        /* Disagreement, I6 */
        {"Running, and nothing runs", MACHINE("ghost", "m2", "Running"), NULL, "PhaseDisagrees virtualmachines/default/ghost -"},
        {"Stopped, and it runs", MACHINE("web", "m1", "Stopped"), NULL, "PhaseDisagrees virtualmachines/default/web -"},
        {"Starting may have nothing yet", MACHINE("new", "m2", "Starting"), NULL, ""},
        {"an operation that does not move",
         "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: stop, namespace: default, uid: o2, " META(
                 "") "},"
                     " spec: {type: Stop, virtualMachineName: web}, status: {phase: InProgress, conditions: [{type: Completed, "
                     "status: \"False\","
                     " lastTransitionTime: " OLD "}]}}\n",
         NULL, "OperationStalled virtualmachineoperations/default/stop -"},
        {"an operation that told of itself just now",
         "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: stop, namespace: default, uid: o2, " META(
                 "") "},"
                     " spec: {type: Stop, virtualMachineName: web}, status: {phase: InProgress, conditions: [{type: Completed, "
                     "status: \"False\","
                     " lastTransitionTime: " NOW "}]}}\n",
         NULL, ""},

        /* Leases */
        {"the holder of a lease is gone", "", "VirtualMachineIPAddress/ip",
         "LeaseUnbound virtualmachineipaddressleases/ip-10-66-0-9 delete"},
        {"a lease that was released long ago",
         "{apiVersion: gabbro.dev/v1, kind: VirtualMachineIPAddressLease, metadata: {name: ip-10-66-0-9, uid: b1, " META(
                 "") "},"
                     " status: {phase: Released, releasedAt: " OLD "}}\n",
         NULL, "LeaseUnbound virtualmachineipaddressleases/ip-10-66-0-9 delete"},
        {"a lease that was released just now",
         "{apiVersion: gabbro.dev/v1, kind: VirtualMachineIPAddressLease, metadata: {name: ip-10-66-0-9, uid: b1, " META(
                 "") "},"
                     " status: {phase: Released, releasedAt: " NOW "}}\n",
         NULL, ""},
};

static uint64_t now_us(void)
{
        uint64_t now;

        g_assert_cmpint(clock_parse_rfc3339(NOW, &now), ==, 0);
        return now;
}

static const struct schema_kind *kind_named(const char *name)
{
        for (const struct schema_kind *const *kind = controllers_kinds; *kind; kind++)
                if (strcmp((*kind)->kind, name) == 0)
                        return *kind;
        g_assert_not_reached();
}

static int take(struct json_doc *doc, void *userdata)
{
        cache_apply_doc(userdata, kind_named(json_find_string(json_root(doc), "kind", NULL)), doc);
        return 0;
}

static struct cache *cache_of(const char *yaml)
{
        struct cache *cache = cache_new(controllers_kinds);

        controllers_define_indexes(cache);
        g_assert_cmpint(json_parse_yaml_stream(healthy, strlen(healthy), take, cache, NULL), ==, 0);
        if (*yaml)
                g_assert_cmpint(json_parse_yaml_stream(yaml, strlen(yaml), take, cache, NULL), ==, 0);
        cache_set_synced(cache);
        return cache;
}

static void take_out(struct cache *cache, const char *gone)
{
        g_auto(GStrv) parts = g_strsplit(gone, "/", 2);
        const struct schema_kind *kind = kind_named(parts[0]);

        cache_remove(cache, kind, kind->namespaced ? "default" : NULL, parts[1]);
}

static int compare_text(const void *a, const void *b)
{
        return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static char *codes_of(const struct doctor_report *report)
{
        static const char *const actions[] = {
                [DOCTOR_FIX_NONE] = "-", [DOCTOR_FIX_DELETE] = "delete", [DOCTOR_FIX_FINALIZER] = "finalizer"};
        g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);

        for (guint i = 0; i < report->findings->len; i++) {
                const struct doctor_finding *finding = report->findings->pdata[i];

                g_assert_cmpuint(finding->n_evidence, >, 0);
                g_assert_true((finding->fix != NULL) == (finding->action != DOCTOR_FIX_NONE));
                g_assert_true((finding->safe != NULL) == (finding->fix != NULL));
                g_ptr_array_add(lines, g_strdup_printf("%s %s %s", finding->code, finding->subject, actions[finding->action]));
        }
        if (lines->len > 0)
                qsort(lines->pdata, lines->len, sizeof(*lines->pdata), compare_text);
        g_ptr_array_add(lines, NULL);
        return g_strjoinv(", ", (char **)lines->pdata);
}

static void each_case_has_exactly_its_findings(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(cache) cache = cache_of(cases[i].yaml);
                g_autoptr(doctor_report) report = NULL;
                g_autofree char *codes = NULL;

                g_test_message("%s", cases[i].name);
                if (cases[i].gone)
                        take_out(cache, cases[i].gone);
                report = doctor_look(cache, now_us());
                codes = codes_of(report);
                g_assert_cmpstr(codes, ==, cases[i].expect);
        }
}

static void what_is_young_is_being_worked_on(void)
{
        static const char young[] =
                "{apiVersion: host.gabbro.dev/v1, kind: Volume, metadata: {name: v-d9-0, uid: v9,"
                " creationTimestamp: " NOW "}, spec: {nodeName: node-a, owner: {kind: VirtualDisk, name: x, uid: d9}}}\n";
        g_autoptr(cache) cache = cache_of(young);
        g_autoptr(doctor_report) now = doctor_look(cache, now_us()), later = doctor_look(cache, now_us() + 11000000);

        g_assert_cmpuint(now->findings->len, ==, 0);
        g_assert_nonnull(doctor_find(later, "OwnerGone", "volumes/v-d9-0"));
        g_assert_null(doctor_find(later, "OwnerGone", "volumes/v-d1-0"));
}

static void a_silent_node_is_told_since_when(void)
{
        g_autoptr(cache) cache = cache_of("");
        g_autoptr(arena) arena = arena_new(0);
        const struct cache_object *node = cache_get(cache, &api_node_kind, NULL, "node-a");

        g_assert_null(doctor_node_silent(cache, node, now_us() + 39000000, arena));
        g_assert_cmpstr(doctor_node_silent(cache, node, now_us() + 41000000, arena), ==,
                        "node node-a: its agent has not answered since " NOW);
        cache_remove(cache, &api_lease_kind, "kube-node-lease", "node-a");
        g_assert_cmpstr(doctor_node_silent(cache, node, now_us(), arena), ==, "node node-a: its agent has never renewed a lease");
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/doctor/each_case_has_exactly_its_findings", each_case_has_exactly_its_findings);
        g_test_add_func("/doctor/what_is_young_is_being_worked_on", what_is_young_is_being_worked_on);
        g_test_add_func("/doctor/a_silent_node_is_told_since_when", a_silent_node_is_told_since_when);
        return g_test_run();
}
