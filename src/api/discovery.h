/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "api/call.h"

/* What clients read to learn what is served; the content of each is made from the kinds' tables. */

/** discovery_versions() - /api */
GString *discovery_versions(const struct api *api);
/** discovery_groups() - /apis */
GString *discovery_groups(const struct api *api);
/** discovery_group() - /apis/GROUP; NULL: no such group. */
GString *discovery_group(const struct api *api, const char *group);
/** discovery_resources() - /api/v1 and /apis/GROUP/VERSION; NULL: not served. */
GString *discovery_resources(const struct api *api, const char *group, const char *version);
