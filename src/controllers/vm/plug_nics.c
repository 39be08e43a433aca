/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/vm/context.h"

#include "controllers/network/network.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

/*
 * Interfaces of a running machine, with disruptions.applyMode Live: a network that joins the specification gets a Port, whose rules
 * the host puts in place before the interface comes; one that leaves it is marked, and its Port ends when the host says that the
 * domain has it no more. The first interface is that of the start: it changes by a restart.
 */

static bool holds(const char **list, size_t n, const char *name)
{
        for (size_t i = 0; i < n; i++)
                if (strcmp(list[i], name) == 0)
                        return true;
        return false;
}

static bool leaves(const struct api_instance_spec *spec, const char *port)
{
        return holds(spec->leaving_ports, spec->n_leaving_ports, port);
}

const struct api_instance_interface_status *vm_nic_on_host(const struct vm_context *vm, const char *port)
{
        const struct api_instance_status *status = vm->view ? vm->view->status : NULL;

        assert(port);

        for (size_t i = 0; status && i < status->n_interfaces; i++)
                if (strcmp(status->interfaces[i].name, port) == 0)
                        return &status->interfaces[i];
        return NULL;
}

/* The host has seen the wish, and its domain has no such interface. */
static bool is_gone(const struct vm_context *vm, const char *port)
{
        const struct api_instance_status *status = vm->view->status;

        return status && status->observed_generation >= object_meta(vm->instance)->generation && !vm_nic_on_host(vm, port);
}

static bool is_wanted(const struct vm_context *vm, const char *port)
{
        for (size_t i = 0; i < vm->n_nics; i++)
                if (strcmp(vm->nics[i].port_name, port) == 0)
                        return true;
        return false;
}

static bool keep(struct vm_context *vm, const struct api_instance_spec *now, struct api_instance_spec *spec, bool live)
{
        const char *first = vm_port_name(vm, 0);
        bool changed = false, active = instance_active(vm->instance);

        for (size_t i = 0; i < now->n_ports; i++) {
                const char *port = now->ports[i];
                bool leaving = leaves(now, port);

                if (leaving && (!active || is_gone(vm, port))) {
                        turn_event(vm->turn, vm->object, false, REASON_INTERFACE_DETACHED,
                                   arena_printf(vm->arena, "interface %s was taken from the machine", port));
                        changed = true;
                        continue;
                }
                if (live && !leaving && strcmp(port, first) != 0 && !is_wanted(vm, port))
                        leaving = changed = true;
                spec->ports[spec->n_ports++] = port;
                if (leaving)
                        spec->leaving_ports[spec->n_leaving_ports++] = port;
        }
        return changed;
}

static bool add(struct vm_context *vm, struct api_instance_spec *spec)
{
        bool changed = false;

        for (size_t i = 1; i < vm->n_nics; i++) {
                struct vm_nic *nic = &vm->nics[i];

                if (!nic->address || !nic->network || holds(spec->ports, spec->n_ports, nic->port_name))
                        continue;
                vm_write_port(vm, i);
                spec->ports[spec->n_ports++] = nic->port_name;
                turn_event(vm->turn, vm->object, false, REASON_INTERFACE_ATTACHED,
                           arena_printf(vm->arena, "the machine gets an interface to network %s, address %s", nic->network->name,
                                        nic->address));
                changed = true;
        }
        return changed;
}

/* The links of those that stay are as the specification says, whatever applyMode is. */
static bool set_links(struct vm_context *vm, const struct api_instance_spec *now, struct api_instance_spec *spec)
{
        bool changed = false;

        spec->down_ports = arena_array(vm->arena, spec->n_ports + 1, sizeof(*spec->down_ports));
        spec->n_down_ports = 0;
        for (size_t i = 0; i < spec->n_ports; i++) {
                const char *port = spec->ports[i];
                bool was_down = holds(now->down_ports, now->n_down_ports, port), down = was_down;

                for (size_t j = 0; j < vm->n_nics; j++)
                        if (strcmp(vm->nics[j].port_name, port) == 0)
                                down = vm_nic_is_down(&vm->nics[j]);
                if (down)
                        spec->down_ports[spec->n_down_ports++] = port;
                changed |= down != was_down;
        }
        return changed;
}

bool vm_plug_nics(struct vm_context *vm, struct api_instance_spec *spec, bool running)
{
        const struct api_instance_spec *now;
        bool live, changed;

        assert(vm && vm->view && spec);
        now = vm->view->spec;
        live = running && vm_applies_live(vm) && vm->nics_looked;
        spec->ports = arena_array(vm->arena, now->n_ports + vm->n_nics + 1, sizeof(*spec->ports));
        spec->leaving_ports = arena_array(vm->arena, now->n_ports + 1, sizeof(*spec->leaving_ports));
        spec->n_ports = spec->n_leaving_ports = 0;
        changed = keep(vm, now, spec, live);
        changed |= live && add(vm, spec);
        if (vm->nics_looked && vm->current && instance_active(vm->instance))
                changed |= set_links(vm, now, spec);
        return changed;
}

/* --- what waits for a restart --- */

/* Whether the running machine has or gets an interface to a network that is not its first one. */
static bool has_network(struct vm_context *vm, const char *name)
{
        const struct api_instance_spec *spec = vm->view->spec;
        const char *first = vm_port_name(vm, 0);

        for (size_t i = 0; i < spec->n_ports; i++) {
                const struct cache_object *object = cache_get(vm->cache, &api_port_kind, NULL, spec->ports[i]);
                const struct api_port *port = object ? object->view : NULL;

                if (port && strcmp(spec->ports[i], first) != 0 && !leaves(spec, spec->ports[i]) &&
                    g_strcmp0(port->spec->network->name, name) == 0)
                        return true;
        }
        return false;
}

static bool names_network(const struct json_value *list, const char *name)
{
        for (const struct json_value *entry = json_first(list); entry; entry = json_next(entry))
                if (g_strcmp0(json_find_string(entry, "name", NULL), name) == 0)
                        return true;
        return false;
}

/* The entries of the start without those that went, then those of @desired that came, each at its place there. */
static struct json_value *networks_now(struct vm_context *vm, struct json_doc *doc, const struct json_value *before,
                                       const struct json_value *desired)
{
        struct json_value *now = json_new(doc, JSON_ARRAY);
        const struct json_value *old = json_first(before);
        size_t n = 0;

        for (const struct json_value *entry = json_first(desired); entry; entry = json_next(entry)) {
                const char *name = json_find_string(entry, "name", NULL);
                bool came = name && has_network(vm, name) && !names_network(before, name);

                while (old && !came && n > 0 && json_find_string(old, "name", NULL) &&
                       !has_network(vm, json_find_string(old, "name", NULL)))
                        old = json_next(old);
                if (came || (n == 0 && !before)) {
                        json_append(now, json_copy(doc, entry));
                } else if (old) {
                        json_append(now, json_copy(doc, old));
                        old = json_next(old);
                }
                n++;
        }
        for (; old; old = json_next(old))
                if (n == 0 || !json_find_string(old, "name", NULL) || has_network(vm, json_find_string(old, "name", NULL))) {
                        json_append(now, json_copy(doc, old));
                        n++;
                }
        return now;
}

static bool is_main_alone(const struct json_value *list)
{
        const struct json_value *first = json_first(list);

        return !first || (!json_next(first) && !json_find_string(first, "name", NULL));
}

/* Links come at once: they are no difference. */
static void drop_links(const struct json_value *networks)
{
        for (struct json_value *entry = json_first(networks); entry; entry = json_next(entry))
                (void)json_remove(entry, "linkState");
}

/* A list that says no more than no list does. */
static bool is_plain(const struct json_value *list)
{
        return json_length(list) == 1 && json_length(json_first(list)) == 1 &&
               g_strcmp0(json_find_string(json_first(list), "type", NULL), "Main") == 0;
}

void vm_overlay_nics(struct vm_context *vm, struct json_doc *doc, struct json_value *current, struct json_value *desired)
{
        const struct json_value *before = json_get(current, "networks"), *wanted = json_get(desired, "networks");
        struct json_value *now;

        assert(vm && vm->view && doc && current);
        drop_links(before);
        drop_links(wanted);
        if ((!before && wanted && is_plain(wanted)) || (before && !wanted && is_plain(before))) {
                json_remove(current, "networks");
                json_remove(desired, "networks");
                return;
        }
        if (!vm_applies_live(vm) || (!before && !wanted))
                return;
        now = networks_now(vm, doc, before, wanted);
        /* No list is one with the main network alone. */
        if (is_main_alone(now) && is_main_alone(wanted)) {
                json_remove(current, "networks");
                json_remove(desired, "networks");
                return;
        }
        json_set(doc, current, "networks", now);
}

const char *vm_nics_words(struct vm_context *vm, const char **ret_reason)
{
        const struct api_instance_spec *spec = vm->view->spec;
        const struct api_instance_status *status = vm->view->status;

        assert(ret_reason);
        for (size_t i = 0; i < spec->n_ports && status && status->n_interfaces > 0; i++) {
                const char *port = spec->ports[i];
                const struct api_instance_interface_status *host = vm_nic_on_host(vm, port);
                bool leaving = leaves(spec, port);

                if (host && host->reason) {
                        *ret_reason = host->reason;
                        return arena_printf(vm->arena, "host %s cannot %s an interface: %s", vm->node,
                                            leaving                                   ? "detach"
                                            : g_strcmp0(host->state, "Attached") == 0 ? "change the link of"
                                                                                      : "attach",
                                            host->message ? host->message : "no words");
                }
                if (leaving || (host && g_strcmp0(host->state, "Attached") != 0) ||
                    (!host && status->observed_generation < object_meta(vm->instance)->generation))
                        return arena_printf(vm->arena, "host %s %s an interface", vm->node, leaving ? "takes away" : "attaches");
                if (host && host->link && (strcmp(host->link, "Down") == 0) != holds(spec->down_ports, spec->n_down_ports, port))
                        return arena_printf(vm->arena, "host %s changes the link of an interface", vm->node);
        }
        return NULL;
}

/* --- addresses --- */

static bool is_used(struct vm_context *vm, const struct cache_object *vmip)
{
        const struct api_virtual_machine_ip_address *view = vmip->view;
        const char *address = view->status ? view->status->address : NULL;
        g_autoptr(GPtrArray) ports = cache_lookup(vm->cache, INDEX_PORT_BY_MACHINE, vm->object->uid);

        for (size_t i = 0; i < vm->n_nics; i++)
                if (strcmp(vm->nics[i].vmip_name, vmip->name) == 0 ||
                    g_strcmp0(vm->nics[i].network->name, view->spec->network_name) == 0)
                        return true;
        for (guint i = 0; address && ports && i < ports->len; i++) {
                const struct api_port *port = ((const struct cache_object *)ports->pdata[i])->view;

                if (holds(port->spec->addresses, port->spec->n_addresses, address))
                        return true;
        }
        return false;
}

void vm_release_addresses(struct vm_context *vm)
{
        g_autoptr(GPtrArray) owned = NULL;

        assert(vm);
        if (!vm->nics_looked)
                return;
        owned = cache_lookup(vm->cache, INDEX_VMIP_BY_OWNER, vm->object->uid);
        for (guint i = 0; owned && i < owned->len; i++) {
                const struct cache_object *vmip = owned->pdata[i];

                if (!object_deleting(vmip) && !is_used(vm, vmip))
                        turn_delete(vm->turn, vmip);
        }
}
