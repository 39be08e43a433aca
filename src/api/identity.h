/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "auth/auth.h"
#include "http/http.h"
#include "store/store.h"

struct identity_context {
        struct store *store;
        const struct clock *clock;
        uint64_t quiet_until_us; /* real time; until then nobody notes that a token was used: the store took no write */
};

/* identity_resolve() outcomes */
enum {
        IDENTITY_E_REFUSED = 1, /* credentials were shown, and they are wrong, ended or revoked */
};

/**
 * identity_resolve() - who sends @request: a bearer token, else the client certificate of a node or person, else anonymous
 *
 * All that stands behind a credential is looked up in the store at every request: a deleted token, a disabled user or node, a
 * deleted service account are refused at once. When a token is used is noted in it, to IDENTITY_USED_US.
 */
int identity_resolve(struct identity_context *context, const struct http_request *request, struct auth_identity **ret_identity);
#define IDENTITY_USED_US 300000000ull

/** identity_of_token() - who the bearer of @text is; NULL when it is none that is good. */
struct auth_identity *identity_of_token(const struct identity_context *context, const char *text);

/** identity_still_valid() - whether an identity resolved earlier (of a long stream) would be accepted now, with the same groups. */
bool identity_still_valid(const struct identity_context *context, const struct auth_identity *identity);

/** identity_of_user() - a person who may act, with all groups; NULL: unknown, disabled or being deleted. */
struct auth_identity *identity_of_user(const struct store_object *user);

/** identity_of_account() - what a service account is called and belongs to. */
struct auth_identity *identity_of_account(const char *namespace, const char *name);

/** identity_is_administrator() - a member of gabbro:administrators. */
bool identity_is_administrator(const struct auth_identity *identity);

/** identity_token_is_dead() - whether @token (a Token) can never be good again: expired, or what it was made for is gone. */
bool identity_token_is_dead(const struct identity_context *context, const struct store_object *token);
