/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/domain_xml.h"
#include "virt/host_internal.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is read from any XML either cannot be described again or is then read back as the same machine. */
static void read_write_read(const char *xml)
{
        g_autoptr(virt_facts) facts = NULL, again = NULL;
        g_autofree char *first = NULL, *second = NULL;
        struct virt_error error = {};

        if (virt_facts_from_xml(xml, &facts, &error) || virt_domain_complete(&facts->domain, &error) ||
            virt_domain_to_xml(&facts->domain, &first, &error)) {
                assert(error.reason && *error.words);
                return;
        }
        assert(virt_facts_from_xml(first, &again, &error) == 0);
        assert(virt_domain_to_xml(&again->domain, &second, &error) == 0);
        assert(!strcmp(first, second));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autofree char *text = g_strndup((const char *)data, size);
        struct host_facts facts = {.arena = arena_new(0)};
        struct virt_error error = {};

        read_write_read(text);
        (void)host_capabilities_parse(text, &facts, &error); /* it must only survive */
        host_facts_clear(&facts);
        return 0;
}
