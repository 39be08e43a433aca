/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/arena.h"
#include "cache/cache.h"
#include "control/control.h"
#include "generated/api_types.h"

/* VirtualImage and ClusterVirtualImage: one code for both kinds. README.md says how the bytes come. */

extern const struct controller image_controller;         /* VirtualImage */
extern const struct controller cluster_image_controller; /* ClusterVirtualImage */
extern const struct controller blob_controller;          /* ImageBlob: goes when nothing refers to it */

/* What an image or a finished ingest holds. */
struct image_content {
        const char *digest;
        int64_t size_bytes;
        int64_t virtual_size_bytes;
        const char *format; /* qcow2, raw, iso */
};

/** image_ready() - whether an image of either kind can be used; its content in @ret_content, else words about why not. */
bool image_ready(const struct cache_object *image, struct image_content *ret_content, const char **reterr_words);

/** image_ingest_content() - what a finished ingest holds; false while it is not finished. */
bool image_ingest_content(const struct api_image_ingest *ingest, struct image_content *ret_content);

/** image_find() - the image that a reference of @kind names, or NULL. */
const struct cache_object *image_find(const struct cache *cache, const char *kind, const char *namespace, const char *name);

/** image_blob_ensure() - the ImageBlob of a content, made part of the turn when it is absent. */
void image_blob_ensure(struct turn *turn, const struct image_content *content);

/** image_tell_upload() - where and how the file of an image or a disk of the source Upload is sent; relative to the gateway at
 * which the status was read. */
void image_tell_upload(struct arena *arena, const struct cache_object *object, struct api_image_upload_urls **ret_urls,
                       const char **ret_command);

/** image_volume_on() - the Volume that holds an image on a node, or NULL. */
const struct cache_object *image_volume_on(const struct cache *cache, const struct cache_object *image, const char *node);

/**
 * image_base_bind() - the Volume of an image in @pool on @node of which disks are made that share it (@content is the image's),
 * made as part of the turn when there is none
 *
 * It stays as long as there is a disk that was made of it. Return: its name.
 */
const char *image_base_bind(struct turn *turn, const struct cache_object *image, const struct image_content *content,
                            const struct cache_object *pool, const char *node);

/** image_base_is_there() - whether image_base_bind() makes no other one. */
bool image_base_is_there(const struct cache *cache, const struct cache_object *image, const struct cache_object *pool,
                         const char *node);

/**
 * image_readers() - the disks that read from a Volume of the image now: linked ones for as long as they are there, others until
 * they are complete
 *
 * Return: their names, "b, c" (of a ClusterVirtualImage "project/b"), in @arena; NULL: none.
 */
const char *image_readers(const struct cache *cache, const struct cache_object *image, struct arena *arena);

/**
 * image_volume_bind() - the Volume of an image on a node for @machine_uid, made or marked as part of the turn
 *
 * Return: its name, or NULL with words when it cannot be (no default pool, or one whose limit it would exceed).
 */
const char *image_volume_bind(struct turn *turn, const struct cache_object *image, const char *node, const char *machine_uid,
                              const char **reterr_words);
