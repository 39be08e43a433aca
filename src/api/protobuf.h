/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "json/json.h"

#include <stdbool.h>

/*
 * The protocol buffers form of some built-in kinds, in which kubectl from 1.32 on sends them and takes nothing else for an answer
 * to "unsupported": Namespace, Secret, ConfigMap and the self reviews. Source: generated.proto of k8s.io/api and
 * k8s.io/apimachinery.
 */
#define PROTOBUF_MEDIA_TYPE "application/vnd.kubernetes.protobuf"

/* protobuf_parse() outcomes */
enum {
        PROTOBUF_E_MALFORMED = 1, /* not this encoding */
        PROTOBUF_E_KIND,          /* a kind that is not read in this form */
};

/** protobuf_parse() - the object as the JSON that it stands for; fields that are not known here are left out. */
int protobuf_parse(const char *data, size_t len, struct json_doc **ret_doc);
