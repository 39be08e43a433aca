/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/kvm_proof.h"

#include <glib.h>
#include <string.h>
#include <sys/wait.h>

static gint64 prove(const char *device, uint64_t timeout_us, struct kvm_proof *ret_proof)
{
        gint64 begin = g_get_monotonic_time();

        kvm_prove(device, timeout_us, ret_proof);
        g_test_message("%s: %s", kvm_verdict_to_text(ret_proof->verdict), ret_proof->words);
        g_assert_cmpint(strlen(ret_proof->words), >, 5);
        return g_get_monotonic_time() - begin;
}

static void no_children_are_left(void)
{
        g_assert_cmpint(waitpid(-1, NULL, WNOHANG), ==, -1);
}

static void the_machines_own_device_is_judged_within_the_bound(void)
{
        struct kvm_proof proof;

        g_assert_cmpint(prove(NULL, 1500000, &proof), <, 4000000);
        if (!proof.abandoned)
                no_children_are_left();
}

static void a_missing_device_is_absent(void)
{
        struct kvm_proof proof;

        prove("/dev/no-such-device", 0, &proof);
        g_assert_cmpint(proof.verdict, ==, KVM_ABSENT);
        g_assert_nonnull(strstr(proof.words, "No such file"));
        no_children_are_left();
}

static void another_device_is_broken(void)
{
        struct kvm_proof proof;

        prove("/dev/null", 0, &proof);
        g_assert_cmpint(proof.verdict, ==, KVM_BROKEN);
        no_children_are_left();
}

static void a_proof_out_of_time_is_killed_and_reaped(void)
{
        struct kvm_proof proof;

        g_assert_cmpint(prove(NULL, 1, &proof), <, 2000000);
        g_assert_cmpint(proof.verdict, ==, KVM_HANGS);
        if (!proof.abandoned)
                no_children_are_left();
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/kvm/the_machines_own_device_is_judged_within_the_bound",
                        the_machines_own_device_is_judged_within_the_bound);
        g_test_add_func("/kvm/a_missing_device_is_absent", a_missing_device_is_absent);
        g_test_add_func("/kvm/another_device_is_broken", another_device_is_broken);
        g_test_add_func("/kvm/a_proof_out_of_time_is_killed_and_reaped", a_proof_out_of_time_is_killed_and_reaped);
        return g_test_run();
}
