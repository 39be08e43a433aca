/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/capability.h"

#include <assert.h>
#include <string.h>

const struct capability_pool *capability_pool_find(const char *type)
{
        for (const struct capability_pool *pool = capability_pools; type && pool->type; pool++)
                if (strcmp(pool->type, type) == 0)
                        return pool;
        return NULL;
}

int capability_operation_find(const char *name)
{
        for (int i = 0; name && capability_operations[i].name; i++)
                if (strcmp(capability_operations[i].name, name) == 0)
                        return i;
        return -1;
}

static bool may_hold(const struct capability_rule *rule, struct capability_facts facts)
{
        return !(rule->when & facts.known & ~facts.set) && !(rule->unless & facts.known & facts.set);
}

static bool holds(const struct capability_rule *rule, struct capability_facts facts)
{
        return may_hold(rule, facts) && !((rule->when | rule->unless) & ~facts.known);
}

struct capability_answer capability_ask(const struct capability_pool *pool, enum capability_operation operation,
                                        struct capability_facts facts)
{
        assert(pool && (unsigned)operation < CAPABILITY_OPERATIONS && !(facts.set & ~facts.known));

        const struct capability_rule *rule = pool->rules[operation], *refusing = NULL;
        bool supported = false;

        for (;; rule++) {
                if (!may_hold(rule, facts))
                        continue;
                supported |= !rule->code;
                if (rule->code && !refusing)
                        refusing = rule;
                if (holds(rule, facts))
                        break;
        }
        if (supported && refusing)
                return (struct capability_answer){CAPABILITY_DEPENDS, refusing};
        if (supported)
                return (struct capability_answer){CAPABILITY_SUPPORTED, rule};
        /* Refused in any case: by the reason that holds of all that may be, the last one. */
        return (struct capability_answer){CAPABILITY_REFUSED, rule};
}
