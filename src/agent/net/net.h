/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/net/port.h"
#include "base/auto.h"

#include <stddef.h>

/*
 * The network engine of one host: bridges with DHCP, DNS and translation, and the rules of every port. Blocking, thread-safe.
 * What it makes outlives the agent; net_engine_rebuild() takes over what stands and removes what nobody wants any more.
 *
 * Order that its user keeps: net_engine_put() before the tap exists, net_engine_attached() after the tap exists and before the
 * guest runs, net_engine_remove() after the tap is gone. A tap that no port names passes nothing.
 */
struct net_engine;

/* Outcomes; words come in @reterr_words (g_free). */
enum {
        NET_E_INVALID = 1, /* the port is not one this engine can carry */
        NET_E_CONFLICT,    /* bridge, range, tap or address belongs to something else */
        NET_E_ABSENT,      /* no such port, tap or rule */
        NET_E_BUSY,        /* the tap still exists */
        NET_E_FAILED,      /* kernel or a program said no; the words are theirs */
};

struct net_engine_options {
        const char *state_dir; /* made; only of A-Z a-z 0-9 / . _ - */
};

/** net_engine_new() - also puts the default deny in place when no rules stand yet. 0, NET_E_INVALID, NET_E_FAILED or -errno. */
int net_engine_new(const struct net_engine_options *options, struct net_engine **ret_engine, char **reterr_words);
/** net_engine_free() - networks and rules stay. */
struct net_engine *net_engine_free(struct net_engine *engine);
AUTOPTR(net_engine, net_engine_free);

/**
 * net_engine_rebuild() - after a start: exactly these ports, in one transaction of rules; networks without ports are removed
 *
 * A port that is unfit or conflicts is left out (net_engine_put() tells why). @ports are copied. 0, NET_E_FAILED or -errno.
 */
int net_engine_rebuild(struct net_engine *engine, const struct net_port *const *ports, size_t n, char **reterr_words);

/** net_engine_put() - a new port, or an existing one as it shall be now; its network is made when it is the first. */
int net_engine_put(struct net_engine *engine, const struct net_port *port, char **reterr_words);

/** net_engine_remove() - forget the port and its connections; with the last one of a network goes the network. Unknown: 0. */
int net_engine_remove(struct net_engine *engine, const char *name, char **reterr_words);

/** net_engine_verify() - ask the kernel and the process table whether all of the port is in place. 0, NET_E_ABSENT, NET_E_FAILED.
 */
int net_engine_verify(struct net_engine *engine, const char *name, char **reterr_words);

/** net_engine_attached() - verify, and that the tap is an isolated port of its bridge. 0, NET_E_ABSENT, NET_E_FAILED. */
int net_engine_attached(struct net_engine *engine, const char *name, char **reterr_words);

/** net_engine_repair() - compare with what stands and make good what others changed: rules, bridges, DHCP. @ret_repaired: whether
 *  anything was. */
int net_engine_repair(struct net_engine *engine, bool *ret_repaired, char **reterr_words);

/** net_engine_restore() - write everything anew from what the engine knows, whatever stands: rules, bridges, DHCP; networks without
 *  ports are removed. 0, NET_E_FAILED or -errno. */
int net_engine_restore(struct net_engine *engine, char **reterr_words);

/** net_engine_clear() - remove every trace: ports, networks, rules. */
int net_engine_clear(struct net_engine *engine, char **reterr_words);

/** net_engine_digest() - ruleset_digest() of a port as it was put; g_free(), NULL when unknown. */
char *net_engine_digest(struct net_engine *engine, const char *name);
