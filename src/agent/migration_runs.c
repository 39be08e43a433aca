/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/migration_runs.h"

#include "agent/core.h"
#include "base/error.h"
#include "base/log.h"
#include "generated/api_types.h"

#include <string.h>

struct migration_runs {
        gatomicrefcount references; /* a thread outlives the agent's own */
        GMutex lock;
        struct agent *agent; /* NULL: it has ended */
        GHashTable *runs;    /* name of the Instance -> struct run */
};

struct run {
        struct migration_runs *runs;
        struct virt *virt;
        char *name, *operation;
        struct arena *arena; /* owns what the options name */
        struct virt_migration options;
        bool over;
        int result;
        struct virt_error error;
};

static void run_free(void *userdata)
{
        struct run *run = userdata;

        arena_free(run->arena);
        g_free(run->name);
        g_free(run->operation);
        g_free(run);
}

static void runs_unref(struct migration_runs *runs)
{
        if (g_atomic_ref_count_dec(&runs->references)) {
                g_hash_table_unref(runs->runs);
                g_mutex_clear(&runs->lock);
                g_free(runs);
        }
}

struct migration_runs *migration_runs_new(struct agent *agent)
{
        struct migration_runs *runs = g_new0(struct migration_runs, 1);

        g_atomic_ref_count_init(&runs->references);
        g_mutex_init(&runs->lock);
        runs->agent = agent;
        runs->runs = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, run_free);
        return runs;
}

struct migration_runs *migration_runs_free(struct migration_runs *runs)
{
        if (runs) {
                g_mutex_lock(&runs->lock);
                runs->agent = NULL;
                g_mutex_unlock(&runs->lock);
                runs_unref(runs);
        }
        return NULL;
}

/* --- the thread --- */

struct ended {
        struct agent *agent;
        char *name;
};

static void take_end(void *userdata)
{
        struct ended *ended = userdata;
        struct intent *intent = intents_get(ended->agent->intents, &api_instance_kind, ended->name);

        if (intent) {
                intents_queue(ended->agent->intents, intent, 0);
        }
        g_free(ended->name);
        g_free(ended);
}

static void *run_main(void *userdata)
{
        struct run *run = userdata;
        struct migration_runs *runs = run->runs;
        struct virt_error error = {};
        int r = virt_migrate(run->virt, &run->options, &error);

        g_mutex_lock(&runs->lock);
        run->error = error;
        run->result = r;
        run->over = true;
        if (runs->agent) {
                struct ended *ended = g_new0(struct ended, 1);

                ended->agent = runs->agent;
                ended->name = g_strdup(run->name);
                loop_post(runs->agent->loop, take_end, ended);
        }
        g_mutex_unlock(&runs->lock);
        runs_unref(runs);
        return NULL;
}

/* --- from jobs --- */

static const struct virt_rename *copy_renames(struct arena *arena, const struct virt_rename *list, size_t n)
{
        struct virt_rename *copy = arena_array(arena, n, sizeof(*copy));

        for (size_t i = 0; i < n; i++) {
                copy[i] = (struct virt_rename){arena_strdup(arena, list[i].from), arena_strdup(arena, list[i].to)};
        }
        return copy;
}

static struct run *run_new(struct migration_runs *runs, const char *name, const char *operation,
                           const struct virt_migration *options)
{
        struct run *run = g_new0(struct run, 1);
        const char **copied;

        run->runs = runs;
        run->virt = runs->agent->virt;
        run->name = g_strdup(name);
        run->operation = g_strdup(operation);
        run->arena = arena_new(0);
        run->options = *options;
        run->options.uuid = arena_strdup(run->arena, options->uuid);
        run->options.address = arena_strdup(run->arena, options->address);
        run->options.keys = arena_strdup(run->arena, options->keys);
        run->options.instance_uid = arena_strdup(run->arena, options->instance_uid);
        run->options.graphics_address = arena_strdup(run->arena, options->graphics_address);
        run->options.files = copy_renames(run->arena, options->files, options->n_files);
        run->options.nics = copy_renames(run->arena, options->nics, options->n_nics);
        copied = arena_array(run->arena, options->n_copied, sizeof(*copied));
        for (size_t i = 0; i < options->n_copied; i++) {
                copied[i] = arena_strdup(run->arena, options->copied[i]);
        }
        run->options.copied = copied;
        return run;
}

void migration_runs_begin(struct migration_runs *runs, const char *name, const char *operation,
                          const struct virt_migration *options)
{
        g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = NULL;
        struct run *before, *run;

        assert(runs && name && operation && options);
        locker = g_mutex_locker_new(&runs->lock);
        before = g_hash_table_lookup(runs->runs, name);
        if (!runs->agent || (before && !before->over)) {
                return;
        }
        run = run_new(runs, name, operation, options);
        g_hash_table_replace(runs->runs, run->name, run);
        g_atomic_ref_count_inc(&runs->references);
        g_thread_unref(g_thread_new("migration", run_main, run));
}

enum migration_run migration_runs_look(struct migration_runs *runs, const char *name, const char *operation,
                                       struct virt_error *reterr)
{
        g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = NULL;
        const struct run *run;

        assert(runs && name && operation && reterr);
        locker = g_mutex_locker_new(&runs->lock);
        run = g_hash_table_lookup(runs->runs, name);
        if (!run || (run->over && strcmp(run->operation, operation) != 0)) {
                return MIGRATION_RUN_NONE;
        }
        if (!run->over) {
                return MIGRATION_RUN_GOES;
        }
        *reterr = run->error;
        return run->result ? MIGRATION_RUN_FAILED : MIGRATION_RUN_DONE;
}
