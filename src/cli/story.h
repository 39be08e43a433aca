/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/cli.h"

/** story_tell() - of a machine, in the order in which it happened: events, operations, changes of conditions; then how its host
 * sees it, what waits for a restart, and what to do next. */
void story_tell(struct cli *cli, const struct json_value *machine);
