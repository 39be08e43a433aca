/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The two buffers of an upload: the loop fills one while a pool thread hashes and writes the other. They begin at page boundaries
 * of memory and, but for the first and the last one, of the file, so that the disk takes them as they are (fd_write_direct()).
 */
struct buffers {
        char *filling, *writing;
        size_t filling_len, writing_len;
        size_t filling_size, writing_size; /* of the memory */
        size_t bound;                      /* bytes that one of them is to hold */
        uint64_t at;                       /* offset in the file of what is filled */
};

#define BUFFERS_WRITE_BYTES (256u << 10) /* that are worth a write */
#define BUFFERS_MOST_BYTES  (1u << 20)   /* that are gathered while the other ones are being written */

/** buffers_init() - empty ones for a file that goes on at @offset, of an upload that is one of @n: many have smaller ones. */
void buffers_init(struct buffers *buffers, uint64_t offset, size_t n);
void buffers_clear(struct buffers *buffers);
/** buffers_add() - more bytes; takes all of them. */
void buffers_add(struct buffers *buffers, const void *data, size_t len);
/** buffers_is_ready() - what is filled is worth a write. */
bool buffers_is_ready(const struct buffers *buffers);
/** buffers_is_full() - no more should come while the other one is being written. */
bool buffers_is_full(const struct buffers *buffers);
/** buffers_swap() - hand what is filled over to be written; the other one was written. @all: also the part of a page at its end,
 * else that stays. */
void buffers_swap(struct buffers *buffers, bool all);
