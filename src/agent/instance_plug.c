/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/instance_plug.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "virt/domain_plug.h"

#include <string.h>

/*
 * Attached disks of a running domain. What the domain has is read from libvirt in every turn, so nothing is done twice after a
 * kill: a disk that came is there under its name, one that was asked to go is gone or is asked again. Only disks that the metadata
 * of the domain names are ours, and only those that the Instance marks leave it.
 */
#define PLUG_AGAIN_US   10000000ull
#define LOCKED_AGAIN_US 2000000ull
#define SECOND_US       1000000ull

struct plugging {
        struct instance_turn *turn;
        struct api_instance_disk_status *list;
        size_t n;
        uint64_t again_us; /* the earliest of several; 0: none */
        bool unreachable;
        bool awaits;  /* a guest has not let go yet */
        bool may_ask; /* those that were asked before are asked again */
};

static void again(struct plugging *plugging, uint64_t delay_us)
{
        plugging->again_us = plugging->again_us ? MIN(plugging->again_us, delay_us) : delay_us;
}

static struct virt *virt_of(const struct plugging *plugging)
{
        return plugging->turn->job->agent->virt;
}

static const struct virt_disk *find_own(const struct virt_domain *domain, const char *name)
{
        for (size_t i = 0; i < domain->n_disks; i++) {
                if (domain->disks[i].own && g_strcmp0(domain->disks[i].name, name) == 0) {
                        return &domain->disks[i];
                }
        }
        return NULL;
}

int instance_read_live(struct instance_turn *turn, struct virt_error *reterr)
{
        struct virt_facts *facts = NULL;
        int r = virt_domain_facts(turn->job->agent->virt, turn->uuid, true, &facts, reterr);

        if (!r) {
                virt_facts_free(turn->live);
                turn->live = facts;
        }
        return r;
}

/* --- what is told ----------------------------------------------------------------------------------------------------------------
 */

static struct api_instance_disk_status *note(struct plugging *plugging, const char *name, const char *target, const char *state)
{
        struct api_instance_disk_status *status = &plugging->list[plugging->n++];

        *status = (struct api_instance_disk_status){
                .name = name,
                .target = target ? arena_strdup(plugging->turn->job->arena, target) : NULL,
                .state = state,
        };
        return status;
}

static void note_trouble(struct plugging *plugging, const char *name, const char *target, const char *state, const char *reason,
                         const char *message)
{
        const struct api_instance_status *told = plugging->turn->job->told;
        struct api_instance_disk_status *status = note(plugging, name, target, state);
        bool known = false;

        status->reason = reason;
        status->message = arena_strdup(plugging->turn->job->arena, message);
        for (size_t i = 0; told && i < told->n_devices; i++) {
                known |= g_strcmp0(told->devices[i].name, name) == 0 && g_strcmp0(told->devices[i].message, message) == 0;
        }
        if (!known) {
                log_warning("a disk is on its way", "machine", plugging->turn->instance->spec->machine->name, "disk", name, "state",
                            state, "reason", reason, "what", message);
        }
}

/* Whether a disk was told to be in this state last. */
static bool was_told(const struct plugging *plugging, const char *name, const char *state)
{
        const struct api_instance_status *told = plugging->turn->job->told;

        for (size_t i = 0; told && told->epoch == plugging->turn->fact.epoch && i < told->n_devices; i++) {
                if (g_strcmp0(told->devices[i].name, name) == 0) {
                        return g_strcmp0(told->devices[i].state, state) == 0;
                }
        }
        return false;
}

/* --- disks that leave ------------------------------------------------------------------------------------------------------------
 */

/* From what the domain will be started as: no guest has to agree. */
static int drop_definition(struct plugging *plugging, const char *name, struct virt_error *reterr)
{
        struct instance_turn *turn = plugging->turn;
        g_autoptr(virt_facts) facts = NULL;
        const struct virt_disk *disk;
        int r = virt_domain_facts(virt_of(plugging), turn->uuid, false, &facts, reterr);

        disk = r ? NULL : find_own(&facts->domain, name);
        return disk ? virt_domain_unplug(virt_of(plugging), turn->uuid, disk, VIRT_WHERE_DEFINITION, reterr) : r;
}

/* A disk that the guest was not asked for yet does not wait for others. */
static bool is_due(const struct plugging *plugging, const char *name)
{
        return plugging->may_ask || !was_told(plugging, name, "Detaching");
}

static int ask(struct plugging *plugging, const struct virt_disk *disk, struct virt_error *reterr)
{
        struct instance_turn *turn = plugging->turn;
        struct virt_error error = {};
        int r, looked;

        (void)job_pass(turn->job, "unplug", "before");
        r = virt_domain_unplug(virt_of(plugging), turn->uuid, disk, VIRT_WHERE_LIVE, reterr);
        (void)job_pass(turn->job, "unplug", "asked");
        unplug_asked(&turn->job->unplug, clock_monotonic_us(clock_system()));
        looked = instance_read_live(turn, &error);
        if (looked) {
                *reterr = error;
                return looked;
        }
        return r;
}

static void note_detaching(struct plugging *plugging, const char *name, const char *target, int r, const struct virt_error *error)
{
        static const char late[] =
                "the guest does not let go of the disk: it sleeps, still starts, or cannot unplug devices; it is "
                "asked again, and a stop of the machine ends it";
        const struct unplug_progress *progress = &plugging->turn->job->unplug;
        uint64_t now = clock_monotonic_us(clock_system());

        plugging->awaits = true;
        again(plugging, MAX(unplug_wait_us(progress, now), SECOND_US));
        if (r && r != VIRT_E_STATE) {
                note_trouble(plugging, name, target, "Detaching", REASON_DETACH_FAILED, error->words);
        } else if (unplug_is_late(progress, now)) {
                note_trouble(plugging, name, target, "Detaching", REASON_DETACH_NOT_ACKNOWLEDGED, late);
        } else {
                note(plugging, name, target, "Detaching");
        }
}

static int unplug(struct plugging *plugging, const char *name)
{
        struct instance_turn *turn = plugging->turn;
        const struct virt_disk *disk = find_own(&turn->live->domain, name);
        const char *target = disk ? arena_strdup(turn->job->arena, disk->target) : NULL;
        struct virt_error error = {};
        int r = drop_definition(plugging, name, &error);

        if (!r && disk && is_due(plugging, name)) {
                r = ask(plugging, disk, &error);
        }
        plugging->unreachable |= r == VIRT_E_UNREACHABLE;
        if (find_own(&turn->live->domain, name)) {
                note_detaching(plugging, name, target, r, &error);
                return r;
        }
        /* Also when it went while no agent looked. The name alone harms nobody. */
        (void)virt_domain_forget_disk(virt_of(plugging), turn->uuid, name, &error);
        (void)job_pass(turn->job, "unplug", "gone");
        if (target) {
                log_info("disk was detached", "machine", turn->instance->spec->machine->name, "disk", name, "target", target);
        }
        return r;
}

/* --- disks that come -------------------------------------------------------------------------------------------------------------
 */

/* The first CD drive of a machine needs the controller that it would have been started with. Defined first: a drive that is defined
 * without it would get another one. */
static int bring_controller(struct plugging *plugging, struct virt_error *reterr)
{
        struct instance_turn *turn = plugging->turn;
        struct virt_error ignored = {};
        struct virt_pci pci;
        int r = virt_scsi_place(&turn->live->domain, &pci, reterr);

        if (r) {
                return r;
        }
        (void)virt_domain_plug_scsi(virt_of(plugging), turn->uuid, &pci, VIRT_WHERE_DEFINITION, &ignored);
        (void)job_pass(turn->job, "plug", "controller-defined");
        r = virt_domain_plug_scsi(virt_of(plugging), turn->uuid, &pci, VIRT_WHERE_LIVE, reterr);
        (void)job_pass(turn->job, "plug", "controller");
        return r ? r : instance_read_live(turn, reterr);
}

/* As the Instance describes it, with places that are free in the running domain. */
static int describe(struct plugging *plugging, const char *name, struct virt_disk *ret_disk, struct virt_error *reterr)
{
        struct instance_turn *turn = plugging->turn;
        const char *seed = turn->instance->spec->seed ? instance_seed_path(turn->job, turn->instance) : NULL;
        struct virt_domain domain;
        int r = instance_domain(turn->job, turn->instance, seed, MAX(turn->fact.epoch, 0), &domain, reterr);

        for (size_t i = 0; !r && i < domain.n_disks; i++) {
                if (g_strcmp0(domain.disks[i].name, name) == 0) {
                        *ret_disk = domain.disks[i];
                        if (ret_disk->bus == VIRT_BUS_SCSI && !turn->live->domain.scsi_pci.set) {
                                r = bring_controller(plugging, reterr);
                                if (r) {
                                        return r;
                                }
                        }
                        return virt_disk_place(&turn->live->domain, ret_disk, reterr);
                }
        }
        assert(r);
        return r;
}

/* Named first, then attached, then defined: whoever is killed in between finds out by looking. */
static int bring(struct plugging *plugging, const struct virt_disk *disk, struct virt_error *reterr)
{
        struct instance_turn *turn = plugging->turn;
        struct virt_error ignored = {};
        int r;

        (void)job_pass(turn->job, "plug", "before");
        r = virt_domain_name_disk(virt_of(plugging), turn->uuid, disk->target, disk->name, reterr);
        if (r) {
                return r;
        }
        (void)job_pass(turn->job, "plug", "named");
        r = virt_domain_plug(virt_of(plugging), turn->uuid, disk, VIRT_WHERE_LIVE, reterr);
        (void)job_pass(turn->job, "plug", "attached");
        if (r) {
                (void)virt_domain_forget_disk(virt_of(plugging), turn->uuid, disk->name, &ignored);
                return r;
        }
        /* The definition may have it from a start before; a place that is taken there is put right by the next comparison. */
        if (drop_definition(plugging, disk->name, &ignored) == 0) {
                (void)virt_domain_plug(virt_of(plugging), turn->uuid, disk, VIRT_WHERE_DEFINITION, &ignored);
        }
        (void)job_pass(turn->job, "plug", "defined");
        log_info("disk was attached", "machine", turn->instance->spec->machine->name, "disk", disk->name, "target", disk->target);
        return instance_read_live(turn, reterr);
}

static int plug(struct plugging *plugging, const struct api_instance_disk *wanted, const struct job_volume *volume)
{
        struct instance_turn *turn = plugging->turn;
        struct api_intent_error *why;
        struct virt_error error = {};
        struct virt_disk disk;
        int r;

        if (!volume->ready || !volume->path || !volume->format) {
                note(plugging, wanted->name, NULL, "Attaching"); /* the volume's own look takes this turn up again */
                return 0;
        }
        if (volume->locked) {
                again(plugging, LOCKED_AGAIN_US);
                note_trouble(plugging, wanted->name, NULL, "Attaching", REASON_DISK_IN_USE, volume->locked);
                return 0;
        }
        why = instance_grow_volume(turn->job, volume);
        if (why) {
                again(plugging, PLUG_AGAIN_US);
                note_trouble(plugging, wanted->name, NULL, "Attaching", why->reason, why->message);
                return 0;
        }
        r = describe(plugging, wanted->name, &disk, &error);
        if (!r) {
                r = bring(plugging, &disk, &error);
        }
        plugging->unreachable |= r == VIRT_E_UNREACHABLE;
        if (!r) {
                note(plugging, wanted->name, disk.target, "Attached");
        } else {
                again(plugging, PLUG_AGAIN_US);
                note_trouble(plugging, wanted->name, NULL, "Attaching", error.reason ? error.reason : REASON_ATTACH_FAILED,
                             error.words);
        }
        return r;
}

/* An agent may have been killed between the running domain and its definition: what was not told yet is looked at. */
static void see_defined(struct plugging *plugging, const char *name, const struct virt_disk *found)
{
        struct instance_turn *turn = plugging->turn;
        g_autoptr(virt_facts) facts = NULL;
        struct virt_error ignored = {};

        if (!was_told(plugging, name, "Attached") &&
            virt_domain_facts(virt_of(plugging), turn->uuid, false, &facts, &ignored) == 0 && !find_own(&facts->domain, name)) {
                (void)virt_domain_plug(virt_of(plugging), turn->uuid, found, VIRT_WHERE_DEFINITION, &ignored);
                turn->unsettled = true;
        }
}

/* --- media of CD drives ----------------------------------------------------------------------------------------------------------
 */

/* So that a start by hand finds the same; the agent may have been killed between the two. */
static void define_medium(struct plugging *plugging, const char *drive, const char *path)
{
        struct instance_turn *turn = plugging->turn;
        g_autoptr(virt_facts) facts = NULL;
        struct virt_error ignored = {};
        const struct virt_disk *defined;
        struct virt_disk disk;

        if (virt_domain_facts(virt_of(plugging), turn->uuid, false, &facts, &ignored)) {
                return;
        }
        defined = find_own(&facts->domain, drive);
        if (defined && g_strcmp0(defined->path, path) != 0) {
                disk = *defined;
                disk.path = path;
                (void)virt_domain_change_medium(virt_of(plugging), turn->uuid, &disk, VIRT_WHERE_DEFINITION, &ignored);
        }
}

static int change_medium(struct plugging *plugging, const struct virt_disk *found, const char *path, struct virt_error *reterr)
{
        struct instance_turn *turn = plugging->turn;
        struct virt_disk disk = *found;
        int r;

        disk.path = path;
        (void)job_pass(turn->job, "medium", "before");
        r = virt_domain_change_medium(virt_of(plugging), turn->uuid, &disk, VIRT_WHERE_LIVE, reterr);
        (void)job_pass(turn->job, "medium", "changed");
        if (!r) {
                define_medium(plugging, found->name, path);
                (void)job_pass(turn->job, "medium", "defined");
                log_info(path ? "a medium was inserted" : "a medium was ejected", "machine", turn->instance->spec->machine->name,
                         "drive", found->target, "file", path ? path : found->path);
        }
        return r;
}

/* The drive of the specification holds what it shall, or nothing. What was there once is left to the guest, which may eject it. */
static void take_medium(struct plugging *plugging, const struct api_instance_disk *wanted, const struct job_volume *volume,
                        const struct virt_disk *found)
{
        struct instance_turn *turn = plugging->turn;
        const char *path = volume->empty ? NULL : volume->path;
        const char *target = arena_strdup(turn->job->arena, found->target);
        bool was_there = path && was_told(plugging, wanted->name, "Attached");
        struct virt_error error = {};
        int r;

        if (!volume->empty && (!volume->ready || !volume->path || !volume->format)) {
                turn->unsettled = true;
                note(plugging, wanted->name, target, "Attaching");
                return;
        }
        if (was_there || g_strcmp0(path, found->path) == 0) {
                if (!was_there) {
                        define_medium(plugging, found->name, path);
                }
                if (path) {
                        note(plugging, wanted->name, target, "Attached");
                }
                return;
        }
        turn->unsettled = true;
        r = change_medium(plugging, found, path, &error);
        plugging->unreachable |= r == VIRT_E_UNREACHABLE;
        if (!r && instance_read_live(turn, &error) == 0) {
                if (path) {
                        note(plugging, wanted->name, target, "Attached");
                }
                return;
        }
        again(plugging, PLUG_AGAIN_US);
        note_trouble(plugging, wanted->name, target, path ? "Attaching" : "Detaching", REASON_MEDIUM_NOT_CHANGED, error.words);
}

/* --- the whole -------------------------------------------------------------------------------------------------------------------
 */

static void take_disk(struct plugging *plugging, size_t i)
{
        const struct api_instance_disk *wanted = &plugging->turn->instance->spec->disks[i];
        const struct virt_disk *found = find_own(&plugging->turn->live->domain, instance_drive(wanted));
        size_t before = plugging->n;

        if (wanted->unplug) {
                plugging->turn->unsettled = true;
                (void)unplug(plugging, wanted->name);
        } else if (found && found->cdrom && !wanted->attachment) {
                take_medium(plugging, wanted, &plugging->turn->job->volumes[i], found);
        } else if (found) {
                if (wanted->attachment) {
                        see_defined(plugging, wanted->name, found);
                }
                note(plugging, wanted->name, found->target, "Attached");
        } else if (wanted->attachment) {
                plugging->turn->unsettled = true;
                (void)plug(plugging, wanted, &plugging->turn->job->volumes[i]);
        }
        assert(plugging->n <= before + 1);
}

/* A definition of a machine that is off may still have what was detached since. */
static void tidy_definition(struct instance_turn *turn)
{
        g_autoptr(virt_facts) facts = NULL;
        const struct api_instance_spec *spec = turn->instance->spec;
        struct virt_error error = {};

        if (virt_domain_facts(turn->job->agent->virt, turn->uuid, false, &facts, &error)) {
                return;
        }
        for (size_t i = 0; i < facts->domain.n_disks; i++) {
                const struct virt_disk *disk = &facts->domain.disks[i];
                bool wanted = !disk->own || g_strcmp0(disk->name, INSTANCE_SEED_DISK) == 0;

                for (size_t j = 0; j < spec->n_disks; j++) {
                        wanted |= g_strcmp0(spec->disks[j].name, disk->name) == 0 && !spec->disks[j].unplug;
                }
                if (!wanted) {
                        (void)virt_domain_unplug(turn->job->agent->virt, turn->uuid, disk, VIRT_WHERE_DEFINITION, &error);
                }
        }
        for (size_t i = 0; i < spec->n_disks; i++) {
                turn->unsettled |= spec->disks[i].attachment && !find_own(&facts->domain, spec->disks[i].name);
        }
}

bool instance_plug(struct instance_turn *turn)
{
        struct plugging plugging = {.turn = turn};
        struct virt_error error = {};
        bool known = turn->fact.epoch >= 0 && turn->fact.epoch == turn->wish.epoch;
        int r;

        assert(turn);
        if (!turn->exists || !known || virt_is_test(turn->job->agent->virt)) {
                return true;
        }
        if (!turn->entry.active) {
                turn->job->unplug = (struct unplug_progress){};
                if (turn->job->compare) {
                        tidy_definition(turn);
                }
                return true;
        }
        if (!turn->wish.power_on || turn->wish.deleted || turn->fact.state == INSTANCE_LEAVING) {
                return true;
        }
        r = instance_read_live(turn, &error);
        if (r) {
                instance_fail(turn, "disks", job_virt_error(turn->job, REASON_ATTACH_FAILED, r, &error));
                return false;
        }
        plugging.may_ask = !unplug_wait_us(&turn->job->unplug, clock_monotonic_us(clock_system()));
        plugging.list = arena_array(turn->job->arena, turn->instance->spec->n_disks + 1, sizeof(*plugging.list));
        for (size_t i = 0; i < turn->instance->spec->n_disks && !plugging.unreachable; i++) {
                take_disk(&plugging, i);
        }
        if (plugging.unreachable || !instance_plug_nics(turn, plugging.may_ask, &plugging.awaits)) {
                instance_fail(turn, "devices",
                              job_error(turn->job, REASON_LIBVIRT_UNREACHABLE, "libvirt went away while devices moved"));
                turn->job->unreachable = true;
                return false;
        }
        if (!plugging.awaits) {
                turn->job->unplug = (struct unplug_progress){};
        }
        turn->devices = plugging.list;
        turn->n_devices = plugging.n;
        if (plugging.again_us) {
                turn->job->again_us = turn->job->again_us ? MIN(turn->job->again_us, plugging.again_us) : plugging.again_us;
        }
        return true;
}

const struct json_value *instance_plug_record(struct instance_turn *turn, const struct json_value *record)
{
        struct json_value *now, *copy;

        assert(turn && turn->live && !turn->record);
        turn->record = json_doc_new();
        now = virt_hardware_record(&turn->live->domain, turn->record);
        if (!record) {
                json_set_root(turn->record, now);
                return now;
        }
        copy = json_copy(turn->record, record);
        if (json_find(now, "devices", "scsi", NULL)) { /* it may have come with a CD drive */
                json_set(turn->record, json_ensure_object(turn->record, copy, "devices"), "scsi",
                         json_copy(turn->record, json_find(now, "devices", "scsi", NULL)));
        }
        json_set(turn->record, copy, "disks", json_copy(turn->record, json_get(now, "disks")));
        json_set(turn->record, copy, "interfaces", json_copy(turn->record, json_get(now, "interfaces")));
        json_set_root(turn->record, copy);
        return copy;
}
