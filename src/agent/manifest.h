/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/auto.h"
#include "json/json.h"

#include <stdbool.h>
#include <stddef.h>

/* The lines of the manifest stream. */

enum manifest_type {
        MANIFEST_ADDED,
        MANIFEST_MODIFIED,
        MANIFEST_DELETED,
        MANIFEST_SYNCED,
        MANIFEST_BOOKMARK,
        MANIFEST_ERROR,
        MANIFEST_STREAM,
        MANIFEST_TYPE_COUNT,
};
const char *manifest_type_to_text(enum manifest_type type);

struct manifest_event {
        enum manifest_type type;
        struct json_doc *object;      /* ADDED, MODIFIED, DELETED: its root is the object; manifest_event_clear() frees it */
        const char *resource_version; /* of the object's change or deletion, or of the mark; NULL: none. Borrowed from the line's
                                         document */
        const char *nonce, *machine_uid, *channel; /* STREAM */
        const char *message;                       /* ERROR */
        struct json_doc *line;                     /* owns what is borrowed */
};
void manifest_event_clear(struct manifest_event *event);

/** manifest_event_parse() - 0, or -EBADMSG when the line is none of the protocol (an unknown type is one: MANIFEST_TYPE_COUNT). */
int manifest_event_parse(const char *line, size_t len, struct manifest_event *ret_event);

/* Cuts a stream of bytes into lines; one longer than the bound is an error for good. */
struct line_cutter;
struct line_cutter *line_cutter_new(size_t max_bytes);
struct line_cutter *line_cutter_free(struct line_cutter *cutter);
AUTOPTR(line_cutter, line_cutter_free);
/** line_cutter_feed() - @each gets every complete line without its end; false from it, or a line too long, is -EBADMSG. */
int line_cutter_feed(struct line_cutter *cutter, const char *bytes, size_t len,
                     bool (*each)(const char *line, size_t len, void *userdata), void *userdata);

/* Following the stream. */
struct loop;
struct gateway;
struct manifest;

struct manifest_handlers {
        void (*relist)(void *userdata);                              /* a list from the beginning follows: mark */
        void (*event)(struct manifest_event *event, void *userdata); /* may take event->object (set it to NULL) */
        void (*synced)(void *userdata);                              /* the list is complete: sweep */
        void (*connected)(bool connected, const char *words, void *userdata);
        void *userdata;
};
/** manifest_follow() - from now on, over reconnections with growing pauses (0.25 s to 15 s), until manifest_free(). */
int manifest_follow(struct loop *loop, struct gateway *gateway, const struct manifest_handlers *handlers,
                    struct manifest **ret_manifest);
struct manifest *manifest_free(struct manifest *manifest);
/** manifest_reconnect() - end the present stream and begin another, as with new credentials. */
void manifest_reconnect(struct manifest *manifest);
