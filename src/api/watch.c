/* SPDX-License-Identifier: Apache-2.0 */
#include "api/watch.h"
#include "api/access.h"
#include "api/feed.h"
#include "api/selector.h"
#include "api/splice.h"
#include "api/table.h"
#include "base/limits.h"
#include "generated/api_types.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define TICK_US        5000000ull /* unless the options say otherwise */
#define BOOKMARK_US    30000000ull
#define TIMEOUT_MIN_US 1800000000ull /* without timeoutSeconds: half an hour and up to as much again */
#define TIMEOUT_MAX_S  86400
#define GONE_WORDS     "too old resource version: list again"

enum frame_type { FRAME_ADDED, FRAME_MODIFIED, FRAME_DELETED, N_FRAME_TYPES };
static const char *const frame_names[] = {"ADDED", "MODIFIED", "DELETED"};

/* The same event goes to many watches: its last forms are kept. */
struct frame {
        const struct store_object *object;
        uint64_t revision;
        const char *api_version; /* a constant of the kind's tables, or NULL */
        enum accept_form form;
        GBytes *bytes;
};

struct watch_hub {
        struct api *api;
        GPtrArray *streams;  /* struct stream */
        GHashTable *of_user; /* user -> number of streams */
        struct loop_source *tick;
        struct store_watch *namespaces; /* one that is gone ends the watches in it */
        struct frame frames[N_FRAME_TYPES];
};

/* One watch: its call owns it by on_gone. */
struct stream {
        struct watch_hub *hub;
        struct call *call;
        struct selector *selector;
        struct store_watch *watch;
        struct feed *feed; /* the first state, while it is told */
        struct loop_source *timeout;
        const char *alias; /* constant text, or NULL */
        uint64_t last_us;
        uint64_t first_revision; /* of the state that is told first */
        bool paused, caught_up, ended, columns_told;
        bool mark_first; /* a bookmark says where the first state ends */
        bool closing;    /* ends when all that has happened is told */
};

/* --- the hub
 * ------------------------------------------------------------------------------------------------------------------------- */

static void frame_clear(struct frame *frame)
{
        if (!frame->bytes)
                return;
        store_object_unref(frame->object);
        g_bytes_unref(frame->bytes);
        *frame = (struct frame){};
}

static uint64_t tick_us(const struct watch_hub *hub)
{
        return hub->api->options.watch_tick_us ?: TICK_US;
}

static void stream_bookmark(struct stream *stream, uint64_t revision, bool ends_first);
static void stream_end(struct stream *stream);
static void stream_end_with(struct stream *stream, const struct refusal *refusal);

/* Roles, bindings or credentials have changed: who may no longer watch is told so, who is nobody any more is not. */
static void end_forbidden(void *userdata)
{
        struct watch_hub *hub = userdata;
        struct auth_decision decision;

        for (guint i = 0; i < hub->streams->len; i++) {
                struct stream *stream = hub->streams->pdata[i];

                if (!identity_still_valid(&hub->api->identities, stream->call->identity)) {
                        stream_end(stream);
                        continue;
                }
                auth_authorise(access_policy(hub->api->access), stream->call->identity, &stream->call->attributes, &decision);
                if (!decision.allowed)
                        stream_end_with(stream, &(struct refusal){.code = 403, .message = decision.reason});
        }
}

/* Whether all up to the store's revision has been written. */
static bool stream_is_level(const struct stream *stream)
{
        return stream->caught_up && !stream->paused && !stream->feed && !stream->ended;
}

/* The namespace is gone with all that was in it, which its watches have been told, or will be when they go on. */
static void on_namespace(const struct store_event *event, void *userdata)
{
        struct watch_hub *hub = userdata;

        if (!event || event->verb != STORE_DELETE)
                return;
        for (guint i = 0; i < hub->streams->len; i++) {
                struct stream *stream = hub->streams->pdata[i];

                if (g_strcmp0(stream->call->target.namespace, event->object->name) != 0)
                        continue;
                stream->closing = true;
                if (stream_is_level(stream))
                        stream_end(stream);
        }
}

/* Bookmarks, and credentials that ended by time. */
static void on_tick(struct loop_source *source, void *userdata)
{
        struct watch_hub *hub = userdata;
        uint64_t now = clock_monotonic_us(hub->api->options.clock);

        for (guint i = 0; i < hub->streams->len; i++) {
                struct stream *stream = hub->streams->pdata[i];

                if (!identity_still_valid(&hub->api->identities, stream->call->identity))
                        stream_end(stream);
                else if (stream->call->params.bookmarks && stream_is_level(stream) && now - stream->last_us >= BOOKMARK_US)
                        stream_bookmark(stream, store_revision(hub->api->options.store), false);
        }
        for (size_t i = 0; i < N_FRAME_TYPES; i++)
                frame_clear(&hub->frames[i]);
        loop_timer_set(hub->tick, hub->streams->len ? tick_us(hub) : UINT64_MAX);
}

struct watch_hub *watch_hub_new(struct api *api)
{
        static const struct schema_kind *const namespaces[] = {&api_namespace_kind, NULL};
        struct watch_hub *hub = g_new0(struct watch_hub, 1);

        hub->api = api;
        hub->streams = g_ptr_array_new();
        hub->of_user = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        if (loop_timer(api->options.loop, UINT64_MAX, on_tick, hub, &hub->tick) < 0 ||
            store_watch(api->options.store, namespaces, store_revision(api->options.store), on_namespace, hub, &hub->namespaces) !=
                    0)
                return watch_hub_free(hub);
        access_on_change(api->access, end_forbidden, hub);
        return hub;
}

struct watch_hub *watch_hub_free(struct watch_hub *hub)
{
        if (!hub)
                return NULL;
        assert(hub->streams->len == 0);
        for (size_t i = 0; i < N_FRAME_TYPES; i++)
                frame_clear(&hub->frames[i]);
        loop_source_free(hub->tick);
        store_watch_free(hub->namespaces);
        g_ptr_array_unref(hub->streams);
        g_hash_table_unref(hub->of_user);
        g_free(hub);
        return NULL;
}

size_t watch_hub_count(const struct watch_hub *hub)
{
        assert(hub);
        return hub->streams->len;
}

static unsigned hub_count_of(struct watch_hub *hub, const char *user)
{
        return GPOINTER_TO_UINT(g_hash_table_lookup(hub->of_user, user));
}

static void hub_add(struct watch_hub *hub, struct stream *stream)
{
        const char *user = stream->call->identity->user;

        g_hash_table_replace(hub->of_user, g_strdup(user), GUINT_TO_POINTER(hub_count_of(hub, user) + 1));
        g_ptr_array_add(hub->streams, stream);
        if (hub->streams->len == 1)
                loop_timer_set(hub->tick, tick_us(hub));
}

static void hub_remove(struct watch_hub *hub, struct stream *stream)
{
        const char *user = stream->call->identity->user;
        unsigned left = hub_count_of(hub, user) - 1;

        if (left)
                g_hash_table_replace(hub->of_user, g_strdup(user), GUINT_TO_POINTER(left));
        else
                g_hash_table_remove(hub->of_user, user);
        g_ptr_array_remove_fast(hub->streams, stream);
}

/* --- writing
 * ------------------------------------------------------------------------------------------------------------------------- */

/* What may be queued for one client before its watch waits: the more watches, the less. */
static size_t ahead_bytes(const struct watch_hub *hub)
{
        return CLAMP(LIMIT_WATCHES_AHEAD_BYTES / MAX(hub->streams->len, 1), LIMIT_WATCH_AHEAD_LEAST_BYTES, LIMIT_WATCH_AHEAD_BYTES);
}

static void stream_write(struct stream *stream, GBytes *bytes)
{
        if (stream->ended || !stream->call->request)
                return;
        /* A client that takes nothing is paused long before its bound; a refusal can only mean that it must list again. */
        if (http_stream_write(stream->call->request, bytes) < 0) {
                stream_end(stream);
                return;
        }
        stream->last_us = clock_monotonic_us(stream->hub->api->options.clock);
        if (stream->watch && !stream->paused && http_stream_pending(stream->call->request) > ahead_bytes(stream->hub)) {
                stream->paused = true;
                store_watch_pause(stream->watch, true);
        }
}

static void stream_write_text(struct stream *stream, GString *text)
{
        GBytes *bytes = g_string_free_to_bytes(text);

        stream_write(stream, bytes);
        g_bytes_unref(bytes);
}

static void stream_end(struct stream *stream)
{
        if (stream->ended)
                return;
        stream->ended = true;
        stream->watch = store_watch_free(stream->watch);
        if (stream->call->request)
                http_stream_end(stream->call->request);
}

static void frame_begin(GString *text, const char *type)
{
        g_string_append_printf(text, "{\"type\":\"%s\",\"object\":", type);
}

static void frame_end(GString *text)
{
        g_string_append(text, "}\n");
}

static struct table_options table_options_of(const struct stream *stream)
{
        return (struct table_options){
                .kind = stream->call->target.kind,
                .version = stream->call->accept.version,
                .include_object = stream->call->params.include_object,
                .api_version = stream->alias,
                .now_us = clock_real_us(stream->hub->api->options.clock),
        };
}

static void write_table_frame(struct stream *stream, enum frame_type type, const struct store_object *object, uint64_t revision,
                              GString *text)
{
        struct table_options options = table_options_of(stream);

        frame_begin(text, frame_names[type]);
        table_begin(&options, &(struct table_page){.revision = revision ?: object->revision, .remaining = -1},
                    !stream->columns_told, text);
        table_row(&options, object, revision, text);
        table_end(text);
        frame_end(text);
        stream->columns_told = true;
}

static void write_object_frame(const struct stream *stream, enum frame_type type, const struct store_object *object,
                               uint64_t revision, GString *text)
{
        frame_begin(text, frame_names[type]);
        if (stream->call->accept.form == ACCEPT_METADATA) {
                struct table_options options = table_options_of(stream);

                table_metadata(&options, object, revision, text);
        } else {
                splice_object(object, stream->alias, revision, text);
        }
        frame_end(text);
}

static GBytes *shared_frame(struct stream *stream, enum frame_type type, const struct store_object *object, uint64_t revision)
{
        struct frame *frame = &stream->hub->frames[type];
        GString *text;

        if (frame->object == object && frame->revision == revision && frame->api_version == stream->alias &&
            frame->form == stream->call->accept.form)
                return frame->bytes;
        frame_clear(frame);
        text = g_string_sized_new(object->len + 96);
        write_object_frame(stream, type, object, revision, text);
        *frame = (struct frame){.object = store_object_ref(object),
                                .revision = revision,
                                .api_version = stream->alias,
                                .form = stream->call->accept.form,
                                .bytes = g_string_free_to_bytes(text)};
        return frame->bytes;
}

static void stream_tell(struct stream *stream, enum frame_type type, const struct store_object *object, uint64_t revision)
{
        if (stream->call->accept.form == ACCEPT_TABLE) {
                GString *text = g_string_new(NULL);

                write_table_frame(stream, type, object, revision, text);
                stream_write_text(stream, text);
        } else {
                stream_write(stream, shared_frame(stream, type, object, revision));
        }
}

/* An object that tells a revision and nothing else. */
static struct json_value *bookmark_object(struct json_doc *doc, const struct stream *stream, uint64_t revision, bool ends_first)
{
        const struct call *call = stream->call;
        struct json_value *object = json_new(doc, JSON_OBJECT), *metadata;
        bool whole = call->accept.form == ACCEPT_JSON;
        g_autofree char *version = g_strconcat("meta.k8s.io/", call->accept.version, NULL);
        char text[24];

        g_snprintf(text, sizeof(text), "%" PRIu64, revision);
        json_set_string(doc, object, "kind", whole ? call->target.kind->kind : "PartialObjectMetadata");
        json_set_string(doc, object, "apiVersion", whole ? call->target.api_version : version);
        metadata = json_ensure_object(doc, object, "metadata");
        json_set_string(doc, metadata, "resourceVersion", text);
        json_set(doc, metadata, "creationTimestamp", json_new(doc, JSON_NULL));
        if (ends_first)
                json_set_string(doc, json_ensure_object(doc, metadata, "annotations"), "k8s.io/initial-events-end", "true");
        return object;
}

/* In a table it is the object of a row without cells. */
static struct json_value *bookmark_table(struct json_doc *doc, const struct stream *stream, struct json_value *object)
{
        struct json_value *table = json_new(doc, JSON_OBJECT), *row = json_new(doc, JSON_OBJECT);
        g_autofree char *version = g_strconcat("meta.k8s.io/", stream->call->accept.version, NULL);

        json_set_string(doc, table, "kind", "Table");
        json_set_string(doc, table, "apiVersion", version);
        json_set_string(doc, json_ensure_object(doc, table, "metadata"), "resourceVersion",
                        json_find_string(object, "metadata", "resourceVersion", NULL));
        json_set(doc, table, "columnDefinitions", json_new(doc, JSON_ARRAY));
        json_ensure_array(doc, row, "cells");
        json_set(doc, row, "object", object);
        json_append(json_ensure_array(doc, table, "rows"), row);
        return table;
}

/* All events up to @revision have been written. */
static void stream_bookmark(struct stream *stream, uint64_t revision, bool ends_first)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT), *object = bookmark_object(doc, stream, revision, ends_first);
        GString *text = g_string_new(NULL);

        json_set_string(doc, root, "type", "BOOKMARK");
        json_set(doc, root, "object", stream->call->accept.form == ACCEPT_TABLE ? bookmark_table(doc, stream, object) : object);
        json_write(root, text);
        g_string_append_c(text, '\n');
        stream_write_text(stream, text);
}

/* The last frame tells why the watch ends. */
static void stream_end_with(struct stream *stream, const struct refusal *refusal)
{
        GString *text = g_string_new(NULL), *status = status_refusal(refusal);

        frame_begin(text, "ERROR");
        g_string_append_len(text, status->str, (gssize)status->len);
        frame_end(text);
        g_string_free(status, TRUE);
        stream_write_text(stream, text);
        stream_end(stream);
}

/* The client was too slow, and events it has not seen are no longer kept: it must list again. */
static void stream_end_gone(struct stream *stream)
{
        stream_end_with(stream, &(struct refusal){.code = 410, .message = GONE_WORDS});
}

/* --- events
 * -------------------------------------------------------------------------------------------------------------------------- */

static bool stream_selects(const struct stream *stream, const struct store_object *object)
{
        const struct target *target = &stream->call->target;

        if (!object || (target->namespace && g_strcmp0(target->namespace, object->namespace) != 0) ||
            (target->name && strcmp(target->name, object->name) != 0))
                return false;
        return selector_matches(stream->selector, object->root);
}

/* What leaves a selector is told as deleted, what enters as added. */
static void on_event(const struct store_event *event, void *userdata)
{
        struct stream *stream = userdata;
        bool before, now;

        stream->caught_up |= !event;
        if (!event && stream->closing)
                stream_end(stream);
        if (!event || stream->ended)
                return;
        if (event->verb == STORE_DELETE) {
                if (stream_selects(stream, event->object))
                        stream_tell(stream, FRAME_DELETED, event->object, event->revision);
                return;
        }
        before = event->previous && stream_selects(stream, event->previous);
        now = stream_selects(stream, event->object);
        if (now)
                stream_tell(stream, before ? FRAME_MODIFIED : FRAME_ADDED, event->object, event->revision);
        else if (before)
                stream_tell(stream, FRAME_DELETED, event->previous, event->revision);
}

static void stream_resume(struct stream *stream)
{
        if (!stream->paused || stream->ended)
                return;
        if (store_watch_gone(stream->watch)) {
                stream_end_gone(stream);
                return;
        }
        stream->paused = false;
        stream->caught_up = false;
        store_watch_pause(stream->watch, false);
}

/* Told by the store: the client lags and events that it has not got are no longer kept. */
static void on_overtaken(void *userdata)
{
        struct stream *stream = userdata;

        if (!stream->ended)
                stream_end_gone(stream);
}

static void on_drained(void *userdata)
{
        struct stream *stream = userdata;

        if (stream->ended)
                return;
        if (stream->feed)
                feed_continue(stream->feed);
        else
                stream_resume(stream);
}

/* Who asked for bookmarks goes on from the last one without a gap. */
static void on_timeout(struct loop_source *source, void *userdata)
{
        struct stream *stream = userdata;

        if (stream->call->params.bookmarks && stream_is_level(stream))
                stream_bookmark(stream, store_revision(stream->hub->api->options.store), false);
        stream_end(stream);
}

static void on_gone(void *userdata)
{
        struct stream *stream = userdata;

        hub_remove(stream->hub, stream);
        store_watch_free(stream->watch);
        loop_source_free(stream->timeout);
        selector_free(stream->selector);
        feed_free(stream->feed);
        g_free(stream);
}

/* --- beginning
 * ----------------------------------------------------------------------------------------------------------------------- */

static void encode_first(const struct store_object *object, guint index, GString *out, void *userdata)
{
        struct stream *stream = userdata;

        if (stream->call->accept.form == ACCEPT_TABLE)
                write_table_frame(stream, FRAME_ADDED, object, 0, out);
        else
                write_object_frame(stream, FRAME_ADDED, object, 0, out);
}

static void first_told(void *userdata)
{
        struct stream *stream = userdata;

        stream->feed = feed_free(stream->feed);
        if (stream->mark_first)
                stream_bookmark(stream, stream->first_revision, true);
        stream_resume(stream);
}

struct collector {
        const struct stream *stream;
        GPtrArray *objects;
};

static bool collect(const struct store_object *object, void *userdata)
{
        struct collector *collector = userdata;

        if (stream_selects(collector->stream, object))
                g_ptr_array_add(collector->objects, (void *)store_object_ref(object));
        return true;
}

/* Without a resourceVersion, and with 0, a watch begins with all that exists, unless it says otherwise. */
static bool tells_first(const struct params *params)
{
        return params->initial ? params->initial == PARAMS_INITIAL_YES : params->revision == 0;
}

static uint64_t collect_first(struct stream *stream)
{
        struct call *call = stream->call;
        struct collector collector = {.stream = stream, .objects = feed_objects_new()};
        bool bare = selector_is_empty(stream->selector);
        uint64_t revision = (bare ? store_list_bare : store_list)(call->api->options.store, call->target.kind,
                                                                  call->target.namespace, NULL, collect, &collector);

        stream->feed = feed_new(&(struct feed_options){
                .call = call, .objects = collector.objects, .encode = encode_first, .done = first_told, .userdata = stream});
        return revision;
}

/* The alias as a constant text: frames are shared by comparing its address. */
static const char *constant_alias(const struct call *call)
{
        for (size_t i = 0; call->target.alias && call->target.kind->aliases[i]; i++)
                if (strcmp(call->target.kind->aliases[i], call->target.api_version) == 0)
                        return call->target.kind->aliases[i];
        return NULL;
}

static uint64_t timeout_of(const struct call *call)
{
        if (call->params.timeout_s)
                return MIN(call->params.timeout_s, TIMEOUT_MAX_S) * 1000000;
        return TIMEOUT_MIN_US + random_below(call->api->options.random, TIMEOUT_MIN_US);
}

static void stream_discard(struct stream *stream)
{
        store_watch_free(stream->watch);
        loop_source_free(stream->timeout);
        selector_free(stream->selector);
        feed_free(stream->feed);
        g_free(stream);
}

/* 0, or what store_watch() and loop_timer() say. */
static int stream_attach(struct stream *stream)
{
        struct call *call = stream->call;
        const struct schema_kind *kinds[] = {call->target.kind, NULL};
        uint64_t after = call->params.revision ?: store_revision(call->api->options.store);
        int r;

        /* A revision of the future comes from a store that was put back: such a client must list again, too. */
        if (after > store_revision(call->api->options.store))
                return STORE_E_GONE;
        if (tells_first(&call->params))
                after = stream->first_revision = collect_first(stream);
        stream->mark_first = call->params.initial == PARAMS_INITIAL_YES && call->params.bookmarks;
        r = store_watch(call->api->options.store, kinds, after, on_event, stream, &stream->watch);
        if (r)
                return r;
        store_watch_on_gone(stream->watch, on_overtaken);
        stream->paused = stream->feed;
        if (stream->paused)
                store_watch_pause(stream->watch, true);
        return loop_timer(call->api->options.loop, timeout_of(call), on_timeout, stream, &stream->timeout);
}

static void stream_start(struct call *call, struct selector *selector)
{
        struct watch_hub *hub = call->api->watches;
        struct stream *stream = g_new0(struct stream, 1);
        int r;

        *stream = (struct stream){.hub = hub, .call = call, .selector = selector, .alias = constant_alias(call)};
        r = stream_attach(stream);
        if (r) {
                stream_discard(stream);
                if (r == STORE_E_GONE)
                        call_refuse_words(call, 410, GONE_WORDS);
                else
                        call_refuse_words(call, 500, "the watch could not begin: %s", g_strerror(-r));
                return;
        }
        hub_add(hub, stream);
        call_stream_begin(call, stream, on_drained, on_gone);
        stream->last_us = clock_monotonic_us(hub->api->options.clock);
        if (stream->feed)
                feed_continue(stream->feed);
}

void watch_begin(struct call *call)
{
        g_autofree char *why = NULL;
        struct selector *selector;

        assert(call && call->target.kind);
        if (hub_count_of(call->api->watches, call->identity->user) >= LIMIT_WATCHES_PER_IDENTITY) {
                call_refuse(call, &(struct refusal){
                                          .code = 429, .message = "too many watches are open for this user", .retry_after_s = 5});
                return;
        }
        if (call->params.initial == PARAMS_INITIAL_YES && call->params.revision > store_revision(call->api->options.store)) {
                call_refuse_future(call);
                return;
        }
        selector = selector_new(call->target.kind, call->params.label_selector, call->params.field_selector, &why);
        if (selector)
                stream_start(call, selector);
        else
                call_refuse_words(call, 400, "%s", why);
}
