/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/report.h"

#include "base/error.h"
#include "loop/loop.h"

#include <string.h>

#define PROGRESS_INTERVAL_US 1000000ull
#define RETRY_FIRST_US       500000ull
#define RETRY_LAST_US        30000000ull
#define IN_FLIGHT_MAX        16

struct reports {
        struct reports_options options;
        struct intents *intents;
        struct loop_source *timer;
        unsigned in_flight;
};

static void pump(struct reports *reports);

static void on_timer(struct loop_source *source, void *userdata)
{
        pump(userdata);
}

int reports_new(const struct reports_options *options, struct intents *intents, struct reports **ret_reports)
{
        g_autoptr(reports) reports = g_new0(struct reports, 1);
        int r;

        assert(options && options->send && options->acknowledged && options->refused && intents && ret_reports);
        reports->options = *options;
        reports->intents = intents;
        r = loop_timer(options->loop, UINT64_MAX, on_timer, reports, &reports->timer);
        if (!r) {
                *ret_reports = g_steal_pointer(&reports);
        }
        return r;
}

struct reports *reports_free(struct reports *reports)
{
        if (reports) {
                loop_source_free(reports->timer);
                g_free(reports);
        }
        return NULL;
}

/* --- sending ---------------------------------------------------------------------------------------------------------------------
 */

static void put_off(struct reports *reports, struct intent_report *report)
{
        uint64_t pause = RETRY_FIRST_US << MIN(report->failures, 8);

        report->failures++;
        report->due_us = clock_monotonic_us(reports->options.clock) + MIN(pause, RETRY_LAST_US);
}

static void send_one(struct reports *reports, struct intent *intent)
{
        struct intent_report *report = &intent->report;

        report->due_us = UINT64_MAX;
        report->sent_us = clock_monotonic_us(reports->options.clock);
        report->sending = g_strdup(report->wanted);
        report->sending_generation = report->generation;
        report->urgent = false;
        reports->in_flight++;
        if (reports->options.send(intent, report->sending, reports->options.userdata) < 0) {
                reports->in_flight--;
                g_clear_pointer(&report->sending, g_free);
                report->urgent = true;
                put_off(reports, report);
        }
}

static void pump(struct reports *reports)
{
        g_autoptr(GPtrArray) all = intents_list(reports->intents, NULL);
        uint64_t now = clock_monotonic_us(reports->options.clock), next = UINT64_MAX;

        for (unsigned i = 0; i < all->len; i++) {
                struct intent *intent = all->pdata[i];

                if (intent->report.sending || intent->report.due_us == UINT64_MAX) {
                        continue;
                }
                if (intent->report.due_us <= now && reports->in_flight < IN_FLIGHT_MAX) {
                        send_one(reports, intent);
                }
                if (!intent->report.sending) {
                        next = MIN(next, intent->report.due_us);
                }
        }
        /* With all places taken, the next answer pumps. */
        loop_timer_set(reports->timer, next == UINT64_MAX || reports->in_flight >= IN_FLIGHT_MAX ? UINT64_MAX
                                       : next > now                                              ? next - now
                                                                                                 : 0);
}

/* When the newest status shall go out, if it shall. */
static void schedule(struct reports *reports, struct intent_report *report)
{
        uint64_t now = clock_monotonic_us(reports->options.clock);

        if (!report->wanted || g_strcmp0(report->wanted, report->acknowledged) == 0) {
                report->due_us = UINT64_MAX;
                return;
        }
        if (report->failures) {
                return; /* its pause goes on */
        }
        report->due_us = report->urgent || !report->sent_us ? now : MAX(now, report->sent_us + PROGRESS_INTERVAL_US);
}

/* --- what is to be sent ----------------------------------------------------------------------------------------------------------
 */

static const struct schema_type *status_type(const struct schema_kind *kind)
{
        for (const struct schema_field *field = kind->type->fields; field->name; field++) {
                if (g_str_equal(field->name, "status")) {
                        return field->type;
                }
        }
        return NULL;
}

static char *steady_text(const struct intent *intent, const struct json_value *status)
{
        const struct schema_type *type = status_type(intent->kind);
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *copy = json_copy(doc, status);

        for (const struct schema_field *field = type->fields; field->name; field++) {
                if (field->flags & SCHEMA_VOLATILE) {
                        json_remove(copy, field->name);
                }
        }
        return json_to_text(copy);
}

void reports_set(struct reports *reports, struct intent *intent, const struct json_value *status)
{
        struct intent_report *report = &intent->report;
        g_autoptr(json_doc) doc = json_doc_new();
        g_autofree char *text = NULL, *steady = NULL;
        struct json_value *body = json_copy(doc, status);

        assert(reports && intent && json_is(status, JSON_OBJECT));
        json_set_string(doc, body, "uid", intent->uid);
        text = json_to_text(body);
        if (g_strcmp0(text, report->wanted) == 0) {
                /* Told before, perhaps while work still went on: what waits for the acknowledgement need not wait any more. */
                if (report->taken && !report->sending && g_strcmp0(text, report->acknowledged) == 0) {
                        reports->options.acknowledged(intent, report->generation, reports->options.userdata);
                }
                return;
        }
        steady = steady_text(intent, body);
        report->urgent = report->urgent || g_strcmp0(steady, report->steady) != 0;
        g_free(report->wanted);
        g_free(report->steady);
        report->wanted = g_steal_pointer(&text);
        report->steady = g_steal_pointer(&steady);
        if (json_int64(json_get(status, "observedGeneration"), &report->generation)) {
                report->generation = 0;
        }
        if (!report->sending) {
                schedule(reports, report);
                pump(reports);
        }
}

void reports_answered(struct reports *reports, struct intent *intent, int http_status)
{
        struct intent_report *report = &intent->report;
        g_autofree char *sent = g_steal_pointer(&report->sending);

        assert(reports && sent && reports->in_flight);
        reports->in_flight--;
        report->taken = http_status == 200;
        if (http_status == 200) {
                report->failures = 0;
                g_free(report->acknowledged);
                report->acknowledged = g_steal_pointer(&sent);
                schedule(reports, report);
                if (g_strcmp0(report->wanted, report->acknowledged) == 0) {
                        reports->options.acknowledged(intent, report->sending_generation, reports->options.userdata);
                }
        } else if (http_status >= 400 && http_status < 500 && http_status != 408 && http_status != 429) {
                /* Sending the same again would be refused again. */
                report->failures = 0;
                g_free(report->acknowledged);
                report->acknowledged = g_steal_pointer(&sent);
                schedule(reports, report);
                reports->options.refused(intent, http_status, reports->options.userdata);
        } else {
                report->urgent = true;
                put_off(reports, report);
        }
        pump(reports);
}

void reports_forget(struct reports *reports, struct intent *intent)
{
        assert(reports && intent);
        if (intent->report.sending) {
                assert(reports->in_flight);
                g_clear_pointer(&intent->report.sending, g_free);
                reports->in_flight--;
        }
}

void reports_resend(struct reports *reports)
{
        g_autoptr(GPtrArray) all = intents_list(reports->intents, NULL);

        for (unsigned i = 0; i < all->len; i++) {
                struct intent_report *report = &((struct intent *)all->pdata[i])->report;

                g_clear_pointer(&report->acknowledged, g_free);
                report->failures = 0;
                report->urgent = true;
                if (!report->sending) {
                        schedule(reports, report);
                }
        }
        pump(reports);
}

unsigned reports_pending(struct reports *reports)
{
        g_autoptr(GPtrArray) all = intents_list(reports->intents, NULL);
        unsigned n = 0;

        for (unsigned i = 0; i < all->len; i++) {
                const struct intent_report *report = &((struct intent *)all->pdata[i])->report;

                n += report->wanted && g_strcmp0(report->wanted, report->acknowledged) != 0;
        }
        return n;
}
