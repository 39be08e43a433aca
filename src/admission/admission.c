/* SPDX-License-Identifier: Apache-2.0 */
#include "admission/admission.h"

#include "admission/machine.h"
#include "generated/api_types.h"
#include "generated/reasons.h"

#include <assert.h>

static const struct {
        const struct schema_kind *kind;
        void (*fill)(const struct admission *admission, struct json_doc *doc);
        void (*check)(const struct admission *admission, const struct json_value *object, struct schema_faults *faults);
} admissions[] = {
        {&api_virtual_machine_kind, machine_default, machine_check},
        {&api_virtual_machine_class_kind, NULL, class_check},
};

void admission_default(const struct admission *admission, struct json_doc *doc)
{
        assert(admission && admission->store && admission->kind && doc);
        for (size_t i = 0; i < G_N_ELEMENTS(admissions); i++)
                if (admissions[i].kind == admission->kind && admissions[i].fill)
                        admissions[i].fill(admission, doc);
}

/* --- what may not be deleted
 * ----------------------------------------------------------------------------------------------------------- */

struct content_search {
        const char *pool;
        char *found;
};

static bool find_disk(const struct store_object *object, void *userdata)
{
        struct content_search *search = userdata;

        if (g_strcmp0(json_find_string(object->root, "status", "storageClassName", NULL), search->pool) == 0)
                search->found = g_strdup_printf("disk %s/%s", object->namespace, object->name);
        return !search->found;
}

static bool find_volume(const struct store_object *object, void *userdata)
{
        struct content_search *search = userdata;

        if (g_strcmp0(json_find_string(object->root, "spec", "pool", "name", NULL), search->pool) == 0)
                search->found = g_strdup_printf("volume %s of %s %s", object->name,
                                                json_find_string(object->root, "spec", "owner", "kind", NULL),
                                                json_find_string(object->root, "spec", "owner", "name", NULL));
        return !search->found;
}

/* What lies in a pool goes first. Its status may be behind: a "no" is made sure of, and a "yes" that came too early is not the end,
 * for its finalizer waits. */
static char *pool_keeps(struct store *store, const struct store_object *pool, const char **ret_code)
{
        struct content_search search = {.pool = pool->name};
        g_autofree char *found = NULL;
        int64_t disks = 0, volumes = 0;

        (void)json_int64(json_find(pool->root, "status", "disks", NULL), &disks);
        (void)json_int64(json_find(pool->root, "status", "volumes", NULL), &volumes);
        if (disks > 0 || volumes > 0)
                store_list(store, &api_virtual_disk_kind, NULL, NULL, find_disk, &search);
        if ((disks > 0 || volumes > 0) && !search.found)
                store_list(store, &api_volume_kind, NULL, NULL, find_volume, &search);
        found = search.found;
        if (!found)
                return NULL;
        *ret_code = REASON_POOL_NOT_EMPTY;
        return g_strdup_printf("it is not empty: %s lies in it; gabbro pool delete %s --with-disks shows what would go", found,
                               pool->name);
}

char *admission_keeps(struct store *store, const struct store_object *object, const char **ret_code)
{
        assert(store && object && ret_code);
        if (object->kind != &api_storage_pool_kind || json_find(object->root, "metadata", "deletionTimestamp", NULL))
                return NULL;
        return pool_keeps(store, object, ret_code);
}

void admission_check(const struct admission *admission, const struct json_value *object, struct schema_faults *faults)
{
        assert(admission && admission->store && admission->kind && faults);
        for (size_t i = 0; i < G_N_ELEMENTS(admissions); i++)
                if (admissions[i].kind == admission->kind && admissions[i].check)
                        admissions[i].check(admission, object, faults);
}
