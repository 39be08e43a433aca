/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "store/store.h"

/** usage_of() - what one object of a project uses: @add is called with each resource (borrowed for the call) and its amount. */
void usage_of(const struct store_object *object, void (*add)(const char *resource, uint64_t amount, void *userdata),
              void *userdata);
