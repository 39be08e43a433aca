/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/cli.h"

/* A file on its way to the gateway, by tus 1.0. */
struct upload_file {
        const char *object; /* path of the object that it is for */
        const char *sha256; /* of the file, or NULL */
        int fd;
        uint64_t size;
        bool resume; /* go on with what is there although no digest tells that it is of the same file */
};
/** upload_send() - send it, whatever is missing of it; after a broken connection it goes on by itself. CLI_OK when the gateway has
 * taken it into its library; errors are told. */
int upload_send(struct cli *cli, const struct upload_file *file);
