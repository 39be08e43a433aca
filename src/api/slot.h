/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "schema/schema.h"

#include <glib.h>
#include <stdbool.h>

/*
 * Where in a kind's tables a value of a document stands, and what that makes of it: one thing that belongs to one manager, or a
 * container whose members belong to managers one by one (the list types of Kubernetes). Values that the tables do not know are
 * containers when they are objects.
 */
struct slot {
        const struct schema_field *field; /* NULL: the object itself, or unknown */
        const struct schema_type *type;   /* of an object; NULL: unknown */
        bool element;                     /* one element of the field, not the field */
};

enum slot_form {
        SLOT_LEAF,   /* owned as a whole: scalars, atomic lists, and whatever does not have the shape that it should */
        SLOT_STRUCT, /* an object with named fields */
        SLOT_MAP,    /* an object with free keys */
        SLOT_SET,    /* a list of scalars, each once */
        SLOT_KEYED,  /* a list of objects that have keys */
};

/** slot_of_kind() - the place of an object of @kind. */
struct slot slot_of_kind(const struct schema_kind *kind);
/** slot_form() - what @value is there. */
enum slot_form slot_form(const struct slot *slot, const struct json_value *value);
/** slot_is_list() - whether a form's members are elements of an array. */
bool slot_is_list(enum slot_form form);
/** slot_child() - the place of @child, a member or element of a container of form @form at @slot. */
struct slot slot_child(const struct slot *slot, enum slot_form form, const struct json_value *child);
/** slot_child_nullable() - whether null in that place is a value of its own, not absence. */
bool slot_child_nullable(const struct slot *slot);
/**
 * slot_name() - how sets of fields call @child: "f:size" for a member, "k:{"name":"a"}" for an element with keys, "v:"x"" for a
 * value
 *
 * The text is in @name; valid until it is used again.
 */
const char *slot_name(const struct slot *slot, enum slot_form form, const struct json_value *child, GString *name);
/** slot_index() - the elements of @list by their names; the first of equal ones. Values are borrowed. */
GHashTable *slot_index(const struct slot *slot, enum slot_form form, const struct json_value *list);
/** slot_find() - the child called @name; @index: slot_index() of a list, NULL for objects. */
struct json_value *slot_find(const struct json_value *container, GHashTable *index, const char *name);
/** slot_refill() - leave in @container only @left: some of its children, in their order. */
void slot_refill(struct json_doc *doc, struct json_value *container, const GPtrArray *left);
