/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/net/port.h"

#include <glib.h>

/*
 * nftables commands as text, from checked values only. Each function appends commands to @out; what is appended together is one
 * transaction of nft_run_cmd_from_buffer().
 *
 * Two tables, both named gabbro:
 *   bridge  Every frame from a tap (gbt*) carries the MAC and IP addresses of its Port, or is a DHCP request in its own name; all
 * else is dropped, also from and to taps that no Port names. Taps never exchange frames with each other. inet    Guests of one
 * bridge reach each other and the world through the host's forward chain: egress rules of the source, ingress rules of the target,
 * answers to what was allowed. What is sent in the original direction is judged by the rules of today, packet by packet. Guests
 * reach of the host DHCP, DNS and echo on the gateway address, nothing else. Networks are translated to the host's address on the
 * way out and do not reach each other.
 */

/** ruleset_base() - both tables afresh, without networks and ports: whatever stood there is gone in the same transaction. */
void ruleset_base(GString *out);
/** ruleset_delete() - no tables. */
void ruleset_delete(GString *out);

void ruleset_add_network(const struct net_network *network, GString *out);
void ruleset_remove_network(const struct net_network *network, GString *out);

/** ruleset_add_port() - a port that is not there yet; its network is. Its digest stands as a comment on its last rules. */
void ruleset_add_port(const struct net_port *port, GString *out);
void ruleset_remove_port(const struct net_port *port, GString *out);
/** ruleset_change_port() - in one transaction from @before to @after (same tap). */
void ruleset_change_port(const struct net_port *before, const struct net_port *after, GString *out);

/** ruleset_digest() - SHA-256 over all that the port's rules are made of; 64 hex digits, g_free(). */
char *ruleset_digest(const struct net_port *port);

/** ruleset_query_*() - commands whose success and output prove that the port is in place: chains hold the digest, elements exist.
 */
void ruleset_query_chains(const struct net_port *port, GString *out);
void ruleset_query_elements(const struct net_port *port, GString *out);

/** ruleset_chains() - chains of commands of this file, or of a listing of nftables, with the number of their rules as GINT:
 * "inet gabbro forward" -> 3. The table owns its keys. */
GHashTable *ruleset_chains(const char *text);
