/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "generated/capabilities.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * The capability matrix of storage as tables, made from api/pool_*.yaml: each type of pool answers every operation with a list of
 * rules, of which the first that holds counts. What is refused is refused with the reason that stands there, by the API, in
 * status.capabilities and in the manual alike.
 */

struct capability_rule {
        unsigned when, unless; /* facts that must hold, that must not */
        const char *code;      /* reason; NULL: it can be done */
        const char *note;      /* more about it for this type, or NULL */
};

struct capability_pool {
        const char *type; /* NULL at the end of the table */
        const char *doc;
        const char *since; /* version of Gabbro since which it answers so */
        const char *lock;  /* what keeps two hosts from writing to one disk */
        bool available;    /* pools of the type can be made */
        const char *const *facts;
        const struct capability_rule *const *rules; /* by operation; the last rule of each always holds */
};
extern const struct capability_pool capability_pools[];

enum { CAPABILITY_OF_POOL = 1, CAPABILITY_OF_DISK = 2, CAPABILITY_OF_MACHINE = 4 };
struct capability_words {
        const char *name;
        const char *doc;
        unsigned mask; /* of an operation: whom it can be asked of; of a fact: its bit */
};
extern const struct capability_words capability_operations[]; /* by enum capability_operation; ends with a NULL name */
extern const struct capability_words capability_facts[];      /* ends with a NULL name */

/* What is known of the thing that is asked about. */
struct capability_facts {
        unsigned known;
        unsigned set; /* within known */
};

enum capability_verdict {
        CAPABILITY_REFUSED,
        CAPABILITY_SUPPORTED,
        CAPABILITY_DEPENDS, /* on a fact that is not known */
};
struct capability_answer {
        enum capability_verdict verdict;
        const struct capability_rule *rule; /* the one that counts; of DEPENDS the first refusing one that may */
};

/** capability_pool_find() - the row of a type, or NULL. */
const struct capability_pool *capability_pool_find(const char *type);
/** capability_operation_find() - the number of an operation by its name, or -1. */
int capability_operation_find(const char *name);

/** capability_ask() - what @pool answers to @operation for a thing of which @facts are known. */
struct capability_answer capability_ask(const struct capability_pool *pool, enum capability_operation operation,
                                        struct capability_facts facts);
