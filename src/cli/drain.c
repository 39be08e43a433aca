/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "cli/cli.h"
#include "generated/api_types.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TIMEOUT_S 3600
#define LOOK_US   1000000u

/* Ctrl-C: what was told to leave goes on leaving; only the watching ends. */
static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
        interrupted = 1;
}

struct drain {
        struct cli *cli;
        const char *node;
        char *selector;
        gboolean dry_run, wait, no_wait, stop;
        int timeout_s;
        GHashTable *chosen; /* "project/machine" of @selector; NULL: all */
        GHashTable *known;  /* "project/machine" -> what was told of it last; those that have left are gone from it */
        size_t total;
        struct cli_bar bar;
};

static const char *text(const struct json_value *row, const char *key)
{
        return json_find_string(row, key, NULL) ?: "";
}

static char *name_of(const struct json_value *row)
{
        return g_strdup_printf("%s/%s", text(row, "namespace"), text(row, "name"));
}

/* --- what the gateway says --- */

static int fetch_plan(struct drain *drain, struct cli_reply *ret)
{
        g_autofree char *node = cli_path(drain->cli, &api_node_kind, drain->node);
        g_autofree char *path = g_strconcat(node, "/evacuation", NULL);

        return cli_expect(drain->cli, &(struct cli_request){.path = path, .patient = true}, ret);
}

/* Which machines are meant: Pods have the labels of their machines. */
static int choose(struct drain *drain)
{
        g_autofree char *pods = cli_path_in(&api_pod_kind, NULL, NULL);
        g_autofree char *node = g_uri_escape_string(drain->node, NULL, FALSE);
        g_autofree char *labels = drain->selector ? g_uri_escape_string(drain->selector, NULL, FALSE) : NULL;
        g_autofree char *path = NULL;
        struct cli_reply reply = {};
        int code;

        if (!labels)
                return CLI_OK;
        path = g_strdup_printf("%s?fieldSelector=spec.nodeName%%3D%s&labelSelector=%s", pods, node, labels);
        code = cli_expect(drain->cli, &(struct cli_request){.path = path}, &reply);
        drain->chosen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        for (const struct json_value *pod = code == CLI_OK ? json_first(json_get(json_root(reply.doc), "items")) : NULL; pod;
             pod = json_next(pod))
                g_hash_table_add(drain->chosen, name_of(json_get(pod, "metadata")));
        cli_reply_clear(&reply);
        return code;
}

static bool is_meant(const struct drain *drain, const struct json_value *row)
{
        g_autofree char *name = name_of(row);

        return !drain->chosen || g_hash_table_contains(drain->chosen, name);
}

/* The next machine that is meant, after @row or from the beginning. */
static const struct json_value *next_meant(const struct drain *drain, const struct cli_reply *plan, const struct json_value *row)
{
        row = row ? json_next(row) : json_first(json_get(json_root(plan->doc), "machines"));
        while (row && !is_meant(drain, row))
                row = json_next(row);
        return row;
}

static bool is_way(const struct json_value *row, const char *way)
{
        return g_str_equal(text(row, "way"), way);
}

/* --- the plan --- */

/* It can be moved neither now nor, perhaps, later; --stop ends it. */
static bool is_stopped(const struct drain *drain, const struct json_value *row)
{
        return drain->stop && (is_way(row, "Stay") || is_way(row, "Full")) && !g_str_equal(text(row, "runPolicy"), "AlwaysOn");
}

static char *plan_words(const struct drain *drain, const struct json_value *row)
{
        bool held = is_way(row, "Stay") || is_way(row, "Full");

        if (is_way(row, "Move"))
                return g_strdup_printf("moves to %s", text(row, "node"));
        if (is_way(row, "Stop"))
                return g_strdup_printf("is stopped, as its owner allows: %s", text(row, "message"));
        if (is_stopped(drain, row))
                return g_strdup_printf("is stopped: %s", text(row, "message"));
        if (held && drain->stop)
                return g_strdup_printf("stays: %s; and stopped, its run policy AlwaysOn would start it again",
                                       text(row, "message"));
        return g_strdup_printf("%s: %s", is_way(row, "Stay") ? "stays" : "waits", text(row, "message"));
}

struct counts {
        size_t all, stay, full;
};

static struct counts tell_plan(struct drain *drain, const struct cli_reply *plan)
{
        struct counts counts = {};

        for (const struct json_value *row = next_meant(drain, plan, NULL); row; row = next_meant(drain, plan, row)) {
                g_autofree char *name = name_of(row), *words = plan_words(drain, row);

                cli_say("%s %s", name, words);
                counts.all++;
                counts.stay += is_way(row, "Stay") && !is_stopped(drain, row);
                counts.full += is_way(row, "Full") && !is_stopped(drain, row);
                g_hash_table_insert(drain->known, g_steal_pointer(&name), g_strdup(""));
        }
        if (counts.all == 0)
                cli_say("node/%s holds no machine%s", drain->node, drain->chosen ? " that is selected" : "");
        return counts;
}

/* --- carrying it out --- */

static int set_cordon(struct cli *cli, const char *node, bool on)
{
        g_autofree char *path = cli_path(cli, &api_node_kind, node);
        const char *body = on ? "{\"spec\":{\"unschedulable\":true}}" : "{\"spec\":{\"unschedulable\":null}}";
        struct cli_reply reply = {};
        int code = cli_expect(cli,
                              &(struct cli_request){.method = "PATCH",
                                                    .path = path,
                                                    .content_type = "application/merge-patch+json",
                                                    .body = body,
                                                    .len = strlen(body)},
                              &reply);

        if (code == CLI_OK)
                cli_say("node/%s %s", node, on ? "is cordoned" : "takes machines again");
        cli_reply_clear(&reply);
        return code;
}

static int evict(struct drain *drain, const struct json_value *row)
{
        g_autofree char *pod = cli_path_in(&api_pod_kind, text(row, "namespace"), text(row, "name"));
        g_autofree char *path = g_strconcat(pod, "/eviction", NULL), *body = NULL;
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);
        struct cli_reply reply = {};
        int code;

        json_set_string(doc, root, "apiVersion", "policy/v1");
        json_set_string(doc, root, "kind", "Eviction");
        json_set_string(doc, json_ensure_object(doc, root, "metadata"), "name", text(row, "name"));
        json_set_string(doc, json_get(root, "metadata"), "namespace", text(row, "namespace"));
        json_set_string(doc, json_ensure_object(doc, json_ensure_object(doc, root, "deleteOptions"), "preconditions"), "uid",
                        text(row, "pod"));
        body = json_to_text(root);
        code = cli_call(drain->cli, &(struct cli_request){.method = "POST", .path = path, .body = body, .len = strlen(body)},
                        &reply);
        if (code == CLI_OK && reply.status / 100 != 2 && reply.status != 429 && reply.status != 404)
                code = cli_tell_status(&reply);
        cli_reply_clear(&reply);
        return code;
}

static int stop(struct drain *drain, const struct json_value *row)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT), *spec;
        g_autofree char *prefix = g_strdup_printf("drain-%.40s-", text(row, "name")), *name = NULL;
        char *namespace = drain->cli->namespace;
        int code;

        json_set_root(doc, root);
        json_set_string(doc, root, "apiVersion", "gabbro.dev/v1");
        json_set_string(doc, root, "kind", "VirtualMachineOperation");
        json_set_string(doc, json_ensure_object(doc, root, "metadata"), "generateName", prefix);
        spec = json_ensure_object(doc, root, "spec");
        json_set_string(doc, spec, "type", "Stop");
        json_set_string(doc, spec, "virtualMachineName", text(row, "name"));
        drain->cli->namespace = (char *)text(row, "namespace");
        code = cli_create_doc(drain->cli, &api_virtual_machine_operation_kind, doc, &name);
        drain->cli->namespace = namespace;
        return code;
}

/* All are told before anything is waited for: each takes its turn. */
static int begin(struct drain *drain, const struct cli_reply *plan)
{
        int code = CLI_OK;

        for (const struct json_value *row = next_meant(drain, plan, NULL); row && code == CLI_OK;
             row = next_meant(drain, plan, row))
                if (!is_way(row, "Go") && *text(row, "pod"))
                        code = is_stopped(drain, row) ? stop(drain, row) : evict(drain, row);
        return code;
}

/* --- following it --- */

/* Where a machine is that the host holds no more. */
static void tell_left(struct drain *drain, const char *name)
{
        g_auto(GStrv) parts = g_strsplit(name, "/", 2);
        g_autofree char *path = cli_path_in(&api_virtual_machine_kind, parts[0], parts[1]);
        struct cli_reply reply = {};
        const char *node = NULL, *phase = NULL;

        if (cli_call(drain->cli, &(struct cli_request){.path = path, .patient = true}, &reply) == CLI_OK && reply.status == 200) {
                node = json_find_string(json_root(reply.doc), "status", "nodeName", NULL);
                phase = json_find_string(json_root(reply.doc), "status", "phase", NULL);
        }
        cli_bar_end(&drain->bar);
        if (reply.status == 404)
                cli_note("%s was deleted", name);
        else if (node && *node && !g_str_equal(node, drain->node))
                cli_note("%s is on %s", name, node);
        else
                cli_note("%s is %s", name, g_strcmp0(phase, "Stopped") == 0 ? "off" : "gone from the host");
        cli_reply_clear(&reply);
}

static void tell_change(struct drain *drain, const struct json_value *row)
{
        const struct json_value *operation = json_get(row, "operation");
        const char *target = text(operation, "targetNode");
        g_autofree char *name = name_of(row), *words = NULL;

        if (operation && *target)
                words = g_strdup_printf("moves to %s (%s)", target, text(operation, "name"));
        else
                words = g_strdup_printf("waits: %s", operation && *text(operation, "message") ? text(operation, "message")
                                                                                              : text(row, "message"));
        if (g_strcmp0(g_hash_table_lookup(drain->known, name), words) == 0)
                return;
        cli_bar_end(&drain->bar);
        cli_note("%s %s", name, words);
        g_hash_table_insert(drain->known, g_steal_pointer(&name), g_steal_pointer(&words));
}

static void tell_those_that_left(struct drain *drain, GHashTable *here)
{
        g_autoptr(GPtrArray) left = g_ptr_array_new_with_free_func(g_free);
        GHashTableIter iter;
        gpointer name;

        g_hash_table_iter_init(&iter, drain->known);
        while (g_hash_table_iter_next(&iter, &name, NULL))
                if (!g_hash_table_contains(here, name))
                        g_ptr_array_add(left, g_strdup(name));
        for (guint i = 0; i < left->len; i++) {
                g_hash_table_remove(drain->known, left->pdata[i]);
                tell_left(drain, left->pdata[i]);
        }
}

/* One look. *ret_stay: how many of those that are left nobody moves any more. */
static size_t look(struct drain *drain, const struct cli_reply *plan, size_t *ret_stay)
{
        g_autoptr(GHashTable) here = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        size_t left = 0, stay = 0;
        uint64_t done = 0;

        for (const struct json_value *row = next_meant(drain, plan, NULL); row; row = next_meant(drain, plan, row)) {
                bool held = !json_bool(json_get(row, "evicted"), false) && *text(row, "withdrawn") && !json_get(row, "operation");

                g_hash_table_add(here, name_of(row));
                left++;
                stay += held;
                done += MIN(g_ascii_strtoull(text(json_get(row, "operation"), "progress"), NULL, 10), 99);
                if (!held)
                        tell_change(drain, row);
        }
        tell_those_that_left(drain, here);
        drain->total = MAX(drain->total, left);
        cli_bar_show(&drain->bar, (drain->total - left) * 100 + done, drain->total * 100);
        *ret_stay = stay;
        return left;
}

static void tell_held(struct drain *drain, const struct cli_reply *plan)
{
        for (const struct json_value *row = next_meant(drain, plan, NULL); row; row = next_meant(drain, plan, row))
                cli_error("%s/%s stays on %s: %s", text(row, "namespace"), text(row, "name"), drain->node,
                          *text(row, "withdrawn") ? text(row, "withdrawn") : text(row, "message"));
}

static int give_up(struct drain *drain, const char *why, size_t left, int code)
{
        cli_bar_end(&drain->bar);
        cli_error("%s: node/%s stays cordoned with %zu machine%s", why, drain->node, left, left == 1 ? "" : "s");
        cli_note("Those that were told to leave go on leaving. To follow them again: gabbro drain %s\n"
                 "To let what has not begun stay: gabbro uncordon %s",
                 drain->node, drain->node);
        return code;
}

static int follow(struct drain *drain)
{
        uint64_t end_us = clock_monotonic_us(clock_system()) + (uint64_t)drain->timeout_s * 1000000;
        size_t left = drain->total, stay = 0;

        for (;;) {
                struct cli_reply plan = {};
                int code = fetch_plan(drain, &plan);

                if (code == CLI_OK)
                        left = look(drain, &plan, &stay);
                if (code == CLI_OK && left > 0 && stay == left) {
                        cli_bar_end(&drain->bar);
                        tell_held(drain, &plan);
                        code = CLI_FAILED;
                }
                cli_reply_clear(&plan);
                if (interrupted)
                        return give_up(drain, "interrupted", left, CLI_FAILED);
                if (code != CLI_OK)
                        return code;
                if (left == 0)
                        break;
                if (clock_monotonic_us(clock_system()) >= end_us)
                        return give_up(drain, "time is up", left, CLI_TIMEOUT);
                g_usleep(LOOK_US);
        }
        cli_bar_end(&drain->bar);
        cli_say("node/%s is %s", drain->node, drain->chosen ? "free of the machines that are selected" : "empty");
        return CLI_OK;
}

static int carry_out(struct drain *drain)
{
        struct cli_reply plan = {};
        struct counts counts = {};
        int code = fetch_plan(drain, &plan);

        if (code == CLI_OK)
                code = choose(drain);
        if (code == CLI_OK)
                counts = tell_plan(drain, &plan);
        drain->total = counts.all;
        if (code == CLI_OK && drain->dry_run) {
                code = counts.stay + counts.full > 0 ? CLI_FAILED : CLI_OK;
        } else if (code == CLI_OK && counts.stay > 0) {
                cli_error("nothing was begun: %zu machine%s cannot leave node/%s%s", counts.stay, counts.stay == 1 ? "" : "s",
                          drain->node, drain->stop ? "" : "; --stop stops what cannot be moved, --selector leaves it out");
                code = CLI_FAILED;
        } else if (code == CLI_OK) {
                code = set_cordon(drain->cli, drain->node, true);
                if (code == CLI_OK)
                        code = begin(drain, &plan);
                if (code == CLI_OK && !drain->no_wait)
                        code = follow(drain);
        }
        cli_reply_clear(&plan);
        return code;
}

int cli_drain(struct cli *cli, int argc, char **argv)
{
        struct drain drain = {.cli = cli, .timeout_s = TIMEOUT_S};
        const GOptionEntry entries[] = {
                {"dry-run", 0, 0, G_OPTION_ARG_NONE, &drain.dry_run, "Tell the plan: which machine goes where, or why not", NULL},
                {"selector", 'l', 0, G_OPTION_ARG_STRING, &drain.selector, "Only machines with these labels", "SELECTOR"},
                {"stop", 0, 0, G_OPTION_ARG_NONE, &drain.stop, "Stop the machines that cannot be moved now", NULL},
                {"wait", 0, 0, G_OPTION_ARG_NONE, &drain.wait, "Follow it until the host is empty; as without", NULL},
                {"no-wait", 0, 0, G_OPTION_ARG_NONE, &drain.no_wait, "Come back when every machine was told to leave", NULL},
                {"timeout", 0, 0, G_OPTION_ARG_INT, &drain.timeout_s, "How long to follow it (3600)", "SECONDS"},
                {},
        };
        int code =
                cli_parse(cli, "drain", entries,
                          "The host takes no new machines, and those that run there move to others, one after the other, without\n"
                          "a break. Nothing is begun while one of them can neither move nor be stopped. Ctrl-C ends the watching:\n"
                          "the host stays cordoned and machines go on leaving; the same command follows them again.\n\n"
                          "Examples:\n"
                          "  gabbro drain rack-7 --dry-run\n"
                          "  gabbro drain rack-7\n"
                          "  gabbro drain rack-7 --selector tier=web --stop --timeout 600",
                          &argc, &argv);

        if (code == CLI_OK && argc != 2)
                code = cli_usage("which host? gabbro drain NODE; gabbro get node lists them");
        if (code == CLI_OK && drain.wait && drain.no_wait)
                code = cli_usage("either --wait or --no-wait");
        if (code == CLI_OK && drain.timeout_s <= 0)
                code = cli_usage("--timeout takes seconds, at least 1");
        if (code == CLI_OK) {
                drain.node = g_str_has_prefix(argv[1], "node/") ? argv[1] + strlen("node/") : argv[1];
                drain.bar.what = drain.node;
                drain.known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
                signal(SIGINT, on_interrupt);
                code = carry_out(&drain);
                g_hash_table_unref(drain.known);
        }
        if (drain.chosen)
                g_hash_table_unref(drain.chosen);
        g_free(drain.selector);
        return code;
}

/* --- cordon and uncordon --- */

static int cordon_each(struct cli *cli, const char *verb, bool on, const char *help, int argc, char **argv)
{
        int code = cli_parse(cli, verb, NULL, help, &argc, &argv);

        if (code == CLI_OK && argc < 2)
                code = cli_usage("which host? gabbro %s NODE; gabbro get node lists them", verb);
        for (int i = 1; code == CLI_OK && i < argc; i++)
                code = set_cordon(cli, g_str_has_prefix(argv[i], "node/") ? argv[i] + strlen("node/") : argv[i], on);
        return code;
}

int cli_cordon(struct cli *cli, int argc, char **argv)
{
        return cordon_each(
                cli, "cordon", true,
                "Nothing new starts on the host and nothing moves there. What runs there stays; gabbro drain empties it.\n\n"
                "Examples:\n"
                "  gabbro cordon rack-7",
                argc, argv);
}

int cli_uncordon(struct cli *cli, int argc, char **argv)
{
        return cordon_each(cli, "uncordon", false,
                           "Machines start there again. Of a drain that is under way, what moves arrives, and the others stay.\n\n"
                           "Examples:\n"
                           "  gabbro uncordon rack-7",
                           argc, argv);
}
