/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "cli/cli.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What is waited for, parsed, and how far it is. */
struct goal {
        enum { GOAL_PHASE, GOAL_CONDITION, GOAL_DELETE } what;
        char *type, *value;
        const struct schema_kind *kind;
        const char *name;
        bool quiet, reached, failed, deleted;
        char *uid;   /* of the object seen first */
        char *state; /* "Pending: why", as it is now */
        struct cli_bar bar;
};

/* The enumeration of status.phase, or NULL. */
static const char *const *phases_of(const struct schema_kind *kind)
{
        static const char *const path[] = {"status", "phase"};
        const struct schema_type *type = kind->type;
        const char *const *phases = NULL;

        for (size_t i = 0; i < G_N_ELEMENTS(path); i++) {
                const struct schema_field *field = type ? type->fields : NULL;
                while (field && field->name && !g_str_equal(field->name, path[i]))
                        field++;
                type = field && field->name ? field->type : NULL;
                phases = field && field->name ? field->enumeration : NULL;
        }
        return phases;
}

static int parse_phase(const struct schema_kind *kind, const char *text, struct goal *goal)
{
        const char *const *phases = phases_of(kind);

        if (!phases)
                return cli_usage("a %s has no phase; wait for a condition or for delete", kind->singular);
        for (const char *const *phase = phases; *phase; phase++)
                if (g_ascii_strcasecmp(*phase, text) == 0) {
                        goal->what = GOAL_PHASE;
                        goal->value = g_strdup(*phase);
                        return CLI_OK;
                }
        g_autofree char *known = g_strjoinv(", ", (char **)phases);
        return cli_usage("a %s has no phase %s; it knows %s", kind->singular, text, known);
}

static int parse_goal(const struct schema_kind *kind, const char *text, struct goal *goal)
{
        if (g_str_equal(text, "delete")) {
                goal->what = GOAL_DELETE;
                return CLI_OK;
        }
        if (g_str_has_prefix(text, "phase=") && text[6])
                return parse_phase(kind, text + 6, goal);
        if (g_str_has_prefix(text, "condition=") && text[10]) {
                g_auto(GStrv) parts = g_strsplit(text + 10, "=", 2);
                goal->what = GOAL_CONDITION;
                goal->type = g_strdup(parts[0]);
                goal->value = g_strdup(parts[1] ?: "True");
                return CLI_OK;
        }
        return cli_usage("--for knows phase=X, condition=TYPE[=STATUS] and delete");
}

static void goal_clear(struct goal *goal)
{
        g_free(goal->type);
        g_free(goal->value);
        g_free(goal->uid);
        g_free(goal->state);
}

/* The sentence that explains the phase: the first condition that is not as it should be. */
static const char *explanation(const struct json_value *object)
{
        for (const struct json_value *c = json_first(json_find(object, "status", "conditions", NULL)); c; c = json_next(c)) {
                const char *type = json_find_string(c, "type", NULL);
                const char *message = json_find_string(c, "message", NULL);
                bool wanted =
                        type && (g_str_has_suffix(type, "Ready") || g_str_equal(type, "Running") || g_str_equal(type, "Completed"));
                if (wanted && !g_str_equal(type, "AgentReady") && g_strcmp0(json_find_string(c, "status", NULL), "True") != 0 &&
                    message && *message)
                        return message;
        }
        return NULL;
}

char *cli_state(const struct json_value *object)
{
        const char *phase = json_find_string(object, "status", "phase", NULL);
        const char *why = explanation(object);

        return g_strdup_printf("%s%s%s", phase ?: "new", why ? ": " : "", why ?: "");
}

/* Percent of what is being made, or -1. */
static int percent_of(const struct json_value *object)
{
        const char *progress = json_find_string(object, "status", "progress", NULL);
        const char *phase = json_find_string(object, "status", "phase", NULL);

        return progress && g_strcmp0(phase, "Provisioning") == 0 ? (int)g_ascii_strtoull(progress, NULL, 10) : -1;
}

static void follow(struct goal *goal, const struct json_value *object)
{
        const char *phase = json_find_string(object, "status", "phase", NULL);
        int percent = percent_of(object);

        g_autofree char *state = !phase ? NULL : goal->reached ? g_strdup(phase) : cli_state(object);
        if (state && g_strcmp0(state, goal->state) != 0) {
                g_free(goal->state);
                goal->state = g_steal_pointer(&state);
                if (!goal->quiet && !goal->failed) {
                        cli_bar_end(&goal->bar);
                        cli_note("%s: %s", goal->name, goal->state);
                }
        }
        if (!goal->quiet && percent >= 0)
                cli_bar_show(&goal->bar, (uint64_t)percent, 100);
}

/* What is said of an older version of the specification says nothing of this one. */
static bool is_stale(const struct json_value *condition, const struct json_value *object)
{
        int64_t of = 0, now = 0;

        return json_int64(json_get(condition, "observedGeneration"), &of) == 0 &&
               json_int64(json_find(object, "metadata", "generation", NULL), &now) == 0 && of < now;
}

static bool condition_holds(const struct goal *goal, const struct json_value *object)
{
        for (const struct json_value *c = json_first(json_find(object, "status", "conditions", NULL)); c; c = json_next(c))
                if (g_strcmp0(json_find_string(c, "type", NULL), goal->type) == 0)
                        return g_strcmp0(json_find_string(c, "status", NULL), goal->value) == 0 && !is_stale(c, object);
        return false;
}

static bool on_event(const char *type, struct json_value *object, void *userdata)
{
        static const char *const final_phases[] = {"Failed", "Superseded", NULL}; /* nothing leaves them */
        struct goal *goal = userdata;
        const char *phase = json_find_string(object, "status", "phase", NULL);
        const char *uid = json_find_string(object, "metadata", "uid", NULL);

        if (!goal->uid)
                goal->uid = g_strdup(uid);
        goal->deleted = g_str_equal(type, "DELETED") || g_strcmp0(uid, goal->uid) != 0;
        if (goal->deleted) {
                goal->reached = goal->what == GOAL_DELETE;
                goal->failed = !goal->reached;
                return false;
        }
        if (goal->what == GOAL_PHASE) {
                goal->reached = g_strcmp0(phase, goal->value) == 0;
                goal->failed = !goal->reached && phase && g_strv_contains(final_phases, phase);
        } else if (goal->what == GOAL_CONDITION) {
                goal->reached = condition_holds(goal, object);
        }
        follow(goal, object);
        return !goal->reached && !goal->failed;
}

/* Look once, then watch until the end or the time. @*ret_again: look again. */
static int look_and_watch(struct cli *cli, struct goal *goal, uint64_t end_us, bool *ret_again)
{
        g_autofree char *object_path = cli_path(cli, goal->kind, goal->name);
        g_autofree char *collection = cli_path(cli, goal->kind, NULL);
        g_autofree char *escaped = g_uri_escape_string(goal->name, NULL, FALSE);
        g_autofree char *path = g_strdup_printf("%s?fieldSelector=metadata.name%%3D%s", collection, escaped);
        struct cli_reply reply = {};

        *ret_again = false;
        int code = cli_call(cli, &(struct cli_request){.path = object_path}, &reply);
        if (code == CLI_OK && reply.status == 404 && (goal->what == GOAL_DELETE || goal->uid)) {
                goal->deleted = true;
                goal->reached = goal->what == GOAL_DELETE;
                goal->failed = !goal->reached;
        } else if (code == CLI_OK && (reply.status != 200 || !reply.doc)) {
                code = cli_tell_status(&reply);
        } else if (code == CLI_OK && on_event("ADDED", json_root(reply.doc), goal)) {
                uint64_t now_us = clock_monotonic_us(clock_system());
                struct cli_watch watch = {.path = path, .stop_when_gone = true, .each = on_event, .userdata = goal};
                watch.timeout_us = now_us < end_us ? end_us - now_us : 1;
                watch.resource_version = g_strdup(json_find_string(json_root(reply.doc), "metadata", "resourceVersion", NULL));
                code = cli_watch(cli, &watch);
                *ret_again = watch.gone;
                g_free(watch.resource_version);
        }
        cli_reply_clear(&reply);
        return code;
}

static int tell_outcome(const struct goal *goal, const char *what, uint64_t timeout_us, int code)
{
        const char *singular = goal->kind->singular;

        if (code == CLI_TIMEOUT) {
                bool delete = goal->what == GOAL_DELETE;
                cli_error("%s/%s %s%s within %g s%s%s", singular, goal->name, delete ? "was not deleted" : "did not reach ",
                          delete ? "" : what, (double)timeout_us / 1e6, goal->state ? "; it is " : "", goal->state ?: "");
                cli_hint("gabbro describe %s %s tells more.", singular, goal->name);
        } else if (code == CLI_OK && goal->failed) {
                if (goal->deleted)
                        cli_error("%s/%s was deleted meanwhile", singular, goal->name);
                else
                        cli_error("%s/%s is %s", singular, goal->name, goal->state);
                return CLI_FAILED;
        }
        return code;
}

int cli_wait_for(struct cli *cli, const struct schema_kind *kind, const char *name, const char *what, uint64_t timeout_us,
                 bool quiet)
{
        assert(cli && kind && name && what);

        struct goal goal = {.kind = kind, .name = name, .quiet = quiet, .bar = {.what = name}};

        uint64_t end_us = clock_monotonic_us(clock_system()) + timeout_us;
        bool again = true;

        int code = parse_goal(kind, what, &goal);
        while (code == CLI_OK && again)
                code = look_and_watch(cli, &goal, end_us, &again);
        if (code == CLI_OK && goal.reached && goal.bar.begun)
                cli_bar_show(&goal.bar, 100, 100);
        cli_bar_end(&goal.bar);
        code = tell_outcome(&goal, what, timeout_us, code);
        goal_clear(&goal);
        return code;
}

int cli_wait(struct cli *cli, int argc, char **argv)
{
        g_autofree char *what = NULL;
        g_autoptr(GArray) targets = NULL;
        int timeout_s = 300;
        gboolean quiet = FALSE;
        const GOptionEntry entries[] = {
                {"for", 0, 0, G_OPTION_ARG_STRING, &what, "phase=X, condition=TYPE[=STATUS] or delete", "WHAT"},
                {"timeout", 0, 0, G_OPTION_ARG_INT, &timeout_s, "How long for each (300)", "SECONDS"},
                {"quiet", 'q', 0, G_OPTION_ARG_NONE, &quiet, "No progress", NULL},
                {},
        };
        int code = cli_parse(cli, "wait", entries,
                             "Examples:\n"
                             "  gabbro wait vm web --for phase=Running\n"
                             "  gabbro wait cvi/debian-12 --for condition=Ready --timeout 600\n"
                             "  gabbro wait vm web --for delete",
                             &argc, &argv);

        if (code == CLI_OK && !what)
                code = cli_usage("for what? for example gabbro wait vm NAME --for phase=Running");
        if (code == CLI_OK && timeout_s < 0)
                code = cli_usage("--timeout takes seconds");
        if (code == CLI_OK) {
                targets = cli_targets(argc, argv, "wait");
                code = targets ? CLI_OK : CLI_USAGE;
        }
        for (guint i = 0; code == CLI_OK && i < targets->len; i++) {
                const struct cli_target *target = &g_array_index(targets, struct cli_target, i);
                code = cli_wait_for(cli, target->kind, target->name, what, (uint64_t)timeout_s * 1000000, quiet);
        }
        return code;
}
