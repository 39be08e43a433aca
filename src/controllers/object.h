/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cache/cache.h"
#include "control/control.h"
#include "generated/api_types.h"

#include <stdbool.h>

/* What the controllers share: reading metadata of any kind, intents by their owner, conditions in a status view. */

#define FINALIZER_AGENT "host.gabbro.dev/agent"

#define LABEL_OWNER_KIND      "gabbro.dev/owner-kind"
#define LABEL_OWNER_NAMESPACE "gabbro.dev/owner-namespace"
#define LABEL_OWNER_NAME      "gabbro.dev/owner-name"
#define LABEL_NODE            "gabbro.dev/node"

#define ANNOTATION_SELECTED_NODE "gabbro.dev/selected-node" /* VirtualDisk: the host on which its volume shall lie */
#define ANNOTATION_RENEW         "gabbro.dev/renew"   /* VirtualDisk: uid of the operation for which it is made anew of its image */
#define ANNOTATION_RENEWED       "gabbro.dev/renewed" /* VirtualDisk: the last such for which its old volume is gone */
#define ANNOTATION_HELD_BY       "gabbro.dev/held-by" /* VirtualDisk, image Volume: uid of the machine that started with it last */
#define ANNOTATION_APPLIED       "gabbro.dev/applied-spec" /* Instance: VirtualMachine.spec of its latest start */
#define ANNOTATION_POWER_REASON  "gabbro.dev/power-reason" /* Instance: why its power is what it is */
#define ANNOTATION_IDENTITY                                                                                                        \
        "gabbro.dev/identity" /* VirtualMachine: uid of the redeploy that gave it another identity than its uid */
#define ANNOTATION_STANDBY                                                                                                         \
        "gabbro.dev/standby" /* intents of a machine that are not those it runs with: "MACHINE OPERATION", both uids */
#define FINALIZER_OPERATION      "gabbro.dev/vmop-cleanup" /* VirtualMachineOperation, while it is under way */
#define ANNOTATION_OPERATION     "gabbro.dev/operation"    /* Instance: uid of the latest VirtualMachineOperation carried out */
#define ANNOTATION_BACK_OFF      "gabbro.dev/back-off"     /* Instance: "EPOCH COUNT TIME": its end without being asked */
#define ANNOTATION_DEFAULT_CLASS "virtualmachineclass.virtualization.deckhouse.io/is-default-class"
#define ANNOTATION_DEFAULT_POOL  "storagepool.gabbro.dev/is-default"
#define ANNOTATION_REFRESH       "storagepool.gabbro.dev/refresh" /* StoragePool: any new value makes its nodes look again */

/** object_meta() - the metadata of any object; never NULL. */
const struct api_object_meta *object_meta(const struct cache_object *object);
/** object_deleting() - whether its deletion was asked for. */
bool object_deleting(const struct cache_object *object);
const char *object_annotation(const struct cache_object *object, const char *key); /* NULL: absent */
const char *object_label(const struct cache_object *object, const char *key);
/** object_has_finalizer() - whether it waits for @finalizer. */
bool object_has_finalizer(const struct cache_object *object, const char *finalizer);
/** object_created_us() - its creationTimestamp; 0 when absent. */
uint64_t object_created_us(const struct cache_object *object);
/** object_is_standby() - an intent that is being made for a machine that comes, or is left of one that went. */
bool object_is_standby(const struct cache_object *object);
/** object_owned_by() - whether @uid is among its owners. */
bool object_owned_by(const struct cache_object *object, const char *uid);

/** object_moved() - whether a change of an object is more than one of its status: it is new, gone, being deleted, or its spec
 * differs. */
bool object_moved(const struct cache_object *before, const struct cache_object *now);

/** node_moved() - whether a change of a Node is more than a heartbeat or an annotation. */
bool node_moved(const struct cache_object *before, const struct cache_object *now);

/** pairs_get() - the value of @key, or NULL. */
const char *pairs_get(const struct api_pair *pairs, size_t n_pairs, const char *key);
/** strings_hold() - whether @text is among them. */
bool strings_hold(const char *const *strings, size_t n_strings, const char *text);
/** time_us() - a time field; 0 when absent or malformed. */
uint64_t time_us(const char *rfc3339);

/* --- intents --------------------------------------------------------------------------------------------------------------------
 */

/* Who an intent is made for. */
struct intent_owner {
        const char *kind;
        const char *namespace; /* NULL: cluster scope */
        const char *name;
        const char *uid;
};
/** intent_owner_of() - an object as the owner of intents. */
struct intent_owner intent_owner_of(const struct cache_object *object);

/** intent_name() - "<letter>-<uid>-<n>" in @arena. */
const char *intent_name(struct arena *arena, char letter, const char *uid, unsigned n);
/** intent_meta() - metadata of a new intent: name, labels, finalizer of the agent. */
struct api_object_meta *intent_meta(struct arena *arena, const struct intent_owner *owner, const char *name, const char *node);
/** intent_free_name() - intent_name() with the first number from @n on that no object of the kind has. */
const char *intent_free_name(const struct cache *cache, const struct schema_kind *kind, struct arena *arena, char letter,
                             const char *uid, unsigned n);
/** intent_retire() - ask for its end; drop the agent's finalizer once it says Gone. @state: its status.state. true: nothing left to
 *  wait for after this turn. */
bool intent_retire(struct turn *turn, const struct cache_object *intent, const char *state);

/** instance_panicked() - whether its guest's kernel panicked: it runs no more, and its QEMU is still there with its memory. */
bool instance_panicked(const struct api_instance *instance);
/** instance_active() - whether an Instance runs, shall run, or has not ended yet. */
bool instance_active(const struct cache_object *instance);
/** device_key() - "<kind>/<namespace or ->/<name>" of a disk or image; g_free(). */
char *device_key(const char *kind, const char *namespace, const char *name);

/* Indexes that controllers_define_indexes() makes; keys as said. */
#define INDEX_INSTANCE_BY_MACHINE     "instance-by-machine"     /* machine uid */
#define INDEX_INSTANCE_BY_NODE        "instance-by-node"        /* node name */
#define INDEX_INSTANCE_BY_VOLUME      "instance-by-volume"      /* Volume name */
#define INDEX_PORT_BY_MACHINE         "port-by-machine"         /* machine uid */
#define INDEX_PORT_BY_MAC             "port-by-mac"             /* MAC address, in small letters */
#define INDEX_VOLUME_BY_OWNER         "volume-by-owner"         /* uid of the disk or image */
#define INDEX_VOLUME_BY_COPY          "volume-by-copy"          /* name of the Volume that it is a copy of */
#define INDEX_VOLUME_BY_PLACE         "volume-by-place"         /* "<pool>/<node>", and "<pool>" */
#define INDEX_TASK_BY_OWNER           "task-by-owner"           /* uid of the pool */
#define INDEX_VM_BY_CLASS             "vm-by-class"             /* class name */
#define INDEX_VM_BY_DEVICE            "vm-by-device"            /* "<kind>/<namespace or ->/<name>" */
#define INDEX_ATTACHMENT_BY_VM        "attachment-by-vm"        /* "<namespace>/<machine name>" */
#define INDEX_ATTACHMENT_BY_DEVICE    "attachment-by-device"    /* "<kind>/<namespace or ->/<name>" */
#define INDEX_VM_BY_ADDRESS           "vm-by-address"           /* "<namespace>/<vmip name>" of spec or status */
#define INDEX_VM_BY_SECRET            "vm-by-secret"            /* "<namespace>/<secret name>" */
#define INDEX_VM_WITHOUT_ADDRESS      "vm-without-address"      /* "-": machines that found their network's range full */
#define INDEX_VM_BY_NODE              "vm-by-node"              /* node name; "-" for machines without one */
#define INDEX_VMIP_BY_OWNER           "vmip-by-owner"           /* owner uid */
#define INDEX_LEASE_BY_HOLDER         "lease-by-holder"         /* "<namespace>/<vmip name>" */
#define INDEX_LEASE_BY_NETWORK        "lease-by-network"        /* network name */
#define INDEX_OPERATION_BY_VM         "operation-by-vm"         /* "<namespace>/<machine name>" */
#define INDEX_DISK_BY_SOURCE          "disk-by-source"          /* "<kind>/<namespace or ->/<name>" */
#define INDEX_IMAGE_BY_SOURCE         "image-by-source"         /* the same, for VirtualImage */
#define INDEX_CLUSTER_IMAGE_BY_SOURCE "cluster-image-by-source" /* the same, for ClusterVirtualImage */
#define INDEX_IMAGE_BY_DIGEST         "image-by-digest"         /* sha256 of the content */
#define INDEX_CLUSTER_IMAGE_BY_DIGEST "cluster-image-by-digest"
#define INDEX_DISK_BY_DIGEST          "disk-by-digest"   /* of a content that only the disk has, while its volume is not ready */
#define INDEX_VOLUME_BY_DIGEST        "volume-by-digest" /* of the source */
#define INDEX_DISK_BY_POOL            "disk-by-pool"     /* StoragePool name in the status */
#define INDEX_STANDBY_BY_MACHINE                                                                                                   \
        "standby-by-machine" /* of any kind: machine uid; they are in none of the other indexes by owner                           \
                              */
#define INDEX_DELIVERY_BY_CALLBACK   "delivery-by-callback"   /* callback uid */
#define INDEX_NODE_OPERATION_BY_NODE "node-operation-by-node" /* node name; not those that are over */
#define INDEX_DEPENDENTS             "dependents"             /* of any kind: owner uid */

/** index_one() - the only (else the first) object under a key, or NULL. */
const struct cache_object *index_one(const struct cache *cache, const char *index, const char *key);
/** index_enqueue() - the keys of all objects under @key. */
void index_enqueue(const struct cache *cache, const char *index, const char *key, struct workqueue *queue);
/** kind_enqueue() - the keys of all objects of a kind. */
void kind_enqueue(const struct cache *cache, const struct schema_kind *kind, const char *namespace, struct workqueue *queue);
