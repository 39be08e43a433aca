/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "schema/schema.h"

/* What a ResourceQuota can count, by the names that its spec.hard may use. */
enum quota_unit {
        QUOTA_COUNT, /* whole numbers */
        QUOTA_MILLI, /* thousandths of a core */
        QUOTA_BYTES,
};

#define QUOTA_CORES         "cores"
#define QUOTA_CPU           "cpu"
#define QUOTA_MEMORY        "memory"
#define QUOTA_STORAGE       "storage"
#define QUOTA_IMAGE_STORAGE "images.storage"
/* Of one StoragePool: its name and one of these. */
#define QUOTA_POOL_STORAGE ".storageclass.storage.k8s.io/requests.storage"
#define QUOTA_POOL_DISKS   ".storageclass.storage.k8s.io/persistentvolumeclaims"

/**
 * quota_name_parse() - what a name counts
 * @ret_resource: the one name under which it is summed up ("requests.cpu" and "cpu" are the same); g_free()
 *
 * Return: false when nothing is counted under that name.
 */
bool quota_name_parse(const char *name, char **ret_resource, enum quota_unit *ret_unit);

/** quota_count_name() - "count/<plural>.<group>" of a kind; g_free(). */
char *quota_count_name(const struct schema_kind *kind);

/** quota_amount_parse() - a quantity in @unit; 0, or -errno as quantity_parse_bytes(). A count must be whole: -EINVAL. */
int quota_amount_parse(enum quota_unit unit, const char *text, uint64_t *ret_amount);
/** quota_amount_format() - as kubectl prints it. @text holds 32 bytes. */
char *quota_amount_format(enum quota_unit unit, uint64_t amount, char *text);
