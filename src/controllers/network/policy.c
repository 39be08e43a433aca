/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/network/network.h"

#include "controllers/object.h"
#include "generated/reasons.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define DEFAULT_GROUP  "default"
#define COUNT_AFTER_US 2000000ull

static void digest_rule(GChecksum *sum, const struct api_port_rule *rule)
{
        g_autoptr(GString) text = g_string_new(NULL);

        g_string_append_printf(text, "%s %s ports", rule->direction, rule->protocol ? rule->protocol : "Any");
        for (size_t i = 0; i < rule->n_ports; i++)
                g_string_append_printf(text, " %" PRId64 "-%" PRId64, rule->ports[i].from, rule->ports[i].to);
        g_string_append(text, " peers");
        for (size_t i = 0; i < rule->n_peers; i++)
                g_string_append_printf(text, " %s", rule->peers[i]);
        g_string_append_c(text, '\n');
        g_checksum_update(sum, (const guchar *)text->str, (gssize)text->len);
}

static void policy_digest(struct api_port_policy *policy, struct arena *arena)
{
        g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);

        g_checksum_update(sum, (const guchar *)(policy->anti_spoofing ? "spoof=0\n" : "spoof=1\n"), 8);
        for (size_t i = 0; i < policy->n_rules; i++)
                digest_rule(sum, &policy->rules[i]);
        policy->digest = arena_strdup(arena, g_checksum_get_string(sum));
}

static void policy_add(struct api_port_policy *policy, const struct api_port_rule *rules, size_t n_rules, struct arena *arena)
{
        struct api_port_rule *all = arena_array(arena, policy->n_rules + n_rules, sizeof(*all));

        if (policy->n_rules > 0)
                memcpy(all, policy->rules, policy->n_rules * sizeof(*all));
        for (size_t i = 0; i < n_rules; i++) {
                all[policy->n_rules + i] = rules[i];
                if (!all[policy->n_rules + i].protocol)
                        all[policy->n_rules + i].protocol = "Any";
        }
        policy->rules = all;
        policy->n_rules += n_rules;
}

static void policy_open_outwards(struct api_port_policy *policy, struct arena *arena)
{
        const struct api_port_rule outwards = {.direction = "Egress", .protocol = "Any"};

        policy_add(policy, &outwards, 1, arena);
}

static bool policy_add_group(const struct cache *cache, const char *namespace, const char *name, struct api_port_policy *policy,
                             struct arena *arena)
{
        const struct cache_object *object = cache_get(cache, &api_security_group_kind, namespace, name);
        const struct api_security_group *group = object ? object->view : NULL;

        if (!group)
                return false;
        if (!group->spec)
                return true;
        policy_add(policy, group->spec->rules, group->spec->n_rules, arena);
        if (!group->spec->has_anti_spoofing || group->spec->anti_spoofing)
                policy->anti_spoofing = true;
        return true;
}

struct api_port_policy *policy_resolve(const struct cache *cache, const struct cache_object *machine, struct arena *arena,
                                       const char **ret_missing)
{
        assert(cache && machine && arena && ret_missing);

        const struct api_virtual_machine_spec *spec = ((const struct api_virtual_machine *)machine->view)->spec;
        struct api_port_policy *policy = arena_new0(arena, struct api_port_policy);

        *ret_missing = NULL;
        policy->has_anti_spoofing = true;
        for (size_t i = 0; i < spec->n_security_groups && !*ret_missing; i++)
                if (!policy_add_group(cache, machine->namespace, spec->security_groups[i], policy, arena))
                        *ret_missing = spec->security_groups[i];
        if (*ret_missing) {
                *policy = (struct api_port_policy){.anti_spoofing = true, .has_anti_spoofing = true};
        } else if (spec->n_security_groups == 0 && !policy_add_group(cache, machine->namespace, DEFAULT_GROUP, policy, arena)) {
                policy->anti_spoofing = true;
                policy_open_outwards(policy, arena);
        }
        policy_digest(policy, arena);
        return policy;
}

/* --- the number of machines that a group applies to --- */

struct members {
        const char *group;
        int64_t machines;
};

static bool applies(const struct api_virtual_machine *machine, const char *group)
{
        if (!machine->spec)
                return false;
        if (machine->spec->n_security_groups == 0)
                return strcmp(group, DEFAULT_GROUP) == 0;
        return strings_hold((const char *const *)machine->spec->security_groups, machine->spec->n_security_groups, group);
}

static bool count_member(const struct cache_object *object, void *userdata)
{
        struct members *members = userdata;

        members->machines += applies(object->view, members->group) ? 1 : 0;
        return true;
}

static enum turn_result group_turn(struct turn *turn, const struct cache_object *object)
{
        const struct api_security_group *group = object->view;
        struct api_security_group_status status = group->status ? *group->status : (struct api_security_group_status){0};
        struct members members = {.group = object->name};
        struct conditions conditions = {
                .arena = turn_arena(turn),
                .list = &status.conditions,
                .n = &status.n_conditions,
                .generation = object_meta(object)->generation,
                .now_us = turn_now_us(turn),
        };

        cache_each(turn_cache(turn), &api_virtual_machine_kind, object->namespace, count_member, &members);
        status.observed_generation = conditions.generation;
        status.machines = members.machines;
        status.has_observed_generation = status.has_machines = true;
        conditions_say(&conditions, "Ready", "True", REASON_READY, "its %zu rules apply to the machines that name it",
                       group->spec ? group->spec->n_rules : 0);
        turn_update_status(turn, object, &status);
        return TURN_DONE;
}

static bool group_later(const struct cache_object *object, void *userdata)
{
        g_autofree char *key = g_strdup_printf("%s/%s", object->namespace, object->name);

        workqueue_add_after(userdata, key, COUNT_AFTER_US);
        return true;
}

static void group_related(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                          struct workqueue *queue)
{
        const struct cache_object *object = now ? now : before;

        if (object->kind != &api_virtual_machine_kind)
                return;
        if (before && now && object_meta(before)->generation == object_meta(now)->generation)
                return;
        cache_each(cache, &api_security_group_kind, object->namespace, group_later, queue);
}

const struct controller security_group_controller = {
        .name = "securitygroup",
        .kind = &api_security_group_kind,
        .turn = group_turn,
        .related = group_related,
};
