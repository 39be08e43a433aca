/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/arena.h"
#include "generated/api_types.h"

/**
 * processor_words() - why @node cannot give guests the processor of @class, or NULL when it can
 * @class: NULL: none is asked for
 * @hardware: record of a machine that was started before, or NULL; a class of type Host is fixed by it
 *
 * Missing features are named. A node that does not tell what it can do is not refused. The words live in @arena.
 */
const char *processor_words(const struct api_virtual_machine_class *class, const struct json_value *hardware,
                            const struct api_node *node, struct arena *arena);
