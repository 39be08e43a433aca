/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/gateway.h"
#include "agent/images.h"

struct bridge {
        bool (*on_piece)(const void *piece, size_t len, void *sink);
        void *sink;
};

static bool pass_piece(struct http_call *call, const char *piece, size_t len, void *userdata)
{
        struct bridge *bridge = userdata;

        return bridge->on_piece(piece, len, bridge->sink);
}

static int read_from_gateway(void *userdata, const char *digest, uint64_t offset,
                             bool (*on_piece)(const void *piece, size_t len, void *sink), void *sink, int *ret_status,
                             char **reterr_words)
{
        g_autofree char *path = g_strconcat("/agent/v1/blobs/", digest, NULL);
        struct bridge bridge = {.on_piece = on_piece, .sink = sink};

        return gateway_read(userdata, path, offset, pass_piece, &bridge, ret_status, reterr_words);
}

struct images_source images_from_gateway(struct gateway *gateway)
{
        return (struct images_source){.read = read_from_gateway, .userdata = gateway};
}
