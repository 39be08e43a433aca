/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/census.h"

#include "base/error.h"
#include "base/limits.h"
#include "virt/virt_internal.h"
#include "virt/xml.h"

#include <string.h>

#define CHAIN_MAX 16 /* files behind a disk that are looked at */

struct virt_census *virt_census_free(struct virt_census *census)
{
        if (census) {
                arena_free(census->arena);
                g_free(census);
        }
        return NULL;
}

/* --- one domain
 * ----------------------------------------------------------------------------------------------------------------------------------
 */

static const char *source_of(xmlNodePtr node, struct arena *arena)
{
        xmlNodePtr source = xml_child(node, "source");
        const char *file = xml_attribute(source, "file", arena);

        return file ? file : xml_attribute(source, "dev", arena);
}

static void add_file(GArray *files, const char *path, bool writable, bool live)
{
        struct virt_census_file file = {.path = path, .writable = writable, .live = live};

        if (path)
                g_array_append_val(files, file);
}

static void read_disks(xmlNodePtr devices, bool live, GArray *files, struct arena *arena)
{
        for (xmlNodePtr disk = xml_child(devices, "disk"); disk; disk = xml_next(disk)) {
                bool cdrom = xml_attribute_is(disk, "device", "cdrom"), shared = xml_child(disk, "shareable");
                xmlNodePtr behind = xml_child(disk, "backingStore");

                add_file(files, source_of(disk, arena), !cdrom && !shared && !xml_child(disk, "readonly"), live);
                for (unsigned depth = 0; behind && depth < CHAIN_MAX; depth++) {
                        add_file(files, source_of(behind, arena), false, live);
                        behind = xml_child(behind, "backingStore");
                }
        }
}

static void read_taps(xmlNodePtr devices, GPtrArray *taps, struct arena *arena)
{
        for (xmlNodePtr nic = xml_child(devices, "interface"); nic; nic = xml_next(nic)) {
                const char *tap = xml_attribute(xml_child(nic, "target"), "dev", arena);

                if (tap)
                        g_ptr_array_add(taps, (void *)tap);
        }
}

static int read_xml(virDomainPtr domain, bool live, GArray *files, GPtrArray *taps, struct arena *arena, struct virt_error *reterr)
{
        AUTO_TEXT text = virDomainGetXMLDesc(domain, live ? 0 : VIR_DOMAIN_XML_INACTIVE);
        AUTO_XML doc = NULL;
        xmlNodePtr devices, nvram;

        if (!text)
                return virt_fail(reterr, "DomainLost");
        doc = xml_parse(text, LIMIT_DOMAIN_XML_BYTES);
        if (!doc)
                return virt_say(reterr, VIRT_E_INVALID, "Failed", "the XML of %s cannot be read", virDomainGetName(domain));
        devices = xml_child(xml_root(doc), "devices");
        nvram = xml_find(xml_root(doc), "os/nvram");
        add_file(files, xml_text(nvram, arena), true, live);
        read_disks(devices, live, files, arena);
        if (live)
                read_taps(devices, taps, arena);
        return 0;
}

static void read_metadata(virDomainPtr domain, struct virt_census_domain *entry, struct arena *arena)
{
        AUTO_TEXT text = virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, VIRT_METADATA_URI, 0);
        AUTO_XML doc = text ? xml_parse(text, LIMIT_DOMAIN_XML_BYTES) : NULL;
        xmlNodePtr instance = doc ? xml_root(doc) : NULL;

        entry->ours = instance;
        entry->machine_uid = entry->instance_uid = "";
        if (!instance)
                return;
        entry->machine_uid = xml_attribute(instance, "machineUid", arena) ?: "";
        entry->instance_uid = xml_attribute(instance, "instanceUid", arena) ?: "";
        entry->machine_namespace = xml_attribute(instance, "namespace", arena);
        entry->machine_name = xml_attribute(instance, "name", arena);
        entry->generation = (int64_t)xml_attribute_number(instance, "generation", INT64_MAX, 0);
        entry->epoch = (int64_t)xml_attribute_number(instance, "epoch", INT64_MAX, 0);
}

static int read_domain(struct virt *virt, virDomainPtr domain, struct virt_census_domain *ret_entry, struct arena *arena,
                       struct virt_error *reterr)
{
        g_autoptr(GArray) files = g_array_new(FALSE, FALSE, sizeof(struct virt_census_file));
        g_autoptr(GPtrArray) taps = g_ptr_array_new();
        struct virt_census_domain entry = {.id = -1};
        struct virt_domain_entry own = {};
        int r;

        if (virDomainGetUUIDString(domain, entry.uuid) < 0)
                return virt_fail(reterr, "DomainLost");
        entry.name = arena_strdup(arena, virDomainGetName(domain));
        entry.active = virDomainIsActive(domain) == 1;
        entry.persistent = virDomainIsPersistent(domain) == 1;
        entry.id = entry.active ? (int)virDomainGetID(domain) : -1;
        read_metadata(domain, &entry, arena);
        r = read_xml(domain, true, files, taps, arena, reterr);
        if (!r && entry.active && entry.persistent)
                r = read_xml(domain, false, files, taps, arena, reterr);
        if (!r && entry.ours) {
                r = virt_domain_get(virt, entry.uuid, &own, reterr);
                entry.state = own.state;
                virt_domain_entry_clear(&own);
        }
        if (r)
                return r;
        entry.n_files = files->len;
        entry.files = arena_array(arena, files->len + 1, sizeof(*entry.files));
        if (files->len > 0)
                memcpy(entry.files, files->data, files->len * sizeof(*entry.files));
        entry.n_taps = taps->len;
        entry.taps = arena_array(arena, taps->len + 1, sizeof(*entry.taps));
        for (guint i = 0; i < taps->len; i++)
                entry.taps[i] = taps->pdata[i];
        *ret_entry = entry;
        return 0;
}

/* --- all
 * -----------------------------------------------------------------------------------------------------------------------------------------
 */

static int compare_domains(const void *a, const void *b)
{
        return strcmp(((const struct virt_census_domain *)a)->uuid, ((const struct virt_census_domain *)b)->uuid);
}

int virt_census_take(struct virt *virt, struct virt_census **ret_census, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = virt_use(virt, VIRT_QUERIES, reterr);
        g_autoptr(virt_census) census = NULL;
        virDomainPtr *domains = NULL;
        int found, r = 0;

        assert(ret_census && reterr);

        if (!connection)
                return VIRT_E_UNREACHABLE;
        found = virConnectListAllDomains(connection, &domains, 0);
        if (found < 0)
                return virt_fail(reterr, "LibvirtUnreachable");
        census = g_new0(struct virt_census, 1);
        census->arena = arena_new(0);
        census->domains = arena_array(census->arena, (size_t)found + 1, sizeof(*census->domains));
        for (int i = 0; i < found; i++) {
                if (!r) {
                        r = read_domain(virt, domains[i], &census->domains[census->n], census->arena, reterr);
                        census->n += !r;
                        r = r == VIRT_E_MISSING ? 0 : r;
                }
                virDomainFree(domains[i]);
        }
        free(domains);
        if (r)
                return r;
        qsort(census->domains, census->n, sizeof(*census->domains), compare_domains);
        *ret_census = g_steal_pointer(&census);
        return 0;
}

const struct virt_census_domain *virt_census_user(const struct virt_census *census, const char *path)
{
        assert(census && path);

        for (size_t i = 0; i < census->n; i++)
                for (size_t j = 0; j < census->domains[i].n_files; j++)
                        if (strcmp(census->domains[i].files[j].path, path) == 0)
                                return &census->domains[i];
        return NULL;
}

/* --- the user of one file
 * ------------------------------------------------------------------------------------------------------------------------ */

static int look_for_file(virDomainPtr domain, const char *path, const char *name, struct virt_file_holder *holder,
                         struct virt_error *reterr)
{
        AUTO_TEXT text = virDomainGetXMLDesc(domain, 0);
        AUTO_TEXT metadata = NULL;
        g_autoptr(GArray) files = NULL;
        g_autoptr(arena) arena = NULL;
        AUTO_XML doc = NULL;
        bool has = false;

        if (!text)
                return virt_error_is(VIR_ERR_NO_DOMAIN) ? 0 : virt_fail(reterr, "DomainLost");
        if (!strstr(text, name))
                return 0; /* the most of them: nothing to read */
        doc = xml_parse(text, LIMIT_DOMAIN_XML_BYTES);
        if (!doc)
                return virt_say(reterr, VIRT_E_INVALID, "Failed", "the XML of %s cannot be read", virDomainGetName(domain));
        arena = arena_new(0);
        files = g_array_new(FALSE, FALSE, sizeof(struct virt_census_file));
        read_disks(xml_child(xml_root(doc), "devices"), true, files, arena);
        for (guint i = 0; i < files->len; i++) {
                const struct virt_census_file *file = &g_array_index(files, struct virt_census_file, i);

                if (strcmp(file->path, path) == 0) {
                        has = true;
                        holder->disk |= file->writable;
                }
        }
        if (!has)
                return 0;
        if (virDomainGetUUIDString(domain, holder->uuid) < 0)
                return virt_error_is(VIR_ERR_NO_DOMAIN) ? 0 : virt_fail(reterr, "DomainLost");
        metadata = virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, VIRT_METADATA_URI, 0);
        holder->own = metadata != NULL;
        holder->name = g_strdup(virDomainGetName(domain));
        return 0;
}

void virt_file_holder_clear(struct virt_file_holder *holder)
{
        g_free(holder->name);
        *holder = (struct virt_file_holder){};
}

int virt_file_holder(struct virt *virt, const char *path, struct virt_file_holder *ret_holder, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = virt_use(virt, VIRT_QUERIES, reterr);
        struct virt_file_holder holder = {};
        g_autofree char *name = NULL;
        virDomainPtr *domains = NULL;
        int found, r = 0;

        assert(path && ret_holder && reterr);

        if (!connection)
                return VIRT_E_UNREACHABLE;
        found = virConnectListAllDomains(connection, &domains, VIR_CONNECT_LIST_DOMAINS_ACTIVE);
        if (found < 0)
                return virt_fail(reterr, "LibvirtUnreachable");
        name = g_path_get_basename(path);
        for (int i = 0; i < found; i++) {
                if (!r && !holder.name)
                        r = look_for_file(domains[i], path, name, &holder, reterr);
                virDomainFree(domains[i]);
        }
        free(domains);
        if (r)
                virt_file_holder_clear(&holder);
        else
                *ret_holder = holder;
        return r;
}

int virt_file_user(struct virt *virt, const char *path, char **ret_name, struct virt_error *reterr)
{
        struct virt_file_holder holder = {};
        int r = virt_file_holder(virt, path, &holder, reterr);

        assert(ret_name);
        if (!r)
                *ret_name = g_steal_pointer(&holder.name);
        virt_file_holder_clear(&holder);
        return r;
}
