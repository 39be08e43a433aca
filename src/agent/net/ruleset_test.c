/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/ruleset.h"

#include "agent/net/dhcp.h"
#include "agent/net/seen.h"

#include <glib.h>
#include <string.h>

static struct net_port *example(void)
{
        struct net_port *port = net_port_new();

        port->name = g_strdup("p-1");
        port->tap = g_strdup("gbt0badcafe");
        port->hostname = g_strdup("web");
        port->anti_spoofing = true;
        port->network.uid = g_strdup("11111111-2222-4333-8444-555555555555");
        port->network.bridge = g_strdup("gbb0");
        net_mac_parse("52:54:00:AA:bb:0c", port->mac);
        address_parse("10.66.0.1", &port->network.gateway);
        address_prefix_parse("10.66.0.0/24", &port->network.cidr);
        port->addresses = g_new0(struct address, 1);
        port->n_addresses = 1;
        address_parse("10.66.0.9", port->addresses);
        return port;
}

static void add_rule(struct net_port *port, bool ingress, enum net_protocol protocol, const char *peers, const char *ranges)
{
        g_auto(GStrv) peer_words = g_strsplit(peers, " ", 0), range_words = g_strsplit(ranges, " ", 0);
        struct net_rule rule = {.ingress = ingress, .protocol = protocol};

        rule.peers = g_new0(struct address_prefix, g_strv_length(peer_words));
        for (char **word = peer_words; *word; word++) {
                g_assert_cmpint(address_prefix_parse(*word, &rule.peers[rule.n_peers++]), ==, 0);
        }
        rule.ports = g_new0(struct net_range, g_strv_length(range_words));
        for (char **word = range_words; *word; word++) {
                const char *dash = strchr(*word, '-');
                struct net_range *range = &rule.ports[rule.n_ports++];

                range->from = g_ascii_strtoull(*word, NULL, 10);
                range->to = dash ? g_ascii_strtoull(dash + 1, NULL, 10) : range->from;
        }
        port->rules = g_renew(struct net_rule, port->rules, port->n_rules + 1);
        port->rules[port->n_rules++] = rule;
}

static char *ruleset_of(const struct net_port *port)
{
        GString *text = g_string_new(NULL);

        ruleset_add_port(port, text);
        return g_string_free(text, FALSE);
}

static void rules_become_these_lines(void)
{
        static const struct {
                bool ingress;
                enum net_protocol protocol;
                const char *peers, *ranges, *line; /* NULL: no line but the last drop */
        } cases[] = {
                {false, NET_PROTOCOL_ANY, "", "", "add rule inet gabbro e_0badcafe counter goto egress_allowed\n"},
                {true, NET_PROTOCOL_ANY, "", "", "add rule inet gabbro i_0badcafe counter accept\n"},
                {true, NET_PROTOCOL_TCP, "", "22", "add rule inet gabbro i_0badcafe tcp dport { 22 } counter accept\n"},
                {true, NET_PROTOCOL_TCP, "", "", "add rule inet gabbro i_0badcafe ip protocol tcp counter accept\n"},
                {true, NET_PROTOCOL_ICMP, "", "", "add rule inet gabbro i_0badcafe ip protocol icmp counter accept\n"},
                {true, NET_PROTOCOL_UDP, "", "9000 53 54-60 58-70",
                 "add rule inet gabbro i_0badcafe udp dport { 53-70, 9000 } counter accept\n"},
                {true, NET_PROTOCOL_TCP, "10.2.0.0/16 10.0.0.0/8 192.0.2.7/32", "80",
                 "add rule inet gabbro i_0badcafe ip saddr { 10.0.0.0/8, 192.0.2.7/32 } tcp dport { 80 } counter accept\n"},
                {false, NET_PROTOCOL_ANY, "192.0.2.0/24", "",
                 "add rule inet gabbro e_0badcafe ip daddr { 192.0.2.0/24 } counter goto egress_allowed\n"},
                {true, NET_PROTOCOL_ANY, "0.0.0.0/0 10.0.0.0/8", "", "add rule inet gabbro i_0badcafe counter accept\n"},
                {true, NET_PROTOCOL_ANY, "2001:db8::/32", "", NULL},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(net_port) port = example();
                g_autofree char *text = NULL;

                add_rule(port, cases[i].ingress, cases[i].protocol, cases[i].peers, cases[i].ranges);
                text = ruleset_of(port);
                if (cases[i].line) {
                        g_assert_nonnull(strstr(text, cases[i].line));
                } else {
                        g_assert_null(strstr(text, "accept\nadd rule inet"));
                        g_assert_null(strstr(text, "counter accept"));
                }
        }
}

/* Attack 24: with its own addresses only, by MAC, IP, ARP and DHCP. */
static void a_port_is_all_of_this(void)
{
        g_autoptr(net_port) port = example();
        g_autofree char *text = ruleset_of(port), *digest = ruleset_digest(port), *expected = NULL;

        expected = g_strdup_printf(
                "add chain bridge gabbro d_0badcafe\n"
                "flush chain bridge gabbro d_0badcafe\n"
                "add rule bridge gabbro d_0badcafe ip saddr 0.0.0.0 @th,288,48 0x525400aabb0c accept\n"
                "add rule bridge gabbro d_0badcafe iifname . ether saddr . ip saddr @sources @th,288,48 0x525400aabb0c accept\n"
                "add rule bridge gabbro d_0badcafe counter drop comment \"%s\"\n"
                "add chain inet gabbro e_0badcafe\n"
                "flush chain inet gabbro e_0badcafe\n"
                "add rule inet gabbro e_0badcafe counter drop comment \"%s\"\n"
                "add chain inet gabbro i_0badcafe\n"
                "flush chain inet gabbro i_0badcafe\n"
                "add rule inet gabbro i_0badcafe counter drop comment \"%s\"\n"
                "add element bridge gabbro taps { \"gbt0badcafe\" }\n"
                "add element bridge gabbro macs { \"gbt0badcafe\" . 52:54:00:aa:bb:0c }\n"
                "add element bridge gabbro targets { \"gbt0badcafe\" . 52:54:00:aa:bb:0c }\n"
                "add element bridge gabbro dhcp { \"gbt0badcafe\" : goto d_0badcafe }\n"
                "add element bridge gabbro sources { \"gbt0badcafe\" . 52:54:00:aa:bb:0c . 10.66.0.9 }\n"
                "add element inet gabbro egress { \"gbb0\" . 10.66.0.9 : goto e_0badcafe }\n"
                "add element inet gabbro ingress { \"gbb0\" . 10.66.0.9 : goto i_0badcafe }\n",
                digest, digest, digest);
        g_assert_cmpstr(text, ==, expected);
}

static void digest_follows_every_part(void)
{
        g_autoptr(net_port) port = example();
        g_autofree char *first = ruleset_digest(port), *second = NULL, *third = NULL, *fourth = NULL;

        add_rule(port, true, NET_PROTOCOL_TCP, "", "80");
        second = ruleset_digest(port);
        port->addresses[0].bytes[3]++;
        third = ruleset_digest(port);
        port->anti_spoofing = false;
        fourth = ruleset_digest(port);
        g_assert_cmpstr(first, !=, second);
        g_assert_cmpstr(second, !=, third);
        g_assert_cmpstr(third, !=, fourth);
}

static void unfit_ports_are_named(void)
{
        static const struct {
                const char *tap, *bridge, *hostname, *address, *gateway, *words;
        } cases[] = {
                {"gbt0badcafe", "gbb0", "web", "10.66.0.9", "10.66.0.1", NULL},
                {"gbt0badcafe", "gbb0", NULL, "10.66.0.9", "10.66.0.1", NULL},
                {"vnet0", "gbb0", "web", "10.66.0.9", "10.66.0.1", "tap name"},
                {"gbt", "gbb0", "web", "10.66.0.9", "10.66.0.1", "tap name"},
                {"gbt0\"; drop", "gbb0", "web", "10.66.0.9", "10.66.0.1", "tap name"},
                {"gbt0badcafe", "gbt0", "web", "10.66.0.9", "10.66.0.1", "bridge"},
                {"gbt0badcafe", "gb b", "web", "10.66.0.9", "10.66.0.1", "bridge"},
                {"gbt0badcafe", "sixteen-chars-xx", "web", "10.66.0.9", "10.66.0.1", "bridge"},
                {"gbt0badcafe", "gbb0", "web\nx", "10.66.0.9", "10.66.0.1", "host name"},
                {"gbt0badcafe", "gbb0", "a,b", "10.66.0.9", "10.66.0.1", "host name"},
                {"gbt0badcafe", "gbb0", "web", "10.67.0.9", "10.66.0.1", "address"},
                {"gbt0badcafe", "gbb0", "web", "10.66.0.1", "10.66.0.1", "address"},
                {"gbt0badcafe", "gbb0", "web", "2001:db8::1", "10.66.0.1", "address"},
                {"gbt0badcafe", "gbb0", "web", "10.66.0.9", "10.65.0.1", "gateway"},
                {"gbt0badcafe", "gbb0", "web", "10.66.0.9", "2001:db8::1", "IPv4"},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(net_port) port = example();
                g_autofree char *fault = NULL;

                g_free(port->tap);
                g_free(port->network.bridge);
                g_free(port->hostname);
                port->tap = g_strdup(cases[i].tap);
                port->network.bridge = g_strdup(cases[i].bridge);
                port->hostname = g_strdup(cases[i].hostname);
                address_parse(cases[i].address, port->addresses);
                address_parse(cases[i].gateway, &port->network.gateway);
                fault = net_port_fault(port);
                if (cases[i].words) {
                        g_assert_nonnull(fault);
                        g_assert_nonnull(strstr(fault, cases[i].words));
                } else {
                        g_assert_cmpstr(fault, ==, NULL);
                }
        }
}

static void ports_need_a_protocol_that_has_them(void)
{
        g_autoptr(net_port) port = example();
        g_autofree char *fault = NULL;

        add_rule(port, true, NET_PROTOCOL_ICMP, "", "80");
        fault = net_port_fault(port);
        g_assert_nonnull(fault);
}

static void mac_addresses_of_groups_are_refused(void)
{
        uint8_t mac[6];

        g_assert_cmpint(net_mac_parse("52:54:00:00:00:01", mac), ==, 0);
        g_assert_cmpint(net_mac_parse("01:00:5e:00:00:01", mac), <, 0);
        g_assert_cmpint(net_mac_parse("ff:ff:ff:ff:ff:ff", mac), <, 0);
        g_assert_cmpint(net_mac_parse("00:00:00:00:00:00", mac), <, 0);
        g_assert_cmpint(net_mac_parse("52:54:00:00:00", mac), <, 0);
}

static void dnsmasq_is_told_this(void)
{
        g_autoptr(net_port) port = example();
        g_autofree char *text = NULL;

        port->network.mtu = 1450;
        text = dhcp_config("/var/lib/gabbro/net", &port->network, "dnsmasq");
        g_assert_cmpstr(text, ==,
                        "# Written by gabbro-agent; changes are lost.\n"
                        "interface=gbb0\nexcept-interface=lo\nbind-dynamic\n"
                        "no-hosts\ndomain-needed\nbogus-priv\n"
                        "dhcp-range=10.66.0.0,static,255.255.255.0,infinite\n"
                        "dhcp-hostsdir=/var/lib/gabbro/net/gbb0/hosts\n"
                        "dhcp-leasefile=/var/lib/gabbro/net/gbb0/leases\n"
                        "pid-file=/var/lib/gabbro/net/gbb0/dnsmasq.pid\n"
                        "dhcp-authoritative\ndhcp-ignore-names\ndhcp-no-override\nno-ping\nquiet-dhcp\n"
                        "dhcp-option=option:router,10.66.0.1\n"
                        "dhcp-option=option:dns-server,10.66.0.1\n"
                        "dhcp-option=option:mtu,1450\n"
                        "user=dnsmasq\n");
}

/* A machine may be called as it likes; dnsmasq must not take its name for a command. */
static void names_that_mean_something_to_dnsmasq_are_left_out(void)
{
        static const struct {
                const char *name, *line;
        } cases[] = {
                {"web", "52:54:00:aa:bb:0c,10.66.0.9,web,infinite\n"},  {"45x", "52:54:00:aa:bb:0c,10.66.0.9,45x,infinite\n"},
                {"h", "52:54:00:aa:bb:0c,10.66.0.9,h,infinite\n"},      {"ignore", "52:54:00:aa:bb:0c,10.66.0.9,infinite\n"},
                {"infinite", "52:54:00:aa:bb:0c,10.66.0.9,infinite\n"}, {"45", "52:54:00:aa:bb:0c,10.66.0.9,infinite\n"},
                {"45m", "52:54:00:aa:bb:0c,10.66.0.9,infinite\n"},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(net_port) port = example();

                g_free(port->hostname);
                port->hostname = g_strdup(cases[i].name);
                g_autofree char *line = dhcp_host_line(port);
                g_assert_cmpstr(line, ==, cases[i].line);
        }
}

static int rules_of(GHashTable *chains, const char *chain)
{
        return g_hash_table_contains(chains, chain) ? GPOINTER_TO_INT(g_hash_table_lookup(chains, chain)) : -1;
}

/* The same chains with as many rules come back from nftables (its own words, shortened). */
static void chains_are_counted_in_commands_and_in_listings(void)
{
        static const char listing[] =
                "table bridge gabbro {\n"
                "\tset taps {\n\t\ttype ifname\n\t\telements = { \"gbt0a0b0c\",\n\t\t\t     \"gbt01\" }\n\t}\n\n"
                "\tchain prerouting {\n\t\ttype filter hook prerouting priority -300; policy accept;\n"
                "\t\tiifname \"gbt*\" goto from_guest\n\t}\n\n"
                "\tchain empty {\n\t}\n"
                "\tchain long {\n\t\tip saddr { 10.0.0.1,\n\t\t\t   10.0.0.2 } accept\n\t\tcounter drop\n\t}\n}\n"
                "table inet gabbro {\n\tchain prerouting {\n\t\tct state { established, related } accept\n\t}\n}\n";
        g_autoptr(GHashTable) present = ruleset_chains(listing), wanted = NULL, none = ruleset_chains("");
        g_autoptr(GString) text = g_string_new(NULL);
        g_autoptr(net_port) port = example();

        g_assert_cmpuint(g_hash_table_size(present), ==, 4);
        g_assert_cmpint(rules_of(present, "bridge gabbro prerouting"), ==, 1);
        g_assert_cmpint(rules_of(present, "bridge gabbro empty"), ==, 0);
        g_assert_cmpint(rules_of(present, "bridge gabbro long"), ==, 2);
        g_assert_cmpint(rules_of(present, "inet gabbro prerouting"), ==, 1);
        g_assert_cmpuint(g_hash_table_size(none), ==, 0);
        ruleset_base(text);
        ruleset_add_network(&port->network, text);
        ruleset_add_port(port, text);
        wanted = ruleset_chains(text->str);
        g_assert_cmpint(rules_of(wanted, "bridge gabbro from_guest"), ==, 7);
        g_assert_cmpint(rules_of(wanted, "inet gabbro postrouting"), ==, 1);
        g_autofree char *dhcp = g_strconcat("bridge gabbro d_", port->tap + strlen(NET_TAP_PREFIX), NULL);
        g_assert_cmpint(rules_of(wanted, dhcp), ==, 3);
}

/* What a port is made of is found in a listing by the same texts (words of nftables, shortened). */
static void marks_are_the_same_in_commands_and_in_listings(void)
{
        g_autoptr(GString) text = g_string_new(NULL), listing = g_string_new(NULL);
        g_autoptr(net_port) port = example();
        g_autofree char *digest = ruleset_digest(port);
        g_autoptr(GHashTable) wanted = NULL, present = NULL;
        const char *const expected[] = {
                "bridge gabbro taps \"gbt0badcafe\"",
                "bridge gabbro sources \"gbt0badcafe\" . 52:54:00:aa:bb:0c . 10.66.0.9",
                "bridge gabbro dhcp \"gbt0badcafe\" : goto d_0badcafe",
                "inet gabbro ingress \"gbb0\" . 10.66.0.9 : goto i_0badcafe",
        };

        ruleset_add_port(port, text);
        wanted = seen_marks(text->str);
        g_assert_cmpuint(g_hash_table_size(wanted), ==, 10);
        g_string_append(listing, "table bridge gabbro {\n\tset taps {\n\t\ttype ifname\n"
                                 "\t\telements = { \"gbt0a\",\n\t\t\t     \"gbt0badcafe\" }\n\t}\n"
                                 "\tset sources {\n\t\ttypeof iifname . ether saddr . ip saddr\n"
                                 "\t\telements = { \"gbt0badcafe\" . 52:54:00:aa:bb:0c . 10.66.0.9 }\n\t}\n"
                                 "\tmap dhcp {\n\t\telements = { \"gbt0badcafe\" : goto d_0badcafe, \"gbt0a\" : goto d_0a }\n\t}\n"
                                 "\tchain d_0badcafe {\n\t\tip saddr 0.0.0.0 accept\n");
        g_string_append_printf(listing, "\t\tcounter drop comment \"%s\"\n\t}\n}\n", digest);
        g_string_append(listing, "table inet gabbro {\n\tmap ingress {\n"
                                 "\t\telements = { \"gbb0\" . 10.66.0.9 : goto i_0badcafe }\n\t}\n\tchain e_0badcafe {\n\t}\n}\n");
        present = seen_marks(listing->str);
        for (size_t i = 0; i < G_N_ELEMENTS(expected); i++) {
                g_assert_true(g_hash_table_contains(wanted, expected[i]));
                g_assert_true(g_hash_table_contains(present, expected[i]));
        }
        g_autofree char *chain = g_strconcat("bridge gabbro d_0badcafe ", digest, NULL);
        g_autofree char *empty = g_strconcat("inet gabbro e_0badcafe ", digest, NULL);
        g_assert_true(g_hash_table_contains(wanted, chain) && g_hash_table_contains(present, chain));
        g_assert_true(g_hash_table_contains(wanted, empty) && !g_hash_table_contains(present, empty));
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/ruleset/rules_become_these_lines", rules_become_these_lines);
        g_test_add_func("/ruleset/a_port_is_all_of_this", a_port_is_all_of_this);
        g_test_add_func("/ruleset/digest_follows_every_part", digest_follows_every_part);
        g_test_add_func("/ruleset/unfit_ports_are_named", unfit_ports_are_named);
        g_test_add_func("/ruleset/ports_need_a_protocol_that_has_them", ports_need_a_protocol_that_has_them);
        g_test_add_func("/ruleset/mac_addresses_of_groups_are_refused", mac_addresses_of_groups_are_refused);
        g_test_add_func("/ruleset/dnsmasq_is_told_this", dnsmasq_is_told_this);
        g_test_add_func("/ruleset/names_that_mean_something_to_dnsmasq_are_left_out",
                        names_that_mean_something_to_dnsmasq_are_left_out);
        g_test_add_func("/ruleset/chains_are_counted_in_commands_and_in_listings", chains_are_counted_in_commands_and_in_listings);
        g_test_add_func("/ruleset/marks_are_the_same_in_commands_and_in_listings", marks_are_the_same_in_commands_and_in_listings);
        return g_test_run();
}
