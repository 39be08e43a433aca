/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "api/world_test.h"

#define MAPS "/api/v1/namespaces/default/configmaps"

/* ConfigMaps that the tests of watches and lists make and change; each function ends the test when it fails. */

/** maps_ask() - one request as the administrator that must be answered with @status. */
void maps_ask(struct world *world, const char *method, const char *path, const char *body, int status);
/** maps_create() - @labels: as JSON, or NULL. */
void maps_create(struct world *world, const char *name, const char *labels);
/** maps_patch() - by a merge patch. */
void maps_patch(struct world *world, const char *name, const char *patch);
/** maps_put_big() - write the map "m@i" of half a megabyte by the store itself. */
void maps_put_big(struct world *world, unsigned i);
/** maps_from_now() - @path with the revision of now behind it; g_free(). */
char *maps_from_now(const struct world *world, const char *path);
