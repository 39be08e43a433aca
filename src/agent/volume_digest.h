/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/job.h"

/** volume_digest() - the SHA-256 of a whole file as hex, in the job's arena; NULL with errno set: it could not be read, or
 * (ECANCELED) nobody wants it any more. @progress: called often, may be NULL. */
const char *volume_digest(struct job *job, int fd, uint64_t *ret_bytes, void (*progress)(uint64_t done, void *userdata),
                          void *userdata);

/** converge_digest() - a HostTask of type DigestVolume. */
void converge_digest(struct job *job, const struct api_host_task *task);
