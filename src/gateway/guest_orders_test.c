/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/guest_orders.h"

#include <string.h>

static const struct guest_order *find(const char *subresource)
{
        for (size_t i = 0; i < GUEST_ORDER_COUNT; i++)
                if (g_str_equal(guest_orders[i].subresource, subresource))
                        return &guest_orders[i];
        g_assert_not_reached();
}

/* Bodies of users: what the agent gets of them, or the words of the refusal. */
static void bodies_become_orders_or_are_refused(void)
{
        static const struct {
                const char *subresource, *body, *order, *fault;
        } cases[] = {
                {"exec", "{\"command\":[\"id\"]}", "{\"call\":\"exec\",\"timeoutSeconds\":30,\"command\":[\"id\"]}", NULL},
                {"exec", "{\"command\":[\"cat\"],\"stdin\":\"aGk=\",\"timeoutSeconds\":600}",
                 "{\"call\":\"exec\",\"timeoutSeconds\":600,\"command\":[\"cat\"],\"input\":\"aGk=\"}", NULL},
                {"exec", "{}", NULL, "command is a list"},
                {"exec", "{\"command\":\"id\"}", NULL, "command is a list"},
                {"exec", "{\"command\":[\"\"]}", NULL, "command is empty"},
                {"exec", "{\"command\":[7]}", NULL, "list of texts"},
                {"exec", "{\"command\":[\"id\"],\"timeoutSeconds\":0}", NULL, "1 to 600"},
                {"exec", "{\"command\":[\"id\"],\"timeoutSeconds\":\"5\"}", NULL, "1 to 600"},
                {"exec", "{\"command\":[\"id\"],\"stdin\":5}", NULL, "base64"},
                {"exec", "{\"command\":[\"id\"],\"call\":\"password\"}", NULL, "unknown field \"call\""},
                {"guestpassword", "{\"user\":\"root\",\"password\":\"p\"}",
                 "{\"call\":\"password\",\"user\":\"root\",\"password\":\"p\",\"hashed\":false}", NULL},
                {"guestpassword", "{\"user\":\"root:x\",\"password\":\"p\"}", NULL, "name of a user"},
                {"guestpassword", "{\"user\":\"root\",\"password\":\"p\\nadmin:q\"}", NULL, "a line"},
                {"guestpassword", "{\"user\":\"root\",\"password\":\"\"}", NULL, "a line"},
                {"guestpassword", "{\"user\":\"root\",\"password\":\"p\",\"hashed\":1}", NULL, "true or false"},
                {"freeze", "null", "{\"call\":\"freeze\",\"seconds\":10}", NULL},
                {"freeze", "{\"seconds\":61}", NULL, "1 to 60"},
                {"screenshot", "null", "{\"call\":\"screenshot\"}", NULL},
                {"guestinfo", "null", "{\"call\":\"info\"}", NULL},
                {"guestinfo", "{\"all\":true}", NULL, "unknown field \"all\""},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(json_doc) doc = NULL;
                g_autofree char *fault = NULL;
                uint64_t seconds = 0;
                GString *order;

                g_assert_cmpint(json_parse(cases[i].body, strlen(cases[i].body), &doc, NULL), ==, 0);
                order = guest_order_text(find(cases[i].subresource), json_root(doc), &seconds, &fault);
                g_assert_cmpstr(order ? order->str : NULL, ==, cases[i].order);
                g_assert_true(!cases[i].fault || strstr(fault, cases[i].fault));
                if (order)
                        g_string_free(order, TRUE);
        }
}

static void a_password_is_wiped_from_its_body(void)
{
        static const char body[] = "{\"user\":\"root\",\"password\":\"secret\"}";
        g_autoptr(json_doc) doc = NULL;
        const char *password;

        g_assert_cmpint(json_parse(body, strlen(body), &doc, NULL), ==, 0);
        password = json_find_string(json_root(doc), "password", NULL);
        guest_order_wipe(json_root(doc));
        for (size_t i = 0; i < strlen("secret"); i++)
                g_assert_cmpint(password[i], ==, 0);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/guest_orders/bodies_become_orders_or_are_refused", bodies_become_orders_or_are_refused);
        g_test_add_func("/guest_orders/a_password_is_wiped_from_its_body", a_password_is_wiped_from_its_body);
        return g_test_run();
}
