/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/intents.h"

#include "base/error.h"
#include "generated/api_types.h"

#include <stdlib.h>
#include <string.h>

#define DEFINITION_FIRST_US 20000000ull
#define RETRY_FIRST_US      1000000ull
#define RETRY_LAST_US       60000000ull

struct intents {
        struct intents_options options;
        GHashTable *by_key; /* owned */
};

static const struct schema_kind *const kinds[] = {&api_volume_kind, &api_port_kind, &api_instance_kind, &api_host_task_kind};

/* --- documents -------------------------------------------------------------------------------------------------------------------
 */

struct intent_doc *intent_doc_ref(struct intent_doc *doc)
{
        g_atomic_int_inc(&doc->references);
        return doc;
}

struct intent_doc *intent_doc_unref(struct intent_doc *doc)
{
        if (doc && g_atomic_int_dec_and_test(&doc->references)) {
                arena_free(doc->arena);
                json_doc_free(doc->json);
                g_free(doc);
        }
        return NULL;
}

/* Every intent kind's view begins alike; the metadata stand at the same place. */
struct any_intent {
        const char *api_version, *kind;
        const struct api_object_meta *metadata;
};

static struct intent_doc *intent_doc_new(const struct schema_kind *kind, struct json_doc *json)
{
        struct intent_doc *doc = g_new0(struct intent_doc, 1);
        const struct any_intent *view;

        doc->references = 1;
        doc->json = json;
        doc->arena = arena_new(0);
        doc->view = schema_decode(kind->type, json_root(json), doc->arena);
        view = doc->view;
        doc->uid = view->metadata->uid;
        doc->generation = view->metadata->generation;
        doc->deleted = view->metadata->deletion_timestamp;
        return doc;
}

const struct schema_kind *intents_kind(const char *kind)
{
        for (size_t i = 0; kind && i < G_N_ELEMENTS(kinds); i++) {
                if (g_str_equal(kinds[i]->kind, kind)) {
                        return kinds[i];
                }
        }
        return NULL;
}

/* --- life ------------------------------------------------------------------------------------------------------------------------
 */

static void intent_free(void *data)
{
        struct intent *intent = data;

        intent_doc_unref(intent->doc);
        json_doc_free(intent->status);
        json_doc_free(intent->guest);
        g_free(intent->report.wanted);
        g_free(intent->report.steady);
        g_free(intent->report.acknowledged);
        g_free(intent->report.sending);
        g_free(intent->path);
        g_free(intent->format);
        g_free(intent->copied_mode);
        g_free(intent->copied_state);
        g_free(intent->definition_tolerated);
        g_free(intent->image);
        g_free(intent->pending);
        g_free(intent->name);
        g_free(intent->uid);
        g_free(intent->key);
        g_free(intent);
}

struct intents *intents_new(const struct intents_options *options)
{
        struct intents *intents = g_new0(struct intents, 1);

        assert(options && options->clock && options->changed && options->forgotten);
        intents->options = *options;
        intents->by_key = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, intent_free);
        return intents;
}

struct intents *intents_free(struct intents *intents)
{
        if (intents) {
                g_hash_table_unref(intents->by_key);
                g_free(intents);
        }
        return NULL;
}

static uint64_t now_us(const struct intents *intents)
{
        return clock_monotonic_us(intents->options.clock);
}

static char *key_of(const struct schema_kind *kind, const char *name)
{
        return g_strconcat(kind->plural, "/", name, NULL);
}

struct intent *intents_get(struct intents *intents, const struct schema_kind *kind, const char *name)
{
        g_autofree char *key = NULL;
        struct intent *intent;

        assert(intents && kind && name);
        key = key_of(kind, name);
        intent = g_hash_table_lookup(intents->by_key, key);
        return intent && !intent->removed ? intent : NULL;
}

static int compare_keys(const void *a, const void *b)
{
        return strcmp((*(const struct intent *const *)a)->key, (*(const struct intent *const *)b)->key);
}

GPtrArray *intents_list(struct intents *intents, const struct schema_kind *kind)
{
        GPtrArray *list = g_ptr_array_new();
        struct intent *intent;
        GHashTableIter iter;

        g_hash_table_iter_init(&iter, intents->by_key);
        while (g_hash_table_iter_next(&iter, NULL, (void **)&intent)) {
                if (!intent->removed && (!kind || intent->kind == kind)) {
                        g_ptr_array_add(list, intent);
                }
        }
        g_ptr_array_sort(list, compare_keys);
        return list;
}

/* --- the manifest ----------------------------------------------------------------------------------------------------------------
 */

static void forget(struct intents *intents, struct intent *intent)
{
        intent->removed = true;
        intent->due_us = UINT64_MAX;
        if (!intent->running) {
                intents->options.forgotten(intent, intents->options.userdata);
                g_hash_table_remove(intents->by_key, intent->key);
        }
}

static struct intent *intent_new(struct intents *intents, const struct schema_kind *kind, const char *name, const char *uid)
{
        struct intent *intent = g_new0(struct intent, 1);

        intent->kind = kind;
        intent->name = g_strdup(name);
        intent->uid = g_strdup(uid);
        intent->key = key_of(kind, name);
        intent->due_us = UINT64_MAX;
        intent->definition_due_us = now_us(intents) + DEFINITION_FIRST_US; /* what was found at a start is taken up first */
        intent->epoch = -1;
        intent->report.due_us = UINT64_MAX;
        g_hash_table_insert(intents->by_key, intent->key, intent);
        return intent;
}

/* Whether something other than what we report has changed. */
static bool differs(const struct intent_doc *before, const struct intent_doc *after)
{
        return !before || before->generation != after->generation || before->deleted != after->deleted;
}

int intents_apply(struct intents *intents, struct json_doc *json)
{
        const struct schema_kind *kind = intents_kind(json_find_string(json_root(json), "kind", NULL));
        const char *name = json_find_string(json_root(json), "metadata", "name", NULL);
        const char *uid = json_find_string(json_root(json), "metadata", "uid", NULL);
        struct intent_doc *doc, *before;
        struct intent *intent;
        g_autofree char *key = NULL;

        if (!kind || !name || !uid || !uuid_valid(uid)) {
                json_doc_free(json);
                return -EINVAL;
        }
        doc = intent_doc_new(kind, json);
        key = key_of(kind, name);
        intent = g_hash_table_lookup(intents->by_key, key);
        if (intent && !g_str_equal(intent->uid, uid)) {
                if (intent->running) {
                        /* The name has a new owner while work for the old one is under way: taken up when it is back. */
                        intent->removed = true;
                        intent_doc_unref(intent->doc);
                        intent->doc = doc;
                        return 0;
                }
                forget(intents, intent);
                intent = NULL;
        }
        if (!intent) {
                intent = intent_new(intents, kind, name, uid);
        }
        before = intent->doc;
        intent->doc = doc;
        intent->marked = true;
        intent->removed = false;
        if (differs(before, doc)) {
                intent->ready = false;
                intent->failures = 0;
                intent->changed_us = now_us(intents);
                intents_queue(intents, intent, 0);
        }
        intent_doc_unref(before);
        return 0;
}

void intents_remove(struct intents *intents, const char *kind_name, const char *name)
{
        const struct schema_kind *kind = intents_kind(kind_name);
        struct intent *intent = kind && name ? intents_get(intents, kind, name) : NULL;

        if (intent) {
                forget(intents, intent);
        }
}

void intents_mark(struct intents *intents)
{
        struct intent *intent;
        GHashTableIter iter;

        g_hash_table_iter_init(&iter, intents->by_key);
        while (g_hash_table_iter_next(&iter, NULL, (void **)&intent)) {
                intent->marked = false;
        }
}

void intents_sweep(struct intents *intents)
{
        g_autoptr(GPtrArray) all = intents_list(intents, NULL);

        for (unsigned i = 0; i < all->len; i++) {
                struct intent *intent = all->pdata[i];

                if (!intent->marked) {
                        forget(intents, intent);
                }
        }
}

/* --- the queue -------------------------------------------------------------------------------------------------------------------
 */

void intents_queue(struct intents *intents, struct intent *intent, uint64_t delay_us)
{
        uint64_t due = now_us(intents) + delay_us;

        if (intent->removed) {
                return;
        }
        if (intent->running && !delay_us) {
                intent->again = true;
                return;
        }
        if (due < intent->due_us) {
                intent->due_us = due;
                intents->options.changed(intent, intents->options.userdata);
        }
}

void intents_nudge(struct intents *intents, struct intent *intent)
{
        if (intent->running) {
                intent->nudged = true;
        } else if (!intent->failures) {
                intents_queue(intents, intent, 0);
        }
}

uint64_t intents_pause_us(unsigned failures)
{
        return MIN(RETRY_FIRST_US << MIN(failures, 10), RETRY_LAST_US);
}

void intents_retry(struct intents *intents, struct intent *intent)
{
        uint64_t pause_us = intents_pause_us(intent->failures);

        intent->failures++;
        intents_queue(intents, intent, pause_us);
}

void intents_queue_all(struct intents *intents)
{
        g_autoptr(GPtrArray) all = intents_list(intents, NULL);

        for (unsigned i = 0; i < all->len; i++) {
                intents_queue(intents, all->pdata[i], 0);
        }
}

/* The one that is due longest; kinds that others wait for come first among equals. */
static struct intent *next_due(struct intents *intents)
{
        struct intent *intent, *best = NULL;
        GHashTableIter iter;

        g_hash_table_iter_init(&iter, intents->by_key);
        while (g_hash_table_iter_next(&iter, NULL, (void **)&intent)) {
                bool able = !intent->running && !intent->removed && intent->due_us != UINT64_MAX;

                if (able && (!best || intent->due_us < best->due_us)) {
                        best = intent;
                }
        }
        return best;
}

struct intent *intents_take(struct intents *intents)
{
        struct intent *intent = next_due(intents);

        if (!intent || intent->due_us > now_us(intents)) {
                return NULL;
        }
        intent->due_us = UINT64_MAX;
        intent->running = true;
        intent->again = intent->nudged = false;
        intent->turn++;
        return intent;
}

struct intent *intents_finish(struct intents *intents, struct intent *intent)
{
        bool another = intent->removed && intent->doc && !g_str_equal(intent->doc->uid, intent->uid);
        struct intent_doc *heir = another ? intent_doc_ref(intent->doc) : NULL;

        assert(intent->running);
        intent->running = false;
        if (intent->removed) {
                const struct schema_kind *kind = intent->kind;
                g_autofree char *name = g_strdup(intent->name);

                forget(intents, intent);
                if (heir) {
                        intent = intent_new(intents, kind, name, heir->uid);
                        intent->doc = heir;
                        intent->marked = true;
                        intent->changed_us = now_us(intents);
                        intents_queue(intents, intent, 0);
                }
                return NULL;
        }
        if (intent->again) {
                intent->again = false;
                intents_queue(intents, intent, 0);
        }
        return intent;
}

uint64_t intents_due_us(struct intents *intents)
{
        const struct intent *intent = next_due(intents);
        uint64_t now = now_us(intents);

        if (!intent) {
                return UINT64_MAX;
        }
        return intent->due_us > now ? intent->due_us - now : 0;
}
