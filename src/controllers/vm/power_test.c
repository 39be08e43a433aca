/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/vm/power.h"

#include "controllers/cloud_test.h"
#include "generated/reasons.h"

#include <string.h>

/* --- tables --- */

static void every_name_has_both_ways(void)
{
        for (int i = 0; i < VM_PHASES; i++) {
                enum vm_phase phase;

                g_assert_cmpint(vm_phase_from_text(vm_phase_to_text((enum vm_phase)i), &phase), ==, 0);
                g_assert_cmpint(phase, ==, i);
        }
        for (int i = 0; i < VM_STATES; i++)
                g_assert_cmpint(vm_state_of(vm_state_to_text((enum vm_state)i)), ==, i);
        for (int i = 0; i < RUN_POLICIES; i++) {
                enum run_policy policy;

                g_assert_cmpint(run_policy_from_text(run_policy_to_text((enum run_policy)i), &policy), ==, 0);
                g_assert_cmpint(policy, ==, i);
        }
        g_assert_cmpint(vm_state_of("no such word"), ==, VM_STATE_NONE);
        g_assert_cmpint(vm_state_of(NULL), ==, VM_STATE_NONE);
}

static void every_state_has_one_row_for_each_power(void)
{
        for (int on = 0; on < 2; on++)
                for (int state = 0; state < VM_STATES; state++) {
                        unsigned rows = 0;

                        for (size_t i = 0; i < vm_n_phase_rows; i++)
                                rows += vm_phase_rows[i].power_on == on && vm_phase_rows[i].state == (enum vm_state)state ? 1 : 0;
                        g_assert_cmpuint(rows, ==, 1);
                }
}

/* A16, A17, D54 */
static void nothing_follows_terminating_and_every_phase_may_end(void)
{
        for (int i = 0; i < VM_PHASES; i++) {
                g_assert_true(vm_phase_may_follow((enum vm_phase)i, (enum vm_phase)i));
                g_assert_true(vm_phase_may_follow((enum vm_phase)i, VM_TERMINATING));
                if (i != VM_TERMINATING)
                        g_assert_false(vm_phase_may_follow(VM_TERMINATING, (enum vm_phase)i));
        }
        g_assert_false(vm_phase_may_follow(VM_STOPPED, VM_MIGRATING));
}

/* --- D66-D69, vm-api 2.10 --- */

#define ON_RUNNING .has_instance = true, .power_on = true, .current = true, .state = VM_STATE_RUNNING
#define ENDED(why) .has_instance = true, .power_on = true, .current = true, .state = VM_STATE_SHUTOFF, .state_reason = (why)
#define CRASHED    .has_instance = true, .power_on = true, .current = true, .state = VM_STATE_CRASHED
#define OFF        .has_instance = true, .current = true, .state = VM_STATE_SHUTOFF

static const struct {
        const char *name;
        struct power_facts facts;           /* without the policy */
        enum power_wish wish[RUN_POLICIES]; /* AlwaysOn, AlwaysOff, Manual, AlwaysOnUnlessStoppedManually */
} decisions[] = {
        {"new", {0}, {WISH_START, WISH_NOTHING, WISH_NOTHING, WISH_START}},
        {"running", {ON_RUNNING}, {WISH_NOTHING, WISH_STOP, WISH_NOTHING, WISH_NOTHING}},
        {"guest powers off", {ENDED(REASON_GUEST_SHUTDOWN)}, {WISH_START, WISH_STOP, WISH_STOP, WISH_STOP}},
        {"crashed", {CRASHED}, {WISH_START, WISH_STOP, WISH_STOP, WISH_START}},
        {"destroyed from outside", {ENDED(REASON_DESTROYED)}, {WISH_START, WISH_STOP, WISH_STOP, WISH_START}},
        {"failed", {ENDED(REASON_FAILED)}, {WISH_START, WISH_STOP, WISH_STOP, WISH_START}},
        {"host lost", {ENDED(REASON_HOST_LOST)}, {WISH_START, WISH_STOP, WISH_STOP, WISH_START}},
        {"ended for no known reason", {ENDED(NULL)}, {WISH_START, WISH_STOP, WISH_STOP, WISH_START}},
        {"off by an operation or the guest", {OFF}, {WISH_START, WISH_NOTHING, WISH_NOTHING, WISH_NOTHING}},
        {"off by policy AlwaysOff before", {OFF, .off_by_policy = true}, {WISH_START, WISH_NOTHING, WISH_NOTHING, WISH_START}},
        {"being started anew",
         {.has_instance = true, .power_on = true, .state = VM_STATE_SHUTOFF},
         {WISH_NOTHING, WISH_STOP, WISH_NOTHING, WISH_NOTHING}},
        {"start of one that is off", {OFF, .order = ORDER_START}, {WISH_START, WISH_NOTHING, WISH_START, WISH_START}},
        {"start of one that runs", {ON_RUNNING, .order = ORDER_START}, {WISH_NOTHING, WISH_STOP, WISH_NOTHING, WISH_NOTHING}},
        {"first start", {.order = ORDER_START}, {WISH_START, WISH_NOTHING, WISH_START, WISH_START}},
        {"stop", {ON_RUNNING, .order = ORDER_STOP}, {WISH_STOP, WISH_STOP, WISH_STOP, WISH_STOP}},
        {"stop before the first start", {.order = ORDER_STOP}, {WISH_NOTHING, WISH_NOTHING, WISH_NOTHING, WISH_NOTHING}},
        {"restart", {ON_RUNNING, .order = ORDER_RESTART}, {WISH_RESTART, WISH_STOP, WISH_RESTART, WISH_RESTART}},
        {"suspend", {ON_RUNNING, .order = ORDER_SUSPEND}, {WISH_OBEY, WISH_STOP, WISH_OBEY, WISH_OBEY}},
        {"reset", {ON_RUNNING, .order = ORDER_RESET}, {WISH_OBEY, WISH_STOP, WISH_OBEY, WISH_OBEY}},
        {"resume",
         {.has_instance = true, .power_on = true, .state = VM_STATE_PAUSED, .current = true, .order = ORDER_RESUME},
         {WISH_OBEY, WISH_STOP, WISH_OBEY, WISH_OBEY}},
        {"suspended, nothing asked",
         {.has_instance = true, .power_on = true, .state = VM_STATE_PAUSED, .current = true},
         {WISH_NOTHING, WISH_STOP, WISH_NOTHING, WISH_NOTHING}},
        {"suspend of one that ended", {CRASHED, .order = ORDER_SUSPEND}, {WISH_NOTHING, WISH_STOP, WISH_NOTHING, WISH_NOTHING}},
        {"reset of one that is started anew",
         {.has_instance = true, .power_on = true, .state = VM_STATE_RUNNING, .order = ORDER_RESET},
         {WISH_NOTHING, WISH_STOP, WISH_NOTHING, WISH_NOTHING}},
        {"redeploy", {ON_RUNNING, .order = ORDER_REDEPLOY}, {WISH_END, WISH_STOP, WISH_END, WISH_END}},
        {"redeploy of one that is off", {OFF, .order = ORDER_REDEPLOY}, {WISH_END, WISH_NOTHING, WISH_END, WISH_END}},
        {"redeploy, its domain is gone", {.order = ORDER_REDEPLOY}, {WISH_RENEW, WISH_NOTHING, WISH_RENEW, WISH_RENEW}},
        {"redeploy, its disks are empty",
         {.order = ORDER_REDEPLOY, .renewed = true},
         {WISH_START, WISH_NOTHING, WISH_START, WISH_START}},
        {"force off", {ON_RUNNING, .order = ORDER_FORCE_OFF}, {WISH_FORCE_OFF, WISH_STOP, WISH_FORCE_OFF, WISH_FORCE_OFF}},
};

static void run_policies_decide_by_table(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(decisions); i++)
                for (int policy = 0; policy < RUN_POLICIES; policy++) {
                        struct power_facts facts = decisions[i].facts;

                        facts.policy = (enum run_policy)policy;
                        g_test_message("%s, %s", decisions[i].name, run_policy_to_text(facts.policy));
                        g_assert_cmpint(power_decide(&facts).wish, ==, decisions[i].wish[policy]);
                }
}

static void back_off_begins_after_the_first_restart(void)
{
        static const unsigned expect_seconds[] = {0, 0, 10, 20, 40, 80, 160, 300, 300, 300};

        for (unsigned i = 0; i < G_N_ELEMENTS(expect_seconds); i++)
                g_assert_cmpuint(power_back_off_us(i), ==, expect_seconds[i] * SECOND_US);
        g_assert_cmpuint(power_back_off_us(4000000000u), ==, 300 * SECOND_US);
}

/* --- the same, with everything around it --- */

static const struct {
        const char *policy, *state, *reason;
        const char *phase; /* once it came to rest */
        int epoch;
} ends[] = {
        {"AlwaysOn", "shutoff", "GuestShutdown", "Running", 2},
        {"AlwaysOnUnlessStoppedManually", "shutoff", "GuestShutdown", "Stopped", 1},
        {"Manual", "shutoff", "GuestShutdown", "Stopped", 1},
        {"AlwaysOn", "crashed", "Crashed", "Running", 2},
        {"AlwaysOnUnlessStoppedManually", "crashed", "Crashed", "Running", 2},
        {"Manual", "crashed", "Crashed", "Stopped", 1},
        {"AlwaysOnUnlessStoppedManually", "shutoff", "HostLost", "Running", 2},
        {"Manual", "shutoff", "HostLost", "Stopped", 1},
};

static void set_policy(struct cloud *cloud, const char *policy)
{
        g_autofree char *line = g_strdup_printf("  runPolicy: %s\n", policy);

        cloud_machine(cloud, "web", line);
        cloud_settle(cloud);
}

static void what_a_guest_does_meets_the_run_policy(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(ends); i++) {
                g_autoptr(cloud) cloud = cloud_new(NULL);

                set_policy(cloud, ends[i].policy);
                if (strcmp(ends[i].policy, "Manual") == 0)
                        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: go},\n"
                                           " spec: {type: Start, virtualMachineName: web}}");
                cloud_expect_phase(cloud, VM, "web", "Running");
                cloud_guest(cloud, "web", ends[i].state, ends[i].reason);
                cloud_expect_phase(cloud, VM, "web", ends[i].phase);
                g_assert_cmpint(cloud_instance(cloud, "web")->spec->epoch, ==, ends[i].epoch);
                cloud_expect_no_effects(cloud);
        }
}

static void a_crash_loop_backs_off_and_says_until_when(void)
{
        static const unsigned waits[] = {0, 10, 20, 40, 80, 160, 300, 300};
        g_autoptr(cloud) cloud = cloud_new(NULL);

        set_policy(cloud, "AlwaysOn");
        for (size_t i = 0; i < G_N_ELEMENTS(waits); i++) {
                cloud_expect_phase(cloud, VM, "web", "Running");
                cloud_guest(cloud, "web", "crashed", "Crashed");
                if (waits[i] == 0)
                        continue;
                cloud_expect_phase(cloud, VM, "web", "Pending");
                cloud_expect_condition(cloud, VM, "web", "Running", "False BackOff", "it is started again at 20");
                cloud_advance(cloud, (waits[i] - 1) * SECOND_US);
                cloud_expect_phase(cloud, VM, "web", "Pending");
                cloud_advance(cloud, 2 * SECOND_US);
        }
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_advance(cloud, 700 * SECOND_US); /* a long run ends the count */
        cloud_guest(cloud, "web", "crashed", "Crashed");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_true(cloud_has_event(cloud, "web", "Crashed"));
}

/* What somebody asks for does not wait, and what was counted before does not count any more. */
static void a_start_that_is_asked_for_ends_the_back_off(void)
{
        static const struct {
                const char *policy, *order;
        } cases[] = {{"AlwaysOnUnlessStoppedManually", "Start"}, {"AlwaysOn", "Restart"}};

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(cloud) cloud = cloud_new(NULL);

                set_policy(cloud, cases[i].policy);
                cloud_expect_phase(cloud, VM, "web", "Running");
                for (unsigned n = 0; n < 4; n++) {
                        cloud_guest(cloud, "web", "crashed", "Crashed");
                        cloud_advance(cloud, (n < 3 ? 50 : 1) * SECOND_US);
                }
                cloud_expect_condition(cloud, VM, "web", "Running", "False BackOff", "it ended 4 times in a row");
                cloud_applyf(cloud,
                             "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: go},\n"
                             " spec: {type: %s, virtualMachineName: web}}",
                             cases[i].order);
                cloud_expect_phase(cloud, VMOP, "go", "Completed");
                cloud_expect_phase(cloud, VM, "web", "Running");
                g_assert_cmpint(cloud_instance(cloud, "web")->spec->epoch, ==, 5);
                cloud_guest(cloud, "web", "crashed", "Crashed");
                cloud_expect_phase(cloud, VM, "web", "Running"); /* at once: the first time */
                cloud_guest(cloud, "web", "crashed", "Crashed");
                cloud_expect_condition(cloud, VM, "web", "Running", "False BackOff", "it ended 2 times in a row");
        }
}

/* Its QEMU holds disks and memory until it was ended. */
static void a_panicked_guest_is_stopped_when_its_qemu_is_gone(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        set_policy(cloud, "Manual");
        cloud_applyf(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: go},\n"
                            " spec: {type: Start, virtualMachineName: web}}");
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_hold(cloud, &api_instance_kind);
        cloud_guest(cloud, "web", "crashed", "GuestPanicked");
        g_assert_true(cloud_has_event(cloud, "web", "GuestPanicked"));
        cloud_expect_phase(cloud, VM, "web", "Stopping");
        cloud_hold(cloud, NULL);
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        cloud_expect_condition(cloud, VM, "web", "Running", "False GuestPanicked", "run policy Manual leaves it off");
}

/* D48, C38: what fails names itself, its cause, what was undone and when it is tried again; told as an event once for each cause.
 */
static void a_start_that_fails_says_all_of_it(void)
{
        static const char failing[] =
                "{\"state\": \"creating\", \"step\": \"start\", \"failures\": %d, \"retryAt\": "
                "\"2023-11-14T22:14:%02dZ\", \"error\": {\"reason\": \"%s\", \"message\": \"it is held. Undone: its "
                "definition was removed\"}}";
        g_autoptr(cloud) cloud = cloud_new(NULL);
        g_autofree char *name = NULL;

        cloud_hold(cloud, &api_volume_kind);
        set_policy(cloud, "AlwaysOn");
        cloud_expect_phase(cloud, VM, "web", "Starting");
        name = g_strdup_printf("i-%s-0", cloud_get(cloud, VM, "web")->uid);
        for (int i = 1; i < 4; i++) {
                g_autofree char *json = g_strdup_printf(failing, i, i, "DiskInUse");

                g_assert_cmpint(cloud_has_event(cloud, "web", "DiskInUse"), ==, i > 1);
                cloud_status(cloud, &api_instance_kind, name, json);
                cloud_settle(cloud);
        }
        cloud_expect_condition(
                cloud, VM, "web", "Running", "False DiskInUse",
                "host node-a, step start: it is held. Undone: its definition was removed. It failed 3 times in a row and "
                "is tried again by 2023-11-14T22:14:03Z");
        cloud_expect_phase(cloud, VM, "web", "Starting");
        g_assert_cmpuint(cloud_count_events(cloud, "web", "DiskInUse"), ==, 1);
        cloud_hold(cloud, NULL);
        cloud_status(cloud, &api_instance_kind, name, "{\"error\": null, \"failures\": null, \"retryAt\": null, \"step\": null}");
        cloud_expect_phase(cloud, VM, "web", "Running");
}

static void an_edited_run_policy_is_followed_at_once(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        set_policy(cloud, "AlwaysOff");
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        set_policy(cloud, "AlwaysOnUnlessStoppedManually");
        cloud_expect_phase(cloud, VM, "web", "Running");
        set_policy(cloud, "AlwaysOff");
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        cloud_expect_condition(cloud, VM, "web", "Running", "False Stopped", "run policy AlwaysOff");
        set_policy(cloud, "AlwaysOnUnlessStoppedManually");
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_guest(cloud, "web", "shutoff", "GuestShutdown");
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        cloud_expect_condition(cloud, VM, "web", "Running", "False GuestShutdown", NULL);
        set_policy(cloud, "AlwaysOn");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->epoch, ==, 3);
}

static void a_start_that_cannot_be_placed_again_keeps_its_epoch(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        set_policy(cloud, "AlwaysOn");
        cloud_lose_node(cloud, "node-a", true);
        cloud_advance(cloud, 60 * SECOND_US);
        cloud_guest(cloud, "web", "crashed", "Crashed"); /* the last word of the host */
        cloud_expect_condition(cloud, VM, "web", "Running", "Unknown NodeLost", NULL);
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->epoch, ==, 1);
        cloud_lose_node(cloud, "node-a", false);
        cloud_advance(cloud, 30 * SECOND_US);
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->epoch, ==, 2);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/power/every_name_has_both_ways", every_name_has_both_ways);
        g_test_add_func("/power/D45_every_state_has_one_row_for_each_power", every_state_has_one_row_for_each_power);
        g_test_add_func("/power/A17_D54_nothing_follows_terminating_and_every_phase_may_end",
                        nothing_follows_terminating_and_every_phase_may_end);
        g_test_add_func("/power/D66_D69_run_policies_decide_by_table", run_policies_decide_by_table);
        g_test_add_func("/power/back_off_begins_after_the_first_restart", back_off_begins_after_the_first_restart);
        g_test_add_func("/power/D66_D68_what_a_guest_does_meets_the_run_policy", what_a_guest_does_meets_the_run_policy);
        g_test_add_func("/power/a_crash_loop_backs_off_and_says_until_when", a_crash_loop_backs_off_and_says_until_when);
        g_test_add_func("/power/a_start_that_is_asked_for_ends_the_back_off", a_start_that_is_asked_for_ends_the_back_off);
        g_test_add_func("/power/a_panicked_guest_is_stopped_when_its_qemu_is_gone",
                        a_panicked_guest_is_stopped_when_its_qemu_is_gone);
        g_test_add_func("/power/D48_C38_a_start_that_fails_says_all_of_it", a_start_that_fails_says_all_of_it);
        g_test_add_func("/power/an_edited_run_policy_is_followed_at_once", an_edited_run_policy_is_followed_at_once);
        g_test_add_func("/power/a_start_that_cannot_be_placed_again_keeps_its_epoch",
                        a_start_that_cannot_be_placed_again_keeps_its_epoch);
        return g_test_run();
}
