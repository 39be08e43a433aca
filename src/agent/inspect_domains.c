/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/inspect.h"

#include "agent/groups.h"

#include "base/file.h"

#include <string.h>

#define STRAYS_MANY 3

/* --- domains ---------------------------------------------------------------------------------------------------------------------
 */

/* The Instance that a domain belongs to: by the intent it names, else by its UUID. */
static const struct inspect_intent *owner_of(struct inspect *inspect, const struct virt_census_domain *domain)
{
        const struct inspect_intent *owner = inspect_intent_uid(inspect, &api_instance_kind, domain->instance_uid);

        for (unsigned i = 0; !owner && i < inspect->known->intents->len; i++) {
                const struct inspect_intent *intent = inspect->known->intents->pdata[i];

                if (intent->kind == &api_instance_kind && g_ascii_strcasecmp(instance_uuid(intent->doc->view), domain->uuid) == 0) {
                        owner = intent;
                }
        }
        return owner;
}

static void say_domain(struct inspect *inspect, struct api_host_finding *finding, const struct virt_census_domain *domain)
{
        inspect_evidence(inspect, finding, "domain %s (%s) is %s, %s", domain->name, domain->uuid,
                         domain->active ? "running" : "not running", domain->persistent ? "defined" : "without a definition");
        if (domain->ours) {
                inspect_evidence(inspect, finding, "its metadata names machine %s/%s (%s), Instance %s, epoch %" G_GINT64_FORMAT,
                                 domain->machine_namespace ?: "?", domain->machine_name ?: "?", domain->machine_uid,
                                 domain->instance_uid, domain->epoch);
        }
}

/* A store that forgot its machines would have all of them cut off: then a person must decide. */
static bool set_back(struct inspect *inspect)
{
        unsigned stray = 0, owned = 0;

        for (size_t i = 0; i < inspect->census->n; i++) {
                const struct virt_census_domain *domain = &inspect->census->domains[i];

                if (domain->ours && domain->active) {
                        *(owner_of(inspect, domain) ? &owned : &stray) += 1;
                }
        }
        return stray >= STRAYS_MANY && stray > owned;
}

static void stray_domain(struct inspect *inspect, const struct virt_census_domain *domain)
{
        struct api_host_finding *finding =
                inspect_found(inspect, REASON_STRAY_DOMAIN, domain->active ? "Critical" : "Warning", "domain/%s", domain->uuid);

        finding->uid = arena_strdup(inspect->arena, domain->instance_uid);
        finding->machine = arena_strdup(inspect->arena, domain->machine_uid);
        if (domain->machine_name) {
                finding->object = arena_printf(inspect->arena, "VirtualMachine/%s/%s", domain->machine_namespace ?: "default",
                                               domain->machine_name);
        }
        say_domain(inspect, finding, domain);
        inspect_evidence(inspect, finding, "no Instance of this node has that UID or this domain");
        for (size_t i = 0; i < domain->n_files; i++) {
                if (domain->files[i].writable) {
                        inspect_evidence(inspect, finding, "it writes to %s", domain->files[i].path);
                }
        }
        if (domain->active && set_back(inspect)) {
                inspect_evidence(inspect, finding,
                                 "most running domains here have no Instance: was the store set back to an old copy?");
                return;
        }
        inspect_fix(inspect, finding, "%sundefine the domain %s; the files of its disks stay where they are",
                    domain->active ? "cut it off and " : "", domain->name);
}

static void foreign_domain(struct inspect *inspect, const struct virt_census_domain *domain)
{
        struct api_host_finding *finding = inspect_found(inspect, REASON_FOREIGN_DOMAIN, "Note", "domain/%s", domain->uuid);

        say_domain(inspect, finding, domain);
        inspect_evidence(inspect, finding, "it carries no metadata of Gabbro: it is never touched");
}

static const char *machine_of(struct inspect *inspect, const struct inspect_intent *intent)
{
        const struct api_machine_ref *machine = ((const struct api_instance *)intent->doc->view)->spec->machine;

        return arena_printf(inspect->arena, "VirtualMachine/%s/%s", machine->namespace, machine->name);
}

static bool told_running(const struct api_instance_status *told)
{
        return g_strcmp0(told->state, "running") == 0 || g_strcmp0(told->state, "paused") == 0;
}

static const struct virt_census_domain *domain_of(struct inspect *inspect, const struct inspect_intent *intent)
{
        const char *uuid = instance_uuid(intent->doc->view);

        for (size_t i = 0; uuid && i < inspect->census->n; i++) {
                if (g_ascii_strcasecmp(inspect->census->domains[i].uuid, uuid) == 0) {
                        return &inspect->census->domains[i];
                }
        }
        return NULL;
}

/* What the Instance tells of its domain, against what there is. */
static void check_instance(struct inspect *inspect, const struct inspect_intent *intent)
{
        const struct api_instance_status *told = inspect_told(inspect, intent);
        const struct virt_census_domain *domain = domain_of(inspect, intent);
        struct api_host_finding *finding;

        if (!told || !told->state || !*told->state || g_str_equal(told->state, "Gone") || g_str_equal(told->state, "creating")) {
                return;
        }
        if (domain && domain->active == told_running(told)) {
                return;
        }
        if (domain && (g_str_equal(told->state, "shutdown") || g_str_equal(told->state, "crashed") ||
                       g_str_equal(told->state, "migrating"))) {
                return;
        }
        if (!domain && !told_running(told)) {
                return;
        }
        if (intent->busy) {
                inspect_later(inspect);
                return;
        }
        finding = inspect_found(inspect, domain ? REASON_DOMAIN_DISAGREES : REASON_DOMAIN_MISSING, "Critical", "instances/%s",
                                intent->name);
        finding->object = machine_of(inspect, intent);
        finding->uid = arena_strdup(inspect->arena, intent->uid);
        inspect_evidence(inspect, finding, "the status of Instance %s says %s, epoch %" G_GINT64_FORMAT, intent->name, told->state,
                         told->epoch);
        if (domain) {
                say_domain(inspect, finding, domain);
        } else {
                inspect_evidence(inspect, finding, "libvirt knows no domain %s", instance_uuid(intent->doc->view));
        }
        inspect_fix(inspect, finding, "take up Instance %s anew; the machine's run policy decides what follows", intent->name);
}

static bool writes_live(const struct virt_census_domain *domain, const char *path)
{
        for (size_t i = 0; domain->active && i < domain->n_files; i++) {
                if (domain->files[i].live && domain->files[i].writable && g_str_equal(domain->files[i].path, path)) {
                        return true;
                }
        }
        return false;
}

/* I2: no disk is open read-write by two. */
static void check_shared(struct inspect *inspect, size_t index)
{
        const struct virt_census_domain *domain = &inspect->census->domains[index];

        for (size_t i = 0; i < domain->n_files; i++) {
                const char *path = domain->files[i].path;

                for (size_t j = index + 1; writes_live(domain, path) && domain->files[i].live && j < inspect->census->n; j++) {
                        const struct virt_census_domain *other = &inspect->census->domains[j];
                        struct api_host_finding *finding;

                        if (!writes_live(other, path)) {
                                continue;
                        }
                        finding = inspect_found(inspect, REASON_DISK_SHARED_WRITABLE, "Critical", "%s", path);
                        say_domain(inspect, finding, domain);
                        say_domain(inspect, finding, other);
                        inspect_evidence(inspect, finding, "both have %s open for writing", path);
                }
        }
}

void inspect_domains(struct inspect *inspect)
{
        for (size_t i = 0; inspect->census && i < inspect->census->n; i++) {
                const struct virt_census_domain *domain = &inspect->census->domains[i];

                if (!domain->ours) {
                        foreign_domain(inspect, domain);
                } else if (!owner_of(inspect, domain)) {
                        stray_domain(inspect, domain);
                }
                check_shared(inspect, i);
        }
        for (unsigned i = 0; inspect->census && i < inspect->known->intents->len; i++) {
                const struct inspect_intent *intent = inspect->known->intents->pdata[i];

                if (intent->kind == &api_instance_kind) {
                        check_instance(inspect, intent);
                }
        }
}

/* --- QEMU processes --------------------------------------------------------------------------------------------------------------
 */

static const struct virt_census_domain *domain_by_uuid(struct inspect *inspect, const char *uuid)
{
        for (size_t i = 0; i < inspect->census->n; i++) {
                if (g_ascii_strcasecmp(inspect->census->domains[i].uuid, uuid) == 0) {
                        return &inspect->census->domains[i];
                }
        }
        return NULL;
}

static unsigned count_processes(const GPtrArray *processes, const char *uuid)
{
        unsigned n = 0;

        for (unsigned i = 0; i < processes->len; i++) {
                const char *own = inspect_argument(processes->pdata[i], "-uuid");

                n += own && g_ascii_strcasecmp(own, uuid) == 0;
        }
        return n;
}

static void stray_process(struct inspect *inspect, const struct inspect_process *process, const char *uuid, const char *why)
{
        struct api_host_finding *finding = inspect_found(inspect, REASON_STRAY_PROCESS, "Critical", "process/%d", process->pid);
        const char *name = inspect_argument(process, "-name");

        inspect_evidence(inspect, finding, "process %d is %s -uuid %s -name %s", process->pid, process->arguments[0], uuid,
                         name ?: "?");
        inspect_evidence(inspect, finding, "%s", why);
        finding->machine = arena_strdup(inspect->arena, uuid);
}

/* I1: a guest that libvirt does not know may still run. Probes of libvirt itself have no UUID. */
void inspect_qemu(struct inspect *inspect)
{
        g_autoptr(GPtrArray) processes = NULL;

        if (!inspect->census || virt_is_test(inspect->agent->virt)) {
                return;
        }
        processes = inspect_processes("qemu-system-");
        for (unsigned i = 0; i < processes->len; i++) {
                const char *uuid = inspect_argument(processes->pdata[i], "-uuid");
                const struct virt_census_domain *domain = uuid ? domain_by_uuid(inspect, uuid) : NULL;

                if (uuid && (!domain || !domain->active)) {
                        stray_process(inspect, processes->pdata[i], uuid,
                                      domain ? "libvirt says that this domain does not run" : "libvirt knows no such domain");
                } else if (uuid && count_processes(processes, uuid) > 1) {
                        stray_process(inspect, processes->pdata[i], uuid, "there are several processes of this domain");
                }
        }
        for (size_t i = 0; i < inspect->census->n; i++) {
                const struct virt_census_domain *domain = &inspect->census->domains[i];

                if (domain->ours && domain->active && !count_processes(processes, domain->uuid)) {
                        struct api_host_finding *finding =
                                inspect_found(inspect, REASON_PROCESS_MISSING, "Critical", "domain/%s", domain->uuid);

                        say_domain(inspect, finding, domain);
                        inspect_evidence(inspect, finding, "no process was begun with -uuid %s", domain->uuid);
                }
        }
}

/* --- control groups --------------------------------------------------------------------------------------------------------------
 */

static bool runs(struct inspect *inspect, const char *name)
{
        for (size_t i = 0; i < inspect->census->n; i++) {
                /* systemd and libvirt cut and escape long names. */
                if (inspect->census->domains[i].active && (g_str_has_prefix(inspect->census->domains[i].name, name) ||
                                                           g_str_has_prefix(name, inspect->census->domains[i].name))) {
                        return true;
                }
        }
        return false;
}

static bool holds_processes(const char *path, unsigned depth)
{
        g_autofree char *procs = g_build_filename(path, "cgroup.procs", NULL), *text = NULL;
        g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
        const char *name;
        size_t len = 0;

        if (file_read(procs, 1u << 20, &text, &len) < 0 || len) {
                return true; /* unreadable is not known to be empty */
        }
        while (folder && depth && (name = g_dir_read_name(folder))) {
                g_autofree char *child = g_build_filename(path, name, NULL);

                if (g_file_test(child, G_FILE_TEST_IS_DIR) && holds_processes(child, depth - 1)) {
                        return true;
                }
        }
        return false;
}

static void walk_cgroups(struct inspect *inspect, const char *path, unsigned depth)
{
        g_autoptr(GDir) folder = depth ? g_dir_open(path, 0, NULL) : NULL;
        const char *name;

        while (folder && (name = g_dir_read_name(folder))) {
                g_autofree char *child = g_build_filename(path, name, NULL), *domain = groups_domain(name);
                struct api_host_finding *finding;

                if (!g_file_test(child, G_FILE_TEST_IS_DIR) || g_file_test(child, G_FILE_TEST_IS_SYMLINK)) {
                        continue;
                }
                if (!domain) {
                        walk_cgroups(inspect, child, depth - 1);
                } else if (!runs(inspect, domain) && !holds_processes(child, GROUPS_DEPTH)) {
                        finding = inspect_found(inspect, REASON_STRAY_CGROUP, "Warning", "%s", child);
                        inspect_evidence(inspect, finding, "no domain %s runs, and no process is in it", domain);
                        inspect_fix(inspect, finding, "remove the empty control group");
                }
        }
}

void inspect_cgroups(struct inspect *inspect)
{
        if (inspect->census) {
                walk_cgroups(inspect, GROUPS_ROOT, GROUPS_DEPTH);
        }
}
