/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/guest_orders.h"

#include "generated/api_types.h"

#include <assert.h>
#include <string.h>

#define EXEC_S   30
#define FREEZE_S 10

static bool refuse(char **reterr_fault, const char *words)
{
        *reterr_fault = g_strdup(words);
        return false;
}

/* --- bodies
 * ----------------------------------------------------------------------------------------------------------------------------------
 */

static bool take_command(const struct json_value *command, struct json_doc *doc, char **reterr_fault)
{
        size_t bytes = 0;

        if (!json_is(command, JSON_ARRAY) || json_length(command) == 0 || json_length(command) > LIMIT_GUEST_EXEC_WORDS)
                return refuse(reterr_fault, "command is a list of 1 to " G_STRINGIFY(LIMIT_GUEST_EXEC_WORDS) " words");
        for (const struct json_value *it = json_first(command); it; it = json_next(it)) {
                if (!json_is(it, JSON_STRING))
                        return refuse(reterr_fault, "command is a list of texts");
                bytes += json_string_len(it);
        }
        if (bytes > LIMIT_GUEST_EXEC_WORDS_BYTES || json_string_len(json_first(command)) == 0)
                return refuse(reterr_fault, "command is empty, or longer than 64 KiB");
        json_set(doc, json_root(doc), "command", json_copy(doc, command));
        return true;
}

static bool take_input(const struct json_value *input, struct json_doc *doc, char **reterr_fault)
{
        if (!input)
                return true;
        if (!json_is(input, JSON_STRING) || json_string_len(input) > LIMIT_GUEST_EXEC_INPUT_BYTES / 3 * 4 + 4)
                return refuse(reterr_fault, "stdin is base64 of at most 128 KiB");
        json_set_string(doc, json_root(doc), "input", json_string(input, ""));
        return true;
}

static bool build_exec(const struct json_value *body, struct json_doc *doc, uint64_t *ret_seconds, char **reterr_fault)
{
        const struct json_value *timeout = json_get(body, "timeoutSeconds");
        int64_t seconds = EXEC_S;

        if (timeout && (json_int64(timeout, &seconds) || seconds < 1 || seconds > LIMIT_GUEST_EXEC_S))
                return refuse(reterr_fault, "timeoutSeconds is a number from 1 to " G_STRINGIFY(LIMIT_GUEST_EXEC_S));
        json_set_int(doc, json_root(doc), "timeoutSeconds", seconds);
        *ret_seconds = (uint64_t)seconds;
        return take_command(json_get(body, "command"), doc, reterr_fault) && take_input(json_get(body, "stdin"), doc, reterr_fault);
}

static bool build_password(const struct json_value *body, struct json_doc *doc, uint64_t *ret_seconds, char **reterr_fault)
{
        const char *user = json_find_string(body, "user", NULL), *password = json_find_string(body, "password", NULL);
        const struct json_value *hashed = json_get(body, "hashed");

        if (!user || !*user || strlen(user) > 256 || strpbrk(user, ":\n"))
                return refuse(reterr_fault, "user is the name of a user of the guest");
        if (!password || !*password || strlen(password) > LIMIT_GUEST_PASSWORD_BYTES || strchr(password, '\n'))
                return refuse(reterr_fault, "password is a line of 1 to " G_STRINGIFY(LIMIT_GUEST_PASSWORD_BYTES) " bytes");
        if (hashed && !json_is_bool(hashed))
                return refuse(reterr_fault, "hashed is true or false");
        json_set_string(doc, json_root(doc), "user", user);
        json_set_string(doc, json_root(doc), "password", password);
        json_set_bool(doc, json_root(doc), "hashed", json_bool(hashed, false));
        return true;
}

static bool build_freeze(const struct json_value *body, struct json_doc *doc, uint64_t *ret_seconds, char **reterr_fault)
{
        const struct json_value *value = json_get(body, "seconds");
        int64_t seconds = FREEZE_S;

        if (value && (json_int64(value, &seconds) || seconds < 1 || seconds > LIMIT_GUEST_FREEZE_S))
                return refuse(reterr_fault, "seconds is a number from 1 to " G_STRINGIFY(LIMIT_GUEST_FREEZE_S));
        json_set_int(doc, json_root(doc), "seconds", seconds);
        return true;
}

static bool build_plain(const struct json_value *body, struct json_doc *doc, uint64_t *ret_seconds, char **reterr_fault)
{
        return true;
}

static const char *const exec_members[] = {"command", "stdin", "timeoutSeconds", NULL};
static const char *const password_members[] = {"user", "password", "hashed", NULL};
static const char *const freeze_members[] = {"seconds", NULL};
static const char *const no_members[] = {NULL};

#define OF_MACHINES &api_virtual_machine_kind
#define OF_NODES    &api_node_kind

const struct guest_order guest_orders[GUEST_ORDER_COUNT] = {
        {OF_MACHINES, "exec", "POST", "create", "exec", NULL, build_exec, exec_members},
        {OF_MACHINES, "guestpassword", "POST", "create", "password", NULL, build_password, password_members},
        {OF_MACHINES, "freeze", "POST", "create", "freeze", NULL, build_freeze, freeze_members},
        {OF_MACHINES, "thaw", "POST", "create", "thaw", NULL, build_plain, no_members},
        {OF_MACHINES, "guestinfo", "GET", "get", "info", NULL, build_plain, no_members},
        {OF_MACHINES, "screenshot", "GET", "get", "screenshot", "image/png", build_plain, no_members},
        {OF_MACHINES, "usage", "GET", "get", "usage", NULL, build_plain, no_members},
        {OF_NODES, "usage", "GET", "get", "host-usage", NULL, build_plain, no_members},
};

/* --- orders
 * ----------------------------------------------------------------------------------------------------------------------------------
 */

void guest_order_wipe(const struct json_value *body)
{
        const char *secret = json_string(json_get(body, "password"), NULL);

        if (secret)
                explicit_bzero((char *)secret, strlen(secret));
}

GString *guest_order_text(const struct guest_order *order, const struct json_value *body, uint64_t *ret_seconds,
                          char **reterr_fault)
{
        g_autoptr(json_doc) doc = json_doc_new();
        GString *text = NULL;

        assert(order && ret_seconds && reterr_fault);

        for (const struct json_value *it = json_first(body); it; it = json_next(it))
                if (!g_strv_contains(order->members, json_key(it))) {
                        *reterr_fault = g_strdup_printf("unknown field \"%.64s\"", json_key(it));
                        return NULL;
                }
        json_set_root(doc, json_new(doc, JSON_OBJECT));
        json_set_string(doc, json_root(doc), "call", order->call);
        *ret_seconds = 0;
        if (order->build(body, doc, ret_seconds, reterr_fault)) {
                /* Of its full size at once: growing would leave copies of a secret behind. */
                text = g_string_sized_new(GUEST_ORDER_BODY_MAX);
                json_write(json_root(doc), text);
        }
        guest_order_wipe(json_root(doc));
        return text;
}
