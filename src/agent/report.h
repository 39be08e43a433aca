/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/intents.h"

/*
 * Status on its way to the gateway: at once when a state changes, at most once a second when only progress does, the newest only,
 * and again until it is acknowledged. Lives on the loop thread.
 */
struct reports;
struct loop;

struct reports_options {
        struct loop *loop;
        const struct clock *clock;
        /* Send @body for an intent; the owner calls reports_answered() later, once. 0 or -errno (then it is tried again). */
        int (*send)(struct intent *intent, const char *body, void *userdata);
        void (*acknowledged)(struct intent *intent, int64_t generation, void *userdata);
        void (*refused)(struct intent *intent, int http_status, void *userdata);
        void *userdata;
};
int reports_new(const struct reports_options *options, struct intents *intents, struct reports **ret_reports);
struct reports *reports_free(struct reports *reports);
AUTOPTR(reports, reports_free);

/** reports_set() - what the status of an intent is now; nothing is sent when it is what was sent; when that
 * is acknowledged already, acknowledged() is called at once. */
void reports_set(struct reports *reports, struct intent *intent, const struct json_value *status);

/** reports_answered() - the end of a send; @http_status 0: no answer came. */
void reports_answered(struct reports *reports, struct intent *intent, int http_status);

/** reports_forget() - the intent is about to be freed; a send under way will not be answered. */
void reports_forget(struct reports *reports, struct intent *intent);

/** reports_resend() - the gateway may know less than it acknowledged: tell everything again. */
void reports_resend(struct reports *reports);

/** reports_pending() - number of intents whose newest status is not acknowledged. */
unsigned reports_pending(struct reports *reports);
