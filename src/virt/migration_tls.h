/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/virt.h"

/* What libvirt must be told, and what must be seen of it, before hosts move machines between them. */

/* Files of the folder with a host's certificate for migrations: the names that QEMU wants, and those that libvirt's client wants.
 */
#define MIGRATION_TLS_CA          "ca-cert.pem"
#define MIGRATION_TLS_CERTIFICATE "server-cert.pem"
#define MIGRATION_TLS_KEY         "server-key.pem"

/** migration_tls_write() - the folder @dir as a whole, with these contents; a kill leaves the old one or the new one. Only root and
 * the group that QEMU runs as may read it. Return: 0 or -errno. */
int migration_tls_write(const char *dir, const char *ca_pem, const char *certificate_pem, const char *key_pem);

/** migration_tls_uri() - of libvirt at @address, spoken to with the certificate in @dir; g_free(). */
char *migration_tls_uri(const char *address, const char *dir);

/** migration_tls_reload() - libvirtd takes its renewed certificate; 0 or VIRT_E_FAILED. */
int migration_tls_reload(struct virt_error *reterr);

/** migration_tls_fault() - what of qemu.conf (@text) keeps QEMU from using the certificate in @dir, a sentence; or NULL. g_free().
 */
char *migration_tls_fault(const char *text, const char *dir);

/** migration_tls_reach() - whether libvirt at @address answers to the certificate in @dir: 0, VIRT_E_UNREACHABLE. */
int migration_tls_reach(const char *address, const char *dir, struct virt_error *reterr);
