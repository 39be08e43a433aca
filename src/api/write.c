/* SPDX-License-Identifier: Apache-2.0 */
#include "api/write.h"
#include "admission/admission.h"
#include "api/change.h"
#include "api/guard.h"
#include "api/object.h"
#include "api/once.h"
#include "base/limits.h"
#include "generated/api_types.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

#define ATTEMPTS_MAX 5

/* A create or change, from its body until the commit's answer. */
struct write {
        struct call *call; /* a reference */
        enum body_type type;
        struct json_doc *body;
        unsigned attempts;
        int code; /* of a good answer */
};

static struct write *write_new(struct call *call, enum body_type type, struct json_doc *body, int code)
{
        struct write *write = g_new0(struct write, 1);

        *write = (struct write){.call = call_ref(call), .type = type, .body = body, .code = code};
        return write;
}

static struct write *write_free(struct write *write)
{
        if (!write)
                return NULL;
        json_doc_free(write->body);
        call_unref(write->call);
        g_free(write);
        return NULL;
}
AUTOPTR(write, write_free);

static struct store *store_of(const struct call *call)
{
        return call->api->options.store;
}

/* --- refusals
 * ------------------------------------------------------------------------------------------------------------------------ */

static void refuse_named(struct call *call, int code, const char *reason, const char *words)
{
        g_autofree char *resource = target_resource_text(&call->target), *message = NULL;

        message = g_strdup_printf("%s \"%s\" %s", resource, call->target.name ?: "", words);
        call_refuse(call, &(struct refusal){.code = code, .reason = reason, .message = message});
}

void write_refuse_absent(struct call *call)
{
        refuse_named(call, 404, NULL, "not found");
}

/* As kube-apiserver words it, with a cause for each resource of each quota. */
static void refuse_admission(struct call *call)
{
        const struct schema_faults *faults = store_refusal(store_of(call));
        g_autofree char *resource = target_resource_text(&call->target), *message = NULL;
        g_autoptr(GString) words = g_string_new(NULL);

        for (size_t i = 0; i < schema_faults_kept(faults); i++)
                g_string_append_printf(words, "%s%s", i > 0 ? "; " : "", schema_faults_at(faults, i)->message);
        message = g_strdup_printf("%s \"%s\" is forbidden: %s", resource, call->target.name ?: "", words->str);
        call_refuse(call, &(struct refusal){.code = 403, .reason = "Forbidden", .message = message, .faults = faults});
}

void write_refuse_outcome(struct call *call, int outcome)
{
        switch (outcome) {
        case STORE_E_CONFLICT:
                change_conflict(call);
                break;
        case STORE_E_EXISTS:
                refuse_named(call, 409, "AlreadyExists", "already exists");
                break;
        case STORE_E_NOT_FOUND:
                write_refuse_absent(call);
                break;
        case STORE_E_BUSY:
                call_refuse(call, &(struct refusal){.code = 429, .message = "too many writes are under way", .retry_after_s = 1});
                break;
        case STORE_E_TOO_LARGE:
                refuse_named(call, 413, NULL, "would be too large to be stored");
                break;
        case STORE_E_REFUSED:
                refuse_admission(call);
                break;
        case -ENOSPC:
                refuse_named(call, 507, NULL, "could not be written: the disk of the gateway is full");
                break;
        case STORE_E_FAILED:
                call_refuse_words(call, 503, "the store takes no writes any more");
                break;
        default:
                call_refuse_words(call, 500, "the object could not be written: %s", g_strerror(outcome < 0 ? -outcome : EIO));
        }
}

/* --- commits
 * ------------------------------------------------------------------------------------------------------------------------- */

static void on_committed(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        g_autoptr(write) write = userdata;

        if (result == 0 && n_objects > 0)
                call_reply_object(write->call, write->code, objects[0]);
        else
                write_refuse_outcome(write->call, result < 0 ? result : -EIO);
}

/* 0 when the commit is on its way (then @write belongs to it), or the outcome. @before: the object, or NULL when it is created. */
static int commit(struct write *write, struct store_op *op, const struct store_object *before)
{
        struct store_op ops[2] = {*op};
        struct store_txn txn = {.ops = ops, .n_ops = 1, .actor = call_actor(write->call)};
        const struct json_value *object = op->doc ? json_root_const(op->doc) : before->root;
        int r;

        txn.n_ops += once_op(write->call, write->code, object, &ops[1]);
        r = store_commit(store_of(write->call), &txn, on_committed, write, NULL);
        if (r == 0)
                once_accepted(write->call);
        return r;
}

/* --- create
 * -------------------------------------------------------------------------------------------------------------------------- */

static void refuse_terminating(struct call *call)
{
        g_autofree char *resource = target_resource_text(&call->target), *message = NULL, *cause = NULL;

        message = g_strdup_printf(
                "%s \"%s\" is forbidden: unable to create new content in namespace %s because it is being terminated", resource,
                call->target.name, call->target.namespace);
        cause = g_strdup_printf("namespace %s is being terminated", call->target.namespace);
        call_refuse(call, &(struct refusal){.code = 403,
                                            .message = message,
                                            .cause = "NamespaceTerminating",
                                            .cause_message = cause,
                                            .cause_field = "metadata.namespace"});
}

/* The newest state and the commit are of one turn of the loop: nothing can come between. */
static bool namespace_takes(struct call *call)
{
        autostoreobject namespace = NULL;
        g_autofree char *message = NULL;

        if (!call->target.kind->namespaced)
                return true;
        namespace = store_get_newest(store_of(call), &api_namespace_kind, NULL, call->target.namespace);
        if (namespace && !object_is_deleting(namespace->root))
                return true;
        if (namespace) {
                refuse_terminating(call);
                return false;
        }
        message = g_strdup_printf("namespaces \"%s\" not found", call->target.namespace);
        call_refuse(call,
                    &(struct refusal){
                            .code = 404, .message = message, .group = "", .kind = "namespaces", .name = call->target.namespace});
        return false;
}

/* Whoever may write Events could fill the store with them: each lives for an hour only, and so many of a namespace are kept. */
static bool events_fit(struct call *call)
{
        if (call->target.kind != &api_event_kind ||
            store_count(store_of(call), &api_event_kind, call->target.namespace) < LIMIT_EVENTS_PER_NAMESPACE)
                return true;
        call_refuse(call,
                    &(struct refusal){.code = 429, .message = "the namespace has as many events as are kept", .retry_after_s = 60});
        return false;
}

static bool name_was_made(const struct write *write)
{
        const char *name = json_find_string(json_root_const(write->body), "metadata", "name", NULL);

        return !name || !*name;
}

/* What the store would refuse, it refuses now. */
static bool dry_write(struct call *call, struct store_op *op, const struct json_doc *doc)
{
        struct store_txn txn = {.ops = op, .n_ops = 1, .actor = call_actor(call)};
        int r;

        op->doc = json_doc_new();
        json_set_root(op->doc, json_copy(op->doc, json_root_const(doc)));
        r = store_try(store_of(call), &txn, NULL);
        if (r)
                write_refuse_outcome(call, r);
        return r == 0;
}

static void dry_create(struct call *call, struct store_op *op, struct json_doc *doc)
{
        op->name = call->target.name;
        if (dry_write(call, op, doc))
                call_reply_doc(call, 201, doc);
}

static void create_attempt(struct write *taken)
{
        g_autoptr(write) write = taken;
        struct call *call = write->call;
        int r = STORE_E_EXISTS;

        for (unsigned attempt = 0; r == STORE_E_EXISTS && attempt < (name_was_made(write) ? ATTEMPTS_MAX : 1); attempt++) {
                g_autoptr(json_doc) doc = change_begin(call, json_root_const(write->body));
                struct store_op op = {.verb = STORE_CREATE, .kind = call->target.kind, .namespace = call->target.namespace};

                if (!doc || !guard_allows(call, NULL, doc) || !namespace_takes(call) || !events_fit(call))
                        return;
                if (call->params.dry_run) {
                        dry_create(call, &op, doc);
                        return;
                }
                op.name = call->target.name;
                op.doc = g_steal_pointer(&doc);
                r = commit(write, &op, NULL);
        }
        if (r == 0)
                write = NULL; /* the commit has it */
        else
                write_refuse_outcome(call, r);
}

void write_create(struct call *call, enum body_type type, struct json_doc *body)
{
        create_attempt(write_new(call, type, body, 201));
}

/* --- update and patch
 * ---------------------------------------------------------------------------------------------------------------- */

static void on_noted(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        g_autoptr(call) call = userdata;
        autostoreobject object = store_get(store_of(call), call->target.kind, call->target.namespace, call->target.name);

        if (result < 0)
                write_refuse_outcome(call, result);
        else if (object)
                call_reply_object(call, 200, object);
        else
                write_refuse_absent(call);
}

/* A request that changes nothing is remembered like any other: sent again after somebody else's change, it would change something.
 */
static void note_unchanged(struct call *call, const struct store_object *base)
{
        struct store_op op;
        struct store_txn txn = {.ops = &op, .n_ops = 1, .actor = call_actor(call)};
        int r;

        if (!once_op(call, 200, base->root, &op)) {
                call_reply_object(call, 200, base);
                return;
        }
        r = store_commit(store_of(call), &txn, on_noted, call_ref(call), NULL);
        if (r == 0) {
                once_accepted(call);
                return;
        }
        write_refuse_outcome(call, r);
        call_unref(call);
}

/* Nothing differs: the answer is the object as it is, unless that is not durable yet; then the same is written again. */
static bool answer_unchanged(struct write *write, const struct store_object *base, const struct json_doc *doc)
{
        autostoreobject published = NULL;
        g_autoptr(json_doc) copy = json_doc_new();
        struct json_value *before = json_copy(copy, base->root);

        json_remove(json_get(before, "metadata"), "resourceVersion");
        if (!json_equal(before, json_root_const(doc)))
                return false;
        published = store_get(store_of(write->call), base->kind, base->namespace, base->name);
        if (!published || published->revision != base->revision)
                return false;
        if (write->call->params.dry_run)
                call_reply_object(write->call, write->code, base);
        else
                note_unchanged(write->call, base);
        return true;
}

static void dry_modify(struct call *call, const struct store_object *base, struct json_doc *doc)
{
        struct store_op op = {.verb = base ? STORE_UPDATE : STORE_CREATE,
                              .kind = call->target.kind,
                              .namespace = call->target.namespace,
                              .name = call->target.name};

        if (!dry_write(call, &op, doc))
                return;
        if (base)
                json_set_string(doc, json_get(json_root(doc), "metadata"), "resourceVersion",
                                json_find_string(base->root, "metadata", "resourceVersion", NULL));
        call_reply_doc(call, base ? 200 : 201, doc);
}

/* Whoever takes the last finalizer off a deleted object lets it go. */
static enum store_verb verb_of(const struct store_object *base, const struct json_doc *doc)
{
        if (!base)
                return STORE_CREATE;
        return object_is_deleting(json_root_const(doc)) && !object_holds(json_root_const(doc)) ? STORE_DELETE : STORE_UPDATE;
}

/* One round of read, change, write. 0: answered or on its way; else an outcome. */
static int modify_once(struct write *write, bool *ret_owned_by_commit)
{
        struct call *call = write->call;
        bool status_only = g_strcmp0(call->target.subresource, "status") == 0;
        autostoreobject base = store_get_newest(store_of(call), call->target.kind, call->target.namespace, call->target.name);
        struct store_op op = {.kind = call->target.kind, .namespace = call->target.namespace, .name = call->target.name};
        g_autoptr(json_doc) doc = NULL;
        int r;

        if (!base && (write->type != BODY_APPLY || status_only))
                return STORE_E_NOT_FOUND;
        /* An apply of what is not there yet creates it. */
        if (!base && (!call_authorise(call, "create") || !namespace_takes(call)))
                return 0;
        doc = change_make(&(struct change){
                .call = call, .type = write->type, .body = json_root_const(write->body), .base = base, .status_only = status_only});
        if (!doc || !guard_allows(call, base, doc) || (base && answer_unchanged(write, base, doc)))
                return 0;
        if (call->params.dry_run) {
                dry_modify(call, base, doc);
                return 0;
        }
        write->code = base ? 200 : 201;
        op.expect_revision = base ? base->revision : 0;
        op.verb = verb_of(base, doc);
        op.doc = op.verb == STORE_DELETE ? NULL : g_steal_pointer(&doc);
        r = commit(write, &op, base);
        *ret_owned_by_commit = r == 0;
        return r == STORE_E_EXISTS ? STORE_E_CONFLICT : r;
}

void write_modify(struct call *call, enum body_type type, struct json_doc *body)
{
        g_autoptr(write) write = write_new(call, type, body, 200);
        bool owned = false;
        int r;

        /* A conflict here is another gateway's write between our reading and writing: read again. A revision that the client named
         * is checked against what was read and refused there. */
        do {
                r = modify_once(write, &owned);
        } while (r == STORE_E_CONFLICT && ++write->attempts < ATTEMPTS_MAX);
        if (r)
                write_refuse_outcome(call, r);
        else if (owned)
                write = NULL;
}

/* --- from headers to body
 * ------------------------------------------------------------------------------------------------------------ */

static void on_too_large(struct http_request *request, void *userdata)
{
        call_refuse_words(userdata, 413, "the body of the request is too large: at most %u bytes are taken", LIMIT_HTTP_BODY_BYTES);
}

static bool force_fits(struct call *call, enum body_type type)
{
        g_autoptr(schema_faults) faults = schema_faults_new();

        if (!call->params.force || type == BODY_APPLY)
                return true;
        schema_faults_add(faults, "force", REASON_FIELD_VALUE_FORBIDDEN, "Forbidden: may not be specified for non-apply patch");
        call_refuse(call, &(struct refusal){.code = 422,
                                            .message = "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be "
                                                       "specified for non-apply patch",
                                            .faults = faults});
        return false;
}

static void on_change_body(struct http_request *request, const char *text, size_t len, void *userdata)
{
        g_autoptr(call) call = call_ref(userdata);
        struct json_doc *body;
        enum body_type type;

        if (!body_type_of(call, &type) || !force_fits(call, type) || !once_begin(call, text, len))
                return;
        body = body_parse(call, type, text, len);
        if (!body)
                return;
        if (strcmp(call->attributes.verb, "create") == 0)
                write_create(call, type, body);
        else
                write_modify(call, type, body);
}

static void on_delete_body(struct http_request *request, const char *text, size_t len, void *userdata)
{
        g_autoptr(call) call = call_ref(userdata);
        struct json_doc *options;
        enum body_type type;

        if ((len > 0 && !body_type_of(call, &type)) || !once_begin(call, text, len))
                return;
        options = len > 0 ? body_parse(call, type, text, len) : json_doc_new();
        if (!options)
                return;
        if (strcmp(call->attributes.verb, "delete") == 0)
                write_delete(call, options);
        else
                write_delete_collection(call, options);
}

void write_begin(struct call *call)
{
        bool deletes = g_str_has_prefix(call->attributes.verb, "delete");
        enum body_type type;

        /* A body of a type that is not understood is refused before it is read. */
        if (!deletes && !body_type_of(call, &type))
                return;
        http_request_body_whole(call->request, LIMIT_HTTP_BODY_BYTES, deletes ? on_delete_body : on_change_body, on_too_large);
}
