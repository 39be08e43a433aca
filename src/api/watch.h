/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "api/call.h"

/* All open watches: their number per user, their bookmarks, the end of those whose credentials ended. */
struct watch_hub;

struct watch_hub *watch_hub_new(struct api *api);
struct watch_hub *watch_hub_free(struct watch_hub *hub);
/** watch_hub_count() - open watches. */
size_t watch_hub_count(const struct watch_hub *hub);
