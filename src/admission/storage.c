/* SPDX-License-Identifier: Apache-2.0 */
#include "admission/storage.h"

#include "generated/api_types.h"
#include "generated/reasons.h"
#include "schema/capability.h"

#include <assert.h>
#include <string.h>

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
char *storage_pool_keeps(struct store *store, const struct store_object *pool, const char **ret_code)
{
        assert(store && pool && ret_code);

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

/* --- what a pool cannot do is not begun
 * --------------------------------------------------------------------------------------------------- */

/* Of the node that holds the disk: whether its file system shares blocks. */
static struct capability_facts facts_of(const struct json_value *pool, const char *node)
{
        const struct json_value *nodes = json_find(pool, "status", "nodes", NULL);

        for (const struct json_value *there = json_first(nodes); there; there = json_next(there)) {
                const struct json_value *reflink = json_get(there, "reflink");

                if (node && reflink && g_strcmp0(json_find_string(there, "name", NULL), node) == 0)
                        return (struct capability_facts){CAPABILITY_REFLINK, json_bool(reflink, false) ? CAPABILITY_REFLINK : 0};
        }
        return (struct capability_facts){0};
}

void storage_disk_check(const struct admission *admission, const struct json_value *object, struct schema_faults *faults)
{
        static const struct {
                const char *mode;
                enum capability_operation operation;
        } modes[] = {{"Full", CAPABILITY_CLONE_FULL}, {"Reflink", CAPABILITY_CLONE_REFLINK}, {"Linked", CAPABILITY_CLONE_LINKED}};
        const struct json_value *reference = json_find(object, "spec", "dataSource", "objectRef", NULL);
        const char *mode = json_find_string(object, "spec", "clone", "mode", NULL);
        const char *name = json_find_string(reference, "name", NULL);
        autostoreobject source = NULL;
        autostoreobject pool = NULL;
        const struct capability_pool *type;

        assert(admission && object && faults);
        if (admission->old || !mode || !name || g_strcmp0(json_find_string(reference, "kind", NULL), "VirtualDisk") != 0)
                return;
        source = store_get_newest(admission->store, &api_virtual_disk_kind, admission->namespace, name);
        if (source && json_find_string(source->root, "status", "storageClassName", NULL))
                pool = store_get_newest(admission->store, &api_storage_pool_kind, NULL,
                                        json_find_string(source->root, "status", "storageClassName", NULL));
        type = pool ? capability_pool_find(json_find_string(pool->root, "spec", "type", NULL)) : NULL;
        for (size_t i = 0; type && i < G_N_ELEMENTS(modes); i++) {
                struct capability_answer answer;

                if (strcmp(modes[i].mode, mode) != 0)
                        continue;
                answer = capability_ask(type, modes[i].operation,
                                        facts_of(pool->root, json_find_string(source->root, "status", "nodeName", NULL)));
                if (answer.verdict == CAPABILITY_REFUSED)
                        schema_faults_add(faults, "spec.clone.mode", answer.rule->code, "Invalid value: \"%s\": %s %s", mode,
                                          reason_find(answer.rule->code)->text, reason_find(answer.rule->code)->doc);
        }
}
