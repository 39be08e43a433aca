/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/domains.h"

#include "base/error.h"

#include <string.h>

/* More than these are counted, not told. */
#define DIFFERENCES_TOLD 5

struct differences {
        GString *words;
        unsigned n;
};

static void differ(struct differences *all, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void differ(struct differences *all, const char *format, ...)
{
        va_list args;

        if (all->n++ >= DIFFERENCES_TOLD)
                return;
        if (all->words->len)
                g_string_append(all->words, "; ");
        va_start(args, format);
        g_string_append_vprintf(all->words, format, args);
        va_end(args);
}

static void compare_text(struct differences *all, const char *what, const char *wanted, const char *found)
{
        if (g_strcmp0(wanted, found))
                differ(all, "%s is %s instead of %s", what, found ? found : "absent", wanted ? wanted : "absent");
}

static void compare_number(struct differences *all, const char *what, const char *unit, uint64_t wanted, uint64_t found)
{
        if (wanted != found)
                differ(all, "%s is %" G_GUINT64_FORMAT "%s instead of %" G_GUINT64_FORMAT "%s", what, found, unit, wanted, unit);
}

/* --- the machine
 * ---------------------------------------------------------------------------------------------------------------------------------
 */

static const char *screen(const struct virt_domain *domain)
{
        if (domain->no_vnc)
                return "nothing";
        if (domain->graphics_address)
                return domain->spice ? "SPICE on a port" : "VNC on a port";
        return domain->spice ? "SPICE" : "VNC";
}

static void compare_machine(struct differences *all, const struct virt_domain *wanted, const struct virt_domain *found)
{
        compare_text(all, "the name", wanted->name, found->name);
        compare_text(all, "the domain type", virt_type_to_text(wanted->type), virt_type_to_text(found->type));
        compare_text(all, "the machine type", wanted->machine_type, found->machine_type);
        compare_text(all, "the processor mode", virt_cpu_mode_to_text(wanted->cpu.mode), virt_cpu_mode_to_text(found->cpu.mode));
        if (wanted->cpu.mode == VIRT_CPU_CUSTOM && found->cpu.mode == VIRT_CPU_CUSTOM)
                compare_text(all, "the processor model", wanted->cpu.model, found->cpu.model);
        compare_text(all, "the firmware", virt_firmware_to_text(wanted->firmware), virt_firmware_to_text(found->firmware));
        if (wanted->loader)
                compare_text(all, "the firmware image", wanted->loader, found->loader);
        if (wanted->tpm != found->tpm)
                differ(all, "the TPM is %s", found->tpm ? "there" : "not there");
        if (wanted->watchdog != found->watchdog)
                differ(all, "the watchdog's action is %s instead of %s",
                       found->watchdog ? virt_watchdog_to_text(found->watchdog) : "absent",
                       wanted->watchdog ? virt_watchdog_to_text(wanted->watchdog) : "absent");
        if (strcmp(screen(wanted), screen(found)) != 0)
                differ(all, "the screen is reached by %s instead of %s", screen(found), screen(wanted));
}

/* --- disks
 * --------------------------------------------------------------------------------------------------------------------------------
 */

static const struct virt_disk *find_disk(const struct virt_domain *domain, const char *target)
{
        for (size_t i = 0; i < domain->n_disks; i++)
                if (!strcmp(domain->disks[i].target, target))
                        return &domain->disks[i];
        return NULL;
}

static void compare_limits(struct differences *all, const char *what, const struct virt_disk_limits *wanted,
                           const struct virt_disk_limits *found)
{
        g_autofree char *is = virt_disk_limits_words(found), *instead = virt_disk_limits_words(wanted);

        if (!virt_disk_limits_equal(wanted, found))
                differ(all, "%s is limited to (%s) instead of (%s)", what, is, instead);
}

static void compare_disk(struct differences *all, const struct virt_disk *wanted, const struct virt_disk *found)
{
        g_autofree char *what = g_strdup_printf("disk %s (%s)", wanted->target, wanted->name);

        if (!found) {
                differ(all, "%s is not there", what);
                return;
        }
        compare_text(all, what, wanted->path, found->path);
        if (wanted->path && found->path && wanted->format != found->format)
                differ(all, "%s is read as %s instead of %s", what, virt_format_to_text(found->format),
                       virt_format_to_text(wanted->format));
        if (wanted->bus != found->bus)
                differ(all, "%s hangs on %s instead of %s", what, virt_bus_to_text(found->bus), virt_bus_to_text(wanted->bus));
        if (wanted->cdrom != found->cdrom || (!wanted->cdrom && wanted->read_only != found->read_only))
                differ(all, "%s %s", what, found->cdrom || found->read_only ? "cannot be written" : "can be written");
        compare_limits(all, what, &wanted->limits, &found->limits);
}

static void compare_disks(struct differences *all, const struct virt_domain *wanted, const struct virt_domain *found)
{
        for (size_t i = 0; i < wanted->n_disks; i++)
                compare_disk(all, &wanted->disks[i], find_disk(found, wanted->disks[i].target));
        for (size_t i = 0; i < found->n_disks; i++)
                if (!find_disk(wanted, found->disks[i].target))
                        differ(all, "disk %s (%s) was added", found->disks[i].target,
                               found->disks[i].path ? found->disks[i].path : "empty");
}

/* --- interfaces
 * ----------------------------------------------------------------------------------------------------------------------------------
 */

static const struct virt_nic *find_nic(const struct virt_domain *domain, const char *mac)
{
        for (size_t i = 0; i < domain->n_nics; i++)
                if (!g_ascii_strcasecmp(domain->nics[i].mac, mac))
                        return &domain->nics[i];
        return NULL;
}

static void compare_nic(struct differences *all, const struct virt_nic *wanted, const struct virt_nic *found)
{
        g_autofree char *what = g_strdup_printf("interface %s", wanted->mac);
        g_autofree char *bridge = g_strdup_printf("the bridge of %s", what), *tap = g_strdup_printf("the tap of %s", what);

        if (!found) {
                differ(all, "%s is not there", what);
                return;
        }
        compare_text(all, bridge, wanted->bridge, found->bridge);
        compare_text(all, tap, wanted->tap, found->tap);
        if (wanted->model != found->model)
                differ(all, "%s is a %s instead of a %s", what, virt_nic_model_to_text(found->model),
                       virt_nic_model_to_text(wanted->model));
        if (wanted->isolated != found->isolated)
                differ(all, "%s is %s", what, found->isolated ? "isolated" : "not isolated");
        if (wanted->link_down != found->link_down)
                differ(all, "the link of %s is %s", what, found->link_down ? "down" : "up");
}

static void compare_nics(struct differences *all, const struct virt_domain *wanted, const struct virt_domain *found)
{
        for (size_t i = 0; i < wanted->n_nics; i++)
                compare_nic(all, &wanted->nics[i], find_nic(found, wanted->nics[i].mac));
        for (size_t i = 0; i < found->n_nics; i++)
                if (!find_nic(wanted, found->nics[i].mac))
                        differ(all, "interface %s was added", found->nics[i].mac);
}

char *virt_domain_differences(const struct virt_domain *wanted, const struct virt_domain *found, bool live)
{
        struct differences all = {.words = g_string_new(NULL)};

        assert(wanted && found);

        /* What runs names its processor and machine as QEMU was told, not as it was ordered. */
        if (!live)
                compare_machine(&all, wanted, found);
        compare_number(&all, "memory", " MiB", wanted->memory_mib, found->memory_mib);
        /* What a guest holds is its own matter. */
        if (!live && (wanted->balloon_mib || found->balloon_mib))
                compare_number(&all, "the memory that the guest keeps", " MiB",
                               wanted->balloon_mib ? wanted->balloon_mib : wanted->memory_mib,
                               found->balloon_mib ? found->balloon_mib : found->memory_mib);
        compare_number(&all, "the number of cores", "", wanted->vcpus, found->vcpus);
        compare_disks(&all, wanted, found);
        compare_nics(&all, wanted, found);
        if (all.n > DIFFERENCES_TOLD)
                g_string_append_printf(all.words, "; and %u more", all.n - DIFFERENCES_TOLD);
        return g_string_free(all.words, all.n == 0);
}
