/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "api/call.h"

/*
 * What the rights to a request do not say yet, because it depends on the document: nobody grants what they do not have, and an
 * operation is allowed by its type.
 */

/** guard_may_read_body() - a create that is not allowed as such, but for some content of the body: guard_allows() will tell. */
bool guard_may_read_body(struct call *call);

/**
 * guard_allows() - whether the caller may make @doc out of @base (NULL: create)
 *
 * For every document that a request is about to store. Return: false after answering 403 with all that is missing.
 */
bool guard_allows(struct call *call, const struct store_object *base, const struct json_doc *doc);
