/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/job.h"
#include "virt/census.h"

/*
 * The doctor's eyes on a host: libvirt, files, interfaces, rules and processes are read afresh and compared with the intents that
 * are bound to this node. Each check is one row of a table (inspect.c); each code that can be put right is one row of another
 * (inspect_repair.c). All of it runs on pool threads.
 */

#define INSPECT_FINDINGS_MAX 100
#define INSPECT_EVIDENCE_MAX 8

/* One intent as the loop knew it when the look began. */
struct inspect_intent {
        const struct schema_kind *kind;
        struct intent_doc *doc;
        char *name, *uid, *path;
        struct json_doc *status;
        bool busy; /* changed just now, being worked on, or going */
};

/* What a look compares with; made on the loop thread, read by one job. */
struct inspection {
        GPtrArray *intents; /* struct inspect_intent, owned */
        char *pending;      /* keys of the findings of the first look, one a line; NULL: this is the first */
};
struct inspection *inspection_gather(struct agent *agent, const struct intent *task);
struct inspection *inspection_free(struct inspection *inspection);

/* One look. */
struct inspect {
        struct job *job;
        struct agent *agent;
        struct arena *arena;
        const struct inspection *known;
        struct virt_census *census; /* NULL: libvirt could not be asked */
        GPtrArray *findings;        /* struct api_host_finding, in the arena */
        GPtrArray *unnamed;         /* those whose subject is not the exact name of the thing: they get no fix */
        GPtrArray *unlooked;        /* words, in the arena */
        unsigned in_progress;
        GHashTable *told;    /* struct inspect_intent -> its status, decoded once */
        GHashTable *holders; /* tap -> pid of the process that has it open; NULL: not looked at yet */
};

/** inspect_found() - a new finding; @severity: "Critical", "Warning" or "Note". */
struct api_host_finding *inspect_found(struct inspect *inspect, const char *code, const char *severity, const char *format, ...)
        G_GNUC_PRINTF(4, 5);
void inspect_evidence(struct inspect *inspect, struct api_host_finding *finding, const char *format, ...) G_GNUC_PRINTF(3, 4);
/** inspect_fix() - what a repair would do; only for codes that inspect_repair.c knows. */
void inspect_fix(struct inspect *inspect, struct api_host_finding *finding, const char *format, ...) G_GNUC_PRINTF(3, 4);
void inspect_unlooked(struct inspect *inspect, const char *format, ...) G_GNUC_PRINTF(2, 3);
/** inspect_later() - a thing that does not fit and whose intent is being worked on. */
void inspect_later(struct inspect *inspect);
/** inspect_intent_uid() - the intent of a UID (@kind NULL: any), or NULL. */
const struct inspect_intent *inspect_intent_uid(const struct inspect *inspect, const struct schema_kind *kind, const char *uid);
/** inspect_tap() - the Port with this tap, or NULL. */
const struct inspect_intent *inspect_tap(const struct inspect *inspect, const char *tap);
/** inspect_told() - the status of an intent as it was told last, decoded; NULL: none. */
const void *inspect_told(struct inspect *inspect, const struct inspect_intent *intent);

/* Processes, read from /proc once for each call. */
struct inspect_process {
        int pid;
        char **arguments; /* in the order of the command line */
};
/** inspect_processes() - those whose program's name begins with @program; the array owns them. */
GPtrArray *inspect_processes(const char *program);
/** inspect_argument() - the argument behind @option ("-uuid"), or NULL. */
const char *inspect_argument(const struct inspect_process *process, const char *option);

/* The checks, each adds findings. */
void inspect_domains(struct inspect *inspect);
void inspect_qemu(struct inspect *inspect);
void inspect_cgroups(struct inspect *inspect);
void inspect_pools(struct inspect *inspect);
void inspect_seeds(struct inspect *inspect);
void inspect_journal(struct inspect *inspect);
void inspect_images(struct inspect *inspect);
void inspect_links(struct inspect *inspect);
void inspect_rules(struct inspect *inspect);
void inspect_dhcp(struct inspect *inspect);

/** inspect_look() - all checks, or only the one that can find @code. The caller clears it. */
void inspect_look(struct inspect *inspect, struct job *job, const char *code);
void inspect_clear(struct inspect *inspect);

/** converge_inspect() - a HostTask of type Inspect: two looks some seconds apart, what both found goes into the status. */
void converge_inspect(struct job *job, const struct api_host_task *task);
/** converge_repair() - a HostTask of type Repair: each finding is looked for again right before it is put right. */
void converge_repair(struct job *job, const struct api_host_task *task);
/** repair_safe() - why the repair of a code harms nobody; NULL: no repair is known. */
const char *repair_safe(const char *code);
/** repair_finding() - put right what was found just now; words (g_free) of what was done or why not. 0, REPAIR_E_REFUSED,
 * REPAIR_E_FAILED. */
enum { REPAIR_E_REFUSED = 1, REPAIR_E_FAILED };
int repair_finding(struct inspect *inspect, const struct api_host_finding *finding, char **ret_words);
