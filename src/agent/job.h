/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/core.h"
#include "generated/api_types.h"
#include "generated/reasons.h"

/*
 * One turn of one intent on a pool thread. What it needs is copied in, what it found out is handed back; it touches nothing else of
 * the agent but what is thread-safe.
 */
enum job_result {
        JOB_DONE,  /* until something changes, or again_us */
        JOB_RETRY, /* failed: again after a growing pause */
        JOB_IMAGE, /* a volume needs its image first */
        JOB_WAIT,  /* something else must change first; the loop sees to it */
        JOB_GONE,  /* torn down */
};

struct job_volume {
        const char *name; /* of the intent; in the job's arena */
        bool ready;
        bool empty; /* a CD drive without a medium: there is no volume */
        const char *path, *format;
        /* It shall grow before a domain opens it; 0: it is large enough. */
        uint64_t grow_bytes;
        const char *pool, *file;
        /* Why a domain may not open it now, or NULL. */
        const char *locked;
};

/* What a volume reads from. */
struct job_backing {
        const char *path, *format;
};

/* The volume that a Volume with spec.copy is a copy of. */
struct job_source {
        bool ready;
        bool linked; /* it reads from another volume itself */
        bool fixed;  /* nobody ever writes to it: an image */
        const char *path, *pool, *file, *format;
        struct job_backing *backings; /* linked: nearest first; NULL: they are not all there */
        size_t n_backings;
        const char *busy_by; /* name of a machine that may be opening it now, or NULL */
        const char *words;   /* why it is not ready, as far as its own status says, or NULL */
};

struct job_port {
        struct intent_doc *doc;
        const struct api_port *port;
        bool ready;
        const char *trouble; /* why not, when it failed; in the job's arena */
};

struct job {
        struct agent *agent;
        gint cancelled;        /* atomic: its intent is being deleted */
        bool apart;            /* of the threads of exports */
        struct intent *intent; /* loop thread only */
        const struct schema_kind *kind;
        uint64_t turn;
        struct intent_doc *doc;
        struct arena *arena; /* of the job */

        /* In. */
        struct host *host;
        uint64_t lease_until; /* lease_clock() */
        bool may_start;       /* nothing but the lease forbids it */
        const char *may_not;  /* reason why not */
        unsigned failures;    /* in a row before this turn */
        struct stop_progress stop;
        struct space_progress space;
        struct unplug_progress unplug;  /* Instance, in and out */
        struct unplug_progress balloon; /* the same: memory that a guest was asked for */
        struct job_volume *volumes;     /* Instance: in the order of its disks */
        struct job_port *ports;         /* Instance: in the order of its ports */
        size_t n_volumes, n_ports;
        const char *image_path;                       /* Volume */
        const struct job_source *source;              /* Volume: what it is a copy of; NULL: it is none, or that is not here */
        const struct api_volume_copied *known_copied; /* Volume: as far as this run of the agent knows */
        const char *known_path; /* Volume: where it was when it was complete, as far as this run of the agent knows */
        const struct api_instance_status *told; /* Instance: the newest status, this run's or the gateway's; NULL: none */
        bool was_ready;                         /* HostTask: it was done by this run of the agent */
        int64_t known_epoch; /* Instance: the last one that ran, as far as this run of the agent knows; -1: none */
        bool known_active;   /* Instance: its domain ran when it was looked at last */
        bool compare;        /* Instance: its definition is due for a look */
        const char *used_by; /* Volume: name of an Instance that names it and is not gone, or NULL */
        const char *busy_by; /* Volume: name of the machine whose Instance has a job now and does not run, or NULL */

        const char *instance_uuid;     /* HostTask of type MeasureMachine: of the domain; NULL: its Instance is not here */
        struct inspection *inspection; /* HostTask of type Inspect or Repair: what it compares with */

        struct json_doc *told_json; /* owns what told borrows, when it is this run's */

        /* Out. */
        enum job_result result;
        uint64_t again_us; /* with JOB_DONE and JOB_WAIT: look again after; 0: not by time */
        bool ready;
        const char *path, *format;              /* Volume */
        bool small;                             /* Volume: it could not grow yet */
        const struct api_volume_copied *copied; /* Volume */
        bool active;                            /* Instance: its domain runs */
        int64_t ran_epoch;                      /* Instance: the last one that ran; -1: none */
        char *pending;                          /* HostTask of type Inspect: what the first look found */
        GStrvBuilder *requeue;                  /* HostTask of type Repair: keys of intents to take up anew */
        bool compared;                          /* Instance: its definition was looked at */
        const char *tolerated;                  /* Instance, in and out: a difference that stays, or NULL */
        bool unreachable;                       /* libvirt could not be reached */
        bool full;                              /* a pool had no space left */
        struct json_doc *status;
};

/* Status of each kind, from a view; the last call counts. */
void job_status(struct job *job, const struct schema_type *type, const void *view);
/** job_progress() - tell a status while the job goes on. */
void job_progress(struct job *job, const struct schema_type *type, const void *view);
/** job_error() - an IntentError in the job's arena. */
struct api_intent_error *job_error(struct job *job, const char *reason, const char *format, ...) G_GNUC_PRINTF(3, 4);
/** job_virt_error() - the same from an outcome of src/virt; notes when libvirt was unreachable. */
struct api_intent_error *job_virt_error(struct job *job, const char *otherwise, int outcome, const struct virt_error *error);
struct journal_key job_key(const struct job *job);
/** job_pass() - tell that a @place of @step was passed (base/steps.h): 0, or -errno: the step is to fail. */
int job_pass(const struct job *job, const char *step, const char *place);
/** job_is_cancelled() - long work is to end: nobody wants it any more, or the agent ends. */
bool job_is_cancelled(const struct job *job);
/** job_time() - a time from now in the job's arena, as statuses carry it. */
const char *job_time(struct job *job, uint64_t from_now_us);
/** job_now() - the time in the job's arena, as statuses carry it. */
const char *job_now(struct job *job);

void converge_instance(struct job *job);
void converge_volume(struct job *job);
void converge_port(struct job *job);
void converge_task(struct job *job);

/* --- instance_domain.c: what the domain shall be ---------------------------------------------------------------------------------
 */

/** instance_takes() - whether the domain is started with a disk of its Instance: one that was attached waits for no volume. */
bool instance_takes(const struct api_instance_disk *disk, const struct job_volume *volume);

/** instance_drive() - the name that a disk of the Instance has in the domain: that of its drive. */
const char *instance_drive(const struct api_instance_disk *disk);

/** instance_has_attachments() - whether a disk came by an attachment, or an interface while the domain ran. */
bool instance_has_attachments(const struct api_instance_spec *spec);

/** instance_port_leaves() - whether the interface of @port shall be taken from the running domain. */
bool instance_port_leaves(const struct api_instance_spec *spec, const char *port);
/** instance_link_is_down() - whether the link of the interface of @port shall be down. */
bool instance_link_is_down(const struct api_instance_spec *spec, const char *port);

/** instance_uuid() - of the domain: the recorded one, else the machine's uid. */
const char *instance_uuid(const struct api_instance *instance);

/**
 * instance_domain() - the domain of an Instance on this host, completed; all of it in the job's arena
 * @seed_path: image for the seed drive, or NULL for an empty drive (when the Instance has a seed at all)
 *
 * Return: 0 or VIRT_E_INVALID.
 */
int instance_domain(struct job *job, const struct api_instance *instance, const char *seed_path, int64_t epoch,
                    struct virt_domain *ret_domain, struct virt_error *reterr);

/** port_from_view() - the port as the network engine takes it, or NULL with @reterr_words (g_free). */
struct net_port *port_from_view(const struct api_port *port, const char *name, char **reterr_words);
