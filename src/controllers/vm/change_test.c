/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/cloud_test.h"

#include <string.h>

/* Machine "web" as cloud_machine() makes it, with another size and further lines of its specification. */
static void web(struct cloud *cloud, unsigned cores, const char *memory, const char *more)
{
        cloud_applyf(cloud,
                     "apiVersion: gabbro.dev/v1\nkind: VirtualMachine\nmetadata: {name: web}\n"
                     "spec:\n  virtualMachineClassName: generic\n  cpu: {cores: %u}\n  memory: {size: %s}\n"
                     "  blockDeviceRefs: [{kind: VirtualDisk, name: web-root}]\n%s",
                     cores, memory, more);
        cloud_settle(cloud);
}

static struct cloud *running(const char *more)
{
        struct cloud *cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", more);
        cloud_expect_phase(cloud, VM, "web", "Running");
        return cloud;
}

#define AUTOMATIC "  disruptions: {restartApprovalMode: Automatic}\n"

/* D81: by itself, once, with an event; nothing waits afterwards. */
static void a_change_restarts_by_itself_where_that_is_approved(void)
{
        g_autoptr(cloud) cloud = running(AUTOMATIC);

        web(cloud, 2, "1Gi", AUTOMATIC);
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/epoch"), ==, "2");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/resources/cpu/cores"), ==, "2");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/restartAwaitingChanges"), ==, "");
        g_assert_true(cloud_has_event(cloud, "web", "ChangesApplied"));
        g_assert_cmpstr(cloud_instance(cloud, "web")->spec->stop_mode, ==, "Graceful");
        cloud_expect_no_effects(cloud);
        cloud_advance(cloud, 3600 * SECOND_US);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/epoch"), ==, "2");
}

static void what_is_applied_at_once_restarts_nothing(void)
{
        g_autoptr(cloud) cloud = running(AUTOMATIC);

        web(cloud, 1, "1024Mi", AUTOMATIC "  runPolicy: AlwaysOn\n  liveMigrationPolicy: AlwaysSafe\n  nodeSelector: {rack: b}\n");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/epoch"), ==, "1");
        g_assert_false(cloud_has_event(cloud, "web", "ChangesApplied"));
}

/* It goes on as it is, says why, and tells of no restart that was none. */
static void a_change_that_does_not_fit_restarts_nothing(void)
{
        g_autoptr(cloud) cloud = running(AUTOMATIC);

        web(cloud, 1, "100Gi", AUTOMATIC);
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/epoch"), ==, "1");
        g_assert_false(cloud_has_event(cloud, "web", "ChangesApplied"));
        cloud_expect_condition(cloud, VM, "web", "AwaitingRestartToApplyConfiguration", "True ChangesPendingRestart",
                               "it is not restarted now: none of 1 node fits");
        web(cloud, 1, "1Gi", AUTOMATIC);
        cloud_expect_condition(cloud, VM, "web", "AwaitingRestartToApplyConfiguration", "False NoRestartRequired", NULL);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/epoch"), ==, "1");
}

/* Approval that comes later applies what waits. */
static void approval_that_comes_later_counts(void)
{
        g_autoptr(cloud) cloud = running(NULL);

        web(cloud, 2, "1Gi", "");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/epoch"), ==, "1");
        web(cloud, 2, "1Gi", AUTOMATIC);
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/epoch"), ==, "2");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/restartAwaitingChanges"), ==, "");
}

/* D79: a change that is taken back is none. */
static void reverting_a_change_clears_it(void)
{
        g_autoptr(cloud) cloud = running(NULL);

        web(cloud, 2, "2Gi", "  bootloader: EFI\n");
        cloud_expect_condition(cloud, VM, "web", "ConfigurationApplied", "False ConfigurationNotApplied", "3 changes");
        web(cloud, 1, "2Gi", "");
        cloud_expect_condition(cloud, VM, "web", "ConfigurationApplied", "False ConfigurationNotApplied", "1 change ");
        web(cloud, 1, "1Gi", "");
        cloud_expect_condition(cloud, VM, "web", "ConfigurationApplied", "True ConfigurationApplied", NULL);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/restartAwaitingChanges"), ==, "");
        cloud_expect_no_effects(cloud);
}

/* --- live --- */

#define LIVE "  disruptions: {applyMode: Live}\n"

static void expect_size(struct cloud *cloud, const char *cores, const char *memory, const char *epoch)
{
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/resources/cpu/cores"), ==, cores);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/resources/memory/size"), ==, memory);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/epoch"), ==, epoch);
}

/* A machine that shall be changed live is started with room, others as they always were. */
static void room_to_grow_is_asked_for(void)
{
        g_autoptr(cloud) cloud = running(NULL), roomy = running(LIVE);

        g_assert_false(cloud_instance(cloud, "web")->spec->cpu->has_max_cores);
        g_assert_false(cloud_instance(cloud, "web")->spec->has_max_memory_mib);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/resources/cpu/maxCores"), ==, "");
        g_assert_cmpint(cloud_instance(roomy, "web")->spec->cpu->max_cores, ==, 16);
        g_assert_cmpint(cloud_instance(roomy, "web")->spec->max_memory_mib, ==, 8192);
        g_assert_cmpstr(cloud_text(roomy, VM, "web", "/status/resources/cpu/maxCores"), ==, "16");
        g_assert_cmpstr(cloud_text(roomy, VM, "web", "/status/resources/memory/maxSize"), ==, "8Gi");
}

/* A machine may ask for more room, or less; without applyMode Live it has none. */
static void a_machine_says_how_many_cores_it_may_get(void)
{
        static const char machine[] =
                "apiVersion: gabbro.dev/v1\nkind: VirtualMachine\nmetadata: {name: web}\n"
                "spec:\n  virtualMachineClassName: generic\n  cpu: {cores: %d, maxCores: %d}\n  memory: {size: 1Gi}\n"
                "  blockDeviceRefs: [{kind: VirtualDisk, name: web-root}]\n%s";
        g_autoptr(cloud) cloud = running(LIVE);
        const struct api_instance_spec *spec;

        cloud_status(cloud, &api_node_kind, "node-a", "{\"allocatable\": {\"cpu\": \"64\", \"memory\": \"16Gi\"}}");
        cloud_applyf(cloud, machine, 2, 64, LIVE);
        cloud_settle(cloud);
        g_assert_nonnull(strstr(cloud_text(cloud, VM, "web", "/status/restartAwaitingChanges"), "cpu.maxCores"));
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: again},\n"
                           " spec: {type: Restart, virtualMachineName: web}}");
        cloud_expect_phase(cloud, VMOP, "again", "Completed");
        spec = cloud_instance(cloud, "web")->spec;
        g_assert_cmpint(spec->cpu->max_cores, ==, 64);
        g_assert_cmpint(spec->cpu->sockets, ==, 4);
        cloud_applyf(cloud, machine, 20, 64, LIVE);
        cloud_settle(cloud);
        expect_size(cloud, "20", "1Gi", "2");
        cloud_expect_condition(cloud, VM, "web", "ConfigurationApplied", "True ConfigurationApplied", NULL);
        cloud_expect_no_effects(cloud);
}

static void more_comes_live(void)
{
        g_autoptr(cloud) cloud = running(LIVE);

        cloud_hold(cloud, &api_instance_kind);
        web(cloud, 4, "2Gi", LIVE);
        /* What it has is told, not what is wanted. */
        expect_size(cloud, "1", "1Gi", "1");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/restartAwaitingChanges"), ==, "");
        cloud_expect_condition(cloud, VM, "web", "ConfigurationApplied", "False ChangesBeingApplied", "4 cores and 2Gi");
        cloud_expect_condition(cloud, VM, "web", "AwaitingRestartToApplyConfiguration", "False NoRestartRequired", NULL);
        cloud_hold(cloud, NULL);
        cloud_settle(cloud);
        expect_size(cloud, "4", "2Gi", "1");
        cloud_expect_condition(cloud, VM, "web", "ConfigurationApplied", "True ConfigurationApplied", NULL);
        g_assert_true(cloud_has_event(cloud, "web", "ChangesApplied"));
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->cpu->max_cores, ==, 16);
        cloud_expect_no_effects(cloud);
}

/* What is taken away waits for a restart, and what it has is what it was given. */
static void less_waits_for_a_restart(void)
{
        g_autoptr(cloud) cloud = running(LIVE);

        web(cloud, 4, "2Gi", LIVE);
        web(cloud, 2, "2Gi", LIVE);
        expect_size(cloud, "4", "2Gi", "1");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/restartAwaitingChanges"), ==,
                        "[{\"operation\":\"replace\",\"path\":\"cpu.cores\",\"currentValue\":4,\"desiredValue\":2}]");
        cloud_expect_condition(cloud, VM, "web", "AwaitingRestartToApplyConfiguration", "True ChangesPendingRestart",
                               "processors are not taken from a machine that runs");
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->cpu->cores, ==, 4);
        web(cloud, 4, "256Mi", LIVE);
        cloud_expect_condition(cloud, VM, "web", "AwaitingRestartToApplyConfiguration", "True ChangesPendingRestart",
                               "keeps a quarter");
        web(cloud, 4, "1Gi", LIVE);
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: again},\n"
                           " spec: {type: Restart, virtualMachineName: web}}");
        cloud_expect_phase(cloud, VMOP, "again", "Completed");
        expect_size(cloud, "4", "1Gi", "2");
        cloud_expect_condition(cloud, VM, "web", "ConfigurationApplied", "True ConfigurationApplied", NULL);
}

/* D75: its guest is asked for it. What the guest gave stays set aside, so that nobody else is promised it, until the next start. */
static void memory_is_given_back_and_comes_again_live(void)
{
        g_autoptr(cloud) cloud = running(LIVE);
        const struct api_instance_spec *spec;

        web(cloud, 1, "2Gi", LIVE);
        web(cloud, 1, "600Mi", LIVE);
        expect_size(cloud, "1", "600Mi", "1");
        spec = cloud_instance(cloud, "web")->spec;
        g_assert_cmpint(spec->memory_mib, ==, 2048);
        g_assert_cmpint(spec->balloon_mib, ==, 600);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/resources/memory/reservedSize"), ==, "2Gi");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/resources/memory/minSize"), ==, "512Mi");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/resources/memory/maxSize"), ==, "8Gi");
        cloud_expect_condition(cloud, VM, "web", "ConfigurationApplied", "True ConfigurationApplied", NULL);
        web(cloud, 1, "1Gi", LIVE);
        expect_size(cloud, "1", "1Gi", "1");
        web(cloud, 1, "3Gi", LIVE);
        expect_size(cloud, "1", "3Gi", "1");
        spec = cloud_instance(cloud, "web")->spec;
        g_assert_cmpint(spec->memory_mib, ==, 3072);
        g_assert_false(spec->has_balloon_mib);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/resources/memory/reservedSize"), ==, "");
        cloud_expect_condition(cloud, VM, "web", "ConfigurationApplied", "True ConfigurationApplied", NULL);
        cloud_expect_no_effects(cloud);
        web(cloud, 1, "1Gi", LIVE);
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: again},\n"
                           " spec: {type: Restart, virtualMachineName: web}}");
        cloud_expect_phase(cloud, VMOP, "again", "Completed");
        expect_size(cloud, "1", "1Gi", "2");
        spec = cloud_instance(cloud, "web")->spec;
        g_assert_cmpint(spec->memory_mib, ==, 1024);
        g_assert_false(spec->has_balloon_mib);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/resources/memory/reservedSize"), ==, "");
}

/* It is told what it has and why, no restart is said to be needed, and it may still come. */
static void a_guest_that_gives_nothing_back_is_told(void)
{
        g_autoptr(cloud) cloud = running(LIVE);

        cloud_hold_disks(cloud, true);
        web(cloud, 1, "512Mi", LIVE);
        expect_size(cloud, "1", "1Gi", "1");
        cloud_expect_condition(cloud, VM, "web", "ConfigurationApplied", "False MemoryNotGivenBack", "the guest sleeps");
        cloud_expect_condition(cloud, VM, "web", "AwaitingRestartToApplyConfiguration", "False NoRestartRequired", NULL);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/restartAwaitingChanges"), ==, "");
        g_assert_true(cloud_has_event(cloud, "web", "MemoryNotGivenBack"));
        cloud_expect_no_effects(cloud);
        cloud_hold_disks(cloud, false);
        cloud_settle(cloud);
        expect_size(cloud, "1", "512Mi", "1");
        cloud_expect_condition(cloud, VM, "web", "ConfigurationApplied", "True ConfigurationApplied", NULL);
}

static void a_machine_without_room_waits(void)
{
        g_autoptr(cloud) cloud = running(NULL);

        web(cloud, 2, "1Gi", LIVE);
        expect_size(cloud, "1", "1Gi", "1");
        cloud_expect_condition(cloud, VM, "web", "AwaitingRestartToApplyConfiguration", "True ChangesPendingRestart",
                               "not started with room for more processors");
}

static void the_share_and_the_grace_period_come_live_without_room(void)
{
        static const char more[] = LIVE "  terminationGracePeriodSeconds: 5\n";
        g_autoptr(cloud) cloud = running(NULL);

        cloud_applyf(cloud,
                     "apiVersion: gabbro.dev/v1\nkind: VirtualMachine\nmetadata: {name: web}\n"
                     "spec:\n  virtualMachineClassName: generic\n  cpu: {cores: 1, coreFraction: 20%%}\n  memory: {size: 1Gi}\n"
                     "  blockDeviceRefs: [{kind: VirtualDisk, name: web-root}]\n%s",
                     more);
        cloud_settle(cloud);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/resources/cpu/coreFraction"), ==, "20%");
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->grace_period_seconds, ==, 5);
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/restartAwaitingChanges"), ==, "");
        expect_size(cloud, "1", "1Gi", "1");
        cloud_expect_no_effects(cloud);
}

/* D29: the host's room is asked before; it comes as soon as there is some. */
static void a_host_without_room_is_not_asked(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "other", NULL);
        cloud_machine(cloud, "web", LIVE);
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_status(cloud, &api_node_kind, "node-a", "{\"allocatable\": {\"cpu\": \"8\", \"memory\": \"5Gi\"}}");
        web(cloud, 2, "4Gi", LIVE);
        expect_size(cloud, "1", "1Gi", "1");
        cloud_expect_condition(cloud, VM, "web", "AwaitingRestartToApplyConfiguration", "True ChangesPendingRestart",
                               "its host node-a has ");
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->memory_mib, ==, 1024);
        cloud_status(cloud, &api_node_kind, "node-a", "{\"allocatable\": {\"cpu\": \"8\", \"memory\": \"16Gi\"}}");
        cloud_settle(cloud);
        cloud_advance(cloud, 61 * SECOND_US);
        expect_size(cloud, "2", "4Gi", "1");
        cloud_expect_no_effects(cloud);
}

/* D35-D37: a size that its class does not allow is not applied, whatever was allowed before. */
static void a_size_that_the_class_forbids_is_not_applied(void)
{
        g_autoptr(cloud) cloud = running(LIVE);

        cloud_hold(cloud, &api_instance_kind);
        cloud_applyf(cloud,
                     "apiVersion: gabbro.dev/v1\nkind: VirtualMachine\nmetadata: {name: web}\n"
                     "spec:\n  virtualMachineClassName: generic\n  cpu: {cores: 2, coreFraction: 7%%}\n  memory: {size: 1Gi}\n"
                     "  blockDeviceRefs: [{kind: VirtualDisk, name: web-root}]\n%s",
                     LIVE);
        cloud_settle(cloud);
        cloud_expect_condition(cloud, VM, "web", "SizingPolicyMatched", "False SizingPolicyNotMatched", NULL);
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->cpu->cores, ==, 1);
        cloud_expect_condition(cloud, VM, "web", "AwaitingRestartToApplyConfiguration", "True ChangesPendingRestart",
                               "not allowed by its class");
}

/* The order goes back, its room is free, it is told once and not tried again at once; something else is. */
static void what_the_host_refuses_waits_for_a_restart(void)
{
        g_autoptr(cloud) cloud = running(LIVE);

        cloud_refuse_growth(cloud, "no such device");
        web(cloud, 4, "2Gi", LIVE);
        expect_size(cloud, "1", "1Gi", "1");
        cloud_expect_condition(cloud, VM, "web", "AwaitingRestartToApplyConfiguration", "True ChangesPendingRestart",
                               "no such device");
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->cpu->cores, ==, 1);
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->memory_mib, ==, 1024);
        g_assert_true(cloud_has_event(cloud, "web", "LiveChangeFailed"));
        cloud_expect_no_effects(cloud);
        cloud_refuse_growth(cloud, NULL);
        web(cloud, 4, "2Gi", LIVE "  terminationGracePeriodSeconds: 5\n");
        expect_size(cloud, "1", "1Gi", "1");
        web(cloud, 3, "2Gi", LIVE);
        expect_size(cloud, "3", "2Gi", "1");
        cloud_expect_condition(cloud, VM, "web", "ConfigurationApplied", "True ConfigurationApplied", NULL);
        cloud_expect_no_effects(cloud);
}

/* A host may be short of something for a while: after a minute, then after two more, it is asked again. */
static void what_the_host_refused_is_ordered_again_later(void)
{
        g_autoptr(cloud) cloud = running(LIVE);

        cloud_refuse_growth(cloud, "no memory just now");
        web(cloud, 4, "2Gi", LIVE);
        cloud_advance(cloud, 61ull * 1000000);
        expect_size(cloud, "1", "1Gi", "1");
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->cpu->cores, ==, 1);
        cloud_refuse_growth(cloud, NULL);
        cloud_advance(cloud, 100ull * 1000000);
        expect_size(cloud, "1", "1Gi", "1");
        cloud_advance(cloud, 25ull * 1000000);
        expect_size(cloud, "4", "2Gi", "1");
        cloud_expect_condition(cloud, VM, "web", "ConfigurationApplied", "True ConfigurationApplied", NULL);
        cloud_expect_no_effects(cloud);
}

/* What can come live causes no restart, what cannot causes one. */
static void approval_counts_for_what_waits_only(void)
{
        static const char both[] = "  disruptions: {applyMode: Live, restartApprovalMode: Automatic}\n";
        g_autoptr(cloud) cloud = running(both);

        web(cloud, 2, "2Gi", both);
        expect_size(cloud, "2", "2Gi", "1");
        web(cloud, 1, "2Gi", both);
        cloud_expect_phase(cloud, VM, "web", "Running");
        expect_size(cloud, "1", "2Gi", "2");
        cloud_expect_no_effects(cloud);
}

/* What an agent of an older version would never do is not ordered, let alone told as done. */
static void a_host_that_tells_no_size_is_not_asked(void)
{
        g_autoptr(cloud) cloud = running(LIVE);

        cloud_hold(cloud, &api_instance_kind);
        cloud_status(cloud, &api_instance_kind, cloud_text(cloud, VM, "web", "/status/instanceName"), "{\"cores\": null}");
        web(cloud, 2, "1Gi", LIVE);
        expect_size(cloud, "1", "1Gi", "1");
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->cpu->cores, ==, 1);
        cloud_expect_condition(cloud, VM, "web", "AwaitingRestartToApplyConfiguration", "True ChangesPendingRestart",
                               "does not tell the size");
}

/* An order that is under way when the wish is taken back is not a change by others: it counts as what it has. */
static void a_wish_taken_back_while_it_is_carried_out(void)
{
        g_autoptr(cloud) cloud = running(LIVE);

        cloud_hold(cloud, &api_instance_kind);
        web(cloud, 4, "1Gi", LIVE);
        web(cloud, 1, "1Gi", LIVE);
        cloud_hold(cloud, NULL);
        cloud_settle(cloud);
        expect_size(cloud, "4", "1Gi", "1");
        g_assert_nonnull(strstr(cloud_text(cloud, VM, "web", "/status/restartAwaitingChanges"), "cpu.cores"));
        cloud_expect_no_effects(cloud);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/change/D81_a_change_restarts_by_itself_where_that_is_approved",
                        a_change_restarts_by_itself_where_that_is_approved);
        g_test_add_func("/change/D76_what_is_applied_at_once_restarts_nothing", what_is_applied_at_once_restarts_nothing);
        g_test_add_func("/change/a_change_that_does_not_fit_restarts_nothing", a_change_that_does_not_fit_restarts_nothing);
        g_test_add_func("/change/approval_that_comes_later_counts", approval_that_comes_later_counts);
        g_test_add_func("/change/D79_reverting_a_change_clears_it", reverting_a_change_clears_it);
        g_test_add_func("/change/room_to_grow_is_asked_for", room_to_grow_is_asked_for);
        g_test_add_func("/change/a_machine_says_how_many_cores_it_may_get", a_machine_says_how_many_cores_it_may_get);
        g_test_add_func("/change/more_comes_live", more_comes_live);
        g_test_add_func("/change/less_waits_for_a_restart", less_waits_for_a_restart);
        g_test_add_func("/change/D75_memory_is_given_back_and_comes_again_live", memory_is_given_back_and_comes_again_live);
        g_test_add_func("/change/a_guest_that_gives_nothing_back_is_told", a_guest_that_gives_nothing_back_is_told);
        g_test_add_func("/change/a_machine_without_room_waits", a_machine_without_room_waits);
        g_test_add_func("/change/the_share_and_the_grace_period_come_live_without_room",
                        the_share_and_the_grace_period_come_live_without_room);
        g_test_add_func("/change/D29_a_host_without_room_is_not_asked", a_host_without_room_is_not_asked);
        g_test_add_func("/change/D37_a_size_that_the_class_forbids_is_not_applied", a_size_that_the_class_forbids_is_not_applied);
        g_test_add_func("/change/what_the_host_refuses_waits_for_a_restart", what_the_host_refuses_waits_for_a_restart);
        g_test_add_func("/change/what_the_host_refused_is_ordered_again_later", what_the_host_refused_is_ordered_again_later);
        g_test_add_func("/change/approval_counts_for_what_waits_only", approval_counts_for_what_waits_only);
        g_test_add_func("/change/a_host_that_tells_no_size_is_not_asked", a_host_that_tells_no_size_is_not_asked);
        g_test_add_func("/change/a_wish_taken_back_while_it_is_carried_out", a_wish_taken_back_while_it_is_carried_out);
        return g_test_run();
}
