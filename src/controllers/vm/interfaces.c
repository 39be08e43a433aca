/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/vm/context.h"
#include "controllers/vm/redeploy.h"

#include "base/address.h"
#include "controllers/address/address.h"
#include "controllers/network/network.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

#define HOSTNAME_MOST 63
#define MAC_STRIDE    64 /* more than a machine has interfaces */
#define MAC_ATTEMPTS  64

/* A lease that goes wakes some of those that wait; this is for the others, of whom there may be thousands. */
#define ADDRESS_AGAIN_US 60000000ull

static void address_bad(struct vm_context *vm, const char *reason, const char *words)
{
        conditions_say(&vm->conditions, "VirtualMachineIPAddressReady", "False", reason, "%s", words);
        vm_block(vm, reason, words);
}

/* --- numbers --- */

/* What the status says of the interface with this number, or NULL. */
static const struct api_machine_network_status *status_of(const struct vm_context *vm, unsigned number)
{
        for (size_t i = 0; i < vm->status.n_networks; i++)
                if (vm->status.networks[i].id == (int64_t)number + 1)
                        return &vm->status.networks[i];
        return NULL;
}

static bool number_is_named(const struct vm_context *vm, unsigned number)
{
        for (size_t i = 0; i < vm->spec->n_networks; i++)
                if (vm->spec->networks[i].has_id && vm->spec->networks[i].id == (int64_t)number + 1)
                        return true;
        return false;
}

static bool number_is_given(const struct vm_context *vm, size_t n, unsigned number)
{
        for (size_t i = 0; i < n; i++)
                if (vm->nics[i].number == number)
                        return true;
        return number_is_named(vm, number);
}

/* A machine that has moved has Ports of the name, a '-' and how many there were before. */
const char *vm_port_name(const struct vm_context *vm, unsigned number)
{
        const char *base = intent_name(vm->arena, 'p', vm->object->uid, number);
        size_t len = strlen(base);

        assert(vm);
        for (size_t i = 0; vm->view && i < vm->view->spec->n_ports; i++) {
                const char *port = vm->view->spec->ports[i];

                if (strncmp(port, base, len) == 0 && (port[len] == '\0' || port[len] == '-'))
                        return port;
        }
        return base;
}

/*
 * An interface keeps its number, and with it Port, MAC address and tap, while others come and go: that of its id, else the one that
 * the status has for its network, else the lowest that no other interface has or had a moment ago.
 */
static unsigned number_of(const struct vm_context *vm, size_t index)
{
        const struct api_machine_network *wanted = vm->spec->n_networks > 0 ? &vm->spec->networks[index] : NULL;
        unsigned number = index == 0 ? 0 : 1;

        if (wanted && wanted->has_id)
                return (unsigned)wanted->id - 1;
        for (size_t i = 0; index > 0 && i < vm->status.n_networks; i++) {
                const struct api_machine_network_status *known = &vm->status.networks[i];

                if (known->id > 1 && g_strcmp0(known->type, wanted->type) == 0 && g_strcmp0(known->name, wanted->name) == 0 &&
                    !number_is_given(vm, index, (unsigned)known->id - 1))
                        return (unsigned)known->id - 1;
        }
        while (number_is_given(vm, index, number) ||
               (index > 0 && (status_of(vm, number) || cache_get(vm->cache, &api_port_kind, NULL, vm_port_name(vm, number)))))
                number++;
        return number;
}

/* --- addresses --- */

/* The address that an interface had before, else one of the machine's own that no other interface has. */
static const struct cache_object *nic_auto_address(struct vm_context *vm, const struct vm_nic *nic, size_t index)
{
        g_autoptr(GPtrArray) owned = cache_lookup(vm->cache, INDEX_VMIP_BY_OWNER, vm->object->uid);
        const struct api_machine_network_status *before = status_of(vm, nic->number);
        const struct cache_object *vmip;

        if (before && before->virtual_machine_ip_address_name && g_strcmp0(before->name, nic->network->name) == 0) {
                vmip = cache_get(vm->cache, &api_virtual_machine_ip_address_kind, vm->object->namespace,
                                 before->virtual_machine_ip_address_name);
                if (vmip && !object_deleting(vmip))
                        return vmip;
        }
        for (guint i = 0; owned && i < owned->len; i++) {
                const struct api_virtual_machine_ip_address *view;
                bool taken = false;

                vmip = owned->pdata[i];
                view = vmip->view;
                for (size_t j = 0; j < index; j++)
                        taken |= vm->nics[j].vmip == vmip;
                if (!taken && !object_deleting(vmip) && view->spec && g_strcmp0(view->spec->network_name, nic->network->name) == 0)
                        return vmip;
        }
        return NULL;
}

static bool nic_use_address(struct vm_context *vm, struct vm_nic *nic, const struct cache_object *object)
{
        const struct api_virtual_machine_ip_address *vmip = object->view;
        const struct api_virtual_machine_ip_address_status *status = vmip->status;

        nic->vmip = object;
        nic->vmip_name = object->name;
        if (object_deleting(object)) {
                address_bad(vm, REASON_VIRTUAL_MACHINE_IP_ADDRESS_NOT_READY,
                            arena_printf(vm->arena, "VirtualMachineIPAddress %s is being deleted", object->name));
                return false;
        }
        if (!status || !status->address || g_strcmp0(status->phase, "Pending") == 0) {
                const struct api_condition *bound =
                        status ? condition_get(status->conditions, status->n_conditions, "Bound") : NULL;

                address_bad(vm, REASON_VIRTUAL_MACHINE_IP_ADDRESS_NOT_READY,
                            arena_printf(vm->arena, "VirtualMachineIPAddress %s is not bound yet%s%s", object->name,
                                         bound ? ": " : "", bound ? bound->message : ""));
                return false;
        }
        nic->address = status->address;
        if (g_strcmp0(status->virtual_machine_name, vm->object->name) == 0)
                return true;
        address_bad(vm,
                    status->virtual_machine_name ? REASON_VIRTUAL_MACHINE_IP_ADDRESS_NOT_AVAILABLE
                                                 : REASON_VIRTUAL_MACHINE_IP_ADDRESS_NOT_READY,
                    status->virtual_machine_name
                            ? arena_printf(vm->arena, "VirtualMachineIPAddress %s is used by machine %s", object->name,
                                           status->virtual_machine_name)
                            : arena_printf(vm->arena, "VirtualMachineIPAddress %s is not attached yet", object->name));
        return false;
}

static bool nic_named_address(struct vm_context *vm, struct vm_nic *nic, const char *name)
{
        const struct cache_object *vmip = cache_get(vm->cache, &api_virtual_machine_ip_address_kind, vm->object->namespace, name);

        nic->vmip_name = name;
        if (vmip)
                return nic_use_address(vm, nic, vmip);
        address_bad(vm, REASON_VIRTUAL_MACHINE_IP_ADDRESS_NOT_READY,
                    arena_printf(vm->arena, "VirtualMachineIPAddress %s does not exist", name));
        return false;
}

static bool nic_address(struct vm_context *vm, struct vm_nic *nic, size_t index)
{
        const char *name = nic->wanted ? nic->wanted->virtual_machine_ip_address_name : NULL;
        const struct cache_object *vmip;

        if (!name && index == 0)
                name = vm->spec->virtual_machine_ip_address_name;
        if (name)
                return nic_named_address(vm, nic, name);
        vmip = nic_auto_address(vm, nic, index);
        if (vmip)
                return nic_use_address(vm, nic, vmip);
        if (turn_refusal(vm->turn)) {
                address_bad(vm, REASON_QUOTA_EXCEEDED, turn_refusal(vm->turn));
                return false;
        }
        nic->address = address_create_auto(vm->turn, vm->object, nic->network, &nic->vmip_name);
        if (nic->address)
                return true;
        turn_again_in(vm->turn, ADDRESS_AGAIN_US);
        address_bad(vm, REASON_NO_FREE_ADDRESS, arena_printf(vm->arena, "network %s has no free address", nic->network->name));
        return false;
}

static bool nic_network(struct vm_context *vm, struct vm_nic *nic)
{
        const char *name = nic->wanted && g_strcmp0(nic->wanted->type, "Main") != 0 ? nic->wanted->name : NULL;
        const struct api_network *network;

        nic->network = network_named(vm->cache, name);
        if (!nic->network) {
                const char *words =
                        name ? arena_printf(vm->arena, "network %s does not exist", name) : "there is no default network";
                const char *reason = name ? REASON_NETWORK_NOT_FOUND : REASON_NO_DEFAULT_NETWORK;

                conditions_say(&vm->conditions, "NetworkReady", "False", reason, "%s", words);
                address_bad(vm, REASON_VIRTUAL_MACHINE_IP_ADDRESS_NOT_READY, words);
                return false;
        }
        network = nic->network->view;
        if (network->status && g_strcmp0(network->status->phase, "Failed") == 0) {
                const struct api_condition *ready =
                        condition_get(network->status->conditions, network->status->n_conditions, "Ready");
                const char *words = arena_printf(vm->arena, "network %s is not ready: %s", nic->network->name,
                                                 ready && ready->message ? ready->message : "it failed");

                conditions_say(&vm->conditions, "NetworkReady", "False", REASON_NETWORK_NOT_READY, "%s", words);
                address_bad(vm, REASON_VIRTUAL_MACHINE_IP_ADDRESS_NOT_READY, words);
                return false;
        }
        return true;
}

static bool mac_is_free(struct vm_context *vm, const struct vm_nic *nic, const char *mac)
{
        const struct cache_object *other = index_one(vm->cache, INDEX_PORT_BY_MAC, mac);

        return !other || strcmp(other->name, nic->port_name) == 0;
}

/* What the interface has stays. A new one gets an address that no other has: three bytes of a hash meet among a few thousands. */
static const char *nic_mac(struct vm_context *vm, const struct vm_nic *nic)
{
        const struct api_port *port = nic->port ? nic->port->view : NULL;
        char mac[MAC_TEXT_MAX];
        unsigned attempt = 0;

        if (port && port->spec && port->spec->mac)
                return port->spec->mac;
        do
                (void)mac_derive(redeploy_identity(vm->object), nic->number + attempt * MAC_STRIDE, mac);
        while (!mac_is_free(vm, nic, mac) && ++attempt < MAC_ATTEMPTS);
        return arena_strdup(vm->arena, mac);
}

static bool look_at_nic(struct vm_context *vm, size_t index)
{
        struct vm_nic *nic = &vm->nics[index];

        *nic = (struct vm_nic){.wanted = vm->spec->n_networks > 0 ? &vm->spec->networks[index] : NULL,
                               .number = number_of(vm, index)};
        nic->port_name = vm_port_name(vm, nic->number);
        nic->port = cache_get(vm->cache, &api_port_kind, NULL, nic->port_name);
        nic->mac = nic_mac(vm, nic);
        if (nic->port && object_deleting(nic->port)) {
                vm_block(vm, REASON_CLEANUP_PENDING, "a former interface of it is being removed");
                return false;
        }
        return nic_network(vm, nic) && nic_address(vm, nic, index);
}

static bool port_in_place(const struct cache_object *object)
{
        const struct api_port *port = object ? object->view : NULL;

        return port && port->status && g_strcmp0(port->status->state, "Ready") == 0 &&
               (!port->status->policy_digest || g_strcmp0(port->status->policy_digest, port->spec->policy->digest) == 0);
}

static void say_network(struct vm_context *vm, const char *missing_group)
{
        const struct api_intent_error *error = NULL;
        bool in_place = true;

        for (size_t i = 0; i < vm->n_nics; i++) {
                const struct api_port *port = vm->nics[i].port ? vm->nics[i].port->view : NULL;

                in_place &= port_in_place(vm->nics[i].port);
                if (port && port->status && port->status->error)
                        error = port->status->error;
        }
        if (vm_say_lost(vm, "NetworkReady"))
                return;
        if (missing_group)
                conditions_say(&vm->conditions, "NetworkReady", "False", REASON_SECURITY_GROUP_NOT_FOUND,
                               "SecurityGroup %s does not exist, so its interfaces stay closed", missing_group);
        else if (error)
                conditions_say(&vm->conditions, "NetworkReady", "False", error->reason, "%s", error->message);
        else if (in_place)
                conditions_say(&vm->conditions, "NetworkReady", "True", REASON_NETWORK_READY,
                               "addresses and policies are in place");
        else
                conditions_say(&vm->conditions, "NetworkReady", "False", REASON_POLICY_NOT_IN_PLACE,
                               "addresses and policies are put in place when it starts");
}

void vm_look_at_interfaces(struct vm_context *vm)
{
        assert(vm);

        const char *missing;
        bool ok = true;

        vm->n_nics = vm->spec->n_networks > 0 ? MIN(vm->spec->n_networks, VM_NICS_MAX) : 1;
        vm->policy = policy_resolve(vm->cache, vm->object, vm->arena, &missing);
        for (size_t i = 0; i < vm->n_nics; i++)
                ok &= look_at_nic(vm, i);
        vm->nics_looked = ok;
        if (!ok)
                return;
        say_network(vm, missing);
        conditions_say(&vm->conditions, "VirtualMachineIPAddressReady", "True", REASON_VIRTUAL_MACHINE_IP_ADDRESS_READY, "%s is %s",
                       vm->nics[0].vmip_name, vm->nics[0].address);
}

/* --- ports --- */

/* Interface names have 15 characters at most: twelve digits of a hash of machine and number. What a port has it keeps. */
static const char *tap_name(struct vm_context *vm, size_t index)
{
        const struct api_port *port = vm->nics[index].port ? vm->nics[index].port->view : NULL;

        if (port && port->spec)
                return port->spec->tap_name;

        g_autofree char *seed = g_strdup_printf("%s/%u", vm->object->uid, vm->nics[index].number);
        g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, seed, -1);

        return arena_printf(vm->arena, "gbt%.12s", sum);
}

static const char *host_label(struct vm_context *vm)
{
        char *label = arena_strndup(vm->arena, vm->object->name, MIN(strlen(vm->object->name), HOSTNAME_MOST));

        for (char *p = label; *p; p++)
                if (*p == '.')
                        *p = '-';
        return label;
}

static void port_fill(struct vm_context *vm, size_t index, struct api_machine_ref *machine, struct api_port_spec *spec)
{
        struct vm_nic *nic = &vm->nics[index];
        const char **addresses = arena_array(vm->arena, 1, sizeof(*addresses));

        *machine = (struct api_machine_ref){.uid = vm->object->uid, .namespace = vm->object->namespace, .name = vm->object->name};
        addresses[0] = nic->address;
        *spec = (struct api_port_spec){
                .node_name = vm->node,
                .machine = machine,
                .network = network_port_view(nic->network, vm->arena),
                .mac = nic->mac,
                .addresses = addresses,
                .n_addresses = 1,
                .tap_name = tap_name(vm, index),
                .hostname = host_label(vm),
                .policy = vm->policy,
        };
}

void vm_write_port(struct vm_context *vm, size_t index)
{
        struct intent_owner owner = intent_owner_of(vm->object);
        struct vm_nic *nic = &vm->nics[index];
        struct api_machine_ref machine;
        struct api_port_spec spec;

        assert(vm && vm->node && index < vm->n_nics);

        port_fill(vm, index, &machine, &spec);
        if (nic->vmip)
                turn_depends(vm->turn, nic->vmip);
        if (nic->port) {
                turn_update_spec(vm->turn, nic->port, &spec);
        } else {
                struct api_port port = {.metadata = intent_meta(vm->arena, &owner, nic->port_name, vm->node), .spec = &spec};

                turn_create(vm->turn, &api_port_kind, &port);
        }
}

void vm_write_ports(struct vm_context *vm)
{
        assert(vm && vm->node);

        for (size_t i = 0; i < vm->n_nics; i++)
                vm_write_port(vm, i);
}

void vm_renew_policies(struct vm_context *vm)
{
        assert(vm);

        g_autoptr(GPtrArray) ports = cache_lookup(vm->cache, INDEX_PORT_BY_MACHINE, vm->object->uid);

        for (guint i = 0; ports && i < ports->len; i++) {
                const struct cache_object *object = ports->pdata[i];
                struct api_port_spec spec = *((const struct api_port *)object->view)->spec;

                spec.policy = vm->policy;
                if (!object_deleting(object))
                        turn_update_spec(vm->turn, object, &spec);
        }
}

const char **vm_port_names(struct vm_context *vm)
{
        assert(vm);

        const char **names = arena_array(vm->arena, vm->n_nics, sizeof(*names));

        for (size_t i = 0; i < vm->n_nics; i++)
                names[i] = vm->nics[i].port_name;
        return names;
}

bool vm_nic_is_down(const struct vm_nic *nic)
{
        assert(nic);
        return nic->wanted && g_strcmp0(nic->wanted->link_state, "Down") == 0;
}

const char **vm_down_ports(struct vm_context *vm, size_t *ret_n)
{
        assert(vm && ret_n);

        const char **names = arena_array(vm->arena, vm->n_nics, sizeof(*names));
        size_t n = 0;

        for (size_t i = 0; i < vm->n_nics; i++)
                if (vm_nic_is_down(&vm->nics[i]))
                        names[n++] = vm->nics[i].port_name;
        *ret_n = n;
        return names;
}

bool vm_retire_ports(struct vm_context *vm, bool all)
{
        assert(vm);

        g_autoptr(GPtrArray) ports = cache_lookup(vm->cache, INDEX_PORT_BY_MACHINE, vm->object->uid);
        bool none = true;

        for (guint i = 0; ports && i < ports->len; i++) {
                const struct cache_object *object = ports->pdata[i];
                const struct api_port *port = object->view;
                const char **listed = vm->view ? vm->view->spec->ports : NULL;

                if (!all && !object_deleting(object) &&
                    strings_hold((const char *const *)listed, vm->view ? vm->view->spec->n_ports : 0, object->name))
                        continue;
                none &= intent_retire(vm->turn, object, port->status ? port->status->state : NULL);
        }
        return none;
}
