/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

/* Kubernetes quantities: "1Gi", "500m", "1e3", "0.5". Source: the API conventions' resource.Quantity. */

/** quantity_parse_bytes() - whole bytes, rounded up; 0, -EINVAL (not a quantity, negative) or -ERANGE (above INT64_MAX). */
int quantity_parse_bytes(const char *text, uint64_t *ret_bytes);

/** quantity_parse_milli() - thousandths (cores: "0.5" and "500m" give 500), rounded up; 0, -EINVAL or -ERANGE. */
int quantity_parse_milli(const char *text, uint64_t *ret_milli);

#define QUANTITY_TEXT_MAX 64
/** quantity_canonical() - the one form that Kubernetes writes: no digits behind a point, the greatest suffix of the same family
 * (Ki, k or an exponent) that is exact, nothing below a billionth. @out holds QUANTITY_TEXT_MAX. 0, -EINVAL or -ERANGE. */
int quantity_canonical(const char *text, char *out);

/** quantity_format_bytes() - the shortest exact binary form: "1Gi", "1536Mi", "1000". @text holds 32 bytes. */
char *quantity_format_bytes(uint64_t bytes, char *text);

/** quantity_format_milli() - "2", "1500m". @text holds 32 bytes. */
char *quantity_format_milli(uint64_t milli, char *text);
