/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "generated/api_types.h"

/** graphics_words() - why the screen of a machine cannot listen for TCP on the node, or NULL. @has_port: what runs, and shall go
 * there, listens for TCP whatever @graphics says by now. */
const char *graphics_words(const struct api_machine_graphics *graphics, bool has_port, const struct api_node *node);
