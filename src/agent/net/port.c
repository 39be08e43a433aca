/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/port.h"

#include "base/error.h"
#include "base/names.h"

#include <glib.h>
#include <stdio.h>
#include <string.h>

struct net_port *net_port_new(void)
{
        return g_new0(struct net_port, 1);
}

struct net_port *net_port_free(struct net_port *port)
{
        if (!port) {
                return NULL;
        }
        for (size_t i = 0; i < port->n_rules; i++) {
                g_free(port->rules[i].ports);
                g_free(port->rules[i].peers);
        }
        g_free(port->rules);
        g_free(port->name);
        g_free(port->network.uid);
        g_free(port->network.bridge);
        g_free(port->network.dns);
        g_free(port->addresses);
        g_free(port->tap);
        g_free(port->hostname);
        g_free(port);
        return NULL;
}

struct net_port *net_port_copy(const struct net_port *port)
{
        struct net_port *copy = net_port_new();

        assert(port);
        *copy = *port;
        copy->name = g_strdup(port->name);
        copy->network.uid = g_strdup(port->network.uid);
        copy->network.bridge = g_strdup(port->network.bridge);
        copy->network.dns = g_memdup2(port->network.dns, port->network.n_dns * sizeof(*port->network.dns));
        copy->addresses = g_memdup2(port->addresses, port->n_addresses * sizeof(*port->addresses));
        copy->tap = g_strdup(port->tap);
        copy->hostname = g_strdup(port->hostname);
        copy->rules = g_memdup2(port->rules, port->n_rules * sizeof(*port->rules));
        for (size_t i = 0; i < port->n_rules; i++) {
                const struct net_rule *rule = &port->rules[i];

                copy->rules[i].ports = g_memdup2(rule->ports, rule->n_ports * sizeof(*rule->ports));
                copy->rules[i].peers = g_memdup2(rule->peers, rule->n_peers * sizeof(*rule->peers));
        }
        return copy;
}

bool net_tap_valid(const char *name)
{
        size_t prefix = strlen(NET_TAP_PREFIX);
        size_t digits;

        if (!name || strncmp(name, NET_TAP_PREFIX, prefix) != 0) {
                return false;
        }
        digits = strspn(name + prefix, "0123456789abcdef");
        return digits >= 1 && digits <= 12 && !name[prefix + digits];
}

bool net_bridge_valid(const char *name)
{
        size_t len;

        if (!name || strncmp(name, NET_TAP_PREFIX, strlen(NET_TAP_PREFIX)) == 0) {
                return false;
        }
        len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
        return len >= 1 && len <= 15 && !name[len] && name[0] != '-';
}

static char *network_fault(const struct net_network *network)
{
        if (!network->uid || !names_is_label(network->uid)) {
                return g_strdup("the network has no uid");
        }
        if (!net_bridge_valid(network->bridge)) {
                return g_strdup("the network's bridge name is not valid");
        }
        if (network->cidr.base.family != 4 || network->gateway.family != 4) {
                return g_strdup("this network engine carries IPv4 only");
        }
        if (network->cidr.length < 8 || network->cidr.length > 30) {
                return g_strdup("the network's range must have a prefix of 8 to 30 bits");
        }
        if (!address_prefix_contains(&network->cidr, &network->gateway)) {
                return g_strdup("the gateway is not in the network's range");
        }
        if (network->mtu && (network->mtu < 576 || network->mtu > 9000)) {
                return g_strdup("the network's MTU is out of bounds");
        }
        return NULL;
}

static char *rule_fault(const struct net_rule *rule)
{
        for (size_t i = 0; i < rule->n_ports; i++) {
                if (!rule->ports[i].from || rule->ports[i].from > rule->ports[i].to) {
                        return g_strdup("a rule has a port range that ends before it begins");
                }
        }
        if (rule->n_ports && rule->protocol != NET_PROTOCOL_TCP && rule->protocol != NET_PROTOCOL_UDP) {
                return g_strdup("a rule names ports without the protocol TCP or UDP");
        }
        return NULL;
}

char *net_port_fault(const struct net_port *port)
{
        static const uint8_t none[6];
        char *fault;

        assert(port);
        if (!net_tap_valid(port->tap)) {
                return g_strdup_printf("the tap name must be %s and 1 to 12 hex digits", NET_TAP_PREFIX);
        }
        if (memcmp(port->mac, none, sizeof(none)) == 0 || port->mac[0] & 1) {
                return g_strdup("the MAC address is not one of a single interface");
        }
        if (port->hostname && !names_is_label(port->hostname)) {
                return g_strdup("the host name is not a DNS label");
        }
        fault = network_fault(&port->network);
        for (size_t i = 0; !fault && i < port->n_addresses; i++) {
                const struct address *address = &port->addresses[i];

                if (!address_prefix_contains(&port->network.cidr, address) ||
                    address_compare(address, &port->network.gateway) == 0) {
                        fault = g_strdup("an address is not in the network's range, or is the gateway's");
                }
        }
        for (size_t i = 0; !fault && i < port->n_rules; i++) {
                fault = rule_fault(&port->rules[i]);
        }
        return fault;
}

int net_mac_parse(const char *text, uint8_t ret_mac[6])
{
        static const uint8_t none[6];
        uint8_t mac[6];

        if (!text || !mac_valid(text)) {
                return -EINVAL;
        }
        for (size_t i = 0; i < 6; i++) {
                mac[i] = g_ascii_xdigit_value(text[i * 3]) << 4 | g_ascii_xdigit_value(text[i * 3 + 1]);
        }
        if (mac[0] & 1 || memcmp(mac, none, sizeof(none)) == 0) {
                return -EINVAL;
        }
        memcpy(ret_mac, mac, sizeof(mac));
        return 0;
}

char *net_mac_format(const uint8_t mac[6], char text[MAC_TEXT_MAX])
{
        g_snprintf(text, MAC_TEXT_MAX, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
        return text;
}
