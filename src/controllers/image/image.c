/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/image/image.h"

#include "base/quantity.h"
#include "controllers/image/image_private.h"
#include "controllers/object.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

#define FINALIZER_IMAGE "gabbro.dev/image-cleanup"

/* --- two kinds, one view --- */

struct image_view image_view(const struct cache_object *object)
{
        assert(object);

        struct image_view view = {0};

        if (object->kind == &api_virtual_image_kind) {
                const struct api_virtual_image *image = object->view;
                const struct api_image_data_source *source = image->spec ? image->spec->data_source : NULL;

                view.in_pool = image->spec && g_strcmp0(image->spec->storage, "ContainerRegistry") != 0 && image->spec->storage;
                view.type = source ? source->type : NULL;
                view.ref_kind = source && source->object_ref ? source->object_ref->kind : NULL;
                view.ref_name = source && source->object_ref ? source->object_ref->name : NULL;
                view.ref_namespace = object->namespace;
                if (image->status)
                        view.status = *image->status;
        } else {
                const struct api_cluster_virtual_image *image = object->view;
                const struct api_cluster_image_data_source *source = image->spec ? image->spec->data_source : NULL;
                const struct api_cluster_virtual_image_status *status = image->status;

                view.type = source ? source->type : NULL;
                view.ref_kind = source && source->object_ref ? source->object_ref->kind : NULL;
                view.ref_name = source && source->object_ref ? source->object_ref->name : NULL;
                view.ref_namespace = source && source->object_ref ? source->object_ref->namespace : NULL;
                if (status)
                        view.status = (struct api_virtual_image_status){
                                .observed_generation = status->observed_generation,
                                .has_observed_generation = status->has_observed_generation,
                                .phase = status->phase,
                                .cdrom = status->cdrom,
                                .has_cdrom = status->has_cdrom,
                                .format = status->format,
                                .size = status->size,
                                .progress = status->progress,
                                .download_speed = status->download_speed,
                                .image_upload_urls = status->image_upload_urls,
                                .upload_command = status->upload_command,
                                .target = status->target,
                                .source_uid = status->source_uid,
                                .consistency = status->consistency,
                                .ingest = status->ingest,
                                .conditions = status->conditions,
                                .n_conditions = status->n_conditions,
                        };
        }
        return view;
}

static void image_store_status(struct turn *turn, const struct cache_object *object, const struct api_virtual_image_status *status)
{
        if (object->kind == &api_virtual_image_kind) {
                turn_update_status(turn, object, status);
                return;
        }

        const struct api_cluster_virtual_image *image = object->view;
        struct api_cluster_virtual_image_status own = image->status ? *image->status : (struct api_cluster_virtual_image_status){0};

        own.observed_generation = status->observed_generation;
        own.has_observed_generation = status->has_observed_generation;
        own.phase = status->phase;
        own.cdrom = status->cdrom;
        own.has_cdrom = status->has_cdrom;
        own.format = status->format;
        own.size = status->size;
        own.progress = status->progress;
        own.image_upload_urls = status->image_upload_urls;
        own.upload_command = status->upload_command;
        own.target = status->target;
        own.source_uid = status->source_uid;
        own.consistency = status->consistency;
        own.conditions = status->conditions;
        own.n_conditions = status->n_conditions;
        turn_update_status(turn, object, &own);
}

const struct cache_object *image_find(const struct cache *cache, const char *kind, const char *namespace, const char *name)
{
        assert(cache && name);

        if (g_strcmp0(kind, "ClusterVirtualImage") == 0)
                return cache_get(cache, &api_cluster_virtual_image_kind, NULL, name);
        if (g_strcmp0(kind, "VirtualImage") == 0 && namespace)
                return cache_get(cache, &api_virtual_image_kind, namespace, name);
        return NULL;
}

bool image_ingest_content(const struct api_image_ingest *ingest, struct image_content *ret_content)
{
        assert(ret_content);

        if (!ingest || ingest->error || !ingest->digest || !ingest->format || ingest->virtual_size_bytes <= 0)
                return false;
        *ret_content = (struct image_content){
                .digest = ingest->digest,
                .size_bytes = ingest->size_bytes,
                .virtual_size_bytes = ingest->virtual_size_bytes,
                .format = ingest->format,
        };
        return true;
}

bool image_ready(const struct cache_object *image, struct image_content *ret_content, const char **reterr_words)
{
        assert(image && ret_content && reterr_words);

        struct image_view view = image_view(image);
        const struct api_virtual_image_status *status = &view.status;

        if (object_deleting(image)) {
                *reterr_words = "it is being deleted";
                return false;
        }
        if (g_strcmp0(status->phase, "Ready") != 0 || !status->target || !status->target->digest || !status->size ||
            !status->format) {
                const struct api_condition *ready = condition_get(status->conditions, status->n_conditions, "Ready");

                *reterr_words = ready && ready->message ? ready->message : "nothing is known of it yet";
                return false;
        }
        *ret_content = (struct image_content){
                .digest = status->target->digest,
                .size_bytes = status->size->stored_bytes,
                .virtual_size_bytes = status->size->unpacked_bytes,
                .format = status->format,
        };
        return true;
}

/* --- one turn --- */

struct image_turn {
        struct turn *turn;
        const struct cache *cache;
        const struct cache_object *object;
        struct image_view view;
        struct conditions conditions;
};

/* No content: the phase and the two conditions say why. */
static enum turn_result image_wait(struct image_turn *image, const char *phase, const char *reason, const char *words)
{
        image->view.status.phase = phase;
        conditions_say(&image->conditions, "Ready", "False", reason, "%s", words);
        image_store_status(image->turn, image->object, &image->view.status);
        return TURN_WAIT;
}

static enum turn_result image_source_wait(struct image_turn *image, const char *phase, const char *reason, const char *words)
{
        conditions_say(&image->conditions, "DatasourceReady", "False", reason, "%s", words);
        return image_wait(image, phase, REASON_DATASOURCE_IS_NOT_READY, words);
}

static const char *size_words(struct arena *arena, int64_t bytes)
{
        char text[32];

        return arena_strdup(arena, quantity_format_bytes((uint64_t)bytes, text));
}

static enum turn_result image_finish(struct image_turn *image, const struct image_content *content)
{
        struct arena *arena = turn_arena(image->turn);
        struct api_virtual_image_status *status = &image->view.status;
        struct api_image_size *size = arena_new0(arena, struct api_image_size);
        struct api_image_target *target = arena_new0(arena, struct api_image_target);
        bool fresh = g_strcmp0(status->phase, "Ready") != 0;

        *size = (struct api_image_size){
                .stored = size_words(arena, content->size_bytes),
                .stored_bytes = content->size_bytes,
                .has_stored_bytes = true,
                .unpacked = size_words(arena, content->virtual_size_bytes),
                .unpacked_bytes = content->virtual_size_bytes,
                .has_unpacked_bytes = true,
        };
        *target = (struct api_image_target){
                .registry_url = arena_printf(arena, "gabbro://blobs/sha256/%s", content->digest),
                .digest = content->digest,
        };
        image_blob_ensure(image->turn, content);
        status->image_upload_urls = NULL;
        status->upload_command = NULL;
        status->phase = "Ready";
        status->progress = "100%";
        status->format = content->format;
        status->cdrom = strcmp(content->format, "iso") == 0;
        status->has_cdrom = true;
        status->size = size;
        status->target = target;
        conditions_say(&image->conditions, "DatasourceReady", "True", REASON_DATASOURCE_READY, "the source was read to its end");
        conditions_say(&image->conditions, "Ready", "True", REASON_READY, "the library holds %s of format %s", size->stored,
                       content->format);
        if (fresh)
                turn_event(image->turn, image->object, false, REASON_READY, "the image can be used");
        image_store_status(image->turn, image->object, status);
        return TURN_DONE;
}

static enum turn_result image_by_ref(struct image_turn *image)
{
        const struct image_view *view = &image->view;
        bool cluster = g_strcmp0(view->ref_kind, "ClusterVirtualImage") == 0;
        struct arena *arena = turn_arena(image->turn);
        const struct cache_object *source;
        struct image_content content;
        const char *words;

        if (!cluster && g_strcmp0(view->ref_kind, "VirtualImage") != 0)
                return image_source_wait(image, "Failed", REASON_SNAPSHOT_NOT_SUPPORTED,
                                         arena_printf(arena, "images cannot be made of a %s yet",
                                                      view->ref_kind ? view->ref_kind : "nameless source"));
        source = image_find(image->cache, view->ref_kind, view->ref_namespace, view->ref_name);
        if (!source)
                return image_source_wait(image, "Pending", cluster ? REASON_CLUSTER_IMAGE_NOT_FOUND : REASON_IMAGE_NOT_FOUND,
                                         arena_printf(arena, "%s %s does not exist", view->ref_kind, view->ref_name));
        image->view.status.source_uid = source->uid;
        if (!image_ready(source, &content, &words))
                return image_source_wait(image, "Pending", cluster ? REASON_CLUSTER_IMAGE_NOT_READY : REASON_IMAGE_NOT_READY,
                                         arena_printf(arena, "%s %s is not ready: %s", view->ref_kind, view->ref_name, words));
        if (turn_refusal(image->turn))
                return image_wait(image, "Pending", REASON_QUOTA_EXCEEDED, turn_refusal(image->turn));
        turn_depends(image->turn, source);
        return image_finish(image, &content);
}

void image_tell_upload(struct arena *arena, const struct cache_object *object, struct api_image_upload_urls **ret_urls,
                       const char **ret_command)
{
        struct api_image_upload_urls *urls = arena_new0(arena, struct api_image_upload_urls);
        const char *place = object->namespace ? arena_printf(arena, "namespaces/%s/", object->namespace) : "";

        assert(arena && object && ret_urls && ret_command);
        urls->external = arena_printf(arena, "/apis/%s/%s/%s%s/%s/upload", object->kind->group, object->kind->version, place,
                                      object->kind->plural, object->name);
        *ret_urls = urls;
        *ret_command = arena_printf(arena, "curl -T FILE -H \"Authorization: Bearer $TOKEN\" \"$GATEWAY%s\"", urls->external);
}

/* What the library said of the content is the last word: nothing is copied or sent any more. */
static enum turn_result image_refused(struct image_turn *image, const struct api_intent_error *error)
{
        if (g_strcmp0(image->view.status.phase, "Failed") != 0)
                turn_event(image->turn, image->object, true, REASON_PROVISIONING_FAILED, error->message);
        conditions_say(&image->conditions, "DatasourceReady", "False", error->reason, "%s", error->message);
        return image_wait(image, "Failed", REASON_PROVISIONING_FAILED, error->message);
}

static enum turn_result image_by_ingest(struct image_turn *image, bool upload)
{
        const struct api_image_ingest *ingest = image->view.status.ingest;
        struct arena *arena = turn_arena(image->turn);
        struct image_content content;
        bool begun = ingest && (ingest->has_progress_percent || ingest->error || ingest->digest);

        if (image_ingest_content(ingest, &content))
                return image_finish(image, &content);
        image->view.status.progress = arena_printf(arena, "%d%%", ingest ? (int)ingest->progress_percent : 0);
        if (upload)
                image_tell_upload(arena, image->object, &image->view.status.image_upload_urls, &image->view.status.upload_command);
        if (ingest && ingest->error)
                return image_refused(image, ingest->error);
        conditions_say(&image->conditions, "DatasourceReady", "True", REASON_DATASOURCE_READY, "the source is read by the gateway");
        if (upload && !begun)
                return image_wait(image, "WaitForUserUpload", REASON_WAIT_FOR_USER_UPLOAD, "waits for the upload of its file");
        return image_wait(image, "Provisioning", REASON_PROVISIONING,
                          upload ? "the file is being received and judged" : "the file is being fetched and judged");
}

static enum turn_result image_by_disk(struct image_turn *image)
{
        struct api_virtual_image_status *status = &image->view.status;
        struct image_content content;
        struct image_export made;

        if (image_ingest_content(status->ingest, &content)) {
                (void)image_export_retire(image->turn, image->object);
                return image_finish(image, &content);
        }
        if (status->ingest && status->ingest->error) {
                (void)image_export_retire(image->turn, image->object);
                return image_refused(image, status->ingest->error);
        }
        image_export_take(image->turn, image->object, &image->view, &made);
        status->progress = arena_printf(turn_arena(image->turn), "%d%%", made.percent);
        status->consistency = made.consistency;
        if (made.source_uid)
                status->source_uid = made.source_uid;
        if (made.source_fault)
                return image_source_wait(image, made.phase, made.reason, made.words);
        if (strcmp(made.phase, "Failed") == 0 && g_strcmp0(status->phase, "Failed") != 0)
                turn_event(image->turn, image->object, true, made.reason, made.words);
        conditions_say(&image->conditions, "DatasourceReady", "True", REASON_DATASOURCE_READY, "VirtualDisk %s is read",
                       image->view.ref_name);
        return image_wait(image, made.phase, made.reason, made.words);
}

static enum turn_result image_make(struct image_turn *image)
{
        const char *type = image->view.type, *words;
        struct image_content content;

        if (image_ready(image->object, &content, &words)) { /* its own from now on, whatever happens to the source */
                (void)image_export_retire(image->turn, image->object);
                return image_finish(image, &content);
        }
        if (image->view.in_pool)
                return image_wait(image, "Failed", REASON_STORAGE_CLASS_NOT_READY,
                                  "images lie in the gateway's library; storage PersistentVolumeClaim is not supported yet");
        if (g_strcmp0(type, "ObjectRef") == 0 && g_strcmp0(image->view.ref_kind, "VirtualDisk") == 0)
                return image_by_disk(image);
        if (g_strcmp0(type, "ObjectRef") == 0)
                return image_by_ref(image);
        if (g_strcmp0(type, "HTTP") == 0 || g_strcmp0(type, "Upload") == 0)
                return image_by_ingest(image, type[0] == 'U');
        return image_source_wait(image, "Failed", REASON_CONTAINER_IMAGE_NOT_SUPPORTED, "container images are no source here");
}

/* Return: whom its deletion waits for, or NULL. */
static const char *image_use(struct image_turn *image)
{
        struct arena *arena = turn_arena(image->turn);
        const char *user = image_user(image->cache, image->object, arena);
        const char *readers = image_readers(image->cache, image->object, arena);

        if (user)
                conditions_say(&image->conditions, "InUse", "True", REASON_ATTACHED_TO_VIRTUAL_MACHINE, "%s uses it", user);
        else if (readers)
                conditions_say(&image->conditions, "InUse", "True", REASON_IMAGE_IS_BACKING, "disks read from it: %s", readers);
        else
                conditions_say(&image->conditions, "InUse", "False", REASON_NOT_IN_USE, "no machine uses it");
        return user ? user : readers ? arena_printf(arena, "disks that read from it: %s", readers) : NULL;
}

static enum turn_result image_end(struct image_turn *image)
{
        const char *use = image_use(image);

        if (use)
                return image_wait(image, "Terminating", REASON_TERMINATING,
                                  arena_printf(turn_arena(image->turn), "waits for %s", use));
        bool sent = image_export_retire(image->turn, image->object);
        if (!image_volumes_retire(image->turn, image->object, true) || !sent)
                return image_wait(image, "Terminating", REASON_CLEANUP_PENDING, "waits until hosts have removed their copies");
        turn_remove_finalizer(image->turn, image->object, FINALIZER_IMAGE);
        return TURN_DONE;
}

static enum turn_result image_take_turn(struct turn *turn, const struct cache_object *object)
{
        struct image_turn image = {
                .turn = turn,
                .cache = turn_cache(turn),
                .object = object,
                .view = image_view(object),
        };

        image.conditions = (struct conditions){
                .arena = turn_arena(turn),
                .list = &image.view.status.conditions,
                .n = &image.view.status.n_conditions,
                .generation = object_meta(object)->generation,
                .now_us = turn_now_us(turn),
        };
        image.view.status.observed_generation = image.conditions.generation;
        image.view.status.has_observed_generation = true;
        if (object_deleting(object))
                return image_end(&image);
        turn_add_finalizer(turn, object, FINALIZER_IMAGE);
        (void)image_volumes_retire(turn, object, false);
        (void)image_use(&image);
        return image_make(&image);
}

static void image_relate(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                         const struct schema_kind *kind, struct workqueue *queue)
{
        const struct cache_object *object = now ? now : before;

        if (object->kind == &api_virtual_image_kind || object->kind == &api_cluster_virtual_image_kind ||
            object->kind == &api_virtual_disk_kind)
                image_enqueue_users(cache, object, kind, queue);
        else if (object->kind == &api_host_task_kind)
                image_enqueue_task(object, kind, queue);
        else if (object->kind == &api_node_kind && node_moved(before, now))
                kind_enqueue(cache, kind, NULL, queue); /* a host that is copying or sending may be lost, or back */
        else if (object->kind == &api_volume_kind)
                image_enqueue_owner(cache, object, kind, queue);
        else if (object->kind == &api_instance_kind || object->kind == &api_virtual_machine_kind)
                image_enqueue_devices(cache, before, now, kind, queue);
}

static void image_related(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                          struct workqueue *queue)
{
        image_relate(cache, before, now, &api_virtual_image_kind, queue);
}

static void cluster_image_related(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                                  struct workqueue *queue)
{
        image_relate(cache, before, now, &api_cluster_virtual_image_kind, queue);
}

const struct controller image_controller = {
        .name = "image",
        .kind = &api_virtual_image_kind,
        .turn = image_take_turn,
        .related = image_related,
};

const struct controller cluster_image_controller = {
        .name = "clusterimage",
        .kind = &api_cluster_virtual_image_kind,
        .turn = image_take_turn,
        .related = cluster_image_related,
};
