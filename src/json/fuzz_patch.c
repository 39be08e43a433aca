/* SPDX-License-Identifier: Apache-2.0 */
#include "json/json.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A result is a document like any other: it reads back from its text. */
static void check_document(const struct json_value *value)
{
        g_autofree char *text = json_to_text(value);
        g_autoptr(json_doc) doc = NULL;

        /* operations may have added up to more than a document from outside may hold, but never deeper */
        if (json_parse_within(text, strlen(text), 1u << 30, 1u << 24, &doc, NULL) != 0)
                g_error("%.1000s", text);
        assert(json_equal(json_root(doc), value));
}

/* Applying the difference gives the other document. */
static void check_diff(struct json_doc *doc, const struct json_value *from, const struct json_value *to)
{
        struct json_value *operations = json_diff(doc, from, to), *result = NULL;
        int r = json_patch(doc, from, operations, &result, NULL);

        assert(r == 0 || json_length(operations) > 1000);
        assert(r != 0 || json_equal(result, to));
}

static void try_patch(struct json_doc *doc, const struct json_value *target, const struct json_value *operations)
{
        struct json_value *result = NULL;
        struct json_fault fault = {0};
        int r = json_patch(doc, target, operations, &result, &fault);

        assert(r == 0 || r == JSON_E_PATCH_INVALID || r == JSON_E_PATCH_MISSING || r == JSON_E_PATCH_TEST);
        if (r) {
                assert(!result && fault.reason[0]);
                return;
        }
        check_document(result);
        check_diff(doc, target, result);
}

static void try_merge(struct json_doc *doc, const struct json_value *target, const struct json_value *patch)
{
        struct json_value *once = json_merge_patch(doc, target, patch);

        check_document(once);
        assert(json_equal(once, json_merge_patch(doc, once, patch)));
        check_diff(doc, target, once);
}

/* The input is one document {"target": …, "patch": …}; the patch is tried as what RFC 6902 and what RFC 7386 make of it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autoptr(json_doc) input = NULL, doc = json_doc_new();
        g_autofree char *before = NULL, *after = NULL;
        const struct json_value *target, *patch;

        if (json_parse((const char *)data, size, &input, NULL))
                return 0;
        before = json_to_text(json_root(input));
        target = json_get(json_root(input), "target");
        patch = json_get(json_root(input), "patch");
        try_patch(doc, target, patch);
        try_merge(doc, target, patch);
        after = json_to_text(json_root(input));
        assert(g_strcmp0(before, after) == 0);
        return 0;
}
