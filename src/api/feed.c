/* SPDX-License-Identifier: Apache-2.0 */
#include "api/feed.h"

#include <assert.h>

#define FEED_CHUNK_BYTES (256u << 10)
#define FEED_AHEAD_BYTES (1u << 20) /* queued for one client at a time */

struct feed {
        struct feed_options options;
        guint next;
        bool finished;
};

static void unref_object(gpointer object)
{
        store_object_unref(object);
}

GPtrArray *feed_objects_new(void)
{
        return g_ptr_array_new_with_free_func(unref_object);
}

struct portion {
        struct feed *feed;
        GString *chunk;
};

static void encode_one(const struct store_object *object, void *userdata)
{
        struct portion *portion = userdata;
        const struct feed_options *options = &portion->feed->options;

        options->encode(object, portion->feed->next, portion->chunk, options->userdata);
}

static void queue_chunk(struct feed *feed)
{
        GString *chunk = g_string_sized_new(FEED_CHUNK_BYTES + 4096);
        struct portion portion = {.feed = feed, .chunk = chunk};
        GBytes *bytes;

        /* Each object is given up as soon as it is told. */
        for (; feed->next < feed->options.objects->len && chunk->len < FEED_CHUNK_BYTES; feed->next++)
                store_show(g_steal_pointer(&feed->options.objects->pdata[feed->next]), encode_one, &portion);
        bytes = g_string_free_to_bytes(chunk);
        /* Refused only when the client left meanwhile: what is queued stays far below the bound. */
        (void)http_stream_write(feed->options.call->request, bytes);
        g_bytes_unref(bytes);
}

void feed_continue(struct feed *feed)
{
        struct call *call;

        assert(feed);
        if (feed->finished)
                return;
        call = feed->options.call;
        while (call->request && feed->next < feed->options.objects->len && http_stream_pending(call->request) < FEED_AHEAD_BYTES)
                queue_chunk(feed);
        if (!call->request || feed->next < feed->options.objects->len)
                return;
        feed->finished = true;
        feed->options.done(feed->options.userdata);
}

struct feed *feed_new(const struct feed_options *options)
{
        struct feed *feed;

        assert(options && options->call && options->objects && options->encode && options->done);
        feed = g_new0(struct feed, 1);
        feed->options = *options;
        return feed;
}

struct feed *feed_free(struct feed *feed)
{
        if (!feed)
                return NULL;
        g_ptr_array_unref(feed->options.objects);
        g_free(feed);
        return NULL;
}
