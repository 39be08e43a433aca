/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "api/accept.h"
#include "api/api.h"
#include "api/identity.h"
#include "api/metrics.h"
#include "api/params.h"
#include "api/status.h"
#include "api/target.h"

#include <glib.h>

#define CALL_REQUEST_ID_MAX 129

struct access;
struct credentials;
struct watch_hub;
struct once;

struct api_metrics_hook {
        void (*write)(GString *out, void *userdata);
        void *userdata;
};

/* The state of the front door; its parts are private to this folder. */
struct api {
        struct api_options options;
        char *version, *commit;
        struct identity_context identities;
        GArray *routes;        /* struct api_route */
        GArray *subresources;  /* struct api_subresource */
        GArray *readings;      /* struct api_reading */
        GArray *metrics_hooks; /* struct api_metrics_hook */
        struct metrics *metrics;
        struct access *access;
        struct watch_hub *watches;
        struct credentials *credentials;
        struct once *once;
        char *not_ready; /* NULL: ready */
};

/*
 * One request of the resource API, from its headers until it is both answered and gone. A write lives on while its commit is under
 * way, also when the client has left.
 */
struct call {
        int refs;
        struct api *api;
        struct http_request *request; /* NULL: gone */
        struct auth_identity *identity;
        char request_id[CALL_REQUEST_ID_MAX];
        char *peer;
        struct target target;
        struct auth_attributes attributes;
        char *only_name; /* of a collection, when its field selector names one object; or NULL */
        struct params params;
        struct accept accept;
        char *once_id, *once_name, *once_digest; /* of a write that is carried out once: see once.h; or NULL */
        uint64_t begun_us;
        GPtrArray *warnings;   /* texts for the headers of the answer; NULL: none */
        GPtrArray *duplicates; /* paths of keys that stand twice in the body; NULL: none */
        bool answered;         /* audited and counted */
        bool untold;           /* only counted */
        void (*on_json)(struct call *call, const struct json_value *root); /* see credentials_take_body() */
        /* A streamed answer's owner; NULL: none. */
        void (*on_gone)(void *stream);
        void (*on_drained)(void *stream);
        void *stream;
};

/** call_new() - for a request whose headers have come; the request holds one reference. */
struct call *call_new(struct api *api, struct http_request *request);
/** call_ref() - one more reference. */
struct call *call_ref(struct call *call);
/** call_unref() - NULL is accepted. */
struct call *call_unref(struct call *call);
AUTOPTR(call, call_unref);

/** call_alias_version() - the apiVersion to show objects under; NULL: as stored. */
const char *call_alias_version(const struct call *call);

/** call_account() - audit and count the request, once; every answer passes here. */
void call_account(struct call *call, int status);

/** call_warn() - a sentence that the client prints beside the answer (RFC 7234 section 5.5), once; bounded by LIMIT_WARNINGS. */
void call_warn(struct call *call, const char *format, ...) G_GNUC_PRINTF(2, 3);
/** call_authorise() - may the caller do @verb with what is addressed, besides what the request itself does? False after answering
 * 403. */
bool call_authorise(struct call *call, const char *verb);

/* Answers. All may be called when the client is gone. */

/** call_refuse() - a Status; details of the addressed object are filled in where @refusal names none. */
void call_refuse(struct call *call, const struct refusal *refusal);
/** call_refuse_words() - a Status of an HTTP status and a sentence. */
void call_refuse_words(struct call *call, int code, const char *format, ...) G_GNUC_PRINTF(3, 4);
/** call_refuse_future() - 504: the resourceVersion asked for is newer than all there is. */
void call_refuse_future(struct call *call);
/** call_refuse_faults() - 422 with all faults. @name: of the object, or NULL. */
void call_refuse_faults(struct call *call, const char *name, const struct schema_faults *faults);
/** call_reply_text() - a complete JSON answer; takes @text over. */
void call_reply_text(struct call *call, int code, GString *text);
/** call_reply_object() - an object as the caller addressed it. */
void call_reply_object(struct call *call, int code, const struct store_object *object);
/** call_reply_doc() - an object that is not stored (a dry run); its apiVersion is rewritten for an alias. */
void call_reply_doc(struct call *call, int code, struct json_doc *doc);

/** call_stream_begin() - a streamed JSON answer owned by @stream. */
void call_stream_begin(struct call *call, void *stream, void (*on_drained)(void *stream), void (*on_gone)(void *stream));
/** call_hand_over() - the request belongs to somebody else from now on. Return: the request; the call lives while it is referenced.
 */
struct http_request *call_hand_over(struct call *call);

/** call_actor() - who writes, for the history row; borrowed from the call. */
struct store_actor call_actor(const struct call *call);

/* The verbs; each answers in the end. */

/** read_get() - one object. */
void read_get(struct call *call);
/** read_list() - the objects of a kind, in pages. */
void read_list(struct call *call);
/** watch_begin() - a stream of events. */
void watch_begin(struct call *call);
/** write_begin() - create, update, patch, delete: judge the headers, then take the body. */
void write_begin(struct call *call);
