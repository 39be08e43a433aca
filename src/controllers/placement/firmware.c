/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/placement/firmware.h"

#include "controllers/object.h"

#include <assert.h>

#define PROFILE_WITH_TPM 2 /* the generation of defaults that brought it */

bool firmware_wants_tpm(const struct api_virtual_machine_spec *machine, const struct json_value *hardware)
{
        int64_t profile = 1;

        assert(machine);
        if (machine->has_tpm)
                return machine->tpm;
        if (g_strcmp0(machine->os_type, "Windows") != 0 || g_strcmp0(machine->bootloader, "EFIWithSecureBoot") != 0)
                return false;
        (void)json_int64(json_get(hardware, "profile"), &profile); /* absent: 1 */
        return !hardware || profile >= PROFILE_WITH_TPM;
}

const char *firmware_words(const struct api_virtual_machine_spec *machine, const struct json_value *hardware,
                           const struct api_node *node, struct arena *arena)
{
        assert(machine && node && arena);

        const struct api_node_virtualization *virt = node->status ? node->status->virtualization : NULL;
        const char *graphics = machine->graphics ? machine->graphics->protocol : NULL;

        if (!virt)
                return NULL;
        if (virt->n_firmwares > 0 && machine->bootloader &&
            !strings_hold((const char *const *)virt->firmwares, virt->n_firmwares, machine->bootloader))
                return arena_printf(arena, "has no %s firmware", machine->bootloader);
        if (virt->has_tpm && !virt->tpm && firmware_wants_tpm(machine, hardware))
                return "cannot give machines a TPM; install swtpm";
        if (virt->has_spice && !virt->spice && g_strcmp0(graphics, "SPICE") == 0)
                return "has a QEMU without SPICE";
        return NULL;
}
