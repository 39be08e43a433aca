/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "schema/schema.h"

/* The merge of server-side apply, by the list types of the kind's tables. Who owns what is fields.h and managed.h. */

/** apply_clean() - nulls in what is applied mean that nothing is said: they are taken out of its structs and maps. */
void apply_clean(const struct schema_kind *kind, struct json_doc *doc, struct json_value *applied);

/**
 * apply_merge() - @live with what @applied says laid over it, a copy in @doc; inputs untouched
 *
 * Members are added or replaced, never removed. Elements of sets and of lists with keys are merged one by one: those of @applied
 * stand in its order, others stay where they are. Everything else is replaced whole. Applying the same once more changes nothing.
 */
struct json_value *apply_merge(const struct schema_kind *kind, struct json_doc *doc, const struct json_value *live,
                               const struct json_value *applied);
