/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/guest_orders.h"

#include "virt/guest_agent.h"
#include "virt/virt_internal.h"

#include <assert.h>
#include <string.h>

#define ANSWER_S   5
#define PASSWORD_S 15
#define TEXT_MAX   256

/* --- orders
 * ----------------------------------------------------------------------------------------------------------------------------------
 */

static void append_text(GString *command, const char *text)
{
        json_write_string(text, strlen(text), command);
}

int guest_set_password(struct virt *virt, const char *uuid, const char *user, const char *password, bool hashed,
                       struct virt_error *reterr)
{
        /* Sized at once: a text that grew would leave copies behind. */
        g_autoptr(GString) command = g_string_sized_new(2 * strlen(password) + 6 * strlen(user) + 256);
        char *coded = g_base64_encode((const guchar *)password, strlen(password));
        g_autoptr(json_doc) reply = NULL;
        int r;

        assert(virt && uuid && user && password && reterr);

        g_string_append(command, "{\"execute\":\"guest-set-user-password\",\"arguments\":{\"username\":");
        append_text(command, user);
        g_string_append_printf(command, ",\"crypted\":%s,\"password\":\"", hashed ? "true" : "false");
        g_string_append(command, coded);
        g_string_append(command, "\"}}");
        explicit_bzero(coded, strlen(coded));
        g_free(coded);
        r = guest_agent_command(virt, uuid, command->str, PASSWORD_S, &reply, reterr);
        explicit_bzero(command->str, command->len);
        return r;
}

int guest_set_time(struct virt *virt, const char *uuid, struct virt_error *reterr)
{
        g_autofree char *command = g_strdup_printf("{\"execute\":\"guest-set-time\",\"arguments\":{\"time\":%" G_GINT64_FORMAT "}}",
                                                   g_get_real_time() * 1000);
        g_autoptr(json_doc) reply = NULL;

        assert(virt && uuid && reterr);
        return guest_agent_command(virt, uuid, command, ANSWER_S, &reply, reterr);
}

int guest_freeze(struct virt *virt, const char *uuid, unsigned timeout_s, int64_t *ret_n, struct virt_error *reterr)
{
        g_autoptr(json_doc) reply = NULL;
        int r;

        assert(virt && uuid && ret_n && reterr);

        r = guest_agent_ping(virt, uuid, ANSWER_S, reterr);
        if (r)
                return r;
        r = guest_agent_command(virt, uuid, "{\"execute\":\"guest-fsfreeze-freeze\"}", timeout_s, &reply, reterr);
        if (r == VIRT_E_STATE)
                r = VIRT_E_TIMEOUT; /* libvirt says the same of an agent that is not there and of one that went while it was told */
        if (!r && json_int64(json_root(reply), ret_n))
                r = virt_say(reterr, VIRT_E_FAILED, "AgentNotReady", "the guest agent did not say what it has frozen");
        return r;
}

int guest_thaw(struct virt *virt, const char *uuid, unsigned timeout_s, struct virt_error *reterr)
{
        g_autoptr(json_doc) reply = NULL;

        assert(virt && uuid && reterr);
        return guest_agent_command(virt, uuid, "{\"execute\":\"guest-fsfreeze-thaw\"}", timeout_s, &reply, reterr);
}

/* --- what it tells
 * --------------------------------------------------------------------------------------------------------------------------- */

static void copy_text(struct json_doc *doc, struct json_value *to, const char *key, const struct json_value *from, const char *name)
{
        const char *text = json_string(json_get(from, name), NULL);
        g_autofree char *clean = text ? virt_clean_text(text, TEXT_MAX) : NULL;

        if (clean && *clean)
                json_set_string(doc, to, key, clean);
}

static void copy_int(struct json_doc *doc, struct json_value *to, const char *key, const struct json_value *from, const char *name)
{
        int64_t number;

        if (json_int64(json_get(from, name), &number) == 0 && number >= 0)
                json_set_int(doc, to, key, number);
}

static void tell_user(struct json_doc *doc, struct json_value *to, const struct json_value *from)
{
        double since;

        copy_text(doc, to, "name", from, "user");
        copy_text(doc, to, "domain", from, "domain");
        if (json_double(json_get(from, "login-time"), &since) == 0 && since > 0 && since < 1e11)
                json_set_int(doc, to, "loginSeconds", (int64_t)since);
}

static void tell_filesystem(struct json_doc *doc, struct json_value *to, const struct json_value *from)
{
        copy_text(doc, to, "device", from, "name");
        copy_text(doc, to, "mountPoint", from, "mountpoint");
        copy_text(doc, to, "type", from, "type");
        copy_int(doc, to, "totalBytes", from, "total-bytes");
        copy_int(doc, to, "usedBytes", from, "used-bytes");
}

static void tell_interface(struct json_doc *doc, struct json_value *to, const struct json_value *from)
{
        unsigned n = 0;

        copy_text(doc, to, "name", from, "name");
        copy_text(doc, to, "macAddress", from, "hardware-address");
        for (const struct json_value *it = json_first(json_get(from, "ip-addresses")); it && n < GUEST_LIST_MAX;
             it = json_next(it)) {
                const char *text = json_find_string(it, "ip-address", NULL);
                g_autofree char *clean = text ? virt_clean_text(text, 64) : NULL;

                if (clean && *clean && n++ < GUEST_LIST_MAX)
                        json_append(json_ensure_array(doc, to, "addresses"), json_new_string(doc, clean));
        }
}

static void tell_list(struct json_doc *doc, struct json_value *to, const char *key, const struct json_value *list,
                      void (*tell)(struct json_doc *doc, struct json_value *to, const struct json_value *from))
{
        unsigned n = 0;

        if (!json_is(list, JSON_ARRAY))
                return;
        for (const struct json_value *it = json_first(list); it && n < GUEST_LIST_MAX; it = json_next(it))
                if (json_is(it, JSON_OBJECT)) {
                        tell(doc, json_append(json_ensure_array(doc, to, key), json_new(doc, JSON_OBJECT)), it);
                        n++;
                }
}

static void tell_os(struct json_doc *doc, struct json_value *to, const struct json_value *reply)
{
        struct guest_os os = {};

        guest_os_parse(reply, &os);
        const struct {
                const char *key, *text;
        } members[] = {{"id", os.id},
                       {"name", os.name},
                       {"prettyName", os.pretty_name},
                       {"version", os.version},
                       {"versionId", os.version_id},
                       {"kernelRelease", os.kernel_release},
                       {"kernelVersion", os.kernel_version},
                       {"machine", os.machine}};

        for (size_t i = 0; i < G_N_ELEMENTS(members); i++)
                if (*members[i].text)
                        json_set_string(doc, to, members[i].key, members[i].text);
        guest_os_clear(&os);
}

struct json_value *guest_replies_tell(const struct guest_replies *replies, struct json_doc *doc)
{
        struct json_value *told = json_new(doc, JSON_OBJECT);

        assert(replies && doc);

        copy_text(doc, told, "agentVersion", replies->info, "version");
        copy_text(doc, told, "hostName", replies->host_name, "host-name");
        copy_text(doc, told, "timezone", replies->timezone, "zone");
        if (json_is(replies->os, JSON_OBJECT))
                tell_os(doc, json_ensure_object(doc, told, "os"), replies->os);
        tell_list(doc, told, "users", replies->users, tell_user);
        tell_list(doc, told, "filesystems", replies->filesystems, tell_filesystem);
        tell_list(doc, told, "interfaces", replies->interfaces, tell_interface);
        return told;
}

int guest_tell(struct virt *virt, const char *uuid, struct json_doc *doc, struct json_value **ret_value, struct virt_error *reterr)
{
        static const char *const commands[] = {"{\"execute\":\"guest-info\"}",
                                               "{\"execute\":\"guest-get-host-name\"}",
                                               "{\"execute\":\"guest-get-timezone\"}",
                                               "{\"execute\":\"guest-get-osinfo\"}",
                                               "{\"execute\":\"guest-get-users\"}",
                                               "{\"execute\":\"guest-get-fsinfo\"}",
                                               "{\"execute\":\"guest-network-get-interfaces\"}"};
        struct json_doc *docs[G_N_ELEMENTS(commands)] = {};
        const struct json_value *roots[G_N_ELEMENTS(commands)] = {};
        int r = 0;

        assert(virt && uuid && doc && ret_value && reterr);

        for (size_t i = 0; i < G_N_ELEMENTS(commands) && !r; i++) {
                int outcome = guest_agent_command(virt, uuid, commands[i], ANSWER_S, &docs[i], reterr);

                /* An older agent does not know them all; one that does not answer will not answer the next either. */
                if (outcome && (i == 0 || outcome != VIRT_E_FAILED))
                        r = outcome;
                roots[i] = docs[i] ? json_root(docs[i]) : NULL;
        }
        if (!r) {
                const struct guest_replies replies = {roots[0], roots[1], roots[2], roots[3], roots[4], roots[5], roots[6]};

                *ret_value = guest_replies_tell(&replies, doc);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(docs); i++)
                json_doc_free(docs[i]);
        return r;
}
