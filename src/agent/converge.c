/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/inspect.h"
#include "agent/instance_change.h"
#include "agent/instance_limits.h"
#include "agent/job.h"
#include "agent/machine_measure.h"
#include "agent/volume_export.h"
#include "agent/volume_receive.h"

#include "base/error.h"
#include "base/log.h"
#include "base/steps.h"
#include "virt/image_jail.h"

#include <stdarg.h>
#include <string.h>

#define JOBS_MAX    4
#define EXPORTS_MAX 2
/* One that waits for another one to end looks again after so long. */
#define EXPORT_AGAIN_US 500000ull
#define FULL_AGAIN_US   10000000ull
/* Without an event definitions are compared this often. */
#define COMPARE_INTERVAL_US 60000000ull

/* --- what jobs use ---------------------------------------------------------------------------------------------------------------
 */

static struct json_doc *encode(const struct schema_type *type, const void *view)
{
        struct json_doc *doc = json_doc_new();

        json_set_root(doc, schema_encode(type, view, doc));
        return doc;
}

void job_status(struct job *job, const struct schema_type *type, const void *view)
{
        assert(job && type && view);
        json_doc_free(job->status);
        job->status = encode(type, view);
}

struct progress {
        struct agent *agent;
        const struct schema_kind *kind;
        char *name;
        uint64_t turn;
        struct json_doc *status;
};

static void take_progress(void *userdata)
{
        struct progress *progress = userdata;
        struct intent *intent = intents_get(progress->agent->intents, progress->kind, progress->name);

        /* The job may be back already: then it has said more. */
        if (intent && intent->running && intent->turn == progress->turn) {
                json_doc_free(intent->status);
                intent->status = g_steal_pointer(&progress->status);
                converge_publish(progress->agent, intent);
        }
        json_doc_free(progress->status);
        g_free(progress->name);
        g_free(progress);
}

void job_progress(struct job *job, const struct schema_type *type, const void *view)
{
        const struct api_object_meta *metadata = ((const struct api_instance *)job->doc->view)->metadata;
        struct progress *progress = g_new0(struct progress, 1);

        progress->agent = job->agent;
        progress->kind = job->kind;
        progress->name = g_strdup(metadata->name);
        progress->turn = job->turn;
        progress->status = encode(type, view);
        loop_post(job->agent->loop, take_progress, progress);
}

struct api_intent_error *job_error(struct job *job, const char *reason, const char *format, ...)
{
        struct api_intent_error *error = arena_new0(job->arena, struct api_intent_error);
        g_autofree char *words = NULL;
        va_list args;

        va_start(args, format);
        words = g_strdup_vprintf(format, args);
        va_end(args);
        error->reason = reason;
        error->message = arena_strdup(job->arena, words);
        return error;
}

struct api_intent_error *job_virt_error(struct job *job, const char *otherwise, int outcome, const struct virt_error *error)
{
        if (outcome == VIRT_E_UNREACHABLE) {
                job->unreachable = true;
                return job_error(job, REASON_LIBVIRT_UNREACHABLE, "%s", error->words);
        }
        if (outcome == VIRT_E_NO_SPACE) {
                return job_error(job, REASON_POOL_FULL, "%s", error->words);
        }
        if (outcome < 0) {
                return job_error(job, otherwise, "%s", g_strerror(-outcome));
        }
        return job_error(job, otherwise, "%s", error->words);
}

const char *job_time(struct job *job, uint64_t from_now_us)
{
        char time[CLOCK_RFC3339_MAX];

        return arena_strdup(job->arena, clock_format_rfc3339(clock_real_us(clock_system()) + from_now_us, false, time));
}

const char *job_now(struct job *job)
{
        return job_time(job, 0);
}

struct journal_key job_key(const struct job *job)
{
        const struct api_object_meta *metadata = ((const struct api_instance *)job->doc->view)->metadata;

        return (struct journal_key){
                .kind = job->kind->plural, .name = metadata->name, .uid = metadata->uid, .generation = job->doc->generation};
}

bool job_is_cancelled(const struct job *job)
{
        return job->agent->stopping || g_atomic_int_get(&job->cancelled);
}

int job_pass(const struct job *job, const char *step, const char *place)
{
        return steps_pass(job->agent->steps, job->kind->plural, step, place);
}

/* --- handing a job what it needs
 * -------------------------------------------------------------------------------------------------- */

static void gather_growth(struct job *job, struct job_volume *entry, const struct intent *volume)
{
        const struct api_volume_spec *spec = ((const struct api_volume *)volume->doc->view)->spec;

        if (volume->small) {
                entry->grow_bytes = (uint64_t)spec->capacity_bytes;
                entry->pool = arena_strdup(job->arena, spec->pool->name);
                entry->file = arena_strdup(job->arena, spec->volume_name);
        }
}

static const char *copies(const struct intent *intent)
{
        const struct api_volume_spec *spec =
                intent->kind == &api_volume_kind ? ((const struct api_volume *)intent->doc->view)->spec : NULL;

        return spec && spec->copy ? spec->copy->volume : NULL;
}

static bool is_linked(const struct intent *volume)
{
        const struct api_volume *view = volume->doc->view;
        const char *told = view->status && view->status->copied ? view->status->copied->mode : NULL;
        const char *asked = view->spec->copy ? view->spec->copy->mode : NULL; /* made, perhaps, by an agent that could not tell */

        return g_strcmp0(volume->copied_mode ? volume->copied_mode : told ? told : asked, "Linked") == 0;
}

/* An image: a machine only reads it, as whatever was made of it does. */
static bool is_fixed(const struct intent *volume)
{
        return ((const struct api_volume *)volume->doc->view)->spec->read_only;
}

/* The volume that reads from @volume now, and why that binds it; or NULL. */
static const struct intent *reader_of(struct agent *agent, const char *volume, const char **ret_how)
{
        g_autoptr(GPtrArray) volumes = intents_list(agent->intents, &api_volume_kind);

        for (unsigned i = 0; i < volumes->len; i++) {
                const struct intent *other = volumes->pdata[i];

                if (other->gone || g_strcmp0(copies(other), volume) != 0) {
                        continue;
                }
                *ret_how = is_linked(other) ? "is the backing of" : "is being copied to";
                if (is_linked(other) || (other->running && !other->path)) {
                        return other;
                }
        }
        return NULL;
}

static const char *lock_of(struct agent *agent, struct job *job, const char *volume)
{
        const char *how = NULL;
        const struct intent *reader = reader_of(agent, volume, &how);
        const struct api_volume_spec *spec = reader ? ((const struct api_volume *)reader->doc->view)->spec : NULL;

        return spec ? arena_printf(job->arena, "its disk %s %s", how, spec->owner ? spec->owner->name : reader->name) : NULL;
}

static void gather_volumes(struct agent *agent, struct job *job, const struct api_instance_spec *spec)
{
        job->n_volumes = spec->n_disks;
        job->volumes = arena_array(job->arena, spec->n_disks, sizeof(*job->volumes));
        for (size_t i = 0; i < spec->n_disks; i++) {
                const char *name = spec->disks[i].volume;
                const struct intent *volume = name ? intents_get(agent->intents, &api_volume_kind, name) : NULL;
                struct job_volume *entry = &job->volumes[i];

                entry->ready = entry->empty = !name;
                entry->name = arena_strdup(job->arena, spec->disks[i].volume);
                if (volume && !volume->doc->deleted) {
                        entry->ready = volume->ready;
                        entry->path = arena_strdup(job->arena, volume->path);
                        entry->format = arena_strdup(job->arena, volume->format);
                        gather_growth(job, entry, volume);
                        entry->locked = is_fixed(volume) ? NULL : lock_of(agent, job, volume->name);
                }
        }
}

static void gather_ports(struct agent *agent, struct job *job, const struct api_instance_spec *spec)
{
        job->n_ports = spec->n_ports;
        job->ports = arena_array(job->arena, spec->n_ports, sizeof(*job->ports));
        for (size_t i = 0; i < spec->n_ports; i++) {
                const struct intent *port = intents_get(agent->intents, &api_port_kind, spec->ports[i]);

                if (port && !port->doc->deleted) {
                        job->ports[i] =
                                (struct job_port){.doc = intent_doc_ref(port->doc), .port = port->doc->view, .ready = port->ready};
                        if (port->status)
                                job->ports[i].trouble = arena_strdup(
                                        job->arena, json_find_string(json_root(port->status), "error", "message", NULL));
                }
        }
}

static bool names_disk(const struct api_instance *instance, const char *volume)
{
        for (size_t i = 0; i < instance->spec->n_disks; i++) {
                if (g_strcmp0(instance->spec->disks[i].volume, volume) == 0) {
                        return true;
                }
        }
        return false;
}

static bool names_port(const struct api_instance *instance, const char *port)
{
        for (size_t i = 0; i < instance->spec->n_ports; i++) {
                if (g_strcmp0(instance->spec->ports[i], port) == 0) {
                        return true;
                }
        }
        return false;
}

/* The name of an Instance that has the volume or port and is not torn down, or NULL. */
static const char *user_of(struct agent *agent, const struct intent *intent)
{
        g_autoptr(GPtrArray) instances = intents_list(agent->intents, &api_instance_kind);

        for (unsigned i = 0; i < instances->len; i++) {
                const struct intent *instance = instances->pdata[i];
                bool names = intent->kind == &api_port_kind ? names_port(instance->doc->view, intent->name)
                                                            : names_disk(instance->doc->view, intent->name);

                if (names && !instance->gone && (instance->active || !intent->doc->deleted || !instance->doc->deleted)) {
                        return instance->name;
                }
        }
        return NULL;
}

/* The name of the machine that may be opening the volume now: its Instance has a job and did not run at its last look. */
static const char *opener_of(struct agent *agent, const struct intent *volume)
{
        g_autoptr(GPtrArray) instances = intents_list(agent->intents, &api_instance_kind);

        for (unsigned i = 0; i < instances->len; i++) {
                const struct intent *instance = instances->pdata[i];
                const struct api_instance *view = instance->doc->view;

                if (!instance->active && instance->running && names_disk(view, volume->name)) {
                        return view->spec->machine ? view->spec->machine->name : instance->name;
                }
        }
        return NULL;
}

/* All that a linked volume reads from, nearest first. */
static void gather_backings(struct agent *agent, const struct intent *volume, struct job *job, struct job_source *source)
{
        struct job_backing *backings = arena_array(job->arena, IMAGE_JAIL_BACKINGS, sizeof(*backings));
        size_t n = 0;

        while (is_linked(volume)) {
                volume = intents_get(agent->intents, &api_volume_kind, copies(volume));
                if (!volume || !volume->ready || !volume->path || n == IMAGE_JAIL_BACKINGS) {
                        return;
                }
                backings[n].path = arena_strdup(job->arena, volume->path);
                backings[n++].format = arena_strdup(job->arena, ((const struct api_volume *)volume->doc->view)->spec->format);
        }
        source->backings = backings;
        source->n_backings = n;
}

/* What a copy, or whoever sends one, needs to know of its source. */
static void gather_source(struct agent *agent, const struct intent *intent, struct job *job)
{
        const char *name = volume_export_is(intent) ? volume_export_source(intent) : copies(intent);
        const struct intent *volume = name ? intents_get(agent->intents, &api_volume_kind, name) : NULL;
        const struct api_volume_spec *spec = volume ? ((const struct api_volume *)volume->doc->view)->spec : NULL;
        struct job_source *source;

        if (!spec || volume->gone) {
                return;
        }
        source = arena_new0(job->arena, struct job_source);
        source->ready = volume->ready;
        source->linked = is_linked(volume);
        gather_backings(agent, volume, job, source);
        source->path = arena_strdup(job->arena, volume->path);
        source->pool = arena_strdup(job->arena, spec->pool->name);
        source->file = arena_strdup(job->arena, spec->volume_name);
        source->format = arena_strdup(job->arena, spec->format);
        source->fixed = is_fixed(volume);
        source->busy_by = source->fixed ? NULL : arena_strdup(job->arena, opener_of(agent, volume));
        if (!volume->ready && volume->status) {
                source->words = arena_strdup(job->arena, json_find_string(json_root(volume->status), "error", "message", NULL));
        }
        job->source = source;
}

static void gather_copied(const struct intent *intent, struct job *job)
{
        struct api_volume_copied *copied;

        if (intent->copied_mode) {
                copied = arena_new0(job->arena, struct api_volume_copied);
                copied->mode = arena_strdup(job->arena, intent->copied_mode);
                copied->consistency = arena_strdup(job->arena, intent->copied_state);
                job->known_copied = copied;
        }
}

/* Who names the volume, or reads from it. */
static const char *volume_user(struct agent *agent, const struct intent *intent)
{
        const char *user = user_of(agent, intent), *how = NULL;
        const struct intent *reader = user ? NULL : reader_of(agent, intent->name, &how);

        return reader ? reader->name : user ? user : volume_export_sender(agent, intent->name);
}

static const char *why_not_start(const struct agent *agent)
{
        return agent->guests_service ? REASON_LIBVIRT_GUESTS_ENABLED : agent->stopping ? REASON_AGENT_STOPPING : NULL;
}

static const char *image_path(struct agent *agent, const struct intent *intent)
{
        const struct api_volume *volume = intent->doc->view;
        struct images_wish wish;
        struct images_status status;

        if (!intent->image_ready || !volume->spec->source) {
                return NULL;
        }
        wish = (struct images_wish){
                .digest = intent->image, .size_bytes = volume->spec->source->size_bytes, .format = volume->spec->source->format};
        status = images_want(agent->images, &wish);
        return status.state == IMAGES_READY ? status.path : NULL;
}

static void gather_told(const struct intent *intent, struct job *job)
{
        const struct api_instance *instance = intent->doc->view;

        if (!intent->status) {
                job->told = instance->status;
                return;
        }
        job->told_json = json_doc_new();
        json_set_root(job->told_json, json_copy(job->told_json, json_root(intent->status)));
        job->told = schema_decode(&api_instance_status_type, json_root(job->told_json), job->arena);
}

static bool looks_at_host(const struct intent *intent)
{
        const struct api_host_task *task = intent->doc->view;

        return intent->kind == &api_host_task_kind &&
               (g_strcmp0(task->spec->type, "Inspect") == 0 || g_strcmp0(task->spec->type, "Repair") == 0);
}

static struct job *job_new(struct agent *agent, struct intent *intent)
{
        struct job *job = g_new0(struct job, 1);

        job->agent = agent;
        job->intent = intent;
        job->kind = intent->kind;
        job->turn = intent->turn;
        job->doc = intent_doc_ref(intent->doc);
        job->arena = arena_new(0);
        job->host = host_ref(agent->host);
        job->lease_until = lease_valid_until(agent->lease);
        job->may_not = why_not_start(agent);
        job->may_start = !job->may_not;
        job->failures = intent->failures;
        job->stop = intent->stop;
        job->space = intent->space;
        job->unplug = intent->unplug;
        job->balloon = intent->balloon;
        job->known_path = arena_strdup(job->arena, intent->path);
        job->known_epoch = intent->epoch;
        job->ran_epoch = -1;
        job->known_active = intent->active;
        job->compare = intent->definition_due_us <= loop_now_us(agent->loop);
        job->tolerated = arena_strdup(job->arena, intent->definition_tolerated);
        if (intent->kind == &api_instance_kind) {
                const struct api_instance *instance = intent->doc->view;

                gather_told(intent, job);
                job->compare |= instance_limits_changed(instance, job->told) || instance_change_due(instance, job->told);
                gather_volumes(agent, job, instance->spec);
                gather_ports(agent, job, instance->spec);
        } else if (intent->kind == &api_volume_kind) {
                job->image_path = arena_strdup(job->arena, image_path(agent, intent));
                job->used_by = arena_strdup(job->arena, volume_user(agent, intent));
                gather_source(agent, intent, job);
                gather_copied(intent, job);
                job->busy_by = arena_strdup(job->arena, opener_of(agent, intent));
        } else if (intent->kind == &api_port_kind) {
                job->used_by = arena_strdup(job->arena, user_of(agent, intent));
        } else if (volume_export_is(intent)) {
                job->was_ready = intent->ready;
                gather_source(agent, intent, job);
        } else if (measure_is(intent)) {
                job->was_ready = intent->ready;
                job->instance_uuid = measure_domain(agent, intent, job->arena);
        } else if (looks_at_host(intent)) {
                job->was_ready = intent->ready;
                job->inspection = inspection_gather(agent, intent);
                job->requeue = g_strv_builder_new();
        }
        job->compare &= !virt_is_test(agent->virt);
        return job;
}

static void job_free(struct job *job)
{
        for (size_t i = 0; i < job->n_ports; i++) {
                intent_doc_unref(job->ports[i].doc);
        }
        intent_doc_unref(job->doc);
        host_unref(job->host);
        json_doc_free(job->status);
        json_doc_free(job->told_json);
        inspection_free(job->inspection);
        g_clear_pointer(&job->requeue, g_strv_builder_unref);
        g_free(job->pending);
        arena_free(job->arena);
        g_free(job);
}

/* --- images for volumes ----------------------------------------------------------------------------------------------------------
 */

static void drop_image(struct agent *agent, struct intent *intent)
{
        if (intent->image_ready) {
                images_release(agent->images, intent->image);
        }
        intent->image_ready = false;
        g_clear_pointer(&intent->image, g_free);
}

static void publish_volume(struct agent *agent, struct intent *intent, const struct api_volume_status *status)
{
        json_doc_free(intent->status);
        intent->status = encode(&api_volume_status_type, status);
        converge_publish(agent, intent);
}

/* How it stands with the image that a volume waits for. */
static void look_at_image(struct agent *agent, struct intent *intent)
{
        const struct api_volume *volume = intent->doc->view;
        const struct api_volume_source *source = volume->spec->source;
        struct api_volume_status status = {.observed_generation = intent->doc->generation, .has_observed_generation = true};
        struct images_wish wish = {.digest = intent->image, .size_bytes = source->size_bytes, .format = source->format};
        struct api_intent_error error;
        struct images_status image = images_want(agent->images, &wish);

        if (image.state == IMAGES_READY) {
                images_hold(agent->images, intent->image);
                intent->image_ready = true;
                intents_queue(agent->intents, intent, 0);
        } else if (image.state == IMAGES_FETCHING) {
                status.state = "Fetching";
                status.progress_percent = image.percent;
                status.has_progress_percent = true;
                publish_volume(agent, intent, &status);
        } else {
                error = (struct api_intent_error){.reason = image.reason, .message = image.message};
                status.state = "Failed";
                status.error = &error;
                publish_volume(agent, intent, &status);
                log_warning("image could not be fetched", "volume", intent->name, "digest", intent->image, "reason", image.reason,
                            "error", image.message);
                drop_image(agent, intent);
                intents_retry(agent->intents, intent);
        }
}

static void want_image(struct agent *agent, struct intent *intent)
{
        const struct api_volume *volume = intent->doc->view;

        drop_image(agent, intent);
        intent->image = g_strdup(volume->spec->source->digest);
        look_at_image(agent, intent);
}

void converge_image_changed(struct agent *agent, const char *digest)
{
        g_autoptr(GPtrArray) volumes = intents_list(agent->intents, &api_volume_kind);

        for (unsigned i = 0; i < volumes->len; i++) {
                struct intent *volume = volumes->pdata[i];

                if (!volume->running && !volume->image_ready && g_strcmp0(volume->image, digest) == 0) {
                        look_at_image(agent, volume);
                }
        }
}

void converge_adopt(struct agent *agent)
{
        g_autoptr(GPtrArray) instances = intents_list(agent->intents, &api_instance_kind);

        for (unsigned i = 0; i < instances->len; i++) {
                ((struct intent *)instances->pdata[i])->adopting = true;
        }
        agent->adopting = instances->len;
}

static void adopted(struct agent *agent, struct intent *intent)
{
        g_autofree char *ms = NULL, *n = NULL;

        if (!intent->adopting || agent->stopping) {
                return;
        }
        intent->adopting = false;
        agent->adopted += intent->active;
        if (--agent->adopting > 0) {
                return;
        }
        ms = g_strdup_printf("%" G_GUINT64_FORMAT, (loop_now_us(agent->loop) - agent->begun_us) / 1000);
        n = g_strdup_printf("%u", agent->adopted);
        log_info("caught up: every machine was looked at", "running", n, "ms", ms);
}

void converge_forgotten(struct agent *agent, struct intent *intent)
{
        adopted(agent, intent);
        drop_image(agent, intent);
}

/* --- what a job found out --------------------------------------------------------------------------------------------------------
 */

/* A guest that stood still does not know it: its agent sets its clock. */
static bool goes_on(const struct intent *intent, const struct job *job)
{
        const char *before = intent->status ? json_find_string(json_root(intent->status), "state", NULL) : NULL;
        const char *now = job->status ? json_find_string(json_root(job->status), "state", NULL) : NULL;

        return intent->kind == &api_instance_kind && g_strcmp0(before, "paused") == 0 && g_strcmp0(now, "running") == 0;
}

static void take_facts(struct agent *agent, struct intent *intent, struct job *job)
{
        bool changed = intent->ready != job->ready || intent->active != job->active || job->result == JOB_GONE;

        intent->ready = job->ready && job->doc->generation == intent->doc->generation;
        intent->stop = job->stop;
        intent->space = job->space;
        intent->unplug = job->unplug;
        intent->balloon = job->balloon;
        intent->gone = job->result == JOB_GONE;
        if (intent->kind == &api_volume_kind) {
                if (job->path && g_strcmp0(intent->path, job->path) != 0) {
                        resync_folder(agent->resync, job->path);
                }
                /* A volume that cannot be looked at now is still of the format that it was made in. */
                if (job->format || !job->path) {
                        g_free(intent->format);
                        intent->format = g_strdup(job->format);
                }
                g_free(intent->path);
                intent->small = job->small;
                if (job->copied) {
                        g_free(intent->copied_mode);
                        g_free(intent->copied_state);
                        intent->copied_mode = g_strdup(job->copied->mode);
                        intent->copied_state = g_strdup(job->copied->consistency);
                }
                intent->path = g_strdup(job->path);
        }
        if (intent->active && !job->active) {
                g_clear_pointer(&intent->guest, json_doc_free);
        }
        if (!intent->active && job->active) {
                guests_look(agent->guests, intent);
        }
        if (job->ran_epoch > intent->epoch) {
                /* Another start: what the guest agent said before is of another guest. */
                g_clear_pointer(&intent->guest, json_doc_free);
                guests_look(agent->guests, intent);
        }
        if (goes_on(intent, job)) {
                intent->stood_still = true;
                guests_look(agent->guests, intent);
        }
        if (job->compared) {
                intent->definition_due_us = loop_now_us(agent->loop) + COMPARE_INTERVAL_US;
                g_free(intent->definition_tolerated);
                intent->definition_tolerated = g_strdup(job->tolerated);
        }
        intent->active = job->active;
        intent->epoch = MAX(intent->epoch, job->ran_epoch);
        if (job->status) {
                json_doc_free(intent->status);
                intent->status = g_steal_pointer(&job->status);
                converge_publish(agent, intent);
        }
        if (job->full || (changed && intent->kind == &api_host_task_kind)) {
                node_report_soon(agent->node); /* another pool, or one without space */
        }
        if (changed && intent->kind != &api_host_task_kind) {
                converge_dependents(agent, intent);
        }
}

/* A repair found that these are not as they were told. */
static void requeue(struct agent *agent, struct job *job)
{
        g_auto(GStrv) keys = job->requeue ? g_strv_builder_end(job->requeue) : NULL;
        g_autoptr(GPtrArray) all = keys && *keys ? intents_list(agent->intents, NULL) : NULL;

        for (unsigned i = 0; all && i < all->len; i++) {
                struct intent *intent = all->pdata[i];

                if (g_strv_contains((const char *const *)keys, intent->key)) {
                        intents_queue(agent->intents, intent, 0);
                }
        }
}

/* Somebody has put a pool right and wants it to be seen: what failed for its sake is tried now, not after its pause. */
static void hasten_pool(struct agent *agent, const char *name)
{
        g_autoptr(GPtrArray) all = intents_list(agent->intents, NULL);

        for (unsigned i = 0; i < all->len; i++) {
                struct intent *intent = all->pdata[i];
                const struct api_volume *volume = intent->kind == &api_volume_kind ? intent->doc->view : NULL;
                const struct api_host_task *task = intent->kind == &api_host_task_kind ? intent->doc->view : NULL;
                const struct api_volume_pool *pool = volume && volume->spec ? volume->spec->pool
                                                     : task && task->spec   ? task->spec->pool
                                                                            : NULL;

                if (pool && g_strcmp0(pool->name, name) == 0 && intent->failures > 0) {
                        intents_queue(agent->intents, intent, 0);
                }
        }
}

static bool is_refresh(const struct intent *intent)
{
        const struct api_host_task *task = intent->kind == &api_host_task_kind ? intent->doc->view : NULL;

        return task && task->spec && task->spec->pool && g_strcmp0(task->spec->type, "RefreshPool") == 0;
}

static void queue_again(struct agent *agent, struct intent *intent, const struct job *job)
{
        if (is_refresh(intent) && job->result == JOB_DONE) {
                hasten_pool(agent, ((const struct api_host_task *)intent->doc->view)->spec->pool->name);
        }
        if (job->result == JOB_RETRY) {
                intents_retry(agent->intents, intent);
                if (job->full) {
                        intents_queue(agent->intents, intent, FULL_AGAIN_US); /* space comes back without an event */
                }
                return;
        }
        if (intent->nudged) {
                intents_queue(agent->intents, intent, 0);
        }
        if (job->result == JOB_IMAGE) {
                want_image(agent, intent);
                return;
        }
        if (job->result != JOB_WAIT) {
                intent->failures = 0;
        }
        if (job->again_us) {
                intents_queue(agent->intents, intent, job->again_us);
        }
}

static void job_done(int result, void *userdata)
{
        struct job *job = userdata;
        struct agent *agent = job->agent;
        struct intent *intent = intents_finish(agent->intents, job->intent);

        if (job->apart) {
                agent->exporting--;
        } else {
                agent->running--;
        }
        if (intent) {
                intent->job = NULL;
        }
        if (intent && result != -ECANCELED) {
                if (job->result != JOB_IMAGE && intent->kind == &api_volume_kind) {
                        drop_image(agent, intent);
                }
                take_facts(agent, intent, job);
                if (!job->unreachable) {
                        adopted(agent, intent);
                }
                g_free(intent->pending);
                intent->pending = g_steal_pointer(&job->pending);
                requeue(agent, job);
                queue_again(agent, intent, job);
        }
        if (job->unreachable) {
                host_lost(agent);
        }
        job_free(job);
        converge_pump(agent);
}

static void log_turn(const struct job *job, uint64_t begin)
{
        static const char *const results[] = {"done", "retry", "image", "wait", "gone"};
        g_autofree char *us = g_strdup_printf("%" G_GUINT64_FORMAT, clock_monotonic_us(clock_system()) - begin);

        log_debug("turn", "intent", job_key(job).name, "result", results[job->result], "us", us);
}

static int job_work(void *userdata)
{
        uint64_t begin = clock_monotonic_us(clock_system());
        static const struct {
                const struct schema_kind *kind;
                void (*converge)(struct job *job);
        } table[] = {
                {&api_instance_kind, converge_instance},
                {&api_volume_kind, converge_volume},
                {&api_port_kind, converge_port},
                {&api_host_task_kind, converge_task},
        };
        struct job *job = userdata;

        for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
                if (table[i].kind == job->kind) {
                        table[i].converge(job);
                }
        }
        log_turn(job, begin);
        return 0;
}

/* --- turns -----------------------------------------------------------------------------------------------------------------------
 */

static bool able_to_work(const struct agent *agent)
{
        return agent->synced && agent->net_built && agent->host && !agent->stopping;
}

/* Sending a copy of a disk, or receiving one, takes long and waits for the network most of the time: it keeps nothing else from its
 * turn. */
static void begin_job(struct agent *agent, struct intent *intent)
{
        bool apart = (volume_export_is(intent) || volume_is_received(intent)) && !intent->doc->deleted;

        if (apart && agent->exporting >= EXPORTS_MAX) {
                intent = intents_finish(agent->intents, intent);
                if (intent) {
                        intents_queue(agent->intents, intent, EXPORT_AGAIN_US);
                }
                return;
        }
        intent->job = job_new(agent, intent);
        intent->job->apart = apart;
        if (apart) {
                agent->exporting++;
        } else {
                agent->running++;
        }
        loop_pool_submit(apart ? agent->exports : agent->jobs, job_work, job_done, intent->job);
}

void converge_cancel(struct agent *agent, const char *kind, const char *name)
{
        const struct schema_kind *known = intents_kind(kind);
        const struct intent *intent = known && name ? intents_get(agent->intents, known, name) : NULL;

        if (intent && intent->job && intent->doc->deleted) {
                g_atomic_int_set(&intent->job->cancelled, 1);
        }
}

void converge_pump(struct agent *agent)
{
        uint64_t due;

        if (!able_to_work(agent)) {
                return;
        }
        while (agent->running < JOBS_MAX) {
                struct intent *intent = intents_take(agent->intents);

                if (!intent) {
                        break;
                }
                begin_job(agent, intent);
        }
        due = agent->running < JOBS_MAX ? intents_due_us(agent->intents) : UINT64_MAX;
        loop_timer_set(agent->turn_timer, due);
}

void converge_dependents(struct agent *agent, const struct intent *changed)
{
        g_autoptr(GPtrArray) all = intents_list(agent->intents, NULL);
        bool instance = changed->kind == &api_instance_kind;

        for (unsigned i = 0; i < all->len; i++) {
                struct intent *other = all->pdata[i];
                bool concerns = false;

                if (!instance && other->kind == &api_instance_kind) {
                        concerns = names_disk(other->doc->view, changed->name) || names_port(other->doc->view, changed->name);
                } else if (instance && other->kind == &api_volume_kind && other->small) {
                        concerns = names_disk(changed->doc->view, other->name);
                } else if (!instance && other->kind == &api_volume_kind && !other->ready) {
                        concerns = g_strcmp0(copies(other), changed->name) == 0; /* waits for it */
                } else if (!instance && volume_export_is(other) && !other->ready && !other->running) {
                        concerns = g_strcmp0(volume_export_source(other), changed->name) == 0;
                } else if (instance && other->kind == &api_volume_kind && copies(other) && other->failures > 0 &&
                           !other->doc->deleted) {
                        concerns = names_disk(changed->doc->view, copies(other)); /* what hindered the copy may be over */
                } else if (instance && other->doc->deleted && !other->gone) {
                        concerns = (other->kind == &api_volume_kind && names_disk(changed->doc->view, other->name)) ||
                                   (other->kind == &api_port_kind && names_port(changed->doc->view, other->name));
                }
                if (concerns) {
                        intents_queue(agent->intents, other, 0);
                }
        }
}

void converge_publish(struct agent *agent, struct intent *intent)
{
        g_autoptr(json_doc) doc = NULL;
        struct json_value *status;

        if (!intent->status) {
                return;
        }
        doc = json_doc_new();
        status = json_copy(doc, json_root(intent->status));
        if (intent->active && intent->guest) {
                for (const struct json_value *member = json_first(json_root(intent->guest)); member; member = json_next(member)) {
                        json_set(doc, status, json_key(member), json_copy(doc, member));
                }
        }
        reports_set(agent->reports, intent, status);
}

/* --- the network engine as a whole
 * ------------------------------------------------------------------------------------------------ */

struct net_build {
        struct agent *agent;
        GPtrArray *ports; /* struct net_port */
        char *words;
        int outcome;
};

static void free_port(void *port)
{
        net_port_free(port);
}

static int net_build_work(void *userdata)
{
        struct net_build *build = userdata;

        build->outcome = net_engine_rebuild(build->agent->net, (const struct net_port *const *)build->ports->pdata,
                                            build->ports->len, &build->words);
        return 0;
}

static void net_build_done(int result, void *userdata)
{
        struct net_build *build = userdata;
        struct agent *agent = build->agent;

        agent->net_building = false;
        if (result != -ECANCELED) {
                if (build->outcome) {
                        log_error("networks could not all be rebuilt", "error",
                                  build->words ? build->words : g_strerror(-MIN(build->outcome, 0)));
                }
                /* Each port says for itself what is wrong with it. */
                agent->net_built = true;
                converge_pump(agent);
        }
        g_ptr_array_unref(build->ports);
        g_free(build->words);
        g_free(build);
}

void converge_build_net(struct agent *agent)
{
        g_autoptr(GPtrArray) intents = intents_list(agent->intents, &api_port_kind);
        struct net_build *build;

        if (agent->net_built || agent->net_building) {
                return;
        }
        build = g_new0(struct net_build, 1);
        build->agent = agent;
        build->ports = g_ptr_array_new_with_free_func(free_port);
        for (unsigned i = 0; i < intents->len; i++) {
                const struct intent *intent = intents->pdata[i];
                g_autofree char *words = NULL;
                struct net_port *port = port_from_view(intent->doc->view, intent->name, &words);

                if (port) {
                        g_ptr_array_add(build->ports, port);
                }
        }
        agent->net_building = true;
        loop_pool_submit(agent->jobs, net_build_work, net_build_done, build);
}

struct net_drop {
        struct agent *agent;
        char *name, *words;
        int outcome;
};

static int net_drop_work(void *userdata)
{
        struct net_drop *drop = userdata;

        drop->outcome = net_engine_remove(drop->agent->net, drop->name, &drop->words);
        return 0;
}

static void net_drop_done(int result, void *userdata)
{
        struct net_drop *drop = userdata;

        if (drop->outcome) {
                /* The next start of the agent rebuilds without it. */
                log_warning("a port without an intent keeps its rules", "port", drop->name, "error", drop->words);
        }
        g_free(drop->name);
        g_free(drop->words);
        g_free(drop);
}

void converge_drop_port(struct agent *agent, const char *name)
{
        struct net_drop *drop = g_new0(struct net_drop, 1);

        drop->agent = agent;
        drop->name = g_strdup(name);
        loop_pool_submit(agent->jobs, net_drop_work, net_drop_done, drop);
}
