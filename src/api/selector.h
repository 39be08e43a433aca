/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/auto.h"
#include "schema/schema.h"

#include <glib.h>
#include <stdbool.h>

/* Label and field selectors of lists and watches, both optional. */
struct selector;

/**
 * selector_new() - parse both texts
 * @labels: "a=b,c!=d,e in (f,g),!h", NULL or "": no restriction
 * @fields: "metadata.name=x,status.phase!=Running", NULL or "": no restriction; a field that @kind does not have or that is not
 *          served is refused
 *
 * Return: NULL with a sentence in @reterr_why (g_free()) when a text is refused.
 */
struct selector *selector_new(const struct schema_kind *kind, const char *labels, const char *fields, char **reterr_why);
/** selector_free() - NULL is accepted. */
struct selector *selector_free(struct selector *selector);
AUTOPTR(selector, selector_free);

/** selector_matches() - whether an object is selected. */
bool selector_matches(const struct selector *selector, const struct json_value *root);
/** selector_is_empty() - whether it selects everything. */
bool selector_is_empty(const struct selector *selector);
/** selector_only_name() - the one name that can match (metadata.name=x), or NULL. */
const char *selector_only_name(const struct selector *selector);
