/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/schema.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

/*
 * Any JSON document as an object of every kind: shape, defaults, validation with and without a former object, views both ways,
 * cells. What a view was encoded to must decode to the same again.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk_views(const struct schema_kind *kind, const struct json_value *object)
{
        g_autoptr(arena) arena = arena_new(0);
        g_autoptr(json_doc) encoded = json_doc_new(), again = json_doc_new(), overlaid = json_doc_new();
        void *view = schema_decode(kind->type, object, arena);

        if (!view)
                return;
        json_set_root(encoded, schema_encode(kind->type, view, encoded));
        view = schema_decode(kind->type, json_root(encoded), arena);
        json_set_root(again, schema_encode(kind->type, view, again));
        if (!json_equal(json_root(encoded), json_root(again)))
                abort();
        json_set_root(overlaid, json_copy(overlaid, object));
        schema_overlay(kind->type, view, overlaid, json_root(overlaid));
        schema_clear_sensitive(kind, overlaid, json_root(overlaid));
}

static void walk_kind(const struct schema_kind *kind, const struct json_value *root)
{
        static const enum schema_unknown modes[] = {SCHEMA_UNKNOWN_KEEP, SCHEMA_UNKNOWN_REFUSE, SCHEMA_UNKNOWN_DROP};
        g_autoptr(json_doc) doc = json_doc_new();

        walk_views(kind, root);
        for (size_t i = 0; i < G_N_ELEMENTS(modes); i++) {
                g_autoptr(schema_faults) faults = schema_faults_new();

                json_set_root(doc, json_copy(doc, root));
                schema_check_shape(kind, json_root(doc), modes[i], faults);
                schema_default(kind, doc, json_root(doc));
                schema_validate(kind, json_root(doc), i == 0 ? root : NULL, faults);
        }
        for (const struct schema_column *column = kind->columns; column->name; column++)
                g_free(schema_cell(column, root, 1700000000000000));
        if (!schema_changes_only_volatile(kind, root, root))
                abort();
        schema_changes_only_volatile(kind, root, json_root(doc));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autoptr(json_doc) doc = NULL;

        if (json_parse((const char *)data, size, &doc, NULL) != 0)
                return 0;
        for (size_t i = 0; schema_kinds[i]; i++)
                walk_kind(schema_kinds[i], json_root(doc));
        return 0;
}
