/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#define ARENA_ALIGN         16u
#define ARENA_FIRST_BLOCK   4096u
#define ARENA_SMALLEST_STEP 512u
#define ARENA_LARGEST_STEP  (1u << 20)

/* Aligned memory grows from the front of a block, text from its back, so that neither pads the other. */
struct arena_block {
        struct arena_block *next;
        size_t size;
        _Alignas(ARENA_ALIGN) unsigned char data[];
};

struct arena {
        unsigned char *front;
        unsigned char *back;
        struct arena_block *blocks;
        size_t next_size;
        size_t total, used;
};

static void arena_add_block(struct arena *arena, size_t at_least)
{
        size_t size = MAX(arena->next_size, at_least);
        struct arena_block *block;

        assert(size <= SIZE_MAX / 2);
        block = g_malloc(sizeof(*block) + size);
        block->size = size;
        block->next = arena->blocks;
        arena->blocks = block;
        arena->front = block->data;
        arena->back = block->data + size;
        arena->total += sizeof(*block) + size;
        /* Half of what there is: many trees and views live long, and a block that is hardly used costs them all. */
        arena->next_size = CLAMP(arena->total / 2, ARENA_SMALLEST_STEP, ARENA_LARGEST_STEP) & ~(size_t)(ARENA_ALIGN - 1);
}

struct arena *arena_new(size_t block_bytes)
{
        struct arena *arena = g_new0(struct arena, 1);

        arena->total = sizeof(*arena);
        arena->next_size = MAX(block_bytes ? block_bytes : ARENA_FIRST_BLOCK, 64u) & ~(size_t)(ARENA_ALIGN - 1);
        return arena;
}

struct arena *arena_free(struct arena *arena)
{
        if (!arena)
                return NULL;
        for (struct arena_block *block = arena->blocks, *next; block; block = next) {
                next = block->next;
                g_free(block);
        }
        g_free(arena);
        return NULL;
}

/* A request that is large beside a block gets one of its own, behind the current one, whose rest stays in use. */
static void *arena_alloc_apart(struct arena *arena, size_t size)
{
        struct arena_block *block = g_malloc(sizeof(*block) + size);

        block->size = size;
        block->next = arena->blocks->next;
        arena->blocks->next = block;
        arena->total += sizeof(*block) + size;
        return block->data;
}

void *arena_alloc_raw(struct arena *arena, size_t size)
{
        void *memory;

        assert(arena);
        assert(size <= SIZE_MAX / 4);
        size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
        arena->used += size;
        if (size > (size_t)(arena->back - arena->front)) {
                if (arena->blocks && size > arena->next_size / 2)
                        return arena_alloc_apart(arena, size);
                arena_add_block(arena, size);
        }
        memory = arena->front;
        arena->front += size;
        return memory;
}

char *arena_text(struct arena *arena, size_t len)
{
        size_t size = len + 1;

        assert(arena);
        assert(len <= SIZE_MAX / 4);
        arena->used += size;
        if (size > (size_t)(arena->back - arena->front)) {
                if (arena->blocks && size > arena->next_size / 2)
                        return arena_alloc_apart(arena, size);
                /* the front stays aligned because the end of a block is */
                arena_add_block(arena, (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1));
        }
        arena->back -= size;
        return (char *)arena->back;
}

void *arena_alloc(struct arena *arena, size_t size)
{
        return memset(arena_alloc_raw(arena, MAX(size, 1)), 0, size); /* of nothing too there is an address */
}

void *arena_array(struct arena *arena, size_t n, size_t size)
{
        size_t bytes;

        if (__builtin_mul_overflow(n, size, &bytes))
                g_error("arena_array: %zu elements of %zu bytes", n, size);
        return arena_alloc(arena, bytes);
}

char *arena_strndup(struct arena *arena, const char *s, size_t len)
{
        char *copy = arena_text(arena, len);

        assert(s || !len);
        if (len)
                memcpy(copy, s, len);
        copy[len] = 0;
        return copy;
}

char *arena_strdup(struct arena *arena, const char *s)
{
        return s ? arena_strndup(arena, s, strlen(s)) : NULL;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
        g_autofree char *text = NULL;
        va_list args;

        assert(format);
        va_start(args, format);
        text = g_strdup_vprintf(format, args);
        va_end(args);
        return arena_strdup(arena, text);
}

size_t arena_bytes(const struct arena *arena)
{
        assert(arena);
        return arena->total;
}

size_t arena_used(const struct arena *arena)
{
        assert(arena);
        return arena->used;
}
