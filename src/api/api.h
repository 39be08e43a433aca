/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "auth/auth.h"
#include "http/http.h"
#include "store/store.h"

#include <stdbool.h>

/*
 * The front door: Kubernetes verbs over kinds, discovery, OpenAPI, tables, watches, Status errors. Other facades (agents, uploads,
 * consoles) register routes; every request is authenticated, authorised and audited here before anything of its body is read.
 */
struct api;

struct call; /* private to this folder */

struct api_options {
        struct loop *loop;
        struct store *store;
        const struct clock *clock;
        const struct random_source *random;
        struct auth_audit *audit;
        struct auth_ca *ca;     /* signs people's certificates; NULL: none are made */
        struct auth_seal *seal; /* of tokens that continue a list */
        bool compat_api;        /* serve kinds' aliases */
        const char *version;    /* "0.1.0" */
        const char *commit;
        uint64_t watch_tick_us; /* how often bookmarks and ended credentials are looked for; 0: 5 s */
};
/** api_new() - 0 or -errno. The store is loaded. */
int api_new(const struct api_options *options, struct api **ret_api);
/** api_free() - after the HTTP server was freed (no request may be open), before the store is closed. */
struct api *api_free(struct api *api);
AUTOPTR(api, api_free);

/** api_handle() - give it to the HTTP server as on_request, with the api as userdata. */
void api_handle(struct http_request *request, void *api);

/* A route outside the resource verbs: "/agent/v1/...". The longest prefix wins. When @handle runs the request belongs to it, with
 * its userdata and on_gone; the identity lives for the call. */
struct api_route {
        const char *method;           /* "GET", or NULL: any */
        const char *prefix;           /* path prefix, ends in '/', or an exact path */
        bool nodes_only;              /* only node identities pass the authoriser */
        bool anonymous;               /* no credentials needed (join: the body carries the token) */
        bool untold;                  /* @handle itself tells the audit of what is worth it */
        bool own;                     /* about nothing but the caller's own credentials: everybody who has some may */
        const char *group, *resource; /* a review: the authoriser is asked for the right to create it. Or NULL */
        void (*run)(struct call *call, const char *rest); /* instead of @handle: parts of this folder */
        void (*handle)(struct http_request *request, const struct auth_identity *identity, const char *rest, void *userdata);
        void *userdata;
};
/** api_add_route() - before requests come; @route is copied. */
void api_add_route(struct api *api, const struct api_route *route);

/* A subresource with a body or stream of its own: "/apis/G/V/namespaces/NS/<plural>/<name>/<subresource>". The object exists and
 * the caller may @verb the subresource when @handle runs; the identity and the object live for the call. */
struct api_subresource {
        const struct schema_kind *kind;
        const char *name;   /* "upload", "console" */
        const char *method; /* NULL: any */
        const char *verb;   /* for the authoriser: "create" */
        /* What discovery says of its body when that is no object of @kind ("policy", "v1", "Eviction"), or NULL. */
        const char *as_group, *as_version, *as_kind;
        void (*run)(struct call *call, const struct store_object *object); /* instead of @handle: parts of this folder */
        bool dry_runs; /* @handle heeds dryRun; else a request with it is refused */
        void (*handle)(struct http_request *request, const struct auth_identity *identity, const struct store_object *object,
                       void *userdata);
        void *userdata;
};
/** api_add_subresource() - before requests come; @subresource is copied. It appears in discovery. */
void api_add_subresource(struct api *api, const struct api_subresource *subresource);

/* What is measured when it is asked for and stored nowhere: "/apis/G/V/<plural>[/<name>]", below "namespaces/NS" when it is of a
 * project. Get and list, each a right of its own; no watch. */
struct api_reading {
        const char *group, *version, *plural, *kind;
        bool namespaced;
        /* The caller may do it. @namespace NULL: all, or of the cluster; @name NULL: the list. */
        void (*handle)(struct http_request *request, const char *namespace, const char *name, void *userdata);
        void *userdata;
};
/** api_add_reading() - before requests come; @reading is copied, its texts live on. It appears in discovery. */
void api_add_reading(struct api *api, const struct api_reading *reading);

/** api_add_metrics() - a provider that appends Prometheus text. */
void api_add_metrics(struct api *api, void (*write)(GString *out, void *userdata), void *userdata);
/** api_metrics_http() - counters of an HTTP server, for api_add_metrics() with the struct http_server as userdata. */
void api_metrics_http(GString *out, void *server);
/** api_set_ready() - what /readyz says: NULL is ready, else the reason. */
void api_set_ready(struct api *api, const char *not_ready_because);

/** api_reply_status() - a Kubernetes Status. @reason: "NotFound", "Invalid" ...; @faults may be NULL. */
void api_reply_status(struct http_request *request, int code, const char *reason, const char *message,
                      const struct schema_faults *faults);
/** api_reply_object() - 200/201 with an object as the caller addressed it (alias rewritten). */
void api_reply_object(struct http_request *request, int code, const struct store_object *object);

/** api_make_roles() - the built-in roles and bindings as they shall be; what is annotated to be left alone is. 0, an outcome of
 * store_commit() or -errno. */
int api_make_roles(struct api *api);
/** api_may() - whether @identity, resolved earlier, would still be accepted and allowed this: for streams that other facades keep
 * open. */
bool api_may(struct api *api, const struct auth_identity *identity, const struct auth_attributes *attributes);
/** api_on_rights_changed() - @changed runs within the loop's next turns when rights or credentials have changed. */
void api_on_rights_changed(struct api *api, void (*changed)(void *userdata), void *userdata);
