/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/core.h"
#include "agent/daemon_stack.h"

#include "base/error.h"
#include "base/log.h"
#include "generated/api_types.h"
#include "virt/kvm_proof.h"

#include <malloc.h>
#include <string.h>

#define AGAIN_US 2000000ull
#define PROBE_US 5000000ull

unsigned host_weights(const struct host *host)
{
        return g_atomic_int_get(&host->weights_refused) ? 0 : host->facts.cgroup_version;
}

struct host *host_ref(struct host *host)
{
        g_atomic_int_inc(&host->references);
        return host;
}

struct host *host_unref(struct host *host)
{
        if (host && g_atomic_int_dec_and_test(&host->references)) {
                host_facts_clear(&host->facts);
                g_free(host->type_words);
                g_free(host);
        }
        return NULL;
}

/* One look, on a pool thread. */
struct look {
        struct agent *agent;
        struct virt *virt;  /* the agent's, or newly opened */
        struct host *known; /* of an earlier look, or NULL */
        struct host *host;
        char *words; /* why it failed */
        bool guests_service, small_stack;
};

/* --- on a pool thread ------------------------------------------------------------------------------------------------------------
 */

/* A service that stops and starts guests behind our back; without systemd it cannot run. */
static bool guests_service_enabled(void)
{
        static const char *const links[] = {"/etc/systemd/system/multi-user.target.wants/libvirt-guests.service",
                                            "/run/systemd/system/multi-user.target.wants/libvirt-guests.service"};

        if (!g_file_test("/run/systemd/system", G_FILE_TEST_IS_DIR)) {
                return false;
        }
        for (size_t i = 0; i < G_N_ELEMENTS(links); i++) {
                if (g_file_test(links[i], G_FILE_TEST_IS_SYMLINK)) {
                        return true;
                }
        }
        return false;
}

static int look_fail(struct look *look, const char *words)
{
        g_free(look->words);
        look->words = g_strdup(words);
        return -EIO;
}

static int reach(struct look *look)
{
        struct virt_options options = {.uri = look->agent->libvirt_uri};
        struct virt_error error = {};
        int r;

        if (!look->virt) {
                r = virt_open(&options, &look->virt, &error);
                return r ? look_fail(look, error.words) : 0;
        }
        for (enum virt_role role = 0; role < VIRT_ROLE_COUNT; role++) {
                /* What hangs is marked, so that it is replaced. */
                (void)virt_probe(look->virt, role, PROBE_US, &error);
        }
        r = virt_reconnect(look->virt, &error);
        return r ? look_fail(look, error.words) : 0;
}

/* Which kind of domain works here, and why; proven once in the life of the agent. */
static int choose_type(struct look *look, struct host *host)
{
        struct kvm_proof proof;

        if (look->known) {
                host->type = look->known->type;
                host->type_words = g_strdup(look->known->type_words);
                host->kvm_proven = look->known->kvm_proven;
                return 0;
        }
        if (virt_is_test(look->virt)) {
                host->type = VIRT_TYPE_TEST;
                host->type_words = g_strdup("libvirt's test driver");
                return 0;
        }
        if (look->agent->virt_choice == AGENT_VIRT_QEMU) {
                host->type = VIRT_TYPE_QEMU;
                host->type_words = g_strdup("emulation was asked for");
                return 0;
        }
        kvm_prove(NULL, 0, &proof);
        host->kvm_proven = proof.verdict == KVM_WORKS;
        host->type = host->kvm_proven ? VIRT_TYPE_KVM : VIRT_TYPE_QEMU;
        host->type_words = g_strdup(proof.words);
        if (!host->kvm_proven && look->agent->virt_choice == AGENT_VIRT_KVM) {
                g_autofree char *words = g_strdup_printf("KVM was asked for and does not work: %s", proof.words);

                return look_fail(look, words);
        }
        return 0;
}

static int look_work(void *userdata)
{
        struct look *look = userdata;
        g_autoptr(host) host = g_new0(struct host, 1);
        struct virt_error error = {};
        int r;

        host->references = 1;
        look->guests_service = guests_service_enabled();
        look->small_stack = daemon_stack_is_small();
        r = reach(look);
        if (!r) {
                r = choose_type(look, host);
        }
        if (r) {
                return r;
        }
        r = host_facts_read(look->virt, host->type, &host->facts, &error);
        if (r) {
                return look_fail(look, error.words);
        }
        look->host = g_steal_pointer(&host);
        malloc_trim(0); /* capabilities are megabytes of XML */
        return 0;
}

/* --- events: on libvirt's thread
 * -------------------------------------------------------------------------------------------------- */

struct event_post {
        struct agent *agent;
        enum virt_event event;
        char *uuid;
};

static bool is_domain(const struct intent *instance, const char *uuid)
{
        const struct api_instance *view = instance->doc->view;
        const char *recorded = json_find_string(view->spec->hardware, "uuid", NULL);
        const char *own = recorded ? recorded : view->spec->machine ? view->spec->machine->uid : NULL;

        return own && g_ascii_strcasecmp(own, uuid) == 0;
}

static void take_event(void *userdata)
{
        struct event_post *post = userdata;
        struct agent *agent = post->agent;
        g_autoptr(GPtrArray) instances = intents_list(agent->intents, &api_instance_kind);

        if (post->event == VIRT_EVENT_DISCONNECTED) {
                host_lost(agent);
        }
        for (unsigned i = 0; post->uuid && i < instances->len; i++) {
                struct intent *instance = instances->pdata[i];

                if (!is_domain(instance, post->uuid)) {
                        continue;
                }
                if (post->event == VIRT_EVENT_AGENT) {
                        guests_look(agent->guests, instance);
                } else {
                        if (post->event == VIRT_EVENT_REBOOT) {
                                guests_look(agent->guests, instance);
                        }
                        instance->definition_due_us = 0;
                        intents_nudge(agent->intents, instance);
                }
        }
        g_free(post->uuid);
        g_free(post);
}

static void on_event(enum virt_event event, const char *uuid, void *userdata)
{
        struct agent *agent = userdata;
        struct event_post *post = g_new0(struct event_post, 1);

        *post = (struct event_post){.agent = agent, .event = event, .uuid = g_strdup(uuid)};
        loop_post(agent->loop, take_event, post);
}

/* --- on the loop -----------------------------------------------------------------------------------------------------------------
 */

static void on_look_again(struct loop_source *source, void *userdata)
{
        host_look(userdata);
}

static void look_again(struct agent *agent)
{
        if (agent->look_timer) {
                loop_timer_set(agent->look_timer, AGAIN_US);
        } else {
                (void)loop_timer(agent->loop, AGAIN_US, on_look_again, agent, &agent->look_timer);
        }
}

static void tell(struct agent *agent, const struct host *before)
{
        if (!before) {
                log_info("the host can run machines", "type", virt_type_to_text(agent->host->type), "why", agent->host->type_words,
                         "libvirt", agent->host->facts.libvirt_version, "qemu", agent->host->facts.qemu_version);
        } else if (agent->libvirt_words) {
                log_info("libvirt is back");
        }
        if (agent->small_stack && !before) {
                log_warning("a guest can end libvirtd, whose threads have a stack of less than 1 GiB (doc/how-to/install.md)");
        }
        if (agent->guests_service) {
                log_error("the service libvirt-guests is enabled: it would stop and start machines on its own; disable it. Until "
                          "then "
                          "nothing is started");
        }
}

static void look_done(int result, void *userdata)
{
        struct look *look = userdata;
        struct agent *agent = look->agent;
        g_autoptr(host) before = NULL;
        struct virt_error error = {};

        agent->host_looking = false;
        if (result != -ECANCELED) {
                agent->guests_service = look->guests_service;
                agent->small_stack = look->small_stack;
        }
        if (result == 0) {
                before = g_steal_pointer(&agent->host);
                agent->host = g_steal_pointer(&look->host);
                if (!agent->virt) {
                        agent->virt = look->virt;
                        if (virt_events_start(agent->virt, on_event, agent, &error)) {
                                /* Every state is also looked at in turn. */
                                log_warning("libvirt sends no events", "error", error.words);
                        }
                }
                tell(agent, before);
                g_clear_pointer(&agent->libvirt_words, g_free);
                intents_queue_all(agent->intents);
                converge_pump(agent);
        } else if (result != -ECANCELED) {
                if (g_strcmp0(agent->libvirt_words, look->words) != 0) {
                        log_error("the host cannot run machines", "error", look->words);
                        node_report_soon(agent->node);
                }
                g_free(agent->libvirt_words);
                agent->libvirt_words = g_steal_pointer(&look->words);
                look_again(agent);
        }
        if (look->virt != agent->virt) {
                virt_close(look->virt);
        }
        if (result == 0) {
                node_report_soon(agent->node);
        }
        host_unref(look->known);
        g_free(look->words);
        g_free(look);
}

void host_look(struct agent *agent)
{
        struct look *look;

        if (agent->host_looking || agent->stopping) {
                return;
        }
        agent->host_looking = true;
        look = g_new0(struct look, 1);
        look->agent = agent;
        look->virt = agent->virt;
        look->known = agent->host ? host_ref(agent->host) : NULL;
        loop_pool_submit(agent->queries, look_work, look_done, look);
}

void host_lost(struct agent *agent)
{
        if (!agent->host_looking && !agent->stopping) {
                log_warning("libvirt does not answer; reconnecting");
        }
        host_look(agent);
}
