/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/decide.h"
#include "agent/guest_turn.h"
#include "base/arena.h"
#include "base/auto.h"
#include "base/clock.h"
#include "schema/schema.h"
#include "json/json.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * The agent's replica of its manifest: one record for each intent, with what the agent knows of it, and the queue of those that
 * need a turn. Lives on the loop thread.
 */

/* One version of an intent; shared with the jobs that work on it, never changed. */
struct intent_doc {
        gint references;
        struct json_doc *json;
        struct arena *arena;
        const void *view; /* struct api_<kind> of the kind */
        const char *uid;
        int64_t generation;
        bool deleted;
};
struct intent_doc *intent_doc_ref(struct intent_doc *doc);
struct intent_doc *intent_doc_unref(struct intent_doc *doc);
AUTOPTR(intent_doc, intent_doc_unref);

/* What the status queue keeps of an intent (report.c). */
struct intent_report {
        char *wanted;           /* newest status as JSON text, with the uid; NULL: none */
        char *steady;           /* the same without what may change often */
        char *acknowledged;     /* what the gateway has taken last; NULL: unknown */
        char *sending;          /* in flight, or NULL */
        void *call, *call_data; /* of the send in flight; its owner's */
        int64_t generation;     /* that the wanted status speaks of */
        int64_t sending_generation;
        bool urgent;      /* it differs in more than progress from what was sent */
        bool taken;       /* the last answer was 200 */
        uint64_t sent_us; /* when something was sent last */
        uint64_t due_us;  /* when to send next; UINT64_MAX: nothing to send */
        unsigned failures;
};

struct intent {
        const struct schema_kind *kind;
        char *name, *uid;
        char *key; /* "instances/i-..." */
        struct intent_doc *doc;

        /* Queue. */
        uint64_t due_us; /* UINT64_MAX: not queued */
        bool running;    /* a job works on it */
        bool again;      /* something changed meanwhile */
        bool nudged;     /* the host spoke of it meanwhile */
        bool removed;    /* no longer in the manifest; freed when its job is back */
        bool marked;     /* seen by the relist that is under way */
        unsigned failures;
        uint64_t turn;   /* number of the job that runs or ran last */
        struct job *job; /* that runs, or NULL */

        /* What is known of the host's side. */
        struct json_doc *status; /* as the last job told it; without the guest's facts */
        struct intent_report report;
        bool ready;                       /* Volume, Port: in place for this generation */
        bool gone;                        /* torn down and told so */
        char *path;                       /* Volume: file, once it was complete */
        int64_t epoch;                    /* Instance: the last one that ran; -1: none */
        char *format;                     /* Volume: "qcow2", "raw" */
        bool small;                       /* Volume: ready, but has not grown to its specification yet */
        char *copied_mode, *copied_state; /* Volume: how it was made, of a copy that is complete */
        char *image;                      /* Volume: digest that is held in the image cache for its creation */
        bool image_ready;
        struct stop_progress stop;
        struct space_progress space;
        struct unplug_progress unplug, balloon;
        uint64_t definition_due_us;      /* Instance: when its definition is compared next; 0: at the next turn */
        char *definition_tolerated;      /* Instance: a difference that defining anew did not remove */
        struct json_doc *guest;          /* Instance: what the guest agent told last (object of status members) */
        struct guest_turn turn_of_guest; /* Instance: when its guest's agent is asked next */
        bool stood_still;                /* Instance: its guest was paused and goes on, and its clock was not set since */
        bool active;                     /* Instance: its domain runs */
        bool adopting;                   /* Instance: of the first manifest, and not looked at yet */
        uint64_t changed_us;             /* when it changed last, by the monotonic clock */
        char *pending;                   /* HostTask of type Inspect: what its first look found (inspect.h) */
};

struct intents;

struct intents_options {
        const struct clock *clock;
        void (*changed)(struct intent *intent, void *userdata);   /* queued, or due earlier: see to the timer */
        void (*forgotten)(struct intent *intent, void *userdata); /* about to be freed */
        void *userdata;
};
struct intents *intents_new(const struct intents_options *options);
struct intents *intents_free(struct intents *intents);
AUTOPTR(intents, intents_free);

/** intents_kind() - the kind of an object's "kind" member when it is one of the manifest's, else NULL. */
const struct schema_kind *intents_kind(const char *kind);

/**
 * intents_apply() - an object was added or changed; takes @doc over. Queues the intent when it is new or its specification changed.
 *
 * Return: 0, or -EINVAL when it is no intent of a known kind.
 */
int intents_apply(struct intents *intents, struct json_doc *doc);
/** intents_remove() - it was removed from the manifest. */
void intents_remove(struct intents *intents, const char *kind, const char *name);
/** intents_mark()/intents_sweep() - a relist: what was not applied in between is removed. */
void intents_mark(struct intents *intents);
void intents_sweep(struct intents *intents);

struct intent *intents_get(struct intents *intents, const struct schema_kind *kind, const char *name);
/** intents_list() - all of a kind (NULL: of every kind) in order of their keys, borrowed; the container is the caller's. */
GPtrArray *intents_list(struct intents *intents, const struct schema_kind *kind);

/* Queue. Times are of the monotonic clock. */
void intents_queue(struct intents *intents, struct intent *intent, uint64_t delay_us);
/** intents_nudge() - the host speaks of it: at once, unless its last job failed. What our own attempts cause must not end their
 *  pause. */
void intents_nudge(struct intents *intents, struct intent *intent);
/** intents_pause_us() - how long the next try waits after so many failures before this one. */
uint64_t intents_pause_us(unsigned failures);

/** intents_retry() - after a pause that doubles from 1 s to 60 s with every failure. */
void intents_retry(struct intents *intents, struct intent *intent);
void intents_queue_all(struct intents *intents);
/** intents_take() - an intent that is due and has no job; marks it running. NULL: none. */
struct intent *intents_take(struct intents *intents);
/** intents_finish() - its job is back; may free it (then NULL is returned). */
struct intent *intents_finish(struct intents *intents, struct intent *intent);
/** intents_due_us() - how long until the next is due; UINT64_MAX: none. */
uint64_t intents_due_us(struct intents *intents);
