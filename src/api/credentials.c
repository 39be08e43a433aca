/* SPDX-License-Identifier: Apache-2.0 */
#include "api/credentials.h"
#include "api/body.h"
#include "api/throttle.h"
#include "base/limits.h"
#include "generated/api_types.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define THREADS  2
#define SWEEP_US 600000000ull

/* --- bodies and answers
 * ---------------------------------------------------------------------------------------------------------- */

static void on_body(struct http_request *request, const char *text, size_t len, void *userdata)
{
        g_autoptr(call) call = call_ref(userdata);
        g_autoptr(json_doc) doc = body_parse(call, BODY_JSON, len ? text : "{}", len ?: 2);

        if (!doc)
                return;
        if (json_is(json_root(doc), JSON_OBJECT))
                call->on_json(call, json_root_const(doc));
        else
                call_refuse_words(call, 400, "the body of the request must be an object");
}

static void on_too_large(struct http_request *request, void *userdata)
{
        call_refuse_words(userdata, 413, "the body of the request is too large");
}

void credentials_take_body(struct call *call, void (*run)(struct call *call, const struct json_value *root))
{
        const char *type = http_request_header(call->request, "Content-Type");

        assert(run);
        /* A page of another origin can have a browser send forms, plain text and bytes without a type, with the browser's client
         * certificate; it can send neither JSON nor a token. `kubectl create --raw` tells no type. */
        if (!type && http_request_header(call->request, "Authorization"))
                type = "application/json";
        if (!type || !g_str_has_prefix(type, "application/json")) {
                call_refuse_words(call, 415, "the body of the request must be application/json");
                return;
        }
        call->on_json = run;
        http_request_body_whole(call->request, CREDENTIALS_BODY_BYTES, on_body, on_too_large);
}

void credentials_reply(struct call *call, int code, const struct json_doc *doc)
{
        GString *text = g_string_new(NULL);

        assert(doc);
        if (call->request)
                http_reply_header(call->request, "Cache-Control", "no-store");
        json_write(json_root_const(doc), text);
        call_reply_text(call, code, text);
}

struct json_doc *credentials_document(struct api *api, const struct schema_kind *kind, const char *name)
{
        struct json_doc *doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT), *metadata;
        g_autofree char *version = target_canonical_version(kind);
        char uid[UUID_TEXT_MAX], now[CLOCK_RFC3339_MAX];

        json_set_root(doc, root);
        json_set_string(doc, root, "apiVersion", version);
        json_set_string(doc, root, "kind", kind->kind);
        metadata = json_ensure_object(doc, root, "metadata");
        json_set_string(doc, metadata, "name", name);
        json_set_string(doc, metadata, "uid", uuid_generate(api->options.random, uid));
        json_set_string(doc, metadata, "creationTimestamp", clock_format_rfc3339(clock_real_us(api->options.clock), false, now));
        json_set_int(doc, metadata, "generation", 1);
        json_ensure_object(doc, root, "spec");
        return doc;
}

bool credentials_seconds(struct call *call, const struct json_value *root, const char *key, int64_t otherwise, int64_t least,
                         int64_t most, int64_t *ret_seconds)
{
        const struct json_value *value = json_get(root, key);

        *ret_seconds = otherwise;
        if (!value || json_is(value, JSON_NULL))
                return true;
        if (json_int64(value, ret_seconds) == 0 && *ret_seconds >= least && *ret_seconds <= most)
                return true;
        call_refuse_words(call, 422, "%s must be a whole number between %" PRId64 " and %" PRId64, key, least, most);
        return false;
}

/* --- passwords on the pool
 * ------------------------------------------------------------------------------------------------------- */

struct password_job *password_job_new(struct call *call, const char *user)
{
        struct password_job *job = g_new0(struct password_job, 1);
        struct store *store = call->api->options.store;
        autostoreobject owner = store_get_newest(store, &api_user_kind, NULL, user);
        autostoreobject password = store_get_newest(store, &api_password_kind, NULL, user);

        job->credentials = call->api->credentials;
        job->call = call_ref(call);
        job->user = g_strdup(user);
        random_fill(call->api->options.random, job->salt, sizeof(job->salt));
        if (owner && password && g_strcmp0(owner->uid, json_find_string(password->root, "spec", "userUid", NULL)) == 0) {
                job->hash = g_strdup(json_find_string(password->root, "spec", "hash", NULL));
                job->stamp = g_strdup(json_find_string(password->root, "spec", "stamp", NULL));
        }
        return job;
}

static void password_job_free(struct password_job *job)
{
        call_unref(job->call);
        auth_text_wipe(job->password);
        auth_text_wipe(job->fresh);
        auth_text_wipe(job->hash);
        auth_text_wipe(job->made);
        g_free(job->user);
        g_free(job->stamp);
        g_free(job->note);
        g_free(job);
}

static int work(void *userdata)
{
        struct password_job *job = userdata;

        job->right = !job->password || auth_password_is(job->password, job->hash);
        return job->right && job->fresh ? auth_password_hash(job->fresh, job->salt, &job->made) : 0;
}

static void on_worked(int result, void *userdata)
{
        struct password_job *job = userdata;

        job->credentials->jobs--;
        if (!job->credentials->ending && result == 0)
                job->done(job);
        else if (!job->credentials->ending)
                call_refuse_words(job->call, 500, "the password could not be hashed: %s", g_strerror(-result));
        password_job_free(job);
}

void password_job_run(struct password_job *job)
{
        assert(job && job->done);
        if (job->credentials->jobs >= LIMIT_PASSWORD_JOBS) {
                call_refuse(job->call, &(struct refusal){.code = 429,
                                                         .message = "too many passwords are being looked at; try again",
                                                         .retry_after_s = 1});
                password_job_free(job);
                return;
        }
        job->credentials->jobs++;
        loop_pool_submit(job->credentials->pool, work, on_worked, job);
}

/* --- sweeping
 * -------------------------------------------------------------------------------------------------------------------- */

struct sweep {
        const struct api *api;
        struct store_op ops[LIMIT_STORE_TXN_OPS];
        size_t n;
        GPtrArray *names;
};

static bool sweep_one(struct sweep *sweep, const struct store_object *object)
{
        char *name = g_strdup(object->name);

        g_ptr_array_add(sweep->names, name);
        sweep->ops[sweep->n++] = (struct store_op){.verb = STORE_DELETE, .kind = object->kind, .name = name};
        return sweep->n < G_N_ELEMENTS(sweep->ops);
}

static bool sweep_token(const struct store_object *token, void *userdata)
{
        struct sweep *sweep = userdata;

        return !identity_token_is_dead(&sweep->api->identities, token) || sweep_one(sweep, token);
}

static bool sweep_password(const struct store_object *password, void *userdata)
{
        struct sweep *sweep = userdata;
        autostoreobject user = store_get_newest(sweep->api->options.store, &api_user_kind, NULL, password->name);
        const char *uid = json_find_string(password->root, "spec", "userUid", NULL);

        if (sweep->n >= G_N_ELEMENTS(sweep->ops))
                return false;
        return (user && g_strcmp0(user->uid, uid) == 0) || sweep_one(sweep, password);
}

size_t credentials_sweep(struct credentials *credentials)
{
        struct store *store = credentials->api->options.store;
        struct sweep sweep = {.api = credentials->api, .names = g_ptr_array_new_with_free_func(g_free)};
        struct store_txn txn = {.ops = sweep.ops, .actor = {.user = "gabbro:gateway", .client = "credentials", .verb = "delete"}};
        int r = 0;

        store_list(store, &api_token_kind, NULL, NULL, sweep_token, &sweep);
        store_list(store, &api_password_kind, NULL, NULL, sweep_password, &sweep);
        txn.n_ops = sweep.n;
        if (sweep.n)
                r = store_commit(store, &txn, NULL, NULL, NULL); /* what is refused now is tried again in a while */
        g_ptr_array_unref(sweep.names);
        return r == 0 ? sweep.n : 0;
}

static void on_sweep(struct loop_source *source, void *userdata)
{
        size_t n = credentials_sweep(userdata);

        loop_timer_set(source, n == LIMIT_STORE_TXN_OPS ? SWEEP_US / 1000 : SWEEP_US);
}

/* --- life
 * ------------------------------------------------------------------------------------------------------------------------ */

int credentials_new(struct api *api, struct credentials **ret_credentials)
{
        struct credentials *credentials = g_new0(struct credentials, 1);
        int r;

        assert(api && ret_credentials);
        credentials->api = api;
        credentials->addresses = throttle_new(api->options.clock, LIMIT_ATTEMPTS_PER_ADDRESS, LIMIT_ATTEMPT_ADDRESS_US);
        credentials->users = throttle_new(api->options.clock, LIMIT_ATTEMPTS_PER_USER, LIMIT_ATTEMPT_USER_US);
        r = loop_pool_new(api->options.loop, THREADS, &credentials->pool);
        if (r == 0)
                r = loop_timer(api->options.loop, SWEEP_US, on_sweep, credentials, &credentials->sweep);
        if (r < 0) {
                credentials_free(credentials);
                return r;
        }
        login_routes(api);
        token_routes(api);
        tokenreview_routes(api);
        *ret_credentials = credentials;
        return 0;
}

struct credentials *credentials_free(struct credentials *credentials)
{
        if (!credentials)
                return NULL;
        credentials->ending = true;
        loop_pool_free(credentials->pool);
        loop_source_free(credentials->sweep);
        throttle_free(credentials->addresses);
        throttle_free(credentials->users);
        g_free(credentials);
        return NULL;
}
