/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/auto.h"

#include <stddef.h>

/*
 * Texts that stand in many objects (reasons, messages, names of kinds), each kept once. Which do is learned: a text that was asked
 * for often enough is taken in, until the table is full; they stay until it is freed.
 */
struct texts;

struct texts *texts_new(void);
struct texts *texts_free(struct texts *texts);
AUTOPTR(texts, texts_free);

/** texts_share() - the one copy of @text, or NULL when it has none. */
const char *texts_share(struct texts *texts, const char *text);
/** texts_count() - how many are kept. */
size_t texts_count(const struct texts *texts);
