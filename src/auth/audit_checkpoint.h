/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "auth/audit_chain.h"

#include <stdint.h>

/* What is known to be in an audit log, kept in a file beside it: the chain alone does not show that its last lines are gone. */
struct audit_checkpoint {
        uint64_t lines, bytes;
        char digest[AUDIT_DIGEST_SIZE]; /* of the last of these lines */
};

/** audit_checkpoint_path() - of the log @path; g_free(). */
char *audit_checkpoint_path(const char *path);

/** audit_checkpoint_write() - durably replace the file @path; 0 or -errno. */
int audit_checkpoint_write(const char *path, const struct audit_checkpoint *checkpoint);

/** audit_checkpoint_read() - 0, -ENOENT, -EBADMSG when it is no checkpoint, or another -errno. */
int audit_checkpoint_read(const char *path, struct audit_checkpoint *ret_checkpoint);

/* audit_checkpoint_judge() outcomes */
enum { AUDIT_E_CUT = 1, AUDIT_E_CHANGED };

/** audit_checkpoint_judge() - whether the log @fd of @size bytes still holds the lines up to the checkpoint: 0, AUDIT_E_CUT (it is
 *  shorter), AUDIT_E_CHANGED (another line ends there), or -errno. */
int audit_checkpoint_judge(int fd, uint64_t size, const struct audit_checkpoint *checkpoint);

/** audit_checkpoint_count() - the lines of the log @fd from byte @from to @to; 0 or -errno. */
int audit_checkpoint_count(int fd, uint64_t from, uint64_t to, uint64_t *ret_lines);
