/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

/**
 * spawn_wait() - run a program to its end: clean signal mask, no input, standard error collected (cut at 4 KiB)
 * @argv: NULL-terminated; argv[0] is looked up in PATH and the system folders for daemons
 *
 * Blocks. Return: 0 when it ended with status 0; -ENOEXEC when it ended otherwise (@reterr_words: what it said, g_free); -errno.
 */
int spawn_wait(const char *const *argv, char **reterr_words);

/**
 * spawn_find() - the process of a pid file, proved by an argument of its command line
 *
 * Return: a pidfd, or -ESRCH when no such process runs. A stale file or a process of another program is no match.
 */
int spawn_find(const char *pid_file, const char *argument);

/** spawn_search() - the same when its pid file is lost: every process is looked at. A pidfd, or -ESRCH. */
int spawn_search(const char *argument);

/** spawn_signal() - to a process by its pidfd. 0 or -errno. */
int spawn_signal(int pidfd, int signal);

/** spawn_stop() - SIGTERM, and SIGKILL after @grace_us; waits for the end. 0 or -errno (-ETIME: it does not end). */
int spawn_stop(int pidfd, uint64_t grace_us);
