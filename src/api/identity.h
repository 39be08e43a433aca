/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "auth/auth.h"
#include "http/http.h"
#include "store/store.h"

struct identity_context {
        struct store *store;
        const struct clock *clock;
};

/* identity_resolve() outcomes */
enum {
        IDENTITY_E_REFUSED = 1, /* credentials were shown, and they are wrong, ended or revoked */
};

/**
 * identity_resolve() - who sends @request: a bearer token, else the client certificate of a node, else anonymous
 *
 * Both are looked up in the store at every request: a deleted token and a disabled node are refused at once.
 */
int identity_resolve(const struct identity_context *context, const struct http_request *request,
                     struct auth_identity **ret_identity);

/** identity_still_valid() - whether an identity resolved earlier (of a long stream) would be accepted now. */
bool identity_still_valid(const struct identity_context *context, const struct auth_identity *identity);
