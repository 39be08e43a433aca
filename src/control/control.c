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
#define INFLIGHT_MOST       256               /* accepted turns that may wait to become durable together */
#define UNSYNCED_AGAIN_US   50000ull          /* until the cache is filled */
#define EXPIRE_EVERY_US     (60 * 1000000ull) /* old Events are looked for */
#define REFUSED_AGAIN_US    5000000ull        /* until what the guard refused is tried again */

struct running {
        const struct controller *controller;
        struct workqueue *queue;
        GHashTable *refusals; /* key -> words, until its next turn */
        struct control_stats stats;
        struct control *control;
};

/* An accepted turn whose commit is not durable yet. */
struct inflight {
        struct running *running; /* NULL: the runner ended meanwhile */
        struct turn turn;
        char *key;
        size_t n_ops;
};

/* A turn that was overtaken: taken again when this object moves in the cache. */
struct overtaken {
        struct running *running;
        char *key;
        const struct schema_kind *kind;
        char *namespace;
        char *name;
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

static void inflight_free(gpointer data)
{
        struct inflight *inflight = data;

        turn_clear(&inflight->turn);
        g_free(inflight->key);
        g_free(inflight);
}

static void overtaken_free(gpointer data)
{
        struct overtaken *overtaken = data;

        g_free(overtaken->namespace);
        g_free(overtaken->name);
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
        if (control->inflight->len >= INFLIGHT_MOST) /* goes on when the store calls back */
                return;
        due_us = cache_synced(control->options.cache) ? control_due_us(control) : UNSYNCED_AGAIN_US;
        if (due_us == 0)
                loop_defer_set(control->run, true);
        else
                loop_timer_set(control->timer, MIN(due_us, EXPIRE_EVERY_US));
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

static void control_requeue_overtaken(struct control *control, const struct cache_object *changed)
{
        for (guint i = control->overtaken->len; i-- > 0;) {
                struct overtaken *overtaken = control->overtaken->pdata[i];

                if (overtaken->kind != changed->kind || strcmp(overtaken->name, changed->name) != 0 ||
                    g_strcmp0(overtaken->namespace, changed->namespace) != 0)
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
}

/* --- a turn --- */

/* "<plural>.<group>/" before the key, where a controller has keys of any kind. */
static const struct schema_kind *control_kind(const char **key)
{
        g_auto(GStrv) words = g_strsplit(*key, "/", 2);
        char *dot = strchr(words[0], '.');

        *key += strlen(words[0]) + 1;
        *dot = 0;
        return schema_kind_by_plural(dot + 1, words[0]);
}

static const struct cache_object *control_object(const struct control *control, const struct running *running, const char *key)
{
        const struct schema_kind *kind = running->controller->kind ?: control_kind(&key);
        const char *slash = strchr(key, '/');
        g_autofree char *namespace = g_strndup(key, (gsize)(slash - key));

        return cache_get(control->options.cache, kind, strcmp(namespace, "-") == 0 ? NULL : namespace, slash + 1);
}

static void control_on_done(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        struct inflight *inflight = userdata;
        struct running *running = inflight->running;
        g_autofree char *component = running ? g_strdup_printf("controller/%s", running->controller->name) : NULL;

        if (!running) {
                inflight_free(inflight);
                return;
        }

        struct control *control = running->control;

        /* For want of room it was taken back, and may be tried again. Any other loss is the end of the store: its owner logs that
         * and ends the process. */
        if (result < 0)
                running->stats.failures++;
        if (result == -ENOSPC)
                workqueue_retry(running->queue, inflight->key);
        else if (result == 0 && inflight->turn.events->len > 0)
                recorder_write(control->recorder, component, inflight->turn.events, inflight->turn.now_us);
        g_ptr_array_remove_fast(control->inflight, inflight);
        control_arm(control);
}

static void control_overtaken(struct control *control, struct running *running, const char *key, const struct store_txn *txn,
                              size_t failed)
{
        struct overtaken *overtaken = g_new0(struct overtaken, 1);
        const struct store_check *check = failed >= txn->n_ops ? &txn->checks[failed - txn->n_ops] : NULL;

        *overtaken = (struct overtaken){
                .running = running,
                .key = g_strdup(key),
                .kind = check ? check->kind : txn->ops[failed].kind,
                .namespace = g_strdup(check ? check->namespace : txn->ops[failed].namespace),
                .name = g_strdup(check ? check->name : txn->ops[failed].name),
        };
        g_ptr_array_add(control->overtaken, overtaken);
        running->stats.conflicts++;
}

/* The guard refuses the effects: the key's next turn is told, and comes at once unless this one was told already. */
static void control_forbidden(struct control *control, struct running *running, const char *key, bool told)
{
        const struct schema_faults *faults = store_refusal(control->options.store);
        g_autoptr(GString) words = g_string_new(NULL);

        for (size_t i = 0; i < schema_faults_kept(faults); i++)
                g_string_append_printf(words, "%s%s", i > 0 ? "; " : "", schema_faults_at(faults, i)->message);
        g_hash_table_replace(running->refusals, g_strdup(key), g_strdup(words->str));
        if (told)
                workqueue_retry(running->queue, key);
        else
                workqueue_add(running->queue, key);
}

/* The commit did not begin: the key is taken again after the cache moved, at the latest after its back-off. */
static void control_refused(struct control *control, struct running *running, const char *key, const struct store_txn *txn,
                            int outcome, size_t failed)
{
        if (outcome == STORE_E_CONFLICT || outcome == STORE_E_EXISTS || outcome == STORE_E_NOT_FOUND) {
                control_overtaken(control, running, key, txn, failed);
        } else {
                running->stats.failures++;
                log_debug("a turn could not be committed", "controller", running->controller->name, "key", key, "outcome",
                          outcome == STORE_E_BUSY ? "busy" : "failed");
        }
        workqueue_retry(running->queue, key);
}

/* What was accepted is what the next turns start from: they need not wait until it is durable, for they become so after it. */
static void control_go_ahead(struct control *control, const struct store_op *ops, size_t n_ops)
{
        for (size_t i = 0; i < n_ops; i++) {
                autostoreobject object = ops[i].verb == STORE_DELETE ? NULL
                                                                     : store_get_newest(control->options.store, ops[i].kind,
                                                                                        ops[i].namespace, ops[i].name);

                if (object || ops[i].verb == STORE_DELETE)
                        cache_apply_ahead(control->options.cache, ops[i].kind, ops[i].namespace, ops[i].name, object);
        }
}

/* true: accepted. The operations' documents go to the store in every case, and so does the turn when it is accepted. */
static bool control_commit(struct control *control, struct inflight *inflight, const char *key, struct store_op *ops)
{
        struct running *running = inflight->running;
        g_autofree char *actor = g_strdup_printf("controller/%s", running->controller->name);
        struct store_txn txn = {
                .ops = ops,
                .n_ops = inflight->n_ops,
                .checks = (const struct store_check *)(void *)inflight->turn.checks->data,
                .n_checks = inflight->turn.checks->len,
                .actor = {.user = actor, .client = actor, .field_manager = running->controller->name},
        };
        size_t failed = 0;
        int outcome = store_commit(control->options.store, &txn, control_on_done, inflight, &failed);

        if (outcome == STORE_E_REFUSED) {
                control_forbidden(control, running, key, inflight->turn.refusal);
                return false;
        }
        if (outcome != 0) {
                control_refused(control, running, key, &txn, outcome, failed);
                return false;
        }
        g_ptr_array_add(control->inflight, inflight);
        running->stats.effects += inflight->n_ops;
        control_go_ahead(control, ops, inflight->n_ops);
        return true;
}

static void control_turn(struct control *control, struct running *running, const char *key, const struct cache_object *object)
{
        struct inflight *inflight = g_new0(struct inflight, 1);
        struct store_op ops[LIMIT_STORE_TXN_OPS];
        uint64_t again_us;
        int n;

        inflight->running = running;
        inflight->key = g_strdup(key);
        turn_init(&inflight->turn, control->options.cache, object, control->options.random, clock_real_us(control->options.clock));
        inflight->turn.store = control->options.store;
        inflight->turn.refusal = g_strdup(g_hash_table_lookup(running->refusals, key));
        g_hash_table_remove(running->refusals, key);
        if (inflight->turn.refusal)
                turn_again_in(&inflight->turn, REFUSED_AGAIN_US);
        running->stats.turns++;
        (void)running->controller->turn(&inflight->turn, object);
        again_us = inflight->turn.again_us;
        n = turn_take_ops(&inflight->turn, ops);
        if (n < 0) {
                running->stats.failures++;
                log_error("a turn has more effects than one transaction holds", "controller", running->controller->name, "key",
                          key);
                workqueue_retry(running->queue, key);
        }
        inflight->n_ops = (size_t)MAX(n, 0);
        if (n <= 0 || !control_commit(control, inflight, key, ops)) {
                inflight_free(inflight);
                if (n != 0)
                        return;
        }
        workqueue_forget(running->queue, key);
        if (again_us != UINT64_MAX)
                workqueue_add_after(running->queue, key, again_us);
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

        if (!cache_synced(control->options.cache) || control->inflight->len >= INFLIGHT_MOST)
                return false;
        control_expire(control);
        for (size_t i = 0; i < control->n_running; i++) {
                struct running *running = &control->running[(control->next + i) % control->n_running];
                const char *key = workqueue_take(running->queue);

                if (!key)
                        continue;
                control->next = (control->next + i + 1) % control->n_running;

                const struct cache_object *object = control_object(control, running, key);

                if (object)
                        control_turn(control, running, key, object);
                else
                        workqueue_forget(running->queue, key);
                if (!object)
                        g_hash_table_remove(running->refusals, key);
                workqueue_finish(running->queue, key);
                cache_settle(control->options.cache);
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
        const struct running *running = userdata;

        if (running->controller->kind)
                controller_enqueue(running->queue, object->namespace, object->name);
        else
                running->controller->related(running->control->options.cache, NULL, object, running->queue);
        return true;
}

static void enqueue_all(struct running *running)
{
        for (size_t i = 0; schema_kinds[i]; i++)
                if (!running->controller->kind || running->controller->kind == schema_kinds[i])
                        cache_each(running->control->options.cache, schema_kinds[i], NULL, enqueue_each, running);
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
                running->refusals = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
                workqueue_on_ready(running->queue, control_on_ready, control);
                enqueue_all(running);
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
                ((struct inflight *)control->inflight->pdata[i])->running = NULL;
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
        for (size_t i = 0; i < control->n_running; i++) {
                workqueue_free(control->running[i].queue);
                g_hash_table_unref(control->running[i].refusals);
        }
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
