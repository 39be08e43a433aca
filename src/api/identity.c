/* SPDX-License-Identifier: Apache-2.0 */
#include "api/identity.h"
#include "generated/api_types.h"

#include <assert.h>
#include <string.h>

#define NODE_PREFIX "gabbro:node:"

static const char *const node_groups[] = {"gabbro:nodes", "gabbro:authenticated", NULL};

static const char *spec_text(const struct store_object *object, const char *field)
{
        return json_find_string(object->root, "spec", field, NULL);
}

/* An absent time never comes; one that cannot be read has passed. */
static bool is_past(const struct identity_context *context, const char *time)
{
        uint64_t time_us;

        return time && (clock_parse_rfc3339(time, &time_us) != 0 || time_us <= clock_real_us(context->clock));
}

/* --- tokens
 * ------------------------------------------------------------------------------------------------------------------------ */

static bool token_is_good(const struct identity_context *context, const struct store_object *token)
{
        const char *type = spec_text(token, "type");

        return (g_strcmp0(type, "Admin") == 0 || g_strcmp0(type, "User") == 0) && !is_past(context, spec_text(token, "expires")) &&
               !json_find_string(token->root, "metadata", "deletionTimestamp", NULL);
}

static char **groups_of(const struct store_object *token)
{
        g_autoptr(GPtrArray) groups = g_ptr_array_new();
        const struct json_value *listed = json_find(token->root, "spec", "groups", NULL);

        for (const struct json_value *value = json_first(listed); value; value = json_next(value))
                if (json_string(value, NULL))
                        g_ptr_array_add(groups, g_strdup(json_string(value, "")));
        if (g_strcmp0(spec_text(token, "type"), "Admin") == 0)
                g_ptr_array_add(groups, g_strdup("gabbro:administrators"));
        g_ptr_array_add(groups, g_strdup("gabbro:authenticated"));
        g_ptr_array_add(groups, NULL);
        return (char **)g_ptr_array_free(g_steal_pointer(&groups), FALSE);
}

static int resolve_token(const struct identity_context *context, const char *text, struct auth_identity **ret_identity)
{
        g_autofree char *id = NULL, *hash = NULL;
        autostoreobject token = NULL;
        g_auto(GStrv) groups = NULL;

        if (auth_token_split(text, &id, &hash, NULL) != 0)
                return IDENTITY_E_REFUSED;
        token = store_get(context->store, &api_token_kind, NULL, id);
        if (!token || !auth_hash_equal(hash, spec_text(token, "hash")) || !token_is_good(context, token))
                return IDENTITY_E_REFUSED;
        groups = groups_of(token);
        *ret_identity = auth_identity_new(AUTH_USER, spec_text(token, "user") ?: "gabbro:nobody", (const char *const *)groups);
        (*ret_identity)->token_id = g_steal_pointer(&id);
        return 0;
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

/* --- nodes
 * ------------------------------------------------------------------------------------------------------------------------- */

/* @serial NULL: any. The certificate before the last renewal is good too, because the answer that carried the new one can be lost.
 */
static bool node_is_good(const struct identity_context *context, const char *node, const char *serial)
{
        autostoreobject identity = store_get(context->store, &api_node_identity_kind, NULL, node);
        bool current;

        if (!identity || json_bool(json_find(identity->root, "spec", "disabled", NULL), false) ||
            json_find_string(identity->root, "metadata", "deletionTimestamp", NULL))
                return false;
        if (!serial)
                return true;
        current = g_strcmp0(spec_text(identity, "serial"), serial) == 0;
        if (current)
                return !is_past(context, spec_text(identity, "notAfter"));
        return g_strcmp0(spec_text(identity, "previousSerial"), serial) == 0;
}

static int resolve_certificate(const struct identity_context *context, const struct http_request *request, const char *common_name,
                               struct auth_identity **ret_identity)
{
        const char *const *organizations = http_request_peer_organizations(request);
        const char *serial = http_request_peer_serial(request), *node = common_name + strlen(NODE_PREFIX);

        if (!g_str_has_prefix(common_name, NODE_PREFIX) || !organizations || !g_strv_contains(organizations, "gabbro:nodes") ||
            !serial || !node_is_good(context, node, serial))
                return IDENTITY_E_REFUSED;
        *ret_identity = auth_identity_new(AUTH_NODE, common_name, node_groups);
        (*ret_identity)->node = g_strdup(node);
        return 0;
}

int identity_resolve(const struct identity_context *context, const struct http_request *request,
                     struct auth_identity **ret_identity)
{
        const char *header, *common_name;

        assert(context && request && ret_identity);
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

                return token && token_is_good(context, token);
        }
        return true;
}
