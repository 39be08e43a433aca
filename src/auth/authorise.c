/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/auth.h"
#include "auth/policy.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NAME_SHOWN       128 /* characters of a caller's text that a reason repeats */
#define NAMESPACES_SHOWN 5
#define ADMINISTRATORS   "gabbro:administrators"

/* Paths that every authenticated caller but a node may read. */
static const char *const open_paths[] = {"/api", "/apis", "/version", "/livez", "/readyz", "/healthz", "/openapi", NULL};

static const char *const write_verbs[] = {"create", "update", "patch", "delete", "deletecollection", NULL};

static bool is_write(const char *verb)
{
        return g_strv_contains(write_verbs, verb);
}

/* Whoever writes an intent decides what a host does: only controllers do, whatever roles say (design decision 1). */
static bool writes_intent(const struct auth_attributes *attributes)
{
        return attributes->hidden && g_strcmp0(attributes->group, "host.gabbro.dev") == 0 && is_write(attributes->verb);
}

/* Whoever gives somebody groups, a password or a certificate gives every right of theirs. */
static bool writes_user(const struct auth_attributes *attributes)
{
        return g_strcmp0(attributes->group, "gabbro.dev") == 0 && strcmp(attributes->resource, "users") == 0 &&
               is_write(attributes->verb);
}

static bool path_below(const char *path, const char *prefix)
{
        size_t len = strlen(prefix);

        return strncmp(path, prefix, len) == 0 && (path[len] == 0 || path[len] == '/');
}

static bool path_is_open(const struct auth_attributes *attributes)
{
        if (strcmp(attributes->verb, "get") != 0)
                return false;
        for (size_t i = 0; open_paths[i]; i++)
                if (path_below(attributes->path, open_paths[i]))
                        return true;
        return false;
}

static bool is_self_review(const struct auth_attributes *attributes)
{
        return (g_strcmp0(attributes->group, "authorization.k8s.io") == 0 ||
                g_strcmp0(attributes->group, "authentication.k8s.io") == 0) &&
               strcmp(attributes->verb, "create") == 0 && g_str_has_prefix(attributes->resource, "selfsubject");
}

bool auth_is_administrator(const struct auth_identity *identity)
{
        assert(identity);
        return identity->kind == AUTH_USER && auth_identity_in_group(identity, ADMINISTRATORS);
}

/* What needs no role: NULL, or why it is allowed. */
static const char *built_in_resource(const struct auth_identity *identity, const struct auth_attributes *attributes)
{
        if (identity->kind == AUTH_CONTROLLER)
                return "a controller of the gateway";
        if (identity->kind == AUTH_USER && is_self_review(attributes))
                return "every user may ask what it may";
        return auth_is_administrator(identity) ? "a member of " ADMINISTRATORS " may everything" : NULL;
}

static const char *built_in_path(const struct auth_identity *identity, const struct auth_attributes *attributes)
{
        if (identity->kind == AUTH_NODE)
                return attributes->nodes_only ? "the agents' own surface" : NULL;
        if (auth_is_administrator(identity))
                return "a member of " ADMINISTRATORS " may everything";
        if (identity->kind == AUTH_USER && attributes->own)
                return "every user minds its own credentials";
        return identity->kind != AUTH_ANONYMOUS && path_is_open(attributes) ? "every user may read it" : NULL;
}

/* What nobody is given, by a role or otherwise. */
static bool is_closed(const struct auth_identity *identity, const struct auth_attributes *attributes)
{
        if (!attributes->resource)
                return attributes->nodes_only && identity->kind != AUTH_NODE;
        if (writes_user(attributes) && !auth_is_administrator(identity))
                return true;
        return identity->kind != AUTH_CONTROLLER && (attributes->internal || writes_intent(attributes));
}

static void append(struct auth_decision *decision, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void append(struct auth_decision *decision, const char *format, ...)
{
        size_t used = strlen(decision->reason);
        va_list args;

        va_start(args, format);
        vsnprintf(decision->reason + used, sizeof(decision->reason) - used, format, args);
        va_end(args);
}

/* Who may it elsewhere is told where. */
static void say_where(struct auth_policy *policy, const struct auth_identity *identity, const struct auth_attributes *attributes,
                      struct auth_decision *decision)
{
        const struct schema_kind *kind = auth_kind_of(attributes->group, attributes->resource);
        g_autoptr(GPtrArray) namespaces = NULL;

        if (!policy || !kind || !kind->namespaced)
                return;
        namespaces = auth_policy_namespaces(policy, identity, attributes);
        for (guint i = 0; i < MIN(namespaces->len, NAMESPACES_SHOWN); i++)
                append(decision, "%s\"%s\"", i ? ", " : "; it is allowed in the namespaces ", (char *)namespaces->pdata[i]);
        if (namespaces->len > NAMESPACES_SHOWN)
                append(decision, " and %u more", namespaces->len - NAMESPACES_SHOWN);
}

static void say_why(struct auth_policy *policy, const struct auth_identity *identity, const struct auth_attributes *attributes,
                    struct auth_decision *decision)
{
        append(decision, "User \"%.*s\" cannot %s ", NAME_SHOWN, identity->user, attributes->verb);
        if (!attributes->resource) {
                append(decision, "path \"%.*s\"", NAME_SHOWN, attributes->path);
                return;
        }
        append(decision, "resource \"%s%s%s\" in API group \"%s\"", attributes->resource, attributes->subresource ? "/" : "",
               attributes->subresource ?: "", attributes->group ?: "");
        if (attributes->namespace)
                append(decision, " in the namespace \"%.*s\"", NAME_SHOWN, attributes->namespace);
        else
                append(decision, " at the cluster scope");
        if (!attributes->namespace)
                say_where(policy, identity, attributes, decision);
        if (writes_intent(attributes))
                append(decision, ": intents are written by controllers only");
        if (writes_user(attributes))
                append(decision, ": users are written by administrators only");
}

static const char *built_in(const struct auth_identity *identity, const struct auth_attributes *attributes)
{
        return attributes->resource ? built_in_resource(identity, attributes) : built_in_path(identity, attributes);
}

void auth_authorise(struct auth_policy *policy, const struct auth_identity *identity, const struct auth_attributes *attributes,
                    struct auth_decision *ret_decision)
{
        assert(identity && attributes && ret_decision);
        assert(attributes->verb && (attributes->resource || attributes->path));
        ret_decision->reason[0] = 0;
        ret_decision->allowed =
                !is_closed(identity, attributes) &&
                (built_in(identity, attributes) || (policy && auth_policy_allows(policy, identity, attributes, NULL)));
        if (!ret_decision->allowed)
                say_why(policy, identity, attributes, ret_decision);
}

char *auth_why(struct auth_policy *policy, const struct auth_identity *identity, const struct auth_attributes *attributes)
{
        struct auth_decision decision;
        struct auth_grant grant;

        auth_authorise(policy, identity, attributes, &decision);
        if (!decision.allowed)
                return g_strdup(decision.reason);
        if (built_in(identity, attributes))
                return g_strdup(built_in(identity, attributes));
        return auth_policy_allows(policy, identity, attributes, &grant) ? auth_grant_words(&grant) : g_strdup("");
}
