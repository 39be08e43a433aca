/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "virt/migration.h"
#include "virt/virt_internal.h"

#define LOOK_S     1
#define LOOKS_MOST 50 /* of a fifth of a second */
#define LOOK_US    200000

/* -1: known; 0: not yet; VIRT_E_*. */
static int read_rate(virDomainPtr domain, uint64_t *ret_bytes_per_second, struct virt_error *reterr)
{
        virDomainPtr domains[] = {domain, NULL};
        virDomainStatsRecordPtr *records = NULL;
        int status = VIR_DOMAIN_DIRTYRATE_UNSTARTED, r = 0;
        long long mib = 0;

        if (virDomainListGetStats(domains, VIR_DOMAIN_STATS_DIRTYRATE, &records, 0) < 1)
                return virt_fail(reterr, "OperationFailed");
        (void)virTypedParamsGetInt(records[0]->params, records[0]->nparams, "dirtyrate.calc_status", &status);
        if (status == VIR_DOMAIN_DIRTYRATE_MEASURED &&
            virTypedParamsGetLLong(records[0]->params, records[0]->nparams, "dirtyrate.megabytes_per_second", &mib) == 1) {
                *ret_bytes_per_second = (uint64_t)MAX(mib, 0) << 20;
                r = -1;
        }
        virDomainStatsRecordListFree(records);
        return r;
}

int virt_dirty_rate(struct virt *virt, const char *uuid, uint64_t *ret_bytes_per_second, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        AUTO_DOMAIN domain = NULL;
        virDomainJobInfo job;
        int r;

        assert(virt && uuid && ret_bytes_per_second && reterr);

        r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);
        if (r)
                return r;
        if (virDomainGetJobInfo(domain, &job) == 0 && job.type != VIR_DOMAIN_JOB_NONE)
                return virt_say(reterr, VIRT_E_STATE, "OperationFailed",
                                "it moves already"); /* libvirt would have us wait for its end */
        if (virDomainStartDirtyRateCalc(domain, LOOK_S, 0) < 0)
                return virDomainIsActive(domain) == 0 ? virt_say(reterr, VIRT_E_STATE, "OperationFailed", "it does not run")
                                                      : virt_fail(reterr, "OperationFailed");
        for (unsigned i = 0; !r && i < LOOKS_MOST; i++) {
                g_usleep(LOOK_US); /* libvirt tells of its end by no event */
                r = read_rate(domain, ret_bytes_per_second, reterr);
        }
        if (r < 0)
                return 0;
        return r ? r : virt_say(reterr, VIRT_E_FAILED, "OperationFailed", "the guest's memory could not be looked at in time");
}
