/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/instance_start.h"

#include "agent/instance_graphics.h"
#include "agent/instance_limits.h"
#include "agent/instance_record.h"
#include "base/error.h"
#include "base/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* What every x86-64 processor has: the base for classes that ask for features and nothing else. */
#define BASE_MODEL "qemu64"

static int refuse(struct virt_error *reterr, const char *reason, const char *format, ...) G_GNUC_PRINTF(3, 4);
static int refuse(struct virt_error *reterr, const char *reason, const char *format, ...)
{
        va_list args;

        *reterr = (struct virt_error){.reason = reason};
        va_start(args, format);
        g_vsnprintf(reterr->words, sizeof(reterr->words), format, args);
        va_end(args);
        return VIRT_E_INVALID;
}

/* The record of a machine that was never started with an interface does not know it. */
static bool is_recorded(const struct json_value *record, const char *port)
{
        const struct json_value *list = json_get(record, "interfaces");

        for (const struct json_value *nic = json_first(list); nic; nic = json_next(nic)) {
                if (g_strcmp0(json_find_string(nic, "name", NULL), port) == 0) {
                        return true;
                }
        }
        return !record;
}

bool instance_has_attachments(const struct api_instance_spec *spec)
{
        assert(spec);
        for (size_t i = 0; i < spec->n_disks; i++) {
                if (spec->disks[i].attachment) {
                        return true;
                }
        }
        for (size_t i = 0; i < spec->n_ports; i++) {
                if (!is_recorded(spec->hardware, spec->ports[i])) {
                        return true;
                }
        }
        return false;
}

static bool lists(const char *const *ports, size_t n, const char *port)
{
        for (size_t i = 0; i < n; i++) {
                if (strcmp(ports[i], port) == 0) {
                        return true;
                }
        }
        return false;
}

bool instance_port_leaves(const struct api_instance_spec *spec, const char *port)
{
        assert(spec && port);
        return lists(spec->leaving_ports, spec->n_leaving_ports, port);
}

bool instance_link_is_down(const struct api_instance_spec *spec, const char *port)
{
        assert(spec && port);
        return lists(spec->down_ports, spec->n_down_ports, port);
}

bool instance_takes(const struct api_instance_disk *disk, const struct job_volume *volume)
{
        assert(disk && volume);
        return !disk->attachment || (!disk->unplug && volume->ready && volume->path && !volume->locked);
}

const char *instance_drive(const struct api_instance_disk *disk)
{
        assert(disk);
        return disk->drive ? disk->drive : disk->name;
}

const char *instance_uuid(const struct api_instance *instance)
{
        const char *recorded = json_find_string(instance_record(instance, NULL), "uuid", NULL);

        return recorded ? recorded : instance->spec->machine->uid;
}

/* --- processor -------------------------------------------------------------------------------------------------------------------
 */

static bool model_usable(const struct host_facts *facts, const char *model)
{
        for (size_t i = 0; i < facts->n_models; i++) {
                if (g_str_equal(facts->models[i].name, model)) {
                        return facts->models[i].usable;
                }
        }
        return false;
}

static void require_features(struct job *job, const struct api_instance_cpu_model *wanted, struct virt_cpu *cpu)
{
        struct virt_cpu_feature *features = arena_array(job->arena, wanted->n_features, sizeof(*features));

        for (size_t i = 0; i < wanted->n_features; i++) {
                features[i].name = wanted->features[i];
        }
        cpu->features = features;
        cpu->n_features = wanted->n_features;
}

static int choose_cpu(struct job *job, const struct api_instance_cpu_model *wanted, struct virt_domain *domain,
                      struct virt_error *reterr)
{
        const struct host_facts *facts = &job->host->facts;
        const char *mode = wanted ? wanted->mode : NULL;

        if (g_strcmp0(mode, "HostPassthrough") == 0) {
                if (domain->type != VIRT_TYPE_KVM || !facts->passthrough) {
                        return refuse(reterr, REASON_EMULATION_NOT_ELIGIBLE,
                                      "the class passes the host's processor through, and this host does not run KVM: %s",
                                      job->host->type_words);
                }
                domain->cpu = (struct virt_cpu){.mode = VIRT_CPU_PASSTHROUGH};
        } else if (g_strcmp0(mode, "Model") == 0) {
                if (!wanted->model || !model_usable(facts, wanted->model)) {
                        return refuse(reterr, REASON_CPU_MODEL_NOT_SUPPORTED, "this host cannot give guests the processor model %s",
                                      wanted->model ? wanted->model : "(none)");
                }
                domain->cpu = (struct virt_cpu){.mode = VIRT_CPU_CUSTOM, .model = wanted->model};
                require_features(job, wanted, &domain->cpu);
        } else if (g_strcmp0(mode, "Features") == 0 || g_strcmp0(mode, "Discovery") == 0) {
                domain->cpu = (struct virt_cpu){.mode = VIRT_CPU_CUSTOM, .model = BASE_MODEL};
                require_features(job, wanted, &domain->cpu);
        } else if (facts->host_model.model) {
                domain->cpu = facts->host_model;
        } else {
                domain->cpu = (struct virt_cpu){.mode = VIRT_CPU_MAXIMUM};
        }
        return 0;
}

/* --- disks -----------------------------------------------------------------------------------------------------------------------
 */

/* Direct I/O where the file system can do it. */
static const char *cache_of(const char *path)
{
        int fd = path ? open(path, O_RDONLY | O_DIRECT | O_CLOEXEC) : -1;
        bool refused = path && fd < 0 && errno == EINVAL;

        fd_close(fd);
        return refused ? "writeback" : NULL;
}

static struct virt_disk describe_disk(struct job *job, const struct api_instance_disk *disk, const struct job_volume *volume,
                                      bool paravirtual)
{
        bool cdrom = g_strcmp0(disk->kind, "Cdrom") == 0;

        return (struct virt_disk){
                .name = instance_drive(disk),
                .path = volume->path,
                .format = g_strcmp0(volume->format, "qcow2") == 0 ? VIRT_FORMAT_QCOW2 : VIRT_FORMAT_RAW,
                .bus = !paravirtual ? VIRT_BUS_SATA
                       : cdrom      ? VIRT_BUS_SCSI
                                    : VIRT_BUS_VIRTIO,
                .cdrom = cdrom,
                .read_only = cdrom || (disk->has_read_only && disk->read_only) || g_strcmp0(disk->kind, "Image") == 0,
                .boot_order = disk->has_boot_order ? disk->boot_order : 0,
                .serial = disk->serial,
                .cache = cache_of(volume->path),
                .limits = instance_limits(disk->limits),
        };
}

static void describe_disks(struct job *job, const struct api_instance_spec *spec, const char *seed_path, struct virt_domain *domain)
{
        bool paravirtual = !spec->has_paravirtualization || spec->paravirtualization;

        domain->disks = arena_array(job->arena, spec->n_disks + 1, sizeof(*domain->disks));
        for (size_t i = 0; i < spec->n_disks; i++) {
                if (!instance_takes(&spec->disks[i], &job->volumes[i])) {
                        continue;
                }
                domain->disks[domain->n_disks++] = describe_disk(job, &spec->disks[i], &job->volumes[i], paravirtual);
        }
        if (spec->seed) {
                domain->disks[domain->n_disks++] = (struct virt_disk){
                        .name = INSTANCE_SEED_DISK,
                        .path = seed_path,
                        .format = VIRT_FORMAT_RAW,
                        .bus = paravirtual ? VIRT_BUS_SCSI : VIRT_BUS_SATA,
                        .cdrom = true,
                        .read_only = true,
                        .cache = cache_of(seed_path),
                };
        }
}

static void describe_nics(struct job *job, const struct api_instance_spec *spec, struct virt_domain *domain)
{
        bool paravirtual = !spec->has_paravirtualization || spec->paravirtualization;

        domain->nics = arena_array(job->arena, job->n_ports, sizeof(*domain->nics));
        for (size_t i = 0; i < job->n_ports; i++) {
                const struct api_port_spec *port = job->ports[i].port ? job->ports[i].port->spec : NULL;

                if (!port || instance_port_leaves(spec, spec->ports[i])) {
                        continue;
                }
                domain->nics[domain->n_nics++] = (struct virt_nic){
                        .name = spec->ports[i],
                        .mac = port->mac,
                        .bridge = port->network->bridge,
                        .tap = port->tap_name,
                        .model = paravirtual ? VIRT_NIC_VIRTIO : VIRT_NIC_E1000E,
                        .mtu = port->network->has_mtu ? port->network->mtu : 0,
                        .isolated = true,
                        .link_down = instance_link_is_down(spec, spec->ports[i]),
                };
        }
}

/* --- the whole -------------------------------------------------------------------------------------------------------------------
 */

static void describe_owner(struct job *job, const struct api_instance *instance, int64_t epoch, struct virt_domain *domain)
{
        const struct api_machine_ref *machine = instance->spec->machine;
        g_autofree char *name = virt_domain_name(machine->name, machine->uid);

        domain->name = arena_strdup(job->arena, name);
        domain->uuid = instance_uuid(instance);
        domain->title = arena_printf(job->arena, "%s/%s", machine->namespace, machine->name);
        domain->owner = (struct virt_owner){
                .machine_uid = machine->uid,
                .instance_uid = instance->metadata->uid,
                .machine_namespace = machine->namespace,
                .machine_name = machine->name,
                .generation = job->doc->generation,
                .epoch = epoch,
                .order = instance->spec->order_number, /* a domain that is started anew owes nothing */
        };
}

static void describe_size(struct job *job, const struct api_instance_spec *spec, struct virt_domain *domain)
{
        unsigned fraction = spec->cpu->has_core_fraction_percent ? spec->cpu->core_fraction_percent : 100;

        domain->vcpus = spec->cpu->cores;
        domain->sockets = spec->cpu->has_sockets ? spec->cpu->sockets : 1;
        domain->cores_per_socket = spec->cpu->has_cores_per_socket ? spec->cpu->cores_per_socket : domain->vcpus / domain->sockets;
        /* Room to grow is in its sockets. */
        if (spec->cpu->has_max_cores) {
                domain->cores_per_socket = spec->cpu->max_cores / domain->sockets;
        }
        domain->cpu_shares = virt_cpu_shares(domain->vcpus, fraction, host_weights(job->host));
        domain->memory_mib = spec->memory_mib;
        domain->balloon_mib = spec->has_balloon_mib && spec->balloon_mib < spec->memory_mib ? spec->balloon_mib : 0;
        domain->max_vcpus = spec->cpu->has_max_cores ? spec->cpu->max_cores : 0;
        domain->max_memory_mib = spec->has_max_memory_mib ? spec->max_memory_mib : 0;
}

static void describe_extras(const struct job *job, const struct api_instance_spec *spec, struct virt_domain *domain)
{
        static const struct {
                const char *action;
                enum virt_watchdog watchdog;
        } actions[] = {{"Reset", VIRT_WATCHDOG_RESET}, {"PowerOff", VIRT_WATCHDOG_POWEROFF}, {"Pause", VIRT_WATCHDOG_PAUSE}};

        domain->windows = g_strcmp0(spec->os_type, "Windows") == 0;
        domain->legacy = g_strcmp0(spec->os_type, "Legacy") == 0;
        domain->no_rng = domain->no_balloon = domain->legacy;
        domain->no_vnc = g_strcmp0(spec->graphics, "None") == 0;
        domain->spice = g_strcmp0(spec->graphics, "SPICE") == 0;
        domain->graphics_address = instance_graphics_address(job, spec);
        domain->tpm = spec->has_tpm && spec->tpm;
        for (size_t i = 0; i < G_N_ELEMENTS(actions); i++)
                if (g_strcmp0(spec->watchdog, actions[i].action) == 0)
                        domain->watchdog = actions[i].watchdog;
}

int instance_domain(struct job *job, const struct api_instance *instance, const char *seed_path, int64_t epoch,
                    struct virt_domain *ret_domain, struct virt_error *reterr)
{
        const struct api_instance_spec *spec = instance->spec;
        const struct json_value *record = instance_record(instance, job->told);
        struct virt_domain domain = {.type = job->host->type, .machine_type = job->host->facts.machine_type};
        enum virt_firmware firmware = VIRT_FIRMWARE_BIOS;
        int r;

        assert(job && instance && ret_domain && reterr);
        if (!spec->cpu || !spec->has_memory_mib || spec->cpu->cores < 1 || spec->memory_mib < 1) {
                return refuse(reterr, REASON_VALIDATION_FAILED, "cpu and memoryMib are needed");
        }
        if (spec->firmware && virt_firmware_from_text(spec->firmware, &firmware) < 0) {
                return refuse(reterr, REASON_VALIDATION_FAILED, "spec.firmware %s is not known", spec->firmware);
        }
        /* A guess would have the guest see the container instead of its content, and write over it. */
        for (size_t i = 0; i < job->n_volumes; i++) {
                if (job->volumes[i].path && !job->volumes[i].format) {
                        return refuse(reterr, REASON_VALIDATION_FAILED, "the format of volume %s is not known",
                                      job->volumes[i].name);
                }
        }
        describe_owner(job, instance, epoch, &domain);
        describe_size(job, spec, &domain);
        describe_disks(job, spec, seed_path, &domain);
        describe_nics(job, spec, &domain);
        describe_extras(job, spec, &domain);
        r = choose_cpu(job, spec->cpu_model, &domain, reterr);
        if (!r) {
                r = virt_firmware_choose(&job->host->facts, firmware, &domain, reterr);
        }
        if (!r && record) {
                r = virt_hardware_apply(&domain, record, instance_record_parts(record, spec), job->arena, reterr);
        }
        if (!r) {
                r = virt_domain_complete(&domain, reterr);
        }
        if (!r) {
                *ret_domain = domain;
        }
        return r;
}
