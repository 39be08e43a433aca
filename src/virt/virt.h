/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/auto.h"
#include "base/names.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * The connection to libvirt. Every function of this folder that takes a struct virt blocks for as long as libvirt takes and is
 * called on worker threads; any number of threads may share one struct virt. Nothing here logs: failures come back as words.
 *
 * Three connections are watched (decision 13): for events, quick queries, and jobs (define, start, volume creation); each call has
 * one more for itself, kept for the next. Keepalive runs on all: a libvirtd that does not answer it loses its connections after
 * interval × count seconds and every call that waits there returns with VIRT_E_UNREACHABLE.
 */
struct virt;

enum virt_role { VIRT_EVENTS, VIRT_QUERIES, VIRT_JOBS, VIRT_ROLE_COUNT };

/* Outcomes of all functions of this folder; words and, where known, libvirt's code are in the struct virt_error. */
enum {
        VIRT_E_MISSING = 1, /* the domain, pool, volume or file is not there */
        VIRT_E_EXISTS,      /* the name or UUID is taken by something else */
        VIRT_E_STATE,       /* not possible in the present state (start of a running domain, agent not connected) */
        VIRT_E_INVALID,     /* the input is refused; nothing was done */
        VIRT_E_UNREACHABLE, /* the connection is gone or hangs; virt_reconnect(), then try again */
        VIRT_E_TIMEOUT,     /* the deadline passed */
        VIRT_E_CANCELLED,   /* the caller asked to stop */
        VIRT_E_NO_SPACE,    /* the pool or the host is full */
        VIRT_E_FAILED,      /* libvirt or a tool said no; the words are its own */
};

#define VIRT_ERROR_WORDS_MAX 1024

/* Why a call did not succeed. Words are one line of valid UTF-8 without control characters, never cut in the middle of a character.
 */
struct virt_error {
        int code;   /* libvirt's virErrorNumber, or 0 */
        int domain; /* libvirt's virErrorDomain, or 0 */
        /* A stable code of api/reasons.yaml, a constant: "PoolPathMissing", "StartFailed"; never NULL after a failure. */
        const char *reason;
        char words[VIRT_ERROR_WORDS_MAX];
};

struct virt_options {
        const char *uri;               /* "qemu:///system", "qemu+unix:///system?socket=/run/…", "test:///default" */
        unsigned keepalive_interval_s; /* 0: 5 */
        unsigned keepalive_count;      /* 0: 3 */
};

/**
 * virt_open() - open the three connections; the first call of the process makes libvirt's event loop and its thread, and has
 * SIGPIPE ignored
 *
 * Return: 0, VIRT_E_UNREACHABLE, VIRT_E_FAILED.
 */
int virt_open(const struct virt_options *options, struct virt **ret_virt, struct virt_error *reterr);

/** virt_close() - close; calls still running on other threads keep their own reference and must not use @virt afterwards. */
struct virt *virt_close(struct virt *virt);
AUTOPTR(virt, virt_close);

/** virt_uri() - as given to virt_open(). */
const char *virt_uri(const struct virt *virt);

/** virt_is_test() - whether this is libvirt's test driver (its domains have type "test" and no files behind them). */
bool virt_is_test(const struct virt *virt);

enum virt_health { VIRT_HEALTHY, VIRT_DEAD, VIRT_HUNG };

/**
 * virt_probe() - whether a connection answers a trivial request within @timeout_us
 *
 * The request runs on a thread of its own; when it does not come back the thread is left behind (it ends with the connection) and
 * the connection is marked hung, so that virt_reconnect() replaces it. At most one probe per role is under way.
 */
enum virt_health virt_probe(struct virt *virt, enum virt_role role, uint64_t timeout_us, struct virt_error *reterr);

/**
 * virt_reconnect() - open again the connections that are dead or marked hung; a hung one is dropped, its waiting calls stay on it
 *
 * Events are subscribed again; what happened meanwhile is never told, nor is the end of a domain while a restarted libvirtd takes
 * up its monitor again: list all domains afterwards. Return: 0 (also when nothing was to do), VIRT_E_UNREACHABLE, VIRT_E_FAILED.
 */
int virt_reconnect(struct virt *virt, struct virt_error *reterr);

/* Events carry keys, never state: look at the domain after one. */
enum virt_event {
        VIRT_EVENT_LIFECYCLE,    /* defined, started, suspended, resumed, stopped, crashed, undefined */
        VIRT_EVENT_REBOOT,       /* the guest rebooted */
        VIRT_EVENT_AGENT,        /* the guest agent's channel changed */
        VIRT_EVENT_DISK,         /* write threshold or I/O error */
        VIRT_EVENT_DEVICE,       /* a device was plugged or unplugged */
        VIRT_EVENT_TUNED,        /* weights, or the limits of a disk, were changed while it runs */
        VIRT_EVENT_DISCONNECTED, /* a connection was lost; no uuid */
        VIRT_EVENT_COUNT,
};
ENUM_TABLE_DECLARE(virt_event);

/* Called on the event thread: must not block and must not call this folder (post to the loop instead). @uuid is borrowed. */
typedef void (*virt_event_fn)(enum virt_event event, const char *uuid, void *userdata);

/**
 * virt_events_start() - subscribe @fn, once per struct virt, before other threads use it; ends with virt_close()
 *
 * Survives virt_reconnect(), which also subscribes what failed here. Return: 0, VIRT_E_UNREACHABLE, VIRT_E_FAILED.
 */
int virt_events_start(struct virt *virt, virt_event_fn fn, void *userdata, struct virt_error *reterr);
