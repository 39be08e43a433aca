/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The JSON library that src/json is measured beside. */

/** json_peer_name() - NULL when there is none in this build. */
const char *json_peer_name(void);

/** json_peer_parse() - parse and free @n times; false when the peer refuses the text. */
bool json_peer_parse(const char *text, size_t len, unsigned n);

/** json_peer_write() - parse once, then write @n times; false when the peer refuses the text. */
bool json_peer_write(const char *text, size_t len, unsigned n);
