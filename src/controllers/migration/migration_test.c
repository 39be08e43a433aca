/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/migration/migration.h"

#include "controllers/cloud_test.h"
#include "controllers/migration/migration_estimate.h"
#include "generated/reasons.h"

#include <inttypes.h>
#include <string.h>

/* A18 to A26 without hosts: what the controller makes of all that the two of them can say, in every order. */

#define INSTANCE (&api_instance_kind)

static struct cloud *two_hosts(void)
{
        static const char ready[] =
                "{\"virtualization\": {\"migrationAddress\": \"10.0.0.1\"}, \"conditions\": [{\"type\": \"MigrationReady\", "
                "\"status\": \"True\", \"reason\": \"MigrationReady\", \"message\": \"yes\"}]}";
        struct cloud *cloud = cloud_new(NULL);

        cloud_add_node(cloud, "node-b", 8, 32);
        cloud_settle(cloud);
        cloud_status(cloud, &api_node_kind, "node-a", ready);
        cloud_status(cloud, &api_node_kind, "node-b", ready);
        cloud_settle(cloud);
        return cloud;
}

static void operate(struct cloud *cloud, const char *type, const char *more)
{
        g_autofree char *name = g_ascii_strdown(type, -1);

        cloud_applyf(cloud,
                     "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: %s}, spec: {type: %s, "
                     "virtualMachineName: web%s}}",
                     name, type, more);
        cloud_settle(cloud);
}

static const struct cache_object *source(struct cloud *cloud)
{
        return index_one(cloud_cache(cloud), INDEX_INSTANCE_BY_MACHINE, cloud_get(cloud, VM, "web")->uid);
}

static const struct cache_object *target(struct cloud *cloud)
{
        return migration_target(cloud_cache(cloud), cloud_get(cloud, VM, "web"));
}

static const char *place(struct cloud *cloud)
{
        return ((const struct api_instance *)source(cloud)->view)->spec->node_name;
}

static size_t standing_by(struct cloud *cloud)
{
        g_autoptr(GPtrArray) all = cache_lookup(cloud_cache(cloud), INDEX_STANDBY_BY_MACHINE, cloud_get(cloud, VM, "web")->uid);

        return all ? all->len : 0;
}

/* --- machines that run --- */

static void say(struct cloud *cloud, const struct cache_object *instance, const char *state, const char *said)
{
        const struct api_instance_incoming *incoming = ((const struct api_instance *)instance->view)->spec->incoming;
        g_autofree char *json = g_strdup_printf(
                "{\"state\": \"%s\", \"migration\": {\"operation\": \"%s\", \"state\": \"%s\", \"look\": %" PRId64 "}}", state,
                cloud_get(cloud, VMOP, "migrate")->uid, said, incoming ? incoming->look : 0);

        cloud_status(cloud, INSTANCE, instance->name, json);
        cloud_settle(cloud);
}

/* It runs, and the target is ready: libvirt moves it. */
static struct cloud *under_way(void)
{
        struct cloud *cloud = two_hosts();

        cloud_machine(cloud, "web", "  runPolicy: AlwaysOnUnlessStoppedManually\n");
        cloud_expect_phase(cloud, VM, "web", "Running");
        operate(cloud, "Migrate", "");
        g_assert_nonnull(target(cloud));
        g_assert_null(((const struct api_instance *)source(cloud)->view)->spec->outgoing);
        say(cloud, target(cloud), "", "Ready");
        g_assert_nonnull(((const struct api_instance *)source(cloud)->view)->spec->outgoing);
        say(cloud, source(cloud), "migrating", "Running");
        cloud_expect_phase(cloud, VMOP, "migrate", "InProgress");
        cloud_expect_phase(cloud, VM, "web", "Migrating");
        return cloud;
}

enum event { NOTHING, OPERATION_DELETED, TOO_LATE, SOURCE_LOST, TARGET_LOST };

/* What the source says and the state of its domain; what the target says when it is asked; what happens. Then where the machine
 * is, and what became of the operation. */
static const struct {
        const char *here, *state, *there, *there_state;
        enum event event;
        bool moves; /* else it stays, or goes on */
        const char *phase, *verdict;
} cases[] = {
        {"Running", "migrating", "Arriving", "paused", NOTHING, false, "InProgress", NULL},
        {"Running", "migrating", "Arriving", "paused", OPERATION_DELETED, false, "InProgress", "Cancel"},
        {"Running", "migrating", "Arriving", "paused", TOO_LATE, false, "InProgress", "Cancel"},
        {"Running", "migrating", "Arriving", "paused", SOURCE_LOST, false, "InProgress", NULL},
        {"Running", "migrating", "Arriving", "paused", TARGET_LOST, false, "InProgress", NULL},
        {"Running", "migrating", "Arrived", "running", NOTHING, false, "InProgress", NULL}, /* the source counts until it says so */
        {"Left", "migrating", "Arrived", "running", NOTHING, true, "Completed", NULL},
        {"Left", "migrating", "Arrived", "running", OPERATION_DELETED, true, "", NULL},
        {"Left", "migrating", "Arrived", "running", TOO_LATE, true, "Completed", NULL},
        {"Left", "migrating", "Arriving", "paused", NOTHING, false, "InProgress", NULL},
        {"Left", "migrating", "Arriving", "paused", TARGET_LOST, false, "InProgress", NULL},
        {"Left", "migrating", "Preparing", "", NOTHING, false, "Failed", NULL},
        {"Kept", "running", "Preparing", "", NOTHING, false, "Failed", NULL},
        {"Kept", "running", "Arriving", "paused", NOTHING, false, "Failed", NULL},
        {"Kept", "running", "Preparing", "", OPERATION_DELETED, false, "", NULL},
        {"Kept", "shutoff", "Arrived", "running", NOTHING, true, "Completed", NULL},
        {"Kept", "shutoff", "Preparing", "", NOTHING, false, "Failed", NULL},
        {"Interrupted", "migrating", "Arrived", "running", NOTHING, true, "Completed", NULL},
        {"Interrupted", "migrating", "Preparing", "", NOTHING, false, "InProgress", "Resume"},
        {"Interrupted", "migrating", "Arriving", "paused", NOTHING, false, "InProgress", NULL},
        {"Interrupted", "migrating", "Arriving", "paused", TOO_LATE, false, "InProgress", "Resume"},
        {"Interrupted", "migrating", "Arriving", "paused", TARGET_LOST, false, "InProgress", NULL},
};

static void happen(struct cloud *cloud, enum event event, const char *from, const char *to)
{
        if (event == OPERATION_DELETED)
                cloud_delete(cloud, VMOP, "migrate");
        else if (event == TOO_LATE)
                cloud_advance(cloud, 3700 * SECOND_US);
        else if (event == SOURCE_LOST)
                cloud_lose_node(cloud, from, true);
        else if (event == TARGET_LOST)
                cloud_lose_node(cloud, to, true);
        if (event == SOURCE_LOST || event == TARGET_LOST)
                cloud_advance(cloud, 60 * SECOND_US);
        cloud_settle(cloud);
}

static void whatever_the_hosts_say_there_is_one_machine(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(cloud) cloud = under_way();
                g_autofree char *from = g_strdup(place(cloud));
                const char *to = strcmp(from, "node-a") == 0 ? "node-b" : "node-a";
                const struct api_instance_outgoing *outgoing;

                g_test_message("case %zu: %s (%s), %s, event %d", i, cases[i].here, cases[i].state, cases[i].there, cases[i].event);
                happen(cloud, cases[i].event, from, to);
                if (cases[i].event != TARGET_LOST)
                        say(cloud, target(cloud), cases[i].there_state, cases[i].there);
                if (cases[i].event != SOURCE_LOST)
                        say(cloud, source(cloud), cases[i].state, cases[i].here);
                for (unsigned n = 0; n < 3 && cases[i].event != TARGET_LOST && target(cloud); n++)
                        say(cloud, target(cloud), cases[i].there_state, cases[i].there); /* it answers what it was asked */
                if (cases[i].event == TOO_LATE)
                        cloud_advance(cloud, 40 * SECOND_US);
                cloud_settle(cloud);
                g_assert_cmpstr(cloud_phase(cloud, VMOP, "migrate"), ==, cases[i].phase);
                g_assert_cmpstr(place(cloud), ==, cases[i].moves ? to : from);
                outgoing = ((const struct api_instance *)source(cloud)->view)->spec->outgoing;
                g_assert_cmpstr(outgoing ? outgoing->verdict : NULL, ==, cases[i].verdict);
                if (strcmp(cases[i].phase, "InProgress") != 0) {
                        g_assert_null(outgoing);
                        g_assert_cmpuint(standing_by(cloud), ==, 0);
                        g_assert_cmpint(((const struct api_instance *)source(cloud)->view)->spec->epoch, ==,
                                        cases[i].moves || strcmp(cases[i].state, "shutoff") != 0 ? 1 : 2);
                }
        }
}

static void what_is_changed_while_it_runs_is_told_to_the_source(void)
{
        g_autoptr(cloud) cloud = under_way();
        const struct api_instance_outgoing *outgoing;

        operate(cloud, "Migrate", ", migrate: {bandwidthMibPerSecond: 50, downtimeMs: 900}");
        outgoing = ((const struct api_instance *)source(cloud)->view)->spec->outgoing;
        g_assert_cmpint(outgoing->bandwidth_mib_per_second, ==, 50);
        g_assert_cmpint(outgoing->downtime_ms, ==, 900);
        g_assert_null(outgoing->verdict);
        operate(cloud, "Migrate", ", migrate: {downtimeMs: 900}");
        outgoing = ((const struct api_instance *)source(cloud)->view)->spec->outgoing;
        g_assert_false(outgoing->has_bandwidth_mib_per_second);
}

static void what_is_to_be_expected(void)
{
        static const struct {
                struct migration_facts facts;
                bool converges;
                uint64_t least_ms, most_ms, downtime_least_ms, downtime_most_ms;
        } forecasts[] = {
#define MIB (1ull << 20)
                {{1024 * MIB, 0, 0, 100 * MIB, 300000}, true, 10240, 10500, 0, 60},
                {{1024 * MIB, 1000 * MIB, 0, 100 * MIB, 300000}, true, 20200, 20500, 0, 60},
                {{1024 * MIB, 0, 50 * MIB, 100 * MIB, 300000}, true, 19000, 21000, 100, 350}, /* half as fast as the link: twice as
                                                                                                 long */
                {{1024 * MIB, 0, 99 * MIB, 100 * MIB, 300000}, false, 200000, 400000, 300, 20000},
                {{1024 * MIB, 0, 500 * MIB, 100 * MIB, 300000}, false, 100000, 400000, 10000, 20000},
                {{1024 * MIB, 0, 500 * MIB, 100 * MIB, 20000000}, true, 10000, 30000, 10000, 20000}, /* it may stand still so long
                                                                                                      */
        };

        for (size_t i = 0; i < G_N_ELEMENTS(forecasts); i++) {
                struct migration_forecast forecast = migration_forecast(&forecasts[i].facts);

                g_test_message("case %zu: %" PRIu64 " us, %" PRIu64 " us", i, forecast.time_us, forecast.downtime_us);
                g_assert_cmpint(forecast.converges, ==, forecasts[i].converges);
                g_assert_true(forecast.time_us / 1000 >= forecasts[i].least_ms && forecast.time_us / 1000 <= forecasts[i].most_ms);
                g_assert_true(forecast.downtime_us / 1000 >= forecasts[i].downtime_least_ms &&
                              forecast.downtime_us / 1000 <= forecasts[i].downtime_most_ms);
        }
}

static void a_dry_run_tells_what_is_to_be_expected_and_leaves_nothing(void)
{
        g_autoptr(cloud) cloud = two_hosts();

        cloud_machine(cloud, "web", "  runPolicy: AlwaysOn\n");
        cloud_expect_phase(cloud, VM, "web", "Running");
        operate(cloud, "Migrate", ", migrate: {mode: DryRun, bandwidthMibPerSecond: 100}");
        cloud_expect_condition(cloud, VMOP, "migrate", "Completed", "True MigrationPossible", "it takes about 12 s");
        g_assert_cmpstr(cloud_text(cloud, VMOP, "migrate", "/status/migration/estimate/dirtyBytesPerSecond"), ==, "10485760");
        cloud_settle(cloud);
        g_assert_cmpuint(standing_by(cloud), ==, 0);
        cloud_delete(cloud, VMOP, "migrate");
        cloud_settle(cloud);
        cloud_hold(cloud, &api_host_task_kind);
        operate(cloud, "Migrate", ", migrate: {mode: DryRun}"); /* deleted while it is measured */
        g_assert_cmpuint(standing_by(cloud), ==, 1);
        cloud_delete(cloud, VMOP, "migrate");
        cloud_settle(cloud);
        cloud_hold(cloud, NULL);
        cloud_settle(cloud);
        g_assert_cmpuint(standing_by(cloud), ==, 0);
}

/* A22: what is the machine's and nobody's is put right; what is another's, or has no repair, is left alone. */
static void what_former_migrations_have_left_is_removed(void)
{
        g_autoptr(cloud) cloud = two_hosts();
        const struct cache_object *volume, *task, *mend;
        const struct api_host_task *repair;
        g_autofree char *json = NULL, *look = NULL, *name = NULL;

        cloud_machine(cloud, "web", "  runPolicy: AlwaysOn\n");
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_hold(cloud, &api_host_task_kind);
        operate(cloud, "Migrate", ", migrate: {mode: Cleanup}");
        cloud_expect_condition(cloud, VMOP, "migrate", "Completed", "False MigrationCleanup", NULL);
        g_assert_cmpuint(standing_by(cloud), ==, 2); /* every host looks */
        volume = cloud_get(cloud, &api_volume_kind, ((const struct api_instance *)source(cloud)->view)->spec->disks[0].volume);
        look = g_strdup_printf("t-%s-look-node-b", cloud_get(cloud, VMOP, "migrate")->uid);
        task = cloud_get(cloud, &api_host_task_kind, look);
        g_assert_nonnull(task);
        json = g_strdup_printf(
                "{\"state\": \"Succeeded\", \"findings\": [{\"code\": \"StrayDomain\", \"severity\": \"Critical\", \"subject\": "
                "\"domain/1\", \"machine\": \"%s\", \"fix\": \"end it\"}, {\"code\": \"StrayDomain\", \"severity\": \"Critical\", "
                "\"subject\": \"domain/2\", \"machine\": \"other\", \"fix\": \"end it\"}, {\"code\": \"StrayDomain\", "
                "\"severity\": "
                "\"Critical\", \"subject\": \"domain/3\", \"machine\": \"%s\"}, {\"code\": \"StrayVolume\", \"severity\": "
                "\"Warning\", "
                "\"subject\": \"/p/%s\", \"fix\": \"move it\"}, {\"code\": \"StrayVolume\", \"severity\": \"Warning\", "
                "\"subject\": "
                "\"/p/other\", \"fix\": \"move it\"}]}",
                cloud_get(cloud, VM, "web")->uid, cloud_get(cloud, VM, "web")->uid,
                ((const struct api_volume *)volume->view)->spec->volume_name);
        cloud_status(cloud, &api_host_task_kind, look, json);
        cloud_settle(cloud);
        name = g_strdup_printf("t-%s-mend-node-b", cloud_get(cloud, VMOP, "migrate")->uid);
        mend = cloud_get(cloud, &api_host_task_kind, name);
        g_assert_nonnull(mend);
        repair = mend->view;
        g_assert_cmpuint(repair->spec->n_findings, ==, 2);
        g_assert_cmpstr(repair->spec->findings[0].subject, ==, "domain/1");
        g_assert_cmpstr(repair->spec->findings[1].code, ==, "StrayVolume");
        cloud_status(
                cloud, &api_host_task_kind, name,
                "{\"state\": \"Succeeded\", \"repairs\": [{\"code\": \"StrayDomain\", \"subject\": \"domain/1\", \"state\": "
                "\"Done\"}, {\"code\": \"StrayVolume\", \"subject\": \"/p/x\", \"state\": \"Refused\", \"message\": \"in use\"}]}");
        cloud_hold(cloud, NULL);
        cloud_expect_phase(cloud, VMOP, "migrate", "Completed");
        cloud_expect_condition(cloud, VMOP, "migrate", "Completed", "True OperationCompleted",
                               "Removed: domain/1 on node-b; not looked at or not removed: /p/x on node-b: in use");
        g_assert_cmpuint(standing_by(cloud), ==, 0);
        cloud_expect_phase(cloud, VM, "web", "Running");
}

/* --- machines that are off --- */

static void a_machine_that_is_off_moves_with_its_disks(void)
{
        g_autoptr(cloud) cloud = two_hosts();
        g_autofree char *from = NULL;

        cloud_machine(cloud, "web", "  runPolicy: AlwaysOnUnlessStoppedManually\n");
        cloud_settle(cloud);
        operate(cloud, "Stop", "");
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        from = g_strdup(place(cloud));
        operate(cloud, "Migrate", "");
        cloud_expect_phase(cloud, VMOP, "migrate", "Completed");
        g_assert_cmpstr(place(cloud), !=, from);
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        g_assert_cmpuint(standing_by(cloud), ==, 0);
        g_assert_cmpuint(cloud_count(cloud, &api_volume_kind), <=, 2);
        cloud_advance(cloud, SECOND_US);
        operate(cloud, "Start", "");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpint(((const struct api_instance *)source(cloud)->view)->spec->epoch, ==, 2);
        cloud_expect_no_effects(cloud);
}

static void one_that_runs_is_stopped_and_started_whatever_its_policy_says(void)
{
        static const char *const policies[] = {"AlwaysOn", "AlwaysOnUnlessStoppedManually", "Manual"};

        for (size_t i = 0; i < G_N_ELEMENTS(policies); i++) {
                g_autoptr(cloud) cloud = two_hosts();
                g_autofree char *from = NULL, *policy = g_strdup_printf("  runPolicy: %s\n", policies[i]);

                cloud_machine(cloud, "web", policy);
                cloud_settle(cloud);
                if (strcmp(policies[i], "Manual") == 0)
                        operate(cloud, "Start", "");
                cloud_expect_phase(cloud, VM, "web", "Running");
                from = g_strdup(place(cloud));
                operate(cloud, "Migrate", ", migrate: {cold: true}");
                cloud_expect_phase(cloud, VMOP, "migrate", "Completed");
                cloud_expect_phase(cloud, VM, "web", "Running");
                g_assert_cmpstr(place(cloud), !=, from);
                g_assert_cmpint(((const struct api_instance *)source(cloud)->view)->spec->epoch, ==, 2);
                g_assert_cmpuint(standing_by(cloud), ==, 0);
        }
}

/* Until the checksums are known nothing is decided; when one differs the machine stays, and runs again. */
static void what_differs_is_not_taken(void)
{
        g_autoptr(cloud) cloud = two_hosts();
        g_autofree char *from = NULL, *json = NULL;
        const struct api_instance *there;

        cloud_machine(cloud, "web", "  runPolicy: AlwaysOn\n");
        cloud_settle(cloud);
        from = g_strdup(place(cloud));
        cloud_hold(cloud, &api_host_task_kind);
        operate(cloud, "Migrate", ", migrate: {cold: true}");
        cloud_expect_phase(cloud, VMOP, "migrate", "InProgress");
        cloud_expect_condition(cloud, VMOP, "migrate", "Completed", "False Copying", NULL);
        cloud_expect_condition(cloud, VM, "web", "Running", "False ColdMigration", "starts again there");
        g_assert_cmpstr(place(cloud), ==, from);
        there = target(cloud)->view;
        json = g_strdup_printf("{\"digest\": \"%064d\"}", 7);
        cloud_status(cloud, &api_volume_kind, there->spec->disks[0].volume, json);
        cloud_hold(cloud, NULL);
        cloud_expect_phase(cloud, VMOP, "migrate", "Failed");
        cloud_expect_condition(cloud, VMOP, "migrate", "Completed", "False ChecksumMismatch", "web-root");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpstr(place(cloud), ==, from);
        g_assert_cmpuint(standing_by(cloud), ==, 0);
}

static void a_cold_one_is_given_up_in_every_stage(void)
{
        static const struct {
                const struct schema_kind *held;
                const char *stage;
        } stages[] = {{&api_instance_kind, "Stopping"}, {&api_volume_kind, "Copying"}, {&api_host_task_kind, "Copying"}};

        for (size_t i = 0; i < G_N_ELEMENTS(stages); i++)
                for (unsigned deleted = 0; deleted < 2; deleted++) {
                        g_autoptr(cloud) cloud = two_hosts();
                        g_autofree char *from = NULL;

                        cloud_machine(cloud, "web", "  runPolicy: AlwaysOn\n");
                        cloud_settle(cloud);
                        from = g_strdup(place(cloud));
                        cloud_hold(cloud, stages[i].held);
                        operate(cloud, "Migrate", ", migrate: {cold: true, timeoutSeconds: 100}");
                        g_assert_cmpstr(cloud_text(cloud, VMOP, "migrate", "/status/migration/stage"), ==, stages[i].stage);
                        if (deleted)
                                cloud_delete(cloud, VMOP, "migrate");
                        else
                                cloud_advance(cloud, 101 * SECOND_US);
                        cloud_settle(cloud);
                        cloud_hold(cloud, NULL);
                        cloud_settle(cloud);
                        if (deleted)
                                g_assert_null(cloud_get(cloud, VMOP, "migrate"));
                        else
                                cloud_expect_condition(cloud, VMOP, "migrate", "Completed", "False Aborted", "within 100 seconds");
                        cloud_expect_phase(cloud, VM, "web", "Running");
                        g_assert_cmpstr(place(cloud), ==, from);
                        g_assert_cmpuint(standing_by(cloud), ==, 0);
                }
}

/* The machine goes, and nothing of it is left on either host. */
static void a_machine_is_deleted_while_its_disks_are_copied(void)
{
        g_autoptr(cloud) cloud = two_hosts();

        cloud_machine(cloud, "web", "  runPolicy: AlwaysOn\n");
        cloud_settle(cloud);
        cloud_hold(cloud, &api_volume_kind);
        operate(cloud, "Migrate", ", migrate: {cold: true}");
        cloud_delete(cloud, VM, "web");
        cloud_settle(cloud);
        cloud_hold(cloud, NULL);
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, VM, "web"));
        g_assert_cmpuint(cloud_count(cloud, INSTANCE), ==, 0);
        g_assert_cmpuint(cloud_count(cloud, &api_port_kind), ==, 0);
        g_assert_cmpuint(cloud_count(cloud, &api_volume_kind), <=, 2);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/migration/whatever_the_hosts_say_there_is_one_machine", whatever_the_hosts_say_there_is_one_machine);
        g_test_add_func("/migration/what_is_changed_while_it_runs_is_told_to_the_source",
                        what_is_changed_while_it_runs_is_told_to_the_source);
        g_test_add_func("/migration/what_is_to_be_expected", what_is_to_be_expected);
        g_test_add_func("/migration/a_dry_run_tells_what_is_to_be_expected_and_leaves_nothing",
                        a_dry_run_tells_what_is_to_be_expected_and_leaves_nothing);
        g_test_add_func("/migration/what_former_migrations_have_left_is_removed", what_former_migrations_have_left_is_removed);
        g_test_add_func("/migration/a_machine_that_is_off_moves_with_its_disks", a_machine_that_is_off_moves_with_its_disks);
        g_test_add_func("/migration/one_that_runs_is_stopped_and_started_whatever_its_policy_says",
                        one_that_runs_is_stopped_and_started_whatever_its_policy_says);
        g_test_add_func("/migration/what_differs_is_not_taken", what_differs_is_not_taken);
        g_test_add_func("/migration/a_cold_one_is_given_up_in_every_stage", a_cold_one_is_given_up_in_every_stage);
        g_test_add_func("/migration/a_machine_is_deleted_while_its_disks_are_copied",
                        a_machine_is_deleted_while_its_disks_are_copied);
        return g_test_run();
}
