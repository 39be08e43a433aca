/* SPDX-License-Identifier: Apache-2.0 */
#include "json/json.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int count(struct json_doc *doc, void *userdata)
{
        unsigned *n = userdata;

        json_doc_free(doc);
        (*n)++;
        return 0;
}

/* The tree of a document survives being written as YAML and as JSON. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autoptr(GString) yaml = g_string_new(NULL), json = g_string_new(NULL);
        g_autoptr(json_doc) doc = NULL, from_yaml = NULL, from_json = NULL;
        struct json_fault fault = {0};
        unsigned documents = 0;
        int r;

        r = json_parse_yaml_stream((const char *)data, size, count, &documents, &fault);
        assert(r == 0 || r == JSON_E_SYNTAX || r == JSON_E_LIMIT);
        r = json_parse_yaml((const char *)data, size, &doc, &fault);
        assert(r == 0 || r == JSON_E_SYNTAX || r == JSON_E_LIMIT);
        if (r) {
                assert(!doc && fault.reason[0] && fault.line >= 1);
                return 0;
        }
        json_write_yaml(json_root(doc), yaml);
        assert(json_parse_yaml(yaml->str, yaml->len, &from_yaml, NULL) == 0);
        assert(json_equal(json_root(doc), json_root(from_yaml)));
        json_write(json_root(doc), json);
        assert(json_parse(json->str, json->len, &from_json, NULL) == 0);
        assert(json_equal(json_root(doc), json_root(from_json)));
        return 0;
}
