/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "control/control.h"

/* Inside of a turn, for the runner alone: effects are gathered as changed copies of objects and become one store transaction. */

/* One object that the turn makes, changes or removes. */
struct turn_effect {
        const struct schema_kind *kind;
        const char *namespace; /* NULL: cluster scope */
        const char *name;
        const struct json_value *base; /* what the turn saw; NULL: it makes the object */
        uint64_t base_revision;
        struct json_doc *doc; /* the wanted object; NULL only after turn_take_ops() */
        bool remove;          /* take it out of the store at once */
};

struct turn_event {
        const struct cache_object *about;
        bool warning;
        const char *reason;
        const char *message;
};

struct turn {
        const struct cache *cache;
        struct store *store;               /* for kinds that no cache holds */
        const struct cache_object *object; /* whose turn it is */
        const struct random_source *random;
        uint64_t now_us;
        struct arena *arena;
        GPtrArray *effects; /* struct turn_effect in the arena */
        GArray *checks;     /* struct store_check */
        GArray *events;     /* struct turn_event */
        uint64_t again_us;  /* UINT64_MAX: not asked for */
        char *refusal;      /* what became of the turn before, or NULL */
};

/** turn_init() - a turn of @object; turn_clear() frees what it gathered and its arena. */
void turn_init(struct turn *turn, const struct cache *cache, const struct cache_object *object, const struct random_source *random,
               uint64_t now_us);
/** turn_clear() - also after turn_take_ops(), whose documents are not its own any more. */
void turn_clear(struct turn *turn);

/**
 * turn_take_ops() - the effects that differ from what the turn saw, as operations
 * @ops: room for LIMIT_STORE_TXN_OPS; their documents go to the caller
 *
 * The object of the turn becomes a check when it is not written. Return: the number, or -E2BIG when it is above the limit.
 */
int turn_take_ops(struct turn *turn, struct store_op *ops);
