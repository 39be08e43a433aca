/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/job.h"

/*
 * HostTask of type ExportVolume: the file of a Volume that never changes is sent to the gateway, which asks for it piece by piece:
 * it keeps what has come, so that nothing is noted here and whoever is killed goes on at the byte that it has.
 */

/** volume_export_is() - whether an intent is such a task, or one that reads a Volume to its end to tell its checksum. */
bool volume_export_is(const struct intent *intent);
/** volume_export_source() - the name of the Volume that it sends or reads; NULL: it is none. */
const char *volume_export_source(const struct intent *intent);
/** volume_export_sender() - the name of the task that sends or reads a Volume now, or NULL. */
const char *volume_export_sender(struct agent *agent, const char *volume);
/** volume_export_hasten() - the gateway is reached again: what could not be sent goes on now. */
void volume_export_hasten(struct agent *agent);
/** converge_export() - one turn of such a task. */
void converge_export(struct job *job, const struct api_host_task *task);
