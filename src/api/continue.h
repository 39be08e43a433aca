/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "auth/auth.h"
#include "schema/schema.h"

#include <stdint.h>

/*
 * The opaque token between the pages of a list. It names the last key told and the revision of the first page, and never expires:
 * while the events since that revision are kept, later pages show the state of that revision; afterwards that of their own moment
 * under the revision of the first, so that a watch from there repeats rather than misses. It is sealed with the key of the
 * installation: it stays valid when the gateway restarts, cannot be changed, and only continues the list that it was made for.
 */
struct continue_token {
        char *after_key;
        uint64_t revision;
        uint64_t told; /* objects on all pages so far */
};
/** continue_token_clear() - free the key. */
void continue_token_clear(struct continue_token *token);

/* The list that a token belongs to. */
struct continue_query {
        const struct schema_kind *kind;
        const char *namespace;                       /* NULL: all */
        const char *label_selector, *field_selector; /* as given, or NULL */
};

/** continue_token_write() - the token in plain text; g_free(). */
char *continue_token_write(const struct continue_token *token, const struct continue_query *query);
/** continue_token_read() - back from plain text: 0, or -EINVAL for what was not made for @query. */
int continue_token_read(const char *plain, const struct continue_query *query, struct continue_token *ret_token);

/** continue_token_text() - sealed, in letters that need no escape in a URL; g_free(). NULL: it cannot be sealed. */
char *continue_token_text(const struct continue_token *token, const struct continue_query *query, struct auth_seal *seal);
/** continue_token_parse() - 0, or -EINVAL for a text that was changed or not made for @query. */
int continue_token_parse(const char *text, const struct continue_query *query, struct auth_seal *seal,
                         struct continue_token *ret_token);
