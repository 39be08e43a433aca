/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

/* Content negotiation (RFC 9110 §12.5.1) as far as clients of this API use it. */
enum accept_form {
        ACCEPT_JSON,
        ACCEPT_TABLE,    /* application/json;as=Table;g=meta.k8s.io */
        ACCEPT_METADATA, /* application/json;as=PartialObjectMetadata (of lists PartialObjectMetadataList);g=meta.k8s.io */
        ACCEPT_PROTOBUF, /* the OpenAPI document in protocol buffers */
};

struct accept {
        enum accept_form form;
        const char *version; /* of the table or metadata: "v1" or "v1beta1"; a constant */
};

/* What a resource can be told as. */
enum {
        ACCEPT_CAN_TABLE = 1,
        ACCEPT_CAN_PROTOBUF = 2,
        ACCEPT_CAN_METADATA = 4,
        ACCEPT_CAN_METADATA_LIST = 8,
};

/**
 * accept_parse() - choose the form for an Accept header
 * @header: NULL: everything is accepted
 * @can: ACCEPT_CAN_*; JSON is always served
 *
 * The first of the forms with the highest q that we serve is taken. Return: false when none is acceptable (406).
 */
bool accept_parse(const char *header, unsigned can, struct accept *ret_accept);
