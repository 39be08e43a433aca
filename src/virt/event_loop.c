/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/virt_internal.h"

#include <assert.h>
#include <signal.h>

/* The state that libvirt forces on a process: its event loop implementation, the thread that turns it, and no SIGPIPE. */

static void swallow(void *userdata, virErrorPtr error)
{
}

static void *loop_main(void *userdata)
{
        for (;;)
                (void)virEventRunDefaultImpl(); /* a failed turn has nobody to tell; keepalive notices what it leaves undone */
        return NULL;
}

static void *start(void *userdata)
{
        sigset_t all, before;

        virSetErrorFunc(NULL, swallow); /* errors are returned, never printed */
        signal(SIGPIPE, SIG_IGN);       /* libvirt writes to sockets whose other side may be gone */
        if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0)
                return GINT_TO_POINTER(0);
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        g_thread_unref(g_thread_new("libvirt-events", loop_main, NULL));
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return GINT_TO_POINTER(1);
}

int virt_event_loop_start(struct virt_error *reterr)
{
        static GOnce once = G_ONCE_INIT;

        assert(reterr);

        g_once(&once, start, NULL);
        return once.retval ? 0 : virt_say(reterr, VIRT_E_FAILED, "LibvirtUnreachable", "libvirt's event loop cannot be started");
}
