/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/core.h"

#include "base/error.h"
#include "base/log.h"
#include "generated/api_types.h"

#include <time.h>

#define RENEW_INTERVAL_US 10000000ull
#define RETRY_INTERVAL_US 2000000ull

/*
 * The node's right to start machines (decision 7). It is counted from the moment a renewal was asked for, on a clock that goes on
 * while the host sleeps; it lives in memory only, so a new boot or a new agent has none until it has spoken to the gateway.
 */
struct lease {
        struct agent *agent;
        struct loop_source *timer;
        struct http_call *call;
        uint64_t asked_us, until_us;
        bool was_valid;
};

uint64_t lease_clock(void)
{
        struct timespec now;

        clock_gettime(CLOCK_BOOTTIME, &now);
        return now.tv_sec * 1000000ull + now.tv_nsec / 1000;
}

uint64_t lease_valid_until(const struct lease *lease)
{
        return lease ? lease->until_us : 0;
}

static void note_validity(struct lease *lease)
{
        bool valid = lease_clock() < lease->until_us;

        if (valid == lease->was_valid) {
                return;
        }
        lease->was_valid = valid;
        if (!valid) {
                log_warning("the node's lease has ended: nothing new is started until the gateway was reached");
                return;
        }
        log_info("the node's lease is valid");
        {
                g_autoptr(GPtrArray) instances = intents_list(lease->agent->intents, &api_instance_kind);

                for (unsigned i = 0; i < instances->len; i++) {
                        intents_queue(lease->agent->intents, instances->pdata[i], 0);
                }
        }
}

static void on_answer(struct http_call *call, int status, const char *body, size_t len, const char *error, void *userdata)
{
        struct lease *lease = userdata;
        g_autoptr(json_doc) doc = NULL;
        int64_t seconds = 0;
        bool good;

        lease->call = NULL;
        good = status == 200 && json_parse(body, len, &doc, NULL) == 0 &&
               json_int64(json_get(json_root(doc), "validForSeconds"), &seconds) == 0 && seconds > 0 && seconds < 86400;
        if (good) {
                lease->until_us = lease->asked_us + seconds * 1000000ull;
        }
        note_validity(lease);
        loop_timer_set(lease->timer, good ? RENEW_INTERVAL_US : RETRY_INTERVAL_US);
}

static void on_timer(struct loop_source *source, void *userdata)
{
        struct lease *lease = userdata;
        g_autoptr(json_doc) doc = json_doc_new();

        note_validity(lease);
        if (lease->call) {
                return;
        }
        lease->asked_us = lease_clock();
        if (gateway_call(lease->agent->gateway, "PUT", "/agent/v1/lease", json_new(doc, JSON_OBJECT), on_answer, lease,
                         &lease->call) < 0) {
                loop_timer_set(source, RETRY_INTERVAL_US);
        }
}

int lease_new(struct agent *agent, struct lease **ret_lease)
{
        struct lease *lease = g_new0(struct lease, 1);
        int r;

        lease->agent = agent;
        r = loop_timer(agent->loop, 0, on_timer, lease, &lease->timer);
        if (r < 0) {
                lease_free(lease);
                return r;
        }
        *ret_lease = lease;
        return 0;
}

struct lease *lease_free(struct lease *lease)
{
        if (lease) {
                http_call_cancel(lease->call);
                loop_source_free(lease->timer);
                g_free(lease);
        }
        return NULL;
}
