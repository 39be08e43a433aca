/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/cloud_private_test.h"

#include "controllers/node/node.h"
#include "generated/reasons.h"

#include <inttypes.h>
#include <string.h>

/* Scripted hosts: what the agent's contract says an agent answers, one answer at a time, from the newest state of the store. */

/* --- nodes --- */

static void write_lease(struct cloud *cloud, const char *node)
{
        char time[CLOCK_RFC3339_MAX];

        cloud_applyf(cloud,
                     "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: %s, namespace: " NODE_LEASE_NAMESPACE
                     "},\n"
                     " spec: {holderIdentity: %s, leaseDurationSeconds: 40, renewTime: \"%s\"}}",
                     node, node, clock_format_rfc3339(cloud->now_us, true, time));
}

void cloud_add_node(struct cloud *cloud, const char *name, unsigned cores, unsigned memory_gib)
{
        cloud_applyf(cloud,
                     "apiVersion: v1\nkind: Node\nmetadata: {name: %s}\n"
                     "status:\n"
                     "  nodeInfo: {bootID: boot-0}\n"
                     "  capacity: {cpu: \"%u\", memory: %uGi}\n"
                     "  allocatable: {cpu: \"%u\", memory: %uGi}\n"
                     "  virtualization: {type: kvm, typeReason: proven, qemuVersion: 7.2.0, libvirtVersion: 9.0.0, firmwares: "
                     "[BIOS, EFI],\n"
                     "    cpu: {hypervisorModels: [Nehalem, qemu64], features: [sse4.2, aes]}}\n",
                     name, cores, memory_gib, cores, memory_gib);
        write_lease(cloud, name);
}

void cloud_lose_node(struct cloud *cloud, const char *name, bool lost)
{
        if (lost)
                g_hash_table_add(cloud->lost_nodes, g_strdup(name));
        else
                g_hash_table_remove(cloud->lost_nodes, name);
}

static bool renew_each(const struct store_object *object, void *userdata)
{
        g_ptr_array_add(userdata, g_strdup(object->name));
        return true;
}

void cloud_renew_leases(struct cloud *cloud)
{
        g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);

        store_list(cloud->store, &api_node_kind, NULL, NULL, renew_each, names);
        for (guint i = 0; i < names->len; i++)
                if (!g_hash_table_contains(cloud->lost_nodes, names->pdata[i]))
                        write_lease(cloud, names->pdata[i]);
}

void cloud_hold(struct cloud *cloud, const struct schema_kind *kind)
{
        cloud->held = kind;
}

/* --- answers --- */

static const char *state_of(const struct store_object *object)
{
        const char *state = json_find_string(object->root, "status", "state", NULL);

        return state ? state : "";
}

static int64_t number_in(const struct json_value *object, const char *key)
{
        int64_t number = 0;

        return json_int64(json_get(object, key), &number) == 0 ? number : 0;
}

static int64_t number_at(const struct store_object *object, const char *part, const char *key)
{
        int64_t number = -1;

        json_int64(json_find(object->root, part, key, NULL), &number);
        return number;
}

static void answer(struct cloud *cloud, const struct store_object *object, const char *format, ...) G_GNUC_PRINTF(3, 4);
static void answer(struct cloud *cloud, const struct store_object *object, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);

        g_autofree char *json = g_strdup_vprintf(format, arguments);

        va_end(arguments);
        cloud_status_in(cloud, object->kind, object->namespace, object->name, json);
}

/* The content of a disk is who it belongs to. */
static char *digest_of(const struct store_object *volume)
{
        return g_compute_checksum_for_string(G_CHECKSUM_SHA256, json_find_string(volume->root, "spec", "owner", "uid", NULL), -1);
}

static bool answer_volume(struct cloud *cloud, const struct store_object *object)
{
        int64_t capacity = number_at(object, "spec", "capacityBytes");

        if (strcmp(state_of(object), "Ready") == 0 && number_at(object, "status", "capacityBytes") == capacity)
                return false;
        if (json_find(object->root, "spec", "receive", NULL)) {
                g_autofree char *digest = digest_of(object);

                answer(cloud, object,
                       "{\"state\": \"Ready\", \"capacityBytes\": %" PRId64 ", \"path\": \"/p/%s\", \"digest\": \"%s\", "
                       "\"receivedBytes\": 4096, \"totalBytes\": 4096}",
                       capacity, object->name, digest);
                return true;
        }
        answer(cloud, object,
               "{\"state\": \"Ready\", \"progressPercent\": 100, \"capacityBytes\": %" PRId64 ", \"path\": \"/p/%s\"}", capacity,
               object->name);
        return true;
}

static bool answer_port(struct cloud *cloud, const struct store_object *object)
{
        const char *digest = json_find_string(object->root, "spec", "policy", "digest", NULL);

        if (strcmp(state_of(object), "Ready") == 0 &&
            g_strcmp0(digest, json_find_string(object->root, "status", "policyDigest", NULL)) == 0)
                return false;
        answer(cloud, object, "{\"state\": \"Ready\", \"policyDigest\": \"%s\"}", digest);
        return true;
}

/* What the gateway says of an image whose file a host has sent. */
static void take_export(struct cloud *cloud, const struct store_object *task)
{
        const struct json_value *owner = json_find(task->root, "spec", "owner", NULL);
        const char *namespace = json_find_string(owner, "namespace", NULL), *name = json_find_string(owner, "name", NULL);
        g_autofree char *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, task->name, -1);
        g_autofree char *json = g_strdup_printf("{\"ingest\": {\"progressPercent\": 100, \"digest\": \"%s\", \"sizeBytes\": 4096, "
                                                "\"virtualSizeBytes\": 1073741824, \"format\": \"qcow2\"}}",
                                                digest);

        cloud_status_in(cloud, namespace ? &api_virtual_image_kind : &api_cluster_virtual_image_kind, namespace, name, json);
}

/* The host goes down and comes back at once. */
static void take_reboot(struct cloud *cloud, const struct store_object *task)
{
        g_autofree char *json = g_strdup_printf("{\"nodeInfo\": {\"bootID\": \"boot-of-%s\"}}", task->name);

        cloud_status(cloud, &api_node_kind, json_find_string(task->root, "spec", "nodeName", NULL), json);
}

static void take_digest(struct cloud *cloud, const struct store_object *task)
{
        autostoreobject volume =
                store_get_newest(cloud->store, &api_volume_kind, NULL, json_find_string(task->root, "spec", "volume", NULL));
        g_autofree char *digest = digest_of(volume);

        answer(cloud, task, "{\"digest\": \"%s\"}", digest);
}

static bool answer_task(struct cloud *cloud, const struct store_object *object)
{
        if (strcmp(state_of(object), "Succeeded") == 0 || strcmp(state_of(object), "Failed") == 0)
                return false;
        if (g_strcmp0(json_find_string(object->root, "spec", "type", NULL), "ExportVolume") == 0)
                take_export(cloud, object);
        if (g_strcmp0(json_find_string(object->root, "spec", "type", NULL), "Reboot") == 0)
                take_reboot(cloud, object);
        if (g_strcmp0(json_find_string(object->root, "spec", "type", NULL), "DigestVolume") == 0)
                take_digest(cloud, object);
        if (g_strcmp0(json_find_string(object->root, "spec", "type", NULL), "MeasureMachine") == 0)
                answer(cloud, object, "{\"dirtyBytesPerSecond\": 10485760}");
        answer(cloud, object, "{\"state\": \"Succeeded\", \"capacityBytes\": 1000000000000, \"availableBytes\": 900000000000}");
        return true;
}

static bool runs(const char *state)
{
        return strcmp(state, "running") == 0 || strcmp(state, "paused") == 0 || strcmp(state, "creating") == 0;
}

/* Volumes and ports come before the domain, as the agent orders its own work. */
static bool parts_ready(struct cloud *cloud, const struct store_object *object)
{
        const struct json_value *spec = json_get(object->root, "spec");

        for (const struct json_value *disk = json_first(json_get(spec, "disks")); disk; disk = json_next(disk)) {
                const char *name = json_find_string(disk, "volume", NULL);
                autostoreobject volume = name ? store_get_newest(cloud->store, &api_volume_kind, NULL, name) : NULL;

                if (!name)
                        continue; /* a CD drive without a medium */
                if (!volume || strcmp(state_of(volume), "Ready") != 0)
                        return false;
        }
        for (const struct json_value *name = json_first(json_get(spec, "ports")); name; name = json_next(name)) {
                autostoreobject port = store_get_newest(cloud->store, &api_port_kind, NULL, json_string(name, ""));

                if (!port || strcmp(state_of(port), "Ready") != 0)
                        return false;
        }
        return true;
}

/* As the agent: each order once, by its number. */
static bool answer_order(struct cloud *cloud, const struct store_object *object, const char *state)
{
        const char *order = json_find_string(object->root, "spec", "order", NULL);
        int64_t number = number_at(object, "spec", "orderNumber");
        bool suspend = g_strcmp0(order, "Suspend") == 0, resume = g_strcmp0(order, "Resume") == 0;
        const char *after = suspend ? "paused" : "running";

        if (!order || number <= number_at(object, "status", "orderNumber") ||
            (strcmp(state, "running") != 0 && !(resume && strcmp(state, "paused") == 0)))
                return false;
        answer(cloud, object, "{\"state\": \"%s\", \"stateReason\": %s, \"orderNumber\": %" PRId64 "}", after,
               suspend ? "\"Paused\"" : "null", number);
        return true;
}

/* The limits of disks are in force as soon as they are ordered. */
static bool answer_limits(struct cloud *cloud, const struct store_object *object)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *list = json_new(doc, JSON_ARRAY);
        const struct json_value *told = json_find(object->root, "status", "disks", NULL);
        g_autofree char *text = NULL;

        for (const struct json_value *disk = json_first(json_find(object->root, "spec", "disks", NULL)); disk;
             disk = json_next(disk)) {
                struct json_value *state = json_get(disk, "limits") ? json_append(list, json_new(doc, JSON_OBJECT)) : NULL;

                if (!state)
                        continue;
                json_set_string(doc, state, "name", json_find_string(disk, "name", NULL));
                json_set(doc, state, "limits", json_copy(doc, json_get(disk, "limits")));
        }
        if (told ? json_equal(told, list) : !json_first(list))
                return false;
        text = json_to_text(list);
        answer(cloud, object, "{\"disks\": %s}", json_first(list) ? text : "null");
        return true;
}

/* What the running domain has: a disk that shall go goes, unless guests hold on to it. */
static char *disks_of(struct cloud *cloud, const struct store_object *object)
{
        GString *text = g_string_new("[");

        for (const struct json_value *disk = json_first(json_find(object->root, "spec", "disks", NULL)); disk;
             disk = json_next(disk)) {
                bool unplug = json_bool(json_get(disk, "unplug"), false);
                size_t n = 0;

                if ((unplug && !cloud->stubborn) || !json_find_string(disk, "volume", NULL))
                        continue;
                for (const char *c = text->str; *c; c++)
                        n += *c == '{';
                g_string_append_printf(text, "%s{\"name\": \"%s\", \"state\": \"%s\", \"target\": \"vd%c\"%s}",
                                       text->len > 1 ? ", " : "", json_find_string(disk, "name", NULL),
                                       unplug ? "Detaching" : "Attached", (char)('a' + n),
                                       unplug ? ", \"reason\": \"DetachNotAcknowledged\", \"message\": \"the guest sleeps\"" : "");
        }
        return g_string_free(g_string_append_c(text, ']'), FALSE);
}

static bool lists(const struct json_value *list, const char *name)
{
        for (const struct json_value *item = json_first(list); item; item = json_next(item))
                if (strcmp(json_string(item, ""), name) == 0)
                        return true;
        return false;
}

/* The same of its interfaces. */
static char *interfaces_of(struct cloud *cloud, const struct store_object *object)
{
        const struct json_value *leaving = json_find(object->root, "spec", "leavingPorts", NULL);
        const struct json_value *down = json_find(object->root, "spec", "downPorts", NULL);
        GString *text = g_string_new("[");

        for (const struct json_value *port = json_first(json_find(object->root, "spec", "ports", NULL)); port;
             port = json_next(port)) {
                bool leaves = lists(leaving, json_string(port, ""));

                if (!leaves || cloud->stubborn)
                        g_string_append_printf(text, "%s{\"name\": \"%s\", \"state\": \"%s\", \"link\": \"%s\"%s}",
                                               text->len > 1 ? ", " : "", json_string(port, ""), leaves ? "Detaching" : "Attached",
                                               lists(down, json_string(port, "")) ? "Down" : "Up",
                                               leaves ? ", \"reason\": \"DetachNotAcknowledged\", \"message\": \"the guest sleeps\""
                                                      : "");
        }
        return g_string_free(g_string_append_c(text, ']'), FALSE);
}

/* A running domain follows its list of disks. */
static bool answer_plug(struct cloud *cloud, const struct store_object *object, const char *state)
{
        int64_t generation = number_at(object, "metadata", "generation");
        g_autofree char *disks = NULL, *interfaces = NULL;

        if (strcmp(state, "running") != 0 || number_at(object, "status", "observedGeneration") == generation ||
            !parts_ready(cloud, object))
                return false;
        disks = disks_of(cloud, object);
        interfaces = interfaces_of(cloud, object);
        answer(cloud, object, "{\"observedGeneration\": %" PRId64 ", \"devices\": %s, \"interfaces\": %s}", generation, disks,
               interfaces);
        return true;
}

/* A domain grows as soon as that is ordered, unless its host refuses. */
static bool answer_size(struct cloud *cloud, const struct store_object *object)
{
        const struct json_value *cpu = json_find(object->root, "spec", "cpu", NULL);
        const struct json_value *refused = json_find(object->root, "status", "growthRefused", NULL);
        int64_t cores = number_in(cpu, "cores"), mib = number_at(object, "spec", "memoryMib");
        int64_t fraction = number_in(cpu, "coreFractionPercent"), keeps = number_at(object, "spec", "balloonMib");
        g_autofree char *target = g_strdup_printf("%" PRId64, keeps);
        int64_t holds = keeps > 0 && !cloud->stubborn ? keeps : mib;

        if (cores == number_at(object, "status", "cores") && mib == number_at(object, "status", "memoryMib") &&
            fraction == number_at(object, "status", "coreFractionPercent") && holds == number_at(object, "status", "heldMib") &&
            keeps == number_at(object, "status", "balloonMib")) {
                if (!refused)
                        return false;
                answer(cloud, object, "{\"growthRefused\": null}");
                return true;
        }
        if (cloud->refuses_growth && number_at(object, "status", "cores") > 0) {
                if (number_in(refused, "cores") == cores && number_in(refused, "memoryMib") == mib)
                        return false;
                answer(cloud, object,
                       "{\"growthRefused\": {\"cores\": %" PRId64 ", \"memoryMib\": %" PRId64 ", \"message\": \"%s\"}}", cores, mib,
                       cloud->refuses_growth);
                return true;
        }
        answer(cloud, object,
               "{\"cores\": %" PRId64 ", \"memoryMib\": %" PRId64 ", \"coreFractionPercent\": %" PRId64 ", \"heldMib\": %" PRId64
               ", \"balloonMib\": %s, \"balloonLate\": %s, \"growthRefused\": null}",
               cores, mib, fraction, holds, keeps > 0 ? target : "null",
               holds != keeps && keeps > 0 ? "\"the guest sleeps\"" : "null");
        return true;
}

void cloud_refuse_growth(struct cloud *cloud, const char *words)
{
        cloud->refuses_growth = words;
}

static bool answer_on(struct cloud *cloud, const struct store_object *object, const char *state)
{
        g_autofree char *disks = NULL;
        int64_t epoch = number_at(object, "spec", "epoch");
        bool current = number_at(object, "status", "epoch") == epoch;
        const struct json_value *cpu = json_find(object->root, "spec", "cpu", NULL);
        char time[CLOCK_RFC3339_MAX];

        if (!current && runs(state) && strcmp(state, "creating") != 0) {
                answer(cloud, object, "{\"state\": \"shutdown\"}");
                return true;
        }
        if (!current && strcmp(state, "shutdown") == 0) {
                answer(cloud, object, "{\"state\": \"shutoff\", \"stateReason\": \"Stopped\"}");
                return true;
        }
        if (!current) {
                answer(cloud, object,
                       "{\"state\": \"creating\", \"stateReason\": null, \"epoch\": %" PRId64 ", \"step\": \"volumes\"}", epoch);
                return true;
        }
        if (answer_order(cloud, object, state))
                return true;
        if (answer_plug(cloud, object, state))
                return true;
        if (strcmp(state, "running") == 0)
                return answer_size(cloud, object) || answer_limits(cloud, object);
        if (strcmp(state, "creating") != 0 || !parts_ready(cloud, object))
                return false;
        disks = disks_of(cloud, object);
        answer(cloud, object,
               "{\"state\": \"running\", \"step\": null, \"epoch\": %" PRId64 ", \"observedGeneration\": %" PRId64
               ", \"startedAt\": \"%s\", \"hardware\": {\"machine\": \"pc-q35-7.2\"}, \"versions\": {\"qemu\": \"7.2.0\", "
               "\"libvirt\": \"9.0.0\"}, \"devices\": %s, \"cores\": %" PRId64 ", \"memoryMib\": %" PRId64
               ", \"coreFractionPercent\": %" PRId64 ", \"growthRefused\": null}",
               epoch, number_at(object, "metadata", "generation"), clock_format_rfc3339(cloud->now_us, false, time), disks,
               number_in(cpu, "cores"), number_at(object, "spec", "memoryMib"), number_in(cpu, "coreFractionPercent"));
        return true;
}

static bool answer_off(struct cloud *cloud, const struct store_object *object, const char *state)
{
        bool force = g_strcmp0(json_find_string(object->root, "spec", "stopMode", NULL), "Force") == 0;
        bool panicked = g_strcmp0(json_find_string(object->root, "status", "stateReason", NULL), REASON_GUEST_PANICKED) == 0;

        if (runs(state) && !force) {
                answer(cloud, object, "{\"state\": \"shutdown\"}");
                return true;
        }
        if (runs(state) || strcmp(state, "shutdown") == 0 || panicked) {
                answer(cloud, object, "{\"state\": \"shutoff\", \"stateReason\": \"Stopped\"}");
                return true;
        }
        return false;
}

/* A machine that is off is told of once its disks have come; what becomes of one that runs is the test's to say. */
static bool answer_moving(struct cloud *cloud, const struct store_object *object)
{
        const struct json_value *incoming = json_find(object->root, "spec", "incoming", NULL);

        if (!json_bool(json_get(incoming, "cold"), false) || !parts_ready(cloud, object) || *state_of(object))
                return false;
        answer(cloud, object,
               "{\"state\": \"shutoff\", \"epoch\": %" PRId64 ", \"migration\": {\"operation\": \"%s\", \"state\": \"Arrived\"}}",
               number_at(object, "spec", "epoch"), json_find_string(incoming, "operation", NULL));
        return true;
}

/* --- machines that move: the source lets one go when the other host is ready, and then that one has it --- */

void cloud_let_move(struct cloud *cloud)
{
        cloud->moves = true;
}

void cloud_fail_moves(struct cloud *cloud, const char *words)
{
        cloud->fails_moves = words;
}

static bool said_of_move(const struct store_object *object, const char *part, const char *state)
{
        return g_strcmp0(json_find_string(object->root, "status", "migration", "operation", NULL),
                         json_find_string(object->root, "spec", part, "operation", NULL)) == 0 &&
               g_strcmp0(json_find_string(object->root, "status", "migration", "state", NULL), state) == 0;
}

static bool answer_outgoing(struct cloud *cloud, const struct store_object *object)
{
        const char *operation = json_find_string(object->root, "spec", "outgoing", "operation", NULL);

        if (said_of_move(object, "outgoing", "Left") || said_of_move(object, "outgoing", "Kept"))
                return false;
        if (cloud->fails_moves)
                answer(cloud, object,
                       "{\"migration\": {\"operation\": \"%s\", \"state\": \"Kept\", \"error\": {\"reason\": "
                       "\"OperationFailed\", \"message\": \"%s\"}}}",
                       operation, cloud->fails_moves);
        else
                answer(cloud, object, "{\"state\": \"migrating\", \"migration\": {\"operation\": \"%s\", \"state\": \"Left\"}}",
                       operation);
        return true;
}

struct source {
        const char *instance; /* uid of the one that it becomes */
        bool left;
};

static bool look_for_source(const struct store_object *object, void *userdata)
{
        struct source *source = userdata;

        if (g_strcmp0(json_find_string(object->root, "spec", "outgoing", "instance", NULL), source->instance) == 0)
                source->left |= said_of_move(object, "outgoing", "Left");
        return true;
}

static bool answer_incoming(struct cloud *cloud, const struct store_object *object)
{
        const char *operation = json_find_string(object->root, "spec", "incoming", "operation", NULL);
        const struct json_value *cpu = json_find(object->root, "spec", "cpu", NULL);
        int64_t look = number_in(json_find(object->root, "spec", "incoming", NULL), "look");
        struct source source = {.instance = object->uid};
        g_autofree char *disks = disks_of(cloud, object);

        if (said_of_move(object, "incoming", "Arrived") || !parts_ready(cloud, object))
                return false;
        store_list(cloud->store, &api_instance_kind, NULL, NULL, look_for_source, &source);
        if (!source.left && said_of_move(object, "incoming", "Ready") &&
            number_in(json_find(object->root, "status", "migration", NULL), "look") == look)
                return false;
        if (source.left)
                answer(cloud, object,
                       "{\"state\": \"running\", \"epoch\": %" PRId64
                       ", \"hardware\": {\"machine\": \"pc-q35-7.2\"}, \"devices\": %s, "
                       "\"versions\": {\"qemu\": \"7.2.0\", \"libvirt\": \"9.0.0\"}, \"cores\": %" PRId64
                       ", \"memoryMib\": %" PRId64 ", \"coreFractionPercent\": %" PRId64 "}",
                       number_at(object, "spec", "epoch"), disks, number_in(cpu, "cores"), number_at(object, "spec", "memoryMib"),
                       number_in(cpu, "coreFractionPercent"));
        answer(cloud, object, "{\"migration\": {\"operation\": \"%s\", \"state\": \"%s\", \"look\": %" PRId64 "}}", operation,
               source.left ? "Arrived" : "Ready", look);
        return true;
}

static bool answer_instance(struct cloud *cloud, const struct store_object *object)
{
        const char *power = json_find_string(object->root, "spec", "power", NULL), *state = state_of(object);

        if (cloud->moves && !json_bool(json_find(object->root, "spec", "incoming", "cold", NULL), false)) {
                if (json_find(object->root, "spec", "incoming", NULL))
                        return answer_incoming(cloud, object);
                if (json_find(object->root, "spec", "outgoing", NULL))
                        return answer_outgoing(cloud, object);
        }
        if (json_find(object->root, "spec", "incoming", NULL) || json_find(object->root, "spec", "outgoing", NULL))
                return answer_moving(cloud, object);
        return strcmp(power, "On") == 0 ? answer_on(cloud, object, state) : answer_off(cloud, object, state);
}

static const struct {
        const struct schema_kind *kind;
        bool (*answer)(struct cloud *cloud, const struct store_object *object);
} scripts[] = {
        {&api_host_task_kind, answer_task},
        {&api_volume_kind, answer_volume},
        {&api_port_kind, answer_port},
        {&api_instance_kind, answer_instance},
};

static bool collect(const struct store_object *object, void *userdata)
{
        g_ptr_array_add(userdata, (gpointer)store_object_ref(object));
        return true;
}

static void unref(gpointer object)
{
        store_object_unref(object);
}

static bool act_on(struct cloud *cloud, const struct store_object *object,
                   bool (*act)(struct cloud *cloud, const struct store_object *object))
{
        const char *node = json_find_string(object->root, "spec", "nodeName", NULL);

        if (g_hash_table_contains(cloud->lost_nodes, node))
                return false;
        if (json_find(object->root, "metadata", "deletionTimestamp", NULL)) {
                if (strcmp(state_of(object), "Gone") == 0)
                        return false;
                answer(cloud, object, "{\"state\": \"Gone\"}");
                return true;
        }
        return act(cloud, object);
}

bool cloud_hosts_act(struct cloud *cloud)
{
        size_t first = cloud->options.chaos ? (size_t)random_below(&cloud->random, G_N_ELEMENTS(scripts)) : 0;

        for (size_t i = 0; i < G_N_ELEMENTS(scripts); i++) {
                size_t script = (first + i) % G_N_ELEMENTS(scripts);
                g_autoptr(GPtrArray) objects = g_ptr_array_new_with_free_func(unref);

                if (scripts[script].kind == cloud->held)
                        continue;
                store_list(cloud->store, scripts[script].kind, NULL, NULL, collect, objects);
                for (guint j = 0; j < objects->len; j++)
                        if (act_on(cloud, objects->pdata[j], scripts[script].answer))
                                return true;
        }
        return false;
}

void cloud_hold_disks(struct cloud *cloud, bool hold)
{
        cloud->stubborn = hold;
}

void cloud_guest(struct cloud *cloud, const char *machine, const char *state, const char *reason)
{
        const struct cache_object *object = cloud_get(cloud, VM, machine);
        const struct cache_object *instance = index_one(cloud->cache, INDEX_INSTANCE_BY_MACHINE, object->uid);
        g_autofree char *json = g_strdup_printf("{\"state\": \"%s\", \"stateReason\": \"%s\"}", state, reason);

        g_assert_nonnull(instance);
        cloud_status_in(cloud, &api_instance_kind, NULL, instance->name, json);
        cloud_settle(cloud);
}
