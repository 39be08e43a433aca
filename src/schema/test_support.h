/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "schema/schema.h"

#include <assert.h>
#include <string.h>

/* Shared by the tests of this folder. */

/* The document of a YAML text that must be right; test_free() frees all of them. */
static inline struct json_doc *test_yaml(const char *text)
{
        struct json_fault fault = {0};
        struct json_doc *doc = NULL;

        if (json_parse_yaml(text, strlen(text), &doc, &fault) != 0)
                g_error("line %u: %s\n%s", fault.line, fault.reason, text);
        return doc;
}

/* @base with the merge patch @patch (NULL: none) as a document of its own. */
static inline struct json_doc *test_patched(const char *base, const char *patch)
{
        g_autoptr(json_doc) base_doc = test_yaml(base);
        g_autoptr(json_doc) patch_doc = patch ? test_yaml(patch) : NULL;
        struct json_doc *doc = json_doc_new();

        if (patch)
                json_set_root(doc, json_merge_patch(doc, json_root_const(base_doc), json_root_const(patch_doc)));
        else
                json_set_root(doc, json_copy(doc, json_root_const(base_doc)));
        return doc;
}

/* "field: message" of every fault, each on a line. */
static inline char *test_faults_text(const struct schema_faults *faults)
{
        GString *text = g_string_new(NULL);

        for (size_t i = 0; i < schema_faults_kept(faults); i++) {
                const struct schema_fault *fault = schema_faults_at(faults, i);

                g_string_append_printf(text, "%s%s: %s", i > 0 ? "\n" : "", fault->field, fault->message);
        }
        return g_string_free(text, FALSE);
}

/* What the API does with a body: shape, defaults, validation against @old (YAML, or NULL). The faults as text; g_free(). */
static inline char *test_judge(const struct schema_kind *kind, const char *base, const char *patch, const char *old_patch,
                               bool update)
{
        g_autoptr(schema_faults) faults = schema_faults_new();
        g_autoptr(json_doc) doc = test_patched(base, patch);
        g_autoptr(json_doc) old = update ? test_patched(base, old_patch) : NULL;

        schema_check_shape(kind, json_root(doc), SCHEMA_UNKNOWN_REFUSE, faults);
        schema_default(kind, doc, json_root(doc));
        if (old)
                schema_default(kind, old, json_root(old));
        schema_validate(kind, json_root(doc), old ? json_root(old) : NULL, faults);
        return test_faults_text(faults);
}
