/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/story.h"

#include "generated/api_types.h"
#include "generated/reasons.h"

#include <stdio.h>
#include <string.h>

/* Conditions whose False stops a machine, in the order in which it passes them. */
static const char *const needed[] = {"VirtualMachineClassReady",
                                     "SizingPolicyMatched",
                                     "ProvisioningReady",
                                     "BlockDevicesReady",
                                     "NetworkReady",
                                     "VirtualMachineIPAddressReady",
                                     "Running",
                                     "ConfigurationApplied",
                                     "AgentReady",
                                     NULL};

/* Where a reason is treated at length. */
static const struct {
        const char *condition, *page;
} pages[] = {
        {"Running", "doc/how-to/machine-does-not-start.md"},
        {"BlockDevicesReady", "doc/how-to/disks.md"},
        {"ConfigurationApplied", "doc/how-to/change-a-machine.md"},
        {"AgentReady", "doc/how-to/troubleshooting.md"},
};

static const char *text_at(const struct json_value *object, const char *first, const char *second)
{
        return json_find_string(object, first, second, NULL) ?: "";
}

/* --- what happened
 * ---------------------------------------------------------------------------------------------------------------------- */

struct happening {
        char *time, *what, *words;
        unsigned place; /* of those of one second, in the order in which they were found */
};

static void happening_free(void *data)
{
        struct happening *happening = data;

        g_free(happening->time);
        g_free(happening->what);
        g_free(happening->words);
        g_free(happening);
}

static void add(GPtrArray *story, const char *time, const char *what, const char *words)
{
        struct happening *happening;

        if (!time || !*time)
                return;
        happening = g_new0(struct happening, 1);
        /* Whole seconds, so that events and conditions stand beside each other. */
        *happening = (struct happening){.time = g_strndup(time, strlen("2026-11-21T22:22:27")),
                                        .what = g_strdup(what),
                                        .words = g_strdup(words),
                                        .place = story->len};
        g_ptr_array_add(story, happening);
}

static int by_time(const void *a, const void *b)
{
        const struct happening *const *x = a, *const *y = b;

        return strcmp((*x)->time, (*y)->time) ?: ((*x)->place > (*y)->place) - ((*x)->place < (*y)->place);
}

/* The answer to a question whose refusal only makes the story shorter. */
static bool ask(struct cli *cli, const char *path, struct cli_reply *ret_reply)
{
        return cli_call(cli, &(struct cli_request){.path = path}, ret_reply) == CLI_OK && ret_reply->status == 200 &&
               ret_reply->doc;
}

static void add_events(struct cli *cli, const struct json_value *machine, GPtrArray *story)
{
        g_autofree char *collection = cli_path_in(&api_event_kind, text_at(machine, "metadata", "namespace"), NULL);
        g_autofree char *path =
                g_strdup_printf("%s?fieldSelector=involvedObject.uid%%3D%s", collection, text_at(machine, "metadata", "uid"));
        struct cli_reply reply = {};

        if (ask(cli, path, &reply))
                for (const struct json_value *e = json_first(json_get(json_root(reply.doc), "items")); e; e = json_next(e)) {
                        g_autofree char *what = g_strdup_printf(
                                "%s%s", strcmp(text_at(e, "type", NULL), "Warning") == 0 ? "! " : "", text_at(e, "reason", NULL));

                        add(story, text_at(e, "lastTimestamp", NULL), what, text_at(e, "message", NULL));
                }
        cli_reply_clear(&reply);
}

static const struct json_value *condition_of(const struct json_value *object, const char *type)
{
        for (const struct json_value *c = json_first(json_find(object, "status", "conditions", NULL)); c; c = json_next(c))
                if (strcmp(text_at(c, "type", NULL), type) == 0)
                        return c;
        return NULL;
}

static void add_operation(const struct json_value *operation, GPtrArray *story)
{
        const struct json_value *end = condition_of(operation, "Completed");
        const char *phase = text_at(operation, "status", "phase"), *type = text_at(operation, "spec", "type");
        g_autofree char *asked = g_strdup_printf("%s was asked for", type), *what = g_strdup_printf("%s: %s", type, phase);
        g_autofree char *name = g_strconcat("virtualmachineoperation/", text_at(operation, "metadata", "name"), NULL);
        const char *words = end ? text_at(end, "message", NULL) : "";

        add(story, text_at(operation, "metadata", "creationTimestamp"), asked, name);
        if (end && strcmp(phase, "Pending") != 0 && strcmp(phase, "InProgress") != 0)
                add(story, text_at(end, "lastTransitionTime", NULL), what, *words ? words : name);
}

static void add_operations(struct cli *cli, const struct json_value *machine, GPtrArray *story)
{
        g_autofree char *path = cli_path_in(&api_virtual_machine_operation_kind, text_at(machine, "metadata", "namespace"), NULL);
        struct cli_reply reply = {};

        if (ask(cli, path, &reply))
                for (const struct json_value *o = json_first(json_get(json_root(reply.doc), "items")); o; o = json_next(o))
                        if (strcmp(text_at(o, "spec", "virtualMachineName"), text_at(machine, "metadata", "name")) == 0)
                                add_operation(o, story);
        cli_reply_clear(&reply);
}

static void add_conditions(const struct json_value *machine, GPtrArray *story)
{
        for (const struct json_value *c = json_first(json_find(machine, "status", "conditions", NULL)); c; c = json_next(c)) {
                g_autofree char *what = g_strdup_printf("%s is %s", text_at(c, "type", NULL), text_at(c, "status", NULL));

                add(story, text_at(c, "lastTransitionTime", NULL), what, text_at(c, "message", NULL));
        }
}

static void tell_happenings(struct cli *cli, const struct json_value *machine)
{
        g_autoptr(GPtrArray) story = g_ptr_array_new_with_free_func(happening_free);
        struct cli_table *table = cli_table_new();

        add(story, text_at(machine, "metadata", "creationTimestamp"), "it was made", "");
        add_operations(cli, machine, story);
        add_events(cli, machine, story);
        add_conditions(machine, story);
        add(story, text_at(machine, "metadata", "deletionTimestamp"), "its deletion was asked for", "");
        g_ptr_array_sort(story, by_time);
        printf("Events, operations and conditions, in order\n");
        for (guint i = 0; i < story->len; i++) {
                const struct happening *happening = story->pdata[i];
                g_autofree char *time = g_strconcat("  ", happening->time, NULL);

                cli_table_add(table, (const char *const[]){time, happening->what, happening->words, NULL});
        }
        cli_table_print(table);
        cli_table_free(table);
}

/* --- how its host sees it
 * ------------------------------------------------------------------------------------------------------------------- */

static void say(const char *label, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void say(const char *label, const char *format, ...)
{
        g_autofree char *text = NULL, *clean = NULL;
        va_list args;

        va_start(args, format);
        text = g_strdup_vprintf(format, args);
        va_end(args);
        clean = cli_clean(text, false);
        printf("  %-12s %s\n", label, clean);
}

static int64_t number_at(const struct json_value *object, const char *first, const char *second)
{
        int64_t number = 0;

        (void)json_int64(json_find(object, first, second, NULL), &number); /* absent reads as 0 */
        return number;
}

static void tell_instance(const struct json_value *instance)
{
        const struct json_value *error = json_find(instance, "status", "error", NULL);
        const char *reason = text_at(instance, "status", "stateReason"), *step = text_at(instance, "status", "step");

        say("Host", "%s", text_at(instance, "spec", "nodeName"));
        say("Domain", "%s", text_at(instance, "status", "domainName"));
        say("Shall be", "%s, start %" G_GINT64_FORMAT, text_at(instance, "spec", "power"), number_at(instance, "spec", "epoch"));
        say("Is", "%s, start %" G_GINT64_FORMAT "%s%s", text_at(instance, "status", "state"),
            number_at(instance, "status", "epoch"), *reason ? ": " : "", reason);
        if (*step)
                say("Step", "%s, %" G_GINT64_FORMAT " %%", step, number_at(instance, "status", "progressPercent"));
        if (error)
                say("Failure", "%s (%s)", text_at(error, "message", NULL), text_at(error, "reason", NULL));
        if (*text_at(instance, "status", "differs"))
                say("Differs", "%s", text_at(instance, "status", "differs"));
}

static void tell_host(struct cli *cli, const struct json_value *machine)
{
        g_autofree char *collection = cli_path_in(&api_instance_kind, NULL, NULL);
        g_autofree char *path =
                g_strdup_printf("%s?labelSelector=gabbro.dev/owner-namespace%%3D%s,gabbro.dev/owner-name%%3D%s", collection,
                                text_at(machine, "metadata", "namespace"), text_at(machine, "metadata", "name"));
        struct cli_reply reply = {};
        const struct json_value *first;

        if (cli_call(cli, &(struct cli_request){.path = path}, &reply) != CLI_OK)
                return;
        first = reply.status == 200 && reply.doc ? json_first(json_get(json_root(reply.doc), "items")) : NULL;
        printf("Its host's view\n");
        if (reply.status == 403)
                printf("  you may not see it: ask an administrator for kubectl get instances.host.gabbro.dev\n");
        else if (!first)
                printf("  no host has anything of it\n");
        for (const struct json_value *i = first; i; i = json_next(i))
                tell_instance(i);
        cli_reply_clear(&reply);
}

/* --- what is to come
 * --------------------------------------------------------------------------------------------------------------------- */

static char *value_text(const struct json_value *value)
{
        return !value ? g_strdup("nothing") : json_is(value, JSON_STRING) ? g_strdup(json_string(value, "")) : json_to_text(value);
}

static void tell_changes(const struct json_value *machine)
{
        const struct json_value *changes = json_find(machine, "status", "restartAwaitingChanges", NULL);

        if (json_length(changes))
                printf("Waits for a restart\n");
        for (const struct json_value *c = json_first(changes); c; c = json_next(c)) {
                g_autofree char *is = value_text(json_get(c, "currentValue")), *shall = value_text(json_get(c, "desiredValue"));

                say("", "%s %s: %s, will be %s", text_at(c, "operation", NULL), text_at(c, "path", NULL), is, shall);
        }
}

static const char *page_of(const char *condition)
{
        for (size_t i = 0; i < G_N_ELEMENTS(pages); i++)
                if (strcmp(pages[i].condition, condition) == 0)
                        return pages[i].page;
        return NULL;
}

static void tell_obstacle(const struct json_value *condition)
{
        const char *type = text_at(condition, "type", NULL);
        const struct reason *reason = reason_find(text_at(condition, "reason", NULL));
        const char *page = page_of(type);

        say("", "%s: %s", type, text_at(condition, "message", NULL));
        if (reason && reason->doc)
                say("", "%s", reason->doc);
        if (page)
                say("", "%s tells more", page);
}

static void tell_next(const struct json_value *machine)
{
        const char *phase = text_at(machine, "status", "phase"), *name = text_at(machine, "metadata", "name");
        const struct json_value *awaiting = condition_of(machine, "AwaitingRestartToApplyConfiguration");
        bool told = false;

        printf("What to do next\n");
        if (strcmp(phase, "Stopped") == 0) {
                say("", "it is off: gabbro start %s", name);
                return;
        }
        if (strcmp(phase, "Pause") == 0) {
                say("", "it stands still: gabbro resume %s", name);
                told = true;
        }
        for (const char *const *type = needed; *type && !told; type++) {
                const struct json_value *condition = condition_of(machine, *type);

                if (condition && strcmp(text_at(condition, "status", NULL), "False") == 0) {
                        tell_obstacle(condition);
                        told = true;
                }
        }
        if (awaiting && strcmp(text_at(awaiting, "status", NULL), "True") == 0) {
                say("", "changes wait for a restart: gabbro restart %s", name);
                told = true;
        }
        if (!told)
                say("", "nothing: it is %s", *phase ? phase : "new");
}

void story_tell(struct cli *cli, const struct json_value *machine)
{
        tell_happenings(cli, machine);
        tell_host(cli, machine);
        tell_changes(machine);
        tell_next(machine);
}
