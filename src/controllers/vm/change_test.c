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

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/change/D81_a_change_restarts_by_itself_where_that_is_approved",
                        a_change_restarts_by_itself_where_that_is_approved);
        g_test_add_func("/change/D76_what_is_applied_at_once_restarts_nothing", what_is_applied_at_once_restarts_nothing);
        g_test_add_func("/change/a_change_that_does_not_fit_restarts_nothing", a_change_that_does_not_fit_restarts_nothing);
        g_test_add_func("/change/approval_that_comes_later_counts", approval_that_comes_later_counts);
        g_test_add_func("/change/D79_reverting_a_change_clears_it", reverting_a_change_clears_it);
        return g_test_run();
}
