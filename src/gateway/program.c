/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/gateway.h"

int main(int argc, char **argv)
{
        return gateway_main(argc, argv, NULL);
}
