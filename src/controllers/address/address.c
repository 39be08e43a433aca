/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/address/address.h"

#include "base/address.h"
#include "controllers/network/network.h"
#include "controllers/object.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

#define FINALIZER_ADDRESS "gabbro.dev/vmip-cleanup"
#define RANDOM_TRIES      32         /* before the range is walked from a random place */
#define AGAIN_US          5000000ull /* an address that was taken may become free */

/* What one turn of an address works on. */
struct bind {
        struct turn *turn;
        const struct cache *cache;
        const struct cache_object *object;
        const struct api_virtual_machine_ip_address *vmip;
        const struct cache_object *network;
        struct api_virtual_machine_ip_address_status status;
        struct conditions conditions;
};

const char *address_lease_name(struct arena *arena, const char *address)
{
        assert(arena && address);

        char *name = arena_printf(arena, "ip-%s", address);

        for (char *p = name; *p; p++)
                if (*p == '.' || *p == ':')
                        *p = '-';
        return name;
}

static const struct cache_object *lease_of(const struct cache *cache, struct arena *arena, const char *address)
{
        return cache_get(cache, &api_virtual_machine_ip_address_lease_kind, NULL, address_lease_name(arena, address));
}

static const struct api_namespaced_ref *lease_holder(const struct cache_object *lease)
{
        static const struct api_namespaced_ref nobody;
        const struct api_virtual_machine_ip_address_lease *view = lease->view;

        return view->spec && view->spec->virtual_machine_ip_address_ref ? view->spec->virtual_machine_ip_address_ref : &nobody;
}

static bool lease_is_of(const struct cache_object *lease, const char *namespace, const char *name)
{
        const struct api_namespaced_ref *holder = lease_holder(lease);

        return g_strcmp0(holder->namespace, namespace) == 0 && g_strcmp0(holder->name, name) == 0;
}

/* --- making and giving back leases --- */

static void lease_status_bound(struct turn *turn, const char *namespace, const char *holder,
                               struct api_virtual_machine_ip_address_lease_status *status)
{
        struct conditions conditions = {
                .arena = turn_arena(turn),
                .list = &status->conditions,
                .n = &status->n_conditions,
                .generation = 1,
                .now_us = turn_now_us(turn),
        };

        status->phase = "Bound";
        status->released_at = NULL;
        conditions_say(&conditions, "Bound", "True", REASON_BOUND, "held by VirtualMachineIPAddress %s/%s", namespace, holder);
}

static void lease_create(struct turn *turn, const char *address, const char *network, const char *namespace, const char *holder)
{
        struct api_object_meta meta = {.name = address_lease_name(turn_arena(turn), address)};
        struct api_namespaced_ref ref = {.namespace = namespace, .name = holder};
        struct api_virtual_machine_ip_address_lease_spec spec = {.virtual_machine_ip_address_ref = &ref, .network_name = network};
        struct api_virtual_machine_ip_address_lease_status status = {0};
        struct api_virtual_machine_ip_address_lease lease = {.metadata = &meta, .spec = &spec, .status = &status};

        lease_status_bound(turn, namespace, holder, &status);
        turn_create(turn, &api_virtual_machine_ip_address_lease_kind, &lease);
}

static void lease_take_over(struct turn *turn, const struct cache_object *lease, const char *namespace, const char *holder)
{
        const struct api_virtual_machine_ip_address_lease *view = lease->view;
        struct api_virtual_machine_ip_address_lease_spec spec = *view->spec;
        struct api_virtual_machine_ip_address_lease_status status =
                view->status ? *view->status : (struct api_virtual_machine_ip_address_lease_status){0};
        struct api_namespaced_ref ref = {.namespace = namespace, .name = holder};

        spec.virtual_machine_ip_address_ref = &ref;
        lease_status_bound(turn, namespace, holder, &status);
        turn_update_spec(turn, lease, &spec);
        turn_update_status(turn, lease, &status);
}

static void lease_release(struct turn *turn, const struct cache_object *lease)
{
        const struct api_virtual_machine_ip_address_lease *view = lease->view;
        struct api_virtual_machine_ip_address_lease_spec spec =
                view->spec ? *view->spec : (struct api_virtual_machine_ip_address_lease_spec){0};
        struct api_virtual_machine_ip_address_lease_status status =
                view->status ? *view->status : (struct api_virtual_machine_ip_address_lease_status){0};
        struct api_namespaced_ref ref = {.namespace = lease_holder(lease)->namespace};
        struct conditions conditions = {
                .arena = turn_arena(turn),
                .list = &status.conditions,
                .n = &status.n_conditions,
                .generation = object_meta(lease)->generation,
                .now_us = turn_now_us(turn),
        };
        char text[CLOCK_RFC3339_MAX];

        spec.virtual_machine_ip_address_ref = &ref;
        status.phase = "Released";
        status.released_at = arena_strdup(turn_arena(turn), clock_format_rfc3339(turn_now_us(turn), false, text));
        conditions_say(&conditions, "Bound", "False", REASON_RELEASED, "kept for project %s for ten minutes",
                       ref.namespace ? ref.namespace : "-");
        turn_update_spec(turn, lease, &spec);
        turn_update_status(turn, lease, &status);
}

/* --- choosing a free address --- */

static const char *address_at(const struct network_range *range, uint64_t offset, struct arena *arena)
{
        struct address address;
        char text[ADDRESS_TEXT_MAX];

        if (address_offset(&range->prefix.base, offset, &address) != 0 || !network_range_holds(range, &address))
                return NULL;
        return arena_strdup(arena, address_format(&address, text));
}

static const char *free_at(const struct cache *cache, const struct network_range *range, uint64_t offset, struct arena *arena)
{
        const char *address = address_at(range, offset, arena);

        return address && !lease_of(cache, arena, address) ? address : NULL;
}

/* The range is not walked when it has as many leases as addresses: thousands of machines may wait for one. After a range has shrunk
 * some of those are outside of it, and what is free is found at random, a few turns later. */
static const char *find_free(struct turn *turn, const char *network, const struct network_range *range)
{
        g_autoptr(GPtrArray) leases = cache_lookup(turn_cache(turn), INDEX_LEASE_BY_NETWORK, network);
        uint64_t n = range->last - range->first + 1, start;
        bool full = leases->len >= network_range_size(range);
        const char *address = NULL;

        for (unsigned i = 0; i < (full ? 1 : RANDOM_TRIES) && !address; i++)
                address = free_at(turn_cache(turn), range, range->first + random_below(turn_random(turn), n), turn_arena(turn));
        start = random_below(turn_random(turn), n);
        for (uint64_t i = 0; !full && i < n && !address; i++)
                address = free_at(turn_cache(turn), range, range->first + (start + i) % n, turn_arena(turn));
        return address;
}

const char *address_take_free(struct turn *turn, const struct cache_object *network, const char *namespace, const char *holder)
{
        assert(turn && network && namespace && holder);

        const struct api_network *view = network->view;
        struct network_range range;
        const char *words, *address;

        if (network_range(view->spec, &range, &words) != 0)
                return NULL;
        address = find_free(turn, network->name, &range);
        if (address)
                lease_create(turn, address, network->name, namespace, holder);
        return address;
}

const char *address_create_auto(struct turn *turn, const struct cache_object *machine, const struct cache_object *network,
                                const char **ret_name)
{
        assert(turn && machine && network && ret_name);

        struct arena *arena = turn_arena(turn);
        struct api_owner_reference owner = {
                .api_version = arena_printf(arena, "%s/%s", machine->kind->group, machine->kind->version),
                .kind = machine->kind->kind,
                .name = machine->name,
                .uid = machine->uid,
                .controller = true,
                .has_controller = true,
        };
        const char *finalizer = FINALIZER_ADDRESS;
        struct api_object_meta meta = {
                .namespace = machine->namespace,
                .owner_references = &owner,
                .n_owner_references = 1,
                .finalizers = &finalizer,
                .n_finalizers = 1,
        };
        struct api_virtual_machine_ip_address_spec spec = {.type = "Auto", .network_name = network->name};
        struct api_virtual_machine_ip_address_status status = {.network_name = network->name,
                                                               .virtual_machine_name = machine->name};
        struct api_virtual_machine_ip_address vmip = {.metadata = &meta, .spec = &spec, .status = &status};
        struct conditions conditions = {.arena = arena,
                                        .list = &status.conditions,
                                        .n = &status.n_conditions,
                                        .generation = 1,
                                        .now_us = turn_now_us(turn)};

        meta.name = turn_random_name(turn, arena_printf(arena, "%s-", machine->name));
        status.address = address_take_free(turn, network, machine->namespace, meta.name);
        if (!status.address)
                return NULL;
        status.phase = "Attached";
        status.observed_generation = 1;
        status.has_observed_generation = true;
        conditions_say(&conditions, "Bound", "True", REASON_BOUND, "%s is held", status.address);
        conditions_say(&conditions, "Attached", "True", REASON_ATTACHED, "machine %s uses it", machine->name);
        turn_create(turn, &api_virtual_machine_ip_address_kind, &vmip);
        *ret_name = meta.name;
        return status.address;
}

/* --- VirtualMachineIPAddress --- */

static bool bind_wait(struct bind *bind, const char *reason, const char *words)
{
        bind->status.phase = "Pending";
        bind->status.address = NULL;
        conditions_say(&bind->conditions, "Bound", "False", reason, "%s", words);
        return false;
}

/* The lease of an address that the object asks for by name: its own, a new one, or one that its project gave back. */
static bool bind_claim(struct bind *bind, const char *address)
{
        struct arena *arena = turn_arena(bind->turn);
        const struct cache_object *lease = lease_of(bind->cache, arena, address);
        const struct api_namespaced_ref *holder = lease ? lease_holder(lease) : NULL;

        if (!lease) {
                lease_create(bind->turn, address, bind->network->name, bind->object->namespace, bind->object->name);
                return true;
        }
        if (lease_is_of(lease, bind->object->namespace, bind->object->name)) {
                turn_depends(bind->turn, lease);
                return true;
        }
        if (!holder->name && g_strcmp0(holder->namespace, bind->object->namespace) == 0) {
                lease_take_over(bind->turn, lease, bind->object->namespace, bind->object->name);
                return true;
        }
        turn_again_in(bind->turn, AGAIN_US);
        return bind_wait(bind, REASON_VIRTUAL_MACHINE_IP_ADDRESS_LEASE_ALREADY_EXISTS,
                         holder->name
                                 ? arena_printf(arena, "%s is held by %s", address,
                                                g_strcmp0(holder->namespace, bind->object->namespace) == 0
                                                        ? arena_printf(arena, "VirtualMachineIPAddress %s", holder->name)
                                                        : "another project")
                                 : arena_printf(arena, "%s was released by another project less than ten minutes ago", address));
}

static void bind_give_back(struct bind *bind)
{
        const struct cache_object *lease =
                bind->status.address ? lease_of(bind->cache, turn_arena(bind->turn), bind->status.address) : NULL;

        if (lease && lease_is_of(lease, bind->object->namespace, bind->object->name))
                lease_release(bind->turn, lease);
}

static bool bind_static(struct bind *bind, const struct network_range *range)
{
        struct arena *arena = turn_arena(bind->turn);
        const char *wanted = bind->vmip->spec->static_ip;
        struct address address;
        char text[ADDRESS_TEXT_MAX];

        if (!wanted)
                return bind_wait(bind, REASON_FIELD_VALUE_REQUIRED, "type Static needs spec.staticIP");
        if (address_parse(wanted, &address) != 0 || !network_range_holds(range, &address))
                return bind_wait(bind, REASON_VIRTUAL_MACHINE_IP_ADDRESS_IS_OUT_OF_THE_VALID_RANGE,
                                 arena_printf(arena, "%s is not an address that machines can get in network %s", wanted,
                                              bind->network->name));
        wanted = arena_strdup(arena, address_format(&address, text));
        if (!bind_claim(bind, wanted))
                return false;
        if (bind->status.address && strcmp(bind->status.address, wanted) != 0)
                bind_give_back(bind);
        bind->status.address = wanted;
        return true;
}

static bool bind_auto(struct bind *bind)
{
        const char *address = bind->status.address;

        if (address)
                return bind_claim(bind, address);
        address = address_take_free(bind->turn, bind->network, bind->object->namespace, bind->object->name);
        if (!address) {
                turn_again_in(bind->turn, AGAIN_US);
                return bind_wait(bind, REASON_NO_FREE_ADDRESS,
                                 arena_printf(turn_arena(bind->turn), "network %s has no free address", bind->network->name));
        }
        bind->status.address = address;
        return true;
}

static bool bind_address(struct bind *bind)
{
        const struct api_virtual_machine_ip_address_spec *spec = bind->vmip->spec;
        const struct api_network *network;
        struct network_range range;
        const char *words, *name = bind->status.network_name;

        if (!name)
                name = spec ? spec->network_name : NULL;
        bind->network = network_named(bind->cache, name);
        if (!bind->network)
                return bind_wait(bind, name ? REASON_NETWORK_NOT_FOUND : REASON_NO_DEFAULT_NETWORK,
                                 name ? arena_printf(turn_arena(bind->turn), "network %s does not exist", name)
                                      : "there is no default network");
        network = bind->network->view;
        if (network_range(network->spec, &range, &words) != 0)
                return bind_wait(bind, REASON_NETWORK_NOT_READY, words);
        bind->status.network_name = bind->network->name;
        return spec && g_strcmp0(spec->type, "Static") == 0 ? bind_static(bind, &range) : bind_auto(bind);
}

/* The machine that uses an address: the one that had it before, as long as it names it; else the oldest that names it. */
static const struct cache_object *bind_machine(struct bind *bind)
{
        g_autofree char *key = g_strdup_printf("%s/%s", bind->object->namespace, bind->object->name);
        g_autoptr(GPtrArray) machines = cache_lookup(bind->cache, INDEX_VM_BY_ADDRESS, key);
        const struct cache_object *best = NULL;

        for (guint i = 0; machines && i < machines->len; i++) {
                const struct cache_object *machine = machines->pdata[i];

                if (g_strcmp0(machine->name, bind->status.virtual_machine_name) == 0)
                        return machine;
                if (!best || object_created_us(machine) < object_created_us(best))
                        best = machine;
        }
        if (best)
                return best;
        for (size_t i = 0; i < object_meta(bind->object)->n_owner_references; i++) {
                best = cache_by_uid(bind->cache, object_meta(bind->object)->owner_references[i].uid);
                if (best && best->kind == &api_virtual_machine_kind)
                        return best;
        }
        return NULL;
}

static void bind_attach(struct bind *bind)
{
        const struct cache_object *machine = bind_machine(bind);

        bind->status.virtual_machine_name = machine ? machine->name : NULL;
        if (machine) {
                bind->status.phase = "Attached";
                conditions_say(&bind->conditions, "Attached", "True", REASON_ATTACHED, "machine %s uses it", machine->name);
        } else {
                bind->status.phase = "Bound";
                conditions_say(&bind->conditions, "Attached", "False", REASON_NOT_ATTACHED, "no machine uses it");
        }
}

static void bind_lost(struct bind *bind)
{
        bind->status.virtual_machine_name = NULL;
        conditions_say(&bind->conditions, "Attached", "False", REASON_NOT_ATTACHED, "it has no address yet");
}

static bool has_port(const struct bind *bind, const struct cache_object *machine)
{
        g_autoptr(GPtrArray) ports = cache_lookup(bind->cache, INDEX_PORT_BY_MACHINE, machine->uid);

        for (guint i = 0; ports && i < ports->len; i++) {
                const struct api_port *port = ((const struct cache_object *)ports->pdata[i])->view;

                for (size_t j = 0; port->spec && j < port->spec->n_addresses; j++)
                        if (g_strcmp0(port->spec->addresses[j], bind->status.address) == 0)
                                return true;
        }
        return false;
}

/* An address that a machine still has is not given back: the machine's end or another address comes first. */
static enum turn_result bind_end(struct bind *bind)
{
        const struct cache_object *machine = bind_machine(bind);

        if (machine && has_port(bind, machine)) {
                conditions_say(&bind->conditions, "Attached", "True", REASON_ATTACHED,
                               "its deletion waits for machine %s, which uses it", machine->name);
                turn_update_status(bind->turn, bind->object, &bind->status);
                return TURN_WAIT;
        }
        bind_give_back(bind);
        turn_remove_finalizer(bind->turn, bind->object, FINALIZER_ADDRESS);
        return TURN_DONE;
}

static enum turn_result address_turn(struct turn *turn, const struct cache_object *object)
{
        const struct api_virtual_machine_ip_address *vmip = object->view;
        struct bind bind = {
                .turn = turn,
                .cache = turn_cache(turn),
                .object = object,
                .vmip = vmip,
                .status = vmip->status ? *vmip->status : (struct api_virtual_machine_ip_address_status){0},
        };

        bind.conditions = (struct conditions){
                .arena = turn_arena(turn),
                .list = &bind.status.conditions,
                .n = &bind.status.n_conditions,
                .generation = object_meta(object)->generation,
                .now_us = turn_now_us(turn),
        };
        bind.status.observed_generation = bind.conditions.generation;
        bind.status.has_observed_generation = true;
        if (object_deleting(object))
                return bind_end(&bind);
        turn_add_finalizer(turn, object, FINALIZER_ADDRESS);
        if (bind_address(&bind)) {
                conditions_say(&bind.conditions, "Bound", "True", REASON_BOUND, "%s is held", bind.status.address);
                bind_attach(&bind);
        } else {
                bind_lost(&bind);
        }
        turn_update_status(turn, object, &bind.status);
        return TURN_DONE;
}

static void enqueue_names(const struct cache_object *machine, struct workqueue *queue)
{
        const struct api_virtual_machine *view = machine ? machine->view : NULL;

        if (!view)
                return;
        if (view->spec && view->spec->virtual_machine_ip_address_name)
                controller_enqueue(queue, machine->namespace, view->spec->virtual_machine_ip_address_name);
        for (size_t i = 0; view->spec && i < view->spec->n_networks; i++)
                if (view->spec->networks[i].virtual_machine_ip_address_name)
                        controller_enqueue(queue, machine->namespace, view->spec->networks[i].virtual_machine_ip_address_name);
        for (size_t i = 0; view->status && i < view->status->n_networks; i++)
                if (view->status->networks[i].virtual_machine_ip_address_name)
                        controller_enqueue(queue, machine->namespace, view->status->networks[i].virtual_machine_ip_address_name);
}

static void address_related(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                            struct workqueue *queue)
{
        const struct cache_object *object = now ? now : before;

        if (object->kind == &api_virtual_machine_kind) {
                enqueue_names(before, queue);
                enqueue_names(now, queue);
                if (!before || !now)
                        index_enqueue(cache, INDEX_VMIP_BY_OWNER, object->uid, queue);
        } else if (object->kind == &api_virtual_machine_ip_address_lease_kind) {
                const struct api_namespaced_ref *holder = lease_holder(object);

                if (holder->name)
                        controller_enqueue(queue, holder->namespace, holder->name);
        } else if (object->kind == &api_network_kind && object_moved(before, now)) {
                kind_enqueue(cache, &api_virtual_machine_ip_address_kind, NULL, queue);
        } else if (object->kind == &api_port_kind && !now) {
                const struct api_port *port = object->view;

                if (port->spec)
                        enqueue_names(cache_by_uid(cache, port->spec->machine->uid), queue);
        }
}

const struct controller address_controller = {
        .name = "address",
        .kind = &api_virtual_machine_ip_address_kind,
        .turn = address_turn,
        .related = address_related,
};

/* --- VirtualMachineIPAddressLease --- */

static bool lease_is_used(const struct turn *turn, const struct cache_object *lease)
{
        const struct api_namespaced_ref *holder = lease_holder(lease);

        if (!holder->name || !holder->namespace)
                return false;
        return cache_get(turn_cache(turn), &api_virtual_machine_ip_address_kind, holder->namespace, holder->name) != NULL;
}

static enum turn_result lease_turn(struct turn *turn, const struct cache_object *object)
{
        const struct api_virtual_machine_ip_address_lease *lease = object->view;
        const char *released_at = lease->status ? lease->status->released_at : NULL;
        const struct api_namespaced_ref *holder = lease_holder(object);

        if (lease_is_used(turn, object)) {
                lease_take_over(turn, object, holder->namespace, holder->name);
                return TURN_DONE;
        }
        if (!lease->status || g_strcmp0(lease->status->phase, "Released") != 0) {
                lease_release(turn, object);
                turn_again_in(turn, ADDRESS_RETENTION_US);
                return TURN_DONE;
        }

        uint64_t end_us = time_us(released_at) + ADDRESS_RETENTION_US;

        if (turn_now_us(turn) >= end_us)
                turn_delete(turn, object);
        else
                turn_again_in(turn, end_us - turn_now_us(turn));
        return TURN_DONE;
}

static void lease_related(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                          struct workqueue *queue)
{
        const struct cache_object *object = now ? now : before;
        g_autofree char *key = NULL;

        if (object->kind != &api_virtual_machine_ip_address_kind || (before && now))
                return;
        key = g_strdup_printf("%s/%s", object->namespace, object->name);
        index_enqueue(cache, INDEX_LEASE_BY_HOLDER, key, queue);
}

const struct controller lease_controller = {
        .name = "addresslease",
        .kind = &api_virtual_machine_ip_address_lease_kind,
        .turn = lease_turn,
        .related = lease_related,
};
