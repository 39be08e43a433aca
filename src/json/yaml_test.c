/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/limits.h"
#include "json/json.h"

#include <string.h>

static void yaml_means_the_same_as_json(void)
{
        static const struct {
                const char *yaml;
                const char *json;
        } cases[] = {
                {"a: 1\nb: [x, 'y', \"z\"]\n", "{\"a\":1,\"b\":[\"x\",\"y\",\"z\"]}"},
                {"# comment\n---\na:\n- 1\n-   b: c\n    d: e\n...\n", "{\"a\":[1,{\"b\":\"c\",\"d\":\"e\"}]}"},
                {"- - 1\n  - 2\n- {}\n- []\n", "[[1,2],{},[]]"},
                {"{a: {b: c}, d: [1, 2]}", "{\"a\":{\"b\":\"c\"},\"d\":[1,2]}"},
                {"{\"a\":\t1,\n\t\"b\": \"\\ud83d\\ude00\"}", "{\"a\":1,\"b\":\"😀\"}"},
                {"a:\n", "{\"a\":null}"},
                {"a: |\n  one\n   two\n\n  three\nb: >-\n  four\n  five\n",
                 "{\"a\":\"one\\n two\\n\\nthree\\n\",\"b\":\"four five\"}"},
                {"a: \"\\x41\\u00e9\\U0001F600\\e\"", "{\"a\":\"Aé😀\\u001b\"}"},
                {"1: a\ntrue: b\n~: c\nyes: d\n", "{\"1\":\"a\",\"true\":\"b\",\"~\":\"c\",\"yes\":\"d\"}"},
                {"? a\n: b\n", "{\"a\":\"b\"}"},
                {"\"<<\": {a: 1}", "{\"<<\":{\"a\":1}}"},
                {"plain", "\"plain\""},
                {"null", "null"},
                {"--- text\n", "\"text\""},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(json_doc) doc = NULL;
                g_autofree char *text = NULL;
                struct json_fault fault;

                if (json_parse_yaml(cases[i].yaml, strlen(cases[i].yaml), &doc, &fault))
                        g_error("%s: line %u: %s", cases[i].yaml, fault.line, fault.reason);
                text = json_to_text(json_root(doc));
                g_assert_cmpstr(text, ==, cases[i].json);
        }
}

static void plain_scalars_resolve_as_kubectl_users_expect(void)
{
        static const struct {
                const char *yaml;
                const char *json;
        } cases[] = {
                {"~", "null"},
                {"null", "null"},
                {"Null", "null"},
                {"NULL", "null"},
                {"nUll", "\"nUll\""},
                {"true", "true"},
                {"True", "true"},
                {"TRUE", "true"},
                {"false", "false"},
                {"False", "false"},
                {"FALSE", "false"},
                {"tRue", "\"tRue\""},
                {"yes", "\"yes\""},
                {"no", "\"no\""},
                {"on", "\"on\""},
                {"off", "\"off\""},
                {"y", "\"y\""},
                {"n", "\"n\""},
                {"0", "0"},
                {"-0", "-0"},
                {"12", "12"},
                {"-12", "-12"},
                {"+12", "12"},
                {"0x1F", "31"},
                {"-0x10", "-16"},
                {"0o17", "15"},
                {"0644", "420"},
                {"00", "0"},
                {"089", "89"},
                {"1.5", "1.5"},
                {"-1.5e3", "-1.5e3"},
                {"1e3", "1e3"},
                {"+1E+3", "1E+3"},
                {".5", "0.5"},
                {"-.5", "-0.5"},
                {"1.", "1.0"},
                {"01.5", "1.5"},
                {"0xffffffffffffffff", "18446744073709551615"},
                {"0x10000000000000000", "\"0x10000000000000000\""},
                {"1_000", "\"1_000\""},
                {"0b11", "\"0b11\""},
                {"12:30", "\"12:30\""},
                {"2026-01-02", "\"2026-01-02\""},
                {"1.2.3", "\"1.2.3\""},
                {"10.66.10.0/24", "\"10.66.10.0/24\""},
                {"8Gi", "\"8Gi\""},
                {"1e", "\"1e\""},
                {".", "\".\""},
                {"+", "\"+\""},
                {"-x", "\"-x\""},
                {"'1'", "\"1\""},
                {"\"true\"", "\"true\""},
                {"'~'", "\"~\""},
                {"''", "\"\""},
                {"0x", "\"0x\""},
                {"99999999999999999999999", "99999999999999999999999"},
                {"52:54:00:12:34:56", "\"52:54:00:12:34:56\""},
                {".e3", "\".e3\""},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *yaml = g_strdup_printf("[%s]", cases[i].yaml), *text = NULL, *expected = NULL;
                g_autoptr(json_doc) doc = NULL;

                g_assert_cmpint(json_parse_yaml(yaml, strlen(yaml), &doc, NULL), ==, 0);
                text = json_to_text(json_root(doc));
                expected = g_strdup_printf("[%s]", cases[i].json);
                g_assert_cmpstr(text, ==, expected);
        }
}

static void what_json_cannot_say_is_refused_with_its_line(void)
{
        static const struct {
                const char *yaml;
                unsigned line;
                const char *reason;
        } cases[] = {
                {"", 1, "there is no document"},
                {"# nothing\n---\n", 1, "there is no document"},
                {"a: 1\n---\nb: 1\n", 1, "there is more than one document"},
                {"a: &x 1\n", 1, "anchors and tags are not allowed"},
                {"a: &x [1]\n", 1, "anchors and tags are not allowed"},
                {"a: &x {b: 1}\n", 1, "anchors and tags are not allowed"},
                {"a: 1\nb: *x\n", 2, "aliases are not allowed"},
                {"a: !!binary aGk=\n", 1, "anchors and tags are not allowed"},
                {"a: !custom {}\n", 1, "anchors and tags are not allowed"},
                {"a: 1\n<<: {b: 1}\n", 2, "merge keys are not allowed"},
                {"a: 1\nb: 2\na: 3\n", 3, "duplicate key \"a\""},
                {"a: {x: 1, 'x': 2}\n", 1, "duplicate key \"x\""},
                {"? [a]\n: b\n", 1, "a key must be a scalar"},
                {"? {a: b}\n: b\n", 1, "a key must be a scalar"},
                {"a: .inf\n", 1, "JSON has no number \".inf\""},
                {"a: -.Inf\n", 1, "JSON has no number \"-.Inf\""},
                {"a: .NaN\n", 1, "JSON has no number \".NaN\""},
                {"a: [1\n", 2, "did not find expected ',' or ']'"},
                {"a:\n\t- 1\n", 2, "found character that cannot start any token"},
                {"a: \"\\ud800\"\n", 1, "found invalid Unicode character escape code"},
                {"a: \"b\\0\"\n", 1, "U+0000 in a string"},
                {"\"b\\0\": a\n", 1, "U+0000 in a string"},
                {"a: \001\n", 1, "control characters are not allowed"},
                {"b: 1\na: \377\n", 2, "invalid leading UTF-8 octet"},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct json_fault fault = {0};
                struct json_doc *doc = NULL;

                g_assert_cmpint(json_parse_yaml(cases[i].yaml, strlen(cases[i].yaml), &doc, &fault), ==, JSON_E_SYNTAX);
                g_assert_null(doc);
                if (fault.line != cases[i].line || strcmp(fault.reason, cases[i].reason) != 0)
                        g_error("%s: line %u: %s", cases[i].yaml, fault.line, fault.reason);
        }
}

static void an_alias_bomb_is_refused_at_its_first_anchor(void)
{
        g_autoptr(GString) yaml = g_string_new("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        struct json_fault fault = {0};
        struct json_doc *doc = NULL;

        for (int i = 1; i < 30; i++)
                g_string_append_printf(yaml, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i - 1, i - 1, i - 1, i - 1, i - 1,
                                       i - 1);
        g_assert_cmpint(json_parse_yaml(yaml->str, yaml->len, &doc, &fault), ==, JSON_E_SYNTAX);
        g_assert_cmpuint(fault.line, ==, 1);
}

static void yaml_is_bounded_like_json(void)
{
        g_autoptr(GString) deep = g_string_new(NULL), long_text = g_string_new("a"), many = g_string_new(NULL);
        struct json_fault fault;
        struct json_doc *doc;

        for (int i = 0; i <= LIMIT_JSON_DEPTH; i++)
                g_string_append_c(deep, '[');
        g_assert_cmpint(json_parse_yaml(deep->str, deep->len, &doc, &fault), ==, JSON_E_LIMIT);
        g_string_set_size(long_text, LIMIT_JSON_BYTES + 1);
        g_assert_cmpint(json_parse_yaml(long_text->str, long_text->len, &doc, &fault), ==, JSON_E_LIMIT);
        for (int i = 0; i <= LIMIT_JSON_NODES; i++)
                g_string_append(many, "- 1\n");
        g_assert_cmpint(json_parse_yaml(many->str, many->len, &doc, &fault), ==, JSON_E_LIMIT);
        g_assert_cmpstr(fault.reason, ==, "too many values");
}

static int collect(struct json_doc *doc, void *userdata)
{
        g_autofree char *text = json_to_text(json_root(doc));
        GString *out = userdata;

        g_string_append_printf(out, "%s;", text);
        json_doc_free(doc);
        return out->len > 30 ? 77 : 0;
}

static void a_stream_gives_each_document_in_turn(void)
{
        static const char yaml[] = "---\n# only a comment\n---\na: 1\n---\n---\n- b\n...\n---\nc\n";
        g_autoptr(GString) out = g_string_new(NULL);
        struct json_fault fault;

        g_assert_cmpint(json_parse_yaml_stream(yaml, strlen(yaml), collect, out, &fault), ==, 0);
        g_assert_cmpstr(out->str, ==, "{\"a\":1};[\"b\"];\"c\";");
        g_assert_cmpint(json_parse_yaml_stream(NULL, 0, collect, out, &fault), ==, 0);
        g_assert_cmpint(json_parse_yaml_stream("a: 1\n---\nb: *x\n", 15, collect, out, &fault), ==, JSON_E_SYNTAX);
        g_assert_cmpuint(fault.line, ==, 3);
        g_assert_cmpint(json_parse_yaml_stream("aaaaaaaaaaaaa\n---\nb: *x\n", 24, collect, out, &fault), ==, 77);
}

static void written_yaml_looks_like_kubectls(void)
{
        static const char json[] =
                "{\"kind\":\"VirtualMachine\",\"metadata\":{\"name\":\"web\",\"labels\":{},\"annotations\":{\"a.b/c\":\"yes\"}},"
                "\"spec\":{\"cores\":2,\"on\":true,\"size\":\"8Gi\",\"mac\":\"52:54:00:00:00:01\",\"when\":\"2026-01-02T03:04:"
                "05Z\","
                "\"refs\":[{\"kind\":\"Disk\",\"name\":\"a\"},[1,[]],null,\"\"],\"data\":\"#cloud-config\\nusers:\\n- x\\n\"}}";
        static const char yaml[] = "kind: VirtualMachine\n"
                                   "metadata:\n"
                                   "  name: web\n"
                                   "  labels: {}\n"
                                   "  annotations:\n"
                                   "    a.b/c: \"yes\"\n"
                                   "spec:\n"
                                   "  cores: 2\n"
                                   "  \"on\": true\n"
                                   "  size: 8Gi\n"
                                   "  mac: \"52:54:00:00:00:01\"\n"
                                   "  when: \"2026-01-02T03:04:05Z\"\n"
                                   "  refs:\n"
                                   "  - kind: Disk\n"
                                   "    name: a\n"
                                   "  - - 1\n"
                                   "    - []\n"
                                   "  - null\n"
                                   "  - \"\"\n"
                                   "  data: |\n"
                                   "    #cloud-config\n"
                                   "    users:\n"
                                   "    - x\n";
        g_autoptr(GString) out = g_string_new(NULL);
        g_autoptr(json_doc) doc = NULL;

        g_assert_cmpint(json_parse(json, strlen(json), &doc, NULL), ==, 0);
        json_write_yaml(json_root(doc), out);
        g_assert_cmpstr(out->str, ==, yaml);
}

static void check_round_trip(struct json_doc *doc)
{
        g_autoptr(GString) out = g_string_new(NULL);
        g_autoptr(json_doc) again = NULL;
        struct json_fault fault;

        json_write_yaml(json_root(doc), out);
        if (json_parse_yaml(out->str, out->len, &again, &fault))
                g_error("%s: line %u: %s", out->str, fault.line, fault.reason);
        if (!json_equal(json_root(doc), json_root(again)))
                g_error("%s differs", out->str);
}

/* longer than a key on one line may be */
static const char long_text[] = "01234567890123456789012345678901234567890123456789012345678901234567890123456789"
                                "01234567890123456789012345678901234567890123456789012345678901234567890123456789 x";

static void every_string_survives_as_value_key_and_element(void)
{
        static const char *const strings[] = {
                "",
                " ",
                "a",
                " a",
                "a ",
                "a b",
                "a: b",
                "a:b",
                "a:",
                "a #b",
                "#a",
                "-",
                "- a",
                "-a",
                "--- a",
                "...",
                "?",
                "? a",
                ":",
                "*a",
                "&a",
                "!a",
                "|",
                ">",
                "%a",
                "@a",
                "`a",
                "{a",
                "[a",
                "a,b",
                "a]",
                "\"a",
                "'a",
                "a'",
                "~",
                "null",
                "true",
                "yes",
                "NO",
                "0",
                "1.5",
                "0x1",
                "1e3",
                ".inf",
                "\n",
                "a\n",
                "a\nb",
                "a\n\n",
                "\na",
                "a\n b\n",
                " a\nb",
                "a\n \nb",
                "a\nb ",
                "a\n\n\nb\n",
                "a\tb",
                "\ta",
                "a\n\tb",
                "a\r\nb",
                "a\001",
                "\177",
                "é",
                "\302\205",
                "a\302\205b\nc",
                "\342\200\250",
                "\357\273\277",
                "\357\277\276",
                "😀",
                "\364\217\277\277",
                "<<",
                "=",
                "12:30:45",
                "2026-01-02",
                "01",
                "0o17",
                "089",
                "1_000",
                "key: |",
                "a\n#b",
                "a\n---\nb",
                "a\n...\n",
                "# c\n",
                "\\",
                "\\n",
                "/a",
                "(a)",
                "a=b",
                long_text,
        };

        for (size_t i = 0; i < G_N_ELEMENTS(strings); i++) {
                g_autoptr(json_doc) doc = json_doc_new();
                struct json_value *root = json_new(doc, JSON_OBJECT), *list;

                check_round_trip(doc);
                json_set_root(doc, json_new_string(doc, strings[i]));
                check_round_trip(doc);
                json_set_root(doc, root);
                json_set_string(doc, root, strings[i], strings[i]);
                json_set_string(doc, root, "after", "x");
                json_set_string(doc, json_ensure_object(doc, root, "object"), strings[i], strings[i]);
                list = json_ensure_array(doc, root, "list");
                json_append(list, json_new_string(doc, strings[i]));
                json_set_string(doc, json_append(list, json_new(doc, JSON_OBJECT)), strings[i], strings[i]);
                json_append(json_append(list, json_new(doc, JSON_ARRAY)), json_new_string(doc, strings[i]));
                check_round_trip(doc);
        }
}

/* A tree of every shape, from a few awkward words. */
static struct json_value *grow(struct json_doc *doc, const struct random_source *random, unsigned depth)
{
        static const char *const words[] = {"a",     "b c", "",     "- x",           "x: y", "one\ntwo\n", "\n",
                                            " lead", "1",   "true", "é\342\200\251", "# c",  "a\n b"};
        uint64_t pick = random_below(random, depth ? 6 : 4);
        struct json_value *value;

        if (pick < 2)
                return json_new_string(doc, words[random_below(random, G_N_ELEMENTS(words))]);
        if (pick == 2)
                return json_new_int(doc, (int64_t)random_below(random, 1000) - 500);
        if (pick == 3)
                return json_new(doc, (enum json_type)random_below(random, 3));
        value = json_new(doc, pick == 4 ? JSON_ARRAY : JSON_OBJECT);
        for (uint64_t n = random_below(random, 5); n > 0; n--) {
                struct json_value *child = grow(doc, random, depth - 1);

                if (pick == 4)
                        json_append(value, child);
                else
                        json_set(doc, value, words[random_below(random, G_N_ELEMENTS(words))], child);
        }
        return value;
}

static void trees_of_every_shape_survive(void)
{
        uint64_t state = 2026;
        struct random_source random = random_seeded(&state);

        for (int i = 0; i < 1500; i++) {
                g_autoptr(json_doc) doc = json_doc_new();

                json_set_root(doc, grow(doc, &random, 5));
                check_round_trip(doc);
        }
}

int main(int argc, char **argv)
{
        static const struct {
                const char *name;
                void (*run)(void);
        } tests[] = {
                {"/yaml/yaml_means_the_same_as_json", yaml_means_the_same_as_json},
                {"/yaml/plain_scalars_resolve_as_kubectl_users_expect", plain_scalars_resolve_as_kubectl_users_expect},
                {"/yaml/what_json_cannot_say_is_refused_with_its_line", what_json_cannot_say_is_refused_with_its_line},
                {"/yaml/an_alias_bomb_is_refused_at_its_first_anchor", an_alias_bomb_is_refused_at_its_first_anchor},
                {"/yaml/yaml_is_bounded_like_json", yaml_is_bounded_like_json},
                {"/yaml/a_stream_gives_each_document_in_turn", a_stream_gives_each_document_in_turn},
                {"/yaml/written_yaml_looks_like_kubectls", written_yaml_looks_like_kubectls},
                {"/yaml/every_string_survives_as_value_key_and_element", every_string_survives_as_value_key_and_element},
                {"/yaml/trees_of_every_shape_survive", trees_of_every_shape_survive},
        };

        g_test_init(&argc, &argv, NULL);
        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
                g_test_add_func(tests[i].name, tests[i].run);
        return g_test_run();
}
