/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/error.h"
#include "gateway/gateway.h"

#include <string.h>

bool objects_exists(struct gateway *gateway, const struct schema_kind *kind, const char *namespace, const char *name)
{
        autostoreobject object = store_get_newest(gateway->store, kind, namespace, name);

        return object != NULL;
}

static struct json_doc *copy_document(const struct store_object *object)
{
        struct json_doc *doc = json_doc_new();

        json_set_root(doc, json_copy(doc, object->root));
        return doc;
}

int objects_edit(struct gateway *gateway, const struct objects_target *target, objects_edit_fn edit, void *edit_userdata,
                 store_done_fn done, void *done_userdata)
{
        autostoreobject object = store_get_newest(gateway->store, target->kind, target->namespace, target->name);

        assert(target->actor);
        if (!object)
                return OBJECTS_E_NOT_FOUND;
        g_autoptr(json_doc) doc = copy_document(object);
        switch (edit(doc, json_root(doc), edit_userdata)) {
        case OBJECTS_SAME:
                return OBJECTS_E_SAME;
        case OBJECTS_REFUSED:
                return OBJECTS_E_REFUSED;
        case OBJECTS_CHANGED:
                break;
        }
        struct store_op op = {
                .verb = STORE_UPDATE,
                .kind = target->kind,
                .namespace = target->namespace,
                .name = target->name,
                .doc = g_steal_pointer(&doc),
                .expect_revision = object->revision,
        };
        struct store_txn txn = {
                .ops = &op, .n_ops = 1, .actor = {.user = target->actor, .client = target->actor, .verb = "update"}};

        return error_fold(store_commit(gateway->store, &txn, done, done_userdata, NULL));
}

void objects_stamp(struct gateway *gateway, const struct objects_target *target, struct json_doc *doc)
{
        struct json_value *meta = json_ensure_object(doc, json_root(doc), "metadata");
        char uid[UUID_TEXT_MAX], now[CLOCK_RFC3339_MAX];

        json_set_string(doc, meta, "name", target->name);
        if (target->namespace)
                json_set_string(doc, meta, "namespace", target->namespace);
        json_set_string(doc, meta, "uid", uuid_generate(gateway->random, uid));
        json_set_string(doc, meta, "creationTimestamp", clock_format_rfc3339(clock_real_us(gateway->clock), false, now));
        json_set_int(doc, meta, "generation", 1);
}

int objects_create(struct gateway *gateway, const struct objects_target *target, struct json_doc *doc, store_done_fn done,
                   void *done_userdata)
{
        assert(target->actor);

        objects_stamp(gateway, target, doc);
        struct store_op op = {
                .verb = STORE_CREATE,
                .kind = target->kind,
                .namespace = target->namespace,
                .name = target->name,
                .doc = doc,
        };
        struct store_txn txn = {
                .ops = &op, .n_ops = 1, .actor = {.user = target->actor, .client = target->actor, .verb = "create"}};
        int r = store_commit(gateway->store, &txn, done, done_userdata, NULL);

        return r == STORE_E_EXISTS ? r : error_fold(r);
}

struct json_doc *gateway_body_json(struct http_request *request, const char *body, size_t len)
{
        struct json_doc *doc = NULL;
        struct json_fault fault = {};

        if (json_parse(body, len, &doc, &fault)) {
                g_autofree char *words = g_strdup_printf("the body is no JSON: %s at byte %zu", fault.reason, fault.offset);
                api_reply_status(request, 400, "BadRequest", words, NULL);
                return NULL;
        }
        if (!json_is(json_root(doc), JSON_OBJECT)) {
                api_reply_status(request, 400, "BadRequest", "the body is no JSON object", NULL);
                return json_doc_free(doc);
        }
        return doc;
}

void gateway_reply_json(struct http_request *request, int status, const struct json_value *value)
{
        g_autoptr(GString) text = g_string_new(NULL);

        json_write(value, text);
        http_reply(request, status, "application/json", text->str, text->len);
}

const struct store_object *gateway_bound_intent(struct gateway *gateway, struct http_request *request,
                                                const struct auth_identity *identity, const struct schema_kind *kind,
                                                const char *name)
{
        autostoreobject object = store_get(gateway->store, kind, NULL, name);

        if (!object) {
                api_reply_status(request, 404, "NotFound", "no such intent", NULL);
                return NULL;
        }
        const char *node = json_find_string(object->root, "spec", "nodeName", NULL);
        if (g_strcmp0(node, identity->node) != 0) {
                api_reply_status(request, 403, "Forbidden", "the intent is not bound to this node", NULL);
                return NULL;
        }
        return g_steal_pointer(&object);
}

void gateway_reply_lost(struct http_request *request, int result)
{
        if (result == -ENOSPC)
                api_reply_status(request, 507, NULL, "nothing was written: the disk of the gateway is full", NULL);
        else
                api_reply_status(request, 500, "InternalError", "the store no longer accepts writes", NULL);
}

void slot_done(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        struct slot *slot = userdata;

        if (slot->request && result < 0)
                gateway_reply_lost(slot->request, result);
        else if (slot->request) {
                g_autoptr(json_doc) doc = json_doc_new();
                struct json_value *root = json_new(doc, JSON_OBJECT);
                if (n_objects > 0) {
                        g_autofree char *revision = g_strdup_printf("%" G_GUINT64_FORMAT, objects[0]->revision);
                        json_set_string(doc, root, "resourceVersion", revision);
                }
                gateway_reply_json(slot->request, 200, root);
        }
        slot_finish(slot);
}

void slot_answer_outcome(struct slot *slot, int r)
{
        if (slot->request) {
                if (r == OBJECTS_E_NOT_FOUND)
                        api_reply_status(slot->request, 404, "NotFound", "no such object", NULL);
                else if (r == OBJECTS_E_SAME)
                        http_reply(slot->request, 200, "application/json", "{}", 2);
                else if (r == OBJECTS_E_REFUSED)
                        api_reply_status(slot->request, 409, "Conflict", "the object has changed", NULL);
                else
                        api_reply_status(slot->request, 503, "ServiceUnavailable", "the store does not accept writes", NULL);
        }
        slot_finish(slot);
}
