/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "control/control.h"

/*
 * Node: its condition Ready becomes Unknown when its Lease ends, and True again with the next renewal unless the agent says
 * otherwise. Everything else in its status is the agent's. Leases of nodes lie in the namespace NODE_LEASE_NAMESPACE under the
 * node's name.
 */
extern const struct controller node_controller;

#define NODE_LEASE_NAMESPACE "kube-node-lease"
#define NODE_LEASE_SECONDS   40 /* when a Lease does not say how long it is good */
