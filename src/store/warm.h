/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "store/version.h"

/*
 * Versions whose trees were made for a reader that kept them beyond the call: once nobody but the store holds them, the trees go. A
 * version that is still held after some looks has a holder that stays (a cache) and is forgotten here; when it is overtaken, the
 * ring looks after it.
 */
struct loop;
struct warm;

/** warm_new() - without a loop nothing is ever looked at, and trees stay. 0 or -errno. */
int warm_new(struct loop *loop, struct warm **ret_warm);
struct warm *warm_free(struct warm *warm);

/** warm_public() - version_public(), remembering a tree that was made for it. */
const struct store_object *warm_public(struct warm *warm, struct version *version);
/** warm_release() - after a call that lent @version: drop a tree that was made for the call, or remember it when it was kept.
 *  @had_tree: before the call. */
void warm_release(struct warm *warm, struct version *version, bool had_tree);
/** warm_look() - what the timer does. The number that stays remembered. */
size_t warm_look(struct warm *warm);
