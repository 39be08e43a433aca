/* SPDX-License-Identifier: Apache-2.0 */
#include "api/once.h"

#include "api/object.h"
#include "api/write.h"
#include "base/limits.h"
#include "generated/api_types.h"
#include "loop/loop.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define SWEEP_US 30000000ull

/* A remembered request, in the order of its user's requests. */
struct entry {
        char *name; /* of its record */
        uint64_t at_us;
};

struct once {
        const struct api_options *options; /* of the api, which outlives it */
        GHashTable *users;                 /* user -> GQueue of struct entry */
        struct loop_source *timer;
};

bool once_header_is_valid(const char *id)
{
        size_t len = strlen(id);

        return len > 0 && len < CALL_REQUEST_ID_MAX &&
               strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~:") == len;
}

/* --- forgetting
 * ------------------------------------------------------------------------------------------------------------------- */

static void entry_free(void *data)
{
        struct entry *entry = data;

        g_free(entry->name);
        g_free(entry);
}

static void queue_free(void *queue)
{
        g_queue_free_full(queue, entry_free);
}

static GQueue *queue_of(struct once *once, const char *user)
{
        GQueue *queue = g_hash_table_lookup(once->users, user);

        if (!queue) {
                queue = g_queue_new();
                g_hash_table_insert(once->users, g_strdup(user), queue);
        }
        return queue;
}

static void remember(struct once *once, const char *user, const char *name, uint64_t at_us)
{
        struct entry *entry = g_new0(struct entry, 1);

        *entry = (struct entry){.name = g_strdup(name), .at_us = at_us};
        g_queue_push_tail(queue_of(once, user), entry);
}

static bool is_older(const struct once *once, const struct entry *entry, uint64_t span_us)
{
        return entry && clock_real_us(once->options->clock) > entry->at_us + span_us;
}

static bool may_go(const struct once *once, GQueue *queue)
{
        const struct entry *first = g_queue_peek_head(queue);

        return is_older(once, first, ONCE_KEPT_US) ||
               (g_queue_get_length(queue) > LIMIT_REQUESTS_REMEMBERED && is_older(once, first, ONCE_KEPT_LEAST_US));
}

/* The records of @names go; what is lost of this is found again at the next start. */
static void forget(struct once *once, GPtrArray *names)
{
        struct store_op ops[LIMIT_STORE_TXN_OPS];
        struct store_txn txn = {.ops = ops, .actor = {.user = "controller/once", .client = "controller/once", .verb = "delete"}};

        for (guint i = 0; i < names->len && txn.n_ops < LIMIT_STORE_TXN_OPS; i++) {
                autostoreobject there = store_get_newest(once->options->store, &api_request_record_kind, NULL, names->pdata[i]);

                if (there)
                        ops[txn.n_ops++] =
                                (struct store_op){.verb = STORE_DELETE, .kind = &api_request_record_kind, .name = names->pdata[i]};
        }
        if (txn.n_ops > 0)
                (void)store_commit(once->options->store, &txn, NULL, NULL, NULL);
}

static void sweep_queue(struct once *once, GQueue *queue)
{
        g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);

        while (may_go(once, queue)) {
                struct entry *entry = g_queue_pop_head(queue);

                g_ptr_array_add(names, g_steal_pointer(&entry->name));
                entry_free(entry);
                if (names->len < LIMIT_STORE_TXN_OPS && may_go(once, queue))
                        continue;
                forget(once, names);
                g_ptr_array_set_size(names, 0);
        }
}

static void on_sweep(struct loop_source *source, void *userdata)
{
        struct once *once = userdata;
        GHashTableIter iter;
        GQueue *queue;

        g_hash_table_iter_init(&iter, once->users);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&queue)) {
                sweep_queue(once, queue);
                if (g_queue_is_empty(queue))
                        g_hash_table_iter_remove(&iter);
        }
        loop_timer_set(source, SWEEP_US);
}

/* --- life
 * ------------------------------------------------------------------------------------------------------------------------- */

static gint by_time(gconstpointer a, gconstpointer b, gpointer userdata)
{
        uint64_t first = ((const struct entry *)a)->at_us, second = ((const struct entry *)b)->at_us;

        return first < second ? -1 : first > second;
}

static bool learn(const struct store_object *object, void *userdata)
{
        uint64_t at_us = 0;

        (void)clock_parse_rfc3339(json_find_string(object->root, "metadata", "creationTimestamp", NULL), &at_us);
        remember(userdata, json_find_string(object->root, "spec", "user", NULL) ?: "", object->name, at_us);
        return true;
}

int once_new(const struct api_options *options, struct once **ret_once)
{
        struct once *once = g_new0(struct once, 1);
        GHashTableIter iter;
        GQueue *queue;
        int r;

        assert(options && options->store && options->loop && ret_once);
        once->options = options;
        once->users = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, queue_free);
        store_list(options->store, &api_request_record_kind, NULL, NULL, learn, once);
        g_hash_table_iter_init(&iter, once->users);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&queue))
                g_queue_sort(queue, by_time, NULL);
        r = loop_timer(options->loop, SWEEP_US, on_sweep, once, &once->timer);
        if (r < 0) {
                once_free(once);
                return r;
        }
        *ret_once = once;
        return 0;
}

struct once *once_free(struct once *once)
{
        if (!once)
                return NULL;
        loop_source_free(once->timer);
        g_hash_table_unref(once->users);
        g_free(once);
        return NULL;
}

/* --- a repeat
 * --------------------------------------------------------------------------------------------------------------------- */

static void digest_add(GChecksum *checksum, const char *text, size_t len)
{
        char size[24];

        g_snprintf(size, sizeof(size), "%zu:", len);
        g_checksum_update(checksum, (const guchar *)size, -1);
        g_checksum_update(checksum, (const guchar *)text, (gssize)len);
}

/* What makes a request the same: who, what, where, how and with which body. */
static char *digest_of(const struct call *call, const char *body, size_t len)
{
        const char *const parts[] = {call->identity->user, http_request_method(call->request), http_request_target(call->request),
                                     http_request_header(call->request, "Content-Type") ?: ""};
        GChecksum *checksum = g_checksum_new(G_CHECKSUM_SHA256);
        char *text;

        for (size_t i = 0; i < G_N_ELEMENTS(parts); i++)
                digest_add(checksum, parts[i], strlen(parts[i]));
        digest_add(checksum, body, len);
        text = g_strdup(g_checksum_get_string(checksum));
        g_checksum_free(checksum);
        return text;
}

static const struct store_object *written(struct call *call, const struct json_value *spec)
{
        const struct schema_kind *kind =
                schema_kind_by_plural(json_find_string(spec, "group", NULL) ?: "", json_find_string(spec, "plural", NULL) ?: "");
        const char *name = json_find_string(spec, "name", NULL);
        autostoreobject object = NULL;

        if (!kind || !name)
                return NULL;
        object = store_get(call->api->options.store, kind, json_find_string(spec, "namespace", NULL), name);
        if (!object || g_strcmp0(object->uid, json_find_string(spec, "uid", NULL)) != 0)
                return NULL;
        return store_object_ref(object);
}

static void refuse_gone(struct call *call)
{
        g_autofree char *message = g_strdup_printf("the request \"%s\" was carried out, and \"%s\" has been deleted since",
                                                   call->once_id, call->target.name ?: "");

        call_refuse(call, &(struct refusal){.code = 410, .reason = "Gone", .message = message});
}

/* The first request's write is durable: its answer once more, with the object as it is now. */
static void answer(struct call *call, const struct store_object *record)
{
        const struct json_value *spec = json_get(record->root, "spec");
        autostoreobject object = written(call, spec);
        int64_t code = 200;

        (void)json_int64(json_get(spec, "code"), &code);
        g_free(call->target.name);
        call->target.name = g_strdup(json_find_string(spec, "name", NULL));
        call->attributes.name = call->target.name;
        if (call->request)
                http_reply_header(call->request, "Gabbro-Request-Repeated", "true");
        if (object)
                call_reply_object(call, (int)code, object);
        else if (json_bool(json_get(spec, "deletes"), false))
                call_reply_text(call, 200,
                                status_success(call->target.name, call->target.group, call->target.kind->plural,
                                               json_find_string(spec, "uid", NULL)));
        else
                refuse_gone(call);
}

static void on_durable(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        g_autoptr(call) call = userdata;
        autostoreobject record = NULL;

        if (result == 0)
                record = store_get(call->api->options.store, &api_request_record_kind, NULL, call->once_name);
        if (record)
                answer(call, record);
        else
                write_refuse_outcome(call, result < 0 ? result : STORE_E_BUSY);
}

/* Accepted, and perhaps not durable yet: an empty transaction ends behind it. */
static void answer_when_durable(struct call *call)
{
        struct store_txn txn = {.actor = call_actor(call)};
        int r = store_commit(call->api->options.store, &txn, on_durable, call_ref(call), NULL);

        if (r == 0)
                return;
        write_refuse_outcome(call, r);
        call_unref(call);
}

/* The user's records are many, and the oldest too young to go. */
static bool is_full(struct call *call)
{
        return g_queue_get_length(queue_of(call->api->once, call->identity->user)) > LIMIT_REQUESTS_REMEMBERED;
}

bool once_begin(struct call *call, const char *body, size_t len)
{
        const char *id = http_request_header(call->request, ONCE_HEADER);
        autostoreobject record = NULL;

        assert(call->identity);
        if (!id || call->params.dry_run)
                return true;
        if (!once_header_is_valid(id)) {
                call_refuse_words(call, 400, ONCE_HEADER " must be 1 to %d characters out of A-Z, a-z, 0-9 and -_.~:",
                                  CALL_REQUEST_ID_MAX - 1);
                return false;
        }
        g_free(call->once_id);
        g_free(call->once_name);
        g_free(call->once_digest);
        call->once_id = g_strdup(id);
        call->once_name = g_compute_checksum_for_string(G_CHECKSUM_SHA256, id, -1);
        call->once_digest = digest_of(call, body, len);
        sweep_queue(call->api->once, queue_of(call->api->once, call->identity->user));
        record = store_get_newest(call->api->options.store, &api_request_record_kind, NULL, call->once_name);
        if (!record && is_full(call)) {
                call_refuse(call, &(struct refusal){.code = 429,
                                                    .message = "too many requests of this user with a " ONCE_HEADER
                                                               " are remembered; wait, or send none",
                                                    .retry_after_s = 30});
                return false;
        }
        if (!record)
                return true;
        /* The same words whoever sent the other one, and whatever it was. */
        if (g_strcmp0(json_find_string(record->root, "spec", "digest", NULL), call->once_digest) != 0)
                call_refuse_words(call, 422,
                                  "the " ONCE_HEADER " \"%s\" belongs to another request: use a new id for every request, "
                                  "and the same only to repeat one",
                                  id);
        else
                answer_when_durable(call);
        return false;
}

/* --- the first one
 * ---------------------------------------------------------------------------------------------------------------- */

bool once_op(struct call *call, int code, const struct json_value *object, struct store_op *ret_op)
{
        const struct object_source source = {.clock = call->api->options.clock, .random = call->api->options.random};
        const struct schema_kind *kind = call->target.kind;
        struct json_value *spec, *root;
        struct json_doc *doc;

        if (!call->once_id)
                return false;
        doc = json_doc_new();
        root = json_new(doc, JSON_OBJECT);
        json_set_root(doc, root);
        json_set_string(doc, root, "apiVersion", "gabbro.dev/v1");
        json_set_string(doc, root, "kind", "RequestRecord");
        json_set_string(doc, json_ensure_object(doc, root, "metadata"), "name", call->once_name);
        object_begin(&api_request_record_kind, &source, doc, NULL);
        spec = json_ensure_object(doc, root, "spec");
        json_set_string(doc, spec, "digest", call->once_digest);
        json_set_string(doc, spec, "user", call->identity->user);
        json_set_int(doc, spec, "code", code);
        json_set_string(doc, spec, "group", kind->group);
        json_set_string(doc, spec, "plural", kind->plural);
        json_set_string(doc, spec, "namespace", call->target.namespace);
        json_set_string(doc, spec, "name", call->target.name);
        json_set_string(doc, spec, "uid", json_find_string(object, "metadata", "uid", NULL));
        json_set_bool(doc, spec, "deletes", strcmp(call->attributes.verb, "delete") == 0);
        *ret_op = (struct store_op){.verb = STORE_CREATE, .kind = &api_request_record_kind, .name = call->once_name, .doc = doc};
        return true;
}

void once_accepted(struct call *call)
{
        if (call->once_id)
                remember(call->api->once, call->identity->user, call->once_name, clock_real_us(call->api->options.clock));
}
