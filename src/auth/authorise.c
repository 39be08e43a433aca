/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/auth.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NAME_SHOWN 128 /* characters of a caller's text that a reason repeats */

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
        return g_strcmp0(attributes->group, "authorization.k8s.io") == 0 && strcmp(attributes->verb, "create") == 0 &&
               g_str_has_prefix(attributes->resource, "selfsubject");
}

static bool may_resource(const struct auth_identity *identity, const struct auth_attributes *attributes)
{
        if (identity->kind == AUTH_CONTROLLER)
                return true;
        if (identity->kind != AUTH_USER || attributes->internal)
                return false;
        if (is_self_review(attributes))
                return true;
        return auth_identity_in_group(identity, "gabbro:administrators") && !writes_intent(attributes);
}

static bool may_path(const struct auth_identity *identity, const struct auth_attributes *attributes)
{
        if (attributes->nodes_only || identity->kind == AUTH_NODE)
                return attributes->nodes_only && identity->kind == AUTH_NODE;
        if (identity->kind == AUTH_ANONYMOUS)
                return false;
        return auth_identity_in_group(identity, "gabbro:administrators") || path_is_open(attributes);
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

static void say_why(const struct auth_identity *identity, const struct auth_attributes *attributes, struct auth_decision *decision)
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
        if (writes_intent(attributes))
                append(decision, ": intents are written by controllers only");
}

void auth_authorise(const struct auth_identity *identity, const struct auth_attributes *attributes,
                    struct auth_decision *ret_decision)
{
        assert(identity && attributes && ret_decision);
        assert(attributes->verb && (attributes->resource || attributes->path));
        ret_decision->reason[0] = 0;
        ret_decision->allowed = attributes->resource ? may_resource(identity, attributes) : may_path(identity, attributes);
        if (!ret_decision->allowed)
                say_why(identity, attributes, ret_decision);
}
