/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "controllers/disk/disk.h"

/* Shared by the files of this folder. */

/** disk_plan_fault() - note why a plan is not complete; the first fault counts. Return: false. */
bool disk_plan_fault(struct disk_plan *plan, const char *phase, const char *condition, const char *reason, const char *words);

/** disk_source_of() - the disk that is the source of @disk, as its reference names it; NULL: the source is no disk. */
const struct api_disk_object_ref *disk_source_of(const struct cache_object *disk);

/** disk_plan_clone() - look at the disk that is the source; its Volume and what follows from it in the plan. */
bool disk_plan_clone(const struct cache *cache, const struct cache_object *disk, struct arena *arena, struct disk_plan *plan);

/** disk_limits_kept() - the limits that the running machine of a disk keeps to, as its host said last; NULL: none. */
struct api_disk_limits *disk_limits_kept(const struct cache *cache, const struct cache_object *disk, struct arena *arena);
/** disk_limits_moved() - whether two states of an Instance say other limits in their status. */
bool disk_limits_moved(const struct cache_object *before, const struct cache_object *now);

/** disk_enqueue_relatives() - the clones of a disk that has changed, and the disk that it is a clone of. */
void disk_enqueue_relatives(const struct cache *cache, const struct cache_object *disk, struct workqueue *queue);
