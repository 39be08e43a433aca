/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "controllers/evacuation/evacuation.h"

/** evacuation_make() - an operation of type Evict that goes with its machine, named after @prefix and it. Return: its name. */
const char *evacuation_make(struct turn *turn, const struct cache_object *machine, const char *prefix);

/** evacuation_update() - move a machine that runs on a host which it does not want any more, or with an older QEMU than that has:
 * once for each distinct placement, and for each version. */
enum turn_result evacuation_update(struct turn *turn, const struct cache_object *machine);
