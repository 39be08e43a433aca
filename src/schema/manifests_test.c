/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/test_support.h"

#include <stdlib.h>

/* Whole manifests: those of this repository, and those in the form that users of the compatible group have. */

static const struct schema_kind *kind_of(const struct json_value *object)
{
        const char *api_version = json_find_string(object, "apiVersion", NULL), *name = json_find_string(object, "kind", NULL);

        for (size_t i = 0; schema_kinds[i]; i++) {
                const struct schema_kind *kind = schema_kinds[i];
                g_autofree char *own = g_strdup_printf("%s%s%s", kind->group, *kind->group ? "/" : "", kind->version);

                if (g_strcmp0(kind->kind, name) == 0 &&
                    (g_strcmp0(own, api_version) == 0 || g_strv_contains(kind->aliases, api_version)))
                        return kind;
        }
        return NULL;
}

static int judge(struct json_doc *given, void *userdata)
{
        g_autoptr(json_doc) doc = given;
        g_autoptr(schema_faults) faults = schema_faults_new();
        const struct schema_kind *kind = kind_of(json_root(doc));
        g_autofree char *text = NULL;

        g_assert_nonnull(kind);
        schema_check_shape(kind, json_root(doc), SCHEMA_UNKNOWN_REFUSE, faults);
        schema_default(kind, doc, json_root(doc));
        schema_validate(kind, json_root(doc), NULL, faults);
        schema_validate(kind, json_root(doc), json_root(doc), faults);
        text = test_faults_text(faults);
        if (*text)
                g_test_message("%s", text);
        g_assert_cmpstr(text, ==, "");
        (*(size_t *)userdata)++;
        return 0;
}

static size_t judge_file(const char *path)
{
        g_autofree char *text = NULL;
        struct json_fault fault;
        size_t len, count = 0;

        g_assert_true(g_file_get_contents(path, &text, &len, NULL));
        g_assert_cmpint(json_parse_yaml_stream(text, len, judge, &count, &fault), ==, 0);
        return count;
}

static void manifests_of_the_compatible_group_are_accepted_unchanged_D1_D24_D82_D83_D85(void)
{
        g_autofree char *path = g_build_filename(g_getenv("GABBRO_SOURCE"), "src/schema/testdata/compatible.yaml", NULL);

        g_assert_cmpuint(judge_file(path), ==, 15);
}

static void examples_are_accepted(void)
{
        g_autofree char *folder = g_build_filename(g_getenv("GABBRO_SOURCE"), "examples", NULL);
        g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
        size_t count = 0;

        g_assert_nonnull(dir);
        for (const char *name = g_dir_read_name(dir); name; name = g_dir_read_name(dir)) {
                g_autofree char *path = g_build_filename(folder, name, NULL);

                if (g_str_has_suffix(name, ".yaml"))
                        count += judge_file(path);
        }
        g_assert_cmpuint(count, >, 0);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        if (!g_getenv("GABBRO_SOURCE"))
                g_error("GABBRO_SOURCE must name the folder of the sources");
        g_test_add_func("/schema/manifests/those_of_the_compatible_group_are_accepted_unchanged_D1_D24_D82_D83_D85",
                        manifests_of_the_compatible_group_are_accepted_unchanged_D1_D24_D82_D83_D85);
        g_test_add_func("/schema/manifests/examples_are_accepted", examples_are_accepted);
        return g_test_run();
}
