/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/guest_agent.h"

#include "base/address.h"
#include "base/clock.h"
#include "base/limits.h"
#include "virt/domains.h"
#include "virt/virt_internal.h"

#include <assert.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>
#include <string.h>

#define GUEST_TEXT_MAX 256
#define UNREADABLE     "the guest agent's answer is too long, too deep or not JSON"

int guest_agent_reply_parse(const char *text, struct json_doc **ret_reply, struct virt_error *reterr)
{
        assert(text && ret_reply);

        size_t len = strnlen(text, LIMIT_GUEST_AGENT_REPLY_BYTES + 1);
        g_autoptr(json_doc) doc = NULL;
        struct json_value *value;

        if (len > LIMIT_GUEST_AGENT_REPLY_BYTES || json_parse(text, len, &doc, NULL))
                return virt_say(reterr, VIRT_E_FAILED, "AgentNotReady", UNREADABLE);
        value = json_get(json_root(doc), "return");
        if (!value)
                return virt_say(reterr, VIRT_E_FAILED, "AgentNotReady", "the guest agent refused the request");
        json_set_root(doc, json_copy(doc, value));
        *ret_reply = g_steal_pointer(&doc);
        return 0;
}

int guest_agent_command(struct virt *virt, const char *uuid, const char *command, unsigned timeout_s, struct json_doc **ret_reply,
                        struct virt_error *reterr)
{
        AUTO_CONNECTION connection = virt_use(virt, VIRT_QUERIES, reterr);
        AUTO_DOMAIN domain = NULL;
        AUTO_TEXT metadata = NULL;
        AUTO_TEXT reply = NULL;
        gint64 begun_us;
        int r;

        assert(uuid && command && timeout_s && ret_reply);

        if (!connection)
                return VIRT_E_UNREACHABLE;
        if (!uuid_valid(uuid))
                return virt_say(reterr, VIRT_E_INVALID, "ValidationFailed", "not a UUID");
        domain = virDomainLookupByUUIDString(connection, uuid);
        if (!domain)
                return virt_fail(reterr, "DomainLost");
        metadata = virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, VIRT_METADATA_URI, 0);
        if (!metadata)
                return virt_say(reterr, VIRT_E_MISSING, "DomainLost", "there is no domain %s of ours", uuid);
        begun_us = g_get_monotonic_time();
        reply = virDomainQemuAgentCommand(domain, command, (int)timeout_s, 0);
        if (reply)
                return guest_agent_reply_parse(reply, ret_reply, reterr);
        r = virt_fail(reterr, "AgentNotReady");
        /* What libvirt cannot read it gives back word for word. */
        if (r == VIRT_E_FAILED && reterr->domain == VIR_FROM_NONE)
                return virt_say(reterr, r, "AgentNotReady", UNREADABLE);
        /* One code for an agent that is not there and for one that does not answer. */
        return r == VIRT_E_STATE && g_get_monotonic_time() - begun_us >= timeout_s * G_USEC_PER_SEC ? VIRT_E_TIMEOUT : r;
}

int guest_agent_ping(struct virt *virt, const char *uuid, unsigned timeout_s, struct virt_error *reterr)
{
        g_autoptr(json_doc) reply = NULL;

        return guest_agent_command(virt, uuid, "{\"execute\":\"guest-ping\"}", timeout_s, &reply, reterr);
}

/* --- what the guest tells of itself
 * ------------------------------------------------------------------------------------------------------- */

void guest_os_clear(struct guest_os *os)
{
        g_free(os->id);
        g_free(os->kernel_release);
        g_free(os->kernel_version);
        g_free(os->machine);
        g_free(os->name);
        g_free(os->pretty_name);
        g_free(os->version);
        g_free(os->version_id);
        *os = (struct guest_os){};
}

static char *guest_text(const struct json_value *reply, const char *key)
{
        return virt_clean_text(json_string(json_get(reply, key), ""), GUEST_TEXT_MAX);
}

void guest_os_parse(const struct json_value *reply, struct guest_os *ret_os)
{
        assert(ret_os);

        *ret_os = (struct guest_os){
                .id = guest_text(reply, "id"),
                .kernel_release = guest_text(reply, "kernel-release"),
                .kernel_version = guest_text(reply, "kernel-version"),
                .machine = guest_text(reply, "machine"),
                .name = guest_text(reply, "name"),
                .pretty_name = guest_text(reply, "pretty-name"),
                .version = guest_text(reply, "version"),
                .version_id = guest_text(reply, "version-id"),
        };
}

int guest_agent_os(struct virt *virt, const char *uuid, unsigned timeout_s, struct guest_os *ret_os, struct virt_error *reterr)
{
        g_autoptr(json_doc) reply = NULL;
        int r = guest_agent_command(virt, uuid, "{\"execute\":\"guest-get-osinfo\"}", timeout_s, &reply, reterr);

        if (!r)
                guest_os_parse(json_root(reply), ret_os);
        return r;
}

/* Loopback, link-local, multicast and unspecified addresses say nothing about how to reach a guest. */
static bool is_useful(const struct address *address)
{
        const uint8_t *b = address->bytes;

        if (address->family == 4)
                return b[0] && b[0] != 127 && b[0] < 224 && !(b[0] == 169 && b[1] == 254);
        return b[0] != 0xff && !(b[0] == 0xfe && (b[1] & 0xc0) == 0x80) && (b[0] || b[1]);
}

static void add_address(const struct json_value *item, const char *mac, struct guest_addresses *addresses)
{
        const char *text = json_find_string(item, "ip-address", NULL);
        struct guest_address *entry = &addresses->items[addresses->n];
        struct address address;
        int64_t prefix = 0;

        if (addresses->n == GUEST_ADDRESSES_MAX || !text || address_parse(text, &address) < 0 || !is_useful(&address))
                return;
        (void)json_int64(json_get(item, "prefix"), &prefix); /* absent or nonsense reads as 0 */
        *entry = (struct guest_address){.prefix_length = prefix > 0 && prefix <= 128 ? (uint8_t)prefix : 0};
        address_format(&address, entry->text);
        if (mac && mac_valid(mac))
                for (size_t i = 0; mac[i]; i++)
                        entry->mac[i] = g_ascii_tolower(mac[i]);
        addresses->n++;
}

void guest_addresses_parse(const struct json_value *reply, struct guest_addresses *ret_addresses)
{
        unsigned interfaces = 0;

        assert(ret_addresses);

        *ret_addresses = (struct guest_addresses){};
        if (!json_is(reply, JSON_ARRAY))
                return;
        for (const struct json_value *it = json_first(reply); it && interfaces < GUEST_INTERFACES_MAX; it = json_next(it)) {
                const struct json_value *list = json_get(it, "ip-addresses");
                const char *mac = json_find_string(it, "hardware-address", NULL);

                interfaces++;
                if (!json_is(list, JSON_ARRAY))
                        continue;
                for (const struct json_value *item = json_first(list); item; item = json_next(item))
                        add_address(item, mac, ret_addresses);
        }
}

int guest_agent_addresses(struct virt *virt, const char *uuid, unsigned timeout_s, struct guest_addresses *ret_addresses,
                          struct virt_error *reterr)
{
        g_autoptr(json_doc) reply = NULL;
        int r = guest_agent_command(virt, uuid, "{\"execute\":\"guest-network-get-interfaces\"}", timeout_s, &reply, reterr);

        if (!r)
                guest_addresses_parse(json_root(reply), ret_addresses);
        return r;
}
