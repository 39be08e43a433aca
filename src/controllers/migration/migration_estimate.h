/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct op;

/* What is to be expected of moving a machine that runs. */
struct migration_facts {
        uint64_t memory_bytes, disk_bytes;
        uint64_t dirty_bytes_per_second; /* how fast the guest writes memory */
        uint64_t link_bytes_per_second;
        uint64_t downtime_most_us; /* how long the guest may stand still */
};
struct migration_forecast {
        uint64_t time_us, downtime_us;
        bool converges;
};
/** migration_forecast() - disks first, then the memory, then again and again what was written meanwhile, until the rest goes within
 * the downtime. One that does not come to that is told with the time of the rounds and what would be left then. */
struct migration_forecast migration_forecast(const struct migration_facts *facts);

/** migration_estimate_ask() - have the source measure the machine, standing by for the operation. */
void migration_estimate_ask(struct op *op);
/** migration_estimate_take() - into the status, once; @node: where it goes. true: it is there, or will never be, and what measured
 * is let go. */
bool migration_estimate_take(struct op *op, const char *node);
