/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/virt.h"
#include "json/json.h"

#include <stddef.h>

/*
 * The guest agent is the guest's program: everything it says is hostile. Replies above LIMIT_GUEST_AGENT_REPLY_BYTES, too deep, or
 * not of the expected shape are refused (VIRT_E_FAILED); texts are cut to bounds, stripped of control characters and valid UTF-8.
 * VIRT_E_STATE: no agent is connected. VIRT_E_TIMEOUT: it does not answer.
 */

/** guest_agent_command() - @command is one JSON object ({"execute":"guest-ping"}); the "return" member is the root of @ret_reply.
 */
int guest_agent_command(struct virt *virt, const char *uuid, const char *command, unsigned timeout_s, struct json_doc **ret_reply,
                        struct virt_error *reterr);

/** guest_agent_reply_parse() - the "return" member of one answer as it came; reads at most LIMIT_GUEST_AGENT_REPLY_BYTES and one
 * byte of @text. 0 or VIRT_E_FAILED. */
int guest_agent_reply_parse(const char *text, struct json_doc **ret_reply, struct virt_error *reterr);

int guest_agent_ping(struct virt *virt, const char *uuid, unsigned timeout_s, struct virt_error *reterr);

/* guest-get-osinfo; members are "" when the guest does not tell. At most 256 bytes each. */
struct guest_os {
        char *id, *kernel_release, *kernel_version, *machine, *name, *pretty_name, *version, *version_id;
};
void guest_os_clear(struct guest_os *os);
/** guest_os_parse() - from the "return" value; any shape is accepted, what does not fit is "". */
void guest_os_parse(const struct json_value *reply, struct guest_os *ret_os);
int guest_agent_os(struct virt *virt, const char *uuid, unsigned timeout_s, struct guest_os *ret_os, struct virt_error *reterr);

/* guest-network-get-interfaces: what the guest claims; compare with the Ports before believing. */
#define GUEST_INTERFACES_MAX 32
#define GUEST_ADDRESSES_MAX  64
struct guest_address {
        char mac[18];  /* lower case; "" for interfaces without one */
        char text[46]; /* canonical, v4 or v6 */
        uint8_t prefix_length;
};
struct guest_addresses {
        struct guest_address items[GUEST_ADDRESSES_MAX]; /* no loopback and no link-local ones */
        size_t n;
};
void guest_addresses_parse(const struct json_value *reply, struct guest_addresses *ret_addresses);
int guest_agent_addresses(struct virt *virt, const char *uuid, unsigned timeout_s, struct guest_addresses *ret_addresses,
                          struct virt_error *reterr);
