/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "gateway/blobs.h"
#include "gateway/gateway.h"
#include "gateway/transfer_rate.h"

/*
 * What uploads and imports tell of an image or disk: status.ingest {progressPercent, digest, sizeBytes, virtualSizeBytes, format,
 * error{reason, message}}, and how fast it comes. The image and disk controllers make phase and conditions of it.
 */

/* The object that bytes are taken in for. */
struct ingest_target {
        const struct schema_kind *kind;
        char *namespace, *name, *uid;
};
void ingest_target_set(struct ingest_target *target, const struct store_object *object);
void ingest_target_clear(struct ingest_target *target);

/** ingest_report_progress() - 0..100, and status.downloadSpeed (@rate NULL: it stays); at most what changed is written. */
void ingest_report_progress(struct gateway *gateway, const struct ingest_target *target, int percent,
                            const struct transfer_rate *rate);
/** ingest_report_none() - an attempt was given up: as if there had been none. */
void ingest_report_none(struct gateway *gateway, const struct ingest_target *target);
/** ingest_room() - bytes that the file may have by the quotas of its project; @ret_quota: the tightest, borrowed for the turn. */
uint64_t ingest_room(const struct gateway *gateway, const struct ingest_target *target, const char **ret_quota);
/** ingest_over_quota() - why a file of @bytes may not come, or NULL; g_free(). */
char *ingest_over_quota(const struct gateway *gateway, const struct ingest_target *target, uint64_t bytes);
/** ingest_no_room() - the same of a file whose size nobody knows: it came to where the room ends. g_free(). */
char *ingest_no_room(const struct gateway *gateway, const struct ingest_target *target);
/** ingest_report_facts() / ingest_report_fault() - the end. An object that is gone meanwhile is no fault. @done as objects_edit().
 *  A file that a quota has no room for is a fault of its own: -EDQUOT. */
int ingest_report_facts(struct gateway *gateway, const struct ingest_target *target, const struct blob_facts *facts,
                        store_done_fn done, void *userdata);
int ingest_report_fault(struct gateway *gateway, const struct ingest_target *target, const char *reason, const char *message);

/* Which kinds can be filled, NULL-terminated. */
extern const struct schema_kind *const ingest_kinds[];

/** uploads_init() - the subresource "upload" of images and disks: PUT or POST of the bytes, ?sha256= of them. */
void uploads_init(struct gateway *gateway);
/** uploads_start() - once half uploads are known: objects that still tell of a plain upload, which a kill broke off, wait again. */
void uploads_start(struct gateway *gateway);
/** uploads_stop() - what is unpacked ends now: before gateway->pool goes. NULL is accepted. */
void uploads_stop(struct uploads *uploads);
struct uploads *uploads_free(struct uploads *uploads);
/** uploads_why_not() - why bytes cannot be sent for @object now, in words; NULL: they can. */
const char *uploads_why_not(const struct gateway *gateway, const struct store_object *object);

/** resumable_init() - uploads in pieces by tus 1.0: GET of the subresource "upload" tells the address; /uploads/v1/ takes them.
 * What there was before a restart is there again. 0 or -errno. */
int resumable_init(struct gateway *gateway);
/** resumable_start() - finish what is complete, remove what has expired, now and from time to time. 0 or -errno. */
int resumable_start(struct gateway *gateway);
/** resumable_stop() - after the HTTP server is gone, before the store and gateway->pool go. NULL is accepted. */
void resumable_stop(struct resumable *resumable);
struct resumable *resumable_free(struct resumable *resumable);
/** resumable_is_busy() - whether bytes come, or are looked at, for the object with this uid. */
bool resumable_is_busy(const struct gateway *gateway, const char *uid);
/** resumable_has() - whether there is a half upload for it that can be gone on with. */
bool resumable_has(const struct gateway *gateway, const char *uid);

/** imports_init() - follow images and disks whose source is a URL, and fetch what is missing. */
int imports_init(struct gateway *gateway);
struct imports *imports_free(struct imports *imports);

/** library_init() - keep the files of the image folder in line with the ImageBlob objects. */
int library_init(struct gateway *gateway);
struct library *library_free(struct library *library);
/** library_release() - a file was taken in for an object that is gone: it goes too, unless something else has the same bytes. */
void library_release(struct gateway *gateway, const char *digest);
