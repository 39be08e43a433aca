/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/live_size.h"

#include "base/limits.h"
#include "virt/domains.h"
#include "virt/virt_internal.h"
#include "virt/xml.h"

#include <assert.h>
#include <string.h>

/* What runs, and the definition, when there is one. */
static unsigned flags_of(virDomainPtr domain)
{
        return VIR_DOMAIN_AFFECT_LIVE | (virDomainIsPersistent(domain) == 1 ? VIR_DOMAIN_AFFECT_CONFIG : 0);
}

static int fail_unless_stopped(virDomainPtr domain, struct virt_error *reterr)
{
        int r = virt_fail(reterr, "LiveChangeFailed");

        return (r == VIRT_E_FAILED || r == VIRT_E_INVALID) && virDomainIsActive(domain) == 0 ? VIRT_E_STATE : r;
}

int virt_live_vcpus(struct virt *virt, const char *uuid, unsigned vcpus, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        AUTO_DOMAIN domain = NULL;
        int now, r;

        assert(vcpus > 0 && vcpus <= LIMIT_CPU_CORES);

        r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);
        if (r)
                return r;
        now = virDomainGetVcpusFlags(domain, VIR_DOMAIN_VCPU_LIVE);
        if (now >= 0 && (unsigned)now >= vcpus)
                return 0;
        if (now < 0 || virDomainSetVcpusFlags(domain, vcpus, flags_of(domain)) < 0)
                return fail_unless_stopped(domain, reterr);
        return 0;
}

static char *module_xml(uint64_t mib)
{
        AUTO_XML doc = xml_new("memory");
        xmlNodePtr target;

        xml_set(xml_root(doc), "model", "dimm");
        target = xml_add(xml_root(doc), "target", NULL);
        xml_set(xml_add_number(target, "size", mib), "unit", "MiB");
        xml_add_number(target, "node", 0);
        return xml_to_text(doc);
}

int virt_live_memory(struct virt *virt, const char *uuid, uint64_t memory_mib, struct virt_error *reterr)
{
        g_autoptr(virt_facts) facts = NULL;
        AUTO_CONNECTION connection = NULL;
        AUTO_DOMAIN domain = NULL;
        g_autofree char *xml = NULL;
        int r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);

        if (!r)
                r = virt_domain_facts(virt, uuid, true, &facts, reterr);
        if (r || facts->domain.memory_mib >= memory_mib)
                return r;
        if (facts->domain.max_memory_mib < memory_mib)
                return virt_say(reterr, VIRT_E_INVALID, "LiveChangeFailed", "the domain has no room for %" G_GUINT64_FORMAT " MiB",
                                memory_mib);
        xml = module_xml(memory_mib - facts->domain.memory_mib);
        if (virDomainAttachDeviceFlags(domain, xml, flags_of(domain)) < 0)
                return fail_unless_stopped(domain, reterr);
        return 0;
}

int virt_live_balloon(struct virt *virt, const char *uuid, uint64_t mib, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        AUTO_DOMAIN domain = NULL;
        int r;

        assert(mib > 0 && mib < ULONG_MAX / 1024);

        r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);
        if (r)
                return r;
        return virDomainSetMemoryFlags(domain, mib * 1024, flags_of(domain)) < 0 ? fail_unless_stopped(domain, reterr) : 0;
}
