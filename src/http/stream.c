/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "http/server.h"

void http_reply_stream(struct http_request *request, int status, const char *content_type)
{
        assert(request);

        if (!http_reply_stream_begin(request, status, content_type))
                return;
        request->answer = ANSWER_STREAMING;
        request->streaming = true;
        request->connection->server->stats.streams++;
        http_server_kick(request->connection->server, request->connection);
}

int http_stream_write(struct http_request *request, GBytes *bytes)
{
        assert(request && bytes);

        struct http_output *output = &request->connection->output;
        if (request->answer != ANSWER_STREAMING)
                return -EPIPE;
        if (request->bodyless)
                return 0;
        if (output->pending + g_bytes_get_size(bytes) > request->connection->server->limits.out_bytes)
                return -ENOBUFS;
        http_output_bytes(output, bytes, request->chunked);
        request->undrained = true;
        http_server_kick(request->connection->server, request->connection);
        return 0;
}

void http_stream_end(struct http_request *request)
{
        assert(request);

        if (request->answer != ANSWER_STREAMING)
                return;
        request->answer = ANSWER_COMPLETE;
        if (request->chunked && !request->bodyless)
                http_output_copy(&request->connection->output, "0\r\n\r\n", 5);
        http_server_kick(request->connection->server, request->connection);
}

size_t http_stream_pending(const struct http_request *request)
{
        assert(request);
        return request->connection->output.pending;
}

void http_stream_on_drained(struct http_request *request, void (*on_drained)(struct http_request *request, void *userdata))
{
        assert(request);
        request->on_drained = on_drained;
}
