/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "gateway/gateway.h"

static void slot_gone(struct http_request *request, void *userdata)
{
        struct slot *slot = userdata;

        slot->request = NULL;
        if (!slot->taken)
                slot->discard(slot->userdata);
        if (!slot->taken || slot->finished)
                g_free(slot);
}

struct slot *slot_new(struct http_request *request, void *userdata, void (*discard)(void *userdata))
{
        struct slot *slot = g_new0(struct slot, 1);

        assert(request && discard);
        slot->request = request;
        slot->userdata = userdata;
        slot->discard = discard;
        http_request_set_userdata(request, slot);
        http_request_on_gone(request, slot_gone);
        return slot;
}

void *slot_take(struct slot *slot)
{
        assert(!slot->taken);

        slot->taken = true;
        return slot->userdata;
}

void slot_finish(struct slot *slot)
{
        assert(slot->taken && !slot->finished);

        slot->finished = true;
        if (!slot->request)
                g_free(slot);
}
