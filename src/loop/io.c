/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/file.h"
#include "loop/loop_internal.h"

#include <sys/pidfd.h>
#include <sys/wait.h>

static uint32_t events_to_epoll(unsigned events)
{
        return (events & LOOP_READ ? EPOLLIN : 0) | (events & LOOP_WRITE ? EPOLLOUT : 0) | (events & LOOP_HANGUP ? EPOLLRDHUP : 0);
}

static unsigned events_from_epoll(uint32_t events)
{
        return (events & EPOLLIN ? LOOP_READ : 0) | (events & EPOLLOUT ? LOOP_WRITE : 0) |
               (events & (EPOLLHUP | EPOLLRDHUP) ? LOOP_HANGUP : 0) | (events & EPOLLERR ? LOOP_ERROR : 0);
}

static void io_on_child(struct loop_source *source)
{
        int status = 0;

        if (waitpid(source->pid, &status, WNOHANG) == 0)
                return;
        loop_io_forget(source);
        loop_source_begin(source);
        source->on_child(source, source->pid, status, source->userdata);
        loop_source_end(source);
}

static void io_dispatch(struct loop_source *source, uint32_t revents)
{
        /* What an earlier callback of the batch has stopped asking for is not told; hang-ups and errors always are. */
        unsigned events = events_from_epoll(revents & (events_to_epoll(source->events) | EPOLLHUP | EPOLLERR));

        if (events == 0)
                return;
        if (source->pid > 0) {
                io_on_child(source);
                return;
        }
        loop_source_begin(source);
        source->on_fd(source, source->fd, events, source->userdata);
        loop_source_end(source);
}

static int io_on_ready(sd_event_source *inner, int fd, uint32_t revents, void *userdata)
{
        struct loop *loop = userdata;

        int n = epoll_wait(fd, loop->io_batch, LOOP_IO_BATCH, 0);
        if (n < 0)
                return errno == EINTR ? 0 : -errno;
        loop->io_n = n;
        for (loop->io_at = 0; loop->io_at < loop->io_n; loop->io_at++) {
                struct epoll_event *event = &loop->io_batch[loop->io_at];
                if (event->data.ptr)
                        io_dispatch(event->data.ptr, event->events);
        }
        loop->io_n = 0;
        return 0;
}

int loop_io_init(struct loop *loop)
{
        assert(loop);

        loop->io_fd = epoll_create1(EPOLL_CLOEXEC);
        if (loop->io_fd < 0)
                return -errno;
        return sd_event_add_io(loop->event, &loop->io_inner, loop->io_fd, EPOLLIN, io_on_ready, loop);
}

void loop_io_clear(struct loop *loop)
{
        assert(loop);

        if (loop->io_inner)
                loop->io_inner = sd_event_source_disable_unref(loop->io_inner);
        loop->io_fd = fd_close(loop->io_fd);
}

void loop_io_forget(struct loop_source *source)
{
        assert(source);

        struct loop *loop = source->loop;
        if (source->fd < 0)
                return;
        epoll_ctl(loop->io_fd, EPOLL_CTL_DEL, source->fd, NULL);
        for (int i = loop->io_at; i < loop->io_n; i++) {
                if (loop->io_batch[i].data.ptr == source)
                        loop->io_batch[i].data.ptr = NULL;
        }
        if (source->pid > 0)
                close(source->fd);
        source->fd = -1;
}

static int io_watch(struct loop_source *source, int fd, unsigned events)
{
        struct epoll_event event = {.events = events_to_epoll(events), .data.ptr = source};

        if (epoll_ctl(source->loop->io_fd, EPOLL_CTL_ADD, fd, &event) < 0)
                return -errno;
        source->fd = fd;
        source->events = events;
        return 0;
}

int loop_fd(struct loop *loop, int fd, unsigned events, loop_fd_fn fn, void *userdata, struct loop_source **ret_source)
{
        assert(loop && fd >= 0 && fn && ret_source);

        g_autoptr(loop_source) source = loop_source_new(loop, userdata);
        source->on_fd = fn;
        int r = io_watch(source, fd, events);
        if (r < 0)
                return r;
        *ret_source = g_steal_pointer(&source);
        return 0;
}

int loop_fd_set(struct loop_source *source, unsigned events)
{
        assert(source && source->fd >= 0);

        struct epoll_event event = {.events = events_to_epoll(events), .data.ptr = source};
        if (source->events == events)
                return 0;
        if (epoll_ctl(source->loop->io_fd, EPOLL_CTL_MOD, source->fd, &event) < 0)
                return -errno;
        source->events = events;
        return 0;
}

int loop_child(struct loop *loop, pid_t pid, loop_child_fn fn, void *userdata, struct loop_source **ret_source)
{
        assert(loop && pid > 0 && fn && ret_source);

        g_autoptr(loop_source) source = loop_source_new(loop, userdata);
        source->on_child = fn;
        autofd pidfd = pidfd_open(pid, 0);
        if (pidfd < 0)
                return -errno;
        int r = io_watch(source, pidfd, LOOP_READ);
        if (r < 0)
                return r;
        source->pid = pid; /* from here on the source owns the pidfd */
        pidfd = -1;
        *ret_source = g_steal_pointer(&source);
        return 0;
}
