/* SPDX-License-Identifier: Apache-2.0 */
#include "api/selector.h"
#include "base/clock.h"
#include "gateway/gateway.h"
#include "generated/api_types.h"

#include <assert.h>
#include <string.h>

/*
 * What `kubectl top` asks for: NodeMetrics and PodMetrics, measured by the agents when they are asked for and stored nowhere. Each
 * host concerned is asked once; one that does not answer in time is left out, as is what has not been looked at twice.
 */
#define GROUP       "metrics.k8s.io"
#define VERSION     "v1beta1"
#define CONTAINER   "machine" /* as in Pods */
#define ASK_MOST    16        /* hosts at once for one reading */
#define DEADLINE_US 10000000ull

struct reading {
        struct gateway *gateway;
        const struct schema_kind *kind; /* Node or Pod */
        char *name;                     /* NULL: the list */
        struct http_request *request;   /* NULL: gone, or answered */
        struct loop_source *deadline;
        struct selector *selector;
        struct json_doc *doc;
        GPtrArray *items;  /* struct item */
        GHashTable *nodes; /* name -> struct json_doc, NULL: not answered */
        GQueue to_ask;     /* names, of @nodes */
        unsigned asked;    /* that have not answered */
        bool answered, busy;
};

struct item {
        struct json_value *value; /* a NodeMetrics or PodMetrics without its usage */
        char *node, *machine_uid; /* @machine_uid NULL: of the host itself */
};

struct asking {
        struct reading *reading;
        const char *node; /* of its table */
};

static void item_free(void *data)
{
        struct item *item = data;

        g_free(item->node);
        g_free(item->machine_uid);
        g_free(item);
}

static void answer_free(void *data)
{
        json_doc_free(data);
}

static void release(struct reading *reading)
{
        if (reading->request || reading->asked || reading->busy)
                return;
        loop_source_free(reading->deadline);
        selector_free(reading->selector);
        json_doc_free(reading->doc);
        g_ptr_array_unref(reading->items);
        g_queue_clear(&reading->to_ask);
        g_hash_table_unref(reading->nodes);
        g_free(reading->name);
        g_free(reading);
}

/* --- what is measured ------------------------------------------------------------------------------------------------------------
 */

/* The UID of the machine that a Pod shows. */
static const char *machine_of(const struct store_object *pod)
{
        const struct json_value *owners = json_find(pod->root, "metadata", "ownerReferences", NULL);

        for (const struct json_value *it = json_first(owners); it; it = json_next(it))
                if (g_strcmp0(json_find_string(it, "kind", NULL), api_virtual_machine_kind.kind) == 0)
                        return json_find_string(it, "uid", NULL);
        return NULL;
}

static bool add_item(const struct store_object *object, void *userdata)
{
        struct reading *reading = userdata;
        struct json_doc *doc = reading->doc;
        bool is_node = reading->kind == &api_node_kind;
        const char *node = is_node ? object->name : json_find_string(object->root, "spec", "nodeName", NULL);
        const char *machine = is_node ? NULL : machine_of(object);
        const struct json_value *labels = json_find(object->root, "metadata", "labels", NULL);
        struct json_value *metadata;
        struct item *item;

        if (!node || (!is_node && !machine) || (reading->selector && !selector_matches(reading->selector, object->root)))
                return true;
        item = g_new0(struct item, 1);
        *item = (struct item){.value = json_new(doc, JSON_OBJECT), .node = g_strdup(node), .machine_uid = g_strdup(machine)};
        json_set_string(doc, item->value, "kind", is_node ? "NodeMetrics" : "PodMetrics");
        json_set_string(doc, item->value, "apiVersion", GROUP "/" VERSION);
        metadata = json_ensure_object(doc, item->value, "metadata");
        json_set_string(doc, metadata, "name", object->name);
        if (!is_node)
                json_set_string(doc, metadata, "namespace", object->namespace);
        if (labels)
                json_set(doc, metadata, "labels", json_copy(doc, labels));
        g_ptr_array_add(reading->items, item);
        if (!g_hash_table_contains(reading->nodes, node)) {
                char *key = g_strdup(node);

                g_hash_table_insert(reading->nodes, key, NULL);
                g_queue_push_tail(&reading->to_ask, key);
        }
        return true;
}

/* As kubectl shows it: the processor in thousandths, memory in Ki. */
static bool set_usage(struct json_doc *doc, struct json_value *object, const struct json_value *usage)
{
        int64_t cpu, memory;
        struct json_value *told;
        g_autofree char *cpu_text = NULL, *memory_text = NULL;

        if (json_int64(json_get(usage, "cpuMillicores"), &cpu) ||
            (json_int64(json_get(usage, "memoryUsedBytes"), &memory) && json_int64(json_get(usage, "memoryBytes"), &memory)))
                return false;
        cpu_text = g_strdup_printf("%" G_GINT64_FORMAT "m", cpu);
        memory_text = g_strdup_printf("%" G_GINT64_FORMAT "Ki", memory / 1024);
        told = json_ensure_object(doc, object, "usage");
        json_set_string(doc, told, "cpu", cpu_text);
        json_set_string(doc, told, "memory", memory_text);
        return true;
}

/* Whether its host has told of it. */
static bool fill(struct reading *reading, struct item *item, const char *now)
{
        struct json_doc *doc = reading->doc, *answer = g_hash_table_lookup(reading->nodes, item->node);
        const struct json_value *root = answer ? json_root(answer) : NULL;
        const struct json_value *usage =
                item->machine_uid ? json_get(json_get(root, "machines"), item->machine_uid) : json_get(root, "host");
        g_autofree char *window = NULL;
        int64_t window_ms = 0;

        if (!usage)
                return false;
        (void)json_int64(json_get(usage, "windowMilliseconds"), &window_ms);
        window = g_strdup_printf("%.3fs", (double)window_ms / 1000);
        json_set_string(doc, json_ensure_object(doc, item->value, "metadata"), "creationTimestamp", now);
        json_set_string(doc, item->value, "timestamp", now);
        json_set_string(doc, item->value, "window", window);
        if (!item->machine_uid)
                return set_usage(doc, item->value, usage);

        struct json_value *container = json_new(doc, JSON_OBJECT);

        json_set_string(doc, container, "name", CONTAINER);
        json_append(json_ensure_array(doc, item->value, "containers"), container);
        return set_usage(doc, container, usage);
}

static void answer(struct reading *reading)
{
        struct json_value *list = json_new(reading->doc, JSON_OBJECT), *items;
        struct http_request *request = reading->request;
        char now[CLOCK_RFC3339_MAX];

        if (reading->answered)
                return;
        reading->answered = true;
        clock_format_rfc3339(clock_real_us(clock_system()), false, now);
        json_set_string(reading->doc, list, "kind", reading->kind == &api_node_kind ? "NodeMetricsList" : "PodMetricsList");
        json_set_string(reading->doc, list, "apiVersion", GROUP "/" VERSION);
        json_ensure_object(reading->doc, list, "metadata");
        items = json_ensure_array(reading->doc, list, "items");
        for (guint i = 0; i < reading->items->len; i++) {
                struct item *item = reading->items->pdata[i];

                if (fill(reading, item, now))
                        json_append(items, item->value);
        }
        if (!reading->name)
                gateway_reply_json(request, 200, list);
        else if (json_length(items))
                gateway_reply_json(request, 200, json_first(items));
        else
                api_reply_status(request, reading->items->len ? 503 : 404, reading->items->len ? "ServiceUnavailable" : "NotFound",
                                 reading->items->len ? "its host does not tell what it uses" : "there is nothing of this name",
                                 NULL);
}

/* --- asking hosts ----------------------------------------------------------------------------------------------------------------
 */

static void go_on(struct reading *reading);

static void on_told(const struct json_value *body, void *userdata)
{
        struct asking *asking = userdata;
        struct reading *reading = asking->reading;

        if (body) {
                struct json_doc *doc = json_doc_new();

                json_set_root(doc, json_copy(doc, body));
                g_hash_table_insert(reading->nodes, g_strdup(asking->node), doc); /* the key that is there stays */
        }
        g_free(asking);
        reading->asked--;
        go_on(reading);
}

/* The next hosts; when all have answered, the end. May free @reading. */
static void go_on(struct reading *reading)
{
        if (reading->busy)
                return;
        reading->busy = true;
        while (!reading->answered && reading->asked < ASK_MOST && !g_queue_is_empty(&reading->to_ask)) {
                struct asking *asking = g_new0(struct asking, 1);

                *asking = (struct asking){.reading = reading, .node = g_queue_pop_head(&reading->to_ask)};
                reading->asked++;
                guest_calls_ask_usages(reading->gateway->guest_calls, asking->node, on_told, asking);
        }
        if (!reading->asked)
                answer(reading);
        reading->busy = false;
        release(reading);
}

static void on_deadline(struct loop_source *source, void *userdata)
{
        struct reading *reading = userdata;

        reading->busy = true;
        answer(reading);
        reading->busy = false;
        release(reading);
}

static void on_gone(struct http_request *request, void *userdata)
{
        struct reading *reading = userdata;

        reading->request = NULL;
        reading->answered = true;
        release(reading);
}

static void begin(struct http_request *request, const char *namespace, const char *name, struct gateway *gateway,
                  const struct schema_kind *kind)
{
        g_autofree char *why = NULL;
        struct selector *selector = name ? NULL
                                         : selector_new(kind, http_request_query(request, "labelSelector"),
                                                        http_request_query(request, "fieldSelector"), &why);
        struct reading *reading;

        if (why) {
                api_reply_status(request, 400, "BadRequest", why, NULL);
                return;
        }
        reading = g_new0(struct reading, 1);
        *reading = (struct reading){
                .gateway = gateway,
                .kind = kind,
                .name = g_strdup(name),
                .request = request,
                .selector = selector,
                .doc = json_doc_new(),
                .items = g_ptr_array_new_with_free_func(item_free),
                .nodes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, answer_free),
        };
        g_queue_init(&reading->to_ask);
        http_request_set_userdata(request, reading);
        http_request_on_gone(request, on_gone);
        if (name) {
                autostoreobject object = store_get(gateway->store, kind, namespace, name);

                if (object)
                        add_item(object, reading);
        } else {
                store_list(gateway->store, kind, namespace, NULL, add_item, reading);
        }
        (void)loop_timer(gateway->loop, DEADLINE_US, on_deadline, reading, &reading->deadline);
        go_on(reading);
}

static void handle_nodes(struct http_request *request, const char *namespace, const char *name, void *userdata)
{
        begin(request, NULL, name, userdata, &api_node_kind);
}

static void handle_pods(struct http_request *request, const char *namespace, const char *name, void *userdata)
{
        begin(request, namespace, name, userdata, &api_pod_kind);
}

void readings_init(struct gateway *gateway)
{
        const struct api_reading nodes = {.group = GROUP,
                                          .version = VERSION,
                                          .plural = "nodes",
                                          .kind = "NodeMetrics",
                                          .handle = handle_nodes,
                                          .userdata = gateway};
        const struct api_reading pods = {.group = GROUP,
                                         .version = VERSION,
                                         .plural = "pods",
                                         .kind = "PodMetrics",
                                         .namespaced = true,
                                         .handle = handle_pods,
                                         .userdata = gateway};

        assert(gateway->guest_calls);

        api_add_reading(gateway->api, &nodes);
        api_add_reading(gateway->api, &pods);
}
