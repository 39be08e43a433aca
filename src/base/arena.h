/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/auto.h"

#include <glib.h>
#include <stddef.h>

/*
 * A bump allocator: many small allocations, one free. Memory is zeroed. Not thread-safe; a finished arena may be read from any
 * thread.
 */
struct arena;

/** arena_new() - an empty arena; free it with arena_free(). @block_bytes: size of the first block (0: 4 KiB); later blocks grow
 * with the arena.
 */
struct arena *arena_new(size_t block_bytes);

/** arena_free() - free the arena and all that came from it; NULL is accepted. */
struct arena *arena_free(struct arena *arena);
AUTOPTR(arena, arena_free);

/** arena_alloc() - @size zeroed bytes aligned to 16; lives as long as the arena. Never NULL (aborts like g_malloc). */
void *arena_alloc(struct arena *arena, size_t size);

/** arena_alloc_raw() - arena_alloc() without the zeroes, for what is filled at once. */
void *arena_alloc_raw(struct arena *arena, size_t size);

/** arena_text() - room for @len bytes of text and a final NUL, neither aligned nor zeroed. */
char *arena_text(struct arena *arena, size_t len);

/** arena_array() - @n zeroed elements of @size bytes; aborts on overflow. */
void *arena_array(struct arena *arena, size_t n, size_t size);

/** arena_strndup() - a NUL-terminated copy of @len bytes of @s. */
char *arena_strndup(struct arena *arena, const char *s, size_t len);

/** arena_strdup() - a copy of @s, or NULL for NULL. */
char *arena_strdup(struct arena *arena, const char *s);

/** arena_printf() - formatted text. */
char *arena_printf(struct arena *arena, const char *format, ...) G_GNUC_PRINTF(2, 3);

/** arena_bytes() - how many bytes the arena holds from the system. */
size_t arena_bytes(const struct arena *arena);
/** arena_used() - how many of them were asked for: a first block of this size, rounded up to 16, holds the same again. */
size_t arena_used(const struct arena *arena);

#define arena_new0(arena, type) ((type *)arena_alloc((arena), sizeof(type)))
