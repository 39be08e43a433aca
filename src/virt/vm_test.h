/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/domains.h"
#include "virt/pools.h"

#include <glib.h>

/* What the files of vm_test share. */

#define URI    "qemu:///system"
#define POOL   "local"
#define FOLDER "/var/lib/libvirt/images/pool"
#define MIB    (1ull << 20)
#define GIB    (1ull << 30)

/** succeed() - @r is 0, else @error is told and the test fails. */
void succeed(int r, const struct virt_error *error);
/** open_host() - the libvirtd of the lab host; virt_close(). */
struct virt *open_host(void);
/** run() - a program with its words, NULL at the end, that ends well. */
void run(const char *program, ...) G_GNUC_NULL_TERMINATED;
/** ensure_pool() - POOL is there. */
void ensure_pool(struct virt *virt);
/** make_disk() - a bootable volume in POOL; its path, g_free(). */
char *make_disk(struct virt *virt, const char *name);

/** write_at() - bytes into a file, as a guest would. */
void write_at(const char *path, uint64_t offset, const void *bytes, size_t len);

/** vm_storage_tests() - add those of vm_storage_test.c. */
void vm_storage_tests(void);
