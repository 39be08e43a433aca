/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/cpu_topology.h"

#include "base/limits.h"

#include <assert.h>
#include <stddef.h>

static const struct {
        int max_cores;
        int sockets;
} bands[] = {{16, 1}, {32, 2}, {64, 4}, {LIMIT_CPU_CORES, 8}};

bool schema_cpu_topology(int64_t cores, int *ret_sockets, int *ret_cores_per_socket)
{
        assert(ret_sockets && ret_cores_per_socket);
        if (cores < 1 || cores > LIMIT_CPU_CORES)
                return false;
        for (size_t i = 0; i < sizeof(bands) / sizeof(*bands); i++) {
                if (cores > bands[i].max_cores)
                        continue;
                if (cores % bands[i].sockets != 0)
                        return false;
                *ret_sockets = bands[i].sockets;
                *ret_cores_per_socket = (int)cores / bands[i].sockets;
                return true;
        }
        return false;
}

void schema_cpu_nearest(int64_t cores, int *ret_below, int *ret_above)
{
        int sockets, per_socket, below, above;

        assert(ret_below && ret_above);
        below = cores > LIMIT_CPU_CORES ? LIMIT_CPU_CORES : cores < 1 ? 0 : (int)cores - 1;
        above = cores < 1 ? 1 : cores >= LIMIT_CPU_CORES ? LIMIT_CPU_CORES + 1 : (int)cores + 1;
        while (below > 0 && !schema_cpu_topology(below, &sockets, &per_socket))
                below--;
        while (above <= LIMIT_CPU_CORES && !schema_cpu_topology(above, &sockets, &per_socket))
                above++;
        *ret_below = below;
        *ret_above = above <= LIMIT_CPU_CORES ? above : 0;
}
