/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/job.h"

/** measure_is() - whether an intent is such a task. */
bool measure_is(const struct intent *intent);
/** measure_domain() - UUID of the domain that it measures, in @arena; NULL: its Instance is not on this host. */
const char *measure_domain(struct agent *agent, const struct intent *task, struct arena *arena);
/** converge_measure() - a HostTask of type MeasureMachine. */
void converge_measure(struct job *job, const struct api_host_task *task);
