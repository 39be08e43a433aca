/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/callback/callback.h"

#include "base/limits.h"
#include "controllers/image/image_private.h"
#include "controllers/object.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

#define NAME_HEAD   200 /* of a callback's name in those of its deliveries */
#define NAME_DIGITS 16
#define GATHER_US   250000
#define ROOM_LEAST  6 /* for the status, and what one object needs */

/* --- what is told of images and disks --- */

static const struct {
        const char *phase, *event;
} events[] = {
        {"Ready", "ImageReady"},
        {"Failed", "ImageFailed"},
        {"ImageLost", "ImageLost"},
        {"PVCLost", "ImageLost"},
};

static const char event_deleted[] = "ImageDeleted";

const char *callback_event_of(const char *phase)
{
        for (size_t i = 0; i < G_N_ELEMENTS(events); i++)
                if (g_strcmp0(events[i].phase, phase) == 0)
                        return events[i].event;
        return NULL;
}

/* An object that may be told of, as far as it matters. */
struct subject {
        const struct cache_object *object;
        const char *phase;
        const struct api_condition *conditions;
        size_t n_conditions;
        struct api_callback_facts facts;
};

static struct subject subject_of(const struct cache_object *object)
{
        struct subject subject = {.object = object};

        if (object->kind == &api_virtual_disk_kind) {
                const struct api_virtual_disk_status *status = ((const struct api_virtual_disk *)object->view)->status;

                if (status) {
                        subject.phase = status->phase;
                        subject.conditions = status->conditions;
                        subject.n_conditions = status->n_conditions;
                        subject.facts.digest = status->digest;
                }
        } else {
                const struct api_virtual_image_status status = image_view(object).status;

                subject.phase = status.phase;
                subject.conditions = status.conditions;
                subject.n_conditions = status.n_conditions;
                subject.facts.digest = status.target ? status.target->digest : NULL;
                subject.facts.format = status.format;
                if (status.size && status.size->has_stored_bytes) {
                        subject.facts.stored_bytes = status.size->stored_bytes;
                        subject.facts.has_stored_bytes = true;
                }
                if (status.size && status.size->has_unpacked_bytes) {
                        subject.facts.unpacked_bytes = status.size->unpacked_bytes;
                        subject.facts.has_unpacked_bytes = true;
                }
        }
        const struct api_condition *ready = condition_get(subject.conditions, subject.n_conditions, "Ready");

        subject.facts.phase = subject.phase;
        subject.facts.message = ready ? ready->message : NULL;
        return subject;
}

/* When it became what it is, as far as its conditions tell. */
static uint64_t changed_us(const struct subject *subject)
{
        uint64_t newest_us = 0;

        for (size_t i = 0; i < subject->n_conditions; i++) {
                uint64_t one_us = time_us(subject->conditions[i].last_transition_time);

                newest_us = MAX(newest_us, one_us);
        }
        return newest_us;
}

/* --- one turn --- */

/* All that is remembered of one object, oldest first. */
struct group {
        const char *uid;
        GPtrArray *deliveries;
        bool seen;
};

struct callback_turn {
        struct turn *turn;
        const struct cache *cache;
        struct arena *arena;
        const struct cache_object *object;
        const struct api_callback_spec *spec;
        struct api_callback_status status;
        GPtrArray *groups;  /* struct group */
        GHashTable *by_uid; /* of the object -> struct group */
        size_t n_kept;      /* deliveries that there will be */
        int64_t pending;
        GPtrArray *dead;
        const char *trouble; /* the error of a delivery that is tried again */
        bool spec_changed, full;
};

static const struct api_callback_delivery *delivery_view(const struct cache_object *delivery)
{
        return delivery->view;
}

static bool is_state(const struct cache_object *delivery, const char *state)
{
        const struct api_callback_delivery_status *status = delivery_view(delivery)->status;

        return g_strcmp0(status ? status->state : "Pending", state) == 0;
}

static bool is_settled(const struct cache_object *delivery)
{
        return is_state(delivery, "Delivered") || is_state(delivery, "Skipped");
}

static int by_sequence(const void *a, const void *b)
{
        const struct cache_object *const *x = a, *const *y = b;
        int64_t first = delivery_view(*x)->spec->sequence, second = delivery_view(*y)->spec->sequence;

        return (first > second) - (first < second);
}

static void group_free(void *data)
{
        struct group *group = data;

        g_ptr_array_unref(group->deliveries);
        g_free(group);
}

static void gather(struct callback_turn *callback)
{
        g_autoptr(GPtrArray) all = cache_lookup(callback->cache, INDEX_DELIVERY_BY_CALLBACK, callback->object->uid);

        for (guint i = 0; i < all->len; i++) {
                const char *uid = delivery_view(all->pdata[i])->spec->object->uid;
                struct group *group = g_hash_table_lookup(callback->by_uid, uid);

                if (!group) {
                        group = g_new0(struct group, 1);
                        *group = (struct group){.uid = uid, .deliveries = g_ptr_array_new()};
                        g_ptr_array_add(callback->groups, group);
                        g_hash_table_insert(callback->by_uid, (void *)uid, group);
                }
                g_ptr_array_add(group->deliveries, all->pdata[i]);
        }
        for (guint i = 0; i < callback->groups->len; i++)
                g_ptr_array_sort(((struct group *)callback->groups->pdata[i])->deliveries, by_sequence);
        callback->n_kept = all->len;
}

static bool is_asked_for(const struct callback_turn *callback, const char *event)
{
        const struct api_callback_spec *spec = callback->spec;

        return spec->n_events == 0 || strings_hold((const char *const *)spec->events, spec->n_events, event);
}

static bool has_room(struct callback_turn *callback)
{
        if (turn_room(callback->turn) > ROOM_LEAST)
                return true;
        turn_again_in(callback->turn, 0);
        return false;
}

static void forget(struct callback_turn *callback, const struct cache_object *delivery)
{
        if (!has_room(callback))
                return;
        turn_delete(callback->turn, delivery);
        callback->n_kept--;
}

static void count(struct callback_turn *callback, const struct cache_object *delivery)
{
        const struct api_callback_delivery_status *status = delivery_view(delivery)->status;

        if (is_state(delivery, "Dead"))
                g_ptr_array_add(callback->dead, (void *)delivery);
        if (!is_state(delivery, "Pending"))
                return;
        callback->pending++;
        if (status && status->attempts > 0 && status->last_error && !callback->trouble)
                callback->trouble = status->last_error;
}

/* What is over and no longer the newest is not needed; with @all, neither is the newest. */
static void tidy(struct callback_turn *callback, const struct group *group, bool all)
{
        for (guint i = 0; group && i < group->deliveries->len; i++) {
                const struct cache_object *delivery = group->deliveries->pdata[i];

                if (is_settled(delivery) && (all || i + 1 < group->deliveries->len))
                        forget(callback, delivery);
                else
                        count(callback, delivery);
        }
}

/* --- a new delivery --- */

static const char *delivery_name(const struct callback_turn *callback, const char *uid, int64_t sequence)
{
        g_autofree char *text = g_strdup_printf("%s/%s", callback->object->uid, uid);
        g_autofree char *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);

        return arena_printf(callback->arena, "%.*s-%.*s-%" G_GINT64_FORMAT, NAME_HEAD, callback->object->name, NAME_DIGITS, digest,
                            sequence);
}

static struct api_object_meta *delivery_meta(const struct callback_turn *callback, const char *name)
{
        struct api_object_meta *meta = arena_new0(callback->arena, struct api_object_meta);
        struct api_owner_reference *owner = arena_new0(callback->arena, struct api_owner_reference);

        *owner = (struct api_owner_reference){
                .api_version = "gabbro.dev/v1",
                .kind = "Callback",
                .name = callback->object->name,
                .uid = callback->object->uid,
                .controller = true,
                .has_controller = true,
        };
        *meta = (struct api_object_meta){
                .name = name,
                .namespace = callback->object->namespace,
                .owner_references = owner,
                .n_owner_references = 1,
        };
        return meta;
}

struct news {
        const char *event;
        struct api_object_ref *object;
        struct api_callback_facts *facts;
        int64_t sequence;
        bool skip; /* to be remembered, not told */
};

static void make_delivery(struct callback_turn *callback, const struct news *news)
{
        char now[CLOCK_RFC3339_MAX];
        struct api_callback_ref ref = {.name = callback->object->name, .uid = callback->object->uid};
        struct api_callback_delivery_spec spec = {
                .callback = &ref,
                .sequence = news->sequence,
                .has_sequence = true,
                .event = news->event,
                .time = clock_format_rfc3339(turn_now_us(callback->turn), true, now),
                .object = news->object,
                .facts = news->facts,
        };
        struct api_callback_delivery_status status = {
                .state = news->skip ? "Skipped" : "Pending",
                .next_attempt_time = news->skip ? NULL : now,
        };
        const struct api_callback_delivery delivery = {
                .metadata = delivery_meta(callback, delivery_name(callback, news->object->uid, news->sequence)),
                .spec = &spec,
                .status = &status,
        };

        turn_create(callback->turn, &api_callback_delivery_kind, &delivery);
        callback->n_kept++;
        callback->pending += !news->skip;
}

/* The new one takes the place of the newest as the memory of its object, so that it never needs more room than there is. */
static bool begin_delivery(struct callback_turn *callback, const struct group *group)
{
        const struct cache_object *newest = group ? g_ptr_array_index(group->deliveries, group->deliveries->len - 1) : NULL;
        bool replaces = newest && is_settled(newest);

        if (!has_room(callback))
                return false;
        if (!replaces && callback->n_kept >= LIMIT_CALLBACK_DELIVERIES) {
                callback->full = true;
                return false;
        }
        return true;
}

/* --- an object that is there --- */

static bool is_old(const struct callback_turn *callback, const struct subject *subject)
{
        return callback->spec_changed && changed_us(subject) < object_created_us(callback->object);
}

static void follow_object(struct callback_turn *callback, const struct cache_object *object)
{
        struct group *group = g_hash_table_lookup(callback->by_uid, object->uid);
        const struct cache_object *newest = group ? g_ptr_array_index(group->deliveries, group->deliveries->len - 1) : NULL;
        struct subject subject = subject_of(object);
        const char *event = callback_event_of(subject.phase);

        if (group)
                group->seen = true;
        if (!event && !newest && object_deleting(object) && subject.facts.digest)
                event = "ImageReady"; /* it was, and is on its way out already */
        bool news = event && (!newest || g_strcmp0(delivery_view(newest)->spec->event, event) != 0);

        news = news && begin_delivery(callback, group);
        tidy(callback, group, news);
        if (!news)
                return;
        struct api_object_ref ref = {
                .kind = object->kind->kind, .namespace = object->namespace, .name = object->name, .uid = object->uid};

        turn_depends(callback->turn, object);
        make_delivery(callback, &(struct news){.event = event,
                                               .object = &ref,
                                               .facts = &subject.facts,
                                               .sequence = newest ? delivery_view(newest)->spec->sequence + 1 : 1,
                                               .skip = !is_asked_for(callback, event) || (!newest && is_old(callback, &subject))});
}

static bool is_selected(const struct callback_turn *callback, const struct cache_object *object)
{
        for (size_t i = 0; i < callback->spec->n_selector; i++) {
                const struct api_pair *pair = &callback->spec->selector[i];

                if (g_strcmp0(object_label(object, pair->key), pair->value) != 0)
                        return false;
        }
        return true;
}

static bool follow_each(const struct cache_object *object, void *userdata)
{
        struct callback_turn *callback = userdata;

        if (is_selected(callback, object))
                follow_object(callback, object);
        return true;
}

static const struct schema_kind *const followed_kinds[] = {&api_virtual_image_kind, &api_cluster_virtual_image_kind,
                                                           &api_virtual_disk_kind};

static bool is_followed(const struct schema_kind *kind)
{
        for (size_t i = 0; i < G_N_ELEMENTS(followed_kinds); i++)
                if (followed_kinds[i] == kind)
                        return true;
        return false;
}

static void follow_objects(struct callback_turn *callback)
{
        const struct api_callback_spec *spec = callback->spec;

        for (size_t i = 0; i < G_N_ELEMENTS(followed_kinds); i++) {
                const struct schema_kind *kind = followed_kinds[i];

                if (strings_hold((const char *const *)spec->kinds, spec->n_kinds, kind->kind))
                        cache_each(callback->cache, kind, kind->namespaced ? callback->object->namespace : NULL, follow_each,
                                   callback);
        }
}

/* --- an object that is not there, or not meant any more --- */

static void depend_on_absence(struct callback_turn *callback, const struct api_object_ref *ref)
{
        const struct schema_kind *kind = schema_kind_by_kind("gabbro.dev", ref->kind);
        const struct cache_object *successor = cache_get(callback->cache, kind, ref->namespace, ref->name);

        if (successor)
                turn_depends(callback->turn, successor);
        else
                turn_depends_absent(callback->turn, kind, ref->namespace, ref->name);
}

static void end_object(struct callback_turn *callback, const struct group *group)
{
        const struct cache_object *newest = g_ptr_array_index(group->deliveries, group->deliveries->len - 1);
        const struct api_callback_delivery_spec *spec = delivery_view(newest)->spec;
        struct api_callback_facts facts = spec->facts ? *spec->facts : (struct api_callback_facts){0};
        bool told = g_strcmp0(spec->event, event_deleted) == 0 || !is_asked_for(callback, event_deleted);
        bool news = !told && begin_delivery(callback, group);

        tidy(callback, group, told || news);
        if (!news)
                return;
        facts.phase = NULL;
        facts.message = "it is gone";
        depend_on_absence(callback, spec->object);
        make_delivery(
                callback,
                &(struct news){.event = event_deleted, .object = spec->object, .facts = &facts, .sequence = spec->sequence + 1});
}

static void drop_group(struct callback_turn *callback, const struct group *group)
{
        for (guint i = 0; i < group->deliveries->len; i++)
                forget(callback, group->deliveries->pdata[i]);
}

static void follow_memory(struct callback_turn *callback)
{
        for (guint i = 0; i < callback->groups->len; i++) {
                const struct group *group = callback->groups->pdata[i];

                if (group->seen)
                        continue;
                if (cache_by_uid(callback->cache, group->uid))
                        drop_group(callback, group);
                else
                        end_object(callback, group);
        }
}

/* --- dead ones --- */

static int by_time(const void *a, const void *b)
{
        const struct cache_object *const *x = a, *const *y = b;

        return g_strcmp0(delivery_view(*x)->spec->time, delivery_view(*y)->spec->time) ?: g_strcmp0((*x)->name, (*y)->name);
}

static void bound_dead(struct callback_turn *callback)
{
        g_ptr_array_sort(callback->dead, by_time);
        while (callback->dead->len > LIMIT_CALLBACK_DEAD && has_room(callback)) {
                const struct cache_object *oldest = callback->dead->pdata[0];
                struct api_callback_delivery_status status = *delivery_view(oldest)->status;

                status.state = "Skipped";
                turn_update_status(callback->turn, oldest, &status);
                g_ptr_array_remove_index(callback->dead, 0);
        }
}

/* --- what the user reads --- */

static size_t older_callbacks(const struct callback_turn *callback)
{
        g_autoptr(GPtrArray) all = cache_list(callback->cache, &api_callback_kind, callback->object->namespace);
        uint64_t created_us = object_created_us(callback->object);
        size_t n = 0;

        for (guint i = 0; i < all->len; i++) {
                uint64_t other_us = object_created_us(all->pdata[i]);

                n += other_us < created_us || (other_us == created_us && strcmp(((const struct cache_object *)all->pdata[i])->uid,
                                                                                callback->object->uid) < 0);
        }
        return n;
}

static void say_delivering(struct callback_turn *callback, const struct conditions *conditions)
{
        guint dead = callback->dead->len;

        if (callback->spec->suspended)
                conditions_say(conditions, "Delivering", "False", REASON_CALLBACK_SUSPENDED, "suspended: events are kept");
        else if (dead > 0)
                conditions_say(conditions, "Delivering", "False", REASON_DELIVERIES_DEAD,
                               "%u events were given up, the newest after: %s", dead,
                               delivery_view(callback->dead->pdata[dead - 1])->status->last_error ?: "no answer");
        else if (callback->full)
                conditions_say(conditions, "Delivering", "False", REASON_TOO_MANY_DELIVERIES,
                               "it follows %d objects, more are not told", LIMIT_CALLBACK_DELIVERIES);
        else if (callback->trouble)
                conditions_say(conditions, "Delivering", "False", REASON_DELIVERY_RETRYING, "tried again after: %s",
                               callback->trouble);
        else
                conditions_say(conditions, "Delivering", "True", REASON_DELIVERING, "events get through");
}

static void tell_status(struct callback_turn *callback, bool works)
{
        struct api_callback_status *status = &callback->status;
        const struct conditions conditions = {
                .arena = callback->arena,
                .list = &status->conditions,
                .n = &status->n_conditions,
                .generation = object_meta(callback->object)->generation,
                .now_us = turn_now_us(callback->turn),
        };
        int64_t dead = callback->dead->len;

        if (!works)
                conditions_say(&conditions, "Delivering", "False", REASON_TOO_MANY_CALLBACKS,
                               "%d callbacks of the project are older, which is all that it may have", LIMIT_CALLBACKS_PER_PROJECT);
        else
                say_delivering(callback, &conditions);
        if (dead > status->dead)
                turn_event(callback->turn, callback->object, true, REASON_DELIVERIES_DEAD,
                           "an event was given up; see gabbro callbacks deliveries --dead");
        /* Until all of the objects of a new specification were looked at, it is new. */
        if (turn_room(callback->turn) > ROOM_LEAST) {
                status->observed_generation = object_meta(callback->object)->generation;
                status->has_observed_generation = true;
        }
        status->pending = callback->pending;
        status->dead = dead;
        status->has_pending = status->has_dead = status->has_delivered = true;
        turn_update_status(callback->turn, callback->object, status);
}

static bool is_closing(const struct cache *cache, const char *namespace)
{
        const struct cache_object *project = cache_get(cache, &api_namespace_kind, NULL, namespace);

        return project && object_deleting(project);
}

static enum turn_result callback_turn(struct turn *turn, const struct cache_object *object)
{
        const struct api_callback *view = object->view;
        g_autoptr(GPtrArray) groups = g_ptr_array_new_with_free_func(group_free);
        g_autoptr(GHashTable) by_uid = g_hash_table_new(g_str_hash, g_str_equal);
        g_autoptr(GPtrArray) dead = g_ptr_array_new();
        struct callback_turn callback = {
                .turn = turn,
                .cache = turn_cache(turn),
                .arena = turn_arena(turn),
                .object = object,
                .spec = view->spec,
                .groups = groups,
                .by_uid = by_uid,
                .dead = dead,
        };

        if (object_deleting(object) || !view->spec || is_closing(callback.cache, object->namespace))
                return TURN_DONE;
        if (view->status)
                callback.status = *view->status;
        callback.spec_changed = callback.status.observed_generation != object_meta(object)->generation;
        bool works = older_callbacks(&callback) < LIMIT_CALLBACKS_PER_PROJECT;

        gather(&callback);
        if (works)
                follow_objects(&callback);
        follow_memory(&callback);
        bound_dead(&callback);
        tell_status(&callback, works);
        return TURN_DONE;
}

/* --- whose turn it is --- */

static bool is_news(const struct cache_object *before, const struct cache_object *now)
{
        if (!before || !now || object_deleting(before) != object_deleting(now))
                return true;

        const struct api_object_meta *old = object_meta(before), *new = object_meta(now);

        if (old->n_labels != new->n_labels || g_strcmp0(subject_of(before).phase, subject_of(now).phase) != 0)
                return true;
        for (size_t i = 0; i < new->n_labels; i++)
                if (g_strcmp0(object_label(before, new->labels[i].key), new->labels[i].value) != 0)
                        return true;
        return false;
}

static void callback_related(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                             struct workqueue *queue)
{
        const struct cache_object *object = now ? now : before;

        if (object->kind == &api_callback_delivery_kind) {
                const struct api_callback_delivery_spec *spec = delivery_view(object)->spec;

                if (spec && spec->callback)
                        controller_enqueue_after(queue, object->namespace, spec->callback->name, GATHER_US);
        } else if (object->kind == &api_callback_kind && !now) {
                kind_enqueue(cache, &api_callback_kind, object->namespace, queue); /* there is room for another one */
        } else if (is_followed(object->kind) && is_news(before, now)) {
                kind_enqueue(cache, &api_callback_kind, object->namespace, queue);
        }
}

const struct controller callback_controller = {
        .name = "callback",
        .kind = &api_callback_kind,
        .turn = callback_turn,
        .related = callback_related,
};
