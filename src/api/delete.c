/* SPDX-License-Identifier: Apache-2.0 */
#include "api/object.h"
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

enum write_deletion write_deletion_op(const struct store_object *object, const struct clock *clock, struct store_op *ret_op)
{
        assert(object && clock && ret_op);
        *ret_op = (struct store_op){
                .verb = STORE_DELETE,
                .kind = object->kind,
                .namespace = object->namespace,
                .name = object->name,
                .expect_revision = object->revision,
        };
        if (!object_holds(object->root))
                return WRITE_GOES;
        if (object_is_deleting(object->root))
                return WRITE_MARKED_YET;
        ret_op->verb = STORE_UPDATE;
        ret_op->doc = json_doc_new();
        json_set_root(ret_op->doc, json_copy(ret_op->doc, object->root));
        object_begin_deletion(object->kind, clock, ret_op->doc);
        return WRITE_MARKED;
}

/* --- one object
 * ---------------------------------------------------------------------------------------------------------------------- */

/* DeleteOptions that concern us; the propagation policy is accepted: whoever owns by ownerReferences cleans up itself. */
static bool options_are_valid(struct call *call, const struct json_value *options)
{
        static const char *const policies[] = {"Background", "Foreground", "Orphan", NULL};
        const char *policy =
                json_find_string(options, "propagationPolicy", NULL) ?: http_request_query(call->request, "propagationPolicy");
        const struct json_value *dry_run = json_get(options, "dryRun");

        if (options && !json_is(options, JSON_OBJECT) && !json_is(options, JSON_NULL)) {
                call_refuse_words(call, 400, "the body of a delete must be DeleteOptions");
                return false;
        }
        if (policy && *policy && !g_strv_contains(policies, policy)) {
                call_refuse_words(
                        call, 422,
                        "propagationPolicy: Unsupported value: \"%.40s\": supported values: Background, Foreground, Orphan",
                        policy);
                return false;
        }
        for (const struct json_value *value = json_first(dry_run); value; value = json_next(value)) {
                if (strcmp(json_string(value, ""), "All") != 0) {
                        call_refuse_words(call, 422, "dryRun: Unsupported value: supported values: All");
                        return false;
                }
                call->params.dry_run = true;
        }
        return true;
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

/* The namespace that everything without a project goes to. */
static bool is_undeletable(const struct schema_kind *kind, const char *name)
{
        return kind == &api_namespace_kind && strcmp(name, "default") == 0;
}

static void reply_gone(struct call *call, const char *uid)
{
        call_reply_text(call, 200, status_success(call->target.name, call->target.group, call->target.kind->plural, uid));
}

static void on_deleted(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        g_autoptr(call) call = userdata;

        if (result != 0 || n_objects == 0)
                write_refuse_outcome(call, result < 0 ? result : -EIO);
        else if (object_holds(objects[0]->root))
                call_reply_object(call, 200, objects[0]);
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
        enum write_deletion deletion;
        struct store_txn txn = {.n_ops = 1};
        struct store_op op;
        int r;

        if (!options_are_valid(call, json_root_const(taken)))
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
        deletion = write_deletion_op(object, call->api->options.clock, &op);
        if (deletion == WRITE_MARKED_YET || call->params.dry_run) {
                reply_without_write(call, object, op.doc, deletion);
                json_doc_free(op.doc);
                return;
        }
        txn.ops = &op;
        txn.actor = call_actor(call);
        r = store_commit(store_of(call), &txn, on_deleted, call_ref(call), NULL);
        if (r == 0)
                return;
        write_refuse_outcome(call, r);
        call_unref(call);
}

/* --- collections
 * --------------------------------------------------------------------------------------------------------------------- */

/* Deleting many: transactions of bounded size, one after the other, each read anew. */
struct sweep {
        struct call *call; /* a reference */
        struct selector *selector;
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

        if (is_undeletable(object->kind, object->name))
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
                if (write_deletion_op(object, sweep->call->api->options.clock, &ops[n]) != WRITE_MARKED_YET)
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
        struct sweep *sweep;
        struct selector *selector;

        if (!options_are_valid(call, json_root_const(taken)))
                return;
        selector = selector_new(call->target.kind, call->params.label_selector, call->params.field_selector, &why);
        if (!selector) {
                call_refuse_words(call, 400, "%s", why);
                return;
        }
        sweep = g_new0(struct sweep, 1);
        *sweep = (struct sweep){.call = call_ref(call), .selector = selector, .names = g_ptr_array_new_with_free_func(g_free)};
        store_list(store_of(call), call->target.kind, call->target.namespace, NULL, sweep_collect, sweep);
        if (call->params.dry_run)
                g_ptr_array_set_size(sweep->names, 0);
        sweep_go_on(sweep);
}
