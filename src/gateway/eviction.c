/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limits.h"
#include "gateway/gateway.h"
#include "generated/api_types.h"

#include <assert.h>
#include <string.h>

/*
 * Eviction of Pods, as `kubectl drain` asks for it. A machine cannot move to another host yet. One whose owner allows it, by the
 * annotation gabbro.dev/eviction-policy=Stop, is stopped as a VirtualMachineOperation does; the host of any other is not freed, and
 * the refusal says what to do. Its status, 429, makes tools ask again: when the machine was stopped meanwhile, its Pod is gone.
 */

#define ANNOTATION_POLICY "gabbro.dev/eviction-policy"
#define RETRY_AFTER_S     "1"

struct eviction {
        struct gateway *gateway;
        struct http_request *request; /* NULL: gone */
        const struct store_object *pod, *machine;
        char *user;
        bool committing, over;
};

static void eviction_free(struct eviction *eviction)
{
        if (eviction->committing && !eviction->over)
                return;
        store_object_unref(eviction->pod);
        if (eviction->machine)
                store_object_unref(eviction->machine);
        g_free(eviction->user);
        g_free(eviction);
}

static void on_gone(struct http_request *request, void *userdata)
{
        struct eviction *eviction = userdata;

        eviction->request = NULL;
        eviction_free(eviction);
}

/* --- answers
 * ------------------------------------------------------------------------------------------------------------------------- */

static void reply_evicted(struct http_request *request)
{
        static const char text[] =
                "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Success\",\"code\":201}";

        http_reply(request, 201, "application/json", text, strlen(text));
}

static void reply_stays(const struct eviction *eviction, const char *why)
{
        const char *namespace = eviction->pod->namespace, *name = eviction->pod->name;
        g_autofree char *words =
                g_strdup_printf("machine %s/%s stays on %s: %s. Stop it (gabbro stop %s -n %s), or let evictions stop it: kubectl "
                                "annotate vm %s -n %s " ANNOTATION_POLICY "=Stop",
                                namespace, name, json_find_string(eviction->pod->root, "spec", "nodeName", NULL) ?: "its host", why,
                                name, namespace, name, namespace);

        http_reply_header(eviction->request, "Retry-After", RETRY_AFTER_S);
        api_reply_status(eviction->request, 429, "TooManyRequests", words, NULL);
}

/* --- stopping
 * ------------------------------------------------------------------------------------------------------------------------- */

static void on_written(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        struct eviction *eviction = userdata;

        eviction->over = true;
        if (!eviction->request) {
                eviction_free(eviction);
                return;
        }
        if (result == 0)
                reply_evicted(eviction->request);
        else
                gateway_reply_lost(eviction->request, result);
}

static struct json_doc *stop_of(const struct eviction *eviction)
{
        struct json_doc *doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT), *owner;

        json_set_root(doc, root);
        json_set_string(doc, root, "apiVersion", "gabbro.dev/v1");
        json_set_string(doc, root, "kind", "VirtualMachineOperation");
        owner = json_append(json_ensure_array(doc, json_ensure_object(doc, root, "metadata"), "ownerReferences"),
                            json_new(doc, JSON_OBJECT));
        json_set_string(doc, owner, "apiVersion", "gabbro.dev/v1");
        json_set_string(doc, owner, "kind", "VirtualMachine");
        json_set_string(doc, owner, "name", eviction->machine->name);
        json_set_string(doc, owner, "uid", eviction->machine->uid);
        json_set_string(doc, json_ensure_object(doc, root, "spec"), "type", "Stop");
        json_set_string(doc, json_get(root, "spec"), "virtualMachineName", eviction->machine->name);
        schema_default(&api_virtual_machine_operation_kind, doc, root);
        return doc;
}

/* One order for each Pod, whoever asks how often: its name is the Pod's uid. */
static void stop(struct eviction *eviction)
{
        g_autofree char *name = g_strconcat("evict-", eviction->pod->uid, NULL);
        const struct objects_target target = {.kind = &api_virtual_machine_operation_kind,
                                              .namespace = eviction->pod->namespace,
                                              .name = name,
                                              .actor = eviction->user};
        int r;

        eviction->committing = true;
        r = objects_create(eviction->gateway, &target, stop_of(eviction), on_written, eviction);
        if (r == 0)
                return;
        eviction->over = true;
        if (r == STORE_E_EXISTS)
                reply_evicted(eviction->request);
        else
                gateway_reply_lost(eviction->request, r);
}

/* --- the request
 * --------------------------------------------------------------------------------------------------------------------- */

/* Why it may not be stopped; NULL: it may. */
static const char *objection(const struct store_object *machine)
{
        const char *policy =
                json_string(json_get(json_find(machine->root, "metadata", "annotations", NULL), ANNOTATION_POLICY), "");
        const char *run = json_find_string(machine->root, "spec", "runPolicy", NULL);

        if (strcmp(policy, "Stop") != 0)
                return "machines cannot be moved to another host yet";
        if (g_strcmp0(run, "AlwaysOn") == 0)
                return "its run policy is AlwaysOn, which starts it again";
        return NULL;
}

static bool is_dry(const struct json_value *options)
{
        const struct json_value *list = json_get(options, "dryRun");

        return strcmp(json_string(json_first(list), ""), "All") == 0;
}

static void judge(struct eviction *eviction, const struct json_value *body)
{
        const struct json_value *options = json_get(body, "deleteOptions");
        const char *uid = json_find_string(options, "preconditions", "uid", NULL);
        const char *dry = http_request_query(eviction->request, "dryRun"), *why;

        eviction->machine =
                store_get(eviction->gateway->store, &api_virtual_machine_kind, eviction->pod->namespace, eviction->pod->name);
        if (uid && strcmp(uid, eviction->pod->uid) != 0)
                api_reply_status(eviction->request, 409, "Conflict", "the UID in the precondition is not that of the pod", NULL);
        else if (!eviction->machine || json_find(eviction->machine->root, "metadata", "deletionTimestamp", NULL))
                reply_evicted(eviction->request); /* it goes anyway */
        else if ((why = objection(eviction->machine)))
                reply_stays(eviction, why);
        else if (is_dry(options) || g_strcmp0(dry, "All") == 0)
                reply_evicted(eviction->request);
        else
                stop(eviction);
}

static void on_body(struct http_request *request, const char *body, size_t len, void *userdata)
{
        struct json_doc *doc = len ? gateway_body_json(request, body, len) : json_doc_new();

        if (doc)
                judge(userdata, json_root_const(doc));
        json_doc_free(doc);
}

static void handle(struct http_request *request, const struct auth_identity *identity, const struct store_object *object,
                   void *userdata)
{
        struct eviction *eviction = g_new0(struct eviction, 1);

        *eviction = (struct eviction){
                .gateway = userdata, .request = request, .pod = store_object_ref(object), .user = g_strdup(identity->user)};
        http_request_set_userdata(request, eviction);
        http_request_on_gone(request, on_gone);
        http_request_body_whole(request, LIMIT_HTTP_BODY_BYTES, on_body, NULL);
}

void eviction_init(struct gateway *gateway)
{
        const struct api_subresource eviction = {
                .kind = &api_pod_kind,
                .name = "eviction",
                .dry_runs = true,
                .method = "POST",
                .verb = "create",
                .as_group = "policy",
                .as_version = "v1",
                .as_kind = "Eviction",
                .handle = handle,
                .userdata = gateway,
        };

        api_add_subresource(gateway->api, &eviction);
}
