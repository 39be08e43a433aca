/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_private.h"

#include "base/error.h"
#include "base/limits.h"
#include "store/delta.h"

#include <stdio.h>
#include <string.h>

#define STORE_DEFAULT_DAYS       30u
#define STORE_DEFAULT_PER_OBJECT 50u
#define STORE_DAY_US             86400000000ull
#define STORE_COMPACT_ROWS       512u
#define STORE_COMPACT_LEAST      256u
/* Revisions begin behind this one, so that the state of an empty store has a revision too ("0" means "any" on the wire). */
#define STORE_EMPTY_REVISION 1u

/* --- published state ---------------------------------------------------------------------------------------------------------- */

static const char *store_order_key(const void *item)
{
        return ((const struct version *)item)->public.key;
}

static void kind_state_free(void *data)
{
        struct kind_state *state = data;

        order_free(state->order);
        g_ptr_array_unref(state->watches);
        g_free(state);
}

struct kind_state *store_kind_state(struct store *store, const struct schema_kind *kind)
{
        struct kind_state *state = g_hash_table_lookup(store->kinds, kind);

        if (state)
                return state;
        state = g_new0(struct kind_state, 1);
        state->kind = kind;
        state->order = order_new(store_order_key);
        state->watches = g_ptr_array_new();
        state->sensitive = delta_kind_is_sensitive(kind);
        g_hash_table_insert(store->kinds, (void *)kind, state);
        return state;
}

struct version *store_find_published(struct store *store, const char *key)
{
        return g_hash_table_lookup(store->published, key);
}

struct version *store_find_newest(struct store *store, const char *key)
{
        const struct row *row = g_hash_table_lookup(store->overlay, key);

        if (row)
                return row->verb == STORE_DELETE ? NULL : row->object;
        return store_find_published(store, key);
}

void store_put_published(struct store *store, const char *key, struct version *version)
{
        struct version *old = store_find_published(store, key);

        if (old) {
                store->stats.objects--;
                store->stats.bytes -= old->public.len;
        }
        if (version) {
                order_put(store_kind_state(store, version->public.kind)->order, version);
                g_hash_table_replace(store->published, (void *)version->public.key, version_own(version));
                store->stats.objects++;
                store->stats.bytes += version->public.len;
        } else if (old) {
                order_take(store_kind_state(store, old->public.kind)->order, key);
                g_hash_table_remove(store->published, key);
        }
}

const struct store_object *store_get(struct store *store, const struct schema_kind *kind, const char *namespace, const char *name)
{
        char key[STORE_KEY_MAX];
        struct version *version;

        assert(store && kind && name);
        if (store_key_write(key, kind, namespace, name) < 0)
                return NULL;
        version = store_find_published(store, key);
        return version ? store_object_ref(warm_public(store->warm, version)) : NULL;
}

const struct store_object *store_get_newest(struct store *store, const struct schema_kind *kind, const char *namespace,
                                            const char *name)
{
        char key[STORE_KEY_MAX];
        struct version *version;

        assert(store && kind && name);
        if (store_key_write(key, kind, namespace, name) < 0)
                return NULL;
        version = store_find_newest(store, key);
        return version ? store_object_ref(warm_public(store->warm, version)) : NULL;
}

bool store_key_range(const struct schema_kind *kind, const char *namespace, char *ret_first, char *ret_end)
{
        int n = store_key_write(ret_first, kind, namespace, "");

        if (n < 0)
                return false;
        if (!namespace)
                n -= 2;
        /* '0' follows '/'. */
        memcpy(ret_end, ret_first, (size_t)n);
        ret_first[n] = ret_end[n] = '\0';
        ret_end[n - 1] = '0';
        return true;
}

struct list_walk {
        bool (*each)(const struct store_object *object, void *userdata);
        void *userdata;
        bool bare;
};

static bool list_tell(struct store *store, struct version *version, const struct list_walk *walk)
{
        bool had_tree = version->doc, more;

        if (walk->bare)
                return walk->each(&version->public, walk->userdata);
        more = walk->each(version_public(version), walk->userdata);
        warm_release(store->warm, version, had_tree);
        return more;
}

static uint64_t list_walk(struct store *store, const struct schema_kind *kind, const char *namespace, const char *after_key,
                          const struct list_walk *walk)
{
        char first[STORE_KEY_MAX], end[STORE_KEY_MAX];
        struct order_place place;
        struct version *version;
        struct order *order;
        bool more = true;

        assert(store && kind && walk->each);
        order = store_kind_state(store, kind)->order;
        if (!store_key_range(kind, namespace, first, end))
                return store->revision;
        if (after_key && strcmp(after_key, first) > 0)
                place = order_seek(order, after_key, true);
        else
                place = order_seek(order, namespace ? first : NULL, false);
        while (more && (version = (struct version *)order_next(order, &place))) {
                if (namespace && strcmp(version->public.key, end) >= 0)
                        break;
                more = list_tell(store, version, walk);
        }
        return store->revision;
}

uint64_t store_list(struct store *store, const struct schema_kind *kind, const char *namespace, const char *after_key,
                    bool (*each)(const struct store_object *object, void *userdata), void *userdata)
{
        return list_walk(store, kind, namespace, after_key, &(struct list_walk){.each = each, .userdata = userdata});
}

uint64_t store_list_bare(struct store *store, const struct schema_kind *kind, const char *namespace, const char *after_key,
                         bool (*each)(const struct store_object *object, void *userdata), void *userdata)
{
        return list_walk(store, kind, namespace, after_key, &(struct list_walk){.each = each, .userdata = userdata, .bare = true});
}

size_t store_count(struct store *store, const struct schema_kind *kind, const char *namespace)
{
        char first[STORE_KEY_MAX], end[STORE_KEY_MAX];
        struct order *order = store_kind_state(store, kind)->order;

        if (!namespace)
                return order_length(order);
        if (!store_key_range(kind, namespace, first, end))
                return 0;
        return order_distance(order, order_seek(order, first, false), order_seek(order, end, false));
}

static void store_each_published(struct store *store, struct order *order, const char *first, const char *end,
                                 void (*each)(const struct store_object *object, void *userdata), void *userdata)
{
        struct order_place place = order_seek(order, first, false);
        struct version *version;

        while ((version = (struct version *)order_next(order, &place)) && strcmp(version->public.key, end) < 0) {
                bool had_tree = version->doc;

                if (g_hash_table_contains(store->overlay, version->public.key))
                        continue;
                each(version_public(version), userdata);
                warm_release(store->warm, version, had_tree);
        }
}

void store_each_newest(struct store *store, const char *namespace, void (*each)(const struct store_object *object, void *userdata),
                       void *userdata)
{
        char first[STORE_KEY_MAX], end[STORE_KEY_MAX];
        struct kind_state *state;
        GHashTableIter iter;
        struct row *row;

        assert(store && namespace && each);
        g_hash_table_iter_init(&iter, store->kinds);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&state))
                if (state->kind->namespaced && store_key_range(state->kind, namespace, first, end))
                        store_each_published(store, state->order, first, end, each, userdata);
        g_hash_table_iter_init(&iter, store->overlay);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&row))
                if (row->verb != STORE_DELETE && g_strcmp0(row->object->public.namespace, namespace) == 0)
                        each(version_public(row->object), userdata);
}

uint64_t store_revision(struct store *store)
{
        return store->revision;
}

uint64_t store_oldest_revision(struct store *store)
{
        return store->ring.floor;
}

/* --- publishing ----------------------------------------------------------------------------------------------------------------
 */

static void store_publish_row(struct store *store, const struct row *row)
{
        const char *key = row->object->public.key;

        if (g_hash_table_lookup(store->overlay, key) == row)
                g_hash_table_remove(store->overlay, key);
        store_put_published(store, key, row->verb == STORE_DELETE ? NULL : row->object);
        store->revision = row->revision;
}

static void store_commit_done(struct commit *commit, int result)
{
        const struct store_object *objects[LIMIT_STORE_TXN_OPS];

        if (!commit->done)
                return;
        for (size_t i = 0; i < commit->n_rows; i++)
                objects[i] = version_public(commit->rows[i].object);
        commit->done(result, objects, commit->n_rows, commit->userdata);
}

static void store_publish(struct store *store, struct commit *commit)
{
        uint64_t now_us = clock_monotonic_us(store->options.clock);

        for (size_t i = 0; i < commit->n_rows; i++)
                store_publish_row(store, &commit->rows[i]);
        for (size_t i = 0; i < commit->n_rows; i++) {
                const struct row *row = &commit->rows[i];
                struct ring_event event = {
                        .verb = row->verb,
                        .object = row->object,
                        .previous = row->previous,
                        .revision = row->revision,
                        .time_us = row->time_us,
                };

                ring_push(&store->ring, &event);
                watch_deliver(store, &event);
                store->stats.events++;
        }
        if (store->ring.floor > store->slowest)
                store_arm_work(store); /* a watch was overtaken */
        if (now_us > commit->queued_us)
                store->stats.commit_time_us_sum += now_us - commit->queued_us;
        store_commit_done(commit, 0);
}

static void store_fail(struct store *store)
{
        store->failed = true;
        /* What was accepted and is lost must not be seen as the newest state. Rows stay until their callbacks have run. */
        g_hash_table_remove_all(store->overlay);
}

void store_release(struct store *store)
{
        struct commit *list = g_steal_pointer(&store->queue);
        struct retention retention = store_retention(store);

        store->queue_tail = &store->queue;
        if (list)
                writer_submit(store->writer, list, &retention);
}

/* @commits and all that was accepted behind them are not to be. Told in order, on top of the published state. */
static void store_take_back(struct store *store, struct commit *commits)
{
        struct commit **tail = &commits;

        while (*tail)
                tail = &(*tail)->next;
        if (store->writer)
                *tail = writer_take_back(store->writer);
        while (*tail)
                tail = &(*tail)->next;
        *tail = g_steal_pointer(&store->queue);
        store->queue_tail = &store->queue;
        g_hash_table_remove_all(store->overlay);
        store->accepted_revision = store->revision;
        store->queued_ops = store->queued_bytes = 0;
        store->full = true;
        if (store->guard.reset)
                store->guard.reset(store->guard.userdata);
        if (store->options.full)
                store->options.full(store->driver->ops->words(store->driver), store->options.full_userdata);
        for (struct commit *commit = commits, *next; commit; commit = next) {
                next = commit->next;
                store->stats.refused++;
                store_commit_done(commit, -ENOSPC);
                commit_free(commit);
        }
}

static void store_has_room(struct store *store)
{
        if (!store->full)
                return;
        store->full = false;
        if (store->options.full)
                store->options.full(NULL, store->options.full_userdata);
}

void store_finish(struct commit *commits, void *userdata)
{
        struct store *store = userdata;
        bool failed_before = store->failed, lost = false;

        /* Callbacks often commit again: the writer gets that as one group, not the first of them alone. */
        store->publishing = true;
        for (struct commit *commit = commits, *next; commit; commit = next) {
                if (commit->result == DRIVER_E_FULL && !store->failed) {
                        store_take_back(store, commit);
                        break;
                }
                next = commit->next;
                store->queued_ops -= commit->n_rows;
                store->queued_bytes -= commit->bytes;
                if (commit->result < 0 && !store->failed)
                        store_fail(store);
                if (store->failed) {
                        lost = true;
                        store_commit_done(commit, commit->result < 0 ? commit->result : -EIO);
                } else {
                        store_has_room(store);
                        store_publish(store, commit);
                }
                commit_free(commit);
        }
        store->publishing = false;
        if (store->writer)
                store_release(store);
        if (lost && !failed_before && store->options.failed)
                store->options.failed(store->driver->ops->words(store->driver), store->options.failed_userdata);
}

/* Unthreaded drivers: all that waits is one group. */
static void store_persist_queue(struct store *store)
{
        struct commit *list = g_steal_pointer(&store->queue);
        g_autoptr(GPtrArray) group = NULL;
        struct retention retention;
        int r = 0;

        store->queue_tail = &store->queue;
        if (!list)
                return;
        group = g_ptr_array_new();
        for (struct commit *commit = list; commit; commit = commit->next) {
                commit_prepare(commit);
                g_ptr_array_add(group, commit);
        }
        if (store->failed)
                r = -EIO;
        else
                r = store->driver->ops->persist(store->driver, (struct commit *const *)group->pdata, group->len);
        for (struct commit *commit = list; commit; commit = commit->next)
                commit->result = r == DRIVER_E_FULL ? r : error_fold(r);
        store->stats.groups++;
        store_finish(list, store);
        retention = store_retention(store);
        if (!store->failed)
                (void)store->driver->ops->compact(store->driver, &retention); /* what stays now goes another time */
}

void store_work(struct store *store)
{
        store_persist_queue(store);
        if (watch_catch_up(store))
                store_arm_work(store);
}

static void store_work_due(struct loop_source *source, void *userdata)
{
        store_work(userdata);
}

void store_arm_work(struct store *store)
{
        if (store->work)
                loop_defer_set(store->work, true);
}

bool store_step(struct store *store)
{
        bool waiting = store->queue;

        assert(!store->options.loop);
        store_persist_queue(store);
        return watch_catch_up(store) || waiting;
}

struct retention store_retention(const struct store *store)
{
        uint64_t days = store->options.history_days ? store->options.history_days : STORE_DEFAULT_DAYS;
        uint64_t span_us = days * STORE_DAY_US;

        return (struct retention){
                .floor = store->ring.floor,
                .before_us = store->accepted_time_us > span_us ? store->accepted_time_us - span_us : 0,
                .per_object = store->options.history_per_object ? store->options.history_per_object : STORE_DEFAULT_PER_OBJECT,
                .least_rows = STORE_COMPACT_LEAST,
                .max_rows = STORE_COMPACT_ROWS,
        };
}

int store_compact(struct store *store)
{
        struct retention retention = store_retention(store);
        int r;

        assert(store->queued_ops == 0);
        retention.least_rows = 0;
        if (store->writer)
                return writer_compact(store->writer, &retention);
        for (r = 1; r > 0;)
                r = store->driver->ops->compact(store->driver, &retention);
        return r;
}

/* --- history, figures -----------------------------------------------------------------------------------------------------------
 */

int store_history(struct store *store, const char *key, uint64_t before, unsigned limit,
                  void (*each)(const struct store_history_row *row, void *userdata), void *userdata)
{
        const struct history_query query = {
                .key = key,
                .before = before,
                .newest = store->revision,
                .limit = limit,
                .each = each,
                .userdata = userdata,
        };

        assert(store && each);
        return limit > 0 ? store->driver->ops->history(store->driver, &query) : 0;
}

void store_stats(struct store *store, struct store_stats *ret_stats)
{
        *ret_stats = store->stats;
        ret_stats->queued = store->queued_ops;
        ret_stats->watches = store->watches->len;
        if (store->writer)
                ret_stats->groups = writer_groups(store->writer);
}

/* --- opening and closing --------------------------------------------------------------------------------------------------------
 */

static void store_disown(void *version)
{
        version_disown(version);
}

/* Why the store was not opened: @r says nothing of where. */
static int store_refuse(const struct store_options *options, int r, const char *words)
{
        if (r != 0 && options->reterr_words)
                *options->reterr_words = g_strdup(words);
        return r;
}

int store_open_driver(struct driver *driver, const struct store_options *options, struct store **ret_store)
{
        g_autoptr(store) store = g_new0(struct store, 1);
        int r;

        assert(driver && options && (options->loop || !driver->ops->blocks));
        store->options = *options;
        if (!store->options.clock)
                store->options.clock = clock_system();
        store->driver = driver;
        store->published = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, store_disown);
        store->kinds = g_hash_table_new_full(NULL, NULL, NULL, kind_state_free);
        store->overlay = g_hash_table_new(g_str_hash, g_str_equal);
        store->queue_tail = &store->queue;
        store->slowest = UINT64_MAX;
        store->watches = g_ptr_array_new();
        store->watches_of_all = g_ptr_array_new();
        store->scratch = g_string_new(NULL);
        store->accepted_revision = store->revision = store->ring.floor = STORE_EMPTY_REVISION;
        r = warm_new(options->loop, &store->warm);
        if (r < 0)
                return r;
        r = store_load(store);
        if (r)
                return store_refuse(options, r, store->load_words ?: driver->ops->words(driver));
        if (options->loop) {
                r = loop_defer(options->loop, store_work_due, store, &store->work);
                if (r < 0)
                        return r;
                loop_defer_set(store->work, false);
        }
        if (driver->ops->blocks) {
                r = writer_new(driver, options->loop, store_finish, store, &store->writer);
                if (r < 0)
                        return r;
        }
        *ret_store = g_steal_pointer(&store);
        return 0;
}

int store_open_memory(const struct store_options *options, struct store **ret_store)
{
        struct driver *driver;
        int r;

        r = driver_memory_new(&driver);
        if (r < 0)
                return r;
        return error_fold(store_open_driver(driver, options, ret_store));
}

int store_open_sqlite(const char *path, const struct store_options *options, struct store **ret_store)
{
        g_autofree char *words = NULL;
        struct driver *driver;
        int r;

        assert(path);
        r = driver_sqlite_new(path, &driver, &words);
        if (r)
                return store_refuse(options, r, words);
        return store_open_driver(driver, options, ret_store);
}

struct store *store_close(struct store *store)
{
        if (!store)
                return NULL;
        assert(store->watch_depth == 0);
        store->closing = true;
        store_persist_queue(store);
        store->writer = writer_free(store->writer);
        loop_source_free(store->work);
        watch_free_all(store);
        ring_clear(&store->ring);
        warm_free(store->warm);
        g_hash_table_unref(store->overlay);
        g_hash_table_unref(store->published);
        g_hash_table_unref(store->kinds);
        store->driver->ops->close(store->driver);
        g_string_free(store->scratch, TRUE);
        g_free(store->load_words);
        schema_faults_free(store->refusal);
        g_free(store);
        return NULL;
}
