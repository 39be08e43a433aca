/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "schema/schema.h"

#include <stdint.h>

/*
 * The opaque token between the pages of a list. It names the last key told and the revision of the first page, and never expires:
 * later pages show the state of their own moment under the revision of the first, so that a watch from there repeats rather than
 * misses.
 */
struct continue_token {
        char *after_key;
        uint64_t revision;
        uint64_t told; /* objects on all pages so far */
};
/** continue_token_clear() - free the key. */
void continue_token_clear(struct continue_token *token);

/** continue_token_text() - g_free(). */
char *continue_token_text(const struct continue_token *token);
/** continue_token_parse() - 0, or -EINVAL for a text that was not made for a list of @kind. */
int continue_token_parse(const char *text, const struct schema_kind *kind, struct continue_token *ret_token);
