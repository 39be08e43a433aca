/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/gc/gc.h"

#include "controllers/doctor/doctor.h"
#include "controllers/object.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

#define ROOM_LEFT 2 /* effects kept free for the turn's own object */

void gc_index_owners(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_object_meta *meta = object_meta(object);

        for (size_t i = 0; i < meta->n_owner_references; i++)
                if (meta->owner_references[i].uid)
                        cache_index_add(keys, meta->owner_references[i].uid);
}

/* --- who is who --- */

/* It is being deleted, and waits for its dependents. */
static bool waits(const struct cache_object *object)
{
        return object_deleting(object) && object_has_finalizer(object, GC_FINALIZER_FOREGROUND);
}

/* The same, and for nothing else. */
static bool only_waits(const struct cache_object *object)
{
        return waits(object) && object_meta(object)->n_finalizers == 1;
}

static const struct api_owner_reference *reference_to(const struct cache_object *object, const char *uid)
{
        const struct api_object_meta *meta = object_meta(object);

        for (size_t i = 0; i < meta->n_owner_references; i++)
                if (g_strcmp0(meta->owner_references[i].uid, uid) == 0)
                        return &meta->owner_references[i];
        return NULL;
}

/* Whether a reference may lead from one to the other. */
static bool within_reach(const struct cache_object *dependent, const struct cache_object *owner)
{
        return !owner->namespace || g_strcmp0(owner->namespace, dependent->namespace) == 0;
}

/* Whether the end of @owner waits for @dependent. What a project writes holds nothing of the cluster. */
static bool blocks(const struct cache_object *dependent, const struct cache_object *owner)
{
        const struct api_owner_reference *reference = reference_to(dependent, owner->uid);

        return reference && reference->block_owner_deletion && g_strcmp0(owner->namespace, dependent->namespace) == 0;
}

static GPtrArray *dependents_of(const struct cache *cache, const char *uid)
{
        return cache_lookup(cache, INDEX_DEPENDENTS, uid);
}

/* The kind that a reference names, by its own group or by an alias; NULL: none that is looked at here. */
static const struct schema_kind *owner_kind(const struct api_owner_reference *reference)
{
        const char *version = reference->api_version ?: "", *slash = strchr(version, '/');
        g_autofree char *group = slash ? g_strndup(version, (gsize)(slash - version)) : g_strdup("");
        const struct schema_kind *kind = schema_kind_by_kind(group, reference->kind);

        for (size_t i = 0; !kind && schema_kinds[i]; i++)
                if (strcmp(schema_kinds[i]->kind, reference->kind) == 0 && schema_kinds[i]->aliases &&
                    g_strv_contains(schema_kinds[i]->aliases, version))
                        kind = schema_kinds[i];
        return kind && !kind->internal && kind != &api_event_kind ? kind : NULL;
}

/* --- what becomes of a dependent --- */

enum owner_state { OWNER_THERE, OWNER_WAITS, OWNER_GONE, OWNER_OTHER /* gone; another one has its name */ };

/* What was seen is part of the commit's conditions: an owner that the cache does not know yet is not gone. */
static enum owner_state look_for_owner(struct turn *turn, const struct cache_object *object,
                                       const struct api_owner_reference *reference)
{
        const struct schema_kind *kind = reference->kind && reference->name && reference->uid ? owner_kind(reference) : NULL;
        const struct cache_object *owner;
        const char *namespace;

        if (!kind || (kind->namespaced && !object->namespace))
                return OWNER_THERE;
        namespace = kind->namespaced ? object->namespace : NULL;
        owner = cache_get(turn_cache(turn), kind, namespace, reference->name);
        if (!owner)
                turn_depends_absent(turn, kind, namespace, reference->name);
        else if (owner != object)
                turn_depends(turn, owner);
        if (owner && g_strcmp0(owner->uid, reference->uid) == 0)
                return waits(owner) ? OWNER_WAITS : OWNER_THERE;
        return owner ? OWNER_OTHER : OWNER_GONE;
}

struct owners {
        size_t n[OWNER_OTHER + 1];
        const char *gone[64]; /* uids of those that are not simply there, as many as fit */
        size_t n_gone;
        const struct api_owner_reference *lost; /* the last one that is gone */
};

static void survey_owners(struct turn *turn, const struct cache_object *object, struct owners *ret_owners)
{
        const struct api_object_meta *meta = object_meta(object);

        *ret_owners = (struct owners){0};
        for (size_t i = 0; i < meta->n_owner_references; i++) {
                const struct api_owner_reference *reference = &meta->owner_references[i];
                enum owner_state state = look_for_owner(turn, object, reference);

                ret_owners->n[state]++;
                if (state == OWNER_THERE)
                        continue;
                if (ret_owners->n_gone < G_N_ELEMENTS(ret_owners->gone))
                        ret_owners->gone[ret_owners->n_gone++] = reference->uid;
                if (state != OWNER_WAITS)
                        ret_owners->lost = reference;
        }
}

static bool is_gone(const char *uid, void *userdata)
{
        const struct owners *owners = userdata;

        return strings_hold(owners->gone, owners->n_gone, uid);
}

static void tell_collected(struct turn *turn, const struct cache_object *object, const struct owners *owners)
{
        const struct api_owner_reference *lost = owners->lost;
        bool other = owners->n[OWNER_OTHER] > 0;
        const char *words =
                arena_printf(turn_arena(turn), "deleted: its owner %s \"%s\" (uid %s) %s%s%s", lost->kind, lost->name, lost->uid,
                             other               ? "is not the one of that name"
                             : object->namespace ? "is not in namespace "
                                                 : "does not exist",
                             !other && object->namespace ? object->namespace : "", other ? " that exists now" : "");

        turn_event(turn, object, other, other ? REASON_OWNER_IS_ANOTHER : REASON_OWNER_GONE, words);
}

/* An owner waits for it: it goes, and waits for its own dependents in turn. */
static void delete_for_waiting(struct turn *turn, const struct cache_object *object)
{
        g_autoptr(GPtrArray) dependents = dependents_of(turn_cache(turn), object->uid);

        if (dependents->len > 0)
                turn_add_finalizer(turn, object, GC_FINALIZER_FOREGROUND);
        turn_delete(turn, object);
}

static enum turn_result judge(struct turn *turn, const struct cache_object *object)
{
        struct owners owners;

        survey_owners(turn, object, &owners);
        if (owners.n_gone == 0)
                return TURN_DONE;
        if (owners.n[OWNER_THERE] > 0) {
                turn_drop_owners(turn, object, is_gone, &owners);
        } else if (owners.n[OWNER_WAITS] > 0) {
                delete_for_waiting(turn, object);
        } else {
                turn_delete(turn, object);
                tell_collected(turn, object, &owners);
        }
        return TURN_DONE;
}

/* --- what becomes of an owner --- */

/*
 * Whether @object waits for nobody but itself: whoever blocks it, blocks those and so on, only waits, and it is among them. When
 * one of them has more to do, or is not being deleted yet, it is waited for.
 */
static bool waits_in_a_ring(const struct cache *cache, const struct cache_object *object)
{
        g_autoptr(GPtrArray) open = g_ptr_array_new();
        g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
        bool ring = false;

        g_ptr_array_add(open, (void *)object);
        while (open->len > 0) {
                const struct cache_object *next = g_ptr_array_steal_index_fast(open, open->len - 1);
                g_autoptr(GPtrArray) dependents = dependents_of(cache, next->uid);

                for (guint i = 0; i < dependents->len; i++) {
                        const struct cache_object *dependent = dependents->pdata[i];

                        if (!blocks(dependent, next))
                                continue;
                        if (!only_waits(dependent))
                                return false;
                        ring |= dependent == object;
                        if (g_hash_table_add(seen, (void *)dependent))
                                g_ptr_array_add(open, (void *)dependent);
                }
        }
        return ring;
}

static enum turn_result wait_for_dependents(struct turn *turn, const struct cache_object *object)
{
        g_autoptr(GPtrArray) dependents = dependents_of(turn_cache(turn), object->uid);
        bool blocked = false;

        for (guint i = 0; i < dependents->len && !blocked; i++)
                blocked = blocks(dependents->pdata[i], object);
        if (blocked && !(only_waits(object) && waits_in_a_ring(turn_cache(turn), object)))
                return TURN_WAIT;
        turn_remove_finalizer(turn, object, GC_FINALIZER_FOREGROUND);
        return TURN_DONE;
}

static bool is_uid(const char *uid, void *userdata)
{
        return strcmp(uid, userdata) == 0;
}

static enum turn_result let_dependents_go(struct turn *turn, const struct cache_object *object)
{
        g_autoptr(GPtrArray) dependents = dependents_of(turn_cache(turn), object->uid);

        for (guint i = 0; i < dependents->len; i++) {
                if (!within_reach(dependents->pdata[i], object))
                        continue;
                if (turn_room(turn) <= ROOM_LEFT) {
                        turn_again_in(turn, 0);
                        return TURN_WAIT;
                }
                turn_drop_owners(turn, dependents->pdata[i], is_uid, (void *)object->uid);
        }
        turn_remove_finalizer(turn, object, GC_FINALIZER_ORPHAN);
        return TURN_DONE;
}

static enum turn_result gc_turn(struct turn *turn, const struct cache_object *object)
{
        if (!object_deleting(object))
                return judge(turn, object);
        if (object_has_finalizer(object, GC_FINALIZER_ORPHAN))
                return let_dependents_go(turn, object);
        return waits(object) ? wait_for_dependents(turn, object) : TURN_DONE;
}

/* --- relations --- */

static void enqueue_dependents(const struct cache *cache, const char *uid, struct workqueue *queue)
{
        g_autoptr(GPtrArray) dependents = dependents_of(cache, uid);

        for (guint i = 0; i < dependents->len; i++)
                controller_enqueue_any(queue, dependents->pdata[i]);
}

/* Those that wait, perhaps for this one. */
static void enqueue_owners(const struct cache *cache, const struct cache_object *object, struct workqueue *queue)
{
        const struct api_object_meta *meta = object_meta(object);

        for (size_t i = 0; i < meta->n_owner_references; i++) {
                const struct cache_object *owner = cache_by_uid(cache, meta->owner_references[i].uid);

                if (owner && waits(owner))
                        controller_enqueue_any(queue, owner);
        }
}

static bool same_references(const struct api_object_meta *a, const struct api_object_meta *b)
{
        if (a->n_owner_references != b->n_owner_references || a->n_finalizers != b->n_finalizers)
                return false;
        for (size_t i = 0; i < a->n_owner_references; i++) {
                const struct api_owner_reference *one = &a->owner_references[i], *other = &b->owner_references[i];

                if (g_strcmp0(one->uid, other->uid) != 0 || g_strcmp0(one->name, other->name) != 0 ||
                    g_strcmp0(one->kind, other->kind) != 0 || g_strcmp0(one->api_version, other->api_version) != 0 ||
                    one->block_owner_deletion != other->block_owner_deletion)
                        return false;
        }
        for (size_t i = 0; i < a->n_finalizers; i++)
                if (g_strcmp0(a->finalizers[i], b->finalizers[i]) != 0)
                        return false;
        return true;
}

static bool concerns(const struct cache_object *object)
{
        const struct api_object_meta *meta = object_meta(object);

        return meta->n_owner_references > 0 || (meta->deletion_timestamp && meta->n_finalizers > 0);
}

static void gc_related(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                       struct workqueue *queue)
{
        if (before && now && object_deleting(before) == object_deleting(now) &&
            same_references(object_meta(before), object_meta(now)))
                return;
        if (now && concerns(now))
                controller_enqueue_any(queue, now);
        if (before) /* a change of who it names, or of what it waits for, may let them go */
                enqueue_owners(cache, before, queue);
        if (before && (!now || waits(now)))
                enqueue_dependents(cache, before->uid, queue);
}

const struct controller gc_controller = {
        .name = "gc",
        .turn = gc_turn,
        .related = gc_related,
};

/* --- tasks of the doctor --- */

#define TASK_KEPT_US 600000000ull

static enum turn_result task_turn(struct turn *turn, const struct cache_object *object)
{
        uint64_t end = object_created_us(object) + TASK_KEPT_US;

        if (!object_label(object, LABEL_DOCTOR_RUN) || object_deleting(object))
                return TURN_DONE;
        if (end > turn_now_us(turn))
                turn_again_in(turn, end - turn_now_us(turn));
        else
                turn_delete(turn, object);
        return TURN_DONE;
}

const struct controller gc_task_controller = {
        .name = "gc-task",
        .kind = &api_host_task_kind,
        .turn = task_turn,
};
