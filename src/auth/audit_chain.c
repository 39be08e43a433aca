/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/audit_chain.h"

#include <assert.h>
#include <string.h>

#define HEX_LEN (AUDIT_DIGEST_SIZE - 1)

static const char head[] = "{\"previous\":\"";
static const char tail[] = ",\"digest\":\"";
#define HEAD_LEN (sizeof(head) - 1)
#define TAIL_LEN (sizeof(tail) - 1 + HEX_LEN + 2) /* ,"digest":"..."} */

static void digest_of(const char *text, size_t len, char *digest)
{
        g_autofree char *hex = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *)text, len);

        memcpy(digest, hex, AUDIT_DIGEST_SIZE);
}

void audit_chain_start(char *digest)
{
        memset(digest, '0', HEX_LEN);
        digest[HEX_LEN] = 0;
}

void audit_chain_close(GString *line, char *digest)
{
        assert(g_str_has_prefix(line->str, head) && line->str[line->len - 1] == '}');
        digest_of(line->str, line->len, digest);
        g_string_truncate(line, line->len - 1);
        g_string_append_printf(line, "%s%s\"}", tail, digest);
}

bool audit_chain_check(const char *line, size_t len, char *digest)
{
        char own[AUDIT_DIGEST_SIZE];
        g_autofree char *open = NULL;
        bool follows, whole;

        if (len < HEAD_LEN + HEX_LEN + TAIL_LEN || memcmp(line, head, HEAD_LEN) != 0 ||
            memcmp(line + len - TAIL_LEN, tail, sizeof(tail) - 1) != 0 || memcmp(line + len - 2, "\"}", 2) != 0)
                return false;
        follows = memcmp(line + HEAD_LEN, digest, HEX_LEN) == 0;
        open = g_strdup_printf("%.*s}", (int)(len - TAIL_LEN), line);
        digest_of(open, len - TAIL_LEN + 1, own);
        whole = memcmp(line + len - HEX_LEN - 2, own, HEX_LEN) == 0;
        if (whole)
                memcpy(digest, own, AUDIT_DIGEST_SIZE);
        return whole && follows;
}
