/* SPDX-License-Identifier: Apache-2.0 */
#include "admission/admission.h"
#include "api/object.h"
#include "api/once.h"
#include "api/selector.h"
#include "api/write.h"
#include "base/limits.h"
#include "generated/api_types.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

static struct store *store_of(const struct call *call)
{
        return call->api->options.store;
}

/* --- dependents
 * ----------------------------------------------------------------------------------------------------------------------- */

#define FINALIZER_FOREGROUND "foregroundDeletion"
#define FINALIZER_ORPHAN     "orphan"

static const char *const policies[] = {
        [WRITE_BACKGROUND] = "Background", [WRITE_FOREGROUND] = "Foreground", [WRITE_ORPHAN] = "Orphan"};

static enum write_propagation propagation_of(const char *text)
{
        for (size_t i = WRITE_BACKGROUND; i < G_N_ELEMENTS(policies); i++)
                if (g_strcmp0(policies[i], text) == 0)
                        return (enum write_propagation)i;
        return WRITE_AS_MARKED;
}

static void set_finalizer(struct json_doc *doc, struct json_value *metadata, const char *name, bool there)
{
        struct json_value *finalizers = json_get(metadata, "finalizers");
        size_t index = json_length(finalizers);
        bool found = false;

        while (index-- > 0) {
                if (strcmp(json_string(json_at(finalizers, index), ""), name) != 0)
                        continue;
                found = true;
                if (!there)
                        json_remove_at(finalizers, index);
        }
        if (there && !found)
                json_append(json_ensure_array(doc, metadata, "finalizers"), json_new_string(doc, name));
        else if (finalizers && json_length(finalizers) == 0)
                json_remove(metadata, "finalizers");
}

/* The garbage collector reads from the finalizers what becomes of the dependents. Events have none, and nobody looks for them. */
static void set_propagation(const struct schema_kind *kind, struct json_doc *doc, enum write_propagation propagation)
{
        struct json_value *metadata = json_ensure_object(doc, json_root(doc), "metadata");

        if (propagation == WRITE_AS_MARKED || kind == &api_event_kind)
                return;
        set_finalizer(doc, metadata, FINALIZER_FOREGROUND, propagation == WRITE_FOREGROUND);
        set_finalizer(doc, metadata, FINALIZER_ORPHAN, propagation == WRITE_ORPHAN);
}

enum write_deletion write_deletion_op(const struct store_object *object, const struct clock *clock,
                                      enum write_propagation propagation, struct store_op *ret_op)
{
        g_autoptr(json_doc) doc = json_doc_new();

        assert(object && clock && ret_op);
        *ret_op = (struct store_op){
                .verb = STORE_DELETE,
                .kind = object->kind,
                .namespace = object->namespace,
                .name = object->name,
                .expect_revision = object->revision,
        };
        json_set_root(doc, json_copy(doc, object->root));
        set_propagation(object->kind, doc, propagation);
        if (!object_holds(json_root(doc)))
                return WRITE_GOES;
        if (object_is_deleting(object->root) && json_equal(json_root(doc), object->root))
                return WRITE_MARKED_YET;
        ret_op->verb = STORE_UPDATE;
        if (!object_is_deleting(object->root))
                object_begin_deletion(object->kind, clock, doc);
        ret_op->doc = g_steal_pointer(&doc);
        return WRITE_MARKED;
}

/* --- one object
 * ---------------------------------------------------------------------------------------------------------------------- */

static bool dry_run_is_valid(struct call *call, const struct json_value *options)
{
        const struct json_value *dry_run = json_get(options, "dryRun");

        for (const struct json_value *value = json_first(dry_run); value; value = json_next(value)) {
                if (strcmp(json_string(value, ""), "All") != 0) {
                        call_refuse_words(call, 422, "dryRun: Unsupported value: supported values: All");
                        return false;
                }
                call->params.dry_run = true;
        }
        return true;
}

/* gracePeriodSeconds is taken, and says nothing here: how long a guest may take is told by its machine. */
static bool grace_is_valid(struct call *call, const struct json_value *options)
{
        const struct json_value *body = json_get(options, "gracePeriodSeconds");
        const char *query = http_request_query(call->request, "gracePeriodSeconds");
        gint64 seconds;

        if ((!body || json_is(body, JSON_NULL) || json_int64(body, &seconds) == 0) &&
            (!query || g_ascii_string_to_signed(query, 10, G_MININT64, G_MAXINT64, &seconds, NULL)))
                return true;
        call_refuse_words(call, 400, "gracePeriodSeconds must be a whole number");
        return false;
}

/* propagationPolicy, or the orphanDependents of old. */
static bool take_propagation(struct call *call, const struct json_value *options, enum write_propagation *ret_propagation)
{
        const char *policy =
                json_find_string(options, "propagationPolicy", NULL) ?: http_request_query(call->request, "propagationPolicy");
        const struct json_value *body = json_get(options, "orphanDependents");
        const char *orphan = json_is_bool(body) ? (json_bool(body, false) ? "true" : "false")
                                                : http_request_query(call->request, "orphanDependents");

        if (policy && *policy && orphan && *orphan) {
                call_refuse_words(call, 422, "orphanDependents and propagationPolicy cannot be both set");
                return false;
        }
        *ret_propagation = policy && *policy        ? propagation_of(policy)
                           : !orphan || !*orphan    ? WRITE_AS_MARKED
                           : strcmp(orphan, "true") ? WRITE_BACKGROUND
                                                    : WRITE_ORPHAN;
        if (!policy || !*policy || *ret_propagation != WRITE_AS_MARKED)
                return true;
        call_refuse_words(call, 422,
                          "propagationPolicy: Unsupported value: \"%.40s\": supported values: Background, Foreground, Orphan",
                          policy);
        return false;
}

static bool options_are_valid(struct call *call, const struct json_value *options, enum write_propagation *ret_propagation)
{
        if (options && !json_is(options, JSON_OBJECT) && !json_is(options, JSON_NULL)) {
                call_refuse_words(call, 400, "the body of a delete must be DeleteOptions");
                return false;
        }
        return take_propagation(call, options, ret_propagation) && grace_is_valid(call, options) && dry_run_is_valid(call, options);
}

static bool preconditions_hold(struct call *call, const struct store_object *object, const struct json_value *options)
{
        const char *uid = json_find_string(options, "preconditions", "uid", NULL);
        const char *revision = json_find_string(options, "preconditions", "resourceVersion", NULL);
        char current[24];

        g_snprintf(current, sizeof(current), "%" PRIu64, object->revision);
        if (uid && strcmp(uid, object->uid ?: "") != 0)
                call_refuse_words(call, 409, "Precondition failed: UID in precondition: %.80s, UID in object meta: %s", uid,
                                  object->uid);
        else if (revision && strcmp(revision, current) != 0)
                call_refuse_words(call, 409,
                                  "Precondition failed: ResourceVersion in precondition: %.40s, ResourceVersion in object meta: %s",
                                  revision, current);
        else
                return true;
        return false;
}

/* The namespace that everything without a project goes to, and those of Gabbro itself. */
static bool is_undeletable(const struct schema_kind *kind, const char *name)
{
        static const char *const names[] = {"default", "kube-system", "kube-node-lease", NULL};

        return kind == &api_namespace_kind && g_strv_contains(names, name);
}

static bool is_kept(struct call *call, const struct store_object *object)
{
        const char *code = NULL;
        g_autofree char *words = admission_keeps(store_of(call), object, &code);

        if (!words)
                return false;

        g_autofree char *message = g_strdup_printf("%s \"%s\" cannot be deleted: %s", object->kind->plural, object->name, words);
        const struct refusal refusal = {.code = 409, .message = message, .cause = code, .cause_message = words};

        call_refuse(call, &refusal);
        return true;
}

static void reply_gone(struct call *call, const char *uid)
{
        call_reply_text(call, 200, status_success(call->target.name, call->target.group, call->target.kind->plural, uid));
}

static void on_deleted(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        g_autoptr(call) call = userdata;
        autostoreobject left = NULL;

        if (result != 0 || n_objects == 0) {
                write_refuse_outcome(call, result < 0 ? result : -EIO);
                return;
        }
        left = store_get(store_of(call), objects[0]->kind, objects[0]->namespace, objects[0]->name);
        if (left && left->revision == objects[0]->revision)
                call_reply_object(call, 200, left);
        else
                reply_gone(call, objects[0]->uid);
}

/* No write is needed: a dry run, or the object was marked before. */
static void reply_without_write(struct call *call, const struct store_object *object, struct json_doc *marked,
                                enum write_deletion deletion)
{
        if (deletion == WRITE_GOES)
                reply_gone(call, object->uid);
        else if (marked)
                call_reply_doc(call, 200, marked);
        else
                call_reply_object(call, 200, object);
}

void write_delete(struct call *call, struct json_doc *options)
{
        g_autoptr(json_doc) taken = options;
        autostoreobject object = store_get_newest(store_of(call), call->target.kind, call->target.namespace, call->target.name);
        enum write_propagation propagation;
        enum write_deletion deletion;
        struct store_op ops[2];
        struct store_txn txn = {.ops = ops, .n_ops = 1};
        int r;

        if (!options_are_valid(call, json_root_const(taken), &propagation))
                return;
        if (!object) {
                write_refuse_absent(call);
                return;
        }
        if (!preconditions_hold(call, object, json_root_const(taken)))
                return;
        if (is_undeletable(call->target.kind, call->target.name)) {
                call_refuse_words(call, 403, "namespaces \"%s\" is forbidden: this namespace may not be deleted",
                                  call->target.name);
                return;
        }
        if (is_kept(call, object))
                return;
        deletion = write_deletion_op(object, call->api->options.clock, propagation, &ops[0]);
        if (deletion == WRITE_MARKED_YET || call->params.dry_run) {
                reply_without_write(call, object, ops[0].doc, deletion);
                json_doc_free(ops[0].doc);
                return;
        }
        txn.actor = call_actor(call);
        txn.n_ops += once_op(call, 200, object->root, &ops[1]);
        r = store_commit(store_of(call), &txn, on_deleted, call_ref(call), NULL);
        if (r == 0) {
                once_accepted(call);
                return;
        }
        write_refuse_outcome(call, r);
        call_unref(call);
}

/* --- collections
 * --------------------------------------------------------------------------------------------------------------------- */

/* Deleting many: transactions of bounded size, one after the other, each read anew. */
struct sweep {
        struct call *call; /* a reference */
        struct selector *selector;
        enum write_propagation propagation;
        GPtrArray *names;
        guint next;
};

static struct sweep *sweep_free(struct sweep *sweep)
{
        if (!sweep)
                return NULL;
        selector_free(sweep->selector);
        g_ptr_array_unref(sweep->names);
        call_unref(sweep->call);
        g_free(sweep);
        return NULL;
}

static bool sweep_collect(const struct store_object *object, void *userdata)
{
        struct sweep *sweep = userdata;

        const char *code;
        g_autofree char *words = admission_keeps(store_of(sweep->call), object, &code);

        if (words || is_undeletable(object->kind, object->name))
                return true;
        if (selector_matches(sweep->selector, object->root))
                g_ptr_array_add(sweep->names, g_strdup(object->name));
        return true;
}

static void sweep_go_on(struct sweep *sweep);

static void on_swept(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        struct sweep *sweep = userdata;

        if (result == 0) {
                sweep_go_on(sweep);
                return;
        }
        write_refuse_outcome(sweep->call, result);
        sweep_free(sweep);
}

/* The operations of the next transaction. The objects are kept until it is handed over: operations borrow their names. */
static size_t sweep_fill(struct sweep *sweep, struct store_op *ops, GPtrArray *objects)
{
        const struct target *target = &sweep->call->target;
        size_t n = 0;

        while (sweep->next < sweep->names->len && n < LIMIT_STORE_TXN_OPS) {
                const char *name = sweep->names->pdata[sweep->next++];
                const struct store_object *object = store_get_newest(store_of(sweep->call), target->kind, target->namespace, name);

                if (!object)
                        continue;
                g_ptr_array_add(objects, (void *)object);
                if (write_deletion_op(object, sweep->call->api->options.clock, sweep->propagation, &ops[n]) != WRITE_MARKED_YET)
                        n++;
        }
        return n;
}

static void unref_object(gpointer object)
{
        store_object_unref(object);
}

static void sweep_go_on(struct sweep *sweep)
{
        g_autoptr(GPtrArray) objects = g_ptr_array_new_with_free_func(unref_object);
        g_autofree struct store_op *ops = g_new0(struct store_op, LIMIT_STORE_TXN_OPS);
        struct store_txn txn = {.ops = ops, .actor = call_actor(sweep->call)};
        int r = 0;

        txn.n_ops = sweep_fill(sweep, ops, objects);
        if (txn.n_ops) {
                r = store_commit(store_of(sweep->call), &txn, on_swept, sweep, NULL);
                if (r == 0)
                        return;
                write_refuse_outcome(sweep->call, r);
        } else {
                call_reply_text(sweep->call, 200,
                                status_success(NULL, sweep->call->target.group, sweep->call->target.kind->plural, NULL));
        }
        sweep_free(sweep);
}

void write_delete_collection(struct call *call, struct json_doc *options)
{
        g_autoptr(json_doc) taken = options;
        g_autofree char *why = NULL;
        enum write_propagation propagation;
        struct sweep *sweep;
        struct selector *selector;

        if (!options_are_valid(call, json_root_const(taken), &propagation))
                return;
        if (call->once_id) {
                call_refuse_words(call, 400, "a deletion of many takes no " ONCE_HEADER ": it is of many transactions");
                return;
        }
        selector = selector_new(call->target.kind, call->params.label_selector, call->params.field_selector, &why);
        if (!selector) {
                call_refuse_words(call, 400, "%s", why);
                return;
        }
        sweep = g_new0(struct sweep, 1);
        *sweep = (struct sweep){.call = call_ref(call),
                                .selector = selector,
                                .propagation = propagation,
                                .names = g_ptr_array_new_with_free_func(g_free)};
        store_list(store_of(call), call->target.kind, call->target.namespace, NULL, sweep_collect, sweep);
        if (call->params.dry_run)
                g_ptr_array_set_size(sweep->names, 0);
        sweep_go_on(sweep);
}
