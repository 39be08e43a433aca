/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "controllers/object.h"
#include "controllers/operation/operation.h"

/* What one turn of an operation knows; shared by the files of this folder. */
struct op {
        struct turn *turn;
        const struct cache *cache;
        const struct cache_object *object;
        const struct api_virtual_machine_operation *view;
        enum power_order order;
        struct api_virtual_machine_operation_status status;
        struct conditions conditions;

        const struct cache_object *machine; /* NULL: it does not exist */
        const struct api_virtual_machine *vm;
        const struct cache_object *instance;
        const struct api_instance *domain;
};

/** op_finish() - the last word: its phase, and the condition Completed with a status, a reason and words. */
enum turn_result op_finish(struct op *op, const char *phase, const char *status, const char *reason, const char *words);
/** op_fail() - op_finish() as Failed. */
enum turn_result op_fail(struct op *op, const char *reason, const char *words);
/** op_wait() - Pending or InProgress, and why. */
enum turn_result op_wait(struct op *op, const char *phase, const char *reason, const char *words);
/** op_take_up() - it begins now, with the machine as this turn sees it. */
void op_take_up(struct op *op);

/*
 * operation_clone.c. The disks come first, owned by the operation: with it they go when it is cancelled, and when one of them
 * cannot be made. The machine is written in the transaction that gives them free, so that there is a whole clone or none.
 */
/** clone_begin() - of a machine in a phase that allows it: make the disks. */
enum turn_result clone_begin(struct op *op);
/** clone_watch() - follow the disks; make the machine when all are there. */
enum turn_result clone_watch(struct op *op);
/** clone_give_up() - remove what was made, and fail. */
enum turn_result clone_give_up(struct op *op, const char *reason, const char *words);
/** clone_remove() - remove what an unfinished clone has made. */
void clone_remove(struct op *op);
/** clone_related() - the operation that makes a disk, if one does. */
void clone_related(const struct cache *cache, const struct cache_object *disk, struct workqueue *queue);
