/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/cloud_test.h"

#include <string.h>

static void a_machine_comes_to_running(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", NULL);
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_expect_phase(cloud, VD, "web-root", "Ready");
        cloud_expect_no_effects(cloud);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/vm/a_machine_comes_to_running", a_machine_comes_to_running);
        return g_test_run();
}
