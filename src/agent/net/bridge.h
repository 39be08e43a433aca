/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/net/link.h"
#include "agent/net/port.h"

#include <glib.h>

/* The bridge of a network, its address and its settings in the kernel. Ours are known by their alias "gabbro:<uid of the network>".
 */

enum { BRIDGE_E_CONFLICT = 1 /* the name or the range belongs to another interface */ };

/** bridge_ensure() - the bridge is there, as the network wants it, and up; forwarding is on. 0, BRIDGE_E_CONFLICT with words,
 * -errno. */
int bridge_ensure(struct link_socket *link, const struct net_network *network, char **reterr_words);

/** bridge_remove() - a bridge of ours; another's or none is success without doing anything. 0 or -errno. */
int bridge_remove(struct link_socket *link, const char *name);

/** bridge_list() - names of all bridges of ours, owned by the array. */
GPtrArray *bridge_list(struct link_socket *link);
