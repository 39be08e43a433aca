/* SPDX-License-Identifier: Apache-2.0 */
#include "api/access.h"
#include "api/credentials.h"
#include "api/guard.h"
#include "api/once.h"
#include "api/reading.h"
#include "api/review.h"
#include "api/service.h"
#include "api/splice.h"
#include "api/watch.h"
#include "api/write.h"
#include "generated/api_types.h"

#include <assert.h>
#include <string.h>

/* --- life
 * ---------------------------------------------------------------------------------------------------------------------------- */

int api_new(const struct api_options *options, struct api **ret_api)
{
        g_autoptr(api) api = g_new0(struct api, 1);
        int r;

        assert(options && options->loop && options->store && options->clock && options->random && options->seal && ret_api);
        api->options = *options;
        api->version = g_strdup(options->version ?: "unknown");
        api->commit = g_strdup(options->commit ?: "unknown");
        api->identities = (struct identity_context){.store = options->store, .clock = options->clock};
        api->routes = g_array_new(FALSE, FALSE, sizeof(struct api_route));
        api->subresources = g_array_new(FALSE, FALSE, sizeof(struct api_subresource));
        api->readings = g_array_new(FALSE, FALSE, sizeof(struct api_reading));
        api->metrics_hooks = g_array_new(FALSE, FALSE, sizeof(struct api_metrics_hook));
        api->metrics = metrics_new();
        api->access = access_new(api);
        api->watches = api->access ? watch_hub_new(api) : NULL;
        if (!api->watches)
                return -ENOMEM;
        r = once_new(&api->options, &api->once);
        if (r >= 0)
                r = credentials_new(api, &api->credentials);
        if (r < 0)
                return r;
        *ret_api = g_steal_pointer(&api);
        return 0;
}

struct api *api_free(struct api *api)
{
        if (!api)
                return NULL;
        credentials_free(api->credentials);
        once_free(api->once);
        watch_hub_free(api->watches);
        access_free(api->access);
        metrics_free(api->metrics);
        g_array_unref(api->routes);
        g_array_unref(api->subresources);
        g_array_unref(api->readings);
        g_array_unref(api->metrics_hooks);
        g_free(api->version);
        g_free(api->commit);
        g_free(api->not_ready);
        g_free(api);
        return NULL;
}

void api_add_route(struct api *api, const struct api_route *route)
{
        assert(api && route && route->prefix && *route->prefix == '/' && (route->handle || route->run));
        g_array_append_val(api->routes, *route);
}

void api_add_subresource(struct api *api, const struct api_subresource *subresource)
{
        assert(api && subresource && subresource->kind && subresource->name && subresource->verb &&
               (subresource->handle || subresource->run));
        g_array_append_val(api->subresources, *subresource);
}

void api_add_reading(struct api *api, const struct api_reading *reading)
{
        assert(api && reading && reading->group && reading->version && reading->plural && reading->kind && reading->handle);
        g_array_append_val(api->readings, *reading);
}

void api_add_metrics(struct api *api, void (*write)(GString *out, void *userdata), void *userdata)
{
        struct api_metrics_hook hook = {.write = write, .userdata = userdata};

        assert(api && write);
        g_array_append_val(api->metrics_hooks, hook);
}

void api_set_ready(struct api *api, const char *not_ready_because)
{
        assert(api);
        g_free(api->not_ready);
        api->not_ready = g_strdup(not_ready_because);
}

/* --- answers for other facades
 * ------------------------------------------------------------------------------------------------------- */

static void reply_text(struct http_request *request, int code, GString *text)
{
        GBytes *bytes = g_string_free_to_bytes(text);

        http_reply_bytes(request, code, "application/json", bytes);
        g_bytes_unref(bytes);
}

void api_reply_status(struct http_request *request, int code, const char *reason, const char *message,
                      const struct schema_faults *faults)
{
        assert(request && message);
        reply_text(request, code,
                   status_refusal(&(struct refusal){.code = code, .reason = reason, .message = message, .faults = faults}));
}

void api_reply_object(struct http_request *request, int code, const struct store_object *object)
{
        struct target target = {};
        GString *text = g_string_sized_new(object->len + 64);

        assert(request && object);
        (void)target_parse(http_request_path(request), true, &target);
        splice_object(object, target.alias ? target.api_version : NULL, 0, text);
        target_clear(&target);
        reply_text(request, code, text);
}

/* --- who, and may they
 * --------------------------------------------------------------------------------------------------------------- */

/* The method as a verb of paths: a constant, because it also labels metrics. */
static const char *path_verb(const struct http_request *request)
{
        static const char *const verbs[] = {"get", "head", "post", "put", "patch", "delete", "options", NULL};

        for (const char *const *verb = verbs; *verb; verb++)
                if (g_ascii_strcasecmp(*verb, http_request_method(request)) == 0)
                        return *verb;
        return "other";
}

/* Connections and what they keep in memory are charged to whom they belong. */
static bool admit(struct call *call)
{
        int r = http_request_vouch(call->request, call->identity->user);

        if (r < 0)
                call_refuse(call, &(struct refusal){.code = 429,
                                                    .message = r == -EUSERS ? "too many connections of this user are open"
                                                                            : "too much of what this user's clients send, or do "
                                                                              "not read, is kept in memory",
                                                    .retry_after_s = 1});
        return r == 0;
}

static bool authenticate(struct call *call)
{
        int r = identity_resolve(&call->api->identities, call->request, &call->identity);

        if (r == 0 && call->identity->kind != AUTH_ANONYMOUS)
                return admit(call);
        if (!call->identity)
                call->identity = auth_identity_new(AUTH_ANONYMOUS, "gabbro:anonymous", NULL);
        http_reply_header(call->request, "WWW-Authenticate", "Bearer");
        call_refuse(call, &(struct refusal){.code = 401, .message = "Unauthorized"});
        return false;
}

static bool authorise(struct call *call)
{
        const struct target *target = &call->target;
        struct auth_decision decision;
        g_autofree char *resource = NULL, *message = NULL;

        auth_authorise(access_policy(call->api->access), call->identity, &call->attributes, &decision);
        if (decision.allowed || guard_may_read_body(call))
                return true;
        if (target->kind) {
                resource = target_resource_text(target);
                message = g_strdup_printf("%s %s%s%sis forbidden: %s", resource, target->name ? "\"" : "", target->name ?: "",
                                          target->name ? "\" " : "", decision.reason);
        }
        call_refuse(call, &(struct refusal){.code = 403, .message = message ?: decision.reason});
        return false;
}

bool call_authorise(struct call *call, const char *verb)
{
        const char *own = call->attributes.verb;
        bool allowed;

        call->attributes.verb = verb;
        allowed = authorise(call);
        call->attributes.verb = own;
        return allowed;
}

/* --- routes and paths
 * ---------------------------------------------------------------------------------------------------------------- */

static bool route_matches(const struct api_route *route, const char *method, const char *path)
{
        size_t len = strlen(route->prefix);
        bool tree = route->prefix[len - 1] == '/';

        return (!route->method || strcmp(route->method, method) == 0) &&
               (tree ? g_str_has_prefix(path, route->prefix) : strcmp(path, route->prefix) == 0);
}

/* The longest prefix that fits. */
static const struct api_route *find_route(const struct api *api, const char *method, const char *path)
{
        const struct api_route *best = NULL;

        for (guint i = 0; i < api->routes->len; i++) {
                const struct api_route *route = &g_array_index(api->routes, struct api_route, i);

                if (route_matches(route, method, path) && (!best || strlen(route->prefix) > strlen(best->prefix)))
                        best = route;
        }
        return best;
}

static void path_attributes(struct call *call, const char *path, bool nodes_only)
{
        call->attributes = (struct auth_attributes){.verb = path_verb(call->request), .path = path, .nodes_only = nodes_only};
}

/* The request is somebody else's from here on; who it was and what was decided is told now, its end is not known here. */
static void run_route(struct call *call, const struct api_route *route, const char *path)
{
        g_autoptr(call) kept = call_ref(call);
        struct http_request *request;

        path_attributes(call, path, route->nodes_only);
        call->attributes.own = route->own;
        call->untold = route->untold;
        if (route->resource)
                call->attributes = (struct auth_attributes){.verb = "create", .group = route->group, .resource = route->resource};
        if (route->anonymous) {
                call->identity = auth_identity_new(AUTH_ANONYMOUS, "gabbro:anonymous", NULL);
        } else if (!authenticate(call) || !authorise(call)) {
                return;
        }
        if (route->run) {
                route->run(call, path + strlen(route->prefix));
                return;
        }
        call_account(call, 0);
        request = call_hand_over(call);
        route->handle(request, kept->identity, path + strlen(route->prefix), route->userdata);
}

static void run_review(struct call *call, const struct review *review)
{
        call->attributes = (struct auth_attributes){.verb = strcmp(path_verb(call->request), "post") == 0 ? "create" : "get",
                                                    .group = "authorization.k8s.io",
                                                    .resource = review_plural(review),
                                                    .namespace = call->target.namespace};
        if (authenticate(call) && authorise(call))
                review_begin(call, review);
}

static void run_reading(struct call *call, const struct api_reading *reading)
{
        g_autoptr(call) kept = call_ref(call);
        const struct target *target = &kept->target;
        const char *verb = path_verb(call->request);
        bool reads = strcmp(verb, "get") == 0;

        call->attributes = (struct auth_attributes){.verb = reads && !target->name ? "list" : verb,
                                                    .group = reading->group,
                                                    .resource = reading->plural,
                                                    .namespace = target->namespace,
                                                    .name = target->name};
        if (!authenticate(call) || !authorise(call))
                return;
        if (!reads || http_request_query(call->request, "watch")) {
                call_refuse_words(call, 405, "%s.%s are measured when they are asked for: they can be read and listed",
                                  reading->plural, reading->group);
                return;
        }
        call_account(call, 0);
        reading->handle(call_hand_over(call), target->namespace, target->name, reading->userdata);
}

static void run_path(struct call *call, const char *path)
{
        const struct service *service = service_find(path);

        path_attributes(call, path, false);
        if (!authenticate(call) || !authorise(call))
                return;
        /* What is below such a path is there to be read, if at all: a write to a resource that is not served finds nothing. */
        if (!service || (strchr(path + 1, '/') && strcmp(call->attributes.verb, "get") != 0))
                call_refuse_words(call, 404, "the server could not find the requested resource");
        else if (strcmp(call->attributes.verb, "get") != 0)
                call_refuse_words(call, 405, "the server does not allow this method on the requested resource");
        else
                service_answer(service, call, path);
}

/* --- resources
 * ----------------------------------------------------------------------------------------------------------------------- */

struct verb {
        const char *method, *name;
        bool named;       /* an object, not a collection */
        bool subresource; /* may be asked of status */
        void (*run)(struct call *call);
};

static const struct verb verbs[] = {
        {"GET", "get", true, true, read_get},
        {"GET", "list", false, false, read_list},
        {"POST", "create", false, false, write_begin},
        {"PUT", "update", true, true, write_begin},
        {"PATCH", "patch", true, true, write_begin},
        {"DELETE", "delete", true, false, write_begin},
        {"DELETE", "deletecollection", false, false, write_begin},
};

static const struct verb watch_verb = {"GET", "watch", false, false, watch_begin};

static const struct verb *find_verb(const struct http_request *request, const struct target *target)
{
        const char *method = http_request_method(request), *watch = http_request_query(request, "watch");
        bool watches = watch && (!*watch || strcmp(watch, "1") == 0 || g_ascii_strcasecmp(watch, "true") == 0);

        if (watches && strcmp(method, "GET") == 0 && !target->subresource)
                return &watch_verb;
        for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++)
                if (strcmp(verbs[i].method, method) == 0 && verbs[i].named == (target->name != NULL) &&
                    (!target->subresource || verbs[i].subresource))
                        return &verbs[i];
        return NULL;
}

static const struct api_subresource *find_subresource(const struct api *api, const struct target *target, const char *method)
{
        for (guint i = 0; i < api->subresources->len; i++) {
                const struct api_subresource *entry = &g_array_index(api->subresources, struct api_subresource, i);

                if (entry->kind == target->kind && g_strcmp0(entry->name, target->subresource) == 0 &&
                    (!entry->method || strcmp(entry->method, method) == 0))
                        return entry;
        }
        return NULL;
}

/* A collection of which the caller wants one name is judged by that name, as its rules may be. */
static const char *selected_name(struct call *call, const char *verb)
{
        static const char *const of_collections[] = {"list", "watch", "deletecollection", NULL}, prefix[] = "metadata.name=";
        const char *selector = call->request ? http_request_query(call->request, "fieldSelector") : NULL;

        if (!selector || !g_strv_contains(of_collections, verb) || !g_str_has_prefix(selector, prefix))
                return NULL;
        selector += strlen(prefix);
        selector += *selector == '=';
        if (!*selector || strpbrk(selector, ",=!\\"))
                return NULL;
        g_free(call->only_name);
        return call->only_name = g_strdup(selector);
}

static void resource_attributes(struct call *call, const char *verb)
{
        const struct target *target = &call->target;
        /* What is asked of a namespace itself is asked in it: whoever has a role there may be given its namespace, too. */
        bool is_namespace = target->kind == &api_namespace_kind;

        call->attributes = (struct auth_attributes){
                .verb = verb,
                .group = target->kind->group,
                .resource = target->kind->plural,
                .subresource = target->subresource,
                .namespace = is_namespace ? target->name : target->namespace,
                .name = target->name ?: selected_name(call, verb),
                .hidden = target->kind->hidden,
                .internal = target->kind->internal,
        };
}

static void run_subresource(struct call *call, const struct api_subresource *entry)
{
        g_autoptr(call) kept = call_ref(call);
        autostoreobject object = NULL;
        struct http_request *request;

        resource_attributes(call, entry->verb);
        if (!authorise(call))
                return;
        object = store_get(call->api->options.store, call->target.kind, call->target.namespace, call->target.name);
        if (!object) {
                write_refuse_absent(call);
                return;
        }
        /* Nobody must find a console opened, or a machine moved, by what was to change nothing. */
        if (!entry->dry_runs && http_request_query(call->request, "dryRun")) {
                call_refuse_words(call, 400, "the subresource %s has no dry run", entry->name);
                return;
        }
        if (entry->run) {
                entry->run(call, object);
                return;
        }
        call_account(call, 0);
        request = call_hand_over(call);
        entry->handle(request, kept->identity, object, entry->userdata);
}

/* ACCEPT_CAN_* of a verb that reads. */
static unsigned forms_of(const struct verb *verb)
{
        return ACCEPT_CAN_TABLE | (strcmp(verb->name, "list") == 0 ? ACCEPT_CAN_METADATA_LIST : ACCEPT_CAN_METADATA);
}

/* Objects of kinds in namespaces are written in a namespace, not across all of them. */
static bool lacks_namespace(const struct call *call)
{
        static const char *const reads[] = {"list", "watch", NULL};

        return call->target.kind->namespaced && !call->target.namespace && !g_strv_contains(reads, call->attributes.verb);
}

static bool take_parameters(struct call *call)
{
        g_autoptr(schema_faults) faults = schema_faults_new();
        g_autofree char *words = NULL, *message = NULL;

        params_parse(call->request, &call->params, faults);
        if (!schema_faults_count(faults))
                return true;
        words = status_fault_words(faults);
        message = g_strdup_printf("the parameters of the request are invalid: %s", words);
        call_refuse(call, &(struct refusal){.code = 422, .message = message, .faults = faults});
        return false;
}

/* Whoever wants another one changes what it is made from. */
static bool is_projected(struct call *call)
{
        const struct schema_kind *kind = call->target.kind;

        if (!kind->projected)
                return false;
        if (kind == &api_pod_kind)
                call_refuse_words(call, 405,
                                  "pods show the machines that hosts hold and are only read: change, stop or delete the "
                                  "VirtualMachine instead (kubectl edit vm, gabbro stop, kubectl delete vm)");
        else
                call_refuse_words(call, 405, "%s are made and removed by Gabbro and are only read", kind->plural);
        return true;
}

static void run_verb(struct call *call, const struct verb *verb)
{
        bool reads = strcmp(verb->method, "GET") == 0;

        resource_attributes(call, verb->name);
        if (!authorise(call) || (!reads && is_projected(call)) || !take_parameters(call))
                return;
        if (lacks_namespace(call))
                call_refuse_words(call, 405, "the server does not allow this method on the requested resource: name a namespace");
        else if (!accept_parse(http_request_header(call->request, "Accept"), reads ? forms_of(verb) : 0, &call->accept))
                call_refuse_words(call, 406, "only the following media types are served: application/json%s",
                                  reads ? ", application/json;as=Table;v=v1;g=meta.k8s.io" : "");
        else
                verb->run(call);
}

static void refuse_subresource(struct call *call)
{
        g_autofree char *resource = target_resource_text(&call->target);

        if (strcmp(call->target.subresource, "scale") == 0)
                call_refuse_words(call, 404, "%s do not scale: an object stands for one thing, make another one for more of it",
                                  resource);
        else
                call_refuse_words(call, 404, "the server could not find the requested resource");
}

static void run_resource(struct call *call)
{
        const struct target *target = &call->target;
        const char *method = http_request_method(call->request);
        const struct api_subresource *subresource = NULL;
        const struct verb *verb;

        if (target->subresource)
                subresource = find_subresource(call->api, target, method);
        if (subresource) {
                run_subresource(call, subresource);
                return;
        }
        verb = find_verb(call->request, target);
        resource_attributes(call, verb ? verb->name : path_verb(call->request));
        if (target->subresource && !(target->kind->has_status && strcmp(target->subresource, "status") == 0)) {
                if (authorise(call))
                        refuse_subresource(call);
        } else if (!verb) {
                if (authorise(call))
                        call_refuse_words(call, 405, "the server does not allow this method on the requested resource");
        } else {
                run_verb(call, verb);
        }
}

/* --- the door
 * ------------------------------------------------------------------------------------------------------------------------ */

static void run(struct call *call, const char *path)
{
        const struct api_route *route = find_route(call->api, http_request_method(call->request), path);
        const struct review *review = review_find(path, &call->target.namespace);
        const struct api_reading *reading = reading_find(call->api, path, &call->target);

        if (route) {
                run_route(call, route, path);
        } else if (review) {
                run_review(call, review);
        } else if (reading) {
                run_reading(call, reading);
        } else if (target_parse(path, call->api->options.compat_api, &call->target) == 0) {
                resource_attributes(call, path_verb(call->request));
                if (authenticate(call))
                        run_resource(call);
        } else {
                run_path(call, path);
        }
}

void api_handle(struct http_request *request, void *userdata)
{
        g_autoptr(call) call = NULL;
        const char *path;

        assert(request && userdata);
        path = http_request_path(request);
        call = call_ref(call_new(userdata, request));
        if (http_request_header_begins(request, "Impersonate-")) {
                path_attributes(call, path, false);
                if (authenticate(call))
                        call_refuse_words(call, 403,
                                          "impersonation is not served: act with your own credentials, or make a token "
                                          "for whom you act (gabbro token create)");
                return;
        }
        run(call, path);
}
