/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/placement/graphics.h"

#include <assert.h>

const char *graphics_words(const struct api_machine_graphics *graphics, bool has_port, const struct api_node *node)
{
        const struct api_node_virtualization *virt;
        bool wants;

        assert(node);
        wants = graphics && g_strcmp0(graphics->listen, "TCP") == 0 && g_strcmp0(graphics->protocol, "None") != 0;
        virt = node->status ? node->status->virtualization : NULL;
        if ((!wants && !has_port) || !virt || virt->graphics_address)
                return NULL;
        return "allows no screen to listen for TCP (spec.graphics.listen; the operator may set the agent's --graphics-address)";
}
