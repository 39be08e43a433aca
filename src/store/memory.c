/* SPDX-License-Identifier: Apache-2.0 */
#include "store/driver.h"

#include "base/error.h"

#include <string.h>

/* History in memory; nothing outlives the process, so nothing else need be kept. */

#define MEMORY_FIRST_COMPACTION 4096u

struct memory_row {
        struct store_history_row public; /* strings point into text */
        enum row_keep keep;
        char text[];
};

struct memory {
        struct driver driver; /* first */
        GPtrArray *rows;      /* struct memory_row by revision */
        size_t compact_at;    /* that many rows */
};

static struct memory *memory_of(struct driver *driver)
{
        return (struct memory *)driver;
}

static struct memory_row *memory_row_new(const struct commit *commit, const struct row *row)
{
        const struct store_actor *actor = &commit->actor;
        const struct store_object *object = &row->object->public;
        const char *const texts[] = {object->key,       object->uid,          actor->user, actor->client,
                                     actor->request_id, actor->field_manager, actor->verb, row->delta};
        const char *copies[G_N_ELEMENTS(texts)] = {0};
        struct memory_row *copy;
        size_t size = sizeof(*copy);
        char *at;

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
                size += texts[i] ? strlen(texts[i]) + 1 : 0;
        copy = g_malloc(size);
        at = copy->text;
        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
                size_t len = texts[i] ? strlen(texts[i]) + 1 : 0;

                if (texts[i])
                        copies[i] = memcpy(at, texts[i], len);
                at += len;
        }
        copy->keep = row->keep;
        copy->public = (struct store_history_row){
                .revision = row->revision,
                .time_us = row->time_us,
                .verb = row->verb,
                .key = copies[0],
                .uid = copies[1],
                .user = copies[2],
                .client = copies[3],
                .request_id = copies[4],
                .field_manager = copies[5],
                .api_verb = copies[6],
                .delta = copies[7],
        };
        return copy;
}

static int memory_persist(struct driver *driver, struct commit *const *commits, size_t n_commits)
{
        struct memory *memory = memory_of(driver);

        for (size_t i = 0; i < n_commits; i++)
                for (size_t k = 0; k < commits[i]->n_rows; k++)
                        if (commits[i]->rows[k].keep != ROW_WINDOW)
                                g_ptr_array_add(memory->rows, memory_row_new(commits[i], &commits[i]->rows[k]));
        return 0;
}

static int memory_load(struct driver *driver, const struct driver_loader *loader, struct driver_state *ret_state)
{
        *ret_state = (struct driver_state){0};
        return 0;
}

static int memory_fetch(struct driver *driver, uint64_t revision, int (*each)(const struct row_record *record, void *userdata),
                        void *userdata)
{
        return -ENOENT;
}

static int memory_history(struct driver *driver, const struct history_query *query)
{
        struct memory *memory = memory_of(driver);
        unsigned given = 0;
        bool newest = true;

        for (size_t i = memory->rows->len; i > 0 && given < query->limit; i--) {
                const struct memory_row *row = memory->rows->pdata[i - 1];
                bool of_key = query->key && strcmp(row->public.key, query->key) == 0;
                bool wanted = row->keep == ROW_HISTORY ? !query->key || of_key : of_key && newest;

                if (row->public.revision > query->newest)
                        continue;
                if (of_key)
                        newest = false;
                if (!wanted || (query->before && row->public.revision >= query->before))
                        continue;
                query->each(&row->public, query->userdata);
                given++;
        }
        return 0;
}

/* What is known of a key while walking from its newest row to its oldest. */
struct memory_key {
        unsigned kept;
        bool live;
};

static bool memory_may_go(const struct memory_row *row, const struct memory_key *key, bool newest,
                          const struct retention *retention)
{
        if (newest && key->live)
                return false;
        if (row->keep == ROW_VOLATILE)
                return true;
        return row->public.time_us < retention->before_us && (!key->live || key->kept >= retention->per_object);
}

static int memory_compact(struct driver *driver, const struct retention *retention)
{
        struct memory *memory = memory_of(driver);
        g_autoptr(GHashTable) keys = NULL;
        size_t n = 0;

        if (memory->rows->len < memory->compact_at)
                return 0;
        keys = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        for (size_t i = memory->rows->len; i > 0; i--) {
                struct memory_row *row = memory->rows->pdata[i - 1];
                struct memory_key *key = g_hash_table_lookup(keys, row->public.key);
                bool newest = !key;

                if (newest) {
                        key = g_new0(struct memory_key, 1);
                        key->live = row->public.verb != STORE_DELETE;
                        g_hash_table_insert(keys, g_strdup(row->public.key), key);
                }
                if (memory_may_go(row, key, newest, retention)) {
                        g_free(row);
                        memory->rows->pdata[i - 1] = NULL;
                } else {
                        key->kept++;
                }
        }
        for (size_t i = 0; i < memory->rows->len; i++)
                if (memory->rows->pdata[i])
                        memory->rows->pdata[n++] = memory->rows->pdata[i];
        g_ptr_array_set_size(memory->rows, (int)n);
        memory->compact_at = MAX(MEMORY_FIRST_COMPACTION, 2 * n);
        return 0;
}

static const char *memory_words(struct driver *driver)
{
        return "memory store";
}

static struct driver *memory_close(struct driver *driver)
{
        struct memory *memory = memory_of(driver);

        for (size_t i = 0; i < memory->rows->len; i++)
                g_free(memory->rows->pdata[i]);
        g_ptr_array_unref(memory->rows);
        g_free(memory);
        return NULL;
}

int driver_memory_new(struct driver **ret_driver)
{
        static const struct driver_ops ops = {
                .persist = memory_persist,
                .load = memory_load,
                .fetch = memory_fetch,
                .history = memory_history,
                .compact = memory_compact,
                .words = memory_words,
                .close = memory_close,
        };
        struct memory *memory = g_new0(struct memory, 1);

        memory->driver.ops = &ops;
        memory->rows = g_ptr_array_new();
        memory->compact_at = MEMORY_FIRST_COMPACTION;
        *ret_driver = &memory->driver;
        return 0;
}
