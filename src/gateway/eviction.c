/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"
#include "base/clock.h"
#include "base/limits.h"
#include "cache/cache.h"
#include "controllers/evacuation/evacuation.h"
#include "controllers/object.h"
#include "gateway/gateway.h"

#include <assert.h>
#include <string.h>

/*
 * Eviction of Pods, as `kubectl drain` asks for it. A mark on the Pod says that its machine is to leave its host; the controller of
 * evacuations moves it. Until the Pod is gone the answer is 429 with words of how far that is, which makes tools ask again; 409,
 * and no mark, when the machine can never leave as things are. One whose owner allows it, by the annotation
 * gabbro.dev/eviction-policy=Stop, is stopped when it cannot be moved now, as a VirtualMachineOperation does.
 *
 * The Pod on the next host has the same name. Who asks again then means the one that is gone: an eviction from a host that is not
 * cordoned, soon after an evacuation has brought the machine there, has nothing left to do.
 */

#define RETRY_AFTER_S  "1"
#define SECOND_US      1000000ull
#define ASKED_AGAIN_US (60 * SECOND_US) /* tools that ask again do so within 5 s */

struct eviction {
        struct gateway *gateway;
        struct http_request *request; /* NULL: gone */
        const struct store_object *pod, *machine;
        char *user, *words; /* words: told when the mark is written */
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
        g_free(eviction->words);
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

static const char *node_of(const struct eviction *eviction)
{
        return json_find_string(eviction->pod->root, "spec", "nodeName", NULL) ?: "its host";
}

static const char *annotation(const struct store_object *object, const char *key)
{
        return json_string(json_get(json_find(object->root, "metadata", "annotations", NULL), key), NULL);
}

/* It can come true by itself: the tool shall ask again. */
static void reply_later(const struct eviction *eviction, const char *words)
{
        g_autofree char *text = g_strdup_printf("machine %s/%s is to leave %s: %s", eviction->pod->namespace, eviction->pod->name,
                                                node_of(eviction), words);

        http_reply_header(eviction->request, "Retry-After", RETRY_AFTER_S);
        api_reply_status(eviction->request, 429, "TooManyRequests", text, NULL);
}

static void reply_stays(const struct eviction *eviction, const char *why)
{
        const char *namespace = eviction->pod->namespace, *name = eviction->pod->name;
        g_autofree char *words = g_strdup_printf(
                "machine %s/%s stays on %s: %s. Stop it (gabbro stop %s -n %s), or let evictions stop what cannot be "
                "moved: kubectl annotate vm %s -n %s " ANNOTATION_EVICTION_POLICY "=Stop",
                namespace, name, node_of(eviction), why, name, namespace, name, namespace);

        api_reply_status(eviction->request, 409, "Conflict", words, NULL);
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

/* --- moving
 * --------------------------------------------------------------------------------------------------------------------------- */

struct marking {
        const char *how;
        uint64_t now_us;
};

static enum objects_edit mark_pod(struct json_doc *doc, struct json_value *root, void *userdata)
{
        const struct marking *marking = userdata;
        struct json_value *annotations = json_ensure_object(doc, json_ensure_object(doc, root, "metadata"), "annotations");
        char time[CLOCK_RFC3339_MAX];
        g_autofree char *mark = NULL;

        if (json_get(annotations, ANNOTATION_EVICTION))
                return OBJECTS_SAME;
        mark = g_strdup_printf("%s %s", marking->how, clock_format_rfc3339(marking->now_us, true, time));
        json_set_string(doc, annotations, ANNOTATION_EVICTION, mark);
        json_remove(annotations, ANNOTATION_WITHDRAWN);
        return OBJECTS_CHANGED;
}

static void on_marked(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        struct eviction *eviction = userdata;

        eviction->over = true;
        if (!eviction->request) {
                eviction_free(eviction);
                return;
        }
        if (result == 0)
                reply_later(eviction, eviction->words);
        else
                gateway_reply_lost(eviction->request, result);
}

static void move(struct eviction *eviction, const char *words)
{
        const struct objects_target target = {
                .kind = &api_pod_kind, .namespace = eviction->pod->namespace, .name = eviction->pod->name, .actor = eviction->user};
        struct marking marking = {.how = evacuation_cordoned(eviction->gateway->cache, node_of(eviction)) ? "drain" : "alone",
                                  .now_us = clock_real_us(eviction->gateway->clock)};
        int r;

        eviction->words = g_strdup(words);
        eviction->committing = true;
        r = objects_edit(eviction->gateway, &target, mark_pod, &marking, on_marked, eviction);
        if (r == 0)
                return;
        eviction->over = true;
        if (r == OBJECTS_E_SAME)
                reply_later(eviction, words);
        else if (r == OBJECTS_E_NOT_FOUND)
                reply_evicted(eviction->request);
        else
                gateway_reply_lost(eviction->request, r);
}

/* --- the request
 * --------------------------------------------------------------------------------------------------------------------- */

/* Why it is not stopped either. */
static const char *objection(const struct cache_object *machine)
{
        return g_strcmp0(object_annotation(machine, ANNOTATION_EVICTION_POLICY), "Stop") == 0
                       ? "; its run policy AlwaysOn would start it again"
                       : "";
}

/* How far its operation is, or what it waits for. */
static const char *progress_words(const struct eviction *eviction, const struct cache_object *machine,
                                  const struct evacuation_look *look, struct arena *arena)
{
        const struct cache_object *operation = evacuation_under_way(eviction->gateway->cache, machine);
        const struct api_virtual_machine_operation *view = operation ? operation->view : NULL;
        const struct api_condition *said =
                view && view->status ? condition_get(view->status->conditions, view->status->n_conditions, "Completed") : NULL;

        if (!operation)
                return look->words;
        return arena_printf(arena, "%s (operation %s%s%s)", said ? said->message : "it begins", operation->name,
                            view->status && view->status->progress ? ", " : "",
                            view->status && view->status->progress ? view->status->progress : "");
}

/* What became of a mark a moment ago, or NULL. */
static const char *withdrawn_words(const struct eviction *eviction)
{
        const char *text = annotation(eviction->pod, ANNOTATION_WITHDRAWN), *words = text ? strchr(text, ' ') : NULL;
        g_autofree char *time = words ? g_strndup(text, (size_t)(words - text)) : NULL;
        uint64_t then_us;

        if (!time || clock_parse_rfc3339(time, &then_us) != 0 ||
            clock_real_us(eviction->gateway->clock) > then_us + ASKED_AGAIN_US ||
            evacuation_cordoned(eviction->gateway->cache, node_of(eviction)))
                return NULL;
        return words + 1;
}

static bool came_just_now(const struct eviction *eviction, const struct cache_object *machine)
{
        const struct cache *cache = eviction->gateway->cache;
        uint64_t came_us = evacuation_came_us(cache, machine, node_of(eviction));

        return came_us && clock_real_us(eviction->gateway->clock) < came_us + ASKED_AGAIN_US &&
               !evacuation_cordoned(cache, node_of(eviction));
}

static void carry_out(struct eviction *eviction, const struct cache_object *machine, bool dry)
{
        g_autoptr(arena) arena = arena_new(0);
        struct evacuation_look look = evacuation_look(eviction->gateway->cache, machine, arena);
        bool nowhere = look.way == EVACUATION_FULL || look.way == EVACUATION_STAYS;
        bool stops = nowhere && evacuation_may_stop(machine);

        if (look.way == EVACUATION_GOES || came_just_now(eviction, machine))
                reply_evicted(eviction->request);
        else if (look.way == EVACUATION_STAYS && !stops)
                reply_stays(eviction, arena_printf(arena, "%s%s", look.words, objection(machine)));
        else if (dry)
                reply_evicted(eviction->request);
        else if (stops)
                stop(eviction);
        else if (withdrawn_words(eviction))
                reply_stays(eviction, arena_printf(arena, "the eviction was withdrawn, %s", withdrawn_words(eviction)));
        else
                move(eviction, progress_words(eviction, machine, &look, arena));
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
        const char *dry = http_request_query(eviction->request, "dryRun");
        const struct cache *cache = eviction->gateway->cache;
        const struct cache_object *machine =
                cache ? cache_get(cache, &api_virtual_machine_kind, eviction->pod->namespace, eviction->pod->name) : NULL;

        eviction->machine =
                store_get(eviction->gateway->store, &api_virtual_machine_kind, eviction->pod->namespace, eviction->pod->name);
        if (uid && strcmp(uid, eviction->pod->uid) != 0)
                api_reply_status(eviction->request, 409, "Conflict", "the UID in the precondition is not that of the pod", NULL);
        else if (!eviction->machine || json_find(eviction->machine->root, "metadata", "deletionTimestamp", NULL))
                reply_evicted(eviction->request); /* it goes anyway */
        else if (!machine)
                reply_later(eviction, "the gateway has just begun");
        else
                carry_out(eviction, machine, is_dry(options) || g_strcmp0(dry, "All") == 0);
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
