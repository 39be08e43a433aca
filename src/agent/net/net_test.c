/* SPDX-License-Identifier: Apache-2.0 */
/* Packets prove the network engine in a network namespace of the test's own; other namespaces play guests and the world. */
#include "agent/net/net.h"

#include "agent/net/link.h"
#include "agent/net/netns_world.h"
#include "agent/net/nft.h"
#include "agent/net/spawn.h"
#include "agent/net/watch.h"
#include "base/file.h"

#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>

#define BRIDGE       "gbb0"
#define GATEWAY      "10.66.0.1"
#define WORLD        "198.51.100.2"
#define HOST_OUTSIDE "198.51.100.1"
#define PASS_MS      3000 /* what must come has this long */
#define DENY_MS      250  /* what must not come is awaited for so long */

#define MAC_A "52:54:00:00:00:0a"
#define MAC_B "52:54:00:00:00:0b"
#define IP_A  "10.66.0.10"
#define IP_B  "10.66.0.11"

static const uint16_t ports[] = {80, 8080};

static struct {
        struct net_engine *engine;
        char *dir;
        struct place world;
        pid_t host_server;
} rig;

/* --- making ports ----------------------------------------------------------------------------------------------------------------
 */

static struct net_port *new_port(const char *name, const char *tap, const char *mac, const char *ip)
{
        struct net_port *port = net_port_new();

        port->name = g_strdup(name);
        port->tap = g_strdup(tap);
        port->hostname = g_strdup(name);
        port->anti_spoofing = true;
        port->network.uid = g_strdup("11111111-2222-4333-8444-555555555555");
        port->network.bridge = g_strdup(BRIDGE);
        port->network.mtu = 1500;
        g_assert_cmpint(net_mac_parse(mac, port->mac), ==, 0);
        g_assert_cmpint(address_parse(GATEWAY, &port->network.gateway), ==, 0);
        g_assert_cmpint(address_prefix_parse("10.66.0.0/24", &port->network.cidr), ==, 0);
        port->addresses = g_new0(struct address, 1);
        port->n_addresses = 1;
        g_assert_cmpint(address_parse(ip, port->addresses), ==, 0);
        port->rules = g_new0(struct net_rule, 4);
        port->rules[0] = (struct net_rule){.ingress = false};
        port->n_rules = 1;
        return port;
}

static void allow_in(struct net_port *port, enum net_protocol protocol, uint16_t number)
{
        struct net_rule *rule = &port->rules[port->n_rules++];

        *rule = (struct net_rule){.ingress = true, .protocol = protocol};
        if (number) {
                rule->ports = g_new(struct net_range, 1);
                rule->n_ports = 1;
                rule->ports[0] = (struct net_range){number, number};
        }
}

static void put(const struct net_port *port)
{
        g_autofree char *words = NULL;
        int r = net_engine_put(rig.engine, port, &words);

        g_assert_cmpstr(words, ==, NULL);
        g_assert_cmpint(r, ==, 0);
}

static void attach_raw(const struct place *place, bool isolated)
{
        g_assert_cmpint(world_ip("link", "set", place->tap, "master", BRIDGE), ==, 0);
        if (isolated) {
                g_assert_cmpint(
                        world_run((const char *const[]){"bridge", "link", "set", "dev", place->tap, "isolated", "on", NULL}), ==,
                        0);
        }
}

static void attach(const struct place *place, const char *name)
{
        g_autofree char *words = NULL;
        int r;

        attach_raw(place, false);
        r = net_engine_attached(rig.engine, name, &words);
        g_assert_cmpstr(words, ==, NULL);
        g_assert_cmpint(r, ==, 0);
}

static void remove_port(const char *name)
{
        g_autofree char *words = NULL;

        g_assert_cmpint(net_engine_remove(rig.engine, name, &words), ==, 0);
}

/* The two guests that most tests need; B answers TCP. */
struct pair {
        struct net_port *port_a, *port_b;
        struct place a, b;
};

static struct pair pair_up(void)
{
        struct pair pair = {
                .port_a = new_port("p-a", "gbt000a", MAC_A, IP_A),
                .port_b = new_port("p-b", "gbt000b", MAC_B, IP_B),
        };

        put(pair.port_a);
        put(pair.port_b);
        pair.a = world_place("gbt000a", MAC_A, IP_A "/24", GATEWAY);
        pair.b = world_place("gbt000b", MAC_B, IP_B "/24", GATEWAY);
        attach(&pair.a, "p-a");
        attach(&pair.b, "p-b");
        pair.b.server = world_listen(&pair.b, ports, G_N_ELEMENTS(ports));
        return pair;
}

static void pair_down(struct pair *pair)
{
        world_place_end(&pair->a);
        world_place_end(&pair->b);
        remove_port("p-a");
        remove_port("p-b");
        net_port_free(pair->port_a);
        net_port_free(pair->port_b);
}

static void assert_answer(const struct place *from, const char *ip, uint16_t port, const char *expected)
{
        g_autofree char *answer = world_tcp(from, ip, port, *expected ? PASS_MS : DENY_MS);

        g_assert_cmpstr(answer, ==, expected);
}

static void assert_lease(const struct place *from, const char *mac, const char *expected)
{
        g_autofree char *leased = world_dhcp(from, mac, *expected ? PASS_MS : DENY_MS);

        g_assert_cmpstr(leased, ==, expected);
}

/* --- tests -----------------------------------------------------------------------------------------------------------------------
 */

static void without_rules_nothing_passes(void)
{
        g_autoptr(net_port) other = new_port("p-b", "gbt000b", MAC_B, IP_B);
        struct place a;

        put(other); /* makes the bridge */
        a = world_place("gbt000a", MAC_A, IP_A "/24", GATEWAY);
        attach_raw(&a, false);
        g_assert_false(world_ping(&a, GATEWAY, DENY_MS));
        g_assert_false(world_ping(NULL, IP_A, DENY_MS));
        assert_answer(&a, WORLD, 80, "");
        assert_lease(&a, MAC_A, "");
        /* Not even a broadcast question: ARP who-has the gateway. */
        g_assert_false(world_frame(&a,
                                   "ffffffffffff 52540000000a 0806 0001080006040001 52540000000a 0a42000a 000000000000 0a420001",
                                   NULL, BRIDGE, DENY_MS));
        world_place_end(&a);
        remove_port("p-b");
}

static void guest_reaches_the_world_behind_the_hosts_address(void)
{
        struct pair pair = pair_up();

        assert_answer(&pair.a, WORLD, 80, HOST_OUTSIDE);
        g_assert_true(world_ping(&pair.a, WORLD, PASS_MS));
        pair_down(&pair);
}

static void world_reaches_no_guest_unasked(void)
{
        struct pair pair = pair_up();

        assert_answer(&rig.world, IP_B, 80, "");
        g_assert_false(world_ping(&rig.world, IP_B, DENY_MS));
        allow_in(pair.port_b, NET_PROTOCOL_TCP, 80);
        put(pair.port_b);
        assert_answer(&rig.world, IP_B, 80, WORLD);
        assert_answer(&rig.world, IP_B, 8080, "");
        pair_down(&pair);
}

static void host_reaches_guests(void)
{
        struct pair pair = pair_up();

        assert_answer(NULL, IP_B, 80, GATEWAY);
        g_assert_true(world_ping(NULL, IP_A, PASS_MS));
        pair_down(&pair);
}

static void guest_reaches_of_the_host_only_dhcp_dns_and_echo(void)
{
        struct pair pair = pair_up();

        g_assert_true(world_ping(&pair.a, GATEWAY, PASS_MS));
        g_assert_true(world_dns(&pair.a, GATEWAY, PASS_MS));
        assert_lease(&pair.a, MAC_A, IP_A);
        assert_answer(&pair.a, GATEWAY, 80, "");
        assert_answer(&pair.a, HOST_OUTSIDE, 80, "");
        g_assert_false(world_ping(&pair.a, HOST_OUTSIDE, DENY_MS));
        g_assert_false(world_dns(&pair.a, HOST_OUTSIDE, DENY_MS));
        pair_down(&pair);
}

static void guests_of_one_bridge_obey_the_rules_of_today(void)
{
        struct pair pair = pair_up();

        assert_answer(&pair.a, IP_B, 80, "");
        allow_in(pair.port_b, NET_PROTOCOL_TCP, 80);
        put(pair.port_b);
        assert_answer(&pair.a, IP_B, 80, IP_A);
        assert_answer(&pair.a, IP_B, 8080, "");
        g_assert_false(world_ping(&pair.a, IP_B, DENY_MS));
        /* Without its egress rule the source cannot either. */
        pair.port_a->n_rules = 0;
        put(pair.port_a);
        assert_answer(&pair.a, IP_B, 80, "");
        assert_answer(&pair.a, WORLD, 80, "");
        pair.port_a->n_rules = 1;
        put(pair.port_a);
        g_free(pair.port_b->rules[1].ports);
        pair.port_b->n_rules = 1;
        put(pair.port_b);
        assert_answer(&pair.a, IP_B, 80, "");
        pair_down(&pair);
}

static void guests_never_exchange_frames(void)
{
        struct pair pair = pair_up();
        /* A frame for B's address from A, and a broadcast: neither is seen at B, isolated or not. */
        const char *direct = "52540000000b 52540000000a 0800 4500001c 0001 0000 40 11 0000 0a42000a 0a42000b 1111 2222 0008 0000";
        const char *broadcast = "ffffffffffff 52540000000a 0806 0001080006040001 52540000000a 0a42000a 000000000000 0a42000b";

        g_assert_false(world_frame(&pair.a, direct, &pair.b, "eth0", DENY_MS));
        g_assert_false(world_frame(&pair.a, broadcast, &pair.b, "eth0", DENY_MS));
        g_assert_cmpint(world_run((const char *const[]){"bridge", "link", "set", "dev", "gbt000a", "isolated", "off", NULL}), ==,
                        0);
        g_assert_cmpint(world_run((const char *const[]){"bridge", "link", "set", "dev", "gbt000b", "isolated", "off", NULL}), ==,
                        0);
        g_assert_false(world_frame(&pair.a, direct, &pair.b, "eth0", DENY_MS));
        g_assert_false(world_frame(&pair.a, broadcast, &pair.b, "eth0", DENY_MS));
        pair_down(&pair);
}

static void forged_frames_do_not_pass(void)
{
        static const struct {
                const char *what, *hex;
                bool passes;
        } cases[] = {
                {"ARP in its own name",
                 "ffffffffffff 52540000000a 0806 0001080006040001 52540000000a 0a42000a 000000000000 0a420001", true},
                {"ARP with another's address",
                 "ffffffffffff 52540000000a 0806 0001080006040001 52540000000a 0a42000b 000000000000 0a420001", false},
                {"ARP with the gateway's address",
                 "ffffffffffff 52540000000a 0806 0001080006040002 52540000000a 0a420001 ffffffffffff 0a42000b", false},
                {"ARP with another's MAC inside",
                 "ffffffffffff 52540000000a 0806 0001080006040001 52540000000b 0a42000a 000000000000 0a420001", false},
                {"ARP probe (address unknown yet)",
                 "ffffffffffff 52540000000a 0806 0001080006040001 52540000000a 00000000 000000000000 0a42000a", true},
                {"another's MAC", "ffffffffffff 52540000000b 0806 0001080006040001 52540000000b 0a42000b 000000000000 0a420001",
                 false},
                {"IP with another's address",
                 "ffffffffffff 52540000000a 0800 4500001c 0001 0000 40 11 0000 0a42000b 0a420001 1111 0035 0008 0000", false},
                {"IP from the world's address",
                 "ffffffffffff 52540000000a 0800 4500001c 0001 0000 40 11 0000 c6336402 0a420001 1111 0035 0008 0000", false},
                {"IPv6 neighbour",
                 "333300000001 52540000000a 86dd 60000000 0000 3aff fe800000000000005054 00fffe00000a "
                 "ff020000000000000000000000000001",
                 false},
                {"IPv6 router advertisement",
                 "333300000001 52540000000a 86dd 60000000 0010 3aff fe80000000000000505400fffe00000a "
                 "ff020000000000000000000000000001 8600000040000000 0000000000000000",
                 false},
                {"a VLAN tag",
                 "ffffffffffff 52540000000a 8100 0005 0806 0001080006040001 52540000000a 0a42000a 000000000000 0a420001", false},
                {"a DHCP server's offer",
                 "ffffffffffff 52540000000a 0800 4500001c 0001 0000 40 11 0000 0a42000a ffffffff 0043 0044 0008 0000", false},
                {"spanning tree", "0180c2000000 52540000000a 0026 424203 0000 00 00 00 8000000000000000 00000000", false},
        };
        struct pair pair = pair_up();

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_test_message("%s", cases[i].what);
                g_assert_cmpint(world_frame(&pair.a, cases[i].hex, NULL, BRIDGE, cases[i].passes ? PASS_MS : DENY_MS), ==,
                                cases[i].passes);
        }
        pair_down(&pair);
}

static void nobody_asks_dhcp_in_anothers_name(void)
{
        struct pair pair = pair_up();

        assert_lease(&pair.a, MAC_B, "");
        assert_lease(&pair.a, MAC_A, IP_A);
        pair_down(&pair);
}

static void address_of_a_removed_port_is_free_for_another(void)
{
        g_autoptr(net_port) a = new_port("p-a", "gbt000a", MAC_A, IP_A), b = new_port("p-b", "gbt000b", MAC_B, IP_B);
        g_autoptr(net_port) heir = new_port("p-c", "gbt000c", "52:54:00:00:00:0c", IP_A);
        struct place place;

        put(a);
        put(b);
        place = world_place("gbt000a", MAC_A, NULL, NULL);
        attach(&place, "p-a");
        assert_lease(&place, MAC_A, IP_A);
        world_place_end(&place);
        remove_port("p-a");
        put(heir);
        place = world_place("gbt000c", "52:54:00:00:00:0c", NULL, NULL);
        attach(&place, "p-c");
        assert_lease(&place, "52:54:00:00:00:0c", IP_A);
        world_place_end(&place);
        remove_port("p-c");
        remove_port("p-b");
}

static void networks_of_one_host_do_not_reach_each_other(void)
{
        struct pair pair = pair_up();
        g_autoptr(net_port) port = new_port("p-x", "gbt00f0", "52:54:00:00:00:f0", "10.67.0.9");
        struct place x;

        g_free(port->network.bridge);
        g_free(port->network.uid);
        port->network.bridge = g_strdup("gbb1");
        port->network.uid = g_strdup("99999999-2222-4333-8444-555555555555");
        g_assert_cmpint(address_parse("10.67.0.1", &port->network.gateway), ==, 0);
        g_assert_cmpint(address_prefix_parse("10.67.0.0/24", &port->network.cidr), ==, 0);
        allow_in(pair.port_b, NET_PROTOCOL_ANY, 0);
        put(pair.port_b);
        put(port);
        x = world_place("gbt00f0", "52:54:00:00:00:f0", "10.67.0.9/24", "10.67.0.1");
        g_assert_cmpint(world_ip("link", "set", "gbt00f0", "master", "gbb1"), ==, 0);
        assert_answer(&x, WORLD, 80, HOST_OUTSIDE);
        assert_answer(&x, IP_B, 80, "");
        g_assert_false(world_ping(&x, GATEWAY, DENY_MS));
        assert_answer(&rig.world, IP_B, 80, WORLD);
        world_place_end(&x);
        remove_port("p-x");
        pair_down(&pair);
}

static void peers_and_protocols_of_a_rule_hold(void)
{
        struct pair pair = pair_up();
        struct net_rule *rule;

        allow_in(pair.port_b, NET_PROTOCOL_TCP, 80);
        rule = &pair.port_b->rules[1];
        rule->peers = g_new0(struct address_prefix, 2);
        rule->n_peers = 2;
        g_assert_cmpint(address_prefix_parse("198.51.100.0/24", &rule->peers[0]), ==, 0);
        g_assert_cmpint(address_prefix_parse("198.51.100.2/32", &rule->peers[1]), ==, 0);
        put(pair.port_b);
        assert_answer(&rig.world, IP_B, 80, WORLD);
        assert_answer(&pair.a, IP_B, 80, "");
        /* A rule for IPv6 peers only is not a rule for everybody. */
        g_assert_cmpint(address_prefix_parse("2001:db8::/32", &rule->peers[0]), ==, 0);
        rule->n_peers = 1;
        put(pair.port_b);
        assert_answer(&rig.world, IP_B, 80, "");
        allow_in(pair.port_b, NET_PROTOCOL_ICMP, 0);
        put(pair.port_b);
        g_assert_true(world_ping(&pair.a, IP_B, PASS_MS));
        pair_down(&pair);
}

/* --- life of what is in place ----------------------------------------------------------------------------------------------------
 */

static int dnsmasq_pidfd(void)
{
        g_autofree char *pid_file = g_build_filename(rig.dir, BRIDGE, "dnsmasq.pid", NULL);
        g_autofree char *argument = g_strdup_printf("--conf-file=%s/%s/dnsmasq.conf", rig.dir, BRIDGE);

        return spawn_find(pid_file, argument);
}

static char *dnsmasq_pid(void)
{
        g_autofree char *pid_file = g_build_filename(rig.dir, BRIDGE, "dnsmasq.pid", NULL);
        char *text = NULL;
        size_t len;

        g_assert_cmpint(file_read(pid_file, 64, &text, &len), ==, 0);
        return text;
}

static void restart_engine(const struct net_port *const *known, size_t n)
{
        struct net_engine_options options = {.state_dir = rig.dir};
        g_autofree char *words = NULL;

        net_engine_free(rig.engine);
        g_assert_cmpint(net_engine_new(&options, &rig.engine, &words), ==, 0);
        g_assert_cmpint(net_engine_rebuild(rig.engine, known, n, &words), ==, 0);
        g_assert_cmpstr(words, ==, NULL);
}

static void removal_leaves_no_trace(void)
{
        g_autoptr(net_port) a = new_port("p-a", "gbt000a", MAC_A, IP_A);
        g_autoptr(link_socket) link = NULL;
        g_autoptr(nft) nft = nft_new();
        g_autofree char *output = NULL;
        g_autoptr(GDir) folder = NULL;
        struct link_info info;

        put(a);
        remove_port("p-a");
        g_assert_cmpint(link_open(&link), ==, 0);
        g_assert_cmpint(link_get(link, BRIDGE, &info), ==, -ENODEV);
        g_assert_cmpint(dnsmasq_pidfd(), ==, -ESRCH);
        folder = g_dir_open(rig.dir, 0, NULL);
        g_assert_cmpstr(g_dir_read_name(folder), ==, NULL);
        g_assert_cmpint(nft_run(nft, "list ruleset", &output, NULL), ==, 0);
        g_assert_null(strstr(output, BRIDGE));
        g_assert_null(strstr(output, "gbt000a"));
        g_assert_null(strstr(output, IP_A));
        g_assert_null(strstr(output, "chain e_"));
        remove_port("p-a"); /* once more is no failure */
}

static void restarted_agent_takes_over_and_removes_the_stale(void)
{
        struct pair pair = pair_up();
        const struct net_port *known[] = {pair.port_b};
        g_autofree char *pid = dnsmasq_pid(), *pid_after = NULL, *words = NULL;

        restart_engine(known, 1);
        pid_after = dnsmasq_pid();
        g_assert_cmpstr(pid, ==, pid_after);
        assert_answer(NULL, IP_B, 80, GATEWAY);
        g_assert_cmpint(net_engine_verify(rig.engine, "p-b", &words), ==, 0);
        /* Nobody named A's port any more. */
        assert_answer(&pair.a, WORLD, 80, "");
        assert_lease(&pair.a, MAC_A, "");
        g_assert_cmpint(net_engine_verify(rig.engine, "p-a", &words), ==, NET_E_ABSENT);
        put(pair.port_a);
        assert_answer(&pair.a, WORLD, 80, HOST_OUTSIDE);
        pair_down(&pair);
}

/* Its folder was removed while the server ran: nothing but its command line tells whose it is. */
static void dhcp_server_without_its_files_is_replaced(void)
{
        g_autoptr(net_port) a = new_port("p-a", "gbt000a", MAC_A, IP_A);
        g_autofree char *folder = g_build_filename(rig.dir, BRIDGE, NULL), *before = NULL, *after = NULL, *words = NULL;
        const struct net_port *known[] = {a};
        int pidfd;

        put(a);
        before = dnsmasq_pid();
        g_assert_cmpint(world_run((const char *const[]){"rm", "-r", folder, NULL}), ==, 0);
        restart_engine(known, 1);
        after = dnsmasq_pid();
        g_assert_cmpstr(before, !=, after);
        g_assert_cmpint(net_engine_verify(rig.engine, "p-a", &words), ==, 0);
        pidfd = dnsmasq_pidfd();
        g_assert_cmpint(pidfd, >=, 0);
        close(pidfd);
        remove_port("p-a");
}

static void others_changes_are_told_and_ours_are_not(void)
{
        g_autoptr(net_port) a = new_port("p-a", "gbt000a", MAC_A, IP_A);
        g_autoptr(net_watch) watch = NULL;
        g_autofree char *words = NULL;
        bool repaired = false;

        g_assert_cmpint(net_watch_open(&watch), ==, 0);
        put(a);
        g_assert_false(net_watch_read(watch));
        g_assert_cmpint(world_run((const char *const[]){"nft", "flush", "ruleset", NULL}), ==, 0);
        g_assert_true(net_watch_read(watch));
        g_assert_false(net_watch_read(watch));
        g_assert_cmpint(world_run((const char *const[]){"ip", "link", "delete", BRIDGE, NULL}), ==, 0);
        g_assert_true(net_watch_read(watch));
        g_assert_cmpint(net_engine_repair(rig.engine, &repaired, &words), ==, 0);
        g_assert_true(repaired);
        g_assert_false(net_watch_read(watch)); /* what puts it right is ours */
        remove_port("p-a");
}

static void restart_without_ports_removes_networks(void)
{
        g_autoptr(net_port) a = new_port("p-a", "gbt000a", MAC_A, IP_A);
        g_autoptr(link_socket) link = NULL;
        struct link_info info;

        put(a);
        restart_engine(NULL, 0);
        g_assert_cmpint(link_open(&link), ==, 0);
        g_assert_cmpint(link_get(link, BRIDGE, &info), ==, -ENODEV);
        g_assert_cmpint(dnsmasq_pidfd(), ==, -ESRCH);
}

static void the_same_port_again_changes_nothing(void)
{
        g_autoptr(net_port) a = new_port("p-a", "gbt000a", MAC_A, IP_A);
        g_autoptr(nft) nft = nft_new();
        g_autofree char *words = NULL;
        bool repaired = false;
        uint32_t generation;

        put(a);
        generation = nft_generation(nft);
        g_assert_cmpuint(generation, !=, 0);
        put(a);
        g_assert_cmpint(net_engine_verify(rig.engine, "p-a", &words), ==, 0);
        g_assert_cmpuint(nft_generation(nft), ==, generation);
        /* One element of a set, which no chain tells of. */
        g_assert_cmpint(nft_run(nft, "delete element bridge gabbro taps { \"gbt000a\" }", NULL, NULL), ==, 0);
        g_assert_cmpuint(nft_generation(nft), !=, generation);
        g_assert_cmpint(net_engine_verify(rig.engine, "p-a", &words), ==, NET_E_ABSENT);
        g_clear_pointer(&words, g_free);
        g_assert_cmpint(net_engine_repair(rig.engine, &repaired, &words), ==, 0);
        g_assert_cmpint(net_engine_verify(rig.engine, "p-a", &words), ==, 0);
        remove_port("p-a");
}

static void repair_makes_good_what_others_broke(void)
{
        struct pair pair = pair_up();
        g_autoptr(nft) nft = nft_new();
        g_autofree char *words = NULL, *absent = NULL;
        bool repaired = false;
        int pidfd;

        g_assert_cmpint(net_engine_repair(rig.engine, &repaired, &words), ==, 0);
        g_assert_false(repaired);
        g_assert_cmpint(nft_run(nft, "flush chain inet gabbro e_000a", NULL, NULL), ==, 0);
        g_assert_cmpint(net_engine_verify(rig.engine, "p-a", &absent), ==, NET_E_ABSENT);
        g_assert_nonnull(absent);
        g_assert_cmpint(net_engine_repair(rig.engine, &repaired, &words), ==, 0);
        g_assert_true(repaired);
        g_assert_cmpint(nft_run(nft, "flush ruleset", NULL, NULL), ==, 0);
        g_assert_cmpint(net_engine_repair(rig.engine, &repaired, &words), ==, 0);
        g_assert_true(repaired);
        assert_answer(&pair.a, WORLD, 80, HOST_OUTSIDE);
        pidfd = dnsmasq_pidfd();
        g_assert_cmpint(spawn_stop(pidfd, 3000000), ==, 0);
        close(pidfd);
        g_assert_cmpint(net_engine_repair(rig.engine, &repaired, &words), ==, 0);
        g_assert_cmpint(net_engine_verify(rig.engine, "p-a", &words), ==, 0);
        pair_down(&pair);
}

static void tap_in_use_keeps_its_rules(void)
{
        g_autoptr(net_port) a = new_port("p-a", "gbt000a", MAC_A, IP_A);
        g_autofree char *words = NULL;
        struct place place;

        put(a);
        place = world_place("gbt000a", MAC_A, NULL, NULL);
        g_assert_cmpint(net_engine_remove(rig.engine, "p-a", &words), ==, NET_E_BUSY);
        world_place_end(&place);
        remove_port("p-a");
}

static void conflicts_are_refused_with_words(void)
{
        g_autoptr(net_port) a = new_port("p-a", "gbt000a", MAC_A, IP_A), same_ip = new_port("p-b", "gbt000b", MAC_B, IP_A);
        g_autoptr(net_port) same_mac = new_port("p-b", "gbt000b", MAC_A, IP_B), same_tap = new_port("p-b", "gbt000a", MAC_B, IP_B);
        g_autoptr(net_port) range = new_port("p-b", "gbt000b", MAC_B, "198.51.100.9");
        g_autoptr(net_port) foreign = new_port("p-b", "gbt000b", MAC_B, IP_B);
        const struct net_port *cases[] = {same_ip, same_mac, same_tap, range, foreign};

        g_assert_cmpint(address_prefix_parse("198.51.100.0/24", &range->network.cidr), ==, 0);
        g_assert_cmpint(address_parse("198.51.100.254", &range->network.gateway), ==, 0);
        g_free(range->network.bridge);
        range->network.bridge = g_strdup("gbb7");
        g_free(foreign->network.bridge);
        foreign->network.bridge = g_strdup("lo");
        put(a);
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *words = NULL;

                g_assert_cmpint(net_engine_put(rig.engine, cases[i], &words), ==, NET_E_CONFLICT);
                g_assert_nonnull(words);
        }
        remove_port("p-a");
        restart_engine(NULL, 0);
}

static void set_up(void)
{
        struct net_engine_options options;
        g_autofree char *words = NULL;

        rig.dir = g_dir_make_tmp("gabbro-net-XXXXXX", NULL);
        g_assert_cmpint(g_chmod(rig.dir, 0755), ==, 0);
        options = (struct net_engine_options){.state_dir = rig.dir};
        rig.world = world_place("world0", "02:00:00:00:00:01", WORLD "/24", NULL);
        g_assert_cmpint(world_ip("addr", "add", HOST_OUTSIDE "/24", "dev", "world0"), ==, 0);
        g_assert_cmpint(world_ip_in(&rig.world, "route", "add", "10.66.0.0/24", "via", HOST_OUTSIDE), ==, 0);
        rig.world.server = world_listen(&rig.world, ports, 1);
        rig.host_server = world_listen(NULL, ports, 1);
        g_assert_cmpint(net_engine_new(&options, &rig.engine, &words), ==, 0);
}

static void tear_down(void)
{
        g_autofree char *words = NULL;

        g_assert_cmpint(net_engine_clear(rig.engine, &words), ==, 0);
        net_engine_free(rig.engine);
        world_place_end(&rig.world);
        world_end(rig.host_server);
        g_assert_cmpint(g_rmdir(rig.dir), ==, 0);
        g_free(rig.dir);
}

int main(int argc, char **argv)
{
        int r;

        g_test_init(&argc, &argv, NULL);
        if (!world_enter()) {
                return 77;
        }
        set_up();
        g_test_add_func("/net/without_rules_nothing_passes", without_rules_nothing_passes);
        g_test_add_func("/net/guest_reaches_the_world_behind_the_hosts_address", guest_reaches_the_world_behind_the_hosts_address);
        g_test_add_func("/net/world_reaches_no_guest_unasked", world_reaches_no_guest_unasked);
        g_test_add_func("/net/host_reaches_guests", host_reaches_guests);
        g_test_add_func("/net/guest_reaches_of_the_host_only_dhcp_dns_and_echo", guest_reaches_of_the_host_only_dhcp_dns_and_echo);
        g_test_add_func("/net/guests_of_one_bridge_obey_the_rules_of_today", guests_of_one_bridge_obey_the_rules_of_today);
        g_test_add_func("/net/guests_never_exchange_frames", guests_never_exchange_frames);
        g_test_add_func("/net/forged_frames_do_not_pass", forged_frames_do_not_pass);
        g_test_add_func("/net/nobody_asks_dhcp_in_anothers_name", nobody_asks_dhcp_in_anothers_name);
        g_test_add_func("/net/address_of_a_removed_port_is_free_for_another", address_of_a_removed_port_is_free_for_another);
        g_test_add_func("/net/networks_of_one_host_do_not_reach_each_other", networks_of_one_host_do_not_reach_each_other);
        g_test_add_func("/net/peers_and_protocols_of_a_rule_hold", peers_and_protocols_of_a_rule_hold);
        g_test_add_func("/net/removal_leaves_no_trace", removal_leaves_no_trace);
        g_test_add_func("/net/restarted_agent_takes_over_and_removes_the_stale", restarted_agent_takes_over_and_removes_the_stale);
        g_test_add_func("/net/restart_without_ports_removes_networks", restart_without_ports_removes_networks);
        g_test_add_func("/net/the_same_port_again_changes_nothing", the_same_port_again_changes_nothing);
        g_test_add_func("/net/dhcp_server_without_its_files_is_replaced", dhcp_server_without_its_files_is_replaced);
        g_test_add_func("/net/others_changes_are_told_and_ours_are_not", others_changes_are_told_and_ours_are_not);
        g_test_add_func("/net/repair_makes_good_what_others_broke", repair_makes_good_what_others_broke);
        g_test_add_func("/net/tap_in_use_keeps_its_rules", tap_in_use_keeps_its_rules);
        g_test_add_func("/net/conflicts_are_refused_with_words", conflicts_are_refused_with_words);
        r = g_test_run();
        tear_down();
        return r;
}
