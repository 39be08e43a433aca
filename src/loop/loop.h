/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/auto.h"
#include "base/clock.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The one event loop of a program (sd-event inside; the only folder that includes it). Everything but loop_post() and the worker
 * functions runs on the thread that runs the loop. Sources are freed by loop_source_free(), also from within their own callback.
 */
struct loop;
struct loop_source;

/** loop_new() - a loop on the system's clock. 0 or -errno. */
int loop_new(struct loop **ret_loop);
/** loop_free() - free it after all its sources; posts that have not run are dropped. */
struct loop *loop_free(struct loop *loop);
AUTOPTR(loop, loop_free);

/** loop_run() - until loop_exit(); returns its code or -errno. */
int loop_run(struct loop *loop);
/** loop_exit() - make loop_run() return @code (>= 0) after the callback that runs now. */
void loop_exit(struct loop *loop, int code);
/** loop_run_once() - dispatch one source (of descriptors: a batch of those that are ready), waiting at most @timeout_us
 * (UINT64_MAX: for ever). > 0 dispatched, 0 timeout. */
int loop_run_once(struct loop *loop, uint64_t timeout_us);
/** loop_now_us() - monotonic time at the beginning of this iteration. */
uint64_t loop_now_us(struct loop *loop);

/** loop_source_free() - end the source; its callback is not called again. NULL is accepted. */
struct loop_source *loop_source_free(struct loop_source *source);
AUTOPTR(loop_source, loop_source_free);

enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_HANGUP = 4, LOOP_ERROR = 8 };
typedef void (*loop_fd_fn)(struct loop_source *source, int fd, unsigned events, void *userdata);
/** loop_fd() - watch @fd (borrowed; free the source before closing it), level-triggered. LOOP_HANGUP in @events also asks for a
 * peer that has ended its writing half.
 */
int loop_fd(struct loop *loop, int fd, unsigned events, loop_fd_fn fn, void *userdata, struct loop_source **ret_source);
/** loop_fd_set() - watch other events (0: none; hang-up and error are always reported). */
int loop_fd_set(struct loop_source *source, unsigned events);

typedef void (*loop_fn)(struct loop_source *source, void *userdata);
/** loop_timer() - once, @delay_us from now; loop_timer_set() arms it again, also from its own callback. UINT64_MAX: disarmed. */
int loop_timer(struct loop *loop, uint64_t delay_us, loop_fn fn, void *userdata, struct loop_source **ret_source);
int loop_timer_set(struct loop_source *source, uint64_t delay_us);
/** loop_defer() - once, soon, after what is pending already; loop_defer_set() arms it again (also from its own callback, without
 *  keeping I/O waiting). */
int loop_defer(struct loop *loop, loop_fn fn, void *userdata, struct loop_source **ret_source);
int loop_defer_set(struct loop_source *source, bool armed);
/** loop_signal() - blocks @signal for this thread and reports it here; call it before threads are started, which inherit that. */
int loop_signal(struct loop *loop, int signal, loop_fn fn, void *userdata, struct loop_source **ret_source);
typedef void (*loop_child_fn)(struct loop_source *source, pid_t pid, int status, void *userdata);
/** loop_child() - the end of a child process (by pidfd), which is reaped here. @status as of waitpid(2). Freed before: the owner
 *  reaps it. */
int loop_child(struct loop *loop, pid_t pid, loop_child_fn fn, void *userdata, struct loop_source **ret_source);

/** loop_post() - from any thread: run @fn(@userdata) on the loop soon, in order of the calls. Never blocks. */
void loop_post(struct loop *loop, void (*fn)(void *userdata), void *userdata);

/*
 * Worker pool: blocking or long work off the loop. @work runs on a pool thread, then @done on the loop with its result.
 * A job cannot be cancelled; loop_pool_free() waits for running jobs, drops queued ones (their @done runs with -ECANCELED).
 */
struct loop_pool;
/** loop_pool_new() - @threads (> 0) threads, with all signals blocked. */
int loop_pool_new(struct loop *loop, unsigned threads, struct loop_pool **ret_pool);
struct loop_pool *loop_pool_free(struct loop_pool *pool);
AUTOPTR(loop_pool, loop_pool_free);
/** loop_pool_submit() - queue a job; from the loop thread. */
void loop_pool_submit(struct loop_pool *pool, int (*work)(void *userdata), void (*done)(int result, void *userdata),
                      void *userdata);
