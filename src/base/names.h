/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Name grammars of the Kubernetes API conventions (RFC 1123 and RFC 1035 as used there). */

/** names_is_label() - RFC 1123 label: 1..63 of a-z 0-9 '-', begins and ends alphanumeric. */
bool names_is_label(const char *text);

/** names_is_subdomain() - labels joined by dots, 1..253 characters. */
bool names_is_subdomain(const char *text);

/** names_is_label_key() - a label or annotation key: optional "subdomain/" and a name of 1..63 of A-Za-z0-9._- . */
bool names_is_label_key(const char *text);

/** names_is_label_value() - empty, or 1..63 of A-Za-z0-9._- beginning and ending alphanumeric. */
bool names_is_label_value(const char *text);

/** names_is_plain_text() - valid UTF-8 without control characters (tab and newline allowed when @lines), at most @max_bytes. */
bool names_is_plain_text(const char *text, size_t max_bytes, bool lines);

/*
 * Enumerations: one macro makes both conversions from a table of names. ENUM_TABLE(vm_phase, VM_PHASE_COUNT, names) defines
 *   const char *vm_phase_to_text(enum vm_phase value);       (NULL when out of range)
 *   int vm_phase_from_text(const char *text, enum vm_phase *ret);   (0 or -EINVAL)
 */
int enum_index_of(const char *const *names, size_t n_names, const char *text);

#define ENUM_TABLE_DECLARE(name)                                                                                                   \
        const char *name##_to_text(enum name value);                                                                               \
        int name##_from_text(const char *text, enum name *ret_value)

#define ENUM_TABLE(name, names)                                                                                                    \
        const char *name##_to_text(enum name value)                                                                                \
        {                                                                                                                          \
                return (size_t)value < sizeof(names) / sizeof(*(names)) ? (names)[value] : NULL;                                   \
        }                                                                                                                          \
        int name##_from_text(const char *text, enum name *ret_value)                                                               \
        {                                                                                                                          \
                int index = enum_index_of(names, sizeof(names) / sizeof(*(names)), text);                                          \
                if (index < 0)                                                                                                     \
                        return index;                                                                                              \
                *ret_value = (enum name)index;                                                                                     \
                return 0;                                                                                                          \
        }
