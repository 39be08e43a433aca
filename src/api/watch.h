/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "api/call.h"

/* All open watches: their number per user, their bookmarks, the end of those whose credentials ended. */
struct watch_hub;

/** watch_hub_new() - NULL when the loop or the store refuses. */
struct watch_hub *watch_hub_new(struct api *api);
/** watch_hub_free() - no watch may be open. */
struct watch_hub *watch_hub_free(struct watch_hub *hub);
/** watch_hub_count() - open watches. */
size_t watch_hub_count(const struct watch_hub *hub);
