/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "schema/schema.h"

#include <glib.h>

/* Shared by the walks of this folder; not for others. */

/* Types hold types to this depth at most (the generator refuses deeper ones), so a walk's recursion is bounded by it. */
#define WALK_DEPTH_MAX 40

/*
 * Where a walk is: a chain on the stack from the innermost place outwards. Text is made only when a fault needs it. The chain also
 * is the depth that bounds the recursion.
 */
struct walk_path {
        const struct walk_path *up; /* NULL: the object itself */
        const char *name;           /* member, or NULL for an element */
        size_t index;               /* element, when @name is NULL */
        unsigned depth;
};

/** walk_member() - the place of member @name below @up; asserts that the depth is bounded. */
struct walk_path walk_member(const struct walk_path *up, const char *name);
/** walk_element() - the place of element @index below @up. */
struct walk_path walk_element(const struct walk_path *up, size_t index);
/** walk_text() - "spec.disks[1].name"; g_free(). */
char *walk_text(const struct walk_path *path);
/** walk_fault() - add a fault at @path. */
void walk_fault(struct schema_faults *faults, const struct walk_path *path, const char *reason, const char *format, ...)
        G_GNUC_PRINTF(4, 5);

/** walk_show() - @value as JSON for a message, cut to a bearable length, "(hidden)" when @flags say it is sensitive; g_free(). */
char *walk_show(const struct json_value *value, unsigned flags);

/** walk_field() - the field @name of @type, or NULL. */
const struct schema_field *walk_field(const struct schema_type *type, const char *name);

/** walk_same_keys() - whether two elements of a list by keys have the same keys. */
bool walk_same_keys(const struct schema_field *field, const struct json_value *a, const struct json_value *b);
/** walk_find_by_keys() - the element of @list that has the keys of @element, or NULL. */
struct json_value *walk_find_by_keys(const struct schema_field *field, const struct json_value *list,
                                     const struct json_value *element);

/** format_check() - why @text does not have the @format ("must be an IP address, for example 10.0.0.1"), or NULL when it does. */
const char *format_check(enum schema_format format, const char *text);

/** immutable_check() - faults for immutable fields of @type that differ between @old and @value (NULL: absent). */
void immutable_check(const struct schema_type *type, const struct json_value *value, const struct json_value *old,
                     const struct walk_path *path, struct schema_faults *faults);

/** metadata_check() - the rules of names, labels, annotations, finalizers that hold for every kind. */
void metadata_check(const struct schema_kind *kind, const struct json_value *object, const struct json_value *old,
                    struct schema_faults *faults);
