/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

struct join_options {
        const char *gateway_url;
        const char *data_dir;
        const char *token_file; /* its text carries the hash of the gateway's CA */
        const char *node_name;
};

/**
 * join_gateway() - become a node, once: a key and a request for it, signed by the gateway against the token, kept in the folder.
 * Blocks.
 *
 * Return: 0 or -errno with words (g_free).
 */
int join_gateway(const struct join_options *options, char **reterr_words);
