/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/auto.h"

#include <stdint.h>

/* libnftables, one context per owner; not thread-safe. */
struct nft;

struct nft *nft_new(void);
struct nft *nft_free(struct nft *nft);
AUTOPTR(nft, nft_free);

/**
 * nft_run() - run commands of ruleset.h as one transaction
 * @ret_output: what it printed, or NULL; g_free()
 *
 * Return: 0, or -EIO (@reterr_words: the kernel's or parser's words, g_free; nothing was changed). Either pointer may be NULL.
 */
int nft_run(struct nft *nft, const char *commands, char **ret_output, char **reterr_words);

/**
 * nft_list() - run list and get commands one by one (libnftables loses objects when one run asks for several families)
 *
 * Return: all that they printed, g_free(); NULL when one of them failed, as it does when the object is not there.
 */
char *nft_list(struct nft *nft, const char *commands);

/** nft_generation() - the kernel's number of the present rules: any change, by anybody, makes another one. 0: not known. */
uint32_t nft_generation(struct nft *nft);
