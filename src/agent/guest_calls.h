/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/agent.h"
#include "base/auto.h"

#include <glib.h>

/*
 * What users ask of a running guest, of its host's view of it, or of the host, and wait for: exec, password, info, screenshot,
 * usage. The gateway names a nonce; the agent dials a stream for it, gets one order, carries it out and sends one answer. Each
 * order is one row of a table here.
 */
struct guest_calls;

int guest_calls_new(struct agent *agent, struct guest_calls **ret_calls);
/** guest_calls_free() - after the manifest was left and the lanes were freed, which waits for what is under way (each step is
 * bounded). */
struct guest_calls *guest_calls_free(struct guest_calls *calls);
/** guest_calls_open() - the gateway has an order for a machine: dial for it. */
void guest_calls_open(struct guest_calls *calls, const char *nonce, const char *machine_uid);
