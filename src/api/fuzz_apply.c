/* SPDX-License-Identifier: Apache-2.0 */
#include "api/apply.h"
#include "api/managed.h"
#include "generated/api_types.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

/* An array of a live machine and what is applied to it; managedFields come with the live one. Applying twice is applying once. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct json_doc *apply(const struct json_value *live, const struct json_value *sent)
{
        static const struct managed_writer writer = {.name = MANAGED_KUBECTL, .time = "2026-01-01T00:00:00Z"};
        const struct schema_kind *kind = &api_virtual_machine_kind;
        g_autoptr(schema_faults) faults = schema_faults_new();
        g_autoptr(json_doc) applied = json_doc_new(), doc = json_doc_new();
        g_autoptr(managed) managed = NULL;
        g_autofree char *words = NULL;
        struct json_value *merged = NULL;

        if (managed_read(kind, json_find(live, "metadata", "managedFields", NULL), faults, &managed) != 0)
                managed = managed_new();
        json_set_root(applied, json_copy(applied, sent));
        json_remove(json_get(json_root(applied), "metadata"), "managedFields");
        apply_clean(kind, applied, json_root(applied));
        if (managed_apply(
                    managed,
                    &(struct managed_application){
                            .writer = &writer, .kind = kind, .live = live, .applied = json_root_const(applied), .force = true},
                    doc, &merged, faults, &words) != 0)
                return NULL;
        json_set_root(doc, merged);
        json_remove(json_get(merged, "metadata"), "managedFields");
        return managed_write(managed, kind, doc) ? g_steal_pointer(&doc) : NULL;
}

static void try_both(const struct json_value *live, const struct json_value *sent)
{
        g_autoptr(json_doc) once = NULL, twice = NULL;

        if (!json_is(live, JSON_OBJECT) || !json_is(sent, JSON_OBJECT))
                return;
        once = apply(live, sent);
        if (!once)
                return;
        twice = apply(json_root_const(once), sent);
        assert(twice && json_equal(json_root_const(once), json_root_const(twice)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autoptr(json_doc) doc = NULL;

        if (json_parse((const char *)data, size, &doc, NULL) == 0 && json_is(json_root(doc), JSON_ARRAY) &&
            json_length(json_root(doc)) == 2)
                try_both(json_at(json_root(doc), 0), json_at(json_root(doc), 1));
        return 0;
}
