/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "schema/schema.h"

#include <glib.h>

/* A refusal in the form that clients of the Kubernetes API print: kind Status. */
struct refusal {
        int code;                              /* HTTP status */
        const char *reason;                    /* "NotFound"; NULL: the usual one of @code */
        const char *message;                   /* a sentence */
        const char *name, *group, *kind, *uid; /* what it is about; NULL: not told */
        const struct schema_faults *faults;    /* causes, or NULL */
        const char *cause;                     /* reason of a single cause besides @faults, or NULL */
        const char *cause_field, *cause_message;
        unsigned retry_after_s; /* 0: not told */
};

/** status_reason() - the usual reason of an HTTP status: "NotFound" for 404. */
const char *status_reason(int code);

/** status_refusal() - the Status of a refusal as JSON text. */
GString *status_refusal(const struct refusal *refusal);

/** status_success() - the Status that answers a delete: what is gone. */
GString *status_success(const char *name, const char *group, const char *plural, const char *uid);

/** status_fault_words() - all faults as one clause: "[spec.a: x, spec.b: y]"; g_free(). */
char *status_fault_words(const struct schema_faults *faults);
