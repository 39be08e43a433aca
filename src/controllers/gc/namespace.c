/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/gc/gc.h"
#include "controllers/object.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

/*
 * The end of a project. Its content goes in stages, each when the one before is empty: what a machine is made of goes after the
 * machine, for its end may still read it or write about it. A kind that no stage names goes by its group, so that none is left out.
 * When all is gone the condition NamespaceContentRemaining says so; nothing is recorded in the namespace from then on, and when all
 * that was accepted before is to be seen and nothing came of it, the namespace goes.
 */

#define FINALIZER_NAMESPACE "gabbro.dev/namespace-cleanup"
#define AGAIN_US            500000
#define AGAIN_SOON_US       5000 /* until what was accepted is published */
#define GATHER_US           50000
#define STAGES              4

static unsigned stage_of(const struct schema_kind *kind)
{
        if (kind == &api_virtual_machine_kind || kind == &api_virtual_machine_operation_kind)
                return 0;
        if (kind == &api_event_kind)
                return 3;
        return g_str_has_suffix(kind->group, "gabbro.dev") ? 1 : 2;
}

struct sweep {
        struct turn *turn;
        const char *namespace;
        bool delete;
        size_t in_cache;
        size_t left;
        GString *kinds;         /* "virtualdisks.gabbro.dev: 2, secrets: 1" */
        GHashTable *finalizers; /* name -> how many objects have it */
};

static void count_finalizers(struct sweep *sweep, const struct cache_object *object)
{
        const struct api_object_meta *meta = object_meta(object);

        for (size_t i = 0; i < meta->n_finalizers; i++) {
                void *n = g_hash_table_lookup(sweep->finalizers, meta->finalizers[i]);

                g_hash_table_insert(sweep->finalizers, (void *)meta->finalizers[i], GSIZE_TO_POINTER(GPOINTER_TO_SIZE(n) + 1));
        }
}

static bool sweep_object(const struct cache_object *object, void *userdata)
{
        struct sweep *sweep = userdata;

        sweep->in_cache++;
        count_finalizers(sweep, object);
        if (sweep->delete &&!object_deleting(object)) {
                if (turn_room(sweep->turn) > 2)
                        turn_delete(sweep->turn, object);
                else
                        turn_again_in(sweep->turn, 0);
        }
        return true;
}

static void tell_kind(struct sweep *sweep, const struct schema_kind *kind, size_t n)
{
        if (n == 0)
                return;
        g_string_append_printf(sweep->kinds, "%s%s%s%s: %zu", sweep->kinds->len ? ", " : "", kind->plural, *kind->group ? "." : "",
                               kind->group, n);
        sweep->left += n;
}

static void sweep_kind(struct sweep *sweep, const struct schema_kind *kind)
{
        size_t stored = turn_count(sweep->turn, kind, sweep->namespace);

        sweep->in_cache = 0;
        cache_each(turn_cache(sweep->turn), kind, sweep->namespace, sweep_object, sweep);
        if (sweep->delete &&stored > 0 && !cache_holds(turn_cache(sweep->turn), kind))
                (void)turn_sweep(sweep->turn, kind, sweep->namespace);
        tell_kind(sweep, kind, MAX(stored, sweep->in_cache));
}

/* The stages in order; all are counted, and the first that is not empty is taken down. */
static void sweep_stages(struct sweep *sweep)
{
        for (unsigned stage = 0; stage < STAGES; stage++) {
                sweep->delete = sweep->left == 0;
                for (const struct schema_kind *const *kind = schema_kinds; *kind; kind++)
                        if ((*kind)->namespaced && stage_of(*kind) == stage)
                                sweep_kind(sweep, *kind);
        }
}

static bool retire_stray(const struct cache_object *intent, void *userdata)
{
        struct sweep *sweep = userdata;

        if (g_strcmp0(object_label(intent, LABEL_OWNER_NAMESPACE), sweep->namespace) != 0)
                return true;
        sweep->in_cache++;
        count_finalizers(sweep, intent);
        if (turn_room(sweep->turn) > 2)
                (void)intent_retire(sweep->turn, intent, json_find_string(cache_root(intent), "status", "state", NULL));
        return true;
}

/* Every intent goes before the object that it was made for. One that outlived it is taken down all the same. */
static void sweep_intents(struct sweep *sweep)
{
        for (const struct schema_kind *const *kind = schema_kinds; *kind; kind++) {
                if ((*kind)->namespaced || !(*kind)->hidden)
                        continue;
                sweep->in_cache = 0;
                cache_each(turn_cache(sweep->turn), *kind, NULL, retire_stray, sweep);
                tell_kind(sweep, *kind, sweep->in_cache);
        }
}

/* --- what the user reads --- */

static char *finalizer_words(GHashTable *finalizers)
{
        GList *names = g_list_sort(g_hash_table_get_keys(finalizers), (GCompareFunc)strcmp);
        GString *words = g_string_new(NULL);

        for (const GList *name = names; name; name = name->next)
                g_string_append_printf(words, "%s%s on %zu", name == names ? "" : ", ", (const char *)name->data,
                                       GPOINTER_TO_SIZE(g_hash_table_lookup(finalizers, name->data)));
        g_list_free(names);
        return g_string_free(words, FALSE);
}

static void say_what_remains(struct turn *turn, const struct cache_object *object, struct api_namespace_status *status,
                             const struct sweep *sweep)
{
        struct conditions conditions = {.arena = turn_arena(turn),
                                        .list = &status->conditions,
                                        .n = &status->n_conditions,
                                        .generation = object_meta(object)->generation,
                                        .now_us = turn_now_us(turn)};
        g_autofree char *finalizers = finalizer_words(sweep->finalizers);

        if (sweep->left)
                conditions_say(&conditions, "NamespaceContentRemaining", "True", REASON_SOME_RESOURCES_REMAIN, "still there: %s",
                               sweep->kinds->str);
        else
                condition_set(&conditions, "NamespaceContentRemaining", "False", REASON_CONTENT_REMOVED, "all content is gone");
        if (*finalizers)
                conditions_say(&conditions, "NamespaceFinalizersRemaining", "True", REASON_SOME_FINALIZERS_REMAIN,
                               "content waits for: %s", finalizers);
        else
                condition_set(&conditions, "NamespaceFinalizersRemaining", "False", REASON_CONTENT_HAS_NO_FINALIZERS,
                              "no content waits for a finalizer");
}

/* --- the turn --- */

static enum turn_result keep(struct turn *turn, const struct cache_object *object, struct api_namespace_status *status)
{
        turn_add_finalizer(turn, object, FINALIZER_NAMESPACE);
        status->phase = "Active";
        turn_update_status(turn, object, status);
        return TURN_DONE;
}

static enum turn_result namespace_turn(struct turn *turn, const struct cache_object *object)
{
        const struct api_namespace *view = object->view;
        struct api_namespace_status status = view->status ? *view->status : (struct api_namespace_status){0};
        bool closed = condition_is(status.conditions, status.n_conditions, "NamespaceContentRemaining", "False");
        g_autoptr(GString) kinds = g_string_new(NULL);
        g_autoptr(GHashTable) finalizers = g_hash_table_new(g_str_hash, g_str_equal);
        struct sweep sweep = {.turn = turn, .namespace = object->name, .kinds = kinds, .finalizers = finalizers};

        if (!object_deleting(object))
                return keep(turn, object, &status);
        if (!turn_published(turn, object)) {
                turn_again_in(turn, AGAIN_SOON_US);
                return TURN_WAIT;
        }
        sweep_stages(&sweep);
        if (sweep.left == 0)
                sweep_intents(&sweep);
        status.phase = "Terminating";
        say_what_remains(turn, object, &status, &sweep);
        turn_update_status(turn, object, &status);
        if (sweep.left == 0 && closed) {
                turn_remove_finalizer(turn, object, FINALIZER_NAMESPACE);
                return TURN_DONE;
        }
        turn_again_in(turn, AGAIN_US);
        return TURN_WAIT;
}

static void namespace_related(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                              struct workqueue *queue)
{
        const struct cache_object *namespace;

        if (!before || now || !before->namespace)
                return;
        namespace = cache_get(cache, &api_namespace_kind, NULL, before->namespace);
        if (namespace && object_deleting(namespace))
                controller_enqueue_after(queue, NULL, namespace->name, GATHER_US);
}

const struct controller namespace_controller = {
        .name = "namespace",
        .kind = &api_namespace_kind,
        .turn = namespace_turn,
        .related = namespace_related,
};
