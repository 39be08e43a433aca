/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "api/body.h"

/* What the writing verbs share. */

/** write_refuse_absent() - answer 404 for the addressed object. */
void write_refuse_absent(struct call *call);
/** write_refuse_outcome() - answer an outcome or failure of store_commit(). */
void write_refuse_outcome(struct call *call, int outcome);

/* What becomes of an object's dependents: DeleteOptions.propagationPolicy. */
enum write_propagation {
        WRITE_AS_MARKED,  /* none was named: what the object's finalizers say, else the background */
        WRITE_BACKGROUND, /* they go after it */
        WRITE_FOREGROUND, /* they go before it */
        WRITE_ORPHAN,     /* they stay */
};

/* What a delete does to one object. */
enum write_deletion {
        WRITE_GOES,       /* the operation removes it */
        WRITE_MARKED,     /* the operation sets deletionTimestamp: finalizers hold it */
        WRITE_MARKED_YET, /* it was marked earlier: nothing to write */
};
/** write_deletion_op() - the operation that deletes @object (its newest version); the caller hands it to the store. A later delete
 * with another propagation changes its mind. */
enum write_deletion write_deletion_op(const struct store_object *object, const struct clock *clock,
                                      enum write_propagation propagation, struct store_op *ret_op);

/* The verbs when their body has come; they take it over and answer in the end. */

/** write_create() - a new object of the addressed kind. */
void write_create(struct call *call, enum body_type type, struct json_doc *body);
/** write_modify() - update and patch, of the object or of its status. */
void write_modify(struct call *call, enum body_type type, struct json_doc *body);
/** write_delete() - the addressed object. @options: DeleteOptions, or null. */
void write_delete(struct call *call, struct json_doc *options);
/** write_delete_collection() - all that the selectors choose, in transactions of bounded size. */
void write_delete_collection(struct call *call, struct json_doc *options);
