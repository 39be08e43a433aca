/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/agent.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Guests whose file systems are frozen. No freeze outlasts its bound: a timer of the agent thaws; a child of it, the guard, thaws
 * when the agent is gone or hangs; and what both leave behind is found by its mark at the agent's next start and thawed then.
 */
struct frozen;

int frozen_new(struct agent *agent, struct frozen **ret_frozen);
/** frozen_free() - the guards thaw what is frozen still. */
struct frozen *frozen_free(struct frozen *frozen);

/** frozen_begin() - before anybody tells the guest to freeze: mark it and post the guard. 0, -EALREADY, -errno (then it must not be
 * frozen). */
int frozen_begin(struct frozen *frozen, const char *uuid, uint64_t seconds);
/** frozen_end() - the guest was thawed, or never frozen. */
void frozen_end(struct frozen *frozen, const char *uuid);
/** frozen_thaw_soon() - whether it was frozen is not known: thaw it now, and until it answers. */
void frozen_thaw_soon(struct frozen *frozen, const char *uuid);
/** frozen_has() - it is, or may be: it answers little but to be thawed. */
bool frozen_has(const struct frozen *frozen, const char *uuid);

/** frozen_guard_main() - the guard: `gabbro-agent thaw LIBVIRT-URI UUID SECONDS` thaws when its standard input ends without a byte,
 * or after so long. Return: its exit status. */
int frozen_guard_main(int argc, char **argv);
