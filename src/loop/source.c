/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/file.h"
#include "loop/loop_internal.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

/* Timers within a millisecond of each other share a wake-up. */
#define SOURCE_TIMER_ACCURACY_US 1000

struct loop_source {
        sd_event_source *inner;
        union {
                loop_fd_fn on_fd;
                loop_fn on_event;
                loop_child_fn on_child;
        };
        void *userdata;
        pid_t pid;
        int pidfd;       /* of a child; -1 otherwise */
        bool dispatched; /* its callback runs now */
        bool freed;      /* by its own callback: the memory goes when the callback is back */
};

static struct loop_source *source_new(void *userdata)
{
        struct loop_source *source = g_new0(struct loop_source, 1);
        source->userdata = userdata;
        source->pidfd = -1;
        return source;
}

struct loop_source *loop_source_free(struct loop_source *source)
{
        if (!source || source->freed)
                return NULL;
        if (source->inner)
                source->inner = sd_event_source_disable_unref(source->inner);
        source->pidfd = fd_close(source->pidfd);
        if (source->dispatched)
                source->freed = true;
        else
                g_free(source);
        return NULL;
}

static void source_begin(struct loop_source *source)
{
        assert(!source->dispatched);
        source->dispatched = true;
}

static void source_end(struct loop_source *source)
{
        source->dispatched = false;
        if (source->freed)
                g_free(source);
}

static uint32_t events_to_epoll(unsigned events)
{
        return (events & LOOP_READ ? EPOLLIN : 0) | (events & LOOP_WRITE ? EPOLLOUT : 0) | (events & LOOP_HANGUP ? EPOLLRDHUP : 0);
}

static unsigned events_from_epoll(uint32_t events)
{
        return (events & EPOLLIN ? LOOP_READ : 0) | (events & EPOLLOUT ? LOOP_WRITE : 0) |
               (events & (EPOLLHUP | EPOLLRDHUP) ? LOOP_HANGUP : 0) | (events & EPOLLERR ? LOOP_ERROR : 0);
}

static int source_on_io(sd_event_source *inner, int fd, uint32_t revents, void *userdata)
{
        struct loop_source *source = userdata;

        source_begin(source);
        source->on_fd(source, fd, events_from_epoll(revents), source->userdata);
        source_end(source);
        return 0;
}

int loop_fd(struct loop *loop, int fd, unsigned events, loop_fd_fn fn, void *userdata, struct loop_source **ret_source)
{
        assert(loop && fd >= 0 && fn && ret_source);

        g_autoptr(loop_source) source = source_new(userdata);
        source->on_fd = fn;
        int r = sd_event_add_io(loop_event(loop), &source->inner, fd, events_to_epoll(events), source_on_io, source);
        if (r < 0)
                return r;
        *ret_source = g_steal_pointer(&source);
        return 0;
}

int loop_fd_set(struct loop_source *source, unsigned events)
{
        assert(source && source->inner);
        return sd_event_source_set_io_events(source->inner, events_to_epoll(events));
}

static int source_on_time(sd_event_source *inner, uint64_t time_us, void *userdata)
{
        struct loop_source *source = userdata;

        source_begin(source);
        source->on_event(source, source->userdata);
        source_end(source);
        return 0;
}

int loop_timer(struct loop *loop, uint64_t delay_us, loop_fn fn, void *userdata, struct loop_source **ret_source)
{
        assert(loop && fn && ret_source);

        g_autoptr(loop_source) source = source_new(userdata);
        source->on_event = fn;
        int r = sd_event_add_time(loop_event(loop), &source->inner, CLOCK_MONOTONIC, UINT64_MAX, SOURCE_TIMER_ACCURACY_US,
                                  source_on_time, source);
        if (r >= 0)
                r = loop_timer_set(source, delay_us);
        if (r < 0)
                return r;
        *ret_source = g_steal_pointer(&source);
        return 0;
}

int loop_timer_set(struct loop_source *source, uint64_t delay_us)
{
        assert(source && source->inner);

        if (delay_us == UINT64_MAX)
                return sd_event_source_set_enabled(source->inner, SD_EVENT_OFF);
        uint64_t now_us;
        int r = sd_event_now(sd_event_source_get_event(source->inner), CLOCK_MONOTONIC, &now_us);
        if (r < 0)
                return r;
        r = sd_event_source_set_time(source->inner, now_us > UINT64_MAX - 1 - delay_us ? UINT64_MAX - 1 : now_us + delay_us);
        return r < 0 ? r : sd_event_source_set_enabled(source->inner, SD_EVENT_ONESHOT);
}

static int source_on_defer(sd_event_source *inner, void *userdata)
{
        return source_on_time(inner, 0, userdata);
}

int loop_defer(struct loop *loop, loop_fn fn, void *userdata, struct loop_source **ret_source)
{
        assert(loop && fn && ret_source);

        g_autoptr(loop_source) source = source_new(userdata);
        source->on_event = fn;
        int r = sd_event_add_defer(loop_event(loop), &source->inner, source_on_defer, source);
        if (r < 0)
                return r;
        *ret_source = g_steal_pointer(&source);
        return 0;
}

int loop_defer_set(struct loop_source *source, bool armed)
{
        assert(source && source->inner);

        int enabled;
        int r = sd_event_source_get_enabled(source->inner, &enabled);
        if (r < 0 || (enabled != SD_EVENT_OFF) == armed)
                return r < 0 ? r : 0;
        if (!armed)
                return sd_event_source_set_enabled(source->inner, SD_EVENT_OFF);
        /* sd-event keeps the age of a deferred source over its dispatch, and the oldest goes first: one that arms itself again
         * would keep everybody else waiting. A new inner source stands at the end of the queue. */
        sd_event_source *fresh = NULL;
        r = sd_event_add_defer(sd_event_source_get_event(source->inner), &fresh, source_on_defer, source);
        if (r < 0)
                return r;
        sd_event_source_disable_unref(source->inner);
        source->inner = fresh;
        return 0;
}

static int source_on_signal(sd_event_source *inner, const struct signalfd_siginfo *info, void *userdata)
{
        return source_on_time(inner, 0, userdata);
}

int loop_signal(struct loop *loop, int signal, loop_fn fn, void *userdata, struct loop_source **ret_source)
{
        assert(loop && signal > 0 && fn && ret_source);

        g_autoptr(loop_source) source = source_new(userdata);
        source->on_event = fn;
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, signal);
        int r = -pthread_sigmask(SIG_BLOCK, &set, NULL);
        if (r >= 0)
                r = sd_event_add_signal(loop_event(loop), &source->inner, signal, source_on_signal, source);
        if (r < 0)
                return r;
        *ret_source = g_steal_pointer(&source);
        return 0;
}

static int source_on_pidfd(sd_event_source *inner, int fd, uint32_t revents, void *userdata)
{
        struct loop_source *source = userdata;

        int status = 0;
        if (waitpid(source->pid, &status, WNOHANG) == 0)
                return 0;
        sd_event_source_set_enabled(inner, SD_EVENT_OFF);
        source_begin(source);
        source->on_child(source, source->pid, status, source->userdata);
        source_end(source);
        return 0;
}

int loop_child(struct loop *loop, pid_t pid, loop_child_fn fn, void *userdata, struct loop_source **ret_source)
{
        assert(loop && pid > 0 && fn && ret_source);

        g_autoptr(loop_source) source = source_new(userdata);
        source->on_child = fn;
        source->pid = pid;
        source->pidfd = pidfd_open(pid, 0);
        if (source->pidfd < 0)
                return -errno;
        int r = sd_event_add_io(loop_event(loop), &source->inner, source->pidfd, EPOLLIN, source_on_pidfd, source);
        if (r < 0)
                return r;
        *ret_source = g_steal_pointer(&source);
        return 0;
}
