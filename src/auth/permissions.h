/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "auth/auth.h"

/*
 * The permissions that people know by name, and the right that each one is. The host API asks for the same rights, so that a role
 * says the same whichever way a machine is reached.
 */
struct auth_permission {
        const char *name; /* "Start Child Host" */
        const char *verb;
        const char *group;
        const char *resource, *subresource; /* subresource: or NULL */
        const char *words;
};
/** auth_permissions - ends with a NULL name. */
extern const struct auth_permission auth_permissions[];

/** auth_permission_find() - by its name, whatever the case, or NULL. */
const struct auth_permission *auth_permission_find(const char *name);
/** auth_permission_attributes() - what to ask the authoriser. @name: of the machine or host, or NULL; all borrowed. */
struct auth_attributes auth_permission_attributes(const struct auth_permission *permission, const char *namespace,
                                                  const char *name);
/** auth_permission_right() - "create virtualmachineoperations/start.gabbro.dev"; g_free(). */
char *auth_permission_right(const struct auth_permission *permission);
