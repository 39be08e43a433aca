/* SPDX-License-Identifier: Apache-2.0 */
#include "base/address.h"
#include "base/limits.h"
#include "base/names.h"
#include "virt/guest_agent.h"
#include "virt/guest_exec.h"
#include "virt/guest_orders.h"
#include "virt/picture.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text)
{
        assert(text && strlen(text) <= 256 && names_is_plain_text(text, 256, false));
}

static void check_os(const struct json_value *reply)
{
        struct guest_os os = {};

        guest_os_parse(reply, &os);
        for (size_t i = 0; i < sizeof(os) / sizeof(char *); i++)
                check_text(((char **)&os)[i]);
        guest_os_clear(&os);
}

static void check_addresses(const struct json_value *reply)
{
        struct guest_addresses found;

        guest_addresses_parse(reply, &found);
        assert(found.n <= GUEST_ADDRESSES_MAX);
        for (size_t i = 0; i < found.n; i++) {
                const struct guest_address *item = &found.items[i];
                struct address address;
                char canonical[ADDRESS_TEXT_MAX];

                assert(address_parse(item->text, &address) == 0);
                assert(strcmp(address_format(&address, canonical), item->text) == 0);
                assert(item->prefix_length <= 128 && (!*item->mac || mac_valid(item->mac)));
        }
}

static void check_exec(const struct json_value *reply)
{
        struct guest_exec_result result = {};
        struct virt_error error = {};

        if (guest_exec_result_parse(reply, &result, &error) == 0 && result.exited) {
                assert(result.exit_code >= 0 && result.exit_code <= 255);
                assert(result.output->len <= LIMIT_GUEST_EXEC_OUTPUT_BYTES &&
                       result.complaints->len <= LIMIT_GUEST_EXEC_OUTPUT_BYTES);
        }
        guest_exec_result_clear(&result);
}

static void check_texts(const struct json_value *value, unsigned depth)
{
        assert(depth < 8 && json_length(value) <= GUEST_LIST_MAX);
        if (json_is(value, JSON_STRING))
                check_text(json_string(value, NULL));
        for (const struct json_value *it = json_first(value); it; it = json_next(it))
                check_texts(it, depth + 1);
}

/* One reply in the place of each. */
static void check_told(const struct json_value *reply)
{
        g_autoptr(json_doc) doc = json_doc_new();

        check_texts(guest_replies_tell(&(struct guest_replies){reply, reply, reply, reply, reply, reply, reply}, doc), 0);
}

/* Whatever a guest answers: bounded plain texts and addresses, or words why not. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autofree char *text = g_strndup((const char *)data, size);
        g_autoptr(json_doc) reply = NULL;
        g_autoptr(GByteArray) png = picture_from_ppm(data, size);
        struct virt_error error = {};

        assert(!png || png->len > 0);
        if (guest_agent_reply_parse(text, &reply, &error)) {
                assert(!reply && error.reason && *error.words);
                return 0;
        }
        check_os(json_root(reply));
        check_exec(json_root(reply));
        check_told(json_root(reply));
        check_addresses(json_root(reply));
        return 0;
}
