/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/cloud_test.h"

#include <string.h>

/* The same orders end in the same state, whatever order events arrive in, however often, and whichever are lost. */

static void order(struct cloud *cloud, const char *machine, const char *type)
{
        cloud_applyf(cloud,
                     "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: %s-%s},\n"
                     " spec: {type: %s, virtualMachineName: %s}}",
                     machine, type[0] == 'R' ? "restart" : "stop", type, machine);
}

static void attach(struct cloud *cloud, const char *name, const char *machine, const char *disk)
{
        cloud_applyf(cloud,
                     "{apiVersion: gabbro.dev/v1, kind: VirtualDisk, metadata: {name: %s},\n"
                     " spec: {persistentVolumeClaim: {size: 64Mi}}}\n---\n"
                     "{apiVersion: gabbro.dev/v1, kind: VirtualMachineBlockDeviceAttachment, metadata: {name: %s},\n"
                     " spec: {virtualMachineName: %s, blockDeviceRef: {kind: VirtualDisk, name: %s}}}",
                     disk, name, machine, disk);
}

static uint64_t conflicts; /* turns that were overtaken, of all stories */

static char *story(const struct cloud_options *options)
{
        g_autoptr(cloud) cloud = cloud_new(options);
        struct control_stats stats;

        cloud_add_node(cloud, "node-b", 1, 2); /* has room for nobody here */
        cloud_machine(cloud, "one", NULL);
        cloud_machine(cloud, "two", "  runPolicy: AlwaysOn\n");
        cloud_machine(cloud, "three", "  provisioning: {type: UserDataRef, userDataRef: {kind: Secret, name: init}}\n");
        cloud_machine(cloud, "four", "  nodeSelector: {rack: b}\n");
        cloud_settle(cloud);
        cloud_apply(cloud, "{apiVersion: v1, kind: Secret, metadata: {name: init}, data: {userData: YQ==},\n"
                           " type: provisioning.virtualization.deckhouse.io/cloud-init}");
        cloud_settle(cloud);
        attach(cloud, "two-more", "two", "spare");
        attach(cloud, "three-more", "three", "spare2");
        cloud_settle(cloud);
        order(cloud, "one", "Stop");
        order(cloud, "two", "Restart");
        cloud_settle(cloud);
        cloud_guest(cloud, "three", "shutoff", "GuestShutdown");
        cloud_guest(cloud, "two", "crashed", "Crashed");
        cloud_advance(cloud, 30 * SECOND_US);
        cloud_delete(cloud, VM, "one");
        cloud_delete(cloud, VMBDA, "three-more");
        cloud_advance(cloud, 60 * SECOND_US);
        control_stats(cloud_control(cloud), NULL, &stats);
        conflicts += stats.conflicts;
        g_assert_cmpuint(stats.failures, ==, 0);
        return cloud_digest(cloud);
}

static void any_order_loss_and_doubling_of_events_ends_in_the_same_state(void)
{
        struct cloud_options options = {.seed = 1};
        g_autofree char *calm = story(&options);

        g_assert_nonnull(strstr(calm, "VirtualMachine two Running"));
        g_assert_nonnull(strstr(calm, "VirtualMachine three Stopped"));
        g_assert_nonnull(strstr(calm, "VirtualMachine four Pending"));
        g_assert_null(strstr(calm, "VirtualMachine one "));
        g_assert_nonnull(strstr(calm, "VirtualMachineBlockDeviceAttachment two-more Attached"));
        g_assert_null(strstr(calm, "three-more"));
        conflicts = 0;
        for (uint64_t seed = 1; seed <= (g_test_thorough() ? 300 : 12); seed++) {
                struct cloud_options wild = {.seed = seed, .chaos = true};
                g_autofree char *state = story(&wild);

                if (strcmp(state, calm) != 0)
                        g_error("seed %d ends in\n%s\ninstead of\n%s", (int)seed, state, calm);
        }
        g_assert_cmpuint(conflicts, >, 0); /* else nothing was stirred */
}

static void the_same_seed_gives_the_same_story(void)
{
        struct cloud_options options = {.seed = 42, .chaos = true};
        g_autofree char *first = story(&options), *second = story(&options);

        g_assert_cmpstr(first, ==, second);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/chaos/A4_any_order_loss_and_doubling_of_events_ends_in_the_same_state",
                        any_order_loss_and_doubling_of_events_ends_in_the_same_state);
        g_test_add_func("/chaos/the_same_seed_gives_the_same_story", the_same_seed_gives_the_same_story);
        return g_test_run();
}
