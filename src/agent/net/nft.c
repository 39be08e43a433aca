/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/nft.h"

#include "base/error.h"

#include <glib.h>
#include <nftables/libnftables.h>
#include <string.h>

struct nft {
        struct nft_ctx *context;
};

struct nft *nft_new(void)
{
        struct nft *nft = g_new0(struct nft, 1);

        nft->context = nft_ctx_new(NFT_CTX_DEFAULT);
        if (!nft->context) {
                return nft_free(nft);
        }
        nft_ctx_buffer_output(nft->context);
        nft_ctx_buffer_error(nft->context);
        /* Counters move by themselves and say nothing about what is in place. */
        nft_ctx_output_set_flags(nft->context, NFT_CTX_OUTPUT_STATELESS | NFT_CTX_OUTPUT_NUMERIC_ALL);
        return nft;
}

struct nft *nft_free(struct nft *nft)
{
        if (nft) {
                if (nft->context) {
                        nft_ctx_free(nft->context);
                }
                g_free(nft);
        }
        return NULL;
}

int nft_run(struct nft *nft, const char *commands, char **ret_output, char **reterr_words)
{
        int r;

        assert(nft && commands);
        /* Reading empties both buffers, so that they speak of this run only. */
        (void)nft_ctx_get_output_buffer(nft->context);
        (void)nft_ctx_get_error_buffer(nft->context);
        r = nft_run_cmd_from_buffer(nft->context, commands);
        if (r) {
                if (reterr_words) {
                        char *words = g_strndup(nft_ctx_get_error_buffer(nft->context), 1000);

                        *reterr_words = g_strdelimit(g_strchomp(words), "\n\t", ' ');
                }
                return -EIO;
        }
        if (ret_output) {
                *ret_output = g_strdup(nft_ctx_get_output_buffer(nft->context));
        }
        return 0;
}

char *nft_list(struct nft *nft, const char *commands)
{
        g_autoptr(GString) all = g_string_new(NULL);
        g_auto(GStrv) lines = g_strsplit(commands, "\n", 0);

        for (char **line = lines; *line; line++) {
                g_autofree char *output = NULL;

                if (**line && nft_run(nft, *line, &output, NULL) < 0) {
                        return NULL;
                }
                g_string_append(all, output ? output : "");
        }
        return g_string_free(g_steal_pointer(&all), FALSE);
}
