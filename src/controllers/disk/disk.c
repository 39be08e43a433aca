/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/disk/disk_private.h"

#include "base/quantity.h"
#include "controllers/object.h"
#include "controllers/pool/capabilities.h"
#include "controllers/pool/pool.h"
#include "generated/reasons.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define FINALIZER_DISK          "gabbro.dev/vd-cleanup"
#define OVER_COMMITTED_AGAIN_US 60000000ull

const char *disk_volume_name(const struct cache *cache, struct arena *arena, const struct cache_object *disk)
{
        const struct cache_object *volume;

        assert(cache && arena && disk);
        volume = disk_volume(cache, disk); /* that of a disk which has moved has another number */
        return volume ? volume->name : intent_name(arena, 'v', disk->uid, 0);
}

bool disk_is_of_image(const struct cache_object *disk)
{
        const struct api_virtual_disk *view = disk->view;
        const struct api_disk_data_source *source = view->spec ? view->spec->data_source : NULL;

        return source && g_strcmp0(source->type, "ObjectRef") == 0 && !disk_source_of(disk);
}

const struct cache_object *disk_volume(const struct cache *cache, const struct cache_object *disk)
{
        assert(cache && disk);
        return index_one(cache, INDEX_VOLUME_BY_OWNER, disk->uid);
}

const char *disk_node(const struct cache *cache, const struct cache_object *disk)
{
        const struct cache_object *volume = disk_volume(cache, disk);

        const struct api_disk_object_ref *ref = volume ? NULL : disk_source_of(disk);
        const char *selected = object_annotation(disk, ANNOTATION_SELECTED_NODE);

        if (!volume && !selected && ref) {
                const struct cache_object *source = cache_get(cache, &api_virtual_disk_kind, disk->namespace, ref->name);

                volume = source ? disk_volume(cache, source) : NULL; /* the only host that can copy it */
        }
        return volume ? ((const struct api_volume *)volume->view)->spec->node_name : selected;
}

/* --- binding --- */

static void volume_create(struct turn *turn, const struct cache_object *disk, const struct disk_plan *plan, const char *node)
{
        struct arena *arena = turn_arena(turn);
        struct intent_owner owner = intent_owner_of(disk);
        struct api_object_ref ref = {.kind = owner.kind, .namespace = owner.namespace, .name = owner.name, .uid = owner.uid};
        struct api_volume_source source = {
                .digest = plan->content.digest,
                .size_bytes = plan->content.size_bytes,
                .has_size_bytes = true,
                .format = plan->content.format,
                .virtual_size_bytes = plan->content.virtual_size_bytes,
                .has_virtual_size_bytes = true,
        };
        struct api_volume_copy *shared = disk_image_copy(turn, disk, plan, node);
        struct api_volume_spec spec = {
                .node_name = node,
                .owner = &ref,
                .pool = disk_pool_view(plan->pool, arena),
                .volume_name = disk_file_name(arena, disk->name, disk->uid, plan->format),
                .format = plan->format,
                .capacity_bytes = plan->capacity_bytes,
                .has_capacity_bytes = true,
                .source = plan->has_content && !shared ? &source : NULL,
                .copy = shared ? shared : (struct api_volume_copy *)plan->copy,
        };
        struct api_volume volume = {.metadata = intent_meta(arena, &owner, disk_volume_name(turn_cache(turn), arena, disk), node),
                                    .spec = &spec};

        turn_create(turn, &api_volume_kind, &volume);
        if (plan->source)
                turn_depends(turn, plan->source);
        if (plan->cloned)
                turn_depends(turn, plan->cloned);
}

const char *disk_bind(struct turn *turn, const struct cache_object *disk, const char *node, const char *machine_uid,
                      const char **reterr_words)
{
        assert(turn && disk && node && machine_uid && reterr_words);

        const struct cache_object *volume = disk_volume(turn_cache(turn), disk);
        struct disk_plan plan;

        if (!volume) {
                disk_plan(turn_cache(turn), disk, turn_arena(turn), &plan);
                if (plan.phase) {
                        *reterr_words = plan.words;
                        return NULL;
                }
                if (plan.node && strcmp(plan.node, node) != 0) {
                        *reterr_words = arena_printf(turn_arena(turn), "its source lies on %s", plan.node);
                        return NULL;
                }
                *reterr_words = disk_image_refusal(turn_cache(turn), disk, &plan, node, turn_arena(turn));
                if (*reterr_words) {
                        turn_again_in(turn, OVER_COMMITTED_AGAIN_US);
                        return NULL;
                }
                volume_create(turn, disk, &plan, node);
                turn_set_annotation(turn, disk, ANNOTATION_SELECTED_NODE, node);
        }
        turn_set_annotation(turn, disk, ANNOTATION_HELD_BY, machine_uid);
        turn_add_finalizer(turn, disk, FINALIZER_DISK);
        turn_depends(turn, disk);
        return disk_volume_name(turn_cache(turn), turn_arena(turn), disk);
}

const struct cache_object *disk_other_holder(const struct cache *cache, const struct cache_object *disk, const char *machine_uid,
                                             const struct cache_object **ret_former)
{
        assert(cache && disk && machine_uid && ret_former);

        const char *holder = object_annotation(disk, ANNOTATION_HELD_BY);
        const struct cache_object *instance;

        *ret_former = NULL;
        if (!holder || strcmp(holder, machine_uid) == 0)
                return NULL;
        instance = index_one(cache, INDEX_INSTANCE_BY_MACHINE, holder);
        if (!instance)
                return NULL;
        if (instance_active(instance))
                return instance;
        *ret_former = instance;
        return NULL;
}

/* --- one turn --- */

struct disk_turn {
        struct turn *turn;
        const struct cache *cache;
        const struct cache_object *object;
        const struct cache_object *volume;
        struct api_virtual_disk_status status;
        struct conditions conditions;
        const char *user;    /* machine that has it now */
        const char *backs;   /* disks that are linked clones of it, or NULL */
        const char *copying; /* disks that are being copied from it, or NULL */
        const char *imaged;  /* images that are being made of it, or NULL */
};

/* The machines that list the disk, and those that attachments name. */
static GPtrArray *disk_machines(struct disk_turn *disk)
{
        g_autofree char *key = device_key("VirtualDisk", disk->object->namespace, disk->object->name);
        g_autoptr(GPtrArray) attachments = cache_lookup(disk->cache, INDEX_ATTACHMENT_BY_DEVICE, key);
        GPtrArray *machines = cache_lookup(disk->cache, INDEX_VM_BY_DEVICE, key);

        if (!machines)
                machines = g_ptr_array_new();
        for (guint i = 0; attachments && i < attachments->len; i++) {
                const struct api_virtual_machine_block_device_attachment *view =
                        ((const struct cache_object *)attachments->pdata[i])->view;
                const struct cache_object *machine = cache_get(disk->cache, &api_virtual_machine_kind, disk->object->namespace,
                                                               view->spec->virtual_machine_name);

                if (machine && !g_ptr_array_find(machines, machine, NULL))
                        g_ptr_array_add(machines, (gpointer)machine);
        }
        return machines;
}

static void disk_attachments(struct disk_turn *disk)
{
        g_autoptr(GPtrArray) machines = disk_machines(disk);
        size_t n = machines->len;
        struct api_disk_attachment *attachments = arena_array(turn_arena(disk->turn), n, sizeof(*attachments));
        const char *holder = object_annotation(disk->object, ANNOTATION_HELD_BY);

        for (size_t i = 0; i < n; i++) {
                const struct cache_object *machine = machines->pdata[i];
                const struct cache_object *instance = index_one(disk->cache, INDEX_INSTANCE_BY_MACHINE, machine->uid);
                bool mounted = instance && instance_active(instance) && g_strcmp0(holder, machine->uid) == 0;

                attachments[i] = (struct api_disk_attachment){.name = machine->name, .mounted = mounted, .has_mounted = true};
        }
        disk->status.attached_to_virtual_machines = attachments;
        disk->status.n_attached_to_virtual_machines = n;
}

static void disk_use(struct disk_turn *disk)
{
        struct arena *arena = turn_arena(disk->turn);

        disk_attachments(disk);
        disk->user = disk_user(disk->cache, disk->object);
        disk->backs = disk_readers(disk->cache, disk->object, true, arena);
        disk->copying = disk_readers(disk->cache, disk->object, false, arena);
        disk->imaged = disk_imaged(disk->cache, disk->object, arena);
        if (disk->user)
                conditions_say(&disk->conditions, "InUse", "True", REASON_ATTACHED_TO_VIRTUAL_MACHINE, "machine %s has it",
                               disk->user);
        else if (disk->backs)
                conditions_say(&disk->conditions, "InUse", "True", REASON_DISK_IS_BACKING, "linked clones read from it: %s",
                               disk->backs);
        else if (disk->copying)
                conditions_say(&disk->conditions, "InUse", "True", REASON_USED_FOR_DISK_CREATION, "it is being cloned: %s",
                               disk->copying);
        else if (disk->imaged)
                conditions_say(&disk->conditions, "InUse", "True", REASON_USED_FOR_IMAGE_CREATION, "images are made of it: %s",
                               disk->imaged);
        else
                conditions_say(&disk->conditions, "InUse", "False", REASON_NOT_IN_USE, "no machine has it");
}

static enum turn_result disk_say(struct disk_turn *disk, const char *phase, const char *status, const char *reason,
                                 const char *words)
{
        struct capability_question question;
        bool known = capabilities_of_disk(disk->cache, disk->object, disk->status.storage_class_name, disk->user, &question);

        disk->status.limits = disk_limits_kept(disk->cache, disk->object, turn_arena(disk->turn));
        disk->status.capabilities = capabilities_view(turn_arena(disk->turn), &question, known ? 1 : 0, CAPABILITY_OF_DISK, false);
        disk->status.phase = phase;
        conditions_say(&disk->conditions, "Ready", status, reason, "%s", words);
        turn_update_status(disk->turn, disk->object, &disk->status);
        return TURN_DONE;
}

static const char *percent(struct disk_turn *disk, int value)
{
        return arena_printf(turn_arena(disk->turn), "%d%%", value);
}

static const char *bytes_text(struct disk_turn *disk, int64_t bytes)
{
        char text[32];

        return arena_strdup(turn_arena(disk->turn), quantity_format_bytes((uint64_t)bytes, text));
}

enum growth {
        GROWTH_NONE,
        GROWTH_REFUSED, /* the pool's limit */
        GROWTH_UNDER_WAY,
        GROWTH_HELD_UP,   /* the host says why */
        GROWTH_FORBIDDEN, /* linked clones need it as it is */
};

/* The wanted size of a disk that exists already may grow. */
static enum growth disk_grow(struct disk_turn *disk, const struct api_volume *volume, int64_t *ret_wanted, const char **ret_words)
{
        const struct api_virtual_disk *view = disk->object->view;
        const struct api_disk_volume_claim *claim = view->spec ? view->spec->persistent_volume_claim : NULL;
        const struct api_volume_status *status = volume->status;
        struct api_volume_spec spec = *volume->spec;
        uint64_t wanted;

        if (!claim || !claim->size || quantity_parse_bytes(claim->size, &wanted) != 0)
                return GROWTH_NONE;
        *ret_wanted = MAX((int64_t)wanted, spec.capacity_bytes);
        if ((int64_t)wanted > spec.capacity_bytes && disk->backs)
                return GROWTH_FORBIDDEN;
        if ((int64_t)wanted > spec.capacity_bytes) {
                *ret_words = pool_why_no_room(disk->cache, spec.pool->name, spec.node_name, wanted - (uint64_t)spec.capacity_bytes,
                                              turn_arena(disk->turn));
                if (*ret_words)
                        return GROWTH_REFUSED;
                spec.capacity_bytes = (int64_t)wanted;
                turn_update_spec(disk->turn, disk->volume, &spec);
                return GROWTH_UNDER_WAY;
        }
        if (!status || !status->has_capacity_bytes || status->capacity_bytes >= spec.capacity_bytes)
                return GROWTH_NONE;
        return status->error && status->observed_generation == volume->metadata->generation ? GROWTH_HELD_UP : GROWTH_UNDER_WAY;
}

static enum turn_result disk_ready(struct disk_turn *disk, const struct api_volume *volume)
{
        int64_t capacity = volume->status->has_capacity_bytes ? volume->status->capacity_bytes : volume->spec->capacity_bytes;
        int64_t wanted = volume->spec->capacity_bytes;
        const char *words = NULL;
        enum growth growth;
        bool fresh = g_strcmp0(disk->status.phase, "Ready") != 0 && g_strcmp0(disk->status.phase, "Resizing") != 0;

        disk->status.capacity = bytes_text(disk, capacity);
        disk->status.allocated = volume->status->has_allocation_bytes ? bytes_text(disk, volume->status->allocation_bytes) : NULL;
        disk->status.progress = "100%";
        if (fresh)
                turn_event(disk->turn, disk->object, false, REASON_READY, "the disk can be used");
        growth = disk_grow(disk, volume, &wanted, &words);
        if (growth == GROWTH_REFUSED) {
                conditions_say(&disk->conditions, "Resizing", "False", REASON_POOL_OVER_COMMITTED, "from %s to %s: %s",
                               disk->status.capacity, bytes_text(disk, wanted), words);
                turn_again_in(disk->turn, OVER_COMMITTED_AGAIN_US);
                return disk_say(disk, "Ready", "True", REASON_READY, "the disk can be used; it does not grow");
        }
        if (growth == GROWTH_FORBIDDEN) {
                conditions_say(&disk->conditions, "Resizing", "False", REASON_DISK_IS_BACKING,
                               "from %s to %s: linked clones read from it: %s", disk->status.capacity, bytes_text(disk, wanted),
                               disk->backs);
                return disk_say(disk, "Ready", "True", REASON_READY, "the disk can be used; it has not grown");
        }
        if (growth == GROWTH_HELD_UP) {
                conditions_say(&disk->conditions, "Resizing", "False", volume->status->error->reason, "from %s to %s: %s",
                               disk->status.capacity, bytes_text(disk, wanted), volume->status->error->message);
                return disk_say(disk, "Ready", "True", REASON_READY, "the disk can be used; it has not grown yet");
        }
        if (growth == GROWTH_UNDER_WAY) {
                conditions_say(&disk->conditions, "Resizing", "True", REASON_IN_PROGRESS, "grows from %s to %s",
                               disk->status.capacity, bytes_text(disk, wanted));
                return disk_say(disk, "Resizing", "True", REASON_READY, "the disk can be used and is growing");
        }
        condition_remove(&disk->conditions, "Resizing");
        return disk_say(disk, "Ready", "True", REASON_READY, "the disk can be used");
}

static void disk_mirror_clone(struct disk_turn *disk, const struct api_volume *volume)
{
        const struct api_volume_copied *copied = volume->status ? volume->status->copied : NULL;
        bool whole = volume->spec->source && disk_is_of_image(disk->object) && volume->status && volume->status->path;
        struct api_disk_cloned *clone = copied || whole ? arena_new0(turn_arena(disk->turn), struct api_disk_cloned) : NULL;

        if (copied)
                *clone = (struct api_disk_cloned){.mode = copied->mode, .consistency = copied->consistency};
        else if (whole)
                *clone = (struct api_disk_cloned){.mode = "Full", .consistency = "Stopped"};
        disk->status.clone = clone;
}

static enum turn_result disk_mirror(struct disk_turn *disk)
{
        const struct api_volume *volume = disk->volume->view;
        const char *state = volume->status ? volume->status->state : NULL;
        struct arena *arena = turn_arena(disk->turn);
        struct api_disk_target *target = arena_new0(arena, struct api_disk_target);
        const char *lost = disk_lost_source(disk->cache, volume);

        target->persistent_volume_claim_name = disk->volume->name;
        disk->status.target = target;
        disk->status.image_upload_urls = NULL;
        disk->status.upload_command = NULL;
        disk->status.node_name = volume->spec->node_name;
        disk->status.storage_class_name = volume->spec->pool->name;
        disk->status.digest = disk_image_digest(disk->cache, volume, disk->status.digest);
        disk_mirror_clone(disk, volume);
        if (!disk->status.capacity)
                disk->status.capacity = bytes_text(disk, volume->spec->capacity_bytes);
        conditions_say(&disk->conditions, "DatasourceReady", "True", REASON_DATASOURCE_READY, "its content is known");
        conditions_say(&disk->conditions, "StorageClassReady", "True", REASON_STORAGE_CLASS_READY,
                       "it lies in StoragePool %s on %s", volume->spec->pool->name, volume->spec->node_name);
        if (lost) {
                if (g_strcmp0(disk->status.phase, "PVCLost") != 0)
                        turn_event(disk->turn, disk->object, true, REASON_VOLUME_MISSING, lost);
                return disk_say(disk, "PVCLost", "False", REASON_VOLUME_MISSING,
                                arena_printf(arena, "what it reads from is not there: %s of host %s; put the file back", lost,
                                             volume->spec->node_name));
        }
        if (g_strcmp0(state, "Ready") == 0)
                return disk_ready(disk, volume);
        if (g_strcmp0(state, "Gone") == 0)
                return disk_say(disk, "PVCLost", "False", REASON_VOLUME_MISSING, "its volume is gone from the host");
        if (g_strcmp0(state, "Failed") == 0 && volume->status->error &&
            g_strcmp0(volume->status->error->reason, REASON_VOLUME_MISSING) == 0) {
                if (g_strcmp0(disk->status.phase, "PVCLost") != 0)
                        turn_event(disk->turn, disk->object, true, REASON_VOLUME_MISSING, volume->status->error->message);
                return disk_say(disk, "PVCLost", "False", REASON_VOLUME_MISSING,
                                arena_printf(arena, "%s of host %s; put the file back, or delete the disk",
                                             volume->status->error->message, volume->spec->node_name));
        }
        if (g_strcmp0(state, "Pending") == 0 && volume->status->error)
                return disk_say(disk, "Provisioning", "False", REASON_PROVISIONING, volume->status->error->message);
        if (g_strcmp0(state, "Failed") == 0) {
                const char *words = volume->status->error ? volume->status->error->message : "the host could not make its volume";

                const char *reason = volume->status->error && g_strcmp0(volume->status->error->reason, REASON_POOL_FULL) == 0
                                             ? REASON_POOL_FULL
                                             : REASON_PROVISIONING_FAILED;

                if (g_strcmp0(disk->status.phase, "Failed") != 0)
                        turn_event(disk->turn, disk->object, true, reason, words);
                return disk_say(disk, "Failed", "False", reason, words);
        }
        disk->status.progress = percent(disk, volume->status ? (int)volume->status->progress_percent : 0);
        return disk_say(disk, "Provisioning", "False", REASON_PROVISIONING,
                        arena_printf(arena, "host %s %s", volume->spec->node_name,
                                     g_strcmp0(state, "Fetching") == 0 ? "fetches its image" : "makes its volume"));
}

/* A clone is made at once, without placement: the pool's limit is looked at here. */
static const char *clone_refusal(struct disk_turn *disk, const struct disk_plan *plan)
{
        const char *words =
                pool_why_no_room(disk->cache, plan->pool->name, plan->node, (uint64_t)plan->capacity_bytes, turn_arena(disk->turn));

        if (words)
                turn_again_in(disk->turn, OVER_COMMITTED_AGAIN_US);
        return words;
}

/* Each is said once: a status that went to and fro within a turn would move its time. */
static void disk_say_sources(struct disk_turn *disk, const struct disk_plan *plan)
{
        const char *fault = plan->phase ? plan->condition : "";

        if (strcmp(fault, "DatasourceReady") == 0)
                conditions_say(&disk->conditions, "DatasourceReady", "False", plan->reason, "%s", plan->words);
        else
                conditions_say(&disk->conditions, "DatasourceReady", "True", REASON_DATASOURCE_READY, "%s",
                               plan->has_content || plan->cloned ? "its content is known"
                                                                 : "it begins empty, or its file is awaited");
        if (strcmp(fault, "StorageClassReady") == 0)
                conditions_say(&disk->conditions, "StorageClassReady", "False", plan->reason, "%s", plan->words);
        else if (plan->pool)
                conditions_say(&disk->conditions, "StorageClassReady", "True", REASON_STORAGE_CLASS_READY,
                               "StoragePool %s can be used", plan->pool->name);
}

/* A content of its own, from an upload or a URL: it is kept in the library until the volume has it. */
static void disk_own_content(struct disk_turn *disk, const struct disk_plan *plan)
{
        const struct api_virtual_disk *view = disk->object->view;
        const struct api_disk_data_source *source = view->spec ? view->spec->data_source : NULL;

        disk->status.image_upload_urls = NULL;
        disk->status.upload_command = NULL;
        if (plan->has_content && !plan->source)
                image_blob_ensure(disk->turn, &plan->content);
        else if (source && g_strcmp0(source->type, "Upload") == 0)
                image_tell_upload(turn_arena(disk->turn), disk->object, &disk->status.image_upload_urls,
                                  &disk->status.upload_command);
}

static enum turn_result disk_prepare(struct disk_turn *disk)
{
        const char *node = object_annotation(disk->object, ANNOTATION_SELECTED_NODE);
        const char *phase_before = disk->status.phase;
        struct disk_plan plan;

        disk_plan(disk->cache, disk->object, turn_arena(disk->turn), &plan);
        disk_own_content(disk, &plan);
        disk->status.progress = percent(disk, plan.progress_percent);
        if (!plan.phase && turn_refusal(disk->turn))
                plan = (struct disk_plan){.phase = "Pending",
                                          .condition = "Ready",
                                          .reason = REASON_QUOTA_EXCEEDED,
                                          .words = turn_refusal(disk->turn)};
        disk->status.source_uid = plan.source ? plan.source->uid : NULL;
        disk->status.storage_class_name = plan.pool ? plan.pool->name : NULL;
        disk_say_sources(disk, &plan);
        if (plan.phase) {
                if (strcmp(plan.phase, "Failed") == 0 && g_strcmp0(phase_before, "Failed") != 0)
                        turn_event(disk->turn, disk->object, true, plan.reason, plan.words);
                return disk_say(disk, plan.phase, "False",
                                strcmp(plan.condition, "DatasourceReady") == 0 ? REASON_DATASOURCE_IS_NOT_READY : plan.reason,
                                plan.words);
        }
        disk->status.capacity = bytes_text(disk, plan.capacity_bytes);
        disk->status.digest = plan.has_content ? plan.content.digest : NULL;
        if (plan.cloned) {
                const char *words = clone_refusal(disk, &plan);

                if (words)
                        return disk_say(disk, "Pending", "False", REASON_POOL_OVER_COMMITTED, words);
                node = plan.node;
        }
        if (!node)
                return disk_say(disk, "WaitForFirstConsumer", "False", REASON_WAITING_FOR_FIRST_CONSUMER,
                                "it is made where the first machine that uses it will run");
        const char *refusal = disk_image_refusal(disk->cache, disk->object, &plan, node, turn_arena(disk->turn));
        if (refusal) {
                turn_again_in(disk->turn, OVER_COMMITTED_AGAIN_US);
                return disk_say(disk, "Pending", "False", REASON_POOL_OVER_COMMITTED, refusal);
        }
        volume_create(disk->turn, disk->object, &plan, node);
        disk->status.node_name = node;
        return disk_say(disk, "Provisioning", "False", REASON_PROVISIONING,
                        arena_printf(turn_arena(disk->turn), "host %s makes its volume", node));
}

static enum turn_result disk_end(struct disk_turn *disk)
{
        const struct api_volume *volume = disk->volume ? disk->volume->view : NULL;

        if (disk->user) {
                disk_say(disk, "Terminating", "False", REASON_TERMINATING,
                         arena_printf(turn_arena(disk->turn), "its deletion waits for machine %s, which has it", disk->user));
                return TURN_WAIT;
        }
        if (disk->backs || disk->copying || disk->imaged) {
                disk_say(disk, "Terminating", "False", REASON_TERMINATING,
                         arena_printf(turn_arena(disk->turn), "its deletion waits for %s: %s",
                                      disk->backs     ? "linked clones, which read from it"
                                      : disk->copying ? "copies that are being made of it"
                                                      : "images that are being made of it",
                                      disk->backs     ? disk->backs
                                      : disk->copying ? disk->copying
                                                      : disk->imaged));
                return TURN_WAIT;
        }
        if (disk->volume && !intent_retire(disk->turn, disk->volume, volume->status ? volume->status->state : NULL)) {
                disk_say(disk, "Terminating", "False", REASON_CLEANUP_PENDING,
                         arena_printf(turn_arena(disk->turn), "waits until host %s has removed its volume",
                                      volume->spec->node_name));
                return TURN_WAIT;
        }
        turn_remove_finalizer(disk->turn, disk->object, FINALIZER_DISK);
        return TURN_DONE;
}

/* A redeploy that is under way wants it as its image is. One that ended otherwise wants nothing any more, unless the old volume is
 * on its way out already. */
static bool renew_wanted(const struct disk_turn *disk)
{
        const char *wanted = object_annotation(disk->object, ANNOTATION_RENEW);
        const struct cache_object *object = wanted ? cache_by_uid(disk->cache, wanted) : NULL;
        bool is_operation = object && object->kind == &api_virtual_machine_operation_kind && !object_deleting(object);
        const struct api_virtual_machine_operation *operation = is_operation ? object->view : NULL;

        if (!wanted || g_strcmp0(wanted, object_annotation(disk->object, ANNOTATION_RENEWED)) == 0 ||
            !disk_is_of_image(disk->object))
                return false;
        if (disk->volume && object_deleting(disk->volume))
                return true;
        return operation && operation->status && g_strcmp0(operation->status->phase, "InProgress") == 0;
}

/* The old volume goes first; the next turn makes the new one. */
static enum turn_result disk_empty(struct disk_turn *disk)
{
        const struct api_volume *volume = disk->volume->view;

        if (!object_deleting(disk->volume) && (disk->user || disk->backs || disk->copying || disk->imaged)) {
                disk_say(disk, "Ready", "True", REASON_READY, "it is made anew once nobody reads it");
                return TURN_WAIT;
        }
        (void)intent_retire(disk->turn, disk->volume, volume->status ? volume->status->state : NULL);
        disk_say(disk, "Provisioning", "False", REASON_PROVISIONING, "it is made anew: its old volume is removed first");
        return TURN_WAIT;
}

static enum turn_result disk_take_turn(struct turn *turn, const struct cache_object *object)
{
        const struct api_virtual_disk *view = object->view;
        struct disk_turn disk = {
                .turn = turn,
                .cache = turn_cache(turn),
                .object = object,
                .volume = disk_volume(turn_cache(turn), object),
                .status = view->status ? *view->status : (struct api_virtual_disk_status){0},
        };

        disk.conditions = (struct conditions){
                .arena = turn_arena(turn),
                .list = &disk.status.conditions,
                .n = &disk.status.n_conditions,
                .generation = object_meta(object)->generation,
                .now_us = turn_now_us(turn),
        };
        disk.status.observed_generation = disk.conditions.generation;
        disk.status.has_observed_generation = true;
        disk_use(&disk);
        if (object_deleting(object))
                return disk_end(&disk);
        turn_add_finalizer(turn, object, FINALIZER_DISK);
        if (renew_wanted(&disk) && disk.volume)
                return disk_empty(&disk);
        if (renew_wanted(&disk))
                turn_set_annotation(turn, object, ANNOTATION_RENEWED, object_annotation(object, ANNOTATION_RENEW));
        return disk.volume ? disk_mirror(&disk) : disk_prepare(&disk);
}

static void disk_enqueue_refs(const struct cache_object *machine, struct workqueue *queue)
{
        const struct api_virtual_machine *view = machine ? machine->view : NULL;

        for (size_t i = 0; view && view->spec && i < view->spec->n_block_device_refs; i++)
                if (g_strcmp0(view->spec->block_device_refs[i].kind, "VirtualDisk") == 0)
                        controller_enqueue(queue, machine->namespace, view->spec->block_device_refs[i].name);
}

/* Disks of the attachments of a machine. */
static void disk_enqueue_attached(const struct cache *cache, const struct api_machine_ref *machine, struct workqueue *queue)
{
        g_autofree char *key = g_strdup_printf("%s/%s", machine->namespace, machine->name);
        g_autoptr(GPtrArray) attachments = cache_lookup(cache, INDEX_ATTACHMENT_BY_VM, key);

        for (guint i = 0; attachments && i < attachments->len; i++) {
                const struct cache_object *object = attachments->pdata[i];
                const struct api_virtual_machine_block_device_attachment *view = object->view;

                if (strcmp(view->spec->block_device_ref->kind, "VirtualDisk") == 0)
                        controller_enqueue(queue, object->namespace, view->spec->block_device_ref->name);
        }
}

static bool pool_moved(const struct cache_object *before, const struct cache_object *now)
{
        const struct api_storage_pool *old = before ? before->view : NULL, *new = now ? now->view : NULL;

        if (object_moved(before, now))
                return true;
        for (size_t i = 0; new->status &&i < new->status->n_nodes; i++)
                if (!old->status || i >= old->status->n_nodes ||
                    old->status->nodes[i].has_reflink != new->status->nodes[i].has_reflink ||
                    old->status->nodes[i].reflink != new->status->nodes[i].reflink)
                        return true;
        return g_strcmp0(old->status ? old->status->phase : NULL, new->status ? new->status->phase : NULL) != 0 ||
               g_strcmp0(object_annotation(before, ANNOTATION_DEFAULT_POOL), object_annotation(now, ANNOTATION_DEFAULT_POOL)) != 0;
}

static void disk_related(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                         struct workqueue *queue)
{
        const struct cache_object *object = now ? now : before;

        if (object->kind == &api_volume_kind) {
                const struct api_volume *volume = object->view;

                if (volume->spec && volume->spec->owner && g_strcmp0(volume->spec->owner->kind, "VirtualDisk") == 0)
                        controller_enqueue(queue, volume->spec->owner->namespace, volume->spec->owner->name);
                disk_enqueue_copies(cache, object, queue);
        } else if (object->kind == &api_instance_kind) {
                const struct api_instance *instance = object->view;

                if (!before || !now || instance_active(before) != instance_active(now) || object_moved(before, now) ||
                    disk_limits_moved(before, now)) {
                        disk_enqueue_refs(cache_by_uid(cache, instance->spec->machine->uid), queue);
                        disk_enqueue_attached(cache, instance->spec->machine, queue);
                }
        } else if (object->kind == &api_virtual_machine_block_device_attachment_kind) {
                const struct api_virtual_machine_block_device_attachment *view = object->view;

                if (object_moved(before, now) && strcmp(view->spec->block_device_ref->kind, "VirtualDisk") == 0)
                        controller_enqueue(queue, object->namespace, view->spec->block_device_ref->name);
        } else if (object->kind == &api_virtual_machine_kind) {
                if (object_moved(before, now)) {
                        disk_enqueue_refs(before, queue);
                        disk_enqueue_refs(now, queue);
                }
        } else if (object->kind == &api_virtual_disk_kind) {
                disk_enqueue_relatives(cache, object, queue);
        } else if (object->kind == &api_virtual_image_kind || object->kind == &api_cluster_virtual_image_kind) {
                g_autofree char *key = device_key(object->kind->kind, object->namespace, object->name);

                index_enqueue(cache, INDEX_DISK_BY_SOURCE, key, queue);
        } else if (object->kind == &api_storage_pool_kind && pool_moved(before, now)) {
                kind_enqueue(cache, &api_virtual_disk_kind, NULL, queue);
        }
}

const struct controller disk_controller = {
        .name = "disk",
        .kind = &api_virtual_disk_kind,
        .turn = disk_take_turn,
        .related = disk_related,
};
