/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/graphics_internal.h"

#include "base/address.h"
#include "virt/virt_internal.h"

#include <assert.h>
#include <string.h>

static int bad(struct virt_error *reterr, const char *words)
{
        return virt_say(reterr, VIRT_E_INVALID, "ValidationFailed", "graphics: %s", words);
}

const char *virt_graphics_password_fault(const char *password)
{
        size_t len = password ? strlen(password) : 0;

        if (!len)
                return "there is no password";
        if (len > VIRT_GRAPHICS_PASSWORD_MAX)
                return "the password is longer than " G_STRINGIFY(VIRT_GRAPHICS_PASSWORD_MAX) " characters";
        for (const char *p = password; *p; p++)
                if (!g_ascii_isgraph(*p))
                        return "the password has characters other than printable ASCII, or blanks";
        return NULL;
}

void virt_xml_wipe(char *xml)
{
        if (xml)
                explicit_bzero(xml, strlen(xml));
        g_free(xml);
}

int virt_graphics_check(const struct virt_domain *domain, struct virt_error *reterr)
{
        struct address address;
        const char *fault;

        assert(domain && reterr);
        if (!domain->graphics_address || domain->no_vnc)
                return 0;
        if (address_parse(domain->graphics_address, &address) < 0)
                return bad(reterr, "what it shall listen on is no IP address");
        fault = virt_graphics_password_fault(domain->graphics_password);
        return fault ? bad(reterr, fault) : 0;
}

/* --- writing --- */

static void add_socket(xmlNodePtr graphics, const struct virt_domain *domain)
{
        /* A socket that libvirt names and only root and QEMU can reach. */
        xml_add(graphics, "listen", "type", "socket", NULL);
        if (domain->spice)
                xml_add(graphics, "image", "compression", "off", NULL); /* there is no slow line on a socket */
}

static void add_port(xmlNodePtr graphics, const struct virt_domain *domain)
{
        xml_set(graphics, "autoport", "yes");
        xml_set(graphics, "listen", domain->graphics_address);
        xml_set(graphics, "passwd", domain->graphics_password);
        xml_add(graphics, "listen", "type", "address", "address", domain->graphics_address, NULL);
}

void virt_graphics_add(xmlNodePtr devices, const struct virt_domain *domain)
{
        xmlNodePtr graphics, channel;

        assert(devices && domain && !domain->no_vnc);
        graphics = xml_add(devices, "graphics", "type", domain->spice ? "spice" : "vnc", NULL);
        if (domain->graphics_address)
                add_port(graphics, domain);
        else
                add_socket(graphics, domain);
        if (!domain->spice)
                return;
        channel = xml_add(devices, "channel", "type", "spicevmc", NULL);
        xml_add(channel, "target", "type", "virtio", "name", "com.redhat.spice.0", NULL);
        xml_add(channel, "address", "type", "virtio-serial", "controller", "0", "bus", "0", "port", "2", NULL);
}

int virt_graphics_to_xml(const struct virt_domain *domain, char **ret_xml, struct virt_error *reterr)
{
        AUTO_XML doc = NULL;
        int r;

        assert(domain && domain->graphics_address && ret_xml && reterr);
        r = virt_graphics_check(domain, reterr);
        if (r)
                return r;
        doc = xml_new("graphics");
        xml_set(xml_root(doc), "type", domain->spice ? "spice" : "vnc");
        add_port(xml_root(doc), domain);
        *ret_xml = xml_to_text(doc);
        return 0;
}

/* --- reading --- */

void virt_graphics_read(xmlNodePtr devices, struct virt_facts *facts)
{
        xmlNodePtr graphics = xml_child(devices, "graphics"), listen = xml_child(graphics, "listen");
        struct virt_domain *domain = &facts->domain;

        assert(facts);
        domain->no_vnc = !graphics;
        domain->spice = xml_attribute_is(graphics, "type", "spice");
        if (xml_attribute_is(graphics, "type", "vnc"))
                facts->vnc_socket = xml_attribute(listen, "socket", facts->arena);
        if (!xml_attribute_is(listen, "type", "address"))
                return;
        domain->graphics_address = xml_attribute(listen, "address", facts->arena);
        facts->graphics_port = (unsigned)xml_attribute_number(graphics, "port", UINT16_MAX, 0);
}

/* --- moving --- */

int virt_graphics_move(xmlNodePtr devices, const char *address, struct virt_error *reterr)
{
        xmlNodePtr graphics = xml_child(devices, "graphics"), listen = xml_child(graphics, "listen");
        struct address parsed;

        assert(reterr);
        if (!xml_attribute_is(listen, "type", "address") && !xml_attribute_is(listen, "type", "network"))
                return 0;
        if (!address)
                return bad(reterr, "the other host allows no screen to listen for TCP");
        if (address_parse(address, &parsed) < 0)
                return bad(reterr, "what it shall listen on there is no IP address");
        if (!xmlHasProp(graphics, (const xmlChar *)"passwd"))
                return bad(reterr, "the screen has a port without a password");
        xml_set(graphics, "listen", address);
        xml_set(listen, "type", "address");
        xml_set(listen, "address", address);
        return 0;
}

/* --- a running domain --- */

int virt_graphics_set_password(struct virt *virt, const char *uuid, const struct virt_domain *domain, const char *password,
                               struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        struct virt_domain wanted;
        AUTO_DOMAIN found = NULL;
        char *xml = NULL;
        unsigned flags = VIR_DOMAIN_AFFECT_LIVE;
        int r;

        assert(virt && uuid && domain && domain->graphics_address && password && reterr);
        wanted = *domain;
        wanted.graphics_password = password;
        r = virt_graphics_to_xml(&wanted, &xml, reterr);
        if (!r)
                r = virt_use_own(virt, VIRT_JOBS, uuid, &connection, &found, reterr);
        if (!r && virDomainIsPersistent(found) == 1)
                flags |= VIR_DOMAIN_AFFECT_CONFIG;
        if (!r && virDomainUpdateDeviceFlags(found, xml, flags) < 0) {
                r = virt_fail(reterr, "GraphicsPasswordNotSet");
                if ((r == VIRT_E_FAILED || r == VIRT_E_INVALID) && virDomainIsActive(found) == 0)
                        r = VIRT_E_STATE;
        }
        virt_xml_wipe(xml);
        return r;
}
