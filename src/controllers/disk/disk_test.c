/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/cloud_test.h"

#include <string.h>

#define BLOB     (&api_image_blob_kind)
#define POOL     (&api_storage_pool_kind)
#define DIGEST   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define OF_IMAGE "dataSource: {type: ObjectRef, objectRef: {kind: ClusterVirtualImage, name: tiny}}"

static void disk(struct cloud *cloud, const char *name, const char *spec)
{
        cloud_applyf(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualDisk, metadata: {name: %s}, spec: {%s}}", name, spec);
}

static void image(struct cloud *cloud, const char *name, const char *spec)
{
        cloud_applyf(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualImage, metadata: {name: %s}, spec: {%s}}", name, spec);
}

static const struct api_volume *volume_of(struct cloud *cloud, const struct schema_kind *kind, const char *name)
{
        const struct cache_object *object = index_one(cloud_cache(cloud), INDEX_VOLUME_BY_OWNER, cloud_get(cloud, kind, name)->uid);

        return object ? object->view : NULL;
}

/* --- images --- */

static void an_upload_is_awaited_then_becomes_an_image(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        image(cloud, "mine", "dataSource: {type: Upload}");
        cloud_expect_phase(cloud, VI, "mine", "WaitForUserUpload");
        cloud_expect_condition(cloud, VI, "mine", "Ready", "False WaitForUserUpload", NULL);
        cloud_status(cloud, VI, "mine", "{\"ingest\": {\"progressPercent\": 42}}");
        cloud_expect_phase(cloud, VI, "mine", "Provisioning");
        g_assert_cmpstr(cloud_text(cloud, VI, "mine", "/status/progress"), ==, "42%");
        cloud_status(cloud, VI, "mine",
                     "{\"ingest\": {\"progressPercent\": 100, \"digest\": \"" DIGEST "\", \"sizeBytes\": 1048576,"
                     " \"virtualSizeBytes\": 2147483648, \"format\": \"qcow2\"}}");
        cloud_expect_phase(cloud, VI, "mine", "Ready");
        g_assert_cmpstr(cloud_text(cloud, VI, "mine", "/status/size/unpacked"), ==, "2Gi");
        g_assert_cmpstr(cloud_text(cloud, VI, "mine", "/status/size/stored"), ==, "1Mi");
        g_assert_cmpstr(cloud_text(cloud, VI, "mine", "/status/cdrom"), ==, "false");
        g_assert_nonnull(cloud_get(cloud, BLOB, "sha256-" DIGEST));
        cloud_expect_no_effects(cloud);
}

static void a_refused_file_fails_with_its_reason_and_may_be_tried_again(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        image(cloud, "mine", "dataSource: {type: HTTP, http: {url: \"https://example.org/a\"}}");
        cloud_expect_phase(cloud, VI, "mine", "Provisioning");
        cloud_status(cloud, VI, "mine",
                     "{\"ingest\": {\"error\": {\"reason\": \"ImageDigestMismatch\", \"message\": \"the SHA-256 is another\"}}}");
        cloud_expect_phase(cloud, VI, "mine", "Failed");
        cloud_expect_condition(cloud, VI, "mine", "DatasourceReady", "False ImageDigestMismatch", "the SHA-256 is another");
        cloud_expect_condition(cloud, VI, "mine", "Ready", "False ProvisioningFailed", NULL);
        g_assert_true(cloud_has_event(cloud, "mine", "ProvisioningFailed"));
        cloud_status(cloud, VI, "mine", "{\"ingest\": {\"progressPercent\": 0, \"error\": null}}");
        cloud_expect_phase(cloud, VI, "mine", "Provisioning");
}

static void an_image_of_an_image_shares_its_blob_and_outlives_it(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        image(cloud, "copy", "dataSource: {type: ObjectRef, objectRef: {kind: ClusterVirtualImage, name: tiny}}");
        cloud_expect_phase(cloud, VI, "copy", "Pending");
        cloud_expect_condition(cloud, VI, "copy", "DatasourceReady", "False ClusterImageNotFound", NULL);
        cloud_image(cloud, "tiny");
        cloud_expect_phase(cloud, VI, "copy", "Ready");
        g_assert_cmpuint(cloud_count(cloud, BLOB), ==, 1);
        cloud_delete(cloud, CVI, "tiny");
        cloud_advance(cloud, 1200 * SECOND_US);
        cloud_expect_phase(cloud, VI, "copy", "Ready");
        g_assert_cmpuint(cloud_count(cloud, BLOB), ==, 1);
        cloud_delete(cloud, VI, "copy");
        cloud_advance(cloud, 1200 * SECOND_US);
        g_assert_cmpuint(cloud_count(cloud, BLOB), ==, 0);
}

/* D99: read-only, CD-ROM for ISO. */
static void images_are_read_only_devices(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        const struct api_instance *instance;

        image(cloud, "iso", "dataSource: {type: Upload}");
        cloud_settle(cloud);
        cloud_status(cloud, VI, "iso",
                     "{\"ingest\": {\"progressPercent\": 100, \"digest\": \"" DIGEST "\", \"sizeBytes\": 1048576,"
                     " \"virtualSizeBytes\": 1048576, \"format\": \"iso\"}}");
        cloud_expect_phase(cloud, VI, "iso", "Ready");
        g_assert_cmpstr(cloud_text(cloud, VI, "iso", "/status/cdrom"), ==, "true");
        cloud_machine(cloud, "web", "");
        cloud_apply(cloud, "apiVersion: gabbro.dev/v1\nkind: VirtualMachine\nmetadata: {name: web}\n"
                           "spec: {virtualMachineClassName: generic, cpu: {cores: 1}, memory: {size: 1Gi},\n"
                           "  blockDeviceRefs: [{kind: VirtualDisk, name: web-root}, {kind: VirtualImage, name: iso}, {kind: "
                           "ClusterVirtualImage, name: tiny}]}\n");
        cloud_expect_phase(cloud, VM, "web", "Running");
        instance = cloud_instance(cloud, "web");
        g_assert_cmpuint(instance->spec->n_disks, ==, 3);
        g_assert_cmpstr(instance->spec->disks[0].kind, ==, "Disk");
        g_assert_false(instance->spec->disks[0].read_only);
        g_assert_cmpstr(instance->spec->disks[1].kind, ==, "Cdrom");
        g_assert_cmpstr(instance->spec->disks[2].kind, ==, "Image");
        g_assert_true(instance->spec->disks[2].read_only);
        g_assert_true(volume_of(cloud, CVI, "tiny")->spec->read_only);
        cloud_expect_no_effects(cloud);
        cloud_delete(cloud, VI, "iso");
        cloud_expect_phase(cloud, VI, "iso", "Terminating");
        cloud_expect_condition(cloud, VI, "iso", "InUse", "True AttachedToVirtualMachine", "machine default/web uses it");
        cloud_delete(cloud, VM, "web");
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, VI, "iso"));
        g_assert_cmpuint(cloud_count(cloud, &api_volume_kind), ==, 1); /* the copies of images went, the disk stays */
}

/* --- disks --- */

static void a_disk_waits_for_its_first_machine(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        const struct api_volume *volume;

        cloud_image(cloud, "tiny");
        disk(cloud, "root",
             "dataSource: {type: ObjectRef, objectRef: {kind: ClusterVirtualImage, name: tiny}}, persistentVolumeClaim: {size: "
             "2Gi}");
        cloud_expect_phase(cloud, VD, "root", "WaitForFirstConsumer");
        g_assert_cmpstr(cloud_text(cloud, VD, "root", "/status/capacity"), ==, "2Gi");
        g_assert_cmpstr(cloud_text(cloud, VD, "root", "/status/storageClassName"), ==, "default");
        g_assert_cmpuint(cloud_count(cloud, &api_volume_kind), ==, 0);
        cloud_hold(cloud, &api_volume_kind);
        cloud_apply(cloud, "apiVersion: gabbro.dev/v1\nkind: VirtualMachine\nmetadata: {name: web}\n"
                           "spec: {virtualMachineClassName: generic, cpu: {cores: 1}, memory: {size: 1Gi},\n"
                           "  blockDeviceRefs: [{kind: VirtualDisk, name: root}]}\n");
        cloud_expect_phase(cloud, VD, "root", "Provisioning");
        cloud_expect_phase(cloud, VM, "web", "Starting");
        cloud_expect_condition(cloud, VM, "web", "BlockDevicesReady", "False WaitingForWaitForFirstConsumerBlockDevicesToBeReady",
                               NULL);
        volume = volume_of(cloud, VD, "root");
        g_assert_cmpstr(volume->spec->format, ==, "qcow2");
        g_assert_cmpint(volume->spec->capacity_bytes, ==, 2ll << 30);
        g_assert_cmpint(volume->spec->source->virtual_size_bytes, ==, 1ll << 30);
        g_assert_true(g_str_has_suffix(volume->spec->volume_name, "-main.qcow2")); /* C24 */
        g_assert_cmpstr(volume->spec->pool->path, ==, "/var/lib/gabbro/disks");
        cloud_status(cloud, &api_volume_kind, cloud_text(cloud, VD, "root", "/status/target/persistentVolumeClaimName"),
                     "{\"state\": \"Fetching\", \"progressPercent\": 30}");
        cloud_settle(cloud);
        g_assert_cmpstr(cloud_text(cloud, VD, "root", "/status/progress"), ==, "30%");
        cloud_hold(cloud, NULL);
        cloud_expect_phase(cloud, VD, "root", "Ready");
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_expect_condition(cloud, VD, "root", "InUse", "True AttachedToVirtualMachine", "machine web has it");
        g_assert_cmpstr(cloud_text(cloud, VD, "root", "/status/attachedToVirtualMachines"), ==,
                        "[{\"name\":\"web\",\"mounted\":true}]");
}

static const struct {
        const char *name, *spec, *phase, *type, *status_reason, *part;
} faults[] = {
        {"small",
         "dataSource: {type: ObjectRef, objectRef: {kind: ClusterVirtualImage, name: tiny}}, persistentVolumeClaim: {size: 100Mi}",
         "Failed", "Ready", "False ImageTooSmall", "the size 100Mi is smaller than its image, which needs 1Gi"},
        {"pool", "persistentVolumeClaim: {size: 1Gi, storageClassName: gold}", "Pending", "StorageClassReady",
         "False StorageClassNotFound", "StoragePool gold does not exist"},
        {"absent", "dataSource: {type: ObjectRef, objectRef: {kind: VirtualImage, name: none}}", "Pending", "DatasourceReady",
         "False ImageNotFound", "VirtualImage none does not exist"},
};

static void faulty_disks_say_why(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_image(cloud, "tiny");
        for (size_t i = 0; i < G_N_ELEMENTS(faults); i++) {
                disk(cloud, faults[i].name, faults[i].spec);
                cloud_expect_phase(cloud, VD, faults[i].name, faults[i].phase);
                cloud_expect_condition(cloud, VD, faults[i].name, faults[i].type, faults[i].status_reason, faults[i].part);
        }
        cloud_expect_no_effects(cloud);
}

static void a_blank_disk_and_an_uploaded_disk_come_to_be(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        disk(cloud, "data", "persistentVolumeClaim: {size: 10Gi}");
        disk(cloud, "upload", "dataSource: {type: Upload}");
        cloud_expect_phase(cloud, VD, "data", "WaitForFirstConsumer");
        cloud_expect_phase(cloud, VD, "upload", "WaitForUserUpload");
        g_assert_cmpstr(cloud_text(cloud, VD, "upload", "/status/imageUploadURLs/external"), ==,
                        "/apis/gabbro.dev/v1/namespaces/default/virtualdisks/upload/upload");
        g_assert_nonnull(strstr(cloud_text(cloud, VD, "upload", "/status/uploadCommand"), "virtualdisks/upload/upload"));
        g_assert_cmpstr(cloud_text(cloud, VD, "data", "/status/uploadCommand"), ==, "");
        cloud_status(cloud, VD, "upload", "{\"ingest\": {\"progressPercent\": 30}}");
        cloud_expect_phase(cloud, VD, "upload", "Provisioning");
        g_assert_cmpstr(cloud_text(cloud, VD, "upload", "/status/progress"), ==, "30%");
        g_assert_cmpstr(cloud_text(cloud, VD, "upload", "/status/uploadCommand"), !=, "");
        cloud_status(cloud, VD, "upload",
                     "{\"ingest\": {\"progressPercent\": 100, \"digest\": \"" DIGEST "\", \"sizeBytes\": 1048576,"
                     " \"virtualSizeBytes\": 2147483648, \"format\": \"raw\"}}");
        cloud_expect_phase(cloud, VD, "upload", "WaitForFirstConsumer");
        g_assert_cmpstr(cloud_text(cloud, VD, "upload", "/status/uploadCommand"), ==, "");
        g_assert_cmpstr(cloud_text(cloud, VD, "upload", "/status/imageUploadURLs/external"), ==, "");
        cloud_advance(cloud, 7200 * SECOND_US);
        g_assert_nonnull(cloud_get(cloud, BLOB, "sha256-" DIGEST)); /* however long the first machine keeps it waiting */
        cloud_apply(cloud, "apiVersion: gabbro.dev/v1\nkind: VirtualMachine\nmetadata: {name: web}\n"
                           "spec: {virtualMachineClassName: generic, cpu: {cores: 1}, memory: {size: 1Gi},\n"
                           "  blockDeviceRefs: [{kind: VirtualDisk, name: upload}, {kind: VirtualDisk, name: data}]}\n");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_null(volume_of(cloud, VD, "data")->spec->source);
        g_assert_cmpstr(volume_of(cloud, VD, "upload")->spec->source->digest, ==, DIGEST);
        cloud_advance(cloud, 7200 * SECOND_US);
        g_assert_null(cloud_get(cloud, BLOB, "sha256-" DIGEST)); /* the volume has it */
        cloud_expect_phase(cloud, VD, "upload", "Ready");
}

static void a_disk_grows_and_is_protected_while_in_use(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        g_autofree char *held = NULL;

        cloud_machine(cloud, "web", NULL);
        cloud_expect_phase(cloud, VD, "web-root", "Ready");
        cloud_hold(cloud, &api_volume_kind);
        disk(cloud, "web-root",
             "dataSource: {type: ObjectRef, objectRef: {kind: ClusterVirtualImage, name: tiny}}, persistentVolumeClaim: {size: "
             "4Gi}");
        cloud_expect_phase(cloud, VD, "web-root", "Resizing");
        cloud_expect_phase(cloud, VM, "web", "Running");
        held = g_strdup_printf("{\"state\": \"Ready\", \"capacityBytes\": 2147483648, \"observedGeneration\": %" G_GINT64_FORMAT
                               ", \"error\": {\"reason\": \"ResizeNotSupported\", \"message\": \"machine web runs\"}}",
                               volume_of(cloud, VD, "web-root")->metadata->generation);
        cloud_status(cloud, &api_volume_kind, cloud_text(cloud, VD, "web-root", "/status/target/persistentVolumeClaimName"), held);
        cloud_expect_phase(cloud, VD, "web-root", "Ready");
        cloud_expect_condition(cloud, VD, "web-root", "Resizing", "False ResizeNotSupported", "to 4Gi: machine web runs");
        cloud_status(cloud, &api_volume_kind, cloud_text(cloud, VD, "web-root", "/status/target/persistentVolumeClaimName"),
                     "{\"state\": \"Ready\", \"capacityBytes\": 4294967296}");
        cloud_hold(cloud, NULL);
        cloud_expect_phase(cloud, VD, "web-root", "Ready");
        g_assert_cmpstr(cloud_text(cloud, VD, "web-root", "/status/capacity"), ==, "4Gi");
        cloud_delete(cloud, VD, "web-root");
        cloud_expect_phase(cloud, VD, "web-root", "Terminating");
        cloud_expect_condition(cloud, VD, "web-root", "Ready", "False Terminating", "waits for machine web");
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_delete(cloud, VM, "web");
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, VD, "web-root"));
}

#define OF_TINY                                                                                                                    \
        "dataSource: {type: ObjectRef, objectRef: {kind: ClusterVirtualImage, name: tiny}}, persistentVolumeClaim: {size: 2Gi}"

/* A change reaches the running machine without a start, in both directions, and what is in force is told. */
static void limits_reach_a_running_machine_and_go_with_it(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        const struct api_instance_disk_limits *limits;

        cloud_machine(cloud, "web", NULL);
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_null(cloud_instance(cloud, "web")->spec->disks[0].limits);
        disk(cloud, "web-root", OF_TINY ", limits: {readBytesPerSecond: 10Mi, writeOperationsPerSecond: 100}");
        cloud_settle(cloud);
        limits = cloud_instance(cloud, "web")->spec->disks[0].limits;
        g_assert_nonnull(limits);
        g_assert_cmpint(limits->read_bytes, ==, 10 << 20);
        g_assert_cmpint(limits->write_operations, ==, 100);
        g_assert_false(limits->has_write_bytes || limits->has_total_bytes || limits->has_read_operations);
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->epoch, ==, 1);
        g_assert_cmpstr(cloud_text(cloud, VD, "web-root", "/status/limits/readBytesPerSecond"), ==, "10Mi");
        g_assert_cmpstr(cloud_text(cloud, VD, "web-root", "/status/limits/writeOperationsPerSecond"), ==, "100");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/restartAwaitingChanges/0/path"), ==, "");
        cloud_expect_no_effects(cloud);
        disk(cloud, "web-root", OF_TINY);
        cloud_settle(cloud);
        g_assert_null(cloud_instance(cloud, "web")->spec->disks[0].limits);
        g_assert_cmpstr(cloud_text(cloud, VD, "web-root", "/status/limits/readBytesPerSecond"), ==, "");
        cloud_expect_no_effects(cloud);
}

/* Of a machine that is off they wait for its start; a restart keeps them. */
static void limits_wait_for_the_start_and_outlive_a_restart(void)
{
        static const char operation[] = "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: %s},"
                                        " spec: {type: %s, virtualMachineName: web}}";
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", "  runPolicy: Manual\n");
        disk(cloud, "web-root", OF_TINY ", limits: {totalBytesPerSecond: 1Mi}");
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        g_assert_cmpstr(cloud_text(cloud, VD, "web-root", "/status/limits/totalBytesPerSecond"), ==, "");
        cloud_applyf(cloud, operation, "go", "Start");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpint(cloud_instance(cloud, "web")->metadata->generation, ==, 1); /* they came with the start, not after it */
        g_assert_cmpstr(cloud_text(cloud, VD, "web-root", "/status/limits/totalBytesPerSecond"), ==, "1Mi");
        cloud_applyf(cloud, operation, "again", "Restart");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->epoch, ==, 2);
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->disks[0].limits->total_bytes, ==, 1 << 20);
        cloud_applyf(cloud, operation, "end", "Stop");
        cloud_expect_phase(cloud, VM, "web", "Stopped");
        disk(cloud, "web-root", OF_TINY ", limits: {totalBytesPerSecond: 2Mi}");
        cloud_settle(cloud);
        g_assert_cmpstr(cloud_text(cloud, VD, "web-root", "/status/limits/totalBytesPerSecond"), ==, "");
        cloud_applyf(cloud, operation, "more", "Start");
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_cmpstr(cloud_text(cloud, VD, "web-root", "/status/limits/totalBytesPerSecond"), ==, "2Mi");
}

/* The pool's limit counts for copies too, and for growth; a drained pool takes nothing new. */
static void a_pool_that_is_full_by_its_limit_or_drained_takes_no_more(void)
{
        static const char pool[] = "{apiVersion: gabbro.dev/v1, kind: StoragePool, metadata: {name: default, annotations: "
                                   "{storagepool.gabbro.dev/is-default: \"true\"}}, spec: {type: Directory, path: "
                                   "/var/lib/gabbro/disks, %s}}";
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", "  runPolicy: AlwaysOff\n");
        cloud_machine(cloud, "web", NULL);
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_status(cloud, &api_node_kind, "node-a",
                     "{\"virtualization\": {\"pools\": [{\"name\": \"default\", \"capacityBytes\": 3221225472, "
                     "\"availableBytes\": 3221225472}]}}");
        cloud_applyf(cloud, pool, "overcommitPercent: 100");
        cloud_advance(cloud, 11 * SECOND_US);
        disk(cloud, "web-root",
             "dataSource: {type: ObjectRef, objectRef: {kind: ClusterVirtualImage, name: tiny}}, persistentVolumeClaim: {size: "
             "4Gi}");
        cloud_expect_phase(cloud, VD, "web-root", "Ready");
        cloud_expect_condition(cloud, VD, "web-root", "Resizing", "False PoolOverCommitted", "may have 3Gi together and have 2Gi");
        disk(cloud, "data", "persistentVolumeClaim: {size: 2Gi}");
        cloud_apply(cloud, "apiVersion: gabbro.dev/v1\nkind: VirtualMachine\nmetadata: {name: two}\n"
                           "spec: {virtualMachineClassName: generic, cpu: {cores: 1}, memory: {size: 1Gi},\n"
                           "  blockDeviceRefs: [{kind: VirtualDisk, name: data}]}\n");
        cloud_expect_phase(cloud, VM, "two", "Pending");
        cloud_expect_condition(cloud, VM, "two", "Running", "False NoSuitableNode", "2Gi more are needed");
        cloud_applyf(cloud, pool, "overcommitPercent: 300");
        cloud_advance(cloud, 61 * SECOND_US);
        cloud_expect_phase(cloud, VM, "two", "Running");
        g_assert_cmpstr(cloud_text(cloud, VD, "web-root", "/status/capacity"), ==, "4Gi");
        cloud_applyf(cloud, pool, "drain: true");
        disk(cloud, "late", "persistentVolumeClaim: {size: 1Gi}");
        cloud_expect_phase(cloud, VD, "late", "Pending");
        cloud_expect_condition(cloud, VD, "late", "StorageClassReady", "False PoolDraining", "takes no new disks");
        cloud_expect_phase(cloud, VM, "two", "Running");
        cloud_expect_no_effects(cloud);
}

static void a_copy_of_an_image_counts_before_it_is_made(void)
{
        static const char pool[] = "{apiVersion: gabbro.dev/v1, kind: StoragePool, metadata: {name: default, annotations: "
                                   "{storagepool.gabbro.dev/is-default: \"true\"}}, spec: {type: Directory, path: "
                                   "/var/lib/gabbro/disks, overcommitPercent: %u}}";
        g_autoptr(cloud) cloud = cloud_new(NULL);
        const struct api_volume *volume;

        cloud_machine(cloud, "web", NULL);
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_status(cloud, &api_node_kind, "node-a",
                     "{\"virtualization\": {\"pools\": [{\"name\": \"default\", \"capacityBytes\": 3221225472, "
                     "\"availableBytes\": 3221225472, \"reflink\": true}]}}");
        cloud_applyf(cloud, pool, 120);
        cloud_advance(cloud, 11 * SECOND_US);
        cloud_applyf(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualDisk, metadata: {name: link, annotations: "
                            "{gabbro.dev/selected-node: node-a}}, spec: {" OF_IMAGE ", clone: {mode: Linked}}}");
        cloud_expect_phase(cloud, VD, "link", "Pending");
        cloud_expect_condition(cloud, VD, "link", "Ready", "False PoolOverCommitted", "a copy of its image beside it");
        cloud_applyf(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualDisk, metadata: {name: auto, annotations: "
                            "{gabbro.dev/selected-node: node-a}}, spec: {" OF_IMAGE "}}");
        cloud_expect_phase(cloud, VD, "auto", "Ready");
        volume = volume_of(cloud, VD, "auto");
        g_assert_null(volume->spec->copy); /* made whole: that needs no room for another file */
        cloud_delete(cloud, VD, "auto");
        cloud_applyf(cloud, pool, 200);
        cloud_advance(cloud, 61 * SECOND_US);
        cloud_expect_phase(cloud, VD, "link", "Ready");
        cloud_expect_no_effects(cloud);
}

static void a_volume_that_fails_tells_the_hosts_words(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_hold(cloud, &api_volume_kind);
        cloud_machine(cloud, "web", NULL);
        cloud_expect_phase(cloud, VD, "web-root", "Provisioning");
        cloud_status(
                cloud, &api_volume_kind, cloud_text(cloud, VD, "web-root", "/status/target/persistentVolumeClaimName"),
                "{\"state\": \"Failed\", \"error\": {\"reason\": \"PoolFull\", \"message\": \"no space left in pool default\"}}");
        cloud_expect_phase(cloud, VD, "web-root", "Failed");
        cloud_expect_condition(cloud, VD, "web-root", "Ready", "False PoolFull", "no space left");
        cloud_expect_condition(cloud, VM, "web", "BlockDevicesReady", "False BlockDevicesNotReady", "no space left");
}

/* --- clones --- */

#define CLONE(mode) "dataSource: {type: ObjectRef, objectRef: {kind: VirtualDisk, name: web-root}}, clone: {mode: " mode "}"

static const char *volume_name(struct cloud *cloud, const char *name)
{
        return cloud_text(cloud, VD, name, "/status/target/persistentVolumeClaimName");
}

static void a_clone_is_made_at_once_where_its_source_lies(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        const struct api_volume *volume;

        disk(cloud, "copy", CLONE("Auto"));
        cloud_expect_phase(cloud, VD, "copy", "Pending");
        cloud_expect_condition(cloud, VD, "copy", "DatasourceReady", "False VirtualDiskNotFound", "web-root does not exist");
        cloud_machine(cloud, "web", NULL);
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_hold(cloud, &api_volume_kind);
        disk(cloud, "other", CLONE("Full"));
        cloud_expect_phase(cloud, VD, "copy", "Ready");
        cloud_expect_phase(cloud, VD, "other", "Provisioning");
        volume = volume_of(cloud, VD, "copy");
        g_assert_cmpstr(volume->spec->copy->volume, ==, volume_name(cloud, "web-root"));
        g_assert_cmpstr(volume->spec->copy->mode, ==, "Auto");
        g_assert_cmpstr(volume->spec->node_name, ==, volume_of(cloud, VD, "web-root")->spec->node_name);
        g_assert_cmpint(volume->spec->capacity_bytes, ==, volume_of(cloud, VD, "web-root")->spec->capacity_bytes);
        g_assert_null(volume->spec->source);
        cloud_delete(cloud, VM, "web");
        cloud_settle(cloud);
        cloud_expect_condition(cloud, VD, "web-root", "InUse", "True UsedForDiskCreation", "it is being cloned: other");
        cloud_delete(cloud, VD, "web-root");
        cloud_expect_condition(cloud, VD, "web-root", "Ready", "False Terminating", "copies that are being made of it: other");
        cloud_status(cloud, &api_volume_kind, volume_name(cloud, "other"),
                     "{\"state\": \"Ready\", \"path\": \"/p/other\", \"allocationBytes\": 1048576,"
                     " \"copied\": {\"mode\": \"Full\", \"consistency\": \"Crash\"}}");
        cloud_hold(cloud, NULL);
        cloud_expect_phase(cloud, VD, "other", "Ready");
        g_assert_cmpstr(cloud_text(cloud, VD, "other", "/status/clone/mode"), ==, "Full");
        g_assert_cmpstr(cloud_text(cloud, VD, "other", "/status/clone/consistency"), ==, "Crash");
        g_assert_cmpstr(cloud_text(cloud, VD, "other", "/status/allocated"), ==, "1Mi");
        g_assert_null(cloud_get(cloud, VD, "web-root"));
        cloud_expect_no_effects(cloud);
}

static void a_linked_clone_binds_its_source(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", NULL);
        cloud_expect_phase(cloud, VM, "web", "Running");
        disk(cloud, "link", CLONE("Linked"));
        cloud_expect_phase(cloud, VD, "link", "Pending");
        cloud_expect_condition(cloud, VD, "link", "DatasourceReady", "False DiskInUse", "stop the machine, or choose mode Full");
        cloud_delete(cloud, VM, "web");
        cloud_expect_phase(cloud, VD, "link", "Ready");
        cloud_expect_condition(cloud, VD, "web-root", "InUse", "True DiskIsBacking", "linked clones read from it: link");
        disk(cloud, "web-root",
             "dataSource: {type: ObjectRef, objectRef: {kind: ClusterVirtualImage, name: tiny}}, persistentVolumeClaim: {size: "
             "9Gi}");
        cloud_expect_condition(cloud, VD, "web-root", "Resizing", "False DiskIsBacking",
                               "to 9Gi: linked clones read from it: link");
        cloud_machine(cloud, "web", NULL);
        cloud_expect_condition(cloud, VM, "web", "BlockDevicesReady", "False BlockDevicesNotReady",
                               "linked clones read from it (link)");
        cloud_delete(cloud, VD, "web-root");
        cloud_expect_condition(cloud, VD, "web-root", "Ready", "False Terminating", "linked clones, which read from it: link");
        cloud_delete(cloud, VD, "link");
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, VD, "link"));
        g_assert_null(cloud_get(cloud, VD, "web-root"));
}

static const struct {
        const char *spec, *phase, *type, *status_reason, *part;
} impossible[] = {
        {CLONE("Linked") ", persistentVolumeClaim: {storageClassName: other}", "Failed", "Ready", "False CloneNotSupported",
         "lies in the pool of its source, default"},
        {CLONE("Linked") ", persistentVolumeClaim: {format: raw}", "Failed", "Ready", "False CloneNotSupported", "is a qcow2 file"},
        {CLONE("Reflink") ", persistentVolumeClaim: {format: raw}", "Failed", "Ready", "False CloneNotSupported",
         "the source is a qcow2 file"},
        {CLONE("Full") ", persistentVolumeClaim: {size: 1Gi}", "Failed", "Ready", "False ImageTooSmall",
         "the size 1Gi is smaller than its source, which has"},
};

static void clones_that_cannot_be_say_why(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: StoragePool, metadata: {name: other}, spec: {path: /srv/other}}");
        cloud_machine(cloud, "web", NULL);
        cloud_expect_phase(cloud, VM, "web", "Running");
        for (size_t i = 0; i < G_N_ELEMENTS(impossible); i++) {
                g_autofree char *name = g_strdup_printf("clone-%zu", i);

                disk(cloud, name, impossible[i].spec);
                cloud_expect_phase(cloud, VD, name, impossible[i].phase);
                cloud_expect_condition(cloud, VD, name, impossible[i].type, impossible[i].status_reason, impossible[i].part);
        }
}

/* --- disks that share what their image holds --- */

static const struct api_volume *base_of(struct cloud *cloud, const char *disk)
{
        const struct api_volume *volume = volume_of(cloud, VD, disk);
        const struct cache_object *base =
                volume && volume->spec->copy ? cache_get(cloud_cache(cloud), &api_volume_kind, NULL, volume->spec->copy->volume)
                                             : NULL;

        return base ? base->view : NULL;
}

static void disk_and_machine(struct cloud *cloud, const char *name, const char *spec)
{
        g_autofree char *root = g_strdup_printf("%s-root", name);

        disk(cloud, root, spec);
        cloud_machine(cloud, name, NULL);
        cloud_expect_phase(cloud, VM, name, "Running");
}

/* Linked disks of one image share one copy of it on a host, which stays as long as one of them, and the image with it. */
static void linked_disks_of_an_image_share_one_copy_and_bind_it(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        const struct api_volume *base;

        disk_and_machine(cloud, "web", OF_IMAGE ", clone: {mode: Linked}, persistentVolumeClaim: {size: 8Gi}");
        base = base_of(cloud, "web-root");
        g_assert_nonnull(base);
        g_assert_true(base->spec->read_only && base->spec->source && !base->spec->copy);
        g_assert_cmpstr(base->spec->owner->kind, ==, "ClusterVirtualImage");
        g_assert_cmpstr(base->spec->pool->name, ==, "default");
        g_assert_cmpstr(base->spec->node_name, ==, volume_of(cloud, VD, "web-root")->spec->node_name);
        g_assert_null(volume_of(cloud, VD, "web-root")->spec->source);
        g_assert_cmpint(volume_of(cloud, VD, "web-root")->spec->capacity_bytes, ==, 8ll << 30);
        g_assert_cmpstr(cloud_text(cloud, VD, "web-root", "/status/digest"), ==, base->spec->source->digest);
        disk_and_machine(cloud, "db", OF_IMAGE ", clone: {mode: Linked}");
        g_assert_true(base_of(cloud, "db-root") == base_of(cloud, "web-root"));
        cloud_expect_condition(cloud, CVI, "tiny", "InUse", "True ImageIsBacking", "disks read from it: default/");
        cloud_delete(cloud, CVI, "tiny");
        cloud_expect_condition(cloud, CVI, "tiny", "Ready", "False Terminating", "waits for disks that read from it: default/");
        disk(cloud, "late", OF_IMAGE ", clone: {mode: Linked}");
        cloud_expect_condition(cloud, VD, "late", "DatasourceReady", "False ClusterImageNotReady", "it is being deleted");
        cloud_delete(cloud, VM, "web");
        cloud_delete(cloud, VD, "web-root");
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, VD, "web-root"));
        g_assert_nonnull(base_of(cloud, "db-root"));
        cloud_delete(cloud, VM, "db");
        cloud_delete(cloud, VD, "db-root");
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, CVI, "tiny"));
        g_assert_cmpuint(cloud_count(cloud, &api_volume_kind), ==, 0);
}

/* The image stays; its copy on the host goes with the last disk that was made of it. */
static void the_copy_of_an_image_goes_with_its_last_disk(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        disk_and_machine(cloud, "web", OF_IMAGE ", clone: {mode: Linked}");
        g_assert_cmpuint(cloud_count(cloud, &api_volume_kind), ==, 2);
        cloud_delete(cloud, VM, "web");
        cloud_settle(cloud);
        g_assert_cmpuint(cloud_count(cloud, &api_volume_kind), ==, 2);
        cloud_delete(cloud, VD, "web-root");
        cloud_settle(cloud);
        g_assert_cmpuint(cloud_count(cloud, &api_volume_kind), ==, 0);
        cloud_expect_phase(cloud, CVI, "tiny", "Ready");
        cloud_expect_no_effects(cloud);
}

/* E28: whole, unless the file system of the host shares blocks or something else is asked for. */
static void a_disk_of_an_image_is_whole_where_blocks_are_not_shared(void)
{
        static const struct {
                const char *reflink, *spec, *mode;
        } rows[] = {
                {"false", "", NULL},
                {"true", "", "Auto"},
                {"true", ", clone: {mode: Full}", NULL},
                {"true", ", clone: {mode: Reflink}", "Reflink"},
                {"true", ", persistentVolumeClaim: {format: raw}", NULL},
                {"false", ", clone: {mode: Linked}", "Linked"},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                g_autofree char *spec = g_strdup_printf(OF_IMAGE "%s", rows[i].spec);
                g_autofree char *pools =
                        g_strdup_printf("{\"virtualization\": {\"pools\": [{\"name\": \"default\", \"capacityBytes\": "
                                        "107374182400, \"availableBytes\": 85899345920, \"reflink\": %s}]}}",
                                        rows[i].reflink);
                g_autoptr(cloud) cloud = cloud_new(NULL);
                const struct api_volume *volume;

                cloud_status(cloud, &api_node_kind, "node-a", pools);
                cloud_advance(cloud, 11 * SECOND_US);
                disk_and_machine(cloud, "web", spec);
                volume = volume_of(cloud, VD, "web-root");
                g_assert_cmpstr(volume->spec->copy ? volume->spec->copy->mode : NULL, ==, rows[i].mode);
                g_assert_true(!volume->spec->source == !!rows[i].mode);
                if (!rows[i].mode)
                        g_assert_cmpstr(cloud_text(cloud, VD, "web-root", "/status/clone/mode"), ==, "Full");
        }
}

static void ways_to_make_a_disk_of_an_image_that_cannot_be_say_why(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_image(cloud, "tiny");
        disk(cloud, "raw", OF_IMAGE ", clone: {mode: Linked}, persistentVolumeClaim: {format: raw}");
        cloud_expect_condition(cloud, VD, "raw", "Ready", "False CloneNotSupported", "a linked disk is a qcow2 file");
        disk(cloud, "other", OF_IMAGE ", clone: {mode: Reflink}, persistentVolumeClaim: {format: raw}");
        cloud_expect_condition(cloud, VD, "other", "Ready", "False CloneNotSupported", "the image is qcow2, and blocks are shared");
}

/* --- pools --- */

static void a_pool_is_made_on_its_nodes_and_tells_what_they_say(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        const struct cache_object *task;

        cloud_expect_phase(cloud, POOL, "default", "Ready");
        g_assert_cmpstr(cloud_text(cloud, POOL, "default", "/status/capacity"), ==, "931Gi");
        cloud_hold(cloud, &api_host_task_kind);
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: StoragePool, metadata: {name: bad}, spec: {path: /srv/bad}}");
        cloud_expect_phase(cloud, POOL, "bad", "Pending");
        task = index_one(cloud_cache(cloud), INDEX_TASK_BY_OWNER, cloud_get(cloud, POOL, "bad")->uid);
        g_assert_nonnull(task);
        cloud_status(
                cloud, &api_host_task_kind, task->name,
                "{\"state\": \"Failed\", \"error\": {\"reason\": \"PoolPathMissing\", \"message\": \"/srv/bad does not exist\"}}");
        cloud_expect_phase(cloud, POOL, "bad", "Failed");
        cloud_expect_condition(cloud, POOL, "bad", "Ready", "False PoolFailed", "node-a: /srv/bad does not exist");
        disk(cloud, "data", "persistentVolumeClaim: {size: 1Gi, storageClassName: bad}");
        cloud_expect_condition(cloud, VD, "data", "StorageClassReady", "False StorageClassNotReady", "/srv/bad does not exist");
        cloud_hold(cloud, NULL);
        cloud_delete(cloud, POOL, "bad");
        cloud_expect_phase(cloud, POOL, "bad", "Terminating");
        cloud_delete(cloud, VD, "data");
        cloud_settle(cloud);
        g_assert_null(cloud_get(cloud, POOL, "bad"));
        g_assert_cmpuint(cloud_count(cloud, &api_host_task_kind), ==, 1);
}

static void pool_on(struct cloud *cloud, const char *nodes)
{
        cloud_applyf(cloud,
                     "{apiVersion: gabbro.dev/v1, kind: StoragePool, metadata: {name: some}, spec: {path: /srv/some, nodes: [%s]}}",
                     nodes);
        cloud_expect_phase(cloud, POOL, "some", "Ready");
}

/* The names of a turn's own tasks and of those that were there must not meet: with these nodes in this order they did. */
static void nodes_that_come_together_have_tasks_of_their_own(void)
{
        static const char *const names[] = {"a", "b", "c", "m", "z"};
        g_autoptr(cloud) cloud = cloud_new(NULL);

        for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
                cloud_add_node(cloud, names[i], 4, 8);
        pool_on(cloud, "m");
        pool_on(cloud, "m, z");
        pool_on(cloud, "a, b, c, m, z");
        cloud_expect_condition(cloud, POOL, "some", "Ready", "True Ready", "5 of 5 nodes");
        cloud_expect_no_effects(cloud);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/image/an_upload_is_awaited_then_becomes_an_image", an_upload_is_awaited_then_becomes_an_image);
        g_test_add_func("/image/a_refused_file_fails_with_its_reason_and_may_be_tried_again",
                        a_refused_file_fails_with_its_reason_and_may_be_tried_again);
        g_test_add_func("/image/an_image_of_an_image_shares_its_blob_and_outlives_it",
                        an_image_of_an_image_shares_its_blob_and_outlives_it);
        g_test_add_func("/image/D32_D99_images_are_read_only_devices", images_are_read_only_devices);
        g_test_add_func("/disk/a_disk_waits_for_its_first_machine", a_disk_waits_for_its_first_machine);
        g_test_add_func("/disk/faulty_disks_say_why", faulty_disks_say_why);
        g_test_add_func("/disk/a_blank_disk_and_an_uploaded_disk_come_to_be", a_blank_disk_and_an_uploaded_disk_come_to_be);
        g_test_add_func("/disk/a_disk_grows_and_is_protected_while_in_use", a_disk_grows_and_is_protected_while_in_use);
        g_test_add_func("/disk/a_pool_that_is_full_by_its_limit_or_drained_takes_no_more",
                        a_pool_that_is_full_by_its_limit_or_drained_takes_no_more);
        g_test_add_func("/disk/limits_reach_a_running_machine_and_go_with_it", limits_reach_a_running_machine_and_go_with_it);
        g_test_add_func("/disk/limits_wait_for_the_start_and_outlive_a_restart", limits_wait_for_the_start_and_outlive_a_restart);
        g_test_add_func("/disk/a_volume_that_fails_tells_the_hosts_words", a_volume_that_fails_tells_the_hosts_words);
        g_test_add_func("/disk/a_copy_of_an_image_counts_before_it_is_made", a_copy_of_an_image_counts_before_it_is_made);
        g_test_add_func("/disk/a_clone_is_made_at_once_where_its_source_lies", a_clone_is_made_at_once_where_its_source_lies);
        g_test_add_func("/disk/a_linked_clone_binds_its_source", a_linked_clone_binds_its_source);
        g_test_add_func("/disk/clones_that_cannot_be_say_why", clones_that_cannot_be_say_why);
        g_test_add_func("/disk/linked_disks_of_an_image_share_one_copy_and_bind_it",
                        linked_disks_of_an_image_share_one_copy_and_bind_it);
        g_test_add_func("/disk/the_copy_of_an_image_goes_with_its_last_disk", the_copy_of_an_image_goes_with_its_last_disk);
        g_test_add_func("/disk/a_disk_of_an_image_is_whole_where_blocks_are_not_shared",
                        a_disk_of_an_image_is_whole_where_blocks_are_not_shared);
        g_test_add_func("/disk/ways_to_make_a_disk_of_an_image_that_cannot_be_say_why",
                        ways_to_make_a_disk_of_an_image_that_cannot_be_say_why);
        g_test_add_func("/pool/a_pool_is_made_on_its_nodes_and_tells_what_they_say",
                        a_pool_is_made_on_its_nodes_and_tells_what_they_say);
        g_test_add_func("/pool/nodes_that_come_together_have_tasks_of_their_own", nodes_that_come_together_have_tasks_of_their_own);
        return g_test_run();
}
