/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "store/driver.h"

/*
 * How a history row leads back: RFC 6902 operations from the version that the row made to the one before it in the history.
 * Versions that differ from an older one in volatile fields alone are not part of the history (struct version: base): the delta of
 * the next kept row leads past them. Sensitive values are hidden on both sides.
 */

/** delta_of_row() - g_free(); NULL for creates, sealed kinds and rows without history. Any thread. */
char *delta_of_row(const struct row *row);
/** delta_kind_is_sensitive() - whether any field of the kind hides its value. */
bool delta_kind_is_sensitive(const struct schema_kind *kind);
/** delta_apply() - the older version, or NULL when @delta does not fit @object. */
struct json_doc *delta_apply(const struct json_value *object, const char *delta);
