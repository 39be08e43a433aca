/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limits.h"
#include "schema/capability.h"
#include "schema/rules/rules.h"

#include <string.h>

/* Disks, images and pools. */

static const char size_field[] = "spec.persistentVolumeClaim.size";

/* Names of images and disks are parts of names of files and volumes elsewhere (vm-api 1.3). */
static void check_dots(const struct json_value *object, const struct json_value *old, struct schema_faults *faults)
{
        const struct json_value *name = json_find(object, "metadata", "name", NULL);

        if (!old && strchr(json_string(name, ""), '.'))
                rules_invalid(faults, "metadata.name", name, "must not contain a dot");
}

/* A clone names another disk of its project, or an image; how it is made is settled with its creation. */
static void check_clone(const struct json_value *object, const struct json_value *old, struct schema_faults *faults)
{
        const struct json_value *clone = json_find(object, "spec", "clone", NULL);
        const struct json_value *name = json_find(object, "spec", "dataSource", "objectRef", "name", NULL);
        bool disk = g_strcmp0(json_find_string(object, "spec", "dataSource", "objectRef", "kind", NULL), "VirtualDisk") == 0;

        if (clone && !name)
                rules_forbidden(faults, "spec.clone", "only of a disk or an image that is the source");
        if (json_get(clone, "consistency") && name && !disk &&
            g_strcmp0(json_find_string(clone, "consistency", NULL), "Agent") == 0)
                rules_invalid(faults, "spec.clone.consistency", json_get(clone, "consistency"), "no guest writes to an image");
        if (disk && g_strcmp0(json_string(name, ""), json_find_string(object, "metadata", "name", NULL)) == 0)
                rules_invalid(faults, "spec.dataSource.objectRef.name", name, "a disk cannot be its own source");
        if (old)
                rules_frozen(faults, "spec.clone", clone, json_find(old, "spec", "clone", NULL), "the disk is made once");
}

static void too_small(struct schema_faults *faults, const struct json_value *size, const struct json_value *has, const char *whence)
{
        schema_faults_add(faults, size_field, REASON_SHRINK_NOT_OFFERED,
                          "Invalid value: \"%s\": a disk can grow, never shrink; it has %s%s",
                          json_string(size, json_number_text(size)), json_string(has, json_number_text(has)), whence);
}

/* Less would have a guest take its disk for broken: its own requests are larger, and it waits 30 seconds for each. */
#define LIMIT_BYTES_LEAST (64ull << 10)
#define LIMIT_BYTES_MOST  (1ull << 40)

static void check_limits(const struct json_value *object, struct schema_faults *faults)
{
        static const struct {
                const char *total, *parts[2];
                bool bytes;
        } limits[] = {
                {"totalBytesPerSecond", {"readBytesPerSecond", "writeBytesPerSecond"}, true},
                {"totalOperationsPerSecond", {"readOperationsPerSecond", "writeOperationsPerSecond"}, false},
        };
        const struct json_value *spec = json_find(object, "spec", "limits", NULL);

        for (size_t i = 0; i < G_N_ELEMENTS(limits); i++) {
                const char *const names[] = {limits[i].total, limits[i].parts[0], limits[i].parts[1]};
                const struct json_value *total = json_get(spec, limits[i].total);

                for (size_t j = 0; j < G_N_ELEMENTS(names); j++) {
                        const struct json_value *value = json_get(spec, names[j]);
                        g_autofree char *field = g_strconcat("spec.limits.", names[j], NULL);
                        uint64_t bytes;

                        if (limits[i].bytes && rules_bytes(value, &bytes) &&
                            (bytes < LIMIT_BYTES_LEAST || bytes > LIMIT_BYTES_MOST))
                                rules_invalid(faults, field, value, "must be 64Ki to 1Ti");
                        if (j > 0 && total && value)
                                rules_forbidden(faults, field, "reads and writes are limited together already");
                }
        }
}

void rules_virtual_disk(const struct json_value *object, const struct json_value *old, struct schema_faults *faults)
{
        const struct json_value *size = json_find(object, "spec", "persistentVolumeClaim", "size", NULL);
        const struct json_value *before = json_find(old, "spec", "persistentVolumeClaim", "size", NULL);
        uint64_t bytes, bytes_before;

        check_dots(object, old, faults);
        rules_data_source(faults, object, old);
        check_clone(object, old, faults);
        check_limits(object, faults);
        if (!size && !json_find(object, "spec", "dataSource", NULL))
                rules_required(faults, size_field, "an empty disk has no source to take its size from");
        if (!size && before)
                rules_required(faults, size_field, "it was set and cannot be taken away");
        if (!rules_bytes(size, &bytes))
                return;
        if (bytes == 0)
                rules_invalid(faults, size_field, size, "must be greater than 0");
        else if (bytes > LIMIT_IMAGE_BYTES)
                rules_invalid(faults, size_field, size, "must be at most 4Ti");
        if (rules_bytes(before, &bytes_before) && bytes < bytes_before)
                too_small(faults, size, before, "");
        else if (!before && rules_bytes(json_find(old, "status", "capacity", NULL), &bytes_before) && bytes < bytes_before)
                too_small(faults, size, json_find(old, "status", "capacity", NULL), " of its source");
}

void rules_virtual_image(const struct json_value *object, const struct json_value *old, struct schema_faults *faults)
{
        check_dots(object, old, faults);
        rules_data_source(faults, object, old);
        if (old)
                rules_frozen(faults, "spec.storage", json_find(object, "spec", "storage", NULL),
                             json_find(old, "spec", "storage", NULL), "the image stays where it is");
}

void rules_cluster_virtual_image(const struct json_value *object, const struct json_value *old, struct schema_faults *faults)
{
        const struct json_value *reference = json_find(object, "spec", "dataSource", "objectRef", NULL);
        const char *kind = json_find_string(reference, "kind", NULL);
        bool clustered = g_strcmp0(kind, "ClusterVirtualImage") == 0;

        check_dots(object, old, faults);
        rules_data_source(faults, object, old);
        if (kind && !clustered && !json_get(reference, "namespace"))
                rules_required(faults, "spec.dataSource.objectRef.namespace", "the source lives in a project");
        if (clustered && json_get(reference, "namespace"))
                rules_forbidden(faults, "spec.dataSource.objectRef.namespace", "a ClusterVirtualImage lives in no project");
}

/* Folders of the system; @below: nor anything in them. */
static const struct {
        const char *path;
        bool below;
} system_folders[] = {
        {"/bin", true},          {"/boot", true},
        {"/dev", true},          {"/etc", true},
        {"/lib", true},          {"/lib32", true},
        {"/lib64", true},        {"/proc", true},
        {"/run", true},          {"/sbin", true},
        {"/sys", true},          {"/usr", true},
        {"/home", false},        {"/mnt", false},
        {"/opt", false},         {"/root", false},
        {"/srv", false},         {"/tmp", false},
        {"/var", false},         {"/media", false},
        {"/var/lib", false},     {"/var/log", true},
        {"/var/tmp", false},     {"/var/cache", false},
        {"/var/run", true},      {"/var/lib/libvirt", false},
        {"/var/lib/dpkg", true}, {"/var/spool", true},
        {"/lost+found", true},
};

static bool is_system_folder(const char *path)
{
        for (size_t i = 0; i < G_N_ELEMENTS(system_folders); i++) {
                size_t len = strlen(system_folders[i].path);

                if (strncmp(path, system_folders[i].path, len) == 0 &&
                    (path[len] == '\0' || (path[len] == '/' && system_folders[i].below)))
                        return true;
        }
        return strcmp(path, "/") == 0;
}

/* Types that the matrix knows and that cannot be made yet say so, and nothing else about the pool matters then. */
static bool type_is_available(const struct json_value *object, struct schema_faults *faults)
{
        const struct capability_pool *type = capability_pool_find(json_find_string(object, "spec", "type", NULL));
        const struct reason *reason = reason_find(REASON_POOL_TYPE_NOT_YET);

        if (!type || type->available)
                return true;
        schema_faults_add(faults, "spec.type", reason->code, "Forbidden: %s: %s %s", type->type, reason->text, reason->doc);
        return false;
}

void rules_storage_pool(const struct json_value *object, const struct json_value *old, struct schema_faults *faults)
{
        const struct json_value *value = json_find(object, "spec", "path", NULL);
        const char *path = json_string(value, NULL);

        if (!type_is_available(object, faults))
                return;
        if (!value)
                rules_required(faults, "spec.path", "a Directory is a folder of its nodes");
        if (path && is_system_folder(path))
                rules_invalid(faults, "spec.path", value,
                              "the folder belongs to the system; choose one of its own, for example /var/lib/gabbro/pool");
        if (json_length(json_find(object, "spec", "nodes", NULL)) > 0 &&
            json_length(json_find(object, "spec", "nodeSelector", NULL)) > 0)
                rules_forbidden(faults, "spec.nodeSelector", "nodes are chosen by name or by labels, not by both");
        rules_selector(faults, "spec.nodeSelector", json_find(object, "spec", "nodeSelector", NULL));
}
