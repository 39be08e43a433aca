/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/domains.h"
#include "virt/host_facts.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOLDERS_MOST 3
#define LINE_MOST    65536

struct diagnosis {
        GString *findings;
        const char *reason; /* of the first finding; NULL: none */
};

static void find(struct diagnosis *diagnosis, const char *reason, const char *format, ...) G_GNUC_PRINTF(3, 4);
static void find(struct diagnosis *diagnosis, const char *reason, const char *format, ...)
{
        va_list args;

        if (diagnosis->findings->len)
                g_string_append(diagnosis->findings, "; ");
        va_start(args, format);
        g_string_append_vprintf(diagnosis->findings, format, args);
        va_end(args);
        if (!diagnosis->reason)
                diagnosis->reason = reason;
}

static void look_at_file(struct diagnosis *diagnosis, const char *reason, const char *what, const char *path)
{
        struct stat st;

        if (!path)
                return;
        if (stat(path, &st) < 0)
                find(diagnosis, reason, "%s %s: %s", what, path, strerrordesc_np(errno));
        else if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
                find(diagnosis, reason, "%s %s is not a file", what, path);
}

static void look_at_nic(struct diagnosis *diagnosis, const struct virt_nic *nic)
{
        g_autofree char *path = g_strdup_printf("/sys/class/net/%s/bridge", nic->bridge);

        if (!if_nametoindex(nic->bridge))
                find(diagnosis, "BridgeMissing", "bridge %s does not exist", nic->bridge);
        else if (access(path, F_OK) < 0)
                find(diagnosis, "BridgeMissing", "%s is not a bridge", nic->bridge);
        if (nic->tap && if_nametoindex(nic->tap))
                find(diagnosis, "PortFailed", "its interface %s exists already, of another process", nic->tap);
}

/* --- who has a file open --- */

/* The words behind -name of a QEMU: its domain. */
static char *domain_of_process(const char *pid)
{
        g_autofree char *path = g_strdup_printf("/proc/%s/cmdline", pid), *line = NULL;
        gsize n = 0;

        if (!g_file_get_contents(path, &line, &n, NULL) || n > LINE_MOST)
                return NULL;
        for (const char *word = line; word < line + n; word += strlen(word) + 1)
                if (g_str_has_prefix(word, "guest="))
                        return g_strndup(word + strlen("guest="), strcspn(word + strlen("guest="), ","));
        return NULL;
}

static bool holds(int fds, const struct stat *file)
{
        int copy = dup(fds);
        DIR *dir = copy < 0 ? NULL : fdopendir(copy);
        struct dirent *entry;
        bool found = false;

        while (dir && !found && (entry = readdir(dir))) {
                struct stat st;

                found = entry->d_name[0] != '.' && fstatat(fds, entry->d_name, &st, 0) == 0 && st.st_dev == file->st_dev &&
                        st.st_ino == file->st_ino;
        }
        if (dir)
                closedir(dir);
        else if (copy >= 0)
                close(copy);
        return found;
}

static void name_holder(struct diagnosis *diagnosis, const char *disk, const char *pid)
{
        g_autofree char *domain = domain_of_process(pid), *path = g_strdup_printf("/proc/%s/comm", pid), *program = NULL;

        if (g_file_get_contents(path, &program, NULL, NULL))
                g_strchomp(program);
        find(diagnosis, "DiskInUse", "disk %s is open in process %s (%s%s%s)", disk, pid, program ? program : "ended meanwhile",
             domain ? ", domain " : "", domain ? domain : "");
}

/* Locks of open files name no process, so those that have the file open are looked for. */
static void look_for_holders(struct diagnosis *diagnosis, const char *disk)
{
        DIR *processes = opendir("/proc");
        struct dirent *entry;
        struct stat file;
        unsigned n = 0;

        if (processes && stat(disk, &file) == 0) {
                while (n < HOLDERS_MOST && (entry = readdir(processes))) {
                        g_autofree char *path = g_strdup_printf("/proc/%s/fd", entry->d_name);
                        int fds = g_ascii_isdigit(entry->d_name[0]) && strtol(entry->d_name, NULL, 10) != getpid()
                                          ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                                          : -1;

                        if (fds >= 0 && holds(fds, &file)) {
                                name_holder(diagnosis, disk, entry->d_name);
                                n++;
                        }
                        if (fds >= 0)
                                close(fds);
                }
        }
        if (processes)
                closedir(processes);
}

/* --- what libvirt and QEMU say --- */

static const struct {
        const char *part, *reason;
} sayings[] = {
        {"Failed to get \"write\" lock", "DiskInUse"},
        {"Failed to get shared \"write\" lock", "DiskInUse"},
        {"Failed to get \"consistent read\" lock", "DiskInUse"},
        {"Cannot allocate memory", "InsufficientMemory"},
        {"cannot set up guest memory", "InsufficientMemory"},
        {"No space left on device", "PoolFull"},
        {"CPU is incompatible with host CPU", "CpuModelNotSupported"},
        {"CPU does not provide required features", "CpuModelNotSupported"},
        {"CPU doesn't support requested features", "CpuModelNotSupported"},
        {"Could not open backing file", "VolumeMissing"},
        {"Image is not in", "VolumeFailed"},
        {"Image is corrupt", "VolumeFailed"},
};

static const char *reason_of_words(const char *words)
{
        for (size_t i = 0; words && i < G_N_ELEMENTS(sayings); i++)
                if (strstr(words, sayings[i].part))
                        return sayings[i].reason;
        return NULL;
}

char *virt_start_diagnosis(const struct virt_domain *domain, const char *words, const char **ret_reason)
{
        struct diagnosis diagnosis = {.findings = g_string_new(NULL)};
        uint64_t available = host_memory_available(), wanted;
        const char *said = reason_of_words(words);
        bool locked = g_strcmp0(said, "DiskInUse") == 0;

        assert(domain && ret_reason);

        wanted = domain->memory_mib << 20;
        for (size_t i = 0; i < domain->n_disks; i++) {
                look_at_file(&diagnosis, "VolumeMissing", "disk", domain->disks[i].path);
                if (locked && domain->disks[i].path && !domain->disks[i].read_only)
                        look_for_holders(&diagnosis, domain->disks[i].path);
        }
        for (size_t i = 0; i < domain->n_nics; i++)
                look_at_nic(&diagnosis, &domain->nics[i]);
        look_at_file(&diagnosis, "FirmwareNotAvailable", "emulator", domain->emulator);
        look_at_file(&diagnosis, "FirmwareNotAvailable", "firmware", domain->loader);
        look_at_file(&diagnosis, "FirmwareNotAvailable", "firmware variables", domain->nvram_template);
        if (domain->type == VIRT_TYPE_KVM && access("/dev/kvm", R_OK | W_OK) < 0)
                find(&diagnosis, "NoKvm", "/dev/kvm: %s", strerrordesc_np(errno));
        /* Last: memory that is promised and not used makes no start fail. */
        if (available && available < wanted)
                find(&diagnosis, "InsufficientMemory", "the host has %" PRIu64 " MiB of memory left, the machine wants %" PRIu64,
                     available >> 20, domain->memory_mib);
        *ret_reason = said ? said : diagnosis.reason ? diagnosis.reason : "StartFailed";
        return g_string_free(diagnosis.findings, diagnosis.findings->len == 0);
}
