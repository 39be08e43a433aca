/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/names.h"
#include "virt/domain_xml.h"
#include "virt/virt.h"

#include <stddef.h>

/*
 * Domains: all functions name a domain by its UUID text and return VIRT_E_MISSING when libvirt does not know it, VIRT_E_INVALID
 * when the text is no UUID. Only domains that carry our metadata are touched: all that change one answer VIRT_E_MISSING for a
 * foreign one.
 */

/* The words of Instance.status.state. */
enum virt_state {
        VIRT_STATE_DEFINED, /* never started since it was defined, as far as libvirt remembers */
        VIRT_STATE_CREATING,
        VIRT_STATE_RUNNING,
        VIRT_STATE_PAUSED,
        VIRT_STATE_SHUTDOWN, /* on its way down */
        VIRT_STATE_SHUTOFF,
        VIRT_STATE_MIGRATING,
        VIRT_STATE_CRASHED,
        VIRT_STATE_COUNT,
};
ENUM_TABLE_DECLARE(virt_state);

struct virt_domain_entry {
        char uuid[37];
        char *name;
        char *machine_uid, *instance_uid;
        int64_t generation, epoch, order;
        enum virt_state state;
        const char *reason; /* a constant: "GuestShutdown" "Crashed" "Destroyed" "Failed" "HostLost" "Migrated" "Booted" "User"
                               "IOError" … or "" */
        int id;             /* -1: not running */
        bool active;        /* a QEMU process exists */
        bool persistent;
        bool resetting; /* virt_owner.resetting */
};
void virt_domain_entry_clear(struct virt_domain_entry *entry);

/** virt_domains_list() - all domains with our metadata, in the order of their UUIDs; free with virt_domains_list_free(). */
int virt_domains_list(struct virt *virt, struct virt_domain_entry **ret_entries, size_t *ret_n, struct virt_error *reterr);
void virt_domains_list_free(struct virt_domain_entry *entries, size_t n);

/** virt_domain_get() - one domain; VIRT_E_MISSING also when it is not ours. */
int virt_domain_get(struct virt *virt, const char *uuid, struct virt_domain_entry *ret_entry, struct virt_error *reterr);

/** virt_domain_facts() - parsed XML: @live: of the running domain when it runs; else as it will be started next. */
int virt_domain_facts(struct virt *virt, const char *uuid, bool live, struct virt_facts **ret_facts, struct virt_error *reterr);

/**
 * virt_domain_define() - define, or redefine in place, from XML (the caller keeps the text for its log when this fails: C37)
 *
 * Return: 0, VIRT_E_EXISTS (the name belongs to another UUID, or the UUID to a domain that is not ours), VIRT_E_INVALID,
 * VIRT_E_FAILED.
 */
int virt_domain_define(struct virt *virt, const char *xml, struct virt_error *reterr);

/**
 * virt_domain_keep() - define a running, transient domain as it runs: somebody has removed its definition
 *
 * Return: 0 (also when it has a definition), VIRT_E_STATE: it does not run, VIRT_E_FAILED.
 */
int virt_domain_keep(struct virt *virt, const char *uuid, struct virt_error *reterr);

/**
 * virt_domain_differences() - what of @found is not as in @wanted, for people; the guest-visible places of devices do not count
 * @live: @found is a running domain, of which only memory, cores, disks and interfaces are compared
 *
 * Return: words, or NULL when they are the same; g_free().
 */
char *virt_domain_differences(const struct virt_domain *wanted, const struct virt_domain *found, bool live);

/** virt_domain_undefine() - with its NVRAM, managed save and snapshot metadata; volumes stay. A missing domain is 0; a running one
 * becomes transient. */
int virt_domain_undefine(struct virt *virt, const char *uuid, struct virt_error *reterr);

/** virt_domain_start() - @paused: the vCPUs wait for virt_domain_resume(). VIRT_E_STATE when it runs already. */
int virt_domain_start(struct virt *virt, const char *uuid, bool paused, struct virt_error *reterr);

/** virt_domain_start_anew() - the same, paused, with the firmware's variables as the template has them. */
int virt_domain_start_anew(struct virt *virt, const char *uuid, struct virt_error *reterr);
int virt_domain_resume(struct virt *virt, const char *uuid, struct virt_error *reterr);
int virt_domain_suspend(struct virt *virt, const char *uuid, struct virt_error *reterr);

enum virt_shutdown { VIRT_SHUTDOWN_ACPI, VIRT_SHUTDOWN_AGENT, VIRT_SHUTDOWN_EITHER /* both; the agent has a second to take it */ };
/** virt_domain_shutdown() - ask the guest; does not wait. VIRT_E_STATE when it does not run. */
int virt_domain_shutdown(struct virt *virt, const char *uuid, enum virt_shutdown how, struct virt_error *reterr);
int virt_domain_reboot(struct virt *virt, const char *uuid, enum virt_shutdown how, struct virt_error *reterr);
/** virt_domain_reset() - the reset button. */
int virt_domain_reset(struct virt *virt, const char *uuid, struct virt_error *reterr);
/** virt_domain_destroy() - pull the plug (QEMU gets SIGTERM, then SIGKILL). A domain that does not run is 0. */
int virt_domain_destroy(struct virt *virt, const char *uuid, struct virt_error *reterr);

/** virt_domain_set_owner() - write the metadata element anew, in the running domain and its definition, without redefining. */
int virt_domain_set_owner(struct virt *virt, const char *uuid, const struct virt_owner *owner, struct virt_error *reterr);

/** virt_domain_set_cpu_shares() - live and persistent weight. */
int virt_domain_set_cpu_shares(struct virt *virt, const char *uuid, unsigned shares, struct virt_error *reterr);

/* A disk of a running domain on which an operation failed and the guest was paused for it. */
struct virt_disk_error {
        char *target;  /* "vda" */
        char *path;    /* its file, or NULL */
        bool no_space; /* else an I/O error */
};

/** virt_domain_disk_errors() - as QEMU tells them now, none once the domain was resumed; free with virt_disk_errors_free(). */
int virt_domain_disk_errors(struct virt *virt, const char *uuid, struct virt_disk_error **ret_errors, size_t *ret_n,
                            struct virt_error *reterr);
void virt_disk_errors_free(struct virt_disk_error *errors, size_t n);

/**
 * virt_start_diagnosis() - why a start may have failed (C38): what libvirt said, and what is seen on the host of every disk file
 * and who has it open, every bridge and interface, firmware, memory
 * @words: of libvirt, or NULL
 * @ret_reason: the reason code that fits best: DiskInUse, InsufficientMemory, BridgeMissing, …, else StartFailed
 *
 * Return: one line of findings ("bridge gbr0 does not exist; …"), or NULL when nothing is found; g_free().
 */
char *virt_start_diagnosis(const struct virt_domain *domain, const char *words, const char **ret_reason);

/*
 * Serial console: libvirt's stream (over a connection of its own) pumped by a thread into a socket pair. @ret_fd is a non-blocking
 * stream socket owned by the caller: read it, write it, close it to end the session; end of file there means that the console ended
 * (domain stopped, connection lost, or another session took it with @force). VIRT_E_STATE: not running, or in use and not @force.
 */
int virt_console_open(struct virt *virt, const char *uuid, bool force, int *ret_fd, struct virt_error *reterr);
