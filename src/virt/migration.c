/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/migration.h"

#include "base/error.h"
#include "base/limits.h"
#include "virt/domain_xml.h"
#include "virt/graphics_internal.h"
#include "virt/migration_tls.h"
#include "virt/virt_internal.h"
#include "virt/xml.h"

#include <string.h>

/* --- the description there --- */

static const char *renamed(const struct virt_rename *list, size_t n, const char *from)
{
        for (size_t i = 0; from && i < n; i++)
                if (strcmp(list[i].from, from) == 0)
                        return list[i].to;
        return NULL;
}

static bool is_copied(const struct virt_migration *options, const char *file)
{
        for (size_t i = 0; i < options->n_copied; i++)
                if (strcmp(options->copied[i], file) == 0)
                        return true;
        return false;
}

/* A disk that is not told of would be opened there by the path that it has here. */
static int move_disks(xmlNodePtr devices, const struct virt_migration *options, GStrvBuilder *targets, struct arena *arena,
                      struct virt_error *reterr)
{
        for (xmlNodePtr disk = xml_child(devices, "disk"); disk; disk = xml_next(disk)) {
                xmlNodePtr source = xml_child(disk, "source"), backing = xml_child(disk, "backingStore");
                const char *file = source ? xml_attribute(source, "file", arena) : NULL, *to;

                if (!source)
                        continue;
                to = renamed(options->files, options->n_files, file);
                if (!to)
                        return virt_say(reterr, VIRT_E_INVALID, "ValidationFailed", "the disk %s has no place on the other host",
                                        file ? file : "(no file)");
                xml_set(source, "file", to);
                if (backing) {
                        xmlUnlinkNode(backing);
                        xmlFreeNode(backing);
                }
                if (is_copied(options, file))
                        g_strv_builder_add(targets, xml_attribute(xml_child(disk, "target"), "dev", arena));
        }
        return 0;
}

static void move_metadata(xmlNodePtr metadata, const struct virt_migration *options, struct arena *arena)
{
        for (xmlNodePtr node = metadata ? metadata->children : NULL; node; node = node->next) {
                if (node->type != XML_ELEMENT_NODE || !node->ns || xmlStrcmp(node->ns->href, (const xmlChar *)VIRT_METADATA_URI))
                        continue;
                xml_set(node, "instanceUid", options->instance_uid);
                for (xmlNodePtr nic = xml_child(node, "interface"); nic; nic = xml_next(nic)) {
                        const char *to = renamed(options->nics, options->n_nics, xml_attribute(nic, "name", arena));

                        if (to)
                                xml_set(nic, "name", to);
                }
        }
}

int virt_migration_xml(const char *xml, const struct virt_migration *options, char **ret_xml, char ***ret_targets,
                       struct virt_error *reterr)
{
        AUTO_XML doc = xml_parse(xml, LIMIT_DOMAIN_XML_BYTES);
        g_autoptr(GStrvBuilder) targets = g_strv_builder_new();
        g_autoptr(arena) arena = arena_new(0);
        int r;

        assert(xml && options && options->instance_uid && ret_xml && ret_targets && reterr);

        if (!doc)
                return virt_say(reterr, VIRT_E_INVALID, "ValidationFailed", "the description of the domain cannot be read");
        r = move_disks(xml_child(xml_root(doc), "devices"), options, targets, arena, reterr);
        if (!r)
                r = virt_graphics_move(xml_child(xml_root(doc), "devices"), options->graphics_address, reterr);
        if (r)
                return r;
        move_metadata(xml_child(xml_root(doc), "metadata"), options, arena);
        *ret_xml = xml_to_text(doc);
        *ret_targets = g_strv_builder_end(targets);
        return 0;
}

/* --- the move --- */

struct parameters {
        virTypedParameterPtr list;
        int n, room;
};

static void parameters_clear(struct parameters *parameters)
{
        virTypedParamsFree(parameters->list, parameters->n);
}
#define AUTO_PARAMETERS __attribute__((cleanup(parameters_clear))) struct parameters

static int add_text(struct parameters *parameters, const char *name, const char *value)
{
        return virTypedParamsAddString(&parameters->list, &parameters->n, &parameters->room, name, value);
}

static int fill_parameters(struct parameters *parameters, const struct virt_migration *options, const char *live,
                           const char *persistent, char **targets)
{
        bool v6 = strchr(options->address, ':') != NULL;
        g_autofree char *uri = g_strdup_printf("tcp://%s%s%s", v6 ? "[" : "", options->address, v6 ? "]" : "");
        int r = add_text(parameters, VIR_MIGRATE_PARAM_DEST_XML, live);

        r = r < 0 ? r : add_text(parameters, VIR_MIGRATE_PARAM_PERSIST_XML, persistent);
        r = r < 0 ? r : add_text(parameters, VIR_MIGRATE_PARAM_URI, uri);
        /* What comes is awaited there, and at none of the host's other addresses. */
        r = r < 0 ? r : add_text(parameters, VIR_MIGRATE_PARAM_LISTEN_ADDRESS, options->address);
        for (char **target = targets; r >= 0 && *target; target++)
                r = add_text(parameters, VIR_MIGRATE_PARAM_MIGRATE_DISKS, *target);
        if (r >= 0 && options->bandwidth_mib)
                r = virTypedParamsAddULLong(&parameters->list, &parameters->n, &parameters->room, VIR_MIGRATE_PARAM_BANDWIDTH,
                                            options->bandwidth_mib);
        return r;
}

static int describe(virDomainPtr domain, const struct virt_migration *options, unsigned flags, char **ret_xml, char ***ret_targets,
                    struct virt_error *reterr)
{
        AUTO_TEXT xml = virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_SECURE | VIR_DOMAIN_XML_MIGRATABLE | flags);

        return xml ? virt_migration_xml(xml, options, ret_xml, ret_targets, reterr) : virt_fail(reterr, "DomainLost");
}

/* A connection that lasts, beside those for calls. */
static int open_domain(struct virt *virt, const char *uuid, virConnectPtr *ret_connection, virDomainPtr *ret_domain,
                       struct virt_error *reterr)
{
        int r = virt_open_more(virt, ret_connection, reterr);

        if (r)
                return r;
        *ret_domain = virDomainLookupByUUIDString(*ret_connection, uuid);
        return *ret_domain ? 0 : virt_fail(reterr, "DomainLost");
}

bool virt_migration_is_open(const struct virt_error *error)
{
        assert(error);
        return error->domain == VIR_FROM_RPC;
}

static bool has_returned(virDomainPtr domain)
{
        int state = VIR_DOMAIN_NOSTATE, detail = 0;

        return virDomainGetState(domain, &state, &detail, 0) == 0 && state == VIR_DOMAIN_RUNNING &&
               detail == VIR_DOMAIN_RUNNING_MIGRATION_CANCELED;
}

/* That it came back from an earlier switch is not to be taken for this one's: libvirt forgets it when the guest is stopped for a
 * moment. */
static void forget_return(virDomainPtr domain)
{
        if (has_returned(domain) && virDomainSuspend(domain) == 0)
                (void)virDomainResume(domain);
}

static int move(virDomainPtr domain, const char *uri, struct parameters *parameters, unsigned flags, struct virt_error *reterr)
{
        int r;

        forget_return(domain);
        if (virDomainMigrateToURI3(domain, uri, parameters->list, (unsigned)parameters->n, flags) == 0)
                return 0;
        r = virt_fail(reterr, "OperationFailed");
        if (virt_migration_is_open(reterr) && has_returned(domain))
                (void)virDomainSuspend(domain);
        return r;
}

int virt_migrate(struct virt *virt, const struct virt_migration *options, struct virt_error *reterr)
{
        unsigned flags = VIR_MIGRATE_LIVE | VIR_MIGRATE_PEER2PEER | VIR_MIGRATE_PERSIST_DEST | VIR_MIGRATE_UNDEFINE_SOURCE |
                         VIR_MIGRATE_TLS | VIR_MIGRATE_ABORT_ON_ERROR;
        g_autofree char *live = NULL, *persistent = NULL, *uri = NULL;
        g_auto(GStrv) targets = NULL, same = NULL;
        virConnectPtr connection = NULL;
        AUTO_PARAMETERS parameters = {};
        AUTO_DOMAIN domain = NULL;
        int r;

        assert(virt && options && options->uuid && options->address && options->keys && reterr);

        r = open_domain(virt, options->uuid, &connection, &domain, reterr);
        if (!r)
                r = describe(domain, options, 0, &live, &targets, reterr);
        if (!r)
                r = describe(domain, options, VIR_DOMAIN_XML_INACTIVE, &persistent, &same, reterr);
        if (!r) {
                uri = migration_tls_uri(options->address, options->keys);
                flags |= *targets ? VIR_MIGRATE_NON_SHARED_DISK : 0;
                flags |= options->auto_converge ? VIR_MIGRATE_AUTO_CONVERGE : 0;
                r = fill_parameters(&parameters, options, live, persistent, targets) < 0
                            ? virt_fail(reterr, "OperationFailed")
                            : move(domain, uri, &parameters, flags, reterr);
        }
        if (domain)
                virDomainFree(g_steal_pointer(&domain));
        if (connection)
                virConnectClose(connection);
        return r;
}

/* --- while it goes on --- */

static uint64_t number(virTypedParameterPtr list, int n, const char *name)
{
        unsigned long long value = 0;

        return virTypedParamsGetULLong(list, n, name, &value) == 1 ? value : 0;
}

static void read_progress(virTypedParameterPtr list, int n, struct virt_migration_progress *progress)
{
        int throttle = 0, operation = VIR_DOMAIN_JOB_OPERATION_UNKNOWN;

        (void)virTypedParamsGetInt(list, n, VIR_DOMAIN_JOB_OPERATION, &operation);
        (void)virTypedParamsGetInt(list, n, VIR_DOMAIN_JOB_AUTO_CONVERGE_THROTTLE, &throttle);
        progress->leaves = operation == VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT;
        progress->elapsed_ms = number(list, n, VIR_DOMAIN_JOB_TIME_ELAPSED);
        progress->total_bytes = number(list, n, VIR_DOMAIN_JOB_DATA_TOTAL);
        progress->processed_bytes = number(list, n, VIR_DOMAIN_JOB_DATA_PROCESSED);
        progress->remaining_bytes = number(list, n, VIR_DOMAIN_JOB_DATA_REMAINING);
        progress->bytes_per_second = MAX(number(list, n, VIR_DOMAIN_JOB_MEMORY_BPS), number(list, n, VIR_DOMAIN_JOB_DISK_BPS));
        progress->dirty_bytes_per_second =
                number(list, n, VIR_DOMAIN_JOB_MEMORY_DIRTY_RATE) * number(list, n, VIR_DOMAIN_JOB_MEMORY_PAGE_SIZE);
        progress->iterations = number(list, n, VIR_DOMAIN_JOB_MEMORY_ITERATION);
        progress->throttle_percent = throttle > 0 ? (unsigned)throttle : 0;
}

int virt_migration_look(struct virt *virt, const char *uuid, struct virt_migration_progress *ret_progress,
                        struct virt_error *reterr)
{
        struct virt_migration_progress progress = {};
        AUTO_CONNECTION connection = NULL;
        virTypedParameterPtr list = NULL;
        int type = VIR_DOMAIN_JOB_NONE, n = 0, state = 0, detail = 0, r;
        AUTO_DOMAIN domain = NULL;

        assert(virt && uuid && ret_progress && reterr);

        r = virt_use_own(virt, VIRT_QUERIES, uuid, &connection, &domain, reterr);
        if (r)
                return r;
        if (virDomainGetJobStats(domain, &type, &list, &n, 0) == 0 && type != VIR_DOMAIN_JOB_NONE)
                read_progress(list, n, &progress);
        virTypedParamsFree(list, n);
        if (virDomainGetState(domain, &state, &detail, 0) < 0)
                return virt_fail(reterr, "DomainLost");
        progress.interrupted = !progress.leaves && state == VIR_DOMAIN_PAUSED &&
                               (detail == VIR_DOMAIN_PAUSED_MIGRATION || detail == VIR_DOMAIN_PAUSED_POSTCOPY ||
                                detail == VIR_DOMAIN_PAUSED_POSTCOPY_FAILED);
        progress.paused = !progress.leaves && state == VIR_DOMAIN_PAUSED;
        progress.returned = !progress.leaves && state == VIR_DOMAIN_RUNNING && detail == VIR_DOMAIN_RUNNING_MIGRATION_CANCELED;
        *ret_progress = progress;
        return 0;
}

int virt_migration_abort(struct virt *virt, const char *uuid, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        AUTO_DOMAIN domain = NULL;
        int r;

        assert(virt && uuid && reterr);

        r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);
        if (r || virDomainAbortJob(domain) == 0)
                return r == VIRT_E_MISSING ? 0 : r;
        return virt_error_is(VIR_ERR_OPERATION_INVALID) ? 0 : virt_fail(reterr, "OperationFailed");
}

/* libvirt's "as fast as it goes". */
#define BANDWIDTH_MOST_MIB (G_MAXINT64 / (1024 * 1024))

int virt_migration_tune(struct virt *virt, const char *uuid, unsigned bandwidth_mib, unsigned downtime_ms,
                        struct virt_error *reterr)
{
        unsigned long speed = bandwidth_mib ? bandwidth_mib : BANDWIDTH_MOST_MIB, speed_now = 0;
        AUTO_CONNECTION connection = NULL;
        unsigned long long downtime_now = 0;
        AUTO_DOMAIN domain = NULL;
        int r;

        assert(virt && uuid && reterr);

        r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);
        if (r)
                return r;
        if (virDomainMigrateGetMaxSpeed(domain, &speed_now, 0) < 0 ||
            (speed_now != speed && virDomainMigrateSetMaxSpeed(domain, speed, 0) < 0))
                return virt_fail(reterr, "OperationFailed");
        if (downtime_ms && (virDomainMigrateGetMaxDowntime(domain, &downtime_now, 0) < 0 ||
                            (downtime_now != downtime_ms && virDomainMigrateSetMaxDowntime(domain, downtime_ms, 0) < 0)))
                return virt_fail(reterr, "OperationFailed");
        return 0;
}
