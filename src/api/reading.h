/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "api/call.h"

/** reading_find() - the reading that @path names, its namespace and name in @target; NULL, and nothing in @target: none. */
const struct api_reading *reading_find(const struct api *api, const char *path, struct target *target);
