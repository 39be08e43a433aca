/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/manifest.h"

#include "base/error.h"
#include "base/names.h"

#include <glib.h>
#include <string.h>

static const char *const type_names[] = {"ADDED", "MODIFIED", "DELETED", "SYNCED", "BOOKMARK", "ERROR", "STREAM"};

const char *manifest_type_to_text(enum manifest_type type)
{
        return type < MANIFEST_TYPE_COUNT ? type_names[type] : NULL;
}

void manifest_event_clear(struct manifest_event *event)
{
        json_doc_free(event->object);
        json_doc_free(event->line);
        *event = (struct manifest_event){.type = MANIFEST_TYPE_COUNT};
}

static int parse_object(struct json_doc *line, struct manifest_event *event)
{
        struct json_value *object = json_get(json_root(line), "object");
        const char *deleted = json_find_string(json_root(line), "resourceVersion", NULL);

        if (!json_is(object, JSON_OBJECT) || !json_find_string(object, "kind", NULL) ||
            !json_find_string(object, "metadata", "name", NULL)) {
                return -EBADMSG;
        }
        json_remove(json_root(line), "object");
        json_set_root(line, object);
        /* What was deleted has the version of its last change, far behind the stream. */
        event->resource_version =
                event->type == MANIFEST_DELETED ? deleted : json_find_string(object, "metadata", "resourceVersion", NULL);
        event->object = line;
        return 0;
}

static int parse_mark(struct json_doc *line, struct manifest_event *event)
{
        const struct json_value *root = json_root_const(line);

        event->line = line;
        event->resource_version = json_find_string(root, "resourceVersion", NULL);
        event->nonce = json_find_string(root, "nonce", NULL);
        event->machine_uid = json_find_string(root, "machineUid", NULL);
        event->channel = json_find_string(root, "channel", NULL);
        event->message = json_find_string(root, "object", "message", NULL);
        if (event->type == MANIFEST_STREAM && (!event->nonce || !event->machine_uid || !event->channel)) {
                return -EBADMSG;
        }
        return event->type == MANIFEST_SYNCED && !event->resource_version ? -EBADMSG : 0;
}

int manifest_event_parse(const char *text, size_t len, struct manifest_event *ret_event)
{
        struct manifest_event event = {.type = MANIFEST_TYPE_COUNT};
        g_autoptr(json_doc) line = NULL;
        const char *type;
        int index, r;

        assert(ret_event);
        if (json_parse(text, len, &line, NULL) || !json_is(json_root(line), JSON_OBJECT)) {
                return -EBADMSG;
        }
        type = json_find_string(json_root(line), "type", NULL);
        index = type ? enum_index_of(type_names, MANIFEST_TYPE_COUNT, type) : -1;
        if (!type) {
                return -EBADMSG;
        }
        event.type = index < 0 ? MANIFEST_TYPE_COUNT : (enum manifest_type)index;
        r = event.type <= MANIFEST_DELETED ? parse_object(line, &event) : parse_mark(line, &event);
        if (!r) {
                g_steal_pointer(&line);
                *ret_event = event;
        }
        return r;
}

/* --- lines -----------------------------------------------------------------------------------------------------------------------
 */

struct line_cutter {
        GString *rest;
        size_t max_bytes;
        bool broken;
};

struct line_cutter *line_cutter_new(size_t max_bytes)
{
        struct line_cutter *cutter = g_new0(struct line_cutter, 1);

        cutter->rest = g_string_new(NULL);
        cutter->max_bytes = max_bytes;
        return cutter;
}

struct line_cutter *line_cutter_free(struct line_cutter *cutter)
{
        if (cutter) {
                g_string_free(cutter->rest, TRUE);
                g_free(cutter);
        }
        return NULL;
}

/* One complete line: what was kept of it and @piece. */
static bool give_line(struct line_cutter *cutter, const char *piece, size_t len,
                      bool (*each)(const char *line, size_t len, void *userdata), void *userdata)
{
        bool good;

        if (cutter->rest->len + len > cutter->max_bytes) {
                return false;
        }
        if (!cutter->rest->len) {
                return !len || each(piece, len, userdata);
        }
        g_string_append_len(cutter->rest, piece, len);
        good = each(cutter->rest->str, cutter->rest->len, userdata);
        g_string_truncate(cutter->rest, 0);
        return good;
}

int line_cutter_feed(struct line_cutter *cutter, const char *bytes, size_t len,
                     bool (*each)(const char *line, size_t len, void *userdata), void *userdata)
{
        assert(cutter && (bytes || !len) && each);
        while (len && !cutter->broken) {
                const char *end = memchr(bytes, '\n', len);
                size_t n = end ? (size_t)(end - bytes) : len;

                if (end) {
                        cutter->broken = !give_line(cutter, bytes, n, each, userdata);
                        n++;
                } else if (cutter->rest->len + n > cutter->max_bytes) {
                        cutter->broken = true;
                } else {
                        g_string_append_len(cutter->rest, bytes, n);
                }
                bytes += n;
                len -= n;
        }
        return cutter->broken ? -EBADMSG : 0;
}
