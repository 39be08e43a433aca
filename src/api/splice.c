/* SPDX-License-Identifier: Apache-2.0 */
#include "api/splice.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

static const char *const first_members[] = {"apiVersion", "kind", "metadata"};

static bool in_order(const struct json_value *root)
{
        const struct json_value *value = json_first(root);

        for (size_t i = 0; i < G_N_ELEMENTS(first_members); i++, value = json_next(value))
                if (!value || strcmp(json_key(value), first_members[i]) != 0)
                        return false;
        return true;
}

static void move(struct json_doc *doc, struct json_value *from, const char *key, struct json_value *to)
{
        struct json_value *value = json_get(from, key);

        if (!value)
                return;
        json_remove(from, key);
        json_set(doc, to, key, value);
}

void splice_order(struct json_doc *doc)
{
        struct json_value *root = json_root(doc), *ordered;

        assert(json_is(root, JSON_OBJECT));
        if (in_order(root))
                return;
        ordered = json_new(doc, JSON_OBJECT);
        for (size_t i = 0; i < G_N_ELEMENTS(first_members); i++)
                move(doc, root, first_members[i], ordered);
        for (struct json_value *value = json_first(root); value; value = json_first(root))
                move(doc, root, json_key(value), ordered);
        json_set_root(doc, ordered);
}

/* The length of {"apiVersion":"..." at the beginning, or 0 when it does not stand there. Versions need no escapes. */
static size_t version_prefix(const struct store_object *object)
{
        static const char head[] = "{\"apiVersion\":\"";
        const char *end;

        if (object->len < sizeof(head) || memcmp(object->bytes, head, sizeof(head) - 1) != 0)
                return 0;
        end = strchr(object->bytes + sizeof(head) - 1, '"');
        return end ? (size_t)(end + 1 - object->bytes) : 0;
}

/* Where metadata.resourceVersion stands, or NULL. Quotes inside strings are escaped, so the words can only be a member; when there
 * are two, one of them is a user's, such as an annotation. */
static const char *find_revision(const struct store_object *object, size_t from, char *words, size_t size)
{
        const char *metadata = strstr(object->bytes + from, "\"metadata\":{"), *place;

        g_snprintf(words, size, "\"resourceVersion\":\"%" PRIu64 "\"", object->revision);
        place = metadata ? strstr(metadata, words) : NULL;
        return place && !strstr(place + 1, words) ? place : NULL;
}

static void write_anew(const struct store_object *object, const char *api_version, uint64_t revision, GString *out)
{
        g_autoptr(json_doc) doc = json_doc_new();
        char text[32];

        json_set_root(doc, json_copy(doc, object->root));
        if (api_version)
                json_set_string(doc, json_root(doc), "apiVersion", api_version);
        g_snprintf(text, sizeof(text), "%" PRIu64, revision ?: object->revision);
        json_set_string(doc, json_ensure_object(doc, json_root(doc), "metadata"), "resourceVersion", text);
        splice_order(doc);
        json_write(json_root(doc), out);
}

void splice_object(const struct store_object *object, const char *api_version, uint64_t revision, GString *out)
{
        size_t prefix = version_prefix(object);
        const char *place = NULL;
        char words[64];

        assert(object && out);
        if (revision == object->revision)
                revision = 0;
        if (revision)
                place = find_revision(object, prefix, words, sizeof(words));
        if (!prefix || (revision && !place)) {
                write_anew(object, api_version, revision, out);
                return;
        }
        if (api_version)
                g_string_append_printf(out, "{\"apiVersion\":\"%s\"", api_version);
        else
                g_string_append_len(out, object->bytes, (gssize)prefix);
        if (place) {
                g_string_append_len(out, object->bytes + prefix, place - object->bytes - (gssize)prefix);
                g_string_append_printf(out, "\"resourceVersion\":\"%" PRIu64 "\"", revision);
                prefix = (size_t)(place - object->bytes) + strlen(words);
        }
        g_string_append_len(out, object->bytes + prefix, (gssize)(object->len - prefix));
}
