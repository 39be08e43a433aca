/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/quota_names.h"

#include "base/quantity.h"
#include "generated/api_types.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct {
        const char *name, *resource;
        enum quota_unit unit;
} amounts[] = {
        {"cores", QUOTA_CORES, QUOTA_COUNT},
        {"limits.cpu", QUOTA_CORES, QUOTA_COUNT},
        {"cpu", QUOTA_CPU, QUOTA_MILLI},
        {"requests.cpu", QUOTA_CPU, QUOTA_MILLI},
        {"memory", QUOTA_MEMORY, QUOTA_BYTES},
        {"requests.memory", QUOTA_MEMORY, QUOTA_BYTES},
        {"limits.memory", QUOTA_MEMORY, QUOTA_BYTES},
        {"storage", QUOTA_STORAGE, QUOTA_BYTES},
        {"requests.storage", QUOTA_STORAGE, QUOTA_BYTES},
        {"images.storage", QUOTA_IMAGE_STORAGE, QUOTA_BYTES},
};

/* Short names of counts, besides the plurals of the kinds themselves. */
static const struct {
        const char *name;
        const struct schema_kind *kind;
} counts[] = {
        {"machines", &api_virtual_machine_kind},
        {"disks", &api_virtual_disk_kind},
        {"persistentvolumeclaims", &api_virtual_disk_kind},
        {"images", &api_virtual_image_kind},
        {"addresses", &api_virtual_machine_ip_address_kind},
};

char *quota_count_name(const struct schema_kind *kind)
{
        assert(kind);
        return g_strconcat("count/", kind->plural, *kind->group ? "." : "", kind->group, NULL);
}

/* What the gateway itself projects is not the project's to use: a quota must not stop it. */
static bool is_counted(const struct schema_kind *kind)
{
        return kind->namespaced && !kind->internal && !kind->projected;
}

static bool has_group(const struct schema_kind *kind, const char *group)
{
        size_t len = strlen(group);

        if (strcmp(kind->group, group) == 0)
                return true;
        for (const char *const *alias = kind->aliases; alias && *alias; alias++)
                if (len > 0 && strncmp(*alias, group, len) == 0 && (*alias)[len] == '/')
                        return true;
        return false;
}

/* "virtualmachines.gabbro.dev", "secrets"; a plural alone is of any group when @any. */
static const struct schema_kind *counted_kind(const char *name, bool any)
{
        const char *dot = strchr(name, '.');
        g_autofree char *plural = dot ? g_strndup(name, (size_t)(dot - name)) : g_strdup(name);

        for (const struct schema_kind *const *kind = schema_kinds; *kind; kind++)
                if (is_counted(*kind) && strcmp((*kind)->plural, plural) == 0 &&
                    ((any && !dot) || has_group(*kind, dot ? dot + 1 : "")))
                        return *kind;
        return NULL;
}

static const struct schema_kind *count_of(const char *name)
{
        if (g_str_has_prefix(name, "count/"))
                return counted_kind(name + strlen("count/"), false);
        for (size_t i = 0; i < G_N_ELEMENTS(counts); i++)
                if (strcmp(counts[i].name, name) == 0)
                        return counts[i].kind;
        return strchr(name, '.') ? NULL : counted_kind(name, true);
}

static bool is_of_pool(const char *name, const char *suffix)
{
        return g_str_has_suffix(name, suffix) && strlen(name) > strlen(suffix);
}

bool quota_name_parse(const char *name, char **ret_resource, enum quota_unit *ret_unit)
{
        const struct schema_kind *kind;

        assert(name && ret_resource && ret_unit);
        for (size_t i = 0; i < G_N_ELEMENTS(amounts); i++) {
                if (strcmp(amounts[i].name, name) != 0)
                        continue;
                *ret_resource = g_strdup(amounts[i].resource);
                *ret_unit = amounts[i].unit;
                return true;
        }
        if (is_of_pool(name, QUOTA_POOL_STORAGE) || is_of_pool(name, QUOTA_POOL_DISKS)) {
                *ret_resource = g_strdup(name);
                *ret_unit = is_of_pool(name, QUOTA_POOL_STORAGE) ? QUOTA_BYTES : QUOTA_COUNT;
                return true;
        }
        kind = count_of(name);
        if (!kind)
                return false;
        *ret_resource = quota_count_name(kind);
        *ret_unit = QUOTA_COUNT;
        return true;
}

int quota_amount_parse(enum quota_unit unit, const char *text, uint64_t *ret_amount)
{
        uint64_t milli;
        int r;

        assert(text && ret_amount);
        if (unit == QUOTA_BYTES)
                return quantity_parse_bytes(text, ret_amount);
        r = quantity_parse_milli(text, &milli);
        if (r < 0)
                return r;
        if (unit == QUOTA_COUNT && milli % 1000 != 0)
                return -EINVAL;
        *ret_amount = unit == QUOTA_COUNT ? milli / 1000 : milli;
        return 0;
}

char *quota_amount_format(enum quota_unit unit, uint64_t amount, char *text)
{
        assert(text);
        if (unit == QUOTA_BYTES)
                return quantity_format_bytes(amount, text);
        if (unit == QUOTA_MILLI)
                return quantity_format_milli(amount, text);
        (void)snprintf(text, 32, "%" PRIu64, amount);
        return text;
}
