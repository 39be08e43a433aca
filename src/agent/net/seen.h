/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/net/nft.h"
#include "agent/net/port.h"
#include "base/auto.h"

#include <glib.h>
#include <stdbool.h>

/*
 * What stands in the kernel's tables, read as a whole and only when they have changed: a question about one rule costs as much as
 * reading all of them, and a host has many ports.
 */
struct seen;

struct seen *seen_new(void);
struct seen *seen_free(struct seen *seen);
AUTOPTR(seen, seen_free);

/** seen_look() - read the tables unless their generation is the one that was read last. 0, or -ENOENT when there are none. */
int seen_look(struct seen *seen, struct nft *nft);
/** seen_port() - whether all chains of the port with its digest, and all its elements, stood there at the last look. */
bool seen_port(const struct seen *seen, const struct net_port *port);

/** seen_marks() - elements, and chains with a digest, in commands of ruleset.h or in a listing of nftables: a set of texts such as
 * "bridge gabbro taps \"gbt0\"" and "inet gabbro e_00 <digest>". */
GHashTable *seen_marks(const char *text);
