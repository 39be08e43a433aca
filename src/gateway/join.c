/* SPDX-License-Identifier: Apache-2.0 */
#include "base/address.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/names.h"
#include "gateway/gateway.h"
#include "generated/api_types.h"

#include <string.h>

#define JOIN_TOKEN_TTL_DEFAULT_S 3600
#define JOIN_TOKEN_TTL_MAX_S     (7 * 24 * 3600)
#define JOIN_BODY_BYTES          (64u << 10)
#define JOIN_ADDRESSES_MAX       16

/* A join or renewal while its transaction is on the way. */
struct join {
        struct gateway *gateway;
        struct slot *slot;
        char *node; /* renewal: the caller */
        struct auth_certificate certificate;
};

static void join_free(void *userdata)
{
        struct join *join = userdata;

        auth_certificate_clear(&join->certificate);
        g_free(join->node);
        g_free(join);
}

static void join_new(struct gateway *gateway, struct http_request *request, const char *node)
{
        struct join *join = g_new0(struct join, 1);

        join->gateway = gateway;
        join->node = g_strdup(node);
        join->slot = slot_new(request, join, join_free);
}

static void join_finish(struct join *join)
{
        slot_finish(join->slot);
        join_free(join);
}

static void join_refuse(struct join *join, int code, const char *reason, const char *words)
{
        if (join->slot->request)
                api_reply_status(join->slot->request, code, reason, words, NULL);
        join_finish(join);
}

/* --- the token
 * ------------------------------------------------------------------------------------------------------------------------- */

/* The Token object of a presented join token that is right and not expired, or NULL with words. */
static const struct store_object *find_token(struct gateway *gateway, const char *text, const char **ret_words)
{
        g_autofree char *id = NULL, *hash = NULL, *suffix = NULL;
        uint64_t expires_us = 0;

        *ret_words = "the join token is not valid";
        if (!text || auth_token_split(text, &id, &hash, &suffix) < 0)
                return NULL;
        autostoreobject token = store_get_newest(gateway->store, &api_token_kind, NULL, id);
        if (!token || g_strcmp0(json_find_string(token->root, "spec", "type", NULL), "Join") != 0)
                return NULL;
        const char *stored = json_find_string(token->root, "spec", "hash", NULL);
        if (!stored || !auth_hash_equal(stored, hash))
                return NULL;
        const char *expires = json_find_string(token->root, "spec", "expires", NULL);
        if (!expires || clock_parse_rfc3339(expires, &expires_us) < 0 || expires_us <= clock_real_us(gateway->clock)) {
                *ret_words = "the join token has expired";
                return NULL;
        }
        return g_steal_pointer(&token);
}

/* --- names of the certificate
 * ---------------------------------------------------------------------------------------------------------- */

/* No certificate of a node is good for what is reached by these: whoever holds it could pose as the gateway, or as anything local.
 */
static bool address_is_reserved(const struct address *address, char *const *gateways)
{
        static const char *const local[] = {"127.0.0.0/8",    "0.0.0.0/8", "::/127",      "::ffff:0:0/96",
                                            "169.254.0.0/16", "fe80::/10", "224.0.0.0/3", "ff00::/8"};

        for (size_t i = 0; i < G_N_ELEMENTS(local); i++) {
                struct address_prefix prefix;
                if (address_prefix_parse(local[i], &prefix) == 0 && address_prefix_contains(&prefix, address))
                        return true;
        }
        for (; gateways && *gateways; gateways++) {
                struct address own;
                if (address_parse(*gateways, &own) == 0 && address_compare(&own, address) == 0)
                        return true;
        }
        return false;
}

static bool name_is_reserved(const char *name, char *const *gateways)
{
        if (g_ascii_strcasecmp(name, "localhost") == 0)
                return true;
        for (; gateways && *gateways; gateways++)
                if (g_ascii_strcasecmp(name, *gateways) == 0)
                        return true;
        return false;
}

struct address_query {
        const char *node;
        const struct address *address;
        bool found;
};

static bool has_address(const struct store_object *node, void *userdata)
{
        struct address_query *query = userdata;
        const struct json_value *list = json_find(node->root, "status", "addresses", NULL);

        for (const struct json_value *a = json_first(list); a && !g_str_equal(node->name, query->node); a = json_next(a)) {
                struct address address;
                if (address_parse(json_find_string(a, "address", NULL) ?: "", &address) == 0 &&
                    address_compare(&address, query->address) == 0)
                        query->found = true;
        }
        return !query->found;
}

static bool address_is_another_nodes(struct gateway *gateway, const char *node, const struct address *address)
{
        struct address_query query = {.node = node, .address = address};

        store_list(gateway->store, &api_node_kind, NULL, NULL, has_address, &query);
        return query.found;
}

/* Names that the node asks for and cannot have are left out: it works without them. */
char **join_certificate_names(struct gateway *gateway, const char *node, const struct json_value *addresses)
{
        g_autoptr(GStrvBuilder) names = g_strv_builder_new();
        unsigned n = 0;

        if (!name_is_reserved(node, gateway->names))
                g_strv_builder_add(names, node);
        for (const struct json_value *a = json_first(addresses); a && n < JOIN_ADDRESSES_MAX; a = json_next(a)) {
                struct address address;
                if (json_string(a, NULL) && address_parse(json_string(a, ""), &address) == 0 &&
                    !address_is_reserved(&address, gateway->names) && !address_is_another_nodes(gateway, node, &address)) {
                        g_strv_builder_add(names, json_string(a, ""));
                        n++;
                }
        }
        return g_strv_builder_end(names);
}

static int sign(struct join *join, const struct json_value *body, const char *node)
{
        const char *csr = json_find_string(body, "csr", NULL);
        g_auto(GStrv) names = join_certificate_names(join->gateway, node, json_get(body, "addresses"));

        if (!csr)
                return -EINVAL;
        return auth_ca_sign_node(join->gateway->ca, csr, node, (const char *const *)names, &join->certificate);
}

static void on_committed(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        struct join *join = userdata;

        if (result < 0) {
                join_refuse(join, result == -ENOSPC ? 507 : 500, result == -ENOSPC ? "InsufficientStorage" : "InternalError",
                            result == -ENOSPC ? "the disk of the gateway is full" : "the store no longer accepts writes");
                return;
        }
        if (join->slot->request) {
                g_autoptr(json_doc) doc = json_doc_new();
                struct json_value *root = json_new(doc, JSON_OBJECT);
                json_set_string(doc, root, "certificate", join->certificate.certificate_pem);
                json_set_string(doc, root, "ca", auth_ca_pem(join->gateway->ca));
                json_set_string(doc, root, "nodeName", join->node);
                json_set_int(doc, root, "protocol", GATEWAY_PROTOCOL);
                json_set_string(doc, root, "gatewayVersion", GABBRO_VERSION);
                gateway_reply_json(join->slot->request, 200, root);
        }
        log_info("node certificate issued", "node", join->node, "serial", join->certificate.serial);
        join_finish(join);
}

/* --- documents of the transaction
 * ------------------------------------------------------------------------------------------------------ */

static struct json_doc *new_document(const char *api_version, const char *kind)
{
        struct json_doc *doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);

        json_set_root(doc, root);
        json_set_string(doc, root, "apiVersion", api_version);
        json_set_string(doc, root, "kind", kind);
        json_ensure_object(doc, root, "metadata");
        return doc;
}

static void fill_identity(struct join *join, struct json_doc *doc, bool renewal)
{
        struct json_value *spec = json_ensure_object(doc, json_root(doc), "spec");
        char not_after[CLOCK_RFC3339_MAX];
        const char *serial = json_find_string(spec, "serial", NULL);

        /* The former certificate stays good until the next renewal, because the answer to this one may be lost. Not so at a join: a
         * host that joins again does so because its key is gone, or in other hands. */
        if (renewal && serial)
                json_set_string(doc, spec, "previousSerial", serial);
        else
                json_remove(spec, "previousSerial");
        json_set_string(doc, spec, "serial", join->certificate.serial);
        json_set_string(doc, spec, "notAfter", clock_format_rfc3339(join->certificate.not_after_us, false, not_after));
}

static struct store_op identity_op(struct join *join, const struct store_object *present, bool renewal)
{
        struct objects_target target = {.kind = &api_node_identity_kind, .name = join->node, .actor = "join"};
        struct store_op op = {.verb = present ? STORE_UPDATE : STORE_CREATE, .kind = target.kind, .name = target.name};

        if (present) {
                op.doc = json_doc_new();
                json_set_root(op.doc, json_copy(op.doc, present->root));
                op.expect_revision = present->revision;
        } else {
                op.doc = new_document("gabbro.dev/v1", "NodeIdentity");
                objects_stamp(join->gateway, &target, op.doc);
        }
        fill_identity(join, op.doc, renewal);
        return op;
}

static struct store_op node_op(struct join *join)
{
        struct objects_target target = {.kind = &api_node_kind, .name = join->node, .actor = "join"};
        struct json_doc *doc = new_document("v1", "Node");
        struct json_value *labels = json_ensure_object(doc, json_get(json_root(doc), "metadata"), "labels");

        json_set_string(doc, labels, "kubernetes.io/hostname", join->node);
        json_ensure_object(doc, json_root(doc), "spec");
        objects_stamp(join->gateway, &target, doc);
        return (struct store_op){.verb = STORE_CREATE, .kind = target.kind, .name = target.name, .doc = doc};
}

static void commit_join(struct join *join, const struct store_object *token, const struct store_object *identity)
{
        struct store_op ops[3];
        size_t n = 0;

        ops[n++] = identity_op(join, identity, false);
        ops[n++] = (struct store_op){
                .verb = STORE_DELETE, .kind = &api_token_kind, .name = token->name, .expect_revision = token->revision};
        if (!objects_exists(join->gateway, &api_node_kind, NULL, join->node))
                ops[n++] = node_op(join);
        struct store_txn txn = {.ops = ops, .n_ops = n, .actor = {.user = join->node, .client = "join", .verb = "create"}};
        int r = store_commit(join->gateway->store, &txn, on_committed, join, NULL);
        if (r == STORE_E_CONFLICT || r == STORE_E_NOT_FOUND || r == STORE_E_EXISTS)
                join_refuse(join, 409, "Conflict", "the token was used by another join");
        else if (r)
                join_refuse(join, 503, "ServiceUnavailable", "the store does not accept writes");
}

static void on_join_body(struct http_request *request, const char *body, size_t len, void *userdata)
{
        struct join *join = slot_take(userdata);
        struct gateway *gateway = join->gateway;
        g_autoptr(json_doc) doc = gateway_body_json(request, body, len);
        const char *words = NULL;
        int64_t protocol = 0;

        if (!doc) {
                join_finish(join);
                return;
        }
        const struct json_value *root = json_root(doc);
        autostoreobject token = find_token(gateway, json_find_string(root, "token", NULL), &words);
        const char *node = json_find_string(root, "nodeName", NULL);
        if (!token) {
                join_refuse(join, 401, "Unauthorized", words);
                return;
        }
        if (!node || !names_is_label(node)) {
                join_refuse(join, 422, "Invalid", "nodeName must be an RFC 1123 label");
                return;
        }
        if (json_int64(json_get(root, "protocol"), &protocol) || protocol != GATEWAY_PROTOCOL) {
                join_refuse(join, 422, "Invalid",
                            "the agent speaks another protocol version; install the agent of this gateway's version");
                return;
        }
        const char *bound = json_find_string(token->root, "spec", "nodeName", NULL);
        if (bound && !g_str_equal(bound, node)) {
                join_refuse(join, 403, "Forbidden", "the join token is for another node name");
                return;
        }
        autostoreobject identity = store_get_newest(gateway->store, &api_node_identity_kind, NULL, node);
        if (identity && !bound) {
                join_refuse(join, 403, "Forbidden",
                            "a node of this name has joined before; an administrator's token for this name is needed "
                            "(gabbro node join-token --name NAME)");
                return;
        }
        g_free(join->node);
        join->node = g_strdup(node);
        if (sign(join, root, node) < 0) {
                join_refuse(join, 422, "Invalid", "the certificate request is not valid");
                return;
        }
        commit_join(join, token, identity);
}

static void handle_join(struct http_request *request, const struct auth_identity *identity, const char *rest, void *userdata)
{
        join_new(userdata, request, NULL);
        http_request_body_whole(request, JOIN_BODY_BYTES, on_join_body, NULL);
}

/* --- renewal
 * ---------------------------------------------------------------------------------------------------------------------------- */

static void on_renew_body(struct http_request *request, const char *body, size_t len, void *userdata)
{
        struct join *join = slot_take(userdata);
        g_autoptr(json_doc) doc = gateway_body_json(request, body, len);

        if (!doc) {
                join_finish(join);
                return;
        }
        autostoreobject identity = store_get_newest(join->gateway->store, &api_node_identity_kind, NULL, join->node);
        if (!identity || sign(join, json_root(doc), join->node) < 0) {
                join_refuse(join, 422, "Invalid", "the certificate request is not valid");
                return;
        }
        struct store_op op = identity_op(join, identity, true);
        struct store_txn txn = {.ops = &op, .n_ops = 1, .actor = {.user = join->node, .client = "renew", .verb = "update"}};
        if (store_commit(join->gateway->store, &txn, on_committed, join, NULL))
                join_refuse(join, 409, "Conflict", "another renewal is under way");
}

static void handle_renew(struct http_request *request, const struct auth_identity *identity, const char *rest, void *userdata)
{
        join_new(userdata, request, identity->node);
        http_request_body_whole(request, JOIN_BODY_BYTES, on_renew_body, NULL);
}

/* --- new join tokens
 * -------------------------------------------------------------------------------------------------------------------- */

struct token_request {
        char *text;
        struct slot *slot;
        struct gateway *gateway;
};

static void token_request_free(void *userdata)
{
        struct token_request *made = userdata;

        g_free(made->text);
        g_free(made);
}

static void on_token_stored(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        struct token_request *made = userdata;

        if (made->slot->request && result == 0) {
                g_autoptr(json_doc) doc = json_doc_new();
                struct json_value *root = json_new(doc, JSON_OBJECT);
                json_set_string(doc, root, "token", made->text);
                gateway_reply_json(made->slot->request, 201, root);
        } else if (made->slot->request) {
                gateway_reply_lost(made->slot->request, result);
        }
        slot_finish(made->slot);
        token_request_free(made);
}

static int store_token(struct token_request *made, const struct auth_token_text *token, const char *node, uint64_t ttl_s)
{
        struct gateway *gateway = made->gateway;
        struct objects_target target = {.kind = &api_token_kind, .name = token->id, .actor = "join-token"};
        struct json_doc *doc = new_document("gabbro.dev/v1", "Token");
        struct json_value *spec = json_ensure_object(doc, json_root(doc), "spec");
        char expires[CLOCK_RFC3339_MAX];

        json_set_string(doc, spec, "type", "Join");
        json_set_string(doc, spec, "hash", token->hash);
        json_set_string(doc, spec, "expires",
                        clock_format_rfc3339(clock_real_us(gateway->clock) + ttl_s * 1000000, false, expires));
        if (node)
                json_set_string(doc, spec, "nodeName", node);
        return objects_create(gateway, &target, doc, on_token_stored, made);
}

static void on_token_body(struct http_request *request, const char *body, size_t len, void *userdata)
{
        struct token_request *made = slot_take(userdata);
        g_autoptr(json_doc) doc = gateway_body_json(request, len > 0 ? body : "{}", len > 0 ? len : 2);
        struct auth_token_text token = {};
        int64_t ttl_s = JOIN_TOKEN_TTL_DEFAULT_S;

        const struct json_value *root = doc ? json_root(doc) : NULL;
        const char *node = json_find_string(root, "nodeName", NULL);
        bool bad_ttl = json_get(root, "ttlSeconds") &&
                       (json_int64(json_get(root, "ttlSeconds"), &ttl_s) || ttl_s < 1 || ttl_s > JOIN_TOKEN_TTL_MAX_S);
        if (doc && bad_ttl)
                api_reply_status(request, 422, "Invalid", "ttlSeconds must be between 1 and 604800", NULL);
        else if (doc && node && !names_is_label(node))
                api_reply_status(request, 422, "Invalid", "nodeName must be an RFC 1123 label", NULL);
        else if (doc && auth_token_generate(made->gateway->random, "gbj1", auth_ca_sha256(made->gateway->ca), &token) == 0) {
                made->text = g_strdup(token.text);
                int r = store_token(made, &token, node, (uint64_t)ttl_s);
                auth_token_text_clear(&token);
                if (r == 0)
                        return;
                api_reply_status(request, 503, "ServiceUnavailable", "the store does not accept writes", NULL);
        }
        slot_finish(made->slot);
        token_request_free(made);
}

static void handle_token(struct http_request *request, const struct auth_identity *identity, const char *rest, void *userdata)
{
        struct token_request *made;

        if (!auth_identity_in_group(identity, "gabbro:administrators")) {
                api_reply_status(request, 403, "Forbidden", "only administrators make join tokens", NULL);
                return;
        }
        made = g_new0(struct token_request, 1);
        made->gateway = userdata;
        made->slot = slot_new(request, made, token_request_free);
        http_request_body_whole(request, JOIN_BODY_BYTES, on_token_body, NULL);
}

void join_init(struct gateway *gateway)
{
        const struct api_route routes[] = {
                {.method = "POST", .prefix = "/agent/v1/join", .anonymous = true, .handle = handle_join, .userdata = gateway},
                {.method = "POST", .prefix = "/agent/v1/renew", .nodes_only = true, .handle = handle_renew, .userdata = gateway},
                {.method = "POST", .prefix = "/admin/v1/join-tokens", .handle = handle_token, .userdata = gateway},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(routes); i++)
                api_add_route(gateway->api, &routes[i]);
}
