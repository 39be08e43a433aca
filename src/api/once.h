/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "api/call.h"

/*
 * Requests that are carried out once. A client names a write by an id of its own (header Gabbro-Request-Id). The id is remembered
 * by a RequestRecord in the very transaction of the write, so that it is durable exactly when the write is; a repeat is answered
 * with the object of the first request, and the same id with anything else is refused. Only what changed something is remembered: a
 * refused request may be sent again. A record lives for ONCE_KEPT_US, and at least for ONCE_KEPT_LEAST_US when its user has sent
 * more than LIMIT_REQUESTS_REMEMBERED meanwhile.
 */
#define ONCE_HEADER        "Gabbro-Request-Id"
#define ONCE_KEPT_US       3600000000ull
#define ONCE_KEPT_LEAST_US 300000000ull

struct once;

/** once_new() - of the records in the store of @options. 0 or -errno. */
int once_new(const struct api_options *options, struct once **ret_once);
struct once *once_free(struct once *once);

/** once_header_is_valid() - 1 to 128 letters, digits and "-_.~:". */
bool once_header_is_valid(const char *id);

/**
 * once_begin() - a write whose body has come: note what it is, and answer it when it was carried out before
 *
 * Return: false after answering, or when the answer waits until the first one's write is durable.
 */
bool once_begin(struct call *call, const char *body, size_t len);

/** once_op() - the operation that remembers @call as answered with @code, to be part of its transaction; @doc: the object as it is
 * written. Return: false when the call has no id. */
bool once_op(struct call *call, int code, const struct json_value *object, struct store_op *ret_op);
/** once_accepted() - the transaction with that operation was accepted. */
void once_accepted(struct call *call);
