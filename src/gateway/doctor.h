/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "controllers/doctor/doctor.h"
#include "gateway/gateway.h"

/*
 * What `gabbro doctor` asks for. A run is a label on the HostTasks that it made, one for each node; a gateway remembers nothing of
 * it, so that any gateway can answer. The store's part is looked at afresh with every answer.
 *
 *   POST /admin/v1/doctor               {"node":NAME}?  makes the tasks        -> {"run":ID, ...report}
 *   GET  /admin/v1/doctor/ID                            how far, and what was found -> report
 *   POST /admin/v1/doctor/ID/repair     {"findings":[{"source","code","subject"}]}  -> {"run":ID2, "repairs":[...], ...}
 *
 * report: {"nodes":[{"name","task","state","step","progressPercent"}], "findings":[{"source":"store" or "node/NAME", "code",
 * "severity", "subject", "object", "evidence", "fix", "safe", "undo", "resourceVersion"}], "repairs":[...], "unlooked":[...],
 * "inProgress":N, "cutOff":N}. ?verify=true: the content of the image library is read and compared with its digests.
 */

/* Files of this gateway, read on a pool thread. */
struct doctor_files {
        GPtrArray *blobs;     /* struct doctor_blob, owned */
        GPtrArray *uploads;   /* the same of the folder of half uploads */
        int audit_line;       /* the first that breaks the chain; 0: none; < 0: -errno */
        int blobs_error;      /* 0 or -errno */
        uint64_t audit_lines; /* how many were looked at */
};
struct doctor_blob {
        char *name, *path;
        uint64_t bytes, changed_us;
        bool intake;  /* an upload that is not finished */
        char *sha256; /* of what it holds; NULL: not read */
};
#define DOCTOR_INTAKE_REST_US 3600000000ull /* a file that comes and has not grown for so long has ended */

/** doctor_files_read() - @verify: read their content too. On a pool thread. */
void doctor_files_read(struct gateway *gateway, bool verify, struct doctor_files *ret_files);
void doctor_files_clear(struct doctor_files *files);

/* A report under construction. */
struct doctor_answer {
        struct gateway *gateway;
        struct json_doc *doc;
        struct json_value *root, *findings, *unlooked;
        int64_t in_progress, cut_off;
};

/** doctor_add_finding() - one more; what is not said yet is added by the caller. */
struct json_value *doctor_add_finding(struct doctor_answer *answer, const char *source, const char *code, const char *severity,
                                      const char *subject);
void doctor_add_evidence(struct doctor_answer *answer, struct json_value *finding, const char *format, ...) G_GNUC_PRINTF(3, 4);

/** doctor_add_store() - findings of the replica. */
void doctor_add_store(struct doctor_answer *answer, const struct doctor_report *report);
/** doctor_add_files() - files of this gateway against the objects, and the audit log. */
void doctor_add_files(struct doctor_answer *answer, const struct doctor_files *files);
/** doctor_add_uploads() - half uploads, each with its age and end, and files that belong to none. */
void doctor_add_uploads(struct doctor_answer *answer, const struct doctor_files *files);
/** doctor_add_host() - what the Inspect task of a node found; what the store knows better is said so. */
void doctor_add_host(struct doctor_answer *answer, const struct cache_object *task);
/** doctor_host_finding() - the finding of a task that a repair may be asked for: it is there, has a fix, and the store agrees. */
bool doctor_host_finding(struct gateway *gateway, const struct cache_object *task, const char *code, const char *subject);
/** doctor_repair_blob() - move a file that no image names aside; words (g_free). 0 or -errno. */
int doctor_repair_blob(struct gateway *gateway, const struct doctor_files *files, const char *subject, char **ret_words);
/** doctor_repair_upload() - end a half upload that nobody can go on with, or move a file that belongs to none aside; likewise. */
int doctor_repair_upload(struct gateway *gateway, const struct doctor_files *files, const char *subject, char **ret_words);
/** doctor_move_aside() - to blobs/lost+found; likewise. */
int doctor_move_aside(struct gateway *gateway, const struct doctor_blob *file, char **ret_words);
