/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/auth.h"

#include <assert.h>
#include <string.h>

struct auth_identity *auth_identity_new(enum auth_kind_of_identity kind, const char *user, const char *const *groups)
{
        struct auth_identity *identity = g_new0(struct auth_identity, 1);

        assert(user);
        identity->kind = kind;
        identity->user = g_strdup(user);
        identity->groups = groups ? g_strdupv((char **)groups) : g_new0(char *, 1);
        return identity;
}

struct auth_identity *auth_identity_copy(const struct auth_identity *identity)
{
        struct auth_identity *copy;

        assert(identity);
        copy = auth_identity_new(identity->kind, identity->user, (const char *const *)identity->groups);
        copy->node = g_strdup(identity->node);
        copy->token_id = g_strdup(identity->token_id);
        return copy;
}

struct auth_identity *auth_identity_free(struct auth_identity *identity)
{
        if (!identity)
                return NULL;
        g_free(identity->user);
        g_strfreev(identity->groups);
        g_free(identity->node);
        g_free(identity->token_id);
        g_free(identity);
        return NULL;
}

bool auth_identity_in_group(const struct auth_identity *identity, const char *group)
{
        assert(identity && group);
        return identity->groups && g_strv_contains((const char *const *)identity->groups, group);
}

static bool all_in(char *const *groups, const struct auth_identity *other)
{
        for (; groups && *groups; groups++)
                if (!auth_identity_in_group(other, *groups))
                        return false;
        return true;
}

bool auth_identity_equal(const struct auth_identity *a, const struct auth_identity *b)
{
        assert(a && b);
        return a->kind == b->kind && strcmp(a->user, b->user) == 0 && all_in(a->groups, b) && all_in(b->groups, a);
}
