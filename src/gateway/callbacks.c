/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/callbacks.h"

#include "api/metrics.h"
#include "base/error.h"
#include "gateway/callback_queue.h"
#include "generated/api_types.h"

#include <string.h>

#define THREADS        16
#define PER_CALLBACK   2
#define PER_PROJECT    4
#define SLOW_US        2000000ull
#define STORE_PAUSE_US 5000000ull /* when what came of an attempt could not be written */
#define ACTOR          "gateway/callbacks"

struct callbacks {
        struct gateway *gateway;
        struct loop_pool *pool;
        struct store_watch *watch;
        struct loop_source *due;
        struct callback_queue *queue;
        atomic_bool stopping;
        uint64_t verdicts[CALLBACK_DEAD + 1]; /* attempts by what came of them */
};

static void wake(struct callbacks *callbacks)
{
        if (!atomic_load(&callbacks->stopping))
                loop_timer_set(callbacks->due, 0);
}

/* --- what is to be told
 * --------------------------------------------------------------------------------------------------------------- */

static uint64_t next_us(const struct callbacks *callbacks, const struct store_object *delivery)
{
        const char *text = json_find_string(delivery->root, "status", "nextAttemptTime", NULL);
        uint64_t then_us = 0, most_us = clock_real_us(callbacks->gateway->clock) + CALLBACK_PAUSE_ASKED_US;

        return text && clock_parse_rfc3339(text, &then_us) == 0 ? MIN(then_us, most_us) : 0; /* the clock may have been put back */
}

static void take_in_delivery(struct callbacks *callbacks, const struct store_object *object, bool gone)
{
        const struct json_value *spec = json_get(object->root, "spec");
        struct callback_entry entry = {
                .uid = object->uid,
                .namespace = object->namespace,
                .name = object->name,
                .callback_uid = json_find_string(spec, "callback", "uid", NULL),
                .object_uid = json_find_string(spec, "object", "uid", NULL),
                .next_us = next_us(callbacks, object),
        };
        const char *state = json_find_string(object->root, "status", "state", NULL);
        bool told = gone || json_int64(json_get(spec, "sequence"), &entry.sequence) < 0 || !entry.callback_uid ||
                    !entry.object_uid || g_strcmp0(state, "Pending") != 0;

        if (told)
                callback_queue_drop(callbacks->queue, object->uid);
        else
                callback_queue_put(callbacks->queue, &entry);
}

static void take_in_callback(struct callbacks *callbacks, const struct store_object *object, bool gone)
{
        bool suspended = json_bool(json_find(object->root, "spec", "suspended", NULL), false);

        if (gone)
                callback_queue_forget(callbacks->queue, object->uid);
        else
                callback_queue_hold(callbacks->queue, object->uid, suspended);
}

static void take_in(struct callbacks *callbacks, const struct store_object *object, bool gone)
{
        if (object->kind == &api_callback_kind)
                take_in_callback(callbacks, object, gone);
        else
                take_in_delivery(callbacks, object, gone);
}

static bool on_listed(const struct store_object *object, void *userdata)
{
        take_in(userdata, object, false);
        return true;
}

static void on_event(const struct store_event *event, void *userdata)
{
        struct callbacks *callbacks = userdata;

        if (!event)
                return;
        take_in(callbacks, event->object, event->verb == STORE_DELETE);
        wake(callbacks);
}

/* --- what came of an attempt
 * ---------------------------------------------------------------------------------------------------------- */

static void attempt_end(struct callback_attempt *attempt, bool written)
{
        struct callbacks *callbacks = attempt->callbacks;
        const struct clock *clock = callbacks->gateway->clock;
        bool slow = clock_monotonic_us(clock) - attempt->begun_us > SLOW_US;

        callback_queue_finish(callbacks->queue, attempt->uid, written ? 0 : clock_real_us(clock) + STORE_PAUSE_US, slow);
        wake(callbacks);
        callback_attempt_free(attempt);
}

static void on_written(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        attempt_end(userdata, result == 0);
}

static void set_time(struct json_doc *doc, struct json_value *status, const char *key, uint64_t us)
{
        char text[CLOCK_RFC3339_MAX];

        json_set_string(doc, status, key, clock_format_rfc3339(us, true, text));
}

static void note_in_delivery(const struct callback_attempt *attempt, struct json_doc *doc, enum callback_verdict verdict)
{
        static const char *const states[] = {
                [CALLBACK_DELIVERED] = "Delivered", [CALLBACK_AGAIN] = "Pending", [CALLBACK_DEAD] = "Dead"};
        const struct gateway *gateway = attempt->callbacks->gateway;
        const struct callback_answer answer = {.status = attempt->status, .retry_after = attempt->retry_after};
        struct json_value *status = json_ensure_object(doc, json_root(doc), "status");
        uint64_t now_us = clock_real_us(gateway->clock);

        json_set_string(doc, status, "state", states[verdict]);
        json_set_int(doc, status, "attempts", attempt->attempts);
        json_set_int(doc, status, "lastStatusCode", attempt->status);
        json_set_string(doc, status, "lastError", verdict == CALLBACK_DELIVERED ? NULL : attempt->error);
        json_set_string(doc, status, "nextAttemptTime", NULL);
        if (verdict == CALLBACK_DELIVERED)
                set_time(doc, status, "deliveredTime", now_us);
        if (verdict == CALLBACK_AGAIN)
                set_time(doc, status, "nextAttemptTime",
                         now_us + callback_pause_us(&answer, attempt->attempts, now_us, gateway->random));
}

static void note_in_callback(const struct callback_attempt *attempt, struct json_doc *doc)
{
        struct json_value *status = json_ensure_object(doc, json_root(doc), "status");
        int64_t delivered = 0;

        (void)json_int64(json_get(status, "delivered"), &delivered);
        json_set_int(doc, status, "delivered", delivered + 1);
        set_time(doc, status, "lastDeliveryTime", clock_real_us(attempt->callbacks->gateway->clock));
}

static struct store_op update_of(const struct store_object *object)
{
        struct json_doc *doc = json_doc_new();

        json_set_root(doc, json_copy(doc, object->root));
        return (struct store_op){.verb = STORE_UPDATE,
                                 .kind = object->kind,
                                 .namespace = object->namespace,
                                 .name = object->name,
                                 .doc = doc,
                                 .expect_revision = object->revision};
}

/* In one transaction with the count of the callback. */
static int write_outcome(struct callback_attempt *attempt)
{
        struct gateway *gateway = attempt->callbacks->gateway;
        const struct callback_answer answer = {.status = attempt->status};
        enum callback_verdict verdict = callback_judge(&answer, attempt->attempts, attempt->most);
        autostoreobject delivery = store_get_newest(gateway->store, &api_callback_delivery_kind, attempt->namespace, attempt->name);
        autostoreobject callback = store_get_newest(gateway->store, &api_callback_kind, attempt->namespace, attempt->callback_name);
        struct store_op ops[2];
        struct store_txn txn = {.ops = ops, .actor = {.user = ACTOR, .client = ACTOR, .verb = "update"}};

        if (!delivery || g_strcmp0(delivery->uid, attempt->uid) != 0 ||
            g_strcmp0(json_find_string(delivery->root, "status", "state", NULL), "Pending") != 0)
                return STORE_E_NOT_FOUND; /* deleted or dropped meanwhile */
        ops[txn.n_ops] = update_of(delivery);
        note_in_delivery(attempt, ops[txn.n_ops++].doc, verdict);
        if (verdict == CALLBACK_DELIVERED && callback && strcmp(callback->uid, attempt->callback_uid) == 0) {
                ops[txn.n_ops] = update_of(callback);
                note_in_callback(attempt, ops[txn.n_ops++].doc);
        }
        attempt->callbacks->verdicts[verdict]++;
        return store_commit(gateway->store, &txn, on_written, attempt, NULL);
}

static void done(int result, void *userdata)
{
        struct callback_attempt *attempt = userdata;
        int r = result < 0 || (attempt->status == 0 && atomic_load(&attempt->callbacks->stopping)) ? -ECANCELED
                                                                                                   : write_outcome(attempt);

        if (r != 0)
                attempt_end(attempt, false); /* a drop that is not published yet is heard of soon: not again until then */
}

/* --- sending
 * --------------------------------------------------------------------------------------------------------------------------- */

static void begin(struct callbacks *callbacks, const struct callback_entry *entry)
{
        struct gateway *gateway = callbacks->gateway;
        autostoreobject delivery = store_get(gateway->store, &api_callback_delivery_kind, entry->namespace, entry->name);
        const char *name = delivery ? json_find_string(delivery->root, "spec", "callback", "name", NULL) : NULL;
        autostoreobject callback = name ? store_get(gateway->store, &api_callback_kind, entry->namespace, name) : NULL;
        struct callback_attempt *attempt =
                callback && strcmp(delivery->uid, entry->uid) == 0 ? callback_attempt_new(gateway, delivery, callback) : NULL;

        if (!attempt) {
                /* Its callback is gone, or it was told: it goes with its object. */
                g_autofree char *uid = g_strdup(entry->uid);

                callback_queue_drop(callbacks->queue, uid);
                callback_queue_finish(callbacks->queue, uid, 0, false);
                return;
        }
        attempt->callbacks = callbacks;
        attempt->stopping = &callbacks->stopping;
        if (attempt->error)
                done(0, attempt);
        else
                loop_pool_submit(callbacks->pool, callback_attempt_send, done, attempt);
}

static void on_due(struct loop_source *source, void *userdata)
{
        struct callbacks *callbacks = userdata;
        uint64_t now_us = clock_real_us(callbacks->gateway->clock), due_us;

        for (const struct callback_entry *entry; (entry = callback_queue_take(callbacks->queue, now_us, &due_us));)
                begin(callbacks, entry);
        if (due_us != UINT64_MAX)
                loop_timer_set(source, due_us - now_us);
}

/* --- life
 * ------------------------------------------------------------------------------------------------------------------------------ */

static void write_metrics(GString *out, void *userdata)
{
        const struct callbacks *callbacks = userdata;

        metrics_value(out, "gabbro_callback_delivered_total", "counter", "Events that endpoints took.",
                      (double)callbacks->verdicts[CALLBACK_DELIVERED]);
        metrics_value(out, "gabbro_callback_retried_total", "counter", "Attempts that failed and are followed by another one.",
                      (double)callbacks->verdicts[CALLBACK_AGAIN]);
        metrics_value(out, "gabbro_callback_dead_total", "counter", "Events that were given up.",
                      (double)callbacks->verdicts[CALLBACK_DEAD]);
        metrics_value(out, "gabbro_callback_pending", "gauge", "Events that are still to be told.",
                      (double)callback_queue_length(callbacks->queue));
}

int callbacks_init(struct gateway *gateway)
{
        static const struct schema_kind *const kinds[] = {&api_callback_kind, &api_callback_delivery_kind, NULL};
        static const struct callback_bounds bounds = {.all = THREADS, .per_callback = PER_CALLBACK, .per_project = PER_PROJECT};
        struct callbacks *callbacks = g_new0(struct callbacks, 1);
        uint64_t revision = store_revision(gateway->store);

        gateway->callbacks = callbacks;
        callbacks->gateway = gateway;
        callbacks->queue = callback_queue_new(&bounds);
        int r = loop_timer(gateway->loop, 0, on_due, callbacks, &callbacks->due);
        if (r == 0)
                r = loop_pool_new(gateway->loop, THREADS, &callbacks->pool);
        if (r < 0)
                return r;
        for (size_t i = 0; kinds[i]; i++)
                store_list(gateway->store, kinds[i], NULL, NULL, on_listed, callbacks);
        api_add_metrics(gateway->api, write_metrics, callbacks);
        return error_fold(store_watch(gateway->store, kinds, revision, on_event, callbacks, &callbacks->watch));
}

void callbacks_stop(struct callbacks *callbacks)
{
        if (!callbacks)
                return;
        atomic_store(&callbacks->stopping, true);
        callbacks->due = loop_source_free(callbacks->due);
        callbacks->pool = loop_pool_free(callbacks->pool);
        if (callbacks->watch)
                callbacks->watch = store_watch_free(callbacks->watch);
}

struct callbacks *callbacks_free(struct callbacks *callbacks)
{
        if (!callbacks)
                return NULL;
        callback_queue_free(callbacks->queue);
        g_free(callbacks);
        return NULL;
}
