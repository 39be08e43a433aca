/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/job.h"

#include "agent/pool.h"
#include "agent/volume_copy.h"
#include "agent/volume_receive.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "virt/census.h"
#include "virt/image_header.h"
#include "virt/image_tool.h"
#include "virt/live_disks.h"

#include <fcntl.h>
#include <string.h>

#define COPY_AGAIN_US   300000ull /* copies of one machine come after each other */
#define STEP_CREATE     "create"
#define IN_USE_AGAIN_US 5000000ull
#define SOURCE_AGAIN_US 1000000ull
/* How old the allocation that is told may be. */
#define MEASURE_AGAIN_US 300000000ull

int pool_ensure(struct job *job, const struct api_volume_pool *pool, struct virt_error *reterr)
{
        const char *base = job->agent->pool_base;
        struct virt_pool_options options = {.name = pool->name, .type = pool->type, .path = pool->path};

        options.create = base && pool->path && g_str_has_prefix(pool->path, base) && pool->path[strlen(base)] == '/';
        return virt_pool_ensure(job->agent->virt, &options, reterr);
}

/* --- outcomes --------------------------------------------------------------------------------------------------------------------
 */

static enum virt_format format_of(const char *text)
{
        return g_strcmp0(text, "qcow2") == 0 ? VIRT_FORMAT_QCOW2 : VIRT_FORMAT_RAW;
}

static const struct api_volume_spec *spec_of(const struct job *job)
{
        return ((const struct api_volume *)job->doc->view)->spec;
}

static struct api_volume_status new_status(const struct job *job, const char *state)
{
        return (struct api_volume_status){
                .observed_generation = job->doc->generation, .has_observed_generation = true, .state = state};
}

/* The path of the volume once it was complete, whatever failed since; NULL: it never was, as far as anybody knows. */
static const char *made_before(const struct job *job)
{
        const struct api_volume *view = job->doc->view;

        return job->known_path ? job->known_path : view->status && view->status->path ? view->status->path : NULL;
}

static void fail(struct job *job, struct api_intent_error *why)
{
        const char *path = made_before(job);
        /* Of a volume that was there nothing new is known while libvirt does not answer. */
        struct api_volume_status status = new_status(job, path && job->unreachable ? "Ready" : "Failed");

        status.error = why;
        status.path = path;
        job->path = status.path;
        job->result = JOB_RETRY;
        job_status(job, &api_volume_status_type, &status);
        log_warning("volume could not be realised", "volume", job_key(job).name, "reason", why->reason, "error", why->message);
}

static void fail_virt(struct job *job, const char *otherwise, int outcome, const struct virt_error *error)
{
        job->full |= outcome == VIRT_E_NO_SPACE;
        fail(job, job_virt_error(job, error->reason && outcome > 0 ? error->reason : otherwise, outcome, error));
}

static void succeed(struct job *job, const struct virt_volume *volume, struct api_intent_error *why)
{
        struct api_volume_status status = new_status(job, "Ready");

        job->ready = true;
        job->path = arena_strdup(job->arena, volume->path);
        /* As it was made, whatever a guest has written since: libvirt would take the header of another format for the truth. */
        job->format = virt_format_to_text(format_of(spec_of(job)->format));
        job->copied = spec_of(job)->copy ? volume_copied(job) : NULL;
        status.copied = (struct api_volume_copied *)job->copied;
        status.path = job->path;
        status.capacity_bytes = volume->capacity_bytes;
        status.allocation_bytes = volume->allocation_bytes;
        status.has_capacity_bytes = status.has_allocation_bytes = true;
        status.progress_percent = 100;
        status.has_progress_percent = true;
        status.error = why;
        job->again_us = MEASURE_AGAIN_US; /* what it takes changes without a word */
        job_status(job, &api_volume_status_type, &status);
}

/* The volume as it was made; libvirt reads what a guest wrote to the first sectors. */
static int get_volume(struct job *job, const struct api_volume_spec *spec, struct virt_volume *ret_volume,
                      struct virt_error *reterr)
{
        return virt_volume_get_as(job->agent->virt, spec->pool->name, spec->volume_name, format_of(spec->format), ret_volume,
                                  reterr);
}

/* --- creating --------------------------------------------------------------------------------------------------------------------
 */

struct copying {
        struct job *job;
        unsigned percent;
};

static bool on_progress(unsigned permille, void *userdata)
{
        struct copying *copying = userdata;
        struct api_volume_status status = new_status(copying->job, "Creating");

        if (permille / 10 != copying->percent) {
                copying->percent = permille / 10;
                status.progress_percent = copying->percent;
                status.has_progress_percent = true;
                job_progress(copying->job, &api_volume_status_type, &status);
        }
        return job_is_cancelled(copying->job); /* undone and begun anew by the next agent */
}

static int copy_content(struct job *job, const struct api_volume_spec *spec, int source_fd, const struct virt_volume *volume,
                        struct virt_error *reterr)
{
        struct copying copying = {.job = job};
        struct image_convert options = {
                .source_fd = source_fd,
                .source_format = format_of(spec->source->format),
                .target = volume->path,
                .target_format = format_of(spec->format),
                .progress = on_progress,
                .userdata = &copying,
        };

        return image_convert(&options, reterr);
}

/* The cached file once more, right before a QEMU tool reads it from the same descriptor: its virtual size must fit. */
static struct api_intent_error *judge_source(struct job *job, const struct api_volume_spec *spec, int *ret_fd)
{
        struct image_refusal refusal;
        struct image_facts facts;
        enum image_format told;
        int fd = open(job->image_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        int r;

        *ret_fd = fd;
        if (fd < 0) {
                return job_error(job, REASON_IMAGE_FETCH_FAILED, "the fetched image cannot be read: %s", g_strerror(errno));
        }
        r = image_header_judge(fd, &facts, &refusal);
        if (r) {
                return r < 0 ? job_error(job, REASON_IMAGE_HEADER_INVALID, "%s", g_strerror(-r))
                             : job_error(job, refusal.reason, "%s", refusal.words);
        }
        if (image_format_from_text(spec->source->format ?: "", &told) < 0 || facts.format != told) {
                return job_error(job, REASON_IMAGE_FORMAT_REFUSED, "the file is %s and was announced as %s",
                                 image_format_to_text(facts.format), spec->source->format);
        }
        if (facts.virtual_size_bytes > (uint64_t)spec->capacity_bytes) {
                return job_error(job, REASON_IMAGE_TOO_SMALL,
                                 "the image needs %" G_GUINT64_FORMAT " bytes and the volume has %" G_GINT64_FORMAT,
                                 facts.virtual_size_bytes, spec->capacity_bytes);
        }
        return NULL;
}

/* What a broken creation left is removed, and only then forgotten. */
static int undo_create(struct job *job, const struct api_volume_spec *spec)
{
        struct journal_key key = job_key(job);
        struct virt_error error = {};
        int r;

        (void)job_pass(job, "create", "undoing");
        r = volume_copy_mend(job, spec, &error);
        if (r) {
                log_warning("a copy cannot be ended; it is tried again", "volume", key.name, "error", error.words);
                return r;
        }
        r = virt_volume_delete(job->agent->virt, spec->pool->name, spec->volume_name, &error);
        if (r) {
                log_warning("half a volume could not be removed; it is tried again", "volume", key.name, "error", error.words);
                return r;
        }
        (void)job_pass(job, "create", "undone");
        volume_copied_forget(job);
        log_info("rolled back", "volume", key.name, "step", STEP_CREATE);
        return journal_undo(job->agent->journal, &key, STEP_CREATE);
}

/* The journal knows of a volume before anything of it is made; false: it cannot be written, and that was said. */
static bool begin_create(struct job *job)
{
        struct api_volume_status status = new_status(job, "Creating");
        struct journal_key key = job_key(job);
        int r;

        job_progress(job, &api_volume_status_type, &status);
        r = journal_begin(job->agent->journal, &key, STEP_CREATE);
        if (r < 0) {
                fail(job, job_error(job, REASON_VOLUME_FAILED, "the journal cannot be written: %s", g_strerror(-r)));
        }
        return r >= 0;
}

static void create(struct job *job, const struct api_volume_spec *spec)
{
        struct virt_volume_options options = {.pool = spec->pool->name,
                                              .name = spec->volume_name,
                                              .format = format_of(spec->format),
                                              .capacity_bytes = spec->capacity_bytes};
        autofd source_fd = -1;
        struct api_intent_error *refused = spec->source ? judge_source(job, spec, &source_fd) : NULL;
        struct journal_key key = job_key(job);
        struct virt_volume volume = {}, complete = {};
        struct virt_error error = {};
        int r;

        if (refused) {
                fail(job, refused);
                return;
        }
        if (!begin_create(job)) {
                return;
        }
        r = virt_volume_create(job->agent->virt, &options, &volume, &error);
        if (r == VIRT_E_EXISTS) {
                /* Not ours: it came between our look and our attempt. */
                (void)journal_undo(job->agent->journal, &key, STEP_CREATE);
                fail_virt(job, REASON_VOLUME_EXISTS, r, &error);
                return;
        }
        if (!r) {
                r = job_pass(job, "create", "made");
        }
        if (!r && spec->source) {
                r = copy_content(job, spec, source_fd, &volume, &error);
        }
        if (!r) {
                r = job_pass(job, "create", "filled");
        }
        if (!r) {
                r = get_volume(job, spec, &complete, &error);
        }
        if (!r) {
                r = journal_done(job->agent->journal, &key, STEP_CREATE);
        }
        if (r) {
                fail_virt(job, REASON_VOLUME_FAILED, r, &error);
                (void)undo_create(job, spec); /* said by itself; the next turn begins with it */
        } else {
                succeed(job, &complete, NULL);
        }
        virt_volume_clear(&volume);
        virt_volume_clear(&complete);
}

/* --- copying a volume of this host ----------------------------------------------------------------------------------------------
 */

/* The file is there with all its content: as large as asked, and noted. */
static int complete_copy(struct job *job, const struct api_volume_spec *spec, const struct api_volume_copied *how,
                         struct virt_volume *ret_complete, struct virt_error *reterr)
{
        struct journal_key key = job_key(job);
        int r = job_pass(job, "create", "filled");

        if (!r) {
                r = get_volume(job, spec, ret_complete, reterr);
        }
        if (!r && ret_complete->capacity_bytes < (uint64_t)spec->capacity_bytes) {
                virt_volume_clear(ret_complete);
                r = virt_volume_grow(job->agent->virt, spec->pool->name, spec->volume_name, format_of(spec->format),
                                     (uint64_t)spec->capacity_bytes, reterr);
                if (!r) {
                        r = get_volume(job, spec, ret_complete, reterr);
                }
        }
        if (!r) {
                r = volume_copied_note(job, how);
        }
        return r ? r : journal_done(job->agent->journal, &key, STEP_CREATE);
}

static void wait_for_source(struct job *job, const char *words)
{
        struct api_volume_status status = new_status(job, "Pending");

        status.error = job_error(job, REASON_VIRTUAL_DISK_NOT_READY, "%s", words);
        job->result = JOB_WAIT;
        job->again_us = SOURCE_AGAIN_US;
        job_status(job, &api_volume_status_type, &status);
}

static void create_copy(struct job *job, const struct api_volume_spec *spec)
{
        const char *words = volume_copy_waits(job);
        struct journal_key key = job_key(job);
        struct virt_volume complete = {};
        struct api_intent_error *why = NULL;
        struct api_volume_copied how;
        struct virt_error error = {};
        enum volume_copy outcome;
        int r;

        if (words) {
                wait_for_source(job, words);
                return;
        }
        if (!begin_create(job)) {
                return;
        }
        outcome = volume_copy(job, spec, &how, &why);
        if (outcome == VOLUME_COPY_WAITS) {
                (void)journal_undo(job->agent->journal, &key, STEP_CREATE);
                wait_for_source(job, "another disk of the machine that has the source is being copied");
                job->again_us = COPY_AGAIN_US;
                return;
        }
        if (outcome == VOLUME_COPY_OVERTAKEN) {
                (void)undo_create(job, spec); /* said by itself; the next turn begins with it */
                wait_for_source(job, "the machine that had the source has just ended");
                job->again_us = COPY_AGAIN_US;
                return;
        }
        if (outcome == VOLUME_COPY_REFUSED) {
                (void)journal_undo(job->agent->journal, &key, STEP_CREATE);
                fail(job, why);
                return;
        }
        r = outcome == VOLUME_COPY_MADE ? complete_copy(job, spec, &how, &complete, &error) : 0;
        if (outcome == VOLUME_COPY_FAILED || r) {
                if (r) {
                        fail_virt(job, REASON_VOLUME_FAILED, r, &error);
                } else {
                        fail(job, why);
                }
                (void)undo_create(job, spec); /* said by itself; the next turn begins with it */
        } else {
                log_info("volume was copied", "volume", key.name, "mode", how.mode, "source", how.consistency);
                succeed(job, &complete, NULL);
        }
        virt_volume_clear(&complete);
}

/* --- what is there ---------------------------------------------------------------------------------------------------------------
 */

/* The volume is what it was and can be used; that it could not grow is told beside. */
static void stay_small(struct job *job, const struct virt_volume *volume, struct api_intent_error *why)
{
        succeed(job, volume, why);
        job->small = true;
}

/* Whoever has the file open grows it himself; else libvirt does. @ret_why: why nobody can now, or NULL. */
static int grow_file(struct job *job, const struct api_volume_spec *spec, const struct virt_volume *volume, uint64_t wanted,
                     struct api_intent_error **ret_why, struct virt_error *reterr)
{
        struct virt_file_holder holder = {};
        int r = virt_file_holder(job->agent->virt, volume->path, &holder, reterr);

        if (!r && holder.name && holder.own && holder.disk) {
                (void)job_pass(job, "grow", "live.before");
                r = virt_live_disk_grow(job->agent->virt, holder.uuid, volume->path, wanted, reterr);
                (void)job_pass(job, "grow", "live.after");
                if (r == VIRT_E_STATE || r == VIRT_E_MISSING) {
                        *ret_why = job_error(job, REASON_RESIZE_NOT_SUPPORTED, "domain %s is ending; it grows after that",
                                             holder.name);
                }
        } else if (!r && holder.name) {
                *ret_why = job_error(job, REASON_RESIZE_NOT_SUPPORTED,
                                     "domain %s has the file open, and %s; it grows once that one is off", holder.name,
                                     holder.own ? "not as a disk of its own" : "is not of this installation");
        } else if (!r && job->busy_by) {
                *ret_why = job_error(job, REASON_RESIZE_NOT_SUPPORTED, "machine %s is being started or ended; it grows with that",
                                     job->busy_by);
        } else if (!r) {
                (void)job_pass(job, "grow", "before");
                r = virt_volume_grow(job->agent->virt, spec->pool->name, spec->volume_name, format_of(spec->format), wanted,
                                     reterr);
                (void)job_pass(job, "grow", "after");
        }
        virt_file_holder_clear(&holder);
        return r;
}

static void grow(struct job *job, const struct api_volume_spec *spec, struct virt_volume *volume, uint64_t wanted)
{
        struct api_intent_error *why = NULL;
        struct virt_error error = {};
        int r = grow_file(job, spec, volume, wanted, &why, &error);

        if (why) {
                stay_small(job, volume, why);
                job->again_us = IN_USE_AGAIN_US;
                return;
        }
        if (r) {
                stay_small(job, volume, job_virt_error(job, REASON_VOLUME_FAILED, r, &error));
                job->full |= r == VIRT_E_NO_SPACE;
                job->result = JOB_RETRY;
                log_warning("volume could not grow", "volume", job_key(job).name, "error", error.words);
                return;
        }
        volume->capacity_bytes = wanted;
        log_info("volume has grown", "volume", job_key(job).name, "file", spec->volume_name);
        succeed(job, volume, NULL);
}

static void keep(struct job *job, const struct api_volume_spec *spec, struct virt_volume *volume)
{
        uint64_t wanted = (uint64_t)(spec->capacity_bytes + 511) & ~511ull;

        if (volume->capacity_bytes < wanted) {
                grow(job, spec, volume, wanted);
        } else {
                succeed(job, volume, NULL);
        }
}

/* --- taking a volume of another host
 * ----------------------------------------------------------------------------------------------
 */

static void tell_received(struct job *job, const struct virt_volume *volume, const char *digest)
{
        struct api_volume_status status = new_status(job, "Ready");

        job->ready = true;
        job->path = arena_strdup(job->arena, volume->path);
        job->format = virt_format_to_text(format_of(spec_of(job)->format));
        status.path = job->path;
        status.capacity_bytes = volume->capacity_bytes;
        status.allocation_bytes = volume->allocation_bytes;
        status.has_capacity_bytes = status.has_allocation_bytes = true;
        status.progress_percent = 100;
        status.has_progress_percent = true;
        status.digest = digest;
        job_status(job, &api_volume_status_type, &status);
}

static void receive(struct job *job, const struct api_volume *view, enum journal_state created)
{
        const char *digest = view->status ? view->status->digest : NULL;
        const struct api_volume_spec *spec = view->spec;
        struct journal_key key = job_key(job);
        struct api_intent_error *why = NULL;
        struct virt_volume volume = {};
        struct virt_error error = {};
        bool again = created != JOURNAL_NONE || made_before(job);
        int r;

        if (!again && !begin_create(job)) {
                return;
        }
        if (!digest) {
                digest = volume_receive(job, spec, again, &why);
        }
        if (why) {
                fail(job, why);
                return;
        }
        if (!digest) {
                job->result = JOB_RETRY; /* what is to be done instead is known already */
                return;
        }
        r = get_volume(job, spec, &volume, &error);
        if (!r) {
                r = journal_done(job->agent->journal, &key, STEP_CREATE);
        }
        if (r) {
                fail_virt(job, REASON_VOLUME_FAILED, r, &error);
        } else {
                tell_received(job, &volume, digest);
        }
        virt_volume_clear(&volume);
}

static void look(struct job *job, const struct api_volume *view)
{
        enum journal_state created = journal_step(job->agent->journal, view->metadata->uid, STEP_CREATE);
        const struct api_volume_spec *spec = view->spec;
        struct virt_volume volume = {};
        struct virt_error error = {};
        int r;

        if (spec->receive) {
                receive(job, view, created);
                return;
        }
        if (created == JOURNAL_BEGUN) {
                r = undo_create(job, spec);
                if (r) {
                        fail(job, job_error(job, REASON_VOLUME_FAILED, "what a broken creation left cannot be removed"));
                        return;
                }
        }
        r = get_volume(job, spec, &volume, &error);
        if (r && r != VIRT_E_MISSING) {
                fail_virt(job, REASON_VOLUME_FAILED, r, &error);
        } else if (!r && created != JOURNAL_DONE && !made_before(job)) {
                fail(job, job_error(job, REASON_VOLUME_EXISTS, "the volume %s exists in pool %s and was not made for this intent",
                                    spec->volume_name, spec->pool->name));
        } else if (!r) {
                keep(job, spec, &volume);
        } else if (made_before(job) || created == JOURNAL_DONE) {
                fail(job, job_error(job, REASON_VOLUME_MISSING, "the volume %s is no longer in pool %s", spec->volume_name,
                                    spec->pool->name));
        } else if (spec->copy) {
                create_copy(job, spec);
        } else if (spec->source && !job->image_path) {
                job->result = JOB_IMAGE;
        } else {
                create(job, spec);
        }
        virt_volume_clear(&volume);
}

/* --- deleting --------------------------------------------------------------------------------------------------------------------
 */

static void wait_for_user(struct job *job, const char *user)
{
        struct api_volume_status status = new_status(job, "Ready");

        status.path = made_before(job);
        job->path = status.path;
        status.error = job_error(job, REASON_VOLUME_IN_USE, "%s uses it", user);
        job->result = JOB_WAIT;
        job->again_us = IN_USE_AGAIN_US;
        job_status(job, &api_volume_status_type, &status);
}

static void delete_volume(struct job *job, const struct api_volume_spec *spec, const char *uid)
{
        bool ours = journal_step(job->agent->journal, uid, STEP_CREATE) != JOURNAL_NONE || made_before(job);
        struct api_volume_status status = new_status(job, "Gone");
        struct virt_volume volume = {};
        g_autofree char *user = NULL;
        struct virt_error error = {};
        int r;

        if (job->used_by) {
                wait_for_user(job, job->used_by);
                return;
        }
        r = volume_copy_mend(job, spec, &error);
        if (!r) {
                r = virt_volume_get(job->agent->virt, spec->pool->name, spec->volume_name, &volume, &error);
        }
        if (!r) {
                r = virt_file_user(job->agent->virt, volume.path, &user, &error);
        }
        virt_volume_clear(&volume);
        if (user) {
                wait_for_user(job, user);
                return;
        }
        if ((!r || r == VIRT_E_MISSING) && ours) { /* a kill may have left a file that libvirt has not seen yet */
                (void)job_pass(job, "delete", "before");
                r = virt_volume_delete(job->agent->virt, spec->pool->name, spec->volume_name, &error);
                (void)job_pass(job, "delete", "after");
        }
        if (r && r != VIRT_E_MISSING) {
                fail_virt(job, REASON_VOLUME_FAILED, r, &error);
                return;
        }
        job->result = JOB_GONE;
        job_status(job, &api_volume_status_type, &status);
}

void converge_volume(struct job *job)
{
        const struct api_volume *view = job->doc->view;
        const struct api_volume_spec *spec = view->spec;
        struct virt_error error = {};
        int r;

        if (!spec || !spec->pool || !spec->pool->name || !spec->volume_name) {
                fail(job, job_error(job, REASON_VALIDATION_FAILED, "pool and volumeName are needed"));
                return;
        }
        if (job->doc->deleted) {
                delete_volume(job, spec, view->metadata->uid);
                return;
        }
        r = pool_ensure(job, spec->pool, &error);
        if (!r) {
                r = job_pass(job, "pool", "there");
        }
        if (r) {
                fail_virt(job, REASON_POOL_FAILED, r, &error);
                return;
        }
        look(job, view);
}
