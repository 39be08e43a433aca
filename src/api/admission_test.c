/* SPDX-License-Identifier: Apache-2.0 */
#include "api/world_test.h"
#include "generated/api_types.h"

#include <string.h>

/* What project and class give a machine, and what they allow. Requirements D25 D27 D28 D33-D37; vm-api 2.5, 2.6, 3.4, 3.5. */

#define CLASSES    "/apis/gabbro.dev/v1/virtualmachineclasses"
#define MACHINES   "/apis/gabbro.dev/v1/namespaces/default/virtualmachines"
#define ADDRESSES  "/apis/gabbro.dev/v1/namespaces/default/virtualmachineipaddresses"
#define MARK       "\"annotations\":{\"virtualmachineclass.virtualization.deckhouse.io/is-default-class\":\"true\"}"
#define DISK       "\"blockDeviceRefs\":[{\"kind\":\"VirtualDisk\",\"name\":\"d\"}]"
#define BARE(name) "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{" DISK "}}"
#define SIZED(name, cores, fraction, memory)                                                                                       \
        "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"virtualMachineClassName\":\"sized\",\"cpu\":{\"cores\":" cores          \
        ",\"coreFraction\":\"" fraction "\"},\"memory\":{\"size\":\"" memory "\"}," DISK "}}"
#define POLICIES                                                                                                                   \
        "[{\"cores\":{\"min\":2,\"max\":8,\"step\":2},\"memory\":{\"min\":\"2Gi\",\"max\":\"16Gi\",\"step\":\"1Gi\",\"perCore\":{" \
        "\"min\":\"1Gi\",\"max\":\"2Gi\"}},\"coreFractions\":[\"20%\",50],\"defaultCoreFraction\":\"20%\"},{\"cores\":{\"min\":9," \
        "\"max\":16}}]"

/* D25, D27, vm-api 2.5: what is left out is written into the stored object, and shown by a dry run. */
static void a_class_gives_what_a_machine_leaves_out(void)
{
        struct world *world = world_new(NULL);
        const struct row rows[] = {
                {"POST", MACHINES, BARE("a"), 422, "/details/causes/0/field", "spec.virtualMachineClassName"},
                {"POST", CLASSES,
                 "{\"metadata\":{\"name\":\"std\"," MARK "},\"spec\":{\"cpu\":{\"type\":\"Host\"},\"defaults\":{\"cores\":2,"
                 "\"memory\":\"2Gi\",\"coreFraction\":\"50%\"}}}",
                 201, NULL, NULL},
                {"POST", CLASSES, "{\"metadata\":{\"name\":\"plain\"},\"spec\":{\"cpu\":{\"type\":\"Host\"}}}", 201, NULL, NULL},
                {"POST", MACHINES "?dryRun=All", BARE("a"), 201, "/spec/virtualMachineClassName", "std"},
                {"POST", MACHINES "?dryRun=All", BARE("a"), 201, "/spec/memory/size", "2Gi"},
                {"POST", MACHINES, BARE("a"), 201, "/spec/cpu/cores", "2"},
                {"GET", MACHINES "/a", NULL, 200, "/spec/cpu/coreFraction", "50%"},
                /* what is given stays; a class without defaults leaves 100% */
                {"POST", MACHINES,
                 "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"cpu\":{\"cores\":3},\"memory\":{\"size\":\"1Gi\"}," DISK "}}", 201,
                 "/spec/cpu/cores", "3"},
                {"POST", MACHINES,
                 "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"virtualMachineClassName\":\"plain\",\"cpu\":{\"cores\":3},\"memory\":{"
                 "\"size\":\"1Gi\"}," DISK "}}",
                 201, "/spec/cpu/coreFraction", ""},
                {"POST", MACHINES, "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"virtualMachineClassName\":\"plain\"," DISK "}}", 422,
                 "/details/causes/1/field", "spec.memory.size"},
                /* a class that comes later gives nothing afterwards: no edit changes a machine behind its owner's back */
                {"PATCH", CLASSES "/plain", "{\"spec\":{\"defaults\":{\"coreFraction\":\"10%\"}}}", 200, NULL, NULL},
                {"PATCH", MACHINES "/c", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}", 200, "/spec/cpu/coreFraction", ""},
                {"PATCH", MACHINES "/a", "{\"spec\":{\"cpu\":{\"coreFraction\":null}}}", 200, "/spec/cpu/coreFraction", "50%"},
        };

        world_run_rows(world, rows, G_N_ELEMENTS(rows));
        world_free(world);
}

/* The project's default goes before that of all: annotation, then label. */
static void a_project_has_a_default_class_of_its_own(void)
{
        struct world *world = world_new(NULL);
        const struct row rows[] = {
                {"POST", CLASSES,
                 "{\"metadata\":{\"name\":\"all\"," MARK
                 "},\"spec\":{\"cpu\":{\"type\":\"Host\"},\"defaults\":{\"cores\":1,\"memory\":"
                 "\"1Gi\"}}}",
                 201, NULL, NULL},
                {"POST", CLASSES,
                 "{\"metadata\":{\"name\":\"own\"},\"spec\":{\"cpu\":{\"type\":\"Host\"},\"defaults\":{\"cores\":4,\"memory\":"
                 "\"4Gi\"}}}",
                 201, NULL, NULL},
                {"POST", MACHINES, BARE("a"), 201, "/spec/virtualMachineClassName", "all"},
                {"PATCH", "/api/v1/namespaces/default", "{\"metadata\":{\"labels\":{\"gabbro.dev/default-class\":\"own\"}}}", 200,
                 NULL, NULL},
                {"POST", MACHINES, BARE("b"), 201, "/spec/cpu/cores", "4"},
                {"PATCH", "/api/v1/namespaces/default", "{\"metadata\":{\"annotations\":{\"gabbro.dev/default-class\":\"all\"}}}",
                 200, NULL, NULL},
                {"POST", MACHINES, BARE("c"), 201, "/spec/cpu/cores", "1"},
                /* vm-api 3.4: one default at most */
                {"PATCH", CLASSES "/own", "{\"metadata\":{" MARK "}}", 422, "/details/causes/0/reason", "FieldValueDuplicate"},
                {"PATCH", CLASSES "/all", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}", 200, NULL, NULL},
                {"PATCH", CLASSES "/all", "{\"spec\":{\"sizingPolicies\":[{\"cores\":{\"min\":2,\"max\":4}}]}}", 422,
                 "/details/causes/0/field", "spec.defaults"},
        };

        world_run_rows(world, rows, G_N_ELEMENTS(rows));
        world_free(world);
}

/* D28, D33, D35, vm-api 3.5: every violation at once, each at its field. */
static void a_machine_keeps_the_sizing_policies_of_its_class(void)
{
        struct world *world = world_new(NULL);
        const struct row rows[] = {
                /* the class may come later */
                {"POST", MACHINES, SIZED("early", "3", "7%", "64Mi"), 201, NULL, NULL},
                {"POST", CLASSES,
                 "{\"metadata\":{\"name\":\"sized\"},\"spec\":{\"cpu\":{\"type\":\"Host\"},\"sizingPolicies\":" POLICIES "}}", 201,
                 NULL, NULL},
                {"POST", MACHINES, SIZED("ok", "4", "20%", "4Gi"), 201, NULL, NULL},
                {"POST", MACHINES, SIZED("top", "8", "50%", "16Gi"), 201, NULL, NULL},
                {"POST", MACHINES, SIZED("free", "9", "7%", "100Mi"), 201, NULL, NULL},
                {"POST", MACHINES, SIZED("none", "1", "100%", "1Gi"), 422, "/details/causes/0/message",
                 "Invalid value: 1 cores are in no sizing policy, which allow 2-8, 9-16"},
                {"POST", MACHINES, SIZED("bad", "3", "100%", "20Gi"), 422, "/details/causes/0/field", "spec.cpu.cores"},
                {"POST", MACHINES, SIZED("bad", "3", "100%", "20Gi"), 422, "/details/causes/1/field", "spec.cpu.coreFraction"},
                {"POST", MACHINES, SIZED("bad", "3", "100%", "20Gi"), 422, "/details/causes/1/message",
                 "Invalid value: the share of 100% is not one of 20%, 50%"},
                {"POST", MACHINES, SIZED("bad", "3", "100%", "20Gi"), 422, "/details/causes/2/field", "spec.memory.size"},
                {"POST", MACHINES, SIZED("bad", "3", "100%", "20Gi"), 422, "/details/causes/3/message",
                 "Invalid value: 20Gi of memory is more than 6Gi for these cores"},
                {"POST", MACHINES, SIZED("bad", "4", "20%", "4608Mi"), 422, "/details/causes/0/message",
                 "Invalid value: 4608Mi of memory is not on the steps of 1Gi"},
                {"POST", MACHINES,
                 "{\"metadata\":{\"name\":\"given\"},\"spec\":{\"virtualMachineClassName\":\"sized\",\"cpu\":{\"cores\":2},"
                 "\"memory\":{"
                 "\"size\":\"2Gi\"}," DISK "}}",
                 201, "/spec/cpu/coreFraction", "20%"},
                {"PATCH", MACHINES "/ok?dryRun=All", "{\"spec\":{\"memory\":{\"size\":\"9Gi\"}}}", 422, NULL, NULL},
                {"PATCH", MACHINES "/ok", "{\"spec\":{\"cpu\":{\"cores\":5}}}", 422, "/details/causes/0/reason",
                 "SizingPolicyNotMatched"},
        };

        world_run_rows(world, rows, G_N_ELEMENTS(rows));
        world_free(world);
}

/* D37: a policy that changes later lets machines be, but for their configuration. */
static void a_later_policy_forbids_edits_until_they_fit(void)
{
        struct world *world = world_new(NULL);
        const struct row rows[] = {
                {"POST", CLASSES, "{\"metadata\":{\"name\":\"sized\"},\"spec\":{\"cpu\":{\"type\":\"Host\"}}}", 201, NULL, NULL},
                {"POST", MACHINES, SIZED("m", "1", "7%", "64Mi"), 201, NULL, NULL},
                {"PATCH", CLASSES "/sized", "{\"spec\":{\"sizingPolicies\":" POLICIES "}}", 200, NULL, NULL},
                {"PATCH", MACHINES "/m", "{\"metadata\":{\"labels\":{\"a\":\"b\"},\"finalizers\":[\"example.com/x\"]}}", 200, NULL,
                 NULL},
                {"PATCH", MACHINES "/m", "{\"spec\":{\"runPolicy\":\"Manual\"}}", 422, "/details/causes/0/field", "spec.cpu.cores"},
                {"PATCH", MACHINES "/m/status", "{\"status\":{\"phase\":\"Stopped\"}}", 200, NULL, NULL},
                {"PATCH", MACHINES "/m",
                 "{\"spec\":{\"cpu\":{\"cores\":2,\"coreFraction\":\"50%\"},\"memory\":{\"size\":\"2Gi\"}}}", 200, NULL, NULL},
                {"PATCH", MACHINES "/m", "{\"spec\":{\"runPolicy\":\"Manual\"}}", 200, NULL, NULL},
                {"PATCH", CLASSES "/sized", "{\"spec\":{\"sizingPolicies\":[{\"cores\":{\"min\":9,\"max\":16}}]}}", 200, NULL,
                 NULL},
                {"DELETE", MACHINES "/m", NULL, 200, NULL, NULL},
                {"PATCH", MACHINES "/m", "{\"metadata\":{\"finalizers\":null}}", 200, NULL, NULL},
        };

        world_run_rows(world, rows, G_N_ELEMENTS(rows));
        world_free(world);
}

/* vm-api 2.6: names, keys, forms of coreFraction, devices, addresses. */
static void a_machine_is_judged_by_every_rule(void)
{
        struct world *world = world_new(NULL);
        const struct row rows[] = {
                {"POST", MACHINES, SIZED("a", "17", "7%", "64Mi"), 422, "/details/causes/0/field", "spec.cpu.cores"},  /* D40 */
                {"POST", MACHINES, SIZED("a", "249", "7%", "64Mi"), 422, "/details/causes/0/field", "spec.cpu.cores"}, /* D43 */
                {"POST", MACHINES, SIZED("a", "34", "7%", "64Mi"), 422, "/details/causes/0/field", "spec.cpu.cores"},  /* D41 */
                {"POST", MACHINES, SIZED("a", "66", "7%", "64Mi"), 422, "/details/causes/0/field", "spec.cpu.cores"},  /* D42 */
                {"POST", MACHINES, SIZED("a", "72", "7%", "64Mi"), 201, NULL, NULL},                                   /* D42 */
                {"POST", MACHINES, SIZED("b", "1", "10", "64Mi"), 422, "/details/causes/0/field",
                 "spec.cpu.coreFraction"}, /* D25 */
                {"POST", MACHINES, SIZED("b", "1", "0%", "64Mi"), 422, NULL, NULL},
                {"POST", MACHINES, SIZED("b", "1", "101%", "64Mi"), 422, NULL, NULL},
                {"POST", MACHINES, SIZED("b", "1", "1.5%", "64Mi"), 422, NULL, NULL},
                {"PATCH", MACHINES "/a", "{\"spec\":{\"cpu\":{\"coreFraction\":10}}}", 422, "/details/causes/0/reason",
                 "FieldValueTypeInvalid"},
                {"PATCH", MACHINES "/a",
                 "{\"spec\":{\"blockDeviceRefs\":[{\"kind\":\"VirtualDisk\",\"name\":\"d\"},{\"kind\":\"VirtualDisk\",\"name\":"
                 "\"d\"}]}}",
                 422, "/details/causes/0/reason", "FieldValueDuplicate"},
                {"PATCH", MACHINES "/a", "{\"metadata\":{\"labels\":{\"x.virtualization.deckhouse.io/y\":\"z\"}}}", 422,
                 "/details/causes/0/field", "metadata.labels"},
                {"PATCH", MACHINES "/a", "{\"metadata\":{\"annotations\":{\"virtualization.deckhouse.io/y\":\"z\"}}}", 422,
                 "/details/causes/0/field", "metadata.annotations"},
                {"POST", "/apis/gabbro.dev/v1/namespaces/default/virtualdisks",
                 "{\"metadata\":{\"name\":\"a.b\"},\"spec\":{\"persistentVolumeClaim\":{\"size\":\"1Gi\"}}}", 422,
                 "/details/causes/0/field", "metadata.name"},
                {"POST", ADDRESSES, "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"type\":\"Auto\"}}", 201, NULL, NULL},
                {"POST", MACHINES, SIZED("c", "1", "7%", "64Mi"), 422, "/details/causes/0/field",
                 "spec.virtualMachineIPAddressName"},
        };

        world_run_rows(world, rows, G_N_ELEMENTS(rows));
        world_free(world);
}

/* What libosinfo knows of a system fills in what a new machine leaves out, and nothing later; less than it wants is said. */
static void a_system_gives_a_new_machine_its_devices(void)
{
        struct world *world = world_new(NULL);
#define SYSTEM(name, more)                                                                                                         \
        "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"virtualMachineClassName\":\"plain\",\"cpu\":{\"cores\":1},\"memory\":{" \
        "\"size\":\"2Gi\"}," more "," DISK "}}"
        const struct row rows[] = {
                {"POST", CLASSES, "{\"metadata\":{\"name\":\"plain\"},\"spec\":{\"cpu\":{\"type\":\"Host\"}}}", 201, NULL, NULL},
                {"POST", MACHINES, SYSTEM("w", "\"osId\":\"win11\""), 201, "/spec/osType", "Windows"},
                {"GET", MACHINES "/w", NULL, 200, "/spec/bootloader", "EFIWithSecureBoot"},
                {"POST", MACHINES, SYSTEM("v", "\"osId\":\"win11\",\"enableParavirtualization\":true,\"bootloader\":\"EFI\""), 201,
                 NULL, NULL},
                {"GET", MACHINES "/v", NULL, 200, "/spec/bootloader", "EFI"},
                {"POST", MACHINES, SYSTEM("x", "\"osId\":\"winxp\""), 201, "/spec/osType", "Legacy"},
                {"POST", MACHINES, SYSTEM("l", "\"osId\":\"debian12\""), 201, "/spec/osType", "Generic"},
                {"PUT", MACHINES "/w", SYSTEM("w", "\"osId\":\"win11\",\"runPolicy\":\"Manual\""), 200, "/spec/osType", "Windows"},
                {"GET", MACHINES "/w", NULL, 200, "/spec/bootloader", "EFIWithSecureBoot"},
                /* a name that comes later changes nothing */
                {"POST", MACHINES, SYSTEM("late", "\"osType\":\"Windows\""), 201, "/spec/bootloader", "BIOS"},
                {"PUT", MACHINES "/late", SYSTEM("late", "\"osType\":\"Windows\",\"osId\":\"win11\""), 200, "/spec/bootloader",
                 "BIOS"},
                {"POST", MACHINES, SYSTEM("n", "\"osId\":\"debain12\""), 422, "/details/causes/0/field", "spec.osId"},
        };
        static const struct {
                const char *path;
                bool expect;
        } virtio[] = {{MACHINES "/late", true},
                      {MACHINES "/w", false},
                      {MACHINES "/v", true},
                      {MACHINES "/x", false},
                      {MACHINES "/l", true}};

        world_run_rows(world, rows, G_N_ELEMENTS(rows));

        g_autoptr(answer) small =
                ask(world, "POST", MACHINES "?dryRun=All", SYSTEM("s", "\"osId\":\"win11\",\"bootloader\":\"BIOS\"")),
                          label = ask(world, "PATCH", MACHINES "/w", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}"),
                          fits = ask(world, "POST", MACHINES "?dryRun=All", SYSTEM("f", "\"osId\":\"debian12\""));
#undef SYSTEM

        g_assert_nonnull(strstr(small->headers, "Warning: 299 - \"spec.cpu.cores: Microsoft Windows 11 wants at least 2 cores\""));
        g_assert_nonnull(strstr(small->headers, "Warning: 299 - \"spec.memory.size: Microsoft Windows 11 wants at least 4096Mi\""));
        g_assert_nonnull(
                strstr(small->headers, "Warning: 299 - \"spec.bootloader: Microsoft Windows 11 does not start with a BIOS\""));
        for (size_t i = 0; i < G_N_ELEMENTS(virtio); i++) {
                g_autoptr(answer) machine = ask(world, "GET", virtio[i].path, NULL);

                g_assert_true(json_bool(json_find(machine->root, "spec", "enableParavirtualization", NULL), !virtio[i].expect) ==
                              virtio[i].expect);
        }
        g_assert_cmpint(small->status, ==, 201);
        g_assert_cmpint(label->status, ==, 200);
        g_assert_null(strstr(label->headers, "Warning:"));
        g_assert_null(strstr(fits->headers, "Warning:"));
        world_free(world);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/admission/defaults", a_class_gives_what_a_machine_leaves_out);
        g_test_add_func("/admission/system", a_system_gives_a_new_machine_its_devices);
        g_test_add_func("/admission/project", a_project_has_a_default_class_of_its_own);
        g_test_add_func("/admission/sizing", a_machine_keeps_the_sizing_policies_of_its_class);
        g_test_add_func("/admission/later-policy", a_later_policy_forbids_edits_until_they_fit);
        g_test_add_func("/admission/rules", a_machine_is_judged_by_every_rule);
        return g_test_run();
}
