/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/virt.h"
#include "json/json.h"

/* What a guest does when its agent is told to. Outcomes as guest_agent_command(). */

/** guest_set_password() - of a user of the guest. @hashed: it is crypt(3)'s word, not the password. What is sent is wiped. */
int guest_set_password(struct virt *virt, const char *uuid, const char *user, const char *password, bool hashed,
                       struct virt_error *reterr);

/** guest_set_time() - its clock, as that of this host is now. */
int guest_set_time(struct virt *virt, const char *uuid, struct virt_error *reterr);

/** guest_freeze() - its file systems, after what it has in memory was written; @ret_n: how many. Whatever it answers, and when it
 * does not answer at all, it may be frozen afterwards: guest_thaw(); but for VIRT_E_STATE, VIRT_E_MISSING and VIRT_E_UNREACHABLE:
 * it was not told. */
int guest_freeze(struct virt *virt, const char *uuid, unsigned timeout_s, int64_t *ret_n, struct virt_error *reterr);
/** guest_thaw() - also of a guest that is not frozen. */
int guest_thaw(struct virt *virt, const char *uuid, unsigned timeout_s, struct virt_error *reterr);

/** guest_tell() - all that a guest tells of itself, as an object in @doc: agentVersion, hostName, timezone, os, users, filesystems,
 * interfaces; what it does not tell is absent. Texts are plain and bounded. VIRT_E_* when not even its version comes. */
int guest_tell(struct virt *virt, const char *uuid, struct json_doc *doc, struct json_value **ret_value, struct virt_error *reterr);

/* guest_tell() of replies, the "return" values; each may be NULL. */
struct guest_replies {
        const struct json_value *info, *host_name, *timezone, *os, *users, *filesystems, *interfaces;
};
#define GUEST_LIST_MAX 64
struct json_value *guest_replies_tell(const struct guest_replies *replies, struct json_doc *doc);
