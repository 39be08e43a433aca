/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limits.h"
#include "schema/cpu_topology.h"
#include "schema/rules/rules.h"
#include "schema/systems.h"

#include <inttypes.h>
#include <string.h>

#define MEMORY_LEAST_BYTES (1ull << 20)
#define NETWORKS_MAX       16 /* more are refused by the table; each is compared with each */
#define LEGACY_DEVICES     4  /* IDE has no more */

static void check_spread(const struct json_value *value, const char *field, struct schema_faults *faults)
{
        int sockets, per_socket, below, above;
        int64_t cores;

        if (json_int64(value, &cores) != 0 || cores < 1 || cores > LIMIT_CPU_CORES ||
            schema_cpu_topology(cores, &sockets, &per_socket))
                return;
        schema_cpu_nearest(cores, &below, &above);
        sockets = cores <= 32 ? 2 : cores <= 64 ? 4 : 8;
        rules_invalid(
                faults, field, value,
                "%" PRId64
                " cores cannot be spread evenly over %d sockets, at least 9 in each; the nearest allowed numbers are %d and %d",
                cores, sockets, below, above);
}

static void check_cores(const struct json_value *spec, struct schema_faults *faults)
{
        const struct json_value *value = json_find(spec, "cpu", "cores", NULL), *most = json_find(spec, "cpu", "maxCores", NULL);
        int64_t cores, max_cores;

        check_spread(value, "spec.cpu.cores", faults);
        check_spread(most, "spec.cpu.maxCores", faults);
        if (json_int64(value, &cores) == 0 && json_int64(most, &max_cores) == 0 && max_cores < cores)
                rules_invalid(faults, "spec.cpu.maxCores", most, "must not be less than spec.cpu.cores, %" PRId64, cores);
}

static void check_memory(const struct json_value *spec, struct schema_faults *faults)
{
        const struct json_value *value = json_find(spec, "memory", "size", NULL);
        uint64_t bytes;

        if (!rules_bytes(value, &bytes))
                return;
        if (bytes == 0)
                rules_invalid(faults, "spec.memory.size", value, "must be greater than 0");
        else if (bytes < MEMORY_LEAST_BYTES)
                rules_invalid(faults, "spec.memory.size", value, "must be at least 1Mi; is the suffix missing, as in 2Gi?");
}

static void check_user_data(const struct json_value *spec, struct schema_faults *faults)
{
        size_t bytes = json_string_len(json_find(spec, "provisioning", "userData", NULL));

        if (bytes > LIMIT_USER_DATA_BYTES)
                schema_faults_add(
                        faults, "spec.provisioning.userData", REASON_FIELD_VALUE_TOO_LONG,
                        "Too long: %zu bytes: at most %u bytes may stand in the machine; put the text into a Secret and use type "
                        "UserDataRef",
                        bytes, LIMIT_USER_DATA_BYTES);
}

static void check_legacy(const struct json_value *spec, struct schema_faults *faults)
{
        const struct json_value *devices = json_get(spec, "blockDeviceRefs");

        if (g_strcmp0(json_find_string(spec, "osType", NULL), "Legacy") != 0)
                return;
        if (g_strcmp0(json_find_string(spec, "bootloader", NULL), "BIOS") != 0 && json_get(spec, "bootloader"))
                rules_invalid(faults, "spec.bootloader", json_get(spec, "bootloader"), "must be BIOS when osType is Legacy");
        if (json_get(spec, "provisioning"))
                rules_forbidden(faults, "spec.provisioning", "a Legacy system does not read it");
        if (!json_bool(json_get(spec, "enableParavirtualization"), true) && json_length(devices) > LEGACY_DEVICES)
                schema_faults_add(faults, "spec.blockDeviceRefs", REASON_FIELD_VALUE_TOO_MANY,
                                  "Too many: %zu: a Legacy system without paravirtualization has at most %d", json_length(devices),
                                  LEGACY_DEVICES);
}

/* A name that was known when the machine was written stays, whatever database a later build has. */
static void check_system(const struct json_value *spec, const struct json_value *old, struct schema_faults *faults)
{
        const struct json_value *id = json_get(spec, "osId"), *type = json_get(spec, "osType");
        const struct schema_system *system = schema_system_find(json_string(id, NULL));
        const char *nearest[SCHEMA_SYSTEM_NEAREST], *wanted = json_string(type, NULL);
        g_autoptr(GString) words = g_string_new(NULL);
        size_t n;

        if (!json_is(id, JSON_STRING) || json_equal(id, json_find(old, "spec", "osId", NULL)))
                return;
        if (system) {
                bool windows = g_strcmp0(wanted, "Windows") == 0;

                if (wanted && strcmp(wanted, "Legacy") != 0 && windows != (system->type == SCHEMA_SYSTEM_WINDOWS) &&
                    system->type != SCHEMA_SYSTEM_LEGACY)
                        rules_invalid(faults, "spec.osType", type, "must be %s for %s", schema_system_type_text(system->type),
                                      system->id);
                return;
        }
        n = schema_system_nearest(json_string(id, ""), nearest);
        for (size_t i = 0; i < n; i++)
                g_string_append_printf(words, "%s%s", i ? ", " : "; the nearest are ", nearest[i]);
        rules_invalid(faults, "spec.osId", id, "no system of this name is known%s", words->str);
}

static void check_boot_order(const struct json_value *devices, struct schema_faults *faults)
{
        size_t index = 0;

        for (const struct json_value *device = json_first(devices); device && index < LIMIT_BLOCK_DEVICES;
             device = json_next(device), index++) {
                const struct json_value *place = json_get(device, "bootOrder");
                g_autofree char *field = g_strdup_printf("spec.blockDeviceRefs[%zu].bootOrder", index);

                for (const struct json_value *other = json_first(devices); place && other != device; other = json_next(other)) {
                        const struct json_value *taken = json_get(other, "bootOrder");

                        if (taken && json_equal(place, taken))
                                schema_faults_add(faults, field, REASON_FIELD_VALUE_DUPLICATE,
                                                  "Duplicate value: %s: two devices have the same place in the boot order",
                                                  json_number_text(place) ?: "");
                }
        }
}

static void check_network(const struct json_value *network, size_t index, struct schema_faults *faults)
{
        g_autofree char *place = g_strdup_printf("spec.networks[%zu]", index), *name = g_strconcat(place, ".name", NULL);
        const char *type = json_find_string(network, "type", NULL);

        if (g_strcmp0(type, "Main") == 0 && json_get(network, "name"))
                rules_forbidden(faults, name, "the network of type Main has no name");
        if (g_strcmp0(type, "Main") == 0 && index > 0)
                rules_forbidden(faults, place, "the network of type Main can only be the first");
        if (type && strcmp(type, "Main") != 0 && !json_get(network, "name"))
                rules_required(faults, name, "a network other than Main is chosen by its name");
}

static void check_networks(const struct json_value *networks, struct schema_faults *faults)
{
        size_t index = 0;

        for (const struct json_value *network = json_first(networks); network && index < NETWORKS_MAX;
             network = json_next(network), index++) {
                check_network(network, index, faults);
                for (const struct json_value *other = json_first(networks); other != network; other = json_next(other)) {
                        g_autofree char *place = g_strdup_printf("spec.networks[%zu].id", index);

                        if (json_get(network, "id") && json_equal(json_get(network, "id"), json_get(other, "id")))
                                schema_faults_add(faults, place, REASON_FIELD_VALUE_DUPLICATE,
                                                  "Duplicate value: %s: two interfaces have the same number",
                                                  json_number_text(json_get(network, "id")) ?: "");
                }
        }
}

static void check_node_terms(const struct json_value *affinity, struct schema_faults *faults)
{
        const struct json_value *required =
                json_find(affinity, "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms", NULL);
        const struct json_value *preferred =
                json_find(affinity, "nodeAffinity", "preferredDuringSchedulingIgnoredDuringExecution", NULL);
        size_t index = 0;

        for (const struct json_value *term = json_first(required); term; term = json_next(term)) {
                g_autofree char *place =
                        g_strdup_printf("spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution."
                                        "nodeSelectorTerms[%zu].matchExpressions",
                                        index++);

                rules_expressions(faults, place, json_get(term, "matchExpressions"));
        }
        index = 0;
        for (const struct json_value *term = json_first(preferred); term; term = json_next(term)) {
                g_autofree char *place =
                        g_strdup_printf("spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[%zu]."
                                        "preference.matchExpressions",
                                        index++);

                rules_expressions(faults, place, json_find(term, "preference", "matchExpressions", NULL));
        }
}

static void check_terms(const struct json_value *affinity, const char *member, struct schema_faults *faults)
{
        static const char *const lists[] = {"requiredDuringSchedulingIgnoredDuringExecution",
                                            "preferredDuringSchedulingIgnoredDuringExecution"};

        for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
                const struct json_value *terms = json_find(affinity, member, lists[i], NULL);
                size_t index = 0;

                for (const struct json_value *term = json_first(terms); term; term = json_next(term)) {
                        const char *inner = i == 1 ? ".virtualMachineAndPodAffinityTerm" : "";
                        const struct json_value *inside = i == 1 ? json_get(term, inner + 1) : term;
                        g_autofree char *place =
                                g_strdup_printf("spec.affinity.%s.%s[%zu]%s.labelSelector", member, lists[i], index++, inner);
                        g_autofree char *expressions = g_strconcat(place, ".matchExpressions", NULL);
                        g_autofree char *labels = g_strconcat(place, ".matchLabels", NULL);

                        rules_selector(faults, labels, json_find(inside, "labelSelector", "matchLabels", NULL));
                        rules_expressions(faults, expressions, json_find(inside, "labelSelector", "matchExpressions", NULL));
                }
        }
}

/* What a class may give, and did not; kubectl would not even send a manifest without fields that are always required. */
static void check_given(const struct json_value *spec, struct schema_faults *faults)
{
        static const char no_default[] = "its class has no default for it";

        if (!json_get(spec, "virtualMachineClassName"))
                rules_required(faults, "spec.virtualMachineClassName", "no class is the default of the project or of all");
        if (!json_find(spec, "cpu", "cores", NULL))
                rules_required(faults, "spec.cpu.cores", no_default);
        if (!json_find(spec, "memory", "size", NULL))
                rules_required(faults, "spec.memory.size", no_default);
}

static void check_graphics(const struct json_value *spec, struct schema_faults *faults)
{
        const struct json_value *listen = json_find(spec, "graphics", "listen", NULL);
        const char *protocol = json_find_string(spec, "graphics", "protocol", NULL);

        if (g_strcmp0(json_string(listen, NULL), "TCP") == 0 && g_strcmp0(protocol, "None") == 0)
                rules_invalid(faults, "spec.graphics.listen", listen, "without a screen there is nothing to listen for");
}

#define FOREIGN_DOMAIN "virtualization.deckhouse.io"

/* Keys of the domain belong to the system (vm-api 2.6); those that are there already stay. */
static void check_keys(const struct json_value *object, const struct json_value *old, const char *member,
                       struct schema_faults *faults)
{
        g_autofree char *place = g_strconcat("metadata.", member, NULL);

        for (const struct json_value *value = json_first(json_find(object, "metadata", member, NULL)); value;
             value = json_next(value))
                if (strstr(json_key(value), FOREIGN_DOMAIN) && !json_find(old, "metadata", member, json_key(value), NULL))
                        schema_faults_add(faults, place, REASON_FIELD_VALUE_FORBIDDEN,
                                          "Forbidden: \"%.80s\": keys with " FOREIGN_DOMAIN " in them are set by the system alone",
                                          json_key(value));
}

void rules_virtual_machine(const struct json_value *object, const struct json_value *old, struct schema_faults *faults)
{
        const struct json_value *spec = json_get(object, "spec"), *affinity = json_get(spec, "affinity");
        const struct json_value *spread = json_get(spec, "topologySpreadConstraints");

        check_keys(object, old, "labels", faults);
        check_keys(object, old, "annotations", faults);
        check_given(spec, faults);
        check_cores(spec, faults);
        check_memory(spec, faults);
        check_user_data(spec, faults);
        check_legacy(spec, faults);
        check_graphics(spec, faults);
        check_system(spec, old, faults);
        check_boot_order(json_get(spec, "blockDeviceRefs"), faults);
        check_networks(json_get(spec, "networks"), faults);
        rules_selector(faults, "spec.nodeSelector", json_get(spec, "nodeSelector"));
        rules_tolerations(faults, "spec.tolerations", json_get(spec, "tolerations"));
        check_node_terms(affinity, faults);
        check_terms(affinity, "virtualMachineAndPodAffinity", faults);
        check_terms(affinity, "virtualMachineAndPodAntiAffinity", faults);
        if (spread && !json_is(spread, JSON_ARRAY))
                rules_invalid(faults, "spec.topologySpreadConstraints", spread, "must be a list");
}
