/* SPDX-License-Identifier: Apache-2.0 */
#include "api/maps_test.h"
#include "generated/api_types.h"

#include <inttypes.h>

void maps_ask(struct world *world, const char *method, const char *path, const char *body, int status)
{
        g_autoptr(answer) answer = ask(world, method, path, body);

        if (answer->status != status)
                g_error("%s %s: status %d: %s", method, path, answer->status, answer->body->str);
}

void maps_create(struct world *world, const char *name, const char *labels)
{
        g_autofree char *body = g_strdup_printf("{\"metadata\":{\"name\":\"%s\",\"labels\":%s},\"data\":{}}", name, labels ?: "{}");

        maps_ask(world, "POST", MAPS, body, 201);
}

void maps_patch(struct world *world, const char *name, const char *patch)
{
        g_autofree char *path = g_strconcat(MAPS "/", name, NULL);

        maps_ask(world, "PATCH", path, patch, 200);
}

void maps_put_big(struct world *world, unsigned i)
{
        g_autofree char *filler = g_strnfill(500000, 'x');
        g_autofree char *json = g_strdup_printf("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"m%u\","
                                                "\"namespace\":\"default\"},\"data\":{\"a\":\"%s\"}}",
                                                i, filler);
        g_autofree char *name = g_strdup_printf("m%u", i);

        world_put(world, &api_config_map_kind, "default", name, json);
}

char *maps_from_now(const struct world *world, const char *path)
{
        return g_strdup_printf("%s&resourceVersion=%" PRIu64, path, store_revision(world->store));
}
