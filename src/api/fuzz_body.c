/* SPDX-License-Identifier: Apache-2.0 */
#include "api/protobuf.h"
#include "api/strategic.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

/* Bodies: protocol buffers when they begin with their magic, else a target and a strategic patch as the two elements of an array.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_writes(const struct json_value *value)
{
        g_autofree char *text = json_to_text(value);
        struct json_doc *again = NULL;
        int r = json_parse(text, strlen(text), &again, NULL);

        /* A merge may nest deeper or grow larger than what is taken from outside, but is never anything but JSON. */
        assert(r == 0 || r == JSON_E_LIMIT);
        json_doc_free(again);
}

static void merge(const struct json_value *target, const struct json_value *patch)
{
        g_autofree char *before = json_to_text(target), *after = NULL;
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *value = NULL;
        const char *why = NULL;

        if (strategic_merge(doc, target, patch, &value, &why) == 0)
                check_writes(value);
        else
                assert(why);
        after = json_to_text(target);
        assert(strcmp(before, after) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct json_doc *doc = NULL;

        if (protobuf_parse((const char *)data, size, &doc) == 0)
                check_writes(json_root(doc));
        else if (json_parse((const char *)data, size, &doc, NULL) == 0 && json_is(json_root(doc), JSON_ARRAY) &&
                 json_length(json_root(doc)) == 2)
                merge(json_at(json_root(doc), 0), json_at(json_root(doc), 1));
        json_doc_free(doc);
        return 0;
}
