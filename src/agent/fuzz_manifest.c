/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/manifest.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool parse_line(const char *line, size_t len, void *userdata)
{
        struct manifest_event event;

        if (manifest_event_parse(line, len, &event) == 0) {
                manifest_event_clear(&event);
        }
        return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autoptr(line_cutter) cutter = line_cutter_new(4096);
        size_t half = size / 2;

        if (line_cutter_feed(cutter, (const char *)data, half, parse_line, NULL) == 0) {
                (void)line_cutter_feed(cutter, (const char *)data + half, size - half, parse_line, NULL);
        }
        return 0;
}
