/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/domains.h"

#include "base/clock.h"
#include "base/file.h"
#include "virt/virt_internal.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

/*
 * One thread per session, over a connection of its own: libvirtd stops reading a connection whose stream the guest does not drain,
 * and that must hold up nobody else. The stream is non-blocking; its events only wake the thread.
 */
#define CHUNK_BYTES 4096

struct direction {
        char bytes[CHUNK_BYTES];
        size_t begin, end;
};

struct console {
        virConnectPtr connection;
        virStreamPtr stream;
        int fd;     /* our end of the pair */
        int wakeup; /* eventfd */
        int ready;  /* VIR_STREAM_EVENT_* seen, atomic */
        struct direction to_guest, from_guest;
};

static bool is_empty(const struct direction *way)
{
        return way->begin == way->end;
}

static void console_free(struct console *console)
{
        fd_close(console->fd);
        fd_close(console->wakeup);
        g_free(console);
}

/* On the event thread: note what is ready, stop asking for it, wake the session. */
static void on_stream(virStreamPtr stream, int events, void *userdata)
{
        struct console *console = userdata;

        g_atomic_int_or((guint *)&console->ready, (guint)events);
        virStreamEventUpdateCallback(stream, 0);
        (void)eventfd_write(console->wakeup, 1); /* it can only fail by being full of wake-ups */
}

/* Bytes from the socket towards the guest; false: the session is over. */
static bool read_socket(struct console *console)
{
        struct direction *way = &console->to_guest;
        ssize_t n;

        if (!is_empty(way))
                return true;
        n = recv(console->fd, way->bytes, CHUNK_BYTES, MSG_DONTWAIT);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR;
        way->begin = 0;
        way->end = (size_t)n;
        return n > 0; /* the caller closed its end */
}

static bool write_stream(struct console *console)
{
        struct direction *way = &console->to_guest;

        while (way->begin < way->end) {
                int n = virStreamSend(console->stream, way->bytes + way->begin, way->end - way->begin);

                if (n == -2)
                        return true;
                if (n < 0)
                        return false;
                way->begin += (size_t)n;
        }
        return true;
}

static bool read_stream(struct console *console)
{
        struct direction *way = &console->from_guest;
        int n;

        if (!is_empty(way))
                return true;
        n = virStreamRecv(console->stream, way->bytes, CHUNK_BYTES);
        if (n == -2)
                return true;
        way->begin = 0;
        way->end = n > 0 ? (size_t)n : 0;
        return n > 0;
}

static bool write_socket(struct console *console)
{
        struct direction *way = &console->from_guest;

        while (way->begin < way->end) {
                ssize_t n = send(console->fd, way->bytes + way->begin, way->end - way->begin, MSG_DONTWAIT | MSG_NOSIGNAL);

                if (n < 0)
                        return errno == EAGAIN || errno == EINTR;
                way->begin += (size_t)n;
        }
        return true;
}

/* Ask libvirt again for what this turn could not do, and wait for any side. */
static bool wait_turn(struct console *console, bool over)
{
        bool unsent = !is_empty(&console->to_guest), undelivered = !is_empty(&console->from_guest);
        struct pollfd fds[] = {
                {.fd = console->fd, .events = (short)((unsent ? 0 : POLLIN) | (undelivered ? POLLOUT : 0))},
                {.fd = console->wakeup, .events = POLLIN},
        };
        int wanted = (unsent ? VIR_STREAM_EVENT_WRITABLE : 0) | (undelivered ? 0 : VIR_STREAM_EVENT_READABLE);
        eventfd_t ignored;

        if (!over && virStreamEventUpdateCallback(console->stream, wanted | VIR_STREAM_EVENT_HANGUP | VIR_STREAM_EVENT_ERROR) < 0)
                return false;
        if (poll(fds, G_N_ELEMENTS(fds), -1) < 0)
                return errno == EINTR;
        (void)eventfd_read(console->wakeup, &ignored);
        return !(fds[0].revents & (POLLERR | POLLHUP | POLLNVAL)) || fds[0].revents & POLLIN;
}

/* On the event thread, hence after any callback of the stream that was under way. */
static void retire(int timer, void *userdata)
{
        virEventRemoveTimeout(timer);
        console_free(userdata);
}

static void *pump(void *userdata)
{
        struct console *console = userdata;
        bool alive = true, over = false;

        while (alive) {
                over |= g_atomic_int_and((guint *)&console->ready, 0) & (VIR_STREAM_EVENT_HANGUP | VIR_STREAM_EVENT_ERROR);
                alive = read_socket(console) && (over || write_stream(console)) && read_stream(console) && write_socket(console) &&
                        (!over || !is_empty(&console->from_guest)) && wait_turn(console, over);
        }
        (void)virStreamEventRemoveCallback(console->stream);
        (void)virStreamAbort(console->stream);
        virStreamFree(console->stream);
        virConnectClose(console->connection);
        shutdown(console->fd, SHUT_RDWR);
        /* libvirt 9.0 does not call the free function of a stream's callback, so its last call must be waited for. */
        (void)virEventAddTimeout(0, retire, console, NULL); /* fails only without an event loop, which would have failed before */
        return NULL;
}

static int open_stream(virConnectPtr connection, const char *uuid, bool force, virStreamPtr *ret_stream, struct virt_error *reterr)
{
        AUTO_DOMAIN domain = virDomainLookupByUUIDString(connection, uuid);
        AUTO_TEXT metadata = NULL;
        virStreamPtr stream;

        if (!domain)
                return virt_fail(reterr, "DomainLost");
        metadata = virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, VIRT_METADATA_URI, 0);
        if (!metadata)
                return virt_say(reterr, VIRT_E_MISSING, "DomainLost", "there is no domain %s of ours", uuid);
        if (virDomainIsActive(domain) != 1)
                return virt_say(reterr, VIRT_E_STATE, "NotRunning", "the machine does not run");
        stream = virStreamNew(connection, VIR_STREAM_NONBLOCK);
        if (!stream)
                return virt_fail(reterr, "LibvirtUnreachable");
        if (virDomainOpenConsole(domain, NULL, stream, force ? VIR_DOMAIN_CONSOLE_FORCE : VIR_DOMAIN_CONSOLE_SAFE) < 0) {
                int r = virt_fail(reterr, "InUse");

                virStreamFree(stream);
                return r == VIRT_E_FAILED ? VIRT_E_STATE : r; /* "Active console session exists for this domain" */
        }
        *ret_stream = stream;
        return 0;
}

static int start_pump(struct console *console, struct virt_error *reterr)
{
        sigset_t all, before;

        if (virStreamEventAddCallback(console->stream, VIR_STREAM_EVENT_READABLE, on_stream, console, NULL) < 0)
                return virt_fail(reterr, "LibvirtUnreachable");
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        g_thread_unref(g_thread_new("console", pump, console));
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return 0;
}

int virt_console_open(struct virt *virt, const char *uuid, bool force, int *ret_fd, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        struct console *console;
        int pair[2], r;

        assert(virt && uuid && ret_fd && reterr);

        if (!uuid_valid(uuid))
                return virt_say(reterr, VIRT_E_INVALID, "ValidationFailed", "not a UUID");
        r = virt_open_more(virt, &connection, reterr);
        if (r)
                return r;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
                return virt_say(reterr, VIRT_E_FAILED, "Failed", "no socket pair: %s", strerrordesc_np(errno));
        console = g_new0(struct console, 1);
        console->fd = pair[0];
        console->wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        r = console->wakeup < 0 ? virt_say(reterr, VIRT_E_FAILED, "Failed", "no event descriptor: %s", strerrordesc_np(errno))
                                : open_stream(connection, uuid, force, &console->stream, reterr);
        if (!r) {
                console->connection = g_steal_pointer(&connection);
                r = start_pump(console, reterr);
                if (r) {
                        virStreamFree(console->stream);
                        virConnectClose(console->connection);
                }
        }
        if (r) {
                console_free(console);
                fd_close(pair[1]);
                return r;
        }
        *ret_fd = pair[1];
        return 0;
}
