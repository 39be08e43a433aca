/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "controllers/nodeop/nodeop.h"
#include "controllers/object.h"

#define STEP_MOVING    "Moving"
#define STEP_STOPPING  "Stopping"
#define STEP_REBOOTING "Rebooting"
#define STEP_STARTING  "Starting"
#define STATE_WAITING  "Waiting"
#define STATE_MOVING   "Moving"
#define STATE_MOVED    "Moved"
#define STATE_STAYING  "Staying"
#define STATE_STOPPING "Stopping"
#define STATE_STOPPED  "Stopped"
#define STATE_STARTING "Starting"
#define STATE_STARTED  "Started"
#define STATE_LEFT     "Left"

struct node_op {
        struct turn *turn;
        struct arena *arena;
        const struct cache *cache;
        const struct cache_object *object, *node;
        const struct api_node_operation_spec *spec;
        struct api_node_operation_status status;
        struct conditions conditions;
};

/**
 * nodeop_move() - bring the state of every machine up to date while they move, and tell those to leave that can: by marks on their
 * Pods, which the evacuation's controller follows, and withdraws where a machine's state is not Moving any more.
 * @late: time is up; what is under way is called off, nothing else begins.
 *
 * Return: how many are not decided yet; those that the host holds for a move to or from it are counted.
 */
size_t nodeop_move(struct node_op *op, bool late);
