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

/** disk_plan_image_way() - whether a disk can be made of its image in the way that is asked for; the format of its file. */
bool disk_plan_image_way(const struct api_virtual_disk_spec *spec, struct arena *arena, struct disk_plan *plan);
/** disk_image_refusal() - why the pool has no room for a disk on @node that shares a Volume of its image, as is asked for, together
 * with that Volume, in @arena; NULL: it has, or no Volume is to be made. */
const char *disk_image_refusal(const struct cache *cache, const struct cache_object *disk, const struct disk_plan *plan,
                               const char *node, struct arena *arena);
/** disk_image_copy() - the copy of a Volume of the image on @node that the disk shall be, that Volume being made part of the turn;
 * NULL: it is no disk of an image, or made whole of the image's file. */
struct api_volume_copy *disk_image_copy(struct turn *turn, const struct cache_object *disk, const struct disk_plan *plan,
                                        const char *node);
/** disk_image_digest() - of the image that the content of @volume is, also when it is a copy of the image's Volume; @known when
 * that Volume is no more; NULL for a clone of a disk. */
const char *disk_image_digest(const struct cache *cache, const struct api_volume *volume, const char *known);

/** disk_lost_source() - the host's words when the file that a linked disk reads from is no more, else NULL. */
const char *disk_lost_source(const struct cache *cache, const struct api_volume *volume);
/** disk_enqueue_copies() - the disks that were made of a Volume that has changed, and the disk that it is a copy of. */
void disk_enqueue_copies(const struct cache *cache, const struct cache_object *volume, struct workqueue *queue);

/** disk_limits_kept() - the limits that the running machine of a disk keeps to, as its host said last; NULL: none. */
struct api_disk_limits *disk_limits_kept(const struct cache *cache, const struct cache_object *disk, struct arena *arena);
/** disk_limits_moved() - whether two states of an Instance say other limits in their status. */
bool disk_limits_moved(const struct cache_object *before, const struct cache_object *now);

/** disk_enqueue_relatives() - the clones of a disk that has changed, and the disk that it is a clone of. */
void disk_enqueue_relatives(const struct cache *cache, const struct cache_object *disk, struct workqueue *queue);
