/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "control/control.h"
#include "controllers/vm/power.h"

#include <stdbool.h>

/*
 * NodeOperation: what is done to a host as a whole. A Reboot writes down which machines run, holds them off until the last one is
 * off, has the agent end that boot, and holds those on that ran until they run again. The vm controller does both holds by the
 * table of run policies, so that nothing else starts or stops them meanwhile; the Node remembers its operation in an annotation.
 * With machines: Move those that can be moved are told to leave before, as a drain does it (nodeop_move.c).
 */
extern const struct controller node_operation_controller;

#define ANNOTATION_NODE_OPERATION "gabbro.dev/node-operation" /* Node: name of the NodeOperation under way there */

/** node_operation_of() - the one under way on a node, or NULL. */
const struct cache_object *node_operation_of(const struct cache *cache, const char *node);

/** node_operation_hold() - what it wants of a machine whose Instance is on @node. */
enum power_hold node_operation_hold(const struct cache *cache, const char *node, const char *machine_uid);

/** node_operation_bars() - whether nothing new may start on @node now; @ret_name: its operation. */
bool node_operation_bars(const struct cache *cache, const char *node, const char **ret_name);

/** node_operation_moves() - whether the one under way on @node waits for a machine that it told to leave. */
bool node_operation_moves(const struct cache *cache, const char *node, const char *machine_uid);
