/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "store/store.h"

#include <glib.h>

/* The kind meta.k8s.io Table: what kubectl prints. */
struct table_options {
        const struct schema_kind *kind;
        const char *version;        /* "v1" or "v1beta1" */
        const char *include_object; /* "None", "Metadata", "Object" */
        const char *api_version;    /* of included objects; NULL: as stored */
        uint64_t now_us;            /* for ages */
};

/* What stands in the metadata of a list or table. */
struct table_page {
        uint64_t revision;
        const char *continue_token; /* or NULL */
        int64_t remaining;          /* < 0: not told */
};

/** table_begin() - append everything up to the first row. @columns: with the definitions of the columns. */
void table_begin(const struct table_options *options, const struct table_page *page, bool columns, GString *out);
/** table_row() - append a row, without a comma. @revision: resourceVersion to show, 0: the object's. */
void table_row(const struct table_options *options, const struct store_object *object, uint64_t revision, GString *out);
/** table_metadata() - append an object's metadata alone: kind PartialObjectMetadata. @revision as for a row. */
void table_metadata(const struct table_options *options, const struct store_object *object, uint64_t revision, GString *out);
/** table_end() - close what table_begin() opened. */
void table_end(GString *out);

/** table_page_metadata() - metadata of a list in @doc. */
struct json_value *table_page_metadata(struct json_doc *doc, const struct table_page *page);
