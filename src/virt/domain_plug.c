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

/* What libvirt is asked to do with a device that is described by its XML. */
struct device_call {
        int (*call)(virDomainPtr domain, const char *xml, unsigned flags);
        const char *reason; /* of a failure */
        bool leaves;        /* a device that is not there is no failure */
};
static const struct device_call attach = {virDomainAttachDeviceFlags, "AttachFailed", false},
                                detach = {virDomainDetachDeviceFlags, "DetachFailed", true},
                                change_medium = {virDomainUpdateDeviceFlags, "MediumNotChanged", false},
                                change_link = {virDomainUpdateDeviceFlags, "LinkNotChanged", false};

static int call_device(struct virt *virt, const char *uuid, const struct device_call *call, const char *xml, enum virt_where where,
                       struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        AUTO_DOMAIN domain = NULL;
        int r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &domain, reterr);

        if (r)
                return call->leaves && r == VIRT_E_MISSING ? 0 : r;
        if (call->call(domain, xml, flags_of(where)) == 0 || (call->leaves && virt_error_is(VIR_ERR_DEVICE_MISSING)))
                return 0;
        return fail_unless_stopped(domain, call->reason, reterr);
}

static int call_disk(struct virt *virt, const char *uuid, const struct device_call *call, const struct virt_disk *disk,
                     enum virt_where where, struct virt_error *reterr)
{
        g_autofree char *xml = NULL;
        int r = virt_disk_to_xml(disk, &xml, reterr);

        return r ? r : call_device(virt, uuid, call, xml, where, reterr);
}

static int call_nic(struct virt *virt, const char *uuid, const struct device_call *call, const struct virt_nic *nic,
                    enum virt_where where, struct virt_error *reterr)
{
        g_autofree char *xml = NULL;
        int r = virt_nic_to_xml(nic, &xml, reterr);

        return r ? r : call_device(virt, uuid, call, xml, where, reterr);
}

int virt_domain_plug(struct virt *virt, const char *uuid, const struct virt_disk *disk, enum virt_where where,
                     struct virt_error *reterr)
{
        return call_disk(virt, uuid, &attach, disk, where, reterr);
}

int virt_domain_unplug(struct virt *virt, const char *uuid, const struct virt_disk *disk, enum virt_where where,
                       struct virt_error *reterr)
{
        return call_disk(virt, uuid, &detach, disk, where, reterr);
}

int virt_domain_plug_scsi(struct virt *virt, const char *uuid, const struct virt_pci *pci, enum virt_where where,
                          struct virt_error *reterr)
{
        g_autofree char *xml = virt_scsi_to_xml(pci);

        return call_device(virt, uuid, &attach, xml, where, reterr);
}

int virt_domain_change_medium(struct virt *virt, const char *uuid, const struct virt_disk *disk, enum virt_where where,
                              struct virt_error *reterr)
{
        assert(disk && disk->cdrom && *disk->target);
        return call_disk(virt, uuid, &change_medium, disk, where, reterr);
}

/* --- interfaces --- */

int virt_domain_name_nic(struct virt *virt, const char *uuid, const char *mac, const char *name, struct virt_error *reterr)
{
        assert(name);
        return rename_device(virt, uuid, &interfaces, mac, name, reterr);
}

int virt_domain_plug_nic(struct virt *virt, const char *uuid, const struct virt_nic *nic, enum virt_where where,
                         struct virt_error *reterr)
{
        return call_nic(virt, uuid, &attach, nic, where, reterr);
}

int virt_domain_change_nic(struct virt *virt, const char *uuid, const struct virt_nic *nic, enum virt_where where,
                           struct virt_error *reterr)
{
        return call_nic(virt, uuid, &change_link, nic, where, reterr);
}

int virt_domain_unplug_nic(struct virt *virt, const char *uuid, const struct virt_nic *nic, enum virt_where where,
                           struct virt_error *reterr)
{
        return call_nic(virt, uuid, &detach, nic, where, reterr);
}
