/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/cloud_private_test.h"

#include <string.h>

const struct cache *cloud_cache(const struct cloud *cloud)
{
        return cloud->cache;
}

struct control *cloud_control(const struct cloud *cloud)
{
        return cloud->control;
}

const struct cache_object *cloud_get(const struct cloud *cloud, const struct schema_kind *kind, const char *name)
{
        return cache_get(cloud->cache, kind, kind->namespaced ? "default" : NULL, name);
}

const char *cloud_text(const struct cloud *cloud, const struct schema_kind *kind, const char *name, const char *pointer)
{
        const struct cache_object *object = cloud_get(cloud, kind, name);
        const struct json_value *value = object ? json_pointer_get(cache_root(object), pointer) : NULL;
        g_autofree char *text = NULL;

        if (!value)
                return "";
        text = json_is(value, JSON_STRING) ? g_strdup(json_string(value, "")) : json_to_text(value);
        return g_intern_string(text);
}

const char *cloud_phase(const struct cloud *cloud, const struct schema_kind *kind, const char *name)
{
        return cloud_text(cloud, kind, name, "/status/phase");
}

const char *cloud_condition(const struct cloud *cloud, const struct schema_kind *kind, const char *name, const char *type)
{
        const struct cache_object *object = cloud_get(cloud, kind, name);
        const struct json_value *conditions = object ? json_find(cache_root(object), "status", "conditions", NULL) : NULL;

        for (const struct json_value *c = json_first(conditions); c; c = json_next(c)) {
                g_autofree char *text = NULL;

                if (g_strcmp0(json_find_string(c, "type", NULL), type) != 0)
                        continue;
                text = g_strdup_printf("%s %s: %s", json_find_string(c, "status", NULL), json_find_string(c, "reason", NULL),
                                       json_find_string(c, "message", NULL));
                return g_intern_string(text);
        }
        return "";
}

size_t cloud_count(const struct cloud *cloud, const struct schema_kind *kind)
{
        return cache_count(cloud->cache, kind);
}

const struct api_instance *cloud_instance(const struct cloud *cloud, const char *machine)
{
        const struct cache_object *object = cloud_get(cloud, VM, machine);
        const struct cache_object *instance = object ? index_one(cloud->cache, INDEX_INSTANCE_BY_MACHINE, object->uid) : NULL;

        return instance ? instance->view : NULL;
}

struct event_search {
        const char *object, *reason;
        int64_t times;
};

static bool search_event(const struct store_object *event, void *userdata)
{
        struct event_search *search = userdata;
        int64_t times = 0;

        if (g_strcmp0(json_find_string(event->root, "involvedObject", "name", NULL), search->object) == 0 &&
            g_strcmp0(json_find_string(event->root, "reason", NULL), search->reason) == 0 &&
            json_int64(json_get(event->root, "count"), &times) == 0)
                search->times += times;
        return true;
}

unsigned cloud_count_events(const struct cloud *cloud, const char *object, const char *reason)
{
        struct event_search search = {.object = object, .reason = reason};

        store_list(cloud->store, schema_kind_by_kind("", "Event"), NULL, NULL, search_event, &search);
        return (unsigned)search.times;
}

bool cloud_has_event(const struct cloud *cloud, const char *object, const char *reason)
{
        return cloud_count_events(cloud, object, reason) > 0;
}

/* --- expectations --- */

static void print_object(const struct cloud *cloud, const struct schema_kind *kind, const char *name)
{
        const struct cache_object *object = cloud_get(cloud, kind, name);
        g_autoptr(GString) text = g_string_new(NULL);

        if (object)
                json_write_yaml(json_get(cache_root(object), "status"), text);
        g_printerr("%s %s:\n%s\n", kind->kind, name, text->str);
}

void cloud_expect_phase(struct cloud *cloud, const struct schema_kind *kind, const char *name, const char *phase)
{
        cloud_settle(cloud);
        if (strcmp(cloud_phase(cloud, kind, name), phase) != 0)
                print_object(cloud, kind, name);
        g_assert_cmpstr(cloud_phase(cloud, kind, name), ==, phase);
}

void cloud_expect_condition(struct cloud *cloud, const struct schema_kind *kind, const char *name, const char *type,
                            const char *status_reason, const char *part)
{
        const char *text;
        g_autofree char *begin = g_strdup_printf("%s: ", status_reason);

        cloud_settle(cloud);
        text = cloud_condition(cloud, kind, name, type);
        if (!g_str_has_prefix(text, begin) || (part && !strstr(text, part))) {
                print_object(cloud, kind, name);
                g_error("condition %s of %s is \"%s\", not \"%s\" with \"%s\"", type, name, text, status_reason, part ? part : "");
        }
}

void cloud_expect_no_effects(struct cloud *cloud)
{
        struct control_options options = {
                .store = cloud->store,
                .cache = cloud->cache,
                .clock = &cloud->clock,
                .random = &cloud->random,
                .controllers = controllers_all,
        };
        struct control_stats stats;
        uint64_t before;

        cloud_advance(cloud, 11 * SECOND_US); /* numbers of used addresses and sizes of pools follow after a while */
        before = store_revision(cloud->store);
        control_free(cloud->control);
        cache_free(cloud->cache);
        cloud->cache = cache_new(controllers_kinds);
        controllers_define_indexes(cloud->cache);
        g_assert_false(cloud->options.chaos);
        g_assert_cmpint(cache_follow_store(cloud->cache, cloud->store), ==, 0);
        options.cache = cloud->cache;
        g_assert_cmpint(control_new(&options, &cloud->control), ==, 0);
        cloud_settle(cloud);
        control_stats(cloud->control, NULL, &stats);
        g_assert_cmpuint(stats.turns, >, 0);
        for (size_t i = 0; controllers_all[i]; i++) {
                control_stats(cloud->control, controllers_all[i]->name, &stats);
                if (stats.effects > 0)
                        g_error("the second turn of controller %s has %" G_GUINT64_FORMAT " effects", controllers_all[i]->name,
                                stats.effects);
        }
        g_assert_cmpuint(store_revision(cloud->store), ==, before);
}

/* --- digest --- */

static void digest_conditions(const struct cache_object *object, GString *text)
{
        for (const struct json_value *c = json_first(json_find(cache_root(object), "status", "conditions", NULL)); c;
             c = json_next(c))
                g_string_append_printf(text, " %s=%s/%s", json_find_string(c, "type", NULL), json_find_string(c, "status", NULL),
                                       json_find_string(c, "reason", NULL));
}

static gint by_text(gconstpointer a, gconstpointer b)
{
        return strcmp(*(char *const *)a, *(char *const *)b);
}

struct digest {
        GPtrArray *lines;
};

static const char *text_at(const struct cache_object *object, const char *pointer)
{
        const struct json_value *value = json_pointer_get(cache_root(object), pointer);

        return json_is(value, JSON_NUMBER) ? json_number_text(value) : json_string(value, "-");
}

static bool digest_object(const struct cache_object *object, void *userdata)
{
        static const char *const told[] = {"/status/phase",   "/status/state",    "/spec/power",
                                           "/spec/nodeName",  "/status/nodeName", "/metadata/deletionTimestamp",
                                           "/status/capacity"};
        static const char *const named[] = {"VirtualMachine",
                                            "VirtualDisk",
                                            "VirtualImage",
                                            "ClusterVirtualImage",
                                            "VirtualMachineOperation",
                                            "VirtualMachineBlockDeviceAttachment"};
        struct digest *digest = userdata;
        g_autoptr(GString) text = g_string_new(object->kind->kind);

        if (object->kind == &api_lease_kind || object->kind == &api_virtual_machine_ip_address_lease_kind ||
            object->kind == &api_network_kind || object->kind == &api_storage_pool_kind)
                return true;
        if (strings_hold(named, G_N_ELEMENTS(named), object->kind->kind))
                g_string_append_printf(text, " %s", object->name);
        for (size_t i = 0; i < G_N_ELEMENTS(told); i++)
                g_string_append_printf(text, " %s", text_at(object, told[i]));
        if (object->kind != &api_image_blob_kind)
                digest_conditions(object, text);
        g_ptr_array_add(digest->lines, g_string_free(g_steal_pointer(&text), FALSE));
        return true;
}

char *cloud_digest(const struct cloud *cloud)
{
        g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
        struct digest digest = {.lines = lines};

        for (const struct schema_kind *const *kind = controllers_kinds; *kind; kind++)
                cache_each(cloud->cache, *kind, NULL, digest_object, &digest);
        g_ptr_array_sort(lines, by_text);
        g_ptr_array_add(lines, NULL);
        return g_strjoinv("\n", (char **)lines->pdata);
}

/* --- ready-made objects --- */

void cloud_image(struct cloud *cloud, const char *name)
{
        g_autofree char *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, name, -1);
        g_autofree char *ingest =
                g_strdup_printf("{\"ingest\": {\"progressPercent\": 100, \"digest\": \"%s\", \"sizeBytes\": 20000000,"
                                " \"virtualSizeBytes\": 1073741824, \"format\": \"%s\"}}",
                                digest, g_str_has_suffix(name, "-iso") ? "iso" : "qcow2");

        cloud_applyf(cloud,
                     "{apiVersion: gabbro.dev/v1, kind: ClusterVirtualImage, metadata: {name: %s},\n"
                     " spec: {dataSource: {type: HTTP, http: {url: \"https://example.org/%s.qcow2\"}}}}",
                     name, name);
        cloud_settle(cloud);
        cloud_status(cloud, CVI, name, ingest);
}

void cloud_machine(struct cloud *cloud, const char *name, const char *more)
{
        g_autofree char *disk = g_strdup_printf("%s-root", name);

        if (!cloud_get(cloud, CVI, "tiny"))
                cloud_image(cloud, "tiny");
        if (!cloud_get(cloud, VD, disk))
                cloud_applyf(cloud,
                             "{apiVersion: gabbro.dev/v1, kind: VirtualDisk, metadata: {name: %s},\n"
                             " spec: {dataSource: {type: ObjectRef, objectRef: {kind: ClusterVirtualImage, name: tiny}},\n"
                             "  persistentVolumeClaim: {size: 2Gi}}}",
                             disk);
        cloud_applyf(cloud,
                     "apiVersion: gabbro.dev/v1\nkind: VirtualMachine\nmetadata: {name: %s, labels: {app: web}}\n"
                     "spec:\n  virtualMachineClassName: generic\n  cpu: {cores: 1}\n  memory: {size: 1Gi}\n"
                     "  blockDeviceRefs: [{kind: VirtualDisk, name: %s}]\n%s",
                     name, disk, more ? more : "");
}
