/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "api/call.h"
#include "auth/policy.h"

/*
 * The compiled policy of the store's roles and bindings. A write of a role is in force before it is acknowledged; what follows from
 * it (watches and consoles that end, rules of aggregated roles that are written) comes with the loop's next turn.
 */
struct access;

/** access_new() - what the store holds now, followed from here on; NULL when that fails. */
struct access *access_new(struct api *api);
/** access_free() - NULL is accepted. */
struct access *access_free(struct access *access);
/** access_policy() - lives as long as @access. */
struct auth_policy *access_policy(struct access *access);
/** access_on_change() - @changed runs soon after rights or credentials have changed. */
void access_on_change(struct access *access, void (*changed)(void *userdata), void *userdata);

/** access_allows() - whether the caller may also do this, which is more than its request says. */
bool access_allows(struct call *call, const struct auth_attributes *attributes);
