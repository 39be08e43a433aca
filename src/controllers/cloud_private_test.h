/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "admission/quota.h"
#include "controllers/cloud_test.h"
#include "loop/loop.h"

struct cloud {
        struct cloud_options options;
        struct loop *loop;
        struct clock clock;
        uint64_t now_us;
        uint64_t seed;
        struct random_source random;
        struct store *store;
        struct quota *quota;
        struct cache *cache;
        struct control *control;
        struct store_watch *check, *chaos;
        GPtrArray *parcels; /* events on their way, under chaos */
        bool lost;          /* an event was lost: a relist is due */
        int meddled;
        GHashTable *lost_nodes;
        bool stubborn;                  /* guests keep their disks */
        const struct schema_kind *held; /* intents that hosts leave alone */
        bool moves;                     /* hosts carry out what moves while it runs */
        const char *fails_moves;        /* words of hosts that keep machines which shall move, or NULL */
        const char *refuses_growth;     /* words of hosts that change no running domain, or NULL */
};

void cloud_commit(struct cloud *cloud, enum store_verb verb, const struct schema_kind *kind, const char *namespace,
                  const char *name, struct json_doc *doc);
void cloud_status_in(struct cloud *cloud, const struct schema_kind *kind, const char *namespace, const char *name,
                     const char *json);
/** cloud_hosts_act() - one answer of one host to one intent; false: they are at rest. */
bool cloud_hosts_act(struct cloud *cloud);
void cloud_renew_leases(struct cloud *cloud);
