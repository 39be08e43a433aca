/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define IMAGE_JAIL_BACKINGS 9

/*
 * What a program that reads somebody's image may do: read that one file and those behind it, write the other one, and nothing else.
 * For a child between fork() and execve(): async-signal-safe calls only. Parts that the kernel does not offer (Landlock before
 * Linux 5.13) or that an agent without privileges may not ask for are left out; the others stand.
 */
struct image_jail {
        int source_fd, target_fd; /* open as /proc/self/fd/N in the child; -1: none */
        int backing_fds[IMAGE_JAIL_BACKINGS];
        size_t n_backings;
        uint64_t max_bytes; /* no file grows above */
        uint64_t cpu_s;
};

/** image_jail_enter() - limits on memory, processor time, file size and open files; no network; no file but those and the
 * system's programs; no capabilities and no way to new ones. */
void image_jail_enter(const struct image_jail *jail);
