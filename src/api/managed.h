/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "api/fields.h"

/*
 * metadata.managedFields: which manager set which fields. A part belongs to a manager, an operation, a version of the kind and a
 * subresource. Versions are canonical, whatever group an object was addressed under.
 */
struct managed;

struct managed *managed_new(void);
struct managed *managed_free(struct managed *managed);
AUTOPTR(managed, managed_free);

/* managed_read() outcomes */
enum {
        MANAGED_E_MALFORMED = 1, /* what a client sent cannot be read as managedFields: it is as if it had sent none */
        MANAGED_E_RESET,         /* [{}]: the client wants nobody to own anything */
};

/**
 * managed_read() - @list: metadata.managedFields, or NULL for none
 * @faults: parts that can be read and may not be, of an operation that does not exist for instance; NULL: they are left out
 *
 * Parts in a version under which @kind is not served are left out.
 */
int managed_read(const struct schema_kind *kind, const struct json_value *list, struct schema_faults *faults,
                 struct managed **ret_managed);

/* Who writes now. */
struct managed_writer {
        const char *name;
        const char *subresource; /* NULL: the object itself */
        const char *time;        /* RFC 3339 */
};

/** managed_update() - the writer changed @old (NULL: there was nothing) to @now: it owns what changed, and nobody else does. */
void managed_update(struct managed *managed, const struct managed_writer *writer, const struct schema_kind *kind,
                    const struct json_value *old, const struct json_value *now);

/* An apply. */
struct managed_application {
        const struct managed_writer *writer;
        const struct schema_kind *kind;
        const struct json_value *live;    /* NULL: there is nothing yet */
        const struct json_value *applied; /* cleaned (apply_clean()), of the object or of its status alone */
        bool force;
};

/* managed_apply() outcomes */
enum {
        MANAGED_E_CONFLICT = 1, /* others own fields that would change; causes in the faults, words in @reterr_words */
        MANAGED_E_DUPLICATE,    /* two elements of a list with the same keys; a fault */
        MANAGED_E_TOO_MANY,     /* managers that apply; a fault */
};

/**
 * managed_apply() - lay what is applied over the live object, and take out what the writer applied before and nobody else wants
 * @managed: of the live object; changed when the outcome is 0
 * @ret_merged: in @doc
 */
int managed_apply(struct managed *managed, const struct managed_application *application, struct json_doc *doc,
                  struct json_value **ret_merged, struct schema_faults *faults, char **reterr_words);

/** managed_write() - when the new version stands: forget fields that it does not have, keep to the bounds, and set
 *  metadata.managedFields. Return: false when what is applied alone needs too much room. */
bool managed_write(struct managed *managed, const struct schema_kind *kind, struct json_doc *doc);

/** MANAGED_LAST_APPLIED - the annotation in which kubectl keeps what it applied from the client's side. */
#define MANAGED_LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"
/** MANAGED_KUBECTL - the manager under which kubectl applies from the server's side; it inherits what it applied before. */
#define MANAGED_KUBECTL "kubectl"
