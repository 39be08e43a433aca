/* SPDX-License-Identifier: Apache-2.0 */
#include "admission/usage.h"

#include "base/quantity.h"
#include "generated/api_types.h"
#include "schema/quota_names.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MIB (1ull << 20)

struct count {
        void (*add)(const char *resource, uint64_t amount, void *userdata);
        void *userdata;
};

static void add(const struct count *count, const char *resource, uint64_t amount)
{
        if (amount > 0)
                count->add(resource, amount, count->userdata);
}

static uint64_t bytes_of(const struct json_value *value)
{
        const char *text = json_string(value, json_number_text(value));
        uint64_t bytes = 0;

        return text && quantity_parse_bytes(text, &bytes) == 0 ? bytes : 0;
}

static uint64_t whole(const struct json_value *value)
{
        int64_t number = 0;

        return json_int64(value, &number) == 0 && number > 0 ? (uint64_t)number : 0;
}

/* Of a machine that is on a host: what is set aside for it there, which a guest that was asked for some of it keeps. */
static uint64_t memory_on_host(const struct json_value *root)
{
        const struct json_value *status = json_get(root, "status"), *memory = json_find(status, "resources", "memory", NULL);

        return json_get(status, "nodeName") ? MAX(bytes_of(json_get(memory, "size")), bytes_of(json_get(memory, "reservedSize")))
                                            : 0;
}

/* A machine counts with what it declares, whether it runs or not: it may be started at any time. Memory that it has and does not
 * declare any more goes with its next start. */
static void machine(const struct json_value *root, const struct count *count)
{
        const struct json_value *spec = json_get(root, "spec");
        const char *fraction = json_find_string(spec, "cpu", "coreFraction", NULL);
        uint64_t cores = whole(json_find(spec, "cpu", "cores", NULL));
        uint64_t percent = fraction ? strtoul(fraction, NULL, 10) : 100;
        uint64_t memory = bytes_of(json_find(spec, "memory", "size", NULL)), has = memory_on_host(root);

        add(count, QUOTA_CORES, cores);
        add(count, QUOTA_CPU, cores * MIN(percent, 100) * 10);
        add(count, QUOTA_MEMORY, has > memory + MIB ? has : memory); /* hosts round up */
}

/* A disk counts with the larger of what it asks for and what it has: a size or pool that it leaves out is known later. The file
 * that it was uploaded or fetched as lies in the library until it has a volume. */
static void disk(const struct json_value *root, const struct count *count)
{
        const struct json_value *claim = json_find(root, "spec", "persistentVolumeClaim", NULL);
        uint64_t wanted = bytes_of(json_get(claim, "size")), has = bytes_of(json_find(root, "status", "capacity", NULL));
        const char *pool = json_string(json_get(claim, "storageClassName"), NULL)
                                   ?: json_find_string(root, "status", "storageClassName", NULL);
        g_autofree char *storage = pool ? g_strconcat(pool, QUOTA_POOL_STORAGE, NULL) : NULL;
        g_autofree char *disks = pool ? g_strconcat(pool, QUOTA_POOL_DISKS, NULL) : NULL;

        add(count, QUOTA_STORAGE, MAX(wanted, has));
        if (!json_find(root, "status", "target", NULL))
                add(count, QUOTA_IMAGE_STORAGE, whole(json_find(root, "status", "ingest", "sizeBytes", NULL)));
        if (!pool)
                return;
        add(count, storage, MAX(wanted, has));
        add(count, disks, 1);
}

/* An image counts with its file in the library, from the moment in which it is there. */
static void image(const struct json_value *root, const struct count *count)
{
        const struct json_value *status = json_get(root, "status");
        uint64_t stored = whole(json_find(status, "size", "storedBytes", NULL));
        uint64_t came = whole(json_find(status, "ingest", "sizeBytes", NULL));

        add(count, QUOTA_IMAGE_STORAGE, stored > 0 ? stored : came);
}

static const struct {
        const struct schema_kind *kind;
        void (*count)(const struct json_value *root, const struct count *count);
} counters[] = {
        {&api_virtual_machine_kind, machine},
        {&api_virtual_disk_kind, disk},
        {&api_virtual_image_kind, image},
};

void usage_of(const struct store_object *object, void (*fn)(const char *resource, uint64_t amount, void *userdata), void *userdata)
{
        const struct count count = {.add = fn, .userdata = userdata};
        g_autofree char *name = NULL;

        assert(object && object->root && fn);
        name = quota_count_name(object->kind);
        add(&count, name, 1);
        for (size_t i = 0; i < G_N_ELEMENTS(counters); i++)
                if (counters[i].kind == object->kind)
                        counters[i].count(object->root, &count);
}
