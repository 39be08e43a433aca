/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "admission/quota.h"
#include "api/api.h"
#include "loop/loop.h"

#include <glib.h>

/* What the tests of this folder share: the front door on loopback over a memory store, and a client that speaks raw HTTP. */

struct world {
        struct loop *loop;
        struct store *store;
        struct quota *quota;
        struct auth_audit *audit;
        struct auth_seal *seal;
        struct http_server *server;
        struct api *api;
        struct clock clock; /* the system's, moved by shift_us */
        uint64_t shift_us;
        uint16_t port;
        char *dir;
        char *admin; /* token */
        char *user;  /* token of a user without rights */
        char *node;  /* a token of type Join: no credentials */
};

/** world_new() - with the namespaces default and other. @limits may be NULL. */
struct world *world_new(const struct http_limits *limits);
struct world *world_free(struct world *world);
/** world_put() - write an object by the store itself, as controllers do, and wait until it is published. */
void world_put(struct world *world, const struct schema_kind *kind, const char *namespace, const char *name, const char *json);
/** world_put_user() - a User, unless there is one of the name; @groups as JSON: "[\"a\"]". */
void world_put_user(struct world *world, const char *name, const char *groups);
/** world_put_token() - a bearer token; one of type User is that of the User of its name, who is made without groups when there is
 *  none. @expires: RFC 3339 or NULL. g_free(). */
char *world_put_token(struct world *world, const char *prefix, const char *type, const char *user, const char *expires);
/** world_run() - the loop until all accepted writes are published. */
void world_run(struct world *world);

struct answer {
        int status;
        char *headers;
        GString *body;
        struct json_doc *doc; /* of the body; NULL: no JSON */
        const struct json_value *root;
};
struct answer *answer_free(struct answer *answer);
AUTOPTR(answer, answer_free);

/** ask_with() - one request as @token (NULL: nobody). @headers: lines ending in CRLF, or NULL. @body may be NULL. */
struct answer *ask_with(struct world *world, const char *token, const char *method, const char *path, const char *headers,
                        const char *body);
/** ask() - as the administrator; a body of a PATCH is a merge patch. */
struct answer *ask(struct world *world, const char *method, const char *path, const char *body);
/** ask_together() - @n requests on connections of their own, all sent before the first answer is awaited. */
void ask_together(struct world *world, const char *method, const char *path, const char *const *bodies, size_t n,
                  struct answer **ret_answers);
/** ask_together_with() - the same with headers of their own. */
void ask_together_with(struct world *world, const char *method, const char *path, const char *headers, const char *const *bodies,
                       size_t n, struct answer **ret_answers);
/** ask_and_leave() - send a request and close the connection without awaiting the answer. */
void ask_and_leave(struct world *world, const char *method, const char *path, const char *body);
/** answer_text() - a string in the answer by JSON pointer; "" when absent, numbers verbatim. */
const char *answer_text(const struct answer *answer, const char *pointer);

/* One request of a table; the world is shared by the rows. */
struct row {
        const char *method, *path, *body;
        int status;
        const char *pointer, *expect; /* a string in the answer; or NULL */
};
/** world_run_rows() - ask what the rows say, as the administrator; a refusal must be a whole Status. */
void world_run_rows(struct world *world, const struct row *rows, size_t n);

/* A streamed answer that stays open. */
struct watcher;
struct watcher *watcher_new(struct world *world, const char *path, const char *headers);
/** watcher_new_as() - with another token than the administrator's. */
struct watcher *watcher_new_as(struct world *world, const char *token, const char *path, const char *headers);
struct watcher *watcher_free(struct watcher *watcher);
AUTOPTR(watcher, watcher_free);
/** watcher_next() - the next line as "TYPE name" and its document; NULL when the stream has ended. Valid until the next call. */
const char *watcher_next(struct watcher *watcher);
const struct json_value *watcher_object(const struct watcher *watcher);
/** watcher_status() - HTTP status; awaits it. */
int watcher_status(struct watcher *watcher);
/** watcher_is_quiet() - nothing more comes while the loop runs dry. */
bool watcher_is_quiet(struct watcher *watcher);
/** watcher_deafen() - stop reading, as a client that hangs. */
void watcher_deafen(struct watcher *watcher, bool deaf);
