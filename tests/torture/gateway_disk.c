/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/gateway.h"
#include "store/faulty_vfs_test.h"

#include <stdio.h>
#include <stdlib.h>

/*
 * gabbro-gateway on a disk that fails: GABBRO_DISK_FAULT="WAY NTH", the NTH sync of the write-ahead log (sync), write into it
 * (write), or write into the database (checkpoint) fails, and all after it. Never installed.
 */
int main(int argc, char **argv)
{
        static const struct {
                const char *name;
                enum faulty_call call;
        } ways[] = {{"sync", FAULTY_WAL_SYNC}, {"write", FAULTY_WAL_WRITE}, {"checkpoint", FAULTY_DB_WRITE}};
        g_auto(GStrv) words = g_strsplit(g_getenv("GABBRO_DISK_FAULT") ?: "", " ", 2);

        faulty_vfs_register();
        for (size_t i = 0; i < G_N_ELEMENTS(ways); i++)
                if (g_strv_length(words) == 2 && g_str_equal(words[0], ways[i].name))
                        faulty_vfs_arm(ways[i].call, FAULTY_FAILS, (unsigned)strtoul(words[1], NULL, 10), true);
        return gateway_main(argc, argv, NULL);
}
