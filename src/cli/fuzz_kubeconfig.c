/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/config.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A kubeconfig from somebody else: a server and credentials come out of it, or words and a code. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned told;

void cli_error(const char *format, ...)
{
        told++;
}

int cli_usage(const char *format, ...)
{
        told++;
        return CLI_USAGE;
}

static void clear(struct cli *cli)
{
        g_free(cli->server);
        g_free(cli->token);
        g_free(cli->ca_pem);
        g_free(cli->certificate_pem);
        g_free(cli->key_pem);
        g_free(cli->namespace);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct cli cli = {};
        g_autofree char *path = NULL;

        /* Files that it names are read: no devices, which may never end. */
        if (memmem(data, size, "/dev", 4) || memmem(data, size, "/proc", 5) || memmem(data, size, "..", 2))
                return 0;
        int fd = memfd_create("kubeconfig", MFD_CLOEXEC);
        assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
        path = g_strdup_printf("/proc/self/fd/%d", fd);
        cli.option_kubeconfig = path;
        told = 0;
        int code = config_load(&cli);
        close(fd);
        assert(code == CLI_OK || code == CLI_USAGE || code == CLI_UNREACHABLE);
        assert((code == CLI_OK) == (told == 0));
        if (code == CLI_OK)
                assert(g_str_has_prefix(cli.server, "https://") && cli.namespace && *cli.namespace);
        clear(&cli);
        return 0;
}
