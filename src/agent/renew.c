/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/renew.h"

#include "agent/core.h"
#include "auth/auth.h"
#include "base/error.h"
#include "base/log.h"

#include <string.h>

#define LOOK_INTERVAL_US (3600ull * 1000000)
#define RETRY_US         (60ull * 1000000)

struct renewal {
        struct agent *agent;
        struct loop_source *timer;
        struct http_call *call;
        uint64_t due_us; /* real time; 0: not known yet */
        char *key_pem;   /* of the request under way */
        bool making;     /* a job makes the key */
};

struct making {
        struct renewal *renewal; /* outlives the pool that makes keys */
        char *name, *key_pem, *csr_pem;
};

/* When two thirds of the certificate's life are over. */
static uint64_t due_time(const char *certificate)
{
        uint64_t now = clock_real_us(clock_system()), begin, end;

        if (auth_certificate_life(certificate, &begin, &end) < 0 || end <= begin) {
                return now;
        }
        return begin + (end - begin) / 3 * 2;
}

static int take_answer(struct renewal *renewal, const char *body, size_t len)
{
        g_autoptr(json_doc) doc = NULL;
        struct credentials credentials;

        if (json_parse(body, len, &doc, NULL)) {
                return -EPROTO;
        }
        credentials = (struct credentials){
                .node_name = (char *)gateway_node_name(renewal->agent->gateway),
                .ca_pem = (char *)json_find_string(json_root(doc), "ca", NULL),
                .certificate_pem = (char *)json_find_string(json_root(doc), "certificate", NULL),
                .key_pem = renewal->key_pem,
        };
        if (!credentials.ca_pem || !credentials.certificate_pem) {
                return -EPROTO;
        }
        return gateway_renew(renewal->agent->gateway, &credentials);
}

static void on_answer(struct http_call *call, int status, const char *body, size_t len, const char *error, void *userdata)
{
        struct renewal *renewal = userdata;
        g_autofree char *words = g_strdup_printf("%d", status);
        int r;

        renewal->call = NULL;
        r = status == 200 ? take_answer(renewal, body, len) : -EPROTO;
        explicit_bzero(renewal->key_pem, strlen(renewal->key_pem));
        g_clear_pointer(&renewal->key_pem, g_free);
        if (r < 0) {
                log_warning("the certificate could not be renewed; it is tried again", "status", words, "error", error);
                loop_timer_set(renewal->timer, RETRY_US);
                return;
        }
        log_info("the certificate was renewed");
        renewal->due_us = 0;
        loop_timer_set(renewal->timer, 0);
        manifest_reconnect(renewal->agent->manifest);
}

static int make_work(void *userdata)
{
        struct making *making = userdata;

        return error_fold(auth_request_new(making->name, &making->key_pem, &making->csr_pem));
}

static void make_done(int result, void *userdata)
{
        struct making *making = userdata;
        struct renewal *renewal = making->renewal;

        renewal->making = false;
        if (result == 0) {
                g_autoptr(json_doc) doc = json_doc_new();
                struct json_value *body = json_new(doc, JSON_OBJECT);

                json_set_string(doc, body, "csr", making->csr_pem);
                renewal->key_pem = g_steal_pointer(&making->key_pem);
                result = gateway_call(renewal->agent->gateway, "POST", "/agent/v1/renew", body, on_answer, renewal, &renewal->call);
        }
        if (result < 0) {
                g_clear_pointer(&renewal->key_pem, g_free);
                loop_timer_set(renewal->timer, RETRY_US);
        }
        g_free(making->name);
        g_free(making->key_pem);
        g_free(making->csr_pem);
        g_free(making);
}

static void on_timer(struct loop_source *source, void *userdata)
{
        struct renewal *renewal = userdata;
        struct agent *agent = renewal->agent;
        uint64_t now = clock_real_us(clock_system());
        struct making *making;

        if (!renewal->due_us) {
                renewal->due_us = due_time(gateway_certificate(agent->gateway));
        }
        if (now < renewal->due_us) {
                /* Looked at every hour: the host's clock may be set meanwhile. */
                loop_timer_set(source, MIN(renewal->due_us - now, LOOK_INTERVAL_US));
                return;
        }
        if (renewal->call || renewal->making) {
                return;
        }
        renewal->making = true;
        making = g_new0(struct making, 1);
        making->renewal = renewal;
        making->name = g_strdup(gateway_node_name(agent->gateway));
        loop_pool_submit(agent->queries, make_work, make_done, making);
}

int renewal_new(struct agent *agent, struct renewal **ret_renewal)
{
        struct renewal *renewal = g_new0(struct renewal, 1);
        int r;

        renewal->agent = agent;
        r = loop_timer(agent->loop, 0, on_timer, renewal, &renewal->timer);
        if (r < 0) {
                renewal_free(renewal);
                return r;
        }
        *ret_renewal = renewal;
        return 0;
}

struct renewal *renewal_free(struct renewal *renewal)
{
        if (renewal) {
                http_call_cancel(renewal->call);
                loop_source_free(renewal->timer);
                g_free(renewal->key_pem);
                g_free(renewal);
        }
        return NULL;
}
