/* SPDX-License-Identifier: Apache-2.0 */
#include "base/address.h"
#include "base/names.h"
#include "virt/guest_agent.h"

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

/* Whatever a guest answers: bounded plain texts and addresses, or words why not. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autofree char *text = g_strndup((const char *)data, size);
        g_autoptr(json_doc) reply = NULL;
        struct virt_error error = {};

        if (guest_agent_reply_parse(text, &reply, &error)) {
                assert(!reply && error.reason && *error.words);
                return 0;
        }
        check_os(json_root(reply));
        check_addresses(json_root(reply));
        return 0;
}
