/* SPDX-License-Identifier: Apache-2.0 */
#include "json/json.h"

#include "base/clock.h"
#include "base/limits.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static struct json_doc *parse(const char *text)
{
        struct json_doc *doc = NULL;
        struct json_fault fault;

        if (json_parse(text, strlen(text), &doc, &fault))
                g_error("%s: offset %zu: %s", text, fault.offset, fault.reason);
        return doc;
}

static void what_is_json_is_taken_and_written_compactly(void)
{
        static const struct {
                const char *in;
                const char *out; /* NULL: as @in */
        } cases[] = {
                {"null", NULL},
                {" true ", "true"},
                {"false\n", "false"},
                {"0", NULL},
                {"-0", NULL},
                {"-0.0e+00", NULL},
                {"123456789012345678901234567890.123456789e-400", NULL},
                {"1E5", NULL},
                {"\"\"", NULL},
                {"[]", NULL},
                {"{}", NULL},
                {"[ ]", "[]"},
                {"{ }", "{}"},
                {"[1,2 ,3\t,\r\n4]", "[1,2,3,4]"},
                {"[[[]],{}]", NULL},
                {"{\"\":\"\"}", NULL},
                {"{\"a\" : 1 , \"b\":[ {\"c\":null} ] , \"d\":\"e\"}", "{\"a\":1,\"b\":[{\"c\":null}],\"d\":\"e\"}"},
                {"{\"b\":1,\"a\":2}", NULL},
                {"{\"a\":[1],\"c\":{\"d\":2}}", NULL},
                {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\\"\\\\/\\b\\f\\n\\r\\t\""},
                {"\"\\u0041\\u00e9\\u20AC\\ud83d\\uDE00\"", "\"Aé€😀\""},
                {"\"\\u0001\\u001f\\u007f\"", "\"\\u0001\\u001f\177\""},
                {"\"\\u2027\\u2028\\u2029\\u202a\"", "\"\342\200\247\\u2028\\u2029\342\200\252\""},
                {"\"<>&'\"", NULL},
                {"\"\302\200\337\277\340\240\200\355\237\277\356\200\200\357\277\277\360\220\200\200\364\217\277\277\"", NULL},
                {"\"a longer text whose \\\"quotes\\\" stand beyond the first eight bytes, é too\"", NULL},
                {"{\"a\":{\"x\":1},\"b\":{\"x\":1}}", NULL},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(json_doc) doc = parse(cases[i].in);
                g_autofree char *text = json_to_text(json_root(doc));

                g_assert_cmpstr(text, ==, cases[i].out ? cases[i].out : cases[i].in);
        }
}

static void what_is_no_json_is_refused_with_its_place(void)
{
        static const struct {
                const char *text;
                size_t offset;
                const char *reason;
        } cases[] = {
                {"", 0, "the text is empty"},
                {" \n ", 3, "the text is empty"},
                {"nul", 0, "a value is expected"},
                {"nulll", 4, "something follows the value"},
                {"True", 0, "a value is expected"},
                {"'a'", 0, "a value is expected"},
                {"NaN", 0, "a value is expected"},
                {"1 2", 2, "something follows the value"},
                {"{} []", 3, "something follows the value"},
                {"\"a\"\"b\"", 3, "something follows the value"},
                {"+1", 0, "a value is expected"},
                {".5", 0, "a value is expected"},
                {"-", 0, "malformed number"},
                {"-a", 0, "malformed number"},
                {"1.", 0, "malformed number"},
                {"1.e1", 0, "malformed number"},
                {"1e", 0, "malformed number"},
                {"1e+", 0, "malformed number"},
                {"01", 1, "something follows the value"},
                {"-01", 2, "something follows the value"},
                {"0x1", 1, "something follows the value"},
                {"[1", 2, "the text ends in the middle"},
                {"[1,", 3, "the text ends in the middle"},
                {"[1,]", 3, "a value is expected"},
                {"[,1]", 1, "a value is expected"},
                {"[1 2]", 3, "\",\" or \"]\" is expected"},
                {"[1}", 2, "\",\" or \"]\" is expected"},
                {"{\"a\":1]", 6, "\",\" or \"}\" is expected"},
                {"{", 1, "the text ends in the middle"},
                {"{\"a\"", 4, "the text ends in the middle"},
                {"{\"a\":", 5, "the text ends in the middle"},
                {"{\"a\":1", 6, "the text ends in the middle"},
                {"{\"a\" 1}", 5, "\":\" is expected after a key"},
                {"{a:1}", 1, "a key in quotes is expected"},
                {"{1:1}", 1, "a key in quotes is expected"},
                {"{\"a\":1,}", 7, "a comma before \"}\""},
                {"{,}", 1, "a key in quotes is expected"},
                {"{\"a\":1,\"b\":2,\"a\":3}", 13, "duplicate key \"a\""},
                {"{\"a\":1,\"\\u0061\":2}", 7, "duplicate key \"a\""},
                {"\"abc", 4, "the text ends in the middle"},
                {"\"a\\", 2, "unknown escape in a string"},
                {"\"a\nb\"", 2, "control character in a string"},
                {"\"\\x41\"", 1, "unknown escape in a string"},
                {"\"\\u12g4\"", 1, "malformed \\u escape or lone surrogate in a string"},
                {"\"\\ud800\"", 1, "malformed \\u escape or lone surrogate in a string"},
                {"\"\\ud800\\u0041\"", 1, "malformed \\u escape or lone surrogate in a string"},
                {"\"\\udc00\"", 1, "malformed \\u escape or lone surrogate in a string"},
                {"\"a\\u0000\"", 2, "U+0000 in a string"},
                {"{\"a\\u0000\":1}", 3, "U+0000 in a string"},
                {"\"\200\"", 1, "malformed UTF-8 in a string"},
                {"\"\300\200\"", 1, "malformed UTF-8 in a string"},
                {"\"\340\237\277\"", 1, "malformed UTF-8 in a string"},
                {"\"\355\240\200\"", 1, "malformed UTF-8 in a string"},
                {"\"\360\217\277\277\"", 1, "malformed UTF-8 in a string"},
                {"\"\364\220\200\200\"", 1, "malformed UTF-8 in a string"},
                {"\"abcdefgh\303\"", 9, "malformed UTF-8 in a string"},
                {"\357\273\277{}", 0, "a value is expected"},
                {"{\"a\":1}/**/", 7, "something follows the value"},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct json_fault fault = {0};
                struct json_doc *doc = NULL;

                g_assert_cmpint(json_parse(cases[i].text, strlen(cases[i].text), &doc, &fault), ==, JSON_E_SYNTAX);
                g_assert_null(doc);
                if (fault.offset != cases[i].offset || strcmp(fault.reason, cases[i].reason) != 0)
                        g_error("%s: offset %zu: %s", cases[i].text, fault.offset, fault.reason);
        }
}

static void bytes_of_zero_are_no_end(void)
{
        static const char *const texts[] = {"1\0", "[1]\0", "\"a\0b\"", "[1\0,2]", "\0"};
        static const size_t lengths[] = {2, 4, 5, 6, 1};

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
                g_autoptr(json_doc) doc = NULL;

                g_assert_cmpint(json_parse(texts[i], lengths[i], &doc, NULL), ==, JSON_E_SYNTAX);
        }
}

static void a_fault_tells_the_line(void)
{
        const char text[] = "{\n  \"a\": 1,\n  \"b\": tru\n}\n";
        struct json_fault fault;
        struct json_doc *doc;

        g_assert_cmpint(json_parse(text, strlen(text), &doc, &fault), ==, JSON_E_SYNTAX);
        g_assert_cmpuint(fault.line, ==, 3);
}

static void a_long_key_in_a_fault_is_cut_at_a_character(void)
{
        g_autoptr(GString) text = g_string_new("{\"");
        struct json_fault fault;
        struct json_doc *doc;

        for (int i = 0; i < 100; i++)
                g_string_append(text, "é");
        g_string_append(text, "\":1,");
        g_string_append(text, text->str + 1);
        g_string_append(text, "\"b\":1}");
        g_assert_cmpint(json_parse(text->str, text->len, &doc, &fault), ==, JSON_E_SYNTAX);
        g_assert_true(g_utf8_validate(fault.reason, -1, NULL));
        g_assert_true(g_str_has_prefix(fault.reason, "duplicate key \"é"));
}

static char *nested(unsigned depth)
{
        GString *text = g_string_new(NULL);

        for (unsigned i = 0; i < depth; i++)
                g_string_append(text, i % 2 ? "{\"a\":" : "[");
        g_string_append(text, "1");
        for (unsigned i = depth; i-- > 0;)
                g_string_append_c(text, i % 2 ? '}' : ']');
        return g_string_free(text, FALSE);
}

static void limits_are_exact(void)
{
        g_autofree char *deepest = nested(LIMIT_JSON_DEPTH), *too_deep = nested(LIMIT_JSON_DEPTH + 1);
        g_autoptr(json_doc) doc = NULL, other = NULL, third = NULL, wrapped = NULL;
        struct json_fault fault;
        struct json_doc *none;

        g_assert_cmpint(json_parse(deepest, strlen(deepest), &doc, &fault), ==, 0);
        g_assert_cmpint(json_parse(too_deep, strlen(too_deep), &none, &fault), ==, JSON_E_LIMIT);
        g_assert_cmpuint(fault.offset, >, LIMIT_JSON_DEPTH);
        /* what comes back around an object may be deeper */
        g_assert_cmpint(json_parse_within(too_deep, strlen(too_deep), 1000, 1000, &wrapped, &fault), ==, 0);
        g_assert_cmpint(json_parse_within("[1,2,3]", 7, 7, 4, &other, &fault), ==, 0);
        g_assert_cmpint(json_parse_within("[1,2,3]", 7, 6, 4, &none, &fault), ==, JSON_E_LIMIT);
        g_assert_cmpstr(fault.reason, ==, "longer than 6 bytes");
        g_assert_cmpint(json_parse_within("[1,2,3]", 7, 7, 3, &none, &fault), ==, JSON_E_LIMIT);
        g_assert_cmpstr(fault.reason, ==, "too many values");
        g_assert_cmpint(json_parse_within("1", 1, 7, 1, &third, &fault), ==, 0);
        g_assert_cmpint(json_parse_within("1", 1, 7, 0, &none, &fault), ==, JSON_E_LIMIT);
}

static void every_cut_of_a_text_is_refused(void)
{
        static const char text[] = "{\"a\":[1,-2.5e+3,true,null,\"x\\u00e9\\ud83d\\ude00é\"],\"b\":{\"c\":{}}}";

        for (size_t n = 0; n < strlen(text); n++) {
                g_autofree char *exact = g_memdup2(text, n + !n); /* so that reading beyond the end is seen */
                struct json_doc *doc = NULL;

                g_assert_cmpint(json_parse(exact, n, &doc, NULL), ==, JSON_E_SYNTAX);
        }
}

static void big_objects_find_their_members_and_duplicates(void)
{
        enum { N = 20000 };
        g_autoptr(GString) text = g_string_new("{");
        g_autoptr(json_doc) doc = NULL;
        struct json_doc *none = NULL;
        char key[16];

        for (int i = 0; i < N; i++)
                g_string_append_printf(text, "%s\"k%d\":%d", i ? "," : "", i, i);
        g_string_append(text, "}");
        doc = parse(text->str);
        g_assert_cmpuint(json_length(json_root(doc)), ==, N);
        for (int i = 0; i < N; i++) {
                int64_t number = -1;

                g_snprintf(key, sizeof(key), "k%d", i);
                g_assert_cmpint(json_int64(json_get(json_root(doc), key), &number), ==, 0);
                g_assert_cmpint(number, ==, i);
        }
        g_assert_null(json_get(json_root(doc), "k20000"));
        text->str[text->len - 1] = ',';
        g_string_append(text, "\"k19999\":1}");
        g_assert_cmpint(json_parse(text->str, text->len, &none, NULL), ==, JSON_E_SYNTAX);
}

static void duplicates_are_found_at_every_size(void)
{
        for (int n = 1; n < 40; n++)
                for (int twin = 0; twin < n; twin++) {
                        g_autoptr(GString) text = g_string_new("{");
                        struct json_doc *none = NULL;

                        for (int i = 0; i < n; i++)
                                g_string_append_printf(text, "\"key-%d\":{\"a\":%d},", i, i);
                        g_string_append_printf(text, "\"key-%d\":0}", twin);
                        g_assert_cmpint(json_parse(text->str, text->len, &none, NULL), ==, JSON_E_SYNTAX);
                }
}

static void integers_are_exact_or_refused(void)
{
        static const struct {
                const char *text;
                int r;
                int64_t number;
        } cases[] = {
                {"0", 0, 0},
                {"-0", 0, 0},
                {"0.000", 0, 0},
                {"0e999", 0, 0},
                {"7", 0, 7},
                {"-7", 0, -7},
                {"1.0", 0, 1},
                {"1e2", 0, 100},
                {"1.50e1", 0, 15},
                {"1200e-2", 0, 12},
                {"0.012e3", 0, 12},
                {"10.10e1", 0, 101},
                {"9007199254740993", 0, 9007199254740993},
                {"9223372036854775807", 0, INT64_MAX},
                {"-9223372036854775808", 0, INT64_MIN},
                {"9223372036854775808", -ERANGE, 0},
                {"-9223372036854775809", -ERANGE, 0},
                {"1e19", -ERANGE, 0},
                {"1e400", -ERANGE, 0},
                {"1e99999999999999999999", -ERANGE, 0},
                {"1.5", -EINVAL, 0},
                {"1e-1", -EINVAL, 0},
                {"15e-1", -EINVAL, 0},
                {"\"1\"", -EINVAL, 0},
                {"null", -EINVAL, 0},
                {"[1]", -EINVAL, 0},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(json_doc) doc = parse(cases[i].text);
                int64_t number = 0;
                int r = json_int64(json_root(doc), &number);

                if (r != cases[i].r || number != cases[i].number)
                        g_error("%s: %d, %" G_GINT64_FORMAT, cases[i].text, r, number);
        }
        g_assert_cmpint(json_int64(NULL, &(int64_t){0}), ==, -EINVAL);
}

static void doubles_are_read(void)
{
        g_autoptr(json_doc) doc = parse("[1.5,1e400,-1e-400,\"1\"]");
        double number = 0;

        g_assert_cmpint(json_double(json_at(json_root(doc), 0), &number), ==, 0);
        g_assert_true(fabs(number - 1.5) < 1e-9);
        g_assert_cmpint(json_double(json_at(json_root(doc), 1), &number), ==, -ERANGE);
        g_assert_cmpint(json_double(json_at(json_root(doc), 2), &number), ==, 0);
        g_assert_cmpint(json_double(json_at(json_root(doc), 3), &number), ==, -EINVAL);
}

static void equality_is_by_meaning(void)
{
        static const struct {
                const char *a, *b;
                bool equal;
        } cases[] = {
                {"1", "1.0", true},
                {"1", "10e-1", true},
                {"100", "1e2", true},
                {"0.001", "1e-3", true},
                {"12.50", "1.25E1", true},
                {"0", "-0.0e7", true},
                {"1", "-1", false},
                {"1", "2", false},
                {"1", "10", false},
                {"12", "1.2", false},
                {"101", "11", false},
                {"9007199254740993", "9007199254740992", false},
                {"1e99999999999999999999", "1e99999999999999999999", true},
                {"1e99999999999999999999", "1e99999999999999999998", false},
                {"1", "\"1\"", false},
                {"true", "false", false},
                {"null", "false", false},
                {"\"a\"", "\"\\u0061\"", true},
                {"\"a\\u0001b\"", "\"a\\u0001c\"", false},
                {"[1,2]", "[2,1]", false},
                {"[1,2]", "[1,2,3]", false},
                {"{\"a\":1,\"b\":[{}]}", "{\"b\":[{}],\"a\":1}", true},
                {"{\"a\":1}", "{\"b\":1}", false},
                {"{\"a\":1}", "{\"a\":1,\"b\":1}", false},
                {"{}", "[]", false},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(json_doc) a = parse(cases[i].a), b = parse(cases[i].b);

                if (json_equal(json_root(a), json_root(b)) != cases[i].equal ||
                    json_equal(json_root(b), json_root(a)) != cases[i].equal)
                        g_error("%s and %s", cases[i].a, cases[i].b);
        }
        g_assert_true(json_equal(NULL, NULL));
}

static void reading_is_safe_on_what_is_not_there(void)
{
        g_autoptr(json_doc) doc = parse("{\"a\":{\"b\":[true,\"s\",5]},\"n\":null}");
        const struct json_value *root = json_root(doc);

        g_assert_cmpint(json_type(NULL), ==, JSON_NULL);
        g_assert_null(json_get(NULL, "a"));
        g_assert_null(json_get(json_find(root, "a", "b", NULL), "x"));
        g_assert_null(json_find(root, "a", "x", "y", NULL));
        g_assert_null(json_find_string(root, "a", NULL));
        g_assert_true(json_find(root, NULL) == root);
        g_assert_true(json_bool(json_at(json_find(root, "a", "b", NULL), 0), false));
        g_assert_true(json_bool(json_get(root, "n"), true));
        g_assert_cmpstr(json_string(json_at(json_find(root, "a", "b", NULL), 1), NULL), ==, "s");
        g_assert_cmpstr(json_string(NULL, "otherwise"), ==, "otherwise");
        g_assert_cmpstr(json_number_text(json_at(json_find(root, "a", "b", NULL), 2)), ==, "5");
        g_assert_null(json_number_text(root));
        g_assert_null(json_at(json_find(root, "a", "b", NULL), 3));
        g_assert_null(json_at(root, 0));
        g_assert_cmpuint(json_length(json_get(root, "n")), ==, 0);
        g_assert_null(json_first(json_get(root, "n")));
        g_assert_null(json_next(NULL));
        g_assert_null(json_key(root));
        g_assert_cmpstr(json_key(json_next(json_first(root))), ==, "n");
        g_assert_null(json_root(NULL));
        g_assert_cmpstr(json_type_name(JSON_OBJECT), ==, "object");
        g_assert_cmpstr(json_type_name(JSON_FALSE), ==, "boolean");
}

static void trees_are_built_and_changed(void)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT), *list;
        g_autofree char *text = NULL;

        json_set_root(doc, root);
        json_set_string(doc, root, "s", "a\"b");
        json_set_int(doc, root, "i", INT64_MIN);
        json_set_bool(doc, root, "b", true);
        json_set(doc, root, "n", json_new_number(doc, "1.50"));
        json_set_string(doc, json_ensure_object(doc, root, "o"), "x", "y");
        json_set_string(doc, json_ensure_object(doc, root, "o"), "z", "");
        list = json_ensure_array(doc, root, "l");
        json_append(list, json_new_int(doc, 2));
        json_insert(list, 0, json_new_int(doc, 1));
        json_insert(list, 2, json_new_int(doc, 4));
        json_insert(list, 2, json_new_int(doc, 3));
        json_set_int(doc, root, "i", 5); /* keeps its place */
        json_set_string(doc, root, "b", NULL);
        g_assert_false(json_remove(root, "b"));
        json_ensure_array(doc, root, "s");
        text = json_to_text(root);
        g_assert_cmpstr(text, ==, "{\"s\":[],\"i\":5,\"n\":1.50,\"o\":{\"x\":\"y\",\"z\":\"\"},\"l\":[1,2,3,4]}");
}

static void elements_come_out_at_every_place(void)
{
        g_autoptr(json_doc) doc = parse("[0,1,2,3]");
        struct json_value *list = json_root(doc);
        g_autofree char *text = NULL;

        g_assert_true(json_remove_at(list, 3));
        g_assert_true(json_remove_at(list, 0));
        g_assert_false(json_remove_at(list, 2));
        json_append(list, json_new_string(doc, "end"));
        text = json_to_text(list);
        g_assert_cmpstr(text, ==, "[1,2,\"end\"]");
        while (json_remove_at(list, 0))
                ;
        json_append(list, json_new(doc, JSON_NULL));
        g_assert_cmpuint(json_length(list), ==, 1);
}

/* The same changes on the tree and on a plain list of keys. */
static void big_objects_stay_right_under_changes(void)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *object = json_new(doc, JSON_OBJECT);
        uint64_t state = 11;
        struct random_source random = random_seeded(&state);
        int64_t expected[64], number, count = 0;
        char key[16];

        for (size_t i = 0; i < G_N_ELEMENTS(expected); i++)
                expected[i] = -1;
        for (int64_t turn = 0; turn < 5000; turn++) {
                uint64_t pick = random_below(&random, G_N_ELEMENTS(expected));

                g_snprintf(key, sizeof(key), "k%u", (unsigned)pick);
                if (random_below(&random, 3)) {
                        json_set_int(doc, object, key, turn);
                        expected[pick] = turn;
                } else {
                        g_assert_true(json_remove(object, key) == (expected[pick] >= 0));
                        expected[pick] = -1;
                }
        }
        for (size_t i = 0; i < G_N_ELEMENTS(expected); i++) {
                g_snprintf(key, sizeof(key), "k%u", (unsigned)i);
                count += expected[i] >= 0;
                g_assert_true((json_get(object, key) != NULL) == (expected[i] >= 0));
                if (expected[i] >= 0) {
                        g_assert_cmpint(json_int64(json_get(object, key), &number), ==, 0);
                        g_assert_cmpint(number, ==, expected[i]);
                }
        }
        g_assert_cmpint((int64_t)json_length(object), ==, count);
        for (const struct json_value *v = json_first(object); v; v = json_next(v))
                count--;
        g_assert_cmpint(count, ==, 0);
}

static void copies_share_nothing(void)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *copy;

        {
                g_autoptr(json_doc) other = parse("{\"a\":[1,{\"b\":\"c\\u0001d\"}],\"e\":null,\"t\":true,\"f\":1.50}");

                copy = json_copy(doc, json_root(other));
                g_assert_true(json_equal(copy, json_root(other)));
        }
        json_set_root(doc, copy);
        g_assert_cmpuint(json_string_len(json_get(json_at(json_get(copy, "a"), 1), "b")), ==, 3);
        g_assert_cmpint(json_type(json_copy(doc, NULL)), ==, JSON_NULL);
}

static void foreign_bytes_become_replacement_characters(void)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *object = json_new(doc, JSON_OBJECT);
        g_autofree char *text = NULL;

        json_set_string(doc, object, "a\377", "b\200c\303");
        json_set(doc, object, "z", json_new_string_len(doc, "\0\377", 2));
        json_set(doc, object, "empty", json_new_string_len(doc, NULL, 0));
        text = json_to_text(object);
        g_assert_cmpstr(text, ==,
                        "{\"a\357\277\275\":\"b\357\277\275c\357\277\275\",\"z\":\"\357\277\275\357\277\275\",\"empty\":\"\"}");
}

static void strings_are_written_alike_at_every_length(void)
{
        for (size_t n = 0; n < 1200; n += n < 40 ? 1 : 97)
                for (size_t at = 0; at < n; at += n < 40 ? 1 : 61) {
                        static const char *const inserts[] = {"\"", "\n", "é", "\342\200\250", "\342\200\246", "\001"};
                        g_autoptr(GString) text = g_string_new(NULL), out = g_string_new(NULL);
                        g_autoptr(json_doc) doc = NULL;

                        for (size_t i = 0; i < n; i++)
                                g_string_append_c(text, (char)('a' + i % 26));
                        g_string_insert(text, (gssize)at, inserts[(n + at) % G_N_ELEMENTS(inserts)]);
                        json_write_string(text->str, text->len, out);
                        doc = parse(out->str);
                        g_assert_cmpmem(json_string(json_root(doc), NULL), json_string_len(json_root(doc)), text->str, text->len);
                        g_assert_cmpuint(strlen(out->str), ==, out->len);
                }
}

static void pretty_text_is_indented_by_two(void)
{
        g_autoptr(json_doc) doc = parse("{\"a\":[1,{\"b\":[]}],\"c\":{}}");
        g_autoptr(GString) out = g_string_new(NULL);

        json_write_pretty(json_root(doc), out);
        g_assert_cmpstr(out->str, ==, "{\n  \"a\": [\n    1,\n    {\n      \"b\": []\n    }\n  ],\n  \"c\": {}\n}");
}

static void members_of_a_large_document_keep_their_order(void)
{
        g_autoptr(GString) text = g_string_new("[");
        g_autofree char *written = NULL;
        g_autoptr(json_doc) doc = NULL;

        for (int i = 0; i < 3000; i++)
                g_string_append_printf(text, "%s{\"n\":%d,\"s\":\"x%d\",\"l\":[%d,%d.5]}", i ? "," : "", i, i, i, i);
        g_string_append_c(text, ']');
        doc = parse(text->str);
        written = json_to_text(json_root(doc));
        g_assert_cmpstr(written, ==, text->str);
}

int main(int argc, char **argv)
{
        static const struct {
                const char *name;
                void (*run)(void);
        } tests[] = {
                {"/json/what_is_json_is_taken_and_written_compactly", what_is_json_is_taken_and_written_compactly},
                {"/json/what_is_no_json_is_refused_with_its_place", what_is_no_json_is_refused_with_its_place},
                {"/json/bytes_of_zero_are_no_end", bytes_of_zero_are_no_end},
                {"/json/a_fault_tells_the_line", a_fault_tells_the_line},
                {"/json/a_long_key_in_a_fault_is_cut_at_a_character", a_long_key_in_a_fault_is_cut_at_a_character},
                {"/json/limits_are_exact", limits_are_exact},
                {"/json/every_cut_of_a_text_is_refused", every_cut_of_a_text_is_refused},
                {"/json/big_objects_find_their_members_and_duplicates", big_objects_find_their_members_and_duplicates},
                {"/json/duplicates_are_found_at_every_size", duplicates_are_found_at_every_size},
                {"/json/integers_are_exact_or_refused", integers_are_exact_or_refused},
                {"/json/doubles_are_read", doubles_are_read},
                {"/json/equality_is_by_meaning", equality_is_by_meaning},
                {"/json/reading_is_safe_on_what_is_not_there", reading_is_safe_on_what_is_not_there},
                {"/json/trees_are_built_and_changed", trees_are_built_and_changed},
                {"/json/elements_come_out_at_every_place", elements_come_out_at_every_place},
                {"/json/big_objects_stay_right_under_changes", big_objects_stay_right_under_changes},
                {"/json/copies_share_nothing", copies_share_nothing},
                {"/json/foreign_bytes_become_replacement_characters", foreign_bytes_become_replacement_characters},
                {"/json/strings_are_written_alike_at_every_length", strings_are_written_alike_at_every_length},
                {"/json/pretty_text_is_indented_by_two", pretty_text_is_indented_by_two},
                {"/json/members_of_a_large_document_keep_their_order", members_of_a_large_document_keep_their_order},
        };

        g_test_init(&argc, &argv, NULL);
        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
                g_test_add_func(tests[i].name, tests[i].run);
        return g_test_run();
}
