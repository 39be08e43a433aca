/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * libvirt 9 reads what guest agents send by recursion, up to 10 MB: one line of that many brackets ends a libvirtd whose threads
 * have the usual stack of 8 MiB, and with it all that is asked of the host, as often as the guest likes. A stack of 1 GiB holds it.
 */
#define DAEMON_STACK_LEAST_BYTES (1ull << 30)

/**
 * daemon_stack_bytes() - the stack that threads of the process in @pid_file have, by the "limits" of its folder below @proc
 *
 * "unlimited" stands for the 2 MiB that the C library gives then. Return: 0 or -errno when it is not known.
 */
int daemon_stack_bytes(const char *pid_file, const char *proc, uint64_t *ret_bytes);

/** daemon_stack_is_small() - whether a guest can end this host's libvirtd; false when it is not known. */
bool daemon_stack_is_small(void);
