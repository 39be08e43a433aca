/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_private.h"

#include "base/error.h"

/* Events that one lagging watch gets before the others and the rest of the loop have their turn. */
#define WATCH_SLICE 512u

/*
 * A watch is live (gets events as they are published) or lags (reads the ring from its cursor). It begins lagging, and lags again
 * after a pause.
 */
struct store_watch {
        struct store *store;
        const struct schema_kind **kinds; /* NULL: all */
        size_t n_kinds;
        store_watch_fn fn;
        void (*on_gone)(void *userdata); /* or NULL; told once */
        void *userdata;
        uint64_t cursor; /* everything up to here was delivered; of a live watch only the last event of its kinds */
        bool live, paused, dead, gone_told;
};

static bool watch_wants(const struct store_watch *watch, const struct schema_kind *kind)
{
        if (!watch->kinds)
                return true;
        for (size_t i = 0; i < watch->n_kinds; i++)
                if (watch->kinds[i] == kind)
                        return true;
        return false;
}

static void watch_call(struct store_watch *watch, const struct ring_event *event)
{
        struct store_event public;
        bool object_had_tree, previous_had_tree;

        if (!event) {
                watch->fn(NULL, watch->userdata);
                return;
        }
        object_had_tree = event->object->doc;
        previous_had_tree = !event->previous || event->previous->doc;
        public = (struct store_event){
                .verb = event->verb,
                .object = version_public(event->object),
                .previous = event->previous ? version_public(event->previous) : NULL,
                .revision = event->revision,
        };
        watch->fn(&public, watch->userdata);
        warm_release(watch->store->warm, event->object, object_had_tree);
        if (event->previous != event->object)
                warm_release(watch->store->warm, event->previous, previous_had_tree);
}

static void watch_free_now(struct store_watch *watch)
{
        g_free(watch->kinds);
        g_free(watch);
}

static void watch_detach(struct store_watch *watch)
{
        struct store *store = watch->store;

        if (!watch->kinds)
                g_ptr_array_remove(store->watches_of_all, watch);
        for (size_t i = 0; i < watch->n_kinds; i++)
                g_ptr_array_remove(store_kind_state(store, watch->kinds[i])->watches, watch);
        g_ptr_array_remove(store->watches, watch);
}

static void watch_leave(struct store *store)
{
        assert(store->watch_depth > 0);
        if (--store->watch_depth > 0 || !store->watch_dead)
                return;
        store->watch_dead = false;
        for (size_t i = store->watches->len; i > 0; i--) {
                struct store_watch *watch = store->watches->pdata[i - 1];

                if (watch->dead) {
                        watch_detach(watch);
                        watch_free_now(watch);
                }
        }
}

static void watch_deliver_to(GPtrArray *watches, const struct ring_event *event)
{
        for (size_t i = 0; i < watches->len; i++) {
                struct store_watch *watch = watches->pdata[i];

                if (!watch->live || watch->dead)
                        continue;
                watch->cursor = event->revision;
                watch_call(watch, event);
        }
}

void watch_deliver(struct store *store, const struct ring_event *event)
{
        GPtrArray *of_kind = store_kind_state(store, event->object->public.kind)->watches;

        if (of_kind->len == 0 && store->watches_of_all->len == 0)
                return;
        store->watch_depth++;
        store->delivering = event->revision;
        watch_deliver_to(of_kind, event);
        watch_deliver_to(store->watches_of_all, event);
        store->delivering = 0;
        watch_leave(store);
}

/* A slice of what @watch has not seen yet; whether there is more. */
static bool watch_serve(struct store_watch *watch)
{
        struct store *store = watch->store;

        for (unsigned n = 0; n < WATCH_SLICE; n++) {
                size_t index = ring_seek(&store->ring, watch->cursor);
                struct ring_event event;

                if (index == store->ring.n) {
                        watch->live = true;
                        watch->cursor = store->revision;
                        watch_call(watch, NULL);
                        return false;
                }
                event = *ring_at(&store->ring, index);
                watch->cursor = event.revision;
                if (watch_wants(watch, event.object->public.kind))
                        watch_call(watch, &event);
                if (watch->paused || watch->dead)
                        return false;
        }
        return true;
}

static void watch_lags(struct store_watch *watch)
{
        watch->store->slowest = MIN(watch->store->slowest, watch->cursor);
}

/* The ring has gone past what @watch has seen. */
static void watch_tell_gone(struct store_watch *watch)
{
        watch->gone_told = true;
        if (watch->on_gone)
                watch->on_gone(watch->userdata);
}

bool watch_catch_up(struct store *store)
{
        bool more = false;

        store->watch_depth++;
        store->slowest = UINT64_MAX;
        for (size_t i = 0; i < store->watches->len; i++) {
                struct store_watch *watch = store->watches->pdata[i];

                if (watch->live || watch->dead || watch->gone_told)
                        continue;
                if (store_watch_gone(watch)) {
                        watch_tell_gone(watch);
                        continue;
                }
                if (!watch->paused)
                        more |= watch_serve(watch);
                if (!watch->live && !watch->dead)
                        watch_lags(watch);
        }
        watch_leave(store);
        return more;
}

static void watch_attach(struct store_watch *watch, const struct schema_kind *const *kinds)
{
        struct store *store = watch->store;

        g_ptr_array_add(store->watches, watch);
        if (!kinds) {
                g_ptr_array_add(store->watches_of_all, watch);
                return;
        }
        while (kinds[watch->n_kinds])
                watch->n_kinds++;
        watch->kinds = g_new(const struct schema_kind *, watch->n_kinds + 1);
        for (size_t i = 0; i < watch->n_kinds; i++) {
                watch->kinds[i] = kinds[i];
                g_ptr_array_add(store_kind_state(store, kinds[i])->watches, watch);
        }
}

int store_watch(struct store *store, const struct schema_kind *const *kinds, uint64_t after, store_watch_fn fn, void *userdata,
                struct store_watch **ret_watch)
{
        struct store_watch *watch;

        assert(store && fn && ret_watch);
        if (after < store->ring.floor)
                return STORE_E_GONE;
        watch = g_new0(struct store_watch, 1);
        watch->store = store;
        watch->fn = fn;
        watch->userdata = userdata;
        watch->cursor = after;
        watch_lags(watch);
        watch_attach(watch, kinds);
        store_arm_work(store);
        *ret_watch = watch;
        return 0;
}

struct store_watch *store_watch_free(struct store_watch *watch)
{
        if (!watch)
                return NULL;
        assert(!watch->dead);
        if (watch->store->watch_depth > 0) {
                watch->dead = watch->store->watch_dead = true;
                return NULL;
        }
        watch_detach(watch);
        watch_free_now(watch);
        return NULL;
}

void store_watch_pause(struct store_watch *watch, bool paused)
{
        struct store *store = watch->store;

        assert(!watch->dead);
        if (watch->paused == paused)
                return;
        watch->paused = paused;
        if (!paused) {
                store_arm_work(store);
                return;
        }
        if (!watch->live)
                return;
        watch->live = false;
        /* Of the event that is being delivered right now this watch may have been told already, or not yet. */
        if (!store->delivering)
                watch->cursor = store->revision;
        else if (watch->cursor != store->delivering)
                watch->cursor = store->delivering - 1;
        watch_lags(watch);
}

void store_watch_on_gone(struct store_watch *watch, void (*on_gone)(void *userdata))
{
        assert(watch && !watch->dead && on_gone);
        watch->on_gone = on_gone;
}

bool store_watch_gone(const struct store_watch *watch)
{
        return !watch->live && watch->cursor < watch->store->ring.floor;
}

void watch_free_all(struct store *store)
{
        for (size_t i = 0; i < store->watches->len; i++)
                watch_free_now(store->watches->pdata[i]);
        g_ptr_array_unref(store->watches);
        g_ptr_array_unref(store->watches_of_all);
}
