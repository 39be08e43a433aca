/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "api/params.h"
#include "base/clock.h"
#include "schema/schema.h"

#include <stdbool.h>

/* What the server makes of a document that a client sent: no HTTP, no store. */

/* Who gives time, uids and name suffixes. */
struct object_source {
        const struct clock *clock;
        const struct random_source *random;
};

/** object_begin() - a new object's metadata: uid, creationTimestamp, generation; @name and @namespace as addressed (a name is made
 *  from generateName when @name is NULL). What only the server may set and status are dropped. */
void object_begin(const struct schema_kind *kind, const struct object_source *source, struct json_doc *doc, const char *namespace);

/**
 * object_protect() - an update may change neither identity nor what only the server sets
 * @old: the newest version
 * @status_only: the status subresource: nothing but status changes; else status stays
 */
void object_protect(const struct schema_kind *kind, struct json_doc *doc, const struct json_value *old, bool status_only);

/** object_grow_generation() - one more when anything but metadata and status differs. */
void object_grow_generation(struct json_doc *doc, const struct json_value *old);

struct object_check {
        const struct schema_kind *kind;
        const struct json_value *old; /* NULL on create */
        bool status_only;
        enum params_validation validation;
        struct schema_faults *warnings; /* may be NULL */
};

/**
 * object_check() - shape, defaults, validation, and the members in their order
 *
 * On the status subresource only faults of status count, elsewhere all others. Fields that @old has already are no unknown ones.
 */
void object_check(const struct object_check *check, struct json_doc *doc, struct schema_faults *faults);

/** object_holds() - something must still be done before a deleted object may go: finalizers. */
bool object_holds(const struct json_value *root);
/** object_is_deleting() - metadata.deletionTimestamp is set. */
bool object_is_deleting(const struct json_value *root);
/** object_begin_deletion() - set metadata.deletionTimestamp and what belongs to it. */
void object_begin_deletion(const struct schema_kind *kind, const struct clock *clock, struct json_doc *doc);
