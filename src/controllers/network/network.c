/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/network/network.h"

#include "controllers/object.h"
#include "generated/reasons.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define FINALIZER_NETWORK "gabbro.dev/network-cleanup"
#define COUNT_AFTER_US    2000000ull /* how soon the numbers of used addresses follow */

/* --- range --- */

static uint64_t offset_of(const struct address_prefix *prefix, const struct address *address)
{
        uint64_t base = 0, value = 0;

        for (size_t i = 0; i < 4; i++) {
                base = base << 8 | prefix->base.bytes[i];
                value = value << 8 | address->bytes[i];
        }
        return value - base;
}

static int range_bound(const struct address_prefix *prefix, const char *text, uint64_t otherwise, uint64_t *ret_offset)
{
        struct address address;

        *ret_offset = otherwise;
        if (!text)
                return 0;
        if (address_parse(text, &address) != 0 || !address_prefix_contains(prefix, &address))
                return -EINVAL;
        *ret_offset = offset_of(prefix, &address);
        return 0;
}

int network_range(const struct api_network_spec *spec, struct network_range *ret_range, const char **reterr_words)
{
        assert(spec && ret_range && reterr_words);

        struct network_range range = {0};
        uint64_t size, gateway;

        if (!spec->cidr || address_prefix_parse(spec->cidr, &range.prefix) != 0 || range.prefix.base.family != 4) {
                *reterr_words = "spec.cidr is not an IPv4 range";
                return -EINVAL;
        }
        size = address_prefix_size(&range.prefix);
        if (size < 4) {
                *reterr_words = "spec.cidr has no room for machines: it must be /30 or larger";
                return -EINVAL;
        }
        if (range_bound(&range.prefix, spec->gateway, 1, &gateway) != 0 ||
            range_bound(&range.prefix, spec->range_start, 1, &range.first) != 0 ||
            range_bound(&range.prefix, spec->range_end, size - 2, &range.last) != 0) {
                *reterr_words = "spec.gateway, spec.rangeStart or spec.rangeEnd lies outside spec.cidr";
                return -EINVAL;
        }
        range.first = MAX(range.first, 1);
        range.last = MIN(range.last, size - 2);
        if (range.first > range.last) {
                *reterr_words = "spec.rangeStart lies behind spec.rangeEnd";
                return -EINVAL;
        }
        if (address_offset(&range.prefix.base, gateway, &range.gateway) != 0) {
                *reterr_words = "spec.gateway lies outside spec.cidr";
                return -EINVAL;
        }
        *ret_range = range;
        return 0;
}

bool network_range_holds(const struct network_range *range, const struct address *address)
{
        assert(range && address);

        uint64_t offset;

        if (address->family != 4 || !address_prefix_contains(&range->prefix, address))
                return false;
        offset = offset_of(&range->prefix, address);
        return offset >= range->first && offset <= range->last && address_compare(address, &range->gateway) != 0;
}

uint64_t network_range_size(const struct network_range *range)
{
        assert(range);

        uint64_t gateway = offset_of(&range->prefix, &range->gateway);

        return range->last - range->first + 1 - (gateway >= range->first && gateway <= range->last ? 1 : 0);
}

/* --- look-up --- */

static bool older_default(const struct cache_object *object, void *userdata)
{
        const struct cache_object **oldest = userdata;
        const struct api_network *network = object->view;

        if (!network->spec || !network->spec->default_ || object_deleting(object))
                return true;
        if (!*oldest || object_created_us(object) < object_created_us(*oldest))
                *oldest = object;
        return true;
}

const struct cache_object *network_default(const struct cache *cache)
{
        const struct cache_object *oldest = NULL;

        assert(cache);
        cache_each(cache, &api_network_kind, NULL, older_default, &oldest);
        return oldest;
}

const struct cache_object *network_named(const struct cache *cache, const char *name)
{
        assert(cache);
        return name ? cache_get(cache, &api_network_kind, NULL, name) : network_default(cache);
}

/* Interface names have 15 characters at most: eight digits of a hash of the uid tell networks apart. */
static const char *bridge_name(struct arena *arena, const char *uid)
{
        g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, uid, -1);

        return arena_printf(arena, "gbr%.8s", sum);
}

struct api_port_network *network_port_view(const struct cache_object *network, struct arena *arena)
{
        assert(network && arena);

        const struct api_network_spec *spec = ((const struct api_network *)network->view)->spec;
        struct api_port_network *view = arena_new0(arena, struct api_port_network);
        struct network_range range;
        const char *words, *gateway = spec->gateway;
        char text[ADDRESS_TEXT_MAX];

        if (network_range(spec, &range, &words) == 0)
                gateway = arena_strdup(arena, address_format(&range.gateway, text));
        *view = (struct api_port_network){
                .name = network->name,
                .uid = network->uid,
                .type = spec->type ? spec->type : "NAT",
                .cidr = spec->cidr,
                .gateway = gateway,
                .bridge = bridge_name(arena, network->uid),
                .dns = spec->dns,
                .n_dns = spec->n_dns,
                .mtu = spec->has_mtu ? spec->mtu : 1500,
                .has_mtu = true,
        };
        return view;
}

/* --- controller --- */

struct usage {
        const char *network;
        int64_t used;
};

static bool count_lease(const struct cache_object *object, void *userdata)
{
        struct usage *usage = userdata;
        const struct api_virtual_machine_ip_address_lease *lease = object->view;

        if (lease->spec && g_strcmp0(lease->spec->network_name, usage->network) == 0)
                usage->used++;
        return true;
}

static bool count_port(const struct cache_object *object, void *userdata)
{
        struct usage *usage = userdata;
        const struct api_port *port = object->view;

        if (port->spec && port->spec->network && g_strcmp0(port->spec->network->name, usage->network) == 0)
                usage->used++;
        return true;
}

struct overlap {
        const struct cache_object *network;
        const struct network_range *range;
        const char *with; /* an older network whose range overlaps */
};

static bool find_overlap(const struct cache_object *object, void *userdata)
{
        struct overlap *overlap = userdata;
        const struct api_network *other = object->view;
        struct network_range range;
        const char *words;

        if (object == overlap->network || !other->spec || network_range(other->spec, &range, &words) != 0)
                return true;
        if (!address_prefix_contains(&range.prefix, &overlap->range->prefix.base) &&
            !address_prefix_contains(&overlap->range->prefix, &range.prefix.base))
                return true;

        uint64_t mine = object_created_us(overlap->network), theirs = object_created_us(object);

        if (theirs < mine || (theirs == mine && strcmp(object->name, overlap->network->name) < 0))
                overlap->with = object->name;
        return overlap->with == NULL;
}

static void network_fill(const struct cache *cache, const struct cache_object *object, const struct conditions *conditions,
                         struct api_network_status *status)
{
        const struct api_network *network = object->view;
        struct usage usage = {.network = object->name};
        struct network_range range;
        const char *words;
        char text[ADDRESS_TEXT_MAX];

        if (network_range(network->spec, &range, &words) != 0) {
                status->phase = "Failed";
                conditions_say(conditions, "Ready", "False", REASON_FAILED, "%s", words);
                return;
        }

        struct overlap overlap = {.network = object, .range = &range};

        cache_each(cache, &api_network_kind, NULL, find_overlap, &overlap);
        cache_each(cache, &api_virtual_machine_ip_address_lease_kind, NULL, count_lease, &usage);
        status->gateway = arena_strdup(conditions->arena, address_format(&range.gateway, text));
        status->total = (int64_t)network_range_size(&range);
        status->used = usage.used;
        status->free = MAX(status->total - status->used, 0);
        status->has_total = status->has_used = status->has_free = true;
        if (overlap.with) {
                status->phase = "Failed";
                conditions_say(conditions, "Ready", "False", REASON_NETWORK_OVERLAPS,
                               "the range %s overlaps with that of network %s", network->spec->cidr, overlap.with);
                return;
        }
        status->phase = "Ready";
        conditions_say(conditions, "Ready", "True", REASON_READY, "machines can get %" PRId64 " addresses of %s", status->total,
                       network->spec->cidr);
}

static enum turn_result network_end(struct turn *turn, const struct cache_object *object, const struct conditions *conditions,
                                    struct api_network_status *status)
{
        struct usage usage = {.network = object->name};

        cache_each(turn_cache(turn), &api_virtual_machine_ip_address_lease_kind, NULL, count_lease, &usage);
        cache_each(turn_cache(turn), &api_port_kind, NULL, count_port, &usage);
        if (usage.used == 0) {
                turn_remove_finalizer(turn, object, FINALIZER_NETWORK);
                return TURN_DONE;
        }
        status->phase = "Terminating";
        conditions_say(conditions, "Ready", "False", REASON_IN_USE, "waits until %" PRId64 " leases and interfaces of it are gone",
                       usage.used);
        turn_update_status(turn, object, status);
        return TURN_WAIT;
}

static enum turn_result network_turn(struct turn *turn, const struct cache_object *object)
{
        const struct api_network *network = object->view;
        struct api_network_status status = network->status ? *network->status : (struct api_network_status){0};
        struct conditions conditions = {
                .arena = turn_arena(turn),
                .list = &status.conditions,
                .n = &status.n_conditions,
                .generation = object_meta(object)->generation,
                .now_us = turn_now_us(turn),
        };

        status.observed_generation = conditions.generation;
        status.has_observed_generation = true;
        if (object_deleting(object))
                return network_end(turn, object, &conditions, &status);
        turn_add_finalizer(turn, object, FINALIZER_NETWORK);
        network_fill(turn_cache(turn), object, &conditions, &status);
        turn_update_status(turn, object, &status);
        return TURN_DONE;
}

static void network_later(const char *name, struct workqueue *queue)
{
        g_autofree char *key = name ? g_strdup_printf("-/%s", name) : NULL;

        if (key)
                workqueue_add_after(queue, key, COUNT_AFTER_US);
}

static void network_related(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                            struct workqueue *queue)
{
        const struct cache_object *object = now ? now : before;

        if (before && now) /* neither leases nor ports ever change their network */
                return;
        if (object->kind == &api_virtual_machine_ip_address_lease_kind) {
                const struct api_virtual_machine_ip_address_lease *lease = object->view;

                network_later(lease->spec ? lease->spec->network_name : NULL, queue);
        } else if (object->kind == &api_port_kind) {
                const struct api_port *port = object->view;

                network_later(port->spec && port->spec->network ? port->spec->network->name : NULL, queue);
        }
}

const struct controller network_controller = {
        .name = "network",
        .kind = &api_network_kind,
        .turn = network_turn,
        .related = network_related,
};
