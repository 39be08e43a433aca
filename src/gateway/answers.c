/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/gateway.h"
#include "generated/api_types.h"

/* Subresources that tools know from elsewhere and that are not for them here: each says what to do instead. */

struct answer {
        const struct schema_kind *kind;
        const char *subresource, *verb;
        int code;
        const char *reason, *words;
};

static const struct answer answers[] = {
        {&api_namespace_kind, "finalize", "update", 403, "Forbidden",
         "only the namespace controller ends a namespace: its conditions say what it waits for, and whoever set a finalizer there "
         "must "
         "take it away"},
};

static void handle(struct http_request *request, const struct auth_identity *identity, const struct store_object *object,
                   void *userdata)
{
        const struct answer *answer = userdata;

        api_reply_status(request, answer->code, answer->reason, answer->words, NULL);
}

void answers_init(struct gateway *gateway)
{
        for (size_t i = 0; i < G_N_ELEMENTS(answers); i++) {
                const struct api_subresource subresource = {.kind = answers[i].kind,
                                                            .name = answers[i].subresource,
                                                            .verb = answers[i].verb,
                                                            .handle = handle,
                                                            .userdata = (void *)&answers[i]};

                api_add_subresource(gateway->api, &subresource);
        }
}
