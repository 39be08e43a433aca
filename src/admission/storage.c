/* SPDX-License-Identifier: Apache-2.0 */
#include "admission/storage.h"

#include "generated/api_types.h"
#include "generated/reasons.h"
#include "schema/capability.h"

#include <assert.h>
#include <string.h>

#define DEFAULT_POOL "storagepool.gabbro.dev/is-default"

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

/* Of all nodes of the pool, when they are of one mind. */
static struct capability_facts facts_of_all(const struct json_value *pool)
{
        const struct json_value *nodes = json_find(pool, "status", "nodes", NULL);
        unsigned n = 0, n_with = 0;

        for (const struct json_value *there = json_first(nodes); there; there = json_next(there), n++) {
                const struct json_value *reflink = json_get(there, "reflink");

                if (!reflink)
                        return (struct capability_facts){0};
                n_with += json_bool(reflink, false);
        }
        if (n == 0 || (n_with > 0 && n_with < n))
                return (struct capability_facts){0};
        return (struct capability_facts){CAPABILITY_REFLINK, n_with ? CAPABILITY_REFLINK : 0};
}

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

struct default_search {
        unsigned n;
        char *name; /* of the last one */
};

static bool find_default(const struct store_object *object, void *userdata)
{
        struct default_search *search = userdata;
        const struct json_value *meta = json_find(object->root, "metadata", NULL);

        if (!json_get(meta, "deletionTimestamp") &&
            g_strcmp0(json_find_string(meta, "annotations", DEFAULT_POOL, NULL), "true") == 0) {
                g_free(search->name);
                search->name = g_strdup(object->name);
                search->n++;
        }
        return true;
}

/* The pool in which a disk of a source will lie; NULL: that is not known yet. @ret_facts: of the place there. */
static const struct store_object *pool_of_disk(const struct admission *admission, const struct json_value *object,
                                               struct capability_facts *ret_facts)
{
        const struct json_value *reference = json_find(object, "spec", "dataSource", "objectRef", NULL);
        const char *name = json_find_string(object, "spec", "persistentVolumeClaim", "storageClassName", NULL);
        bool of_disk = g_strcmp0(json_find_string(reference, "kind", NULL), "VirtualDisk") == 0;
        struct default_search search = {};
        g_autofree char *found = NULL;
        const struct store_object *pool = NULL;
        autostoreobject source = NULL;

        if (of_disk) {
                source = store_get_newest(admission->store, &api_virtual_disk_kind, admission->namespace,
                                          json_find_string(reference, "name", NULL));
                name = source ? json_find_string(source->root, "status", "storageClassName", NULL) : NULL;
        } else if (!name) {
                store_list(admission->store, &api_storage_pool_kind, NULL, NULL, find_default, &search);
                found = search.name;
                name = search.n == 1 ? found : NULL;
        }
        if (name)
                pool = store_get_newest(admission->store, &api_storage_pool_kind, NULL, name);
        if (pool)
                *ret_facts = of_disk ? facts_of(pool->root, json_find_string(source->root, "status", "nodeName", NULL))
                                     : facts_of_all(pool->root);
        return pool;
}

void storage_disk_check(const struct admission *admission, const struct json_value *object, struct schema_faults *faults)
{
        static const struct {
                const char *mode;
                enum capability_operation operation;
        } modes[] = {{"Full", CAPABILITY_CLONE_FULL}, {"Reflink", CAPABILITY_CLONE_REFLINK}, {"Linked", CAPABILITY_CLONE_LINKED}};
        const char *mode = json_find_string(object, "spec", "clone", "mode", NULL);
        struct capability_facts facts = {0};
        const struct capability_pool *type;
        autostoreobject pool = NULL;

        assert(admission && object && faults);
        if (admission->old || !mode || !json_find_string(object, "spec", "dataSource", "objectRef", "name", NULL))
                return;
        pool = pool_of_disk(admission, object, &facts);
        type = pool ? capability_pool_find(json_find_string(pool->root, "spec", "type", NULL)) : NULL;
        for (size_t i = 0; type && i < G_N_ELEMENTS(modes); i++) {
                struct capability_answer answer;

                if (strcmp(modes[i].mode, mode) != 0)
                        continue;
                answer = capability_ask(type, modes[i].operation, facts);
                if (answer.verdict == CAPABILITY_REFUSED)
                        schema_faults_add(faults, "spec.clone.mode", answer.rule->code, "Invalid value: \"%s\": %s %s", mode,
                                          reason_find(answer.rule->code)->text, reason_find(answer.rule->code)->doc);
        }
}

void storage_image_check(const struct admission *admission, const struct json_value *object, struct schema_faults *faults)
{
        const struct json_value *reference = json_find(object, "spec", "dataSource", "objectRef", NULL);
        const char *name = json_find_string(reference, "name", NULL);
        const char *namespace = admission->namespace ? admission->namespace : json_find_string(reference, "namespace", NULL);
        const struct capability_pool *type;
        struct capability_answer answer;
        autostoreobject disk = NULL;
        autostoreobject pool = NULL;

        assert(admission && object && faults);
        if (admission->old || !name || !namespace || g_strcmp0(json_find_string(reference, "kind", NULL), "VirtualDisk") != 0)
                return;
        disk = store_get_newest(admission->store, &api_virtual_disk_kind, namespace, name);
        name = disk ? json_find_string(disk->root, "status", "storageClassName", NULL) : NULL;
        pool = name ? store_get_newest(admission->store, &api_storage_pool_kind, NULL, name) : NULL;
        type = pool ? capability_pool_find(json_find_string(pool->root, "spec", "type", NULL)) : NULL;
        if (!type)
                return;
        answer = capability_ask(type, CAPABILITY_EXPORT,
                                facts_of(pool->root, json_find_string(disk->root, "status", "nodeName", NULL)));
        if (answer.verdict == CAPABILITY_REFUSED)
                schema_faults_add(faults, "spec.dataSource.objectRef.name", answer.rule->code, "Invalid value: \"%s\": %s %s",
                                  json_find_string(reference, "name", NULL), reason_find(answer.rule->code)->text,
                                  reason_find(answer.rule->code)->doc);
}
