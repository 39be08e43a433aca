/* SPDX-License-Identifier: Apache-2.0 */
#include "api/credentials.h"
#include "api/throttle.h"
#include "api/write.h"
#include "base/address.h"
#include "generated/api_types.h"

#include <assert.h>
#include <string.h>

#define SESSION_S     (12 * 3600)
#define SESSION_MIN_S 60
#define SESSION_MAX_S (7 * 24 * 3600)

char *login_address(const struct call *call)
{
        const char *peer = call->peer, *colon = strrchr(peer, ':');
        size_t len = colon ? (size_t)(colon - peer) : strlen(peer);
        g_autofree char *host = NULL;
        struct address v6;
        const uint8_t *b = v6.bytes;

        if (len < 2 || peer[0] != '[')
                return g_strndup(peer, len);
        host = g_strndup(peer + 1, len - 2);
        if (address_parse(host, &v6) != 0 || v6.family != 6)
                return g_steal_pointer(&host);
        return g_strdup_printf("%02x%02x:%02x%02x:%02x%02x:%02x%02x::/64", b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]);
}

static bool may_try(struct call *call, struct throttle *throttle, const char *key)
{
        unsigned wait_s = throttle_take(throttle, key);

        if (wait_s)
                call_refuse(call, &(struct refusal){.code = 429,
                                                    .message = "too many wrong passwords: wait before the next attempt",
                                                    .retry_after_s = wait_s});
        return wait_s == 0;
}

static void forgive(struct password_job *job)
{
        g_autofree char *address = login_address(job->call);

        throttle_forgive(job->credentials->addresses, address);
        throttle_forgive(job->credentials->users, job->user);
}

/* The same words whatever is wrong: who is a user here is nobody's business. */
static void refuse_login(struct call *call)
{
        call_refuse_words(call, 401, "the user name or the password is wrong, or the user is disabled");
}

/* --- login
 * ----------------------------------------------------------------------------------------------------------------------- */

static void login_done(struct password_job *job)
{
        struct call *call = job->call;
        struct store *store = call->api->options.store;
        autostoreobject user = store_get_newest(store, &api_user_kind, NULL, job->user);
        autostoreobject password = store_get_newest(store, &api_password_kind, NULL, job->user);
        struct auth_identity *identity = user ? identity_of_user(user) : NULL;

        /* Who tried is told of users alone: people type passwords into the other field. */
        call->attributes.name = user ? user->name : NULL;
        if (job->right && identity && password &&
            g_strcmp0(json_find_string(password->root, "spec", "stamp", NULL), job->stamp) == 0) {
                forgive(job);
                auth_identity_free(call->identity);
                call->identity = identity;
                token_issue(call,
                            &(struct token_spec){.type = "Session",
                                                 .user = job->user,
                                                 .owner_uid = user->uid,
                                                 .stamp = job->stamp,
                                                 .note = job->note,
                                                 .expires_us =
                                                         clock_real_us(call->api->options.clock) + (uint64_t)job->ttl_s * 1000000},
                            NULL, token_answer);
        } else {
                auth_identity_free(identity);
                refuse_login(call);
        }
        call->attributes.name = NULL;
}

static void on_login(struct call *call, const struct json_value *root)
{
        const char *user = json_string(json_get(root, "user"), NULL), *password = json_string(json_get(root, "password"), NULL);
        struct password_job *job;
        int64_t ttl_s;

        if (!user || !password || strlen(user) > 253 || strlen(password) > AUTH_PASSWORD_MAX) {
                call_refuse_words(call, 422, "user and password must be texts of at most 253 and %d bytes", AUTH_PASSWORD_MAX);
                return;
        }
        if (!credentials_seconds(call, root, "ttlSeconds", SESSION_S, SESSION_MIN_S, SESSION_MAX_S, &ttl_s) ||
            !may_try(call, call->api->credentials->users, user))
                return;
        job = password_job_new(call, user);
        job->password = g_strdup(password);
        job->note = g_strdup(json_string(json_get(root, "note"), NULL));
        job->ttl_s = ttl_s;
        job->done = login_done;
        password_job_run(job);
}

static void run_login(struct call *call, const char *rest)
{
        g_autofree char *address = login_address(call);

        if (may_try(call, call->api->credentials->addresses, address))
                credentials_take_body(call, on_login);
}

/* --- logout
 * ---------------------------------------------------------------------------------------------------------------------- */

static void on_ended(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        g_autoptr(call) call = userdata;

        if (result < 0)
                write_refuse_outcome(call, result);
        else
                call_reply_text(call, 200, status_success(NULL, NULL, NULL, NULL));
}

static void run_logout(struct call *call, const char *rest)
{
        struct store *store = call->api->options.store;
        const char *id = call->identity->token_id;
        autostoreobject token = id ? store_get_newest(store, &api_token_kind, NULL, id) : NULL;
        struct store_op op = {.verb = STORE_DELETE, .kind = &api_token_kind, .name = id};
        struct store_txn txn = {.ops = &op, .n_ops = 1, .actor = call_actor(call)};
        int r;

        if (!token || g_strcmp0(json_find_string(token->root, "spec", "type", NULL), "Session") != 0) {
                call_refuse_words(call, 409,
                                  "these credentials are no session that began with a login; they are ended by "
                                  "gabbro token revoke");
                return;
        }
        r = store_commit(store, &txn, on_ended, call_ref(call), NULL);
        if (r) {
                write_refuse_outcome(call, r);
                call_unref(call);
        }
}

/* --- passwords
 * ------------------------------------------------------------------------------------------------------------------- */

static void on_password_stored(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        g_autoptr(call) call = userdata;

        if (result < 0)
                write_refuse_outcome(call, result);
        else
                call_reply_text(call, 200, status_success(objects[0]->name, "gabbro.dev", "users", NULL));
}

/* Another stamp: all sessions that began with the password before it have ended with this write. */
static void store_password(struct password_job *job)
{
        struct call *call = job->call;
        struct api *api = call->api;
        autostoreobject user = store_get_newest(api->options.store, &api_user_kind, NULL, job->user);
        autostoreobject former = store_get_newest(api->options.store, &api_password_kind, NULL, job->user);
        struct store_op op = {.verb = former ? STORE_UPDATE : STORE_CREATE, .kind = &api_password_kind, .name = job->user};
        struct store_txn txn = {.ops = &op, .n_ops = 1, .actor = call_actor(call)};
        char stamp[UUID_TEXT_MAX], now[CLOCK_RFC3339_MAX];
        struct json_value *spec;
        int r;

        if (!user) {
                call_refuse_words(call, 404, "users.gabbro.dev \"%s\" not found", job->user);
                return;
        }
        if (job->password && (!former || g_strcmp0(json_find_string(former->root, "spec", "stamp", NULL), job->stamp) != 0)) {
                call_refuse_words(call, 409, "the password was changed meanwhile");
                return;
        }
        op.doc = credentials_document(api, &api_password_kind, job->user);
        spec = json_get(json_root(op.doc), "spec");
        json_set_string(op.doc, spec, "userUid", user->uid);
        json_set_string(op.doc, spec, "hash", job->made);
        json_set_string(op.doc, spec, "stamp", uuid_generate(api->options.random, stamp));
        json_set_string(op.doc, spec, "changed", clock_format_rfc3339(clock_real_us(api->options.clock), false, now));
        r = store_commit(api->options.store, &txn, on_password_stored, call_ref(call), NULL);
        if (r) {
                write_refuse_outcome(call, r);
                call_unref(call);
        }
}

static bool password_is_acceptable(struct call *call, const char *field, const char *password, const char *user)
{
        const char *fault = password ? auth_password_fault(password, user) : "a password must be given";

        if (fault)
                call_refuse_words(call, 422, "%s: %s", field, fault);
        return !fault;
}

static void own_password_done(struct password_job *job)
{
        if (!job->right) {
                call_refuse_words(job->call, 403, "the old password is wrong");
                return;
        }
        forgive(job);
        store_password(job);
}

static void on_own_password(struct call *call, const struct json_value *root)
{
        const char *old = json_string(json_get(root, "oldPassword"), NULL),
                   *fresh = json_string(json_get(root, "newPassword"), NULL);
        g_autofree char *address = login_address(call);
        const char *user = call->identity->user;
        struct password_job *job;

        if (!old || strlen(old) > AUTH_PASSWORD_MAX) {
                call_refuse_words(call, 422, "oldPassword must be a text of at most %d bytes", AUTH_PASSWORD_MAX);
                return;
        }
        if (!password_is_acceptable(call, "newPassword", fresh, user) ||
            !may_try(call, call->api->credentials->addresses, address) || !may_try(call, call->api->credentials->users, user))
                return;
        job = password_job_new(call, user);
        job->password = g_strdup(old);
        job->fresh = g_strdup(fresh);
        job->done = own_password_done;
        password_job_run(job);
}

static void run_own_password(struct call *call, const char *rest)
{
        credentials_take_body(call, on_own_password);
}

static void on_others_password(struct call *call, const struct json_value *root)
{
        const char *fresh = json_string(json_get(root, "password"), NULL);
        struct password_job *job;

        if (!password_is_acceptable(call, "password", fresh, call->target.name))
                return;
        job = password_job_new(call, call->target.name);
        job->fresh = g_strdup(fresh);
        job->done = store_password;
        password_job_run(job);
}

static void run_others_password(struct call *call, const struct store_object *user)
{
        credentials_take_body(call, on_others_password);
}

void login_routes(struct api *api)
{
        static const struct api_route routes[] = {
                {.method = "POST", .prefix = "/auth/v1/login", .anonymous = true, .run = run_login},
                {.method = "POST", .prefix = "/auth/v1/logout", .own = true, .run = run_logout},
                {.method = "POST", .prefix = "/auth/v1/password", .own = true, .run = run_own_password},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(routes); i++)
                api_add_route(api, &routes[i]);
        api_add_subresource(api, &(struct api_subresource){.kind = &api_user_kind,
                                                           .name = "password",
                                                           .method = "POST",
                                                           .verb = "create",
                                                           .run = run_others_password});
}
