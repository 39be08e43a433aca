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

/** disk_enqueue_relatives() - the clones of a disk that has changed, and the disk that it is a clone of. */
void disk_enqueue_relatives(const struct cache *cache, const struct cache_object *disk, struct workqueue *queue);
