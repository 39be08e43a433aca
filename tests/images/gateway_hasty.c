/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/gateway.h"

/* gabbro-gateway with little patience towards slow servers, so that tests need none. Never installed. */
int main(int argc, char **argv)
{
        static const struct gateway_times times = {
                .download_us = 20000000, .download_stall_us = 2000000, .download_pause_us = 100000};
        static const struct gateway_parts parts = {.times = &times};

        return gateway_main(argc, argv, &parts);
}
