/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/ruleset.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

#define BRIDGE_TABLE "bridge gabbro"
#define INET_TABLE   "inet gabbro"
#define GUEST_TAPS   "\"" NET_TAP_PREFIX "*\""

static const char base_rules[] = "table " BRIDGE_TABLE " {\n"
                                 "  set taps { type ifname; }\n"
                                 "  set unguarded { type ifname; }\n"
                                 "  set macs { typeof iifname . ether saddr; }\n"
                                 "  set sources { typeof iifname . ether saddr . ip saddr; }\n"
                                 "  set targets { typeof oifname . ether daddr; }\n"
                                 "  map dhcp { type ifname : verdict; }\n"
                                 "  chain prerouting {\n"
                                 "    type filter hook prerouting priority -300; policy accept;\n"
                                 "    iifname " GUEST_TAPS " goto from_guest\n"
                                 "  }\n"
                                 "  chain from_guest {\n"
                                 "    iifname . ether saddr != @macs counter drop\n"
                                 "    ether type arp goto from_guest_arp\n"
                                 "    ether type ip udp sport 68 udp dport 67 iifname vmap @dhcp\n"
                                 "    ether type ip udp sport 67 counter drop\n"
                                 "    ether type ip iifname . ether saddr . ip saddr @sources accept\n"
                                 "    ether type ip iifname @unguarded accept\n"
                                 "    counter drop\n"
                                 "  }\n"
                                 "  chain from_guest_arp {\n"
                                 "    iifname @unguarded accept\n"
                                 "    iifname . arp saddr ether . arp saddr ip @sources accept\n"
                                 "    iifname . arp saddr ether @macs arp saddr ip 0.0.0.0 arp operation request accept\n"
                                 "    counter drop\n"
                                 "  }\n"
                                 "  chain forward {\n"
                                 "    type filter hook forward priority -200; policy accept;\n"
                                 "    iifname " GUEST_TAPS " oifname " GUEST_TAPS " counter drop\n"
                                 "  }\n"
                                 "  chain postrouting {\n"
                                 "    type filter hook postrouting priority -300; policy accept;\n"
                                 "    oifname " GUEST_TAPS " goto to_guest\n"
                                 "  }\n"
                                 "  chain to_guest {\n"
                                 "    oifname != @taps counter drop\n"
                                 "    ether type != { arp, ip } counter drop\n"
                                 "    oifname . ether daddr @targets accept\n"
                                 "    ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 accept\n"
                                 "    counter drop\n"
                                 "  }\n"
                                 "}\n"
                                 "table " INET_TABLE " {\n"
                                 "  set bridges { type ifname; }\n"
                                 "  set same_network { typeof iifname . oifname; }\n"
                                 "  set gateways { typeof iifname . ip daddr; }\n"
                                 "  set ranges { type ipv4_addr; flags interval; }\n"
                                 "  map egress { typeof iifname . ip saddr : verdict; }\n"
                                 "  map ingress { typeof oifname . ip daddr : verdict; }\n"
                                 "  chain input {\n"
                                 "    type filter hook input priority 0; policy accept;\n"
                                 "    iifname " GUEST_TAPS " counter drop\n"
                                 "    iifname @bridges goto guest_to_host\n"
                                 "  }\n"
                                 "  chain guest_to_host {\n"
                                 "    ct state invalid counter drop\n"
                                 "    ct state established,related ct direction reply accept\n"
                                 "    udp sport 68 udp dport 67 accept\n"
                                 "    iifname . ip daddr != @gateways counter drop\n"
                                 "    udp dport 53 accept\n"
                                 "    tcp dport 53 accept\n"
                                 "    icmp type echo-request accept\n"
                                 "    counter drop\n"
                                 "  }\n"
                                 "  chain forward {\n"
                                 "    type filter hook forward priority 0; policy accept;\n"
                                 "    iifname " GUEST_TAPS " counter drop\n"
                                 "    iifname @bridges goto from_guest\n"
                                 "    oifname @bridges goto to_guest\n"
                                 "  }\n"
                                 "  chain from_guest {\n"
                                 "    ct state invalid counter drop\n"
                                 "    oifname @bridges iifname . oifname != @same_network counter drop\n"
                                 "    ct state established,related ct direction reply accept\n"
                                 "    iifname . ip saddr vmap @egress\n"
                                 "    counter drop\n"
                                 "  }\n"
                                 "  chain egress_allowed {\n"
                                 "    oifname @bridges goto to_guest\n"
                                 "    accept\n"
                                 "  }\n"
                                 "  chain to_guest {\n"
                                 "    ct state invalid counter drop\n"
                                 "    ct state established,related ct direction reply accept\n"
                                 "    oifname . ip daddr vmap @ingress\n"
                                 "    counter drop\n"
                                 "  }\n"
                                 "  chain postrouting {\n"
                                 "    type nat hook postrouting priority 100; policy accept;\n"
                                 "    oifname != @bridges ip saddr @ranges masquerade\n"
                                 "  }\n"
                                 "}\n";

void ruleset_delete(GString *out)
{
        assert(out);
        /* Adding first makes deleting succeed also when nothing is there. */
        g_string_append(out, "add table " BRIDGE_TABLE "\ndelete table " BRIDGE_TABLE "\n"
                             "add table " INET_TABLE "\ndelete table " INET_TABLE "\n");
}

void ruleset_base(GString *out)
{
        ruleset_delete(out);
        g_string_append(out, base_rules);
}

/* --- networks --------------------------------------------------------------------------------------------------------------------
 */

static void network_elements(const char *verb, const struct net_network *network, GString *out)
{
        char gateway[ADDRESS_TEXT_MAX], cidr[ADDRESS_PREFIX_TEXT_MAX];

        assert(net_bridge_valid(network->bridge));
        address_format(&network->gateway, gateway);
        address_prefix_format(&network->cidr, cidr);
        g_string_append_printf(out, "%s element " INET_TABLE " bridges { \"%s\" }\n", verb, network->bridge);
        g_string_append_printf(out, "%s element " INET_TABLE " same_network { \"%s\" . \"%s\" }\n", verb, network->bridge,
                               network->bridge);
        g_string_append_printf(out, "%s element " INET_TABLE " gateways { \"%s\" . %s }\n", verb, network->bridge, gateway);
        g_string_append_printf(out, "%s element " INET_TABLE " ranges { %s }\n", verb, cidr);
}

void ruleset_add_network(const struct net_network *network, GString *out)
{
        assert(network && out);
        network_elements("add", network, out);
}

void ruleset_remove_network(const struct net_network *network, GString *out)
{
        assert(network && out);
        network_elements("delete", network, out);
}

/* --- rules of a port -------------------------------------------------------------------------------------------------------------
 */

static const char *port_hex(const struct net_port *port)
{
        assert(net_tap_valid(port->tap));
        return port->tap + strlen(NET_TAP_PREFIX);
}

static int compare_prefix(const void *a, const void *b)
{
        const struct address_prefix *left = a, *right = b;
        int order = address_compare(&left->base, &right->base);

        return order ? order : left->length - right->length;
}

/* " ip saddr { ... }" of the IPv4 peers, none inside another (sets refuse overlaps). false: the rule can match nothing. */
static bool append_peers(const struct net_rule *rule, GString *out)
{
        g_autofree struct address_prefix *sorted = g_memdup2(rule->peers, rule->n_peers * sizeof(*rule->peers));
        const struct address_prefix *last = NULL;

        if (!rule->n_peers) {
                return true;
        }
        qsort(sorted, rule->n_peers, sizeof(*sorted), compare_prefix);
        for (size_t i = 0; i < rule->n_peers; i++) {
                const struct address_prefix *peer = &sorted[i];
                char text[ADDRESS_PREFIX_TEXT_MAX];

                if (peer->base.family != 4 || (last && address_prefix_contains(last, &peer->base))) {
                        continue;
                }
                if (peer->length == 0) {
                        return true;
                }
                g_string_append(out, last ? ", " : rule->ingress ? " ip saddr { " : " ip daddr { ");
                g_string_append(out, address_prefix_format(peer, text));
                last = peer;
        }
        if (last) {
                g_string_append(out, " }");
        }
        return last;
}

static int compare_range(const void *a, const void *b)
{
        const struct net_range *left = a, *right = b;

        return left->from != right->from ? (int)left->from - right->from : (int)left->to - right->to;
}

/* "{ 80, 443-445 }", ranges that touch joined. */
static void append_ranges(const struct net_rule *rule, GString *out)
{
        g_autofree struct net_range *sorted = g_memdup2(rule->ports, rule->n_ports * sizeof(*rule->ports));
        size_t n = 0;

        assert(rule->n_ports);
        qsort(sorted, rule->n_ports, sizeof(*sorted), compare_range);
        for (size_t i = 1; i < rule->n_ports; i++) {
                if (sorted[i].from <= (unsigned)sorted[n].to + 1) {
                        sorted[n].to = MAX(sorted[n].to, sorted[i].to);
                } else {
                        sorted[++n] = sorted[i];
                }
        }
        for (size_t i = 0; i <= n; i++) {
                g_string_append_printf(out, i ? ", %u" : "{ %u", sorted[i].from);
                if (sorted[i].to != sorted[i].from) {
                        g_string_append_printf(out, "-%u", sorted[i].to);
                }
        }
        g_string_append(out, " }");
}

static void append_protocol(const struct net_rule *rule, GString *out)
{
        static const char *const names[] = {
                [NET_PROTOCOL_ANY] = NULL, [NET_PROTOCOL_TCP] = "tcp", [NET_PROTOCOL_UDP] = "udp", [NET_PROTOCOL_ICMP] = "icmp"};
        const char *name = names[rule->protocol];

        if (name && rule->n_ports) {
                g_string_append_printf(out, " %s dport ", name);
                append_ranges(rule, out);
        } else if (name) {
                g_string_append_printf(out, " ip protocol %s", name);
        }
}

static void append_rules(const struct net_port *port, bool ingress, const char *digest, GString *out)
{
        const char *verdict = ingress ? "accept" : "goto egress_allowed";
        char letter = ingress ? 'i' : 'e';

        for (size_t i = 0; i < port->n_rules; i++) {
                g_autoptr(GString) match = g_string_new(NULL);

                if (port->rules[i].ingress != ingress || !append_peers(&port->rules[i], match)) {
                        continue;
                }
                append_protocol(&port->rules[i], match);
                g_string_append_printf(out, "add rule " INET_TABLE " %c_%s%s counter %s\n", letter, port_hex(port), match->str,
                                       verdict);
        }
        g_string_append_printf(out, "add rule " INET_TABLE " %c_%s counter drop comment \"%s\"\n", letter, port_hex(port), digest);
}

/* Chains exist and hold this port's rules, whether or not they were there. */
static void append_chains(const struct net_port *port, GString *out)
{
        const uint8_t *mac = port->mac;
        const char *hex = port_hex(port);
        g_autofree char *digest = ruleset_digest(port);

        g_string_append_printf(out, "add chain " BRIDGE_TABLE " d_%s\nflush chain " BRIDGE_TABLE " d_%s\n", hex, hex);
        /* The client hardware address of BOOTP stands 28 bytes into the UDP payload: nobody asks or releases in another's name. */
        g_string_append_printf(out,
                               "add rule " BRIDGE_TABLE " d_%s ip saddr 0.0.0.0 @th,288,48 0x%02x%02x%02x%02x%02x%02x accept\n",
                               hex, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
        g_string_append_printf(out,
                               "add rule " BRIDGE_TABLE
                               " d_%s iifname . ether saddr . ip saddr @sources @th,288,48 0x%02x%02x%02x%02x%02x%02x accept\n",
                               hex, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
        g_string_append_printf(out, "add rule " BRIDGE_TABLE " d_%s counter drop comment \"%s\"\n", hex, digest);
        for (size_t i = 0; i < 2; i++) {
                g_string_append_printf(out, "add chain " INET_TABLE " %c_%s\nflush chain " INET_TABLE " %c_%s\n", "ei"[i], hex,
                                       "ei"[i], hex);
                append_rules(port, i == 1, digest, out);
        }
}

/* --- elements of a port ----------------------------------------------------------------------------------------------------------
 */

static void address_elements(const char *verb, const struct net_port *port, const struct address *address, GString *out)
{
        char text[ADDRESS_TEXT_MAX], mac[MAC_TEXT_MAX];
        const char *hex = port_hex(port);
        bool lookup = g_str_equal(verb, "get");

        address_format(address, text);
        g_string_append_printf(out, "%s element " BRIDGE_TABLE " sources { \"%s\" . %s . %s }\n", verb, port->tap,
                               net_mac_format(port->mac, mac), text);
        if (lookup) {
                g_string_append_printf(out, "%s element " INET_TABLE " egress { \"%s\" . %s }\n", verb, port->network.bridge, text);
                g_string_append_printf(out, "%s element " INET_TABLE " ingress { \"%s\" . %s }\n", verb, port->network.bridge,
                                       text);
                return;
        }
        g_string_append_printf(out, "%s element " INET_TABLE " egress { \"%s\" . %s : goto e_%s }\n", verb, port->network.bridge,
                               text, hex);
        g_string_append_printf(out, "%s element " INET_TABLE " ingress { \"%s\" . %s : goto i_%s }\n", verb, port->network.bridge,
                               text, hex);
}

static void port_elements(const char *verb, const struct net_port *port, GString *out)
{
        char mac[MAC_TEXT_MAX];
        bool lookup = g_str_equal(verb, "get");

        net_mac_format(port->mac, mac);
        g_string_append_printf(out, "%s element " BRIDGE_TABLE " taps { \"%s\" }\n", verb, port->tap);
        g_string_append_printf(out, "%s element " BRIDGE_TABLE " macs { \"%s\" . %s }\n", verb, port->tap, mac);
        g_string_append_printf(out, "%s element " BRIDGE_TABLE " targets { \"%s\" . %s }\n", verb, port->tap, mac);
        if (!port->anti_spoofing) {
                g_string_append_printf(out, "%s element " BRIDGE_TABLE " unguarded { \"%s\" }\n", verb, port->tap);
        }
        if (lookup) {
                g_string_append_printf(out, "%s element " BRIDGE_TABLE " dhcp { \"%s\" }\n", verb, port->tap);
        } else {
                g_string_append_printf(out, "%s element " BRIDGE_TABLE " dhcp { \"%s\" : goto d_%s }\n", verb, port->tap,
                                       port_hex(port));
        }
        for (size_t i = 0; i < port->n_addresses; i++) {
                address_elements(verb, port, &port->addresses[i], out);
        }
}

void ruleset_add_port(const struct net_port *port, GString *out)
{
        assert(port && out);
        append_chains(port, out);
        port_elements("add", port, out);
}

void ruleset_remove_port(const struct net_port *port, GString *out)
{
        const char *hex = port_hex(port);

        assert(out);
        port_elements("delete", port, out);
        g_string_append_printf(out, "delete chain " INET_TABLE " e_%s\ndelete chain " INET_TABLE " i_%s\n", hex, hex);
        g_string_append_printf(out, "delete chain " BRIDGE_TABLE " d_%s\n", hex);
}

void ruleset_change_port(const struct net_port *before, const struct net_port *after, GString *out)
{
        assert(before && after && out);
        assert(g_str_equal(before->tap, after->tap));
        port_elements("delete", before, out);
        append_chains(after, out);
        port_elements("add", after, out);
}

void ruleset_query_chains(const struct net_port *port, GString *out)
{
        const char *hex = port_hex(port);

        assert(out);
        g_string_append_printf(out, "list chain " BRIDGE_TABLE " d_%s\n", hex);
        g_string_append_printf(out, "list chain " INET_TABLE " e_%s\n", hex);
        g_string_append_printf(out, "list chain " INET_TABLE " i_%s\n", hex);
}

void ruleset_query_elements(const struct net_port *port, GString *out)
{
        assert(port && out);
        port_elements("get", port, out);
}

/* --- digest ----------------------------------------------------------------------------------------------------------------------
 */

char *ruleset_digest(const struct net_port *port)
{
        g_autoptr(GString) text = g_string_new("1\n");

        assert(port);
        port_elements("add", port, text);
        append_rules(port, true, "", text);
        append_rules(port, false, "", text);
        return g_compute_checksum_for_string(G_CHECKSUM_SHA256, text->str, text->len);
}

/* --- reading rules -------------------------------------------------------------------------------------------------------------
 */

static void count_rule(GHashTable *chains, const char *chain, int change)
{
        int n = GPOINTER_TO_INT(g_hash_table_lookup(chains, chain));

        g_hash_table_insert(chains, g_strdup(chain), GINT_TO_POINTER(n + change));
}

static int braces(const char *line)
{
        int depth = 0;

        for (; *line; line++) {
                depth += (*line == '{') - (*line == '}');
        }
        return depth;
}

GHashTable *ruleset_chains(const char *text)
{
        GHashTable *chains = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_auto(GStrv) lines = g_strsplit(text, "\n", 0);
        g_autofree char *table = NULL, *chain = NULL;
        int depth = 0;

        assert(text);
        for (char **at = lines; *at; at++) {
                char *line = g_strstrip(*at);
                g_auto(GStrv) words = g_strsplit(line, " ", 6);
                guint n = g_strv_length(words);

                if (n >= 5 && g_str_equal(words[0], "add") && g_str_has_prefix(words[1], "chain")) {
                        g_autofree char *key = g_strjoin(" ", words[2], words[3], words[4], NULL);

                        count_rule(chains, key, 0);
                } else if (n >= 6 && g_str_equal(words[0], "add") && g_str_equal(words[1], "rule")) {
                        g_autofree char *key = g_strjoin(" ", words[2], words[3], words[4], NULL);

                        count_rule(chains, key, 1);
                } else if (n == 4 && g_str_equal(words[0], "table")) {
                        g_free(table);
                        table = g_strjoin(" ", words[1], words[2], NULL);
                        depth = 0;
                        continue;
                } else if (table && n == 3 && g_str_equal(words[0], "chain")) {
                        g_free(chain);
                        chain = g_strjoin(" ", table, words[1], NULL);
                        count_rule(chains, chain, 0);
                        depth = 0;
                        continue;
                } else if (chain && depth == 0 && g_str_equal(line, "}")) {
                        g_clear_pointer(&chain, g_free);
                        continue;
                } else if (chain && depth == 0 && *line && !g_str_has_prefix(line, "type ")) {
                        count_rule(chains, chain, 1);
                }
                depth = chain ? depth + braces(line) : 0;
        }
        return chains;
}
