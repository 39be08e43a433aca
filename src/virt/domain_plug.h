/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/domain_xml.h"
#include "virt/virt.h"

/*
 * Disks that come to a domain and leave it while it runs. What is ours is said by the metadata, which names each disk by its target
 * and is written before a disk comes: whoever is killed in between finds the name of a disk that is not there, which harms nobody.
 */

/** virt_domain_name_disk() - note in the metadata that the disk at @target is ours, under @name. */
int virt_domain_name_disk(struct virt *virt, const char *uuid, const char *target, const char *name, struct virt_error *reterr);

/** virt_domain_forget_disk() - take the name of a disk that is gone out of the metadata; nothing is written when it is not there.
 */
int virt_domain_forget_disk(struct virt *virt, const char *uuid, const char *name, struct virt_error *reterr);

enum virt_where {
        VIRT_WHERE_LIVE = 1,       /* the running domain */
        VIRT_WHERE_DEFINITION = 2, /* what it will be started as */
};

/** virt_domain_plug() - attach a disk that has its places. VIRT_E_STATE: the domain does not run; VIRT_E_FAILED: libvirt's words.
 */
int virt_domain_plug(struct virt *virt, const char *uuid, const struct virt_disk *disk, enum virt_where where,
                     struct virt_error *reterr);

/** virt_domain_plug_scsi() - attach the controller that CD drives hang on, at @pci. As virt_domain_plug(). */
int virt_domain_plug_scsi(struct virt *virt, const char *uuid, const struct virt_pci *pci, enum virt_where where,
                          struct virt_error *reterr);

/**
 * virt_domain_change_medium() - the CD drive @disk, as it was read from the domain, holds @disk->path from now on (NULL: nothing)
 *
 * A guest that has locked the tray is asked and may refuse: VIRT_E_FAILED with libvirt's words. VIRT_E_STATE: it does not run.
 */
int virt_domain_change_medium(struct virt *virt, const char *uuid, const struct virt_disk *disk, enum virt_where where,
                              struct virt_error *reterr);

/**
 * virt_domain_unplug() - detach a disk, as it was read from the domain
 *
 * From a running domain: asks the guest and waits for libvirt's few seconds. 0 says that it was asked, not that the disk is gone:
 * look at the domain. A disk that is not there is 0. VIRT_E_STATE: the domain does not run.
 */
int virt_domain_unplug(struct virt *virt, const char *uuid, const struct virt_disk *disk, enum virt_where where,
                       struct virt_error *reterr);

/** virt_domain_name_nic() - note in the metadata that the interface with @mac is ours, under @name; @mac NULL: forget the name. */
int virt_domain_name_nic(struct virt *virt, const char *uuid, const char *mac, const char *name, struct virt_error *reterr);

/** virt_domain_plug_nic() - as virt_domain_plug(), of an interface that has its place. */
int virt_domain_plug_nic(struct virt *virt, const char *uuid, const struct virt_nic *nic, enum virt_where where,
                         struct virt_error *reterr);

/** virt_domain_change_nic() - the link of an interface, as it was read from the domain, goes up or down. Outcomes as of
 * virt_domain_plug(). */
int virt_domain_change_nic(struct virt *virt, const char *uuid, const struct virt_nic *nic, enum virt_where where,
                           struct virt_error *reterr);

/** virt_domain_unplug_nic() - as virt_domain_unplug(). */
int virt_domain_unplug_nic(struct virt *virt, const char *uuid, const struct virt_nic *nic, enum virt_where where,
                           struct virt_error *reterr);
