/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "api/call.h"

enum body_type { BODY_JSON, BODY_YAML, BODY_PROTOBUF, BODY_MERGE_PATCH, BODY_JSON_PATCH, BODY_STRATEGIC_PATCH, BODY_APPLY };

/** body_type_of() - what the request's Content-Type says its body is; false after answering 415. */
bool body_type_of(struct call *call, enum body_type *ret_type);
/** body_parse_protobuf() - a body of the media type PROTOBUF_MEDIA_TYPE; NULL after answering 400 or 415. */
struct json_doc *body_parse_protobuf(struct call *call, const char *body, size_t len);
/** body_parse() - the body as a tree; NULL after answering 400. */
struct json_doc *body_parse(struct call *call, enum body_type type, const char *body, size_t len);
