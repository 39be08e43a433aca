/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/manifest.h"

#include <assert.h>
#include <stdint.h>

#define LINE_BYTES 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool parse_line(const char *line, size_t len, void *userdata)
{
        struct manifest_event event;

        assert(len <= LINE_BYTES);
        if (manifest_event_parse(line, len, &event) == 0) {
                bool named = event.type == MANIFEST_ADDED || event.type == MANIFEST_MODIFIED || event.type == MANIFEST_DELETED;

                assert(named == (event.object != NULL));
                assert(!named || json_find_string(json_root(event.object), "metadata", "name", NULL));
                assert(event.type != MANIFEST_STREAM || (event.nonce && event.machine_uid && event.channel));
                assert(event.type != MANIFEST_SYNCED || event.resource_version);
                manifest_event_clear(&event);
        }
        return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autoptr(line_cutter) cutter = line_cutter_new(LINE_BYTES);
        size_t half = size / 2;

        if (line_cutter_feed(cutter, (const char *)data, half, parse_line, NULL) == 0) {
                (void)line_cutter_feed(cutter, (const char *)data + half, size - half, parse_line, NULL);
        }
        return 0;
}
