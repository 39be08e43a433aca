/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/agent.h"

#include "agent/core.h"
#include "agent/frozen.h"
#include "agent/guest_calls.h"
#include "agent/migration_keys.h"
#include "agent/migration_runs.h"
#include "agent/reboot.h"
#include "agent/renew.h"
#include "agent/volume_export.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/steps.h"
#include "generated/api_types.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#define JOB_THREADS       4
#define QUERY_THREADS     3
#define EXPORT_THREADS    2
#define IMAGE_CACHE_BYTES (20ull << 30)

/* --- the manifest ----------------------------------------------------------------------------------------------------------------
 */

static void on_relist(void *userdata)
{
        struct agent *agent = userdata;

        intents_mark(agent->intents);
}

static void take_object(struct agent *agent, struct manifest_event *event)
{
        const struct json_value *root = json_root(event->object);

        if (event->type == MANIFEST_DELETED) {
                intents_remove(agent->intents, json_find_string(root, "kind", NULL),
                               json_find_string(root, "metadata", "name", NULL));
        } else {
                g_autofree char *kind = g_strdup(json_find_string(root, "kind", NULL));
                g_autofree char *name = g_strdup(json_find_string(root, "metadata", "name", NULL));

                if (intents_apply(agent->intents, g_steal_pointer(&event->object)) < 0) {
                        log_warning("the manifest holds an object of an unknown kind; a newer gateway may send it");
                } else {
                        converge_cancel(agent, kind, name);
                }
        }
}

static void on_event(struct manifest_event *event, void *userdata)
{
        struct agent *agent = userdata;

        if (event->object) {
                take_object(agent, event);
        } else if (event->type == MANIFEST_STREAM && g_str_equal(event->channel, "call")) {
                guest_calls_open(agent->guest_calls, event->nonce, event->machine_uid);
        } else if (event->type == MANIFEST_STREAM) {
                consoles_open(agent->consoles, event->nonce, event->machine_uid, event->channel);
        }
}

static void on_synced(void *userdata)
{
        struct agent *agent = userdata;

        intents_sweep(agent->intents);
        reports_resend(agent->reports);
        if (!agent->synced) {
                agent->synced = true;
                log_info("the manifest is complete: catching up");
                guests_sweep_seeds(agent);
                converge_adopt(agent);
                intents_queue_all(agent->intents);
        }
        converge_build_net(agent);
        converge_pump(agent);
}

static void on_connected(bool connected, const char *words, void *userdata)
{
        struct agent *agent = userdata;

        if (connected) {
                log_info("the gateway is reached");
                reports_resend(agent->reports);
                node_report_soon(agent->node);
                volume_export_hasten(agent);
        } else {
                log_warning("the gateway is not reached; what runs goes on", "error", words);
        }
}

/* --- intents ---------------------------------------------------------------------------------------------------------------------
 */

static void on_intent_changed(struct intent *intent, void *userdata)
{
        struct agent *agent = userdata;

        /* Gathered until the loop's next iteration. */
        loop_timer_set(agent->turn_timer, 0);
}

static void on_intent_forgotten(struct intent *intent, void *userdata)
{
        struct agent *agent = userdata;

        intent->report.call = http_call_cancel(intent->report.call);
        g_clear_pointer(&intent->report.call_data, g_free);
        reports_forget(agent->reports, intent);
        converge_forgotten(agent, intent);
        if (!intent->gone) {
                log_warning("an intent left the manifest before it was torn down; what it made stays", "intent", intent->key);
        }
        /* The gateway has taken the last status, also when its answer comes later than the end of the intent, or not at all. */
        if (intent->gone && !agent->stopping && journal_drop(agent->journal, intent->uid, G_MAXINT64) < 0) {
                log_warning("a journal entry could not be dropped", "intent", intent->key);
        }
        if (!intent->gone && intent->kind == &api_port_kind && !agent->stopping) {
                converge_drop_port(agent, intent->name);
        }
}

static void on_turn_timer(struct loop_source *source, void *userdata)
{
        converge_pump(userdata);
}

/* --- reports ---------------------------------------------------------------------------------------------------------------------
 */

struct sending {
        struct agent *agent;
        struct intent *intent;
};

static void on_report_answer(struct http_call *call, int status, const char *body, size_t len, const char *error, void *userdata)
{
        struct sending *sending = userdata;
        struct intent *intent = sending->intent;
        struct agent *agent = sending->agent;

        g_free(sending);
        intent->report.call = NULL;
        intent->report.call_data = NULL;
        reports_answered(agent->reports, intent, status);
}

static int send_report(struct intent *intent, const char *body, void *userdata)
{
        struct agent *agent = userdata;
        g_autofree char *path = g_strdup_printf("/agent/v1/intents/%s/%s/status", intent->kind->plural, intent->name);
        struct sending *sending = g_new0(struct sending, 1);
        struct http_call *call = NULL;
        g_autoptr(json_doc) doc = NULL;
        int r;

        sending->agent = agent;
        sending->intent = intent;
        r = json_parse(body, strlen(body), &doc, NULL);
        assert(!r);
        r = gateway_call(agent->gateway, "PUT", path, json_root(doc), on_report_answer, sending, &call);
        if (r < 0) {
                g_free(sending);
                return r;
        }
        intent->report.call = call;
        intent->report.call_data = sending;
        return 0;
}

static void on_acknowledged(struct intent *intent, int64_t generation, void *userdata)
{
        struct agent *agent = userdata;
        int r;

        (void)steps_pass(agent->steps, intent->kind->plural, "status", "acknowledged");
        /* While work goes on its journal stays, whatever progress was told. */
        if (intent->running || !(intent->ready || intent->gone)) {
                return;
        }
        r = journal_drop(agent->journal, intent->uid, generation);
        if (r < 0) {
                log_warning("a journal entry could not be dropped", "intent", intent->key, "error", g_strerror(-r));
        }
}

static void on_refused(struct intent *intent, int status, void *userdata)
{
        g_autofree char *text = g_strdup_printf("%d", status);

        if (status != 404) {
                log_warning("the gateway refused a status", "intent", intent->key, "status", text);
        }
}

/* --- life ------------------------------------------------------------------------------------------------------------------------
 */

static void on_image_changed(const char *digest, void *userdata)
{
        converge_image_changed(userdata, digest);
}

/* Seeds, rules and sockets below the folder are used by other users' processes: they pass through it, and cannot list it. */
static int open_folders(struct agent *agent, char **reterr_words)
{
        struct stat info;
        int r = file_ensure_dir(agent->data_dir, 0711);

        if (!r && stat(agent->data_dir, &info) == 0 && !(info.st_mode & S_IXOTH) &&
            chmod(agent->data_dir, info.st_mode | S_IXGRP | S_IXOTH) < 0) {
                r = -errno;
        }
        r = r ? r : file_ensure_dir(agent->seed_dir, 0711);
        /* Others may make things beside it: what root and hypervisors read out of it must be its own. */
        if (!r && lstat(agent->seed_dir, &info) < 0) {
                r = -errno;
        }
        if (!r && (!S_ISDIR(info.st_mode) || info.st_uid != geteuid() || info.st_mode & (S_IWGRP | S_IWOTH))) {
                *reterr_words = g_strdup_printf("%s must be a folder of this user that nobody else can write to", agent->seed_dir);
                r = -EPERM;
        }
        return r;
}

static int open_stores(struct agent *agent, char **reterr_words)
{
        g_autofree char *journal_dir = g_build_filename(agent->data_dir, "journal", NULL);
        g_autofree char *net_dir = g_build_filename(agent->data_dir, "net", NULL);
        g_autofree char *image_dir = g_build_filename(agent->data_dir, "images", NULL);
        struct net_engine_options net_options = {.state_dir = net_dir};
        struct images_options image_options = {.loop = agent->loop,
                                               .source = images_from_gateway(agent->gateway),
                                               .dir = image_dir,
                                               .max_bytes = IMAGE_CACHE_BYTES,
                                               .steps = agent->steps,
                                               .changed = on_image_changed,
                                               .userdata = agent};
        int r = open_folders(agent, reterr_words);

        if (!r) {
                r = journal_open(journal_dir, agent->steps, &agent->journal);
        }
        if (!r) {
                r = net_engine_new(&net_options, &agent->net, reterr_words);
        }
        if (!r) {
                r = images_new(&image_options, &agent->images);
        }
        return error_fold(r);
}

static int open_queues(struct agent *agent)
{
        struct intents_options intents_options = {
                .clock = clock_system(), .changed = on_intent_changed, .forgotten = on_intent_forgotten, .userdata = agent};
        struct reports_options reports_options = {.loop = agent->loop,
                                                  .clock = clock_system(),
                                                  .send = send_report,
                                                  .acknowledged = on_acknowledged,
                                                  .refused = on_refused,
                                                  .userdata = agent};
        int r;

        agent->intents = intents_new(&intents_options);
        r = loop_timer(agent->loop, UINT64_MAX, on_turn_timer, agent, &agent->turn_timer);
        if (!r) {
                r = resync_new(agent, &agent->resync);
        }
        if (!r) {
                r = reports_new(&reports_options, agent->intents, &agent->reports);
        }
        if (!r) {
                r = loop_pool_new(agent->loop, JOB_THREADS, &agent->jobs);
        }
        if (!r) {
                r = loop_pool_new(agent->loop, EXPORT_THREADS, &agent->exports);
        }
        if (!r) {
                r = loop_pool_new(agent->loop, QUERY_THREADS, &agent->queries);
        }
        if (!r) {
                r = lanes_new(agent->loop, &agent->lanes);
        }
        return r;
}

static int open_talk(struct agent *agent)
{
        struct manifest_handlers handlers = {
                .relist = on_relist, .event = on_event, .synced = on_synced, .connected = on_connected, .userdata = agent};
        int r;

        agent->consoles = consoles_new(agent);
        r = guests_new(agent, &agent->guests);
        if (!r) {
                r = frozen_new(agent, &agent->frozen);
        }
        if (!r) {
                r = guest_calls_new(agent, &agent->guest_calls);
        }
        if (!r) {
                r = lease_new(agent, &agent->lease);
        }
        if (!r) {
                r = node_report_new(agent, &agent->node);
        }
        if (!r) {
                r = renewal_new(agent, &agent->renewal);
        }
        if (!r) {
                r = migration_keys_new(agent, &agent->migration_keys);
        }
        if (!r) {
                r = manifest_follow(agent->loop, agent->gateway, &handlers, &agent->manifest);
        }
        return r;
}

int agent_new(const struct agent_options *options, struct agent **ret_agent, char **reterr_words)
{
        struct gateway_options gateway_options = {
                .loop = options->loop, .url = options->gateway_url, .data_dir = options->data_dir};
        g_autoptr(agent) agent = g_new0(struct agent, 1);
        int r;

        assert(options->loop && options->data_dir && options->gateway_url && options->libvirt_uri && ret_agent && reterr_words);
        agent->loop = options->loop;
        agent->begun_us = loop_now_us(agent->loop);
        agent->data_dir = g_strdup(options->data_dir);
        agent->seed_dir = options->seed_base ? g_build_filename(options->seed_base, "gabbro-seeds", NULL)
                                             : g_build_filename(options->data_dir, "seeds", NULL);
        agent->libvirt_uri = g_strdup(options->libvirt_uri);
        agent->pool_base = g_strdup(options->pool_base);
        agent->graphics_address = g_strdup(options->graphics_address);
        agent->reboot_command = g_strdup(options->reboot_command ?: REBOOT_COMMAND);
        agent->virt_choice = options->virt;
        agent->steps = options->steps;
        agent->migration_runs = migration_runs_new(agent);
        r = gateway_new(&gateway_options, &agent->gateway);
        if (!r) {
                r = open_stores(agent, reterr_words);
        }
        if (!r) {
                r = open_queues(agent);
        }
        if (!r) {
                r = open_talk(agent);
        }
        if (r < 0) {
                return r;
        }
        host_look(agent);
        *ret_agent = g_steal_pointer(&agent);
        return 0;
}

static void cancel_reports(struct agent *agent)
{
        g_autoptr(GPtrArray) all = intents_list(agent->intents, NULL);

        for (unsigned i = 0; i < all->len; i++) {
                struct intent *intent = all->pdata[i];

                http_call_cancel(intent->report.call);
                g_clear_pointer(&intent->report.call_data, g_free);
        }
}

struct agent *agent_free(struct agent *agent)
{
        if (!agent) {
                return NULL;
        }
        agent->stopping = true;
        manifest_free(agent->manifest);
        consoles_free(agent->consoles);
        /* Jobs under way end; queued ones come back cancelled. */
        lanes_free(agent->lanes);
        guest_calls_free(agent->guest_calls);
        loop_pool_free(agent->jobs);
        loop_pool_free(agent->exports);
        loop_pool_free(agent->queries);
        images_free(agent->images);
        if (agent->intents) {
                cancel_reports(agent);
        }
        agent->renewal = renewal_free(agent->renewal);
        agent->migration_keys = migration_keys_free(agent->migration_keys);
        agent->migration_runs = migration_runs_free(agent->migration_runs);
        agent->node = node_report_free(agent->node);
        lease_free(agent->lease);
        guests_free(agent->guests);
        frozen_free(agent->frozen);
        loop_source_free(agent->turn_timer);
        resync_free(agent->resync);
        loop_source_free(agent->look_timer);
        reports_free(agent->reports);
        intents_free(agent->intents);
        host_unref(agent->host);
        virt_close(agent->virt);
        net_engine_free(agent->net);
        journal_free(agent->journal);
        gateway_free(agent->gateway);
        g_free(agent->libvirt_words);
        g_free(agent->data_dir);
        g_free(agent->seed_dir);
        g_free(agent->libvirt_uri);
        g_free(agent->pool_base);
        g_free(agent->reboot_command);
        g_free(agent->graphics_address);
        g_free(agent);
        return NULL;
}
