/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/cli.h"

/* What calls and watches of the command line share. Lists of this program's own asking may be long. */
#define CLIENT_LIST_BYTES (256u << 20)
#define CLIENT_LIST_NODES 20000000u

/** client_options() - borrowed from @cli. */
struct http_client_options client_options(struct cli *cli);
/** client_headers() - "Name: value" of a request; g_strfreev(). @accept NULL: JSON; @content_type and
 * @more (a whole line) NULL: none. */
char **client_headers(const struct cli *cli, const char *accept, const char *content_type, const char *more);
/** client_tell_unreachable() - print why there was no answer (@r of http_fetch(), its @words or NULL), and what to look at. */
void client_tell_unreachable(const struct cli *cli, int r, const char *words);
