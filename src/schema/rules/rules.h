/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "generated/api_rules.h"
#include "generated/reasons.h"
#include "schema/schema.h"

/*
 * Helpers of the kinds' cross-field rules, rules_<kind>() in this folder. Rules read JSON, so that all faults of an object are told
 * at once even when some members are missing or of a wrong type: they skip what they cannot read, the walks have told it.
 */

/** rules_invalid() - "Invalid value: <value>: <words>" at @field. */
void rules_invalid(struct schema_faults *faults, const char *field, const struct json_value *value, const char *format, ...)
        G_GNUC_PRINTF(4, 5);
/** rules_forbidden() - "Forbidden: <words>" at @field. */
void rules_forbidden(struct schema_faults *faults, const char *field, const char *words);
/** rules_required() - "Required value: <words>" at @field. */
void rules_required(struct schema_faults *faults, const char *field, const char *words);

/** rules_bytes() - the quantity @value in bytes; false when absent or not a quantity. */
bool rules_bytes(const struct json_value *value, uint64_t *ret_bytes);

/** rules_frozen() - a fault when @part of the objects (both may be absent) differs: "field is immutable: <words>". */
void rules_frozen(struct schema_faults *faults, const char *field, const struct json_value *now, const struct json_value *before,
                  const char *words);

/** rules_selector() - keys and values of a map of labels. */
void rules_selector(struct schema_faults *faults, const char *field, const struct json_value *labels);
/** rules_expressions() - a list of {key, operator, values}. */
void rules_expressions(struct schema_faults *faults, const char *field, const struct json_value *expressions);
/** rules_tolerations() - what Kubernetes wants of tolerations. */
void rules_tolerations(struct schema_faults *faults, const char *field, const struct json_value *tolerations);

/** rules_data_source() - what holds for the source of disks and images alike. */
void rules_data_source(struct schema_faults *faults, const struct json_value *object, const struct json_value *old);

/** rules_data_keys() - names of the values of Secrets and ConfigMaps; adds the bytes of the values to @ret_bytes. */
void rules_data_keys(struct schema_faults *faults, const char *field, const struct json_value *data, size_t *bytes);
