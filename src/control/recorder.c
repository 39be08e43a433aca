/* SPDX-License-Identifier: Apache-2.0 */
#include "control/recorder.h"

#include "base/limits.h"

#include <assert.h>
#include <string.h>

#define NAME_MAX_OF_OBJECT 200

struct budget {
        char *key; /* uid of an object; with "/<type>/<reason>": of similar events */
        unsigned left;
        uint64_t refilled_us;
        GList link; /* in the order of last use */
};

struct recorder {
        struct store *store;
        const struct clock *clock;
        const struct random_source *random;
        const struct schema_kind *kind;
        const struct schema_kind *namespaces;
        GHashTable *budgets; /* key -> struct budget */
        GQueue order;        /* least recently used first */
};

static void budget_free(gpointer data)
{
        struct budget *budget = data;

        g_free(budget->key);
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
        recorder->namespaces = schema_kind_by_kind("", "Namespace");
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
                g_hash_table_remove(recorder->budgets, ((struct budget *)link->data)->key);
}

static struct budget *recorder_budget(struct recorder *recorder, const char *key, unsigned burst, uint64_t now_us)
{
        struct budget *budget = g_hash_table_lookup(recorder->budgets, key);

        if (budget) {
                g_queue_unlink(&recorder->order, &budget->link);
        } else {
                if (g_hash_table_size(recorder->budgets) >= RECORDER_BUDGETS)
                        recorder_forget_oldest(recorder);
                budget = g_new0(struct budget, 1);
                budget->key = g_strdup(key);
                budget->left = burst;
                budget->refilled_us = now_us;
                budget->link.data = budget;
                g_hash_table_insert(recorder->budgets, budget->key, budget);
        }
        g_queue_push_tail_link(&recorder->order, &budget->link);
        return budget;
}

static bool recorder_spend(struct recorder *recorder, const char *key, unsigned burst, uint64_t refill_us, uint64_t now_us)
{
        struct budget *budget = recorder_budget(recorder, key, burst, now_us);
        uint64_t refills = now_us > budget->refilled_us ? (now_us - budget->refilled_us) / refill_us : 0;

        budget->left = (unsigned)MIN(budget->left + refills, burst);
        budget->refilled_us += refills * refill_us;
        if (budget->left == 0)
                return false;
        budget->left--;
        return true;
}

/* --- where to --- */

/* All content of a namespace is gone, and it is about to go: an event would outlive it. */
static bool is_closing(const struct store_object *namespace)
{
        const struct json_value *conditions = json_find(namespace->root, "status", "conditions", NULL);

        if (!json_find(namespace->root, "metadata", "deletionTimestamp", NULL))
                return false;
        for (const struct json_value *c = json_first(conditions); c; c = json_next(c))
                if (g_strcmp0(json_find_string(c, "type", NULL), "NamespaceContentRemaining") == 0)
                        return g_strcmp0(json_find_string(c, "status", NULL), "False") == 0;
        return false;
}

static const char *event_namespace(const struct turn_event *event)
{
        return event->about->namespace ? event->about->namespace : "default";
}

static bool namespace_takes(struct recorder *recorder, const struct turn_event *event)
{
        autostoreobject namespace = NULL;

        if (strcmp(event_namespace(event), "default") == 0) /* it never goes */
                return true;
        namespace = store_get_newest(recorder->store, recorder->namespaces, NULL, event->about->namespace);
        return namespace && !is_closing(namespace);
}

/* --- one event --- */

static const char *event_type(const struct turn_event *event)
{
        return event->warning ? "Warning" : "Normal";
}

/* @message NULL: of the one that similar events are folded into. */
static char *event_name(const struct turn_event *event, const char *message)
{
        g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
        const char *parts[] = {event->about->uid, event_type(event), event->reason, message};

        for (size_t i = 0; i < G_N_ELEMENTS(parts); i++)
                g_checksum_update(sum, (const guchar *)(parts[i] ? parts[i] : ""), (gssize)(parts[i] ? strlen(parts[i]) + 1 : 1));
        return g_strdup_printf("%.*s.%.16s", NAME_MAX_OF_OBJECT, event->about->name, g_checksum_get_string(sum));
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

/* What is written: one of its own, or the one that similar ones are folded into. */
struct entry {
        const struct turn_event *event;
        char *name;
        char *message;
        const struct store_object *seen; /* NULL: it is new; a reference */
};

static void entry_clear(struct entry *entry)
{
        g_free(entry->name);
        g_free(entry->message);
        if (entry->seen)
                store_object_unref(entry->seen);
        *entry = (struct entry){0};
}

static void entry_find(struct recorder *recorder, struct entry *entry, const char *message)
{
        g_free(entry->name);
        entry->name = event_name(entry->event, message);
        entry->seen = store_get_newest(recorder->store, recorder->kind, event_namespace(entry->event), entry->name);
}

/* false: it is dropped. */
static bool entry_make(struct recorder *recorder, const struct turn_event *event, uint64_t now_us, struct entry *ret_entry)
{
        g_autofree char *budget = g_strjoin("/", event->about->uid, event_type(event), NULL);
        g_autofree char *similar = g_strjoin("/", budget, event->reason, NULL);

        *ret_entry = (struct entry){.event = event, .message = g_strdup(event->message)};
        if (!namespace_takes(recorder, event) || !recorder_spend(recorder, budget, RECORDER_BURST, RECORDER_REFILL_US, now_us))
                return false;
        entry_find(recorder, ret_entry, event->message);
        if (!ret_entry->seen && !recorder_spend(recorder, similar, RECORDER_SIMILAR, RECORDER_SIMILAR_US, now_us)) {
                g_free(ret_entry->message);
                ret_entry->message = g_strconcat("(combined from similar events): ", event->message, NULL);
                entry_find(recorder, ret_entry, NULL);
        }
        return ret_entry->seen || store_count(recorder->store, recorder->kind, event_namespace(event)) < LIMIT_EVENTS_PER_NAMESPACE;
}

static struct json_doc *event_first(struct recorder *recorder, const char *component, const struct entry *entry, const char *time)
{
        const struct turn_event *event = entry->event;
        struct json_doc *doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT), *metadata;
        char uid[UUID_TEXT_MAX];

        json_set_root(doc, root);
        json_set_string(doc, root, "apiVersion", "v1");
        json_set_string(doc, root, "kind", "Event");
        metadata = json_ensure_object(doc, root, "metadata");
        json_set_string(doc, metadata, "name", entry->name);
        json_set_string(doc, metadata, "namespace", event_namespace(event));
        json_set_string(doc, metadata, "uid", uuid_generate(recorder->random, uid));
        json_set_string(doc, metadata, "creationTimestamp", time);
        event_involve(doc, root, event->about);
        json_set_string(doc, root, "type", event_type(event));
        json_set_string(doc, root, "reason", event->reason);
        json_set_string(doc, root, "message", entry->message);
        json_set_string(doc, json_ensure_object(doc, root, "source"), "component", component);
        json_set_string(doc, root, "reportingComponent", component);
        json_set_string(doc, root, "firstTimestamp", time);
        json_set_string(doc, root, "lastTimestamp", time);
        json_set_int(doc, root, "count", 1);
        return doc;
}

static struct json_doc *event_again(const struct entry *entry, const char *time)
{
        struct json_doc *doc = json_doc_new();
        struct json_value *root = json_copy(doc, entry->seen->root);
        int64_t count = 1;

        json_set_root(doc, root);
        json_int64(json_get(root, "count"), &count);
        json_set_int(doc, root, "count", count + 1);
        json_set_string(doc, root, "message", entry->message);
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
        g_autoptr(GArray) entries = g_array_new(FALSE, FALSE, sizeof(struct entry));
        char time[CLOCK_RFC3339_MAX];
        size_t n_ops = 0;

        g_array_set_clear_func(entries, (GDestroyNotify)entry_clear);
        clock_format_rfc3339(now_us, false, time);
        for (guint i = 0; recorder->kind && i < events->len && n_ops < LIMIT_STORE_TXN_OPS; i++) {
                struct entry entry;
                bool takes = entry_make(recorder, &g_array_index(events, struct turn_event, i), now_us, &entry);

                g_array_append_val(entries, entry);
                if (!takes || names_hold(ops, n_ops, entry.name))
                        continue;
                ops[n_ops++] = (struct store_op){
                        .verb = entry.seen ? STORE_UPDATE : STORE_CREATE,
                        .kind = recorder->kind,
                        .namespace = event_namespace(entry.event),
                        .name = entry.name,
                        .doc = entry.seen ? event_again(&entry, time) : event_first(recorder, component, &entry, time),
                };
        }
        recorder_commit(recorder, component, ops, n_ops);
}

/* --- expiry --- */

struct expiry {
        uint64_t now_us;
        GPtrArray *objects; /* of const struct store_object, referenced */
};

static uint64_t time_of(const struct json_value *root, const char *group, const char *member)
{
        const char *text = group ? json_find_string(root, group, member, NULL) : json_find_string(root, member, NULL);
        uint64_t us;

        return text && clock_parse_rfc3339(text, &us) == 0 ? us : 0;
}

/* Users write Events too: one that says it will be seen in a hundred years goes by when it was made. */
static uint64_t last_seen_us(const struct json_value *root, uint64_t now_us)
{
        static const char *const members[][2] = {{NULL, "lastTimestamp"}, {"series", "lastObservedTime"}, {NULL, "eventTime"}};
        uint64_t last_us = time_of(root, "metadata", "creationTimestamp");

        for (size_t i = 0; i < G_N_ELEMENTS(members); i++) {
                uint64_t us = time_of(root, members[i][0], members[i][1]);

                if (us <= now_us)
                        last_us = MAX(last_us, us);
        }
        return last_us;
}

static bool collect_old(const struct store_object *object, void *userdata)
{
        struct expiry *expiry = userdata;

        if (last_seen_us(object->root, expiry->now_us) < expiry->now_us - RECORDER_KEEP_US)
                g_ptr_array_add(expiry->objects, (gpointer)store_object_ref(object));
        return expiry->objects->len < RECORDER_EXPIRE;
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
        struct expiry expiry = {.now_us = now_us, .objects = objects};
        struct store_op ops[LIMIT_STORE_TXN_OPS];
        size_t n_ops = 0;

        store_list(recorder->store, recorder->kind, NULL, NULL, collect_old, &expiry);
        for (guint i = 0; i < objects->len; i++) {
                const struct store_object *object = objects->pdata[i];

                ops[n_ops++] = (struct store_op){
                        .verb = STORE_DELETE, .kind = recorder->kind, .namespace = object->namespace, .name = object->name};
                if (n_ops < LIMIT_STORE_TXN_OPS && i + 1 < objects->len)
                        continue;
                recorder_commit(recorder, "controller/events", ops, n_ops);
                n_ops = 0;
        }
        return objects->len;
}
