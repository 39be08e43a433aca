/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/image/image_private.h"

#include "controllers/disk/disk.h"
#include "controllers/object.h"
#include "controllers/pool/pool.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

#define LIMIT_AGAIN_US 60000000ull

/* --- volumes of images on nodes --- */

static bool volume_usable(const struct cache_object *volume)
{
        return !object_deleting(volume) && !image_volume_is_copy(volume);
}

const struct cache_object *image_volume_on(const struct cache *cache, const struct cache_object *image, const char *node)
{
        assert(cache && image && node);

        g_autoptr(GPtrArray) volumes = cache_lookup(cache, INDEX_VOLUME_BY_OWNER, image->uid);

        for (guint i = 0; volumes && i < volumes->len; i++) {
                const struct cache_object *object = volumes->pdata[i];
                const struct api_volume *volume = object->view;

                if (g_strcmp0(volume->spec->node_name, node) == 0 && volume_usable(object))
                        return object;
        }
        return NULL;
}

/* The number behind the last '-' that no Volume of the image has. Its file is named by it too: one that is on its way out may still
 * have the other. */
const char *image_volume_name(struct turn *turn, const struct cache_object *image, const char *format, const char **ret_file)
{
        assert(turn && image && format && ret_file);

        struct arena *arena = turn_arena(turn);
        const char *name;
        unsigned n = 0;

        do
                name = intent_name(arena, 'v', image->uid, n++);
        while (cache_get(turn_cache(turn), &api_volume_kind, NULL, name));
        *ret_file = disk_file_name(arena, image->name, image->uid, format);
        if (n > 1)
                *ret_file = arena_printf(arena, "%u-%s", n - 1, *ret_file);
        return name;
}

static const char *image_volume_create(struct turn *turn, const struct cache_object *image, const struct image_content *content,
                                       const struct cache_object *pool, const char *node)
{
        struct arena *arena = turn_arena(turn);
        struct intent_owner owner = intent_owner_of(image);
        const char *file, *name = image_volume_name(turn, image, content->format, &file);
        struct api_object_ref ref = {.kind = owner.kind, .namespace = owner.namespace, .name = owner.name, .uid = owner.uid};
        struct api_volume_source source = {
                .digest = content->digest,
                .size_bytes = content->size_bytes,
                .has_size_bytes = true,
                .format = content->format,
                .virtual_size_bytes = content->virtual_size_bytes,
                .has_virtual_size_bytes = true,
        };
        struct api_volume_spec spec = {
                .node_name = node,
                .owner = &ref,
                .pool = disk_pool_view(pool, arena),
                .volume_name = file,
                .format = content->format,
                .capacity_bytes = content->virtual_size_bytes,
                .has_capacity_bytes = true,
                .source = &source,
                .read_only = true,
                .has_read_only = true,
        };
        struct api_volume volume = {.metadata = intent_meta(arena, &owner, name, node), .spec = &spec};

        turn_create(turn, &api_volume_kind, &volume);
        return name;
}

const char *image_volume_bind(struct turn *turn, const struct cache_object *image, const char *node, const char *machine_uid,
                              const char **reterr_words)
{
        assert(turn && image && node && machine_uid && reterr_words);

        const struct cache_object *volume = image_volume_on(turn_cache(turn), image, node), *pool;
        struct image_content content;

        turn_depends(turn, image);
        if (volume) {
                turn_set_annotation(turn, volume, ANNOTATION_HELD_BY, machine_uid);
                turn_depends(turn, volume);
                return volume->name;
        }
        if (!image_ready(image, &content, reterr_words))
                return NULL;
        pool = disk_pool_default(turn_cache(turn));
        if (!pool) {
                *reterr_words = "there is no default storage pool for the copy of the image";
                return NULL;
        }
        if (((const struct api_storage_pool *)pool->view)->spec->drain) {
                *reterr_words = arena_printf(turn_arena(turn), "StoragePool %s takes no copy of the image, for it is being drained",
                                             pool->name);
                return NULL;
        }
        *reterr_words =
                pool_why_no_room(turn_cache(turn), pool->name, node, (uint64_t)content.virtual_size_bytes, turn_arena(turn));
        if (*reterr_words) {
                turn_again_in(turn, LIMIT_AGAIN_US);
                return NULL;
        }
        return image_volume_create(turn, image, &content, pool, node);
}

/* --- disks that are made of such a volume --- */

static const struct cache_object *base_in(const struct cache *cache, const struct cache_object *image, const char *pool,
                                          const char *node)
{
        g_autoptr(GPtrArray) volumes = cache_lookup(cache, INDEX_VOLUME_BY_OWNER, image->uid);

        for (guint i = 0; volumes && i < volumes->len; i++) {
                const struct cache_object *object = volumes->pdata[i];
                const struct api_volume_spec *spec = ((const struct api_volume *)object->view)->spec;

                if (volume_usable(object) && g_strcmp0(spec->node_name, node) == 0 && g_strcmp0(spec->pool->name, pool) == 0)
                        return object;
        }
        return NULL;
}

bool image_base_is_there(const struct cache *cache, const struct cache_object *image, const struct cache_object *pool,
                         const char *node)
{
        assert(cache && image && pool && node);
        return base_in(cache, image, pool->name, node);
}

const char *image_base_bind(struct turn *turn, const struct cache_object *image, const struct image_content *content,
                            const struct cache_object *pool, const char *node)
{
        assert(turn && image && content && pool && node);

        const struct cache_object *base = base_in(turn_cache(turn), image, pool->name, node);

        turn_depends(turn, image);
        if (!base)
                return image_volume_create(turn, image, content, pool, node);
        turn_depends(turn, base);
        return base->name;
}

static bool is_there(const struct api_volume *volume)
{
        return !volume->status || g_strcmp0(volume->status->state, "Gone") != 0;
}

/* Whether a copy needs its source: as long as it is there when it is linked, else until it is complete. */
static bool reads(const struct api_volume *volume)
{
        const struct api_volume_copied *copied = volume->status ? volume->status->copied : NULL;
        const char *mode = copied && copied->mode ? copied->mode : volume->spec->copy->mode;

        return is_there(volume) && (g_strcmp0(mode, "Linked") == 0 || !volume->status || !volume->status->path);
}

const char *image_readers(const struct cache *cache, const struct cache_object *image, struct arena *arena)
{
        assert(cache && image && arena);

        g_autoptr(GPtrArray) volumes = cache_lookup(cache, INDEX_VOLUME_BY_OWNER, image->uid);
        const char *names = NULL;

        for (guint i = 0; volumes && i < volumes->len; i++) {
                g_autoptr(GPtrArray) copies =
                        cache_lookup(cache, INDEX_VOLUME_BY_COPY, ((const struct cache_object *)volumes->pdata[i])->name);

                for (guint j = 0; copies && j < copies->len; j++) {
                        const struct api_volume *copy = ((const struct cache_object *)copies->pdata[j])->view;
                        const struct api_object_ref *owner = copy->spec->owner;
                        const char *name =
                                image->namespace ? owner->name : arena_printf(arena, "%s/%s", owner->namespace, owner->name);

                        if (reads(copy))
                                names = names ? arena_printf(arena, "%s, %s", names, name) : name;
                }
        }
        return names;
}

static bool has_copies(const struct cache *cache, const char *volume)
{
        g_autoptr(GPtrArray) copies = cache_lookup(cache, INDEX_VOLUME_BY_COPY, volume);
        bool found = false;

        for (guint i = 0; copies && i < copies->len && !found; i++)
                found = is_there(((const struct cache_object *)copies->pdata[i])->view);
        return found;
}

/* Somebody still needs a volume: an Instance lists it, the machine that held it last still exists and may start with it now, or a
 * disk was made of it. */
static bool volume_needed(const struct cache *cache, const struct cache_object *volume)
{
        const char *holder = object_annotation(volume, ANNOTATION_HELD_BY);
        const struct cache_object *machine = holder ? cache_by_uid(cache, holder) : NULL;

        if (index_one(cache, INDEX_INSTANCE_BY_VOLUME, volume->name) || has_copies(cache, volume->name))
                return true;
        return machine && !object_deleting(machine);
}

bool image_volumes_retire(struct turn *turn, const struct cache_object *image, bool all)
{
        assert(turn && image);

        g_autoptr(GPtrArray) volumes = cache_lookup(turn_cache(turn), INDEX_VOLUME_BY_OWNER, image->uid);
        bool none = true;

        for (guint i = 0; volumes && i < volumes->len; i++) {
                const struct cache_object *object = volumes->pdata[i];
                const struct api_volume *volume = object->view;

                if (image_volume_is_copy(object))
                        continue;
                if (!all && !object_deleting(object) && volume_needed(turn_cache(turn), object))
                        none = false;
                else if (!intent_retire(turn, object, volume->status ? volume->status->state : NULL))
                        none = false;
        }
        return none;
}

static const char *instance_words(const struct cache_object *object, struct arena *arena)
{
        const struct api_instance *instance = object->view;

        return arena_printf(arena, "machine %s/%s", instance->spec->machine->namespace, instance->spec->machine->name);
}

const char *image_user(const struct cache *cache, const struct cache_object *image, struct arena *arena)
{
        assert(cache && image && arena);

        g_autoptr(GPtrArray) volumes = cache_lookup(cache, INDEX_VOLUME_BY_OWNER, image->uid);

        for (guint i = 0; volumes && i < volumes->len; i++) {
                g_autoptr(GPtrArray) instances =
                        cache_lookup(cache, INDEX_INSTANCE_BY_VOLUME, ((const struct cache_object *)volumes->pdata[i])->name);

                for (guint j = 0; instances && j < instances->len; j++)
                        if (instance_active(instances->pdata[j]))
                                return instance_words(instances->pdata[j], arena);
        }
        return NULL;
}

/* --- relations --- */

void image_enqueue_users(const struct cache *cache, const struct cache_object *image, const struct schema_kind *kind,
                         struct workqueue *queue)
{
        assert(cache && image && queue);

        g_autofree char *key = device_key(image->kind->kind, image->namespace, image->name);

        index_enqueue(cache, kind == &api_virtual_image_kind ? INDEX_IMAGE_BY_SOURCE : INDEX_CLUSTER_IMAGE_BY_SOURCE, key, queue);
}

/* The image of whose Volume a disk is made. */
static void enqueue_source(const struct cache *cache, const char *name, const struct schema_kind *kind, struct workqueue *queue)
{
        const struct cache_object *volume = cache_get(cache, &api_volume_kind, NULL, name);
        const struct api_object_ref *owner = volume ? ((const struct api_volume *)volume->view)->spec->owner : NULL;

        if (owner && g_strcmp0(owner->kind, kind->kind) == 0)
                controller_enqueue(queue, owner->namespace, owner->name);
}

void image_enqueue_owner(const struct cache *cache, const struct cache_object *volume, const struct schema_kind *kind,
                         struct workqueue *queue)
{
        assert(cache && volume && queue);

        const struct api_volume *view = volume->view;
        const struct api_object_ref *owner = view->spec ? view->spec->owner : NULL;

        if (owner && g_strcmp0(owner->kind, kind->kind) == 0)
                controller_enqueue(queue, owner->namespace, owner->name);
        else if (view->spec && view->spec->copy)
                enqueue_source(cache, view->spec->copy->volume, kind, queue);
}

void image_enqueue_task(const struct cache_object *task, const struct schema_kind *kind, struct workqueue *queue)
{
        assert(task && kind && queue);

        const struct api_host_task *view = task->view;
        const struct api_object_ref *owner = view->spec ? view->spec->owner : NULL;

        if (owner && g_strcmp0(owner->kind, kind->kind) == 0)
                controller_enqueue(queue, owner->namespace, owner->name);
}

static void enqueue_refs(const struct cache_object *machine, const struct schema_kind *kind, struct workqueue *queue)
{
        const struct api_virtual_machine *view = machine->view;

        for (size_t i = 0; view->spec && i < view->spec->n_block_device_refs; i++) {
                const struct api_block_device_ref *ref = &view->spec->block_device_refs[i];

                if (g_strcmp0(ref->kind, kind->kind) == 0)
                        controller_enqueue(queue, kind->namespaced ? machine->namespace : NULL, ref->name);
        }
}

static void enqueue_instance_volumes(const struct cache *cache, const struct cache_object *instance, const struct schema_kind *kind,
                                     struct workqueue *queue)
{
        const struct api_instance *view = instance->view;

        for (size_t i = 0; view->spec && i < view->spec->n_disks; i++) {
                const char *name = view->spec->disks[i].volume;
                const struct cache_object *volume = name ? cache_get(cache, &api_volume_kind, NULL, name) : NULL;

                if (volume)
                        image_enqueue_owner(cache, volume, kind, queue);
        }
}

void image_enqueue_devices(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                           const struct schema_kind *kind, struct workqueue *queue)
{
        assert(cache && (before || now) && queue);

        const struct cache_object *object = now ? now : before;

        if (object->kind == &api_virtual_machine_kind) {
                if (object_moved(before, now))
                        enqueue_refs(object, kind, queue);
                return;
        }
        if (before && now && !object_moved(before, now) && instance_active(before) == instance_active(now))
                return;
        if (before)
                enqueue_instance_volumes(cache, before, kind, queue);
        if (now)
                enqueue_instance_volumes(cache, now, kind, queue);
}

/* --- blobs --- */

#define BLOB_KEEP_US (600 * 1000000ull) /* a new blob may wait this long for whoever made it */

static bool volume_reads(const struct cache *cache, const char *digest)
{
        g_autoptr(GPtrArray) volumes = cache_lookup(cache, INDEX_VOLUME_BY_DIGEST, digest);

        for (guint i = 0; volumes && i < volumes->len; i++) {
                const struct api_volume *volume = ((const struct cache_object *)volumes->pdata[i])->view;
                const char *state = volume->status ? volume->status->state : NULL;

                if (g_strcmp0(state, "Ready") != 0 && g_strcmp0(state, "Gone") != 0)
                        return true;
        }
        return false;
}

static enum turn_result blob_turn(struct turn *turn, const struct cache_object *object)
{
        const struct api_image_blob *blob = object->view;
        const struct cache *cache = turn_cache(turn);
        const char *digest = blob->spec ? blob->spec->digest : NULL;
        uint64_t keep_until_us = object_created_us(object) + BLOB_KEEP_US;

        if (!digest)
                return TURN_DONE;
        if (index_one(cache, INDEX_IMAGE_BY_DIGEST, digest) || index_one(cache, INDEX_CLUSTER_IMAGE_BY_DIGEST, digest) ||
            index_one(cache, INDEX_DISK_BY_DIGEST, digest) || volume_reads(cache, digest))
                return TURN_DONE;
        if (turn_now_us(turn) < keep_until_us) {
                turn_again_in(turn, keep_until_us - turn_now_us(turn));
                return TURN_WAIT;
        }
        turn_delete(turn, object);
        return TURN_DONE;
}

static void enqueue_blob(const char *digest, struct workqueue *queue)
{
        g_autofree char *name = digest ? g_strdup_printf("sha256-%s", digest) : NULL;

        if (name)
                controller_enqueue(queue, NULL, name);
}

static void blob_related(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                         struct workqueue *queue)
{
        const struct cache_object *object = before;

        if (!object) /* only what goes or changes can leave a blob alone */
                return;
        if (object->kind == &api_virtual_image_kind || object->kind == &api_cluster_virtual_image_kind) {
                struct image_view view = image_view(object);

                if (!now && view.status.target)
                        enqueue_blob(view.status.target->digest, queue);
        } else if (object->kind == &api_virtual_disk_kind) {
                const struct api_virtual_disk *disk = object->view;

                if (disk->status)
                        enqueue_blob(disk->status->ingest ? disk->status->ingest->digest : disk->status->digest, queue);
        } else if (object->kind == &api_volume_kind) {
                const struct api_volume *volume = object->view;

                if (volume->spec && volume->spec->source)
                        enqueue_blob(volume->spec->source->digest, queue);
        }
}

const struct controller blob_controller = {
        .name = "blob",
        .kind = &api_image_blob_kind,
        .turn = blob_turn,
        .related = blob_related,
};

void image_blob_ensure(struct turn *turn, const struct image_content *content)
{
        assert(turn && content && content->digest);

        const char *name = arena_printf(turn_arena(turn), "sha256-%s", content->digest);
        const struct cache_object *blob = cache_get(turn_cache(turn), &api_image_blob_kind, NULL, name);
        struct api_object_meta meta = {.name = name};
        struct api_image_blob_spec spec = {
                .digest = content->digest,
                .size_bytes = content->size_bytes,
                .has_size_bytes = true,
                .format = content->format,
                .virtual_size_bytes = content->virtual_size_bytes,
                .has_virtual_size_bytes = true,
        };
        struct api_image_blob view = {.metadata = &meta, .spec = &spec};

        if (blob)
                turn_depends(turn, blob);
        else
                turn_create(turn, &api_image_blob_kind, &view);
}
