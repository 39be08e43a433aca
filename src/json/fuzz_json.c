/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limits.h"
#include "json/json.h"
#include "json/json_oracle.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_reparse(const struct json_value *value, void (*write)(const struct json_value *value, GString *out))
{
        g_autoptr(GString) text = g_string_new(NULL), again = g_string_new(NULL);
        g_autoptr(json_doc) doc = NULL;

        write(value, text);
        assert(strlen(text->str) == text->len);
        assert(json_parse_within(text->str, text->len, text->len, LIMIT_JSON_NODES, &doc, NULL) == 0);
        assert(json_equal(json_root(doc), value));
        write(json_root(doc), again);
        assert(g_string_equal(text, again));
}

static void check_copy(const struct json_value *value)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *copy = json_copy(doc, value);

        assert(json_equal(copy, value));
        assert(json_length(json_diff(doc, copy, value)) == 0);
}

static void put_value(const struct json_value *value, GString *out, unsigned depth);

/* Members in the order of their keys. */
static void put_object(const struct json_value *object, GString *out, unsigned depth)
{
        g_autoptr(GPtrArray) keys = g_ptr_array_new();

        for (const struct json_value *v = json_first(object); v; v = json_next(v))
                g_ptr_array_add(keys, (void *)json_key(v));
        g_ptr_array_sort(keys, json_oracle_compare);
        g_string_append_c(out, '{');
        for (guint i = 0; i < keys->len; i++) {
                json_oracle_put_string(keys->pdata[i], strlen(keys->pdata[i]), out);
                put_value(json_get(object, keys->pdata[i]), out, depth);
        }
        g_string_append_c(out, '}');
}

static void put_value(const struct json_value *value, GString *out, unsigned depth)
{
        assert(depth > 0);
        switch (json_type(value)) {
        case JSON_NULL:
                g_string_append_c(out, 'n');
                break;
        case JSON_FALSE:
        case JSON_TRUE:
                g_string_append_c(out, json_bool(value, false) ? 't' : 'f');
                break;
        case JSON_NUMBER:
                json_oracle_put_number(json_number_text(value), out);
                break;
        case JSON_STRING:
                json_oracle_put_string(json_string(value, ""), json_string_len(value), out);
                break;
        case JSON_ARRAY:
                g_string_append_c(out, '[');
                for (const struct json_value *v = json_first(value); v; v = json_next(v))
                        put_value(v, out, depth - 1);
                g_string_append_c(out, ']');
                break;
        case JSON_OBJECT:
                put_object(value, out, depth - 1);
                break;
        }
}

/* What this parser takes, the other takes with the same value; what only this one refuses, the other is known to let pass. */
static void check_oracle(const char *text, size_t len, const struct json_doc *doc, const struct json_fault *fault)
{
        g_autoptr(GString) ours = g_string_new(NULL), theirs = g_string_new(NULL);
        enum json_oracle verdict = json_oracle_read(text, len, LIMIT_JSON_DEPTH, theirs);

        if (verdict == JSON_ORACLE_IS_SILENT)
                return;
        if (!doc) {
                if (verdict == JSON_ORACLE_TAKES && !json_oracle_is_lax(fault->reason))
                        g_error("only refused here: %s", fault->reason);
                return;
        }
        if (verdict == JSON_ORACLE_REFUSES)
                g_error("only taken here");
        put_value(json_root_const(doc), ours, LIMIT_JSON_DEPTH + 2);
        if (!g_string_equal(ours, theirs))
                g_error("%s and %s", ours->str, theirs->str);
}

/* What is taken reads back from both written forms; what is refused says why; another library agrees. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autoptr(json_doc) doc = NULL;
        struct json_fault fault = {0};
        int r;

        r = json_parse((const char *)data, size, &doc, &fault);
        assert(r == 0 || r == JSON_E_SYNTAX || r == JSON_E_LIMIT);
        if (r) {
                assert(!doc && fault.reason[0] && fault.offset <= size && fault.line >= 1);
                assert(g_utf8_validate(fault.reason, -1, NULL));
        } else {
                check_reparse(json_root(doc), json_write);
                check_reparse(json_root(doc), json_write_pretty);
                check_copy(json_root(doc));
        }
        check_oracle((const char *)data, size, doc, &fault);
        return 0;
}
