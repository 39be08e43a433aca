/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * How cores spread over sockets, the same number in each: up to 16 cores one socket, up to 32 two, up to 64 four, up to 248 eight.
 * Numbers that do not divide are not allowed.
 */

/** schema_cpu_topology() - whether @cores is an allowed number, and its topology. */
bool schema_cpu_topology(int64_t cores, int *ret_sockets, int *ret_cores_per_socket);

/** schema_cpu_nearest() - the allowed numbers next to @cores: the largest below and the smallest above, 0 where there is none. */
void schema_cpu_nearest(int64_t cores, int *ret_below, int *ret_above);
