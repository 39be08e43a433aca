/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "loop/loop.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <systemd/sd-event.h>

#define LOOP_IO_BATCH 128

struct loop_posted;

/*
 * Descriptors are watched by an epoll of their own below sd-event's. sd-event asks epoll for all that is ready before each single
 * dispatch: with thousands of ready sockets that is quadratic. Here one dispatch serves a batch.
 */
struct loop {
        sd_event *event;
        int io_fd; /* the epoll */
        sd_event_source *io_inner;
        struct epoll_event io_batch[LOOP_IO_BATCH]; /* being dispatched: entries of sources freed meanwhile are NULL */
        int io_at, io_n;
        int post_fd;
        struct loop_source *post_source;
        pthread_mutex_t post_lock;
        struct loop_posted *post_head, **post_tail; /* guarded by post_lock */
};

struct loop_source {
        struct loop *loop;
        sd_event_source *inner; /* of all but descriptors and children */
        union {
                loop_fd_fn on_fd;
                loop_fn on_event;
                loop_child_fn on_child;
        };
        void *userdata;
        int fd;          /* watched by the epoll, or -1 */
        unsigned events; /* LOOP_* asked for */
        pid_t pid;       /* of a child: fd is its pidfd, owned */
        bool dispatched; /* its callback runs now */
        bool freed;      /* by its own callback: the memory goes when the callback is back */
};

/** loop_io_init() - the epoll of @loop. */
int loop_io_init(struct loop *loop);
void loop_io_clear(struct loop *loop);
/** loop_io_forget() - take a source's descriptor out. */
void loop_io_forget(struct loop_source *source);
/** loop_source_new() - empty; the caller fills it. */
struct loop_source *loop_source_new(struct loop *loop, void *userdata);
/** loop_source_begin(), loop_source_end() - around the call of its callback. */
void loop_source_begin(struct loop_source *source);
void loop_source_end(struct loop_source *source);
