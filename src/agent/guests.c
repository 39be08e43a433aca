/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/core.h"
#include "agent/frozen.h"

#include "base/error.h"
#include "base/log.h"
#include "generated/api_types.h"
#include "virt/guest_agent.h"
#include "virt/guest_orders.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/*
 * Guest agents are asked beside each other (lanes.h), each for a short time only: they are programs of the guests. When, says
 * guest_turn.h. What they say is laid over the status of the Instance. A seed image is removed once the guest has had time to read
 * it.
 */
#define TICK_US            1000000ull
#define WAIT_US            1000000ull /* an answer that takes longer lets us wait */
#define ENOUGH_US          3000000ull /* nothing more is asked of one that has taken as long */
#define ANSWER_S           3
#define SEED_AFTER_AGENT_S 10
#define SEED_AT_MOST_S     600

struct guests {
        struct agent *agent;
        struct loop_source *timer;
};

struct poll {
        struct guests *guests;
        struct agent *agent;
        char *name, *uuid, *seed_path;
        struct json_doc *guest; /* status members */
        struct guest_answer answer;
        bool away; /* libvirt is, so that nothing was asked */
        gint64 begun_us;
        bool set_clock; /* the guest stood still */
        int64_t epoch;  /* of the domain that is asked */
};

/* --- on a pool thread ------------------------------------------------------------------------------------------------------------
 */

static uint64_t took_us(const struct poll *poll)
{
        return (uint64_t)(g_get_monotonic_time() - poll->begun_us);
}

static void take_os(struct poll *poll, struct api_instance_status *status, struct api_guest_os_info *info, struct guest_os *os)
{
        struct virt_error error;

        if (took_us(poll) >= ENOUGH_US || guest_agent_os(poll->agent->virt, poll->uuid, ANSWER_S, os, &error)) {
                return;
        }
        *info = (struct api_guest_os_info){
                .id = os->id,
                .kernel_release = os->kernel_release,
                .kernel_version = os->kernel_version,
                .machine = os->machine,
                .name = os->name,
                .pretty_name = os->pretty_name,
                .version = os->version,
                .version_id = os->version_id,
        };
        status->guest_os_info = info;
}

static void take_addresses(struct poll *poll, struct api_instance_status *status, struct guest_addresses *addresses,
                           const char *texts[GUEST_ADDRESSES_MAX])
{
        struct virt_error error;

        if (took_us(poll) >= ENOUGH_US || guest_agent_addresses(poll->agent->virt, poll->uuid, ANSWER_S, addresses, &error)) {
                return;
        }
        for (size_t i = 0; i < addresses->n; i++) {
                texts[i] = addresses->items[i].text;
        }
        status->addresses = texts;
        status->n_addresses = addresses->n;
}

/* User data do not lie about longer than the first boot needs them. */
static void remove_seed_in_time(struct poll *poll)
{
        struct stat info;
        int64_t age;

        if (stat(poll->seed_path, &info) < 0) {
                return;
        }
        age = g_get_real_time() / 1000000 - info.st_mtime;
        if (age < (poll->answer.connected ? SEED_AFTER_AGENT_S : SEED_AT_MOST_S)) {
                poll->answer.soon = true;
                return;
        }
        if (unlink(poll->seed_path) < 0 && errno != ENOENT) {
                log_warning("seed image could not be removed", "path", poll->seed_path, "error", g_strerror(errno));
        }
}

static int poll_work(void *userdata)
{
        struct poll *poll = userdata;
        struct api_instance_status status = {.has_agent_connected = true};
        g_autofree struct guest_addresses *addresses = g_new0(struct guest_addresses, 1);
        const char *texts[GUEST_ADDRESSES_MAX];
        struct api_guest_os_info info;
        struct guest_os os = {};
        struct virt_error error;
        int r;

        poll->begun_us = g_get_monotonic_time();
        r = guest_agent_ping(poll->agent->virt, poll->uuid, ANSWER_S, &error);
        poll->away = r == VIRT_E_UNREACHABLE;
        poll->answer.connected = r == 0;
        status.agent_connected = poll->answer.connected;
        if (poll->answer.connected && poll->set_clock) {
                r = guest_set_time(poll->agent->virt, poll->uuid, &error);

                log_info(r ? "the clock of a guest that stood still was not set" : "the clock of a guest that stood still is set",
                         "uuid", poll->uuid, "error", r ? error.words : NULL);
        }
        if (poll->answer.connected) {
                take_os(poll, &status, &info, &os);
                take_addresses(poll, &status, addresses, texts);
        }
        poll->guest = json_doc_new();
        json_set_root(poll->guest, schema_encode(&api_instance_status_type, &status, poll->guest));
        guest_os_clear(&os);
        poll->answer.waited = took_us(poll) >= WAIT_US;
        remove_seed_in_time(poll);
        return 0;
}

/* --- on the loop -----------------------------------------------------------------------------------------------------------------
 */

static void poll_done(int result, void *userdata)
{
        struct poll *poll = userdata;
        struct agent *agent = poll->agent;
        struct intent *intent = intents_get(agent->intents, &api_instance_kind, poll->name);

        if (intent && result == 0 && poll->answer.connected && poll->set_clock) {
                intent->stood_still = false;
        }
        if (intent && intent->turn_of_guest.asking) {
                guest_turn_end(&intent->turn_of_guest, loop_now_us(agent->loop), result || poll->away ? NULL : &poll->answer);
        }
        if (result == 0 && !poll->away && intent && intent->active && intent->epoch == poll->epoch) {
                json_doc_free(intent->guest);
                intent->guest = g_steal_pointer(&poll->guest);
                converge_publish(agent, intent);
        }
        json_doc_free(poll->guest);
        g_free(poll->name);
        g_free(poll->uuid);
        g_free(poll->seed_path);
        g_free(poll);
}

static void begin_poll(struct guests *guests, struct intent *intent)
{
        struct poll *poll = g_new0(struct poll, 1);

        poll->guests = guests;
        poll->agent = guests->agent;
        poll->name = g_strdup(intent->name);
        poll->epoch = intent->epoch;
        poll->uuid = g_strdup(json_find_string(json_root(intent->status), "domainUuid", NULL));
        poll->set_clock = intent->stood_still;
        poll->seed_path = g_strdup_printf("%s/%s.iso", guests->agent->seed_dir, intent->uid);
        guest_turn_begin(&intent->turn_of_guest, loop_now_us(guests->agent->loop));
        lanes_submit(guests->agent->lanes,
                     &(struct lanes_job){
                             .guest = poll->uuid, .patience_us = WAIT_US, .work = poll_work, .done = poll_done, .userdata = poll});
}

static void on_tick(struct loop_source *source, void *userdata)
{
        struct guests *guests = userdata;
        struct agent *agent = guests->agent;
        g_autoptr(GPtrArray) instances = intents_list(agent->intents, &api_instance_kind);
        uint64_t now = loop_now_us(agent->loop);

        for (unsigned i = 0; i < instances->len && agent->virt && !agent->stopping; i++) {
                struct intent *instance = instances->pdata[i];
                const char *uuid = instance->status ? json_find_string(json_root(instance->status), "domainUuid", NULL) : NULL;

                if (!uuid || !instance->active || !guest_turn_is_due(&instance->turn_of_guest, now)) {
                        continue;
                }
                if (frozen_has(agent->frozen, uuid)) {
                        guest_turn_later(&instance->turn_of_guest, now);
                } else {
                        begin_poll(guests, instance);
                }
        }
        loop_timer_set(source, TICK_US);
}

int guests_new(struct agent *agent, struct guests **ret_guests)
{
        struct guests *guests = g_new0(struct guests, 1);
        int r;

        guests->agent = agent;
        r = loop_timer(agent->loop, TICK_US, on_tick, guests, &guests->timer);
        if (r < 0) {
                guests_free(guests);
                return r;
        }
        *ret_guests = guests;
        return 0;
}

struct guests *guests_free(struct guests *guests)
{
        if (guests) {
                loop_source_free(guests->timer);
                g_free(guests);
        }
        return NULL;
}

void guests_sweep_seeds(struct agent *agent)
{
        g_autoptr(GHashTable) known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_autoptr(GPtrArray) instances = intents_list(agent->intents, &api_instance_kind);
        g_autoptr(GDir) folder = g_dir_open(agent->seed_dir, 0, NULL);
        const char *name;

        for (unsigned i = 0; i < instances->len; i++) {
                g_hash_table_add(known, g_strconcat(((const struct intent *)instances->pdata[i])->uid, ".iso", NULL));
        }
        while (folder && (name = g_dir_read_name(folder))) {
                g_autofree char *path = g_build_filename(agent->seed_dir, name, NULL);

                if (!g_hash_table_contains(known, name) && unlink(path) < 0) {
                        log_warning("a seed image that nobody needs could not be removed", "path", path, "error",
                                    g_strerror(errno));
                }
        }
}

void guests_look(struct guests *guests, struct intent *intent)
{
        uint64_t now = loop_now_us(guests->agent->loop);

        guest_turn_look(&intent->turn_of_guest, now);
        if (guest_turn_is_due(&intent->turn_of_guest, now)) {
                loop_timer_set(guests->timer, TICK_US / 10);
        }
}
