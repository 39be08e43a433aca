/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/job.h"

#include "agent/pool.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "virt/census.h"
#include "virt/image_header.h"
#include "virt/image_tool.h"

#include <fcntl.h>
#include <string.h>

#define STEP_CREATE     "create"
#define IN_USE_AGAIN_US 5000000ull

int pool_ensure(struct job *job, const struct api_volume_pool *pool, struct virt_error *reterr)
{
        const char *base = job->agent->pool_base;
        struct virt_pool_options options = {.name = pool->name, .path = pool->path};

        options.create = base && pool->path && g_str_has_prefix(pool->path, base) && pool->path[strlen(base)] == '/';
        return virt_pool_ensure(job->agent->virt, &options, reterr);
}

/* --- outcomes --------------------------------------------------------------------------------------------------------------------
 */

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

/* How its content came into it, as was told when it was made. */
static const char *cloned_before(const struct job *job)
{
        const struct api_volume *view = job->doc->view;

        return view->status ? view->status->cloned : NULL;
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
        job->format = virt_format_to_text(volume->format);
        status.path = job->path;
        status.capacity_bytes = volume->capacity_bytes;
        status.allocation_bytes = volume->allocation_bytes;
        status.has_capacity_bytes = status.has_allocation_bytes = true;
        status.progress_percent = 100;
        status.has_progress_percent = true;
        status.cloned = job->cloned ? job->cloned : cloned_before(job);
        status.error = why;
        job_status(job, &api_volume_status_type, &status);
}

static enum virt_format format_of(const char *text)
{
        return g_strcmp0(text, "qcow2") == 0 ? VIRT_FORMAT_QCOW2 : VIRT_FORMAT_RAW;
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
        return copying->job->agent->stopping; /* undone and begun anew by the next agent */
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

/* The content of another volume of this host, which no machine may have meanwhile: its blocks are shared where the file system does
 * that, else copied. The volume is grown to what it shall have afterwards. */
static int clone_content(struct job *job, const struct api_volume_spec *spec, const struct virt_volume *volume,
                         struct virt_error *reterr)
{
        const struct api_volume_clone *clone = spec->clone;
        struct copying copying = {.job = job};
        g_autofree char *user = NULL;
        struct virt_volume from = {};
        int r;

        r = virt_volume_get_as(job->agent->virt, clone->pool->name, clone->volume_name, format_of(clone->format), &from, reterr);
        if (!r) {
                r = virt_file_user(job->agent->virt, from.path, &user, reterr);
        }
        if (r == VIRT_E_MISSING || (!r && user)) {
                g_snprintf(reterr->words, sizeof(reterr->words), "the volume %s cannot be copied: %s%s", clone->volume_name,
                           user ? "it is in use by " : "it is gone", user ? user : "");
                reterr->reason = user ? REASON_VOLUME_IN_USE : REASON_VOLUME_FAILED;
                r = VIRT_E_FAILED;
        }
        if (!r) {
                job->cloned = "Reflink";
                r = virt_volume_reflink(from.path, volume->path, reterr);
        }
        if (r == VIRT_E_STATE) {
                struct image_convert options = {
                        .source = from.path,
                        .source_format = format_of(clone->format),
                        .target = volume->path,
                        .target_format = format_of(spec->format),
                        .progress = on_progress,
                        .userdata = &copying,
                };

                job->cloned = "Full";
                r = image_convert(&options, reterr);
        } else if (!r) {
                r = virt_volume_grow_as(job->agent->virt, spec->pool->name, spec->volume_name, format_of(spec->format),
                                        (uint64_t)spec->capacity_bytes, reterr);
        }
        virt_volume_clear(&from);
        return r;
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
        struct virt_error error;
        int r;

        (void)job_pass(job, "create", "undoing");
        r = virt_volume_delete(job->agent->virt, spec->pool->name, spec->volume_name, &error);
        if (r) {
                log_warning("half a volume could not be removed; it is tried again", "volume", key.name, "error", error.words);
                return r;
        }
        (void)job_pass(job, "create", "undone");
        log_info("rolled back", "volume", key.name, "step", STEP_CREATE);
        return journal_undo(job->agent->journal, &key, STEP_CREATE);
}

static void create(struct job *job, const struct api_volume_spec *spec)
{
        struct virt_volume_options options = {.pool = spec->pool->name,
                                              .name = spec->volume_name,
                                              .format = format_of(spec->format),
                                              .capacity_bytes = spec->capacity_bytes};
        struct api_volume_status status = new_status(job, "Creating");
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
        job_progress(job, &api_volume_status_type, &status);
        r = journal_begin(job->agent->journal, &key, STEP_CREATE);
        if (r < 0) {
                fail(job, job_error(job, REASON_VOLUME_FAILED, "the journal cannot be written: %s", g_strerror(-r)));
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
        if (!r && spec->clone) {
                r = clone_content(job, spec, &volume, &error);
        }
        if (!r) {
                r = job_pass(job, "create", "filled");
        }
        if (!r) {
                r = virt_volume_get_as(job->agent->virt, spec->pool->name, spec->volume_name, options.format, &complete, &error);
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

/* --- what is there ---------------------------------------------------------------------------------------------------------------
 */

/* The volume is what it was and can be used; that it could not grow is told beside. */
static void stay_small(struct job *job, const struct virt_volume *volume, struct api_intent_error *why)
{
        succeed(job, volume, why);
        job->small = true;
}

static void grow(struct job *job, const struct api_volume_spec *spec, struct virt_volume *volume, uint64_t wanted)
{
        g_autofree char *user = NULL;
        struct virt_error error = {};
        bool online = false;
        int r;

        if (job->held_by) {
                /* Its guest sees it at once; one that is just being started, or has just ended, has to be waited for. */
                r = virt_file_grow_online(job->agent->virt, volume->path, wanted, &error);
                online = r != VIRT_E_MISSING;
        } else {
                /* libvirt changes and deletes the file of a running guest without a word: we look first. */
                r = virt_file_user(job->agent->virt, volume->path, &user, &error);
        }
        if ((job->held_by && !online) || user) {
                stay_small(job, volume,
                           job_error(job, REASON_RESIZE_NOT_SUPPORTED, "it grows when machine %s is stopped or restarted",
                                     job->held_by ? job->held_by : user));
                job->again_us = IN_USE_AGAIN_US;
                return;
        }
        if (!r && !online) {
                r = virt_volume_grow_as(job->agent->virt, spec->pool->name, spec->volume_name, volume->format, wanted, &error);
        }
        if (r) {
                stay_small(job, volume, job_virt_error(job, REASON_VOLUME_FAILED, r, &error));
                job->result = JOB_RETRY;
                log_warning("volume could not grow", "volume", job_key(job).name, "error", error.words);
                return;
        }
        volume->capacity_bytes = wanted;
        log_info(online ? "volume has grown under its running machine" : "volume has grown", "volume", job_key(job).name, "file",
                 spec->volume_name);
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

static void look(struct job *job, const struct api_volume *view)
{
        enum journal_state created = journal_step(job->agent->journal, view->metadata->uid, STEP_CREATE);
        const struct api_volume_spec *spec = view->spec;
        struct virt_volume volume = {};
        struct virt_error error = {};
        int r;

        if (created == JOURNAL_BEGUN) {
                r = undo_create(job, spec);
                if (r) {
                        fail(job, job_error(job, REASON_VOLUME_FAILED, "what a broken creation left cannot be removed"));
                        return;
                }
        }
        r = virt_volume_get_as(job->agent->virt, spec->pool->name, spec->volume_name, format_of(spec->format), &volume, &error);
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
        r = virt_volume_get(job->agent->virt, spec->pool->name, spec->volume_name, &volume, &error);
        if (!r) {
                r = virt_file_user(job->agent->virt, volume.path, &user, &error);
        }
        virt_volume_clear(&volume);
        if (user) {
                wait_for_user(job, user);
                return;
        }
        if (!r && ours) {
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
