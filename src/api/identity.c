/* SPDX-License-Identifier: Apache-2.0 */
#include "api/identity.h"
#include "generated/api_types.h"

#include <assert.h>
#include <string.h>

#define NODE_PREFIX    "gabbro:node:"
#define USER_PREFIX    "gabbro:user:"
#define ADMINISTRATORS "gabbro:administrators"
#define AUTHENTICATED  "system:authenticated"
#define RETRY_US       60000000ull /* after a write that the store did not take */

static const char *const node_groups[] = {"gabbro:nodes", AUTHENTICATED, NULL};

static const char *spec_text(const struct store_object *object, const char *field)
{
        return json_find_string(object->root, "spec", field, NULL);
}

static bool is_deleting(const struct store_object *object)
{
        return json_find_string(object->root, "metadata", "deletionTimestamp", NULL);
}

/* An absent time never comes; one that cannot be read has passed. */
static bool is_past(const struct identity_context *context, const char *time)
{
        uint64_t time_us;

        return time && (clock_parse_rfc3339(time, &time_us) != 0 || time_us <= clock_real_us(context->clock));
}

/* --- who is behind it
 * -------------------------------------------------------------------------------------------------------------- */

static bool lists(const struct json_value *list, const char *text)
{
        for (const struct json_value *value = json_first(list); value; value = json_next(value))
                if (strcmp(json_string(value, ""), text) == 0)
                        return true;
        return false;
}

/* Groups of @listed that @narrowed lists too, when there is such a list, and the group of everybody. */
static char **groups_of(const struct json_value *listed, const struct json_value *narrowed)
{
        g_autoptr(GStrvBuilder) groups = g_strv_builder_new();

        for (const struct json_value *value = json_first(listed); value; value = json_next(value))
                if (json_string(value, NULL) && (!narrowed || lists(narrowed, json_string(value, ""))))
                        g_strv_builder_add(groups, json_string(value, ""));
        g_strv_builder_add(groups, AUTHENTICATED);
        return g_strv_builder_end(groups);
}

static struct auth_identity *person(const struct store_object *user, const struct json_value *narrowed)
{
        g_auto(GStrv) groups = NULL;

        if (is_deleting(user) || json_bool(json_find(user->root, "spec", "disabled", NULL), false))
                return NULL;
        groups = groups_of(json_find(user->root, "spec", "groups", NULL), narrowed);
        return auth_identity_new(AUTH_USER, user->name, (const char *const *)groups);
}

struct auth_identity *identity_of_user(const struct store_object *user)
{
        assert(user && user->kind == &api_user_kind);
        return person(user, NULL);
}

struct auth_identity *identity_of_account(const char *namespace, const char *name)
{
        g_autofree char *own = NULL, *user = NULL;

        assert(namespace && name);
        own = g_strconcat("system:serviceaccounts:", namespace, NULL);
        user = g_strdup_printf("system:serviceaccount:%s:%s", namespace, name);
        return auth_identity_new(AUTH_USER, user, (const char *const[]){"system:serviceaccounts", own, AUTHENTICATED, NULL});
}

bool identity_is_administrator(const struct auth_identity *identity)
{
        assert(identity);
        return identity->kind == AUTH_USER && auth_identity_in_group(identity, ADMINISTRATORS);
}

/* --- tokens
 * ------------------------------------------------------------------------------------------------------------------------ */

static struct auth_identity *of_admin(const struct identity_context *context, const struct store_object *token)
{
        static const char *const groups[] = {ADMINISTRATORS, AUTHENTICATED, NULL};

        return auth_identity_new(AUTH_USER, spec_text(token, "user") ?: "gabbro:nobody", groups);
}

static struct auth_identity *of_user(const struct identity_context *context, const struct store_object *token)
{
        autostoreobject user = store_get(context->store, &api_user_kind, NULL, spec_text(token, "user") ?: "");

        /* Somebody who got the name of somebody who left is somebody else. */
        if (!user || g_strcmp0(user->uid, spec_text(token, "ownerUid")) != 0)
                return NULL;
        return person(user, json_find(token->root, "spec", "groups", NULL));
}

static struct auth_identity *of_session(const struct identity_context *context, const struct store_object *token)
{
        autostoreobject password = store_get(context->store, &api_password_kind, NULL, spec_text(token, "user") ?: "");

        if (!password || g_strcmp0(spec_text(password, "stamp"), spec_text(token, "passwordStamp")) != 0)
                return NULL;
        return of_user(context, token);
}

/* "system:serviceaccount:NAMESPACE:NAME"; names have no colon. */
static const char *account_name(const struct store_object *token)
{
        const char *user = spec_text(token, "user"), *colon = user ? strrchr(user, ':') : NULL;

        return colon ? colon + 1 : "";
}

static struct auth_identity *of_account(const struct identity_context *context, const struct store_object *token)
{
        const char *namespace = spec_text(token, "namespace") ?: "", *name = account_name(token);
        autostoreobject account = store_get(context->store, &api_service_account_kind, namespace, name);
        autostoreobject project = store_get(context->store, &api_namespace_kind, NULL, namespace);

        if (!account || !project || is_deleting(account) || is_deleting(project) ||
            g_strcmp0(account->uid, spec_text(token, "ownerUid")) != 0)
                return NULL;
        return identity_of_account(namespace, name);
}

static const struct bearer {
        const char *type;
        struct auth_identity *(*identify)(const struct identity_context *context, const struct store_object *token);
} bearers[] = {
        {"Admin", of_admin}, {"User", of_user}, {"Session", of_session}, {"ServiceAccount", of_account}, {"Certificate", of_user},
};

/* Who the bearer of @token is now, or NULL: it has ended, was revoked, or nobody is behind it any more. */
static struct auth_identity *identify(const struct identity_context *context, const struct store_object *token)
{
        const char *type = spec_text(token, "type");
        struct auth_identity *identity = NULL;

        if (is_deleting(token) || is_past(context, spec_text(token, "expires")))
                return NULL;
        for (size_t i = 0; i < G_N_ELEMENTS(bearers); i++)
                if (g_strcmp0(type, bearers[i].type) == 0)
                        identity = bearers[i].identify(context, token);
        if (identity)
                identity->token_id = g_strdup(token->name);
        return identity;
}

static const struct store_object *token_of_text(const struct identity_context *context, const char *text)
{
        g_autofree char *id = NULL, *hash = NULL;
        autostoreobject token = NULL;

        if (auth_token_split(text, &id, &hash, NULL) != 0)
                return NULL;
        token = store_get(context->store, &api_token_kind, NULL, id);
        return token && auth_hash_equal(hash, spec_text(token, "hash")) ? g_steal_pointer(&token) : NULL;
}

struct auth_identity *identity_of_token(const struct identity_context *context, const char *text)
{
        autostoreobject token = token_of_text(context, text);

        return token ? identify(context, token) : NULL;
}

/* When it was used, so that people see which ones nobody needs. Not worth a refusal: a full disk is no reason to lock people out.
 */
static void note_use(struct identity_context *context, const char *id)
{
        autostoreobject token = store_get_newest(context->store, &api_token_kind, NULL, id);
        uint64_t now = clock_real_us(context->clock), last = 0;
        const char *noted = token ? json_find_string(token->root, "status", "lastUsed", NULL) : NULL;
        char time[CLOCK_RFC3339_MAX];

        if (!token || now < context->quiet_until_us ||
            (noted && clock_parse_rfc3339(noted, &last) == 0 && now < last + IDENTITY_USED_US && last <= now))
                return;
        struct json_doc *doc = json_doc_new();
        json_set_root(doc, json_copy(doc, token->root));
        json_set_string(doc, json_ensure_object(doc, json_root(doc), "status"), "lastUsed", clock_format_rfc3339(now, false, time));
        struct store_op op = {
                .verb = STORE_UPDATE, .kind = &api_token_kind, .name = id, .doc = doc, .expect_revision = token->revision};
        if (store_commit(context->store,
                         &(struct store_txn){.ops = &op, .n_ops = 1, .actor = {.user = "gabbro:gateway", .client = "identity"}},
                         NULL, NULL, NULL) != 0)
                context->quiet_until_us = now + RETRY_US;
}

static int resolve_token(struct identity_context *context, const char *text, struct auth_identity **ret_identity)
{
        struct auth_identity *identity = identity_of_token(context, text);

        if (!identity)
                return IDENTITY_E_REFUSED;
        note_use(context, identity->token_id);
        *ret_identity = identity;
        return 0;
}

bool identity_token_is_dead(const struct identity_context *context, const struct store_object *token)
{
        static const char *const owned[] = {"User", "Session", "ServiceAccount", "Certificate", NULL};
        const char *type = spec_text(token, "type"), *user = spec_text(token, "user") ?: "", *uid = spec_text(token, "ownerUid");
        bool account = g_strcmp0(type, "ServiceAccount") == 0;
        autostoreobject owner = NULL;
        autostoreobject password = NULL;

        assert(context && token);
        if (is_past(context, spec_text(token, "expires")))
                return true;
        if (!type || !g_strv_contains(owned, type))
                return false;
        owner = store_get_newest(context->store, account ? &api_service_account_kind : &api_user_kind,
                                 account ? spec_text(token, "namespace") : NULL, account ? account_name(token) : user);
        if (!owner || g_strcmp0(owner->uid, uid) != 0)
                return true;
        if (strcmp(type, "Session") != 0)
                return false;
        password = store_get_newest(context->store, &api_password_kind, NULL, user);
        return !password || g_strcmp0(spec_text(password, "stamp"), spec_text(token, "passwordStamp")) != 0;
}

/* "Bearer x" (RFC 6750); NULL for another scheme. */
static const char *bearer_text(const char *header)
{
        static const char scheme[] = "bearer ";

        if (g_ascii_strncasecmp(header, scheme, sizeof(scheme) - 1) != 0)
                return NULL;
        header += sizeof(scheme) - 1;
        return header + strspn(header, " ");
}

/* --- certificates
 * ------------------------------------------------------------------------------------------------------------------------- */

/* @serial NULL: any. The certificate before the last renewal is good too, because the answer that carried the new one can be lost.
 */
static bool node_is_good(const struct identity_context *context, const char *node, const char *serial)
{
        autostoreobject identity = store_get(context->store, &api_node_identity_kind, NULL, node);
        bool current;

        if (!identity || json_bool(json_find(identity->root, "spec", "disabled", NULL), false) || is_deleting(identity))
                return false;
        if (!serial)
                return true;
        current = g_strcmp0(spec_text(identity, "serial"), serial) == 0;
        if (current)
                return !is_past(context, spec_text(identity, "notAfter"));
        return g_strcmp0(spec_text(identity, "previousSerial"), serial) == 0;
}

static struct auth_identity *of_node_certificate(struct identity_context *context, const char *node, const char *serial)
{
        g_autofree char *user = g_strconcat(NODE_PREFIX, node, NULL);
        struct auth_identity *identity;

        if (!node_is_good(context, node, serial))
                return NULL;
        identity = auth_identity_new(AUTH_NODE, user, node_groups);
        identity->node = g_strdup(node);
        return identity;
}

static struct auth_identity *of_user_certificate(struct identity_context *context, const char *user, const char *serial)
{
        autostoreobject token = store_get(context->store, &api_token_kind, NULL, serial);

        if (!token || g_strcmp0(spec_text(token, "type"), "Certificate") != 0 || g_strcmp0(spec_text(token, "user"), user) != 0)
                return NULL;
        note_use(context, serial);
        return identify(context, token);
}

/* Name and organisation must agree, so that neither kind of certificate is ever taken for the other. */
static const struct certificate {
        const char *prefix, *organization;
        struct auth_identity *(*identify)(struct identity_context *context, const char *name, const char *serial);
} certificates[] = {
        {NODE_PREFIX, "gabbro:nodes", of_node_certificate},
        {USER_PREFIX, "gabbro:users", of_user_certificate},
};

static int resolve_certificate(struct identity_context *context, const struct http_request *request, const char *common_name,
                               struct auth_identity **ret_identity)
{
        const char *const *organizations = http_request_peer_organizations(request);
        const char *serial = http_request_peer_serial(request);

        for (size_t i = 0; serial && organizations && i < G_N_ELEMENTS(certificates); i++) {
                const struct certificate *entry = &certificates[i];

                if (!g_str_has_prefix(common_name, entry->prefix))
                        continue;
                if (organizations[0] && !organizations[1] && strcmp(organizations[0], entry->organization) == 0)
                        *ret_identity = entry->identify(context, common_name + strlen(entry->prefix), serial);
                return *ret_identity ? 0 : IDENTITY_E_REFUSED;
        }
        return IDENTITY_E_REFUSED;
}

int identity_resolve(struct identity_context *context, const struct http_request *request, struct auth_identity **ret_identity)
{
        const char *header, *common_name;

        assert(context && request && ret_identity);
        *ret_identity = NULL;
        header = http_request_header(request, "Authorization");
        if (header) {
                const char *text = bearer_text(header);

                return text ? resolve_token(context, text, ret_identity) : IDENTITY_E_REFUSED;
        }
        common_name = http_request_peer_cn(request);
        if (common_name)
                return resolve_certificate(context, request, common_name, ret_identity);
        *ret_identity = auth_identity_new(AUTH_ANONYMOUS, "gabbro:anonymous", NULL);
        return 0;
}

bool identity_still_valid(const struct identity_context *context, const struct auth_identity *identity)
{
        assert(context && identity);
        if (identity->kind == AUTH_NODE)
                return node_is_good(context, identity->node, NULL);
        if (identity->token_id) {
                autostoreobject token = store_get(context->store, &api_token_kind, NULL, identity->token_id);
                g_autoptr(auth_identity) now = token ? identify(context, token) : NULL;

                return now && auth_identity_equal(now, identity);
        }
        return true;
}
