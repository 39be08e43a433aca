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

#define NO_PROCESS                                                                                                                 \
        "a machine is no container that a process could be started in: log in on its serial console with gabbro console NAME -n "  \
        "NAMESPACE, or by ssh to its address"

/* NAME and NAMESPACE stand for those of the object. */
static const struct answer answers[] = {
        {&api_namespace_kind, "finalize", "update", 403, "Forbidden",
         "only the namespace controller ends a namespace: its conditions say what it waits for, and whoever set a finalizer there "
         "must "
         "take it away"},
        {&api_pod_kind, "log", "get", 400, "BadRequest",
         "a machine has no log of its own: see its serial console with gabbro console NAME -n NAMESPACE, and what happened to it "
         "with kubectl "
         "describe vm NAME"},
        {&api_pod_kind, "exec", "create", 400, "BadRequest", NO_PROCESS},
        {&api_pod_kind, "attach", "create", 400, "BadRequest", NO_PROCESS},
        {&api_pod_kind, "portforward", "create", 400, "BadRequest",
         "ports of a machine are not forwarded: reach it by its own address (kubectl get vm NAME -n NAMESPACE), within the rules "
         "of its "
         "security group"},
};

static void handle(struct http_request *request, const struct auth_identity *identity, const struct store_object *object,
                   void *userdata)
{
        const struct answer *answer = userdata;
        g_autoptr(GString) words = g_string_new(answer->words);

        g_string_replace(words, "NAMESPACE", object->namespace ?: "", 0);
        g_string_replace(words, "NAME", object->name, 0);
        api_reply_status(request, answer->code, answer->reason, words->str, NULL);
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
