/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/seed.h"

#include "json/json.h"

#include <assert.h>
#include <glib.h>
#include <stdint.h>
#include <string.h>

/*
 * Texts of users in what cloud-init reads: whatever stands in them, the guest reads back these texts and nothing else. The input is
 * cut at its zero bytes: name of the instance, host name, MAC, gateway, then addresses.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *text_of(char **parts, size_t n, size_t i, const char *otherwise)
{
        return i < n && *parts[i] ? parts[i] : otherwise;
}

static struct json_doc *read_back(const char *yaml)
{
        struct json_doc *doc = NULL;
        int r = json_parse_yaml(yaml, strlen(yaml), &doc, NULL);

        assert(r == 0);
        return doc;
}

static void check_meta_data(const struct seed *seed)
{
        g_autofree char *yaml = seed_meta_data(seed);
        g_autoptr(json_doc) doc = read_back(yaml);

        assert(json_length(json_root(doc)) == (seed->hostname ? 2 : 1));
        assert(g_strcmp0(json_find_string(json_root(doc), "instance-id", NULL), seed->instance_id) == 0);
        assert(g_strcmp0(json_find_string(json_root(doc), "local-hostname", NULL), seed->hostname) == 0);
}

static void check_network(const struct seed *seed)
{
        g_autofree char *yaml = seed_network_config(seed);
        g_autoptr(json_doc) doc = read_back(yaml);
        const struct json_value *nic = json_get(json_get(json_root(doc), "ethernets"), "nic0"), *address;
        const struct seed_nic *wanted = &seed->nics[0];

        assert(json_length(json_root(doc)) == 2 && json_length(json_get(json_root(doc), "ethernets")) == 1);
        assert(g_strcmp0(json_find_string(nic, "match", "macaddress", NULL), wanted->mac) == 0);
        assert(g_strcmp0(json_find_string(nic, "gateway4", NULL), wanted->gateway) == 0);
        address = json_first(json_get(nic, "addresses"));
        for (size_t i = 0; wanted->addresses[i]; i++, address = json_next(address))
                assert(address && g_strcmp0(json_string(address, NULL), wanted->addresses[i]) == 0);
        assert(!address);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autoptr(GPtrArray) parts = g_ptr_array_new_with_free_func(g_free);

        for (size_t at = 0; at < size && parts->len < 64;) {
                size_t len = strnlen((const char *)data + at, size - at);

                g_ptr_array_add(parts, g_strndup((const char *)data + at, len));
                if (!g_utf8_validate(g_ptr_array_index(parts, parts->len - 1), -1, NULL))
                        return 0; /* no such text is in any object */
                at += len + 1;
        }
        char **texts = (char **)parts->pdata;
        size_t n = parts->len;
        g_autofree const char **addresses = g_new0(const char *, n + 1);
        for (size_t i = 4; i < n; i++)
                addresses[i - 4] = texts[i];
        const struct seed_nic nic = {
                .mac = text_of(texts, n, 2, "52:54:00:00:00:01"),
                .addresses = addresses,
                .gateway = text_of(texts, n, 3, NULL),
        };
        const struct seed seed = {
                .instance_id = text_of(texts, n, 0, "i"), .hostname = text_of(texts, n, 1, NULL), .nics = &nic, .n_nics = 1};
        check_meta_data(&seed);
        check_network(&seed);
        return 0;
}
