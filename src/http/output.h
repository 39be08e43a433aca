/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "http/file.h"
#include "http/transport.h"

/*
 * Bytes on their way out: copies, shared GBytes with chunk framing, and files. Internal to src/http. Small neighbours leave in one
 * TLS record.
 */
struct http_output_segment;
struct http_output {
        struct http_output_segment *head, **tail;
        uint64_t pending; /* bytes not yet taken by the transport */
        bool waiting;     /* for a file */
        size_t kept;      /* memory that the queue holds; what is shared counts for each */
};

#define HTTP_OUTPUT_SCRATCH_BYTES 16384 /* a TLS record */

void http_output_init(struct http_output *output);
void http_output_clear(struct http_output *output);
/** http_output_reserve() - append room for @len bytes, which the caller fills before the next call. */
char *http_output_reserve(struct http_output *output, size_t len);
/** http_output_copy() - append a copy; neighbouring small copies share memory. */
void http_output_copy(struct http_output *output, const void *data, size_t len);
/** http_output_bytes() - append a reference to @bytes; @chunked: framed as one chunk (RFC 9112 §7.1). Empty bytes add nothing. */
void http_output_bytes(struct http_output *output, GBytes *bytes, bool chunked);
/** http_output_file() - append @len bytes of @file, which is taken over. A file that has become shorter breaks the stream. */
void http_output_file(struct http_output *output, struct http_file *file, uint64_t len);
/** http_output_waits() - whether what comes next is still being read from a file: its @ready tells when to flush again. */
bool http_output_waits(const struct http_output *output);
/** http_output_flush() - write until all is gone (0), the socket is full, a fair share is used or a file is read (-EAGAIN), or the
 *  stream is lost.
 *  @scratch holds HTTP_OUTPUT_SCRATCH_BYTES. @ret_written grows by the bytes taken. */
int http_output_flush(struct http_output *output, struct http_transport *transport, char *scratch, uint64_t *ret_written);
