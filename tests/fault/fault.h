/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/steps.h"

/*
 * A plan of faults, from the environment:
 *
 *   GABBRO_FAULT        PLACE[#N]=ACTION, joined by ';'. PLACE: "volumes/create/begin.before", or a pattern with '*' and '?'; N:
 * the N-th time it is passed (1). ACTION: kill            SIGKILL to this process stop            SIGSTOP to this process; who
 * watches the file below thaws it kill:GLOB       SIGKILL to the processes whose pids stand first in the files that GLOB names
 *                               error:NUMBER    the step fails with this errno
 *   GABBRO_FAULT_FILE   file with such a plan, which may be written anew at any time; it replaces the plan before it
 *   GABBRO_FAULT_FIRED  file (or fifo) that gets a line for each fault that came to pass, before it does
 *   GABBRO_FAULT_LOG    file that gets a line for each place passed
 */

/** fault_plan() - the plan of this process; the same object each time, called first before there are threads. Ends the process when
 * the plan cannot be read. */
struct steps *fault_plan(void);
