/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "gateway/tus.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Half uploads on the disk, beside the blobs: DATA/blobs/uploads/ID.record (JSON, replaced whole), ID.part (the bytes) and ID.mark.
 * All calls block, and are for pool threads; one upload is used by one thread at a time.
 *
 * The length of ID.part is how far the upload is: bytes are only ever added, and written before anybody is told that they are
 * there. That outlives any end of the program. A piece that its request ended is synced together with those that follow it: the
 * mark holds how far the file was synced, and in which life of the host; in the next one no more than that counts. A request with a
 * checksum counts as a whole or not at all and is synced at its end, and the mark also holds how far the bytes are vouched for.
 */
struct staging; /* the folder */

/** staging_new() - make the folder; @boot tells this start of the host from others. 0 or -errno. */
int staging_new(const char *data_dir, const char *boot, struct staging **ret_staging);
struct staging *staging_free(struct staging *staging);
/** staging_each() - every record; what belongs to none is removed. @each gets the text as it was written. 0 or -errno. */
int staging_each(struct staging *staging, void (*each)(const char *id, const char *record, size_t len, void *userdata),
                 void *userdata);
/** staging_record() - write or replace the record of @id, durably; with @drop the bytes go after that. 0 or -errno. */
int staging_record(struct staging *staging, const char *id, const char *record, bool drop);
/** staging_drop() - remove the bytes of @id; its record stays. */
void staging_drop(struct staging *staging, const char *id);
/** staging_forget() - remove the record and all. */
void staging_forget(struct staging *staging, const char *id);

struct staged;
/** staged_open() - the bytes of @id, made when absent; what is there is durable after it. 0 or -errno. */
int staged_open(struct staging *staging, const char *id, struct staged **ret_staged);
struct staged *staged_free(struct staged *staged);
const char *staged_path(const struct staged *staged);
/** staged_offset() - bytes that are there. */
uint64_t staged_offset(const struct staged *staged);
/** staged_touched_us() - real time when bytes came last (or it was made). */
uint64_t staged_touched_us(const struct staged *staged);

/** staged_begin() - a request begins; @checksum: of its bytes, or NULL. 0 or -errno. */
int staged_begin(struct staged *staged, const struct tus_checksum *checksum);
/** staged_write() - add bytes. 0 or -errno; some of them may have been added then. */
int staged_write(struct staged *staged, const void *data, size_t len);
/* staged_settle() outcome: */
enum { STAGED_E_CHECKSUM = 1 };
bool staged_is_synced(const struct staged *staged);
/** staged_sync() - what is there is durable. 0, or -errno: only what was durable before counts. */
int staged_sync(struct staged *staged);
/**
 * staged_settle() - the end of a request: what came counts. It is durable when it had a checksum, or was cut short, or when much
 *                   has come since the last sync
 * @whole: all of the request came; otherwise nothing of one with a checksum counts
 * @nothing: nothing of this request counts, whatever came of it
 * @more: it is not the last one
 *
 * Return: 0, STAGED_E_CHECKSUM (nothing of it counts), or -errno: only what was durable before counts.
 */
int staged_settle(struct staged *staged, bool whole, bool nothing, bool more);

/** staged_catch_up() - hash up to @max_bytes of what is there and not hashed yet (after a restart). 0 or -errno. */
int staged_catch_up(struct staged *staged, uint64_t max_bytes);
bool staged_is_hashed(const struct staged *staged);
/** staged_digest() - SHA-256 of all bytes as hex into @ret_text[65]; all are hashed. 0 or -EIO. */
int staged_digest(const struct staged *staged, char *ret_text);
