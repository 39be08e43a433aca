/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/auto.h"
#include "cache/cache.h"

#include <glib.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The doctor's eyes on the store: pure functions over the replica. One look sees also what is under way between two writes; what
 * two looks some seconds apart both see, with the same revision, is a finding.
 */

#define LABEL_DOCTOR_RUN "gabbro.dev/doctor-run" /* of the HostTasks of one run */

#define DOCTOR_EVIDENCE_MAX 8

/* What a repair does in the store. */
enum doctor_fix {
        DOCTOR_FIX_NONE,      /* a person must decide */
        DOCTOR_FIX_DELETE,    /* delete the object, as a DELETE request */
        DOCTOR_FIX_FINALIZER, /* take the agent's finalizer away */
};

struct doctor_finding {
        const char *code;     /* api/reasons.yaml */
        const char *severity; /* "Critical" "Warning" "Note" */
        const char *subject;  /* "<plural>/<namespace or nothing>/<name>", the same in every look */
        const char *object;   /* "Kind/namespace/name" or "Kind/name" for people */
        const char *evidence[DOCTOR_EVIDENCE_MAX];
        size_t n_evidence;
        const char *fix, *safe, *undo; /* words: what a repair does, why it harms nobody, how to get it back; NULL: none */
        enum doctor_fix action;
        const struct schema_kind *kind; /* what the action is done to */
        const char *namespace, *name, *uid;
        uint64_t revision; /* of the object when it was looked at */
};

struct doctor_report {
        struct arena *arena; /* owns all words */
        GPtrArray *findings; /* struct doctor_finding, in the arena */
        const struct cache *cache;
        uint64_t now_us;
};

/** doctor_look() - everything that is not as it should be in @cache at @now_us (real time). */
struct doctor_report *doctor_look(const struct cache *cache, uint64_t now_us);
struct doctor_report *doctor_report_free(struct doctor_report *report);
AUTOPTR(doctor_report, doctor_report_free);

/** doctor_find() - the finding with this code and subject, or NULL. */
const struct doctor_finding *doctor_find(const struct doctor_report *report, const char *code, const char *subject);

/** doctor_node_silent() - why the agent of a node cannot be asked now, in @arena; NULL: it renews its lease. */
const char *doctor_node_silent(const struct cache *cache, const struct cache_object *node, uint64_t now_us, struct arena *arena);
