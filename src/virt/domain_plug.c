/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/domain_plug.h"

#include "base/limits.h"
#include "virt/virt_internal.h"
#include "virt/xml.h"

#include <assert.h>
#include <string.h>

static int fail_unless_stopped(virDomainPtr domain, const char *reason, struct virt_error *reterr)
{
        int r = virt_fail(reterr, reason);

        return (r == VIRT_E_FAILED || r == VIRT_E_INVALID) && virDomainIsActive(domain) == 0 ? VIRT_E_STATE : r;
}

static bool remove_named(xmlNodePtr instance, const char *target, const char *name)
{
        xmlNodePtr next;
        bool removed = false;

        for (xmlNodePtr node = xml_child(instance, "disk"); node; node = next) {
                next = xml_next(node);
                if ((target && xml_attribute_is(node, "target", target)) || xml_attribute_is(node, "name", name)) {
                        xmlUnlinkNode(node);
                        xmlFreeNode(node);
                        removed = true;
                }
        }
        return removed;
}

/* Out of the names with what has this one; in again with a target. */
static int rename_disk(struct virt *virt, const char *uuid, const char *target, const char *name, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        g_autofree char *text = NULL;
        AUTO_DOMAIN domain = NULL;
        AUTO_TEXT found = NULL;
        AUTO_XML metadata = NULL;
        unsigned flags;
        int r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);

        if (r)
                return r;
        found = virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, VIRT_METADATA_URI, 0);
        metadata = found ? xml_parse(found, LIMIT_DOMAIN_XML_BYTES) : NULL;
        if (!metadata)
                return virt_fail(reterr, "DefineFailed");
        if (!remove_named(xml_root(metadata), target, name) && !target)
                return 0;
        if (target)
                xmlSetNs(xml_add(xml_root(metadata), "disk", "name", name, "target", target, NULL), xml_root(metadata)->ns);
        text = xml_to_text(metadata);
        flags = (virDomainIsPersistent(domain) == 1 ? VIR_DOMAIN_AFFECT_CONFIG : 0) |
                (virDomainIsActive(domain) == 1 ? VIR_DOMAIN_AFFECT_LIVE : 0);
        if (virDomainSetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, text, "gabbro", VIRT_METADATA_URI, flags) < 0)
                return virt_fail(reterr, "DefineFailed");
        return 0;
}

int virt_domain_name_disk(struct virt *virt, const char *uuid, const char *target, const char *name, struct virt_error *reterr)
{
        assert(target && *target && name);
        return rename_disk(virt, uuid, target, name, reterr);
}

int virt_domain_forget_disk(struct virt *virt, const char *uuid, const char *name, struct virt_error *reterr)
{
        assert(name);
        return rename_disk(virt, uuid, NULL, name, reterr);
}

static unsigned flags_of(enum virt_where where)
{
        return where == VIRT_WHERE_LIVE ? VIR_DOMAIN_AFFECT_LIVE : VIR_DOMAIN_AFFECT_CONFIG;
}

int virt_domain_plug(struct virt *virt, const char *uuid, const struct virt_disk *disk, enum virt_where where,
                     struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        g_autofree char *xml = NULL;
        AUTO_DOMAIN domain = NULL;
        int r = virt_disk_to_xml(disk, &xml, reterr);

        if (!r)
                r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);
        if (r)
                return r;
        return virDomainAttachDeviceFlags(domain, xml, flags_of(where)) < 0 ? fail_unless_stopped(domain, "AttachFailed", reterr)
                                                                            : 0;
}

int virt_domain_unplug(struct virt *virt, const char *uuid, const struct virt_disk *disk, enum virt_where where,
                       struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        g_autofree char *xml = NULL;
        AUTO_DOMAIN domain = NULL;
        int r = virt_disk_to_xml(disk, &xml, reterr);

        if (!r)
                r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);
        if (r)
                return r == VIRT_E_MISSING ? 0 : r;
        if (virDomainDetachDeviceFlags(domain, xml, flags_of(where)) == 0 || virt_error_is(VIR_ERR_DEVICE_MISSING))
                return 0;
        return fail_unless_stopped(domain, "DetachFailed", reterr);
}

int virt_domain_change_medium(struct virt *virt, const char *uuid, const struct virt_disk *disk, enum virt_where where,
                              struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        g_autofree char *xml = NULL;
        AUTO_DOMAIN domain = NULL;
        int r;

        assert(disk && disk->cdrom && *disk->target);
        r = virt_disk_to_xml(disk, &xml, reterr);
        if (!r)
                r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);
        if (r)
                return r;
        return virDomainUpdateDeviceFlags(domain, xml, flags_of(where)) < 0
                       ? fail_unless_stopped(domain, "MediumNotChanged", reterr)
                       : 0;
}
