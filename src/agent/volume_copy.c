/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/volume_copy.h"

#include "base/error.h"
#include "base/log.h"
#include "virt/census.h"
#include "virt/image_tool.h"
#include "virt/live_disks.h"

#include <string.h>

#define STEP_FREEZE "freeze"

/* --- how it was made -------------------------------------------------------------------------------------------------------------
 */

static const char *const modes[] = {"Full", "Reflink", "Linked"};
static const char *const states[] = {"Stopped", "Crash", "Agent"};

static char *note_of(const char *mode, const char *state)
{
        return g_strdup_printf("copied-%s-%s", mode, state);
}

struct api_volume_copied *volume_copied(const struct job *job)
{
        const struct api_volume *view = job->doc->view;
        const struct api_volume_copied *told = view->status ? view->status->copied : NULL;
        struct api_volume_copied *ret = arena_new0(job->arena, struct api_volume_copied);

        if (job->known_copied) {
                told = job->known_copied;
        }
        if (told && told->mode) {
                *ret = *told;
                return ret;
        }
        for (size_t i = 0; i < G_N_ELEMENTS(modes); i++) {
                for (size_t j = 0; j < G_N_ELEMENTS(states); j++) {
                        g_autofree char *note = note_of(modes[i], states[j]);

                        if (journal_step(job->agent->journal, view->metadata->uid, note) != JOURNAL_NONE) {
                                ret->mode = modes[i];
                                ret->consistency = states[j];
                                return ret;
                        }
                }
        }
        return NULL;
}

int volume_copied_note(struct job *job, const struct api_volume_copied *how)
{
        g_autofree char *note = note_of(how->mode, how->consistency);
        struct journal_key key = job_key(job);

        return journal_begin(job->agent->journal, &key, note);
}

void volume_copied_forget(struct job *job)
{
        const struct api_volume_copied *how = volume_copied(job);
        g_autofree char *note = how ? note_of(how->mode, how->consistency) : NULL;
        struct journal_key key = job_key(job);

        if (note) {
                (void)journal_undo(job->agent->journal, &key,
                                   note); /* the next attempt overwrites nothing by it, and notes its own */
        }
}

/* --- the guest of the source stands still
 * ----------------------------------------------------------------------------------------- */

static int thaw(struct job *job, const char *uuid, struct virt_error *reterr)
{
        struct journal_key key = job_key(job);
        int r = virt_live_thaw(job->agent->virt, uuid, reterr);

        if (!r) {
                (void)job_pass(job, "copy", "thawed");
                r = journal_undo(job->agent->journal, &key, STEP_FREEZE);
        } else {
                log_error("a guest whose file systems were held still could not be let go on; it is tried again", "volume",
                          key.name, "domain", uuid, "error", reterr->words);
        }
        return r;
}

/* What the copy will be: "Crash" or "Agent". NULL with @ret_why: it cannot be as asked. */
static const char *hold_still(struct job *job, const struct api_volume_spec *spec, const char *uuid,
                              struct api_intent_error **ret_why)
{
        struct journal_key key = job_key(job);
        struct virt_error error = {}, ignored;
        int r;

        if (g_strcmp0(spec->copy->consistency, "Crash") == 0) {
                return "Crash";
        }
        r = journal_begin(job->agent->journal, &key, STEP_FREEZE);
        if (r < 0) {
                *ret_why = job_error(job, REASON_VOLUME_FAILED, "the journal cannot be written: %s", g_strerror(-r));
                return NULL;
        }
        r = virt_live_freeze(job->agent->virt, uuid, &error);
        if (!r) {
                (void)job_pass(job, "copy", "frozen");
                return "Agent";
        }
        if (r == VIRT_E_STATE) {
                (void)journal_undo(job->agent->journal, &key, STEP_FREEZE); /* a rest of it does no harm */
        } else if (thaw(job, uuid, &ignored)) {
                *ret_why = job_virt_error(job, REASON_AGENT_NOT_READY, r, &error);
                return NULL;
        }
        if (g_strcmp0(spec->copy->consistency, "Agent") == 0) {
                *ret_why = job_error(job, REASON_AGENT_NOT_READY, "the guest cannot hold its file systems still: %s", error.words);
                return NULL;
        }
        return "Crash";
}

/* The running domain of ours that writes to the source, as libvirt says: this agent may have seen none of its machines yet. */
static int find_writer(struct job *job, const char **ret_uuid, struct virt_error *reterr)
{
        const struct job_source *source = job->source;
        struct virt_file_holder holder = {};
        struct virt_volume volume = {};
        int r;

        *ret_uuid = NULL;
        if (source->fixed) {
                return 0;
        }
        r = virt_volume_get(job->agent->virt, source->pool, source->file, &volume, reterr);

        if (!r) {
                r = virt_file_holder(job->agent->virt, volume.path, &holder, reterr);
        }
        *ret_uuid = !r && holder.own && holder.disk ? arena_strdup(job->arena, holder.uuid) : NULL;
        virt_file_holder_clear(&holder);
        virt_volume_clear(&volume);
        return r == VIRT_E_MISSING ? 0 : r;
}

int volume_copy_mend(struct job *job, const struct api_volume_spec *spec, struct virt_error *reterr)
{
        const struct api_volume *view = job->doc->view;
        struct virt_volume target = {};
        const char *uuid = NULL;
        int r = spec->copy && job->source ? find_writer(job, &uuid, reterr) : 0;

        if (r || !uuid) {
                return r; /* no domain runs with it: nothing stands still and nothing is copied from it */
        }
        if (journal_step(job->agent->journal, view->metadata->uid, STEP_FREEZE) != JOURNAL_NONE) {
                r = thaw(job, uuid, reterr);
                if (r) {
                        return r;
                }
        }
        r = virt_volume_get(job->agent->virt, spec->pool->name, spec->volume_name, &target, reterr);
        if (!r) {
                r = virt_live_copy_stop(job->agent->virt, uuid, target.path, reterr);
        }
        virt_volume_clear(&target);
        return r == VIRT_E_MISSING ? 0 : r;
}

/* --- ways of copying -------------------------------------------------------------------------------------------------------------
 */

struct copy {
        struct job *job;
        const struct api_volume_spec *spec;
        const char *uuid; /* of the running domain that writes to the source, or NULL */
        struct api_volume_copied *how;
        struct api_intent_error **why;
        struct virt_volume source;
        struct virt_error error;
        unsigned percent;
};

static enum virt_format format_of(const char *text)
{
        return g_strcmp0(text, "raw") == 0 ? VIRT_FORMAT_RAW : VIRT_FORMAT_QCOW2;
}

static bool on_progress(unsigned permille, void *userdata)
{
        struct copy *copy = userdata;
        struct api_volume_status status = {.observed_generation = copy->job->doc->generation,
                                           .has_observed_generation = true,
                                           .state = "Creating",
                                           .has_progress_percent = true};

        if (permille / 10 != copy->percent) {
                copy->percent = permille / 10;
                status.progress_percent = copy->percent;
                job_progress(copy->job, &api_volume_status_type, &status);
        }
        return job_is_cancelled(copy->job); /* undone and begun anew by the next agent */
}

static struct virt_volume_options options_of(const struct copy *copy)
{
        return (struct virt_volume_options){
                .pool = copy->spec->pool->name,
                .name = copy->spec->volume_name,
                .format = format_of(copy->spec->format),
                .capacity_bytes = copy->source.capacity_bytes,
                .no_preallocation = copy->spec->read_only, /* nobody writes to it: its file holds what it has, and no more */
        };
}

static int copy_linked(struct copy *copy)
{
        struct virt_volume_options options = options_of(copy);
        struct virt_volume volume = {};
        int r;

        options.backing_path = copy->source.path;
        options.backing_format = format_of(copy->job->source->format);
        r = virt_volume_create(copy->job->agent->virt, &options, &volume, &copy->error);
        virt_volume_clear(&volume);
        return r;
}

static int copy_reflink(struct copy *copy)
{
        struct job *job = copy->job;
        struct virt_volume volume = {};
        struct virt_error ignored;
        const char *state = "Stopped";
        int r, thawed = 0;

        if (g_strcmp0(job->source->format, copy->spec->format) != 0 || job->source->linked) {
                copy->error.reason = REASON_REFLINK_NOT_ON_FILESYSTEM;
                g_strlcpy(copy->error.words, "the formats differ, or the source reads from another disk",
                          sizeof(copy->error.words));
                return VIRT_E_INVALID;
        }
        if (copy->uuid) {
                state = hold_still(job, copy->spec, copy->uuid, copy->why);
                if (!state) {
                        return VIRT_E_FAILED;
                }
        }
        r = virt_volume_reflink(job->agent->virt, copy->spec->pool->name, copy->spec->volume_name, copy->source.path, &volume,
                                &copy->error);
        virt_volume_clear(&volume);
        if (g_str_equal(state, "Agent")) {
                thawed = thaw(job, copy->uuid, r ? &ignored : &copy->error);
        }
        copy->how->consistency = state;
        return r ? r : thawed;
}

/* Into a volume that was just made. */
static int fill_from_file(struct copy *copy, const struct virt_volume *volume)
{
        const struct job_source *source = copy->job->source;
        struct image_backing backings[IMAGE_JAIL_BACKINGS];
        struct image_convert options = {
                .source = copy->source.path,
                .source_format = format_of(source->format),
                .backings = backings,
                .n_backings = source->n_backings,
                .target = volume->path,
                .target_format = format_of(copy->spec->format),
                .progress = on_progress,
                .userdata = copy,
        };

        for (size_t i = 0; i < source->n_backings; i++) {
                backings[i] = (struct image_backing){source->backings[i].path, format_of(source->backings[i].format)};
        }
        return image_convert(&options, &copy->error);
}

static int fill_from_domain(struct copy *copy, const struct virt_volume *volume)
{
        struct job *job = copy->job;
        struct virt_error ignored;
        const char *state = hold_still(job, copy->spec, copy->uuid, copy->why);
        int r, thawed = 0;

        if (!state) {
                return VIRT_E_FAILED;
        }
        r = virt_live_copy_begin(job->agent->virt, copy->uuid, copy->source.path, volume->path, format_of(copy->spec->format),
                                 &copy->error);
        if (!r) {
                (void)job_pass(job, "copy", "begun");
        }
        if (g_str_equal(state, "Agent")) {
                thawed = thaw(job, copy->uuid, r ? &ignored : &copy->error);
        }
        copy->how->consistency = state;
        if (r || thawed) {
                return r ? r : thawed;
        }
        return virt_live_copy_follow(job->agent->virt, copy->uuid, on_progress, copy, &copy->error);
}

static int copy_full(struct copy *copy)
{
        struct virt_volume_options options = options_of(copy);
        struct virt_volume volume = {};
        int r;

        if (copy->job->source->linked && !copy->uuid && copy->job->source->n_backings == 0) {
                *copy->why =
                        job_error(copy->job, REASON_VIRTUAL_DISK_NOT_READY, "what the source reads from is not ready on this host");
                return VIRT_E_INVALID;
        }
        r = copy->uuid ? virt_live_sees(copy->job->agent->virt, copy->uuid, copy->spec->pool->path, &copy->error) : 0;
        if (!r) {
                r = virt_volume_create(copy->job->agent->virt, &options, &volume, &copy->error);
        }
        if (!r) {
                r = job_pass(copy->job, "create", "made");
        }
        if (!r) {
                r = copy->uuid ? fill_from_domain(copy, &volume) : fill_from_file(copy, &volume);
        }
        virt_volume_clear(&volume);
        return r;
}

/* In the order in which Auto tries them. */
static const struct {
        const char *mode;
        bool only_asked; /* not by Auto */
        int (*make)(struct copy *copy);
} ways[] = {
        {"Linked", true, copy_linked},
        {"Reflink", false, copy_reflink},
        {"Full", false, copy_full},
};

static int make(struct copy *copy)
{
        const char *asked = copy->spec->copy->mode;
        bool automatic = g_strcmp0(asked, "Auto") == 0;
        int r = VIRT_E_INVALID;

        for (size_t i = 0; i < G_N_ELEMENTS(ways); i++) {
                if (automatic ? ways[i].only_asked : g_strcmp0(ways[i].mode, asked) != 0) {
                        continue;
                }
                copy->how->mode = ways[i].mode;
                r = ways[i].make(copy);
                if (r != VIRT_E_INVALID || g_strcmp0(copy->error.reason, REASON_REFLINK_NOT_ON_FILESYSTEM) != 0) {
                        break;
                }
        }
        return r;
}

const char *volume_copy_waits(const struct job *job)
{
        const struct job_source *source = job->source;

        if (!source || !source->ready || !source->path) {
                return source && source->words
                               ? arena_printf(job->arena, "what it is a copy of is not ready on this host: %s", source->words)
                               : "what it is a copy of is not ready on this host";
        }
        return source->busy_by
                       ? arena_printf(job->arena, "machine %s, which has the source, is being started or ended", source->busy_by)
                       : NULL;
}

/* Why the source cannot be read as it is used now, or NULL. */
static struct api_intent_error *judge_holder(struct copy *copy, const struct virt_file_holder *holder)
{
        if (holder->name && !holder->own) {
                return job_error(copy->job, REASON_DISK_IN_USE, "domain %s, which is not of this installation, has the source open",
                                 holder->name);
        }
        if (holder->disk && g_strcmp0(copy->spec->copy->mode, "Linked") == 0) {
                return job_error(copy->job, REASON_DISK_IN_USE, "domain %s writes to the source; a linked clone needs it as it is",
                                 holder->name);
        }
        return NULL;
}

/* --- one at a time of a machine
 * ---------------------------------------------------------------------------------------------------------------------------- */

/* libvirt copies one disk of a running domain at a time, and tells only of the copy that ended last; and who holds a guest's file
 * systems still must be the one who lets them go on. The uuids of the domains that are being copied from. */
static GMutex copied_lock;
static GHashTable *copied_from;

static bool claim(const char *uuid)
{
        g_autoptr(GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new(&copied_lock);

        if (!copied_from) {
                copied_from = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        }
        if (g_hash_table_contains(copied_from, uuid)) {
                return false;
        }
        (void)g_hash_table_add(copied_from, g_strdup(uuid));
        return true;
}

static void release(const char *uuid)
{
        g_autoptr(GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new(&copied_lock);

        (void)g_hash_table_remove(copied_from, uuid);
        if (g_hash_table_size(copied_from) == 0) {
                g_clear_pointer(&copied_from, g_hash_table_destroy);
        }
}

static int look_at_source(struct copy *copy)
{
        const struct job_source *source = copy->job->source;
        struct virt_file_holder holder = {};
        int r = virt_volume_get_as(copy->job->agent->virt, source->pool, source->file, format_of(source->format), &copy->source,
                                   &copy->error);

        if (!r && source->fixed) {
                return 0;
        }
        if (!r) {
                r = virt_file_holder(copy->job->agent->virt, copy->source.path, &holder, &copy->error);
        }
        if (!r) {
                *copy->why = judge_holder(copy, &holder);
                copy->uuid = holder.disk ? arena_strdup(copy->job->arena, holder.uuid) : NULL;
        }
        virt_file_holder_clear(&holder);
        return r;
}

/* What failed was asked of a domain that has ended since: the source is at rest now, or another one has it. */
static bool writer_has_left(const struct copy *copy)
{
        struct virt_file_holder holder = {};
        struct virt_error ignored = {};
        bool left = virt_file_holder(copy->job->agent->virt, copy->source.path, &holder, &ignored) == 0 &&
                    (!holder.name || strcmp(holder.uuid, copy->uuid) != 0);

        virt_file_holder_clear(&holder);
        return left;
}

enum volume_copy volume_copy(struct job *job, const struct api_volume_spec *spec, struct api_volume_copied *ret_how,
                             struct api_intent_error **ret_why)
{
        struct copy copy = {.job = job, .spec = spec, .how = ret_how, .why = ret_why};
        bool begun = false, overtaken;
        int r;

        assert(job->source && spec->copy);
        *ret_why = NULL;
        *ret_how = (struct api_volume_copied){.consistency = "Stopped"};
        r = look_at_source(&copy);
        if (!r && !*ret_why && copy.uuid && !claim(copy.uuid)) {
                virt_volume_clear(&copy.source);
                return VOLUME_COPY_WAITS;
        }
        if (!r && !*ret_why) {
                begun = true;
                r = make(&copy);
                if (copy.uuid) {
                        release(copy.uuid);
                }
        }
        overtaken = begun && (r || *ret_why) && copy.uuid && writer_has_left(&copy);
        virt_volume_clear(&copy.source);
        if (overtaken) {
                return VOLUME_COPY_OVERTAKEN;
        }
        if (!r && !*ret_why) {
                return VOLUME_COPY_MADE;
        }
        if (!*ret_why) {
                job->full |= r == VIRT_E_NO_SPACE;
                *ret_why =
                        job_virt_error(job, copy.error.reason && r > 0 ? copy.error.reason : REASON_VOLUME_FAILED, r, &copy.error);
        }
        return begun && r != VIRT_E_EXISTS ? VOLUME_COPY_FAILED : VOLUME_COPY_REFUSED;
}
