/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/net/port.h"

#include <glib.h>

/*
 * DHCP and DNS of a bridge by a dnsmasq of its own that outlives the agent. It answers only the MAC addresses that have a host
 * file. All files stand in DIR/<bridge>/. Blocking.
 */

/** dhcp_ensure() - configuration as the network wants it and a running process: adopted, started or, when it differs, restarted. */
int dhcp_ensure(const char *dir, const struct net_network *network, char **reterr_words);

/** dhcp_running() - whether the bridge's process runs. */
bool dhcp_running(const char *dir, const char *bridge);

/** dhcp_put_host() - answer this port; noticed at once. */
int dhcp_put_host(const char *dir, const struct net_port *port);

/** dhcp_remove_host() - no longer answer it, and give its lease back so that the address can be another's. */
int dhcp_remove_host(const char *dir, const struct net_port *port);

/** dhcp_keep_hosts() - remove the host files of a bridge whose tap names are not keys of @taps. */
int dhcp_keep_hosts(const char *dir, const struct net_network *network, GHashTable *taps);

/** dhcp_stop() - end the process and remove the bridge's folder; nothing there is success. */
int dhcp_stop(const char *dir, const char *bridge);

/** dhcp_host_line() - the one line of a port's host file: who it is, its address, and its name unless that means something else to
 * dnsmasq (the guest has it from its seed as well); g_free(). */
char *dhcp_host_line(const struct net_port *port);

/** dhcp_config() - the configuration file's text; g_free(). */
char *dhcp_config(const char *dir, const struct net_network *network, const char *user);
