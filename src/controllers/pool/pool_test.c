/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/cloud_test.h"

#include <string.h>

#define POOL (&api_storage_pool_kind)
#define NODE (&api_node_kind)

static void report(struct cloud *cloud, const char *node, const char *filesystem, bool reflink)
{
        g_autofree char *json =
                g_strdup_printf("{\"virtualization\": {\"pools\": [{\"name\": \"default\", \"capacityBytes\": "
                                "107374182400, \"availableBytes\": 85899345920, \"filesystem\": \"%s\", \"reflink\": "
                                "%s}]}}",
                                filesystem, reflink ? "true" : "false");

        cloud_status(cloud, NODE, node, json);
        cloud_advance(cloud, 11 * SECOND_US);
}

/* The group of @verdict ("refused", "depends") that holds @operation: its code, "" when none does. */
static const char *code_of(struct cloud *cloud, const struct schema_kind *kind, const char *name, const char *verdict,
                           const char *operation)
{
        const struct json_value *status = json_get(cache_root(cloud_get(cloud, kind, name)), "status");
        const struct json_value *groups = json_find(status, "capabilities", verdict, NULL);

        for (const struct json_value *group = json_first(groups); group; group = json_next(group))
                for (const struct json_value *item = json_first(json_get(group, "operations")); item; item = json_next(item))
                        if (strcmp(json_string(item, ""), operation) == 0)
                                return json_find_string(group, "code", NULL);
        return "";
}

/* B11, B13: two pools answer the same question differently, by what their nodes' file systems can. */
static void a_pool_tells_what_it_can_by_its_nodes(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        const struct json_value *refused;

        cloud_expect_phase(cloud, POOL, "default", "Ready");
        report(cloud, "node-a", "ext4", false);
        g_assert_cmpstr(cloud_text(cloud, POOL, "default", "/status/nodes/0/filesystem"), ==, "ext4");
        g_assert_cmpstr(code_of(cloud, POOL, "default", "refused", "cloneReflink"), ==, "ReflinkNotOnFilesystem");
        g_assert_cmpstr(cloud_text(cloud, POOL, "default", "/status/capabilities/poolType"), ==, "Directory");
        g_assert_nonnull(strstr(cloud_text(cloud, POOL, "default", "/status/capabilities/supported"), "\"create\""));
        g_assert_nonnull(strstr(cloud_text(cloud, POOL, "default", "/status/storageLock"), "one host"));
        refused = json_first(
                json_find(json_get(cache_root(cloud_get(cloud, POOL, "default")), "status"), "capabilities", "refused", NULL));
        for (; refused; refused = json_next(refused)) {
                g_assert_nonnull(json_find_string(refused, "message", NULL));
                g_assert_nonnull(json_find_string(refused, "remedy", NULL));
                g_assert_cmpstr(json_find_string(refused, "since", NULL), ==, "0.1");
        }
        report(cloud, "node-a", "xfs", true);
        g_assert_cmpstr(code_of(cloud, POOL, "default", "refused", "cloneReflink"), !=, "ReflinkNotOnFilesystem");
        cloud_expect_no_effects(cloud);
}

/* A running machine's disk is not deleted; its answers follow the machine. */
static void disks_and_machines_tell_what_they_can(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", "  bootloader: EFI\n");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpstr(code_of(cloud, VD, "web-root", "refused", "delete"), ==, "DiskInUse");
        g_assert_cmpstr(code_of(cloud, VD, "web-root", "refused", "shrink"), ==, "ShrinkNotOffered");
        g_assert_cmpstr(code_of(cloud, VM, "web", "refused", "snapshotInternal"), ==, "InternalSnapshotWithEfi");
        g_assert_cmpstr(code_of(cloud, VM, "web", "refused", "migrateShared"), ==, "PoolIsLocal");
        g_assert_null(strstr(cloud_text(cloud, VD, "web-root", "/status/capabilities"), "message"));
        cloud_expect_no_effects(cloud);
        cloud_delete(cloud, VM, "web");
        cloud_settle(cloud);
        g_assert_nonnull(strstr(cloud_text(cloud, VD, "web-root", "/status/capabilities/supported"), "\"delete\""));
        cloud_expect_no_effects(cloud);
}

static void a_pool_counts_what_its_disks_may_become(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        report(cloud, "node-a", "ext4", false);
        g_assert_cmpstr(cloud_text(cloud, POOL, "default", "/status/allocated"), ==, "0");
        g_assert_cmpstr(cloud_text(cloud, POOL, "default", "/status/used"), ==, "20Gi");
        g_assert_cmpstr(cloud_text(cloud, POOL, "default", "/status/health"), ==, "Healthy");
        cloud_machine(cloud, "web", NULL);
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_advance(cloud, 11 * SECOND_US);
        g_assert_cmpstr(cloud_text(cloud, POOL, "default", "/status/allocated"), ==, "2Gi");
        g_assert_cmpstr(cloud_text(cloud, POOL, "default", "/status/nodes/0/allocatedBytes"), ==, "2147483648");
        cloud_delete(cloud, VM, "web");
        cloud_delete(cloud, VD, "web-root");
        cloud_advance(cloud, 11 * SECOND_US);
        g_assert_cmpstr(cloud_text(cloud, POOL, "default", "/status/allocated"), ==, "0");
        cloud_expect_no_effects(cloud);
}

static unsigned refreshes(struct cloud *cloud, const char *pool)
{
        g_autoptr(GPtrArray) tasks = cache_lookup(cloud_cache(cloud), INDEX_TASK_BY_OWNER, cloud_get(cloud, POOL, pool)->uid);
        unsigned n = 0;

        for (guint i = 0; tasks && i < tasks->len; i++) {
                const struct api_host_task *task = ((const struct cache_object *)tasks->pdata[i])->view;

                n += strcmp(task->spec->type, "RefreshPool") == 0;
        }
        return n;
}

/* A pool that failed is looked at again when somebody asks for it, once. */
static void a_failed_pool_is_refreshed(void)
{
        static const char failed[] =
                "{\"state\": \"Failed\", \"error\": {\"reason\": \"PoolPathMissing\", \"message\": \"missing\"}}";
        g_autoptr(cloud) cloud = cloud_new(NULL);
        const struct cache_object *task;

        cloud_hold(cloud, &api_host_task_kind);
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: StoragePool, metadata: {name: bad}, spec: {path: /srv/bad}}");
        cloud_expect_phase(cloud, POOL, "bad", "Pending");
        task = index_one(cloud_cache(cloud), INDEX_TASK_BY_OWNER, cloud_get(cloud, POOL, "bad")->uid);
        cloud_status(cloud, &api_host_task_kind, task->name, failed);
        cloud_expect_phase(cloud, POOL, "bad", "Failed");
        g_assert_cmpuint(refreshes(cloud, "bad"), ==, 0);
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: StoragePool, metadata: {name: bad, annotations: "
                           "{storagepool.gabbro.dev/refresh: now}}, spec: {path: /srv/bad}}");
        cloud_settle(cloud);
        g_assert_cmpuint(refreshes(cloud, "bad"), ==, 1);
        cloud_hold(cloud, NULL);
        cloud_settle(cloud);
        g_assert_cmpuint(refreshes(cloud, "bad"), ==, 0);
        g_assert_cmpstr(cloud_text(cloud, POOL, "bad", "/status/refreshed"), ==, "now");
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/pool/a_pool_tells_what_it_can_by_its_nodes", a_pool_tells_what_it_can_by_its_nodes);
        g_test_add_func("/pool/disks_and_machines_tell_what_they_can", disks_and_machines_tell_what_they_can);
        g_test_add_func("/pool/a_pool_counts_what_its_disks_may_become", a_pool_counts_what_its_disks_may_become);
        g_test_add_func("/pool/a_failed_pool_is_refreshed", a_failed_pool_is_refreshed);
        return g_test_run();
}
