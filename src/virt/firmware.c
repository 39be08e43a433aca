/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/host_facts.h"

#include "base/file.h"
#include "virt/host_internal.h"
#include "virt/virt_internal.h"
#include "json/json.h"

#include <assert.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DESCRIPTOR_BYTES_MAX (64u << 10)

static bool has_text(const struct json_value *list, const char *text)
{
        for (const struct json_value *it = json_first(list); it; it = json_next(it))
                if (!strcmp(json_string(it, ""), text))
                        return true;
        return false;
}

static bool fits_q35(const struct json_value *targets)
{
        for (const struct json_value *it = json_first(targets); it; it = json_next(it))
                if (!g_strcmp0(json_find_string(it, "architecture", NULL), "x86_64") &&
                    (has_text(json_get(it, "machines"), "pc-q35-*") || has_text(json_get(it, "machines"), "q35")))
                        return true;
        return false;
}

/* A firmware descriptor of QEMU (docs/interop/firmware.json): the first that fits each need counts, in the order of file names. */
static void consider(const struct json_value *descriptor, struct host_facts *facts)
{
        const struct json_value *features = json_get(descriptor, "features"), *mapping = json_get(descriptor, "mapping");
        const char *loader = json_find_string(mapping, "executable", "filename", NULL);
        const char *nvram = json_find_string(mapping, "nvram-template", "filename", NULL);
        bool secure =
                has_text(features, "secure-boot") && has_text(features, "requires-smm") && has_text(features, "enrolled-keys");
        bool plain = !has_text(features, "secure-boot") && !has_text(features, "requires-smm");

        if (!has_text(json_get(descriptor, "interface-types"), "uefi") || !fits_q35(json_get(descriptor, "targets")) || !loader ||
            !nvram || access(loader, R_OK) < 0 || access(nvram, R_OK) < 0)
                return;
        if (secure && !facts->efi_secure) {
                facts->efi_secure = true;
                facts->efi_secure_loader = arena_strdup(facts->arena, loader);
                facts->efi_secure_nvram = arena_strdup(facts->arena, nvram);
        } else if (plain && !facts->efi) {
                facts->efi = true;
                facts->efi_loader = arena_strdup(facts->arena, loader);
                facts->efi_nvram = arena_strdup(facts->arena, nvram);
        }
}

static int is_descriptor(const struct dirent *entry)
{
        return g_str_has_suffix(entry->d_name, ".json");
}

void host_firmware_read(const char *folder, struct host_facts *facts)
{
        struct dirent **entries;
        int n = scandir(folder, &entries, is_descriptor, alphasort);

        for (int i = 0; i < n; i++) {
                g_autofree char *path = g_build_filename(folder, entries[i]->d_name, NULL), *text = NULL;
                g_autoptr(json_doc) doc = NULL;
                size_t len;

                if (file_read(path, DESCRIPTOR_BYTES_MAX, &text, &len) == 0 && json_parse(text, len, &doc, NULL) == 0)
                        consider(json_root(doc), facts);
                free(entries[i]);
        }
        if (n >= 0)
                free(entries);
}

int virt_firmware_choose(const struct host_facts *facts, enum virt_firmware firmware, struct virt_domain *domain,
                         struct virt_error *reterr)
{
        bool secure = firmware == VIRT_FIRMWARE_EFI_SECURE;

        assert(facts && domain && reterr);

        domain->firmware = firmware;
        domain->loader = domain->nvram_template = NULL;
        if (firmware == VIRT_FIRMWARE_BIOS)
                return 0;
        if (secure ? !facts->efi_secure : !facts->efi)
                return virt_say(reterr, VIRT_E_INVALID, "FirmwareNotAvailable", "the host has no %s firmware for q35; install ovmf",
                                virt_firmware_to_text(firmware));
        domain->loader = secure ? facts->efi_secure_loader : facts->efi_loader;
        domain->nvram_template = secure ? facts->efi_secure_nvram : facts->efi_nvram;
        return 0;
}
