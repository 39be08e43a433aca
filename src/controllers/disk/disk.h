/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/arena.h"
#include "cache/cache.h"
#include "control/control.h"
#include "controllers/image/image.h"
#include "generated/api_types.h"

/*
 * VirtualDisk: its bytes are one Volume on the node where the first machine that uses it was placed (WaitForFirstConsumer). The
 * machine's start binds disk and node in one transaction with the Instance.
 */

extern const struct controller disk_controller;

/* What a disk shall be made of; @phase says how far it is, @reason and @words why it is not complete. */
struct disk_plan {
        const char
                *phase; /* NULL: complete; else the phase that the disk is in: Pending, Provisioning, WaitForUserUpload, Failed */
        const char *condition; /* the condition at fault: DatasourceReady, StorageClassReady, Ready */
        const char *reason;
        const char *words;
        const struct cache_object *pool;
        const struct cache_object *source; /* image, disk, or NULL */
        bool has_content;                  /* else an empty disk */
        struct image_content content;
        const struct cache_object *cloned; /* the Volume that is copied, or NULL */
        const struct api_volume_copy *copy;
        const char *node;   /* of the Volume that is copied: there is no other place; else NULL */
        const char *format; /* qcow2, raw */
        int64_t capacity_bytes;
        int progress_percent; /* of fetching the content into the library */
};
/** disk_is_of_image() - whether its first content is that of an image of the library, so that it can be made anew. */
bool disk_is_of_image(const struct cache_object *disk);
/** disk_plan() - look at source, pool and size of a disk that has no Volume yet. */
void disk_plan(const struct cache *cache, const struct cache_object *disk, struct arena *arena, struct disk_plan *ret_plan);

/** disk_volume() - the Volume that holds a disk, or NULL. */
const struct cache_object *disk_volume(const struct cache *cache, const struct cache_object *disk);
/** disk_volume_name() - the name that it has or will have. */
const char *disk_volume_name(const struct cache *cache, struct arena *arena, const struct cache_object *disk);
/** disk_node() - the node on which the disk lies or shall lie, or NULL. */
const char *disk_node(const struct cache *cache, const struct cache_object *disk);

/**
 * disk_bind() - give a disk to a machine that starts on a node: marks the disk and makes its Volume, as part of the turn
 *
 * Return: the Volume's name, or NULL with words.
 */
const char *disk_bind(struct turn *turn, const struct cache_object *disk, const char *node, const char *machine_uid,
                      const char **reterr_words);

/** disk_other_holder() - the Instance of another machine that has the disk now, or NULL; @ret_former: an Instance of another
 * machine that had it and could start again, which the taker's transaction must depend on. */
const struct cache_object *disk_other_holder(const struct cache *cache, const struct cache_object *disk, const char *machine_uid,
                                             const struct cache_object **ret_former);

/**
 * disk_readers() - the disks that read from a disk now: linked clones for as long as they are there (@linked), others until they
 * are complete
 *
 * Return: their names, "b, c", in @arena; NULL: none.
 */
const char *disk_readers(const struct cache *cache, const struct cache_object *disk, bool linked, struct arena *arena);

/** disk_imaged() - the images whose copy of the disk is not complete: their names, "b, c", in @arena; NULL: none. */
const char *disk_imaged(const struct cache *cache, const struct cache_object *disk, struct arena *arena);

/** disk_limits_wanted() - how fast a disk shall be at most, as an Instance says it; NULL: no limits. */
struct api_instance_disk_limits *disk_limits_wanted(const struct cache_object *disk, struct arena *arena);

/** disk_user() - the name of the machine that has the disk now, or NULL. */
const char *disk_user(const struct cache *cache, const struct cache_object *disk);

/** disk_pool_default() - the oldest StoragePool that is marked as the default, or NULL. */
const struct cache_object *disk_pool_default(const struct cache *cache);
/** disk_pool_view() - what a Volume says of its pool. */
struct api_volume_pool *disk_pool_view(const struct cache_object *pool, struct arena *arena);
/** disk_file_name() - "<name cut>-<uid8>-main.<format>" (C24). */
const char *disk_file_name(struct arena *arena, const char *name, const char *uid, const char *format);
