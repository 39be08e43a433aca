/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* What is waited for, parsed. */
struct goal {
        enum { GOAL_PHASE, GOAL_CONDITION, GOAL_DELETE } what;
        char *type, *value;
        const char *name;
        bool quiet, reached, failed;
        char *told; /* the latest line of progress */
};

static int parse_goal(const char *text, struct goal *goal)
{
        if (g_str_equal(text, "delete")) {
                goal->what = GOAL_DELETE;
                return CLI_OK;
        }
        if (g_str_has_prefix(text, "phase=") && text[6]) {
                goal->what = GOAL_PHASE;
                goal->value = g_strdup(text + 6);
                return CLI_OK;
        }
        if (g_str_has_prefix(text, "condition=") && text[10]) {
                g_auto(GStrv) parts = g_strsplit(text + 10, "=", 2);
                goal->what = GOAL_CONDITION;
                goal->type = g_strdup(parts[0]);
                goal->value = g_strdup(parts[1] ?: "True");
                return CLI_OK;
        }
        cli_error("--for knows phase=X, condition=TYPE[=STATUS] and delete");
        return CLI_USAGE;
}

static void goal_clear(struct goal *goal)
{
        g_free(goal->type);
        g_free(goal->value);
        g_free(goal->told);
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

static void tell_progress(struct goal *goal, const struct json_value *object)
{
        const char *phase = json_find_string(object, "status", "phase", NULL);
        const char *why = explanation(object);

        if (goal->quiet || !phase)
                return;
        g_autofree char *line =
                why ? g_strdup_printf("%s: %s: %s", goal->name, phase, why) : g_strdup_printf("%s: %s", goal->name, phase);
        if (g_strcmp0(line, goal->told) == 0)
                return;
        cli_note("%s", line);
        g_free(goal->told);
        goal->told = g_steal_pointer(&line);
}

static bool condition_holds(const struct goal *goal, const struct json_value *object)
{
        for (const struct json_value *c = json_first(json_find(object, "status", "conditions", NULL)); c; c = json_next(c))
                if (g_strcmp0(json_find_string(c, "type", NULL), goal->type) == 0)
                        return g_strcmp0(json_find_string(c, "status", NULL), goal->value) == 0;
        return false;
}

static bool on_event(const char *type, struct json_value *object, void *userdata)
{
        struct goal *goal = userdata;
        const char *phase = json_find_string(object, "status", "phase", NULL);

        if (g_str_equal(type, "BOOKMARK"))
                return true;
        if (g_str_equal(type, "DELETED")) {
                goal->reached = goal->what == GOAL_DELETE;
                goal->failed = !goal->reached;
                return false;
        }
        tell_progress(goal, object);
        if (goal->what == GOAL_PHASE)
                goal->reached = g_strcmp0(phase, goal->value) == 0;
        else if (goal->what == GOAL_CONDITION)
                goal->reached = condition_holds(goal, object);
        /* A phase that nothing leaves ends the wait for another one. */
        if (goal->what == GOAL_PHASE && !goal->reached && g_strcmp0(phase, "Failed") == 0) {
                goal->failed = true;
                if (goal->quiet && explanation(object))
                        cli_note("%s: %s: %s", goal->name, phase, explanation(object));
        }
        return !goal->reached && !goal->failed;
}

static uint64_t now_us(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

int cli_wait_for(struct cli *cli, const struct schema_kind *kind, const char *name, const char *what, uint64_t timeout_us,
                 bool quiet)
{
        struct goal goal = {.name = name, .quiet = quiet};
        g_autofree char *object_path = cli_path(cli, kind, name);
        g_autofree char *collection = cli_path(cli, kind, NULL);
        g_autofree char *escaped = g_uri_escape_string(name, NULL, FALSE);
        g_autofree char *path = g_strdup_printf("%s?fieldSelector=metadata.name%%3D%s", collection, escaped);
        uint64_t end = now_us() + timeout_us;
        int code = parse_goal(what, &goal);

        while (code == CLI_OK && !goal.reached && !goal.failed) {
                struct cli_reply reply = {};
                g_autofree char *version = NULL;
                code = cli_call(cli, &(struct cli_request){.path = object_path}, &reply);
                if (code == CLI_OK && reply.status == 404 && goal.what == GOAL_DELETE) {
                        goal.reached = true;
                } else if (code == CLI_OK && reply.status != 200) {
                        code = cli_tell_status(&reply);
                } else if (code == CLI_OK && on_event("ADDED", json_root(reply.doc), &goal)) {
                        version = g_strdup(json_find_string(json_root(reply.doc), "metadata", "resourceVersion", NULL));
                        uint64_t now = now_us();
                        code = now < end ? cli_watch(cli, path, NULL, version, end - now, on_event, &goal) : CLI_TIMEOUT;
                        /* A watch that the server ended is taken up again. */
                        if (code == CLI_TIMEOUT && now_us() < end)
                                code = CLI_OK;
                }
                cli_reply_clear(&reply);
        }
        if (code == CLI_TIMEOUT)
                cli_error("%s/%s: no %s in time", kind->singular, name, what);
        if (code == CLI_OK && goal.failed) {
                cli_error("%s/%s: %s will not come", kind->singular, name, what);
                code = CLI_FAILED;
        }
        goal_clear(&goal);
        return code;
}

int cli_wait(struct cli *cli, int argc, char **argv)
{
        g_autofree char *what = NULL;
        int timeout_s = 300;
        gboolean quiet = FALSE;
        const GOptionEntry entries[] = {
                {"for", 0, 0, G_OPTION_ARG_STRING, &what, "phase=X, condition=TYPE[=STATUS] or delete", "WHAT"},
                {"timeout", 0, 0, G_OPTION_ARG_INT, &timeout_s, "How long (300)", "SECONDS"},
                {"quiet", 'q', 0, G_OPTION_ARG_NONE, &quiet, "No progress", NULL},
                {},
        };
        int code = cli_parse(cli, "wait", entries, NULL, &argc, &argv);

        if (code == CLI_OK && (argc != 3 || !what || timeout_s < 0)) {
                cli_error("for what? for example gabbro wait vm NAME --for phase=Running");
                code = CLI_USAGE;
        }
        const struct schema_kind *kind = code == CLI_OK ? cli_kind(argv[1]) : NULL;
        if (code == CLI_OK && !kind)
                code = CLI_USAGE;
        return code == CLI_OK ? cli_wait_for(cli, kind, argv[2], what, (uint64_t)timeout_s * 1000000, quiet) : code;
}
