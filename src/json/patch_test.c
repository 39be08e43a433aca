/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/limits.h"
#include "json/json.h"

#include <string.h>

static struct json_doc *parse(const char *text)
{
        struct json_doc *doc = NULL;
        struct json_fault fault;

        if (json_parse(text, strlen(text), &doc, &fault))
                g_error("%s: offset %zu: %s", text, fault.offset, fault.reason);
        return doc;
}

static void assert_is(const struct json_value *value, const char *expected)
{
        g_autoptr(json_doc) doc = parse(expected);

        if (!json_equal(value, json_root(doc))) {
                g_autofree char *text = json_to_text(value);

                g_error("%s instead of %s", text, expected);
        }
}

static void rfc_7386_examples_hold(void)
{
        /* appendix A */
        static const struct {
                const char *target, *patch, *result;
        } cases[] = {
                {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
                {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
                {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
                {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
                {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
                {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
                {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
                {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
                {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
                {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
                {"{\"a\":\"foo\"}", "null", "null"},
                {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
                {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
                {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
                {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
                /* section 3 */
                {"{\"title\":\"Goodbye!\",\"author\":{\"givenName\":\"John\",\"familyName\":\"Doe\"},\"tags\":[\"example\","
                 "\"sample\"],"
                 "\"content\":\"This will be unchanged\"}",
                 "{\"title\":\"Hello!\",\"phoneNumber\":\"+01-123-456-7890\",\"author\":{\"familyName\":null},\"tags\":["
                 "\"example\"]}",
                 "{\"title\":\"Hello!\",\"author\":{\"givenName\":\"John\"},\"tags\":[\"example\"],\"content\":\"This will be "
                 "unchanged\","
                 "\"phoneNumber\":\"+01-123-456-7890\"}"},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(json_doc) target = parse(cases[i].target), patch = parse(cases[i].patch), doc = json_doc_new();

                assert_is(json_merge_patch(doc, json_root(target), json_root(patch)), cases[i].result);
                assert_is(json_root(target), cases[i].target);
        }
}

struct patch_case {
        const char *target, *patch;
        int r;
        const char *result; /* or the reason of the refusal */
};

static void run_patch_cases(const struct patch_case *cases, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                g_autoptr(json_doc) target = parse(cases[i].target), patch = parse(cases[i].patch), doc = json_doc_new();
                struct json_value *result = NULL;
                struct json_fault fault = {0};
                int r = json_patch(doc, json_root(target), json_root(patch), &result, &fault);

                if (r != cases[i].r)
                        g_error("%s: %d %s", cases[i].patch, r, fault.reason);
                if (r == 0)
                        assert_is(result, cases[i].result);
                else
                        g_assert_cmpstr(fault.reason, ==, cases[i].result);
                assert_is(json_root(target), cases[i].target);
        }
}

static void rfc_6902_examples_hold(void)
{
        /* appendix A, in its order */
        static const struct patch_case cases[] = {
                {"{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz\",\"value\":\"qux\"}]", 0,
                 "{\"baz\":\"qux\",\"foo\":\"bar\"}"},
                {"{\"foo\":[\"bar\",\"baz\"]}", "[{\"op\":\"add\",\"path\":\"/foo/1\",\"value\":\"qux\"}]", 0,
                 "{\"foo\":[\"bar\",\"qux\",\"baz\"]}"},
                {"{\"baz\":\"qux\",\"foo\":\"bar\"}", "[{\"op\":\"remove\",\"path\":\"/baz\"}]", 0, "{\"foo\":\"bar\"}"},
                {"{\"foo\":[\"bar\",\"qux\",\"baz\"]}", "[{\"op\":\"remove\",\"path\":\"/foo/1\"}]", 0,
                 "{\"foo\":[\"bar\",\"baz\"]}"},
                {"{\"baz\":\"qux\",\"foo\":\"bar\"}", "[{\"op\":\"replace\",\"path\":\"/baz\",\"value\":\"boo\"}]", 0,
                 "{\"baz\":\"boo\",\"foo\":\"bar\"}"},
                {"{\"foo\":{\"bar\":\"baz\",\"waldo\":\"fred\"},\"qux\":{\"corge\":\"grault\"}}",
                 "[{\"op\":\"move\",\"from\":\"/foo/waldo\",\"path\":\"/qux/thud\"}]", 0,
                 "{\"foo\":{\"bar\":\"baz\"},\"qux\":{\"corge\":\"grault\",\"thud\":\"fred\"}}"},
                {"{\"foo\":[\"all\",\"grass\",\"cows\",\"eat\"]}", "[{\"op\":\"move\",\"from\":\"/foo/1\",\"path\":\"/foo/3\"}]", 0,
                 "{\"foo\":[\"all\",\"cows\",\"eat\",\"grass\"]}"},
                {"{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}",
                 "[{\"op\":\"test\",\"path\":\"/baz\",\"value\":\"qux\"},{\"op\":\"test\",\"path\":\"/foo/1\",\"value\":2}]", 0,
                 "{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}"},
                {"{\"baz\":\"qux\"}", "[{\"op\":\"test\",\"path\":\"/baz\",\"value\":\"bar\"}]", JSON_E_PATCH_TEST,
                 "operation 0 (test): the value differs at \"/baz\""},
                {"{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/child\",\"value\":{\"grandchild\":{}}}]", 0,
                 "{\"foo\":\"bar\",\"child\":{\"grandchild\":{}}}"},
                {"{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz\",\"value\":\"qux\",\"xyz\":123}]", 0,
                 "{\"foo\":\"bar\",\"baz\":\"qux\"}"},
                {"{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz/bat\",\"value\":\"qux\"}]", JSON_E_PATCH_MISSING,
                 "operation 0 (add): there is no \"/baz\""},
                {"{\"/\":9,\"~1\":10}", "[{\"op\":\"test\",\"path\":\"/~01\",\"value\":10}]", 0, "{\"/\":9,\"~1\":10}"},
                {"{\"/\":9,\"~1\":10}", "[{\"op\":\"test\",\"path\":\"/~01\",\"value\":\"10\"}]", JSON_E_PATCH_TEST,
                 "operation 0 (test): the value differs at \"/~01\""},
                {"{\"foo\":[\"bar\"]}", "[{\"op\":\"add\",\"path\":\"/foo/-\",\"value\":[\"abc\",\"def\"]}]", 0,
                 "{\"foo\":[\"bar\",[\"abc\",\"def\"]]}"},
        };

        run_patch_cases(cases, G_N_ELEMENTS(cases));
}

static void patches_at_the_edges(void)
{
        static const struct patch_case cases[] = {
                {"{\"a\":1}", "[]", 0, "{\"a\":1}"},
                {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"\",\"value\":[1]}]", 0, "[1]"},
                {"{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"\",\"value\":null}]", 0, "null"},
                {"{\"a\":1}", "[{\"op\":\"copy\",\"from\":\"\",\"path\":\"/b\"}]", 0, "{\"a\":1,\"b\":{\"a\":1}}"},
                {"{\"a\":{\"b\":1}}", "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"\"}]", 0, "{\"b\":1}"},
                {"{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"\"}]", 0, "{\"b\":1}"},
                {"{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a/b\",\"path\":\"/a\"}]", 0, "{\"a\":1}"},
                {"{\"a\":1}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a\"}]", 0, "{\"a\":1}"},
                {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/a\",\"value\":2}]", 0, "{\"a\":2}"},
                {"{\"\":{\"\":1}}", "[{\"op\":\"replace\",\"path\":\"//\",\"value\":2}]", 0, "{\"\":{\"\":2}}"},
                {"[1,2,3]", "[{\"op\":\"replace\",\"path\":\"/0\",\"value\":9},{\"op\":\"replace\",\"path\":\"/2\",\"value\":7}]",
                 0, "[9,2,7]"},
                {"[1]", "[{\"op\":\"add\",\"path\":\"/1\",\"value\":2},{\"op\":\"add\",\"path\":\"/0\",\"value\":0}]", 0,
                 "[0,1,2]"},
                {"{\"a\":[]}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":[]}]", 0, "{\"a\":[]}"},
                {"[1.0]", "[{\"op\":\"test\",\"path\":\"/0\",\"value\":1}]", 0, "[1]"},
                {"[]", "[{\"op\":\"remove\",\"path\":\"\"}]", JSON_E_PATCH_INVALID,
                 "operation 0 (remove): the whole document cannot be taken away"},
                {"{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/b\"}]", JSON_E_PATCH_INVALID,
                 "operation 0 (move): a value cannot move into itself, to \"/a/b\""},
                {"[1]", "[{\"op\":\"add\",\"path\":\"/2\",\"value\":2}]", JSON_E_PATCH_MISSING,
                 "operation 0 (add): there is no place \"/2\""},
                {"[1]", "[{\"op\":\"add\",\"path\":\"/01\",\"value\":2}]", JSON_E_PATCH_MISSING,
                 "operation 0 (add): there is no place \"/01\""},
                {"[1]", "[{\"op\":\"add\",\"path\":\"/+1\",\"value\":2}]", JSON_E_PATCH_MISSING,
                 "operation 0 (add): there is no place \"/+1\""},
                {"[1]", "[{\"op\":\"remove\",\"path\":\"/-\"}]", JSON_E_PATCH_MISSING, "operation 0 (remove): there is no \"/-\""},
                {"[1]", "[{\"op\":\"remove\",\"path\":\"/1\"}]", JSON_E_PATCH_MISSING, "operation 0 (remove): there is no \"/1\""},
                {"[1]", "[{\"op\":\"replace\",\"path\":\"/1\",\"value\":1}]", JSON_E_PATCH_MISSING,
                 "operation 0 (replace): there is no \"/1\""},
                {"{}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":1}]", JSON_E_PATCH_MISSING,
                 "operation 0 (replace): there is no \"/a\""},
                {"{}", "[{\"op\":\"remove\",\"path\":\"/a\"}]", JSON_E_PATCH_MISSING, "operation 0 (remove): there is no \"/a\""},
                {"{}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":null}]", JSON_E_PATCH_MISSING,
                 "operation 0 (test): there is no \"/a\""},
                {"{}", "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/b\"}]", JSON_E_PATCH_MISSING,
                 "operation 0 (copy): there is no \"/a\""},
                {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/a/b\",\"value\":1}]", JSON_E_PATCH_MISSING,
                 "operation 0 (add): there is neither an object nor an array at \"/a\""},
                {"{}", "{}", JSON_E_PATCH_INVALID, "a JSON patch is an array of operations"},
                {"{}", "[1]", JSON_E_PATCH_INVALID, "operation 0 (?): \"op\" must be one of add remove replace move copy test"},
                {"{}", "[{\"op\":\"add\",\"path\":\"/a\",\"value\":1},{\"op\":\"spam\",\"path\":\"/b\"}]", JSON_E_PATCH_INVALID,
                 "operation 1 (spam): \"op\" must be one of add remove replace move copy test"},
                {"{}", "[{\"op\":\"add\",\"value\":1}]", JSON_E_PATCH_INVALID,
                 "operation 0 (add): \"path\" must be a JSON pointer"},
                {"{}", "[{\"op\":\"add\",\"path\":\"a\",\"value\":1}]", JSON_E_PATCH_INVALID,
                 "operation 0 (add): \"path\" must be a JSON pointer"},
                {"{}", "[{\"op\":\"add\",\"path\":\"/~2\",\"value\":1}]", JSON_E_PATCH_INVALID,
                 "operation 0 (add): \"path\" must be a JSON pointer"},
                {"{}", "[{\"op\":\"add\",\"path\":\"/a\"}]", JSON_E_PATCH_INVALID, "operation 0 (add): \"value\" is missing"},
                {"{}", "[{\"op\":\"move\",\"path\":\"/a\"}]", JSON_E_PATCH_INVALID,
                 "operation 0 (move): \"from\" must be a JSON pointer"},
        };

        run_patch_cases(cases, G_N_ELEMENTS(cases));
}

/* @n times the operation @format, which gets the number. */
static struct json_doc *many_operations(const char *first, const char *format, unsigned n)
{
        g_autoptr(GString) text = g_string_new("[");

        g_string_append(text, first);
        for (unsigned i = 0; i < n; i++) {
                g_autofree char *number = g_strdup_printf("%u", i);
                g_auto(GStrv) parts = g_strsplit(format, "#", -1);
                g_autofree char *operation = g_strjoinv(number, parts);

                g_string_append_printf(text, "%s%s", text->len > 1 ? "," : "", operation);
        }
        g_string_append_c(text, ']');
        return parse(text->str);
}

static void few_operations_cannot_cost_much(void)
{
        static const struct {
                const char *format;
                unsigned n;
                int r;
        } cases[] = {
                {"{\"op\":\"copy\",\"from\":\"\",\"path\":\"/k#\"}", 12, 0},
                {"{\"op\":\"copy\",\"from\":\"\",\"path\":\"/k#\"}", 63, JSON_E_PATCH_INVALID}, /* doubles each time */
                {"{\"op\":\"move\",\"from\":\"/deep\",\"path\":\"/deep\"}", 10000, 0},
                {"{\"op\":\"add\",\"path\":\"/k#\",\"value\":#}", 10000, 0},
                {"{\"op\":\"add\",\"path\":\"/list/-\",\"value\":#}", 10000, 0},
                {"{\"op\":\"test\",\"path\":\"/missing\",\"value\":#}", 10001, JSON_E_PATCH_INVALID},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(json_doc) patch = many_operations("", cases[i].format, cases[i].n);
                g_autoptr(json_doc) target = parse("{\"list\":[],\"deep\":{\"x\":[1,2,3]}}"), doc = json_doc_new();
                struct json_value *result = NULL;
                struct json_fault fault = {0};

                g_assert_cmpint(json_patch(doc, json_root(target), json_root(patch), &result, &fault), ==, cases[i].r);
        }
}

static void walking_long_lists_is_charged(void)
{
        g_autoptr(json_doc) patch = many_operations("", "{\"op\":\"replace\",\"path\":\"/99999\",\"value\":#}", 10000);
        g_autoptr(json_doc) target = json_doc_new(), doc = json_doc_new();
        struct json_value *list = json_new(target, JSON_ARRAY), *result = NULL;
        struct json_fault fault = {0};

        for (int i = 0; i < 100000; i++)
                json_append(list, json_new_int(target, i));
        g_assert_cmpint(json_patch(doc, list, json_root(patch), &result, &fault), ==, JSON_E_PATCH_INVALID);
        g_assert_nonnull(strstr(fault.reason, "the patch is too much work"));
}

static void a_patch_cannot_nest_deeper_than_a_document(void)
{
        g_autoptr(json_doc) patch = many_operations("{\"op\":\"add\",\"path\":\"/x\",\"value\":{\"x\":1}}",
                                                    "{\"op\":\"copy\",\"from\":\"/x\",\"path\":\"/x/x\"}", LIMIT_JSON_DEPTH);
        g_autoptr(json_doc) target = parse("{}"), doc = json_doc_new();
        struct json_value *result = NULL;
        struct json_fault fault = {0};

        g_assert_cmpint(json_patch(doc, json_root(target), json_root(patch), &result, &fault), ==, JSON_E_PATCH_INVALID);
        g_assert_nonnull(strstr(fault.reason, "nested too deeply"));
}

static void rfc_6901_pointers_resolve(void)
{
        static const char document[] = "{\"foo\":[\"bar\",\"baz\"],\"\":0,\"a/"
                                       "b\":1,\"c%d\":2,\"e^f\":3,\"g|h\":4,\"i\\\\j\":5,\"k\\\"l\":6,\" \":7,\"m~n\":8}";
        static const struct {
                const char *pointer;
                const char *value; /* NULL: nothing */
        } cases[] = {
                {"/foo", "[\"bar\",\"baz\"]"},
                {"/foo/0", "\"bar\""},
                {"/", "0"},
                {"/a~1b", "1"},
                {"/c%d", "2"},
                {"/e^f", "3"},
                {"/g|h", "4"},
                {"/i\\j", "5"},
                {"/k\"l", "6"},
                {"/ ", "7"},
                {"/m~0n", "8"},
                {"/foo/2", NULL},
                {"/foo/-", NULL},
                {"/foo/00", NULL},
                {"foo", NULL},
                {"/m~n", NULL},
                {"/foo/0/x", NULL},
                {"/x", NULL},
                {"/foo/99999999999999999999", NULL},
        };
        g_autoptr(json_doc) doc = parse(document);

        g_assert_true(json_pointer_get(json_root(doc), "") == json_root(doc));
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                const struct json_value *value = json_pointer_get(json_root(doc), cases[i].pointer);

                if (!cases[i].value)
                        g_assert_null(value);
                else
                        assert_is(value, cases[i].value);
        }
        g_assert_null(json_pointer_get(NULL, "/a"));
}

static void a_diff_says_what_changed(void)
{
        static const struct {
                const char *from, *to, *operations;
        } cases[] = {
                {"{\"a\":1}", "{\"a\":1.0}", "[]"},
                {"1", "2", "[{\"op\":\"replace\",\"path\":\"\",\"value\":2}]"},
                {"{\"a\":1}", "{}", "[{\"op\":\"remove\",\"path\":\"/a\"}]"},
                {"{}", "{\"a/b~\":null}", "[{\"op\":\"add\",\"path\":\"/a~1b~0\",\"value\":null}]"},
                {"{\"a\":{\"b\":{\"c\":1},\"d\":2}}", "{\"a\":{\"b\":{\"c\":2},\"d\":2}}",
                 "[{\"op\":\"replace\",\"path\":\"/a/b/c\",\"value\":2}]"},
                {"{\"a\":[1,2]}", "{\"a\":[1,3]}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":[1,3]}]"},
                {"{\"a\":{}}", "{\"a\":[]}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":[]}]"},
                {"{\"a\":1,\"b\":2}", "{\"b\":3,\"c\":4}",
                 "[{\"op\":\"remove\",\"path\":\"/a\"},{\"op\":\"replace\",\"path\":\"/"
                 "b\",\"value\":3},{\"op\":\"add\",\"path\":\"/c\",\"value\":4}]"},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(json_doc) from = parse(cases[i].from), to = parse(cases[i].to), doc = json_doc_new();

                assert_is(json_diff(doc, json_root(from), json_root(to)), cases[i].operations);
        }
}

static struct json_value *grow(struct json_doc *doc, const struct random_source *random, unsigned depth)
{
        static const char *const words[] = {"a", "b", "c/d", "~", "", "e"};
        uint64_t pick = random_below(random, depth ? 5 : 2);
        struct json_value *value;

        if (pick == 0)
                return json_new_string(doc, words[random_below(random, G_N_ELEMENTS(words))]);
        if (pick == 1)
                return json_new_int(doc, (int64_t)random_below(random, 3));
        value = json_new(doc, pick == 2 ? JSON_ARRAY : JSON_OBJECT);
        for (uint64_t n = random_below(random, 6); n > 0; n--) {
                struct json_value *child = grow(doc, random, depth - 1);

                if (pick == 2)
                        json_append(value, child);
                else
                        json_set(doc, value, words[random_below(random, G_N_ELEMENTS(words))], child);
        }
        return value;
}

static void applying_a_diff_gives_the_other_document(void)
{
        uint64_t state = 6902;
        struct random_source random = random_seeded(&state);

        for (int i = 0; i < 2000; i++) {
                g_autoptr(json_doc) doc = json_doc_new();
                struct json_value *from = grow(doc, &random, 4), *to = grow(doc, &random, 4), *result = NULL;

                g_assert_cmpint(json_patch(doc, from, json_diff(doc, from, to), &result, NULL), ==, 0);
                g_assert_true(json_equal(result, to));
        }
}

int main(int argc, char **argv)
{
        static const struct {
                const char *name;
                void (*run)(void);
        } tests[] = {
                {"/patch/rfc_7386_examples_hold", rfc_7386_examples_hold},
                {"/patch/rfc_6902_examples_hold", rfc_6902_examples_hold},
                {"/patch/patches_at_the_edges", patches_at_the_edges},
                {"/patch/few_operations_cannot_cost_much", few_operations_cannot_cost_much},
                {"/patch/walking_long_lists_is_charged", walking_long_lists_is_charged},
                {"/patch/a_patch_cannot_nest_deeper_than_a_document", a_patch_cannot_nest_deeper_than_a_document},
                {"/patch/rfc_6901_pointers_resolve", rfc_6901_pointers_resolve},
                {"/patch/a_diff_says_what_changed", a_diff_says_what_changed},
                {"/patch/applying_a_diff_gives_the_other_document", applying_a_diff_gives_the_other_document},
        };

        g_test_init(&argc, &argv, NULL);
        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
                g_test_add_func(tests[i].name, tests[i].run);
        return g_test_run();
}
