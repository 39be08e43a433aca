/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/cloud_test.h"

#include <string.h>

/* Images of disks (B11, C11, D32): what the controllers ask hosts for, what they say of it, and what is left. */

#define VOLUME  (&api_volume_kind)
#define TASK    (&api_host_task_kind)
#define BLOB    (&api_image_blob_kind)
#define OF_DISK "dataSource: {type: ObjectRef, objectRef: {kind: VirtualDisk, name: web-root}}"

static void image(struct cloud *cloud, const char *name)
{
        cloud_applyf(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualImage, metadata: {name: %s}, spec: {" OF_DISK "}}", name);
}

static const struct cache_object *one_of(struct cloud *cloud, const char *index, const struct schema_kind *kind, const char *name)
{
        return index_one(cloud_cache(cloud), index, cloud_get(cloud, kind, name)->uid);
}

static const struct cache_object *copy_of(struct cloud *cloud, const char *name)
{
        return one_of(cloud, INDEX_VOLUME_BY_OWNER, VI, name);
}

static const struct cache_object *task_of(struct cloud *cloud, const char *name)
{
        return one_of(cloud, INDEX_TASK_BY_OWNER, VI, name);
}

static struct cloud *with_machine(void)
{
        struct cloud *cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", NULL);
        cloud_expect_phase(cloud, VM, "web", "Running");
        return cloud;
}

/* The host has copied the disk. */
static void copied(struct cloud *cloud, const char *name, const char *state)
{
        cloud_status(cloud, VOLUME, copy_of(cloud, name)->name,
                     "{\"state\": \"Ready\", \"path\": \"/p/copy\", \"progressPercent\": 100}");
        g_autofree char *json = g_strdup_printf("{\"copied\": {\"mode\": \"Full\", \"consistency\": \"%s\"}}", state);
        cloud_status(cloud, VOLUME, copy_of(cloud, name)->name, json);
        cloud_settle(cloud);
}

static void a_disk_is_copied_then_sent_and_nothing_is_left(void)
{
        g_autoptr(cloud) cloud = with_machine();
        size_t volumes = cloud_count(cloud, VOLUME), tasks = cloud_count(cloud, TASK);
        const struct api_volume *copy, *source = one_of(cloud, INDEX_VOLUME_BY_OWNER, VD, "web-root")->view;
        const struct api_host_task *task;

        cloud_hold(cloud, VOLUME);
        image(cloud, "mine");
        cloud_expect_phase(cloud, VI, "mine", "Provisioning");
        cloud_expect_condition(cloud, VI, "mine", "Ready", "False Provisioning", "node-a copies VirtualDisk web-root");
        cloud_expect_condition(cloud, VD, "web-root", "InUse", "True AttachedToVirtualMachine", NULL);
        copy = copy_of(cloud, "mine")->view;
        g_assert_cmpstr(copy->spec->copy->volume, ==, source->metadata->name);
        g_assert_cmpstr(copy->spec->copy->mode, ==, "Full");
        g_assert_cmpstr(copy->spec->format, ==, "qcow2");
        g_assert_cmpstr(copy->spec->node_name, ==, source->spec->node_name);
        g_assert_cmpint(copy->spec->capacity_bytes, ==, source->spec->capacity_bytes);
        g_assert_true(copy->spec->read_only);
        g_assert_null(task_of(cloud, "mine"));
        cloud_status(cloud, VOLUME, copy->metadata->name, "{\"state\": \"Creating\", \"progressPercent\": 40}");
        cloud_settle(cloud);
        g_assert_cmpstr(cloud_text(cloud, VI, "mine", "/status/progress"), ==, "20%");
        cloud_hold(cloud, TASK);
        copied(cloud, "mine", "Agent");
        task = task_of(cloud, "mine")->view;
        g_assert_cmpstr(task->spec->type, ==, "ExportVolume");
        g_assert_cmpstr(task->spec->volume, ==, copy_of(cloud, "mine")->name);
        g_assert_cmpstr(task->spec->node_name, ==, "node-a");
        cloud_status(cloud, VI, "mine", "{\"ingest\": {\"progressPercent\": 30}}");
        cloud_expect_condition(cloud, VI, "mine", "Ready", "False Provisioning", "node-a sends its copy");
        g_assert_cmpstr(cloud_text(cloud, VI, "mine", "/status/progress"), ==, "65%");
        cloud_hold(cloud, NULL);
        cloud_expect_phase(cloud, VI, "mine", "Ready");
        g_assert_cmpstr(cloud_text(cloud, VI, "mine", "/status/consistency"), ==, "Agent");
        g_assert_cmpstr(cloud_text(cloud, VI, "mine", "/status/format"), ==, "qcow2");
        g_assert_cmpstr(cloud_text(cloud, VI, "mine", "/status/sourceUID"), ==, cloud_get(cloud, VD, "web-root")->uid);
        g_assert_cmpuint(cloud_count(cloud, BLOB), ==, 2);
        g_assert_cmpuint(cloud_count(cloud, VOLUME), ==, volumes);
        g_assert_cmpuint(cloud_count(cloud, TASK), ==, tasks);
        cloud_expect_no_effects(cloud);
}

static void the_disk_stays_until_it_is_copied_and_not_longer(void)
{
        g_autoptr(cloud) cloud = with_machine();

        cloud_delete(cloud, VM, "web");
        cloud_settle(cloud);
        cloud_hold(cloud, VOLUME);
        image(cloud, "mine");
        cloud_settle(cloud);
        cloud_expect_condition(cloud, VD, "web-root", "InUse", "True UsedForImageCreation", "images are made of it: mine");
        cloud_delete(cloud, VD, "web-root");
        cloud_expect_condition(cloud, VD, "web-root", "Ready", "False Terminating", "images that are being made of it: mine");
        cloud_hold(cloud, TASK);
        copied(cloud, "mine", "Stopped");
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, VD, "web-root"));
        cloud_expect_phase(cloud, VI, "mine", "Provisioning");
        cloud_hold(cloud, NULL);
        cloud_expect_phase(cloud, VI, "mine", "Ready");
        g_assert_cmpstr(cloud_text(cloud, VI, "mine", "/status/consistency"), ==, "Stopped");
}

static void an_image_that_is_deleted_while_it_is_made_leaves_nothing(void)
{
        const struct schema_kind *held[] = {VOLUME, TASK};

        for (size_t i = 0; i < G_N_ELEMENTS(held); i++) {
                g_autoptr(cloud) cloud = with_machine();
                size_t volumes = cloud_count(cloud, VOLUME), tasks = cloud_count(cloud, TASK);

                cloud_hold(cloud, held[i]);
                image(cloud, "mine");
                cloud_expect_phase(cloud, VI, "mine", "Provisioning");
                cloud_delete(cloud, VI, "mine");
                cloud_expect_phase(cloud, VI, "mine", "Terminating");
                g_assert_true(object_deleting(i == 0 ? copy_of(cloud, "mine") : task_of(cloud, "mine")));
                g_assert_true(i == 0 || !object_deleting(copy_of(cloud, "mine")));
                cloud_hold(cloud, NULL);
                cloud_settle(cloud);
                g_assert_null(cloud_get(cloud, VI, "mine"));
                g_assert_cmpuint(cloud_count(cloud, VOLUME), ==, volumes);
                g_assert_cmpuint(cloud_count(cloud, TASK), ==, tasks);
                cloud_expect_condition(cloud, VD, "web-root", "InUse", "True AttachedToVirtualMachine", NULL);
        }
}

static void a_lost_host_is_named_and_it_goes_on_when_it_is_back(void)
{
        g_autoptr(cloud) cloud = with_machine();

        cloud_hold(cloud, TASK);
        image(cloud, "mine");
        cloud_settle(cloud);
        cloud_lose_node(cloud, "node-a", true);
        cloud_advance(cloud, 300 * SECOND_US);
        cloud_expect_condition(cloud, VI, "mine", "Ready", "False NodeLost", "host node-a, which has VirtualDisk web-root");
        cloud_lose_node(cloud, "node-a", false);
        cloud_hold(cloud, NULL);
        cloud_advance(cloud, 60 * SECOND_US);
        cloud_expect_phase(cloud, VI, "mine", "Ready");
}

static void what_is_in_the_way_is_said(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        image(cloud, "mine");
        cloud_expect_phase(cloud, VI, "mine", "Pending");
        cloud_expect_condition(cloud, VI, "mine", "DatasourceReady", "False VirtualDiskNotFound", "web-root does not exist");
        cloud_applyf(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualDisk, metadata: {name: web-root}, spec: "
                            "{persistentVolumeClaim: {size: 1Gi}}}");
        cloud_expect_condition(cloud, VI, "mine", "DatasourceReady", "False VirtualDiskNotReady",
                               "no content before its first machine starts");
        cloud_delete(cloud, VI, "mine");
        cloud_machine(cloud, "web", NULL);
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_hold(cloud, VOLUME);
        image(cloud, "mine");
        cloud_expect_phase(cloud, VI, "mine", "Provisioning");
        cloud_status(cloud, VOLUME, copy_of(cloud, "mine")->name,
                     "{\"state\": \"Failed\", \"error\": {\"reason\": \"PoolFull\", \"message\": \"no space left\"}}");
        cloud_expect_phase(cloud, VI, "mine", "Failed");
        cloud_expect_condition(cloud, VI, "mine", "Ready", "False PoolFull", "no space left");
        g_assert_true(cloud_has_event(cloud, "mine", "PoolFull"));
        cloud_hold(cloud, TASK);
        cloud_status(cloud, VOLUME, copy_of(cloud, "mine")->name, "{\"state\": \"Ready\", \"error\": null, \"path\": \"/p/copy\"}");
        cloud_expect_phase(cloud, VI, "mine", "Provisioning");
        cloud_status(cloud, TASK, task_of(cloud, "mine")->name,
                     "{\"state\": \"Failed\", \"error\": {\"reason\": \"QuotaExceeded\", \"message\": \"images.storage\"}}");
        cloud_expect_condition(cloud, VI, "mine", "Ready", "False QuotaExceeded", "images.storage");
        cloud_status(
                cloud, TASK, task_of(cloud, "mine")->name,
                "{\"state\": \"Running\", \"error\": {\"reason\": \"DiskFull\", \"message\": \"the gateway's disk is full\"}}");
        cloud_expect_phase(cloud, VI, "mine", "Provisioning");
        cloud_expect_condition(cloud, VI, "mine", "Ready", "False DiskFull", "the gateway's disk is full");
        cloud_status(cloud, VI, "mine",
                     "{\"ingest\": {\"error\": {\"reason\": \"ImageHeaderInvalid\", \"message\": \"the header is damaged\"}}}");
        cloud_expect_phase(cloud, VI, "mine", "Failed");
        cloud_hold(cloud, NULL);
        cloud_settle(cloud);
        cloud_expect_condition(cloud, VI, "mine", "DatasourceReady", "False ImageHeaderInvalid", "damaged");
        g_assert_null(copy_of(cloud, "mine"));
        g_assert_null(task_of(cloud, "mine"));
        cloud_expect_no_effects(cloud);
}

static void a_copy_that_is_lost_on_its_host_is_made_again(void)
{
        g_autoptr(cloud) cloud = with_machine();
        g_autofree char *first = NULL;

        cloud_hold(cloud, TASK);
        image(cloud, "mine");
        cloud_settle(cloud);
        first = g_strdup(copy_of(cloud, "mine")->name);
        cloud_status(cloud, VOLUME, first,
                     "{\"state\": \"Failed\", \"error\": {\"reason\": \"VolumeMissing\", \"message\": \"it is no longer there\"}}");
        cloud_hold(cloud, NULL);
        cloud_expect_phase(cloud, VI, "mine", "Ready");
        g_assert_null(copy_of(cloud, "mine"));
}

static void a_cluster_image_names_the_project(void)
{
        g_autoptr(cloud) cloud = with_machine();

        cloud_applyf(cloud,
                     "{apiVersion: gabbro.dev/v1, kind: ClusterVirtualImage, metadata: {name: golden}, spec: {dataSource: {type: "
                     "ObjectRef, objectRef: {kind: VirtualDisk, name: web-root, namespace: default}}}}");
        cloud_expect_phase(cloud, CVI, "golden", "Ready");
        cloud_applyf(cloud,
                     "{apiVersion: gabbro.dev/v1, kind: ClusterVirtualImage, metadata: {name: other}, spec: {dataSource: {type: "
                     "ObjectRef, objectRef: {kind: VirtualDisk, name: web-root, namespace: elsewhere}}}}");
        cloud_expect_phase(cloud, CVI, "other", "Pending");
}

static void the_limit_of_the_pool_is_asked_first(void)
{
        static const char pool[] = "{apiVersion: gabbro.dev/v1, kind: StoragePool, metadata: {name: default, annotations: "
                                   "{storagepool.gabbro.dev/is-default: \"true\"}}, spec: {type: Directory, path: "
                                   "/var/lib/gabbro/disks, overcommitPercent: %u}}";
        g_autoptr(cloud) cloud = with_machine();

        cloud_status(cloud, &api_node_kind, "node-a",
                     "{\"virtualization\": {\"pools\": [{\"name\": \"default\", \"capacityBytes\": 3221225472, "
                     "\"availableBytes\": 3221225472}]}}");
        cloud_applyf(cloud, pool, 100);
        cloud_advance(cloud, 11 * SECOND_US);
        image(cloud, "mine");
        cloud_expect_phase(cloud, VI, "mine", "Pending");
        cloud_expect_condition(cloud, VI, "mine", "Ready", "False PoolOverCommitted", "may have 3Gi together and have 2Gi");
        g_assert_null(copy_of(cloud, "mine"));
        cloud_applyf(cloud, pool, 200);
        cloud_advance(cloud, 61 * SECOND_US);
        cloud_expect_phase(cloud, VI, "mine", "Ready");
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
#define ADD(test) g_test_add_func("/image-export/" #test, test)
        ADD(a_disk_is_copied_then_sent_and_nothing_is_left);
        ADD(the_disk_stays_until_it_is_copied_and_not_longer);
        ADD(an_image_that_is_deleted_while_it_is_made_leaves_nothing);
        ADD(a_lost_host_is_named_and_it_goes_on_when_it_is_back);
        ADD(what_is_in_the_way_is_said);
        ADD(a_copy_that_is_lost_on_its_host_is_made_again);
        ADD(a_cluster_image_names_the_project);
        ADD(the_limit_of_the_pool_is_asked_first);
        return g_test_run();
}
