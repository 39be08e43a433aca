/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/auto.h"

#include <stdbool.h>

/*
 * Word from the kernel that somebody else has changed what the network engine made: rules of nftables, or the end of one of our
 * bridges. What this process changes itself is left out. Events carry no state: call net_engine_repair() after one.
 */
struct net_watch;

enum { NET_WATCH_RULES, NET_WATCH_LINKS, NET_WATCH_FDS };

/** net_watch_open() - 0 or -errno. */
int net_watch_open(struct net_watch **ret_watch);
struct net_watch *net_watch_close(struct net_watch *watch);
AUTOPTR(net_watch, net_watch_close);

/** net_watch_fd() - readable when there is word; @which of the enumeration above. */
int net_watch_fd(const struct net_watch *watch, unsigned which);

/** net_watch_read() - take all that has come. Return: whether something of it concerns us; also when words were lost. */
bool net_watch_read(struct net_watch *watch);
