/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control.h"

#include "base/limits.h"
#include "base/log.h"
#include "control/recorder.h"
#include "control/turn.h"
#include "loop/loop.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define TURNS_PER_ITERATION 16
#define LAG_MOST_US         200000ull         /* how long a committed turn waits for the cache to show its writes */
#define EXPIRE_EVERY_US     (60 * 1000000ull) /* old Events are looked for */

struct running {
        const struct controller *controller;
        struct workqueue *queue;
        struct control_stats stats;
        struct control *control;
};

/* An object version that a turn waits for in the cache. */
struct awaited {
        const struct schema_kind *kind;
        char *namespace;
        char *name;
        uint64_t revision; /* of the write; of a conflict: what the cache had */
        bool removed;
};

/* A turn whose commit is on its way, or whose writes the cache has not shown yet. */
struct inflight {
        struct running *running;
        char *key;
        struct turn turn;
        struct awaited *awaited;
        size_t n_awaited;
        bool committed;
        uint64_t committed_us;
};

/* A turn that was overtaken: taken again when this object moves in the cache. */
struct overtaken {
        struct running *running;
        char *key;
        struct awaited by;
};

struct control {
        struct control_options options;
        struct running *running;
        size_t n_running, next;
        GPtrArray *inflight;  /* struct inflight */
        GPtrArray *overtaken; /* struct overtaken */
        struct recorder *recorder;
        struct loop_source *run, *timer;
        uint64_t expire_us;
};

static void awaited_clear(struct awaited *awaited)
{
        g_free(awaited->namespace);
        g_free(awaited->name);
}

static void inflight_free(gpointer data)
{
        struct inflight *inflight = data;

        for (size_t i = 0; i < inflight->n_awaited; i++)
                awaited_clear(&inflight->awaited[i]);
        g_free(inflight->awaited);
        turn_clear(&inflight->turn);
        g_free(inflight->key);
        g_free(inflight);
}

static void overtaken_free(gpointer data)
{
        struct overtaken *overtaken = data;

        awaited_clear(&overtaken->by);
        g_free(overtaken->key);
        g_free(overtaken);
}

/* --- scheduling --- */

uint64_t control_due_us(const struct control *control)
{
        assert(control);

        uint64_t due_us = UINT64_MAX;

        for (size_t i = 0; i < control->n_running; i++)
                due_us = MIN(due_us, workqueue_due_us(control->running[i].queue));
        return due_us;
}

static void control_arm(struct control *control)
{
        uint64_t due_us;

        if (!control->options.loop)
                return;
        due_us = MIN(control_due_us(control), EXPIRE_EVERY_US);
        if (!cache_synced(control->options.cache))
                due_us = LAG_MOST_US;
        else if (due_us == 0)
                loop_defer_set(control->run, true);
        loop_timer_set(control->timer, due_us > 0 && control->inflight->len == 0 ? due_us : LAG_MOST_US);
}

static void control_on_ready(void *userdata)
{
        control_arm(userdata);
}

static void control_on_run(struct loop_source *source, void *userdata)
{
        struct control *control = userdata;

        for (unsigned i = 0; i < TURNS_PER_ITERATION && control_step(control); i++)
                ;
        control_arm(control);
}

/* --- what the cache tells --- */

static bool awaited_is(const struct awaited *awaited, const struct cache_object *object)
{
        return awaited->kind == object->kind && strcmp(awaited->name, object->name) == 0 &&
               g_strcmp0(awaited->namespace, object->namespace) == 0;
}

static bool awaited_shown(const struct cache *cache, const struct awaited *awaited)
{
        const struct cache_object *object = cache_get(cache, awaited->kind, awaited->namespace, awaited->name);

        if (awaited->removed)
                return !object || object->revision > awaited->revision;
        return object && object->revision >= awaited->revision;
}

static void inflight_finish(struct control *control, struct inflight *inflight)
{
        struct running *running = inflight->running;

        workqueue_forget(running->queue, inflight->key);
        if (inflight->turn.again_us != UINT64_MAX)
                workqueue_add_after(running->queue, inflight->key, inflight->turn.again_us);
        workqueue_finish(running->queue, inflight->key);
        g_ptr_array_remove_fast(control->inflight, inflight);
}

static void control_settle(struct control *control)
{
        uint64_t now_us = clock_monotonic_us(control->options.clock);

        for (guint i = control->inflight->len; i-- > 0;) {
                struct inflight *inflight = control->inflight->pdata[i];
                bool shown = inflight->committed;

                for (size_t j = 0; shown && j < inflight->n_awaited; j++)
                        shown = awaited_shown(control->options.cache, &inflight->awaited[j]);
                if (shown || (inflight->committed && now_us >= inflight->committed_us + LAG_MOST_US))
                        inflight_finish(control, inflight);
        }
}

static void control_requeue_overtaken(struct control *control, const struct cache_object *changed)
{
        for (guint i = control->overtaken->len; i-- > 0;) {
                struct overtaken *overtaken = control->overtaken->pdata[i];

                if (!awaited_is(&overtaken->by, changed))
                        continue;
                workqueue_add(overtaken->running->queue, overtaken->key);
                g_ptr_array_remove_index_fast(control->overtaken, i);
        }
}

static void control_on_change(const struct cache_object *before, const struct cache_object *now, void *userdata)
{
        struct control *control = userdata;
        const struct cache_object *changed = now ? now : before;

        for (size_t i = 0; i < control->n_running; i++) {
                struct running *running = &control->running[i];

                if (running->controller->kind == changed->kind)
                        controller_enqueue(running->queue, changed->namespace, changed->name);
                if (running->controller->related)
                        running->controller->related(control->options.cache, before, now, running->queue);
        }
        control_requeue_overtaken(control, changed);
        control_settle(control);
}

/* --- a turn --- */

static const struct cache_object *control_object(const struct control *control, const struct running *running, const char *key)
{
        const char *slash = strchr(key, '/');
        g_autofree char *namespace = g_strndup(key, (gsize)(slash - key));

        return cache_get(control->options.cache, running->controller->kind, strcmp(namespace, "-") == 0 ? NULL : namespace,
                         slash + 1);
}

static void control_on_done(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        struct inflight *inflight = userdata;
        struct running *running = inflight->running;

        if (!running) { /* the runner ended meanwhile */
                inflight_free(inflight);
                return;
        }

        struct control *control = running->control;
        g_autofree char *component = g_strdup_printf("controller/%s", running->controller->name);

        if (result < 0) { /* the store has failed for good; its owner logs that and ends the process */
                running->stats.failures++;
                workqueue_retry(running->queue, inflight->key);
                workqueue_finish(running->queue, inflight->key);
                g_ptr_array_remove_fast(control->inflight, inflight);
                return;
        }
        assert(n_objects == inflight->n_awaited);
        for (size_t i = 0; i < n_objects; i++)
                inflight->awaited[i].revision = objects[i]->revision;
        running->stats.effects += n_objects;
        inflight->committed = true;
        inflight->committed_us = clock_monotonic_us(control->options.clock);
        if (inflight->turn.events->len > 0)
                recorder_write(control->recorder, component, inflight->turn.events, inflight->turn.now_us);
        control_settle(control);
}

static void control_overtaken(struct control *control, struct inflight *inflight, const struct store_txn *txn, size_t failed)
{
        bool check = failed >= txn->n_ops;
        struct overtaken *overtaken = g_new0(struct overtaken, 1);
        const struct store_check *by_check = check ? &txn->checks[failed - txn->n_ops] : NULL;

        overtaken->running = inflight->running;
        overtaken->key = g_strdup(inflight->key);
        overtaken->by = (struct awaited){
                .kind = check ? by_check->kind : txn->ops[failed].kind,
                .namespace = g_strdup(check ? by_check->namespace : txn->ops[failed].namespace),
                .name = g_strdup(check ? by_check->name : txn->ops[failed].name),
        };
        g_ptr_array_add(control->overtaken, overtaken);
        inflight->running->stats.conflicts++;
}

/* The commit did not begin: the key is taken again after the cache moved, at the latest after its back-off. */
static void control_refused(struct control *control, struct inflight *inflight, const struct store_txn *txn, int outcome,
                            size_t failed)
{
        struct running *running = inflight->running;

        if (outcome == STORE_E_CONFLICT || outcome == STORE_E_EXISTS || outcome == STORE_E_NOT_FOUND) {
                control_overtaken(control, inflight, txn, failed);
        } else {
                running->stats.failures++;
                log_warning("a turn could not be committed", "controller", running->controller->name, "key", inflight->key,
                            "outcome", outcome == STORE_E_BUSY ? "busy" : "failed");
        }
        workqueue_retry(running->queue, inflight->key);
        workqueue_finish(running->queue, inflight->key);
        inflight_free(inflight);
}

static void inflight_await(struct inflight *inflight, const struct store_op *ops, size_t n_ops)
{
        inflight->awaited = g_new0(struct awaited, n_ops);
        inflight->n_awaited = n_ops;
        for (size_t i = 0; i < n_ops; i++)
                inflight->awaited[i] = (struct awaited){
                        .kind = ops[i].kind,
                        .namespace = g_strdup(ops[i].namespace),
                        .name = g_strdup(ops[i].name),
                        .removed = ops[i].verb == STORE_DELETE,
                };
}

static void control_commit(struct control *control, struct inflight *inflight, struct store_op *ops, size_t n_ops)
{
        g_autofree char *actor = g_strdup_printf("controller/%s", inflight->running->controller->name);
        struct store_txn txn = {
                .ops = ops,
                .n_ops = n_ops,
                .checks = (const struct store_check *)(void *)inflight->turn.checks->data,
                .n_checks = inflight->turn.checks->len,
                .actor = {.user = actor, .client = actor, .field_manager = inflight->running->controller->name},
        };
        size_t failed = 0;

        inflight_await(inflight, ops, n_ops);
        g_ptr_array_add(control->inflight, inflight);

        int outcome = store_commit(control->options.store, &txn, control_on_done, inflight, &failed);

        if (outcome == 0)
                return;
        g_ptr_array_steal_index_fast(control->inflight, control->inflight->len - 1);
        control_refused(control, inflight, &txn, outcome, failed);
}

static void control_turn(struct control *control, struct running *running, const char *key, const struct cache_object *object)
{
        struct inflight *inflight = g_new0(struct inflight, 1);
        struct store_op ops[LIMIT_STORE_TXN_OPS];
        int n;

        inflight->running = running;
        inflight->key = g_strdup(key);
        turn_init(&inflight->turn, control->options.cache, object, control->options.random, clock_real_us(control->options.clock));
        running->stats.turns++;
        (void)running->controller->turn(&inflight->turn, object);
        n = turn_take_ops(&inflight->turn, ops);
        if (n > 0) {
                control_commit(control, inflight, ops, (size_t)n);
                return;
        }
        if (n < 0) {
                running->stats.failures++;
                log_error("a turn has more effects than one transaction holds", "controller", running->controller->name, "key",
                          key);
                workqueue_retry(running->queue, inflight->key);
        } else {
                workqueue_forget(running->queue, inflight->key);
                if (inflight->turn.again_us != UINT64_MAX)
                        workqueue_add_after(running->queue, inflight->key, inflight->turn.again_us);
        }
        workqueue_finish(running->queue, inflight->key);
        inflight_free(inflight);
}

static void control_expire(struct control *control)
{
        uint64_t now_us = clock_monotonic_us(control->options.clock);

        if (now_us < control->expire_us)
                return;
        control->expire_us = now_us + EXPIRE_EVERY_US;
        recorder_expire(control->recorder, clock_real_us(control->options.clock));
}

bool control_step(struct control *control)
{
        assert(control);

        if (!cache_synced(control->options.cache))
                return false;
        control_expire(control);
        control_settle(control);
        for (size_t i = 0; i < control->n_running; i++) {
                struct running *running = &control->running[(control->next + i) % control->n_running];
                const char *key = workqueue_take(running->queue);

                if (!key)
                        continue;
                control->next = (control->next + i + 1) % control->n_running;

                const struct cache_object *object = control_object(control, running, key);

                if (object) {
                        control_turn(control, running, key, object);
                } else {
                        workqueue_forget(running->queue, key);
                        workqueue_finish(running->queue, key);
                }
                return true;
        }
        return false;
}

bool control_idle(const struct control *control)
{
        assert(control);
        return control->inflight->len == 0 && control_due_us(control) > 0;
}

/* --- life --- */

static bool enqueue_each(const struct cache_object *object, void *userdata)
{
        controller_enqueue(userdata, object->namespace, object->name);
        return true;
}

static int control_open_sources(struct control *control)
{
        struct loop *loop = control->options.loop;
        int r = loop_defer(loop, control_on_run, control, &control->run);

        if (r < 0)
                return r;
        return loop_timer(loop, UINT64_MAX, control_on_run, control, &control->timer);
}

int control_new(const struct control_options *options, struct control **ret_control)
{
        assert(options && options->store && options->cache && options->clock && options->random && options->controllers &&
               ret_control);

        g_autoptr(control) control = g_new0(struct control, 1);
        size_t n = 0;

        while (options->controllers[n])
                n++;
        control->options = *options;
        control->inflight = g_ptr_array_new_with_free_func(inflight_free);
        control->overtaken = g_ptr_array_new_with_free_func(overtaken_free);
        control->recorder = recorder_new(options->store, options->clock, options->random);
        control->running = g_new0(struct running, n);
        if (options->loop) {
                int r = control_open_sources(control);

                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < n; i++) {
                struct running *running = &control->running[control->n_running++];

                running->control = control;
                running->controller = options->controllers[i];
                running->queue = workqueue_new(options->clock);
                workqueue_on_ready(running->queue, control_on_ready, control);
                cache_each(options->cache, running->controller->kind, NULL, enqueue_each, running->queue);
        }
        cache_listen(options->cache, control_on_change, control);
        control_arm(control);
        *ret_control = g_steal_pointer(&control);
        return 0;
}

/* Commits that are on their way keep their memory until the store has called back. */
static void control_disown(struct control *control)
{
        for (guint i = control->inflight->len; i-- > 0;) {
                struct inflight *inflight = control->inflight->pdata[i];

                if (inflight->committed)
                        continue;
                inflight->running = NULL;
                g_ptr_array_steal_index_fast(control->inflight, i);
        }
}

struct control *control_free(struct control *control)
{
        if (!control)
                return NULL;
        control_disown(control);
        g_ptr_array_unref(control->inflight);
        g_ptr_array_unref(control->overtaken);
        for (size_t i = 0; i < control->n_running; i++)
                workqueue_free(control->running[i].queue);
        g_free(control->running);
        recorder_free(control->recorder);
        loop_source_free(control->run);
        loop_source_free(control->timer);
        g_free(control);
        return NULL;
}

void control_stats(const struct control *control, const char *controller, struct control_stats *ret_stats)
{
        assert(control && ret_stats);

        *ret_stats = (struct control_stats){0};
        for (size_t i = 0; i < control->n_running; i++) {
                const struct running *running = &control->running[i];

                if (controller && strcmp(running->controller->name, controller) != 0)
                        continue;
                ret_stats->turns += running->stats.turns;
                ret_stats->effects += running->stats.effects;
                ret_stats->conflicts += running->stats.conflicts;
                ret_stats->failures += running->stats.failures;
        }
}
