/* SPDX-License-Identifier: Apache-2.0 */
#include "api/credentials.h"
#include "api/write.h"
#include "base/limits.h"
#include "base/names.h"
#include "generated/api_types.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define DAY_S         (24 * 3600)
#define TOKEN_S       (30 * DAY_S)
#define TOKEN_MAX_S   (366 * DAY_S)
#define CERTIFICATE_S (90 * DAY_S)
#define ACCOUNT_S     3600
#define ACCOUNT_MIN_S 600 /* as Kubernetes */
#define NOTE_MAX      256 /* characters */

static const char *spec_text(const struct json_value *token, const char *field)
{
        return json_find_string(token, "spec", field, NULL);
}

static uint64_t in_seconds(const struct call *call, int64_t seconds)
{
        return clock_real_us(call->api->options.clock) + (uint64_t)seconds * 1000000;
}

/* --- making
 * ---------------------------------------------------------------------------------------------------------------------- */

/* What a user has of them already. */
struct census {
        const char *owner_uid, *type;
        size_t n;
        const struct store_object *oldest; /* borrowed: the state does not change meanwhile */
};

static bool count_one(const struct store_object *token, void *userdata)
{
        struct census *census = userdata;
        const char *type = spec_text(token->root, "type");

        if (g_strcmp0(spec_text(token->root, "ownerUid"), census->owner_uid) != 0 ||
            (strcmp(census->type, "Session") == 0) != (g_strcmp0(type, "Session") == 0))
                return true;
        census->n++;
        if (!census->oldest || token->created_revision < census->oldest->created_revision)
                census->oldest = token;
        return true;
}

static struct json_doc *token_document(struct call *call, const struct token_spec *spec, const char *name, const char *hash)
{
        struct json_doc *doc = credentials_document(call->api, &api_token_kind, name);
        struct json_value *to = json_get(json_root(doc), "spec");
        char expires[CLOCK_RFC3339_MAX];

        json_set_string(doc, to, "type", spec->type);
        json_set_string(doc, to, "hash", hash);
        json_set_string(doc, to, "user", spec->user);
        json_set_string(doc, to, "ownerUid", spec->owner_uid);
        json_set_string(doc, to, "namespace", spec->namespace);
        json_set_string(doc, to, "passwordStamp", spec->stamp);
        if (spec->groups)
                json_set(doc, to, "groups", json_copy(doc, spec->groups));
        json_set_string(doc, to, "expires", clock_format_rfc3339(spec->expires_us, false, expires));
        json_set_string(doc, to, "note", spec->note && *spec->note ? spec->note : NULL);
        json_set_string(doc, to, "by", call->identity->user);
        return doc;
}

static void made_free(struct token_made *made)
{
        call_unref(made->call);
        g_free(made->id);
        auth_text_wipe(made->text);
        g_free(made->extra);
        json_doc_free(made->doc);
        g_free(made);
}

static void on_stored(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        struct token_made *made = userdata;

        if (result < 0)
                write_refuse_outcome(made->call, result);
        else
                made->answer(made);
        made_free(made);
}

static bool note_is_good(struct call *call, const char *note)
{
        bool good = !note || (g_utf8_strlen(note, -1) <= NOTE_MAX && names_is_plain_text(note, NOTE_MAX * 4, false));

        if (!good)
                call_refuse_words(call, 422, "note must be one line of at most %d characters", NOTE_MAX);
        return good;
}

void token_issue(struct call *call, const struct token_spec *spec, char *extra, void (*answer)(struct token_made *made))
{
        bool session = strcmp(spec->type, "Session") == 0;
        struct census census = {.owner_uid = spec->owner_uid, .type = spec->type};
        struct token_made *made = g_new0(struct token_made, 1);
        struct auth_token_text text = {};
        g_autofree char *oldest = NULL;
        struct store_op ops[2] = {};
        struct store_txn txn = {.ops = ops, .n_ops = 1, .actor = call_actor(call)};
        int r;

        assert(answer && spec->user && spec->owner_uid);
        *made = (struct token_made){.call = call_ref(call), .extra = extra, .answer = answer};
        store_list(call->api->options.store, &api_token_kind, NULL, NULL, count_one, &census);
        if (!note_is_good(call, spec->note)) {
                made_free(made);
                return;
        }
        if (!session && census.n >= LIMIT_TOKENS_PER_USER) {
                call_refuse_words(call, 409,
                                  "\"%s\" has %zu tokens and certificates already: revoke some first (gabbro token list)",
                                  spec->user, census.n);
                made_free(made);
                return;
        }
        if (!spec->serial) {
                (void)auth_token_generate(call->api->options.random, "gbt1", NULL, &text); /* cannot fail */
                made->text = g_strdup(text.text);
        }
        made->id = g_strdup(spec->serial ?: text.id);
        made->doc = token_document(call, spec, made->id, text.hash);
        auth_token_text_clear(&text);
        ops[0] = (struct store_op){.verb = STORE_CREATE, .kind = &api_token_kind, .name = made->id, .doc = json_doc_new()};
        json_set_root(ops[0].doc, json_copy(ops[0].doc, json_root(made->doc)));
        if (session && census.n >= LIMIT_SESSIONS_PER_USER) {
                oldest = g_strdup(census.oldest->name);
                ops[txn.n_ops++] = (struct store_op){.verb = STORE_DELETE, .kind = &api_token_kind, .name = oldest};
        }
        r = store_commit(call->api->options.store, &txn, on_stored, made, NULL);
        if (r) {
                write_refuse_outcome(call, r);
                made_free(made);
        }
}

/* --- answers
 * -------------------------------------------------------------------------------------------------------------------- */

static void copy_member(struct json_doc *doc, struct json_value *to, const char *key, const struct json_value *value)
{
        if (value)
                json_set(doc, to, key, json_copy(doc, value));
}

/* What may be told of a token: all but its hash and stamp. */
static struct json_value *describe(struct json_doc *doc, const struct json_value *token)
{
        static const char *const told[] = {"type", "user", "namespace", "groups", "nodeName", "note", "by", "expires", NULL};
        struct json_value *entry = json_new(doc, JSON_OBJECT);

        json_set_string(doc, entry, "id", json_find_string(token, "metadata", "name", NULL));
        for (const char *const *key = told; *key; key++)
                copy_member(doc, entry, *key, json_find(token, "spec", *key, NULL));
        copy_member(doc, entry, "created", json_find(token, "metadata", "creationTimestamp", NULL));
        copy_member(doc, entry, "lastUsed", json_find(token, "status", "lastUsed", NULL));
        return entry;
}

void token_answer(struct token_made *made)
{
        g_autoptr(json_doc) doc = json_doc_new();

        json_set_root(doc, describe(doc, json_root_const(made->doc)));
        json_set_string(doc, json_root(doc), "token", made->text);
        credentials_reply(made->call, 201, doc);
}

/* --- the caller's own, and others'
 * ---------------------------------------------------------------------------------------------- */

struct listing {
        const struct api *api;
        const char *user; /* NULL: everybody */
        struct json_doc *doc;
        struct json_value *items;
};

static bool list_one(const struct store_object *token, void *userdata)
{
        struct listing *listing = userdata;

        if ((!listing->user || g_strcmp0(spec_text(token->root, "user"), listing->user) == 0) &&
            !identity_token_is_dead(&listing->api->identities, token))
                json_append(listing->items, describe(listing->doc, token->root));
        return true;
}

static void run_list(struct call *call, const char *rest)
{
        const char *all = http_request_query(call->request, "all"), *user = http_request_query(call->request, "user");
        bool others = (all && strcmp(all, "true") == 0) || (user && strcmp(user, call->identity->user) != 0);
        g_autoptr(json_doc) doc = json_doc_new();
        struct listing listing = {.api = call->api, .doc = doc, .user = user};

        if (others && !identity_is_administrator(call->identity)) {
                call_refuse_words(call, 403, "only administrators see the tokens of others");
                return;
        }
        if (!others)
                listing.user = call->identity->user;
        json_set_root(doc, json_new(doc, JSON_OBJECT));
        listing.items = json_ensure_array(doc, json_root(doc), "items");
        store_list(call->api->options.store, &api_token_kind, NULL, NULL, list_one, &listing);
        credentials_reply(call, 200, doc);
}

/* What was made with a leaked token would outlive its revocation: only who has logged in makes tokens, or holds the installation's
 * own administrator's or a certificate. */
static bool may_make(struct call *call)
{
        static const char *const makers[] = {"Admin", "Session", "Certificate", NULL};
        const char *id = call->identity->token_id;
        autostoreobject token = id ? store_get(call->api->options.store, &api_token_kind, NULL, id) : NULL;
        const char *type = token ? spec_text(token->root, "type") : NULL;

        if (type && g_strv_contains(makers, type))
                return true;
        call_refuse_words(call, 403, "a token makes no tokens: log in with a password first (gabbro login)");
        return false;
}

static bool groups_are_had(struct call *call, const struct json_value *groups, const struct store_object *user)
{
        g_autoptr(auth_identity) whole = identity_of_user(user);

        if (groups && !json_is(groups, JSON_ARRAY)) {
                call_refuse_words(call, 422, "groups must be a list of texts");
                return false;
        }
        for (const struct json_value *group = json_first(groups); group; group = json_next(group)) {
                if (json_string(group, NULL) && whole && auth_identity_in_group(whole, json_string(group, "")))
                        continue;
                call_refuse_words(call, 422, "user \"%s\" is not in the group \"%.128s\": a token has no more groups than its user",
                                  user->name, json_string(group, ""));
                return false;
        }
        return true;
}

static void on_make(struct call *call, const struct json_value *root)
{
        const char *named = json_string(json_get(root, "user"), NULL), *name = named ?: call->identity->user;
        const struct json_value *groups = json_get(root, "groups");
        autostoreobject user = store_get_newest(call->api->options.store, &api_user_kind, NULL, name);
        int64_t ttl_s;

        if (strcmp(name, call->identity->user) != 0 && !identity_is_administrator(call->identity)) {
                call_refuse_words(call, 403, "only administrators make tokens for others");
                return;
        }
        if (!user) {
                call_refuse_words(call, 404, "there is no user \"%.253s\"; tokens are made for users (gabbro user create)", name);
                return;
        }
        if (!credentials_seconds(call, root, "ttlSeconds", TOKEN_S, 1, TOKEN_MAX_S, &ttl_s) || !groups_are_had(call, groups, user))
                return;
        token_issue(call,
                    &(struct token_spec){.type = "User",
                                         .user = user->name,
                                         .owner_uid = user->uid,
                                         .groups = groups,
                                         .note = json_string(json_get(root, "note"), NULL),
                                         .expires_us = in_seconds(call, ttl_s)},
                    NULL, token_answer);
}

static void run_make(struct call *call, const char *rest)
{
        if (may_make(call))
                credentials_take_body(call, on_make);
}

static void on_revoked(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        g_autoptr(call) call = userdata;

        if (result < 0)
                write_refuse_outcome(call, result);
        else
                call_reply_text(call, 200, status_success(objects[0]->name, NULL, "tokens", NULL));
}

static void run_revoke(struct call *call, const char *id)
{
        autostoreobject token = store_get_newest(call->api->options.store, &api_token_kind, NULL, id);
        struct store_op op = {.verb = STORE_DELETE, .kind = &api_token_kind, .name = id};
        struct store_txn txn = {.ops = &op, .n_ops = 1, .actor = call_actor(call)};
        bool own = token && g_strcmp0(spec_text(token->root, "user"), call->identity->user) == 0;
        int r;

        if (!own && !identity_is_administrator(call->identity)) {
                call_refuse_words(call, 403, "only administrators revoke the tokens of others");
                return;
        }
        if (!token) {
                call_refuse_words(call, 404, "there is no token \"%.64s\"", id);
                return;
        }
        if (g_strcmp0(spec_text(token->root, "type"), "Admin") == 0) {
                call_refuse_words(call, 409,
                                  "this is the installation's own administrator; it is replaced on the gateway's host "
                                  "(gabbro-gateway --admin-reset)");
                return;
        }
        r = store_commit(call->api->options.store, &txn, on_revoked, call_ref(call), NULL);
        if (r) {
                write_refuse_outcome(call, r);
                call_unref(call);
        }
}

/* --- certificates of people
 * ------------------------------------------------------------------------------------------------------- */

static void answer_certificate(struct token_made *made)
{
        g_autoptr(json_doc) doc = json_doc_new();

        json_set_root(doc, describe(doc, json_root_const(made->doc)));
        json_set_string(doc, json_root(doc), "serial", made->id);
        json_set_string(doc, json_root(doc), "certificate", made->extra);
        credentials_reply(made->call, 201, doc);
}

static void on_certificate(struct call *call, const struct json_value *root)
{
        const char *csr = json_string(json_get(root, "csr"), NULL), *name = call->target.name;
        autostoreobject user = store_get_newest(call->api->options.store, &api_user_kind, NULL, name);
        struct auth_certificate certificate = {};
        int64_t ttl_s;

        if (!user) {
                write_refuse_absent(call);
                return;
        }
        if (!credentials_seconds(call, root, "ttlSeconds", CERTIFICATE_S, 1, TOKEN_MAX_S, &ttl_s))
                return;
        if (!csr || auth_ca_sign_user(call->api->options.ca, csr, name, (uint64_t)ttl_s * 1000000, &certificate) < 0) {
                call_refuse_words(call, 422,
                                  "csr must be a certificate request in PEM with an RSA key of 2048 bits or more or P-256; "
                                  "a certificate holds user names of at most 52 characters");
                return;
        }
        token_issue(call,
                    &(struct token_spec){.type = "Certificate",
                                         .user = name,
                                         .owner_uid = user->uid,
                                         .serial = certificate.serial,
                                         .note = json_string(json_get(root, "note"), NULL),
                                         .expires_us = certificate.not_after_us},
                    g_strdup(certificate.certificate_pem), answer_certificate);
        auth_certificate_clear(&certificate);
}

static void run_certificate(struct call *call, const struct store_object *user)
{
        if (!call->api->options.ca)
                call_refuse_words(call, 501, "this server has no certificate authority");
        else if (may_make(call))
                credentials_take_body(call, on_certificate);
}

/* --- service accounts
 * ------------------------------------------------------------------------------------------------------------ */

/* A TokenRequest as it came, with its status. */
static void answer_request(struct token_made *made)
{
        const struct json_value *spec = json_get(json_root(made->doc), "spec");
        const struct call *call = made->call;
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT), *part;
        int64_t seconds = 0;

        json_set_root(doc, root);
        json_set_string(doc, root, "kind", "TokenRequest");
        json_set_string(doc, root, "apiVersion", "authentication.k8s.io/v1");
        part = json_ensure_object(doc, root, "metadata");
        json_set_string(doc, part, "name", call->target.name);
        json_set_string(doc, part, "namespace", call->target.namespace);
        part = json_ensure_object(doc, root, "spec");
        json_ensure_array(doc, part, "audiences");
        seconds = g_ascii_strtoll(made->extra, NULL, 10);
        json_set_int(doc, part, "expirationSeconds", seconds);
        part = json_ensure_object(doc, root, "status");
        json_set_string(doc, part, "token", made->text);
        json_set_string(doc, part, "expirationTimestamp", json_find_string(spec, "expires", NULL));
        credentials_reply(made->call, 201, doc);
}

static void on_request(struct call *call, const struct json_value *root)
{
        const struct json_value *spec = json_get(root, "spec");
        const char *namespace = call->target.namespace, *name = call->target.name;
        autostoreobject account = store_get_newest(call->api->options.store, &api_service_account_kind, namespace, name);
        g_autoptr(auth_identity) identity = identity_of_account(namespace, name);
        int64_t ttl_s;

        if (!account) {
                write_refuse_absent(call);
                return;
        }
        if (json_length(json_get(spec, "audiences")) > 0 || json_is(json_get(spec, "boundObjectRef"), JSON_OBJECT)) {
                call_refuse_words(call, 422,
                                  "tokens are good for this API alone, for as long as the service account is there: "
                                  "spec.audiences and spec.boundObjectRef must be empty");
                return;
        }
        if (!credentials_seconds(call, spec, "expirationSeconds", ACCOUNT_S, ACCOUNT_MIN_S, TOKEN_MAX_S, &ttl_s))
                return;
        token_issue(call,
                    &(struct token_spec){.type = "ServiceAccount",
                                         .user = identity->user,
                                         .namespace = namespace,
                                         .owner_uid = account->uid,
                                         .expires_us = in_seconds(call, ttl_s)},
                    g_strdup_printf("%" PRId64, ttl_s), answer_request);
}

static void run_request(struct call *call, const struct store_object *account)
{
        credentials_take_body(call, on_request);
}

void token_routes(struct api *api)
{
        static const struct api_route routes[] = {
                {.method = "GET", .prefix = "/auth/v1/tokens", .own = true, .run = run_list},
                {.method = "POST", .prefix = "/auth/v1/tokens", .own = true, .run = run_make},
                {.method = "DELETE", .prefix = "/auth/v1/tokens/", .own = true, .run = run_revoke},
        };
        const struct api_subresource subresources[] = {
                {.kind = &api_user_kind, .name = "certificate", .method = "POST", .verb = "create", .run = run_certificate},
                {.kind = &api_service_account_kind,
                 .name = "token",
                 .method = "POST",
                 .verb = "create",
                 .as_group = "authentication.k8s.io",
                 .as_version = "v1",
                 .as_kind = "TokenRequest",
                 .run = run_request},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(routes); i++)
                api_add_route(api, &routes[i]);
        for (size_t i = 0; i < G_N_ELEMENTS(subresources); i++)
                api_add_subresource(api, &subresources[i]);
}
