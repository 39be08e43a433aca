/* SPDX-License-Identifier: Apache-2.0 */
#include "base/address.h"

#include <errno.h>
#include <glib.h>

static struct address parse(const char *text)
{
        struct address address = {0};

        if (address_parse(text, &address) < 0)
                g_error("\"%s\" is no address", text);
        return address;
}

static struct address_prefix parse_prefix(const char *text)
{
        struct address_prefix prefix = {0};

        if (address_prefix_parse(text, &prefix) < 0)
                g_error("\"%s\" is no prefix", text);
        return prefix;
}

static void addresses_are_read_and_written_canonically(void)
{
        static const struct {
                const char *text;
                const char *canonical;
                uint8_t family;
        } cases[] = {
                {"10.66.10.1", "10.66.10.1", 4},
                {"0.0.0.0", "0.0.0.0", 4},
                {"255.255.255.255", "255.255.255.255", 4},
                {"::", "::", 6},
                {"::1", "::1", 6},
                {"2001:DB8:0:0:0:0:0:1", "2001:db8::1", 6},
                {"fe80::1", "fe80::1", 6},
                {"::ffff:10.0.0.1", "::ffff:10.0.0.1", 6},
                {"2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff", "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff", 6},
        };
        char text[ADDRESS_TEXT_MAX];

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct address address = parse(cases[i].text);

                g_assert_cmpuint(address.family, ==, cases[i].family);
                g_assert_cmpstr(address_format(&address, text), ==, cases[i].canonical);
        }
        g_assert_cmpstr(address_format(&(struct address){0}, text), ==, "");
}

static void loose_forms_are_refused(void)
{
        static const char *const bad[] = {
                "",          "10",        "10.1",      "10.1.1",           "10.0.0.256",  "010.0.0.1",    "0x0a.0.0.1",
                "167772161", "10.0.0.1 ", " 10.0.0.1", "10.0.0.1/24",      "10.0.0.1:80", "fe80::1%eth0", ":::",
                "1::2::3",   "[::1]",     "12345::",   "::ffff:010.0.0.1", "localhost",
        };
        struct address address = {0};

        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
                if (address_parse(bad[i], &address) != -EINVAL)
                        g_error("\"%s\" was taken", bad[i]);
        g_assert_cmpint(address_parse(NULL, &address), ==, -EINVAL);
        g_assert_cmpuint(address.family, ==, 0);
}

static void order_is_by_family_then_number(void)
{
        static const char *const sorted[] = {"0.0.0.0", "9.255.0.0", "10.0.0.1",   "10.0.1.0", "255.0.0.0",
                                             "::",      "::1",       "::ffff:0:0", "fe80::"};

        for (size_t i = 0; i < G_N_ELEMENTS(sorted); i++)
                for (size_t k = 0; k < G_N_ELEMENTS(sorted); k++) {
                        struct address a = parse(sorted[i]), b = parse(sorted[k]);
                        int order = address_compare(&a, &b);

                        g_assert_true((order < 0) == (i < k) && (order == 0) == (i == k));
                }
}

static void offsets_carry_and_stop_at_the_end_of_the_family(void)
{
        static const struct {
                const char *base;
                uint64_t offset;
                const char *sum; /* NULL: -ERANGE */
        } cases[] = {
                {"10.0.0.0", 0, "10.0.0.0"},
                {"10.0.0.255", 1, "10.0.1.0"},
                {"10.255.255.255", 1, "11.0.0.0"},
                {"0.0.0.0", 0xffffffff, "255.255.255.255"},
                {"0.0.0.0", 0x100000000, NULL},
                {"255.255.255.255", 1, NULL},
                {"2001:db8::ffff:ffff:ffff:ffff", 1, "2001:db8:0:1::"},
                {"::1", UINT64_MAX, "0:0:0:1::"},
                {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1, NULL},
        };
        char text[ADDRESS_TEXT_MAX];

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct address base = parse(cases[i].base), sum = {0};
                int r = address_offset(&base, cases[i].offset, &sum);

                g_assert_cmpint(r, ==, cases[i].sum ? 0 : -ERANGE);
                g_assert_cmpstr(address_format(&sum, text), ==, cases[i].sum ? cases[i].sum : "");
        }
}

static void only_global_unicast_is_public(void)
{
        static const char *const public[] = {
                "1.1.1.1",      "8.8.8.8",        "100.63.255.255",   "100.128.0.0",     "172.15.0.1",
                "172.32.0.1",   "192.167.1.1",    "198.20.0.1",       "223.255.255.254", "2606:4700::1111",
                "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1",
        };
        static const char *const private[] = {
                "0.0.0.0",
                "0.1.2.3",
                "10.66.10.1",
                "100.64.0.1",
                "127.0.0.1",
                "127.255.0.1",
                "169.254.169.254",
                "172.16.0.1",
                "172.31.255.255",
                "192.0.0.8",
                "192.0.2.1",
                "192.88.99.1",
                "192.168.1.1",
                "198.18.0.1",
                "198.19.255.255",
                "198.51.100.7",
                "203.0.113.9",
                "224.0.0.1",
                "239.1.1.1",
                "240.0.0.1",
                "255.255.255.255",
                "::",
                "::1",
                "fe80::1",
                "fc00::1",
                "fd12::1",
                "ff02::1",
                "2001:db8::1",
                "2001::1",
                "3fff::1",
                "100::1",
                "4000::1",
                "::ffff:127.0.0.1",
                "::ffff:10.0.0.1",
                "::127.0.0.1",
                "64:ff9b::7f00:1",
                "64:ff9b:1::808:808",
                "2002:7f00:1::1",
                "2002:a00:1::1",
                "fec0::1",
        };
        struct address address;

        for (size_t i = 0; i < G_N_ELEMENTS(public); i++) {
                address = parse(public[i]);
                if (!address_is_public(&address))
                        g_error("%s is public", public[i]);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(private); i++) {
                address = parse(private[i]);
                if (address_is_public(&address))
                        g_error("%s is not public", private[i]);
        }
        g_assert_false(address_is_public(&(struct address){0}));
}

static void prefixes_contain_their_addresses(void)
{
        static const struct {
                const char *prefix;
                const char *address;
                bool contains;
        } cases[] = {
                {"10.66.10.0/24", "10.66.10.255", true},
                {"10.66.10.0/24", "10.66.11.0", false},
                {"10.66.8.0/21", "10.66.15.1", true},
                {"10.66.8.0/21", "10.66.16.1", false},
                {"0.0.0.0/0", "255.1.2.3", true},
                {"0.0.0.0/0", "::1", false},
                {"10.0.0.1/32", "10.0.0.1", true},
                {"10.0.0.1/32", "10.0.0.0", false},
                {"fd00::/8", "fdff::1", true},
                {"fd00::/8", "fe00::1", false},
                {"::/0", "1.2.3.4", false},
                {"2001:db8::/33", "2001:db8:8000::", false},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct address_prefix prefix = parse_prefix(cases[i].prefix);
                struct address address = parse(cases[i].address);

                g_assert_true(address_prefix_contains(&prefix, &address) == cases[i].contains);
        }
}

static void prefixes_are_read_and_written(void)
{
        static const struct {
                const char *text;
                uint64_t size;
        } good[] = {
                {"10.66.10.0/24", 256},        {"0.0.0.0/0", (uint64_t)1 << 32},     {"10.0.0.1/32", 1}, {"fd00::/8", UINT64_MAX},
                {"2001:db8::/64", UINT64_MAX}, {"2001:db8::/65", (uint64_t)1 << 63}, {"::1/128", 1},
        };
        static const char *const bad[] = {
                "",
                "10.0.0.0",
                "10.0.0.1/24",
                "10.0.0.0/33",
                "10.0.0.0/",
                "10.0.0.0/08",
                "10.0.0.0/+8",
                "10.0.0.0/8x",
                "10.0.0.0/8/8",
                "/8",
                "fd00::1/64",
                "fd00::/129",
                "fd00::/1000",
                "10.0.0.0/-1",
                "00000000000000000000000000000000000000000000000000/8",
        };
        char text[ADDRESS_PREFIX_TEXT_MAX];
        struct address_prefix prefix;

        for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
                prefix = parse_prefix(good[i].text);
                g_assert_cmpstr(address_prefix_format(&prefix, text), ==, good[i].text);
                g_assert_cmpuint(address_prefix_size(&prefix), ==, good[i].size);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
                if (address_prefix_parse(bad[i], &prefix) != -EINVAL)
                        g_error("\"%s\" was taken", bad[i]);
        g_assert_cmpint(address_prefix_parse(NULL, &prefix), ==, -EINVAL);
}

static void macs_are_stable_per_seed_and_index(void)
{
        char a[MAC_TEXT_MAX], b[MAC_TEXT_MAX];

        g_assert_true(mac_valid(mac_derive("7d0c8f1e", 0, a)));
        g_assert_true(g_str_has_prefix(a, "52:54:00:"));
        g_assert_cmpstr(a, ==, mac_derive("7d0c8f1e", 0, b));
        g_assert_cmpstr(a, !=, mac_derive("7d0c8f1e", 1, b));
        g_assert_cmpstr(a, !=, mac_derive("7d0c8f1f", 0, b));
        /* guests keep their addresses across releases */
        g_assert_cmpstr(mac_derive("gabbro", 0, a), ==, "52:54:00:85:1f:da");
}

static void other_texts_are_no_mac(void)
{
        g_assert_true(mac_valid("52:54:00:aB:cD:Ef"));
        g_assert_false(mac_valid(NULL));
        g_assert_false(mac_valid(""));
        g_assert_false(mac_valid("52:54:00:ab:cd"));
        g_assert_false(mac_valid("52:54:00:ab:cd:ef:01"));
        g_assert_false(mac_valid("52-54-00-ab-cd-ef"));
        g_assert_false(mac_valid("52:54:00:ab:cd:eg"));
        g_assert_false(mac_valid("5254:00:ab:cd:ef:"));
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/address/addresses_are_read_and_written_canonically", addresses_are_read_and_written_canonically);
        g_test_add_func("/address/loose_forms_are_refused", loose_forms_are_refused);
        g_test_add_func("/address/order_is_by_family_then_number", order_is_by_family_then_number);
        g_test_add_func("/address/offsets_carry_and_stop_at_the_end_of_the_family",
                        offsets_carry_and_stop_at_the_end_of_the_family);
        g_test_add_func("/address/only_global_unicast_is_public", only_global_unicast_is_public);
        g_test_add_func("/address/prefixes_contain_their_addresses", prefixes_contain_their_addresses);
        g_test_add_func("/address/prefixes_are_read_and_written", prefixes_are_read_and_written);
        g_test_add_func("/address/macs_are_stable_per_seed_and_index", macs_are_stable_per_seed_and_index);
        g_test_add_func("/address/other_texts_are_no_mac", other_texts_are_no_mac);
        return g_test_run();
}
