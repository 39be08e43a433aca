/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/instance_plug.h"

#include "agent/instance_drift.h"
#include "agent/net/net.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "virt/domain_plug.h"

#include <string.h>

/*
 * Interfaces of a running domain. The rules of a port stand before its tap exists (converge_port.c); the tap comes with the link
 * down, and the link goes up when rules and tap were seen in place. An agent that was killed in between finds an interface that is
 * down and goes on there. What comes and goes is named in the metadata before and after, as disks are. A link that shall be down
 * stays so, one that somebody changed by hand is put right in the next turn that looks; whichever way it goes up, its rules were
 * seen before.
 */
#define NIC_AGAIN_US 5000000ull
#define SECOND_US    1000000ull

struct nics {
        struct instance_turn *turn;
        struct api_instance_interface_status *list;
        size_t n;
        uint64_t again_us;
        bool may_ask, awaits, unreachable;
};

static void again(struct nics *nics, uint64_t delay_us)
{
        nics->again_us = nics->again_us ? MIN(nics->again_us, delay_us) : delay_us;
}

static struct virt *virt_of(const struct nics *nics)
{
        return nics->turn->job->agent->virt;
}

static const struct virt_nic *find(const struct virt_domain *domain, const char *name)
{
        for (size_t i = 0; i < domain->n_nics; i++) {
                if (g_strcmp0(domain->nics[i].name, name) == 0) {
                        return &domain->nics[i];
                }
        }
        return NULL;
}

static const char *link_words(bool down)
{
        return down ? "Down" : "Up";
}

static void note(struct nics *nics, const char *name, const char *state, const char *reason, const char *message)
{
        struct arena *arena = nics->turn->job->arena;
        const struct virt_nic *found = find(&nics->turn->live->domain, name);

        nics->list[nics->n++] = (struct api_instance_interface_status){
                .name = name,
                .target = found ? arena_strdup(arena, found->tap) : NULL,
                .state = state,
                .link = found ? link_words(found->link_down) : NULL,
                .reason = reason,
                .message = message ? arena_strdup(arena, message) : NULL,
        };
        if (reason) {
                log_warning("an interface is on its way", "machine", nics->turn->instance->spec->machine->name, "port", name,
                            "state", state, "reason", reason, "what", message);
        }
}

/* What was told of it last, in this epoch. */
static const struct api_instance_interface_status *told_of(const struct nics *nics, const char *name)
{
        const struct api_instance_status *told = nics->turn->job->told;

        for (size_t i = 0; told && told->epoch == nics->turn->fact.epoch && i < told->n_interfaces; i++) {
                if (g_strcmp0(told->interfaces[i].name, name) == 0) {
                        return &told->interfaces[i];
                }
        }
        return NULL;
}

static bool was_told(const struct nics *nics, const char *name, const char *state)
{
        const struct api_instance_interface_status *told = told_of(nics, name);

        return told && g_strcmp0(told->state, state) == 0;
}

/* --- leaving --- */

static void undefine(struct nics *nics, const char *name)
{
        g_autoptr(virt_facts) facts = NULL;
        struct virt_error ignored = {};
        const struct virt_nic *nic;

        if (virt_domain_facts(virt_of(nics), nics->turn->uuid, false, &facts, &ignored)) {
                return;
        }
        nic = find(&facts->domain, name);
        if (nic) {
                (void)virt_domain_unplug_nic(virt_of(nics), nics->turn->uuid, nic, VIRT_WHERE_DEFINITION, &ignored);
        }
}

static int ask(struct nics *nics, const struct virt_nic *nic, struct virt_error *reterr)
{
        struct instance_turn *turn = nics->turn;
        int r;

        (void)job_pass(turn->job, "unplug-nic", "before");
        r = virt_domain_unplug_nic(virt_of(nics), turn->uuid, nic, VIRT_WHERE_LIVE, reterr);
        (void)job_pass(turn->job, "unplug-nic", "asked");
        unplug_asked(&turn->job->unplug, clock_monotonic_us(clock_system()));
        return instance_read_live(turn, reterr) ? VIRT_E_UNREACHABLE : r;
}

static void take_away(struct nics *nics, const char *name)
{
        static const char late[] =
                "the guest does not let go of the interface: it sleeps, still starts, or cannot unplug devices; it is "
                "asked again, and a stop of the machine ends it";
        struct instance_turn *turn = nics->turn;
        const struct virt_nic *found = find(&turn->live->domain, name);
        const char *tap = found ? arena_strdup(turn->job->arena, found->tap) : NULL;
        uint64_t now = clock_monotonic_us(clock_system());
        struct virt_error error = {};
        int r = 0;

        turn->unsettled = true;
        undefine(nics, name);
        if (found && (nics->may_ask || !was_told(nics, name, "Detaching"))) {
                r = ask(nics, found, &error);
        }
        nics->unreachable |= r == VIRT_E_UNREACHABLE;
        if (find(&turn->live->domain, name)) {
                nics->awaits = true;
                again(nics, MAX(unplug_wait_us(&turn->job->unplug, now), SECOND_US));
                if (r && r != VIRT_E_STATE) {
                        note(nics, name, "Detaching", REASON_DETACH_FAILED, error.words);
                } else if (unplug_is_late(&turn->job->unplug, now)) {
                        note(nics, name, "Detaching", REASON_DETACH_NOT_ACKNOWLEDGED, late);
                } else {
                        note(nics, name, "Detaching", NULL, NULL);
                }
                return;
        }
        (void)virt_domain_name_nic(virt_of(nics), turn->uuid, NULL, name, &error);
        (void)job_pass(turn->job, "unplug-nic", "gone");
        if (tap) {
                log_info("interface was detached", "machine", turn->instance->spec->machine->name, "port", name, "tap", tap);
        }
}

/* --- coming --- */

static int describe(struct nics *nics, const char *name, struct virt_nic *ret_nic, struct virt_error *reterr)
{
        struct instance_turn *turn = nics->turn;
        const char *seed = turn->instance->spec->seed ? instance_seed_path(turn->job, turn->instance) : NULL;
        const struct virt_nic *nic;
        struct virt_domain domain;
        int r = instance_domain(turn->job, turn->instance, seed, MAX(turn->fact.epoch, 0), &domain, reterr);

        if (r) {
                return r;
        }
        nic = find(&domain, name);
        assert(nic);
        *ret_nic = *nic;
        return virt_nic_place(&turn->live->domain, ret_nic, reterr);
}

/* The definition gets what runs: a start puts policies in place before the guest runs. */
static void define(struct nics *nics, const struct virt_nic *nic)
{
        struct virt_error ignored = {};

        undefine(nics, nic->name);
        (void)virt_domain_plug_nic(virt_of(nics), nics->turn->uuid, nic, VIRT_WHERE_DEFINITION, &ignored);
        (void)job_pass(nics->turn->job, "plug-nic", "defined");
}

/* --- links --- */

/* So that a start by hand finds the same; the agent may have been killed between the two. */
static void define_link(struct nics *nics, const char *name)
{
        const struct virt_nic *live = find(&nics->turn->live->domain, name), *found;
        g_autoptr(virt_facts) facts = NULL;
        struct virt_error ignored = {};

        if (virt_domain_facts(virt_of(nics), nics->turn->uuid, false, &facts, &ignored)) {
                return;
        }
        found = find(&facts->domain, name);
        if (!found) {
                define(nics, live);
        } else if (found->link_down != live->link_down) {
                struct virt_nic nic = *found;

                nic.link_down = live->link_down;
                (void)virt_domain_change_nic(virt_of(nics), nics->turn->uuid, &nic, VIRT_WHERE_DEFINITION, &ignored);
                (void)job_pass(nics->turn->job, "link", "defined");
        }
}

static bool lose(struct nics *nics, const char *name, const char *state, const char *reason, const char *words)
{
        nics->turn->unsettled = true;
        again(nics, NIC_AGAIN_US);
        note(nics, name, state, reason, words);
        return false;
}

/* In what runs. A link goes up when rules and tap were seen; false: it stays as it is, which was noted with @state. */
static bool set_link(struct nics *nics, const char *name, const char *state, bool down)
{
        struct instance_turn *turn = nics->turn;
        const struct virt_nic *found = find(&turn->live->domain, name);
        g_autofree char *words = NULL;
        struct virt_error error = {};
        struct virt_nic nic = *found;
        int r = 0;

        if (!down || strcmp(state, "Attaching") == 0) {
                r = net_engine_attached(turn->job->agent->net, name, &words);
                if (!r) {
                        r = job_pass(turn->job, "plug-nic", "policy-seen");
                }
        }
        if (r) {
                return lose(nics, name, state, REASON_POLICY_NOT_IN_PLACE, words ? words : g_strerror(-MIN(r, 0)));
        }
        if (nic.link_down == down) {
                return true;
        }
        nic.link_down = down;
        (void)job_pass(turn->job, "link", "before");
        r = virt_domain_change_nic(virt_of(nics), turn->uuid, &nic, VIRT_WHERE_LIVE, &error);
        (void)job_pass(turn->job, "link", "changed");
        if (!r) {
                r = instance_read_live(turn, &error);
        }
        nics->unreachable |= r == VIRT_E_UNREACHABLE;
        return !r || lose(nics, name, state, error.reason ? error.reason : REASON_LINK_NOT_CHANGED, error.words);
}

/* One that came: its link is down until rules and tap were seen. */
static void settle(struct nics *nics, const char *name)
{
        struct instance_turn *turn = nics->turn;
        const struct virt_nic *found = find(&turn->live->domain, name);

        turn->unsettled = true;
        if (!found) {
                again(nics, NIC_AGAIN_US);
                note(nics, name, "Attaching", NULL, NULL);
        } else if (set_link(nics, name, "Attaching", instance_link_is_down(turn->instance->spec, name))) {
                found = find(&turn->live->domain, name);
                if (!found) {
                        (void)lose(nics, name, "Attaching", NULL, NULL);
                        return;
                }
                define(nics, found);
                log_info("interface was attached", "machine", turn->instance->spec->machine->name, "port", name, "tap", found->tap);
                note(nics, name, "Attached", NULL, NULL);
        }
}

/* One that is there: its link is as ordered. */
static void hold_link(struct nics *nics, const char *name)
{
        struct instance_turn *turn = nics->turn;
        const struct api_instance_interface_status *told = told_of(nics, name);
        bool down = instance_link_is_down(turn->instance->spec, name);
        bool is_down = find(&turn->live->domain, name)->link_down;
        bool ordered = told && (g_strcmp0(told->link, "Down") == 0) != down;

        if (is_down != down && !set_link(nics, name, "Attached", down)) {
                return;
        }
        if (!find(&turn->live->domain, name)) {
                (void)lose(nics, name, "Attached", NULL, NULL); /* somebody took it away meanwhile */
                return;
        }
        if (ordered || is_down != down || (down && !told)) {
                define_link(nics, name);
        }
        if (is_down != down && told && !ordered) {
                instance_outside(turn, REASON_DEFINITION_CHANGED_OUTSIDE,
                                 "the link of interface %s of the domain %s was %s; it was put right", name, turn->entry.name,
                                 is_down ? "taken down" : "brought up");
        } else if (is_down != down) {
                log_info("the link of an interface was changed", "machine", turn->instance->spec->machine->name, "port", name,
                         "link", link_words(down));
        }
        note(nics, name, "Attached", NULL, NULL);
}

static void bring(struct nics *nics, const char *name)
{
        struct instance_turn *turn = nics->turn;
        struct virt_error error = {}, ignored = {};
        struct virt_nic nic;
        int r = describe(nics, name, &nic, &error);

        if (!r) {
                nic.link_down = true;
                (void)job_pass(turn->job, "plug-nic", "before");
                r = virt_domain_name_nic(virt_of(nics), turn->uuid, nic.mac, name, &error);
        }
        if (!r) {
                (void)job_pass(turn->job, "plug-nic", "named");
                r = virt_domain_plug_nic(virt_of(nics), turn->uuid, &nic, VIRT_WHERE_LIVE, &error);
                (void)job_pass(turn->job, "plug-nic", "attached");
                if (r) {
                        (void)virt_domain_name_nic(virt_of(nics), turn->uuid, NULL, name, &ignored);
                }
        }
        if (!r) {
                r = instance_read_live(turn, &error);
        }
        if (!r) {
                settle(nics, name);
                return;
        }
        nics->unreachable |= r == VIRT_E_UNREACHABLE;
        (void)lose(nics, name, "Attaching", error.reason ? error.reason : REASON_ATTACH_FAILED, error.words);
}

/* --- the whole --- */

static void take(struct nics *nics, size_t i)
{
        struct instance_turn *turn = nics->turn;
        const char *name = turn->instance->spec->ports[i];
        const struct virt_nic *found = find(&turn->live->domain, name);

        if (instance_port_leaves(turn->instance->spec, name)) {
                take_away(nics, name);
        } else if (found &&
                   (was_told(nics, name, "Attached") || found->link_down == instance_link_is_down(turn->instance->spec, name))) {
                hold_link(nics, name);
        } else if (found) {
                settle(nics, name);
        } else if (!turn->job->ports[i].port || !turn->job->ports[i].ready) {
                turn->unsettled = true;
                note(nics, name, "Attaching", NULL, NULL); /* the port's own look takes this turn up again */
        } else if (was_told(nics, name, "Attached")) {
                /* Somebody took it away by hand: that is told as a difference, and a restart puts it right. */
        } else {
                turn->unsettled = true;
                bring(nics, name);
        }
}

bool instance_plug_nics(struct instance_turn *turn, bool may_ask, bool *ret_awaits)
{
        struct nics nics = {.turn = turn, .may_ask = may_ask};

        assert(turn && turn->live && ret_awaits);
        nics.list = arena_array(turn->job->arena, turn->instance->spec->n_ports + 1, sizeof(*nics.list));
        for (size_t i = 0; i < turn->instance->spec->n_ports && !nics.unreachable; i++) {
                take(&nics, i);
        }
        *ret_awaits |= nics.awaits;
        if (nics.unreachable) {
                return false;
        }
        turn->interfaces = nics.list;
        turn->n_interfaces = nics.n;
        if (nics.again_us) {
                turn->job->again_us = turn->job->again_us ? MIN(turn->job->again_us, nics.again_us) : nics.again_us;
        }
        return true;
}
