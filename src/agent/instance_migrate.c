/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/instance_migrate.h"

#include "agent/migration_keys.h"
#include "agent/migration_runs.h"
#include "base/error.h"
#include "base/log.h"

#include <string.h>

#define AGAIN_US      500000ull  /* how far it is */
#define WAIT_AGAIN_US 5000000ull /* what is awaited comes with an event as a rule */

/*
 * Nothing is remembered but what the status says: an agent that begins in the middle of a move finds the domain with libvirt's job,
 * or without it, or finds it gone, and says so. What that means is decided where both hosts are heard.
 */

static struct api_instance_migration *migration_new(struct instance_turn *turn, const char *operation, const char *state)
{
        struct api_instance_migration *migration = arena_new0(turn->job->arena, struct api_instance_migration);

        migration->operation = operation;
        migration->state = state;
        return migration;
}

static void tell(struct instance_turn *turn, const char *state, struct api_instance_migration *migration, uint64_t again_us)
{
        struct api_instance_status status = instance_status(turn);
        const struct api_instance_status *told = turn->job->told;

        status.state = state;
        status.migration = migration;
        status.started_at = told && told->started_at ? told->started_at : status.started_at;
        turn->job->active = turn->exists && turn->entry.active;
        turn->job->ran_epoch = turn->fact.epoch;
        turn->job->ready = true;
        turn->job->again_us = again_us;
        job_status(turn->job, &api_instance_status_type, &status);
}

/* --- going --- */

static const char *path_of(struct instance_turn *turn, const char *name)
{
        const struct api_instance_spec *spec = turn->instance->spec;

        if (strcmp(name, INSTANCE_SEED_DISK) == 0) {
                return spec->seed ? instance_seed_path(turn->job, turn->instance) : NULL;
        }
        for (size_t i = 0; i < spec->n_disks; i++) {
                if (strcmp(spec->disks[i].name, name) == 0) {
                        return turn->job->volumes[i].path;
                }
        }
        return NULL;
}

/* An agent that has just begun may not know yet where its volumes are. */
static bool knows_files(struct instance_turn *turn, const struct api_instance_outgoing *outgoing)
{
        for (size_t i = 0; i < outgoing->n_files; i++) {
                if (!path_of(turn, outgoing->files[i].name)) {
                        return false;
                }
        }
        return true;
}

static void begin(struct instance_turn *turn, const struct api_instance_outgoing *outgoing)
{
        struct agent *agent = turn->job->agent;
        g_autofree char *keys = migration_keys_dir(agent);
        struct virt_rename *files = arena_array(turn->job->arena, outgoing->n_files, sizeof(*files));
        struct virt_rename *nics = arena_array(turn->job->arena, outgoing->n_ports, sizeof(*nics));
        const char **copied = arena_array(turn->job->arena, outgoing->n_files, sizeof(*copied));
        struct virt_migration options = {
                .uuid = turn->uuid,
                .address = outgoing->address,
                .keys = keys,
                .instance_uid = outgoing->instance,
                .files = files,
                .copied = copied,
                .nics = nics,
                .graphics_address = outgoing->graphics_address,
                .n_nics = outgoing->n_ports,
                .auto_converge = outgoing->auto_converge,
                .bandwidth_mib = outgoing->has_bandwidth_mib_per_second ? (unsigned)outgoing->bandwidth_mib_per_second : 0,
        };

        for (size_t i = 0; i < outgoing->n_files; i++) {
                const char *path = path_of(turn, outgoing->files[i].name);

                if (!path) {
                        continue;
                }
                files[options.n_files++] = (struct virt_rename){path, outgoing->files[i].path};
                if (outgoing->files[i].copy) {
                        copied[options.n_copied++] = path;
                }
        }
        for (size_t i = 0; i < outgoing->n_ports; i++) {
                nics[i] = (struct virt_rename){outgoing->ports[i].from, outgoing->ports[i].to};
        }
        (void)job_pass(turn->job, "migrate", "before");
        log_info("the guest moves", "machine", turn->instance->spec->machine->name, "to", outgoing->node);
        migration_runs_begin(agent->migration_runs, turn->instance->metadata->name, outgoing->operation, &options);
        (void)job_pass(turn->job, "migrate", "begun");
}

static void tell_running(struct instance_turn *turn, const struct api_instance_outgoing *outgoing,
                         const struct virt_migration_progress *progress)
{
        struct api_instance_migration *migration = migration_new(turn, outgoing->operation, "Running");

        if (progress->total_bytes) {
                migration->total_bytes = (int64_t)progress->total_bytes;
                migration->processed_bytes = (int64_t)progress->processed_bytes;
                migration->remaining_bytes = (int64_t)progress->remaining_bytes;
                migration->bytes_per_second = (int64_t)progress->bytes_per_second;
                migration->dirty_bytes_per_second = (int64_t)progress->dirty_bytes_per_second;
                migration->iterations = (int64_t)progress->iterations;
                migration->throttle_percent = progress->throttle_percent;
                migration->elapsed_ms = (int64_t)progress->elapsed_ms;
                migration->has_total_bytes = migration->has_processed_bytes = migration->has_remaining_bytes =
                        migration->has_bytes_per_second = migration->has_dirty_bytes_per_second = migration->has_iterations =
                                migration->has_throttle_percent = migration->has_elapsed_ms = true;
        }
        tell(turn, virt_state_to_text(VIRT_STATE_MIGRATING), migration, AGAIN_US);
}

/* The machine did not go; how it is here is told in the ordinary way. */
static void tell_kept(struct instance_turn *turn, const struct api_instance_outgoing *outgoing, const char *words)
{
        const struct api_instance_migration *told = turn->job->told ? turn->job->told->migration : NULL;
        struct api_instance_migration *migration = migration_new(turn, outgoing->operation, "Kept");

        if (words) {
                migration->error = job_error(turn->job, REASON_OPERATION_FAILED, "%s", words);
        } else if (told && g_strcmp0(told->operation, outgoing->operation) == 0) {
                migration->error = told->error;
        }
        tell(turn, virt_state_to_text(turn->entry.state), migration, WAIT_AGAIN_US);
}

static bool was_begun(const struct instance_turn *turn, const struct api_instance_outgoing *outgoing)
{
        const struct api_instance_migration *told = turn->job->told ? turn->job->told->migration : NULL;

        return told && g_strcmp0(told->operation, outgoing->operation) == 0;
}

/* The guest stands still, and whether it runs on the other host is not known here. */
static void leave_interrupted(struct instance_turn *turn, const struct api_instance_outgoing *outgoing)
{
        struct virt_error error = {};
        int r;

        if (g_strcmp0(outgoing->verdict, "Resume") != 0) {
                tell(turn, virt_state_to_text(VIRT_STATE_MIGRATING), migration_new(turn, outgoing->operation, "Interrupted"),
                     WAIT_AGAIN_US);
                return;
        }
        (void)job_pass(turn->job, "migrate", "resume");
        r = virt_domain_resume(turn->job->agent->virt, turn->uuid, &error);
        if (r) {
                instance_fail(turn, "migrate", job_virt_error(turn->job, REASON_START_FAILED, r, &error));
                return;
        }
        if (instance_look(turn)) {
                tell_kept(turn, outgoing, "it was interrupted; the guest went on where it was");
        }
}

/*
 * Whether the guest is, or was until now, on the point of running on the other host, and nobody here knows whether it does: it
 * stands still from now on. libvirt lets it run on when it cannot hear the other side any more, and a second copy may run there.
 */
static bool is_open(struct instance_turn *turn, const struct virt_migration_progress *progress, bool open)
{
        struct virt_error error = {};

        if (progress->interrupted || (open && progress->paused)) {
                return true;
        }
        if (!open || !progress->returned) {
                return false;
        }
        log_warning("the guest stands still until it is known whether it runs on the other host", "machine",
                    turn->instance->spec->machine->name);
        if (virt_domain_suspend(turn->job->agent->virt, turn->uuid, &error)) {
                log_warning("the guest could not be stopped; it is tried again", "error", error.words);
        }
        return true;
}

/* As the operation says now; what cannot be set at this moment is tried again in the next turn. */
static void tune(struct instance_turn *turn, const struct api_instance_outgoing *outgoing)
{
        unsigned bandwidth = outgoing->has_bandwidth_mib_per_second ? (unsigned)outgoing->bandwidth_mib_per_second : 0;
        unsigned downtime = outgoing->has_downtime_ms ? (unsigned)outgoing->downtime_ms : 0;
        struct virt_error error = {};

        if (virt_migration_tune(turn->job->agent->virt, turn->uuid, bandwidth, downtime, &error)) {
                log_debug("a move could not be tuned", "machine", turn->instance->spec->machine->name, "error", error.words);
        }
}

static void leave_active(struct instance_turn *turn, const struct api_instance_outgoing *outgoing)
{
        bool cancel = g_strcmp0(outgoing->verdict, "Cancel") == 0;
        struct virt *virt = turn->job->agent->virt;
        struct virt_migration_progress progress = {};
        struct virt_error error = {}, why = {};
        enum migration_run run =
                migration_runs_look(turn->job->agent->migration_runs, turn->instance->metadata->name, outgoing->operation, &why);
        int r = virt_migration_look(virt, turn->uuid, &progress, &error);

        if (r == VIRT_E_MISSING) {
                turn->job->again_us = 1; /* it has gone in this very moment */
                return;
        }
        if (!r && cancel && (run == MIGRATION_RUN_GOES || progress.leaves)) {
                r = virt_migration_abort(virt, turn->uuid, &error);
        }
        if (r) {
                instance_fail(turn, "migrate", job_virt_error(turn->job, REASON_OPERATION_FAILED, r, &error));
        } else if (run == MIGRATION_RUN_GOES || progress.leaves) {
                if (progress.leaves && !cancel) {
                        tune(turn, outgoing);
                }
                tell_running(turn, outgoing, &progress);
        } else if (is_open(turn, &progress,
                           run == MIGRATION_RUN_FAILED ? virt_migration_is_open(&why)
                                                       : run == MIGRATION_RUN_NONE && was_begun(turn, outgoing))) {
                leave_interrupted(turn, outgoing);
        } else if (run == MIGRATION_RUN_FAILED) {
                tell_kept(turn, outgoing, why.words);
        } else if (run == MIGRATION_RUN_DONE || was_begun(turn, outgoing)) {
                tell_kept(turn, outgoing,
                          was_begun(turn, outgoing) && turn->job->told->migration->error ? NULL : "it ended without success");
        } else if (outgoing->verdict) {
                tell_kept(turn, outgoing, NULL);
        } else if (!knows_files(turn, outgoing)) {
                turn->job->again_us = AGAIN_US;
        } else {
                begin(turn, outgoing);
                tell_running(turn, outgoing, &progress);
        }
}

static void leave(struct instance_turn *turn, const struct api_instance_outgoing *outgoing)
{
        if (!instance_look(turn)) {
                return;
        }
        if (turn->exists && turn->entry.active) {
                leave_active(turn, outgoing);
        } else if (!turn->exists || g_strcmp0(turn->entry.reason, REASON_SUPERSEDED) == 0) {
                tell(turn, virt_state_to_text(VIRT_STATE_MIGRATING), migration_new(turn, outgoing->operation, "Left"),
                     WAIT_AGAIN_US);
        } else {
                tell_kept(turn, outgoing, "the guest ended before it had moved");
        }
}

/* --- coming --- */

static const struct api_instance_file *files_here(struct instance_turn *turn, size_t *ret_n)
{
        const struct api_instance_spec *spec = turn->instance->spec;
        struct api_instance_file *files = arena_array(turn->job->arena, spec->n_disks + 1, sizeof(*files));
        size_t n = 0;

        for (size_t i = 0; i < spec->n_disks; i++) {
                if (turn->job->volumes[i].path) {
                        files[n++] = (struct api_instance_file){.name = spec->disks[i].name,
                                                                .path = turn->job->volumes[i].path,
                                                                .copy = g_strcmp0(spec->disks[i].kind, "Disk") == 0,
                                                                .has_copy = true};
                }
        }
        if (spec->seed) {
                files[n++] = (struct api_instance_file){.name = INSTANCE_SEED_DISK,
                                                        .path = instance_seed_path(turn->job, turn->instance)};
        }
        *ret_n = n;
        return files;
}

static struct api_instance_migration *incoming_new(struct instance_turn *turn, const char *state)
{
        const struct api_instance_incoming *incoming = turn->instance->spec->incoming;
        struct api_instance_migration *migration = migration_new(turn, incoming->operation, state);

        migration->look = incoming->look;
        migration->has_look = true;
        return migration;
}

/* Volumes and ports that are not ready, or NULL: all are. */
static struct api_intent_error *parts_missing(struct instance_turn *turn)
{
        struct job *job = turn->job;

        for (size_t i = 0; i < job->n_volumes; i++) {
                if (!job->volumes[i].empty && (!job->volumes[i].ready || !job->volumes[i].path)) {
                        return job_error(job, REASON_VIRTUAL_DISK_NOT_READY, "disk %s is being made",
                                         turn->instance->spec->disks[i].name);
                }
        }
        for (size_t i = 0; i < job->n_ports; i++) {
                if (!job->ports[i].ready) {
                        return job_error(job, REASON_PORT_FAILED, "interface %zu: %s", i + 1,
                                         job->ports[i].trouble ? job->ports[i].trouble : "its policy is not in place yet");
                }
        }
        return NULL;
}

/* What must be there before anything comes, or NULL: all is. */
static struct api_intent_error *missing(struct instance_turn *turn)
{
        struct api_intent_error *why = parts_missing(turn);
        bool seed = turn->instance->spec->seed && access(instance_seed_path(turn->job, turn->instance), R_OK) < 0;

        return why || !seed ? why : instance_make_seed(turn);
}

/* A machine that is off: its disks come by themselves, then libvirt is told of it. Its seed is made when it starts. */
static void arrive_cold(struct instance_turn *turn, const struct api_instance_incoming *incoming)
{
        struct api_instance_migration *migration = incoming_new(turn, "Preparing");

        migration->error = parts_missing(turn);
        if (!migration->error && !turn->exists) {
                (void)job_pass(turn->job, "migrate", "ready");
                migration->error = instance_define(turn);
                if (!instance_look(turn)) {
                        return;
                }
        }
        if (!migration->error && turn->exists) {
                migration->state = "Arrived";
                log_info("a machine that is off has come", "machine", turn->instance->spec->machine->name, "from", incoming->node);
        }
        tell(turn, turn->exists ? virt_state_to_text(turn->entry.state) : "", migration, migration->error ? WAIT_AGAIN_US : 0);
}

static void prepare(struct instance_turn *turn)
{
        struct api_instance_migration *migration = incoming_new(turn, "Preparing");

        migration->error = missing(turn);
        if (!migration->error) {
                (void)job_pass(turn->job, "migrate", "ready");
                migration->state = "Ready";
                migration->files = (struct api_instance_file *)files_here(turn, &migration->n_files);
        }
        tell(turn, "", migration, migration->error ? 1000000 : 0);
}

static void arrive(struct instance_turn *turn, const struct api_instance_incoming *incoming)
{
        bool arrived;

        if (!instance_look(turn)) {
                return;
        }
        if (incoming->cold) {
                arrive_cold(turn, incoming);
                return;
        }
        if (!turn->exists) {
                prepare(turn);
                return;
        }
        /* libvirt keeps what comes for good only when all of it is here. */
        arrived = turn->entry.persistent && turn->entry.state != VIRT_STATE_MIGRATING && turn->entry.state != VIRT_STATE_CREATING;
        turn->started_at = incoming->started_at;
        if (arrived &&
            (!turn->job->told || !turn->job->told->migration || g_strcmp0(turn->job->told->migration->state, "Arrived") != 0)) {
                log_info("a guest has come", "machine", turn->instance->spec->machine->name, "from", incoming->node);
        }
        tell(turn, virt_state_to_text(turn->entry.state), incoming_new(turn, arrived ? "Arrived" : "Arriving"), AGAIN_US);
}

/* --- */

/* Whatever of it is here is not the one that counts: it ends without being asked. */
static bool end_at_once(struct instance_turn *turn)
{
        struct virt_error error = {};
        int r;

        if (!instance_look(turn)) {
                return true;
        }
        r = turn->exists && turn->entry.active ? virt_domain_destroy(turn->job->agent->virt, turn->uuid, &error) : 0;
        if (r && r != VIRT_E_MISSING) {
                instance_fail(turn, "stop", job_virt_error(turn->job, REASON_STOP_FAILED, r, &error));
                return true;
        }
        return false;
}

/* Where libvirt keeps them. */
#define VARIABLES "/var/lib/libvirt/qemu/nvram/%s_VARS.fd"

void instance_forget_variables(const struct instance_turn *turn)
{
        const struct api_instance_spec *spec = turn->instance->spec;
        g_autofree char *name = virt_domain_name(spec->machine->name, spec->machine->uid);
        g_autofree char *path = g_strdup_printf(VARIABLES, name);

        assert(turn);
        if ((!spec->outgoing && !spec->incoming) || turn->exists || g_strcmp0(spec->firmware, "BIOS") == 0 ||
            virt_is_test(turn->job->agent->virt)) {
                return;
        }
        if (unlink(path) < 0 && errno != ENOENT) {
                log_warning("variables of EFI could not be removed", "path", path, "error", g_strerror(errno));
        }
}

bool instance_moves(struct instance_turn *turn)
{
        const struct api_instance_spec *spec = turn->instance->spec;

        assert(turn);
        if (!spec->outgoing && !spec->incoming) {
                return false;
        }
        if (turn->job->doc->deleted) {
                return end_at_once(turn);
        }
        if (spec->incoming) {
                arrive(turn, spec->incoming);
        } else {
                leave(turn, spec->outgoing);
        }
        return true;
}
