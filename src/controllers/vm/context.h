/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/limits.h"
#include "controllers/object.h"
#include "controllers/vm/power.h"
#include "schema/change_way.h"

/* What one turn of a machine knows and has decided; shared by the files of this folder. */

#define FINALIZER_VM       "gabbro.dev/vm-cleanup"
#define ANNOTATION_OUTSIDE "gabbro.dev/outside-told" /* Instance: time of its status.outside that was told as an event */
#define ANNOTATION_POWER_REQUEST                                                                                                   \
        "gabbro.dev/power-request"                    /* VirtualMachine: "Start UID" or "Stop UID" of an operation that its        \
                                                         Instance could not take yet */
#define ANNOTATION_LAST_START "gabbro.dev/last-start" /* Node: what took room on it last */
#define VM_NICS_MAX           16

/* What a running machine can be given while it runs. */
struct vm_size {
        int64_t cores;
        unsigned fraction_percent;
        uint64_t memory_mib; /* that its guest holds, or shall keep */
        uint64_t full_mib;   /* that its domain has: its guest may take what it gave back without asking */
        int64_t grace_s;
};

struct vm_device {
        const struct api_block_device_ref *ref;
        const struct cache_object *object; /* disk or image; NULL: it does not exist */
        const struct cache_object *former; /* stopped Instance of another machine that had the disk: a start depends on it */
        bool image;
        bool cdrom;
        bool usable;       /* does not keep the machine from starting */
        bool ready;        /* its content is where the machine runs, or can be fetched */
        const char *words; /* why it is not usable or not ready */
        const char *size;
        const char *volume;                    /* name of the Volume, once the machine starts with it */
        const struct cache_object *attachment; /* it came by; NULL: the machine's specification lists it */
        bool dropped;                          /* of an attachment: the machine starts without it */
};

struct vm_nic {
        unsigned number;                          /* of the interface, from 0: its id is one more */
        const struct api_machine_network *wanted; /* NULL: the machine names no networks */
        const struct cache_object *network;
        const struct cache_object *vmip; /* NULL when this turn makes it */
        const char *vmip_name;
        const char *address;
        const char *mac;
        const char *port_name;
        const struct cache_object *port; /* NULL: not made yet */
};

struct vm_context {
        struct turn *turn;
        struct arena *arena;
        const struct cache *cache;
        const struct cache_object *object;
        const struct api_virtual_machine_spec *spec;
        struct api_virtual_machine_status status; /* being made */
        struct conditions conditions;
        enum vm_phase phase_before;
        bool has_phase_before;

        const struct cache_object *class;
        int64_t cores;
        unsigned fraction_percent;
        uint64_t memory_mib;
        struct vm_device devices[LIMIT_BLOCK_DEVICES];
        size_t n_devices;
        size_t n_own; /* the first ones: of the machine's own specification; attachments follow */
        struct vm_nic nics[VM_NICS_MAX];
        size_t n_nics;
        bool nics_looked; /* all of them have network and address */
        struct api_port_policy *policy;

        const struct cache_object *graphics_secret;   /* holds the password of its screen; NULL: none that can be used */
        const char *graphics_reason, *graphics_words; /* why not, when there shall be one */

        const struct cache_object *instance;  /* NULL: none */
        const struct api_instance *view;      /* of the instance */
        const struct cache_object *operation; /* in progress and not carried out yet */
        struct power_facts facts;
        struct power_decision decision;
        bool approved; /* the decision is a restart that nobody asked for: it applies changes (D81) */

        /* The size of what runs, what its host was ordered to make of it, and how far it can grow. */
        struct vm_size has, ordered_size;
        struct change_machine room;
        bool size_told;         /* by the host; an agent of an older version does not */
        const char *live_words; /* why a change that could come live does not, or NULL */

        /* The first thing that keeps the machine from starting. */
        const char *block_reason;
        const char *block_words;

        /* The Instance as it will be after this turn. */
        bool power_on;
        bool current; /* the host's words are about the wanted epoch */
        bool made;    /* this turn makes the Instance */
        bool started; /* this turn raises the epoch */
        bool ordered; /* this turn writes the specification of the Instance */
        int64_t epoch;
        const char *node;
        const char *power_reason;
        uint64_t back_off_until_us; /* 0: no back-off */
        unsigned back_off_count;    /* ends in a row */
};

/** vm_block() - something keeps the machine from starting; the first one is told. */
void vm_block(struct vm_context *vm, const char *reason, const char *words);

/* needs.c: what the machine needs besides devices and networks; each sets its condition. */
/** vm_look_at_class() - condition VirtualMachineClassReady. */
void vm_look_at_class(struct vm_context *vm);
/** vm_look_at_size() - cores, share and memory; condition SizingPolicyMatched. */
void vm_look_at_size(struct vm_context *vm);
/** vm_look_at_provisioning() - user data or Secret; condition ProvisioningReady (D82-D86). */
void vm_look_at_provisioning(struct vm_context *vm);
/** vm_seed() - the first-boot configuration for an Instance, or NULL when the machine has none. */
struct api_instance_seed *vm_seed(struct vm_context *vm);

/* devices.c */
/** vm_look_at_devices() - disks and images; condition BlockDevicesReady. */
void vm_look_at_devices(struct vm_context *vm);
/** vm_bind_devices() - Volumes on the chosen node; false: blocked. */
bool vm_bind_devices(struct vm_context *vm);
/** vm_instance_disks() - the disks of the Instance in boot order, after vm_bind_devices(). */
struct api_instance_disk *vm_instance_disks(struct vm_context *vm, size_t *ret_n);
/** vm_bind_device() - its Volume on the chosen node: true, or false with words. */
bool vm_bind_device(struct vm_context *vm, struct vm_device *device, const char **reterr_words);
/** vm_instance_disk() - a device as the Instance has it, after vm_bind_device(). */
struct api_instance_disk vm_instance_disk(struct vm_context *vm, const struct vm_device *device);
/** vm_limits_wanted() - of a disk that the Instance has: those of its VirtualDisk now. */
struct api_instance_disk_limits *vm_limits_wanted(struct vm_context *vm, const struct api_instance_disk *disk);
/** vm_renew_limits() - the limits of its disks reach a machine that runs at once. */
void vm_renew_limits(struct vm_context *vm);
/** vm_release_devices() - at the machine's end its disks are free for others. */
void vm_release_devices(struct vm_context *vm);

/* plug.c */
/** vm_look_at_attachments() - add the devices of attachments that can be used to those of the specification. */
void vm_look_at_attachments(struct vm_context *vm);
/** vm_plug() - the disks of a running Instance follow the attachments; those of one that is off only leave it. */
void vm_plug(struct vm_context *vm);

/* plug_nics.c */
/** vm_plug_nics() - @spec.ports of the Instance follow the networks of the specification; @running: it takes devices now. true:
 * something changed. */
bool vm_plug_nics(struct vm_context *vm, struct api_instance_spec *spec, bool running);
/** vm_say_lost() - while the host of what runs does not answer, a condition that only the host knows is Unknown; else false. */
bool vm_say_lost(struct vm_context *vm, const char *type);
/** vm_nic_on_host() - what the host says of the interface of @port, or NULL. */
const struct api_instance_interface_status *vm_nic_on_host(const struct vm_context *vm, const char *port);
/** vm_nic_is_down() - whether the machine wants its link to be down. */
bool vm_nic_is_down(const struct vm_nic *nic);
/** vm_overlay_nics() - @current.networks as they are in what runs. */
void vm_overlay_nics(struct vm_context *vm, struct json_doc *doc, struct json_value *current, struct json_value *desired);
/** vm_nics_words() - as vm_media_words(), of interfaces. */
const char *vm_nics_words(struct vm_context *vm, const char **ret_reason);
/** vm_release_addresses() - addresses that were made for networks which the machine has left go. */
void vm_release_addresses(struct vm_context *vm);

/* plug_media.c */
/** vm_exchange_media() - the @n @disks of the Instance with the media that the specification names now; true: something changed. */
bool vm_exchange_media(struct vm_context *vm, struct api_instance_disk *disks, size_t n);
/** vm_overlay_media() - @current.blockDeviceRefs as they are in the drives of what runs. */
void vm_overlay_media(struct vm_context *vm, struct json_doc *doc, struct json_value *current, const struct json_value *desired);
/** vm_media_words() - what of the ordered media is not in its drive yet, or NULL; a reason only when there is trouble. */
const char *vm_media_words(struct vm_context *vm, const char **ret_reason);

/* interfaces.c */
/** vm_look_at_interfaces() - networks, addresses (made when absent) and policy; conditions VirtualMachineIPAddressReady,
 * NetworkReady. */
void vm_look_at_interfaces(struct vm_context *vm);
/** vm_port_name() - of the Port of an interface: the one that the Instance lists, else the one that it will have. */
const char *vm_port_name(const struct vm_context *vm, unsigned number);
/** vm_write_ports() - Ports on the chosen node: made, or changed to what the machine wants now. */
void vm_write_ports(struct vm_context *vm);
/** vm_write_port() - that of one interface. */
void vm_write_port(struct vm_context *vm, size_t index);
/** vm_renew_policies() - policies follow their security groups at once, also while the machine runs. */
void vm_renew_policies(struct vm_context *vm);
/** vm_port_names() - of the Ports in the order of the interfaces. */
const char **vm_port_names(struct vm_context *vm);
/** vm_down_ports() - those whose links shall be down. */
const char **vm_down_ports(struct vm_context *vm, size_t *ret_n);
/** vm_retire_ports() - end Ports that the machine has no use for (@all: all); true when none of those is left. */
bool vm_retire_ports(struct vm_context *vm, bool all);

/* start.c */
/** vm_end_words() - how a machine that was not asked to came to its end, by the reason of its host. */
const char *vm_end_words(struct vm_context *vm, const char *reason);
/** vm_carry_out() - do what power_decide() said. */
void vm_carry_out(struct vm_context *vm);

/* cancel.c */
/** vm_cancel() - operations that were deleted while they were under way: undo what can be undone, let them go. */
void vm_cancel(struct vm_context *vm);

/* change_live.c */
/** vm_applies_live() - disruptions.applyMode is Live. */
bool vm_applies_live(const struct vm_context *vm);
/** vm_learn_size() - has, ordered_size and room, of the Instance as it is. */
void vm_learn_size(struct vm_context *vm);
/** vm_change_live() - order what can come to a running machine; true: this turn writes the Instance's specification. */
bool vm_change_live(struct vm_context *vm);
/** vm_grows() - an order to the host of a running machine is under way. */
bool vm_grows(const struct vm_context *vm);

/* changes.c */
/** vm_applied_text() - the spec as it is recorded with the Instance at a start; user data only by its hash. */
char *vm_applied_text(const struct cache_object *machine);
/** vm_changes() - what differs between the spec of the latest start and the spec now, and needs a restart (D79). */
void vm_changes(struct vm_context *vm, struct json_doc *doc);

/* status.c */
/** vm_mirror() - phase, the other conditions and everything else of the status. */
void vm_mirror(struct vm_context *vm);

/* teardown.c */
/** vm_teardown() - a turn of a machine that is being deleted (D54). */
enum turn_result vm_teardown(struct vm_context *vm);
