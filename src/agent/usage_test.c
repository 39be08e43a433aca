/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/usage.h"

#include <string.h>

/* Two looks, and what is told of the time between them. */
static void rates_are_what_grew_in_the_time_between(void)
{
        const struct virt_counters before = {.cpu_ns = 1000000000, .read_bytes = 1000, .writes = 7, .received_bytes = 500};
        const struct virt_counters now = {.cpu_ns = 2000000000,
                                          .memory_bytes = 96 << 20,
                                          .read_bytes = 5000,
                                          .writes = 7,
                                          .received_bytes = 100 /* another card: it began anew */};
        static const struct {
                bool known;
                uint64_t window_us;
                const char *told;
        } cases[] = {
                {true, 2000000,
                 "{\"windowMilliseconds\":2000,\"memoryBytes\":100663296,\"cpuMillicores\":500,\"readBytesPerSecond\":2000,"
                 "\"writeBytesPerSecond\":0,\"readsPerSecond\":0,\"writesPerSecond\":0,\"receivedBytesPerSecond\":0,"
                 "\"sentBytesPerSecond\":0}"},
                {true, 1,
                 "{\"windowMilliseconds\":0,\"memoryBytes\":100663296,\"cpuMillicores\":1000000000,\"readBytesPerSecond\":"
                 "4000000000,"
                 "\"writeBytesPerSecond\":0,\"readsPerSecond\":0,\"writesPerSecond\":0,\"receivedBytesPerSecond\":0,"
                 "\"sentBytesPerSecond\":0}"},
                {false, 1000000, "{\"windowMilliseconds\":1000,\"memoryBytes\":100663296}"},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(json_doc) doc = json_doc_new();
                g_autofree char *text = NULL;

                json_set_root(doc, json_new(doc, JSON_OBJECT));
                usage_rates(cases[i].known ? &before : NULL, &now, cases[i].window_us, doc, json_root(doc));
                text = json_to_text(json_root(doc));
                g_assert_cmpstr(text, ==, cases[i].told);
        }
}

/* Whoever asks first waits a second; whoever asks within the next gets the same, and libvirt is not asked again. */
static void who_asks_within_a_second_gets_the_same_answer(void)
{
        struct usage *usage = usage_new();
        g_autoptr(virt) virt = NULL;
        g_autoptr(json_doc) doc = json_doc_new();
        struct virt_error error = {};
        uint64_t again_us = 0, later_us = 0;
        g_autofree char *first = NULL, *second = NULL;

        json_set_root(doc, json_new(doc, JSON_OBJECT));
        g_assert_cmpint(virt_open(&(struct virt_options){.uri = "test:///default"}, &virt, &error), ==, 0);
        g_assert_cmpint(usage_look(usage, virt, &again_us, &error), ==, 0);
        g_assert_cmpuint(again_us, >, 0);
        g_assert_cmpuint(again_us, <=, 1000000);
        g_assert_false(usage_tell(usage, NULL, doc, json_root(doc)));
        g_assert_cmpint(usage_look(usage, virt, &later_us, &error), ==, 0);
        g_assert_cmpuint(later_us, <=, again_us);
        g_usleep(later_us);
        g_assert_cmpint(usage_look(usage, virt, &again_us, &error), ==, 0);
        g_assert_cmpuint(again_us, ==, 0);
        g_assert_true(usage_tell(usage, NULL, doc, json_root(doc)));
        first = json_to_text(json_root(doc));
        g_assert_cmpint(usage_look(usage, virt, &again_us, &error), ==, 0);
        g_assert_true(usage_tell(usage, NULL, doc, json_root(doc)));
        second = json_to_text(json_root(doc));
        g_assert_cmpstr(first, ==, second);
        g_assert_false(usage_tell(usage, "00000000-0000-0000-0000-000000000000", doc, json_root(doc)));
        usage_free(usage);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/usage/rates_are_what_grew_in_the_time_between", rates_are_what_grew_in_the_time_between);
        g_test_add_func("/usage/who_asks_within_a_second_gets_the_same_answer", who_asks_within_a_second_gets_the_same_answer);
        return g_test_run();
}
