/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "api/call.h"

/*
 * Many objects on their way into one streamed answer, as fast as the client takes them: long lists, and the first state of a watch.
 * The objects are held by reference, so that the answer shows one state of the store however long it takes; without their trees,
 * which are made one by one.
 */
struct feed;

struct feed_options {
        struct call *call;
        GPtrArray *objects; /* of const struct store_object *, owned references; taken over */
        /* Append object number @index to @out. */
        void (*encode)(const struct store_object *object, guint index, GString *out, void *userdata);
        /* All objects have been queued. May free the feed. */
        void (*done)(void *userdata);
        void *userdata;
};

/** feed_new() - nothing is queued yet. */
struct feed *feed_new(const struct feed_options *options);
/** feed_free() - NULL is accepted; also half way. */
struct feed *feed_free(struct feed *feed);
/** feed_continue() - queue what the client takes now: at the beginning, and whenever the answer's stream has drained. Its last act
 *  is @done, which may free the feed. */
void feed_continue(struct feed *feed);

/** feed_objects_new() - an array that holds references to objects. */
GPtrArray *feed_objects_new(void);
