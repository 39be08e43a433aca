/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "json/json_value.h"

/* RFC 6901 pointers, for src/json only. */

/** json_pointer_valid() - "" or tokens that each begin with '/', where '~' stands only in ~0 and ~1. */
bool json_pointer_valid(const char *pointer);

/** json_pointer_depth() - number of tokens of a valid pointer. */
unsigned json_pointer_depth(const char *pointer);

/** json_pointer_take() - decode the first token of the valid, non-empty @pointer into @token; returns what follows it. */
const char *json_pointer_take(const char *pointer, GString *token);

/** json_pointer_step() - the child of @value that @token names, or NULL. */
struct json_value *json_pointer_step(const struct json_value *value, const GString *token);

/** json_pointer_index() - 0 and the element number that @token writes (no sign, no leading zeros), or -EINVAL. */
int json_pointer_index(const GString *token, size_t *ret_index);

/** json_pointer_append() - add "/" and the escaped @key to @pointer. */
void json_pointer_append(GString *pointer, const char *key, size_t len);
