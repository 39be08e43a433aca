/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "store/store.h"

#include <glib.h>

/*
 * Stored bytes on their way out. Objects are written with apiVersion, kind and metadata first, so that the border can show them
 * under another version, or a delete's revision, without reading them. Bytes in another order are read and written anew.
 */

/** splice_order() - bring apiVersion, kind, metadata to the front of the document's root. */
void splice_order(struct json_doc *doc);

/**
 * splice_object() - append an object
 * @api_version: under which the caller addressed it; NULL: as stored
 * @revision: resourceVersion to show; 0: as stored
 */
void splice_object(const struct store_object *object, const char *api_version, uint64_t revision, GString *out);
