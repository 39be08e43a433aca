/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/evacuation/evacuation_private.h"

#include "controllers/migration/migration.h"
#include "controllers/object.h"
#include "controllers/placement/placement.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

#define SECOND_US            1000000ull
#define REST_US              (60 * SECOND_US) /* after its latest move, and before it is looked again for a host with room */
#define PLACEMENT_PREFIX     "nodeplacement-update-"
#define FIRMWARE_PREFIX      "firmware-update-"
#define ANNOTATION_PLACEMENT "gabbro.dev/judged-placement" /* Instance: hash of the placement that was judged last */
#define ANNOTATION_FIRMWARE  "gabbro.dev/judged-firmware"  /* Instance: the host's QEMU for which it was told to move */
#define HASH_DIGITS          16

struct update {
        struct turn *turn;
        struct arena *arena;
        const struct cache *cache;
        const struct cache_object *machine, *instance, *node;
        const struct api_virtual_machine *vm;
};

/* --- placement --- */

static void hash_part(GChecksum *sum, const struct json_value *part, bool *some)
{
        g_autofree char *text = part ? json_to_text(part) : NULL;

        if (text && json_first(part)) {
                g_checksum_update(sum, (const guchar *)text, -1);
                *some = true;
        }
        g_checksum_update(sum, (const guchar *)"\n", 1);
}

/* Of what machine and class say of hosts; NULL: nothing. */
static const char *placement_hash(const struct update *update)
{
        const char *name = update->vm->spec->virtual_machine_class_name;
        const struct cache_object *class = name ? cache_get(update->cache, &api_virtual_machine_class_kind, NULL, name) : NULL;
        const struct json_value *root = cache_root(update->machine);
        g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
        bool some = false;

        hash_part(sum, json_find(root, "spec", "nodeSelector", NULL), &some);
        hash_part(sum, json_find(root, "spec", "affinity", NULL), &some);
        hash_part(sum, class ? json_find(cache_root(class), "spec", "nodeSelector", NULL) : NULL, &some);
        return some ? arena_strndup(update->arena, g_checksum_get_string(sum), HASH_DIGITS) : NULL;
}

static const char *placement_words_now(const struct update *update)
{
        return placement_violation(update->cache, update->machine, update->node, update->arena);
}

/* --- firmware --- */

static const char *version_of(const struct update *update)
{
        const struct api_node *node = update->node->view;

        return node->status && node->status->virtualization ? node->status->virtualization->qemu_version : NULL;
}

static const char *firmware_words_now(const struct update *update)
{
        const struct api_condition *said =
                condition_get(update->vm->status->conditions, update->vm->status->n_conditions, "FirmwareUpToDate");

        return said && g_strcmp0(said->reason, REASON_FIRMWARE_OUT_OF_DATE) == 0 ? said->message : NULL;
}

/* --- both --- */

static const struct cause {
        const char *prefix, *annotation, *reason;
        const char *(*key)(const struct update *update);   /* of what is judged once; NULL: nothing to judge */
        const char *(*words)(const struct update *update); /* why it is to move; NULL: it need not */
        bool notes_all;                                    /* also what was found to be well: it is not judged again */
} causes[] = {
        {PLACEMENT_PREFIX, ANNOTATION_PLACEMENT, REASON_PLACEMENT_NOT_MATCHED, placement_hash, placement_words_now, true},
        {FIRMWARE_PREFIX, ANNOTATION_FIRMWARE, REASON_FIRMWARE_OUT_OF_DATE, version_of, firmware_words_now, false},
};

static bool rests(const struct update *update)
{
        const struct api_migration_state *state = migration_state(update->cache, update->machine, update->arena);
        uint64_t end_us = state && state->end_timestamp ? time_us(state->end_timestamp) : 0;
        uint64_t now_us = turn_now_us(update->turn);

        if (!end_us || now_us >= end_us + REST_US)
                return false;
        turn_again_in(update->turn, end_us + REST_US - now_us);
        return true;
}

/* true: an operation was made, or must wait. */
static bool judge(const struct update *update, const struct cause *cause)
{
        const char *key = cause->key(update), *words, *name;

        if (!key || g_strcmp0(object_annotation(update->instance, cause->annotation), key) == 0)
                return false;
        words = cause->words(update);
        if (!words) {
                if (cause->notes_all)
                        turn_set_annotation(update->turn, update->instance, cause->annotation, key);
                return false;
        }
        if (rests(update) || evacuation_under_way(update->cache, update->machine))
                return true;
        if (evacuation_look(update->cache, update->machine, update->arena).way != EVACUATION_MOVES) {
                turn_again_in(update->turn, REST_US);
                return false;
        }
        name = evacuation_make(update->turn, update->machine, cause->prefix);
        turn_set_annotation(update->turn, update->instance, cause->annotation, key);
        turn_event(update->turn, update->machine, false, cause->reason,
                   arena_printf(update->arena, "host %s: %s; operation %s", update->node->name, words, name));
        return true;
}

enum turn_result evacuation_update(struct turn *turn, const struct cache_object *machine)
{
        const struct cache *cache = turn_cache(turn);
        struct update update = {.turn = turn,
                                .arena = turn_arena(turn),
                                .cache = cache,
                                .machine = machine,
                                .instance = index_one(cache, INDEX_INSTANCE_BY_MACHINE, machine->uid),
                                .vm = machine->view};
        const struct api_instance *view = update.instance ? update.instance->view : NULL;

        assert(turn && machine);
        update.node = view ? cache_get(cache, &api_node_kind, NULL, view->spec->node_name) : NULL;
        if (!update.node || !update.vm->status || g_strcmp0(update.vm->status->phase, "Running") != 0 || object_deleting(machine))
                return TURN_DONE;
        for (size_t i = 0; i < G_N_ELEMENTS(causes); i++)
                if (judge(&update, &causes[i]))
                        return TURN_WAIT;
        return TURN_DONE;
}
