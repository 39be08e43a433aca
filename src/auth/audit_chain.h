/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

/* The links of the audit chain: text only, no files. A digest is 64 lower-case hex digits and a NUL. */
#define AUDIT_DIGEST_SIZE 65

/** audit_chain_start() - the "previous" of the first line. */
void audit_chain_start(char *digest);

/** audit_chain_close() - @line is a JSON object whose first member is "previous"; adds the member "digest" and returns it in
 * @digest. */
void audit_chain_close(GString *line, char *digest);

/**
 * audit_chain_check() - whether @line (without its newline) is whole and follows @digest
 *
 * @digest becomes that of the line, also when only the link to the line before is wrong.
 */
bool audit_chain_check(const char *line, size_t len, char *digest);
