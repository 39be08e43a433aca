/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/auto.h"
#include "base/clock.h"
#include "cache/cache.h"
#include "schema/schema.h"
#include "store/store.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct loop;

/*
 * Controllers. A controller turns a key (an object of its kind) at a time: a function from the cache and the clock to effects. It
 * never blocks, talks to nobody and keeps no state between turns. The effects of one turn commit in one store transaction whose
 * writes are conditional on the revisions that the turn saw; on a conflict the key is turned again after the cache has moved on.
 *
 * A turn is made of steps. The first step that is not done ends the turn, and its reason is the condition that the user reads.
 */
struct turn;
struct workqueue;

/* What a step or turn says. */
enum turn_result {
        TURN_DONE, /* go on with the next step; at the end: nothing more to do until something changes */
        TURN_WAIT, /* stop here, effects so far commit; something else must change first (or turn_again_in()) */
};

struct controller {
        const char *name; /* "vm": actor is "controller/vm" */
        const struct schema_kind
                *kind; /* what its keys are; NULL: of any kind, and only @related says which (controller_enqueue_any()) */
        enum turn_result (*turn)(struct turn *turn, const struct cache_object *object);
        /* Which keys of @kind a change of an object concerns besides its own: call controller_enqueue(). Called for every change in
         * the cache; @before NULL: it is new, @now NULL: it is gone. May be NULL. */
        void (*related)(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                        struct workqueue *queue);
};

/* --- workqueue: keys, each once, in order, with back-off ------------------------------------------------------------------------
 */

/** workqueue_new() - an empty queue whose delays go by the monotonic time of @clock. */
struct workqueue *workqueue_new(const struct clock *clock);
/** workqueue_free() - with everything queued; NULL is accepted. */
struct workqueue *workqueue_free(struct workqueue *queue);
AUTOPTR(workqueue, workqueue_free);
/** workqueue_add() - now; a key that is being worked on is queued again when it is finished. */
void workqueue_add(struct workqueue *queue, const char *key);
void workqueue_add_after(struct workqueue *queue, const char *key, uint64_t delay_us); /* the earliest of several wins */
/** workqueue_retry() - after a back-off that doubles from 50 ms to 60 s; workqueue_forget() resets it. */
void workqueue_retry(struct workqueue *queue, const char *key);
/** workqueue_forget() - the key did well: its back-off begins anew. */
void workqueue_forget(struct workqueue *queue, const char *key);
/** workqueue_take() - the next due key (owned by the queue until workqueue_finish()), or NULL. */
const char *workqueue_take(struct workqueue *queue);
/** workqueue_finish() - after workqueue_take(): what was wanted meanwhile is queued now. */
void workqueue_finish(struct workqueue *queue, const char *key);
/** workqueue_due_us() - delay until the next key is due; UINT64_MAX: none. */
uint64_t workqueue_due_us(const struct workqueue *queue);
/** workqueue_length() - keys that wait, now or for a later time; one being worked on does not count. */
size_t workqueue_length(const struct workqueue *queue);
void workqueue_on_ready(struct workqueue *queue, void (*ready)(void *userdata), void *userdata);

/** controller_enqueue() - add the key of an object. */
void controller_enqueue(struct workqueue *queue, const char *namespace, const char *name);
/** controller_enqueue_after() - the same, but not before @delay_us: what comes many times a second is looked at once. */
void controller_enqueue_after(struct workqueue *queue, const char *namespace, const char *name, uint64_t delay_us);
/** controller_enqueue_any() - add an object to the queue of a controller of any kind. */
void controller_enqueue_any(struct workqueue *queue, const struct cache_object *object);

/* --- inside a turn --------------------------------------------------------------------------------------------------------------
 */

/** turn_cache() - what there is, with everything that controllers have written before; borrowed objects are good for the turn. */
const struct cache *turn_cache(const struct turn *turn);
uint64_t turn_now_us(const struct turn *turn); /* real time */
const struct random_source *turn_random(const struct turn *turn);
struct arena *turn_arena(const struct turn *turn);        /* lives until the turn's effects are committed */
void turn_again_in(struct turn *turn, uint64_t delay_us); /* the earliest of several wins */
/** turn_refusal() - NULL, or why the store's guard (a quota) refused what the turn before this one wanted to write. This turn does
 * without: it says so in a condition. A while later a turn is taken that may try again. */
const char *turn_refusal(const struct turn *turn);

/* What turn_create() chose; lives as long as the turn's arena. */
struct turn_created {
        const char *name;
        const char *uid;
};
/** turn_create() - a new object of @kind from a view (metadata name or generateName, labels, owner references as given; uid,
 *  creationTimestamp, generation and the kind's defaults are added). It becomes part of this turn's transaction. The turn fails as
 * a conflict when the name is taken meanwhile: creating a well-known name is a lock. */
struct turn_created turn_create(struct turn *turn, const struct schema_kind *kind, const void *view);
/** turn_random_name() - @prefix and five random letters, as generateName gives; in the turn's arena. */
const char *turn_random_name(struct turn *turn, const char *prefix);
/** turn_update_spec() - replace what the view knows of the spec; unknown members stay.
 *  No effect (and no write) when nothing differs. metadata.generation grows when the spec differs. */
void turn_update_spec(struct turn *turn, const struct cache_object *object, const void *spec_view);
/** turn_update_status() - the same for the status; see turn_update_spec(). */
void turn_update_status(struct turn *turn, const struct cache_object *object, const void *status_view);
/** turn_set_label() - set, or with a NULL value remove. */
void turn_set_label(struct turn *turn, const struct cache_object *object, const char *key, const char *value);
/** turn_set_annotation() - set, or with a NULL value remove. */
void turn_set_annotation(struct turn *turn, const struct cache_object *object, const char *key, const char *value);
/** turn_add_finalizer() - unless it is there. */
void turn_add_finalizer(struct turn *turn, const struct cache_object *object, const char *finalizer);
/** turn_remove_finalizer() - the last one of an object being deleted takes the object with it. */
void turn_remove_finalizer(struct turn *turn, const struct cache_object *object, const char *finalizer);
/** turn_drop_owners() - take the owner references whose uid @drop says true for out. */
void turn_drop_owners(struct turn *turn, const struct cache_object *object, bool (*drop)(const char *uid, void *userdata),
                      void *userdata);
/** turn_delete() - as a DELETE request: sets deletionTimestamp when there are finalizers, else removes. */
void turn_delete(struct turn *turn, const struct cache_object *object);
/** turn_sweep() - remove the objects of a kind that the cache does not hold, and that has no finalizers, from a namespace; as many
 * as there is room for. Return: how many are there still, those that this turn removes included. */
size_t turn_sweep(struct turn *turn, const struct schema_kind *kind, const char *namespace);
/** turn_count() - published objects of a kind in a namespace, also of kinds that no cache holds. */
size_t turn_count(const struct turn *turn, const struct schema_kind *kind, const char *namespace);
/** turn_published() - whether all that was accepted before this version of @object is what readers and the cache see. */
bool turn_published(const struct turn *turn, const struct cache_object *object);
/** turn_depends() - the commit also fails when this object has changed meanwhile. The turn's own object needs no mention. */
void turn_depends(struct turn *turn, const struct cache_object *object);
/** turn_depends_absent() - the commit also fails when an object of this name exists. */
void turn_depends_absent(struct turn *turn, const struct schema_kind *kind, const char *namespace, const char *name);
/** turn_room() - how many more objects this turn may touch; work that finds none left goes on in a later turn (turn_again_in(turn,
 * 0)). */
size_t turn_room(const struct turn *turn);
/** turn_event() - record an Event about an object (aggregated by reason and message, rate-limited). */
void turn_event(struct turn *turn, const struct cache_object *about, bool warning, const char *reason, const char *message);

/* The conditions of one object while its turn makes them (struct api_condition: type, status, reason, message ...). */
struct api_condition;
struct conditions {
        struct arena *arena;
        struct api_condition **list; /* replaced by changed copies in the arena: it may begin as one borrowed from the cache */
        size_t *n;
        int64_t generation; /* that they speak of */
        uint64_t now_us;
};
/**
 * condition_set() - set or add one; its lastTransitionTime moves when the status differs from the one in the list
 * @status: "True" "False" "Unknown"
 *
 * Say each condition once a turn: a status that goes to and fro moves its time.
 */
void condition_set(const struct conditions *conditions, const char *type, const char *status, const char *reason,
                   const char *message);
/** conditions_say() - the same with a formatted message. */
void conditions_say(const struct conditions *conditions, const char *type, const char *status, const char *reason,
                    const char *format, ...) G_GNUC_PRINTF(5, 6);
/** condition_remove() - take one out, if it is there. */
void condition_remove(const struct conditions *conditions, const char *type);
/** condition_get() - the condition of a type, or NULL. */
const struct api_condition *condition_get(const struct api_condition *conditions, size_t n_conditions, const char *type);
/** condition_is() - whether it is there with this status. */
bool condition_is(const struct api_condition *conditions, size_t n_conditions, const char *type, const char *status);

/* --- runner --- */

struct control_options {
        struct loop *loop; /* NULL: the owner calls control_step() (simulator, tests) */
        struct store *store;
        struct cache *cache;
        const struct clock *clock;
        const struct random_source *random;
        const struct controller *const *controllers; /* NULL-terminated */
};
struct control;
/** control_new() - queues every object that the cache holds; turns begin when it is synced. 0 or -errno. */
int control_new(const struct control_options *options, struct control **ret_control);
/** control_free() - the cache must not change between this and cache_free(); a commit on its way is finished by the store alone. */
struct control *control_free(struct control *control);
AUTOPTR(control, control_free);
/** control_step() - one turn of one due key. true: there was one. */
bool control_step(struct control *control);
/** control_idle() - no key is due now and no commit is in flight. Keys that wait for a later time do not count: control_due_us().
 */
bool control_idle(const struct control *control);
/** control_due_us() - delay until the next key is due; 0: now, UINT64_MAX: none waits. */
uint64_t control_due_us(const struct control *control);

struct control_stats {
        uint64_t turns;     /* turns taken */
        uint64_t effects;   /* objects written by committed turns */
        uint64_t conflicts; /* turns that were overtaken and taken again */
        uint64_t failures;  /* turns that the store refused for another reason */
};
/** control_stats() - of one controller, or of all with NULL. */
void control_stats(const struct control *control, const char *controller, struct control_stats *ret_stats);
