/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/domain_xml.h"

/*
 * SeaBIOS goes on from a disk without a boot loader to CDs, never to a second disk: it has one place for disks in its list, that of
 * the first one. So what falls through is decided before the start, by the two bytes that SeaBIOS looks at itself.
 */

enum boot_sector { BOOT_SECTOR_UNKNOWN, BOOT_SECTOR_THERE, BOOT_SECTOR_MISSING };
ENUM_TABLE_DECLARE(boot_sector); /* "unknown" "there" "missing" */

/**
 * boot_sector_look() - whether a BIOS would boot from @disk
 *
 * Reads two bytes of a raw file, of a qcow2 file also the tables that lead to them; of a CD its El Torito record. UNKNOWN: it
 * cannot be read, is compressed, or its first sector is that of a backing file. Only while nobody writes to it. An empty drive:
 * MISSING.
 */
enum boot_sector boot_sector_look(const struct virt_disk *disk);

/**
 * boot_sector_fall_through() - let the first disk of the boot order be one that SeaBIOS can boot from
 *
 * When the first of several disks has no boot loader, and the next device that may have one is a disk, that one takes its place and
 * the others follow in their order; CDs keep theirs. Return: the disk that boots instead, or NULL: the order stays as it was.
 */
const struct virt_disk *boot_sector_fall_through(struct virt_domain *domain);
