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
        {"terminationGracePeriodSeconds", CHANGE_RESTART, CHANGE_AT_ONCE},
        {"enableParavirtualization", CHANGE_RESTART, CHANGE_RESTART},
        {"osId", CHANGE_AT_ONCE, CHANGE_AT_ONCE},
        {"osType", CHANGE_RESTART, CHANGE_RESTART},
        {"bootloader", CHANGE_RESTART, CHANGE_RESTART},
        {"tpm", CHANGE_RESTART, CHANGE_RESTART},
        {"watchdog", CHANGE_RESTART, CHANGE_RESTART},
        {"graphics", CHANGE_RESTART, CHANGE_RESTART},
        {"virtualMachineClassName", CHANGE_RESTART, CHANGE_RESTART},
        {"cpu.cores", CHANGE_RESTART, CHANGE_LIVE},
        {"cpu.maxCores", CHANGE_RESTART, CHANGE_RESTART},
        {"cpu.coreFraction", CHANGE_RESTART, CHANGE_LIVE},
        {"memory.size", CHANGE_RESTART, CHANGE_LIVE},
        {"blockDeviceRefs", CHANGE_RESTART, CHANGE_RESTART},
        {"provisioning", CHANGE_RESTART, CHANGE_RESTART},
        {"liveMigrationPolicy", CHANGE_AT_ONCE, CHANGE_AT_ONCE}, /* D76 */
        {"networks.linkState", CHANGE_LIVE, CHANGE_LIVE},
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
        g_assert_cmpstr(change_field_find("networks.1.linkState")->path, ==, "networks.linkState");
        g_assert_cmpstr(change_field_find("networks.linkState")->path, ==, "networks.linkState");
        g_assert_cmpstr(change_field_find("networks.1.linkStateX")->path, ==, "networks");
        g_assert_cmpstr(change_field_find("networks.12")->path, ==, "networks");
        g_assert_null(change_field_find("cpu"));
        g_assert_null(change_field_find("runPolicyX"));
        g_assert_null(change_field_find(""));
        g_assert_true(change_is_refined("cpu"));
        g_assert_false(change_is_refined("runPolicy"));
}

/* A machine of 2 cores with room for 16, and of 1 GiB with room for 8. */
static const struct change_machine roomy = {.live = true,
                                            .cores = 2,
                                            .cores_most = 16,
                                            .memory_mib = 1024,
                                            .memory_full_mib = 1024,
                                            .memory_least_mib = 256,
                                            .memory_most_mib = 8192},
                                   tight = {.live = true,
                                            .cores = 2,
                                            .cores_most = 2,
                                            .memory_mib = 1024,
                                            .memory_full_mib = 1024,
                                            .memory_least_mib = 1024,
                                            .memory_most_mib = 1024},
                                   small = {.live = true,
                                            .memory_mib = 512,
                                            .memory_full_mib = 1024,
                                            .memory_least_mib = 256,
                                            .memory_most_mib = 8192},
                                   waiting = {.cores = 2,
                                              .cores_most = 16,
                                              .memory_mib = 1024,
                                              .memory_full_mib = 1024,
                                              .memory_least_mib = 256,
                                              .memory_most_mib = 8192};

static const struct {
        const struct change_machine *machine;
        const char *path, *current, *desired; /* JSON; NULL: absent */
        enum change_way way;
        const char *words;
} judged[] = {
        {&roomy, "cpu.cores", "2", "3", CHANGE_LIVE, NULL},
        {&roomy, "cpu.cores", "2", "16", CHANGE_LIVE, NULL},
        {&roomy, "cpu.cores", "2", "18", CHANGE_RESTART, "room for fewer processors"},
        {&roomy, "cpu.cores", "2", "1", CHANGE_RESTART, "processors are not taken"},
        {&roomy, "cpu.cores", "2", NULL, CHANGE_RESTART, "processors are not taken"},
        {&tight, "cpu.cores", "2", "3", CHANGE_RESTART, "not started with room for more processors"},
        {&waiting, "cpu.cores", "2", "3", CHANGE_RESTART, NULL},
        {&roomy, "cpu.coreFraction", "\"100%\"", "\"20%\"", CHANGE_LIVE, NULL},
        {&waiting, "cpu.coreFraction", "\"100%\"", "\"20%\"", CHANGE_RESTART, NULL},
        {&roomy, "memory.size", "\"1Gi\"", "\"2Gi\"", CHANGE_LIVE, NULL},
        {&roomy, "memory.size", "\"1Gi\"", "\"1152Mi\"", CHANGE_LIVE, NULL},
        {&roomy, "memory.size", "\"1Gi\"", "\"1100Mi\"", CHANGE_RESTART, "in steps of 128Mi"},
        {&roomy, "memory.size", "\"1Gi\"", "\"8Gi\"", CHANGE_LIVE, NULL},
        {&roomy, "memory.size", "\"1Gi\"", "\"9Gi\"", CHANGE_RESTART, "room for less memory"},
        {&roomy, "memory.size", "\"1Gi\"", "\"512Mi\"", CHANGE_LIVE, NULL},
        {&roomy, "memory.size", "\"1Gi\"", "\"300Mi\"", CHANGE_LIVE, NULL},
        {&roomy, "memory.size", "\"1Gi\"", "\"255Mi\"", CHANGE_RESTART, "keeps a quarter"},
        {&roomy, "memory.size", "\"1Gi\"", "7", CHANGE_RESTART, "keeps a quarter"},
        {&tight, "memory.size", "\"1Gi\"", "\"512Mi\"", CHANGE_RESTART, "memory is not taken"},
        {&small, "memory.size", "\"512Mi\"", "\"700Mi\"", CHANGE_LIVE, NULL},
        {&small, "memory.size", "\"512Mi\"", "\"1Gi\"", CHANGE_LIVE, NULL},
        {&small, "memory.size", "\"512Mi\"", "\"1152Mi\"", CHANGE_LIVE, NULL},
        {&small, "memory.size", "\"512Mi\"", "\"1100Mi\"", CHANGE_RESTART, "in steps of 128Mi"},
        {&waiting, "memory.size", "\"1Gi\"", "\"512Mi\"", CHANGE_RESTART, NULL},
        {&tight, "memory.size", "\"1Gi\"", "\"2Gi\"", CHANGE_RESTART, "not started with room for more memory"},
        {&waiting, "memory.size", "\"1Gi\"", "\"2Gi\"", CHANGE_RESTART, NULL},
        {&roomy, "terminationGracePeriodSeconds", "60", "5", CHANGE_AT_ONCE, NULL},
        {&waiting, "terminationGracePeriodSeconds", "60", "5", CHANGE_RESTART, NULL},
        {&roomy, "bootloader", "\"BIOS\"", "\"EFI\"", CHANGE_RESTART, NULL},
        {&roomy, "somethingNew", NULL, "1", CHANGE_RESTART, NULL},
        {&roomy, "runPolicy", "\"Manual\"", "\"AlwaysOn\"", CHANGE_AT_ONCE, NULL},
};

static struct json_value *value_of(const char *text, struct json_doc **ret_doc)
{
        if (!text)
                return NULL;
        g_assert_cmpint(json_parse(text, strlen(text), ret_doc, NULL), ==, 0);
        return json_root(*ret_doc);
}

static void values_decide_what_comes_live(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(judged); i++) {
                g_autoptr(json_doc) a = NULL, b = NULL;
                const struct json_value *current = value_of(judged[i].current, &a), *desired = value_of(judged[i].desired, &b);
                const char *words = NULL;

                g_test_message("%s to %s", judged[i].path, judged[i].desired ? judged[i].desired : "nothing");
                g_assert_cmpint(change_judge(judged[i].machine, judged[i].path, current, desired, &words), ==, judged[i].way);
                g_assert_cmpint(words == NULL, ==, judged[i].words == NULL);
                if (words)
                        g_assert_nonnull(strstr(words, judged[i].words));
        }
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
        g_assert_cmpint(change_cores_room(18), ==, 32);
        g_assert_cmpint(change_cores_room(64), ==, 64);
        g_assert_cmpint(change_cores_room(72), ==, 248);
        g_assert_cmpuint(change_memory_room(256), ==, 8192);
        g_assert_cmpuint(change_memory_room(4096), ==, 16384);
        g_assert_cmpuint(change_memory_room(128 << 10), ==, 256 << 10);
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
        g_test_add_func("/change_way/values_decide_what_comes_live", values_decide_what_comes_live);
        g_test_add_func("/change_way/one_size_written_two_ways_is_no_change", one_size_written_two_ways_is_no_change);
        g_test_add_func("/change_way/room_is_bounded", room_is_bounded);
        g_test_add_func("/change_way/the_manual_has_every_row", the_manual_has_every_row);
        return g_test_run();
}
