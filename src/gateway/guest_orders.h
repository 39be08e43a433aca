/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/limits.h"
#include "schema/schema.h"
#include "json/json.h"

#include <glib.h>

/* What users may ask of a running guest: how each order is called in the API, what its body may hold, and what the agent is told.
 */

#define GUEST_ORDER_BODY_MAX (2u * (LIMIT_GUEST_EXEC_WORDS_BYTES + LIMIT_GUEST_EXEC_INPUT_BYTES))

struct guest_order {
        const struct schema_kind *kind;          /* of what it is asked: machines, or nodes */
        const char *subresource, *method, *verb; /* the right to it */
        const char *call;                        /* what the agent calls it */
        const char *media_type;                  /* of its answer when that is no JSON, or NULL */
        bool (*build)(const struct json_value *body, struct json_doc *doc, uint64_t *ret_seconds, char **reterr_fault);
        const char *const *members; /* of its body */
};
enum { GUEST_ORDER_COUNT = 8 };
extern const struct guest_order guest_orders[GUEST_ORDER_COUNT];

/** guest_order_text() - the agent's order from a body (an object or null); @ret_seconds: how long it may take by itself. NULL and
 * words (g_free) when the body is not as it must be. */
GString *guest_order_text(const struct guest_order *order, const struct json_value *body, uint64_t *ret_seconds,
                          char **reterr_fault);
/** guest_order_wipe() - overwrite what is secret in a body or an order that is not needed any more. */
void guest_order_wipe(const struct json_value *body);
