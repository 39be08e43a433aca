/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/reach.h"

#include <glib.h>

static bool owns_8_8_8_8(const struct address *address)
{
        return address->family == 4 && address->bytes[0] == 8 && address->bytes[1] == 8 && address->bytes[2] == 8 &&
               address->bytes[3] == 8;
}

/* Attack 11: every way to write an address that leads inside. */
static const struct {
        const char *ip;
        enum reach_verdict usual, private;
} cases[] = {
        {"1.1.1.1", REACH_ALLOWED, REACH_ALLOWED},
        {"2606:4700::1111", REACH_ALLOWED, REACH_ALLOWED},
        {"8.8.8.8", REACH_OWN, REACH_ALLOWED},
        {"::ffff:8.8.8.8", REACH_OWN, REACH_ALLOWED},
        {"127.0.0.1", REACH_PRIVATE, REACH_ALLOWED},
        {"127.255.255.254", REACH_PRIVATE, REACH_ALLOWED},
        {"::1", REACH_PRIVATE, REACH_ALLOWED},
        {"::ffff:127.0.0.1", REACH_PRIVATE, REACH_ALLOWED},
        {"64:ff9b::7f00:1", REACH_PRIVATE, REACH_ALLOWED},
        {"2002:7f00:1::", REACH_PRIVATE, REACH_ALLOWED},
        {"10.0.0.1", REACH_PRIVATE, REACH_ALLOWED},
        {"172.31.255.255", REACH_PRIVATE, REACH_ALLOWED},
        {"192.168.1.1", REACH_PRIVATE, REACH_ALLOWED},
        {"100.64.0.1", REACH_PRIVATE, REACH_ALLOWED},
        {"fd12::1", REACH_PRIVATE, REACH_ALLOWED},
        {"0.0.0.0", REACH_NEVER, REACH_NEVER},
        {"::", REACH_NEVER, REACH_NEVER},
        {"169.254.169.254", REACH_NEVER, REACH_NEVER},
        {"::ffff:169.254.169.254", REACH_NEVER, REACH_NEVER},
        {"64:ff9b::a9fe:a9fe", REACH_NEVER, REACH_NEVER},
        {"2002:a9fe:a9fe::", REACH_NEVER, REACH_NEVER},
        {"100.100.100.200", REACH_NEVER, REACH_NEVER},
        {"168.63.129.16", REACH_NEVER, REACH_NEVER},
        {"fd00:ec2::254", REACH_NEVER, REACH_NEVER},
        {"fe80::1", REACH_NEVER, REACH_NEVER},
        {"224.0.0.1", REACH_NEVER, REACH_NEVER},
        {"255.255.255.255", REACH_NEVER, REACH_NEVER},
        {"ff02::1", REACH_NEVER, REACH_NEVER},
        {"localhost", REACH_NO_ADDRESS, REACH_NO_ADDRESS},
        {"2130706433", REACH_NO_ADDRESS, REACH_NO_ADDRESS},
        {"0177.0.0.1", REACH_NO_ADDRESS, REACH_NO_ADDRESS},
        {"", REACH_NO_ADDRESS, REACH_NO_ADDRESS},
};

static void attack_11_addresses_that_lead_inside_are_refused(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct reach reach = {.is_own = owns_8_8_8_8};

                g_test_message("%s", cases[i].ip);
                g_assert_cmpint(reach_judge(&reach, cases[i].ip), ==, cases[i].usual);
                reach.private = true;
                g_assert_cmpint(reach_judge(&reach, cases[i].ip), ==, cases[i].private);
        }
}

static void what_the_administrator_names_is_allowed_and_nothing_beside_it(void)
{
        struct address_prefix named[2];
        struct reach reach = {.prefixes = named, .n_prefixes = 2, .is_own = owns_8_8_8_8};

        g_assert_cmpint(address_prefix_parse("10.7.0.0/16", &named[0]), ==, 0);
        g_assert_cmpint(address_prefix_parse("169.254.7.7/32", &named[1]), ==, 0);
        g_assert_cmpint(reach_judge(&reach, "10.7.1.2"), ==, REACH_ALLOWED);
        g_assert_cmpint(reach_judge(&reach, "::ffff:10.7.1.2"), ==, REACH_ALLOWED);
        g_assert_cmpint(reach_judge(&reach, "169.254.7.7"), ==, REACH_ALLOWED);
        g_assert_cmpint(reach_judge(&reach, "10.8.0.1"), ==, REACH_PRIVATE);
        g_assert_cmpint(reach_judge(&reach, "169.254.7.8"), ==, REACH_NEVER);
        g_assert_cmpint(reach_judge(&reach, "127.0.0.1"), ==, REACH_PRIVATE);
}

static void addresses_of_this_machine_are_known(void)
{
        struct address address;

        g_assert_cmpint(address_parse("127.0.0.1", &address), ==, 0);
        g_assert_true(reach_is_own(&address));
        g_assert_cmpint(address_parse("192.0.2.77", &address), ==, 0);
        g_assert_false(reach_is_own(&address));
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/reach/attack_11_addresses_that_lead_inside_are_refused",
                        attack_11_addresses_that_lead_inside_are_refused);
        g_test_add_func("/reach/what_the_administrator_names_is_allowed_and_nothing_beside_it",
                        what_the_administrator_names_is_allowed_and_nothing_beside_it);
        g_test_add_func("/reach/addresses_of_this_machine_are_known", addresses_of_this_machine_are_known);
        return g_test_run();
}
