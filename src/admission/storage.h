/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "admission/admission.h"

/* What pools and their capabilities ask of writes. */

/** storage_disk_check() - a clone in a way that the pool of its source cannot in any case is refused, with the matrix's reason.
 * What is not known yet, or passes, such as a machine that runs, is left to the disk's controller. */
void storage_disk_check(const struct admission *admission, const struct json_value *object, struct schema_faults *faults);

/** storage_image_check() - the same of an image of a disk, whose pool has to be able to read it out. */
void storage_image_check(const struct admission *admission, const struct json_value *object, struct schema_faults *faults);

/** storage_pool_keeps() - why a pool may not be deleted: admission_keeps(). */
char *storage_pool_keeps(struct store *store, const struct store_object *pool, const char **ret_code);
