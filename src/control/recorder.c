/* SPDX-License-Identifier: Apache-2.0 */
#include "control/recorder.h"

#include "base/limits.h"

#include <assert.h>
#include <string.h>

#define NAME_MAX_OF_OBJECT 200

struct budget {
        char *uid;
        unsigned left;
        uint64_t refilled_us;
        GList link; /* in the order of last use */
};

struct recorder {
        struct store *store;
        const struct clock *clock;
        const struct random_source *random;
        const struct schema_kind *kind;
        GHashTable *budgets; /* uid -> struct budget */
        GQueue order;        /* least recently used first */
};

static void budget_free(gpointer data)
{
        struct budget *budget = data;

        g_free(budget->uid);
        g_free(budget);
}

struct recorder *recorder_new(struct store *store, const struct clock *clock, const struct random_source *random)
{
        assert(store && clock && random);

        struct recorder *recorder = g_new0(struct recorder, 1);

        recorder->store = store;
        recorder->clock = clock;
        recorder->random = random;
        recorder->kind = schema_kind_by_kind("", "Event");
        recorder->budgets = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, budget_free);
        g_queue_init(&recorder->order);
        return recorder;
}

struct recorder *recorder_free(struct recorder *recorder)
{
        if (!recorder)
                return NULL;
        g_hash_table_unref(recorder->budgets);
        g_free(recorder);
        return NULL;
}

static void recorder_forget_oldest(struct recorder *recorder)
{
        GList *link = g_queue_pop_head_link(&recorder->order);

        if (link)
                g_hash_table_remove(recorder->budgets, ((struct budget *)link->data)->uid);
}

static struct budget *recorder_budget(struct recorder *recorder, const char *uid, uint64_t now_us)
{
        struct budget *budget = g_hash_table_lookup(recorder->budgets, uid);

        if (budget) {
                g_queue_unlink(&recorder->order, &budget->link);
        } else {
                if (g_hash_table_size(recorder->budgets) >= RECORDER_OBJECTS)
                        recorder_forget_oldest(recorder);
                budget = g_new0(struct budget, 1);
                budget->uid = g_strdup(uid);
                budget->left = RECORDER_BURST;
                budget->refilled_us = now_us;
                budget->link.data = budget;
                g_hash_table_insert(recorder->budgets, budget->uid, budget);
        }
        g_queue_push_tail_link(&recorder->order, &budget->link);
        return budget;
}

static bool recorder_allows(struct recorder *recorder, const char *uid, uint64_t now_us)
{
        struct budget *budget = recorder_budget(recorder, uid, now_us);
        uint64_t refills = now_us > budget->refilled_us ? (now_us - budget->refilled_us) / RECORDER_REFILL_US : 0;

        budget->left = (unsigned)MIN(budget->left + refills, RECORDER_BURST);
        budget->refilled_us += refills * RECORDER_REFILL_US;
        if (budget->left == 0)
                return false;
        budget->left--;
        return true;
}

static char *event_name(const struct turn_event *event)
{
        g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
        const char *parts[] = {event->about->uid, event->warning ? "Warning" : "Normal", event->reason, event->message};

        for (size_t i = 0; i < G_N_ELEMENTS(parts); i++)
                g_checksum_update(sum, (const guchar *)(parts[i] ? parts[i] : ""), (gssize)(parts[i] ? strlen(parts[i]) + 1 : 1));
        return g_strdup_printf("%.*s.%.16s", NAME_MAX_OF_OBJECT, event->about->name, g_checksum_get_string(sum));
}

static const char *event_namespace(const struct turn_event *event)
{
        return event->about->namespace ? event->about->namespace : "default";
}

static void event_involve(struct json_doc *doc, struct json_value *root, const struct cache_object *about)
{
        struct json_value *involved = json_ensure_object(doc, root, "involvedObject");
        g_autofree char *version = about->kind->group[0] ? g_strdup_printf("%s/%s", about->kind->group, about->kind->version)
                                                         : g_strdup(about->kind->version);
        g_autofree char *revision = g_strdup_printf("%" G_GUINT64_FORMAT, about->revision);

        json_set_string(doc, involved, "apiVersion", version);
        json_set_string(doc, involved, "kind", about->kind->kind);
        json_set_string(doc, involved, "namespace", about->namespace);
        json_set_string(doc, involved, "name", about->name);
        json_set_string(doc, involved, "uid", about->uid);
        json_set_string(doc, involved, "resourceVersion", revision);
}

static struct json_doc *event_first(struct recorder *recorder, const char *component, const struct turn_event *event,
                                    const char *name, const char *time)
{
        struct json_doc *doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT), *metadata;
        char uid[UUID_TEXT_MAX];

        json_set_root(doc, root);
        json_set_string(doc, root, "apiVersion", "v1");
        json_set_string(doc, root, "kind", "Event");
        metadata = json_ensure_object(doc, root, "metadata");
        json_set_string(doc, metadata, "name", name);
        json_set_string(doc, metadata, "namespace", event_namespace(event));
        json_set_string(doc, metadata, "uid", uuid_generate(recorder->random, uid));
        json_set_string(doc, metadata, "creationTimestamp", time);
        event_involve(doc, root, event->about);
        json_set_string(doc, root, "type", event->warning ? "Warning" : "Normal");
        json_set_string(doc, root, "reason", event->reason);
        json_set_string(doc, root, "message", event->message);
        json_set_string(doc, json_ensure_object(doc, root, "source"), "component", component);
        json_set_string(doc, root, "reportingComponent", component);
        json_set_string(doc, root, "firstTimestamp", time);
        json_set_string(doc, root, "lastTimestamp", time);
        json_set_int(doc, root, "count", 1);
        return doc;
}

static struct json_doc *event_again(const struct store_object *seen, const char *time)
{
        struct json_doc *doc = json_doc_new();
        struct json_value *root = json_copy(doc, seen->root);
        int64_t count = 1;

        json_set_root(doc, root);
        json_int64(json_get(root, "count"), &count);
        json_set_int(doc, root, "count", count + 1);
        json_set_string(doc, root, "lastTimestamp", time);
        return doc;
}

static void ignore_result(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        /* Events are best effort: a store that has failed tells its owner itself. */
}

static void recorder_commit(struct recorder *recorder, const char *component, struct store_op *ops, size_t n_ops)
{
        struct store_txn txn = {.ops = ops, .n_ops = n_ops, .actor = {.user = component, .client = component}};

        if (n_ops > 0)
                (void)store_commit(recorder->store, &txn, ignore_result, NULL, NULL);
}

static bool names_hold(const struct store_op *ops, size_t n_ops, const char *name)
{
        for (size_t i = 0; i < n_ops; i++)
                if (strcmp(ops[i].name, name) == 0)
                        return true;
        return false;
}

void recorder_write(struct recorder *recorder, const char *component, const GArray *events, uint64_t now_us)
{
        assert(recorder && component && events);

        struct store_op ops[LIMIT_STORE_TXN_OPS];
        g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
        char time[CLOCK_RFC3339_MAX];
        size_t n_ops = 0;

        clock_format_rfc3339(now_us, false, time);
        for (guint i = 0; recorder->kind && i < events->len && n_ops < LIMIT_STORE_TXN_OPS; i++) {
                const struct turn_event *event = &g_array_index(events, struct turn_event, i);
                char *name = event_name(event);

                g_ptr_array_add(names, name);
                if (names_hold(ops, n_ops, name) || !recorder_allows(recorder, event->about->uid, now_us))
                        continue;

                autostoreobject seen = store_get_newest(recorder->store, recorder->kind, event_namespace(event), name);

                ops[n_ops++] = (struct store_op){
                        .verb = seen ? STORE_UPDATE : STORE_CREATE,
                        .kind = recorder->kind,
                        .namespace = event_namespace(event),
                        .name = name,
                        .doc = seen ? event_again(seen, time) : event_first(recorder, component, event, name, time),
                };
        }
        recorder_commit(recorder, component, ops, n_ops);
}

/* --- expiry --- */

struct expiry {
        uint64_t before_us;
        GPtrArray *objects; /* of const struct store_object, referenced */
};

static bool collect_old(const struct store_object *object, void *userdata)
{
        struct expiry *expiry = userdata;
        const char *time = json_find_string(object->root, "lastTimestamp", NULL);
        uint64_t last_us;

        if (!time)
                time = json_find_string(object->root, "metadata", "creationTimestamp", NULL);
        if (!time || clock_parse_rfc3339(time, &last_us) != 0 || last_us < expiry->before_us)
                g_ptr_array_add(expiry->objects, (gpointer)store_object_ref(object));
        return expiry->objects->len < LIMIT_STORE_TXN_OPS;
}

static void object_unref(gpointer object)
{
        store_object_unref(object);
}

size_t recorder_expire(struct recorder *recorder, uint64_t now_us)
{
        assert(recorder);

        if (!recorder->kind || now_us < RECORDER_KEEP_US)
                return 0;

        g_autoptr(GPtrArray) objects = g_ptr_array_new_with_free_func(object_unref);
        struct expiry expiry = {.before_us = now_us - RECORDER_KEEP_US, .objects = objects};
        struct store_op ops[LIMIT_STORE_TXN_OPS];

        store_list(recorder->store, recorder->kind, NULL, NULL, collect_old, &expiry);
        for (guint i = 0; i < objects->len; i++) {
                const struct store_object *object = objects->pdata[i];

                ops[i] = (struct store_op){
                        .verb = STORE_DELETE, .kind = recorder->kind, .namespace = object->namespace, .name = object->name};
        }
        recorder_commit(recorder, "controller/events", ops, objects->len);
        return objects->len;
}
