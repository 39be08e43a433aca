/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/domains.h"
#include "virt/host_facts.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void find(GString *findings, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void find(GString *findings, const char *format, ...)
{
        va_list args;

        if (findings->len)
                g_string_append(findings, "; ");
        va_start(args, format);
        g_string_append_vprintf(findings, format, args);
        va_end(args);
}

static void look_at_file(GString *findings, const char *what, const char *path)
{
        struct stat st;

        if (!path)
                return;
        if (stat(path, &st) < 0)
                find(findings, "%s %s: %s", what, path, strerrordesc_np(errno));
        else if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
                find(findings, "%s %s is not a file", what, path);
}

static void look_at_bridge(GString *findings, const char *bridge)
{
        g_autofree char *path = g_strdup_printf("/sys/class/net/%s/bridge", bridge);

        if (!if_nametoindex(bridge))
                find(findings, "bridge %s does not exist", bridge);
        else if (access(path, F_OK) < 0)
                find(findings, "%s is not a bridge", bridge);
}

char *virt_start_diagnosis(const struct virt_domain *domain)
{
        g_autoptr(GString) findings = g_string_new(NULL);
        uint64_t available = host_memory_available(), wanted;

        assert(domain);

        wanted = domain->memory_mib << 20;
        if (available && available < wanted)
                find(findings, "the host has %" PRIu64 " MiB of memory left, the machine wants %" PRIu64, available >> 20,
                     domain->memory_mib);
        if (domain->type == VIRT_TYPE_KVM && access("/dev/kvm", R_OK | W_OK) < 0)
                find(findings, "/dev/kvm: %s", strerrordesc_np(errno));
        look_at_file(findings, "emulator", domain->emulator);
        look_at_file(findings, "firmware", domain->loader);
        look_at_file(findings, "firmware variables", domain->nvram_template);
        for (size_t i = 0; i < domain->n_disks; i++)
                look_at_file(findings, "disk", domain->disks[i].path);
        for (size_t i = 0; i < domain->n_nics; i++)
                look_at_bridge(findings, domain->nics[i].bridge);
        if (!findings->len)
                return NULL;
        return g_string_free(g_steal_pointer(&findings), FALSE);
}
