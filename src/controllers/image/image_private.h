/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "controllers/image/image.h"

/* What the files of this folder share. */

/* Either kind of image; the status of a cluster image is shown as that of an image. */
struct image_view {
        bool in_pool;         /* the content shall lie in a pool, not in the library */
        const char *type;     /* of the data source */
        const char *ref_kind; /* ObjectRef */
        const char *ref_namespace;
        const char *ref_name;
        struct api_virtual_image_status status;
};
/** image_view() - of an object of either kind. */
struct image_view image_view(const struct cache_object *object);

/** image_user() - a running machine whose Instance has the image, in words, or NULL. */
const char *image_user(const struct cache *cache, const struct cache_object *image, struct arena *arena);

/** image_volumes_retire() - end the Volumes that no machine needs (@all: all); true when none is left. */
bool image_volumes_retire(struct turn *turn, const struct cache_object *image, bool all);

/** image_volume_name() - of a new Volume of the image, a name that none has; @ret_file: of its file, likewise. */
const char *image_volume_name(struct turn *turn, const struct cache_object *image, const char *format, const char **ret_file);

/* --- image_export.c: images of disks --- */

/* How far an image of a disk is whose content the library does not have. */
struct image_export {
        const char *phase; /* Pending, Provisioning, Failed (it is tried again) */
        const char *reason, *words;
        bool source_fault;       /* it is the disk that is waited for */
        const char *source_uid;  /* of the disk, when its copy was begun now */
        const char *consistency; /* of the copy, once it is complete */
        int percent;
};
/** image_export_take() - look at the disk, have it copied and sent, as part of the turn. */
void image_export_take(struct turn *turn, const struct cache_object *image, const struct image_view *view,
                       struct image_export *ret_export);
/** image_export_retire() - nothing is copied or sent any more: end what does; true when nothing of it is left. */
bool image_export_retire(struct turn *turn, const struct cache_object *image);
/** image_volume_is_copy() - whether a Volume of an image is one of image_export_take(), which no machine uses. */
bool image_volume_is_copy(const struct cache_object *volume);

/* Which images of @kind a change of another object concerns. */
void image_enqueue_users(const struct cache *cache, const struct cache_object *image, const struct schema_kind *kind,
                         struct workqueue *queue);
/** image_enqueue_task() - the image that a HostTask works for. */
void image_enqueue_task(const struct cache_object *task, const struct schema_kind *kind, struct workqueue *queue);
/** image_enqueue_owner() - the image that a Volume belongs to, or of which it is a copy. */
void image_enqueue_owner(const struct cache *cache, const struct cache_object *volume, const struct schema_kind *kind,
                         struct workqueue *queue);
/** image_enqueue_devices() - the images of a machine or Instance that came, went or changed what it uses. */
void image_enqueue_devices(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                           const struct schema_kind *kind, struct workqueue *queue);
