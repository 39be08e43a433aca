/* SPDX-License-Identifier: Apache-2.0 */
#include "json_bench.h"

#include <json-c/json.h>

const char *json_peer_name(void)
{
        return "json_c";
}

static struct json_object *parse(struct json_tokener *tokener, const char *text, size_t len)
{
        json_tokener_reset(tokener);
        return json_tokener_parse_ex(tokener, text, (int)len);
}

bool json_peer_parse(const char *text, size_t len, unsigned n)
{
        struct json_tokener *tokener = json_tokener_new();
        bool good = true;

        for (unsigned i = 0; i < n && good; i++) {
                struct json_object *object = parse(tokener, text, len);

                good = object != NULL;
                json_object_put(object);
        }
        json_tokener_free(tokener);
        return good;
}

bool json_peer_write(const char *text, size_t len, unsigned n)
{
        struct json_tokener *tokener = json_tokener_new();
        struct json_object *object = parse(tokener, text, len);
        bool good = object != NULL;

        for (unsigned i = 0; i < n && good; i++)
                good = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN) != NULL;
        json_object_put(object);
        json_tokener_free(tokener);
        return good;
}
