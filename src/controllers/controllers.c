/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/controllers.h"

#include "controllers/address/address.h"
#include "controllers/attachment/attachment.h"
#include "controllers/callback/callback.h"
#include "controllers/class/class.h"
#include "controllers/disk/disk.h"
#include "controllers/evacuation/evacuation.h"
#include "controllers/gc/gc.h"
#include "controllers/image/image.h"
#include "controllers/network/network.h"
#include "controllers/node/node.h"
#include "controllers/nodeop/nodeop.h"
#include "controllers/object.h"
#include "controllers/operation/operation.h"
#include "controllers/pod/pod.h"
#include "controllers/pool/pool.h"
#include "controllers/vm/vm.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

const struct controller *const controllers_all[] = {
        &vm_controller,
        &disk_controller,
        &address_controller,
        &lease_controller,
        &image_controller,
        &cluster_image_controller,
        &blob_controller,
        &operation_controller,
        &attachment_controller,
        &class_controller,
        &node_controller,
        &pool_controller,
        &network_controller,
        &security_group_controller,
        &pod_controller,
        &callback_controller,
        &node_operation_controller,
        &gc_controller,
        &gc_task_controller,
        &namespace_controller,
        &evacuation_controller,
        NULL,
};

const struct schema_kind *const controllers_kinds[] = {
        &api_namespace_kind,
        &api_node_kind,
        &api_node_identity_kind,
        &api_lease_kind,
        &api_user_kind,
        &api_service_account_kind,
        &api_secret_kind,
        &api_config_map_kind,
        &api_resource_quota_kind,
        &api_cluster_role_kind,
        &api_cluster_role_binding_kind,
        &api_role_kind,
        &api_role_binding_kind,
        &api_network_kind,
        &api_security_group_kind,
        &api_storage_pool_kind,
        &api_virtual_machine_class_kind,
        &api_cluster_virtual_image_kind,
        &api_virtual_image_kind,
        &api_image_blob_kind,
        &api_virtual_machine_ip_address_lease_kind,
        &api_virtual_machine_ip_address_kind,
        &api_virtual_disk_kind,
        &api_virtual_machine_kind,
        &api_virtual_machine_operation_kind,
        &api_node_operation_kind,
        &api_virtual_machine_block_device_attachment_kind,
        &api_volume_kind,
        &api_port_kind,
        &api_host_task_kind,
        &api_instance_kind,
        &api_pod_kind,
        &api_callback_kind,
        &api_callback_delivery_kind,
        NULL,
};

/* --- indexes --- */

static void add_key(struct cache_index_keys *keys, const char *namespace, const char *name)
{
        g_autofree char *key = namespace && name ? g_strdup_printf("%s/%s", namespace, name) : NULL;

        if (key)
                cache_index_add(keys, key);
}

static void instance_by_machine(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_instance *view = object->view;

        if (view->spec && view->spec->machine && !object_is_standby(object))
                cache_index_add(keys, view->spec->machine->uid);
}

static void instance_by_node(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_instance *view = object->view;

        if (view->spec && view->spec->node_name)
                cache_index_add(keys, view->spec->node_name);
}

static void instance_by_volume(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_instance *view = object->view;

        for (size_t i = 0; view->spec && i < view->spec->n_disks; i++)
                if (view->spec->disks[i].volume)
                        cache_index_add(keys, view->spec->disks[i].volume);
}

static void port_by_machine(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_port *view = object->view;

        if (view->spec && view->spec->machine && !object_is_standby(object))
                cache_index_add(keys, view->spec->machine->uid);
}

static void port_by_mac(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_port *view = object->view;

        if (view->spec && view->spec->mac && !object_is_standby(object))
                cache_index_add(keys, view->spec->mac);
}

static void volume_by_owner(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_volume *view = object->view;

        if (view->spec && view->spec->owner && view->spec->owner->uid && !object_is_standby(object))
                cache_index_add(keys, view->spec->owner->uid);
}

static void volume_by_copy(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_volume *view = object->view;

        if (view->spec && view->spec->copy)
                cache_index_add(keys, view->spec->copy->volume);
}

static void standby_by_machine(const struct cache_object *object, struct cache_index_keys *keys)
{
        const char *standby = object_annotation(object, ANNOTATION_STANDBY);
        g_autofree char *machine = standby ? g_strndup(standby, strcspn(standby, " ")) : NULL;

        if (machine)
                cache_index_add(keys, machine);
}

static void volume_by_digest(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_volume *view = object->view;

        if (view->spec && view->spec->source)
                cache_index_add(keys, view->spec->source->digest);
}

static void volume_by_place(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_volume *view = object->view;

        if (view->spec && view->spec->pool && view->spec->node_name) {
                g_autofree char *key = g_strdup_printf("%s/%s", view->spec->pool->name, view->spec->node_name);

                cache_index_add(keys, key);
                cache_index_add(keys, view->spec->pool->name);
        }
}

static void task_by_owner(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_host_task *view = object->view;

        if (view->spec && view->spec->owner && view->spec->owner->uid)
                cache_index_add(keys, view->spec->owner->uid);
}

static void vm_by_class(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_virtual_machine *view = object->view;

        if (view->spec && view->spec->virtual_machine_class_name)
                cache_index_add(keys, view->spec->virtual_machine_class_name);
}

static void vm_by_device(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_virtual_machine *view = object->view;

        for (size_t i = 0; view->spec && i < view->spec->n_block_device_refs; i++) {
                const struct api_block_device_ref *ref = &view->spec->block_device_refs[i];
                bool cluster = g_strcmp0(ref->kind, "ClusterVirtualImage") == 0;
                g_autofree char *key = device_key(ref->kind, cluster ? NULL : object->namespace, ref->name);

                cache_index_add(keys, key);
        }
}

static void attachment_by_vm(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_virtual_machine_block_device_attachment_spec *spec = attachment_view(object)->spec;

        if (spec)
                add_key(keys, object->namespace, spec->virtual_machine_name);
}

static void attachment_by_device(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_virtual_machine_block_device_attachment_spec *spec = attachment_view(object)->spec;
        const struct api_block_device_ref *ref = spec ? spec->block_device_ref : NULL;
        bool cluster = ref && g_strcmp0(ref->kind, "ClusterVirtualImage") == 0;
        g_autofree char *key =
                ref && ref->kind && ref->name ? device_key(ref->kind, cluster ? NULL : object->namespace, ref->name) : NULL;

        if (key)
                cache_index_add(keys, key);
}

static void vm_by_address(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_virtual_machine *view = object->view;

        if (view->spec)
                add_key(keys, object->namespace, view->spec->virtual_machine_ip_address_name);
        for (size_t i = 0; view->spec && i < view->spec->n_networks; i++)
                add_key(keys, object->namespace, view->spec->networks[i].virtual_machine_ip_address_name);
        for (size_t i = 0; view->status && i < view->status->n_networks; i++)
                add_key(keys, object->namespace, view->status->networks[i].virtual_machine_ip_address_name);
}

static void vm_by_secret(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_virtual_machine *view = object->view;
        const struct api_provisioning *provisioning = view->spec ? view->spec->provisioning : NULL;

        if (provisioning && provisioning->user_data_ref)
                add_key(keys, object->namespace, provisioning->user_data_ref->name);
        if (provisioning && provisioning->sysprep_ref)
                add_key(keys, object->namespace, provisioning->sysprep_ref->name);
}

static void vm_by_node(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_virtual_machine *view = object->view;
        const char *phase = view->status ? view->status->phase : NULL;

        cache_index_add(keys, view->status && view->status->node_name ? view->status->node_name
                              : g_strcmp0(phase, "Stopped") == 0      ? "(stopped)"
                                                                      : "-");
}

static void vm_without_address(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_virtual_machine_status *status = ((const struct api_virtual_machine *)object->view)->status;
        const struct api_condition *ready =
                status ? condition_get(status->conditions, status->n_conditions, "VirtualMachineIPAddressReady") : NULL;

        if (ready && g_strcmp0(ready->reason, REASON_NO_FREE_ADDRESS) == 0)
                cache_index_add(keys, "-");
}

static void vmip_by_owner(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_object_meta *meta = object_meta(object);

        for (size_t i = 0; i < meta->n_owner_references; i++)
                cache_index_add(keys, meta->owner_references[i].uid);
}

static void lease_by_holder(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_virtual_machine_ip_address_lease *view = object->view;
        const struct api_namespaced_ref *ref = view->spec ? view->spec->virtual_machine_ip_address_ref : NULL;

        if (ref)
                add_key(keys, ref->namespace, ref->name);
}

static void lease_by_network(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_virtual_machine_ip_address_lease *view = object->view;

        if (view->spec && view->spec->network_name)
                cache_index_add(keys, view->spec->network_name);
}

static void operation_by_vm(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_virtual_machine_operation *view = object->view;

        if (view->spec)
                add_key(keys, object->namespace, view->spec->virtual_machine_name);
}

static void add_source(struct cache_index_keys *keys, const char *kind, const char *namespace, const char *name)
{
        bool cluster = g_strcmp0(kind, "ClusterVirtualImage") == 0;
        g_autofree char *key = kind && name ? device_key(kind, cluster ? NULL : namespace, name) : NULL;

        if (key)
                cache_index_add(keys, key);
}

static void disk_by_source(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_virtual_disk *view = object->view;
        const struct api_disk_data_source *source = view->spec ? view->spec->data_source : NULL;

        if (source && source->object_ref)
                add_source(keys, source->object_ref->kind, object->namespace, source->object_ref->name);
}

static void disk_by_pool(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_virtual_disk *view = object->view;

        if (view->status && view->status->storage_class_name)
                cache_index_add(keys, view->status->storage_class_name);
}

/* The content of a disk of its own, as long as its volume was not made of it. */
static void disk_by_digest(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_virtual_disk *view = object->view;
        const struct api_virtual_disk_status *status = view->status;

        if (status && status->ingest && status->ingest->digest && g_strcmp0(status->phase, "Ready") != 0)
                cache_index_add(keys, status->ingest->digest);
}

static void image_by_source(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_virtual_image *view = object->view;
        const struct api_image_data_source *source = view->spec ? view->spec->data_source : NULL;

        if (source && source->object_ref)
                add_source(keys, source->object_ref->kind, object->namespace, source->object_ref->name);
}

static void cluster_image_by_source(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_cluster_virtual_image *view = object->view;
        const struct api_cluster_image_data_source *source = view->spec ? view->spec->data_source : NULL;

        if (source && source->object_ref)
                add_source(keys, source->object_ref->kind, source->object_ref->namespace, source->object_ref->name);
}

static void image_by_digest(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_virtual_image *view = object->view;

        if (view->status && view->status->target && view->status->target->digest)
                cache_index_add(keys, view->status->target->digest);
}

static void cluster_image_by_digest(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_cluster_virtual_image *view = object->view;

        if (view->status && view->status->target && view->status->target->digest)
                cache_index_add(keys, view->status->target->digest);
}

static void delivery_by_callback(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_callback_delivery *view = object->view;

        if (view->spec && view->spec->callback && view->spec->object && view->spec->object->uid)
                cache_index_add(keys, view->spec->callback->uid);
}

static void node_operation_by_node(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_node_operation *view = object->view;
        const char *phase = view->status ? view->status->phase : NULL;

        if (view->spec && g_strcmp0(phase, "Completed") != 0 && g_strcmp0(phase, "Failed") != 0)
                cache_index_add(keys, view->spec->node_name);
}

void controllers_define_indexes(struct cache *cache)
{
        static const struct {
                const char *name;
                const struct schema_kind *kind;
                void (*keys_of)(const struct cache_object *object, struct cache_index_keys *keys);
        } indexes[] = {
                {INDEX_INSTANCE_BY_MACHINE, &api_instance_kind, instance_by_machine},
                {INDEX_INSTANCE_BY_NODE, &api_instance_kind, instance_by_node},
                {INDEX_INSTANCE_BY_VOLUME, &api_instance_kind, instance_by_volume},
                {INDEX_PORT_BY_MACHINE, &api_port_kind, port_by_machine},
                {INDEX_PORT_BY_MAC, &api_port_kind, port_by_mac},
                {INDEX_VOLUME_BY_OWNER, &api_volume_kind, volume_by_owner},
                {INDEX_VOLUME_BY_COPY, &api_volume_kind, volume_by_copy},
                {INDEX_VOLUME_BY_DIGEST, &api_volume_kind, volume_by_digest},
                {INDEX_VOLUME_BY_PLACE, &api_volume_kind, volume_by_place},
                {INDEX_TASK_BY_OWNER, &api_host_task_kind, task_by_owner},
                {INDEX_VM_BY_CLASS, &api_virtual_machine_kind, vm_by_class},
                {INDEX_VM_BY_DEVICE, &api_virtual_machine_kind, vm_by_device},
                {INDEX_ATTACHMENT_BY_VM, &api_virtual_machine_block_device_attachment_kind, attachment_by_vm},
                {INDEX_ATTACHMENT_BY_DEVICE, &api_virtual_machine_block_device_attachment_kind, attachment_by_device},
                {INDEX_VM_BY_ADDRESS, &api_virtual_machine_kind, vm_by_address},
                {INDEX_VM_BY_SECRET, &api_virtual_machine_kind, vm_by_secret},
                {INDEX_VM_WITHOUT_ADDRESS, &api_virtual_machine_kind, vm_without_address},
                {INDEX_VM_BY_NODE, &api_virtual_machine_kind, vm_by_node},
                {INDEX_VMIP_BY_OWNER, &api_virtual_machine_ip_address_kind, vmip_by_owner},
                {INDEX_LEASE_BY_HOLDER, &api_virtual_machine_ip_address_lease_kind, lease_by_holder},
                {INDEX_LEASE_BY_NETWORK, &api_virtual_machine_ip_address_lease_kind, lease_by_network},
                {INDEX_OPERATION_BY_VM, &api_virtual_machine_operation_kind, operation_by_vm},
                {INDEX_DISK_BY_SOURCE, &api_virtual_disk_kind, disk_by_source},
                {INDEX_DISK_BY_POOL, &api_virtual_disk_kind, disk_by_pool},
                {INDEX_DISK_BY_DIGEST, &api_virtual_disk_kind, disk_by_digest},
                {INDEX_STANDBY_BY_MACHINE, NULL, standby_by_machine},
                {INDEX_NODE_OPERATION_BY_NODE, &api_node_operation_kind, node_operation_by_node},
                {INDEX_DEPENDENTS, NULL, gc_index_owners},
                {INDEX_IMAGE_BY_SOURCE, &api_virtual_image_kind, image_by_source},
                {INDEX_CLUSTER_IMAGE_BY_SOURCE, &api_cluster_virtual_image_kind, cluster_image_by_source},
                {INDEX_IMAGE_BY_DIGEST, &api_virtual_image_kind, image_by_digest},
                {INDEX_CLUSTER_IMAGE_BY_DIGEST, &api_cluster_virtual_image_kind, cluster_image_by_digest},
                {INDEX_DELIVERY_BY_CALLBACK, &api_callback_delivery_kind, delivery_by_callback},
        };

        assert(cache);
        for (size_t i = 0; i < G_N_ELEMENTS(indexes); i++)
                cache_define_index(cache, indexes[i].name, indexes[i].kind, indexes[i].keys_of);
}
