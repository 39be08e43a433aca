/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/address.h"

/**
 * conntrack_forget() - drop every tracked connection that @address (IPv4) is an end of, in this network namespace
 *
 * Connections that rules still allow are tracked again with their next packet; translated ones break. Blocks.
 * Return: 0 or -errno.
 */
int conntrack_forget(const struct address *address);
