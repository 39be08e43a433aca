/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/disk/disk_private.h"

#include "base/quantity.h"
#include "controllers/object.h"

#include <assert.h>
#include <string.h>

/* --- to the host --- */

static void take_bytes(const char *text, int64_t *value, bool *has)
{
        uint64_t bytes;

        if (!text || quantity_parse_bytes(text, &bytes) != 0 || bytes == 0)
                return;
        *value = (int64_t)bytes;
        *has = true;
}

struct api_instance_disk_limits *disk_limits_wanted(const struct cache_object *disk, struct arena *arena)
{
        assert(disk && arena);

        const struct api_virtual_disk *view = disk->view;
        const struct api_disk_limits *limits = view->spec ? view->spec->limits : NULL;
        static const struct api_instance_disk_limits none;
        struct api_instance_disk_limits *wanted;

        if (!limits)
                return NULL;
        wanted = arena_new0(arena, struct api_instance_disk_limits);
        take_bytes(limits->read_bytes_per_second, &wanted->read_bytes, &wanted->has_read_bytes);
        take_bytes(limits->write_bytes_per_second, &wanted->write_bytes, &wanted->has_write_bytes);
        take_bytes(limits->total_bytes_per_second, &wanted->total_bytes, &wanted->has_total_bytes);
        wanted->read_operations = limits->read_operations_per_second;
        wanted->has_read_operations = limits->has_read_operations_per_second;
        wanted->write_operations = limits->write_operations_per_second;
        wanted->has_write_operations = limits->has_write_operations_per_second;
        wanted->total_operations = limits->total_operations_per_second;
        wanted->has_total_operations = limits->has_total_operations_per_second;
        return memcmp(wanted, &none, sizeof(none)) == 0 ? NULL : wanted;
}

/* --- from the host --- */

static const char *bytes_text(struct arena *arena, bool has, int64_t bytes)
{
        char text[32];

        return has ? arena_strdup(arena, quantity_format_bytes((uint64_t)bytes, text)) : NULL;
}

static struct api_disk_limits *limits_view(struct arena *arena, const struct api_instance_disk_limits *limits)
{
        struct api_disk_limits *view = arena_new0(arena, struct api_disk_limits);

        *view = (struct api_disk_limits){
                .read_bytes_per_second = bytes_text(arena, limits->has_read_bytes, limits->read_bytes),
                .write_bytes_per_second = bytes_text(arena, limits->has_write_bytes, limits->write_bytes),
                .total_bytes_per_second = bytes_text(arena, limits->has_total_bytes, limits->total_bytes),
                .read_operations_per_second = limits->read_operations,
                .has_read_operations_per_second = limits->has_read_operations,
                .write_operations_per_second = limits->write_operations,
                .has_write_operations_per_second = limits->has_write_operations,
                .total_operations_per_second = limits->total_operations,
                .has_total_operations_per_second = limits->has_total_operations,
        };
        return view;
}

/* The name that the disk of this Volume has in the machine, or NULL. */
static const char *name_of(const struct api_instance *instance, const char *volume)
{
        for (size_t i = 0; i < instance->spec->n_disks; i++)
                if (g_strcmp0(instance->spec->disks[i].volume, volume) == 0)
                        return instance->spec->disks[i].name;
        return NULL;
}

struct api_disk_limits *disk_limits_kept(const struct cache *cache, const struct cache_object *disk, struct arena *arena)
{
        assert(cache && disk && arena);

        const char *holder = object_annotation(disk, ANNOTATION_HELD_BY);
        const struct cache_object *object = holder ? index_one(cache, INDEX_INSTANCE_BY_MACHINE, holder) : NULL;
        const struct api_instance *instance = object ? object->view : NULL;
        const char *name = instance && instance_active(object) ? name_of(instance, disk_volume_name(cache, arena, disk)) : NULL;

        for (size_t i = 0; name && instance->status && i < instance->status->n_disks; i++)
                if (g_strcmp0(instance->status->disks[i].name, name) == 0)
                        return limits_view(arena, instance->status->disks[i].limits);
        return NULL;
}

bool disk_limits_moved(const struct cache_object *before, const struct cache_object *now)
{
        assert(before && now);

        const struct json_value *old = json_find(cache_root(before), "status", "disks", NULL);
        const struct json_value *new = json_find(cache_root(now), "status", "disks", NULL);

        return (old == NULL) != (new == NULL) || (old && !json_equal(old, new));
}
