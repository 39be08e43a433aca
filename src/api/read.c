/* SPDX-License-Identifier: Apache-2.0 */
#include "api/call.h"
#include "api/continue.h"
#include "api/feed.h"
#include "api/selector.h"
#include "api/splice.h"
#include "api/table.h"
#include "base/limits.h"

#include <assert.h>
#include <string.h>

#define WHOLE_BYTES (1u << 20) /* a longer list is streamed */

static struct table_options table_options_of(const struct call *call)
{
        return (struct table_options){
                .kind = call->target.kind,
                .version = call->accept.version,
                .include_object = call->params.include_object,
                .api_version = call_alias_version(call),
                .now_us = clock_real_us(call->api->options.clock),
        };
}

static void refuse_not_found(struct call *call)
{
        g_autofree char *resource = target_resource_text(&call->target);

        call_refuse_words(call, 404, "%s \"%s\" not found", resource, call->target.name);
}

void read_get(struct call *call)
{
        struct table_options options = table_options_of(call);
        autostoreobject object = store_get(call->api->options.store, call->target.kind, call->target.namespace, call->target.name);
        GString *text;

        if (!object) {
                refuse_not_found(call);
                return;
        }
        if (call->accept.form == ACCEPT_JSON) {
                call_reply_object(call, 200, object);
                return;
        }
        text = g_string_new(NULL);
        if (call->accept.form == ACCEPT_METADATA) {
                table_metadata(&options, object, 0, text);
                call_reply_text(call, 200, text);
                return;
        }
        table_begin(&options, &(struct table_page){.revision = object->revision, .remaining = -1}, true, text);
        table_row(&options, object, 0, text);
        table_end(text);
        call_reply_text(call, 200, text);
}

/* --- lists
 * --------------------------------------------------------------------------------------------------------------------------- */

struct listing {
        struct call *call;
        struct table_options table;
        struct selector *selector;
        GPtrArray *objects;
        uint64_t limit; /* 0: none */
        uint64_t past;  /* the revision whose state is told; 0: the newest */
        size_t count;   /* objects of that state, selected or not */
        bool more;
        size_t bytes;
        struct table_page page;
        char *continue_text;
        struct feed *feed;
};

static void listing_free(struct listing *listing)
{
        selector_free(listing->selector);
        if (listing->objects)
                g_ptr_array_unref(listing->objects);
        g_free(listing->continue_text);
        feed_free(listing->feed);
        g_free(listing);
}

static bool collect(const struct store_object *object, void *userdata)
{
        struct listing *listing = userdata;

        if (!selector_matches(listing->selector, object->root))
                return true;
        if (listing->limit && listing->objects->len == listing->limit) {
                listing->more = true;
                return false;
        }
        g_ptr_array_add(listing->objects, (void *)store_object_ref(object));
        listing->bytes += object->len;
        return true;
}

/* A list of one name is what `kubectl wait` and `kubectl delete` ask for again and again: no walk. */
static bool collect_one(struct listing *listing)
{
        const struct target *target = &listing->call->target;
        const char *name = selector_only_name(listing->selector);
        struct store *store = listing->call->api->options.store;

        if (!name || (target->kind->namespaced && !target->namespace))
                return false;
        listing->page.revision = store_revision(store);
        autostoreobject object = store_get(store, target->kind, target->namespace, name);
        if (object)
                (void)collect(object, listing);
        return true;
}

static struct continue_query query_of(const struct call *call)
{
        return (struct continue_query){.kind = call->target.kind,
                                       .namespace = call->target.namespace,
                                       .label_selector = call->params.label_selector,
                                       .field_selector = call->params.field_selector};
}

static void finish_page(struct listing *listing, const struct continue_token *from)
{
        const struct continue_query query = query_of(listing->call);
        uint64_t told = from->told + listing->objects->len;
        const struct store_object *last;

        if (from->after_key)
                listing->page.revision = from->revision;
        listing->page.remaining = -1;
        if (!listing->more)
                return;
        last = listing->objects->pdata[listing->objects->len - 1];
        listing->continue_text = continue_token_text(
                &(struct continue_token){.after_key = (char *)last->key, .revision = listing->page.revision, .told = told}, &query,
                listing->call->api->options.seal);
        listing->page.continue_token = listing->continue_text;
        if (selector_is_empty(listing->selector) && listing->count > told)
                listing->page.remaining = (int64_t)(listing->count - told);
}

/* The state of listing->past while its events are kept, else the newest. false: it had to be that one and cannot. */
static bool collect_past(struct listing *listing, const struct continue_token *from)
{
        const struct target *target = &listing->call->target;
        const struct store_past past = {
                .kind = target->kind, .namespace = target->namespace, .after_key = from->after_key, .revision = listing->past};

        if (store_list_past(listing->call->api->options.store, &past, collect, listing, &listing->count) == 0) {
                listing->page.revision = listing->past;
                return true;
        }
        if (!from->after_key)
                return false;
        listing->past = 0;
        return true;
}

static void collect_newest(struct listing *listing, const struct continue_token *from)
{
        const struct target *target = &listing->call->target;
        struct store *store = listing->call->api->options.store;

        listing->count = store_count(store, target->kind, target->namespace);
        if (!from->after_key && collect_one(listing))
                return;
        listing->page.revision = (selector_is_empty(listing->selector) ? store_list_bare : store_list)(
                store, target->kind, target->namespace, from->after_key, collect, listing);
}

static void list_head(const struct listing *listing, GString *out)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);
        bool metadata = listing->call->accept.form == ACCEPT_METADATA;
        g_autofree char *kind = g_strconcat(metadata ? "PartialObjectMetadata" : listing->call->target.kind->kind, "List", NULL);
        g_autofree char *version = g_strconcat("meta.k8s.io/", listing->call->accept.version, NULL);

        json_set_string(doc, root, "kind", kind);
        json_set_string(doc, root, "apiVersion", metadata ? version : listing->call->target.api_version);
        json_set(doc, root, "metadata", table_page_metadata(doc, &listing->page));
        json_write(root, out);
        g_string_truncate(out, out->len - 1);
        g_string_append(out, ",\"items\":[");
}

static void encode(const struct store_object *object, guint index, GString *out, void *userdata)
{
        struct listing *listing = userdata;
        bool table = listing->call->accept.form == ACCEPT_TABLE;

        if (index > 0)
                g_string_append_c(out, ',');
        else if (table)
                table_begin(&listing->table, &listing->page, true, out);
        else
                list_head(listing, out);
        if (table)
                table_row(&listing->table, object, 0, out);
        else if (listing->call->accept.form == ACCEPT_METADATA)
                table_metadata(&listing->table, object, 0, out);
        else
                splice_object(object, listing->table.api_version, 0, out);
}

struct encoding {
        struct listing *listing;
        GString *text;
        guint index;
};

static void encode_next(const struct store_object *object, void *userdata)
{
        struct encoding *encoding = userdata;

        encode(object, encoding->index++, encoding->text, encoding->listing);
}

static void reply_whole(struct listing *listing)
{
        GString *text = g_string_sized_new(listing->bytes + 1024);
        struct encoding encoding = {.listing = listing, .text = text};

        for (guint i = 0; i < listing->objects->len; i++)
                store_show(g_steal_pointer(&listing->objects->pdata[i]), encode_next, &encoding);
        if (listing->objects->len == 0 && listing->call->accept.form == ACCEPT_TABLE)
                table_begin(&listing->table, &listing->page, true, text);
        else if (listing->objects->len == 0)
                list_head(listing, text);
        table_end(text);
        call_reply_text(listing->call, 200, text);
        listing_free(listing);
}

static void stream_drained(void *userdata)
{
        struct listing *listing = userdata;

        feed_continue(listing->feed);
}

static void stream_gone(void *userdata)
{
        listing_free(userdata);
}

static void stream_done(void *userdata)
{
        struct listing *listing = userdata;
        GString *tail = g_string_new(NULL);
        GBytes *bytes;

        table_end(tail);
        bytes = g_string_free_to_bytes(tail);
        (void)http_stream_write(listing->call->request, bytes);
        g_bytes_unref(bytes);
        http_stream_end(listing->call->request);
}

static void reply_streamed(struct listing *listing)
{
        listing->feed = feed_new(&(struct feed_options){.call = listing->call,
                                                        .objects = g_steal_pointer(&listing->objects),
                                                        .encode = encode,
                                                        .done = stream_done,
                                                        .userdata = listing});
        call_stream_begin(listing->call, listing, stream_drained, stream_gone);
        feed_continue(listing->feed);
}

/* Where to begin and of which state; false when it was refused. */
static bool take_position(struct call *call, struct continue_token *ret_from, uint64_t *ret_past)
{
        const struct params *params = &call->params;
        const struct continue_query query = query_of(call);
        uint64_t newest = store_revision(call->api->options.store);

        *ret_from = (struct continue_token){};
        *ret_past = 0;
        if (params->continue_token && params->has_revision && params->revision) {
                call_refuse_words(call, 400, "specifying resource version is not allowed when using continue");
                return false;
        }
        if (params->continue_token && continue_token_parse(params->continue_token, &query, call->api->options.seal, ret_from) < 0) {
                call_refuse_words(call, 400, "continue key is not valid");
                return false;
        }
        if (params->has_revision && params->revision > newest) {
                call_refuse_future(call);
                return false;
        }
        if (ret_from->after_key)
                *ret_past = ret_from->revision;
        else if (params->match == PARAMS_MATCH_EXACT)
                *ret_past = params->revision;
        if (*ret_past == newest)
                *ret_past = 0;
        return true;
}

static void listing_reply(struct listing *listing)
{
        if (listing->bytes > WHOLE_BYTES)
                reply_streamed(listing);
        else
                reply_whole(listing);
}

void read_list(struct call *call)
{
        g_autofree char *why = NULL;
        struct continue_token from;
        struct listing *listing;
        uint64_t past;
        struct selector *selector = selector_new(call->target.kind, call->params.label_selector, call->params.field_selector, &why);

        if (!selector) {
                call_refuse_words(call, 400, "%s", why);
                return;
        }
        if (!take_position(call, &from, &past)) {
                selector_free(selector);
                return;
        }
        listing = g_new0(struct listing, 1);
        *listing = (struct listing){
                .call = call,
                .table = table_options_of(call),
                .selector = selector,
                .objects = feed_objects_new(),
                .limit = MIN(call->params.limit, LIMIT_LIST_PAGE),
                .past = past,
        };
        if (listing->past && !collect_past(listing, &from)) {
                call_refuse_words(call, 410, "The resourceVersion for the provided list is too old.");
                listing_free(listing);
                return;
        }
        if (!listing->past)
                collect_newest(listing, &from);
        finish_page(listing, &from);
        continue_token_clear(&from);
        listing_reply(listing);
}
