/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/change_way.h"

#include "generated/api_types.h"

#include <string.h>

/* D75-D78: what the manual promises, row by row: a row that is changed is changed here too. */
static const struct {
        const char *path;
        enum change_way way, live;
} rows[] = {
        {"metadata.name", CHANGE_NEVER, CHANGE_NEVER},
        {"metadata.labels", CHANGE_AT_ONCE, CHANGE_AT_ONCE},
        {"metadata.annotations", CHANGE_AT_ONCE, CHANGE_AT_ONCE}, /* D76 */
        {"runPolicy", CHANGE_AT_ONCE, CHANGE_AT_ONCE},            /* D76 */
        {"virtualMachineIPAddressName", CHANGE_RESTART, CHANGE_RESTART},
        {"nodeSelector", CHANGE_MIGRATION, CHANGE_MIGRATION}, /* D77 */
        {"affinity", CHANGE_MIGRATION, CHANGE_MIGRATION},     /* D77 */
        {"tolerations", CHANGE_MIGRATION, CHANGE_MIGRATION},
        {"topologySpreadConstraints", CHANGE_MIGRATION, CHANGE_MIGRATION},
        {"disruptions", CHANGE_AT_ONCE, CHANGE_AT_ONCE}, /* D76 */
        {"terminationGracePeriodSeconds", CHANGE_RESTART, CHANGE_RESTART},
        {"enableParavirtualization", CHANGE_RESTART, CHANGE_RESTART},
        {"osType", CHANGE_RESTART, CHANGE_RESTART},
        {"bootloader", CHANGE_RESTART, CHANGE_RESTART},
        {"virtualMachineClassName", CHANGE_RESTART, CHANGE_RESTART},
        {"cpu.cores", CHANGE_RESTART, CHANGE_RESTART},
        {"cpu.coreFraction", CHANGE_RESTART, CHANGE_RESTART},
        {"memory.size", CHANGE_RESTART, CHANGE_RESTART},
        {"blockDeviceRefs", CHANGE_RESTART, CHANGE_RESTART},
        {"provisioning", CHANGE_RESTART, CHANGE_RESTART},
        {"liveMigrationPolicy", CHANGE_AT_ONCE, CHANGE_AT_ONCE}, /* D76 */
        {"networks", CHANGE_RESTART, CHANGE_RESTART},
        {"securityGroups", CHANGE_AT_ONCE, CHANGE_AT_ONCE},
};

static void every_row_is_as_it_was_promised(void)
{
        size_t n = 0;

        for (; change_fields[n].path; n++) {
                const struct change_field *field = &change_fields[n];

                g_assert_cmpuint(n, <, G_N_ELEMENTS(rows));
                g_assert_cmpstr(field->path, ==, rows[n].path);
                g_assert_cmpint(field->way, ==, rows[n].way);
                g_assert_cmpint(field->live, ==, rows[n].live);
                g_assert_true(field->doc && *field->doc);
                g_assert_true(change_field_find(field->path) == field);
        }
        g_assert_cmpuint(n, ==, G_N_ELEMENTS(rows));
        for (unsigned way = 0; way < CHANGE_WAYS; way++)
                g_assert_true(*change_way_words(way) && *change_way_doc(way));
}

static const struct schema_field *field_of(const struct schema_type *type, const char *name, size_t len)
{
        for (const struct schema_field *field = type->fields; field->name; field++)
                if (strlen(field->name) == len && strncmp(field->name, name, len) == 0)
                        return field;
        return NULL;
}

/* A member of the specification without a row would come by a restart without anybody having thought of it. */
static void every_member_has_a_row_and_every_row_a_member(void)
{
        const struct schema_type *spec = &api_virtual_machine_spec_type;

        for (const struct schema_field *field = spec->fields; field->name; field++) {
                g_test_message("%s", field->name);
                g_assert_true(change_field_find(field->name) || change_is_refined(field->name));
                for (const struct schema_field *part = change_is_refined(field->name) ? field->type->fields : NULL;
                     part && part->name; part++) {
                        g_autofree char *path = g_strdup_printf("%s.%s", field->name, part->name);

                        g_assert_nonnull(change_field_find(path));
                }
        }
        for (const struct change_field *row = change_fields; row->path; row++) {
                const char *dot = strchr(row->path, '.');
                const struct schema_field *field = field_of(spec, row->path, dot ? (size_t)(dot - row->path) : strlen(row->path));

                g_assert_true(g_str_has_prefix(row->path, "metadata.") || field);
                if (field && dot)
                        g_assert_nonnull(field_of(field->type, dot + 1, strlen(dot + 1)));
        }
}

static void parts_belong_to_the_nearest_row(void)
{
        g_assert_cmpstr(change_field_find("disruptions.applyMode")->path, ==, "disruptions");
        g_assert_cmpstr(change_field_find("blockDeviceRefs.0")->path, ==, "blockDeviceRefs");
        g_assert_cmpstr(change_field_find("networks.1.name")->path, ==, "networks");
        g_assert_null(change_field_find("cpu"));
        g_assert_null(change_field_find("runPolicyX"));
        g_assert_null(change_field_find(""));
        g_assert_true(change_is_refined("cpu"));
        g_assert_false(change_is_refined("runPolicy"));
}

static struct json_value *value_of(const char *text, struct json_doc **ret_doc)
{
        if (!text)
                return NULL;
        g_assert_cmpint(json_parse(text, strlen(text), ret_doc, NULL), ==, 0);
        return json_root(*ret_doc);
}

static void one_size_written_two_ways_is_no_change(void)
{
        static const struct {
                const char *path, *a, *b;
                bool equal;
        } cases[] = {
                {"memory.size", "\"1Gi\"", "\"1024Mi\"", true},
                {"memory.size", "\"1Gi\"", "\"1073741824\"", true},
                {"memory.size", "\"1Gi\"", "\"1025Mi\"", false},
                {"memory.size", "\"1Gi\"", NULL, false},
                {"memory.size", "\"x\"", "\"y\"", false},
                {"osType", "\"1Gi\"", "\"1024Mi\"", false},
                {"cpu.cores", "2", "2.0", true},
                {"cpu.cores", NULL, NULL, true},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(json_doc) a = NULL, b = NULL;

                g_assert_cmpint(change_equal(cases[i].path, value_of(cases[i].a, &a), value_of(cases[i].b, &b)), ==,
                                cases[i].equal);
        }
}

static void room_is_bounded(void)
{
        g_assert_cmpint(change_cores_room(1), ==, 16);
        g_assert_cmpint(change_cores_room(16), ==, 16);
        g_assert_cmpint(change_cores_room(18), ==, 18);
        g_assert_cmpuint(change_memory_room(256), ==, 8192);
        g_assert_cmpuint(change_memory_room(4096), ==, 16384);
        g_assert_cmpuint(change_memory_room(512 << 10), ==, 1 << 20);
        g_assert_cmpuint(change_memory_room(2 << 20), ==, 2 << 20);
}

static void the_manual_has_every_row(void)
{
        g_autoptr(GString) page = g_string_new(NULL);

        change_manual(page);
        for (const struct change_field *field = change_fields; field->path; field++)
                g_assert_nonnull(strstr(page->str, field->path));
        for (unsigned way = 0; way < CHANGE_WAYS; way++)
                g_assert_nonnull(strstr(page->str, change_way_doc(way)));
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/change_way/every_row_is_as_it_was_promised", every_row_is_as_it_was_promised);
        g_test_add_func("/change_way/every_member_has_a_row_and_every_row_a_member", every_member_has_a_row_and_every_row_a_member);
        g_test_add_func("/change_way/parts_belong_to_the_nearest_row", parts_belong_to_the_nearest_row);
        g_test_add_func("/change_way/one_size_written_two_ways_is_no_change", one_size_written_two_ways_is_no_change);
        g_test_add_func("/change_way/room_is_bounded", room_is_bounded);
        g_test_add_func("/change_way/the_manual_has_every_row", the_manual_has_every_row);
        return g_test_run();
}
