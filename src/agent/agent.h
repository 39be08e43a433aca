/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/auto.h"

#include <stdbool.h>

/* The host agent as a whole. */
struct agent;
struct loop;
struct steps;

enum agent_virt { AGENT_VIRT_AUTO, AGENT_VIRT_KVM, AGENT_VIRT_QEMU };

struct agent_options {
        struct loop *loop;
        const char *data_dir;
        const char *gateway_url;
        const char *libvirt_uri;
        const char *pool_base; /* folders of pools below it are made; NULL: none are */
        const char
                *seed_base; /* first-boot images lie in its folder "gabbro-seeds", which is made; NULL: in "seeds" of @data_dir */
        const char *graphics_address; /* screens of machines may listen on this IP address for TCP; NULL: they may not */
        const char *reboot_command;   /* a program without arguments; NULL: the system's */
        enum agent_virt virt;
        struct steps *steps; /* NULL: nobody listens */
};

/**
 * agent_new() - take up work: the host is looked at, the gateway is called; everything goes on from the loop
 *
 * Return: 0, -ENOENT when it has not joined, -errno with @reterr_words (g_free, may stay NULL).
 */
int agent_new(const struct agent_options *options, struct agent **ret_agent, char **reterr_words);

/** agent_main() - the program gabbro-agent, with somebody who is told of its steps, or NULL. Return: its exit status. */
int agent_main(int argc, char **argv, struct steps *steps);

/** agent_free() - stop; guests, networks and rules stay as they are. Waits for jobs under way. */
struct agent *agent_free(struct agent *agent);
AUTOPTR(agent, agent_free);
