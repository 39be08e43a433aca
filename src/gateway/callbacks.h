/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "gateway/callback_plan.h"
#include "gateway/gateway.h"

#include <stdatomic.h>

/*
 * Tells the events that the callback controller has put into CallbackDelivery objects. An attempt is a POST by a thread of a pool
 * of their own; what came of it is written into the delivery, and only then the next event of the same object goes out. Killed at
 * any moment, the gateway finds in the store what is still to be told, and tells it under the same id: receivers may hear twice of
 * an event, never not at all.
 */
struct callbacks;

/** callbacks_init() - follow callbacks and deliveries. 0 or -errno. */
int callbacks_init(struct gateway *gateway);
/** callbacks_stop() - nothing more is sent; waits for the threads. NULL is accepted. */
void callbacks_stop(struct callbacks *callbacks);
/** callbacks_free() - when the store's last writes have settled. */
struct callbacks *callbacks_free(struct callbacks *callbacks);

/** callback_orders_init() - POST .../callbacks/<name>/retry and .../drop: what becomes of events that were given up. */
void callback_orders_init(struct gateway *gateway);

/* --- one attempt
 * ------------------------------------------------------------------------------------------------------------------- */

struct callback_attempt {
        struct callbacks *callbacks;
        char *uid, *namespace, *name; /* of the delivery */
        char *callback_name, *callback_uid;
        int64_t attempts, most; /* this one included */
        char *url, *body, *ca_pem;
        char **headers;
        const struct reach *reach;
        const atomic_bool *stopping;
        uint64_t begun_us; /* monotonic */
        /* What came of it. */
        int status;                 /* 0: there was no answer */
        enum reach_verdict verdict; /* of an address that was refused */
        size_t answer_bytes;
        char *retry_after;
        char *error; /* NULL: it was told */
};

/** callback_attempt_new() - all that is sent is gathered and signed here, on the loop, so that a key is nowhere else. Return: NULL
 * when @delivery is not to be told (any more); with its error set it cannot be sent. */
struct callback_attempt *callback_attempt_new(struct gateway *gateway, const struct store_object *delivery,
                                              const struct store_object *callback);
struct callback_attempt *callback_attempt_free(struct callback_attempt *attempt);
/** callback_attempt_send() - a job for a pool thread. 0. */
int callback_attempt_send(void *attempt);
