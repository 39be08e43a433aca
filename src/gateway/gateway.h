/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "api/api.h"
#include "auth/auth.h"
#include "gateway/reach.h"
#include "http/http.h"
#include "loop/loop.h"
#include "store/store.h"

#include <glib.h>
#include <stdbool.h>

/*
 * The gateway program: one of each part, wired by main.c. The other files of this folder are facades over them; each registers its
 * routes with gateway_<part>_init() and frees its state with gateway_<part>_free().
 */
struct blobs;
struct cache;
struct manifests;
struct streams;
struct guest_calls;
struct imports;
struct callbacks;
struct uploads;
struct resumable;
struct library;
struct revoked;
struct quota;

#define GATEWAY_PROTOCOL 1 /* spoken with agents; grows when an older partner would misunderstand */

struct driver;

/* How long others may take; tests have less patience. */
struct gateway_times {
        uint64_t download_us, download_stall_us, unpack_us;
        uint64_t download_pause_us; /* before the second attempt; twice as long before each further one */
};

/* What may be put in the place of an ordinary part; tests do. */
struct gateway_parts {
        struct driver *(*wrap_driver)(struct driver *driver); /* takes the store's driver over; NULL: as it is */
        const struct gateway_times *times;                    /* NULL: LIMIT_... */
};
/** gateway_main() - the program gabbro-gateway; @parts may be NULL. Return: its exit status. */
int gateway_main(int argc, char **argv, const struct gateway_parts *parts);

struct gateway {
        struct loop *loop;
        struct loop_pool *pool;
        const struct clock *clock;
        const struct random_source *random;
        struct auth_ca *ca;
        struct auth_ca *migration_ca; /* NULL until a host asked first; a pool thread opens it */
        struct auth_seal *seal;
        struct auth_audit *audit;
        struct store *store;
        struct quota *quota;
        const struct cache *cache; /* the controllers' replica; NULL until they run */
        struct api *api;
        struct blobs *blobs;
        struct manifests *manifests;
        struct streams *streams;
        struct guest_calls *guest_calls;
        struct imports *imports;
        struct callbacks *callbacks;
        struct uploads *uploads;
        struct resumable *resumable;
        struct library *library;
        struct revoked *revoked;
        char *data_dir;
        char **names;       /* what the gateway's own certificate says: no node gets one for any of these */
        char *url;          /* "https://127.0.0.1:6443": what kubeconfig and agents are told */
        struct reach reach; /* of downloads */
        const struct gateway_times *times;
};

/* --- objects.c: read-modify-write on the store
 * ------------------------------------------------------------------------------------ */

/* What an edit says of the document it was given. */
enum objects_edit { OBJECTS_CHANGED, OBJECTS_SAME, OBJECTS_REFUSED };
typedef enum objects_edit (*objects_edit_fn)(struct json_doc *doc, struct json_value *root, void *userdata);

/* objects_edit() outcomes */
enum { OBJECTS_E_NOT_FOUND = 1, OBJECTS_E_REFUSED, OBJECTS_E_SAME };

struct objects_target {
        const struct schema_kind *kind;
        const char *namespace; /* NULL: cluster scope */
        const char *name;
        const char *actor; /* who is told in history: "agent/host-1" */
};

/**
 * objects_edit() - change the newest version of an object
 * @done: runs when the change is durable; not for an outcome. May be NULL
 *
 * Return: 0, an outcome (nothing is written), or < 0 when the store no longer accepts.
 */
int objects_edit(struct gateway *gateway, const struct objects_target *target, objects_edit_fn edit, void *edit_userdata,
                 store_done_fn done, void *done_userdata);

/** objects_create() - a new object from @doc (apiVersion, kind, metadata.name and the rest as given); uid, creation time and
 * generation are added, and the document is taken over. 0, STORE_E_EXISTS or < 0. */
int objects_create(struct gateway *gateway, const struct objects_target *target, struct json_doc *doc, store_done_fn done,
                   void *done_userdata);

/** objects_stamp() - give a new object its uid, creationTimestamp and generation. */
void objects_stamp(struct gateway *gateway, const struct objects_target *target, struct json_doc *doc);

/** objects_exists() - in the newest accepted state. */
bool objects_exists(struct gateway *gateway, const struct schema_kind *kind, const char *namespace, const char *name);

/* --- join.c
 * ------------------------------------------------------------------------------------------------------------------------- */

/** join_init() - POST /agent/v1/join, /agent/v1/renew, /admin/v1/join-tokens. */
void join_init(struct gateway *gateway);
/** join_certificate_names() - what a certificate of @node may say of the @addresses that it asks for; g_strfreev(). */
char **join_certificate_names(struct gateway *gateway, const char *node, const struct json_value *addresses);

/* --- migration_certificates.c
 * ------------------------------------------------------------------------------------------------------------------------- */

/** migration_certificates_init() - POST /agent/v1/migration-certificate: what hosts show each other (decision 20). */
void migration_certificates_init(struct gateway *gateway);

/* --- doctor.c: what gabbro doctor asks for
 * ----------------------------------------------------------------------------------------------- */

/** doctor_init() - POST /admin/v1/doctor and what is below it. */
void doctor_init(struct gateway *gateway);

/* --- manifests.c: GET /agent/v1/manifest
 * -------------------------------------------------------------------------------------------- */

/** manifests_init() - also ends the streams of a node, its consoles too, as soon as its certificate is good no more. */
int manifests_init(struct gateway *gateway);
struct manifests *manifests_free(struct manifests *manifests);
/** manifests_ask_stream() - tell the agent of @node to dial a console stream; false when it is not connected. */
bool manifests_ask_stream(struct manifests *manifests, const char *node, const char *nonce, const char *machine_uid,
                          const char *channel);
size_t manifests_count(const struct manifests *manifests);

/* --- reports.c: what agents tell
 * ------------------------------------------------------------------------------------------------------ */

/** reports_init() - PUT /agent/v1/intents/<plural>/<name>/status, /agent/v1/node, /agent/v1/lease. */
void reports_init(struct gateway *gateway);

/* --- content.c: what agents fetch
 * ------------------------------------------------------------------------------------------------------ */

/** content_init() - GET /agent/v1/seed/<instance>, /agent/v1/blobs/<sha256>. */
void content_init(struct gateway *gateway);

/* --- graphics.c
 * ------------------------------------------------------------------------------------------------------------------------- */

/** graphics_init() - virtualmachines/graphicspassword, and GET /agent/v1/graphics/<instance>. */
void graphics_init(struct gateway *gateway);

/* --- answers.c: what is not for tools
 * --------------------------------------------------------------------------------------------------------------------- */

/** answers_init() - subresources that are refused with words. */
void answers_init(struct gateway *gateway);

/* --- readings.c: NodeMetrics and PodMetrics of metrics.k8s.io/v1beta1
 * --------------------------------------------------------------------------------------------------------------------- */

void readings_init(struct gateway *gateway);

/* --- eviction.c: POST .../pods/<name>/eviction
 * --------------------------------------------------------------------------------------------------------------------- */

void eviction_init(struct gateway *gateway);

/* --- evacuation_plan.c: GET .../nodes/<name>/evacuation
 * --------------------------------------------------------------------------------------------------------------------- */

void evacuation_plan_init(struct gateway *gateway);

/* --- host_api.c: /api/host/{id}/...
 * --------------------------------------------------------------------------------------------------------------------- */

void host_api_init(struct gateway *gateway);

/* --- streams.c: consoles
 * --------------------------------------------------------------------------------------------------------------- */

void streams_init(struct gateway *gateway);
struct streams *streams_free(struct streams *streams);
/** streams_end_node() - end the consoles of machines on @node, which is trusted no more. */
void streams_end_node(struct streams *streams, const char *node);

/* --- guest_calls.c: what is asked of guests
 * --------------------------------------------------------------------------------------------------------------- */

/** guest_calls_init() - .../virtualmachines/<name>/exec, guestpassword, guestinfo ... and the agents' ends of them. */
void guest_calls_init(struct gateway *gateway);
struct guest_calls *guest_calls_free(struct guest_calls *calls);
/* What a host's agent has answered, borrowed; NULL: it has not. */
typedef void (*gateway_told_fn)(const struct json_value *body, void *userdata);
/** guest_calls_ask_usages() - what a host and its machines use: {"host": {...}, "machines": {UID: {...}}}; @told once, perhaps
 * before this returns. */
void guest_calls_ask_usages(struct guest_calls *calls, const char *node, gateway_told_fn told, void *userdata);
/** guest_calls_end_node() - nobody waits any more for what @node was asked, which is trusted no more. */
void guest_calls_end_node(struct guest_calls *calls, const char *node);

/* --- small things that several facades use
 * ------------------------------------------------------------------------------------------- */

/** gateway_body_json() - parse a request body; answers 400 itself and returns NULL when it is no JSON object. */
struct json_doc *gateway_body_json(struct http_request *request, const char *body, size_t len);
void gateway_reply_json(struct http_request *request, int status, const struct json_value *value);
/** gateway_reply_lost() - a commit that was accepted came to nothing (@result of store_done_fn). */
void gateway_reply_lost(struct http_request *request, int result);

/*
 * An answer that waits for a body, and then for a durable write: the peer may be gone by then. The handler of the body calls
 * slot_take(), and from there on slot_finish() frees the slot, on either outcome. A request that ends before (its peer has left,
 * its body was too large or too slow) never gets a body: its slot, and what belongs to it, go with the request.
 */
struct slot {
        struct http_request *request; /* NULL once the peer is gone */
        bool taken, finished;
        void *userdata;
        void (*discard)(void *userdata);
};
/** slot_new() - @discard frees @userdata when the request ends before slot_take(). */
struct slot *slot_new(struct http_request *request, void *userdata, void (*discard)(void *userdata));
/** slot_take() - the body has come: its handler owns what belongs to the slot, and owes slot_finish(). Return: @userdata. */
void *slot_take(struct slot *slot);
void slot_finish(struct slot *slot);
/** slot_done() - a store_done_fn with the slot as userdata: answers {"resourceVersion": ...} of the first object, or 500. */
void slot_done(int result, const struct store_object *const *objects, size_t n_objects, void *slot);
/** slot_answer_outcome() - answer an outcome or error of objects_edit() at once, and finish the slot. */
void slot_answer_outcome(struct slot *slot, int r);

/** gateway_bound_intent() - the intent when it is bound to @node, else NULL after answering 404 or 403. */
const struct store_object *gateway_bound_intent(struct gateway *gateway, struct http_request *request,
                                                const struct auth_identity *identity, const struct schema_kind *kind,
                                                const char *name);
