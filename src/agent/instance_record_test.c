/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/instance_record.h"

#include <string.h>

#define NEHALEM "{\"version\":1,\"firmware\":\"BIOS\",\"cpu\":{\"mode\":\"custom\",\"model\":\"Nehalem\"}"
#define ASKED(cpu, firmware, paravirtual)                                                                                          \
        NEHALEM ",\"asked\":{\"paravirtualization\":" paravirtual ",\"firmware\":\"" firmware "\",\"cpu\":" cpu "}}"

static const struct json_value *parse(const char *text, struct json_doc **ret_doc)
{
        g_assert_cmpint(json_parse(text, strlen(text), ret_doc, NULL), ==, 0);
        return json_root(*ret_doc);
}

static void a_record_counts_as_far_as_the_machine_asks_for_the_same(void)
{
        static const char *const features[] = {"aes", "avx"};
        struct api_instance_cpu_model model = {.mode = "Model", .model = "Nehalem"}, other = {.mode = "Model", .model = "EPYC"};
        struct api_instance_cpu_model host = {.mode = "Host"};
        struct api_instance_cpu_model set = {.mode = "Features", .features = (const char **)features, .n_features = 2};
        const struct {
                const char *record;
                struct api_instance_spec spec;
                unsigned parts;
        } cases[] = {
                {ASKED("{\"mode\":\"Model\",\"model\":\"Nehalem\"}", "BIOS", "true"), {.cpu_model = &model}, VIRT_PART_ALL},
                {ASKED("{\"mode\":\"Model\",\"model\":\"Nehalem\"}", "BIOS", "true"),
                 {.cpu_model = &other},
                 VIRT_PART_FIRMWARE | VIRT_PART_BUSES},
                {ASKED("{\"mode\":\"Host\"}", "BIOS", "true"), {.cpu_model = &host, .firmware = "BIOS"}, VIRT_PART_ALL},
                {ASKED("{\"mode\":\"Host\"}", "BIOS", "true"),
                 {.cpu_model = &host, .firmware = "EFI"},
                 VIRT_PART_CPU | VIRT_PART_BUSES},
                {ASKED("{\"mode\":\"Host\"}", "BIOS", "true"),
                 {.cpu_model = &host, .has_paravirtualization = true},
                 VIRT_PART_CPU | VIRT_PART_FIRMWARE},
                {ASKED("{\"mode\":\"Features\",\"features\":[\"aes\",\"avx\"]}", "BIOS", "true"),
                 {.cpu_model = &set},
                 VIRT_PART_ALL},
                {ASKED("{\"mode\":\"Features\",\"features\":[\"aes\"]}", "BIOS", "true"),
                 {.cpu_model = &set},
                 VIRT_PART_FIRMWARE | VIRT_PART_BUSES},
                /* Of older agents */
                {NEHALEM "}", {.cpu_model = &model}, VIRT_PART_ALL},
                {NEHALEM "}", {.cpu_model = &other, .firmware = "BIOS"}, VIRT_PART_FIRMWARE | VIRT_PART_BUSES},
                {NEHALEM "}", {.cpu_model = &host, .firmware = "EFI"}, VIRT_PART_CPU | VIRT_PART_BUSES},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(json_doc) doc = NULL;
                const struct json_value *record = parse(cases[i].record, &doc);

                g_assert_cmpuint(instance_record_parts(record, &cases[i].spec), ==, cases[i].parts);
                g_assert_cmpint(instance_record_fits(record, &cases[i].spec), ==,
                                cases[i].parts == VIRT_PART_ALL && json_get(record, "asked"));
        }
        g_assert_cmpuint(instance_record_parts(NULL, &cases[0].spec), ==, 0);
}

static void the_record_that_fits_is_preferred(void)
{
        struct api_instance_cpu_model host = {.mode = "Host"};
        struct api_instance_spec spec = {.cpu_model = &host};
        struct api_instance_status told = {0};
        struct api_instance instance = {.spec = &spec};
        g_autoptr(json_doc) old = NULL, now = NULL;

        g_assert_null(instance_record(&instance, NULL));
        spec.hardware = parse(NEHALEM "}", &old);
        g_assert_true(instance_record(&instance, &told) == spec.hardware);
        told.hardware = parse(ASKED("{\"mode\":\"Host\"}", "BIOS", "true"), &now);
        g_assert_true(instance_record(&instance, &told) == told.hardware);
        spec.firmware = "EFI"; /* neither fits: the gateway's */
        g_assert_true(instance_record(&instance, &told) == spec.hardware);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/record/counts_as_far_as_the_machine_asks_for_the_same",
                        a_record_counts_as_far_as_the_machine_asks_for_the_same);
        g_test_add_func("/record/the_one_that_fits_is_preferred", the_record_that_fits_is_preferred);
        return g_test_run();
}
