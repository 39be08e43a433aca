/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "gateway/buffers.h"
#include "gateway/ingest.h"
#include "gateway/staging.h"
#include "gateway/upload_grant.h"

#include <stdatomic.h>

/*
 * Uploads in pieces, by tus 1.0: what resumable*.c share. Everything here runs on the loop.
 *
 * An upload alternates between two buffers: the loop fills one while a pool thread hashes and writes the other. While both are full
 * the socket is not read. At the end of a request what came is in the file, and then answered for. One request at a time has an
 * upload; another one waits until it is settled, or is refused while the first one still brings bytes.
 */
struct half;

enum half_state {
        HALF_MAKING,    /* its files are being made */
        HALF_OPEN,      /* takes bytes */
        HALF_FINISHING, /* all are there: hashed, judged, stored, and told in the object */
        HALF_ENDED,     /* no bytes are kept; only remembered */
};

/* Why an upload ended. */
struct half_end {
        const char *name; /* in its record */
        const char *words;
};
extern const struct half_end half_done, half_terminated, half_expired, half_refused, half_replaced, half_orphaned;

/* What a request wants of an upload that nobody else works on. */
struct half_verb {
        const char *method;
        void (*serve)(struct half *half, struct http_request *request);
};

struct half {
        struct resumable *resumable;
        struct upload_grant grant;
        char *metadata; /* or NULL */
        enum half_state state;
        const struct half_end *end; /* of HALF_ENDED */
        uint64_t forget_us;         /* real time, of HALF_ENDED */
        struct staged *staged;      /* NULL in HALF_ENDED */

        struct http_request *request; /* that is being served, until it is answered */
        struct http_request *waiting; /* that comes next */
        const struct half_verb *waiting_verb;
        int success; /* the status that answers the request when all is well */
        bool busy;   /* a pool thread works on it, or a write of the store is on its way */

        /* Of a request that brings bytes: from half_receive() until it is settled. */
        bool receiving, begun, body_ended, nothing, checked;
        struct tus_checksum checksum;
        struct buffers buffers;
        uint64_t offset; /* behind the last byte that came, written or not */
        uint64_t moved_us;
        int error;
        int last_percent;
        struct transfer_rate rate;

        bool stuck; /* finishing failed for want of something; the next request, or the next look, tries again */
        char digest[65];
        uint64_t room; /* bytes that the stored file may have by the quotas, when finishing began */
        struct blob_facts facts;
        struct blob_fault fault;
};

struct resumable {
        struct gateway *gateway;
        struct staging *staging;
        struct loop_pool *pool; /* of its own: long work on images never keeps bytes waiting */
        struct loop_source *sweep;
        struct store_watch *watch; /* of what uploads are for */
        GHashTable *by_id;         /* struct half, owned */
        GHashTable *by_object;     /* those that have not ended, by the uid of their object */
        size_t receiving;
        atomic_bool stopping;
};

/* --- resumable.c --- */

/** half_set_state() - a move that the table of moves allows. */
void half_set_state(struct half *half, enum half_state state);
/** half_end_now() - nobody works on it: remember how it ended, and drop its bytes; a request that it still has is answered then. */
void half_end_now(struct half *half, const struct half_end *end);
/** half_record() - the text of its record as it is now; g_free(). */
char *half_record(const struct half *half);
/** half_why_over() - how it ends because of the time, or of what became of its object; NULL: it goes on. */
const struct half_end *half_why_over(struct half *half);
/** half_target() - borrowed from it. */
struct ingest_target half_target(const struct half *half);

/* --- resumable_bytes.c --- */

/** half_receive() - take the body of half->request in; it is answered with @success. */
void half_receive(struct half *half, int success);
/** half_finish() - all bytes are there. half->request, if there is one, is answered with half->success at the end. */
void half_finish(struct half *half);
/** half_rest() - nobody has asked for anything of it for a while. */
void half_rest(struct half *half);
/** half_pump() - what is next, whenever something has come or ended. */
void half_pump(struct half *half);

/* --- resumable_http.c --- */

/** half_http_init() - the routes. */
void half_http_init(struct resumable *resumable);
/** half_enter() - a request of HEAD, PATCH or DELETE for an upload whose right to it was looked at. */
void half_enter(struct half *half, struct http_request *request, const char *method);
/** half_begin() - a new upload, unless another one is under way or there is no room for it; @request is answered. @grant is taken
 * over when it is begun. */
void half_begin(struct resumable *resumable, struct http_request *request, struct upload_grant *grant, const char *metadata);
/** half_answer() - an answer without a body that tells how far it is; the request is not the upload's any more. NULL is accepted.
 */
void half_answer(struct half *half, struct http_request *request, int code);
/** half_refuse() - an answer with words, likewise. */
void half_refuse(struct half *half, struct http_request *request, int code, const char *reason, const char *words);
/** half_refuse_image() - 422 with half->fault, likewise. */
void half_refuse_image(struct half *half, struct http_request *request);
/** half_serve_waiting() - nobody works on it: the request that waits, if any. */
void half_serve_waiting(struct half *half);
/** half_answer_over() - 410, or for one that was stored what its client wants to hear. */
void half_answer_over(struct half *half, struct http_request *request);

/* --- resumable_exports.c --- */

/** half_exports_init() - the routes of agents that send copies of disks: /agent/v1/exports/<task>. */
void half_exports_init(struct resumable *resumable);
