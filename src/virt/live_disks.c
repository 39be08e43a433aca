/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/live_disks.h"

#include "base/limits.h"
#include "virt/domains.h"
#include "virt/virt_internal.h"
#include "virt/xml.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define SECTOR          512
#define AGENT_TIMEOUT_S 5
#define TICK_US         100000 /* libvirt tells progress only to those who ask */
#define STOP_TICKS      100
#define PID_FOLDER      "/run/libvirt/qemu"

/* What needs a running domain is VIRT_E_STATE on one that does not run, whatever the driver calls it. */
static int fail_unless_stopped(virDomainPtr domain, const char *reason, struct virt_error *reterr)
{
        int r = virt_fail(reterr, reason);

        return (r == VIRT_E_FAILED || r == VIRT_E_INVALID) && virDomainIsActive(domain) == 0 ? VIRT_E_STATE : r;
}

/* --- size
 * ----------------------------------------------------------------------------------------------------------------------------------------
 */

int virt_live_disk_grow(struct virt *virt, const char *uuid, const char *path, uint64_t capacity_bytes, struct virt_error *reterr)
{
        uint64_t wanted = (capacity_bytes + SECTOR - 1) / SECTOR * SECTOR;
        AUTO_CONNECTION connection = NULL;
        AUTO_DOMAIN domain = NULL;
        virDomainBlockInfo info;
        int r;

        assert(path && capacity_bytes);

        if (capacity_bytes > LIMIT_IMAGE_BYTES)
                return virt_say(reterr, VIRT_E_INVALID, "ImageTooLarge", "a volume has at most %llu bytes", LIMIT_IMAGE_BYTES);
        r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);
        if (r)
                return r;
        if (virDomainGetBlockInfo(domain, path, &info, 0) < 0)
                return fail_unless_stopped(domain, "VolumeFailed", reterr);
        if (info.capacity >= wanted)
                return 0;
        if (virDomainBlockResize(domain, path, wanted, VIR_DOMAIN_BLOCK_RESIZE_BYTES) < 0)
                return fail_unless_stopped(domain, "VolumeFailed", reterr);
        return 0;
}

/* --- limits
 * --------------------------------------------------------------------------------------------------------------------------------------
 */

/* All that libvirt knows are named: what is not named keeps the value that somebody gave it. */
static int add_limits(virTypedParameterPtr *params, int *n, const struct virt_disk_limits *limits)
{
        static const char *const bursts[] = {
                VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_BYTES_SEC_MAX,
                VIR_DOMAIN_BLOCK_IOTUNE_READ_BYTES_SEC_MAX,
                VIR_DOMAIN_BLOCK_IOTUNE_WRITE_BYTES_SEC_MAX,
                VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_IOPS_SEC_MAX,
                VIR_DOMAIN_BLOCK_IOTUNE_READ_IOPS_SEC_MAX,
                VIR_DOMAIN_BLOCK_IOTUNE_WRITE_IOPS_SEC_MAX,
                VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_BYTES_SEC_MAX_LENGTH,
                VIR_DOMAIN_BLOCK_IOTUNE_READ_BYTES_SEC_MAX_LENGTH,
                VIR_DOMAIN_BLOCK_IOTUNE_WRITE_BYTES_SEC_MAX_LENGTH,
                VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_IOPS_SEC_MAX_LENGTH,
                VIR_DOMAIN_BLOCK_IOTUNE_READ_IOPS_SEC_MAX_LENGTH,
                VIR_DOMAIN_BLOCK_IOTUNE_WRITE_IOPS_SEC_MAX_LENGTH,
                VIR_DOMAIN_BLOCK_IOTUNE_SIZE_IOPS_SEC,
        };
        int max = 0;

        for (int i = 0; i < VIRT_LIMITS; i++)
                if (virTypedParamsAddULLong(params, n, &max, virt_limit_to_text((enum virt_limit)i), limits->most[i]) < 0)
                        return -1;
        for (size_t i = 0; i < G_N_ELEMENTS(bursts); i++)
                if (virTypedParamsAddULLong(params, n, &max, bursts[i], 0) < 0)
                        return -1;
        return 0;
}

int virt_live_disk_limit(struct virt *virt, const char *uuid, const char *target, const struct virt_disk_limits *limits,
                         struct virt_error *reterr)
{
        unsigned flags = VIR_DOMAIN_AFFECT_LIVE;
        virTypedParameterPtr params = NULL;
        AUTO_CONNECTION connection = NULL;
        AUTO_DOMAIN domain = NULL;
        int n = 0, r;

        assert(target && limits && !limits->more);

        if (virt_disk_limits_fault(limits))
                return virt_say(reterr, VIRT_E_INVALID, "ValidationFailed", "%s", virt_disk_limits_fault(limits));
        r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);
        if (r)
                return r;
        if (virDomainIsPersistent(domain) == 1)
                flags |= VIR_DOMAIN_AFFECT_CONFIG;
        if (add_limits(&params, &n, limits) < 0 || virDomainSetBlockIoTune(domain, target, params, n, flags) < 0)
                r = fail_unless_stopped(domain, "DefineFailed", reterr);
        virTypedParamsFree(params, n);
        return r;
}

/* --- the guest's file systems
 * --------------------------------------------------------------------------------------------------------------------- */

int virt_live_freeze(struct virt *virt, const char *uuid, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        AUTO_DOMAIN domain = NULL;
        int r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);

        if (r)
                return r;
        (void)virDomainAgentSetResponseTimeout(domain, AGENT_TIMEOUT_S, 0); /* else libvirt's own bound counts */
        if (virDomainFSFreeze(domain, NULL, 0, 0) >= 0)
                return 0;
        r = virt_fail(reterr, "AgentNotReady");
        return virt_error_is(VIR_ERR_ARGUMENT_UNSUPPORTED) || virt_error_is(VIR_ERR_CONFIG_UNSUPPORTED) ? VIRT_E_STATE : r;
}

int virt_live_thaw(struct virt *virt, const char *uuid, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        AUTO_DOMAIN domain = NULL;
        int r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);

        if (r)
                return r == VIRT_E_MISSING ? 0 : r;
        (void)virDomainAgentSetResponseTimeout(domain, AGENT_TIMEOUT_S, 0);
        if (virDomainFSThaw(domain, NULL, 0, 0) >= 0)
                return 0;
        r = virt_fail(reterr, "AgentNotReady");
        return virDomainIsActive(domain) == 0 ? 0 : r;
}

/* --- copies
 * --------------------------------------------------------------------------------------------------------------------------------------
 */

/* Only the disk in question; libvirt would take those that are not named along. */
static char *copy_xml(const struct virt_domain *d, const char *path, const char *target, enum virt_format format)
{
        AUTO_XML doc = xml_new("domainbackup");
        xmlNodePtr disks, disk;
        bool found = false;

        xml_set(xml_root(doc), "mode", "push");
        disks = xml_add(xml_root(doc), "disks", NULL);
        for (size_t i = 0; i < d->n_disks; i++) {
                bool wanted = g_strcmp0(d->disks[i].path, path) == 0 && !d->disks[i].read_only && !d->disks[i].cdrom;

                disk = xml_add(disks, "disk", "name", d->disks[i].target, "backup", wanted ? "yes" : "no", NULL);
                if (!wanted)
                        continue;
                found = true;
                xml_set(disk, "type", "file");
                xml_add(disk, "target", "file", target, NULL);
                xml_add(disk, "driver", "type", virt_format_to_text(format), NULL);
        }
        return found ? xml_to_text(doc) : NULL;
}

/* The process of a running domain as libvirt notes it; 0: not known. */
static long qemu_pid(virDomainPtr domain)
{
        g_autofree char *path = g_strdup_printf(PID_FOLDER "/%s.pid", virDomainGetName(domain));
        g_autofree char *text = NULL;

        return g_file_get_contents(path, &text, NULL, NULL) ? strtol(text, NULL, 10) : 0;
}

int virt_live_sees(struct virt *virt, const char *uuid, const char *folder, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        g_autofree char *theirs = NULL;
        AUTO_DOMAIN domain = NULL;
        struct stat ours, seen;
        bool missing;
        long pid;
        int r = virt_use_own(virt, VIRT_QUERIES, uuid, &connection, &domain, reterr);

        assert(folder && *folder == '/');

        if (r)
                return r;
        pid = qemu_pid(domain);
        theirs = g_strdup_printf("/proc/%ld/root%s", pid, folder);
        if (pid <= 0 || stat(folder, &ours) < 0)
                return 0;
        missing = stat(theirs, &seen) < 0;
        if (missing ? errno != ENOENT : ours.st_dev == seen.st_dev && ours.st_ino == seen.st_ino)
                return 0;
        return virt_say(reterr, VIRT_E_INVALID, "PoolMountedLater",
                        "the file system of %s was mounted after domain %s was started, and its QEMU does not see it", folder,
                        virDomainGetName(domain));
}

/* The finished job that is told last, so that the next one told is ours. */
static void forget_finished(virDomainPtr domain)
{
        virTypedParameterPtr params = NULL;
        int type, n = 0;

        if (virDomainGetJobStats(domain, &type, &params, &n, VIR_DOMAIN_JOB_STATS_COMPLETED) == 0)
                virTypedParamsFree(params, n);
}

int virt_live_copy_begin(struct virt *virt, const char *uuid, const char *path, const char *target, enum virt_format format,
                         struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        g_autoptr(virt_facts) facts = NULL;
        AUTO_DOMAIN domain = NULL;
        g_autofree char *xml = NULL;
        int r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);

        assert(path && target);

        if (!r)
                r = virt_domain_facts(virt, uuid, true, &facts, reterr);
        if (r)
                return r;
        xml = copy_xml(&facts->domain, path, target, format);
        if (!xml)
                return virt_say(reterr, VIRT_E_INVALID, "VolumeMissing", "%s is no disk of the domain", path);
        forget_finished(domain);
        if (virDomainBackupBegin(domain, xml, NULL, VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL) == 0)
                return 0;
        return fail_unless_stopped(domain, "VolumeFailed", reterr);
}

/* How the copy that has just ended came out. */
static int judge_end(virDomainPtr domain, struct virt_error *reterr)
{
        virTypedParameterPtr params = NULL;
        const char *words = NULL;
        int type = 0, n = 0, success = 0, r = 0;

        if (virDomainGetJobStats(domain, &type, &params, &n, VIR_DOMAIN_JOB_STATS_COMPLETED) < 0)
                return fail_unless_stopped(domain, "VolumeFailed", reterr);
        (void)virTypedParamsGetBoolean(params, n, VIR_DOMAIN_JOB_SUCCESS, &success);
        (void)virTypedParamsGetString(params, n, VIR_DOMAIN_JOB_ERRMSG, &words);
        if (type != VIR_DOMAIN_JOB_COMPLETED || !success) {
                bool full = words && strstr(words, "No space left on device");

                r = virt_say(reterr, full ? VIRT_E_NO_SPACE : VIRT_E_FAILED, full ? "PoolFull" : "VolumeFailed", "%s",
                             words ? words : "the copy of the running disk was ended");
        }
        virTypedParamsFree(params, n);
        return r;
}

static unsigned permille_of(const virTypedParameter *params, int n)
{
        unsigned long long done = 0, total = 0;

        (void)virTypedParamsGetULLong((virTypedParameterPtr)params, n, VIR_DOMAIN_JOB_DISK_PROCESSED, &done);
        (void)virTypedParamsGetULLong((virTypedParameterPtr)params, n, VIR_DOMAIN_JOB_DISK_TOTAL, &total);
        return total ? (unsigned)(MIN(done, total) * 1000.0 / total) : 0;
}

int virt_live_copy_follow(struct virt *virt, const char *uuid, bool (*progress)(unsigned permille, void *userdata), void *userdata,
                          struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        AUTO_DOMAIN domain = NULL;
        int r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);

        assert(progress);

        while (!r) {
                virTypedParameterPtr params = NULL;
                int type = VIR_DOMAIN_JOB_NONE, n = 0;

                if (virDomainGetJobStats(domain, &type, &params, &n, 0) < 0)
                        return fail_unless_stopped(domain, "VolumeFailed", reterr);
                if (type == VIR_DOMAIN_JOB_NONE)
                        return virDomainIsActive(domain) == 1
                                       ? judge_end(domain, reterr)
                                       : virt_say(reterr, VIRT_E_STATE, "DomainLost", "the domain ended before the copy did");
                if (progress(permille_of(params, n), userdata))
                        r = virt_say(reterr, VIRT_E_CANCELLED, "Superseded", "the copy was cancelled");
                virTypedParamsFree(params, n);
                if (!r)
                        g_usleep(TICK_US);
        }
        return r;
}

static bool copies_into(virDomainPtr domain, const char *target)
{
        AUTO_TEXT text = virDomainBackupGetXMLDesc(domain, 0);
        g_autoptr(arena) arena = arena_new(0);
        AUTO_XML doc = text ? xml_parse(text, LIMIT_DOMAIN_XML_BYTES) : NULL;

        for (xmlNodePtr disk = xml_find(doc ? xml_root(doc) : NULL, "disks/disk"); disk; disk = xml_next(disk))
                if (g_strcmp0(xml_attribute(xml_child(disk, "target"), "file", arena), target) == 0)
                        return true;
        return false;
}

int virt_live_copy_stop(struct virt *virt, const char *uuid, const char *target, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        AUTO_DOMAIN domain = NULL;
        int r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);

        assert(target);

        if (r)
                return r == VIRT_E_MISSING ? 0 : r;
        for (unsigned i = 0; i < STOP_TICKS && copies_into(domain, target); i++) {
                if (i == 0 && virDomainAbortJob(domain) < 0 && virDomainIsActive(domain) == 1)
                        r = virt_fail(reterr, "VolumeFailed"); /* it may have ended by itself just now */
                g_usleep(TICK_US);
        }
        if (!copies_into(domain, target))
                return 0;
        return r ? r : virt_say(reterr, VIRT_E_TIMEOUT, "TaskTimedOut", "the copy into %s does not end", target);
}
