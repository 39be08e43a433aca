/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/auto.h"
#include "schema/schema.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * Sets of fields of one kind, in the form FieldsV1 of Kubernetes: a tree whose edges are "f:member", "k:{keys of an element}" and
 * "v:value of a set"; a node that is itself in the set has the member ".", a node without members is in it.
 */
struct fields;

struct fields *fields_new(void);
struct fields *fields_free(struct fields *fields);
AUTOPTR(fields, fields_free);
struct fields *fields_copy(const struct fields *fields);

bool fields_empty(const struct fields *fields);
bool fields_equal(const struct fields *a, const struct fields *b);
/** fields_count() - how many there are. */
size_t fields_count(const struct fields *fields);

/** fields_add() - what is in @more is in @fields too. */
void fields_add(struct fields *fields, const struct fields *more);
/** fields_take() - what is in @less is not in @fields any more. */
void fields_take(struct fields *fields, const struct fields *less);
/** fields_both() - what is in both. */
struct fields *fields_both(const struct fields *a, const struct fields *b);
/** fields_drop() - the field at the NULL-terminated path of member names, and all below it. */
void fields_drop(struct fields *fields, const char *const *path);
/** fields_drop_all_but() - every field at the top but @member. */
void fields_drop_all_but(struct fields *fields, const char *member);

/** fields_of() - what @object says, as somebody who applies it means it: values, and elements that have keys. Defaults are not
 *  filled in here. @duplicate: the path of an element that comes twice, g_free(); set to NULL when there is none. May be NULL. */
struct fields *fields_of(const struct schema_kind *kind, const struct json_value *object, char **duplicate);
/** fields_all() - the same and every container around the values. */
struct fields *fields_all(const struct schema_kind *kind, const struct json_value *object);
/** fields_changed() - what @now has that @old lacks or has otherwise. @old: NULL: nothing. */
struct fields *fields_changed(const struct schema_kind *kind, const struct json_value *old, const struct json_value *now);
/** fields_keep() - only what @object has. */
void fields_keep(const struct schema_kind *kind, struct fields *fields, const struct json_value *object);

/**
 * fields_prune() - take out of @object what is in @last and not in @kept
 *
 * A struct below the top or an element goes whole when nothing of it is kept; a map or list loses what is in @last, and goes when
 * it is empty then.
 */
void fields_prune(const struct schema_kind *kind, struct json_doc *doc, struct json_value *object, const struct fields *last,
                  const struct fields *kept);

/** fields_parse() - from FieldsV1; NULL when it is none. */
struct fields *fields_parse(const struct json_value *value);
/** fields_write() - as FieldsV1, sorted. */
struct json_value *fields_write(const struct fields *fields, struct json_doc *doc);
/** fields_each() - the path of every field, ".spec.disks[name="a"].size", in order. @each returns false to stop. */
void fields_each(const struct fields *fields, bool (*each)(const char *path, void *userdata), void *userdata);
