/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/arena.h"
#include "cache/cache.h"
#include "control/control.h"
#include "generated/api_types.h"

#include <stdbool.h>

/*
 * VirtualMachineBlockDeviceAttachment. The vm controller puts what may be attached into the Instance and asks for what shall go
 * (controllers/vm/plug.c); the host says what the running domain has; the attachment controller tells both and waits at the end of
 * an attachment until the machine has let go of its disk.
 */
extern const struct controller attachment_controller;

#define FINALIZER_ATTACHMENT "gabbro.dev/vmbda-cleanup"

/* What an attachment asks for, as it is now. */
struct attachment_look {
        const char *kind, *name;           /* of the device */
        const struct cache_object *device; /* NULL: it does not exist */
        const struct cache_object *former; /* stopped Instance of another machine that had the disk: attaching depends on it */
        bool image, cdrom;
        const char *size;
        bool usable;           /* it can be given to a machine on its host */
        const char *words;     /* why it is not usable */
        const char *conflict;  /* why it must not be attached to this machine, or NULL */
        const char *elsewhere; /* why the machine's host cannot have it, or NULL */
};

/** attachment_view() - the attachment itself. */
const struct api_virtual_machine_block_device_attachment *attachment_view(const struct cache_object *attachment);

/**
 * attachment_look() - look at an attachment to @machine (NULL: it does not exist) that has @instance (NULL: none)
 *
 * What a running machine has by this very attachment it may have.
 */
void attachment_look(const struct cache *cache, const struct cache_object *attachment, const struct cache_object *machine,
                     const struct cache_object *instance, struct arena *arena, struct attachment_look *ret);

/** attachment_disk_name() - the name that the device has in the Instance. */
const char *attachment_disk_name(struct arena *arena, const char *kind, const char *name);

/** attachment_in() - the disk of the Instance that came by the attachment, or NULL. */
const struct api_instance_disk *attachment_in(const struct cache_object *instance, const struct cache_object *attachment);

/** attachment_on_host() - what the host says of a disk of the Instance in its newest run, or NULL. */
const struct api_instance_disk_status *attachment_on_host(const struct cache_object *instance, const char *disk);

/** attachments_of() - of a machine, the oldest first; g_ptr_array_unref(), objects borrowed. Never NULL. */
GPtrArray *attachments_of(const struct cache *cache, const struct cache_object *machine);
