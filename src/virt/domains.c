/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/domains.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/limits.h"
#include "virt/virt_internal.h"
#include "virt/xml.h"

#include <libvirt/libvirt-qemu.h>
#include <string.h>

/* How long a guest agent may take to acknowledge a shutdown before ACPI is tried. */
#define AGENT_TIMEOUT_S 5

static const char *const virt_state_names[VIRT_STATE_COUNT] = {
        [VIRT_STATE_DEFINED] = "defined",     [VIRT_STATE_CREATING] = "creating", [VIRT_STATE_RUNNING] = "running",
        [VIRT_STATE_PAUSED] = "paused",       [VIRT_STATE_SHUTDOWN] = "shutdown", [VIRT_STATE_SHUTOFF] = "shutoff",
        [VIRT_STATE_MIGRATING] = "migrating", [VIRT_STATE_CRASHED] = "crashed",
};
ENUM_TABLE(virt_state, virt_state_names)

/* libvirt's states and reasons in our words; the first row that fits counts. */
#define ANY (-1)
static const struct {
        int state, detail;
        enum virt_state ours;
        const char *reason;
} states[] = {
        {VIR_DOMAIN_RUNNING, ANY, VIRT_STATE_RUNNING, ""},
        {VIR_DOMAIN_BLOCKED, ANY, VIRT_STATE_RUNNING, ""},
        {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_STARTING_UP, VIRT_STATE_CREATING, ""},
        {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_MIGRATION, VIRT_STATE_MIGRATING, ""},
        {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_POSTCOPY, VIRT_STATE_MIGRATING, ""},
        {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_POSTCOPY_FAILED, VIRT_STATE_PAUSED, "Failed"},
        {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_IOERROR, VIRT_STATE_PAUSED, "PoolFull"},
        {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_CRASHED, VIRT_STATE_CRASHED, "GuestPanicked"},
        {VIR_DOMAIN_PAUSED, ANY, VIRT_STATE_PAUSED, "Paused"},
        {VIR_DOMAIN_SHUTDOWN, ANY, VIRT_STATE_SHUTDOWN, "Stopping"},
        {VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_SHUTDOWN, VIRT_STATE_SHUTOFF, "GuestShutdown"},
        {VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_DESTROYED, VIRT_STATE_SHUTOFF, "Destroyed"},
        {VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_CRASHED, VIRT_STATE_CRASHED, "Crashed"},
        {VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_FAILED, VIRT_STATE_SHUTOFF, "Failed"},
        {VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_DAEMON, VIRT_STATE_SHUTOFF, "HostLost"},
        {VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_MIGRATED, VIRT_STATE_SHUTOFF, "Superseded"},
        {VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_SAVED, VIRT_STATE_SHUTOFF, "Stopped"},
        {VIR_DOMAIN_SHUTOFF, ANY, VIRT_STATE_DEFINED, ""},
        {VIR_DOMAIN_CRASHED, VIR_DOMAIN_CRASHED_PANICKED, VIRT_STATE_CRASHED, "GuestPanicked"},
        {VIR_DOMAIN_CRASHED, ANY, VIRT_STATE_CRASHED, "Crashed"},
        {VIR_DOMAIN_PMSUSPENDED, ANY, VIRT_STATE_PAUSED, "GuestSuspended"},
        {ANY, ANY, VIRT_STATE_DEFINED, ""},
};

static void translate_state(int state, int detail, struct virt_domain_entry *entry)
{
        size_t i = 0;

        while ((states[i].state != ANY && states[i].state != state) || (states[i].detail != ANY && states[i].detail != detail))
                i++;
        entry->state = states[i].ours;
        entry->reason = states[i].reason;
}

/* --- finding
 * -------------------------------------------------------------------------------------------------------------------------------------
 */

static int no_such(struct virt_error *reterr, const char *uuid)
{
        return virt_say(reterr, VIRT_E_MISSING, "DomainLost", "there is no domain %s of ours", uuid);
}

/* Our metadata of @domain as a document, or NULL: it is not ours or it is gone. */
static xmlDocPtr metadata_of(virDomainPtr domain)
{
        AUTO_TEXT text = virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, VIRT_METADATA_URI, 0);

        return text ? xml_parse(text, LIMIT_DOMAIN_XML_BYTES) : NULL;
}

/* The domain when it is there and ours, and its metadata. */
static int find_own(virConnectPtr connection, const char *uuid, virDomainPtr *ret_domain, xmlDocPtr *ret_metadata,
                    struct virt_error *reterr)
{
        AUTO_DOMAIN domain = NULL;
        AUTO_XML metadata = NULL;

        if (!uuid_valid(uuid))
                return virt_say(reterr, VIRT_E_INVALID, "ValidationFailed", "not a UUID");
        domain = virDomainLookupByUUIDString(connection, uuid);
        if (!domain)
                return virt_fail(reterr, "DomainLost");
        metadata = metadata_of(domain);
        if (!metadata)
                return virt_error_is(VIR_ERR_NO_DOMAIN_METADATA) ? no_such(reterr, uuid) : virt_fail(reterr, "DomainLost");
        *ret_domain = g_steal_pointer(&domain);
        *ret_metadata = g_steal_pointer(&metadata);
        return 0;
}

static int use_own(struct virt *virt, enum virt_role role, const char *uuid, virConnectPtr *ret_connection,
                   virDomainPtr *ret_domain, xmlDocPtr *ret_metadata, struct virt_error *reterr)
{
        assert(virt && uuid && reterr);

        *ret_connection = virt_use(virt, role, reterr);
        return *ret_connection ? find_own(*ret_connection, uuid, ret_domain, ret_metadata, reterr) : VIRT_E_UNREACHABLE;
}

int virt_use_own(struct virt *virt, enum virt_role role, const char *uuid, virConnectPtr *ret_connection, virDomainPtr *ret_domain,
                 struct virt_error *reterr)
{
        AUTO_XML metadata = NULL;

        return use_own(virt, role, uuid, ret_connection, ret_domain, &metadata, reterr);
}

void virt_domain_entry_clear(struct virt_domain_entry *entry)
{
        g_free(entry->name);
        g_free(entry->machine_uid);
        g_free(entry->instance_uid);
        *entry = (struct virt_domain_entry){.id = -1};
}

static int fill_entry(virDomainPtr domain, xmlDocPtr metadata, struct virt_domain_entry *ret_entry, struct virt_error *reterr)
{
        g_autoptr(arena) arena = arena_new(0);
        xmlNodePtr instance = xml_root(metadata);
        const char *machine = xml_attribute(instance, "machineUid", arena), *intent = xml_attribute(instance, "instanceUid", arena);
        struct virt_domain_entry entry = {};
        int state, detail, active, persistent;

        if (virDomainGetUUIDString(domain, entry.uuid) < 0 || virDomainGetState(domain, &state, &detail, 0) < 0)
                return virt_fail(reterr, "DomainLost");
        active = virDomainIsActive(domain);
        persistent = virDomainIsPersistent(domain);
        if (active < 0 || persistent < 0)
                return virt_fail(reterr, "DomainLost");
        translate_state(state, detail, &entry);
        entry.id = active ? (int)virDomainGetID(domain) : -1;
        entry.active = active;
        entry.persistent = persistent;
        entry.name = g_strdup(virDomainGetName(domain));
        entry.machine_uid = g_strdup(machine ? machine : "");
        entry.instance_uid = g_strdup(intent ? intent : "");
        entry.generation = (int64_t)xml_attribute_number(instance, "generation", INT64_MAX, 0);
        entry.epoch = (int64_t)xml_attribute_number(instance, "epoch", INT64_MAX, 0);
        entry.order = (int64_t)xml_attribute_number(instance, "order", INT64_MAX, 0);
        entry.resetting = xml_attribute_is(instance, "resetting", "yes");
        *ret_entry = entry;
        return 0;
}

static int compare_entries(const void *a, const void *b)
{
        return strcmp(((const struct virt_domain_entry *)a)->uuid, ((const struct virt_domain_entry *)b)->uuid);
}

/* A domain that vanishes while we look is left out, and so is a foreign one. */
static int list_one(virDomainPtr domain, struct virt_domain_entry *entries, size_t *n, struct virt_error *reterr)
{
        AUTO_XML metadata = metadata_of(domain);
        int r;

        if (!metadata)
                return virt_error_is(VIR_ERR_NO_DOMAIN_METADATA) || virt_error_is(VIR_ERR_NO_DOMAIN)
                               ? 0
                               : virt_fail(reterr, "DomainLost");
        r = fill_entry(domain, metadata, &entries[*n], reterr);
        if (!r)
                (*n)++;
        return r == VIRT_E_MISSING ? 0 : r;
}

int virt_domains_list(struct virt *virt, struct virt_domain_entry **ret_entries, size_t *ret_n, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = virt_use(virt, VIRT_QUERIES, reterr);
        struct virt_domain_entry *entries;
        virDomainPtr *domains = NULL;
        size_t n = 0;
        int found, r = 0;

        assert(ret_entries && ret_n);

        if (!connection)
                return VIRT_E_UNREACHABLE;
        found = virConnectListAllDomains(connection, &domains, 0);
        if (found < 0)
                return virt_fail(reterr, "LibvirtUnreachable");
        entries = g_new0(struct virt_domain_entry, (size_t)found + 1);
        for (int i = 0; i < found; i++) {
                if (!r)
                        r = list_one(domains[i], entries, &n, reterr);
                virDomainFree(domains[i]);
        }
        free(domains);
        if (r) {
                virt_domains_list_free(entries, n);
                return r;
        }
        qsort(entries, n, sizeof(*entries), compare_entries);
        *ret_entries = entries;
        *ret_n = n;
        return 0;
}

void virt_domains_list_free(struct virt_domain_entry *entries, size_t n)
{
        for (size_t i = 0; i < n; i++)
                virt_domain_entry_clear(&entries[i]);
        g_free(entries);
}

int virt_domain_get(struct virt *virt, const char *uuid, struct virt_domain_entry *ret_entry, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        AUTO_DOMAIN domain = NULL;
        AUTO_XML metadata = NULL;
        int r = use_own(virt, VIRT_QUERIES, uuid, &connection, &domain, &metadata, reterr);

        return r ? r : fill_entry(domain, metadata, ret_entry, reterr);
}

int virt_domain_facts(struct virt *virt, const char *uuid, bool live, struct virt_facts **ret_facts, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        AUTO_DOMAIN domain = NULL;
        AUTO_TEXT xml = NULL;
        int r = virt_use_own(virt, VIRT_QUERIES, uuid, &connection, &domain, reterr);

        if (r)
                return r;
        xml = virDomainGetXMLDesc(domain, live ? 0 : VIR_DOMAIN_XML_INACTIVE);
        return xml ? virt_facts_from_xml(xml, ret_facts, reterr) : virt_fail(reterr, "DomainLost");
}

/* --- definition
 * ----------------------------------------------------------------------------------------------------------------------------------
 */

/* Names and UUIDs that are somebody else's are never touched. */
static int check_free(virConnectPtr connection, const struct virt_domain *d, struct virt_error *reterr)
{
        AUTO_DOMAIN by_name = virDomainLookupByName(connection, d->name);
        AUTO_DOMAIN by_uuid = NULL;
        AUTO_XML metadata = NULL;
        char uuid[VIR_UUID_STRING_BUFLEN];

        if (!by_name && !virt_error_is(VIR_ERR_NO_DOMAIN))
                return virt_fail(reterr, "DefineFailed");
        if (by_name && virDomainGetUUIDString(by_name, uuid) == 0 && g_ascii_strcasecmp(uuid, d->uuid))
                return virt_say(reterr, VIRT_E_EXISTS, "DomainNameTaken", "a domain %s exists with the UUID %s", d->name, uuid);
        by_uuid = virDomainLookupByUUIDString(connection, d->uuid);
        if (!by_uuid)
                return virt_error_is(VIR_ERR_NO_DOMAIN) ? 0 : virt_fail(reterr, "DefineFailed");
        if (strcmp(virDomainGetName(by_uuid), d->name))
                return virt_say(reterr, VIRT_E_EXISTS, "DomainNameTaken", "the UUID %s belongs to the domain %s", d->uuid,
                                virDomainGetName(by_uuid));
        metadata = metadata_of(by_uuid);
        if (!metadata)
                return virt_say(reterr, VIRT_E_EXISTS, "DomainNameTaken", "the domain %s with the UUID %s is not ours", d->name,
                                d->uuid);
        return 0;
}

int virt_domain_define(struct virt *virt, const char *xml, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = virt_use(virt, VIRT_JOBS, reterr);
        g_autoptr(virt_facts) facts = NULL;
        AUTO_DOMAIN domain = NULL;
        int r;

        assert(xml);

        if (!connection)
                return VIRT_E_UNREACHABLE;
        r = virt_facts_from_xml(xml, &facts, reterr);
        if (!r && !facts->own)
                r = virt_say(reterr, VIRT_E_INVALID, "ValidationFailed", "the description lacks our metadata");
        if (!r)
                r = check_free(connection, &facts->domain, reterr);
        if (r)
                return r;
        domain = virDomainDefineXMLFlags(connection, xml, 0);
        return domain ? 0 : virt_fail(reterr, "DefineFailed");
}

int virt_domain_keep(struct virt *virt, const char *uuid, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        AUTO_DOMAIN domain = NULL, kept = NULL;
        AUTO_TEXT xml = NULL;
        int r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);

        if (r)
                return r;
        if (virDomainIsPersistent(domain) == 1)
                return 0;
        if (virDomainIsActive(domain) != 1)
                return virt_say(reterr, VIRT_E_STATE, "DomainLost", "the domain does not run");
        xml = virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE);
        if (xml)
                kept = virDomainDefineXMLFlags(connection, xml, 0);
        return kept ? 0 : virt_fail(reterr, "DefineFailed");
}

int virt_domain_undefine(struct virt *virt, const char *uuid, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        AUTO_DOMAIN domain = NULL;
        int r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);
        unsigned flags = VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA;

        if (r)
                return r == VIRT_E_MISSING ? 0 : r;
        if (!virt_is_test(virt))
                flags |= VIR_DOMAIN_UNDEFINE_NVRAM | VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA;
        if (virDomainUndefineFlags(domain, flags) == 0)
                return 0;
        r = virt_fail(reterr, "DefineFailed");
        return r == VIRT_E_MISSING ? 0 : r;
}

/* --- life
 * ----------------------------------------------------------------------------------------------------------------------------------------
 */

/* The test driver knows no flags: there the domain is suspended right after its start. */
static int start_test(virDomainPtr domain, bool paused)
{
        return virDomainCreate(domain) < 0 ? -1 : paused ? virDomainSuspend(domain) : 0;
}

static int start_domain(struct virt *virt, const char *uuid, bool paused, unsigned more, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        AUTO_DOMAIN domain = NULL;
        int r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);
        /* A saved state would bring back an older guest. */
        unsigned flags = VIR_DOMAIN_START_FORCE_BOOT | (paused ? VIR_DOMAIN_START_PAUSED : 0) | more;

        if (r)
                return r;
        if (virDomainIsActive(domain) == 1)
                return virt_say(reterr, VIRT_E_STATE, "Running", "the domain runs already");
        if ((virt_is_test(virt) ? start_test(domain, paused) : virDomainCreateWithFlags(domain, flags)) == 0)
                return 0;
        r = virt_fail(reterr, "StartFailed");
        return r == VIRT_E_STATE || r == VIRT_E_INVALID || r == VIRT_E_NO_SPACE ? VIRT_E_FAILED : r;
}

int virt_domain_start(struct virt *virt, const char *uuid, bool paused, struct virt_error *reterr)
{
        return start_domain(virt, uuid, paused, 0, reterr);
}

int virt_domain_start_anew(struct virt *virt, const char *uuid, struct virt_error *reterr)
{
        return start_domain(virt, uuid, true, VIR_DOMAIN_START_RESET_NVRAM, reterr);
}

/* What needs a running domain, on one that does not run, is VIRT_E_STATE whatever the driver calls it. */
static int fail_unless_stopped(virDomainPtr domain, const char *reason, struct virt_error *reterr)
{
        int r = virt_fail(reterr, reason);

        return r == VIRT_E_FAILED && virDomainIsActive(domain) == 0 ? VIRT_E_STATE : r;
}

int virt_domain_resume(struct virt *virt, const char *uuid, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        AUTO_DOMAIN domain = NULL;
        int state = VIR_DOMAIN_NOSTATE;
        int r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);

        if (r || virDomainResume(domain) == 0)
                return r;
        r = fail_unless_stopped(domain, "StartFailed", reterr);
        /* A guest that put itself to sleep is woken, which libvirt calls otherwise. */
        if (virDomainGetState(domain, &state, NULL, 0) == 0 && state == VIR_DOMAIN_PMSUSPENDED)
                r = virDomainPMWakeup(domain, 0) < 0 ? fail_unless_stopped(domain, "StartFailed", reterr) : 0;
        return r;
}

int virt_domain_suspend(struct virt *virt, const char *uuid, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        AUTO_DOMAIN domain = NULL;
        int r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);

        return r ? r : virDomainSuspend(domain) < 0 ? fail_unless_stopped(domain, "StopFailed", reterr) : 0;
}

/* The flags of shutdown and reboot have the same values. */
static unsigned shutdown_flags(struct virt *virt, virDomainPtr domain, enum virt_shutdown how)
{
        static const unsigned flags[] = {
                [VIRT_SHUTDOWN_ACPI] = VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN,
                [VIRT_SHUTDOWN_AGENT] = VIR_DOMAIN_SHUTDOWN_GUEST_AGENT,
                [VIRT_SHUTDOWN_EITHER] = VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN | VIR_DOMAIN_SHUTDOWN_GUEST_AGENT,
        };

        assert(how <= VIRT_SHUTDOWN_EITHER);
        if (virt_is_test(virt))
                return 0;
        if (how != VIRT_SHUTDOWN_ACPI)
                (void)virDomainAgentSetResponseTimeout(domain, AGENT_TIMEOUT_S, 0); /* else libvirt's own bound counts */
        return flags[how];
}

/* libvirt would wait a minute for the end of a guest whose agent took the command, whatever its grace period is. The command is not
 * answered when it is obeyed. */
static void ask_agent(virDomainPtr domain)
{
        static const char command[] = "{\"execute\": \"guest-shutdown\", \"arguments\": {\"mode\": \"powerdown\"}}";

        free(virDomainQemuAgentCommand(domain, command, 1, 0));
}

int virt_domain_shutdown(struct virt *virt, const char *uuid, enum virt_shutdown how, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        AUTO_DOMAIN domain = NULL;
        int r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);

        if (r)
                return r;
        if (how == VIRT_SHUTDOWN_EITHER && !virt_is_test(virt)) {
                ask_agent(domain);
                how = VIRT_SHUTDOWN_ACPI;
        }
        return virDomainShutdownFlags(domain, shutdown_flags(virt, domain, how)) < 0
                       ? fail_unless_stopped(domain, "StopFailed", reterr)
                       : 0;
}

int virt_domain_reboot(struct virt *virt, const char *uuid, enum virt_shutdown how, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        AUTO_DOMAIN domain = NULL;
        int r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);

        if (r)
                return r;
        return virDomainReboot(domain, shutdown_flags(virt, domain, how)) < 0 ? fail_unless_stopped(domain, "StopFailed", reterr)
                                                                              : 0;
}

int virt_domain_reset(struct virt *virt, const char *uuid, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        AUTO_DOMAIN domain = NULL;
        int r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);

        return r ? r : virDomainReset(domain, 0) < 0 ? fail_unless_stopped(domain, "StopFailed", reterr) : 0;
}

int virt_domain_destroy(struct virt *virt, const char *uuid, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        AUTO_DOMAIN domain = NULL;
        int r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);

        if (r)
                return r;
        if (virDomainDestroyFlags(domain, 0) == 0)
                return 0;
        r = virt_fail(reterr, "StopFailed");
        return virDomainIsActive(domain) == 0 ? 0 : r; /* it ended by itself: that is what was asked for */
}

/* --- changes in place
 * --------------------------------------------------------------------------------------------------------------------------- */

static unsigned affect(virDomainPtr domain)
{
        return (virDomainIsPersistent(domain) == 1 ? VIR_DOMAIN_AFFECT_CONFIG : 0) |
               (virDomainIsActive(domain) == 1 ? VIR_DOMAIN_AFFECT_LIVE : 0);
}

int virt_domain_set_owner(struct virt *virt, const char *uuid, const struct virt_owner *owner, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        g_autofree char *text = NULL;
        AUTO_DOMAIN domain = NULL;
        AUTO_XML metadata = NULL;
        xmlNodePtr instance;
        unsigned flags;
        int r = use_own(virt, VIRT_JOBS, uuid, &connection, &domain, &metadata, reterr);

        assert(owner && owner->machine_uid && owner->instance_uid);

        if (r)
                return r;
        instance = xml_root(metadata);
        xml_set(instance, "machineUid", owner->machine_uid);
        xml_set(instance, "instanceUid", owner->instance_uid);
        xml_set_number(instance, "generation", (uint64_t)owner->generation);
        xml_set_number(instance, "epoch", (uint64_t)owner->epoch);
        if (owner->order)
                xml_set_number(instance, "order", (uint64_t)owner->order);
        if (owner->graphics_version)
                xml_set_number(instance, "graphicsVersion", (uint64_t)owner->graphics_version);
        if (owner->resetting > 0)
                xml_set(instance, "resetting", "yes");
        else if (owner->resetting < 0)
                xmlUnsetProp(instance, (const xmlChar *)"resetting");
        text = xml_to_text(metadata);
        flags = affect(domain);
        if (owner->resetting > 0 && flags & VIR_DOMAIN_AFFECT_LIVE)
                flags = VIR_DOMAIN_AFFECT_LIVE; /* of this run alone, and one file less to be synced while the guest stands still */
        if (virDomainSetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, text, "gabbro", VIRT_METADATA_URI, flags) < 0)
                return virt_fail(reterr, "DefineFailed");
        return 0;
}

int virt_domain_set_cpu_shares(struct virt *virt, const char *uuid, unsigned shares, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        AUTO_DOMAIN domain = NULL;
        virTypedParameterPtr params = NULL;
        int n = 0, max = 0;
        int r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);

        if (r)
                return r;
        if (virTypedParamsAddULLong(&params, &n, &max, VIR_DOMAIN_SCHEDULER_CPU_SHARES, shares) < 0 ||
            virDomainSetSchedulerParametersFlags(domain, params, n, affect(domain)) < 0)
                r = virt_fail(reterr, "DefineFailed");
        virTypedParamsFree(params, n);
        return r;
}
