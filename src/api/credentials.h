/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "api/call.h"

struct throttle;

/*
 * Passwords, sessions, tokens and certificates of people and service accounts. What is under "/auth/v1/" is about the caller's own;
 * the subresources of User and ServiceAccount are about somebody else's. Their hashes are in internal kinds and never served.
 *
 *   POST   /auth/v1/login                       {user, password, ttlSeconds, note} -> {id, token, ...}; needs no credentials
 *   POST   /auth/v1/logout                      ends the session that asks
 *   GET    /auth/v1/whoami
 *   POST   /auth/v1/password                    {oldPassword, newPassword}; ends all sessions of the user
 *   GET    /auth/v1/tokens[?all=true]           never a secret
 *   POST   /auth/v1/tokens                      {user, groups, ttlSeconds, note} -> {id, token, ...}; the text is told once
 *   DELETE /auth/v1/tokens/ID
 *   POST   .../users/NAME/password              {password}
 *   POST   .../users/NAME/certificate           {csr, ttlSeconds, note} -> {certificate, serial, expires}
 *   POST   .../serviceaccounts/NAME/token       TokenRequest
 *   POST   /apis/authentication.k8s.io/v1/selfsubjectreviews, tokenreviews
 */

/** credentials_new() - add their routes and subresources to @api. 0 or -errno. */
int credentials_new(struct api *api, struct credentials **ret_credentials);
/** credentials_free() - before the store is closed; waits for passwords that are being hashed. */
struct credentials *credentials_free(struct credentials *credentials);
/** credentials_sweep() - remove tokens that have ended and passwords of users that are gone, as many as fit into a transaction;
 * runs by itself every few minutes. Return: how many. */
size_t credentials_sweep(struct credentials *credentials);

/* --- for login.c, token.c and tokenreview.c
 * ----------------------------------------------------------------------------------------- */

#define CREDENTIALS_BODY_BYTES (64u << 10)

/** credentials_take_body() - read the body as a JSON object, then @run with it; other bodies are refused. The document lives for
 * the call of @run. */
void credentials_take_body(struct call *call, void (*run)(struct call *call, const struct json_value *root));
/** credentials_reply() - @doc as the answer, which caches must not keep. */
void credentials_reply(struct call *call, int code, const struct json_doc *doc);
/** credentials_document() - a new object of an internal kind: apiVersion, kind, name, uid and creation time. */
struct json_doc *credentials_document(struct api *api, const struct schema_kind *kind, const char *name);
/** credentials_seconds() - the member @key of @root, @otherwise when absent; false after refusing what is not within the bounds. */
bool credentials_seconds(struct call *call, const struct json_value *root, const char *key, int64_t otherwise, int64_t least,
                         int64_t most, int64_t *ret_seconds);

/** A password to be looked at, and perhaps another one to take its place; on the pool, then back on the loop. */
struct password_job {
        struct credentials *credentials;
        struct call *call; /* a reference */
        char *user;        /* a name */
        char *password;    /* what was said to be the password; NULL: nothing is compared */
        char *fresh;       /* the new one, or NULL */
        char *hash;        /* of the user's password; NULL: there is none */
        char *stamp;       /* of it, or NULL */
        char *note;        /* of the session */
        int64_t ttl_s;
        bool right; /* @password is the one of @hash, or nothing was compared */
        char *made; /* hash of @fresh */
        char salt[AUTH_SALT_BYTES];
        void (*done)(struct password_job *job);
};
struct password_job *password_job_new(struct call *call, const char *user);
/** password_job_run() - @done is called on the loop with the answer, unless there are too many (429). Takes @job over. */
void password_job_run(struct password_job *job);

/* A token to be made. */
struct token_spec {
        const char *type, *user, *owner_uid;
        const char *namespace, *stamp, *note;
        const struct json_value *groups; /* narrowed to; or NULL */
        uint64_t expires_us;
        const char *serial; /* a certificate: its name; else a token is made up */
};
struct token_made {
        struct call *call;
        char *id, *text, *extra; /* text: NULL for a certificate; extra: what the maker needs for its answer */
        struct json_doc *doc;    /* of the Token */
        void (*answer)(struct token_made *made);
};
/** token_issue() - store it, then @answer on the loop (not when the store refuses: that is told here). @extra is taken over. */
void token_issue(struct call *call, const struct token_spec *spec, char *extra, void (*answer)(struct token_made *made));
/** token_answer() - the answer to who made a token for himself: with its text, this once. */
void token_answer(struct token_made *made);
/** token_routes() - of tokens, certificates and service accounts. */
void token_routes(struct api *api);
/** login_routes() - of login, logout, passwords. */
void login_routes(struct api *api);
/** login_address() - what attempts from the peer of @call count for: an IPv4 address or an IPv6 /64; g_free(). */
char *login_address(const struct call *call);
/** tokenreview_routes() - whoami and the reviews. */
void tokenreview_routes(struct api *api);

struct credentials {
        struct api *api;
        struct loop_pool *pool;
        struct loop_source *sweep;
        struct throttle *addresses, *users;
        unsigned jobs;
        bool ending;
};
