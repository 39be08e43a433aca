/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/agent.h"
#include "fault.h"

/* gabbro-agent with a plan of faults. */
int main(int argc, char **argv)
{
        return agent_main(argc, argv, fault_plan());
}
