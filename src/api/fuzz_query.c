/* SPDX-License-Identifier: Apache-2.0 */
#include "api/accept.h"
#include "api/continue.h"
#include "api/selector.h"
#include "api/target.h"
#include "generated/api_types.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

/* Texts that stand in a request line or header. The first byte chooses the reader. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char sample[] =
        "{\"metadata\":{\"name\":\"a\",\"namespace\":\"n\",\"labels\":{\"app\":\"x\",\"n\":\"5\"}},\"status\":{\"phase\":\"P\"}}";

static void read_selector(const char *labels, const char *fields)
{
        g_autofree char *why = NULL;
        g_autoptr(selector) selector = selector_new(&api_virtual_machine_kind, labels, fields, &why);
        struct json_doc *doc = NULL;
        int r;

        assert(!selector == (why != NULL));
        if (!selector)
                return;
        r = json_parse(sample, strlen(sample), &doc, NULL);
        assert(r == 0);
        (void)selector_matches(selector, json_root(doc));
        assert(!selector_is_empty(selector) || selector_matches(selector, json_root(doc)));
        (void)selector_only_name(selector);
        json_doc_free(doc);
}

static void read_target(const char *text)
{
        g_autofree char *path = g_strconcat("/", text, NULL);
        struct target target = {};

        if (target_parse(path, true, &target) == 0) {
                assert(target.kind && !target.kind->internal && target.group && target.api_version);
                assert(target.name || !target.subresource);
        }
        target_clear(&target);
}

static void read_continue(const char *text)
{
        const struct continue_query query = {.kind = &api_virtual_machine_kind, .namespace = "default"};
        struct continue_token token;

        if (continue_token_read(text, &query, &token) != 0)
                return;
        g_autofree char *again = continue_token_write(&token, &query);
        continue_token_clear(&token);
        assert(continue_token_read(again, &query, &token) == 0);
        continue_token_clear(&token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autofree char *text = size > 0 ? g_strndup((const char *)data + 1, size - 1) : NULL;
        struct accept accept;

        if (!text)
                return 0;
        switch (data[0] % 5) {
        case 0:
                read_selector(text, NULL);
                break;
        case 1:
                read_selector(NULL, text);
                break;
        case 2:
                (void)accept_parse(text, ACCEPT_CAN_TABLE | ACCEPT_CAN_PROTOBUF | ACCEPT_CAN_METADATA | ACCEPT_CAN_METADATA_LIST,
                                   &accept);
                break;
        case 3:
                read_target(text);
                break;
        default:
                read_continue(text);
        }
        return 0;
}
