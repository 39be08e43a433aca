/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "json/json_value.h"

/**
 * yaml_scalar_resolve() - what a plain (unquoted) YAML scalar means; for src/json only
 * @text: NUL-terminated
 *
 * YAML 1.2 core schema, and 0644 is octal as in YAML 1.1, because kubectl reads file modes so. Integers and floats become JSON
 * numbers: "+5" 5, "0x1f" 31, ".5" 0.5.
 *
 * Return: 0 and an unlinked value, or JSON_E_SYNTAX for what JSON cannot say (.inf, .nan).
 */
int yaml_scalar_resolve(struct json_doc *doc, const char *text, size_t len, struct json_value **ret_value);

/** yaml_scalar_is_text() - whether the plain scalar @text is a string for every YAML reader, those of version 1.1 included. */
bool yaml_scalar_is_text(const char *text, size_t len);
