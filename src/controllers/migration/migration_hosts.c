/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/migration/migration_hosts.h"

#include "controllers/object.h"
#include "generated/api_types.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static const struct api_node_virtualization *facts_of(const struct cache_object *node)
{
        const struct api_node *view = node ? node->view : NULL;

        return view && view->status ? view->status->virtualization : NULL;
}

const char *migration_host_address(const struct cache_object *node)
{
        const struct api_node_virtualization *facts = facts_of(node);

        return facts ? facts->migration_address : NULL;
}

const char *migration_host_graphics_address(const struct cache_object *node)
{
        const struct api_node_virtualization *facts = facts_of(node);

        return facts ? facts->graphics_address : NULL;
}

const char *migration_host_fault(const struct cache_object *node)
{
        const struct api_node *view = node ? node->view : NULL;

        assert(node);
        for (size_t i = 0; view->status && i < view->status->n_conditions; i++) {
                const struct api_node_condition *condition = &view->status->conditions[i];

                if (strcmp(condition->type, "MigrationReady") == 0)
                        return strcmp(condition->status, "True") != 0 ? condition->message
                               : migration_host_address(node)         ? NULL
                                                                      : "has not told an address for migrations";
        }
        return "its agent has not said yet whether it is set up for migrations";
}

/* Whether version @a comes before @b; what cannot be read is no reason. */
static bool is_older(const char *a, const char *b)
{
        int left[3] = {0}, right[3] = {0};

        if (!a || !b || sscanf(a, "%d.%d.%d", &left[0], &left[1], &left[2]) < 2 ||
            sscanf(b, "%d.%d.%d", &right[0], &right[1], &right[2]) < 2)
                return false;
        for (size_t i = 0; i < 2; i++) /* what differs behind that are repairs */
                if (left[i] != right[i])
                        return left[i] < right[i];
        return false;
}

const char *migration_node_words(const struct cache *cache, const struct cache_object *machine, const char *source,
                                 const struct cache_object *target, struct arena *arena)
{
        const struct cache_object *instance = index_one(cache, INDEX_INSTANCE_BY_MACHINE, machine->uid);
        const struct api_instance *view = instance ? instance->view : NULL;
        const struct api_node_virtualization *there = facts_of(target),
                                             *here = facts_of(cache_get(cache, &api_node_kind, NULL, source));
        const char *qemu = view && view->status && view->status->versions ? view->status->versions->qemu : NULL;
        const char *fault = migration_host_fault(target);

        assert(cache && machine && source && target && arena);
        if (fault)
                return arena_printf(arena, "is not set up for migrations (%s)", fault);
        if (here && there && g_strcmp0(here->type, there->type) != 0)
                return arena_printf(arena, "runs machines by %s and the other host by %s", there->type, here->type);
        if (there && is_older(there->qemu_version, qemu))
                return arena_printf(arena, "has QEMU %s, and the machine runs on %s", there->qemu_version, qemu);
        if (here && there && is_older(there->libvirt_version, here->libvirt_version))
                return arena_printf(arena, "has libvirt %s, and the other host %s", there->libvirt_version, here->libvirt_version);
        return NULL;
}
