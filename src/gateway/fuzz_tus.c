/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/tus.h"
#include "gateway/upload_grant.h"

#include <assert.h>
#include <string.h>

/* Headers of tus, and records and tokens of uploads. The first byte chooses the reader. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_number(const char *text)
{
        uint64_t number = 0;

        if (tus_parse_number(text, &number) == 0)
                assert(number <= INT64_MAX && strspn(text, "0123456789") == strlen(text));
}

static void read_metadata(const char *text)
{
        if (tus_metadata_is_valid(text))
                assert(*text && !strpbrk(text, "\r\n"));
}

static void read_checksum(const char *text)
{
        struct tus_checksum checksum = {};

        if (tus_parse_checksum(text, &checksum) == 0)
                assert(checksum.algorithm && checksum.len == (unsigned)EVP_MD_get_size(checksum.algorithm));
}

static void read_record(const char *text)
{
        g_autoptr(json_doc) doc = NULL;
        struct upload_grant grant = {};

        if (json_parse(text, strlen(text), &doc, NULL) != 0 || upload_grant_read(json_root(doc), &grant) != 0)
                return;
        assert(grant.kind && grant.name && grant.uid && grant.identity && upload_grant_id_is_valid(grant.id));
        g_autoptr(json_doc) again = json_doc_new();
        struct json_value *root = json_new(again, JSON_OBJECT);
        struct upload_grant back = {};
        upload_grant_write(&grant, again, root);
        int r = upload_grant_read(root, &back);
        assert(r == 0 && strcmp(back.id, grant.id) == 0 && back.size_bytes == grant.size_bytes);
        upload_grant_clear(&back);
        upload_grant_clear(&grant);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static void (*const readers[])(const char *text) = {read_number, read_metadata, read_checksum, read_record};

        if (size == 0)
                return 0;
        g_autofree char *text = g_strndup((const char *)data + 1, size - 1);
        readers[data[0] % G_N_ELEMENTS(readers)](text);
        return 0;
}
