/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/virt.h"

#include <glib.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

/* Shared by the files of this folder that speak to libvirt; not for other folders. */

/** virt_fail() - turn libvirt's last error of this thread into words and an outcome (C74); @reason unless the error says more. */
int virt_fail(struct virt_error *reterr, const char *reason);

/** virt_say() - an own failure: fill @reterr and return @outcome, for `return virt_say(...)`. */
int virt_say(struct virt_error *reterr, int outcome, const char *reason, const char *format, ...) G_GNUC_PRINTF(4, 5);

/** virt_words_set() - one line of valid UTF-8 without control characters into @reterr->words, cut at a character's end. */
void virt_words_set(struct virt_error *reterr, const char *text);

/** virt_clean_text() - the same treatment for text of a guest: at most @max_bytes, g_free(). */
char *virt_clean_text(const char *text, size_t max_bytes);

/** virt_error_is() - whether libvirt's last error of this thread has this code; for "missing is fine". */
bool virt_error_is(int code);

/** virt_use() - a connection for one thread alone (AUTO_CONNECTION, virt_unuse()), as long as the watched one of @role lives; or
 * NULL and VIRT_E_UNREACHABLE filled in. */
virConnectPtr virt_use(struct virt *virt, enum virt_role role, struct virt_error *reterr);

/** virt_use_own() - connection and own domain in one step (AUTO_CONNECTION, AUTO_DOMAIN): 0, VIRT_E_UNREACHABLE, VIRT_E_MISSING,
 * VIRT_E_INVALID. */
int virt_use_own(struct virt *virt, enum virt_role role, const char *uuid, virConnectPtr *ret_connection, virDomainPtr *ret_domain,
                 struct virt_error *reterr);

/** virt_open_more() - one more connection of the same URI for the caller alone, within a deadline; the caller closes it. */
int virt_open_more(struct virt *virt, virConnectPtr *ret_connection, struct virt_error *reterr);

/** virt_open_at() - a connection to libvirt at @uri for the caller alone, within a deadline; it ends when the other side is silent.
 * The caller closes it. */
int virt_open_at(const char *uri, virConnectPtr *ret_connection, struct virt_error *reterr);

/** virt_reach() - whether libvirt at @uri lets us in, within a deadline: 0, VIRT_E_UNREACHABLE, VIRT_E_FAILED. */
int virt_reach(const char *uri, struct virt_error *reterr);

/** virt_event_loop_start() - libvirt's default event loop on a thread of its own; once per process. 0 or VIRT_E_FAILED. */
int virt_event_loop_start(struct virt_error *reterr);

/** virt_unuse() - give back what virt_use() gave. */
void virt_unuse(virConnectPtr connection);

static inline void virt_connection_closep(virConnectPtr *connection)
{
        if (*connection)
                virt_unuse(*connection);
}
#define AUTO_CONNECTION __attribute__((cleanup(virt_connection_closep))) virConnectPtr

static inline void virt_domain_freep(virDomainPtr *domain)
{
        if (*domain)
                virDomainFree(*domain);
}
#define AUTO_DOMAIN __attribute__((cleanup(virt_domain_freep))) virDomainPtr

static inline void virt_pool_freep(virStoragePoolPtr *pool)
{
        if (*pool)
                virStoragePoolFree(*pool);
}
#define AUTO_POOL __attribute__((cleanup(virt_pool_freep))) virStoragePoolPtr

static inline void virt_volume_freep(virStorageVolPtr *volume)
{
        if (*volume)
                virStorageVolFree(*volume);
}
#define AUTO_VOLUME __attribute__((cleanup(virt_volume_freep))) virStorageVolPtr

static inline void virt_textp(char **text)
{
        free(*text);
}
/* Text that libvirt allocated. */
#define AUTO_TEXT __attribute__((cleanup(virt_textp))) char *

/* libvirt 9 refuses to refresh a pool while a volume is being made in it ("has asynchronous jobs running"): what changes pools and
 * volumes takes turns. */
GMutexLocker *virt_storage_turn(void);
