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

/* Which images of @kind a change of another object concerns. */
void image_enqueue_users(const struct cache *cache, const struct cache_object *image, const struct schema_kind *kind,
                         struct workqueue *queue);
/** image_enqueue_owner() - the image that a Volume belongs to, or of which it is a copy. */
void image_enqueue_owner(const struct cache *cache, const struct cache_object *volume, const struct schema_kind *kind,
                         struct workqueue *queue);
/** image_enqueue_devices() - the images of a machine or Instance that came, went or changed what it uses. */
void image_enqueue_devices(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                           const struct schema_kind *kind, struct workqueue *queue);
