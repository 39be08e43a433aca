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

/* How the metadata name a kind of devices. */
struct naming {
        const char *element, *key;
};
static const struct naming disks = {"disk", "target"}, interfaces = {"interface", "mac"};

static bool remove_named(xmlNodePtr instance, const struct naming *naming, const char *value, const char *name)
{
        xmlNodePtr next;
        bool removed = false;

        for (xmlNodePtr node = xml_child(instance, naming->element); node; node = next) {
                next = xml_next(node);
                if ((value && xml_attribute_is(node, naming->key, value)) || xml_attribute_is(node, "name", name)) {
                        xmlUnlinkNode(node);
                        xmlFreeNode(node);
                        removed = true;
                }
        }
        return removed;
}

/* Out of the names with what has this one; in again with a value of its key. */
static int rename_device(struct virt *virt, const char *uuid, const struct naming *naming, const char *value, const char *name,
                         struct virt_error *reterr)
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
        if (!remove_named(xml_root(metadata), naming, value, name) && !value)
                return 0;
        if (value)
                xmlSetNs(xml_add(xml_root(metadata), naming->element, "name", name, naming->key, value, NULL),
                         xml_root(metadata)->ns);
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
        return rename_device(virt, uuid, &disks, target, name, reterr);
}

int virt_domain_forget_disk(struct virt *virt, const char *uuid, const char *name, struct virt_error *reterr)
{
        assert(name);
        return rename_device(virt, uuid, &disks, NULL, name, reterr);
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

/* --- interfaces --- */

int virt_domain_name_nic(struct virt *virt, const char *uuid, const char *mac, const char *name, struct virt_error *reterr)
{
        assert(name);
        return rename_device(virt, uuid, &interfaces, mac, name, reterr);
}

typedef int (*device_call)(virDomainPtr domain, const char *xml, unsigned flags);

static int call_nic(struct virt *virt, const char *uuid, const struct virt_nic *nic, enum virt_where where, device_call call,
                    const char *reason, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        g_autofree char *xml = NULL;
        AUTO_DOMAIN domain = NULL;
        int r = virt_nic_to_xml(nic, &xml, reterr);

        if (!r)
                r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);
        if (r)
                return r;
        return call(domain, xml, flags_of(where)) < 0 ? fail_unless_stopped(domain, reason, reterr) : 0;
}

int virt_domain_plug_nic(struct virt *virt, const char *uuid, const struct virt_nic *nic, enum virt_where where,
                         struct virt_error *reterr)
{
        return call_nic(virt, uuid, nic, where, virDomainAttachDeviceFlags, "AttachFailed", reterr);
}

int virt_domain_change_nic(struct virt *virt, const char *uuid, const struct virt_nic *nic, struct virt_error *reterr)
{
        return call_nic(virt, uuid, nic, VIRT_WHERE_LIVE, virDomainUpdateDeviceFlags, "AttachFailed", reterr);
}

int virt_domain_unplug_nic(struct virt *virt, const char *uuid, const struct virt_nic *nic, enum virt_where where,
                           struct virt_error *reterr)
{
        int r = call_nic(virt, uuid, nic, where, virDomainDetachDeviceFlags, "DetachFailed", reterr);

        return r == VIRT_E_MISSING || (r && virt_error_is(VIR_ERR_DEVICE_MISSING)) ? 0 : r;
}
