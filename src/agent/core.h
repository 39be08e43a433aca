/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/agent.h"
#include "agent/gateway.h"
#include "agent/images.h"
#include "agent/intents.h"
#include "agent/journal.h"
#include "agent/lanes.h"
#include "agent/manifest.h"
#include "agent/net/net.h"
#include "agent/report.h"
#include "loop/loop.h"
#include "virt/domains.h"
#include "virt/host_facts.h"
#include "virt/virt.h"

/*
 * What the parts of the agent share. The loop thread owns all of it; jobs on pool threads may use what is marked (threads) and
 * their own struct job.
 */

/* What is known of this host; replaced as a whole by host.c, shared with jobs by reference. */
struct host {
        gint references;
        struct host_facts facts;
        enum virt_type type;
        char *type_words; /* why it is this type, for people */
        bool kvm_proven;
        gint weights_refused; /* atomic: libvirt has started nothing with a weight although the facts promised it */
};
/** host_weights() - version of the control groups that weigh processors here; 0: nothing does. */
unsigned host_weights(const struct host *host);
struct host *host_ref(struct host *host);
struct host *host_unref(struct host *host);
AUTOPTR(host, host_unref);

struct lease;
struct consoles;
struct guest_calls;
struct frozen;
struct node_report;
struct renewal;
struct api_node_address;
struct migration_keys;
struct migration_runs;
struct guests;
struct resync;

struct agent {
        struct loop *loop;
        char *data_dir, *seed_dir, *libvirt_uri, *pool_base, *reboot_command;
        char *graphics_address; /* screens of machines may listen on it for TCP; NULL: they may not */
        enum agent_virt virt_choice;
        struct steps *steps; /* (threads) */

        struct gateway *gateway; /* (threads) for blocking calls */
        struct journal *journal; /* (threads) */
        struct net_engine *net;  /* (threads) */
        struct virt *virt;       /* (threads) NULL until libvirt was reached first; then for good */
        struct host *host;       /* NULL until the host was looked at */
        struct intents *intents;
        struct reports *reports;
        struct images *images;
        struct manifest *manifest;
        struct lease *lease;
        struct node_report *node;
        struct renewal *renewal;
        struct migration_keys *migration_keys;
        struct migration_runs *migration_runs; /* (threads) */
        struct guests *guests;
        struct resync *resync;
        struct consoles *consoles;
        struct guest_calls *guest_calls;
        struct frozen *frozen;

        struct loop_pool *jobs;    /* converging */
        struct loop_pool *exports; /* sending copies of disks */
        struct loop_pool *queries; /* host facts, node report: what may hang without holding up work */
        struct lanes *lanes;       /* what guests are asked */

        struct loop_source *turn_timer; /* the next intent is due */
        struct loop_source *look_timer; /* look at the host again; NULL: never failed so far */
        unsigned running;               /* jobs under way */
        unsigned exporting;             /* copies of disks that are being sent */
        unsigned adopting;              /* Instances of the first manifest that were not looked at yet */
        unsigned adopted;
        uint64_t begun_us; /* when this agent began */
        bool synced;       /* the manifest was complete once */
        bool net_built;    /* the network engine knows the ports of the manifest */
        bool net_building;
        bool host_looking;
        bool guests_service; /* libvirt-guests is enabled: nothing is started */
        bool small_stack;    /* a guest can end libvirtd (daemon_stack.h) */
        char *libvirt_words; /* why libvirt cannot be used, or NULL */
        bool stopping;
};

/* --- converge.c: jobs ------------------------------------------------------------------------------------------------------------
 */

/** converge_pump() - give a turn to every intent that is due, while there are threads. */
void converge_pump(struct agent *agent);
/** converge_cancel() - long work on an intent that is to be deleted ends. */
void converge_cancel(struct agent *agent, const char *kind, const char *name);
/** converge_dependents() - something that Instances wait for has changed: queue those that name it. */
void converge_dependents(struct agent *agent, const struct intent *changed);
/** converge_build_net() - hand the ports of the manifest to the network engine; the first time before anything else. */
void converge_build_net(struct agent *agent);
/** converge_drop_port() - a port left the manifest without a teardown: its rules go when its tap is gone. */
void converge_drop_port(struct agent *agent, const char *name);
/** converge_publish() - tell the status of an intent, with what the guest agent said. */
void converge_publish(struct agent *agent, struct intent *intent);
/** converge_image_changed() - the image cache has news of a digest. */
void converge_image_changed(struct agent *agent, const char *digest);
/** converge_adopt() - the manifest is complete for the first time: count the Instances until each was looked at. */
void converge_adopt(struct agent *agent);
/** converge_forgotten() - an intent is about to be freed: give back what it holds. */
void converge_forgotten(struct agent *agent, struct intent *intent);

/* --- host.c ----------------------------------------------------------------------------------------------------------------------
 */

/** host_look() - reach libvirt, prove KVM, read the facts; again and again until it is done. */
void host_look(struct agent *agent);
/** host_lost() - a job found libvirt unreachable. */
void host_lost(struct agent *agent);

/* --- lease.c ---------------------------------------------------------------------------------------------------------------------
 */

int lease_new(struct agent *agent, struct lease **ret_lease);
struct lease *lease_free(struct lease *lease);
/** lease_valid_until() - CLOCK_BOOTTIME in microseconds; 0: not valid. */
uint64_t lease_valid_until(const struct lease *lease);
/** lease_clock() - now, on the clock of lease_valid_until(). */
uint64_t lease_clock(void);

/* --- node.c ----------------------------------------------------------------------------------------------------------------------
 */

int node_report_new(struct agent *agent, struct node_report **ret_report);
struct node_report *node_report_free(struct node_report *report);
/** node_report_soon() - something of it has changed. */
void node_report_soon(struct node_report *report);
/** node_addresses() - of the host, its own bridges and what is link-local left out, its name first; in @arena. (threads) */
struct api_node_address *node_addresses(struct arena *arena, size_t *ret_n);

/* --- resync.c: what others change on the host
 * --------------------------------------------------------------------------------------
 */

int resync_new(struct agent *agent, struct resync **ret_resync);
/** resync_free() - after the jobs have ended. */
struct resync *resync_free(struct resync *resync);
/** resync_folder() - watch the folder that holds the volume @path. */
void resync_folder(struct resync *resync, const char *path);

/* --- guests.c: guest agents and seeds of running machines ------------------------------------------------------------------------
 */

int guests_new(struct agent *agent, struct guests **ret_guests);
struct guests *guests_free(struct guests *guests);
/** guests_look() - poll the guest agent of an instance soon. */
void guests_look(struct guests *guests, struct intent *intent);
/** guests_sweep_seeds() - remove seed images of instances that are not in the manifest. */
void guests_sweep_seeds(struct agent *agent);

/* --- console.c -------------------------------------------------------------------------------------------------------------------
 */

struct consoles *consoles_new(struct agent *agent);
struct consoles *consoles_free(struct consoles *consoles);
/** consoles_open() - the gateway asks for a stream: dial it and join it with the machine's channel. */
void consoles_open(struct consoles *consoles, const char *nonce, const char *machine_uid, const char *channel);
