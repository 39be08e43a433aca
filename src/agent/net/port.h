/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/address.h"
#include "base/auto.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A NIC as the network engine sees it: every value parsed and checked, so that nothing of it can be more than it says. */

enum net_protocol { NET_PROTOCOL_ANY, NET_PROTOCOL_TCP, NET_PROTOCOL_UDP, NET_PROTOCOL_ICMP };

struct net_range {
        uint16_t from, to;
};

struct net_rule {
        bool ingress; /* seen from the machine */
        enum net_protocol protocol;
        struct net_range *ports; /* none: all */
        size_t n_ports;
        struct address_prefix *peers; /* none: any */
        size_t n_peers;
};

struct net_network {
        char *uid;    /* of the Network */
        char *bridge; /* net_name_valid() */
        struct address_prefix cidr;
        struct address gateway; /* of the host, in cidr */
        struct address *dns;    /* none: the gateway */
        size_t n_dns;
        uint32_t mtu;
};

struct net_port {
        char *name; /* of the Port intent */
        struct net_network network;
        uint8_t mac[6];
        struct address *addresses; /* IPv4, in the network's cidr */
        size_t n_addresses;
        char *tap;      /* NET_TAP_PREFIX and 1 to 12 hex digits */
        char *hostname; /* RFC 1123 label, or NULL */
        bool anti_spoofing;
        struct net_rule *rules;
        size_t n_rules;
};

#define NET_TAP_PREFIX "gbt"

struct net_port *net_port_new(void);
struct net_port *net_port_free(struct net_port *port);
AUTOPTR(net_port, net_port_free);
struct net_port *net_port_copy(const struct net_port *port);

/** net_tap_valid() - whether @name has the form of a tap of this engine. */
bool net_tap_valid(const char *name);
/** net_bridge_valid() - whether @name is fit for a bridge: 1 to 15 of A-Z a-z 0-9 - _, not the form of a tap. */
bool net_bridge_valid(const char *name);

/**
 * net_port_fault() - what makes @port unfit for this engine: names, families, addresses outside the range, absurd ranges
 *
 * Return: words (g_free), or NULL when it is fit.
 */
char *net_port_fault(const struct net_port *port);

/** net_mac_parse() - six bytes of "52:54:00:..."; 0 or -EINVAL (also for multicast and zero addresses). */
int net_mac_parse(const char *text, uint8_t ret_mac[6]);
char *net_mac_format(const uint8_t mac[6], char text[MAC_TEXT_MAX]);
