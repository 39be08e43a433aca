/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/intents.h"

#include "agent/manifest.h"
#include "agent/report.h"
#include "generated/api_types.h"
#include "loop/loop.h"

#include <glib.h>
#include <string.h>

#define UID_1 "aaaaaaaa-bbbb-4ccc-8ddd-000000000001"
#define UID_2 "aaaaaaaa-bbbb-4ccc-8ddd-000000000002"

/* A clock that the test turns. */
static uint64_t now;
static uint64_t test_now(void *userdata)
{
        return now;
}
static const struct clock test_clock = {.real_us = test_now, .monotonic_us = test_now};

static struct {
        struct intents *intents;
        unsigned forgotten;
} rig;

static void on_changed(struct intent *intent, void *userdata)
{
}

static void on_forgotten(struct intent *intent, void *userdata)
{
        rig.forgotten++;
}

static void set_up(void)
{
        struct intents_options options = {.clock = &test_clock, .changed = on_changed, .forgotten = on_forgotten};

        now = 1000000;
        rig.forgotten = 0;
        rig.intents = intents_new(&options);
}

static void tear_down(void)
{
        intents_free(rig.intents);
}

static int apply(const char *kind, const char *name, const char *uid, int generation, const char *rest)
{
        g_autofree char *text =
                g_strdup_printf("{\"kind\":\"%s\",\"metadata\":{\"name\":\"%s\",\"uid\":\"%s\",\"generation\":%d%s}}", kind, name,
                                uid, generation, rest);
        struct json_doc *doc;

        g_assert_cmpint(json_parse(text, strlen(text), &doc, NULL), ==, 0);
        return intents_apply(rig.intents, doc);
}

static struct intent *take(const char *expected)
{
        struct intent *intent = intents_take(rig.intents);

        g_assert_cmpstr(intent ? intent->key : NULL, ==, expected);
        return intent;
}

/* --- queue -----------------------------------------------------------------------------------------------------------------------
 */

static void new_and_changed_intents_get_a_turn(void)
{
        struct intent *intent;

        set_up();
        g_assert_cmpint(apply("Volume", "v-1", UID_1, 1, ""), ==, 0);
        intent = take("volumes/v-1");
        take(NULL);
        g_assert_nonnull(intents_finish(rig.intents, intent));
        take(NULL);
        /* Our own status coming back is no change. */
        g_assert_cmpint(apply("Volume", "v-1", UID_1, 1, ",\"resourceVersion\":\"7\""), ==, 0);
        take(NULL);
        g_assert_cmpint(apply("Volume", "v-1", UID_1, 2, ""), ==, 0);
        intent = take("volumes/v-1");
        intents_finish(rig.intents, intent);
        g_assert_cmpint(apply("Volume", "v-1", UID_1, 2, ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\""), ==, 0);
        intent = take("volumes/v-1");
        g_assert_true(intent->doc->deleted);
        tear_down();
}

static void change_during_a_job_gives_one_more(void)
{
        struct intent *intent;

        set_up();
        apply("Port", "p-1", UID_1, 1, "");
        intent = take("ports/p-1");
        apply("Port", "p-1", UID_1, 2, "");
        apply("Port", "p-1", UID_1, 3, "");
        take(NULL);
        intents_finish(rig.intents, intent);
        intent = take("ports/p-1");
        g_assert_cmpint(intent->doc->generation, ==, 3);
        intents_finish(rig.intents, intent);
        take(NULL);
        tear_down();
}

static void pauses_double_and_end_at_a_minute(void)
{
        static const uint64_t pauses[] = {1, 2, 4, 8, 16, 32, 60, 60};
        struct intent *intent;

        set_up();
        apply("Port", "p-1", UID_1, 1, "");
        for (size_t i = 0; i < G_N_ELEMENTS(pauses); i++) {
                intent = take("ports/p-1");
                intent = intents_finish(rig.intents, intent);
                intents_retry(rig.intents, intent);
                g_assert_cmpuint(intents_due_us(rig.intents), ==, pauses[i] * 1000000);
                now += pauses[i] * 1000000 - 1;
                take(NULL);
                now += 1;
        }
        /* A change starts afresh. */
        apply("Port", "p-1", UID_1, 2, "");
        g_assert_cmpuint(intents_due_us(rig.intents), ==, 0);
        tear_down();
}

static void what_an_attempt_causes_does_not_end_its_pause(void)
{
        struct intent *intent;

        set_up();
        apply("Port", "p-1", UID_1, 1, "");
        intent = take("ports/p-1");
        intents_nudge(rig.intents, intent); /* an event of our own doing */
        intent = intents_finish(rig.intents, intent);
        intents_retry(rig.intents, intent);
        intents_nudge(rig.intents, intent); /* and one that came late */
        g_assert_cmpuint(intents_due_us(rig.intents), ==, 1000000);
        now += 1000000;
        intent = take("ports/p-1");
        intent = intents_finish(rig.intents, intent);
        intent->failures = 0;
        intents_nudge(rig.intents, intent);
        g_assert_cmpuint(intents_due_us(rig.intents), ==, 0);
        intents_finish(rig.intents, take("ports/p-1"));
        tear_down();
}

static void earliest_of_several_times_wins(void)
{
        struct intent *intent;

        set_up();
        apply("Port", "p-1", UID_1, 1, "");
        intent = intents_finish(rig.intents, take("ports/p-1"));
        intents_queue(rig.intents, intent, 5000000);
        intents_queue(rig.intents, intent, 2000000);
        intents_queue(rig.intents, intent, 9000000);
        g_assert_cmpuint(intents_due_us(rig.intents), ==, 2000000);
        tear_down();
}

/* --- manifest --------------------------------------------------------------------------------------------------------------------
 */

static void relist_sweeps_what_is_no_more(void)
{
        set_up();
        apply("Port", "p-1", UID_1, 1, "");
        apply("Port", "p-2", UID_2, 1, "");
        intents_mark(rig.intents);
        apply("Port", "p-2", UID_2, 1, "");
        intents_sweep(rig.intents);
        g_assert_null(intents_get(rig.intents, &api_port_kind, "p-1"));
        g_assert_nonnull(intents_get(rig.intents, &api_port_kind, "p-2"));
        g_assert_cmpuint(rig.forgotten, ==, 1);
        tear_down();
}

static void intent_removed_during_its_job_goes_after_it(void)
{
        struct intent *intent;

        set_up();
        apply("Port", "p-1", UID_1, 1, "");
        intent = take("ports/p-1");
        intents_remove(rig.intents, "Port", "p-1");
        g_assert_cmpuint(rig.forgotten, ==, 0);
        g_assert_null(intents_finish(rig.intents, intent));
        g_assert_cmpuint(rig.forgotten, ==, 1);
        tear_down();
}

static void name_with_another_uid_is_another_intent(void)
{
        struct intent *intent;

        set_up();
        apply("Port", "p-1", UID_1, 1, "");
        intent = take("ports/p-1");
        apply("Port", "p-1", UID_2, 1, "");
        take(NULL);
        g_assert_null(intents_finish(rig.intents, intent));
        intent = take("ports/p-1");
        g_assert_cmpstr(intent->uid, ==, UID_2);
        intents_finish(rig.intents, intent);
        apply("Port", "p-1", UID_1, 1, "");
        intent = take("ports/p-1");
        g_assert_cmpstr(intent->uid, ==, UID_1);
        tear_down();
}

static void what_is_no_intent_is_refused(void)
{
        set_up();
        g_assert_cmpint(apply("Secret", "s", UID_1, 1, ""), ==, -EINVAL);
        g_assert_cmpint(apply("Port", "p", "../x", 1, ""), ==, -EINVAL);
        take(NULL);
        tear_down();
}

/* --- lines -----------------------------------------------------------------------------------------------------------------------
 */

static bool collect_line(const char *line, size_t len, void *userdata)
{
        g_ptr_array_add(userdata, g_strndup(line, len));
        return true;
}

static void lines_are_cut_wherever_the_pieces_break(void)
{
        static const char text[] = "one\n\ntwo\nthree is longer\nrest";

        for (size_t piece = 1; piece < sizeof(text); piece++) {
                g_autoptr(line_cutter) cutter = line_cutter_new(100);
                g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);

                for (size_t at = 0; at < sizeof(text) - 1; at += piece) {
                        g_assert_cmpint(line_cutter_feed(cutter, text + at, MIN(piece, sizeof(text) - 1 - at), collect_line, lines),
                                        ==, 0);
                }
                g_assert_cmpuint(lines->len, ==, 3);
                g_assert_cmpstr(lines->pdata[0], ==, "one");
                g_assert_cmpstr(lines->pdata[1], ==, "two");
                g_assert_cmpstr(lines->pdata[2], ==, "three is longer");
        }
}

static void line_without_end_is_bounded(void)
{
        g_autoptr(line_cutter) cutter = line_cutter_new(10);
        g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);

        g_assert_cmpint(line_cutter_feed(cutter, "12345678", 8, collect_line, lines), ==, 0);
        g_assert_cmpint(line_cutter_feed(cutter, "90ab", 4, collect_line, lines), ==, -EBADMSG);
        g_assert_cmpint(line_cutter_feed(cutter, "\nx\n", 3, collect_line, lines), ==, -EBADMSG);
        g_assert_cmpuint(lines->len, ==, 0);
}

static void manifest_lines_are_understood(void)
{
        static const struct {
                const char *line;
                int result;
                enum manifest_type type;
                const char *version;
        } cases[] = {
                {"{\"type\":\"ADDED\",\"object\":{\"kind\":\"Port\",\"metadata\":{\"name\":\"p-1\",\"resourceVersion\":\"5\"}}}", 0,
                 MANIFEST_ADDED, "5"},
                {"{\"type\":\"DELETED\",\"object\":{\"kind\":\"Port\",\"metadata\":{\"name\":\"p-1\",\"resourceVersion\":\"5\"}}}",
                 0, MANIFEST_DELETED, NULL},
                {"{\"type\":\"DELETED\",\"resourceVersion\":\"9\",\"object\":{\"kind\":\"Port\",\"metadata\":{\"name\":\"p-1\","
                 "\"resourceVersion\":\"5\"}}}",
                 0, MANIFEST_DELETED, "9"},
                {"{\"type\":\"SYNCED\",\"resourceVersion\":\"7\"}", 0, MANIFEST_SYNCED, "7"},
                {"{\"type\":\"BOOKMARK\",\"resourceVersion\":\"8\"}", 0, MANIFEST_BOOKMARK, "8"},
                {"{\"type\":\"STREAM\",\"nonce\":\"n\",\"machineUid\":\"u\",\"channel\":\"serial\"}", 0, MANIFEST_STREAM, NULL},
                {"{\"type\":\"ERROR\",\"object\":{\"code\":410,\"message\":\"too old\"}}", 0, MANIFEST_ERROR, NULL},
                {"{\"type\":\"NEWS\"}", 0, MANIFEST_TYPE_COUNT, NULL},
                {"{\"type\":\"SYNCED\"}", -EBADMSG, 0, NULL},
                {"{\"type\":\"STREAM\",\"nonce\":\"n\"}", -EBADMSG, 0, NULL},
                {"{\"type\":\"ADDED\"}", -EBADMSG, 0, NULL},
                {"{\"type\":\"ADDED\",\"object\":{\"kind\":\"Port\"}}", -EBADMSG, 0, NULL},
                {"{\"type\":7}", -EBADMSG, 0, NULL},
                {"[]", -EBADMSG, 0, NULL},
                {"{", -EBADMSG, 0, NULL},
                {"", -EBADMSG, 0, NULL},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct manifest_event event;

                g_test_message("%s", cases[i].line);
                g_assert_cmpint(manifest_event_parse(cases[i].line, strlen(cases[i].line), &event), ==, cases[i].result);
                if (!cases[i].result) {
                        g_assert_cmpint(event.type, ==, cases[i].type);
                        g_assert_cmpstr(event.resource_version, ==, cases[i].version);
                        manifest_event_clear(&event);
                }
        }
        for (unsigned i = 0; i < MANIFEST_TYPE_COUNT; i++) {
                g_assert_nonnull(manifest_type_to_text(i));
        }
}

/* --- reports ---------------------------------------------------------------------------------------------------------------------
 */

static struct {
        struct loop *loop;
        struct reports *reports;
        GPtrArray *sent;
        unsigned acknowledged, refused;
        int send_result;
} out;

static int record_send(struct intent *intent, const char *body, void *userdata)
{
        g_ptr_array_add(out.sent, g_strdup(body));
        return out.send_result;
}

static void record_acknowledged(struct intent *intent, int64_t generation, void *userdata)
{
        out.acknowledged++;
}

static void record_refused(struct intent *intent, int status, void *userdata)
{
        out.refused++;
}

static struct intent *set_up_reports(void)
{
        struct reports_options options = {
                .clock = &test_clock, .send = record_send, .acknowledged = record_acknowledged, .refused = record_refused};

        set_up();
        memset(&out, 0, sizeof(out));
        g_assert_cmpint(loop_new(&out.loop), ==, 0);
        options.loop = out.loop;
        out.sent = g_ptr_array_new_with_free_func(g_free);
        g_assert_cmpint(reports_new(&options, rig.intents, &out.reports), ==, 0);
        apply("Volume", "v-1", UID_1, 1, "");
        return intents_get(rig.intents, &api_volume_kind, "v-1");
}

static void tear_down_reports(void)
{
        reports_free(out.reports);
        loop_free(out.loop);
        g_ptr_array_unref(out.sent);
        tear_down();
}

static void report(struct intent *intent, const char *state, int percent)
{
        g_autofree char *text =
                g_strdup_printf("{\"observedGeneration\":1,\"state\":\"%s\",\"progressPercent\":%d}", state, percent);
        g_autoptr(json_doc) doc = NULL;

        g_assert_cmpint(json_parse(text, strlen(text), &doc, NULL), ==, 0);
        reports_set(out.reports, intent, json_root(doc));
}

static void state_goes_out_at_once_and_progress_once_a_second(void)
{
        struct intent *intent = set_up_reports();

        report(intent, "Fetching", 1);
        g_assert_cmpuint(out.sent->len, ==, 1);
        g_assert_nonnull(strstr(out.sent->pdata[0], "\"uid\":\"" UID_1 "\""));
        reports_answered(out.reports, intent, 200);
        report(intent, "Fetching", 2);
        report(intent, "Fetching", 3);
        g_assert_cmpuint(out.sent->len, ==, 1);
        now += 1000000;
        report(intent, "Fetching", 4);
        g_assert_cmpuint(out.sent->len, ==, 2);
        g_assert_nonnull(strstr(out.sent->pdata[1], "\"progressPercent\":4"));
        reports_answered(out.reports, intent, 200);
        report(intent, "Ready", 100);
        g_assert_cmpuint(out.sent->len, ==, 3);
        reports_answered(out.reports, intent, 200);
        report(intent, "Ready", 100);
        g_assert_cmpuint(out.sent->len, ==, 3);
        tear_down_reports();
}

static void newest_status_follows_the_one_in_flight(void)
{
        struct intent *intent = set_up_reports();

        report(intent, "Fetching", 1);
        report(intent, "Creating", 1);
        report(intent, "Ready", 100);
        g_assert_cmpuint(out.sent->len, ==, 1);
        reports_answered(out.reports, intent, 200);
        g_assert_cmpuint(out.acknowledged, ==, 0);
        g_assert_cmpuint(out.sent->len, ==, 2);
        g_assert_nonnull(strstr(out.sent->pdata[1], "Ready"));
        reports_answered(out.reports, intent, 200);
        g_assert_cmpuint(out.acknowledged, ==, 1);
        g_assert_cmpuint(reports_pending(out.reports), ==, 0);
        report(intent, "Ready", 100); /* of work that went on while the answer came: the journal can go now */
        g_assert_cmpuint(out.acknowledged, ==, 2);
        tear_down_reports();
}

static void unanswered_status_is_sent_again(void)
{
        struct intent *intent = set_up_reports();

        report(intent, "Ready", 100);
        reports_answered(out.reports, intent, 0);
        g_assert_cmpuint(out.sent->len, ==, 1);
        g_assert_cmpuint(reports_pending(out.reports), ==, 1);
        now += 500000;
        report(intent, "Ready", 99); /* anything that pumps */
        g_assert_cmpuint(out.sent->len, ==, 2);
        reports_answered(out.reports, intent, 503);
        reports_resend(out.reports); /* as after a reconnection */
        g_assert_cmpuint(out.sent->len, ==, 3);
        reports_answered(out.reports, intent, 200);
        g_assert_cmpuint(out.acknowledged, ==, 1);
        tear_down_reports();
}

static void refused_status_is_not_sent_for_ever(void)
{
        struct intent *intent = set_up_reports();

        report(intent, "Ready", 100);
        reports_answered(out.reports, intent, 422);
        g_assert_cmpuint(out.refused, ==, 1);
        now += 100000000;
        report(intent, "Ready", 100);
        g_assert_cmpuint(out.acknowledged, ==, 0);
        g_assert_cmpuint(out.sent->len, ==, 1);
        report(intent, "Failed", 100);
        g_assert_cmpuint(out.sent->len, ==, 2);
        reports_forget(out.reports, intent);
        tear_down_reports();
}

#define ADD(name) g_test_add_func("/intents/" #name, name)

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        ADD(new_and_changed_intents_get_a_turn);
        ADD(change_during_a_job_gives_one_more);
        ADD(pauses_double_and_end_at_a_minute);
        ADD(what_an_attempt_causes_does_not_end_its_pause);
        ADD(earliest_of_several_times_wins);
        ADD(relist_sweeps_what_is_no_more);
        ADD(intent_removed_during_its_job_goes_after_it);
        ADD(name_with_another_uid_is_another_intent);
        ADD(what_is_no_intent_is_refused);
        ADD(lines_are_cut_wherever_the_pieces_break);
        ADD(line_without_end_is_bounded);
        ADD(manifest_lines_are_understood);
        ADD(state_goes_out_at_once_and_progress_once_a_second);
        ADD(newest_status_follows_the_one_in_flight);
        ADD(unanswered_status_is_sent_again);
        ADD(refused_status_is_not_sent_for_ever);
        return g_test_run();
}
