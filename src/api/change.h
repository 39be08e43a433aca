/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "api/body.h"

/* The new version of an object out of its newest version and what the client sent. */
struct change {
        struct call *call;
        enum body_type type;             /* JSON and YAML replace the object */
        const struct json_value *body;   /* the document or patch that was sent */
        const struct store_object *base; /* NULL: an apply that creates */
        bool status_only;
};

/** change_make() - the checked document, ready for the store; NULL after answering. An apply may make the very first version. */
struct json_doc *change_make(const struct change *change);

/** change_begin() - a new document out of one that was sent, checked; the name is addressed from then on. NULL after answering. */
struct json_doc *change_begin(struct call *call, const struct json_value *sent);

/** change_identify() - apiVersion, kind, name and namespace of a sent document must be those addressed; fills in what is absent.
 *  Return: false after answering 400. @name: NULL: any (create). */
bool change_identify(struct call *call, struct json_doc *doc, const char *name);

/** change_conflict() - answer 409: the object is another version than the client thought. */
void change_conflict(struct call *call);
