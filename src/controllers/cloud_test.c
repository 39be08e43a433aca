/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/cloud_test.h"

#include "base/limits.h"
#include "controllers/cloud_private_test.h"
#include "controllers/node/node.h"
#include "generated/reasons.h"

#include <stdarg.h>
#include <string.h>

#define TURNS_MOST 200000 /* a settlement that takes more never ends */

/* --- clock --- */

static uint64_t cloud_real(void *userdata)
{
        return ((struct cloud *)userdata)->now_us;
}

uint64_t cloud_now(const struct cloud *cloud)
{
        return cloud->now_us;
}

/* --- every object that is written is checked --- */

static void check_conditions(const struct store_object *object)
{
        const struct json_value *conditions = json_find(object->root, "status", "conditions", NULL);

        for (const struct json_value *c = json_first(conditions); c; c = json_next(c)) {
                const char *reason = json_find_string(c, "reason", NULL), *message = json_find_string(c, "message", NULL);

                if (!message || !message[0] || !reason || !reason_find(reason))
                        g_error("%s: condition %s has reason %s (must be registered) and message %s", object->key,
                                json_find_string(c, "type", NULL), reason, message);
        }
}

static void check_object(const struct store_event *event, void *userdata)
{
        g_autoptr(schema_faults) faults = schema_faults_new();

        if (!event || event->verb == STORE_DELETE)
                return;
        schema_validate(event->object->kind, event->object->root, event->previous ? event->previous->root : NULL, faults);
        if (schema_faults_count(faults) > 0)
                g_error("%s is written against its schema: %s %s\n%s", event->object->key, schema_faults_at(faults, 0)->field,
                        schema_faults_at(faults, 0)->message, event->object->bytes);
        check_conditions(event->object);
}

/* --- events to the cache, in order or by chaos --- */

struct parcel {
        struct store_event event;
};

static void parcel_free(gpointer data)
{
        struct parcel *parcel = data;

        store_object_unref(parcel->event.object);
        g_free(parcel);
}

static void chaos_take(const struct store_event *event, void *userdata)
{
        struct cloud *cloud = userdata;
        struct parcel *parcel;

        if (!event)
                return;
        if (random_below(&cloud->random, 20) == 0) { /* lost: only a relist tells of it */
                cloud->lost = true;
                return;
        }
        parcel = g_new0(struct parcel, 1);
        parcel->event = *event;
        parcel->event.previous = NULL;
        store_object_ref(parcel->event.object);
        g_ptr_array_add(cloud->parcels, parcel);
}

static bool same_object(const struct parcel *a, const struct parcel *b)
{
        return strcmp(a->event.object->key, b->event.object->key) == 0;
}

/* Versions of one object keep their order; the order among objects does not matter. */
static bool chaos_deliver(struct cloud *cloud)
{
        guint index;
        struct parcel *parcel;

        if (cloud->parcels->len == 0)
                return false;
        index = (guint)random_below(&cloud->random, cloud->parcels->len);
        for (guint i = 0; i < index; i++)
                if (same_object(cloud->parcels->pdata[i], cloud->parcels->pdata[index])) {
                        index = i;
                        break;
                }
        parcel = cloud->parcels->pdata[index];
        cache_apply_event(cloud->cache, &parcel->event);
        if (random_below(&cloud->random, 4) == 0)
                cache_apply_event(cloud->cache, &parcel->event);
        g_ptr_array_remove_index(cloud->parcels, index);
        return true;
}

static bool apply_listed(const struct store_object *object, void *userdata)
{
        cache_apply(userdata, object->kind, object->namespace, object->name, object);
        return true;
}

static void relist(struct cloud *cloud)
{
        g_ptr_array_set_size(cloud->parcels, 0);
        cloud->lost = false;
        cache_mark(cloud->cache);
        for (const struct schema_kind *const *kind = controllers_kinds; *kind; kind++)
                store_list(cloud->store, *kind, NULL, NULL, apply_listed, cloud->cache);
        cache_sweep(cloud->cache);
}

/* --- turning --- */

/* Another writer touches an object that the cache shows in an older version: whoever writes it next is overtaken. */
static bool meddle(struct cloud *cloud)
{
        static const struct schema_kind *const touched[] = {&api_virtual_machine_kind, &api_virtual_disk_kind, &api_instance_kind,
                                                            &api_node_kind};
        const struct schema_kind *kind = touched[random_below(&cloud->random, G_N_ELEMENTS(touched))];
        g_autoptr(GPtrArray) objects = cache_list(cloud->cache, kind, NULL);
        const struct cache_object *object;
        struct json_doc *doc;

        if (objects->len == 0 || cloud->meddled >= 200)
                return false;
        object = objects->pdata[random_below(&cloud->random, objects->len)];

        autostoreobject old = store_get_newest(cloud->store, kind, object->namespace, object->name);

        if (!old)
                return false;
        cloud->meddled++;
        doc = json_doc_new();
        json_set_root(doc, json_copy(doc, old->root));
        json_set_int(doc, json_root(doc), "touched", cloud->meddled);
        cloud_commit(cloud, STORE_UPDATE, kind, old->namespace, old->name, doc);
        return true;
}

static bool loop_turns(struct cloud *cloud)
{
        return loop_run_once(cloud->loop, 0) > 0;
}

static bool step(struct cloud *cloud)
{
        bool chaos = cloud->options.chaos;
        unsigned choice = chaos ? (unsigned)random_below(&cloud->random, 5) : 0;

        if (chaos && random_below(&cloud->random, 20) == 0 && meddle(cloud))
                return true;
        if (choice == 1 && cloud_hosts_act(cloud))
                return true;
        if (choice == 2 && chaos_deliver(cloud))
                return true;
        if (control_step(cloud->control))
                return true;
        if (loop_turns(cloud))
                return true;
        if (chaos && chaos_deliver(cloud))
                return true;
        return cloud_hosts_act(cloud) || quota_step(cloud->quota);
}

void cloud_settle(struct cloud *cloud)
{
        unsigned turns = 0;

        for (;;) {
                while (step(cloud))
                        if (++turns > TURNS_MOST)
                                g_error("the cloud does not settle");
                if (cloud->lost) {
                        relist(cloud);
                        continue;
                }
                g_assert_true(control_idle(cloud->control));
                return;
        }
}

void cloud_advance(struct cloud *cloud, uint64_t us)
{
        uint64_t end_us = cloud->now_us + us;

        for (;;) {
                uint64_t due_us, next_us = end_us;

                cloud_renew_leases(cloud);
                cloud_settle(cloud);
                if (cloud->now_us >= end_us)
                        return;
                due_us = control_due_us(cloud->control);
                if (due_us != UINT64_MAX)
                        next_us = MIN(next_us, cloud->now_us + MAX(due_us, 1));
                next_us = MIN(next_us, cloud->now_us + 10 * SECOND_US);
                cloud->now_us = next_us;
        }
}

/* --- writing --- */

static void written(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        g_assert_cmpint(result, ==, 0);
        *(bool *)userdata = true;
}

void cloud_commit(struct cloud *cloud, enum store_verb verb, const struct schema_kind *kind, const char *namespace,
                  const char *name, struct json_doc *doc)
{
        struct store_op op = {.verb = verb, .kind = kind, .namespace = namespace, .name = name, .doc = doc};
        struct store_txn txn = {.ops = &op, .n_ops = 1, .actor = {.user = "test", .client = "test"}};
        bool done = false;
        int r = store_commit(cloud->store, &txn, written, &done, NULL);

        if (r != 0)
                g_error("writing %s %s: outcome %d", kind->kind, name, r);
        while (!done)
                loop_run_once(cloud->loop, SECOND_US);
}

static void stamp(struct cloud *cloud, struct json_doc *doc)
{
        struct json_value *metadata = json_ensure_object(doc, json_root(doc), "metadata");
        char uid[UUID_TEXT_MAX], time[CLOCK_RFC3339_MAX];

        json_set_string(doc, metadata, "uid", uuid_generate(&cloud->random, uid));
        json_set_string(doc, metadata, "creationTimestamp", clock_format_rfc3339(cloud->now_us, false, time));
        json_set_int(doc, metadata, "generation", 1);
}

/* As an update of the API: the user's part is replaced, the rest stays. */
static struct json_doc *merge_update(const struct store_object *old, struct json_doc *wanted)
{
        static const char *const user_metadata[] = {"labels", "annotations", "ownerReferences", "finalizers"};
        struct json_doc *doc = json_doc_new();
        struct json_value *root = json_copy(doc, old->root), *metadata;
        int64_t generation = 1;
        const struct json_value *spec = json_get(json_root(wanted), "spec");

        json_set_root(doc, root);
        metadata = json_get(root, "metadata");
        for (size_t i = 0; i < G_N_ELEMENTS(user_metadata); i++) {
                const struct json_value *value = json_find(json_root(wanted), "metadata", user_metadata[i], NULL);

                if (value)
                        json_set(doc, metadata, user_metadata[i], json_copy(doc, value));
        }
        if (json_get(json_root(wanted), "data"))
                json_set(doc, root, "data", json_copy(doc, json_get(json_root(wanted), "data")));
        if (spec && !json_equal(spec, json_get(root, "spec"))) {
                json_set(doc, root, "spec", json_copy(doc, spec));
                json_int64(json_get(metadata, "generation"), &generation);
                json_set_int(doc, metadata, "generation", generation + 1);
        }
        json_doc_free(wanted);
        return doc;
}

static int apply_doc(struct json_doc *doc, void *userdata)
{
        struct cloud *cloud = userdata;
        struct json_value *root = json_root(doc), *metadata = json_ensure_object(doc, root, "metadata");
        const char *version = json_find_string(root, "apiVersion", NULL), *slash = version ? strchr(version, '/') : NULL;
        g_autofree char *group = slash ? g_strndup(version, (gsize)(slash - version)) : g_strdup("");
        const struct schema_kind *kind = schema_kind_by_kind(group, json_find_string(root, "kind", NULL));
        g_autofree char *name = g_strdup(json_find_string(metadata, "name", NULL));
        g_autofree char *namespace = NULL;
        g_autoptr(schema_faults) faults = schema_faults_new();

        if (!kind)
                g_error("no kind %s/%s", group, json_find_string(root, "kind", NULL));
        if (kind->namespaced && !json_get(metadata, "namespace"))
                json_set_string(doc, metadata, "namespace", "default");
        namespace = g_strdup(json_find_string(metadata, "namespace", NULL));
        schema_default(kind, doc, root);
        schema_check_shape(kind, root, SCHEMA_UNKNOWN_REFUSE, faults);
        if (schema_faults_count(faults) > 0)
                g_error("%s %s: %s %s", kind->kind, name, schema_faults_at(faults, 0)->field, schema_faults_at(faults, 0)->message);

        autostoreobject old = store_get_newest(cloud->store, kind, namespace, name);

        if (old) {
                cloud_commit(cloud, STORE_UPDATE, kind, namespace, name, merge_update(old, doc));
        } else {
                stamp(cloud, doc);
                cloud_commit(cloud, STORE_CREATE, kind, namespace, name, doc);
        }
        return 0;
}

void cloud_apply(struct cloud *cloud, const char *yaml)
{
        struct json_fault fault;

        if (json_parse_yaml_stream(yaml, strlen(yaml), apply_doc, cloud, &fault) != 0)
                g_error("line %u: %s in\n%s", fault.line, fault.reason, yaml);
}

void cloud_applyf(struct cloud *cloud, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);

        g_autofree char *yaml = g_strdup_vprintf(format, arguments);

        va_end(arguments);
        cloud_apply(cloud, yaml);
}

static const char *namespace_for(const struct schema_kind *kind)
{
        return kind->namespaced ? "default" : NULL;
}

void cloud_delete(struct cloud *cloud, const struct schema_kind *kind, const char *name)
{
        autostoreobject old = store_get_newest(cloud->store, kind, namespace_for(kind), name);
        struct json_doc *doc;
        char time[CLOCK_RFC3339_MAX];

        g_assert_nonnull(old);
        if (json_length(json_find(old->root, "metadata", "finalizers", NULL)) == 0) {
                cloud_commit(cloud, STORE_DELETE, kind, namespace_for(kind), name, NULL);
                return;
        }
        if (json_find(old->root, "metadata", "deletionTimestamp", NULL))
                return;
        doc = json_doc_new();
        json_set_root(doc, json_copy(doc, old->root));
        json_set_string(doc, json_get(json_root(doc), "metadata"), "deletionTimestamp",
                        clock_format_rfc3339(cloud->now_us, false, time));
        cloud_commit(cloud, STORE_UPDATE, kind, namespace_for(kind), name, doc);
}

void cloud_status_in(struct cloud *cloud, const struct schema_kind *kind, const char *namespace, const char *name, const char *json)
{
        autostoreobject old = store_get_newest(cloud->store, kind, namespace, name);
        g_autoptr(json_doc) patch = NULL;
        struct json_doc *doc;
        struct json_fault fault;
        struct json_value *status;

        g_assert_nonnull(old);
        if (json_parse(json, strlen(json), &patch, &fault) != 0)
                g_error("%s in %s", fault.reason, json);
        doc = json_doc_new();
        json_set_root(doc, json_copy(doc, old->root));
        status = json_get(json_root(doc), "status");
        json_set(doc, json_root(doc), "status",
                 json_merge_patch(doc, status ? status : json_new(doc, JSON_OBJECT), json_root(patch)));
        cloud_commit(cloud, STORE_UPDATE, kind, namespace, name, doc);
}

void cloud_status(struct cloud *cloud, const struct schema_kind *kind, const char *name, const char *json)
{
        cloud_status_in(cloud, kind, namespace_for(kind), name, json);
}

/* --- life --- */

static void cloud_run(struct cloud *cloud)
{
        struct control_options control = {
                .clock = &cloud->clock,
                .random = &cloud->random,
                .controllers = controllers_all,
        };
        struct store_watch *watch;

        cloud->cache = cache_new(controllers_kinds);
        controllers_define_indexes(cloud->cache);
        if (cloud->options.chaos) {
                g_assert_cmpint(
                        store_watch(cloud->store, controllers_kinds, store_revision(cloud->store), chaos_take, cloud, &watch), ==,
                        0);
                cloud->chaos = watch;
                cache_set_synced(cloud->cache);
        } else {
                g_assert_cmpint(cache_follow_store(cloud->cache, cloud->store), ==, 0);
        }
        control.store = cloud->store;
        control.cache = cloud->cache;
        g_assert_cmpint(control_new(&control, &cloud->control), ==, 0);
}

static void cloud_open(struct cloud *cloud)
{
        struct store_options store = {.loop = cloud->loop, .clock = &cloud->clock};

        g_assert_cmpint(store_open_memory(&store, &cloud->store), ==, 0);
        g_assert_cmpint(store_watch(cloud->store, NULL, store_revision(cloud->store), check_object, cloud, &cloud->check), ==, 0);
        g_assert_cmpint(quota_new(&(struct quota_options){.store = cloud->store, .clock = &cloud->clock}, &cloud->quota), ==, 0);
        cloud_run(cloud);
}

void cloud_restart(struct cloud *cloud)
{
        g_assert_false(cloud->options.chaos);
        control_free(cloud->control);
        cache_free(cloud->cache);
        cloud_run(cloud);
}

struct cloud *cloud_new(const struct cloud_options *options)
{
        static const struct cloud_options calm = {.seed = 1};
        static const struct controllers_defaults defaults = {.pool_path = "/var/lib/gabbro/disks"};
        struct cloud *cloud = g_new0(struct cloud, 1);

        cloud->options = options ? *options : calm;
        cloud->now_us = CLOUD_BEGIN_US;
        cloud->clock = (struct clock){.real_us = cloud_real, .monotonic_us = cloud_real, .userdata = cloud};
        cloud->seed = cloud->options.seed;
        cloud->random = random_seeded(&cloud->seed);
        cloud->parcels = g_ptr_array_new_with_free_func(parcel_free);
        cloud->lost_nodes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_assert_cmpint(loop_new(&cloud->loop), ==, 0);
        cloud_open(cloud);
        if (cloud->options.bare) {
                cloud_apply(cloud, "{apiVersion: v1, kind: Namespace, metadata: {name: default}}");
        } else {
                g_assert_cmpint(controllers_bootstrap(cloud->store, &cloud->clock, &cloud->random, &defaults), ==, 0);
                cloud_add_node(cloud, "node-a", 8, 32);
        }
        cloud_settle(cloud);
        return cloud;
}

struct cloud *cloud_free(struct cloud *cloud)
{
        if (!cloud)
                return NULL;
        control_free(cloud->control);
        store_watch_free(cloud->check);
        store_watch_free(cloud->chaos);
        cache_free(cloud->cache);
        quota_free(cloud->quota);
        store_close(cloud->store);
        loop_free(cloud->loop);
        g_ptr_array_unref(cloud->parcels);
        g_hash_table_unref(cloud->lost_nodes);
        g_free(cloud);
        return NULL;
}
